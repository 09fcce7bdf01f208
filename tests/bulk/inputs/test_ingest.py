"""Inputs are read a few rows at a time, and no record is lost."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from blockbuster import BlockBuster
from hypothesis import given
from hypothesis import strategies as st
from leaks import open_descriptors
from pictures import png

from burncloud_images.bulk.inputs import STDIN, InputOptions, ingest, open_input
from burncloud_images.bulk.records import BadRow, NewRequest
from burncloud_images.errors import InvalidRequestError

# --- nothing is lost -------------------------------------------------------------------------------------------------

good = st.builds(lambda prompt: json.dumps({"prompt": prompt}).encode(), st.text(max_size=5))
bad = st.sampled_from(
    [b"{", b"3", b'{"a":1,"a":1}', b'{"prompt":"a\0"}', b"{}", b'{"prompt":"x","image":"/etc/passwd"}']
)
blank = st.sampled_from([b"", b" ", b"\t\r"])


async def listed(rows):
    """Return all rows."""
    return [row async for row in rows]


def read_all(data, name="jsonl"):
    """Return all rows of stdin."""

    async def go():
        options = InputOptions(format=name, input_root=folder)
        return await listed(open_input(STDIN, options, executor, stdin=io.BytesIO(data)))

    with ThreadPoolExecutor(max_workers=1) as executor, TemporaryDirectory() as place:
        folder = Path(place)
        return asyncio.run(go())


@given(st.lists(good | bad | blank, max_size=12), st.booleans())
def test_every_line_comes_to_a_row_a_bad_row_or_is_blank(lines, ends):
    """In their order, each with its number."""
    rows = read_all(b"\n".join(lines) + b"\n" * ends)
    full = [number for number, line in enumerate(lines, start=1) if line.strip()]

    assert full == [row.line for row in rows]
    assert all(isinstance(row, (NewRequest, BadRow)) for row in rows)


@given(
    st.lists(st.sampled_from(["a", "b,c", 'd"e', "f\ng", "", "2", "x" * 9]), max_size=30),
    st.sampled_from(["csv", "tsv"]),
)
def test_a_table_comes_to_as_many_rows(cells, name):
    """A table gives one request for each row, even with line ends in its cells."""
    text = io.StringIO(newline="")
    out = csv.writer(text, delimiter="," if name == "csv" else "\t")
    out.writerow(["prompt", "n"])
    filled = [pair for pair in zip(cells[::2], cells[1::2], strict=False) if any(pair)]
    out.writerows(filled)
    rows = read_all(text.getvalue().encode(), name)

    assert len(filled) == len(rows)
    assert [prompt for prompt, n in filled if prompt and n in {"", "2"}] == [
        row.document["prompt"] for row in rows if isinstance(row, NewRequest)
    ]


# --- a few at a time -------------------------------------------------------------------------------------------------


async def test_rows_come_in_batches(folder, executor, monkeypatch):
    """However many there are; the last one is complete."""
    monkeypatch.setattr(ingest, "ROWS_PER_HOP", 7)
    path = folder / "list.txt"
    path.write_text("".join(f"otter {number}\n" for number in range(100)))
    rows = [row async for row in open_input(path, InputOptions(), executor)]

    assert [f"otter {number}" for number in range(100)] == [row.document["prompt"] for row in rows]


async def test_a_batch_is_cut_short_by_the_images_of_its_rows(folder, monkeypatch):
    """A hop to a thread cannot be, and may have to hash much."""
    monkeypatch.setattr(ingest, "BYTES_PER_HOP", 1000)
    for number in range(6):
        (folder / f"{number}.png").write_bytes(png(pad=400))
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"image": f"{number % 6}.png"}) + "\n" for number in range(60)))
    making = ingest.InputReader(source=str(path), options=InputOptions(), stdin=None)
    counts = []
    while (taken := making.take()) is not None:
        counts.append(len(taken[0]))
    making.close()

    assert 60 == sum(counts)
    assert [2, 2, 2] == counts[:3]
    assert counts[3] > 10  # they are known by now


async def test_the_event_loop_is_not_held(folder, executor):
    """All that blocks is done in the thread."""
    path = folder / "rows.jsonl"
    path.write_text(json.dumps({"image": "a.png"}) + "\n" + json.dumps({"image": "/etc/passwd"}))
    blockbuster = BlockBuster()
    blockbuster.activate()
    try:
        rows = [row async for row in open_input(path, InputOptions(), executor)]
    finally:
        blockbuster.deactivate()

    assert [NewRequest, BadRow] == [type(row) for row in rows]


@pytest.mark.slow
def test_a_long_list_takes_no_memory(folder):
    """Ten thousand rows pass through in what a few hundred take."""
    with (folder / "rows.jsonl").open("w") as file:
        file.writelines(json.dumps({"prompt": f"otter {number} {'x' * 300}"}) + "\n" for number in range(10_000))
    making = ingest.InputReader(source=str(folder / "rows.jsonl"), options=InputOptions(), stdin=None)
    count = len(making.take()[0])
    tracemalloc.start()
    try:
        while (taken := making.take()) is not None:
            count += len(taken[0])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        making.close()

    assert 10_000 == count
    assert peak < 2_500_000  # two batches; all rows would take 17 MB


# --- pipes -----------------------------------------------------------------------------------------------------------


async def test_rows_of_a_pipe_are_read_to_its_end(executor, folder, pipe):
    """The first character tells the format."""
    stdin, out = pipe
    out.write(b'{"prompt": "a"}\n{"pro')
    rows = open_input(STDIN, InputOptions(input_root=folder), executor, stdin=stdin)
    reading = asyncio.create_task(listed(rows))
    await asyncio.sleep(0.01)
    out.write(b'mpt": "b"}')
    out.close()
    found = await reading

    assert [("a", 1, STDIN), ("b", 2, STDIN)] == [(row.document["prompt"], row.line, row.source) for row in found]


async def test_waiting_for_a_pipe_can_be_cancelled(executor, folder, pipe):
    """At once, though the pipe gives nothing; the executor is free."""
    stdin, _ = pipe
    rows = open_input(STDIN, InputOptions(input_root=folder), executor, stdin=stdin)
    task = asyncio.create_task(anext(rows))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert 7 == await asyncio.get_running_loop().run_in_executor(executor, lambda: 7)
    await rows.aclose()


async def test_images_of_a_piped_list_are_in_the_current_folder(executor, folder, monkeypatch):
    """Unless another is said."""
    monkeypatch.chdir(folder)
    (row,) = [row async for row in open_input(STDIN, InputOptions(), executor, stdin=io.BytesIO(b'{"image": "a.png"}'))]

    assert str(folder / "a.png") == row.document["image"]["path"]


# --- ends ------------------------------------------------------------------------------------------------------------


async def test_a_reading_that_is_left_closes_its_file(folder, executor):
    """However far it came."""
    path = folder / "list.txt"
    path.write_text("a\n" * 2000)
    before = open_descriptors()
    async with aclosing(open_input(path, InputOptions(), executor)) as rows:
        await anext(rows)
        assert before != open_descriptors()

    assert before == open_descriptors()


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("no-such.txt", {}, "no-such.txt: there is no such file"),
        ("rows", {}, "rows: its name does not tell the format"),
        (".", {"format": "txt"}, "it is a folder"),
        (
            "rows.txt",
            {"input_root": Path("/no-such")},
            "/no-such: it is not a folder, so rows cannot name images in it",
        ),
        ("rows.txt", {"format": "xml"}, "xml is not a format"),
        ("rows.txt", {"format": "csv"}, "neither prompt nor image is among the columns"),
    ],
)
async def test_an_input_that_cannot_be_read_raises(folder, executor, name, options, problem):
    """Before the first row."""
    (folder / "rows.txt").write_text("an otter\n")
    (folder / "rows").write_text("an otter\n")
    with pytest.raises(InvalidRequestError, match=problem):
        await anext(open_input(folder / name, InputOptions(**options), executor))


async def test_a_relative_name_is_that_of_the_current_folder(folder, executor, monkeypatch):
    """A relative name is read from the current folder, and its images lie beside it."""
    monkeypatch.chdir(folder.parent)
    (folder / "rows.jsonl").write_text('{"image": "a.png"}')
    (row,) = [row async for row in open_input("list/rows.jsonl", InputOptions(), executor)]

    assert (str(folder / "a.png"), "list/rows.jsonl") == (row.document["image"]["path"], row.source)
