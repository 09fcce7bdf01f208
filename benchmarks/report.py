"""Results as tables: the same rows for a terminal and for the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median

from benchmarks.figures import BUSY, Judged, Measured, Results, judge_goals, spread, typical, worst_deviation
from benchmarks.jobs import Job, Measure, Scale
from benchmarks.work import MB

__all__ = ["LABELS", "as_markdown", "as_text", "figure_rows", "goal_rows", "said", "scale_rows", "summary"]

LABELS = {
    "ours": "burncloud-images",
    "openai": "openai",
    "openai-aiohttp": "openai on aiohttp, open files",
    "handwritten": "hand-written aiohttp",
    "curl": "curl --parallel",
    "python": "Python alone",
}
NONE = "-"

SHOW: dict[Measure, Callable[[float], str]] = {
    "wall": lambda seconds: f"{seconds * 1000:,.0f}",
    "net": lambda seconds: f"{seconds * 1000:,.0f}",
    "cpu": lambda seconds: f"{seconds * 1000:,.0f}",
    "memory": lambda size: f"{size / MB:,.1f}",
    "stall": lambda seconds: f"{seconds * 1000:.1f}",
    "rate": lambda rate: f"{rate:,.0f}",
}
UNITS: dict[Measure, str] = {"memory": "MB", "stall": "ms", "cpu": "CPU", "net": "time", "rate": "requests/s"}
COLUMNS: tuple[tuple[str, Callable[[Judged], bool]], ...] = (
    ("beside openai", lambda judged: judged.goal.against == "openai"),
    ("beside hand-written", lambda judged: judged.goal.against == "handwritten"),
    ("beside others", lambda judged: judged.goal.against in {"openai-aiohttp", "curl"}),
    ("peak memory", lambda judged: judged.goal.measure == "memory"),
    ("longest stall", lambda judged: judged.goal.measure == "stall"),
)

Rows = list[tuple[str, ...]]


def said(judged: Judged) -> str:
    """Return a figure with its goal beside it."""
    goal = judged.goal
    sign, bound = ("≤", goal.most) if goal.most is not None else ("≥", goal.least)
    if goal.against is None:
        show, unit = SHOW[goal.measure], UNITS[goal.measure]
        text = f"{show(judged.figure)} {unit} ({sign} {show(bound or 0).removesuffix('.0')})"
    else:
        who = f"{LABELS[goal.against]}: " if goal.against in {"openai-aiohttp", "curl"} else ""
        text = f"{who}{ratio(judged.figure)} {UNITS[goal.measure]} ({sign} {bound:.4g})"
    text = text if judged.met else f"{text} **missed**"
    return text if judged.shown else f"{text}, no difference"


def ratio(figure: float) -> str:
    return f"{figure:.3f}" if figure < 0.1 else f"{figure:.2f}" if figure < 3 else f"{figure:.1f}"


def goal_rows(results: Results) -> Rows:
    """Return one row for each job that has goals."""
    rows: Rows = [("job", *(title for title, _ in COLUMNS))]
    for job in results.jobs_run():
        judged = judge_goals(results, job)
        cells = ["; ".join(said(one) for one in judged if belongs(one)) or NONE for _, belongs in COLUMNS]
        if judged:
            rows.append((results.title_of(job), *cells))
    return rows


def figure_rows(results: Results) -> Rows:
    """Return one row for each contender of each job."""
    rows: Rows = [("job", "who", "wall ms", "CPU ms", "memory MB", "stall ms", "requests/s")]
    for job in results.jobs_run():
        title = results.title_of(job)
        for contender in (name for name in job.contenders if name in results.jobs[job.name]):
            rows.append((title, LABELS[contender], *cells(results, job, contender)))
            title = ""
    return rows


def cells(results: Results, job: Job, contender: str) -> Iterator[str]:
    readings = results.jobs[job.name][contender]
    if isinstance(readings, str):
        yield from (readings, *[NONE] * 4)
        return
    measures: tuple[Measure, ...] = ("wall", "cpu", "memory", "stall")
    for measure in measures:
        taken = readings.get(measure)
        if not taken:
            yield NONE
        elif measure == "memory":
            yield f"+{SHOW[measure](median(taken))}"
        else:
            yield f"{SHOW[measure](median(taken))} ±{spread(taken):.0%}"
    rate = typical(results, job, contender, "rate")
    yield SHOW["rate"](rate) if rate and results.requests_of(job) >= 100 else NONE


def scale_rows(results: Results) -> Rows:
    """Return one row for each thing that grows."""
    rows: Rows = [("what grows", "CPU ms", "off a straight line", "peak memory MB")]
    for scale in results.scales_run():
        points = {int(point): readings for point, readings in results.scales[scale.name].items()}
        cpu = [(float(point), median(readings["cpu"])) for point, readings in points.items()]
        memory = {point: median(readings["memory"]) for point, readings in points.items()}
        rows.append(
            (
                scale.title,
                " · ".join(f"{point:,.0f}: {SHOW['cpu'](seconds)}" for point, seconds in cpu),
                deviation(scale, cpu),
                flatness(scale, memory),
            )
        )
    return rows


def deviation(scale: Scale, cpu: Sequence[tuple[float, float]]) -> str:
    if scale.line is None or len(cpu) < 3:
        return NONE
    worst = worst_deviation(cpu)
    text = f"{worst:.0%} (≤ {scale.line.within:.0%})"
    return text if worst <= scale.line.within else f"{text} **missed**"


def flatness(scale: Scale, memory: dict[int, float]) -> str:
    text = " · ".join(f"{point:,}: +{SHOW['memory'](size)}" for point, size in memory.items())
    text = f"{text} (≤ {SHOW['memory'](scale.most_memory).removesuffix('.0')})"
    return text if max(memory.values()) <= scale.most_memory else f"{text} **missed**"


def summary(results: Measured) -> str:
    """Return when, on what and with what this was measured, and what to think of it."""
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    machine = results.machine
    remarks = (
        (results.quick, "Quick run: smaller work, and figures that only indicate."),
        (float(machine["load"]) > BUSY, f"The machine was busy (load {machine['load']}), so figures only indicate."),
    )
    where = f"Measured on {results.date} on {machine['system']}, {machine['cores']} cores of {machine['cpu']}"
    how = f"medians of {results.rounds} round{'s' * (results.rounds > 1)}"
    return " ".join([f"{where}; {how}; {versions}.", *(remark for holds, remark in remarks if holds)])


def as_markdown(rows: Rows) -> str:
    """Return a Markdown table."""
    head, *rest = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *rest])


def as_text(rows: Rows) -> str:
    """Return columns that line up."""
    plain = [[cell.replace("**", "") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*plain, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in plain]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
