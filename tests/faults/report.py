"""What the cases came to, as tables."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

import attrs
from faults.table import GROUPS, SIZES, Case
from reliability import grid

PACKAGES = ("aiohttp", "aiofiles", "tenacity", "openai")


@attrs.frozen(kw_only=True)
class Row:
    """
    What one case came to.

    Attributes:
        case: Which.
        verdict: `survived`, `skipped`, or `fails`.
        seen: How its calls ended.
        posts: Requests that reached the server.
        billed: Those that were billed.
        double: Images bought again without consent.
        lost: Paid images of which the caller was not told.
        leaks: What was left over, or shown of the key.
        seconds: Real time of both plays.
    """

    case: Case
    verdict: str
    seen: Sequence[str] = ()
    posts: int = 0
    billed: int = 0
    double: int = 0
    lost: int = 0
    leaks: int = 0
    seconds: float = 0.0


@attrs.frozen(kw_only=True)
class RivalRow:
    """What the same fault came to with the official client."""

    posts: int
    billed: int
    seen: str

    def __str__(self) -> str:
        """Return the column."""
        return f"{self.posts} / {self.billed}"


@attrs.define
class Report:
    """
    Everything that was seen.

    Attributes:
        rows: By id.
        rivals: By id.
        notes: Sentences on the soak and the negative controls, by their titles.
    """

    rows: dict[str, Row] = attrs.field(factory=dict)
    rivals: dict[str, RivalRow] = attrs.field(factory=dict)
    notes: dict[str, str] = attrs.field(factory=dict)

    def table(self) -> str:
        """Return one line for each case."""
        heads = ("id", "fault", "expected", "seen", "POSTs", "billed", "openai: POSTs / billed")
        return grid(heads, (self.line(self.rows[key]) for key in ordered(self.rows)))

    def line(self, row: Row) -> tuple[object, ...]:
        case = row.case
        rival = self.rivals.get(case.id)
        if case.skipped:
            return case.id, case.fault, "", f"skipped: {case.skipped}", "", "", rival or ""
        seen = "; ".join(condense(row.seen))
        seen = f"{seen} ({row.verdict})" if row.verdict != "survived" else seen
        return case.id, case.fault, case.expected, seen, row.posts, row.billed, rival or "-"

    def summary(self) -> str:
        """Return one line for each group, and their sum."""
        heads = ("group", "cases", "survived", "skipped", "double-billed", "lost", "leaked")
        lines = [
            self.sums(GROUPS[group], [row for row in self.rows.values() if row.case.group == group], size)
            for group, size in SIZES.items()
        ]
        return grid(heads, [*lines, self.sums("all", list(self.rows.values()), sum(SIZES.values()))])

    def sums(self, name: str, rows: Sequence[Row], size: int) -> tuple[object, ...]:
        verdicts = [row.verdict for row in rows]
        return (
            name,
            size,
            verdicts.count("survived"),
            verdicts.count("skipped"),
            sum(row.double for row in rows),
            sum(row.lost for row in rows),
            sum(row.leaks for row in rows),
        )

    def to_markdown(self) -> str:
        """Return the part of the page."""
        system = f"{platform.system()}, Python {platform.python_version()}"
        versions = ", ".join([system, *(f"{name} {version(name)}" for name in PACKAGES)])
        parts = [
            f"Written by `nox -s faults` on {datetime.now(UTC):%Y-%m-%d}: {versions}.",
            INTRODUCTION,
            "## Sums",
            self.summary(),
            self.comparison(),
            *(part for title, text in self.notes.items() for part in (f"## {title}", text)),
            "## Cases",
            self.table(),
        ]
        return "\n\n".join(parts) + "\n"

    def comparison(self) -> str:
        """Return what the other client bought more often than it was asked to."""
        shared = [key for key in self.rivals if key in self.rows]
        theirs = sum(max(0, self.rivals[key].billed - 1) for key in shared)
        ours = sum(self.rows[key].double for key in shared)
        return (
            f"Of these faults, {len(shared)} were put to the official openai client as well, with its own settings and "
            f"for one image each: it was billed for {theirs} more than that, this client for {ours}. A fault strikes "
            "whenever it is met, unless the case says how often."
        )


INTRODUCTION = """\
Every case plays twice, with its fault and without. The one asserts that the fault struck and that the call ended as it
has to; the other that the same call plainly succeeds. Both assert that the ledger of the server agrees, that no task,
thread or file descriptor is left, that the key is in no message, log, traceback or pickle, and that neither lasted
longer than it may. Times of stages and waits are scaled; the bytes on the wire are not.

`POSTs` are requests that reached the server, `billed` those for which it made images. *Double-billed* counts images
that were bought again without the caller's consent, *lost* paid images of which the caller was not told, *leaked*
whatever was left over or showed the key."""


def ordered(keys: Iterable[str]) -> list[str]:
    """Return ids in the order of the matrix."""
    letters = "".join(SIZES)
    return sorted(keys, key=lambda key: (letters.index(key[0]), key))


def condense(seen: Sequence[str]) -> list[str]:
    """Return how calls ended, each way once."""
    return [f"{end} x {count}" if (count := list(seen).count(end)) > 1 else end for end in dict.fromkeys(seen)]
