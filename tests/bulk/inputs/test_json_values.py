"""JSON that is not a value a line: all of it is read, or none."""

from __future__ import annotations

import io
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.bulk.inputs.columns import UnusableRow
from burncloud_images.bulk.inputs.json_values import json_values
from burncloud_images.bulk.records import BadRow
from burncloud_images.errors import InvalidRequestError

ROWS = [{"id": "a", "prompt": "a fox"}, {"id": "b", "prompt": "水獭", "n": 2}, {"id": "c", "prompt": "[x], {y}"}]
FORMS = {
    "a line each": "[" + ",\n".join(map(json.dumps, ROWS)) + "]",
    "one line": json.dumps(ROWS),
    "indented": json.dumps(ROWS, indent=2, ensure_ascii=False),
    "tabs": json.dumps(ROWS, indent="\t") + "\r\n",
    "after blank lines": "\n \n" + json.dumps(ROWS),
    "one after the other": "".join(map(json.dumps, ROWS)),
    "indented one after the other": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "several arrays": json.dumps(ROWS[:1]) + "\n" + json.dumps(ROWS[1:]),
    "a sequence": "".join(f"\x1e{json.dumps(row)}\n" for row in ROWS),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", ["list.json", "list.jsonl", "list.ndjson"])
async def test_all_rows_are_read(read, text, name):
    """In whatever form they follow one another."""
    if text.startswith("\x1e") and name != "list.json":
        pytest.skip("a line of a sequence is not a line of JSON")
    rows = await read(text, name)

    assert [("a", "a fox"), ("b", "水獭"), ("c", "[x], {y}")] == [(row.label, row.document["prompt"]) for row in rows]


@pytest.mark.parametrize("form", ["a line each", "one line", "indented"])
@pytest.mark.parametrize("name", ["-", "list.txt"])
async def test_an_array_is_seen_to_be_one(read, form, name):
    """It is not bought line by line as prompts."""
    rows = await read(FORMS[form], name)

    assert ["a", "b", "c"] == [row.label for row in rows]


async def test_each_row_knows_its_line(read):
    """A row stands where it begins."""
    rows = await read(json.dumps(ROWS, indent=2), "list.jsonl")

    assert [2, 6, 11] == [row.line for row in rows]


async def test_text_in_an_array_is_a_prompt(read):
    """As programs write lists of prompts."""
    rows = await read('["a fox", "b, c", 7, null, [{"prompt": "x"}], {"n": 1}]', "prompts.json")

    assert ["a fox", "b, c"] == [row.document["prompt"] for row in rows if not isinstance(row, BadRow)]
    assert ["it is JSON, but not an object"] * 3 == [row.reason for row in rows if isinstance(row, BadRow)][:3]
    assert 6 == len(rows)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{"prompt": "a"},\n{"prompt": "b"},\n]', "line 3, column 1: expecting value"),
        ('[{"prompt": "a"},\n{"prompt": "b"}', "line 2, column 16: , is expected, and there is nothing more"),
        ('[{"prompt": "a"}\n{"prompt": "b"}]', "line 2, column 1: , is expected, and there is {"),
        ('[{"prompt": "a"}] x', "line 1, column 19: expecting value"),
        ('[{"prompt": "a"}], {"prompt": "b"}', "line 1, column 18: a comma stands between values"),
        ("[{'prompt': 'a'}]", "line 1, column 3: expecting property name"),
        ('[{"prompt": "a\nb"}]', "line 1, column 15: invalid control character"),
        ('[{"prompt": "' + "a" * 2**21 + '"}]', "line 1, column 2: a value is longer than 1 MiB"),
        ("[" * 100_000, "it is nested too deep"),
    ],
)
@pytest.mark.parametrize("name", ["list.json", "list.jsonl"])
async def test_an_array_with_a_fault_is_refused_whole(read, text, problem, name):
    """Its first rows are not bought without the others; the place is told by line and column."""
    with pytest.raises(InvalidRequestError) as caught:
        await read(text, name)

    assert problem in caught.value.violations[0].message


async def test_a_row_that_is_not_strict_is_bad(read):
    """What is wrong within a row does not reach the next."""
    rows = await read(
        '[{"prompt": "a", "prompt": "b"}, {"prompt": "c", "n": ' + "9" * 5000 + '}, {"prompt": "d"}]', "a.json"
    )

    assert [True, True, False] == [isinstance(row, BadRow) for row in rows]


async def test_lines_with_a_fault_stay_lines(read):
    """One bad line of JSON lines is told, and the rest goes on."""
    rows = await read('{"prompt": "a"}\n{"prompt": \n{"prompt": "c"}', "list.jsonl")
    first = await read('{"prompt": \n{"prompt": "b"}\n{"prompt": "c"}', "list.jsonl")

    assert [False, True, False] == [isinstance(row, BadRow) for row in rows]
    assert [True, False, False] == [isinstance(row, BadRow) for row in first]


async def test_keys_are_named_like_columns(read):
    """Names that the user gives count for JSON as well, and one column is not given twice."""
    rows = await read('[{"Text": "a"}, {"text": "b", "PROMPT": "c"}]', "list.json", columns={"prompt": "text"})
    both = await read('{"Prompt": "a", "prompt": "b"}', "list.jsonl")

    assert "a" == rows[0].document["prompt"]
    assert ["prompt: it is given twice, under two names"] * 2 == [rows[1].reason, both[0].reason]


@pytest.mark.parametrize("name", ["-", "list.txt"])
async def test_objects_of_something_else_are_not_guessed_at(read, name):
    """They may be rows under other names, or prompts in JSON."""
    with pytest.raises(InvalidRequestError, match="an object of 'subject', 'style'"):
        await read('{"subject": "fox", "style": "ink"}\n', name)

    rows = await read('{"subject": "fox"}\n', name, format="txt")
    assert '{"subject": "fox"}' == rows[0].document["prompt"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(values.filter(lambda value: not isinstance(value, list)), max_size=6), st.sampled_from([None, 0, 2]))
def test_values_are_those_of_the_standard_library(items, indent):
    """In an array or one after the other."""
    array = json.dumps(items, indent=indent)
    row = " ".join(json.dumps(item, indent=indent) for item in items)
    for text in (array, row):
        assert items == [json.loads(found.text) for found in json_values(io.BytesIO(text.encode()))]


@given(st.text(st.sampled_from('[]{}",:a1 \n\\'), max_size=12))
def test_what_is_not_json_is_refused(text):
    """It never comes to another error, nor to an endless loop."""
    try:
        found = [*json_values(io.BytesIO(text.encode()))]
    except UnusableRow:
        return
    assert all(json.loads(value.text) is not False for value in found)


@pytest.mark.slow
def test_a_long_array_takes_no_memory(tmp_path):
    """It passes through in what a few pieces take, also if it is one line."""
    path = tmp_path / "list.json"
    with path.open("w") as file:
        file.write("[")
        file.writelines(json.dumps({"prompt": "x" * 2000}) + "," for _ in range(10_000))
        file.write('{"prompt": "last"}]')
    tracemalloc.start()
    try:
        with path.open("rb") as handle:
            count = sum(1 for _ in json_values(handle))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 10_001 == count
    assert peak < 12_000_000  # the file has 20 MB
