"""README's table of who pays how often, measured again: each client in a process of its own, against the ledger."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import re
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from intermediaries import AFTER_THE_WORK

from burncloud_images.emulator import Emulator, Fault

README = Path(__file__).resolve().parents[2] / "README.md"
TIMEOUT = "no answer within the client's timeout (1 s here)"
ANSWERS = {answer.vendor: answer for answer in AFTER_THE_WORK}


def answered(vendor):
    """Return a fault that gives an intermediary's answer after the work, but for the time that it asks for."""
    answer = ANSWERS[vendor]
    headers = {name: value for name, value in answer.headers.items() if name != "retry-after"}
    return Fault(status=answer.status, headers=headers, body=answer.body, billed=True, times=None)


FAULTS = {
    "the connection is closed before an answer": Fault(cut="close", billed=True, times=None),
    "the answer is cut in its middle": Fault(cut="close", place="answer", byte=0.5, times=None),
    "a proxy gives up and answers 504": Fault(status=504, body="<html>", billed=True, times=None),
    TIMEOUT: Fault(cut="stall", billed=True, times=None),
    "Cloudflare gives up and answers 524 in JSON": answered("Cloudflare 524 as JSON"),
    "Varnish gives up and answers 503": answered("Varnish 503, backend fetch failed"),
    "LiteLLM answers 500": answered("LiteLLM 500"),
    "Portkey answers 500": answered("Portkey 500"),
}

ALL = """
import asyncio, json, sys

async def main():
    print(json.dumps(await asyncio.gather(*(call(*server) for server in json.loads(sys.argv[1])))))

asyncio.run(main())
"""
THEIRS = f"""
import openai

async def call(url, key, is_short):
    async with openai.AsyncOpenAI(base_url=url, api_key=key, **({{"timeout": 1}} if is_short else {{}})) as client:
        try:
            await client.images.generate(model="gpt-image-2", prompt="an otter", size="1024x640")
        except openai.APIError as error:
            return type(error).__name__
{ALL}"""
OURS = f"""
from burncloud_images import AsyncImagesClient, Timeouts, errors

async def call(url, key, is_short):
    async with AsyncImagesClient(key, url, timeouts=Timeouts(first_byte=1) if is_short else None) as client:
        try:
            await client.generate("an otter", model="gpt-image-2", size="1024x640")
        except errors.ImagesError as error:
            return type(error).__name__
{ALL}"""


def read_table():
    """Return the version that README names, and its rows: what happens, and the two numbers."""
    text = README.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| (\d) \| (\d) \|$", text, re.MULTILINE)
    return re.search(r"\| openai (\S+) \|", text)[1], {what: (int(theirs), int(ours)) for what, theirs, ours in rows}


async def count(code):
    """Return how many images a client bills in a call that each fault ends with an error, in a process of its own."""
    async with AsyncExitStack() as stack:
        emulators = [await stack.enter_async_context(Emulator(faults=[fault])) for fault in FAULTS.values()]
        servers = [
            (emulator.base_url, emulator.api_key, what == TIMEOUT)
            for what, emulator in zip(FAULTS, emulators, strict=True)
        ]
        command = [sys.executable, "-c", code, json.dumps(servers)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        kinds = json.loads(said)
    return [
        emulator.ledger.billed_images if kind and kind.endswith("Error") else kind
        for emulator, kind in zip(emulators, kinds, strict=True)
    ]


def test_table_names_every_fault():
    """The table has a row for each fault that is played."""
    assert list(FAULTS) == list(read_table()[1])


async def test_ours_are_billed_as_often_as_the_table_says():
    """This client is billed as often as the table says."""
    _, table = read_table()
    numbers = await count(OURS)

    assert [ours for _, ours in table.values()] == numbers


async def test_theirs_are_billed_as_often_as_the_table_says():
    """The other client is billed as often as the table says for the version that it names."""
    version, table = read_table()
    try:
        installed = importlib.metadata.version("openai")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("openai is not installed")
    if installed != version:
        pytest.skip(f"the table is about openai {version}, not {installed}")
    numbers = await count(THEIRS)

    assert [theirs for theirs, _ in table.values()] == numbers
