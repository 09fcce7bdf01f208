"""Validates a request body and turns it into an image spec, with every `auto` resolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from burncloud_images.emulator.errors import RefusedRequest
from burncloud_images.emulator.model_limits import DALLE, MAX_IMAGES, check_fields, check_model, check_uploads, family
from burncloud_images.emulator.request_body import ReceivedUpload, RequestBody, decode_data_url, to_upload

Find = Callable[[str], tuple[str, bytes] | None]
"""Returns the media type and bytes of a result of this server, by its URL."""

DEFAULT_MODEL = "dall-e-2"
DEFAULT_MODEL_BY_REFERENCE = "gpt-image-2.5-sunburst"


@attrs.frozen(kw_only=True)
class ImageSpec:
    """
    What a request asks for, validated.

    Attributes:
        operation: The endpoint.
        model: As requested.
        prompt: Empty for a variation.
        n: Number of images.
        width: Pixels.
        height: Pixels.
        quality: Never `auto`.
        output_format: `png`, `jpeg`, `webp`, `gif` or `svg`.
        transparent: Whether the background is.
        compression: 0 to 100; None if not given.
        frame_count: Of a GIF.
        frame_duration: Milliseconds, of a GIF.
        style: Of dall-e-3.
        urls: Whether the answer has URLs.
        stream: Whether the answer is a stream of events.
        partials: How many early states of each image the stream has.
        asked: Size, quality and background as requested, `auto` where left out.
        images: The uploads to edit or to vary.
        mask: Transparent where the image is edited.
        markup: Drawn over the first image.
        safety_identifier: Returned unchanged.
        svg_model: Model that draws the SVG.
    """

    operation: str
    model: str
    prompt: str = ""
    n: int = 1
    width: int
    height: int
    quality: str
    output_format: str = "png"
    transparent: bool = False
    compression: int | None = None
    frame_count: int = 9
    frame_duration: int = 200
    style: str | None = None
    urls: bool = False
    stream: bool = False
    partials: int = 0
    asked: Mapping[str, str] = attrs.field(factory=dict)
    images: tuple[ReceivedUpload, ...] = ()
    mask: ReceivedUpload | None = None
    markup: ReceivedUpload | None = None
    safety_identifier: str | None = None
    svg_model: str | None = None

    @property
    def counts_tokens(self) -> bool:
        """Whether the model is a GPT image model, which counts tokens."""
        return family(self.model) not in DALLE

    @property
    def revised(self) -> bool:
        """Whether the answer has a revised prompt."""
        return family(self.model) == "dall-e-3"


def to_spec(operation: str, body: RequestBody, find: Find) -> ImageSpec:
    """
    Return what *body* asks for.

    Raises:
        RefusedRequest: The API does not allow the request.
    """
    if operation == "generations" and body.form:
        raise RefusedRequest("Generations take JSON, not a form.", code="unsupported_content_type")
    if operation == "variations" and not body.form:
        raise RefusedRequest("Variations take a form, not JSON.", code="unsupported_content_type")
    by_reference = operation == "edits" and not body.form
    fields = dict(body.fields)
    default = DEFAULT_MODEL_BY_REFERENCE if by_reference else DEFAULT_MODEL
    fields["model"] = check_model(operation, fields.get("model", default))
    images, others = referenced(body, find) if by_reference else attached(operation, body)
    fields.update((name, name) for name in others)
    check_fields(operation, fields)
    check_moderation(by_reference=by_reference, fields=fields)
    if operation != "generations":
        check_uploads(operation, fields["model"], images, others)
    return compose(operation, fields, tuple(images), others)


def check_moderation(*, by_reference: bool, fields: Mapping[str, Any]) -> None:
    # The multipart schema does not have the field, so a form's is ignored, as any unknown one.
    if by_reference and fields.get("moderation") is not None:
        check_fields("generations", {**fields, "style": None})


def attached(operation: str, body: RequestBody) -> tuple[list[ReceivedUpload], dict[str, ReceivedUpload]]:
    """Return the images of a form and its other files."""
    if operation == "generations":
        return [], {}
    plain = [upload for upload in body.uploads if upload.part.name == "image"]
    listed = [upload for upload in body.uploads if upload.part.name == "image[]"]
    for upload in body.uploads:
        if upload.part.name.startswith("image[") and upload.part.name != "image[]":
            raise RefusedRequest(f"Several images are sent as image[], not as {upload.part.name}.", param="image")
    if len(plain) > 1 or (plain and listed):
        raise RefusedRequest(
            "One image is sent as image, several as image[].", param="image", code="duplicate_parameter"
        )
    for name in ("image", "mask", "markup"):
        if name in body.fields:
            raise RefusedRequest(f"{name} has to be a file; it came as text.", param=name, code="invalid_type")
    others = {upload.part.name: upload for upload in reversed(body.uploads)}
    return plain + listed, {name: others[name] for name in ("mask", "markup") if name in others}


def referenced(body: RequestBody, find: Find) -> tuple[list[ReceivedUpload], dict[str, ReceivedUpload]]:
    """Return the images that a JSON body names, and its mask."""
    items = body.fields.get("images")
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_IMAGES:
        raise RefusedRequest(
            f"images has to be a list of 1 to {MAX_IMAGES} objects.", param="images", code="invalid_value"
        )
    if family(body.fields.get("model", DEFAULT_MODEL_BY_REFERENCE)) in DALLE:
        raise RefusedRequest("Only GPT image models edit by reference.", param="model", code="invalid_value")
    images = [fetch(f"images[{index}]", item, find, body) for index, item in enumerate(items)]
    named = {name: body.fields[name] for name in ("mask", "markup") if name in body.fields}
    return images, {name: fetch(name, item, find, body) for name, item in named.items()}


MAX_URL = 20 * 1024 * 1024


def fetch(place: str, item: object, find: Find, body: RequestBody) -> ReceivedUpload:
    if not isinstance(item, dict) or len(item) != 1 or not item.keys() <= {"image_url", "file_id"}:
        raise RefusedRequest(f"{place} has to be an object of image_url or file_id.", param=place, code="invalid_value")
    if "file_id" in item:
        raise RefusedRequest(f"There is no file {item['file_id']!r}.", param=place, code="file_not_found", status=404)
    url, place = item["image_url"], f"{place}.image_url"
    if not isinstance(url, str) or len(url) > MAX_URL:
        raise RefusedRequest(f"{place} has to be a URL of at most {MAX_URL} characters.", param=place)
    upload = decode_data_url(place, url)
    if upload is None:
        found = find(url)
        if found is None:
            raise RefusedRequest(f"{place} cannot be fetched: it is not a result of this server.", param=place)
        upload = to_upload(place, *found)
    body.uploads.append(upload)
    return upload


NEAREST_SIZES = ((1024, 1024), (1536, 1024), (1024, 1536))


def compose(
    operation: str, fields: Mapping[str, Any], images: tuple[ReceivedUpload, ...], others: Mapping[str, ReceivedUpload]
) -> ImageSpec:
    model = fields["model"]
    gpt = family(model) not in DALLE
    width, height = to_size(str(fields.get("size", "auto")), images)
    quality = fields.get("quality", "auto")
    svg = fields.get("svg") or {}
    stream = operation != "variations" and fields.get("stream") is True
    return ImageSpec(
        operation=operation,
        model=model,
        prompt=fields["prompt"] if operation != "variations" else "",
        n=fields.get("n", 1),
        width=width,
        height=height,
        quality=("medium" if gpt else "standard") if quality == "auto" else quality,
        output_format=fields.get("output_format", "png") if gpt else "png",
        transparent=fields.get("background") == "transparent",
        compression=fields.get("output_compression"),
        frame_count=fields.get("frame_count", 9),
        frame_duration=round(fields.get("frame_duration_ms", 200), -1),
        style=fields.get("style"),
        urls=not gpt and fields.get("response_format", "url") == "url",
        stream=stream,
        partials=fields.get("partial_images", 0) if stream else 0,
        asked={name: fields.get(name, "auto") for name in ("size", "quality", "background")},
        images=images,
        mask=others.get("mask"),
        markup=others.get("markup"),
        safety_identifier=fields.get("safety_identifier"),
        svg_model=svg.get("model"),
    )


def to_size(size: str, images: tuple[ReceivedUpload, ...]) -> tuple[int, int]:
    """Return width and height; for `auto`, those of the documented size whose shape is nearest to the first image's."""
    if size != "auto":
        width, height = size.split("x")
        return int(width), int(height)
    if not images:
        return NEAREST_SIZES[0]
    shape = (images[0].media.width or 1) / (images[0].media.height or 1)
    return min(NEAREST_SIZES, key=lambda edges: abs(edges[0] / edges[1] - shape))
