"""Columns of rows: the fields of the request classes and a few of the row's own; and the values of their cells."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar

import attrs

from burncloud_images.bulk.request_json import MAX_DEPTH, REQUESTS
from burncloud_images.model.operations import IMAGE_FIELDS, KINDS, Operation

MAX_REASON = 200


@attrs.frozen(kw_only=True)
class ParsedRow:
    """
    A record that is not blank.

    Attributes:
        line: Where it begins, from 1.
        size: Bytes that it takes, about.
        values: What it gives, by column.
        problem: Why nothing can be made of it, if so.
    """

    line: int
    size: int = 0
    values: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    problem: str | None = None


ParsedRows: TypeAlias = Iterator[ParsedRow]


class UnusableRow(Exception):  # noqa: N818 (stays within this package)
    """A row that cannot become a request; the message is one clause, the reason of the bad row."""


def clip(text: str, most: int = MAX_REASON) -> str:
    """Return *text* fit for a terminal and a list: one line of at most *most* characters, all printable."""
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:most])
    return shown if len(text) <= most else f"{shown[: most - 1]}…"


FIELDS: Mapping[Operation, frozenset[str]] = {
    operation: frozenset(field.name for field in attrs.fields(kind)) for operation, kind in REQUESTS.items()
}
"""The fields of each operation."""

OWN = frozenset({"id", "custom_id", "operation", "repeat"})
COLUMNS = frozenset().union(OWN, *FIELDS.values())

OPERATIONS: Mapping[str, Operation] = {
    **{operation: operation for operation in REQUESTS},
    "generate": "generations",
    "edit": "edits",
    "variation": "variations",
}
"""What rows may call an operation."""

TYPES: Mapping[str, type] = {**KINDS, "repeat": int}
"""Of the columns that are neither text nor an image."""
TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
WHOLE = re.compile(r"([+-]?[0-9]{1,18})(?:[.,]0{0,2})?", re.ASCII)
"""A whole number. Spreadsheets write 2.0 or 2,0 where cells are empty; three digits would be thousands somewhere."""
MAX_DIGITS = 77
"""Maximum length of a whole number; a job stores up to 256 bits."""


def nearest(name: str) -> str | None:
    """Return the column that *name* may be a slip of."""
    return closest(simplify(name[:80]), COLUMNS, cutoff=0.7)


def closest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the one of *names* that *name* is most like, if it is like one at all."""
    found = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    return found[0] if found else None


def simplify(name: str) -> str:
    """Return a name as columns are written: `Output Format` is `output_format`."""
    return "_".join(name.replace("-", " ").replace("\ufeff", "").casefold().split())


@attrs.frozen
class ColumnNames:
    """
    What the columns of a list are called.

    Attributes:
        given: The list's own names of columns that it calls something else, by the column.
    """

    given: Mapping[str, str] = attrs.field(factory=dict)

    @classmethod
    def of(cls, given: Mapping[str, str]) -> ColumnNames:
        """
        Return the names that a user gives.

        Raises:
            UnusableRow: A column does not exist, or two have one name.
        """
        for column in given:
            if column not in COLUMNS:
                slip = nearest(column)
                advice = f"; did you mean {slip}?" if slip else f"; there are {', '.join(sorted(COLUMNS))}"
                raise UnusableRow(f"{clip(column, MAX_COLUMN)!r} is not a column of requests{advice}")
        if len({simplify(name) for name in given.values()}) < len(given):
            raise UnusableRow("two columns are given the same name")
        return cls(given)

    def find(self, name: str) -> str | None:
        """Return the column that the list calls *name*; None if it is the user's own."""
        simple = simplify(name)
        for column, own in self.given.items():
            if simplify(own) == simple:
                return column
        return simple if simple in COLUMNS else None

    def to_column(self, name: str) -> str:
        return self.find(name) or name.strip()

    def find_all(self, names: Sequence[str], *, has_defaults: bool) -> list[str]:
        """
        Return the columns of a table.

        Args:
            names: As the table names them.
            has_defaults: Whether rows may lack a prompt and an image, because all get one.

        Raises:
            UnusableRow: A request cannot be made of them, one is there twice, or a name that was given is not.
        """
        found = [self.to_column(name) for name in names]
        for column, own in self.given.items():
            if column not in found:
                slip = closest(own, names)
                advice = f"; did you mean {slip!r}?" if slip is not None else ""
                raise UnusableRow(
                    f"no column is called {clip(own, MAX_COLUMN)!r}; there are {self.quote(names)}{advice}"
                )
        for column in COLUMNS:
            if found.count(column) > 1:
                several = [name for name, meant in zip(names, found, strict=True) if meant == column]
                raise UnusableRow(f"{column} is named twice: {self.quote(several)}")
        if not {"prompt", "image"} & set(found) and not has_defaults:
            shown = self.quote(names)
            raise UnusableRow(f"neither prompt nor image is among the columns {shown}. {self.advise(names)}")
        return found

    def advise(self, names: Sequence[str]) -> str:
        likely = [name for name in names if "prompt" in name.lower() or nearest(name) == "prompt"]
        shown = clip(likely[0].strip(), MAX_COLUMN) if likely else "NAME"
        others = [name for name in names if name not in likely and self.find(name) is None]
        slips = [f"{clip(name, MAX_COLUMN)!r} may be {slip!r}" for name in others if (slip := nearest(name))]
        said = f"; {', '.join(slips[:3])}" if slips else ""
        return f'Say which column holds the prompts, as in --column prompt="{shown}"{said}'

    @staticmethod
    def quote(names: Sequence[str]) -> str:
        """Return the names as an error shows them."""
        shown = ", ".join(repr(clip(name.strip(), MAX_COLUMN)) for name in names[:MAX_SHOWN])
        return f"{shown} and {len(names) - MAX_SHOWN:,} more" if len(names) > MAX_SHOWN else shown


MAX_COLUMN = 40
MAX_SHOWN = 8
"""Names of columns that an error shows."""


ParsedCells: TypeAlias = tuple[dict[str, object], str | None]
"""What a record gives, and why nothing can be made of it, if so."""
Cell = TypeVar("Cell")


def to_values(cells: Iterable[tuple[str, Cell]], convert: Callable[[str, Cell], object]) -> ParsedCells:
    """Return what the cells of a row give, by column, and what is wrong with them, all of it."""
    values: dict[str, object] = {}
    problems: list[str] = []
    for name, cell in cells:
        try:
            value = convert(name, cell)
        except UnusableRow as problem:
            problems.append(f"{name}: {problem}")
        else:
            if value is not None:
                values[name] = value
    return values, "; ".join(problems) or None


def to_value(name: str, word: str) -> object:
    """
    Return what a word of a table is in the column *name*; None if nothing is given.

    Raises:
        UnusableRow: It is not a valid value of the column.
    """
    if name == "prompt":
        return word or None
    word = word.strip()
    if not word:
        return None
    if name in IMAGE_FIELDS and word[0] in "[{":
        return load_json(word)
    return PARSERS[TYPES.get(name, str)](word)


def to_int(word: str) -> int:
    found = WHOLE.fullmatch(word)
    if found is None:
        raise UnusableRow("it has to be a whole number")
    return int(found[1])


def to_truth(word: str) -> bool:
    if word.lower() not in TRUTHS:
        raise UnusableRow("it has to be true or false")
    return TRUTHS[word.lower()]


class AmbiguousJSON(ValueError):  # noqa: N818 (never leaves this module)
    """JSON that parsers do not agree on."""


def load_json(text: str) -> object:
    """
    Return what *text* holds; keys that stand twice, numbers that JSON does not have and deep nesting are refused.

    Raises:
        UnusableRow: It is not such JSON. The reason does not show it.
    """
    try:
        value = DECODER.decode(text)
    except AmbiguousJSON as problem:
        raise UnusableRow(str(problem)) from None
    except json.JSONDecodeError as error:
        raise UnusableRow(
            f"it is not JSON: {error.msg[0].lower()}{error.msg[1:]}, at character {error.pos + 1}"
        ) from None
    except RecursionError:
        raise UnusableRow(f"it is nested more than {MAX_DEPTH} levels deep") from None
    if text.count("[") + text.count("{") > MAX_DEPTH:
        check_depth(value)
    return value


def check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for outer in level for item in members(outer)]
        if not level:
            return
    raise UnusableRow(f"it is nested more than {MAX_DEPTH} levels deep")


def members(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise AmbiguousJSON("a name stands twice in one object")
    return found


def refuse_constant(_: str) -> object:
    raise AmbiguousJSON("it holds a number that JSON does not have")


def bounded(digits: str) -> int:
    if len(digits.removeprefix("-")) > MAX_DIGITS:
        raise AmbiguousJSON("it holds a number of too many digits")
    return int(digits)


DECODER = json.JSONDecoder(object_pairs_hook=unique, parse_constant=refuse_constant, parse_int=bounded)

PARSERS: Mapping[type, Callable[[str], object]] = {int: to_int, bool: to_truth, Mapping: load_json, str: str}
