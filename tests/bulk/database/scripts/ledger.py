"""
A program that brings the requests of a store to their ends, many at once, and says each step once it is durable.

It opens the store that it is told of, and goes on until it is killed.
"""

import asyncio
import os
import sys
from pathlib import Path

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.records import RequestFailure, StoredImage

WORKERS = 16
FAILURE = RequestFailure(error="E", message="m")


def say(key: str, state: str) -> None:
    os.write(1, f"{key} {state}\n".encode())


async def work(store: JobStore) -> None:
    while True:
        for record in await store.lease(1):
            key = record.key
            say(key, "leased")
            await store.mark_sent(key, reserved=1, at=1.0)
            say(key, "sent")
            await store.mark_received(key, [], about={}, request_id=None)
            say(key, "received")
            image = StoredImage(index=0, path="p", size=1, sha256="0")
            if record.number % 2:
                await store.finish(key, [image], cost=1, about={}, request_id=None, at=2.0)
                say(key, "done")
            else:
                store.add_image(key, image)
                await store.fail(key, FAILURE, may_be_billed=True, request_id=None, at=2.0)
                say(key, "failed")


async def main() -> None:
    store = await JobStore.open(Path(sys.argv[1]))
    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(work(store))


asyncio.run(main())
