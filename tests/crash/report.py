"""What the kills came to, as a table."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

import attrs
from crash.judge import Verdict
from crash.task_counts import TaskCounts
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
    *("killed", "kills", "billed", "sent then", "in doubt", "most per kill", "accepted then", "brought home"),
    *("forgotten", "questions", "double-billed", "lost", "torn", "not done"),
)


@attrs.frozen(kw_only=True)
class TaskLine:
    """
    What kills in one state of a task came to.

    Attributes:
        state: When a run was killed.
        sums: Of all of them.
        tasks: What became of their tasks.
    """

    state: str
    sums: Verdict
    tasks: TaskCounts

    def cells(self) -> tuple[object, ...]:
        sums, tasks = self.sums, self.tasks
        return (
            *(self.state, sums.kills, sums.billed, tasks.sent, sums.in_doubt, sums.most_in_doubt, tasks.accepted),
            *(tasks.brought_home, tasks.forgotten, tasks.polls, sums.double, sums.lost, sums.torn, sums.unfinished),
        )


@attrs.define
class Report:
    """
    Everything that was seen.

    Attributes:
        lines: What has to be clean.
        controls: What must not be.
        tasks: What has to be clean with a server that makes tasks.
        task_controls: What must not be.
        notes: Sentences on what is no table.
        seed: Of all chance.
        seconds: It took.
    """

    lines: list[Line] = attrs.field(factory=list)
    controls: list[Line] = attrs.field(factory=list)
    tasks: list[TaskLine] = attrs.field(factory=list)
    task_controls: list[TaskLine] = attrs.field(factory=list)
    notes: dict[str, str] = attrs.field(factory=dict)
    seed: int = 0
    seconds: float = 0.0

    def table(self, lines: Sequence[Line]) -> str:
        return grid(HEADS, [line.cells() for line in lines])

    def task_table(self, lines: Sequence[TaskLine]) -> str:
        return grid(TASK_HEADS, [line.cells() for line in lines])

    @property
    def origin(self) -> str:
        """The sentence that says when and where it was seen."""
        system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
        versions = f"{system}, SQLite {sqlite3.sqlite_version}, aiohttp {version('aiohttp')}"
        when = f"on {datetime.now(UTC):%Y-%m-%d} in {self.seconds:.0f} s"
        return f"Written by `nox -s crash` {when}: {versions}; seed {self.seed}."

    def to_markdown(self) -> str:
        """Return the section of the page on all kills but those of jobs with tasks."""
        parts = [
            "## Bulk jobs: kills",
            self.origin,
            INTRODUCTION,
            self.table(self.lines),
            *self.notes.values(),
            "### Negative controls",
            CONTROLS,
            self.table(self.controls),
        ]
        return "\n\n".join(parts)

    def tasks_to_markdown(self) -> str:
        """Return the section of the page on tasks."""
        parts = [
            "## Bulk jobs: kills in each state of a task",
            self.origin,
            TASKS,
            self.task_table(self.tasks),
            TASK_CONTROLS,
            self.task_table(self.task_controls),
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
The same job with a server that makes a task of each request, killed in each state of a task. *Sent then* counts the
requests that the store had as sent, and not yet as accepted, when the run was killed: these alone are in doubt
afterwards, among them others that were under way at the same time. *Accepted then* counts those whose tasks, or the
addresses of whose images, it had, and *brought home* those of them that were finished by asking, without being sent
again. *Forgotten* are requests whose tasks had been asked for by then, and that were sent again or are in doubt."""

CONTROLS = """\
The same with one promise broken on purpose; each has to be found out, or the figures above prove nothing."""

TASK_CONTROLS = """\
Negative controls, each of which has to be found out: a job that forgets the ids of tasks, and one that sends a request
again in place of asking for its task."""
