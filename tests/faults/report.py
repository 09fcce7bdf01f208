"""What the cases came to, as tables."""

from __future__ import annotations

import platform
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

import attrs
from faults.table import GROUPS, SIZES, TABLE, Case
from reliability import grid
from ways import TITLES, WAYS

NUMBER = re.compile(r"\d+")
PACKAGES = ("aiohttp", "aiofiles", "tenacity", "openai")


@attrs.frozen(kw_only=True)
class Row:
    """
    What one case came to in one column.

    Attributes:
        case: Which.
        way: The column.
        verdict: `survived` or `fails`.
        seen: How its calls ended.
        posts: Requests that reached the server.
        billed: Those that were billed.
        double: Images bought again without consent.
        lost: Paid images of which the caller was not told.
        leaks: What was left over, or shown of the key.
        seconds: Real time of both plays.
    """

    case: Case
    way: str
    verdict: str
    seen: Sequence[str] = ()
    posts: int = 0
    billed: int = 0
    double: int = 0
    lost: int = 0
    leaks: int = 0
    seconds: float = 0.0

    @property
    def seen_words(self) -> str:
        """How its calls ended, and whether that is not how they should."""
        words = "; ".join(condense(self.seen))
        return f"{words} ({self.verdict})" if self.verdict != "survived" else words

    @property
    def outcome(self) -> tuple[object, ...]:
        """What can be compared between columns; measured figures cannot."""
        return NUMBER.sub("", self.seen_words), self.posts, self.billed


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
        rows: By id and column.
        rivals: By id.
        notes: Sentences on the soak and the negative controls, by their titles.
    """

    rows: dict[tuple[str, str], Row] = attrs.field(factory=dict)
    rivals: dict[str, RivalRow] = attrs.field(factory=dict)
    notes: dict[str, str] = attrs.field(factory=dict)

    def table(self) -> str:
        """Return one line for each case."""
        heads = ("id", "fault", "expected", "seen", "POSTs", "billed", "TLS", "CONNECT", "openai: POSTs / billed")
        return grid(heads, (self.line(case) for case in self.cases))

    @property
    def cases(self) -> list[Case]:
        """Those that were played in any column, in the order of the matrix."""
        cases = {row.case.id: row.case for row in self.rows.values()}
        return [cases[key] for key in ordered(cases)]

    def line(self, case: Case) -> tuple[object, ...]:
        plain = self.rows.get((case.id, "plain"))
        counts = (plain.seen_words, plain.posts, plain.billed) if plain is not None else ("", "", "")
        others = (self.beside(case, way, plain) for way in WAYS[1:])
        return case.id, case.fault, case.expected, *counts, *others, self.rivals.get(case.id) or "-"

    def beside(self, case: Case, way: str, plain: Row | None) -> str:
        """Return what a case came to in another column than the plain one."""
        if way in case.impossible:
            return f"cannot exist: {case.impossible[way]}"
        row = self.rows.get((case.id, way))
        if row is None:
            return "-"
        if plain is not None and row.outcome == plain.outcome:
            return "the same"
        return f"{row.seen_words}, {row.posts} / {row.billed}"

    def summary(self) -> str:
        """Return one line for each group, and their sum."""
        heads = ("group", "cases", *(f"{TITLES[way]}: survived" for way in WAYS), "double-billed", "lost", "leaked")
        lines = [self.sums(GROUPS[group], {group}) for group in SIZES]
        return grid(heads, [*lines, self.sums("all", {*SIZES})])

    def sums(self, name: str, groups: Collection[str]) -> tuple[object, ...]:
        rows = [row for row in self.rows.values() if row.case.group in groups]
        return (
            name,
            sum(SIZES[group] for group in groups),
            *(self.survived(way, groups) for way in WAYS),
            sum(row.double for row in rows),
            sum(row.lost for row in rows),
            sum(row.leaks for row in rows),
        )

    def survived(self, way: str, groups: Collection[str]) -> str:
        """Return how many cases of a column survived, of how many, and how many cannot exist there."""
        cases = [case for case in TABLE.values() if case.group in groups and way in {"plain", *case.columns}]
        impossible = sum(way in case.impossible for case in cases)
        found = [self.rows[case.id, way].verdict for case in cases if (case.id, way) in self.rows]
        words = f"{found.count('survived')} of {len(cases) - impossible}" if cases else "-"
        return f"{words}, {impossible} cannot exist" if impossible else words

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
        shared = [key for key in self.rivals if (key, "plain") in self.rows]
        theirs = sum(max(0, self.rivals[key].billed - 1) for key in shared)
        ours = sum(self.rows[key, "plain"].double for key in shared)
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
whatever was left over or showed the key.

Every case is played on plain sockets and over TLS, and those that upload, download or stream over TLS through an HTTP
CONNECT proxy as well. *The same* means that calls ended as on plain sockets, with as many POSTs and bills. Bytes at
which a connection is cut on its way are encrypted ones there."""


def ordered(keys: Iterable[str]) -> list[str]:
    """Return ids in the order of the matrix."""
    letters = "".join(SIZES)
    return sorted(keys, key=lambda key: (letters.index(key[0]), key))


def condense(seen: Sequence[str]) -> list[str]:
    """Return how calls ended, each way once."""
    return [f"{end} x {count}" if (count := list(seen).count(end)) > 1 else end for end in dict.fromkeys(seen)]
