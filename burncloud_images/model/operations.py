"""
The three requests of the images API, one class each: the only parameter lists of the project.

The client's verbs, the JSON and multipart encoding, the validation and the command line's options all derive from these
classes. A field left at None is not sent: the server decides. Any model string is accepted, and fields that are newer
than this version travel in `extra`.

The constructors raise only for what no server could take. What the API documents per model is in `rules`, checked
when a request is sent.
"""

# ruff: noqa: PYI051 (the literals are for completion, the text is for models to come)
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import ClassVar, Literal, TypeAlias, cast

import attrs

from burncloud_images.errors import InvalidRequestError, Violation
from burncloud_images.model.inputs import FileID, ImageLike, ImageSource, ImageURL, to_source, to_sources
from burncloud_images.model.parameter_docs import documented

Operation: TypeAlias = Literal["generations", "edits", "variations"]

Model: TypeAlias = (
    Literal[
        "gpt-image-2.6-sunburst",
        "gpt-image-2.6-flare",
        "gpt-image-2.5-sunburst",
        "gpt-image-2.5-flare",
        "gpt-image-2",
        "gpt-image-1.5",
        "gpt-image-1-mini",
        "gpt-image-1",
        "chatgpt-image-latest",
        "dall-e-3",
        "dall-e-2",
    ]
    | str
)
Size: TypeAlias = (
    Literal["auto", "1024x1024", "1536x1024", "1024x1536", "256x256", "512x512", "1792x1024", "1024x1792"] | str
)
Quality: TypeAlias = Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | str
ResponseFormat: TypeAlias = Literal["url", "b64_json"] | str
Style: TypeAlias = Literal["vivid", "natural"] | str
Background: TypeAlias = Literal["auto", "transparent", "opaque"] | str
Moderation: TypeAlias = Literal["auto", "low"] | str
OutputFormat: TypeAlias = Literal["png", "jpeg", "webp", "gif", "svg"] | str
Complexity: TypeAlias = Literal["low", "medium", "high"] | str
InputFidelity: TypeAlias = Literal["low", "high"] | str
TEXTS = (
    "Model",
    "Size",
    "Quality",
    "ResponseFormat",
    "Style",
    "Background",
    "Moderation",
    "OutputFormat",
    "Complexity",
    "InputFidelity",
)
"""Names of these types."""

KINDS: Mapping[str, type] = {
    "n": int,
    "output_compression": int,
    "partial_images": int,
    "frame_count": int,
    "frame_duration_ms": int,
    "svg": Mapping,
    "extra": Mapping,
    "by_reference": bool,
}
"""Python types of the fields that are neither text nor an image."""

IMAGE_FIELDS = ("image", "mask", "markup")
NOT_ON_THE_WIRE = frozenset({*IMAGE_FIELDS, "by_reference", "extra"})
RESERVED = frozenset({"stream", "image[]"})
"""Names that the client itself sends; `extra` may not contain them."""
RESERVED_FOR_IMAGES = frozenset({"images"})
"""More of them, of a request that has images; in a generation gateways take input images by this name."""


def own(mapping: Mapping[str, object] | None) -> Mapping[str, object] | None:
    """Return a copy, so that a request stays as it was made; anything else is left for the checks to refuse."""
    return dict(mapping) if isinstance(mapping, Mapping) else mapping


def to_optional_source(value: ImageLike | None) -> ImageSource | None:
    """Return where the bytes of *value* are, if it is given."""
    return None if value is None else to_source(value)


@attrs.frozen
class FieldTable:
    """
    The fields of one request class.

    Attributes:
        names: All of them.
        checked: Those that the constructor checks itself.
        required: Those without a default.
        sent: Those that are sent as they are.
    """

    names: frozenset[str]
    checked: tuple[str, ...]
    required: frozenset[str]
    sent: tuple[str, ...]


def table_of(request: ImagesRequest) -> FieldTable:
    """Return the fields of *request*'s class."""
    return make_table(cast("type", type(request)))


@cache
def make_table(owner: type) -> FieldTable:
    fields = attrs.fields(owner)
    return FieldTable(
        names=frozenset(field.name for field in fields),
        checked=tuple(field.name for field in fields if field.name not in IMAGE_FIELDS),
        required=frozenset(field.name for field in fields if field.default is attrs.NOTHING),
        sent=tuple(field.name for field in fields if field.name not in NOT_ON_THE_WIRE),
    )


@attrs.frozen(kw_only=True)
class ImagesRequest:
    """
    What the three requests have in common.

    Args:
        model: Which model makes the images, for example `gpt-image-2`. By default BURNCLOUD_MODEL of the environment;
            gateways refuse a request that names none.
        n: How many images, 1 to 10; dall-e-3 makes 1.
        size: `WIDTHxHEIGHT` in pixels, or `auto`. From gpt-image-2 on any multiples of 16, of 655,360 pixels
            or more; `256x256`, `512x512` or `1024x1024` for dall-e-2.
        response_format: `url` or `b64_json`; DALL·E models only. Either way the result holds the image.
        user: An id of your end user, for the provider's abuse checks.
        extra: Fields that this version does not know, sent as they are.
    """

    operation: ClassVar[Operation]

    model: Model | None = None
    n: int | None = None
    size: Size | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    extra: Mapping[str, object] | None = attrs.field(default=None, converter=own)

    def __attrs_post_init__(self) -> None:
        """Refuse what no server could take."""
        violations = tuple(self.violations())
        if violations:
            raise InvalidRequestError(violations)

    def violations(self) -> Iterator[Violation]:
        """Yield all reasons why no server could take this request."""
        table = table_of(self)
        for name in table.checked:
            value = getattr(self, name)
            if value is not None:
                yield from field_problems(name, value)
            elif name in table.required:
                yield Violation(name, "it has to be given")
        if isinstance(self.extra, Mapping):
            yield from self.extra_problems(self.extra)
        if isinstance(self.n, int) and self.n < 1:
            yield Violation("n", f"at least 1 image has to be asked for, not {self.n}")

    def extra_problems(self, extra: Mapping[str, object]) -> Iterator[Violation]:
        known = table_of(self).names | RESERVED
        if "image" in known:
            known |= RESERVED_FOR_IMAGES
        for name, value in extra.items():
            if name in known:
                yield Violation("extra", f"{name} is a known field; {advice_for(name)}")
            elif not is_json({name: value}):
                yield Violation("extra", f"{name} cannot be written as JSON")

    def fields(self) -> dict[str, object]:
        """Return the fields to send, without images: those that are set, in the documented order, `extra` last."""
        fields = {name: getattr(self, name) for name in table_of(self).sent}
        if self.extra:
            fields |= self.extra
        return {name: value for name, value in fields.items() if value is not None}

    def images(self) -> tuple[tuple[str, ImageSource], ...]:
        """Return the images to upload, each with its field name, in the order in which they are sent."""
        return ()


@attrs.frozen(kw_only=True)
class PromptedRequest(ImagesRequest):
    """
    What the two requests with a prompt have in common.

    Args:
        quality: `low`, `medium`, `high` or `auto`; from gpt-image-2.5 on also `xhigh` and `max`; `standard` or `hd`
            for dall-e-3, `standard` for dall-e-2.
        background: `transparent`, `opaque` or `auto`; transparent needs PNG or WebP. GPT image models.
        moderation: `low` or `auto`. GPT image models; an edit takes it only if its images are sent by
            reference.
        output_format: `png`, `jpeg` or `webp`; from gpt-image-2.6 on also `gif` and `svg`. GPT image models.
        output_compression: 0 to 100, for JPEG and WebP. GPT image models.
        partial_images: 0 to 3 previews on the way; for streams only.
        complexity: Planning effort, `low`, `medium` or `high`; gpt-image-2.6.
        frame_count: Frames of a GIF, 2 to 16; gpt-image-2.6.
        frame_duration_ms: Milliseconds a GIF frame is shown, 20 to 655,350; gpt-image-2.6.
        svg: Options of an SVG, for example `{"model": "…"}`; gpt-image-2.6.
        safety_identifier: A hashed id of your end user, at most 128 characters; it wins over `user`.
    """

    quality: Quality | None = None
    background: Background | None = None
    moderation: Moderation | None = None
    output_format: OutputFormat | None = None
    output_compression: int | None = None
    partial_images: int | None = None
    complexity: Complexity | None = None
    frame_count: int | None = None
    frame_duration_ms: int | None = None
    svg: Mapping[str, object] | None = attrs.field(default=None, converter=own)
    safety_identifier: str | None = None


@documented(TEXTS)
@attrs.frozen
class GenerationRequest(PromptedRequest):
    """
    Make images from a prompt.

    Args:
        prompt: What to draw. At most 32,000 characters for GPT image models, 1,000 for dall-e-2, 4,000 for dall-e-3.
        style: `vivid` or `natural`; dall-e-3 only.
    """

    operation: ClassVar[Operation] = "generations"

    prompt: str
    style: Style | None = attrs.field(default=None, kw_only=True)


@documented(TEXTS)
@attrs.frozen
class EditRequest(PromptedRequest):
    """
    Edit images, or make a new one from them, as a prompt describes.

    Args:
        image: The image, or up to 16 of them. PNG, WebP or JPEG below 50 MB each; dall-e-2 takes one square PNG below
            4 MB.
        prompt: What to do. At most 32,000 characters for GPT image models, 1,000 for dall-e-2.
        mask: A PNG below 4 MB, as large as the first image, whose fully transparent places say where to edit.
        markup: A PNG with transparent places that is laid over the first image to point at things; from gpt-image-2.5
            on, not with a mask.
        input_fidelity: How close to stay to the input, `low` or `high`; gpt-image-1 and gpt-image-1.5.
        by_reference: Send the addresses of the images, in JSON, instead of uploading them. Gateways older than mid-2026
            do not take it.
    """

    operation: ClassVar[Operation] = "edits"

    image: tuple[ImageSource, ...] = attrs.field(converter=to_sources)
    prompt: str
    mask: ImageSource | None = attrs.field(default=None, converter=to_optional_source, kw_only=True)
    markup: ImageSource | None = attrs.field(default=None, converter=to_optional_source, kw_only=True)
    input_fidelity: InputFidelity | None = attrs.field(default=None, kw_only=True)
    by_reference: bool = attrs.field(default=False, kw_only=True)

    def violations(self) -> Iterator[Violation]:
        """Yield all reasons why no server could take this request."""
        yield from super().violations()
        if not self.image:
            yield Violation("image", "at least one image has to be given")
        for name, source in self.images():
            referable = isinstance(source, (ImageURL, FileID))
            if self.by_reference and not referable:
                yield Violation(name, "by_reference sends addresses, so it takes ImageURL and FileID only")
            if not self.by_reference and isinstance(source, FileID):
                yield Violation(name, "a FileID can only be sent with by_reference=True")

    def images(self) -> tuple[tuple[str, ImageSource], ...]:
        """Return the images to upload, each with its field name, in the order in which they are sent."""
        others = (("mask", self.mask), ("markup", self.markup))
        return (
            *(("image", source) for source in self.image),
            *((name, source) for name, source in others if source is not None),
        )


@documented(TEXTS)
@attrs.frozen
class VariationRequest(ImagesRequest):
    """
    Make variations of an image.

    The endpoint is retired upstream and no gateway known in November 2026 serves it; those answer `UnsupportedError`.

    Args:
        image: A square PNG below 4 MB.
    """

    operation: ClassVar[Operation] = "variations"

    image: ImageSource = attrs.field(converter=to_source)

    def violations(self) -> Iterator[Violation]:
        """Yield all reasons why no server could take this request."""
        yield from super().violations()
        if isinstance(self.image, FileID):
            yield Violation("image", "variations take an upload, not a FileID")

    def images(self) -> tuple[tuple[str, ImageSource], ...]:
        """Return the image to upload with its field name."""
        return (("image", self.image),)


def field_problems(name: str, value: object) -> Iterator[Violation]:
    kind = KINDS.get(name, str)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        yield Violation(name, f"it has to be {article(kind)}, not {type(value).__name__}")
    elif isinstance(value, str):
        yield from text_problems(name, value)
    elif name == "svg" and not is_json(value):
        yield Violation(name, "it holds something that JSON cannot")


def text_problems(name: str, text: str) -> Iterator[Violation]:
    if name == "prompt" and not text.strip():
        yield Violation(name, "it is empty")
    if not is_unicode(text):
        yield Violation(name, "it holds half of a surrogate pair, which UTF-8 cannot carry")


def is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_json(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and is_unicode(name) and is_json(item) for name, item in value.items())
    if isinstance(value, str):
        return is_unicode(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return all(is_json(item) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, int)


def article(kind: type) -> str:
    return {int: "a whole number", str: "text", bool: "True or False"}.get(kind, "a mapping")


def advice_for(name: str) -> str:
    if name == "stream":
        return "streams are asked for by another method"
    if name in {"images", "image[]"}:
        return "give the images in `image`"
    return "give it by its own name"
