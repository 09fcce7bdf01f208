"""What became of tasks whose job was killed: by the store when it was killed and at the end, and by the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

BOUGHT = frozenset({"accepted", "received"})
"""States of requests whose images are to be had without buying."""


@attrs.define
class Arrivals:
    """
    What arrived at the server over all runs of a job.

    Attributes:
        requests: Requests that it may have billed.
        downloads: Bytes of each download.
        polls: The ids of the tasks that it was asked for.
    """

    requests: list[Mapping[str, Any]] = attrs.field(factory=list)
    downloads: list[int] = attrs.field(factory=list)
    polls: list[str] = attrs.field(factory=list)

    def add(self, ledger: Mapping[str, Any]) -> None:
        """Add what has arrived since the last time."""
        self.requests += ledger["requests"]
        self.downloads += ledger["downloads"]
        self.polls += ledger["polls"]


@attrs.frozen(kw_only=True)
class KilledRun:
    """
    What there was when a run was killed.

    Attributes:
        states: The state of each request in the store, by its key.
        requests: How many had arrived at the server.
        polls: How many questions about tasks had.
    """

    states: Mapping[str, str]
    requests: int
    polls: int


@attrs.frozen(kw_only=True)
class TaskCounts:
    """
    Requests of jobs that were killed, and the questions about their tasks.

    Attributes:
        sent: Requests that the store had as sent, and not as accepted, when a run was killed.
        accepted: Requests whose task, or the addresses of whose images, it had then.
        brought_home: Those of them that are done at the end and were not sent again.
        forgotten: Requests whose tasks had been asked for by then, and that were sent again or are in doubt at the end.
        polls: Questions about tasks, of all runs.
    """

    sent: int = 0
    accepted: int = 0
    brought_home: int = 0
    forgotten: int = 0
    polls: int = 0


def add_up_counts(counts: Sequence[TaskCounts]) -> TaskCounts:
    """Return the sums of many jobs."""
    names = [field.name for field in attrs.fields(TaskCounts)]
    return TaskCounts(**{name: sum(getattr(one, name) for one in counts) for name in names})


def count_tasks(killed: Sequence[KilledRun], arrived: Arrivals, ends: Mapping[str, str]) -> TaskCounts:
    """Return the counts of one job, whose requests *ends* has in these states at the end."""
    return attrs.evolve(
        add_up_counts(list(count_each(killed, arrived, ends))),
        polls=len(arrived.polls),
    )


def count_each(killed: Sequence[KilledRun], arrived: Arrivals, ends: Mapping[str, str]) -> Iterator[TaskCounts]:
    """Yield the counts of each kill."""
    keys = {entry["task"]: entry["key"] for entry in arrived.requests if entry["task"]}
    for run in killed:
        again = {entry["key"] for entry in arrived.requests[run.requests :]}
        asked = {keys[task] for task in arrived.polls[: run.polls]}
        accepted = [key for key, state in run.states.items() if state in BOUGHT]
        yield TaskCounts(
            sent=sum(state == "sent" for state in run.states.values()),
            accepted=len(accepted),
            brought_home=sum(ends[key] == "done" and key not in again for key in accepted),
            forgotten=sum(ends[key] == "in_doubt" or key in again for key in asked),
        )
