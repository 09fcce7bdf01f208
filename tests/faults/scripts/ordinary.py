"""A program that does a little of everything, in the loop that the environment names; run by the cases."""

import asyncio
import os
import struct
import sys
import tempfile
import zlib
from pathlib import Path

from burncloud_images import AsyncImagesClient, Directory, EditRequest, GenerationRequest, RetryPolicy

SMALL = {"model": "gpt-image-2", "size": "1024x640"}


def picture() -> bytes:
    """Return a PNG of 4 MiB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\x40\x80\xc0" * 16) * 16)
    header = struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"paDd", os.urandom(4 << 20)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


async def main() -> None:
    asyncio.get_running_loop().slow_callback_duration = 60  # the first call imports aiohttp
    async with AsyncImagesClient(base_url=sys.argv[1], retry=RetryPolicy(first_wait=0.02)) as client:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "photo.png")
            path.write_bytes(picture())
            await client.generate("an otter", **SMALL)
            await client.send(EditRequest(path, "a beret", **SMALL), into=Directory(folder, durable=True))
            async with client.stream(GenerationRequest("an otter", partial_images=1, **SMALL)) as events:
                assert [True async for _ in events] == [True, True]


def run() -> None:
    factory = None
    if os.environ.get("BURNCLOUD_LOOP") == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


run()
