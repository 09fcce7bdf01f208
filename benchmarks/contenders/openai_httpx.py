"""openai-python as it comes, on its httpx; with what its user has to add to get bytes and files."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO, Any, Self

import openai
from openai import AsyncOpenAI
from openai.types import ImagesResponse

from benchmarks.process import Take, run
from benchmarks.work import Task

__all__ = ["MODEL", "PROMPT", "OpenAI"]

PROMPT = "a sea otter"
MODEL = "gpt-image-2"
DOWNLOADS = 8


class OpenAI:
    """Images come as base64 text and as URLs; both are left to the caller."""

    def __init__(self, task: Task, take: Take, options: Mapping[str, Any] | None = None) -> None:
        self.task = task
        self.take = take
        self.options = options or {}
        self.stack = AsyncExitStack()
        self.numbers = itertools.count()
        self.inputs = sorted(Path(task.inputs, task.work.answer).glob("*.png"))

    async def __aenter__(self) -> Self:
        """Open the clients."""
        self.client = AsyncOpenAI(api_key="sk-benchmark", base_url=self.task.base_url, **self.options)
        await self.stack.enter_async_context(self.client)
        self.http = await self.stack.enter_async_context(openai.DefaultAsyncHttpxClient())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the clients."""
        await self.stack.aclose()

    def path(self) -> Path:
        return Path(self.task.folder, f"{next(self.numbers)}.png")

    async def generate(self) -> ImagesResponse:
        return await self.client.images.generate(model=MODEL, prompt=PROMPT, n=self.task.work.images)

    def take_first(self, answer: ImagesResponse) -> None:
        self.take(base64.b64decode((answer.data or [])[0].b64_json or ""))

    async def to_files(self, number: int) -> None:
        """Decode and write one image after the other."""
        del number
        for image in (await self.generate()).data or ():
            self.path().write_bytes(base64.b64decode(image.b64_json or ""))

    async def to_memory(self, number: int) -> None:
        """Decode one image after the other."""
        del number
        for image in (await self.generate()).data or ():
            self.take(base64.b64decode(image.b64_json or ""))

    async def stream(self, number: int) -> None:
        """Decode each event's image."""
        del number
        events = await self.client.images.generate(
            model=MODEL, prompt=PROMPT, stream=True, partial_images=self.task.work.images - 1
        )
        async for event in events:
            self.take(base64.b64decode(event.b64_json))

    async def upload(self, number: int) -> None:
        """Give paths."""
        del number
        answer = await self.client.images.edit(model=MODEL, prompt=PROMPT, image=self.inputs)
        self.take_first(answer)

    async def download(self, number: int) -> None:
        """Fetch each URL with the HTTP client that comes with it."""
        del number
        places = asyncio.Semaphore(DOWNLOADS)

        async def fetch(url: str) -> None:
            async with places, self.http.stream("GET", url) as response:
                response.raise_for_status()
                with self.path().open("wb") as file:
                    await copy(response.aiter_bytes(), file)

        async with asyncio.TaskGroup() as group:
            for image in (await self.generate()).data or ():
                group.create_task(fetch(image.url or ""))

    async def small(self, number: int) -> None:
        """Decode one image."""
        del number
        answer = await self.client.images.generate(model=MODEL, prompt=PROMPT)
        self.take_first(answer)


async def copy(chunks: AsyncIterator[bytes], file: IO[bytes]) -> None:
    async for chunk in chunks:
        file.write(chunk)


if __name__ == "__main__":
    run(OpenAI)
