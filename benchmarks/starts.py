"""Programs that only begin: what is paid before the first image."""

from __future__ import annotations

__all__ = ["STARTS"]

IMPORTS = {
    "ours": "import burncloud_images",
    "openai": "import openai",
    "handwritten": "import aiohttp",
    "python": "pass",
}

FIRST_ANSWERS = {
    "ours": """
import asyncio, sys
from burncloud_images import AsyncImagesClient

async def main():
    async with AsyncImagesClient("sk-benchmark", sys.argv[1], model="gpt-image-2") as client:
        assert (await client.generate("a sea otter")).image.data

asyncio.run(main())
""",
    "openai": """
import asyncio, base64, sys
from openai import AsyncOpenAI

async def main():
    async with AsyncOpenAI(api_key="sk-benchmark", base_url=sys.argv[1]) as client:
        answer = await client.images.generate(model="gpt-image-2", prompt="a sea otter")
        assert base64.b64decode(answer.data[0].b64_json)

asyncio.run(main())
""",
    "handwritten": """
import asyncio, base64, json, sys
import aiohttp

async def main():
    body = {"model": "gpt-image-2", "prompt": "a sea otter"}
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer sk-benchmark"}) as session:
        async with session.post(sys.argv[1] + "/images/generations", json=body) as response:
            answer = json.loads(await response.read())
    assert base64.b64decode(answer["data"][0]["b64_json"])

asyncio.run(main())
""",
    "python": "pass",
}

STARTS = {"import": IMPORTS, "first-answer": FIRST_ANSWERS}
"""By job and contender; each is given the base URL of small answers."""
