"""What a sweep runs in: an emulator and a fork server, in processes of their own, and directories that come and go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import attrs
from crash.worker import Plan
from pictures import png
from ways import here

TESTS = Path(__file__).resolve().parents[1]


def environment() -> dict[str, str]:
    """Return what a process needs; neither keys nor what measures coverage, which nobody would save after a kill."""
    kept = {
        name: os.environ[name] for name in ("PATH", "TMPDIR", "HOME", "LANG", "SSL_CERT_FILE") if name in os.environ
    }
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    return {**kept, "BURNCLOUD_EMULATOR_PLAIN": "1", "PYTHONPATH": path}


def command(module: str, *arguments: str) -> list[str]:
    """Return how a program of this harness is started."""
    return [sys.executable, "-m", f"crash.{module}", *arguments]


@attrs.define
class Talker:
    """
    A process that answers a line with a line of JSON.

    Attributes:
        process: The process.
    """

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, module: str, *arguments: str) -> Talker:
        return cls(
            subprocess.Popen(
                command(module, *arguments),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(),
            )
        )

    def ask(self, question: Mapping[str, Any] | None = None) -> Any:
        """Return the answer to a question."""
        stdin = self.pipe(self.process.stdin)
        stdin.write(json.dumps(question or {}) + "\n")
        stdin.flush()
        return self.listen()

    def listen(self) -> Any:
        line = self.pipe(self.process.stdout).readline()
        assert line, f"{self.process.args} has ended"
        return json.loads(line)

    def pipe(self, stream: IO[str] | None) -> IO[str]:
        assert stream is not None
        return stream

    def stop(self) -> None:
        """End it."""
        self.pipe(self.process.stdin).close()
        self.process.wait()
        self.pipe(self.process.stdout).close()


@attrs.frozen(kw_only=True)
class Ending:
    """
    How a run ended.

    Attributes:
        status: Of its process; negative for a signal.
        seconds: How long it took.
        point: Where it was killed; empty if it was not, or at no point.
        result: What it says of itself; empty if it was killed.
        errors: Its stderr.
    """

    status: int
    seconds: float
    point: str = ""
    result: Mapping[str, Any] = attrs.field(factory=dict)
    errors: str = ""

    @property
    def killed(self) -> bool:
        """Whether it was."""
        return self.status == -9


@attrs.define(kw_only=True)
class Sandbox:
    """
    Runs jobs one after the other.

    Attributes:
        folder: For their directories.
        photo: The picture to edit.
        fork_server: Forks the runs.
        servers: Emulators, by what they do with idempotency keys.
    """

    folder: Path
    photo: Path
    fork_server: Talker
    servers: dict[str, Talker] = attrs.field(factory=dict)
    addresses: dict[str, str] = attrs.field(factory=dict)
    made: int = 0

    def address(self, idempotency: str) -> str:
        """Return where an emulator is; it is started with the first question."""
        if idempotency not in self.servers:
            server = self.servers[idempotency] = Talker.start("server", idempotency, *here().chain)
            self.addresses[idempotency] = server.listen()["base_url"]
        return self.addresses[idempotency]

    def plan(self, tag: str, *, idempotency: str = "none", **options: Any) -> Plan:
        """Return a plan for a new job."""
        self.made += 1
        return Plan(
            directory=str(self.folder / f"{self.made:05}"),
            base_url=self.address(idempotency),
            tag=tag,
            photo=str(self.photo),
            **options,
        )

    def run(self, plan: Plan, *, kill_after: float | None = None, **changes: Any) -> Ending:
        """Run a job once."""
        plan = attrs.evolve(plan, **changes)
        for path in (plan.result, plan.point):
            path.unlink(missing_ok=True)
        answer = self.fork_server.ask({"plan": attrs.asdict(plan), "kill_after": kill_after})
        errors = plan.errors.read_text(encoding="utf-8", errors="replace") if plan.errors.exists() else ""
        assert not answer["hangs"], f"a run hangs: {errors}"
        return Ending(
            status=answer["status"],
            seconds=answer["seconds"],
            point=plan.point.read_text(encoding="utf-8") if plan.point.exists() else "",
            result=json.loads(plan.result.read_text(encoding="utf-8")) if answer["status"] == 0 else {},
            errors=errors,
        )

    def inspect(self, plan: Plan) -> Mapping[str, Any]:
        """Return what the store of a job knows."""
        ending = self.run(plan, inspects=True, die_at=0)
        assert ending.status == 0, ending.errors
        return ending.result

    def ledger(self, idempotency: str, faults: Sequence[Mapping[str, Any]] = ()) -> Mapping[str, Any]:
        """Return what has arrived since the last question, and what it cost; from now on *faults* strike."""
        answer: Mapping[str, Any] = self.servers[idempotency].ask({"faults": faults})
        return answer

    def clean(self, plan: Plan) -> None:
        """Take a job's directory away."""
        shutil.rmtree(plan.directory, ignore_errors=True)
        for path in (plan.result, plan.point, plan.errors):
            path.unlink(missing_ok=True)


@contextmanager
def open_sandbox(folder: Path) -> Iterator[Sandbox]:
    """Start what a sweep runs in."""
    folder.mkdir(parents=True, exist_ok=True)
    photo = folder / "photo.png"
    photo.write_bytes(png(64, 64, pad=30_000))
    sandbox = Sandbox(folder=folder, photo=photo, fork_server=Talker.start("fork_server"))
    try:
        yield sandbox
    finally:
        for talker in (sandbox.fork_server, *sandbox.servers.values()):
            talker.stop()
