"""
What each model allows: rows typed in from the API's documents, for this server alone.

The client has its own table. The two were written separately, so a wrong limit in one shows up against the other.
Sources: `page` is Burncloud's images page (2025-04-26), `openapi` OpenAI's openapi.yaml (2026-08-21), `reference`
OpenAI's API reference (2026-11-17), `threads` public reports of what the API answered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from burncloud_images.emulator.errors import RefusedRequest
from burncloud_images.emulator.request_body import MAX_IMAGE_BYTES, MB, ReceivedUpload

Check: TypeAlias = Callable[[str, Any, Mapping[str, Any]], None]
"""Takes a field's name, its value and all fields; raises `RefusedRequest` if the value is not allowed."""

UploadCheck: TypeAlias = Callable[[ReceivedUpload, ReceivedUpload], None]
"""Takes an upload and the first image; raises `RefusedRequest` if the upload is not allowed."""


# --- checks of fields ------------------------------------------------------------------------------------------------


def invalid(name: str, value: object, wanted: str, code: str = "invalid_value") -> RefusedRequest:
    return RefusedRequest(f"{name} is {value!r}; it has to be {wanted}.", param=name, code=code)


def text(name: str, value: object, _fields: Mapping[str, Any]) -> None:
    if not isinstance(value, str):
        raise invalid(name, value, "a string", "invalid_type")


def boolean(name: str, value: object, _fields: Mapping[str, Any]) -> None:
    if not isinstance(value, bool):
        raise invalid(name, value, "true or false", "invalid_type")


def unavailable(name: str, value: object, fields: Mapping[str, Any]) -> None:
    """Allow `false` alone, for a model that cannot do it."""
    boolean(name, value, fields)
    if value:
        raise RefusedRequest(f"{fields['model']} does not {name}.", param=name, code="unsupported_parameter")


def one_of(*values: str) -> Check:
    def check(name: str, value: object, _fields: Mapping[str, Any]) -> None:
        if value not in values:
            raise invalid(name, value, f"one of {', '.join(values)}")

    return check


def between(low: int, high: int) -> Check:
    """Allow a whole number within bounds, both included."""

    def check(name: str, value: object, _fields: Mapping[str, Any]) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise invalid(name, value, "a whole number", "invalid_type")
        if not low <= value <= high:
            code = "integer_below_min_value" if value < low else "integer_above_max_value"
            raise invalid(name, value, f"from {low} to {high}", code)

    return check


def up_to(longest: int) -> Check:
    """Allow a string of 1 to *longest* characters."""

    def check(name: str, value: str, fields: Mapping[str, Any]) -> None:
        text(name, value, fields)
        if not 1 <= len(value) <= longest:
            code = "string_above_max_length" if value else "empty_string"
            wanted = f"1 to {longest} characters long"
            raise RefusedRequest(
                f"{name} is {len(value)} characters long; it has to be {wanted}.", param=name, code=code
            )

    return check


def absent(name: str, _value: object, fields: Mapping[str, Any], code: str = "unknown_parameter") -> None:
    """Refuse a field that the model does not have."""
    raise RefusedRequest(f"{fields['model']} has no parameter {name!r}.", param=name, code=code)


def no_fidelity(name: str, value: object, fields: Mapping[str, Any]) -> None:
    absent(name, value, fields, "invalid_input_fidelity_model")


def only_with(other: str, *values: object, only_for: object = None) -> Check:
    """
    Allow a value only where the field *other* has one of *values*.

    Args:
        other: Another field.
        values: What it may be; None for left out.
        only_for: The value that this concerns; None for every value.
    """

    def check(name: str, value: object, fields: Mapping[str, Any]) -> None:
        if (only_for is None or value == only_for) and fields.get(other) not in values:
            wanted = " or ".join("left out" if value is None else str(value) for value in values)
            raise RefusedRequest(f"{name} {value!r} needs {other} to be {wanted}.", param=name, code="invalid_value")

    return check


def any_size(name: str, value: object, _fields: Mapping[str, Any]) -> None:
    """Allow `auto`, or WIDTHxHEIGHT in steps of 16, at most 3:1 and 3840 on an edge, of 655,360 to 8,294,400 pixels."""
    if value == "auto":
        return
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", str(value), re.ASCII)
    if match is None:
        raise invalid(name, value, "auto or WIDTHxHEIGHT")
    short, long = sorted(map(int, match.groups()))
    problems = {
        "in multiples of 16": short % 16 or long % 16,
        "from 1:3 to 3:1": long > 3 * short,
        "at most 3840 pixels on an edge": long > 3840,
        "at least 655,360 pixels": long * short < 655_360,
        "at most 8,294,400 pixels": long * short > 8_294_400,
    }
    for wanted, problem in problems.items():
        if problem:
            raise invalid(name, value, wanted)


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def svg_options(name: str, value: object, _fields: Mapping[str, Any]) -> None:
    """Allow `{"model": …, "reasoning": {"effort": …}}`."""
    if not isinstance(value, dict):
        raise invalid(name, value, "an object", "invalid_type")
    if not isinstance(value.get("model"), str):
        raise RefusedRequest(f"{name}.model is missing.", param=f"{name}.model", code="missing_required_parameter")
    reasoning = value.get("reasoning") or {}
    effort = reasoning.get("effort") if isinstance(reasoning, dict) else reasoning
    if effort is not None and effort not in EFFORTS:
        raise invalid(f"{name}.reasoning.effort", effort, f"one of {', '.join(EFFORTS)}")


# --- checks of uploads -----------------------------------------------------------------------------------------------


def unreadable(upload: ReceivedUpload, why: str) -> RefusedRequest:
    return RefusedRequest(
        f"Invalid file {upload.part.name!r}: {why}.", param=upload.part.name, code="invalid_image_file"
    )


def image_of(*types: str) -> UploadCheck:
    """Allow a whole image in one of these formats, sent under its true media type."""

    def check(upload: ReceivedUpload, _first: ReceivedUpload) -> None:
        name, sent = upload.part.name, (upload.part.content_type or "").partition(";")[0].strip().lower()
        true = sent.replace("image/jpg", "image/jpeg")
        if true not in types:
            raise RefusedRequest(
                f"Invalid file {name!r}: unsupported mimetype ({sent!r}); it has to be one of {', '.join(types)}.",
                param=name,
                code="unsupported_file_mimetype",
            )
        if upload.media.media_type != true:
            raise unreadable(upload, f"it was sent as {sent} and is {upload.media.media_type or 'not an image'}")
        if upload.media.dimensions is None or not upload.media.complete:
            raise unreadable(upload, "its end or its size is missing")

    return check


def less_than(size: int) -> UploadCheck:
    def check(upload: ReceivedUpload, _first: ReceivedUpload) -> None:
        if upload.part.size >= size:
            raise unreadable(upload, f"{upload.part.size} bytes are not less than {size}")

    return check


def is_square(upload: ReceivedUpload, _first: ReceivedUpload) -> None:
    if upload.media.width != upload.media.height:
        raise unreadable(upload, "it is not square")


def has_alpha(upload: ReceivedUpload, _first: ReceivedUpload) -> None:
    if not upload.media.alpha:
        raise unreadable(upload, "it has no alpha channel, and transparent pixels say where to edit")


def has_size_of_first(upload: ReceivedUpload, first: ReceivedUpload) -> None:
    if upload.media.dimensions != first.media.dimensions:
        raise unreadable(upload, f"it is {upload.media.dimensions}, and the image is {first.media.dimensions}")


# --- the tables ------------------------------------------------------------------------------------------------------

MODELS: Mapping[str, str | None] = {
    "dall-e-2": "2026-05-12",
    "dall-e-3": "2026-05-12",
    "gpt-image-1": "2026-10-23",
    "gpt-image-1-mini": "2026-12-01",
    "gpt-image-1.5": "2026-12-01",
    "chatgpt-image-latest": "2026-12-01",
    "gpt-image-2": None,
    "gpt-image-2-2026-04-21": None,
    "gpt-image-2.5-sunburst": None,
    "gpt-image-2.5-sunburst-2026-09-08": None,
    "gpt-image-2.5-flare": None,
    "gpt-image-2.5-flare-2026-09-08": None,
    "gpt-image-2.6-sunburst": None,
    "gpt-image-2.6-flare": None,
}
"""The models, with their shutdown dates. Those already shut down are still served here."""

D2, D3 = frozenset({"dall-e-2"}), frozenset({"dall-e-3"})
G1, G1_MINI = frozenset({"gpt-image-1"}), frozenset({"gpt-image-1-mini"})
G1_5 = frozenset({"gpt-image-1.5", "chatgpt-image-latest"})
G2 = frozenset({"gpt-image-2"})
G2_5 = frozenset({"gpt-image-2.5-sunburst", "gpt-image-2.5-flare"})
G2_6 = frozenset({"gpt-image-2.6-sunburst", "gpt-image-2.6-flare"})
DALLE, EARLY = D2 | D3, G1 | G1_MINI | G1_5
GPT = EARLY | G2 | G2_5 | G2_6
EVERY = DALLE | GPT

GENERATIONS, EDITS, VARIATIONS = frozenset({"generations"}), frozenset({"edits"}), frozenset({"variations"})
WITH_PROMPT = GENERATIONS | EDITS
ANYWHERE = WITH_PROMPT | VARIATIONS

SERVED = {"generations": EVERY, "edits": D2 | GPT, "variations": D2}
MAX_IMAGES = 16


@attrs.frozen
class FieldLimitRow:
    """
    One limit of a field.

    Attributes:
        models: Names without a date.
        operations: Where it applies; elsewhere the field is ignored, as any unknown field.
    """

    field: str
    models: frozenset[str]
    check: Check
    source: str
    operations: frozenset[str] = ANYWHERE


ROWS: tuple[FieldLimitRow, ...] = (
    FieldLimitRow("prompt", D2, up_to(1_000), "page", WITH_PROMPT),
    FieldLimitRow("prompt", D3, up_to(4_000), "page", WITH_PROMPT),
    FieldLimitRow("prompt", GPT, up_to(32_000), "openapi", WITH_PROMPT),
    FieldLimitRow("n", D2 | GPT, between(1, 10), "page"),
    FieldLimitRow("n", D3, between(1, 1), "page"),
    FieldLimitRow("size", D2, one_of("256x256", "512x512", "1024x1024"), "page"),
    FieldLimitRow("size", D3, one_of("1024x1024", "1792x1024", "1024x1792"), "page"),
    FieldLimitRow("size", EARLY, one_of("1024x1024", "1536x1024", "1024x1536", "auto"), "openapi"),
    FieldLimitRow("size", GPT - EARLY, any_size, "reference"),
    FieldLimitRow("quality", D2, one_of("standard"), "page", WITH_PROMPT),
    FieldLimitRow("quality", D3, one_of("standard", "hd"), "page", WITH_PROMPT),
    FieldLimitRow("quality", EARLY | G2, one_of("low", "medium", "high", "auto"), "openapi", WITH_PROMPT),
    FieldLimitRow(
        "quality", G2_5 | G2_6, one_of("low", "medium", "high", "xhigh", "max", "auto"), "reference", WITH_PROMPT
    ),
    FieldLimitRow("response_format", DALLE, one_of("url", "b64_json"), "page"),
    FieldLimitRow("response_format", GPT, absent, "openapi"),
    FieldLimitRow("style", D3, one_of("vivid", "natural"), "page", GENERATIONS),
    FieldLimitRow("style", EVERY - D3, absent, "page", GENERATIONS),
    FieldLimitRow("background", GPT, one_of("transparent", "opaque", "auto"), "openapi", WITH_PROMPT),
    FieldLimitRow(
        "background",
        GPT,
        only_with("output_format", None, "png", "webp", only_for="transparent"),
        "openapi",
        WITH_PROMPT,
    ),
    FieldLimitRow("moderation", GPT, one_of("low", "auto"), "openapi", GENERATIONS),
    FieldLimitRow("output_format", GPT - G2_6, one_of("png", "jpeg", "webp"), "openapi", WITH_PROMPT),
    FieldLimitRow("output_format", G2_6, one_of("png", "jpeg", "webp", "gif", "svg"), "reference", WITH_PROMPT),
    FieldLimitRow("output_compression", GPT, between(0, 100), "openapi", WITH_PROMPT),
    FieldLimitRow("output_compression", GPT, only_with("output_format", "jpeg", "webp"), "openapi", WITH_PROMPT),
    FieldLimitRow("stream", GPT, boolean, "openapi", WITH_PROMPT),
    FieldLimitRow(
        "stream", GPT, only_with("output_format", None, "png", "jpeg", "webp", only_for=True), "reference", WITH_PROMPT
    ),
    FieldLimitRow("stream", DALLE, unavailable, "openapi", WITH_PROMPT),
    FieldLimitRow("partial_images", GPT, between(0, 3), "openapi", WITH_PROMPT),
    FieldLimitRow("complexity", G2_6, one_of("low", "medium", "high"), "reference", WITH_PROMPT),
    FieldLimitRow("frame_count", G2_6, between(2, 16), "reference", WITH_PROMPT),
    FieldLimitRow("frame_count", G2_6, only_with("output_format", "gif"), "reference", WITH_PROMPT),
    FieldLimitRow("frame_count", G2_6, only_with("mask", None), "reference", WITH_PROMPT),
    FieldLimitRow("frame_duration_ms", G2_6, between(20, 655_350), "reference", WITH_PROMPT),
    FieldLimitRow("frame_duration_ms", G2_6, only_with("output_format", "gif"), "reference", WITH_PROMPT),
    FieldLimitRow("svg", G2_6, svg_options, "reference", WITH_PROMPT),
    FieldLimitRow("svg", G2_6, only_with("output_format", "svg"), "reference", WITH_PROMPT),
    FieldLimitRow("svg", G2_6, only_with("n", None, 1), "reference", WITH_PROMPT),
    FieldLimitRow("markup", G2_5 | G2_6, only_with("mask", None), "reference", EDITS),
    FieldLimitRow("markup", EVERY - G2_5 - G2_6, absent, "reference", EDITS),
    FieldLimitRow("input_fidelity", G1 | G1_5, one_of("high", "low"), "openapi", EDITS),
    FieldLimitRow("input_fidelity", G1_MINI, one_of("low"), "openapi", EDITS),
    FieldLimitRow("input_fidelity", GPT - EARLY, no_fidelity, "threads", EDITS),
    FieldLimitRow("input_fidelity", DALLE, absent, "openapi", EDITS),
    FieldLimitRow("safety_identifier", EVERY, up_to(128), "reference", WITH_PROMPT),
    FieldLimitRow("user", EVERY, text, "page"),
    *(
        FieldLimitRow(field, DALLE, absent, "openapi", WITH_PROMPT)
        for field in ("background", "output_format", "output_compression", "partial_images")
    ),
    FieldLimitRow("moderation", DALLE, absent, "openapi", GENERATIONS),
    *(
        FieldLimitRow(field, EVERY - G2_6, absent, "reference", WITH_PROMPT)
        for field in ("complexity", "frame_count", "frame_duration_ms", "svg")
    ),
)


@attrs.frozen
class UploadLimitRow:
    """
    One limit of an uploaded image.

    Attributes:
        field: `image`, `mask` or `markup`.
        models: Names without a date.
    """

    field: str
    models: frozenset[str]
    check: UploadCheck
    source: str


PNG = image_of("image/png")

UPLOADS: tuple[UploadLimitRow, ...] = (
    UploadLimitRow("image", D2, PNG, "page"),
    UploadLimitRow("image", D2, less_than(4 * MB), "page"),
    UploadLimitRow("image", D2, is_square, "page"),
    UploadLimitRow("image", GPT, image_of("image/png", "image/jpeg", "image/webp"), "page"),
    UploadLimitRow("image", GPT, less_than(MAX_IMAGE_BYTES + 1), "openapi"),
    UploadLimitRow("mask", EVERY, PNG, "page"),
    UploadLimitRow("mask", EVERY, less_than(4 * MB), "page"),
    UploadLimitRow("mask", EVERY, has_size_of_first, "page"),
    UploadLimitRow("mask", EVERY, has_alpha, "openapi"),
    UploadLimitRow("markup", G2_5 | G2_6, PNG, "reference"),
    UploadLimitRow("markup", G2_5 | G2_6, has_size_of_first, "reference"),
    UploadLimitRow("markup", G2_5 | G2_6, has_alpha, "reference"),
)


def family(model: str) -> str:
    """Return *model* without its date."""
    return re.sub(r"-20\d\d-\d\d-\d\d$", "", model)


def check_model(operation: str, model: object) -> str:
    """
    Return *model*, if the endpoint serves it.

    Raises:
        RefusedRequest: The model does not exist, or the endpoint does not serve it.
    """
    if not isinstance(model, str):
        raise RefusedRequest(f"model is {model!r}; it has to be a string.", param="model", code="invalid_type")
    if model not in MODELS:
        raise RefusedRequest(f"There is no model {model!r}.", param="model", code="model_not_found", status=404)
    if family(model) not in SERVED[operation]:
        wanted = "'dall-e-2'" if operation == "variations" else "'dall-e-2' or a GPT image model"
        raise RefusedRequest(f"model is {model!r}; here it has to be {wanted}.", param="model", code="invalid_value")
    return model


def check_fields(operation: str, fields: Mapping[str, Any]) -> None:
    """
    Compare the fields, `model` among them, with the table.

    Raises:
        RefusedRequest: One of them is not allowed.
    """
    if operation in WITH_PROMPT and "prompt" not in fields:
        raise RefusedRequest("The prompt is missing.", param="prompt", code="missing_required_parameter")
    name = family(fields["model"])
    for row in ROWS:
        value = fields.get(row.field)
        if value is not None and name in row.models and operation in row.operations:
            row.check(row.field, value, fields)


def check_uploads(
    operation: str, model: str, images: Sequence[ReceivedUpload], others: Mapping[str, ReceivedUpload]
) -> None:
    """
    Compare the uploads with the table.

    Raises:
        RefusedRequest: One of them is not allowed.
    """
    if not images:
        raise RefusedRequest("The image is missing.", param="image", code="missing_required_parameter")
    most = 1 if family(model) in D2 else MAX_IMAGES
    if len(images) > most:
        raise RefusedRequest(f"{len(images)} images are more than {most}.", param="image", code="too_many_images")
    uploads = [("image", image) for image in images] + list(others.items())
    for field, upload in uploads:
        for row in UPLOADS:
            if row.field == field and family(model) in row.models:
                row.check(upload, images[0])
    if operation == "edits" and family(model) in D2 and "mask" not in others:
        has_alpha(images[0], images[0])
