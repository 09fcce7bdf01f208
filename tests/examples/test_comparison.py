"""README's table of who pays how often, measured again: each client in a process of its own, against the ledger."""

from __future__ import annotations

import asyncio
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

from burncloud_images.emulator import Emulator, Fault

README = Path(__file__).resolve().parents[2] / "README.md"
TIMEOUT = "no answer within the client's timeout (1 s here)"
FAULTS = {
    "the connection is closed before an answer": Fault(cut="close", billed=True, times=None),
    "the answer is cut in its middle": Fault(cut="close", place="answer", byte=0.5, times=None),
    "a proxy gives up and answers 504": Fault(status=504, body="<html>", billed=True, times=None),
    TIMEOUT: Fault(cut="stall", billed=True, times=None),
}

THEIRS = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], **({"timeout": 1} if sys.argv[3:] else {}))
try:
    client.images.generate(model="gpt-image-2", prompt="an otter", size="512x512")
except openai.APIError as error:
    print(type(error).__name__)
"""
OURS = """
import asyncio, sys
from burncloud_images import AsyncImagesClient, Timeouts, errors

async def main():
    timeouts = Timeouts(first_byte=1) if sys.argv[3:] else None
    async with AsyncImagesClient(sys.argv[2], sys.argv[1], timeouts=timeouts) as client:
        try:
            await client.generate("an otter", model="gpt-image-2", size="512x512")
        except errors.ImagesError as error:
            print(type(error).__name__)

asyncio.run(main())
"""


def read_table():
    """Return the version that README names, and its rows: what happens, and the two numbers."""
    text = README.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| (\d) \| (\d) \|$", text, re.MULTILINE)
    return re.search(r"\| openai (\S+) \|", text)[1], {what: (int(theirs), int(ours)) for what, theirs, ours in rows}


async def count(code, what):
    """Return how many images a client bills in one call that ends with an error."""
    async with Emulator(faults=[FAULTS[what]]) as emulator:
        command = [sys.executable, "-c", code, emulator.base_url, emulator.api_key, *(["t"] if what == TIMEOUT else [])]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        return emulator.ledger.billed_images if said.strip().endswith(b"Error") else said


def test_table_names_every_fault():
    """The table and the faults are about the same."""
    assert list(FAULTS) == list(read_table()[1])


async def test_ours_are_billed_as_often_as_the_table_says():
    """One call, one bill, whatever happens."""
    _, table = read_table()
    numbers = await asyncio.gather(*(count(OURS, what) for what in FAULTS))

    assert [ours for _, ours in table.values()] == numbers


async def test_theirs_are_billed_as_often_as_the_table_says():
    """The other client's numbers are those of the version that is named."""
    version, table = read_table()
    try:
        installed = importlib.metadata.version("openai")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("openai is not installed")
    if installed != version:
        pytest.skip(f"the table is about openai {version}, not {installed}")
    numbers = await asyncio.gather(*(count(THEIRS, what) for what in FAULTS))

    assert [theirs for theirs, _ in table.values()] == numbers
