"""The hand-written list of what is newer than the API document is neither too long nor made up."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

import jsonschema
import pytest
from contract.judge import amend
from contract.newer import FIELDS, VALUES
from openai.types.image_edit_params import ImageEditParamsBase
from openai.types.image_generate_params import ImageGenerateParamsBase
from openai.types.images_response import ImagesResponse

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("contract")]

OFFICIAL: dict[str, dict[str, Any]] = {
    "CreateImageRequest": get_type_hints(ImageGenerateParamsBase),
    "CreateImageEditRequest": get_type_hints(ImageEditParamsBase),
    "ImagesResponse": {name: field.annotation for name, field in ImagesResponse.model_fields.items()},
}


def takes(hint: object, text: str) -> bool:
    """Return whether a type takes *text*."""
    if get_origin(hint) is Literal:
        return text in get_args(hint)
    return hint is str or any(takes(inner, text) for inner in get_args(hint))


@pytest.mark.parametrize("row", FIELDS, ids=lambda row: f"{row.schema}.{row.field}")
def test_a_newer_field_is_not_in_the_document(published, row):
    """The document does not have the field yet; once it does, the row has to go."""
    assert row.field not in published.properties(row.schema)


@pytest.mark.parametrize("row", VALUES, ids=lambda row: f"{row.schema}.{row.field}={row.example}")
def test_a_newer_value_is_not_in_the_document(published, judge, row):
    """The document does not accept the value yet; once it does, the row has to go."""

    def said(judged) -> list[str]:
        return [
            problem for problem in judged.problems(row.schema, {row.field: row.example}) if f".{row.field}:" in problem
        ]

    assert said(published)
    assert not said(judge)


def test_the_amended_document_is_made_of_valid_schemas(contract):
    """The amended schemas are valid, as a misspelt keyword would allow everything."""
    for schema in amend(contract)["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    "row", [row for row in FIELDS if row.schema in OFFICIAL], ids=lambda row: f"{row.schema}.{row.field}"
)
def test_the_official_client_has_each_newer_field(row):
    """The types of the `openai` package name the field too."""
    assert row.field in OFFICIAL[row.schema]


@pytest.mark.parametrize(
    "row", [row for row in VALUES if row.schema in OFFICIAL], ids=lambda row: f"{row.schema}.{row.field}={row.example}"
)
def test_the_official_client_has_each_newer_value(row):
    """The types of the `openai` package name the value too, or accept any text."""
    assert takes(OFFICIAL[row.schema][row.field], row.example)


def test_a_value_that_the_official_client_does_not_have_is_noticed():
    """The `openai` types are closed where the list has rows, so the test above can fail."""
    assert not takes(OFFICIAL["CreateImageRequest"]["quality"], "ultra")
    assert not takes(OFFICIAL["ImagesResponse"]["output_format"], "bmp")


def test_each_row_says_where_it_is_from():
    """Each row names a document with its date or version as its source."""
    documents = ("openai 3.54.0 of 2026-11-17", "OpenAI's API reference of November 2026", "the document itself")
    assert all(row.source.startswith(documents) for row in (*FIELDS, *VALUES))
