"""Jobs on a disk that fails at one of its calls, by strace's injection, and that are gone on with once it is well."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
from crash.judge import Case, Verdict
from crash.sandbox import Sandbox, command, environment
from crash.sweeps import MOST_RUNS
from crash.worker import Plan

LONGEST = 60.0
ERRORS = ("StorageError", "JobError")
"""With which a run may end that cannot write."""
FULL = frozenset({"pwrite64", "mkdir"})
"""Calls that fail for want of room; the others because the disk is bad."""


@attrs.frozen
class Failure:
    """
    A call that fails.

    Attributes:
        call: Its name.
        error: As errno calls it.
        when: Which of each thread's; strace counts for each of them.
    """

    call: str
    error: str
    when: int

    def __str__(self) -> str:
        return f"{self.call} {self.when}: {self.error}"


def failures(most: Mapping[str, int], step: int = 1) -> Iterator[Failure]:
    """Yield failures of calls, up to so many of each."""
    for call, count in most.items():
        for when in range(1, count + 1, step):
            yield Failure(call, "ENOSPC" if call in FULL else "EIO", when)


def fail(sandbox: Sandbox, plan: Plan, failure: Failure, reference: Mapping[tuple[int, int], str]) -> Verdict:
    """Run a job once on the bad disk, and on a good one until it is done; a run that was hit counts as a kill."""
    plan = attrs.evolve(plan, counts=False)
    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf", "-e", f"trace={failure.call}"),
            *("-e", f"inject={failure.call}:error={failure.error}:when={failure.when}"),
            *command("worker", plan.to_json()),
        ],
        check=False,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    ended = done.stderr.strip().rpartition("\n")[2]
    assert not done.returncode or any(f".{name}:" in ended for name in ERRORS), f"{failure}: {done.stderr}"
    hit = done.returncode or json.loads(plan.result.read_text(encoding="utf-8"))["stopped"] != "finished"
    for _ in range(MOST_RUNS):
        ending = sandbox.run(plan)
        assert ending.status == 0, f"{failure}: {ending.errors}"
        store = sandbox.inspect(plan)
        if not any(store["totals"]["counts"][name] for name in ("pending", "leased", "sent", "received")):
            break
    ledger = sandbox.ledger("none")
    case = Case(
        directory=Path(plan.directory),
        store=store,
        requests=ledger["requests"],
        downloads=ledger["downloads"],
        reference=reference,
        doubts=[store["totals"]["counts"]["in_doubt"]],
        kills=bool(hit),
        notes=[str(failure)],
    )
    verdict = case.judge()
    sandbox.clean(plan)
    return verdict
