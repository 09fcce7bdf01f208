"""Every change kills jobs at a part of the points, and makes sure that the judge finds what is wrong where it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from crash.conftest import SEED
from crash.judge import add_up
from crash.report import Line, Report
from crash.sandbox import Sandbox
from crash.sweeps import Sweep

pytestmark = pytest.mark.timeout(600)

STEP = 32
AFTER_SENDING = ("status", "body in", "request sent")
"""Endings of points at which a request has been billed and nobody knows."""


def spread(sweep: Sweep, endings: Sequence[str], most: int) -> Iterator[tuple[str, int]]:
    """Yield points all over a run: how the name of each ends, and its number among those."""
    for ending in endings:
        passed = sum(name.endswith(ending) for name in sweep.reference.points)
        share = min(passed, most // len(endings))
        yield from ((ending, 1 + passed * number // share) for number in range(share))


def test_killed_at_some_points_a_job_keeps_its_promises(sandboxes: list[Sandbox], found: Report):
    """A job that is killed keeps its promises at one of every few points; `nox -s crash` tries them all."""
    sweep = Sweep(sandboxes=sandboxes, name="some")
    tries = sweep.every_point(STEP, first=1 + SEED % STEP)
    sums = add_up([tried.verdict for tried in tries])
    found.lines.append(Line(what=f"one point in {STEP}, held", jobs=len(tries), sums=sums))

    assert sums.clean, "\n".join(sums.notes)
    assert sums.kills >= len(tries) - 2


@pytest.mark.parametrize(
    ("control", "policy", "figure"),
    [
        ("late intent", "hold", "double"),
        ("", "retry", "double"),
        ("forgetful", "hold", "lost"),
        ("torn images", "hold", "torn"),
    ],
)
def test_a_broken_promise_is_found_out(sandboxes: list[Sandbox], found: Report, control: str, policy: str, figure: str):
    """The harness notices each kind of broken promise."""
    sweep = Sweep(sandboxes=sandboxes, name="control", control=control, policy=policy)
    endings = ("part half",) if figure == "torn" else AFTER_SENDING
    tries = sweep.each(lambda sandbox, at=at: sweep.at_point(sandbox, *at) for at in spread(sweep, endings, most=6))
    sums = add_up([tried.verdict for tried in tries])
    found.controls.append(Line(what=control or "blind retry", jobs=len(tries), sums=sums))

    assert getattr(sums, figure) > 0
    assert not sums.clean
