"""
Lines as OpenAI's Batch API takes them: `{"custom_id", "method", "url", "body"}`.

Source: OpenAI's API reference, "The request input object" of batches; its JSON form of edits names images by
`{"image_url"}` or `{"file_id"}`.
"""

from __future__ import annotations

from collections.abc import Mapping

from burncloud_images.bulk.documents import REQUESTS
from burncloud_images.bulk.inputs.entries import Unusable

ENVELOPE = frozenset({"custom_id", "method", "url", "body"})
OURS = ("id", "custom_id", "operation", "repeat")
"""Columns of rows that are no fields of the API."""


def unwrap(value: dict[str, object]) -> dict[str, object]:
    """
    Return the columns of a line.

    Raises:
        Unusable: It is a batch's request to something else.
    """
    if "body" not in value:
        return value
    body = value["body"]
    if not isinstance(body, dict):
        raise Unusable("body: it has to be an object")
    if value.get("method", "POST") != "POST":
        raise Unusable("method: it has to be POST")
    for name in OURS:
        if name in body:
            raise Unusable(f"body: {name} is no field of the API")
    around = {name: item for name, item in value.items() if name not in ENVELOPE}
    return {**around, **with_images(body), "id": value.get("custom_id"), "operation": to_operation(value.get("url"))}


def to_operation(url: object) -> str | None:
    if url is None:
        return None
    path = url.rstrip("/") if isinstance(url, str) else ""
    for operation in REQUESTS:
        if path.endswith(f"/images/{operation}"):
            return operation
    raise Unusable("url: it is no address of the images API, such as /v1/images/generations")


def with_images(body: Mapping[str, object]) -> Mapping[str, object]:
    """Return the fields of *body*, with `image` in place of the list that edits in JSON have."""
    if "images" not in body:
        return body
    if "image" in body:
        raise Unusable("body: it has both image and images")
    return {**{name: value for name, value in body.items() if name != "images"}, "image": body["images"]}
