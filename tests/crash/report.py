"""What the kills came to, as a table."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

import attrs
from crash.judge import Verdict
from reliability import grid

HEADS = (
    *("what", "jobs", "kills", "billed", "distinct", "outputs", "double-billed", "in doubt", "most per kill"),
    *("lost", "torn", "left over", "not done"),
)


@attrs.frozen(kw_only=True)
class Line:
    """
    What one kind of kill came to.

    Attributes:
        what: Was tried.
        jobs: How many.
        sums: Of all of them.
    """

    what: str
    jobs: int
    sums: Verdict

    def cells(self) -> tuple[object, ...]:
        sums = self.sums
        return (
            *(self.what, self.jobs, sums.kills, sums.billed, sums.distinct, sums.outputs, sums.double, sums.in_doubt),
            *(sums.most_in_doubt, sums.lost, sums.torn, sums.leftovers, sums.unfinished),
        )


TASK_HEADS = (
    *("killed", "kills", "billed", "in doubt", "most per kill", "accepted then", "brought home", "questions"),
    *("double-billed", "lost", "not done"),
)


@attrs.frozen(kw_only=True)
class TaskLine:
    """
    What kills in one state of a task came to.

    Attributes:
        state: When a run was killed.
        sums: Of all of them.
        accepted: Requests that were accepted when a run was killed.
        polls: Questions about tasks.
    """

    state: str
    sums: Verdict
    accepted: int
    polls: int

    def cells(self) -> tuple[object, ...]:
        sums = self.sums
        home = self.accepted if not (sums.lost or sums.unfinished) else "?"
        return (
            *(self.state, sums.kills, sums.billed, sums.in_doubt, sums.most_in_doubt, self.accepted, home, self.polls),
            *(sums.double, sums.lost, sums.unfinished),
        )


@attrs.define
class Report:
    """
    Everything that was seen.

    Attributes:
        lines: What has to be clean.
        controls: What must not be.
        tasks: The same with a server that makes tasks.
        notes: Sentences on what is no table.
        seed: Of all chance.
        seconds: It took.
    """

    lines: list[Line] = attrs.field(factory=list)
    controls: list[Line] = attrs.field(factory=list)
    tasks: list[TaskLine] = attrs.field(factory=list)
    notes: dict[str, str] = attrs.field(factory=dict)
    seed: int = 0
    seconds: float = 0.0

    def table(self, lines: Sequence[Line]) -> str:
        return grid(HEADS, [line.cells() for line in lines])

    def task_table(self) -> str:
        return grid(TASK_HEADS, [line.cells() for line in self.tasks])

    def to_markdown(self) -> str:
        """Return the section of the page."""
        system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
        versions = f"{system}, SQLite {sqlite3.sqlite_version}, aiohttp {version('aiohttp')}"
        when = f"on {datetime.now(UTC):%Y-%m-%d} in {self.seconds:.0f} s"
        parts = [
            "## Bulk jobs: kills",
            f"Written by `nox -s crash` {when}: {versions}; seed {self.seed}.",
            INTRODUCTION,
            self.table(self.lines),
            *self.notes.values(),
            "### Tasks",
            TASKS,
            self.task_table(),
            "### Negative controls",
            CONTROLS,
            self.table(self.controls),
        ]
        return "\n\n".join(parts)


INTRODUCTION = """\
A job of twelve requests, three at once: images in the answer and behind addresses, several at once, edits with an
upload. Its process kills itself by SIGKILL at one of the points around everything that lasts (each statement, commit
and promise of the store; each open, write, half write, sync, link, rename and removal of a file; each stage of a
request), or is killed at a random moment, and the job is run again until nothing is left to do. What was bought is read
from the ledger of the emulator, which lives in a process of its own.

*Double-billed* counts requests that were billed again; *in doubt* those that may have been billed and are listed so,
with their key, and *most per kill* how many of them one kill left; *lost* billed ones that the store neither has nor
lists; *torn* final names whose bytes are not whole, not what the store says, or not what an undisturbed run brings;
*left over* files that ought to be gone; *not done* requests that never come to an end. Each job's store also has to
account for at least as much money as the ledger says."""

TASKS = """\
With a server that makes a task of each request, a run is killed in each state of a task. *Accepted then* counts the
requests whose tasks the store had when the run was killed, and *brought home* those of them that the next run finished
by asking, without buying. Only what was sent and whose acceptance was not yet written down is in doubt: the request at
which the run was killed in the first two rows, and others that were under way at the same time."""

CONTROLS = """\
The same with one promise broken on purpose; each has to be found out, or the figures above prove nothing."""
