"""Prompts, tables, JSON lines and OpenAI's batches: what each line gives, and what cannot be read."""

from __future__ import annotations

import csv
import io
import json

import pytest

from burncloud_images.bulk.inputs.columns import UnusableRow
from burncloud_images.bulk.inputs.formats import unwrap
from burncloud_images.bulk.records import BadRow, NewRequest
from burncloud_images.errors import InvalidRequestError


def asked(rows):
    """Return the fields that the rows ask for, by line; of bad ones the reason."""
    return {row.line: row.reason if isinstance(row, BadRow) else strip(row.document) for row in rows}


def strip(document):
    return {name: value for name, value in document.items() if name != "operation"}


# --- prompts ---------------------------------------------------------------------------------------------------------


async def test_a_line_of_text_is_a_prompt(read):
    """Blank lines are passed over, marks and line ends of any kind belong to no prompt."""
    rows = await read("\ufeffan otter\r\n\n \t \n  two otters \r\n水獭".encode(), "list.txt")

    assert {1: {"prompt": "an otter"}, 4: {"prompt": "two otters"}, 5: {"prompt": "水獭"}} == asked(rows)


@pytest.mark.parametrize(
    "prompt", ["../../etc/x", "/abs", "C:\\x", "-rf", "{prompt.__class__}", '"quoted"', "a,b", "#1"]
)
async def test_whatever_a_prompt_looks_like_it_is_one(read, prompt):
    """It names no file and is no template."""
    assert {1: {"prompt": prompt}} == asked(await read(prompt, "list.txt"))


async def test_a_bad_line_is_told_and_the_rest_goes_on(read):
    """NUL bytes, and lines longer than a prompt can be."""
    lines = [b"a", b"\xc3\xa4", b"b", b"c\0d", b"e", b"x" * (1024 * 1024 + 1), b"f"]
    rows = await read(b"\n".join(lines), "list.txt")

    assert {
        1: {"prompt": "a"},
        2: {"prompt": "ä"},
        3: {"prompt": "b"},
        4: "it holds a NUL byte",
        5: {"prompt": "e"},
        6: "it is longer than 1 MiB",
        7: {"prompt": "f"},
    } == asked(rows)


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "delimiter"), [("list.csv", ","), ("list.tsv", "\t")])
async def test_the_first_row_of_a_table_names_its_fields(read, name, delimiter):
    """Cells are typed by their field, empty ones give nothing, and a row stands where it begins."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(
        [
            ["id", "prompt", "n", "size", "svg", "extra"],
            ["one", "an otter", 2, "1024x1024", "", '{"seed": 1}'],
            ["two", f'an otter{delimiter}\nand "another"', "", "", '{"model": "m"}', ""],
            [""] * 6,
            ["three", "x", "many", "", "nothing", ""],
            ["four", "x"],
            ["five", "x", "", "", "", "", "x"],
        ]
    )
    text.write(f'six{delimiter}x"y{delimiter * 4}\nseven{delimiter}"x"y{delimiter * 4}\n')
    rows = await read(text.getvalue(), name)

    assert {
        2: {"n": 2, "size": "1024x1024", "extra": {"seed": 1}, "prompt": "an otter"},
        3: {"svg": {"model": "m"}, "prompt": f'an otter{delimiter}\nand "another"'},
        6: "n: it has to be a whole number; svg: it is not JSON: expecting value, at character 1",
        7: "it has 2 cells, and the first row has 6",
        8: "it has 7 cells, and the first row has 6",
        9: {"prompt": 'x"y'},
        10: f"it is not a row of a table: '{delimiter}' expected after '\"'".replace("\t", "\ufffd"),
    } == asked(rows)
    assert ["one", "two", "three", "", "", "six", ""] == [row.label for row in rows]


async def test_a_quote_that_is_never_closed_buys_nothing(read):
    """What stands behind it is not guessed at."""
    rows = await read('prompt\na\n"b\nc\nd\n', "list.csv")

    reason = "a quote is opened in it and never closed, so that all the rest belongs to it"
    assert {2: {"prompt": "a"}, 3: reason} == asked(rows)


async def test_a_huge_cell_is_told_of(read):
    """The standard library's own limit holds."""
    rows = await read(f"prompt\n{'x' * 200_000}\ny", "list.csv")

    assert {2: "it is not a row of a table: field larger than field limit (131072)", 3: {"prompt": "y"}} == asked(rows)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("promt,n", "neither prompt nor image is among the columns 'promt', 'n'.*--column prompt=\"promt\""),
        ("an otter", "neither prompt nor image is among the columns 'an otter'"),
        ("prompt,n,prompt", "prompt is named twice"),
        ('"prompt', "a quote is opened"),
        ("prompt," + "x" * 1024 * 1024, "longer than 1 MiB"),
    ],
)
async def test_a_table_without_names_cannot_be_read(read, header, problem):
    """All of its rows would be bad, or another picture than was meant."""
    with pytest.raises(InvalidRequestError, match=problem) as caught:
        await read((header.encode() if isinstance(header, str) else header) + b"\nx\n", "list.csv")

    assert len(str(caught.value)) < 400


async def test_a_table_may_leave_to_the_defaults_what_all_rows_share(read):
    """Then its columns need not say it."""
    rows = await read("n\n1\n2\n", "list.csv", defaults={"prompt": "x"})

    assert {2: {"n": 1, "prompt": "x"}, 3: {"n": 2, "prompt": "x"}} == asked(rows)


async def test_an_empty_list_is_one(read):
    """There is nothing in it."""
    for name in ("list.txt", "list.csv", "list.tsv", "list.jsonl"):
        assert [] == await read("", name)
        assert [] == await read("\n\r\n", name)


# --- JSON lines ------------------------------------------------------------------------------------------------------


async def test_a_line_of_json_gives_fields_by_their_names(read):
    """A JSON line gives fields by name, and null gives none."""
    line = {"id": "a", "prompt": "x", "n": 2, "size": None, "extra": {"seed": [1, None]}}
    (row,) = await read(json.dumps(line))

    assert isinstance(row, NewRequest)
    assert {"operation": "generations", "n": 2, "extra": {"seed": [1, None]}, "prompt": "x"} == row.document
    assert "a" == row.label


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('"x"', "it is JSON, but not an object"),
        ("null", "it is JSON, but not an object"),
        ("{", "it is not JSON: expecting property name enclosed in double quotes, at character 2"),
        ('{"prompt": "x", "prompt": "y"}', "a name stands twice in one object"),
        ('{"prompt": "x", "n": NaN}', "it holds a number that JSON does not have"),
        ('{"prompt": "x", "n": ' + "9" * 10_000 + "}", "it holds a number of too many digits"),
        ('{"prompt": "x", "extra": {"a": 1e999}}', "extra: a cannot be written as JSON"),
        ('{"extra": ' + "[" * 300_000, "it is nested more than 100 levels deep"),
        ('{"prompt": "\\ud83d"}', "prompt: it holds half of a surrogate pair, which UTF-8 cannot carry"),
        ('{"prompt": "x\0"}', "it holds a NUL byte"),
    ],
)
async def test_a_line_of_bad_json_is_told_of(read, line, reason):
    """Each with what is wrong; the next goes on."""
    rows = await read(line + '\n{"prompt": "y"}')

    assert {1: reason, 2: {"prompt": "y"}} == asked(rows)


async def test_a_line_of_a_batch_gives_the_fields_of_its_body(read):
    """Its custom_id is the row's name, also where the rest is wrong."""
    good = {"custom_id": "a", "method": "POST", "url": "/v1/images/generations", "body": {"prompt": "x", "n": 2}}
    bad = {"custom_id": "b", "method": "POST", "url": "/v1/chat/completions", "body": {"prompt": "x"}}
    rows = await read(json.dumps(good) + "\n" + json.dumps(bad))

    reason = "url: it is not a URL of the images API, such as /v1/images/generations"
    assert {1: {"n": 2, "prompt": "x"}, 2: reason} == asked(rows)
    assert ["a", "b"] == [row.label for row in rows]


def line(**changes):
    return {"custom_id": "a", "method": "POST", "url": "/v1/images/edits", "body": {"prompt": "x"}, **changes}


def given(value):
    return {name: item for name, item in unwrap(value).items() if item is not None}


def test_the_body_is_what_is_asked_for():
    """The address tells the operation."""
    assert {"prompt": "x", "id": "a", "operation": "edits"} == given(line())


@pytest.mark.parametrize("operation", ["generations", "edits", "variations"])
@pytest.mark.parametrize("form", ["/v1/images/{}", "/images/{}/", "https://gateway.example/v1/images/{}"])
def test_an_address_tells_the_operation(form, operation):
    """In all forms that occur."""
    assert operation == given(line(url=form.format(operation)))["operation"]


def test_images_of_a_body_are_those_of_the_row():
    """Edits in JSON have a list of them, by their addresses."""
    images = [{"image_url": "https://images.example/a.png"}, {"file_id": "f"}]

    assert images == given(line(body={"prompt": "x", "images": images}))["image"]


def test_a_line_without_a_body_is_taken_as_it_is():
    """The row's own form, in which custom_id is another word for id."""
    assert {"custom_id": "a", "prompt": "x"} == given({"custom_id": "a", "prompt": "x"})


def test_a_line_may_leave_its_address_to_what_it_holds():
    """A batch line without `url` gets its operation from its fields, as rows do."""
    assert {"prompt": "x", "id": "a"} == given(line(url=None))


def test_what_else_an_envelope_holds_is_kept():
    """Other keys of an envelope are kept, so that a warning can name them."""
    assert {"prompt": "x", "id": "a", "operation": "edits", "priority": 1} == given(line(priority=1))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (line(body=[]), "body: it has to be an object"),
        (line(method="GET"), "method: it has to be POST"),
        (line(url="/v1/responses"), "url: it is not a URL of the images API, such as /v1/images/generations"),
        (line(url=7), "url: it is not a URL of the images API, such as /v1/images/generations"),
        (line(body={"id": "b"}), "body: id is not a field of the API"),
        (line(body={"operation": "edits"}), "body: operation is not a field of the API"),
        (line(body={"image": "a", "images": []}), "body: it has both image and images"),
    ],
)
def test_a_request_to_something_else_is_refused(value, reason):
    """With what is wrong."""
    with pytest.raises(UnusableRow) as caught:
        unwrap(value)

    assert reason == str(caught.value)
