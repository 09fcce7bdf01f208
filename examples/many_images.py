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
from collections.abc import Iterator
from pathlib import Path

from burncloud_images import AsyncImagesClient, Directory, Done, Failed, GenerationRequest, errors

AT_ONCE = 8
POINTLESS = (errors.AuthenticationError, errors.PermissionDeniedError, errors.QuotaExceededError)
"""After one of these every further request would fail as well."""


def read(file: Path) -> Iterator[GenerationRequest]:
    """Yield a request for each line that says something; a line is read when there is room for its request."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if prompt := line.strip():
                yield GenerationRequest(prompt, size="1024x1024")


async def main(file: Path, folder: Path) -> int:
    """Make the images of *file*: paths go to stdout and failures to stderr; return the exit code."""
    failed = 0
    into = Directory(folder, name="{slug}-{id}.{ext}")
    async with AsyncImagesClient() as client, client.map(read(file), into=into, concurrency=AT_ONCE) as outcomes:
        async for outcome in outcomes:
            match outcome:
                case Done(result=result):
                    print(*[image.path for image in result.images], sep="\n")
                case Failed(request=request, error=error):
                    failed += 1
                    print(f"{request.prompt}: {error}", file=sys.stderr)
                    if isinstance(error, POINTLESS):
                        print("The others were not started.", file=sys.stderr)
                        break  # what is on its way is paid for: the block waits for it
    return min(failed, 1)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]))))
