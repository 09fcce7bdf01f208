"""What is asked for through a box; each returns how many images came."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pictures import png

from burncloud_images import AsyncImagesClient, CompletedImage, GenerationRequest

__all__ = ["OPERATIONS", "Operation", "is_of"]

MIB = 1024 * 1024
GPT: Mapping[str, Any] = {"model": "gpt-image-2", "size": "1024x640"}
DALLE: Mapping[str, Any] = {"model": "dall-e-2", "size": "256x256"}
PHOTOGRAPH = png(pad=8 * MIB)
SQUARE = png(256, 256, pad=2 * MIB)

Operation = Callable[[AsyncImagesClient, str], Awaitable[int]]
"""Takes a tag by which the server's ledger knows the request."""


async def generate(client: AsyncImagesClient, tag: str) -> int:
    """Ask for an image in the answer."""
    return len((await client.generate(f"a sea otter {tag}", **GPT)).images)


async def generate_address(client: AsyncImagesClient, tag: str) -> int:
    """Ask for an image at an address, and fetch it."""
    return len((await client.generate(f"a sea otter {tag}", response_format="url", **DALLE)).images)


async def edit(client: AsyncImagesClient, tag: str) -> int:
    """Upload 8 MiB."""
    return len((await client.edit(PHOTOGRAPH, f"a beret {tag}", **GPT)).images)


async def vary(client: AsyncImagesClient, tag: str) -> int:
    """Upload 2 MiB; there is no prompt, so the tag is the user's name."""
    return len((await client.create_variation(SQUARE, user=tag, **DALLE)).images)


async def stream(client: AsyncImagesClient, tag: str) -> int:
    """Watch an image being made."""
    request = GenerationRequest(f"a sea otter {tag}", partial_images=1, **GPT)
    async with client.stream(request) as events:
        return len([event async for event in events if isinstance(event, CompletedImage)])


async def stream_inside(client: AsyncImagesClient, tag: str) -> int:
    """Ask for an image in the answer, by a stream."""
    request = GenerationRequest(f"a sea otter {tag}", **GPT)
    return len((await client.send(request, via_stream=True)).images)


OPERATIONS: Mapping[str, Operation] = {
    "generate": generate,
    "address": generate_address,
    "edit": edit,
    "variation": vary,
    "stream": stream,
    "via_stream": stream_inside,
}


def is_of(fields: tuple[tuple[str, str], ...], tag: str) -> bool:
    """Whether a request that arrived has *tag*, or nothing by which it could be told."""
    texts = [text for name, text in fields if name in {"prompt", "user"}]
    return not texts or any(tag in text for text in texts)
