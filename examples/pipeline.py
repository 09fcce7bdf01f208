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
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from pathlib import Path

from burncloud_images import AsyncImagesClient, Done, EditRequest, Failed, GenerationRequest, Image, errors

Painted = Done[GenerationRequest, Image] | Failed[GenerationRequest, errors.ImagesError]

AT_ONCE = 4


def paintings(prompts: Iterable[str]) -> Iterator[GenerationRequest]:
    """Yield what the first stage does."""
    for prompt in prompts:
        yield GenerationRequest(prompt, size="1024x1024")


async def frames(pictures: AsyncIterable[Painted]) -> AsyncIterator[EditRequest]:
    """Yield what the second stage does with what came of the first."""
    async for picture in pictures:
        match picture:
            case Done(result=result):
                yield EditRequest(result.image.data, "hang it in a gilded frame", size="1024x1024")
            case Failed(error=error):
                raise error


async def main(folder: Path, prompts: Iterable[str]) -> None:
    """Paint, frame and save."""
    folder.mkdir(parents=True, exist_ok=True)
    async with AsyncImagesClient() as client:
        painted = client.map(paintings(prompts), concurrency=AT_ONCE, ordered=True)
        framed = client.map(frames(painted), concurrency=AT_ONCE, ordered=True)
        async with painted, framed:
            async for picture in framed:
                match picture:
                    case Done(index=index, result=result):
                        print(await result.image.save(folder / f"{index + 1:03}.png", overwrite=True))
                    case Failed(error=error):
                        raise error


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
    except errors.ImagesError as error:
        sys.exit(str(error))
