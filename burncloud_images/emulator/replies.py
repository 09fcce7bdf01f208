"""The JSON of a good answer, token counts included."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence

from burncloud_images.emulator.orders import Order


def to_reply(order: Order, images: Sequence[bytes], urls: Sequence[str], created: int) -> bytes:
    """
    Return the body of the answer.

    Args:
        order: What was asked for.
        images: What was made.
        urls: Where it can be fetched, if the answer carries URLs.
        created: Seconds since 1970.
    """
    shared = {"revised_prompt": to_revised_prompt(order)} if order.revised else {}
    data = [{"url": url, **shared} for url in urls] or [
        {"b64_json": base64.b64encode(image).decode(), **shared} for image in images
    ]
    return json.dumps({"created": created, "data": data, **dict(details(order))}, ensure_ascii=False).encode()


def to_revised_prompt(order: Order) -> str:
    """Return the prompt that was really used."""
    return f"{order.prompt}, seen in {order.style or 'vivid'} light"


def details(order: Order) -> Iterator[tuple[str, object]]:
    if order.safety_identifier is not None:
        yield "safety_identifier", order.safety_identifier
    if not order.counts_tokens:
        return
    yield "background", "transparent" if order.transparent else "opaque"
    yield "output_format", order.output_format
    yield "quality", order.quality
    yield "size", f"{order.width}x{order.height}"
    yield "usage", to_usage(order, order.n)
    if order.output_format == "svg":
        yield "svg_usage", to_svg_usage(order)


IMAGE_TOKENS: Mapping[str, int] = {"low": 272, "medium": 1056, "high": 4160, "xhigh": 8320, "max": 16640}
"""Output tokens for 1024x1024; the first three as published for gpt-image-1, the rest doubled."""


PARTIAL_TOKENS = 100
"""Output tokens for each early state that is shown, as OpenAI's guide to image generation says."""


def to_usage(order: Order, images: int) -> dict[str, object]:
    """
    Return what a GPT image model counts.

    Args:
        order: Four characters of its prompt make a text token, and its uploads, the mask included, image tokens.
        images: Number of images made, each with its early states.
    """
    text = max(1, -(-len(order.prompt.encode()) // 4))
    seen = 323 * (len(order.images) + sum(upload is not None for upload in (order.mask, order.markup)))
    each = round(IMAGE_TOKENS[order.quality] * order.width * order.height / 1024**2)
    made = images * (each + order.partials * PARTIAL_TOKENS)
    return {
        "total_tokens": text + seen + made,
        "input_tokens": text + seen,
        "output_tokens": made,
        "input_tokens_details": {"text_tokens": text, "image_tokens": seen},
        "output_tokens_details": {"text_tokens": 0, "image_tokens": made},
    }


def to_svg_usage(order: Order) -> dict[str, object]:
    seen, made = len(order.prompt), 640
    return {
        "model": order.svg_model or order.model,
        "input_tokens": seen,
        "output_tokens": made,
        "reasoning_tokens": 0,
        "total_tokens": seen + made,
    }
