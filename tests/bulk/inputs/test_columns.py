"""Columns are the fields of the requests; words become what their fields hold."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values

from burncloud_images.bulk.inputs.columns import COLUMNS, FIELDS, UnusableRow, load_json, nearest, to_value
from burncloud_images.model.operations import EditRequest, GenerationRequest, VariationRequest


def test_columns_are_the_fields_of_the_requests():
    """All of them, and a few of the row's own; nothing is listed twice."""
    kinds = {"generations": GenerationRequest, "edits": EditRequest, "variations": VariationRequest}

    assert {name: set(attrs.fields_dict(kind)) for name, kind in kinds.items()} == FIELDS
    assert {"id", "custom_id", "operation", "repeat"} == COLUMNS - set().union(*FIELDS.values())


@pytest.mark.parametrize(
    ("name", "word", "value"),
    [
        ("n", "2", 2),
        ("n", " 2 ", 2),
        ("n", "2.0", 2),
        ("n", "-1", -1),
        ("repeat", "1", 1),
        ("by_reference", "TRUE", True),
        ("by_reference", "0", False),
        ("svg", '{"model": "m"}', {"model": "m"}),
        ("extra", '{"seed": 1}', {"seed": 1}),
        ("image", "a.png", "a.png"),
        ("image", '["a.png", "b.png"]', ["a.png", "b.png"]),
        ("mask", '{"file_id": "f"}', {"file_id": "f"}),
        ("size", " 1024x1024", "1024x1024"),
        ("user", "7", "7"),
        ("prompt", " x ", " x "),
        ("prompt", "7", "7"),
        ("anything", "x", "x"),
        *((name, "", None) for name in ("n", "prompt", "svg", "image", "by_reference", "id")),
        ("n", "  ", None),
    ],
)
def test_a_word_becomes_what_its_field_holds(name, word, value):
    """Whole numbers, truth, objects, else text; an empty cell gives nothing."""
    assert value == to_value(name, word)
    assert type(value) is type(to_value(name, word))


@pytest.mark.parametrize(
    ("name", "word", "reason"),
    [
        ("n", "two", "it has to be a whole number"),
        ("n", "1e3", "it has to be a whole number"),
        ("n", "2.5", "it has to be a whole number"),
        ("n", "٢", "it has to be a whole number"),
        ("n", "1_0", "it has to be a whole number"),
        ("n", "9" * 10_000, "it has to be a whole number"),
        ("by_reference", "maybe", "it has to be true or false"),
        ("svg", "x", "it is not JSON: expecting value, at character 1"),
        ("image", "[", "it is not JSON: expecting value, at character 2"),
    ],
)
def test_a_word_of_another_kind_is_refused(name, word, reason):
    """The reason does not repeat the word."""
    with pytest.raises(UnusableRow) as caught:
        to_value(name, word)

    assert reason == str(caught.value)


@given(json_values)
def test_json_comes_back(value):
    """What servers may be sent passes as it is."""
    assert value == load_json(json.dumps(value))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 1}', "a name stands twice in one object"),
        ('[{"b": {"a": 1, "a": 2}}]', "a name stands twice in one object"),
        ("NaN", "it holds a number that JSON does not have"),
        ("[-Infinity]", "it holds a number that JSON does not have"),
        ("-" + "1" * 78, "it holds a number of too many digits"),
        ("1" * 10_000, "it holds a number of too many digits"),
        ('[{"a":' * 51 + "1" + "}]" * 51, "it is nested more than 100 levels deep"),
        ("[" * 101 + "]" * 101, "it is nested more than 100 levels deep"),
        ('{"a":' * 500_000, "it is nested more than 100 levels deep"),
        ("[" * 1_000_000, "it is nested more than 100 levels deep"),
        ('{"secret', "it is not JSON: unterminated string starting at, at character 2"),
        ("secret", "it is not JSON: expecting value, at character 1"),
        ("{} secret", "it is not JSON: extra data, at character 4"),
        ('"\0"', "it is not JSON: invalid control character at, at character 2"),
        ("", "it is not JSON: expecting value, at character 1"),
    ],
)
def test_json_that_parsers_do_not_agree_on_is_refused(text, reason):
    """JSON that parsers read differently or cannot finish is refused, and the reason does not quote it."""
    with pytest.raises(UnusableRow) as caught:
        load_json(text)

    assert reason == str(caught.value)


def test_nesting_is_counted_and_not_guessed():
    """Many brackets beside each other are not deep; a hundred levels are taken."""
    wide = [[] for _ in range(1000)]

    assert wide == load_json(json.dumps(wide))
    load_json("[" * 100 + "]" * 100)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("promt", "prompt"),
        ("Prompt", "prompt"),
        ("output format", "output_format"),
        ("seed", None),
        ("x" * 10**6, None),
    ],
)
def test_slips_are_recognised(name, column):
    """As advice; nothing is corrected unasked."""
    assert column == nearest(name)


@given(st.text())
def test_any_name_may_be_looked_up(name):
    """It is a column, or nothing."""
    assert nearest(name) in {None, *COLUMNS}
