"""Prompts that are made of columns, and rows that become a request for each of several models."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.bulk.inputs.columns import UnusableRow
from burncloud_images.bulk.inputs.templates import Template
from burncloud_images.bulk.records import BadRow
from burncloud_images.errors import InvalidRequestError

TEXT = "a {animal} in the style of {Art Style}"


@pytest.mark.parametrize(
    ("template", "values", "prompt"),
    [
        ("a {animal}", {"animal": "fox"}, "a fox"),
        ("{ Animal }!", {"animal": " fox "}, "fox!"),
        ("{art style}", {"Art-Style": "ink"}, "ink"),
        ("{{{a}}}", {"a": "x"}, "{x}"),
        ("{{}} {a} {{a}}", {"a": "x"}, "{} x {a}"),
        ("{a}{a}", {"a": "x"}, "xx"),
        ("{a}", {"a": "{b}", "b": "x"}, "{b}"),
        ("{a.__class__} {a!r} {a:>9}", {"a.__class__": "x", "a!r": "y", "a:>9": "z"}, "x y z"),
        ("{0}", {"0": "x"}, "x"),
        ("{n} {f} {t}", {"n": 3, "f": 2.5, "t": True}, "3 2.5 true"),
        ("{动物}", {"动物": "水獭"}, "水獭"),
        ("{prompt}, oil", {"prompt": "a fox"}, "a fox, oil"),
    ],
)
def test_a_template_is_filled_with_columns(template, values, prompt):
    """Names are those of columns and nothing else; what a cell holds is not a template."""
    assert prompt == Template.of(template).fill(values)


@pytest.mark.parametrize(
    "template", ["{", "}", "a { b", "{}", "{ }", "{a} }", "{{a}", "no column", "", "{{a}}", "{a{b}}"]
)
def test_what_is_no_template_is_refused(template):
    """A brace that stands alone is not guessed at, and one prompt for all rows is not a template."""
    with pytest.raises(UnusableRow, match="template"):
        Template.of(template)


@given(st.text(max_size=30))
def test_braces_that_are_doubled_are_text(text):
    """Any text can stand in a template."""
    doubled = text.replace("{", "{{").replace("}", "}}")

    assert f"x{text}" == Template.of("{a}" + doubled).fill({"a": "x"})


@pytest.mark.parametrize("cell", [None, "", "  ", [], {"b": 1}])
def test_an_empty_cell_makes_no_prompt(cell):
    """Half of a prompt is not bought."""
    with pytest.raises(UnusableRow, match="the column 'a'"):
        Template.of("{a} {b}").fill({"a": cell, "b": "x"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "animal;Art Style;n\nfox;ink;2\notter;;1\n"),
        ("list.jsonl", '{"animal": "fox", "art_style": "ink", "n": 2}\n{"animal": "otter", "n": 1}\n'),
        ("list.json", json.dumps([{"animal": "fox", "ART STYLE": "ink", "n": 2}, {"animal": "otter"}], indent=1)),
    ],
)
async def test_rows_of_any_format_fill_it(read, name, text):
    """The columns that it names are not warned of, and a row that lacks one is bad."""
    one, other = await read(text, name, template=TEXT)

    assert {"operation": "generations", "n": 2, "prompt": "a fox in the style of ink"} == one.document
    assert "template: the column 'Art Style' is missing or empty" == other.reason


async def test_columns_under_other_names_fill_it(read):
    """They can be named as the list names them, or as requests do."""
    text = "Prompt Text;Nr\na fox;7\n"
    columns = {"prompt": "Prompt Text", "id": "Nr"}
    for template in ("{Prompt Text}, oil", "{prompt}, oil"):
        (row,) = await read(text, "list.csv", template=template, columns=columns)

        assert ("7", {"operation": "generations", "prompt": "a fox, oil"}) == (row.label, row.document)


async def test_a_column_of_a_template_is_not_sent_as_a_field(read):
    """`style` is a field of some models, and here a word of the prompt; sizes and models are sent all the same."""
    text = "animal,style,size\nfox,ink,256x256\n"
    (row,) = await read(text, "list.csv", template="a {animal} in the style of {style}, {size}")

    prompt = "a fox in the style of ink, 256x256"
    assert {"operation": "generations", "size": "256x256", "prompt": prompt} == row.document
    assert {"animal": "fox", "style": "ink"} == row.columns


async def test_parquet_fills_it_too(read, tmp_path):
    """Columns of text and numbers are read for it."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"animal": ["fox"], "Art Style": [7]}), tmp_path / "a.parquet")
    (row,) = await read((tmp_path / "a.parquet").read_bytes(), "list.parquet", template=TEXT)

    assert "a fox in the style of 7" == row.document["prompt"]


async def test_a_column_that_is_missing_is_told_once(read):
    """For the whole table, with those that there are."""
    with pytest.raises(InvalidRequestError) as caught:
        await read("animal,styel\nfox,ink\n", "list.csv", template="{animal} {style}")

    message = "line 1, separated by commas: the template names {style}, and the columns are 'animal', 'styel'"
    assert f"{message}; did you mean {{styel}}?" == caught.value.violations[0].message


async def test_a_wrong_template_is_told_before_any_row(read):
    """With the place of the brace."""
    with pytest.raises(InvalidRequestError, match=r"\{ at character 3 of the template names no column"):
        await read("animal\nfox\n", "list.csv", template="a { b")


# --- models ----------------------------------------------------------------------------------------------------------


async def test_each_row_is_made_with_each_model(read):
    """Requests of one row stand together; a row that names a model keeps it."""
    text = "id,prompt,model\nfox,a fox,\n,b,\nown,c,dall-e-2\n"
    rows = await read(text, "list.csv", models=("gpt-image-2", "dall-e-3"))

    assert [
        ("fox-gpt-image-2", 2, "gpt-image-2"),
        ("fox-dall-e-3", 2, "dall-e-3"),
        ("", 3, "gpt-image-2"),
        ("", 3, "dall-e-3"),
        ("own", 4, "dall-e-2"),
    ] == [(row.label, row.line, row.document["model"]) for row in rows]
    assert 5 == len({row.key for row in rows})


async def test_a_bad_row_is_told_once(read):
    """It is as wrong for one model as for the other."""
    rows = await read("prompt,n\na,many\nb,0\n", "list.csv", models=("a", "b"))

    assert [2, 3] == [row.line for row in rows]
    assert all(isinstance(row, BadRow) for row in rows)
