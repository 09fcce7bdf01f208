"""
What each model allows: rows typed in from the API's documents, for this server alone.

The client has its own table. The two were written separately, so a wrong limit in one shows up against the other.
Sources: `page` is Burncloud's images page (2025-04-26), `openapi` OpenAI's openapi.yaml (2026-08-21), `reference`
OpenAI's API reference (2026-11-17), `threads` public reports of what the API answered.
"""

# ruff: noqa: ARG001, ARG002 (all checks share one signature, and most look at the value alone)

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from burncloud_images.emulator.errors import Refusal
from burncloud_images.emulator.request_body import MAX_IMAGE_BYTES, MB, Upload


class Check(Protocol):
    """Refuses a value, or lets it pass."""

    def __call__(self, name: str, value: Any, fields: Mapping[str, Any]) -> None:  # noqa: ANN401 (anything arrives)
        """Raise `Refusal` if *value* is not allowed."""


def invalid(name: str, value: object, wanted: str, code: str = "invalid_value") -> Refusal:
    return Refusal(f"{name} is {value!r}; it has to be {wanted}.", param=name, code=code)


@attrs.frozen
class Text:
    """A string."""

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if not isinstance(value, str):
            raise invalid(name, value, "a string", "invalid_type")


@attrs.frozen
class Switch:
    """True or false; true only where the model can do it."""

    possible: bool = True

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if not isinstance(value, bool):
            raise invalid(name, value, "true or false", "invalid_type")
        if value and not self.possible:
            raise Refusal(f"{fields['model']} does not {name}.", param=name, code="unsupported_parameter")


@attrs.frozen
class Choice:
    """One of a closed list."""

    values: tuple[str, ...]

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if value not in self.values:
            raise invalid(name, value, f"one of {', '.join(self.values)}")


@attrs.frozen
class Range:
    """A whole number within bounds, both included."""

    low: int
    high: int

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise invalid(name, value, "a whole number", "invalid_type")
        if not self.low <= value <= self.high:
            code = "integer_below_min_value" if value < self.low else "integer_above_max_value"
            raise invalid(name, value, f"from {self.low} to {self.high}", code)


@attrs.frozen
class Length:
    """A string of so many characters, at least one."""

    most: int
    least: int = 1

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if not isinstance(value, str):
            raise invalid(name, value, "a string", "invalid_type")
        if not self.least <= len(value) <= self.most:
            code = "string_above_max_length" if value else "empty_string"
            wanted = f"{self.least} to {self.most} characters long"
            raise Refusal(f"{name} is {len(value)} characters long; it has to be {wanted}.", param=name, code=code)


@attrs.frozen
class Absent:
    """A field that the model does not have."""

    code: str = "unknown_parameter"

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        raise Refusal(f"{fields['model']} has no parameter {name!r}.", param=name, code=self.code)


@attrs.frozen
class OnlyWith:
    """A value that goes only with another field's value; None among them says that the other may be left out."""

    other: str
    values: tuple[object, ...]
    only_for: object = None

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if self.only_for is not None and value != self.only_for:
            return
        if fields.get(self.other) not in self.values:
            wanted = " or ".join("left out" if value is None else str(value) for value in self.values)
            raise Refusal(f"{name} {value!r} needs {self.other} to be {wanted}.", param=name, code="invalid_value")


@attrs.frozen
class AnySize:
    """`auto` or WIDTHxHEIGHT in steps of 16, at most 3:1 or 1:3, at most 3840x2160 in either orientation."""

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if value == "auto":
            return
        match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", str(value), re.ASCII)
        if match is None:
            raise invalid(name, value, "auto or WIDTHxHEIGHT")
        short, long = sorted(map(int, match.groups()))
        problems = {
            "in multiples of 16": short % 16 or long % 16,
            "from 1:3 to 3:1": long > 3 * short,
            "at most 3840x2160 or 2160x3840": long > 3840 or short > 2160,
        }
        for wanted, problem in problems.items():
            if problem:
                raise invalid(name, value, wanted)


@attrs.frozen
class Object:
    """The `svg` field: `{"model": …, "reasoning": {"effort": …}}`."""

    efforts = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if not isinstance(value, dict):
            raise invalid(name, value, "an object", "invalid_type")
        if not isinstance(value.get("model"), str):
            raise Refusal(f"{name}.model is missing.", param=f"{name}.model", code="missing_required_parameter")
        reasoning = value.get("reasoning") or {}
        effort = reasoning.get("effort") if isinstance(reasoning, dict) else reasoning
        if effort is not None and effort not in self.efforts:
            raise invalid(f"{name}.reasoning.effort", effort, f"one of {', '.join(self.efforts)}")


class UploadCheck(Protocol):
    """Refuses an upload, or lets it pass."""

    def __call__(self, upload: Upload, first: Upload) -> None:
        """Raise `Refusal` if *upload*, beside the *first* image, is not allowed."""


@attrs.frozen
class Pixels:
    """An image in one of these formats, sent under its true name."""

    types: tuple[str, ...]

    def __call__(self, upload: Upload, first: Upload) -> None:
        name, sent = upload.part.name, (upload.part.content_type or "").partition(";")[0].strip().lower()
        if sent.replace("image/jpg", "image/jpeg") not in self.types:
            wanted = ", ".join(self.types)
            raise Refusal(
                f"Invalid file {name!r}: unsupported mimetype ({sent!r}); it has to be one of {wanted}.",
                param=name,
                code="unsupported_file_mimetype",
            )
        if upload.media.media_type != sent.replace("image/jpg", "image/jpeg"):
            raise unreadable(upload, f"it came as {sent} and is {upload.media.media_type or 'no image'}")
        if upload.media.dimensions is None or not upload.media.complete:
            raise unreadable(upload, "its end or its size is missing")


def unreadable(upload: Upload, why: str) -> Refusal:
    return Refusal(f"Invalid file {upload.part.name!r}: {why}.", param=upload.part.name, code="invalid_image_file")


def less_than(size: int) -> UploadCheck:
    def check(upload: Upload, first: Upload) -> None:
        if upload.part.size >= size:
            raise unreadable(upload, f"{upload.part.size} bytes are not less than {size}")

    return check


def is_square(upload: Upload, first: Upload) -> None:
    """Want as many columns as rows."""
    if upload.media.width != upload.media.height:
        raise unreadable(upload, "it is not square")


def has_transparency(upload: Upload, first: Upload) -> None:
    """Want an alpha channel."""
    if not upload.media.alpha:
        raise unreadable(upload, "it has no alpha channel, and transparent pixels say where to edit")


def has_size_of_first(upload: Upload, first: Upload) -> None:
    """Want the first image's width and height."""
    if upload.media.dimensions != first.media.dimensions:
        raise unreadable(upload, f"it is {upload.media.dimensions}, and the image is {first.media.dimensions}")


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
"""The models and the day each was, or is to be, shut down. Those that are gone are served here all the same."""

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
class Row:
    """
    One limit of a field.

    Attributes:
        field: API name.
        models: Names without a date.
        check: What is allowed.
        source: Where it is documented.
        operations: Where it applies; elsewhere the field is ignored, as any unknown field.
    """

    field: str
    models: frozenset[str]
    check: Check
    source: str
    operations: frozenset[str] = ANYWHERE


ROWS: tuple[Row, ...] = (
    Row("prompt", D2, Length(1_000), "page", WITH_PROMPT),
    Row("prompt", D3, Length(4_000), "page", WITH_PROMPT),
    Row("prompt", GPT, Length(32_000), "openapi", WITH_PROMPT),
    Row("n", D2 | GPT, Range(1, 10), "page"),
    Row("n", D3, Range(1, 1), "page"),
    Row("size", D2, Choice(("256x256", "512x512", "1024x1024")), "page"),
    Row("size", D3, Choice(("1024x1024", "1792x1024", "1024x1792")), "page"),
    Row("size", EARLY, Choice(("1024x1024", "1536x1024", "1024x1536", "auto")), "openapi"),
    Row("size", GPT - EARLY, AnySize(), "reference"),
    Row("quality", D2, Choice(("standard",)), "page", WITH_PROMPT),
    Row("quality", D3, Choice(("standard", "hd")), "page", WITH_PROMPT),
    Row("quality", EARLY | G2, Choice(("low", "medium", "high", "auto")), "openapi", WITH_PROMPT),
    Row("quality", G2_5 | G2_6, Choice(("low", "medium", "high", "xhigh", "max", "auto")), "reference", WITH_PROMPT),
    Row("response_format", DALLE, Choice(("url", "b64_json")), "page"),
    Row("response_format", GPT, Absent(), "openapi"),
    Row("style", D3, Choice(("vivid", "natural")), "page", GENERATIONS),
    Row("style", EVERY - D3, Absent(), "page", GENERATIONS),
    Row("background", GPT, Choice(("transparent", "opaque", "auto")), "openapi", WITH_PROMPT),
    Row(
        "background",
        GPT,
        OnlyWith("output_format", (None, "png", "webp"), only_for="transparent"),
        "openapi",
        WITH_PROMPT,
    ),
    Row("moderation", GPT, Choice(("low", "auto")), "openapi", GENERATIONS),
    Row("output_format", GPT - G2_6, Choice(("png", "jpeg", "webp")), "openapi", WITH_PROMPT),
    Row("output_format", G2_6, Choice(("png", "jpeg", "webp", "gif", "svg")), "reference", WITH_PROMPT),
    Row("output_compression", GPT, Range(0, 100), "openapi", WITH_PROMPT),
    Row("output_compression", GPT, OnlyWith("output_format", ("jpeg", "webp")), "openapi", WITH_PROMPT),
    Row("stream", GPT, Switch(), "openapi", WITH_PROMPT),
    Row(
        "stream",
        GPT,
        OnlyWith("output_format", (None, "png", "jpeg", "webp"), only_for=True),
        "reference",
        WITH_PROMPT,
    ),
    Row("stream", DALLE, Switch(possible=False), "openapi", WITH_PROMPT),
    Row("partial_images", GPT, Range(0, 3), "openapi", WITH_PROMPT),
    Row("complexity", G2_6, Choice(("low", "medium", "high")), "reference", WITH_PROMPT),
    Row("frame_count", G2_6, Range(2, 16), "reference", WITH_PROMPT),
    Row("frame_count", G2_6, OnlyWith("output_format", ("gif",)), "reference", WITH_PROMPT),
    Row("frame_count", G2_6, OnlyWith("mask", (None,)), "reference", WITH_PROMPT),
    Row("frame_duration_ms", G2_6, Range(20, 655_350), "reference", WITH_PROMPT),
    Row("frame_duration_ms", G2_6, OnlyWith("output_format", ("gif",)), "reference", WITH_PROMPT),
    Row("svg", G2_6, Object(), "reference", WITH_PROMPT),
    Row("svg", G2_6, OnlyWith("output_format", ("svg",)), "reference", WITH_PROMPT),
    Row("svg", G2_6, OnlyWith("n", (None, 1)), "reference", WITH_PROMPT),
    Row("markup", G2_5 | G2_6, OnlyWith("mask", (None,)), "reference", EDITS),
    Row("markup", EVERY - G2_5 - G2_6, Absent(), "reference", EDITS),
    Row("input_fidelity", G1 | G1_5, Choice(("high", "low")), "openapi", EDITS),
    Row("input_fidelity", G1_MINI, Choice(("low",)), "openapi", EDITS),
    Row("input_fidelity", GPT - EARLY, Absent("invalid_input_fidelity_model"), "threads", EDITS),
    Row("input_fidelity", DALLE, Absent(), "openapi", EDITS),
    Row("safety_identifier", EVERY, Length(128), "reference", WITH_PROMPT),
    Row("user", EVERY, Text(), "page"),
    *(
        Row(field, DALLE, Absent(), "openapi", WITH_PROMPT)
        for field in ("background", "output_format", "output_compression", "partial_images")
    ),
    Row("moderation", DALLE, Absent(), "openapi", GENERATIONS),
    *(
        Row(field, EVERY - G2_6, Absent(), "reference", WITH_PROMPT)
        for field in ("complexity", "frame_count", "frame_duration_ms", "svg")
    ),
)


@attrs.frozen
class UploadRow:
    """
    One limit of an uploaded image.

    Attributes:
        field: `image`, `mask` or `markup`.
        models: Names without a date.
        check: What is allowed.
        source: Where it is documented.
    """

    field: str
    models: frozenset[str]
    check: UploadCheck
    source: str


PNG = Pixels(("image/png",))

UPLOADS: tuple[UploadRow, ...] = (
    UploadRow("image", D2, PNG, "page"),
    UploadRow("image", D2, less_than(4 * MB), "page"),
    UploadRow("image", D2, is_square, "page"),
    UploadRow("image", GPT, Pixels(("image/png", "image/jpeg", "image/webp")), "page"),
    UploadRow("image", GPT, less_than(MAX_IMAGE_BYTES + 1), "openapi"),
    UploadRow("mask", EVERY, PNG, "page"),
    UploadRow("mask", EVERY, less_than(4 * MB), "page"),
    UploadRow("mask", EVERY, has_size_of_first, "page"),
    UploadRow("mask", EVERY, has_transparency, "openapi"),
    UploadRow("markup", G2_5 | G2_6, PNG, "reference"),
    UploadRow("markup", G2_5 | G2_6, has_size_of_first, "reference"),
    UploadRow("markup", G2_5 | G2_6, has_transparency, "reference"),
)


def family(model: str) -> str:
    """Return *model* without its date."""
    return re.sub(r"-20\d\d-\d\d-\d\d$", "", model)


def check_model(operation: str, model: object) -> str:
    """
    Return *model*, if the endpoint serves it.

    Raises:
        Refusal: It is not known, or is not served here.
    """
    if not isinstance(model, str):
        raise Refusal(f"model is {model!r}; it has to be a string.", param="model", code="invalid_type")
    if model not in MODELS:
        raise Refusal(f"There is no model {model!r}.", param="model", code="model_not_found", status=404)
    if family(model) not in SERVED[operation]:
        wanted = "'dall-e-2'" if operation == "variations" else "'dall-e-2' or a GPT image model"
        raise Refusal(f"model is {model!r}; here it has to be {wanted}.", param="model", code="invalid_value")
    return model


def check_fields(operation: str, fields: Mapping[str, Any]) -> None:
    """
    Compare the fields, `model` among them, with the table.

    Raises:
        Refusal: For the first that is not allowed.
    """
    if operation in WITH_PROMPT and "prompt" not in fields:
        raise Refusal("The prompt is missing.", param="prompt", code="missing_required_parameter")
    name = family(fields["model"])
    for row in ROWS:
        value = fields.get(row.field)
        if value is not None and name in row.models and operation in row.operations:
            row.check(row.field, value, fields)


def check_uploads(operation: str, model: str, images: Sequence[Upload], others: Mapping[str, Upload]) -> None:
    """
    Compare the uploads with the table.

    Args:
        operation: The endpoint.
        model: Of the request.
        images: In the order sent.
        others: `mask` and `markup`, where sent.

    Raises:
        Refusal: For the first that is not allowed.
    """
    if not images:
        raise Refusal("The image is missing.", param="image", code="missing_required_parameter")
    most = 1 if family(model) in D2 else MAX_IMAGES
    if len(images) > most:
        raise Refusal(f"{len(images)} images are more than {most}.", param="image", code="too_many_images")
    check_each("image", model, images, images[0])
    for name, upload in others.items():
        check_each(name, model, [upload], images[0])
    if operation == "edits" and family(model) in D2 and "mask" not in others:
        has_transparency(images[0], images[0])


def check_each(field: str, model: str, uploads: Iterable[Upload], first: Upload) -> None:
    for upload in uploads:
        for row in UPLOADS:
            if row.field == field and family(model) in row.models:
                row.check(upload, first)
