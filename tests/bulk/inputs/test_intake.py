"""Every record comes to a row or to a bad row, which say where it stands and what it is called."""

from __future__ import annotations

import json

import pytest

from burncloud_images.bulk.documents import to_key
from burncloud_images.bulk.rows import BadRow, Row


@pytest.fixture
def one(read):
    async def go(**columns):
        (row,) = await read(json.dumps({"prompt": "x", **columns}))
        return row

    return go


async def test_a_row_says_where_it_stands(read, folder):
    """Its source as it was named, its line, its name, and a key of what is asked for."""
    rows = await read('{"prompt": "x", "id": "a"}\n\n{"prompt": "x"}\n{}')

    assert [(str(folder / "rows.jsonl"), line, label) for line, label in [(1, "a"), (3, ""), (4, "")]] == [
        (row.source, row.line, row.label) for row in rows
    ]
    assert rows[0].key == rows[1].key == to_key(rows[0].document, 0)
    assert isinstance(rows[2], BadRow)


@pytest.mark.parametrize(
    ("columns", "label"),
    [
        ({"id": "a"}, "a"),
        ({"id": 7}, "7"),
        ({"id": 0}, "0"),
        ({"custom_id": "a"}, "a"),
        ({"id": "  "}, ""),
        ({"id": "../../etc/x"}, "../../etc/x"),
        ({"id": "=cmd|'/c calc'!A1"}, "=cmd|'/c calc'!A1"),
        ({"id": "水獭 1"}, "水獭 1"),
        ({"id": "x" * 200}, "x" * 200),
    ],
)
async def test_a_row_has_the_name_that_it_is_given(one, columns, label):
    """It is a text to be shown, not one to be used; who shows it escapes it."""
    row = await one(**columns)

    assert isinstance(row, Row)
    assert label == row.label


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"id": "a", "custom_id": "b"}, "id: custom_id says it already"),
        ({"id": True}, "id: it has to be text or a whole number"),
        ({"id": 1.5}, "id: it has to be text or a whole number"),
        ({"id": ["a"]}, "id: it has to be text or a whole number"),
        *(
            ({"id": bad}, "id: it is longer than 200 characters, or holds some that cannot be shown")
            for bad in ("x" * 201, "a\x1b[2J", "a\nb", "\u202egnp", "\ud83d")
        ),
    ],
)
async def test_a_name_that_cannot_be_shown_is_refused(one, columns, reason):
    """It would be in every list of the job."""
    row = await one(**columns)

    assert (reason, "") == (row.reason, row.label)


async def test_repeats_of_a_request_have_keys_of_their_own(one):
    """The same one twice is one request; another repeat is another."""
    rows = [await one(), await one(repeat=0), await one(repeat=1), await one(repeat=2)]

    assert rows[0].key == rows[1].key
    assert 3 == len({row.key for row in rows})
    assert [0, 0, 1, 2] == [row.repeat for row in rows]
    assert 1 == len({json.dumps(row.document) for row in rows})


@pytest.mark.parametrize("repeat", [-1, 1.0, True, "1", 10**10])
async def test_a_repeat_is_a_whole_number(one, repeat):
    """From 0."""
    row = await one(repeat=repeat, id="a")

    assert "repeat: it has to be a whole number from 0, which of several equal requests this is" == row.reason
    assert "a" == row.label


@pytest.mark.parametrize(
    "columns",
    [
        {"extra": {"\x1b[31m" + "x" * 1000: {}, "size": 1}},
        {"extra": {"secret" * 100: float("inf")}},
        {"size": 1, "id": "a"},
    ],
)
async def test_a_reason_is_one_short_line(read, columns):
    """It is printed and kept, however long and odd what it tells of is."""
    text = json.dumps({"n": 0, **columns}).replace("Infinity", "1e999")
    (row,) = await read(text)

    assert isinstance(row, BadRow)
    assert len(row.reason) <= 200
    assert row.reason.isprintable()
    assert columns.get("id", "") == row.label


async def test_what_a_job_cannot_keep_is_refused(one):
    """As of requests that a program makes."""
    row = await one(n=10_001)

    assert "n: a job takes at most 10,000 images of one request" == row.reason
