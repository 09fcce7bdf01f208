"""What one would write with aiohttp in an afternoon, and write well: no retries, no checks, no wasted copies."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import aiohttp

from benchmarks.process import Take, run
from benchmarks.work import Task

MODEL = "gpt-image-2"
PROMPT = "a sea otter"
DOWNLOADS = 8
KEY = {"Authorization": "Bearer sk-benchmark"}
CHUNK = 256 * 1024


class Handwritten:
    """One session, and the answer's JSON as it comes."""

    def __init__(self, task: Task, take: Take) -> None:
        self.task = task
        self.take = take
        self.numbers = itertools.count()
        self.inputs = sorted(Path(task.inputs, task.work.answer).glob("*.png"))

    async def __aenter__(self) -> Self:
        """Open the session."""
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=max(100, self.task.work.at_once)))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the session."""
        await self.session.close()

    def path(self) -> Path:
        return Path(self.task.folder, f"{next(self.numbers)}.png")

    async def generate(self) -> list[dict[str, str]]:
        """Return the answer's image objects."""
        body = {"model": MODEL, "prompt": PROMPT, "n": self.task.work.images}
        async with self.session.post(f"{self.task.base_url}/images/generations", json=body, headers=KEY) as response:
            return images_of(await response.read())

    async def to_files(self, number: int) -> None:
        """Decode and write one image after the other."""
        del number
        for image in await self.generate():
            self.path().write_bytes(base64.b64decode(image["b64_json"]))

    async def to_memory(self, number: int) -> None:
        """Decode one image after the other."""
        del number
        for image in await self.generate():
            self.take(base64.b64decode(image["b64_json"]))

    async def stream(self, number: int) -> None:
        """Decode each event's image."""
        del number
        body = {"model": MODEL, "prompt": PROMPT, "stream": True, "partial_images": self.task.work.images - 1}
        async with self.session.post(f"{self.task.base_url}/images/generations", json=body, headers=KEY) as response:
            response.raise_for_status()
            async for event in events_of(response.content.iter_any()):
                self.take(base64.b64decode(event["b64_json"]))

    async def upload(self, number: int) -> None:
        """Send a form of open files."""
        del number
        with ExitStack() as stack:
            form = aiohttp.FormData({"model": MODEL, "prompt": PROMPT})
            for path in self.inputs:
                file = stack.enter_context(path.open("rb"))
                form.add_field("image[]", file, filename=path.name, content_type="image/png")
            async with self.session.post(f"{self.task.base_url}/images/edits", data=form, headers=KEY) as response:
                (image,) = images_of(await response.read())
        self.take(base64.b64decode(image["b64_json"]))

    async def download(self, number: int) -> None:
        """Fetch each URL, a chunk at a time."""
        del number
        places = asyncio.Semaphore(DOWNLOADS)

        async def fetch(url: str) -> None:
            async with places, self.session.get(url) as response:
                response.raise_for_status()
                with self.path().open("wb") as file:
                    async for chunk in response.content.iter_chunked(CHUNK):
                        file.write(chunk)

        async with asyncio.TaskGroup() as group:
            for image in await self.generate():
                group.create_task(fetch(image["url"]))

    async def small(self, number: int) -> None:
        """Decode one image."""
        del number
        body = {"model": MODEL, "prompt": PROMPT}
        async with self.session.post(f"{self.task.base_url}/images/generations", json=body, headers=KEY) as response:
            (image,) = images_of(await response.read())
        self.take(base64.b64decode(image["b64_json"]))


def images_of(body: bytes) -> list[dict[str, str]]:
    images: list[dict[str, str]] = json.loads(body)["data"]
    return images


async def events_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """Yield each event's JSON; aiohttp's own lines end at 64 KiB."""
    buffer = bytearray()
    async for chunk in chunks:
        start = max(0, len(buffer) - 1)
        buffer += chunk
        while (end := buffer.find(b"\n\n", start)) >= 0:
            event = bytes(buffer[:end])
            del buffer[: end + 2]
            start = 0
            for line in event.split(b"\n"):
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])


if __name__ == "__main__":
    run(Handwritten)
