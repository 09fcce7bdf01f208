"""
Tables as text: rows of cells between commas, semicolons, tabs or bars, under a line of names.

Quotes and line ends alone tell where a row ends, so a bad row does not affect the next one. Only a quote that is never
closed takes the rest with it: a guess could buy half a prompt.

Source: RFC 4180, with what spreadsheets and `csv` make of it.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache

import attrs

from burncloud_images.bulk.inputs.columns import (
    COLUMNS,
    ColumnNames,
    ParsedCells,
    ParsedRow,
    ParsedRows,
    UnusableRow,
    closest,
    simplify,
    to_value,
    to_values,
)
from burncloud_images.bulk.inputs.sources import MAX_LINE_BYTES, QUOTE, RawLine

DELIMITERS: Mapping[str, str] = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""What may stand between cells, and what it is called."""
WORDS: Mapping[str, str] = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "bar": "|"}
SEPARATOR = re.compile(rb'\s*"?sep=(.)"?\s*', re.IGNORECASE | re.DOTALL)
"""A first line in which Excel says what stands between cells."""
MAX_HEAD = 50
"""Lines in which the line of names may end."""
SPACE = b" \t\r\n\v\f"
MAX_LINE_MIB = MAX_LINE_BYTES // (1024 * 1024)


@attrs.frozen(kw_only=True)
class TableOptions:
    """
    How tables are read.

    Attributes:
        names: What columns are called.
        delimiter: What stands between cells; None to find out.
        has_defaults: Whether rows may lack a prompt and an image, because all get one.
        sheet: The sheet of a spreadsheet; None for the first.
        needed: The user's own names of columns that the list has to have.
    """

    names: ColumnNames = attrs.field(factory=ColumnNames)
    delimiter: str | None = None
    has_defaults: bool = False
    sheet: str | None = None
    needed: Sequence[str] = ()

    def find_columns(self, names: Sequence[str]) -> list[str]:
        """
        Return the columns of a table.

        Raises:
            UnusableRow: A request cannot be made of them, or one is missing.
        """
        found = self.names.find_all(names, has_defaults=self.has_defaults)
        for name in self.needed:
            if simplify(name) not in map(simplify, (*found, *names)):
                slip = closest(name, names)
                advice = f"; did you mean {{{slip}}}?" if slip is not None else ""
                shown = ColumnNames.quote(names)
                raise UnusableRow(f"the template names {{{name}}}, and the columns are {shown}{advice}")
        return found


def to_delimiter(word: str) -> str:
    """
    Return the character that *word* means.

    Raises:
        UnusableRow: It is not one character.
    """
    delimiter = WORDS.get(word.lower(), word)
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise UnusableRow(f"{word!r} is not a delimiter; it has to be one character, such as a semicolon, or tab")
    return delimiter


# --- where rows end --------------------------------------------------------------------------------------------------


def join_rows(lines: Iterable[RawLine], delimiter: str) -> Iterator[RawLine]:
    """Yield the rows of a table: a line, and those that follow while a quoted cell is open."""
    closed = match_closed(delimiter.encode("ascii"))
    first, held, size, is_open = 1, list[bytes](), 0, False
    for line in lines:
        if not is_open:
            first, held, size = line.line, [], -1
        if line.data is None:  # its cells are not known, so only its quotes are counted
            is_open ^= line.quotes % 2 == 1
            size = MAX_LINE_BYTES
        else:
            is_open = not closed.fullmatch(QUOTE + line.data if is_open else line.data)
            held.append(line.data)
        size += 1 + len(line.data or b"")
        if size > MAX_LINE_BYTES:
            held = []
        if not is_open:
            yield to_row(first, held, size)
    if is_open:
        yield attrs.evolve(to_row(first, held, size), closed=False)


def to_row(first: int, held: list[bytes], size: int) -> RawLine:
    return RawLine(first, b"\n".join(held).removesuffix(b"\r") if size <= MAX_LINE_BYTES else None)


@cache
def match_closed(delimiter: bytes) -> re.Pattern[bytes]:
    """Return what matches a line whose quoted cells are all closed. A quote counts where a cell begins."""
    between = re.escape(delimiter)
    cell = rb'(?:"(?:[^"]++|"")*+"[^%b]*+|(?!")[^%b]*+)' % (between, between)
    return re.compile(cell + rb"(?:" + between + cell + rb")*+")


def is_blank(line: RawLine, delimiter: bytes = b"") -> bool:
    return line.data is not None and not line.data.strip(SPACE + delimiter)


def parse_line(line: RawLine, parse: Callable[[str], ParsedCells]) -> ParsedRow:
    """Return the row that *parse* makes of a line."""
    size = MAX_LINE_BYTES if line.data is None else len(line.data)
    try:
        values, problem = parse(to_text(line))
        return ParsedRow(line=line.line, size=size, values=values, problem=problem)
    except UnusableRow as problem:
        return ParsedRow(line=line.line, size=size, problem=str(problem))


def to_text(line: RawLine) -> str:
    """
    Return the text of a line.

    Raises:
        UnusableRow: It is not a row.
    """
    if not line.closed:
        raise UnusableRow("a quote is opened in it and never closed, so that all the rest belongs to it")
    if line.data is None:
        raise UnusableRow(f"it is longer than {MAX_LINE_MIB} MiB")
    if b"\0" in line.data:
        raise UnusableRow("it holds a NUL byte")
    return line.data.decode()


# --- what stands in them ---------------------------------------------------------------------------------------------


def to_cells(text: str, delimiter: str) -> list[str]:
    """
    Return the cells of a row.

    Raises:
        UnusableRow: Its quotes are wrong.
    """
    try:
        (cells,) = csv.reader([text], delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise UnusableRow(f"it is not a row of a table: {error}") from None
    return cells


def read_table(lines: Iterable[RawLine], usual: str, options: TableOptions) -> ParsedRows:
    """
    Yield the rows of a table whose first names the columns.

    Args:
        lines: All lines.
        usual: What stands between cells if nothing else does.
        options: How it is read.

    Raises:
        UnusableRow: The first row does not name the columns.
    """
    head, rest = take_head(lines)
    said = options.delimiter
    if head and head[0].data is not None and (found := SEPARATOR.fullmatch(head[0].data)):
        said, head = said or found[1].decode("ascii", "replace"), head[1:]
    delimiter = said or find_delimiter(head, usual, options)
    rows = (row for row in join_rows(itertools.chain(head, rest), delimiter) if not is_blank(row, delimiter.encode()))
    first = next(rows, None)
    if first is not None:
        header = to_header(first, delimiter, options)
        parse = cells_reader(header, delimiter)
        yield from (parse_line(row, parse) for row in rows)


def take_head(lines: Iterable[RawLine]) -> tuple[list[RawLine], Iterator[RawLine]]:
    """Return the first lines, from the first that is not blank on, and the others."""
    waiting = itertools.dropwhile(is_blank, lines)
    return list(itertools.islice(waiting, MAX_HEAD)), waiting


def find_delimiter(head: Sequence[RawLine], usual: str, options: TableOptions) -> str:
    """Return what makes the most of the line of names: a column that makes requests, known ones, or many."""

    def worth(delimiter: str) -> tuple[bool, int, int, bool]:
        names = first_cells(head, delimiter)
        known = {found for name in names if (found := options.names.find(name)) is not None}
        return bool({"prompt", "image"} & known), len(known), len(names), delimiter == usual

    return max(DELIMITERS, key=worth)


def first_cells(head: Sequence[RawLine], delimiter: str) -> list[str]:
    """Return the cells of the first row; none if it cannot be read so."""
    first = next((row for row in join_rows(head, delimiter) if not is_blank(row, delimiter.encode())), None)
    try:
        return to_cells(to_text(first), delimiter) if first is not None else []
    except UnusableRow:
        return []


def to_header(line: RawLine, delimiter: str, options: TableOptions) -> Sequence[str]:
    """
    Return the columns that the first row names.

    Raises:
        UnusableRow: A request cannot be made of them, or it names one twice.
    """
    try:
        names = to_cells(to_text(line), delimiter)
    except UnusableRow as problem:
        raise UnusableRow(f"the first row has to name the columns, but {problem}") from None
    called = DELIMITERS.get(delimiter, repr(delimiter))
    separated = f"separated by {called}" if len(names) > 1 else f"and no {called} separate others"
    try:
        return options.find_columns(names)
    except UnusableRow as problem:
        raise UnusableRow(f"line {line.line}, {separated}: {problem}") from None


def cells_reader(header: Sequence[str], delimiter: str) -> Callable[[str], ParsedCells]:
    """Return a function that reads a row under *header*."""

    def read(text: str) -> ParsedCells:
        cells = to_cells(text, delimiter)
        while len(cells) > len(header) and not cells[-1].strip():  # as spreadsheets write beside their tables
            cells.pop()
        if len(cells) != len(header):
            raise UnusableRow(f"it has {len(cells):,} cells, and the first row has {len(header):,}")
        return to_values(zip(header, cells, strict=True), to_value)

    return read


# --- tables under another name ---------------------------------------------------------------------------------------

NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?|[0-9]+ ?[x×] ?[0-9]+")  # noqa: RUF001 (people write it so)
NAME = re.compile(r"[\w .#/()-]+")
MAX_NAME_WORDS = 3
MAX_NAME = 40
MIN_ROWS = 3
"""Rows from which a column of numbers is not chance."""


@attrs.frozen
class Suspect:
    """
    Lines that may be a table.

    Attributes:
        delimiter: What would stand between cells.
        names: The cells of the first row.
        rows: Those of the next ones.
    """

    delimiter: str
    names: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def is_even(self) -> bool:
        """Whether all rows have as many cells."""
        return all(len(row) == len(self.names) for row in self.rows)

    def is_table(self, names: ColumnNames) -> bool:
        """Say whether it is certainly one: its names are known, or it is even and makes requests."""
        known = [names.find(name) for name in self.names if name.strip()]
        return bool({"prompt", "image"} & set(known)) and (None not in known or (bool(self.rows) and self.is_even))

    def is_likely(self, names: ColumnNames) -> bool:
        """Say whether it looks like one, and nothing tells what the prompts are."""
        if {"prompt", "image"} & {names.find(name) for name in self.names}:
            return True
        if not self.rows or not self.is_even:
            return False
        return self.delimiter == "\t" or any(map(is_name, self.names)) or self.has_numbers

    @property
    def has_numbers(self) -> bool:
        """Whether a column holds numbers: the first one, or any of several rows."""
        columns = [all(NUMBER.fullmatch(cell.strip()) for cell in column) for column in zip(*self.rows, strict=True)]
        return columns[0] or (len(self.rows) >= MIN_ROWS and any(columns))


def is_name(cell: str) -> bool:
    """Say whether a cell is called like a column."""
    words = re.findall(r"\w+", cell.lower())
    if not words or len(words) > MAX_NAME_WORDS or len(cell) > MAX_NAME or not NAME.fullmatch(cell):
        return False
    return "prompt" in words or "prompts" in words or "_".join(words) in COLUMNS


def detect_table(head: Sequence[RawLine], names: ColumnNames) -> bool:
    """
    Say whether lines whose format nothing tells are a table.

    Raises:
        UnusableRow: They look like one, and it is not certain.
    """
    if not head or head[0].data is None:
        return False
    if SEPARATOR.fullmatch(head[0].data):
        return True
    alone = head[0].data.decode().strip().strip('"')
    if len(head) > 1 and names.find(alone) == "prompt":
        raise UnusableRow(f"its first line is {alone!r}, as of a table with one column; {SAY}")
    found = [suspect for delimiter in DELIMITERS if (suspect := to_suspect(head, delimiter)) is not None]
    if any(suspect.is_table(names) for suspect in found):
        return True
    likely = [suspect for suspect in found if suspect.is_likely(names)]
    if likely:
        best = max(likely, key=lambda suspect: len(suspect.names))
        between = DELIMITERS[best.delimiter]
        raise UnusableRow(f"it looks like a table with the columns {quote(best.names)}, separated by {between}; {SAY}")
    return False


SAY = "add --input-format csv if it is one, or --input-format txt if each line is a prompt"


def quote(names: Sequence[str]) -> str:
    return ColumnNames.quote(names)


def to_suspect(head: Sequence[RawLine], delimiter: str) -> Suspect | None:
    """Return what lines are as a table; None if they are none."""
    rows: list[list[str]] = []
    for row in join_rows(head, delimiter):
        if is_blank(row):
            continue
        if not row.closed and rows and len(head) == MAX_HEAD:
            break
        try:
            rows.append(to_cells(to_text(row), delimiter))
        except UnusableRow:
            return None
    return Suspect(delimiter, rows[0], rows[1:]) if rows and len(rows[0]) > 1 else None
