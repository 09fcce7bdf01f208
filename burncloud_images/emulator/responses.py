"""Bodies of successful responses: JSON with token counts, and event streams."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from burncloud_images.emulator.faults import Fault
from burncloud_images.emulator.image_specs import ImageSpec

if TYPE_CHECKING:
    from burncloud_images.emulator.renderer import RenderedImages


def to_response_body(spec: ImageSpec, images: Sequence[bytes], urls: Sequence[str], created: int) -> bytes:
    """Return the body of the answer."""
    shared = {"revised_prompt": to_revised_prompt(spec)} if spec.revised else {}
    data = [{"url": url, **shared} for url in urls] or [
        {"b64_json": base64.b64encode(image).decode(), **shared} for image in images
    ]
    return json.dumps({"created": created, "data": data, **dict(details(spec))}, ensure_ascii=False).encode()


def to_revised_prompt(spec: ImageSpec) -> str:
    """Return the prompt that the model says it used."""
    return f"{spec.prompt}, seen in {spec.style or 'vivid'} light"


def details(spec: ImageSpec) -> Iterator[tuple[str, object]]:
    if spec.safety_identifier is not None:
        yield "safety_identifier", spec.safety_identifier
    if not spec.counts_tokens:
        return
    yield "background", "transparent" if spec.transparent else "opaque"
    yield "output_format", spec.output_format
    yield "quality", spec.quality
    yield "size", f"{spec.width}x{spec.height}"
    yield "usage", to_usage(spec, spec.n)
    if spec.output_format == "svg":
        yield "svg_usage", to_svg_usage(spec)


IMAGE_TOKENS: Mapping[str, int] = {"low": 272, "medium": 1056, "high": 4160, "xhigh": 8320, "max": 16640}
"""Output tokens for 1024x1024: the first three as published for gpt-image-1, the others doubled."""


PARTIAL_TOKENS = 100
"""Output tokens for each early state, as in OpenAI's guide to image generation."""


def to_usage(spec: ImageSpec, images: int) -> dict[str, object]:
    """
    Return what a GPT image model counts.

    Args:
        spec: Four characters of its prompt make a text token, and its uploads, the mask included, image tokens.
        images: Number of images made, each with its early states.
    """
    text = max(1, -(-len(spec.prompt.encode()) // 4))
    seen = 323 * (len(spec.images) + sum(upload is not None for upload in (spec.mask, spec.markup)))
    each = round(IMAGE_TOKENS[spec.quality] * spec.width * spec.height / 1024**2)
    made = images * (each + spec.partials * PARTIAL_TOKENS)
    return {
        "total_tokens": text + seen + made,
        "input_tokens": text + seen,
        "output_tokens": made,
        "input_tokens_details": {"text_tokens": text, "image_tokens": seen},
        "output_tokens_details": {"text_tokens": 0, "image_tokens": made},
    }


def to_svg_usage(spec: ImageSpec) -> dict[str, object]:
    seen, made = len(spec.prompt), 640
    return {
        "model": spec.svg_model or spec.model,
        "input_tokens": seen,
        "output_tokens": made,
        "reasoning_tokens": 0,
        "total_tokens": seen + made,
    }


Event = Mapping[str, object]

SUBJECTS = {"generations": "image_generation", "edits": "image_edit"}


def to_events(spec: ImageSpec, made: RenderedImages, created: int) -> tuple[Event, ...]:
    """
    Return the API's events, one image after the other, each after its early states.

    The API has no index to tell the images apart, and does not say in which order they come or what the usage of one
    of several counts. Here it counts that image, its early states and the whole input.
    """
    subject = SUBJECTS[spec.operation]
    asked = {"created_at": created, "output_format": spec.output_format, **spec.asked}
    decided: Event = {
        **asked,
        "size": f"{spec.width}x{spec.height}",
        "quality": spec.quality,
        "background": "transparent" if spec.transparent else "opaque",
        "usage": to_event_usage(spec, 1),
        **({} if spec.safety_identifier is None else {"safety_identifier": spec.safety_identifier}),
    }
    events: list[Event] = []
    for image, partials in zip(made.images, made.partials, strict=True):
        events += [
            {"type": f"{subject}.partial_image", "b64_json": encode(partial), "partial_image_index": index, **asked}
            for index, partial in enumerate(partials)
        ]
        events.append({"type": f"{subject}.completed", "b64_json": encode(image), **decided})
    return tuple(events)


def to_gateway_events(spec: ImageSpec, made: RenderedImages, urls: Sequence[str], created: int) -> tuple[Event, ...]:
    """Return what a gateway makes of a plain JSON answer: a completed generation for each image, be it an edit."""
    shared = {
        "created_at": created,
        "revised_prompt": to_revised_prompt(spec),
        "usage": to_event_usage(spec, spec.n),
    }
    images: list[Event] = [{"url": url} for url in urls] or [{"b64_json": encode(image)} for image in made.images]
    return tuple({"type": "image_generation.completed", **image, **shared} for image in images)


def to_event_usage(spec: ImageSpec, images: int) -> dict[str, object]:
    # The schema of an event's usage has no details of the output.
    return {name: count for name, count in to_usage(spec, images).items() if name != "output_tokens_details"}


def encode(image: bytes) -> str:
    return base64.b64encode(image).decode()


EVENT_STREAM = "text/event-stream; charset=utf-8"

PING = b": PING\n\n"
DONE = b"data: [DONE]\n\n"


def encode_events(events: Sequence[Event], fault: Fault | None) -> tuple[bytes, ...]:
    """Return what is sent of *events*, piece by piece, up to where *fault* strikes: each event and comment is one."""
    fault = fault or Fault()
    sent = [*events[: fault.after], *([] if fault.error is None else [fault.error])]
    pings = (PING,) * fault.pings
    pieces = [piece for event in sent for piece in (*pings, encode_event(event))]
    return (*pieces, *pings, *((DONE,) if fault.done else ()))


def encode_event(event: Event) -> bytes:
    return f"event: {event.get('type', 'error')}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
