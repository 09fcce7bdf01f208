"""Lines of OpenAI's Batch API give the columns of a row."""

from __future__ import annotations

import pytest

from burncloud_images.bulk.inputs.batches import unwrap
from burncloud_images.bulk.inputs.entries import Unusable


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
    """As rows do."""
    assert {"prompt": "x", "id": "a"} == given(line(url=None))


def test_what_else_an_envelope_holds_is_kept():
    """So that it can be told of."""
    assert {"prompt": "x", "id": "a", "operation": "edits", "priority": 1} == given(line(priority=1))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (line(body=[]), "body: it has to be an object"),
        (line(method="GET"), "method: it has to be POST"),
        (line(url="/v1/responses"), "url: it is no address of the images API, such as /v1/images/generations"),
        (line(url=7), "url: it is no address of the images API, such as /v1/images/generations"),
        (line(body={"id": "b"}), "body: id is no field of the API"),
        (line(body={"operation": "edits"}), "body: operation is no field of the API"),
        (line(body={"image": "a", "images": []}), "body: it has both image and images"),
    ],
)
def test_a_request_to_something_else_is_refused(value, reason):
    """With what is wrong."""
    with pytest.raises(Unusable) as caught:
        unwrap(value)

    assert reason == str(caught.value)
