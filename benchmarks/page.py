"""Puts results where they are kept and shown: a JSON file, a picture, and the tables of the documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import attrs

from benchmarks.figures import Results
from benchmarks.plot import draw
from benchmarks.report import as_markdown, figure_rows, goal_rows, scale_rows, summary

__all__ = ["PAGE", "PICTURE", "RESULTS", "draw_beside", "fill", "newest", "read", "show", "write"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "pictures" / "performance.svg"

SECTION = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def read(path: Path) -> Results:
    """Return the results in a file."""
    return Results(**json.loads(path.read_text(encoding="utf-8")))


def newest() -> Path:
    """Return the newest results that are kept."""
    return max(RESULTS.glob("*.json"))


def write(results: Results, folder: Path) -> Path:
    """Write results, named by their date; return their path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{results.date}.json"
    path.write_text(json.dumps(attrs.asdict(results), indent=1) + "\n", encoding="utf-8")
    return path


def show(results: Results) -> Path:
    """Bring the documentation up to date; return the picture's path."""
    PICTURE.write_text(draw(results), encoding="utf-8")
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    return PICTURE


def draw_beside(results: Results, path: Path) -> Path:
    """Draw the picture beside results that the documentation does not show; return its path."""
    picture = path.with_suffix(".svg")
    picture.write_text(draw(results), encoding="utf-8")
    return picture


def fill(page: str, results: Results) -> str:
    """Return *page* with the tables of *results* between its marks."""
    sections = {
        "summary": summary(results),
        "goals": as_markdown(goal_rows(results)),
        "figures": as_markdown(figure_rows(results)),
        "scales": as_markdown(scale_rows(results)),
    }
    return SECTION.sub(lambda match: f"{match[1]}{sections[match[2]]}\n{match[3]}", page)
