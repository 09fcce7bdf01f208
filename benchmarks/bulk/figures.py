"""From readings of lists to the tables that are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import attrs

from benchmarks.figures import Measured, spread
from benchmarks.report import Rows, as_markdown, summary
from benchmarks.work import MB

__all__ = ["BulkResults", "beside_rows", "growth_rows", "sections"]

MOST_OVERHEAD = 1.10
"""Of the store, beside the same calls through `client.map`."""
MOST_GROWTH = 20 * MB
"""Bytes that a longer list may add to the peak of the shortest."""
LONGEST_RESUME = 3.0
"""Seconds to find that everything is done."""

WAYS = {
    "map": ("`client.map`, hashed and synced files", "wall", "cpu"),
    "sending": ("a job, from its first row to its last", "sending wall", "sending cpu"),
    "job": ("a job, with reading its list and writing table, report and gallery", "wall", "cpu"),
}
"""What is compared: its title, and which readings tell its time and its CPU time."""


@attrs.frozen(kw_only=True)
class BulkResults(Measured):
    """
    One run of the bench of lists.

    Attributes:
        rows: Of the list that is sent in two ways.
        at_once: Requests under way together.
        beside: Every round's readings by way.
        growth: One reading for each length of a list.
    """

    rows: int
    at_once: int
    beside: Mapping[str, Mapping[str, Sequence[float]]]
    growth: Mapping[str, Mapping[str, float]]

    def taken(self, way: str, measure: int) -> Sequence[float]:
        """Return the rounds of one of `WAYS`: their times for 1, their CPU times for 2."""
        return self.beside["map" if way == "map" else "job"][WAYS[way][measure]]

    def ratio(self, way: str, measure: int) -> float:
        """Return what a way takes where `client.map` takes 1, by the medians."""
        return median(self.taken(way, measure)) / median(self.taken("map", measure))


def beside_rows(results: BulkResults) -> Rows:
    """Return one row for each way to send the list."""
    rows: Rows = [("way", "wall s", "beside map", "CPU s", "beside map")]
    for way, (title, *_) in WAYS.items():
        cells = [cell for measure in (1, 2) for cell in to_cells(results, way, measure)]
        rows.append((title, *cells))
    return rows


def to_cells(results: BulkResults, way: str, measure: int) -> tuple[str, str]:
    taken = results.taken(way, measure)
    figure = results.ratio(way, measure)
    goal = judge(f"{figure:.2f}", f"≤ {MOST_OVERHEAD:.2f}", met=figure <= MOST_OVERHEAD)
    shown = {"map": "1", "sending": goal}.get(way, f"{figure:.2f}")
    return f"{median(taken):.2f} ±{spread(taken):.0%}", shown


def growth_rows(results: BulkResults) -> Rows:
    """Return one row for each length of a list."""
    rows: Rows = [("rows", "rows/s", "peak memory MB", "all done already, s")]
    least = min(reading["memory"] for reading in results.growth.values())
    longest = max(map(int, results.growth))
    for count, reading in results.growth.items():
        memory, resume = f"+{reading['memory'] / MB:.1f}", f"{reading['resume']:.2f}"
        if int(count) == longest:
            most = least + MOST_GROWTH
            memory = judge(memory, f"≤ {most / MB:.1f}", met=reading["memory"] <= most)
            resume = judge(resume, f"≤ {LONGEST_RESUME:g}", met=reading["resume"] <= LONGEST_RESUME)
        rows.append((f"{int(count):,}", f"{int(count) / reading['wall']:,.0f}", memory, resume))
    return rows


def judge(figure: str, goal: str, *, met: bool) -> str:
    return f"{figure} ({goal})" if met else f"{figure} ({goal}) **missed**"


def sections(results: BulkResults) -> dict[str, str]:
    """Return what the documentation shows, by the names of the places."""
    about = f"A list of {results.rows:,} rows, {results.at_once} at once. {summary(results)}"
    return {
        "lists": f"{about}\n\n{as_markdown(beside_rows(results))}",
        "growth": as_markdown(growth_rows(results)),
    }
