"""
The emulator in a process of its own, whose ledger outlives whatever is killed.

`python -m crash.server none|replay|tasks` prints its address; with a file of a key and certificate besides, it serves
TLS. A line on stdin asks for what has arrived since the last one, and may say what is to go wrong from now on.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from typing import Any

from burncloud_images.emulator import Emulator, Fault
from burncloud_images.emulator.handler import RequestHandler

QUIET = 0.01
TASK_WAIT = 0.2
"""Seconds of the jobs' clock, which is fast."""


class Doors:
    """Counts the requests that are being served."""

    def __init__(self) -> None:
        self.inside = 0
        serve = RequestHandler.run

        async def counted(handler: RequestHandler) -> Any:
            self.inside += 1
            try:
                return await serve(handler)
            finally:
                self.inside -= 1

        RequestHandler.run = counted  # type: ignore[method-assign]

    async def empty(self) -> None:
        """Wait until nothing is served, nor about to be."""
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(QUIET)
            quiet = 0 if self.inside else quiet + 1


def take(emulator: Emulator) -> dict[str, Any]:
    """Return what has arrived, and forget it."""
    ledger = emulator.ledger
    emulator.ledger_writer.entries.clear()
    emulator.ledger_writer.downloads.clear()
    emulator.ledger_writer.polls.clear()
    return {
        "requests": [
            {
                "key": entry.idempotency_key,
                "billed": entry.billed,
                "images": entry.images,
                "complete": entry.complete,
                "task": entry.task,
            }
            for entry in ledger.requests
        ],
        "downloads": [download.sent for download in ledger.downloads],
        "polls": [poll.task for poll in ledger.polls],
    }


async def main(kind: Any, chain: str = "") -> None:
    """Serve until stdin ends."""
    doors = Doors()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if chain:
        context.load_cert_chain(chain)
    tasks = kind == "tasks"
    tls = context if chain else False
    async with Emulator(idempotency="none" if tasks else kind, tls=tls, tasks=tasks, task_wait=TASK_WAIT) as emulator:
        say({"base_url": emulator.base_url, "api_key": emulator.api_key})
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            await doors.empty()
            say(take(emulator))
            faults = [Fault(**fault) for fault in json.loads(line).get("faults", ())]
            emulator.fault_plan.faults, emulator.fault_plan.left = tuple(faults), [fault.times for fault in faults]
        emulator.fault_plan.left = []


def say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
