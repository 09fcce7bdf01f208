"""
The same faults for the official openai client, with its own settings and waits; prints JSON.

A program and not a test: its waits are real, so all cases play at the same time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import warnings

import openai
from faults.cases import TABLE
from faults.stage import BIG, CANARY
from faults.table import Rival

AT_ONCE = 12


async def play(rival: Rival) -> dict[str, object]:
    """Return what one fault comes to."""
    async with rival.setting(True) as world, openai.AsyncOpenAI(api_key=CANARY, base_url=world.base_url) as client:
        try:
            if rival.upload:
                image = ("photo.png", BIG, "image/png")
                await client.images.edit(image=image, prompt="a beret", model="gpt-image-2", size="1024x1024")
            else:
                await client.images.generate(prompt="a sea otter", model="gpt-image-2", size="1024x1024")
            seen = "succeeds"
        except Exception as error:  # noqa: BLE001 (an outcome, whatever it is)
            seen = type(error).__name__
        posts, billed = world.count()
    return {"posts": posts, "billed": billed, "seen": seen}


async def main() -> None:
    """Play all cases that concern another client as well."""
    places = asyncio.Semaphore(AT_ONCE)

    async def placed(rival: Rival) -> dict[str, object]:
        async with places:
            return await play(rival)

    rivals = {case.id: case.rival for case in TABLE.values() if case.rival is not None}
    outcomes = await asyncio.gather(*(placed(rival) for rival in rivals.values()))
    json.dump(dict(zip(rivals, outcomes, strict=True)), sys.stdout)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main())
