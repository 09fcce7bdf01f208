"""This package."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from benchmarks.process import Take, run
from benchmarks.work import Task
from burncloud_images import AsyncImagesClient, Directory, EditRequest, GenerationRequest

PROMPT = "a sea otter"


class Ours:
    """With its defaults, but for as many connections as the work wants."""

    def __init__(self, task: Task, take: Take) -> None:
        self.task = task
        self.take = take
        self.client = AsyncImagesClient(
            "sk-benchmark", task.base_url, model="gpt-image-2", max_connections=max(100, task.work.at_once)
        )
        work = task.work
        self.files = Directory(Path(task.folder), hash=work.thorough, durable=work.thorough)
        if work.overwrite:
            self.files = Directory(Path(task.folder), name="{index}", exists="overwrite")
        self.inputs = sorted(Path(task.inputs, work.answer).glob("*.png"))

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the connections."""
        await self.client.aclose()

    def request(self) -> GenerationRequest:
        """Return the request whose answer the server has ready."""
        return GenerationRequest(PROMPT, n=self.task.work.images)

    async def to_files(self, number: int) -> None:
        """Write the images as they arrive."""
        del number
        await self.client.send(self.request(), into=self.files)

    async def to_memory(self, number: int) -> None:
        """Have the images in memory."""
        del number
        for image in (await self.client.send(self.request())).images:
            self.take(image.data)

    async def stream(self, number: int) -> None:
        """Take each image as its event comes."""
        del number
        request = GenerationRequest(PROMPT, partial_images=self.task.work.images - 1)
        async with self.client.stream(request) as events:
            async for event in events:
                self.take(event.data)
                del event  # or its image would be held while the next one comes

    async def upload(self, number: int) -> None:
        """Send files by path."""
        del number
        self.take((await self.client.send(EditRequest(self.inputs, PROMPT))).image.data)

    async def download(self, number: int) -> None:
        """Let the client fetch what came as URLs."""
        del number
        await self.client.send(self.request(), into=self.files)

    async def small(self, number: int) -> None:
        """Have one image."""
        del number
        self.take((await self.client.generate(PROMPT)).image.data)


if __name__ == "__main__":
    run(Ours)
