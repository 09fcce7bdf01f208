"""Runs contenders in turn, each in a fresh process, and refuses figures of work that was not done."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from benchmarks.jobs import Job, Scale
from benchmarks.server import Nginx, serve
from benchmarks.site import Site
from benchmarks.starts import STARTS
from benchmarks.work import Task, Work

__all__ = ["Bench", "CheatedError", "Reading", "open_bench"]

Reading: TypeAlias = dict[str, float]
"""Measures of one process, by name."""

ROOT = Path(__file__).resolve().parents[1]
MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 (a place in memory; folders in it are our own)
MODULES = {
    "ours": "benchmarks.contenders.ours",
    "openai": "benchmarks.contenders.openai_httpx",
    "openai-aiohttp": "benchmarks.contenders.openai_aiohttp",
    "handwritten": "benchmarks.contenders.handwritten",
}
FOREIGN = ("BURNCLOUD_", "OPENAI_", "PYTHON", "COVERAGE_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
"""Variables that would change what is measured."""
PATIENCE = 600.0
"""Seconds that one process may take."""
SMALLEST = Work(verb="small")


class CheatedError(Exception):
    """A process failed, or did not do what it was measured for."""


@contextmanager
def open_bench() -> Iterator[Bench]:
    """Give a bench whose server and files are gone afterwards; files are in memory where the system allows."""
    parent = MEMORY_FOLDER if os.access(MEMORY_FOLDER, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="burncloud-images-bench-", dir=parent) as name:
        folder = Path(name)
        with serve(folder) as nginx:
            yield Bench(nginx=nginx, site=Site(folder=folder, address=nginx.address, tls_address=nginx.tls_address))


@attrs.frozen(kw_only=True)
class Bench:
    """
    A server with its answers, and processes that ask for them.

    Attributes:
        nginx: The server.
        site: What it has ready.
    """

    nginx: Nginx
    site: Site

    def run_job(self, job: Job, *, quick: bool, rounds: int) -> Iterator[tuple[str, Reading | str]]:
        """Yield each contender's reading as it is taken, or why there is none; the first is another each round."""
        work = job.work_of(quick=quick)
        missing: set[str] = set()
        for turn in range(rounds):
            start = turn % len(job.contenders)
            for contender in (*job.contenders[start:], *job.contenders[:start]):
                if contender in missing:
                    continue
                found = self.start(job.name, contender) if work is None else self.run(contender, work)
                if isinstance(found, str):
                    missing.add(contender)
                yield contender, found

    def run_scale(self, scale: Scale, *, quick: bool, rounds: int) -> Iterator[tuple[str, Reading | str]]:
        """Yield the readings at each point."""
        for _ in range(min(rounds, scale.rounds)):
            for point in scale.quick if quick else scale.points:
                yield str(point), self.run("ours", scale.work(point))

    def start(self, job: str, contender: str) -> Reading:
        """Start Python with a program that only begins."""
        self.site.prepare(SMALLEST)
        base_url = f"{self.nginx.address}/{SMALLEST.answer}/v1"
        return time_command([sys.executable, "-c", STARTS[job][contender], base_url])

    def run(self, contender: str, work: Work) -> Reading | str:
        """
        Let *contender* do *work*.

        Returns:
            The reading, or why the contender cannot do it.

        Raises:
            CheatedError: It failed, or what it did is not what was asked for.
        """
        self.site.prepare(work)
        before = len(self.nginx.uploads())
        with tempfile.TemporaryDirectory(dir=self.site.folder) as name:
            folder = Path(name)
            if contender == "curl":
                found = self.curl(work, folder)
                seen: Counter[str] = Counter()
            else:
                said = run_module(MODULES[contender], self.task(work, folder), self.trust(work))
                if "unable" in said:
                    return str(said["unable"])
                seen = Counter(said.pop("seen"))
                found = said
            self.judge(contender, work, seen, folder)
        self.judge_uploads(contender, work, before)
        return found

    def task(self, work: Work, folder: Path) -> Task:
        inputs = str(self.site.inputs)
        server = self.nginx.address_of(tls=work.tls)
        return Task(work=work, server=server, folder=str(folder), inputs=inputs)

    def trust(self, work: Work) -> Mapping[str, str]:
        """Return the variables by which every contender trusts the server; OpenSSL's own, which none has to be told."""
        return {"SSL_CERT_FILE": str(self.nginx.authority)} if work.tls else {}

    def curl(self, work: Work, folder: Path) -> Reading:
        """Fetch the URLs of all answers with curl, the answers themselves left out."""
        lines = []
        names = [self.site.url(work, f"{work.answer}-{number}.png") for number in range(work.images)]
        for number in range(work.requests):
            for place, url in enumerate(names):
                lines += [f'url = "{url}"', f'output = "{folder / f"{number}-{place}.png"}"']
        (self.site.folder / "curl.txt").write_text("\n".join(lines), encoding="utf-8")
        at_once = str(work.at_once * 8)
        options = [
            "--parallel",
            "--parallel-max",
            at_once,
            "--silent",
            "--fail",
            "--noproxy",
            "*",
            "--cacert",
            str(self.nginx.authority),
        ]
        return time_command(["curl", *options, "--config", str(self.site.folder / "curl.txt")])

    def judge(self, contender: str, work: Work, seen: Counter[str], folder: Path) -> None:
        """Compare what was made with what the server gave."""
        if work.verb in {"to_files", "download"}:
            times = 1 if work.overwrite else work.requests
            wanted = Counter(dict.fromkeys(self.site.hashes[work.answer], times))
            made = Counter(hash_file(path) for path in folder.iterdir() if path.is_file())
        else:
            wanted = Counter(dict.fromkeys(self.site.marks[work.answer], work.requests))
            made = seen
        if made != wanted:
            raise CheatedError(
                f"{contender} made {made.total()} images, {(made & wanted).total()} of the {wanted.total()} wanted"
            )

    def judge_uploads(self, contender: str, work: Work, before: int) -> None:
        if work.verb != "upload":
            return
        arrived = sum(length for status, length in self.nginx.uploads()[before:] if status == 200)
        if arrived < work.images * work.size * work.requests:
            raise CheatedError(f"{contender} uploaded {arrived:,} bytes in all")


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(FOREIGN)}
    return {**kept, "NO_PROXY": "*"}


def run_module(module: str, task: Task, variables: Mapping[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", module, task.to_json()]
    surroundings = {**environment(), **variables}
    done = subprocess.run(  # noqa: S603 (our own modules)
        command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    if done.returncode:
        raise CheatedError(f"{module} failed:\n{done.stderr}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def time_command(command: Sequence[str], variables: Mapping[str, str] | None = None) -> Reading:
    """Return what a whole process took, its start included."""
    begin = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 (programs that we name)
        command,
        cwd=ROOT,
        env={**environment(), **(variables or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    with process:
        said = process.stderr.read().decode(errors="replace") if process.stderr else ""
    if process.returncode:
        raise CheatedError(f"{command[0]} failed with {process.returncode}: {said}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime}


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
