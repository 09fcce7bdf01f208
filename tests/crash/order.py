"""In which order a run made its system calls, against the order that it promises."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs
from crash.disk import Disk, File, Naming, lay_out
from crash.judge import FINAL
from crash.sandbox import Sandbox, command, environment
from crash.syscalls import Call, read_log, tracing
from crash.worker import Plan

KEY = re.compile(rb"[Ii]dempotency-[Kk]ey: ([0-9a-f]{32})")
LONGEST = 60.0


@attrs.frozen(kw_only=True)
class Trace:
    """
    A run, call by call.

    Attributes:
        plan: What it was to do.
        calls: Those that it made.
        disk: What they made of the disk.
        sends: Per key, the first call that sent its request.
        connects: Those to the server.
    """

    plan: Plan
    calls: Sequence[Call]
    disk: Disk
    sends: Mapping[str, Call]
    connects: Sequence[Call]


def trace(sandbox: Sandbox, plan: Plan) -> Trace:
    """Run a job under strace."""
    log = Path(f"{plan.directory}.log")
    root = Path(plan.directory).parent
    plan = attrs.evolve(plan, counts=False)
    done = subprocess.run(
        [*tracing(log), *command("worker", plan.to_json())],
        check=False,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    assert done.returncode == 0, done.stderr
    calls = read_log(log)
    log.unlink()
    port = int(plan.base_url.rsplit(":", 1)[1].split("/")[0])
    sends: dict[str, Call] = {}
    for call in calls:
        if call.name in {"sendto", "sendmsg", "write", "writev"}:
            for key in KEY.findall(call.data):
                sends.setdefault(key.decode(), call)
    return Trace(
        plan=plan,
        calls=calls,
        disk=Disk.read(root, calls),
        sends=sends,
        connects=[call for call in calls if call.name == "connect" and f"htons({port})" in call.arguments],
    )


# --- the rules -------------------------------------------------------------------------------------------------------


def problems(found: Trace) -> list[str]:
    """Return where a run broke its order."""
    return [*intents(found), *images(found)]


def intents(found: Trace) -> Iterator[str]:
    """Yield requests that began before it was durable that they would."""
    if len(found.sends) == 0:
        yield "no request was seen"
    for key, send in found.sends.items():
        state = states(found, found.disk.synced(send.begin)).get(key)
        if state != "sent":
            yield f"{key} is sent while the disk has it as {state}"
    for number, connect in enumerate(found.connects, start=1):
        durable = states(found, found.disk.synced(connect.begin))
        intended = sum(state in {"sent", "received", "done", "in_doubt"} for state in durable.values())
        if intended < min(number, 1):
            yield f"connection {number} is opened before anything is intended"


def images(found: Trace) -> Iterator[str]:
    """Yield images that get their names before their bytes are durable, or are told of before their names are."""
    seen = 0
    for naming in found.disk.namings:
        if naming.given is None or naming.file is None or not FINAL.fullmatch(naming.given.name):
            continue
        seen += 1
        yield from image(found, naming, naming.file)
    if not seen:
        yield "no image was seen"


def image(found: Trace, naming: Naming, file: File) -> Iterator[str]:
    path = naming.given
    assert path is not None
    written = max(write.end for write in file.writes)
    synced = [call for call in file.syncs if call.begin > written and call.end < naming.call.begin]
    if not synced:
        yield f"{path.name} gets its name before its bytes are synced"
    folder = [call for call, where in found.disk.syncs if where == path.parent and call.begin > naming.call.end]
    if not folder:
        yield f"{path.name} has a name that was never synced"
        return
    key = path.name[:32]
    if states(found, found.disk.written(folder[0].end - 1)).get(key) == "done":
        yield f"{key} is called done before the name of its image is durable"


def states(found: Trace, state: Mapping[Path, bytes | None]) -> dict[str, str]:
    """Return the state of each request, as the store on such a disk has it."""
    store = Path(found.plan.directory) / "job.sqlite3"
    if not state.get(store):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        mine = {path: data for path, data in state.items() if path.name.startswith("job.sqlite3")}
        lay_out(mine, store.parent, Path(folder) / "job")
        connection = sqlite3.connect(Path(folder) / "job" / store.name)
        try:
            return dict(connection.execute("SELECT key, state FROM requests").fetchall())
        except sqlite3.OperationalError:  # not a table yet
            return {}
        finally:
            connection.close()
