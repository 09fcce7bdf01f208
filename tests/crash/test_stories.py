"""
Stories of jobs, told by Hypothesis: a server that errs, kills anywhere, clocks that are wrong, in any order.

Each is judged like the sweeps, by the ledger, the store and the bytes. One that goes wrong is told as it was, not made
shorter: where a process dies depends on its threads, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import hypothesis
import pytest
from crash.conftest import SEED
from crash.judge import Case, add_up
from crash.report import Line, Report
from crash.sandbox import Sandbox
from crash.sweeps import MOST_RUNS, Sweep
from hypothesis import strategies as st

pytestmark = [pytest.mark.crash, pytest.mark.timeout(3600)]

STORIES = 100
DAY = 86_400.0
POINTS = 700
"""A little more than a run has."""

Fault = Mapping[str, Any]

HARMLESS: Sequence[Fault] = (
    {"status": 503},
    {"status": 429, "retry_after": 1.0},
    {"status": 400, "body": {"error": {"code": "moderation_blocked", "message": "no"}}},
    {"delay": 0.02},
    {"expired": True},
    {"operation": "downloads", "status": 503},
    {"operation": "downloads", "status": 404},
    {"operation": "downloads", "cut": "reset", "place": "answer", "byte": 0.5},
    {"operation": "downloads", "cut": "close"},
)
"""Faults after which the job knows whether it was billed, or that may be tried again."""
DOUBTFUL: Sequence[Fault] = (
    {"cut": "reset", "place": "upload", "byte": 0.5},  # a small request has left at once
    {"cut": "close"},
    {"cut": "close", "billed": True},
    {"cut": "reset", "place": "answer", "byte": 0.5},
    {"cut": "close", "place": "answer", "byte": -40},
    {"status": 500},  # nobody says that a plain 500 is free
    {"status": 502, "body": "<html>bad gateway</html>", "billed": True},
    {"status": 200, "body": "<html>", "billed": True},
)


@attrs.frozen
class Run:
    """
    One run of a job.

    Attributes:
        die_at: At which point it is killed; 0 or beyond the last for not at all.
        ahead: Seconds by which its date is wrong.
        faults: What goes wrong at the server from its beginning on.
    """

    die_at: int
    ahead: float
    faults: Sequence[Fault]


runs = st.builds(
    Run,
    st.integers(0, POINTS),
    st.sampled_from([0.0, 0.0, DAY, -DAY]),
    st.lists(st.sampled_from([*HARMLESS, *DOUBTFUL]), max_size=4),
)


def test_any_story_keeps_the_promises(sandboxes: list[Sandbox], found: Report):
    """Nothing is bought twice, lost or torn, in whatever order things happen."""
    sweep = Sweep(sandboxes=sandboxes[:1], name="stories")
    sandbox = sandboxes[0]
    verdicts = []

    @hypothesis.seed(SEED)
    @hypothesis.settings(max_examples=STORIES, deadline=None, database=None, phases=[hypothesis.Phase.generate])
    @hypothesis.given(st.lists(runs, min_size=1, max_size=4))
    def tell(story: Sequence[Run]) -> None:
        verdicts.append(play(sandbox, sweep, story, f"story-{len(verdicts)}"))
        assert verdicts[-1].clean, "\n".join(verdicts[-1].notes)

    tell()
    found.lines.append(
        Line(what="stories of faults, kills and wrong clocks", jobs=len(verdicts), sums=add_up(verdicts))
    )


def play(sandbox: Sandbox, sweep: Sweep, story: Sequence[Run], tag: str):
    """Play a story, let the job come to its end, and judge it."""
    plan = sweep.plan(sandbox, tag)
    requests: list[Mapping[str, Any]] = []
    kills = 0
    for run in story:
        requests += sandbox.ledger("none", run.faults)["requests"]
        ending = sandbox.run(plan, die_at=run.die_at, ahead=run.ahead)
        assert ending.status in {0, -9}, ending.errors
        kills += ending.killed
    requests += sandbox.ledger("none")["requests"]
    for _ in range(MOST_RUNS):
        ending = sandbox.run(plan)
        assert ending.status == 0, ending.errors
        store = sandbox.inspect(plan)
        if not any(store["totals"]["counts"][name] for name in ("pending", "leased", "sent", "received")):
            break
    requests += sandbox.ledger("none")["requests"]
    doubtful = sum(fault in DOUBTFUL for run in story for fault in run.faults)
    by_kills = max(0, store["totals"]["counts"]["in_doubt"] - doubtful)
    verdict = Case(
        directory=Path(plan.directory),
        store=store,
        requests=requests,
        reference=sweep.reference.outputs,
        doubts=[-(-by_kills // kills) if kills else by_kills * POINTS],
        kills=kills,
        notes=[f"story: {story}"],
    ).judge()
    sandbox.clean(plan)
    return verdict
