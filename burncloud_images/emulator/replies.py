"""The JSON of a good answer, token counts included."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence

from burncloud_images.emulator.orders import Order

__all__ = ["to_reply", "to_usage"]


def to_reply(order: Order, images: Sequence[bytes], urls: Sequence[str], created: int) -> bytes:
    """
    Return the body of the answer.

    Args:
        order: What was asked for.
        images: What was made.
        urls: Where it can be fetched, if the answer carries URLs.
        created: Seconds since 1970.
    """
    shared = {"revised_prompt": f"{order.prompt}, seen in {order.style or 'vivid'} light"} if order.revised else {}
    data = [{"url": url, **shared} for url in urls] or [
        {"b64_json": base64.b64encode(image).decode(), **shared} for image in images
    ]
    return json.dumps({"created": created, "data": data, **dict(details(order))}, ensure_ascii=False).encode()


def details(order: Order) -> Iterator[tuple[str, object]]:
    if order.safety_identifier is not None:
        yield "safety_identifier", order.safety_identifier
    if not order.counts_tokens:
        return
    yield "background", "transparent" if order.transparent else "opaque"
    yield "output_format", order.output_format
    yield "quality", order.quality
    yield "size", f"{order.width}x{order.height}"
    inputs = len(order.images) + sum(upload is not None for upload in (order.mask, order.markup))
    yield "usage", to_usage(order.prompt, inputs, order.quality, order.width * order.height, order.n)
    if order.output_format == "svg":
        yield "svg_usage", to_svg_usage(order)


IMAGE_TOKENS: Mapping[str, int] = {"low": 272, "medium": 1056, "high": 4160, "xhigh": 8320, "max": 16640}
"""Output tokens for 1024x1024; the first three as published for gpt-image-1, the rest doubled."""


def to_usage(prompt: str, inputs: int, quality: str, pixels: int, images: int) -> dict[str, object]:
    """
    Return what a GPT image model counts.

    Args:
        prompt: Its characters make text tokens, four to one.
        inputs: Number of images uploaded, the mask included.
        quality: As made.
        pixels: Of each image made.
        images: Number of images made.
    """
    text = max(1, -(-len(prompt.encode()) // 4))
    seen = inputs * 323
    made = images * round(IMAGE_TOKENS[quality] * pixels / 1024**2)
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
