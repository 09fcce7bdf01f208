"""Parquet gives rows as tables do, with types of its own."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from burncloud_images.bulk.inputs import parquet
from burncloud_images.bulk.records import BadRow
from burncloud_images.errors import ConfigurationError, InvalidRequestError


@pytest.fixture
def read_table(read, tmp_path):
    """Return what reads a table as a Parquet file."""

    async def go(table, **options):
        pq.write_table(pa.table(table) if isinstance(table, dict) else table, tmp_path / "made.parquet")
        return await read((tmp_path / "made.parquet").read_bytes(), "rows.parquet", **options)

    return go


def asked(rows):
    return [row.reason if isinstance(row, BadRow) else dict(row.document) for row in rows]


async def test_columns_are_fields(read_table):
    """What is missing is not given; rows are counted from 1."""
    rows = await read_table({"id": [1, 2], "prompt": ["x", "y"], "n": [2, None], "size": [None, "auto"]})

    assert [
        {"operation": "generations", "prompt": "x", "n": 2},
        {"operation": "generations", "prompt": "y", "size": "auto"},
    ] == asked(rows)
    assert [(1, "1"), (2, "2")] == [(row.line, row.label) for row in rows]


async def test_whole_numbers_may_come_as_floats(read_table):
    """Data frames make them so where some are missing; what is not whole is refused."""
    rows = await read_table({"prompt": ["x"] * 4, "n": pa.array([2.0, math.nan, 2.5, math.inf])})

    wrong = "n: it has to be a whole number, not float"
    assert [2, None, wrong, wrong] == [made if isinstance(made, str) else made.get("n") for made in asked(rows)]


async def test_nested_columns_are_objects(read_table):
    """Structs, maps, and JSON in text; members that only other rows have are not given."""
    structs = pa.array([{"model": "a", "reasoning": {"effort": "low"}}, {"model": "b"}, None])
    maps = pa.array([[("seed", 1)], None, []], pa.map_(pa.string(), pa.int64()))
    rows = await read_table({"prompt": ["x"] * 3, "svg": structs, "extra": maps})
    text = await read_table({"prompt": ["x"] * 2, "extra": ['{"seed": 1}', "nothing"]})

    assert [
        {
            "operation": "generations",
            "prompt": "x",
            "svg": {"model": "a", "reasoning": {"effort": "low"}},
            "extra": {"seed": 1},
        },
        {"operation": "generations", "prompt": "x", "svg": {"model": "b"}},
        {"operation": "generations", "prompt": "x", "extra": {}},
    ] == asked(rows)
    assert {"seed": 1} == asked(text)[0]["extra"]
    assert "extra: it is not JSON: expecting value, at character 1" == asked(text)[1]


async def test_images_are_paths_lists_and_objects(read_table, folder):
    """Of any list of them."""
    lists = await read_table({"prompt": ["x"], "image": [["a.png", "b.png"]]})
    objects = await read_table({"prompt": ["x"], "image": [[{"file_id": "f", "image_url": None}]]})

    assert [str(folder / "a.png"), str(folder / "b.png")] == [image["path"] for image in asked(lists)[0]["image"]]
    assert [{"file_id": "f"}] == asked(objects)[0]["image"]


@pytest.mark.parametrize("image", [b"x", {"bytes": b"x", "path": "a.png"}, [{"file": {"bytes": b"x"}}]])
async def test_images_themselves_are_refused_before_they_are_read(read_table, image):
    """A few hundred rows of them would fill the memory."""
    with pytest.raises(InvalidRequestError, match="column image holds images themselves"):
        await read_table({"prompt": ["x"], "image": [image]})


async def test_empty_cells_give_nothing(read_table):
    """As in a table: defaults take their place."""
    rows = await read_table({"prompt": ["x"], "size": [""], "model": [""]}, defaults={"size": "1024x640"})

    assert [("1024x640", None)] == [(fields["size"], fields.get("model")) for fields in asked(rows)]


async def test_what_is_of_another_type_is_refused(read_table):
    """Dates, bytes and the like are no fields."""
    rows = await read_table({"prompt": pa.array([b"x"]), "size": [1024]})

    assert {"size: it has to be text, not int", "prompt: it has to be text, not bytes"} == set(
        asked(rows)[0].split("; ")
    )


async def test_a_bad_row_is_told_and_the_rest_goes_on(read_table):
    """Text of another encoding, or longer than a prompt can be."""
    bad = pa.array([b"a", b"\xff", b"b"], pa.binary()).view(pa.string())
    rows = await read_table({"prompt": bad})
    long = await read_table({"prompt": ["x" * (1024 * 1024 + 1), "y"]})

    assert ["a", "it holds text that is not UTF-8, or a date that does not exist", "b"] == [
        made if isinstance(made, str) else made["prompt"] for made in asked(rows)
    ]
    assert "it is longer than 1 MiB" == asked(long)[0]
    assert "y" == asked(long)[1]["prompt"]


async def test_a_date_that_python_does_not_have_is_a_bad_row(read_table):
    """Among others that are read."""
    dates = pa.array([2**60, 0], pa.timestamp("us"))
    rows = await read_table({"prompt": ["x", "y"], "user": dates})

    assert [
        "it holds text that is not UTF-8, or a date that does not exist",
        "user: it has to be text, not datetime",
    ] == asked(rows)


async def test_many_rows_come_in_their_order(read_table, monkeypatch):
    """However many are read at once."""
    monkeypatch.setattr(parquet, "ROWS", 7)
    rows = await read_table({"prompt": [f"otter {number}" for number in range(100)]})

    assert [(number + 1, f"otter {number}") for number in range(100)] == [
        (row.line, row.document["prompt"]) for row in rows
    ]


async def test_columns_that_are_not_sent_are_told_of(warned, tmp_path):
    """Each once, and they are not even read."""
    pq.write_table(pa.table({"prompt": ["x", "y"], "promt": ["z", "z"]}), tmp_path / "made.parquet")
    rows, row_warnings = await warned((tmp_path / "made.parquet").read_bytes(), "rows.parquet")

    assert 2 == len(rows)
    assert 1 == len(row_warnings)
    assert "line 1: Column 'promt'" in row_warnings[0]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"text": ["x"]}, "neither prompt nor image is among the columns 'text'"),
        (pa.table([["x"], ["y"]], names=["prompt", "prompt"]), "prompt is named twice"),
    ],
)
async def test_a_table_without_names_cannot_be_read(read_table, table, problem):
    """All of its rows would be bad."""
    with pytest.raises(InvalidRequestError, match=problem):
        await read_table(table)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1", b"prompt\nx\n"])
async def test_what_is_no_parquet_cannot_be_read(read, content):
    """In one line, without a traceback."""
    with pytest.raises(InvalidRequestError, match="it cannot be read as Parquet") as caught:
        await read(content, "rows.parquet")

    assert len(str(caught.value)) < 500


async def test_a_file_that_is_damaged_is_told_of(read, tmp_path):
    """Rows before the damage are made, and what follows is one bad row."""
    path = tmp_path / "made.parquet"
    prompts = [os.urandom(30).hex() for _ in range(20_000)]
    pq.write_table(pa.table({"prompt": prompts}), path, row_group_size=5_000, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    middle = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    data[middle : middle + 8] = b"\xff" * 8
    rows = await read(bytes(data), "rows.parquet")

    assert prompts[: len(rows) - 1] == [row.document["prompt"] for row in rows[:-1]]
    assert "it is damaged, and the rest cannot be read" == rows[-1].reason
    assert len(rows) == rows[-1].line


async def test_parquet_comes_from_files(read):
    """It is read from its end."""
    with pytest.raises(InvalidRequestError, match="Parquet is read from a file"):
        await read(b"PAR1", "-", format="parquet")


async def test_pyarrow_is_an_extra(read, monkeypatch):
    """The error names pyarrow where it is missing, and nothing else needs it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'burncloud-images\[data\]'"):
        await read(b"PAR1", "rows.parquet")


def test_pyarrow_is_loaded_where_it_is_needed():
    """It takes longer than all the rest."""
    code = "import burncloud_images.bulk.inputs, sys; assert 'pyarrow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
