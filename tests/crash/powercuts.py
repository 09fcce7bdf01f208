"""Jobs on a disk that loses its power while they run, and that are gone on with on what is left."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from crash.disk import lay_out
from crash.judge import Case, Verdict
from crash.order import Trace
from crash.sandbox import Sandbox
from crash.sweeps import MOST_RUNS


@attrs.define(kw_only=True)
class PowerCuts:
    """
    One run, and the disks that it may leave behind.

    Attributes:
        sandbox: Where the job is gone on with.
        found: The run.
        bought: What its server says.
        reference: See `judge.Case`.
        seed: Of all chance.
    """

    sandbox: Sandbox
    found: Trace
    bought: Sequence[Mapping[str, Any]]
    reference: Mapping[tuple[int, int], str]
    seed: int

    def same_at_the_end(self) -> list[str]:
        """Return the files that the simulated disk has otherwise than the real one: none, or it proves nothing."""
        directory = Path(self.found.plan.directory)
        state = self.found.disk.written(self.found.disk.length)
        mine = {path: data for path, data in state.items() if path.is_relative_to(directory) and data is not None}
        real = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
        return sorted(str(path) for path in mine.keys() | real.keys() if mine.get(path) != real.get(path))

    def cut(self, number: int) -> Verdict:
        """Cut the power at a random moment, go on with what is there, and judge what it comes to."""
        dice = random.Random(f"{self.seed}-{number}")
        until = dice.randrange(self.found.disk.length)
        return self.go_on(until, self.found.disk.cut(until, dice))

    def go_on(self, until: int, state: Mapping[Path, bytes | None]) -> Verdict:
        directory = Path(self.found.plan.directory)
        target = directory.with_name(f"{directory.name}-cut")
        shutil.rmtree(target, ignore_errors=True)
        lay_out(
            {path: data for path, data in state.items() if path.is_relative_to(directory) and path != directory},
            directory,
            target,
        )
        plan = attrs.evolve(self.found.plan, directory=str(target), counts=False, control="")
        for _ in range(MOST_RUNS):
            ending = self.sandbox.run(plan)
            assert ending.status == 0, ending.errors
            store = self.sandbox.inspect(plan)
            if not any(store["totals"]["counts"][name] for name in ("pending", "leased", "sent", "received")):
                break
        sent = {key for key, call in self.found.sends.items() if call.begin <= until}
        before = [entry for entry in self.bought if entry["key"] in sent]
        after = self.sandbox.ledger("none")
        verdict = Case(
            directory=target,
            store=store,
            requests=[*before, *after["requests"]],
            downloads=after["downloads"],
            reference=self.reference,
            doubts=[store["totals"]["counts"]["in_doubt"]],
            kills=1,
        ).judge()
        self.sandbox.clean(plan)
        return verdict
