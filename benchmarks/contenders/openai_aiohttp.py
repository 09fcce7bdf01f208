"""openai-python on aiohttp (its extra `aiohttp`), given open files: the best it has for uploads."""

from __future__ import annotations

from contextlib import ExitStack

import openai

from benchmarks.contenders.openai_httpx import MODEL, PROMPT, OpenAI
from benchmarks.process import Take, run
from benchmarks.work import Task


class OpenAIOnAiohttp(OpenAI):
    """Open files are read as they are sent; paths would be read whole."""

    def __init__(self, task: Task, take: Take) -> None:
        super().__init__(task, take, {"http_client": openai.DefaultAioHttpClient()})

    async def upload(self, number: int) -> None:
        """Give open files."""
        del number
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in self.inputs]
            answer = await self.client.images.edit(model=MODEL, prompt=PROMPT, image=files)
        self.take_first(answer)


if __name__ == "__main__":
    run(OpenAIOnAiohttp)
