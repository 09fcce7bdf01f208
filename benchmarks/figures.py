"""From readings to figures: medians, spreads, ratios, and whether goals are met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import attrs

from benchmarks.jobs import JOBS, SCALES, Goal, Job, Measure, Scale

__all__ = [
    "BUSY",
    "Judged",
    "Measured",
    "Results",
    "difference_is_shown",
    "fit_line",
    "judge_goals",
    "typical",
    "worst_deviation",
]

BUSY = 0.5
"""Load average from which on others are measured too."""
SHOWN = 1.3
"""A ratio nearer to 1 than this one is within what two runs differ by."""

Readings = Mapping[str, Sequence[float]]
"""Of one contender or point: every round's figure, by measure."""


@attrs.frozen(kw_only=True)
class Measured:
    """
    How something was measured.

    Attributes:
        date: ISO date.
        quick: Whether the work was made small.
        rounds: How often each contender ran.
        versions: By program.
        machine: What it ran on, and the load average before it began.
    """

    date: str
    quick: bool
    rounds: int
    versions: Mapping[str, str]
    machine: Mapping[str, str | int | float]


@attrs.frozen(kw_only=True)
class Results(Measured):
    """
    One run of the bench.

    Attributes:
        jobs: Readings by job and contender; text where a contender is unable.
        scales: Readings by scale and point.
    """

    jobs: Mapping[str, Mapping[str, Readings | str]]
    scales: Mapping[str, Mapping[str, Readings]]

    def requests_of(self, job: Job) -> int:
        """Return how many requests a job made."""
        work = job.work_of(quick=self.quick)
        return 1 if work is None else work.requests

    def title_of(self, job: Job) -> str:
        """Return a job's title, with the numbers of what was really done."""
        work = job.work_of(quick=self.quick)
        return job.title if work is None else job.title.format(work=work, every=work.images * work.requests)

    def jobs_run(self) -> list[Job]:
        """Return the jobs that were run, in the table's order."""
        return [job for job in JOBS if job.name in self.jobs]

    def scales_run(self) -> list[Scale]:
        """Return the scales that were run, in the table's order."""
        return [scale for scale in SCALES if scale.name in self.scales]


@attrs.frozen(kw_only=True)
class Judged:
    """
    A goal and how it stands.

    Attributes:
        goal: What was wanted.
        figure: What was found.
        met: Whether it is enough.
        shown: Whether the figure differs from the contender's by more than runs do; always for absolute goals.
    """

    goal: Goal
    figure: float
    met: bool
    shown: bool


def typical(results: Results, job: Job, contender: str, measure: Measure) -> float | None:
    """Return the median of a measure, if there is one."""
    readings = results.jobs[job.name].get(contender)
    if readings is None or isinstance(readings, str):
        return None
    if measure == "rate":
        return results.requests_of(job) / median(readings["wall"])
    if measure == "net":
        bare = typical(results, job, "python", "wall")
        return None if bare is None else median(readings["wall"]) - bare
    return median(readings[measure]) if measure in readings else None


def judge_goals(results: Results, job: Job) -> list[Judged]:
    """Return the goals of a job that can be judged by what was run."""
    judged = []
    for goal in job.goals:
        figure = typical(results, job, "ours", goal.measure)
        if figure is not None and goal.against is not None:
            theirs = typical(results, job, goal.against, goal.measure)
            figure = figure / theirs if theirs else None
        if figure is not None:
            shown = goal.against is None or difference_is_shown(figure)
            judged.append(Judged(goal=goal, figure=figure, met=goal.is_met(figure), shown=shown))
    return judged


def difference_is_shown(ratio: float) -> bool:
    """Say whether a ratio is farther from 1 than runs differ."""
    return max(ratio, 1 / ratio) >= SHOWN if ratio > 0 else True


def spread(figures: Sequence[float]) -> float:
    """Return half the range, as a part of the median."""
    middle = median(figures)
    return (max(figures) - min(figures)) / 2 / middle if middle else 0.0


def fit_line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """
    Return start and slope of the line with the least squares of relative deviations.

    Relative, because the largest point would otherwise be all that counts.
    """
    weighted = [(1 / y, x / y) for x, y in points]
    aa = sum(a * a for a, _ in weighted)
    ab = sum(a * b for a, b in weighted)
    bb = sum(b * b for _, b in weighted)
    a1, b1 = sum(a for a, _ in weighted), sum(b for _, b in weighted)
    determinant = aa * bb - ab * ab
    return (a1 * bb - b1 * ab) / determinant, (b1 * aa - a1 * ab) / determinant


def worst_deviation(points: Sequence[tuple[float, float]]) -> float:
    """Return by which part of itself a point is farthest off the line through all."""
    start, slope = fit_line(points)
    return max(abs(start + slope * x - y) / y for x, y in points)
