"""Records end where they should, however the bytes come and whatever is wrong with them."""

from __future__ import annotations

import csv
import io
import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.bulk.inputs.sources import MAX_LINE_BYTES, RawLine, read_lines
from burncloud_images.bulk.inputs.tables import join_rows


def split(data: bytes, delimiter: str = "") -> list[RawLine]:
    lines = read_lines("rows.csv", io.BytesIO(data))
    records = join_rows(lines, delimiter) if delimiter else lines
    return [record for record in records if record.data != b""]


def lines(data: bytes, delimiter: str = "") -> list[tuple[int, bytes | None]]:
    return [(record.line, record.data) for record in split(data, delimiter)]


pieces = st.sampled_from([b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"a", b"\xef\xbb\xbf", b"\xff", b"\0", b" "])
scribbles = st.lists(pieces, max_size=40).map(b"".join)


@given(scribbles, st.sampled_from(["", ","]))
def test_no_byte_is_lost(scribble, delimiter):
    """All that is not a mark, a line end or an empty line stands in one record, in its order."""
    body = scribble.removeprefix(b"\xef\xbb\xbf")
    found = b"".join(record.data for record in split(scribble, delimiter))

    assert body.replace(b"\n", b"").replace(b"\r", b"") == found.replace(b"\n", b"").replace(b"\r", b"")


@given(scribbles)
def test_a_line_of_text_is_a_record(scribble):
    """Quotes mean nothing there; its number is that of the line."""
    body = scribble.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    expected = [(number, line) for number, line in enumerate(body, start=1) if line]

    assert expected == lines(scribble)


cells = st.lists(st.sampled_from(["a", ",", '"', "\r\n", "\n", "\t", " ", "水"]), max_size=5).map("".join)


@given(st.lists(st.lists(cells, min_size=2, max_size=4), max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_a_row_of_a_table_is_a_record(rows, end):
    """As the standard library writes them: quoted cells may hold line ends, and the row stands where it begins."""
    text = io.StringIO(newline="")
    starts = []
    for row in rows:
        starts.append(text.getvalue().count("\n") + 1)
        csv.writer(text, lineterminator=end).writerow(row)
    found = split(text.getvalue().encode(), ",")

    assert starts == [record.line for record in found]
    assert rows == [row for record in found for row in csv.reader([record.data.decode()], strict=True)]
    assert all(record.closed for record in found)


@pytest.mark.parametrize(
    ("row", "next_line"),
    [
        (b'a,5" pipe,"b"', 2),  # within a cell a quote is a character
        (b'"a"b"c,d', 2),  # behind a quoted cell, too
        (b'"a""",b', 2),
        (b'"a\n""b\n",c', 4),
        (b'"a" "b,c', 2),
        (b',"",""', 2),
    ],
)
def test_a_row_that_is_wrong_does_not_reach_the_next(row, next_line):
    """Where it ends is told by the quotes that begin a cell."""
    assert [(1, row), (next_line, b"next")] == lines(row + b"\nnext", ",")


def test_a_quote_that_is_never_closed_takes_the_rest():
    """An unclosed quote makes the rest one bad row, as a guess could be bought."""
    one, two = split(b'a,b\n"c,d\ne,f\n', ",")

    assert (1, b"a,b", True) == (one.line, one.data, one.closed)
    assert (2, b'"c,d\ne,f', False) == (two.line, two.data, two.closed)


@pytest.mark.parametrize("delimiter", ["", ","])
def test_a_record_may_have_a_mebibyte(delimiter):
    """One byte more is too much; the next begins where it should."""
    most, more = b"x" * MAX_LINE_BYTES, b"x" * (MAX_LINE_BYTES + 1)

    assert [(1, most), (2, None), (3, b"y")] == lines(most + b"\n" + more + b"\ny", delimiter)


class Long(io.RawIOBase):
    """Gives 32 MiB of one row, and a short one."""

    def __init__(self, head: bytes, filler: bytes, tail: bytes) -> None:
        self.pieces = itertools.chain([head], itertools.repeat(filler * 64, 128), [tail + b"\ny"])

    def readable(self) -> bool:
        return True

    def readinto(self, buffer):
        piece = next(self.pieces, b"")
        buffer[: len(piece)] = piece
        return len(piece)


@pytest.mark.parametrize(
    ("delimiter", "head", "filler", "tail"),
    [
        ("", b"x", b"x" * 4096, b""),
        (",", b'"', b"x" * 4090 + b'"",\r\n', b'"'),
        (",", b'"', b"x" * 4094 + b'""', b'"'),
    ],
    ids=["line", "lines of a cell", "a line of a cell"],
)
def test_a_long_record_takes_no_memory(delimiter, head, filler, tail):
    """32 MiB pass through in a few, and the record behind them is read."""
    handle = io.BufferedReader(Long(head, filler, tail), 1024 * 1024)
    tracemalloc.start()
    try:
        lines = read_lines("rows.csv", handle)
        records = [*(join_rows(lines, delimiter) if delimiter else lines)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert [None, b"y"] == [record.data for record in records]
    assert peak < 12 * 1024 * 1024


def test_a_quote_that_is_open_in_a_long_line_takes_the_rest():
    """What follows it may belong to its cell, so none of it is bought."""
    (one,) = split(b'"' + b"x" * 2**20 + b"\nhalf a prompt\n", ",")

    assert (1, None, False) == (one.line, one.data, one.closed)


def test_half_a_mark_is_no_mark():
    """At the end of an input that holds nothing else."""
    assert [(1, b"\xef\xbb")] == lines(b"\xef\xbb")
    assert [] == lines(b"\xef\xbb\xbf")


def test_empty_lines_are_passed_over():
    """Empty lines are skipped but counted."""
    assert [(100_001, b"x")] == lines(b"\n" * 100_000 + b"x")
