"""What the cases came to, as tables."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

import attrs
from middleboxes.boxes import Kind
from middleboxes.judging import IMAGES, Row
from middleboxes.kinds import KINDS
from middleboxes.troubles import TROUBLES, Case
from reliability import grid

__all__ = ["Report", "RivalRow"]


@attrs.frozen(kw_only=True)
class RivalRow:
    """What one call of the official client came to: requests that arrived, those billed, and how it ended."""

    arrived: int
    billed: int
    seen: str


@attrs.define
class Report:
    """
    Everything that was seen.

    Attributes:
        versions: Of the boxes that ran, by kind.
        missing: Why others did not run.
        rows: By kind and case.
        rivals: By kind and trouble.
        notes: Sentences, by title.
    """

    versions: dict[str, str] = attrs.field(factory=dict)
    missing: dict[str, str] = attrs.field(factory=dict)
    rows: dict[tuple[str, Case], Row] = attrs.field(factory=dict)
    rivals: dict[tuple[str, str], RivalRow] = attrs.field(factory=dict)
    notes: dict[str, str] = attrs.field(factory=dict)

    def table(self) -> str:
        """Return one line for each box, and their sum."""
        heads = (
            *("box", "version", "cases", "images asked for", "sent by us", "arrived", "billed"),
            *("told truly", "bought again by us", "sent again by the box"),
        )
        lines = [self.line(kind.title, self.versions[kind.id], self.rows_of(kind)) for kind in self.kinds]
        return grid(heads, [*lines, self.line("all", "", list(self.rows.values()))])

    @property
    def kinds(self) -> list[Kind]:
        return [kind for kind in KINDS if self.rows_of(kind)]

    def rows_of(self, kind: Kind) -> list[Row]:
        return [row for (key, _), row in self.rows.items() if key == kind.id]

    def line(self, name: str, number: str, rows: Sequence[Row]) -> tuple[object, ...]:
        true = sum(not (row.untrue or row.lost) for row in rows)
        counts = [sum(getattr(row, field) for row in rows) for field in ("calls", "sent", "arrived", "billed")]
        return (
            *(name, number, len(rows), *counts),
            *(f"{true} of {len(rows)}", sum(row.double for row in rows), sum(row.resent for row in rows)),
        )

    def outcomes(self) -> str:
        """Return one line for each trouble: what callers were told, over all boxes."""
        lines = []
        for name, trouble in TROUBLES.items():
            rows = [row for (_, case), row in self.rows.items() if case.trouble == name]
            told = sum((Counter(row.told) for row in rows), Counter[str]())
            billed = sum(row.billed for row in rows)
            lines.append(
                (trouble.about, len(rows), billed, "; ".join(f"{count} {word}" for word, count in told.items()))
            )
        return grid(("what goes wrong", "cases", "billed", "told"), lines)

    def bare(self) -> str:
        """Return one line for each box and operation that brings no image although nothing goes wrong."""
        lines = []
        for kind in self.kinds:
            for (key, case), row in self.rows.items():
                if key == kind.id and case.trouble == "none" and set(row.told) != {IMAGES}:
                    told = "; ".join(row.told)
                    lines.append((kind.title, case.operation, row.sent, row.arrived, row.billed, told))
        return grid(("box", "operation", "sent by us", "arrived", "billed", "told"), lines)

    def comparison(self) -> str:
        """Return how many images one call of either client is billed for."""
        kinds = [kind for kind in KINDS if any(key == kind.id for key, _ in self.rivals)]
        troubles = list(dict.fromkeys(trouble for _, trouble in self.rivals))
        lines = [(kind.title, *(self.rival(kind, trouble) for trouble in troubles)) for kind in kinds]
        return grid(("box", *(TROUBLES[trouble].about for trouble in troubles)), lines)

    def rival(self, kind: Kind, trouble: str) -> str:
        theirs = self.rivals.get((kind.id, trouble))
        ours = self.rows.get((kind.id, Case(trouble=trouble, operation="generate")))
        told = "-" if theirs is None else f"{theirs.billed} ({theirs.seen})"
        return told if ours is None else f"{told}; {ours.billed} ({', '.join(ours.told)})"

    def to_markdown(self) -> str:
        """Return the part of the page."""
        packages = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "openai"))
        system = f"{platform.system()}, Python {platform.python_version()}, {packages}"
        parts = [
            f"Written by `nox -s middleboxes` on {datetime.now(UTC):%Y-%m-%d}: {system}.",
            "## Real programs in between",
            INTRODUCTION,
            self.table(),
            *(f"{name} did not run: {why}" for name, why in self.missing.items()),
            "What went wrong, over all boxes:",
            self.outcomes(),
            "Boxes through which something brings no image although nothing goes wrong:",
            self.bare(),
            *(part for title, text in self.notes.items() for part in (f"### {title}", text)),
        ]
        if self.rivals:
            parts += ["### Beside the official client", RIVALS, self.comparison()]
        return "\n\n".join(parts) + "\n"


INTRODUCTION = """\
The emulator stands behind programs that stand between clients and APIs in real life. Each of them is started for its
cases and stopped after them, and gives up on the server behind it after two seconds where it can. Operations are a
generation with the image in the answer and with its address, an edit of 8 MiB, a variation, a stream, a stream inside
(`via_stream`), and a job of 20 rows.

`Sent by us` are the requests that left this client, `arrived` those that reached the server, `billed` those for which
it made images. *Told truly* are the cases in which none was billed while the caller was told that it was not, or the
other way round, and in which no image was lost. *Bought again by us* counts images that requests of this client bought
again; what a box sends again by itself is counted apart, and no client can keep it from that."""

RIVALS = """\
Images that one call is billed for where the fault lasts, with default settings: that of the official openai client, and
after the semicolon that of this one; how the call ends is in parentheses."""
