"""Two hundred calls at once with few descriptors, and what came of them as JSON; run by the cases."""

import asyncio
import collections
import json
import os
import resource
import sys

from burncloud_images import AsyncImagesClient, RetryPolicy
from burncloud_images.results import Attempt

failures: list[str] = []


def note(attempt: Attempt) -> None:
    failures.extend(filter(None, [attempt.failure]))


async def main() -> None:
    asyncio.get_running_loop().slow_callback_duration = 60  # the first call imports aiohttp
    outcomes: collections.Counter[str] = collections.Counter()
    policy = RetryPolicy(first_wait=0.02, max_wait=0.1)
    async with AsyncImagesClient(base_url=sys.argv[1], retry=policy, max_connections=500, on_attempt=note) as client:

        async def call() -> None:
            try:
                await client.generate("an otter", model="gpt-image-2", size="1024x640")
                outcomes["succeeds"] += 1
            except Exception as error:  # noqa: BLE001 (an outcome, whatever it is)
                outcomes[type(error).__name__] += 1

        await asyncio.gather(*(call() for _ in range(200)))
    print(json.dumps({"outcomes": outcomes, "exhausted": "ConnectionFailedError" in failures}))


limit = int(os.environ["BURNCLOUD_DESCRIPTORS"])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
asyncio.run(main())
