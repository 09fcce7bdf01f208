"""A program that sends four requests at once and says how many images came; run by a test."""

import asyncio
import sys

from fakes import FakeClock

from burncloud_images import AsyncImagesClient, GenerationRequest, RetryPolicy, Timeouts

ONE_SECOND = Timeouts(connect=20, send_stall=20, first_byte=20, idle=20, download_first_byte=20, download_idle=20)


async def main(key: str, base_url: str, way: str) -> None:
    request = GenerationRequest("an otter", model="gpt-image-2", size="1024x640")
    asyncio.get_running_loop().slow_callback_duration = 60  # the process is to be stopped for longer
    async with AsyncImagesClient(
        key, base_url, clock=FakeClock(0.05), timeouts=ONE_SECOND, retry=RetryPolicy(attempts=1)
    ) as client:
        calls = [client.send(request, via_stream=way == "stream") for _ in range(4)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    print(*(type(result).__name__ for result in results))


asyncio.run(main(*sys.argv[1:]))
