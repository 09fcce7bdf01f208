"""From readings to figures and verdicts: pure, so no server and no process."""

from __future__ import annotations

import attrs
import pytest

from benchmarks.figures import Results, difference_is_shown, fit_line, judge_goals, spread, typical, worst_deviation
from benchmarks.jobs import JOBS, SCALES, Goal
from benchmarks.report import as_markdown, as_text, figure_rows, goal_rows, said, scale_rows, summary
from benchmarks.work import MB, Task, Work

NAMES = {job.name: job for job in JOBS}


def make_results(jobs=None, scales=None, *, quick=False):
    return Results(
        date="2026-01-02",
        quick=quick,
        rounds=3,
        versions={"python": "3.11"},
        machine={"system": "Linux", "cpu": "some", "cores": 2, "load": 0.1},
        jobs=jobs or {},
        scales=scales or {},
    )


def test_ratio_is_of_medians():
    """One slow round of either side does not change the ratio."""
    ours = {"cpu": [0.1, 0.1, 9.0], "wall": [1.0] * 3, "memory": [1.0] * 3, "stall": [0.001] * 3}
    theirs = {"cpu": [1.0, 1.0, 30.0], "wall": [1.0] * 3}
    results = make_results({"files": {"ours": ours, "openai": theirs}})
    judged = judge_goals(results, NAMES["files"])[0]

    assert (0.1, True, True) == (judged.figure, judged.met, judged.shown)


def test_goal_of_an_absent_contender_is_not_judged():
    """A contender that was not run has neither met nor missed its goal."""
    ours = {"cpu": [0.1], "wall": [1.0], "memory": [7.0 * MB], "stall": [0.006]}
    judged = judge_goals(make_results({"files": {"ours": ours}}), NAMES["files"])

    assert [("memory", False), ("stall", False)] == [(one.goal.measure, one.met) for one in judged]


def test_unable_contender_has_a_row_and_no_verdict():
    """A contender that cannot do a job says so in the table."""
    results = make_results({"stream": {"ours": "not there yet", "openai": {"wall": [1.0], "cpu": [1.0]}}})

    assert [] == judge_goals(results, NAMES["stream"])
    assert "not there yet" == figure_rows(results)[1][2]


def test_rate_counts_what_was_asked_for():
    """Requests a second follow from the size of the work, which is another in a quick run."""
    jobs = {"small-64": {"ours": {"wall": [0.5]}}}
    job = NAMES["small-64"]
    assert job.work is not None
    assert job.quick is not None

    assert job.work.requests / 0.5 == typical(make_results(jobs), job, "ours", "rate")
    assert job.quick.requests / 0.5 == typical(make_results(jobs, quick=True), job, "ours", "rate")


def test_import_is_net_of_python():
    """The time that Python itself takes to start is not counted as import time."""
    jobs = {"import": {"ours": {"wall": [0.05]}, "openai": {"wall": [0.51]}, "python": {"wall": [0.01]}}}
    (judged,) = judge_goals(make_results(jobs), NAMES["import"])

    assert pytest.approx(0.08) == judged.figure


@pytest.mark.parametrize(("ratio", "shown"), [(1.0, False), (1.29, False), (0.78, False), (1.31, True), (0.76, True)])
def test_small_differences_are_none(ratio, shown):
    """A ratio below 1.3 counts as no difference, because two runs of the same program differ as much."""
    assert shown == difference_is_shown(ratio)


def test_bounds_are_inclusive():
    """A figure equal to the goal meets it, and a figure beyond the goal does not."""
    most, least = Goal(measure="cpu", most=0.2), Goal(measure="rate", least=8)

    assert (True, False) == (most.is_met(0.2), most.is_met(0.2001))
    assert (True, False) == (least.is_met(8), least.is_met(7.99))


def test_line_is_found():
    """Points on a line deviate from the fitted line by zero."""
    points = [(1.0, 5.0), (10.0, 23.0), (100.0, 203.0)]

    assert pytest.approx((3.0, 2.0)) == fit_line(points)
    assert pytest.approx(0, abs=1e-9) == worst_deviation(points)


def test_growth_beyond_a_line_is_seen():
    """Work that grows with the square of its size is far from any line."""
    assert worst_deviation([(float(x), float(x * x)) for x in (1, 2, 5, 10)]) > 0.3


def test_misses_are_said_in_every_table():
    """Every table says which goals are missed."""
    points = {str(x): {"cpu": [x * x / 1000], "memory": [x * MB]} for x in (1, 2, 5, 10)}
    results = make_results({"large-files": {"ours": {"memory": [25.0 * MB]}}}, {"images": points})
    text = as_markdown(goal_rows(results)) + as_markdown(scale_rows(results))

    assert 3 == text.count("**missed**")
    assert "25.0 MB (≤ 24) **missed**" == said(judge_goals(results, NAMES["large-files"])[0])


def test_tables_say_where_nothing_is_shown():
    """A ratio near 1 is neither a win nor a loss, whatever the goal says."""
    jobs = {"files": {"ours": {"cpu": [1.1], "wall": [1.0]}, "openai": {"cpu": [1.0], "wall": [1.0]}}}
    (judged,) = judge_goals(make_results(jobs), NAMES["files"])

    assert "1.10 CPU (≤ 0.15) **missed**, no difference" == said(judged)


def test_busy_machine_is_remarked_upon():
    """A table says so if other processes disturbed its figures."""
    calm = make_results()
    busy = attrs.evolve(calm, machine={**calm.machine, "load": 2.0})

    assert ("busy" in summary(calm), "busy" in summary(busy)) == (False, True)


def test_text_lines_up():
    """The columns of a table in the terminal are aligned."""
    assert ["a   b", "--  -", "10  2"] == as_text([("a", "b"), ("10", "**2**")]).splitlines()


def test_spread_is_half_the_range():
    """The spread is half of the range, as a part of the median."""
    assert pytest.approx(0.1) == spread([0.9, 1.0, 1.1])


def test_task_survives_the_command_line():
    """A task that is passed on a command line is read back unchanged."""
    task = Task(work=Work(verb="upload", images=3), server="http://127.0.0.1:1", folder="/a", inputs="/b")

    assert task == Task.from_json(task.to_json())


def test_names_are_told_apart():
    """Each job and scale has one name by which the command line chooses it."""
    names = [*NAMES, *(scale.name for scale in SCALES)]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_goals_name_contenders(job):
    """Every goal compares with a contender that runs."""
    assert {goal.against for goal in job.goals} <= {None, *job.contenders}
