"""A program that uses its client once more when the interpreter ends; run by the cases."""

import asyncio
import atexit
import sys

from burncloud_images import AsyncImagesClient, errors

client = AsyncImagesClient(base_url=sys.argv[1])


async def call() -> None:
    asyncio.get_running_loop().slow_callback_duration = 60  # the first call imports aiohttp
    result = await client.generate("an otter", model="gpt-image-2", size="1024x640")
    assert result.image.data


async def main() -> None:
    async with client:
        await call()


def once_more() -> None:
    try:
        asyncio.run(call())
    except errors.ClientClosedError:
        print("typed")


atexit.register(once_more)
asyncio.run(main())
