"""Requests of every kind, and what the client writes for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from golden.raw_http import FILES, png

from burncloud_images import EditRequest, FileID, GenerationRequest, ImageURL, VariationRequest
from burncloud_images.model.inputs import BytesSource
from burncloud_images.model.media import examine_bytes
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.model.rule_kinds import MeasuredImage
from burncloud_images.wire.encoded_request import encode
from burncloud_images.wire.multipart import FilePlaceholder

BOUNDARY = "0123456789abcdef0123456789abcdef"
OTTER, MASK = FILES["otter.png"], FILES["mask.png"]

MODELS = (
    "gpt-image-2.6-sunburst",
    "gpt-image-2.6-flare",
    "gpt-image-2.5-sunburst",
    "gpt-image-2.5-flare",
    "gpt-image-2",
    "gpt-image-2-2026-04-21",
    "gpt-image-1.5",
    "gpt-image-1-mini",
    "gpt-image-1",
    "chatgpt-image-latest",
    "dall-e-3",
    "dall-e-2",
    "a-model-to-come",
)

PROMPTED: Mapping[str, tuple[Any, ...]] = {
    "prompt": ("a sea otter", "一只可爱的小海獭", 'a "sea"\r\notter 🦦\\', "x" * 32_000),
    "model": MODELS,
    "n": (1, 10),
    "size": ("auto", "1024x1024", "1536x1024", "1024x1536", "1536x864", "3840x2160"),
    "quality": ("auto", "low", "medium", "high", "xhigh", "max"),
    "background": ("auto", "transparent", "opaque"),
    "output_format": ("png", "jpeg", "webp", "gif"),
    "output_compression": (0, 100),
    "partial_images": (0, 3),
    "complexity": ("low", "medium", "high"),
    "frame_count": (2, 16),
    "frame_duration_ms": (20, 655_350),
    "user": ("user-7", "7", "true"),
}
WITH_SVG: Mapping[str, tuple[Any, ...]] = {
    "output_format": (*PROMPTED["output_format"], "svg"),
    "svg": ({"model": "gpt-7"}, {"model": "gpt-7", "reasoning": {"effort": "none"}}),
    "safety_identifier": ("5994471abb01112a", "9" * 128),
    "response_format": ("url", "b64_json"),
}


@attrs.frozen
class Kind:
    """
    One kind of request, with the values that are documented for each of its fields.

    Attributes:
        make: The request class.
        schema: Of its body.
        fixed: What every request of this kind has.
        values: Fields and their values.
        left_out: Fields that the class has and this kind of body has not, and why.
    """

    make: type[ImagesRequest]
    schema: str
    fixed: Mapping[str, Any]
    values: Mapping[str, tuple[Any, ...]]
    left_out: Mapping[str, str]

    def request(self, **fields: Any) -> ImagesRequest:
        return self.make(**{**self.fixed, **fields})


EXTRA = {"extra": "takes fields that are not known"}
BY_REFERENCE = {**EXTRA, "by_reference": "chooses between the form and JSON"}

KINDS: Mapping[str, Kind] = {
    "generation": Kind(
        GenerationRequest,
        "CreateImageRequest",
        {"prompt": "a sea otter"},
        {
            **PROMPTED,
            **WITH_SVG,
            "quality": (*PROMPTED["quality"], "standard", "hd"),
            "size": (*PROMPTED["size"], "256x256", "512x512", "1792x1024", "1024x1792"),
            "style": ("vivid", "natural"),
            "moderation": ("auto", "low"),
        },
        EXTRA,
    ),
    "edit": Kind(
        EditRequest,
        "CreateImageEditRequest",
        {"prompt": "a hat", "image": OTTER},
        {
            **PROMPTED,
            **WITH_SVG,
            "quality": (*PROMPTED["quality"], "standard"),
            "image": (OTTER, [OTTER], [OTTER, MASK], [png(shade) for shade in range(16)]),
            "mask": (MASK,),
            "markup": (MASK,),
            "input_fidelity": ("low", "high"),
        },
        {**BY_REFERENCE, "moderation": "the form does not have it, only the JSON body"},
    ),
    "edit by reference": Kind(
        EditRequest,
        "EditImageBodyJsonParam",
        {"prompt": "a hat", "image": FileID("file-abc123"), "by_reference": True},
        {
            **PROMPTED,
            "image": (
                ImageURL("https://example.com/otter.png?a=1&b=2"),
                ImageURL("data:image/png;base64,iVBORw0KGgo="),
                [FileID("file-abc123"), ImageURL("https://example.com/otter.png")],
                [FileID(f"file-{number}") for number in range(16)],
            ),
            "mask": (FileID("file-mask123"), ImageURL("https://example.com/mask.png")),
            "input_fidelity": ("low", "high"),
            "moderation": ("auto", "low"),
        },
        {
            **BY_REFERENCE,
            "response_format": "DALL-E models alone have it, which do not edit by reference",
            "svg": "not documented for JSON",
            "safety_identifier": "not documented for JSON",
            "markup": "not documented for JSON",
        },
    ),
    "variation": Kind(
        VariationRequest,
        "CreateImageVariationRequest",
        {"image": OTTER},
        {
            "image": (OTTER,),
            "model": ("dall-e-2", "a-model-to-come"),
            "n": (1, 10),
            "size": ("256x256", "512x512", "1024x1024"),
            "response_format": ("url", "b64_json"),
            "user": ("user-7",),
        },
        EXTRA,
    ),
}


def one_of_each() -> Iterator[tuple[str, str, int]]:
    """Yield the name of a kind, a field, and the number of a value of it."""
    for name, kind in KINDS.items():
        for field, values in kind.values.items():
            for number in range(len(values)):
                yield name, field, number


def written(request: ImagesRequest) -> tuple[str, str, bytes]:
    """Return path, content type and body as the client sends them."""
    pairs = [(field, source.data) for field, source in request.images() if isinstance(source, BytesSource)]
    measured = [MeasuredImage(field=field, size=len(data), media=examine_bytes(data)) for field, data in pairs]
    encoded = encode(request, measured, boundary=BOUNDARY)
    plan = encoded.plan
    segments = [pairs[part.index][1] if isinstance(part, FilePlaceholder) else part for part in plan.segments]
    return encoded.path, plan.content_type, b"".join(segments) + plan.final
