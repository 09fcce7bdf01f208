"""Where inputs come from, and what tells whether they are still the same."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from burncloud_images.bulk.inputs.sources import (
    find_format,
    fingerprint,
    open_file,
    open_stdin,
    read_lines,
)
from burncloud_images.errors import InputChangedError, InvalidRequestError

# --- files -----------------------------------------------------------------------------------------------------------


def test_a_fingerprint_is_of_the_bytes(tmp_path):
    """With size, time and number, by which it is known again without being read."""
    path = tmp_path / "rows.txt"
    path.write_bytes(b"a\n")
    found = fingerprint(path)

    assert (hashlib.sha256(b"a\n").hexdigest(), 2) == (found["sha256"], found["size"])
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (found["mtime_ns"], found["inode"])


def test_a_file_that_looks_the_same_is_not_read_again(tmp_path):
    """One that does not, is."""
    path = tmp_path / "rows.txt"
    path.write_bytes(b"a\n")
    before = {**fingerprint(path), "sha256": "as remembered", "rows": 1}
    assert "as remembered" == fingerprint(path, before)["sha256"]

    os.utime(path, ns=(1, 1))
    digest = hashlib.sha256(b"a\n").hexdigest()
    assert digest == fingerprint(path, before)["sha256"]
    assert digest == fingerprint(path, {})["sha256"]
    assert digest == fingerprint(path, {**fingerprint(path), "sha256": None})["sha256"]


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
        "pipe": "it is not a regular file, so it could not be read again; pipe it into -",
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
        ("a.txt", None, None),
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
        (
            "a.doc",
            None,
            "its name does not tell the format; known formats are csv, json, jsonl, parquet, tsv, txt, xlsx",
        ),
        ("a.xls", None, r"spreadsheets of this kind are not read; save it as \.xlsx or CSV"),
        ("-", "xlsx", r"a spreadsheet is read from a file whose name ends in \.xlsx"),
        ("a", None, "its name does not tell the format"),
        ("txt", None, "its name does not tell the format"),
        ("a.txt", "xml", "xml is not a format; known formats are"),
        ("-", "xml", "xml is not a format"),
    ],
)
def test_a_format_that_is_not_known_is_refused(name, wanted, problem):
    """With those that are."""
    with pytest.raises(InvalidRequestError, match=problem):
        find_format(name, wanted)


# --- bytes -----------------------------------------------------------------------------------------------------------


def test_a_disk_that_fails_is_told_of():
    """It is not taken for the end."""

    class Failing(io.RawIOBase):
        def readline(self, size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(InputChangedError, match=r"rows\.txt cannot be read to its end: Input/output error"):
        [*read_lines("rows.txt", Failing())]


def test_standard_input_is_that_of_the_process(monkeypatch):
    """Standard input gives the bytes of the process."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x")))

    assert b"x" == open_stdin().read()


def test_standard_input_that_does_not_wait_is_waited_for(monkeypatch):
    """A line that arrives in two pieces is one line: half of a prompt is not bought."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)  # as other programs leave a pipe that they share
    os.write(writer, b"a red p")
    with os.fdopen(reader) as stdin, ThreadPoolExecutor(1) as executor:
        monkeypatch.setattr(sys, "stdin", stdin)
        found = executor.submit(lambda: [line.data for line in read_lines("-", open_stdin())])
        time.sleep(0.05)
        for piece in (b"en\nblue", b"\n"):
            os.write(writer, piece)
            time.sleep(0.05)
        os.close(writer)

        assert [b"a red pen", b"blue"] == found.result(5)


def test_standard_input_may_be_missing(monkeypatch):
    """As of a service."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InvalidRequestError, match="-: there is no standard input"):
        open_stdin()
