"""
One call of the official openai client with its own settings and waits; prints how it ended.

A program and not a test: its waits are real. Arguments: base URL, key, headers as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

import openai


async def main(base_url: str, key: str, headers: str) -> None:
    """Ask for one image."""
    async with openai.AsyncOpenAI(api_key=key, base_url=base_url, default_headers=json.loads(headers)) as client:
        try:
            await client.images.generate(prompt="a sea otter", model="gpt-image-2", size="1024x1024")
            sys.stdout.write("succeeds")
        except openai.OpenAIError as error:
            sys.stdout.write(type(error).__name__)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
