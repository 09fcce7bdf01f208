"""
One image for each line of a file, a few at a time, into a folder.

It reads BURNCLOUD_API_KEY, BURNCLOUD_API_BASE_URL and BURNCLOUD_MODEL. To spend nothing, run

    burncloud-images emulator --port 8000

in another terminal and set

    BURNCLOUD_API_BASE_URL=http://127.0.0.1:8000/v1 BURNCLOUD_API_KEY=sk-emulator

Usage: python examples/many_images.py PROMPTS.txt FOLDER
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from burncloud_images import AsyncImagesClient, Directory, GenerationRequest, ImagesResult, SavedImage, errors

AT_ONCE = 8
POINTLESS = (errors.AuthenticationError, errors.PermissionDeniedError, errors.QuotaExceededError)
"""After one of these every further request would fail as well."""

Outcome = ImagesResult[SavedImage] | errors.ImagesError | None


async def make_all(client: AsyncImagesClient, requests: Iterable[GenerationRequest], into: Directory) -> list[Outcome]:
    """Return a result, an error or None (not started) for each request, in their order."""
    places = asyncio.Semaphore(AT_ONCE)
    pointless = asyncio.Event()

    async def make(request: GenerationRequest) -> Outcome:
        async with places:
            if pointless.is_set():
                return None
            try:
                return await client.send(request, into=into)
            except errors.ImagesError as error:
                if isinstance(error, POINTLESS):
                    pointless.set()
                return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(make(request)) for request in requests]
    return [task.result() for task in tasks]


def report(prompts: Sequence[str], outcomes: Sequence[Outcome]) -> int:
    """Print paths to stdout and failures to stderr; return the exit code."""
    failed = 0
    for prompt, outcome in zip(prompts, outcomes, strict=True):
        if isinstance(outcome, ImagesResult):
            for image in outcome.images:
                print(image.path)
        else:
            failed += 1
            print(f"{prompt}: {outcome or 'not started'}", file=sys.stderr)
    return min(failed, 1)


async def main(file: Path, folder: Path) -> int:
    """Make the images of *file*."""
    prompts = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    into = Directory(folder, name="{slug}-{id}.{ext}")
    async with AsyncImagesClient() as client:
        outcomes = await make_all(client, (GenerationRequest(prompt, size="1024x1024") for prompt in prompts), into)
    return report(prompts, outcomes)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]))))
