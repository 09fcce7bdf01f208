"""
A pipeline: each prompt is painted, the picture is framed, and the result is saved, several at a time and in order.

It reads BURNCLOUD_API_KEY, BURNCLOUD_API_BASE_URL and BURNCLOUD_MODEL. To spend nothing, run

    burncloud-images emulator --port 8000

in another terminal and set

    BURNCLOUD_API_BASE_URL=http://127.0.0.1:8000/v1 BURNCLOUD_API_KEY=sk-emulator

Usage: python examples/pipeline.py FOLDER PROMPT...
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

from burncloud_images import AsyncImagesClient, Image, errors

T = TypeVar("T")
R = TypeVar("R")


async def ahead(
    work: Callable[[T], Awaitable[R]], items: AsyncIterable[T], *, width: int = 4
) -> AsyncGenerator[R, None]:
    """
    Yield what *work* makes of each item, in order; up to *width* of them are in the making.

    A new item is taken only when there is room, so a slow stage slows the ones before it.
    """

    async def run(item: T) -> R:
        return await work(item)

    running: deque[asyncio.Task[R]] = deque()
    try:
        async for item in items:
            running.append(asyncio.create_task(run(item)))
            if len(running) >= width:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:  # left early: what runs is paid for, so it may finish
        await asyncio.gather(*running, return_exceptions=True)


async def each(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield items as an async iterator."""
    for item in items:
        yield item


async def main(folder: Path, prompts: Iterable[str]) -> None:
    """Paint, frame and save."""
    folder.mkdir(parents=True, exist_ok=True)
    async with AsyncImagesClient() as client:

        async def paint(prompt: str) -> Image:
            return (await client.generate(prompt, size="1024x1024")).image

        async def frame(picture: Image) -> Image:
            return (await client.edit(picture.data, "hang it in a gilded frame", size="1024x1024")).image

        number = 0
        async with aclosing(ahead(frame, ahead(paint, each(prompts)))) as pictures:
            async for picture in pictures:
                number += 1
                print(await picture.save(folder / f"{number:03}.png", overwrite=True))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
    except errors.ImagesError as error:
        sys.exit(str(error))
