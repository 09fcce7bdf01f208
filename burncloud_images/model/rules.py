"""
What the API document allows, per model: table rows with their source and date.

The rules bind the models they name; an unknown model passes, because a gateway may serve any. They are advisory: the
caller decides whether a violation warns, raises or is ignored, by `AsyncImagesClient(validation=…)`. Two
of them raise under `warn` too, because the upload is surely wasted: those marked `certain`.

Sources are named as follows: `burncloud` is Burncloud's own images page (2025-04-26); `openapi` is OpenAI's
openapi.yaml of 2026-08-21;
`reference` is OpenAI's API reference of 2026-11-17. What is wrong with a file by itself needs no source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import attrs

from burncloud_images.errors import Violation
from burncloud_images.model.operations import Operation
from burncloud_images.model.rule_kinds import (
    MB,
    Between,
    BytesBelow,
    FieldLimit,
    FlexibleSize,
    MaxCharacters,
    MeasuredImage,
    MediaTypes,
    OneOf,
    RequiredField,
    UnsupportedField,
    UploadLimit,
    as_large_as_first,
    square,
    transparent,
    upright_as_first,
    whole,
)

DALLE_2 = ("dall-e-2",)
DALLE_3 = ("dall-e-3",)
GPT_1 = ("gpt-image-1",)
GPT_1_MINI = ("gpt-image-1-mini",)
GPT_1_5 = ("gpt-image-1.5", "chatgpt-image-latest")
GPT_2 = ("gpt-image-2",)
GPT_2_5 = ("gpt-image-2.5-sunburst", "gpt-image-2.5-flare")
GPT_2_6 = ("gpt-image-2.6-sunburst", "gpt-image-2.6-flare")

FIXED_SIZE = GPT_1 + GPT_1_MINI + GPT_1_5
FREE_SIZE = GPT_2 + GPT_2_5 + GPT_2_6
GPT = FIXED_SIZE + FREE_SIZE
DALLE = DALLE_2 + DALLE_3
KNOWN = DALLE + GPT
EVERY_MODEL: tuple[str, ...] = ()

EVERYWHERE: tuple[Operation, ...] = ("generations", "edits", "variations")

SNAPSHOT = re.compile(r"-20\d\d-\d\d-\d\d$")


@attrs.frozen(kw_only=True)
class FieldRule:
    """
    One documented limit of a field.

    Attributes:
        field: API name.
        models: Names without their snapshot date; empty for every model.
        limit: What is allowed.
        source: Where it is documented.
        date: When that was so.
        operations: Where it applies.
    """

    field: str
    models: tuple[str, ...]
    limit: FieldLimit
    source: str
    date: str
    operations: tuple[Operation, ...] = EVERYWHERE


def burncloud(field: str, models: tuple[str, ...], limit: FieldLimit, *operations: Operation) -> FieldRule:
    return rule(field, models, limit, operations, "burncloud", "2025-04-26")


def openapi(field: str, models: tuple[str, ...], limit: FieldLimit, *operations: Operation) -> FieldRule:
    return rule(field, models, limit, operations, "openapi", "2026-08-21")


def reference(field: str, models: tuple[str, ...], limit: FieldLimit, *operations: Operation) -> FieldRule:
    return rule(field, models, limit, operations, "reference", "2026-11-17")


def rule(
    field: str, models: tuple[str, ...], limit: FieldLimit, operations: tuple[Operation, ...], source: str, date: str
) -> FieldRule:
    return FieldRule(
        field=field, models=models, limit=limit, source=source, date=date, operations=operations or EVERYWHERE
    )


NOT_SERVED = UnsupportedField("this endpoint does not serve that model")
LOW_TO_HIGH = ("low", "medium", "high", "auto")

RULES: tuple[FieldRule, ...] = (
    burncloud("model", DALLE_3, NOT_SERVED, "edits", "variations"),
    openapi("model", GPT, NOT_SERVED, "variations"),
    burncloud("prompt", DALLE_2, MaxCharacters(1_000)),
    burncloud("prompt", DALLE_3, MaxCharacters(4_000)),
    burncloud("prompt", GPT, MaxCharacters(32_000)),
    burncloud("n", DALLE_2 + GPT, Between(1, 10)),
    burncloud("n", DALLE_3, Between(1, 1)),
    burncloud("size", DALLE_2, OneOf(("256x256", "512x512", "1024x1024"))),
    burncloud("size", DALLE_3, OneOf(("1024x1024", "1792x1024", "1024x1792"))),
    burncloud("size", FIXED_SIZE, OneOf(("auto", "1024x1024", "1536x1024", "1024x1536"))),
    openapi("size", FREE_SIZE, FlexibleSize()),
    burncloud("quality", DALLE_2, OneOf(("standard",))),
    burncloud("quality", DALLE_3, OneOf(("standard", "hd"))),
    burncloud("quality", FIXED_SIZE + GPT_2, OneOf(LOW_TO_HIGH)),
    reference("quality", GPT_2_5 + GPT_2_6, OneOf((*LOW_TO_HIGH, "xhigh", "max"))),
    burncloud("response_format", DALLE, OneOf(("url", "b64_json"))),
    openapi("response_format", GPT, UnsupportedField()),
    burncloud("style", DALLE_3, OneOf(("vivid", "natural"))),
    burncloud("style", DALLE_2 + GPT, UnsupportedField()),
    openapi("background", GPT, OneOf(("transparent", "opaque", "auto"))),
    openapi("background", GPT, RequiredField("output_format", (None, "png", "webp"), only_for="transparent")),
    openapi("background", DALLE, UnsupportedField()),
    openapi("moderation", GPT, OneOf(("low", "auto"))),
    openapi("moderation", DALLE, UnsupportedField()),
    openapi("moderation", EVERY_MODEL, RequiredField("by_reference", (True,)), "edits"),
    openapi("output_format", FIXED_SIZE + GPT_2 + GPT_2_5, OneOf(("png", "jpeg", "webp"))),
    reference("output_format", GPT_2_6, OneOf(("png", "jpeg", "webp", "gif", "svg"))),
    openapi("output_format", DALLE, UnsupportedField()),
    openapi("output_compression", GPT, Between(0, 100)),
    openapi("output_compression", GPT, RequiredField("output_format", ("jpeg", "webp"))),
    openapi("output_compression", DALLE, UnsupportedField()),
    openapi("partial_images", GPT, Between(0, 3)),
    openapi("partial_images", DALLE, UnsupportedField()),
    openapi("stream", DALLE, UnsupportedField("this model does not stream")),
    reference("stream", GPT, RequiredField("output_format", (None, "png", "jpeg", "webp"))),
    reference("complexity", GPT_2_6, OneOf(("low", "medium", "high"))),
    reference("frame_count", GPT_2_6, Between(2, 16)),
    reference("frame_count", GPT_2_6, RequiredField("output_format", ("gif",))),
    reference("frame_duration_ms", GPT_2_6, Between(20, 655_350)),
    reference("frame_duration_ms", GPT_2_6, RequiredField("output_format", ("gif",))),
    reference("svg", GPT_2_6, RequiredField("output_format", ("svg",))),
    reference("svg", GPT_2_6, RequiredField("n", (None, 1))),
    *(
        reference(field, DALLE + FIXED_SIZE + GPT_2 + GPT_2_5, UnsupportedField())
        for field in ("complexity", "frame_count", "frame_duration_ms", "svg")
    ),
    reference("safety_identifier", KNOWN, MaxCharacters(128)),
    openapi("input_fidelity", GPT_1 + GPT_1_5, OneOf(("high", "low"))),
    openapi("input_fidelity", GPT_1_MINI, OneOf(("low",))),
    openapi("input_fidelity", DALLE + FREE_SIZE, UnsupportedField()),
    reference("markup", GPT_2_5 + GPT_2_6, RequiredField("mask", (None,))),
    reference("markup", DALLE + FIXED_SIZE + GPT_2, UnsupportedField()),
    openapi("by_reference", DALLE, UnsupportedField()),
)


@lru_cache(maxsize=64)
def find_rules(operation: Operation, model: str | None) -> Mapping[str, tuple[FieldRule, ...]]:
    """Return the limits of *model* at an endpoint, by field; those of every model for one that is not known."""
    rows = [row for row in RULES if operation in row.operations and (not row.models or model in row.models)]
    return {
        field: tuple(row for row in rows if row.field == field) for field in dict.fromkeys(row.field for row in rows)
    }


@attrs.frozen(kw_only=True)
class UploadRule:
    """
    One documented limit of an uploaded image.

    Attributes:
        field: `image`, `mask` or `markup`.
        models: Names without their snapshot date; empty for every model.
        limit: What is allowed.
        source: Where it is documented.
        date: When that was so; empty for what the file itself says.
        certain: Whether the upload is certain to fail, so that it raises even where rules only warn.
    """

    field: str
    models: tuple[str, ...]
    limit: UploadLimit
    source: str
    date: str
    certain: bool = False


FILE = "the file"
"""The source of what needs no document."""


def upload(
    field: str, models: tuple[str, ...], limit: UploadLimit, source: str, *, certain: bool = False
) -> UploadRule:
    dates = {"burncloud": "2025-04-26", "openapi": "2026-08-21", "reference": "2026-11-17"}
    date = dates.get(source, "")
    return UploadRule(field=field, models=models, limit=limit, source=source, date=date, certain=certain)


PNG = MediaTypes(("image/png",))

UPLOAD_RULES: tuple[UploadRule, ...] = (
    upload("image", EVERY_MODEL, whole, FILE),
    upload("mask", EVERY_MODEL, whole, FILE),
    upload("markup", EVERY_MODEL, whole, FILE),
    upload("image", DALLE_2, PNG, "burncloud"),
    upload("image", DALLE_2, BytesBelow(4 * MB), "burncloud"),
    upload("image", DALLE_2, square, "burncloud"),
    upload("image", GPT, MediaTypes(("image/png", "image/webp", "image/jpeg")), "burncloud"),
    upload("image", GPT_1, BytesBelow(25 * MB), "burncloud"),
    upload("mask", EVERY_MODEL, as_large_as_first, "burncloud", certain=True),
    upload("mask", EVERY_MODEL, upright_as_first, FILE),
    upload("mask", KNOWN, PNG, "burncloud"),
    upload("mask", KNOWN, BytesBelow(4 * MB), "burncloud"),
    upload("mask", KNOWN, transparent, "openapi"),
    upload("markup", EVERY_MODEL, as_large_as_first, "reference"),
    upload("markup", EVERY_MODEL, upright_as_first, FILE),
    upload("markup", KNOWN, PNG, "reference"),
    upload("markup", KNOWN, transparent, "reference"),
)

MOST_IMAGES: tuple[tuple[tuple[str, ...], int, str], ...] = (
    (DALLE_2, 1, "burncloud, 2025-04-26"),
    (GPT, 16, "openapi, 2026-08-21"),
)


def field_violations(operation: Operation, fields: Mapping[str, object]) -> tuple[Violation, ...]:
    """
    Return what the documents do not allow.

    Args:
        operation: The endpoint.
        fields: What is asked for, `by_reference` and the images' names included; unset fields absent or None.
    """
    return tuple(find_field_violations(operation, fields))


def find_field_violations(operation: Operation, fields: Mapping[str, object]) -> Iterator[Violation]:
    for field, rows in find_rules(operation, without_date(fields.get("model"))).items():
        value = fields.get(field)
        if value is None or (field == "by_reference" and value is False):
            continue
        for row in rows:
            problem = row.limit(value, fields)
            if problem:
                yield Violation(field, problem, f"{row.source}, {row.date}")


def upload_violations(
    operation: Operation, fields: Mapping[str, object], images: Sequence[MeasuredImage], *, most_bytes: int = 50 * MB
) -> tuple[tuple[Violation, ...], tuple[Violation, ...]]:
    """
    Return what the documents do not allow of the uploads: what surely wastes them, and the rest.

    Args:
        operation: The endpoint.
        fields: As in `field_violations`.
        images: In the order in which they are sent.
        most_bytes: The largest file that any server takes.
    """
    if not images:
        return (), ()
    certain = [Violation(image.field, too_large(image, most_bytes)) for image in images if image.size > most_bytes]
    advisory = list(count_violations(operation, fields.get("model"), images))
    for image in images:
        for row in UPLOAD_RULES:
            if row.field == image.field and covers(row.models, fields.get("model")):
                problem = row.limit(image, images[0])
                if problem:
                    source = f"{row.source}, {row.date}" if row.date else row.source
                    violation = Violation(image.field, problem, source)
                    (certain if row.certain else advisory).append(violation)
    advisory.extend(missing_mask_violations(operation, fields.get("model"), images))
    return tuple(certain), tuple(advisory)


def too_large(image: MeasuredImage, most: int) -> str:
    return f"{image.size / MB:.1f} MiB is more than {most / MB:g} MiB"


def count_violations(operation: Operation, model: object, images: Sequence[MeasuredImage]) -> Iterator[Violation]:
    count = sum(image.field == "image" for image in images)
    for models, most, source in MOST_IMAGES:
        if operation == "edits" and covers(models, model) and count > most:
            yield Violation("image", f"{count} images are more than {most}", source)


def missing_mask_violations(
    operation: Operation, model: object, images: Sequence[MeasuredImage]
) -> Iterator[Violation]:
    if operation != "edits" or not covers(DALLE_2, model) or any(image.field == "mask" for image in images):
        return
    if images and not images[0].media.alpha:
        problem = "without a mask it has to have transparent places, which say where to edit"
        yield Violation("image", problem, "burncloud, 2025-04-26")


def covers(models: tuple[str, ...], model: object) -> bool:
    return not models or without_date(model) in models


def without_date(model: object) -> str | None:
    return SNAPSHOT.sub("", model) if isinstance(model, str) else None
