"""What the client sends keeps to the API document and to the list of what is newer."""

from __future__ import annotations

import json

import attrs
import pytest
from contract.judge import UPLOAD, Judge
from contract.kinds import KINDS, OTTER, one_of_each, written
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images import GenerationRequest
from burncloud_images.model.operations import ImagesRequest

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("contract")]

PATHS = {
    "generation": "/images/generations",
    "edit": "/images/edits",
    "edit by reference": "/images/edits",
    "variation": "/images/variations",
}


def problems(judge: Judge, name: str, request: ImagesRequest) -> list[str]:
    _, content_type, body = written(request)
    return judge.request_problems(content_type, body, KINDS[name].schema)


@pytest.mark.parametrize(("name", "field", "number"), list(one_of_each()))
def test_each_documented_value_is_sent_as_documented(judge, name, field, number):
    """A request with this one field set is valid, and the field is in it."""
    kind = KINDS[name]
    value = kind.values[field][number]
    request = kind.request(**{field: value})
    _, content_type, body = written(request)
    assert judge.request_problems(content_type, body, kind.schema) == []
    sent = judge.to_value(content_type, body, kind.schema)
    assert ("images" if field == "image" and name == "edit by reference" else field) in sent
    if isinstance(value, str | int | dict):
        assert sent[field] == value


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_fields_together_are_sent_as_documented(judge, name, data):
    """A request with any documented fields is valid and holds their values."""
    kind = KINDS[name]
    fields = data.draw(
        st.fixed_dictionaries({}, optional={field: st.sampled_from(values) for field, values in kind.values.items()})
    )
    if "prompt" in kind.values:
        fields["prompt"] = data.draw(st.text(min_size=1).filter(str.strip))
    path, content_type, body = written(kind.request(**fields))
    assert path == PATHS[name]
    assert judge.request_problems(content_type, body, kind.schema) == []
    sent = judge.to_value(content_type, body, kind.schema)
    plain = {field: value for field, value in fields.items() if isinstance(value, str | int | dict)}
    assert {field: sent[field] for field in plain} == plain


@pytest.mark.parametrize("name", KINDS)
def test_the_path_is_one_of_the_document(contract, name):
    """Each kind of request goes to a documented path that accepts this kind of body."""
    kind = KINDS[name]
    path, content_type, _ = written(kind.request())
    assert path == PATHS[name]
    content = contract["paths"][path]["post"]["requestBody"]["content"]
    assert content[content_type.partition(";")[0]]["schema"]["$ref"].endswith(f"/{kind.schema}")


@pytest.mark.parametrize("name", KINDS)
def test_no_field_of_a_request_is_forgotten_here(judge, name):
    """The tables hold each field that the class and the schema share, and give a reason for each left out."""
    kind = KINDS[name]
    own = {field.name for field in attrs.fields(kind.make)}
    assert own == set(kind.values) | set(kind.left_out)
    assert not set(kind.values) & set(kind.left_out)
    renamed = {"images": "image"}
    known = {renamed.get(field, field) for field in judge.properties(kind.schema)}
    assert known - {"stream"} == set(kind.values)


@pytest.mark.parametrize("name", ["edit", "variation"])
def test_files_are_where_the_document_has_files(judge, name):
    """An upload is a file part, under the property that the document calls binary."""
    kind = KINDS[name]
    _, content_type, body = written(kind.request())
    assert judge.to_value(content_type, body, kind.schema)["image"] == UPLOAD


# --- what has to be refused, or none of the above says anything ------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "field", "said"),
    [
        ("generation", "watermark", "'watermark' was unexpected"),
        ("edit", "watermark", "'watermark' was unexpected"),
        ("edit by reference", "watermark", "'watermark' was unexpected"),
        ("variation", "prompt", "'prompt' was unexpected"),
    ],
)
def test_a_key_that_nobody_documents_is_noticed(judge, published, name, field, said):
    """The client sends an extra key, and the closed schema refuses it."""
    request = KINDS[name].request(extra={field: "x"})
    (problem,) = problems(judge, name, request)
    assert said in problem
    assert problems(published, name, request) == []


@pytest.mark.parametrize("row", ["complexity", "frame_count", "svg", "safety_identifier"])
def test_a_newer_field_needs_its_row(published, contract, row):
    """Without its row in the list, a newer field is an unknown key."""
    from contract.judge import amend
    from contract.newer import FIELDS

    without = Judge(amend(contract, [field for field in FIELDS if field.field != row]))
    request = KINDS["generation"].request(**{row: KINDS["generation"].values[row][0]})
    (problem,) = problems(without, "generation", request)
    assert f"'{row}' was unexpected" in problem


def test_moderation_in_a_form_is_noticed(judge):
    """The field `moderation` is refused in a form, as only the JSON body has it."""
    (problem,) = problems(judge, "edit", KINDS["edit"].request(moderation="low"))
    assert "'moderation' was unexpected" in problem


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("generation", {"n": 11}),
        ("generation", {"quality": "ultra"}),
        ("generation", {"style": "cubist"}),
        ("generation", {"partial_images": 4}),
        ("generation", {"output_format": "bmp"}),
        ("generation", {"svg": {"reasoning": {}}}),
        ("generation", {"svg": {"model": "gpt-7", "colour": "red"}}),
        ("edit", {"n": 11}),
        ("edit", {"quality": "hd"}),
        ("edit", {"frame_count": 1}),
        ("edit", {"svg": {"model": "gpt-7", "reasoning": {"effort": "huge"}}}),
        ("edit", {"image": [OTTER] * 17}),
        ("edit by reference", {"size": "large"}),
        ("edit by reference", {"prompt": "x" * 32_001}),
        ("variation", {"size": "1536x864"}),
    ],
)
def test_a_value_that_nobody_documents_is_noticed(judge, name, fields):
    """The document refuses the values that the client's rules warn of."""
    assert problems(judge, name, KINDS[name].request(**fields))


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("CreateImageRequest", {"promt": "a sea otter"}),
        ("CreateImageRequest", {"model": "gpt-image-2"}),
        ("CreateImageRequest", {"prompt": "a sea otter", "modle": "gpt-image-2"}),
        ("CreateImageRequest", {"prompt": "a sea otter", "n": "2"}),
        ("CreateImageRequest", {"prompt": "a sea otter", "n": 2.5}),
        ("CreateImageRequest", {"prompt": ["a sea otter"]}),
        ("CreateImageRequest", {"prompt": "a sea otter", "user": None}),
        ("EditImageBodyJsonParam", {"prompt": "a hat"}),
        ("EditImageBodyJsonParam", {"prompt": "a hat", "images": []}),
        ("EditImageBodyJsonParam", {"prompt": "a hat", "images": ["file-abc123"]}),
        ("EditImageBodyJsonParam", {"prompt": "a hat", "image": [{"file_id": "file-abc123"}]}),
        (
            "EditImageBodyJsonParam",
            {"prompt": "a hat", "images": [{"file_id": "a", "image_url": "https://example.com/b"}]},
        ),
    ],
)
def test_a_wrong_json_body_is_noticed(judge, schema, value):
    """Misspelt and missing keys, wrong types and wrong references fail the check."""
    assert judge.request_problems("application/json", json.dumps(value).encode(), schema)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'name="image"; filename="image.png"', b'name="image"'),
        (b'name="prompt"', b'name="prompt"; filename="prompt.png"'),
        (b'name="prompt"', b'name="promt"'),
        (b'name="image"', b'name="picture"'),
        (b'name="model"', b'name="prompt"'),
        (b"\r\n\r\n2\r\n", b"\r\n\r\ntwo\r\n"),
        (b"\r\n\r\n2\r\n", b"\r\n\r\n02\r\n"),
        (b"\r\n\r\n2\r\n", b"\r\n\r\n\r\n"),
    ],
)
def test_a_wrong_form_is_noticed(judge, old, new):
    """Files without a name, text as a file, misspelt, missing and repeated fields and odd numbers fail the check."""
    _, content_type, body = written(KINDS["edit"].request(model="gpt-image-2", n=2))
    assert judge.request_problems(content_type, body, "CreateImageEditRequest") == []
    assert old in body
    assert judge.request_problems(content_type, body.replace(old, new), "CreateImageEditRequest")


def test_numbers_are_read_only_where_the_schema_has_numbers(judge):
    """Text that looks like a number stays text unless the schema asks for a number."""
    kind = KINDS["edit"]
    _, content_type, body = written(kind.request(prompt="12", user="7", n=7))
    sent = judge.to_value(content_type, body, kind.schema)
    assert (sent["prompt"], sent["user"], sent["n"]) == ("12", "7", 7)


def test_null_is_never_sent_though_the_document_allows_it(judge):
    """A field that is None is not sent, so the server decides."""
    _, content_type, body = written(GenerationRequest("a sea otter", n=None, size=None))
    assert judge.to_value(content_type, body, "CreateImageRequest") == {"prompt": "a sea otter"}
