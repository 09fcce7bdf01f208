"""The page docs/reliability.md: parts that several sessions write, each its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["PAGE", "PARTS", "grid", "is_signed", "read_parts", "sign", "tables", "write_part"]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"
PARTS = {"faults": "faults", "uploads": "uploads", "crash": "crash", "tasks": "crash", "middleboxes": "middleboxes"}
"""In their order on the page, with the session that writes each."""


def write_part(page: Path, name: str, text: str) -> None:
    """Put *text* where the part *name* is, and leave the others as they are."""
    parts = read_parts(page.read_text(encoding="utf-8") if page.exists() else "")
    parts[name] = sign(text.strip())
    written = "\n\n".join(f"{begin(name)}\n\n{parts[name]}\n\n{end(name)}" for name in PARTS if name in parts)
    page.write_text(f"# Reliability\n\n{written}\n", encoding="utf-8")


def read_parts(text: str) -> dict[str, str]:
    """Return the parts of the page that are there."""
    found = {}
    for name in PARTS:
        _, opened, rest = text.partition(begin(name))
        part, closed, _ = rest.partition(end(name))
        if opened and closed:
            found[name] = part.strip()
    return found


def sign(text: str) -> str:
    """Return *text* and a digest of it, by which a change that was made by hand is seen."""
    return f"{text}\n\n<!-- sha256 of this part: {digest(text)} -->"


def is_signed(part: str) -> bool:
    """Return whether *part* is as its session wrote it."""
    text, found, _ = part.rpartition("\n\n<!-- sha256 of this part: ")
    return bool(found) and sign(text) == part


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def begin(name: str) -> str:
    return f"<!-- {name}: from here on written by `nox -s {PARTS[name]}` -->"


def end(name: str) -> str:
    return f"<!-- {name}: to here -->"


def grid(heads: Sequence[object], lines: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    rows = [tuple(str(cell).replace("|", "\\|") for cell in line) for line in (heads, *lines)]
    body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([body[0], f"|{'---|' * len(heads)}", *body[1:]])


def tables(part: str) -> list[list[list[str]]]:
    """Return the tables of *part*: their rows, the heads first, and their cells."""
    found = re.findall(r"(?:^\|.*\n?)+", part, re.MULTILINE)
    return [[split(line) for line in table.splitlines() if not line.startswith("|---")] for table in found]


def split(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip())[1:-1]
    return [cell.strip().replace("\\|", "|") for cell in cells]
