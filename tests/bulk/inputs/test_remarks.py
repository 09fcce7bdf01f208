"""What is odd about an input is said once, with the line where it first stands."""

from __future__ import annotations

import json

import pytest

from burncloud_images.errors import ImagesWarning


def lines(*columns):
    return "\n".join(json.dumps({"prompt": "x", **given}) for given in columns)


async def test_a_column_that_is_not_sent_is_told_of_once(remarked, folder):
    """With the one that it may be a slip of; the row is made without it."""
    rows, remarks = await remarked(lines({}, {"promt": "y", "seed": 1}, {"seed": 2}, {"promt": "z"}))
    name = folder / "rows.jsonl"

    slip, unknown = (f"{name}, line 2: Column {column!r} is no field of this version" for column in ("promt", "seed"))
    assert [
        f"{slip} and is not sent. Did you mean prompt?",
        f"{unknown} and is not sent. What the API is to get goes into extra.",
    ] == remarks
    assert [{"operation": "generations", "prompt": "x"}] * 4 == [row.document for row in rows]


async def test_columns_of_a_table_are_told_of_where_they_are_filled(remarked):
    """Also those without a name, as spreadsheets and data frames have them."""
    rows, remarks = await remarked(",prompt,note\n0,a,\n1,b,seen\n", "list.csv")

    assert 2 == len(rows)
    assert [True, True] == ["line 2: A column without a name" in remarks[0], "line 3: Column 'note'" in remarks[1]]
    assert 2 == len(remarks)


async def test_what_is_in_extra_is_sent(remarked):
    """Nobody is warned of what was asked for by name."""
    rows, remarks = await remarked(lines({"extra": {"seed": 1}}))

    assert {"seed": 1} == rows[0].document["extra"]
    assert [] == remarks


async def test_documented_limits_warn_once_per_model(remarked):
    """An unknown model has none; the row goes on: who sends it decides."""
    many = {"model": "gpt-image-2", "n": 11}
    rows, remarks = await remarked(lines(many, many, {"model": "dall-e-2", "n": 11}, {"model": "new", "n": 11}))

    assert 4 == len([row for row in rows if row.document["n"] == 11])
    assert ["1", "3"] == [remark.split("line ")[1][0] for remark in remarks]
    assert all(", line " in remark and ": n: " in remark for remark in remarks)


async def test_limits_of_uploads_warn_too(remarked):
    """As far as the files are here: a mask of another size, a large count."""
    edit = {"prompt": "x", "image": "a.png", "mask": "b.png", "model": "gpt-image-2"}
    _, remarks = await remarked(lines(edit, {**edit, "image": "https://images.example/a.png"}))

    assert 1 == len(remarks)
    assert "line 1: mask: " in remarks[0]


async def test_a_million_odd_columns_are_not_told_of(remarked):
    """Nor kept in memory; names are cut."""
    rows, remarks = await remarked(lines(*({f"{'x' * 1000}{number}": 1} for number in range(3))))
    _, many = await remarked(lines(*({f"x{number}": 1} for number in range(300))))

    assert 3 == len(rows)
    assert 1 == len(remarks)
    assert len(remarks[0]) < 400
    assert 101 == len(many)
    assert many[-1].endswith("There is more of the kind, which is not told.")


async def test_a_warning_that_is_an_error_ends_the_reading(read):
    """And leaves nothing open."""
    with pytest.raises(ImagesWarning, match="seed"):
        await read(lines({"seed": 1}))
