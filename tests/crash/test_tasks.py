"""Jobs killed in each state of a task, with a server that makes tasks of all requests."""

from __future__ import annotations

import pytest
from crash.judge import add_up
from crash.report import Report, TaskLine
from crash.sandbox import Sandbox
from crash.sweeps import Sweep, Tried

MOST = 4
"""Kills in each state; `nox -s crash` has them at all points besides."""
STATES = {
    "sent, not accepted": ("run: request sent", True),
    "accepted, not written down": ("mark_accepted asked for", True),
    "written down, not asked for": ("mark_accepted known", False),
    "queued, asked for": ("task queued: asked for", False),
    "in progress": ("task in_progress: asked for", False),
    "succeeded, not stored": ("task succeeded: answered", False),
    "its URLs written down": ("mark_received known", False),
    "half an image stored": ("part half", False),
}
"""How the names of points in each state end, and whether the request that is there is in doubt."""


def enter(found: Report, state: str, tries: list[Tried]):
    """Put a line into the table, and return its sums."""
    sums = add_up([tried.verdict for tried in tries])
    accepted, polls = sum(tried.accepted for tried in tries), sum(tried.polls for tried in tries)
    found.tasks.append(TaskLine(state=state, sums=sums, accepted=accepted, polls=polls))
    return sums


@pytest.fixture(scope="module")
def sweep(sandboxes: list[Sandbox]) -> Sweep:
    """Return jobs whose server makes tasks."""
    return Sweep(sandboxes=sandboxes, name="tasks", policy="tasks")


@pytest.mark.parametrize("state", STATES)
def test_a_task_survives_a_kill(sweep: Sweep, found: Report, state: str):
    """In every state of a task a killed job loses and repeats nothing, and only an unknown acceptance is in doubt."""
    ending, is_doubtful = STATES[state]
    passed = sum(name.endswith(ending) for name in sweep.reference.points)
    numbers = sorted({1 + passed * number // MOST for number in range(min(MOST, passed))})
    tries = sweep.each(lambda sandbox, number=number: sweep.at_point(sandbox, ending, number) for number in numbers)
    sums = enter(found, state, tries)

    assert passed
    assert sums.clean, "\n".join(sums.notes)
    assert len(numbers) == sums.kills
    assert is_doubtful or sums.most_in_doubt < 3


def test_a_lost_acceptance_is_in_doubt(sandboxes: list[Sandbox], sweep: Sweep, found: Report):
    """An answer 202 that is lost leaves its request in doubt, and no other."""
    sandbox = sandboxes[0]
    sandbox.ledger("tasks", faults=[{"cut": "close", "billed": True}])
    sums = enter(found, "a lost 202, no kill", [sweep.go(sandbox, sweep.plan(sandbox, "lost"), [])])

    assert sums.clean, "\n".join(sums.notes)
    assert (12, 1, 0) == (sums.billed, sums.in_doubt, sums.double)


@pytest.mark.crash
@pytest.mark.timeout(900)
def test_a_job_with_tasks_survives_a_kill_at_every_point(sweep: Sweep, found: Report):
    """A job that is killed at any point is resumed without losing or repeating what may have been billed."""
    sums = enter(found, "at every point", sweep.every_point())

    assert sums.clean, "\n".join(sums.notes)
