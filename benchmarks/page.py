"""Puts results where they are kept and shown: a JSON file, a picture, and the tables of the documentation."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from benchmarks.figures import Measured, Results
from benchmarks.plot import draw
from benchmarks.report import as_markdown, figure_rows, goal_rows, scale_rows, summary

__all__ = [
    "PAGE",
    "PICTURE",
    "RESULTS",
    "draw_beside",
    "fill",
    "newest",
    "read",
    "sections",
    "show",
    "show_sections",
    "write",
]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "pictures" / "performance.svg"

SECTION = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def read(path: Path) -> Results:
    """Return the results in a file."""
    return Results(**json.loads(path.read_text(encoding="utf-8")))


def newest(folder: Path = RESULTS) -> Path:
    """Return the newest results that are kept."""
    return max(folder.glob("*.json"))


def write(results: Measured, folder: Path) -> Path:
    """Write results, named by their date; return their path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{results.date}.json"
    path.write_text(json.dumps(attrs.asdict(results), indent=1) + "\n", encoding="utf-8")
    return path


def show(results: Results) -> Path:
    """Bring the documentation up to date; return the picture's path."""
    PICTURE.write_text(draw(results), encoding="utf-8")
    show_sections(sections(results))
    return PICTURE


def show_sections(texts: Mapping[str, str]) -> None:
    """Put texts between their marks in the documentation."""
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), texts), encoding="utf-8")


def draw_beside(results: Results, path: Path) -> Path:
    """Draw the picture beside results that the documentation does not show; return its path."""
    picture = path.with_suffix(".svg")
    picture.write_text(draw(results), encoding="utf-8")
    return picture


def sections(results: Results) -> dict[str, str]:
    """Return the tables of *results*, by the names of their places."""
    return {
        "summary": summary(results),
        "goals": as_markdown(goal_rows(results)),
        "figures": as_markdown(figure_rows(results)),
        "scales": as_markdown(scale_rows(results)),
    }


def fill(page: str, texts: Mapping[str, str]) -> str:
    """Return *page* with *texts* between their marks; other places stay as they are."""
    return SECTION.sub(
        lambda match: f"{match[1]}{texts[match[2]]}\n{match[3]}" if match[2] in texts else match[0], page
    )
