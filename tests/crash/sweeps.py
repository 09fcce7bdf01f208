"""Many jobs, each killed somewhere and gone on with until it is done."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import attrs
from crash.judge import UNFINISHED, Case, Verdict, outputs_of
from crash.sandbox import Ending, Sandbox
from crash.task_counts import Arrivals, KilledRun, TaskCounts, count_tasks
from crash.worker import Plan

T = TypeVar("T")

MOST_RUNS = 8
"""After which a job that is not done never will be."""
SERVERS: Mapping[str, str] = {"hold": "none", "retry": "none", "replay": "replay", "tasks": "tasks"}
"""What the server does with idempotency keys, or that it makes tasks, by the job's policy."""


@attrs.frozen(kw_only=True)
class Reference:
    """
    A run that nothing disturbs.

    Attributes:
        points: The names of all points, in the order in which they were passed.
        outputs: The digest of each image, by the request's number and the index.
        seconds: How long it took.
    """

    points: Sequence[str]
    outputs: Mapping[tuple[int, int], str]
    seconds: float


@attrs.frozen(kw_only=True)
class Tried:
    """
    One job of a sweep.

    Attributes:
        where: At which points it was killed.
        verdict: What it came to.
        points: Of its first run that was not to be killed.
        tasks: What became of its tasks.
    """

    where: Sequence[str]
    verdict: Verdict
    points: Sequence[str] = ()
    tasks: TaskCounts = attrs.field(factory=TaskCounts)


@attrs.define(kw_only=True)
class Sweep:
    """
    Jobs of one kind.

    Attributes:
        sandboxes: Where they run.
        policy: What is done about what is in doubt.
        control: What is broken on purpose.
        name: Part of every job's tag.
    """

    sandboxes: Sequence[Sandbox]
    policy: str = "hold"
    control: str = ""
    name: str = "sweep"
    reference: Reference = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Run a job that nothing disturbs."""
        sandbox = self.sandboxes[0]
        plan = self.plan(sandbox, "reference")
        ending = sandbox.run(plan)
        assert ending.status == 0, ending.errors
        self.reference = Reference(
            points=ending.result["points"], outputs=outputs_of(sandbox.inspect(plan)), seconds=ending.seconds
        )
        sandbox.ledger(self.server)
        sandbox.clean(plan)

    @property
    def server(self) -> str:
        return SERVERS[self.policy]

    def plan(self, sandbox: Sandbox, tag: str) -> Plan:
        control, policy = self.control, self.policy
        return sandbox.plan(f"{self.name}-{tag}", idempotency=self.server, control=control, policy=policy)

    # --- one job -----------------------------------------------------------------------------------------------------

    def at_points(self, sandbox: Sandbox, *points: int) -> Tried:
        """Kill a job's first runs at these points, one after the other, and let it come to its end."""
        plan = self.plan(sandbox, "-".join(map(str, points)))
        return self.go(sandbox, plan, [lambda point=point: sandbox.run(plan, die_at=point) for point in points])

    def at_point(self, sandbox: Sandbox, ending: str, number: int, faults: Sequence[Mapping[str, Any]] = ()) -> Tried:
        """Kill a job's first run, in which *faults* strike, at that one of the points whose names end so."""
        plan = self.plan(sandbox, f"{ending}-{number}".replace(" ", "-"))
        if faults:
            sandbox.ledger(self.server, faults)
        return self.go(sandbox, plan, [lambda: sandbox.run(plan, die_at=number, ending=ending)])

    def at_times(self, sandbox: Sandbox, tag: str, *seconds: float) -> Tried:
        """Kill a job's first runs after so many seconds, one after the other, and let it come to its end."""
        plan = self.plan(sandbox, tag)
        return self.go(
            sandbox, plan, [lambda after=after: sandbox.run(plan, kill_after=after, counts=False) for after in seconds]
        )

    def go(self, sandbox: Sandbox, plan: Plan, runs: Sequence[Callable[[], Ending]]) -> Tried:
        where: list[str] = []
        killed: list[KilledRun] = []
        arrived = Arrivals()
        for run in runs:
            ending = run()
            assert ending.status in {0, -9}, ending.errors
            where.append(ending.point if ending.killed else "")
            if not ending.killed:
                break
            killed.append(self.look(sandbox, plan, arrived))
        points, store = self.finish(sandbox, plan)
        arrived.add(sandbox.ledger(self.server))
        kills = len(killed)
        case = Case(
            directory=Path(plan.directory),
            store=store,
            requests=arrived.requests,
            downloads=arrived.downloads,
            reference=self.reference.outputs,
            doubts=[-(-store["totals"]["counts"]["in_doubt"] // max(1, kills))],
            kills=kills,
        )
        tasks = count_tasks(killed, arrived, {record["key"]: record["state"] for record in store["records"]})
        tried = Tried(where=where, verdict=case.judge(), points=points, tasks=tasks)
        sandbox.clean(plan)
        return tried

    def look(self, sandbox: Sandbox, plan: Plan, arrived: Arrivals) -> KilledRun:
        """Return what there is after a kill; it is looked at only where there are tasks."""
        states = {}
        if self.server == "tasks":
            arrived.add(sandbox.ledger(self.server))
            if (Path(plan.directory) / "job.sqlite3").exists():
                states = {record["key"]: record["state"] for record in sandbox.inspect(plan)["records"]}
        return KilledRun(states=states, requests=len(arrived.requests), polls=len(arrived.polls))

    def finish(self, sandbox: Sandbox, plan: Plan) -> tuple[Sequence[str], Mapping[str, Any]]:
        """Run a job until nothing is left to do; return the points of the first run, and what the store has."""
        points: Sequence[str] = ()
        for _ in range(MOST_RUNS):
            ending = sandbox.run(plan)
            assert ending.status == 0, ending.errors
            points = points or ending.result["points"]
            store = sandbox.inspect(plan)
            if not any(store["totals"]["counts"][state] for state in UNFINISHED):
                break
        return points, store

    # --- many --------------------------------------------------------------------------------------------------------

    def each(self, tries: Iterable[Callable[[Sandbox], T]]) -> list[T]:
        """Do *tries* on all sandboxes at once, and return what came of them, in their order."""
        free: SimpleQueue[Sandbox] = SimpleQueue()
        for sandbox in self.sandboxes:
            free.put(sandbox)

        def attempt(do: Callable[[Sandbox], T]) -> T:
            sandbox = free.get()
            try:
                return do(sandbox)
            finally:
                free.put(sandbox)

        with ThreadPoolExecutor(len(self.sandboxes), thread_name_prefix="sandbox") as threads:
            return list(threads.map(attempt, list(tries)))

    def every_point(self, step: int = 1, first: int = 1) -> list[Tried]:
        """Kill a job at each point that a run has."""
        points = range(first, len(self.reference.points) + 1, step)
        return self.each(lambda sandbox, k=k: self.at_points(sandbox, k) for k in points)

    def every_point_of_a_recovery(self, first: int, step: int = 1) -> list[Tried]:
        """Kill a job at point *first*, and the run that goes on with it at each of its points."""
        recovery = self.each([lambda sandbox: self.at_points(sandbox, first)])[0].points
        return self.each(lambda sandbox, k=k: self.at_points(sandbox, first, k) for k in chosen_points(recovery, step))

    def random_times(self, count: int, seed: int) -> list[Tried]:
        """Kill jobs at random times until there were so many kills: some once, some again and again."""
        dice = random.Random(seed)
        tries: list[Tried] = []
        while (left := count - sum(tried.verdict.kills for tried in tries)) > 0:
            times = [self.moments(dice) for _ in range(-(-left // 2))]
            tags = range(len(tries), len(tries) + len(times))
            tries += self.each(
                lambda sandbox, tag=tag, moments=moments: self.at_times(sandbox, f"{seed}-{tag}", *moments)
                for tag, moments in zip(tags, times, strict=True)
            )
        return tries

    def moments(self, dice: random.Random) -> list[float]:
        """Return after how many seconds the runs of one job are killed."""
        return [dice.uniform(0.0, self.reference.seconds) for _ in range(dice.choice((1, 1, 2, 3)))]


def chosen_points(names: Sequence[str], step: int) -> list[int]:
    """Return every point of what happens before a run goes on, and every *step*-th after that."""
    return [k for k, name in enumerate(names, start=1) if name.startswith("open") or k % step == 0]
