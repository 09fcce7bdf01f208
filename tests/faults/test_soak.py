"""Ten thousand calls with faults at random: nothing is bought twice, lost or left over."""

from __future__ import annotations

import asyncio
import collections
import gc
import json
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fakes import FakeClock
from faults.report import Report
from faults.stage import SMALL, others
from leaks import open_descriptors, own_threads, resident

from burncloud_images import AsyncImagesClient, RetryPolicy, Timeouts, errors

CALLS = 10_000
WORKERS = 48
SHARES = {
    "429": 0.02,
    "500": 0.02,
    "503": 0.02,
    "504": 0.01,
    "401": 0.01,
    "not-json": 0.01,
    "garbage": 0.01,
    "truncated-without-length": 0.01,
    **{f"{cut}-before-body": 0.01 for cut in ("close", "reset")},
    **{f"{cut}-before-billing": 0.01 for cut in ("close", "reset")},
    **{f"{cut}-after-billing": 0.01 for cut in ("close", "reset")},
    **{f"{cut}-in-answer": 0.01 for cut in ("close", "reset")},
    "stall-after-billing": 0.002,
    "stall-in-answer": 0.002,
}


@asynccontextmanager
async def emulator() -> AsyncIterator[tuple[str, str]]:
    """Serve the API in another process; give its address and key."""
    faults = [word for name, share in SHARES.items() for word in ("--fault", f"{name}:{share}")]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "burncloud_images", "emulator", "-q", *faults), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        lines = [(await process.stdout.readline()).decode().strip().partition("=")[2].strip("'") for _ in range(2)]
        yield lines[0], lines[1]
    finally:
        process.terminate()
        await process.wait()


def fetch_ledger(base_url: str) -> list[dict[str, object]]:
    address = base_url.removesuffix("/v1") + "/emulator/ledger"
    with urllib.request.urlopen(address) as answer:
        return json.load(answer)["requests"]


@pytest.mark.faults
@pytest.mark.timeout(900)
async def test_ten_thousand_calls_with_random_faults(found: Report):
    """The ledger of the server and what the callers were told agree, call by call."""
    told: dict[str, str] = {}
    started = time.monotonic()
    async with emulator() as (base_url, key):
        before, running, threads = len(open_descriptors()), await others(), threading.active_count()
        async with AsyncImagesClient(
            key,
            base_url,
            clock=FakeClock(0.01),
            retry=RetryPolicy(attempts=6, deadline=None),
            timeouts=Timeouts(first_byte=200, idle=100),
        ) as client:
            await call(client, told)
            gc.collect()
            memory = resident()
            left = iter(range(CALLS - 1))
            await asyncio.gather(*(worker(client, told, left) for _ in range(WORKERS)))
            grown = resident() - memory
        await asyncio.sleep(0)
        gc.collect()
        assert len(open_descriptors()) <= before
        assert await others() <= running
        assert not own_threads()
        assert threading.active_count() <= threads + 1  # asyncio's own, for names and the ledger
        entries = await asyncio.to_thread(fetch_ledger, base_url)

    billed = collections.Counter(str(entry["idempotency_key"]) for entry in entries if entry["billed"])
    double = sum(count - 1 for count in billed.values())
    silent = {"ConnectionFailedError", "ServerError", "RateLimitError", "AuthenticationError"}
    lost = [key for key in billed if told[key] in silent]
    outcomes = collections.Counter(told.values())
    found.notes["Soak"] = (
        f"{len(told):,} calls in {time.monotonic() - started:.0f} s with a fault in every "
        f"{1 / sum(SHARES.values()):.0f}th request: {len(entries):,} POSTs, {sum(billed.values()):,} billed, "
        f"{double} double-billed, {len(lost)} lost, {max(0, grown) / CALLS:.0f} bytes of memory a call. Outcomes: "
        f"{', '.join(f'{count:,} {name}' for name, count in outcomes.most_common())}. "
        "Descriptors, tasks and threads were back where they began."
    )

    assert CALLS == len(told)
    assert 0 == double
    assert [] == lost
    assert all(told[key] == "succeeds" or "Unknown" in told[key] or "Protocol" in told[key] for key in billed)
    assert grown < 1024 * CALLS


async def worker(client: AsyncImagesClient, told: dict[str, str], left) -> None:
    for _ in left:
        await call(client, told)


async def call(client: AsyncImagesClient, told: dict[str, str]) -> None:
    try:
        result = await client.generate("a sea otter", **SMALL)
        told[result.idempotency_key] = "succeeds"
    except errors.ImagesError as error:
        told[error.idempotency_key] = type(error).__name__
