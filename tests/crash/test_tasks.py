"""Jobs killed in each state of a task, with a server that makes tasks of all requests."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from crash.conftest import SEED
from crash.judge import Verdict, add_up
from crash.report import Report, TaskLine
from crash.sandbox import Sandbox
from crash.sweeps import Sweep, Tried
from crash.task_counts import TaskCounts, add_up_counts

pytestmark = pytest.mark.timeout(3600)

MOST = 4
"""Kills in each state; `nox -s crash` has them at all points besides."""
STATES = {
    "to be sent, not written down": ("mark_sent asked for", False),
    "written down, not sent": ("mark_sent known", True),
    "sent, not accepted": ("run: request sent", True),
    "accepted, not written down": ("mark_accepted asked for", True),
    "written down, not asked for": ("mark_accepted known", False),
    "queued, asked for": ("task queued: asked for", False),
    "in progress": ("task in_progress: asked for", False),
    "succeeded, not stored": ("task succeeded: answered", False),
    "its URLs written down": ("mark_received known", False),
    "an image downloaded": ("downloaded", False),
    "half an image stored": ("part half", False),
    "done, not written down": ("finish asked for", False),
}
"""How the names of points in each state end, and whether the request that is there is in doubt."""
LOST_ACCEPTANCE = [{"cut": "close", "billed": True}]
LOST = "a lost 202"
LOST_AND_KILLED = "a lost 202, then killed"
STEP = 12
SOMEWHERE = f"at one point in {STEP}"
EVERYWHERE = "at every point"
CONTROLS = {"forgets the id": "forgotten", "sends again": "double"}
"""Which figure finds each broken promise out."""


def line_of(state: str, tries: Sequence[Tried]) -> TaskLine:
    """Return a line of the table."""
    return TaskLine(
        state=state,
        sums=add_up([tried.verdict for tried in tries]),
        tasks=add_up_counts([tried.tasks for tried in tries]),
    )


def enter(found: Report, state: str, tries: Sequence[Tried]) -> tuple[Verdict, TaskCounts]:
    """Put a line into the table, and return its sums."""
    line = line_of(state, tries)
    found.tasks.append(line)
    return line.sums, line.tasks


def kill_in(sweep: Sweep, ending: str, most: int = MOST) -> list[Tried]:
    """Kill jobs at some of the points whose names end so, spread over a run."""
    passed = sum(name.endswith(ending) for name in sweep.reference.points)
    assert passed, f"no point ends in {ending!r}"
    numbers = sorted({1 + passed * number // most for number in range(min(most, passed))})
    return sweep.each(lambda sandbox, number=number: sweep.at_point(sandbox, ending, number) for number in numbers)


@pytest.fixture(scope="module")
def sweep(sandboxes: list[Sandbox]) -> Sweep:
    """Return jobs whose server makes tasks."""
    return Sweep(sandboxes=sandboxes, name="tasks", policy="tasks")


@pytest.mark.parametrize("state", STATES)
def test_a_task_survives_a_kill(sweep: Sweep, found: Report, state: str):
    """In every state of a task a killed job loses and repeats nothing, and only an unknown acceptance is in doubt."""
    ending, is_doubtful = STATES[state]
    tries = kill_in(sweep, ending)
    sums, tasks = enter(found, state, tries)

    assert sums.clean, "\n".join(sums.notes)
    assert len(tries) == sums.kills
    assert (tasks.sent, tasks.accepted, 0) == (sums.in_doubt, tasks.brought_home, tasks.forgotten)
    assert all((tried.tasks.sent > 0) or not is_doubtful for tried in tries)
    assert is_doubtful or sums.most_in_doubt < 3


def test_a_lost_acceptance_is_in_doubt(sandboxes: list[Sandbox], sweep: Sweep, found: Report):
    """An answer 202 that is lost leaves its request in doubt, and no other."""
    sandbox = sandboxes[0]
    sandbox.ledger("tasks", LOST_ACCEPTANCE)
    sums, tasks = enter(found, LOST, [sweep.go(sandbox, sweep.plan(sandbox, "lost"), [])])

    assert sums.clean, "\n".join(sums.notes)
    assert (0, 12, 1, 0) == (sums.kills, sums.billed, sums.in_doubt, sums.double)
    assert 0 == tasks.forgotten


def test_a_lost_acceptance_and_a_kill_leave_it_in_doubt(sandboxes: list[Sandbox], sweep: Sweep, found: Report):
    """A job that is killed before it has written down that an answer 202 was lost does not send its request again."""
    tried = sweep.at_point(sandboxes[0], "mark_in_doubt asked for", 1, LOST_ACCEPTANCE)
    sums, tasks = enter(found, LOST_AND_KILLED, [tried])

    assert sums.clean, "\n".join(sums.notes)
    assert (1, 0) == (sums.kills, sums.double)
    assert 1 <= tasks.sent == sums.in_doubt
    assert (tasks.accepted, 0) == (tasks.brought_home, tasks.forgotten)


@pytest.mark.parametrize(
    ("step", "state"),
    [
        pytest.param(STEP, SOMEWHERE, id="some"),
        pytest.param(1, EVERYWHERE, id="every", marks=pytest.mark.crash),
    ],
)
def test_a_job_with_tasks_survives_a_kill_at_any_point(sweep: Sweep, found: Report, step: int, state: str):
    """A job that is killed at any point is resumed without losing or repeating what may have been billed."""
    sums, tasks = enter(found, state, sweep.every_point(step, first=1 + SEED % step))

    assert sums.clean, "\n".join(sums.notes)
    assert (tasks.sent, tasks.accepted, 0) == (sums.in_doubt, tasks.brought_home, tasks.forgotten)


@pytest.mark.parametrize("control", CONTROLS)
def test_a_broken_promise_about_tasks_is_found_out(sandboxes: list[Sandbox], found: Report, control: str):
    """The harness notices a job that forgets the ids of tasks, and one that sends a request again."""
    sweep = Sweep(sandboxes=sandboxes, name="control", policy="tasks", control=control)
    tries = [tried for state in ("queued, asked for", "in progress") for tried in kill_in(sweep, STATES[state][0])]
    line = line_of(control, tries)
    found.task_controls.append(line)

    assert {"forgotten": line.tasks.forgotten, "double": line.sums.double}[CONTROLS[control]] > 0
