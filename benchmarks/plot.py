"""Results as one picture: a bar for what we take where the other takes 1, and a notch where we want to be."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import attrs

from benchmarks.figures import Judged, Results, judge_goals
from benchmarks.report import LABELS

__all__ = ["draw"]

WIDTH = 860
LEFT = 372
RIGHT = 110
ROW = 24
HEAD = 78
GAP = 38
FOOT = 46
END = 1.25
"""Where the axis ends; longer bars are cut and say so with their number."""
GRID = (0.0, 0.25, 0.5, 0.75, 1.0)
SUBTITLE = "CPU time; of small requests and imports, time on the clock. Shorter is better; the notch is our goal."

STYLE = """
  .sheet { fill: #ffffff; } .ink { fill: #1c2733; } .soft { fill: #5d6b7a; } .met { fill: #2a7f8f; }
  .missed { fill: #c8602b; } .line { stroke: #e3e7ec; } .one { stroke: #8795a3; } .goal { stroke: #1c2733; }
  .number { stroke: #ffffff; } .break { stroke: #ffffff; }
  @media (prefers-color-scheme: dark) {
    .sheet { fill: #161b21; } .ink { fill: #e4e9ee; } .soft { fill: #98a5b3; } .met { fill: #4db2c4; }
    .missed { fill: #ee9560; } .line { stroke: #2a323b; } .one { stroke: #6c7986; } .goal { stroke: #f2f5f8; }
    .number { stroke: #161b21; } .break { stroke: #161b21; }
  }
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
  .title { font-size: 17px; font-weight: 600; } .group { font-weight: 600; } .small { font-size: 11.5px; }
  .number { font-variant-numeric: tabular-nums; paint-order: stroke; stroke-width: 4px; }
"""


@attrs.frozen(kw_only=True)
class Bar:
    """
    One ratio, so that less is better.

    Attributes:
        title: Of the job.
        value: Ours, where the other's is 1.
        goal: Where it should end.
        met: Whether it does.
    """

    title: str
    value: float
    goal: float
    met: bool


def draw(results: Results) -> str:
    """Return an SVG, readable on light and on dark."""
    groups = {who: bars for who in LABELS if (bars := list(bars_of(results, who)))}
    count = sum(map(len, groups.values()))
    height = HEAD + GAP * len(groups) + ROW * count + FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>What burncloud-images takes where others take 1</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="sheet" width="{WIDTH}" height="{height}" rx="10"/>',
        text(24, 34, "What a job takes where the other client takes 1", "ink title"),
        text(24, 56, SUBTITLE, "soft"),
    ]
    top = HEAD
    for who, bars in groups.items():
        parts += group(top, f"beside {LABELS[who]}", bars)
        top += GAP + ROW * len(bars)
    parts += [text(24, height - 18, caption(results), "soft small"), "</svg>", ""]
    return "\n".join(parts)


def bars_of(results: Results, who: str) -> Iterator[Bar]:
    for job in results.jobs_run():
        for judged in judge_goals(results, job):
            if judged.goal.against == who:
                yield to_bar(results.title_of(job), judged)


def to_bar(title: str, judged: Judged) -> Bar:
    goal, value = judged.goal, judged.figure
    bound = goal.most if goal.most is not None else 1 / (goal.least or 1)
    return Bar(
        title=title,
        value=1 / value if goal.measure == "rate" else value,
        goal=bound,
        met=judged.met,
    )


def group(top: float, title: str, bars: list[Bar]) -> Iterator[str]:
    first = top + GAP - 8
    last = first + ROW * len(bars)
    yield text(24, first - 8, title, "ink group")
    for place in GRID:
        kind = "one" if place == 1 else "line"
        yield f'<line class="{kind}" x1="{x(place):.1f}" x2="{x(place):.1f}" y1="{first}" y2="{last}"/>'
        yield text(x(place), first - 8, f"{place:g}", "soft small number", anchor="middle")
    for number, bar in enumerate(bars):
        yield from row(first + ROW * number, bar)


def row(top: float, bar: Bar) -> Iterator[str]:
    kind = "met" if bar.met else "missed"
    end = x(min(bar.value, END))
    middle = top + ROW / 2
    yield text(LEFT - 14, middle + 4.5, bar.title, "ink", anchor="end")
    yield f'<rect class="{kind}" x="{x(0):.1f}" y="{top + 5}" width="{end - x(0):.1f}" height="{ROW - 10}" rx="2"/>'
    if bar.value > END:
        yield f'<path class="break" d="M{end - 16:.1f} {top + ROW - 2} l5 -{ROW - 4}" stroke-width="4"/>'
    yield (
        f'<line class="goal" x1="{x(bar.goal):.1f}" x2="{x(bar.goal):.1f}" y1="{top + 2}" y2="{top + ROW - 2}" '
        'stroke-width="2.5"/>'
    )
    number = f"{bar.value:.2f}" + ("" if bar.met else ", missed")
    yield text(max(end, x(bar.goal)) + 8, middle + 4.5, number, "ink small number")


def x(value: float) -> float:
    """Return where a ratio lies."""
    return LEFT + value / END * (WIDTH - LEFT - RIGHT)


def text(left: float, base: float, words: str, kind: str, anchor: str = "start") -> str:
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{kind}" x="{left:.1f}" y="{base:.1f}"{where}>{escape(words)}</text>'


def caption(results: Results) -> str:
    shown = ("burncloud-images", "openai", "aiohttp", "python")
    names = {"python": "Python"}
    versions = ", ".join(f"{names.get(name, name)} {results.versions[name]}" for name in shown)
    return f"{results.date} · {versions} · {results.machine['cores']} cores of {results.machine['cpu']}"
