"""Where inputs come from, and what tells whether they are still the same."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import threading

import attrs
import pytest

from burncloud_images.bulk.inputs import sources
from burncloud_images.bulk.inputs.sources import Bytes, find_format, fingerprint, open_file, open_stdin
from burncloud_images.errors import InputChangedError, InvalidRequestError

# --- files -----------------------------------------------------------------------------------------------------------


def test_a_fingerprint_is_of_the_bytes(tmp_path):
    """With size, time and number, by which it is known again without being read."""
    path = tmp_path / "rows.txt"
    path.write_bytes(b"a\n")
    found = fingerprint(path)

    assert (hashlib.sha256(b"a\n").hexdigest(), 2) == (found.sha256, found.size)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (found.mtime_ns, found.inode)


def test_a_file_that_looks_the_same_is_not_read_again(tmp_path):
    """One that does not, is."""
    path = tmp_path / "rows.txt"
    path.write_bytes(b"a\n")
    before = {**attrs.asdict(fingerprint(path)), "sha256": "as remembered", "rows": 1}
    assert "as remembered" == fingerprint(path, before).sha256

    os.utime(path, ns=(1, 1))
    digest = hashlib.sha256(b"a\n").hexdigest()
    assert digest == fingerprint(path, before).sha256
    assert digest == fingerprint(path, {}).sha256
    assert digest == fingerprint(path, {**attrs.asdict(fingerprint(path)), "sha256": None}).sha256


def test_what_is_no_file_cannot_be_an_input(tmp_path):
    """The reason says what to do; nothing waits for a pipe."""
    os.mkfifo(tmp_path / "pipe")
    reasons = {}
    for name in ("no-such", ".", "pipe", "x" * 300):
        with pytest.raises(InvalidRequestError) as caught:
            open_file(tmp_path / name)
        reasons[name] = caught.value.violations[0].message

    assert {
        "no-such": "there is no such file",
        ".": "it is a folder",
        "pipe": "it is no regular file, which could be read again; pipe it into -",
        "x" * 300: "it cannot be read: File name too long",
    } == reasons


def test_a_disk_that_fails_has_no_fingerprint(tmp_path, monkeypatch):
    """It is not that of an empty file."""

    def fail(*_):
        raise OSError(5, "Input/output error")

    (tmp_path / "rows.txt").touch()
    monkeypatch.setattr(hashlib, "file_digest", fail)
    with pytest.raises(InvalidRequestError, match="it cannot be read: Input/output error"):
        fingerprint(tmp_path / "rows.txt")


@pytest.mark.parametrize(
    ("name", "wanted", "found"),
    [
        ("a.txt", None, "txt"),
        ("a.CSV", None, "csv"),
        ("a.b.tsv", None, "tsv"),
        ("a.jsonl", None, "jsonl"),
        ("a.ndjson", None, "jsonl"),
        ("a.parquet", None, "parquet"),
        ("a.txt", "jsonl", "jsonl"),
        ("a", "CSV", "csv"),
        ("-", None, None),
        ("-", "csv", "csv"),
    ],
)
def test_the_name_tells_the_format(name, wanted, found):
    """Unless it is said."""
    assert found == find_format(name, wanted)


@pytest.mark.parametrize(
    ("name", "wanted", "problem"),
    [
        ("a.xlsx", None, "its name tells no format; known are csv, jsonl, parquet, tsv, txt"),
        ("a", None, "its name tells no format"),
        ("txt", None, "its name tells no format"),
        ("a.txt", "xml", "xml is no format; known are"),
        ("-", "xml", "xml is no format"),
    ],
)
def test_a_format_that_is_not_known_is_refused(name, wanted, problem):
    """With those that are."""
    with pytest.raises(InvalidRequestError, match=problem):
        find_format(name, wanted)


# --- bytes -----------------------------------------------------------------------------------------------------------


def ahead(data: bytes) -> Bytes:
    content = Bytes("-", io.BytesIO(data))
    content.look_ahead()
    return content


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"prompt": "x"}', "jsonl"),
        (b'\xef\xbb\xbf \n {"prompt": "x"}', "jsonl"),
        (b"an otter", "txt"),
        (b"[1]", "txt"),
        (b"", "txt"),
        (b"\n\n", "txt"),
    ],
)
def test_the_first_character_tells_lines_of_json(data, found):
    """Whatever else begins, is prompts; and what was looked at is still there."""
    content = ahead(data)

    assert found == content.guess_format()
    assert data == b"".join(content.pieces())


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("prompt".encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        (b"\xfe\xff\0p", "it is UTF-16; save it as UTF-8"),
        (b"PAR1\0\0", "Parquet is read from a file"),
        (b"PK\3\4", "it is an archive or a spreadsheet; save it as CSV"),
        (b"\x1f\x8b\x08\0", "it is compressed; unpack it"),
    ],
)
def test_what_is_no_text_is_refused(data, problem):
    """Each line of it would be bad."""
    with pytest.raises(InvalidRequestError, match=problem):
        ahead(data)


class Slow(io.RawIOBase):
    """Gives a byte at a time, and sometimes nothing."""

    def __init__(self, data):
        self.left = data
        self.turn = 0

    def read(self, size=-1):
        self.turn += 1
        if self.turn % 2:
            return None
        piece, self.left = self.left[:1], self.left[1:]
        return piece


def test_bytes_come_as_they_are_there():
    """A pipe that has nothing just now is not at its end."""
    content = Bytes("-", Slow(b"PAR0 abc"))
    content.look_ahead()

    pieces = [*content.pieces()]
    assert b"PAR0 abc" == b"".join(pieces)
    assert b"" in pieces


def test_a_pipe_is_waited_for_and_can_be_left(pipe):
    """What comes later is read; nobody has to wait for its end."""
    stdin, out = pipe
    content = Bytes("-", stdin)
    pieces = content.pieces()
    out.write(b"abcde")
    content.look_ahead()
    assert [b"abcde", b""] == [next(pieces), next(pieces)]
    out.write(b"more")
    assert b"more" == next(pieces)
    content.closing.set()
    assert [] == [*pieces]


def test_a_pipe_ends_with_its_writer(pipe):
    """Also if nothing ever came."""
    stdin, out = pipe
    threading.Timer(0.01, out.close).start()
    content = Bytes("-", stdin)
    content.look_ahead()

    assert b"" == b"".join(content.pieces())


def test_a_disk_that_fails_is_told_of():
    """It is not taken for the end."""

    class Failing(io.RawIOBase):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(InputChangedError, match=r"rows\.txt can be read no more: Input/output error"):
        [*Bytes("rows.txt", Failing()).pieces()]


def test_standard_input_is_that_of_the_process(monkeypatch):
    """Its bytes."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x")))

    assert b"x" == open_stdin().read()


def test_standard_input_may_be_missing(monkeypatch):
    """As of a service."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InvalidRequestError, match="-: there is no standard input"):
        open_stdin()


def test_pieces_are_not_large():
    """Memory holds one of them at a time."""
    assert all(len(piece) <= sources.PIECE for piece in Bytes("-", io.BytesIO(b"x" * 10**6)).pieces())
