"""Spreadsheets: the first sheet of an .xlsx file, or a named one. They need openpyxl, which is the extra `data`."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zipfile import BadZipFile

from burncloud_images.bulk.inputs.columns import (
    ColumnNames,
    ParsedRow,
    ParsedRows,
    UnusableRow,
    clip,
    to_value,
    to_values,
)
from burncloud_images.bulk.inputs.sources import open_file, refusal
from burncloud_images.bulk.inputs.tables import TableOptions
from burncloud_images.errors import ConfigurationError

if TYPE_CHECKING:
    from openpyxl import Workbook
    from openpyxl.cell import Cell

ROWS = 256
"""Read at once."""
ERROR = "e"
FORMULA = "f"
T = TypeVar("T")
Pair = tuple["Cell", "Cell"]
"""A cell with its value, and the same one with its formula."""


def read_spreadsheet(path: Path, options: TableOptions) -> ParsedRows:
    """
    Yield the rows of a sheet, whose first names the columns.

    Raises:
        ConfigurationError: openpyxl is missing.
        InvalidRequestError: It is not a spreadsheet, or has no such sheet.
        UnusableRow: The first row does not name the columns.
    """
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        message = "Spreadsheets are read by openpyxl, which is an extra: pip install 'burncloud-images[data]'."
        raise ConfigurationError(message) from None
    with ExitStack() as stack:
        handles = [stack.enter_context(open_file(path)) for _ in range(2)]
        try:
            books = [quietly(lambda: load(handles[0], values=True)), quietly(lambda: load(handles[1], values=False))]
        except (BadZipFile, KeyError, ValueError, OSError, TypeError) as error:
            raise refusal(path, f"it cannot be read as a spreadsheet: {clip(str(error))}") from None
        for book in books:
            stack.enter_context(closing(book))
        yield from parse_rows(rows_of(path, books, options.sheet), options)


def load(handle: Any, *, values: bool) -> Workbook:  # noqa: ANN401 (openpyxl has no types of its own)
    import openpyxl

    return openpyxl.load_workbook(handle, read_only=True, data_only=values)


def quietly(work: Callable[[], T]) -> T:
    """Return what *work* does; openpyxl warns of drop-down lists and the like, which lists do not need."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return work()


def rows_of(path: Path, books: Sequence[Workbook], sheet: str | None) -> Iterator[tuple[int, list[Pair]]]:
    """Yield the rows that are not empty, with their numbers."""
    names = [each.title for each in books[0].worksheets]
    if not names or (sheet is not None and sheet not in names):
        wanted = f"it has no sheet {clip(sheet, 40)!r}" if sheet else "it has no sheet of cells"
        raise refusal(path, f"{wanted}; there are {ColumnNames.quote(names)}" if names else wanted)
    several = [book[sheet or names[0]].iter_rows() for book in books]
    numbered = enumerate(zip(*several, strict=False), start=1)
    while rows := quietly(lambda: list(itertools.islice(numbered, ROWS))):
        for number, row in rows:
            pairs = list(zip(*row, strict=False))
            while pairs and pairs[-1][0].value is None and pairs[-1][1].value is None:
                pairs.pop()
            if pairs:
                yield number, pairs


def parse_rows(rows: Iterator[tuple[int, list[Pair]]], options: TableOptions) -> ParsedRows:
    first, header = next(rows, (0, []))
    if not header:
        return
    names = [to_text(cell.value) for cell, _ in header]
    try:
        columns = options.find_columns(names)
    except UnusableRow as reason:
        raise UnusableRow(f"row {first:,}: {reason}") from None
    for number, pairs in rows:
        values, problem = to_values(itertools.zip_longest(columns, pairs[: len(columns)]), to_cell)
        if len(pairs) > len(columns):
            problem = f"it has {len(pairs):,} cells, and the first row has {len(columns):,}"
        size = sum(len(value) for value in values.values() if isinstance(value, str))
        yield ParsedRow(line=number, size=size, values=values, problem=problem)


def to_cell(column: str, pair: Pair | None) -> object:
    """
    Return what a cell gives; None for nothing.

    Raises:
        UnusableRow: It holds an error, or a formula that was never calculated.
    """
    if pair is None:
        return None
    cell, formula = pair
    if cell.data_type == ERROR:
        raise UnusableRow(f"the cell {cell.coordinate} holds the error {cell.value}")
    if cell.value is None and formula.data_type == FORMULA:
        advice = "open the file in a spreadsheet program and save it"
        raise UnusableRow(f"the formula in {formula.coordinate} has no stored value; {advice}")
    return to_value(column, to_text(cell.value))


def to_text(value: object) -> str:
    """Return the text of a cell, with whole numbers as such."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case datetime() | date() | time():
            return value.isoformat()
    return str(value)
