"""A key that a server echoes reaches no terminal, no log and no file."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import attrs
import pytest
from echoes import as_json, holds_key, spellings_of
from workshop import prompts, write_rows

from burncloud_images.emulator import Fault

KEY = "sk-canary-5e1f"  # the server's
NAMES = ("plain", "escaped in JSON", "escaped in JSON twice", "encoded for a URL twice", "HTML, by number", "base64")
SPELLINGS = {name: spellings_of(KEY)[name] for name in NAMES}


def refusal(spelling):
    """Return an error that writes the key wherever it can."""
    text = as_json(spelling)
    body = f'{{"error": {{"message": {text}, "code": {text}, "type": {text}, "param": {text}, {text}: {text}}}}}'
    return Fault(status=400, body=body, headers={"x-request-id": spelling}, times=None)


def texts_in(folder):
    """Yield all that the files of a folder hold, and the values of databases in them."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes().decode("latin-1")
        if path.suffix == ".sqlite3":
            with closing(sqlite3.connect(path)) as database:
                for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    yield path, repr(database.execute(f"SELECT * FROM {table}").fetchall())


@pytest.mark.sampled(5)
@pytest.mark.parametrize("options", [(), ("-vv",), ("--json",), ("-vv", "--json")], ids=" ".join)
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_no_terminal_shows_the_key(cli, serve, spelling, options):
    """No output shows the key, not even a traceback."""
    serve(refusal(spelling))

    ran = cli("generate", "otter", "--model", "gpt-image-2", *options)

    assert ran.code != 0
    assert "***" in ran.err
    assert not holds_key(ran.err + ran.out.decode(), KEY)


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(text, id=name, marks=[] if name == "base64" else pytest.mark.slow)
        for name, text in SPELLINGS.items()
    ],
)
def test_no_file_of_a_job_holds_the_key(cli, serve, here, spelling):
    """Its database, log, report, lists and gallery; of rows that failed and of rows that are done."""
    serve(attrs.evolve(refusal(spelling), times=1), Fault(headers={"x-request-id": spelling}, times=None))
    rows = write_rows(here / "rows.jsonl", prompts(3))
    said = [cli("batch", rows, "--into", "out/", "-j", 1)]
    said += [cli("status", "out"), cli("status", "out", "--json"), cli("usage", "out"), cli("verify", "out")]

    assert said[0].code != 0
    assert "***" in said[0].err
    assert len(list((here / "out/images").rglob("*.png"))) == 2
    assert not holds_key("".join(ran.err + ran.out.decode() for ran in said), KEY)
    assert [path for path, text in texts_in(here) if path.suffix != ".png" and holds_key(text, KEY)] == []
