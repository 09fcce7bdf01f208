"""Jobs killed at every point there is, twice over, and at random; `nox -s crash` runs them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from crash.conftest import SEED
from crash.judge import add_up
from crash.report import Line, Report
from crash.sandbox import Sandbox
from crash.sweeps import Sweep, Tried

pytestmark = [pytest.mark.crash, pytest.mark.timeout(3600)]

KILLS = 200
FIRST_KILLS = 6
"""Points of a first kill, after each of which a recovery is killed at all of its own."""
STEP = 12
"""Of the points of a run that goes on after a recovery, one in so many."""


def enter(found: Report, what: str, tries: Sequence[Tried]):
    """Put a line into the table, and return its sums."""
    sums = add_up([tried.verdict for tried in tries])
    found.lines.append(Line(what=what, jobs=len(tries), sums=sums))
    return sums


def test_killed_at_every_point_a_job_keeps_its_promises(sandboxes: list[Sandbox], found: Report):
    """A job that is killed at any point is resumed without losing or repeating what may have been billed."""
    sweep = Sweep(sandboxes=sandboxes, name="every")
    tries = sweep.every_point()
    sums = enter(found, "every point, held", tries)
    names = {name for tried in tries for name in tried.where if name}
    found.notes["points"] = f"A run has about {len(sweep.reference.points)} points, of {len(names)} kinds."

    assert sums.clean, "\n".join(sums.notes)
    assert sums.kills > 0.9 * len(tries)


def test_a_server_that_honours_keys_serves_all_of_them_once(sandboxes: list[Sandbox], found: Report):
    """With a server that honours keys, every image arrives once and nothing stays in doubt."""
    sweep = Sweep(sandboxes=sandboxes, name="replay", policy="replay")
    tries = sweep.every_point()
    sums = enter(found, "every point, server honours keys", tries)

    assert sums.clean, "\n".join(sums.notes)
    assert (0, 12 * len(tries)) == (sums.in_doubt, sums.distinct)
    assert len(sweep.reference.outputs) * len(tries) == sums.outputs


def test_killed_while_it_recovers_a_job_keeps_its_promises(sandboxes: list[Sandbox], found: Report):
    """A job that is killed again during recovery keeps its promises."""
    sweep = Sweep(sandboxes=sandboxes, name="twice")
    points = len(sweep.reference.points)
    tries = [
        tried
        for number in range(FIRST_KILLS)
        for tried in sweep.every_point_of_a_recovery((2 * number + 1) * points // (2 * FIRST_KILLS), STEP)
    ]
    sums = enter(found, "again while it recovers", tries)

    assert sums.clean, "\n".join(sums.notes)


def test_killed_at_random_a_job_keeps_its_promises(sandboxes: list[Sandbox], found: Report):
    """A job that is killed at random moments, once or repeatedly, keeps its promises."""
    sweep = Sweep(sandboxes=sandboxes, name="random")
    sums = enter(found, "random moments", sweep.random_times(KILLS, SEED))

    assert sums.clean, "\n".join(sums.notes)
    assert sums.kills >= KILLS


@pytest.mark.parametrize(("control", "policy"), [("late intent", "hold"), ("", "retry")])
def test_without_the_promise_there_are_doubles(sandboxes: list[Sandbox], found: Report, control: str, policy: str):
    """Without the durable intent, images are bought twice: the control of the sweeps."""
    sweep = Sweep(sandboxes=sandboxes, name="doubles", control=control, policy=policy)
    tries = sweep.every_point(4)
    sums = add_up([tried.verdict for tried in tries])
    found.controls.append(Line(what=f"{control or 'blind retry'}, one point in 4", jobs=len(tries), sums=sums))

    assert sums.double > 0
