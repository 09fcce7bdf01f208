"""A process that is killed at any moment has not said anything that is not so."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from pathlib import Path

import pytest
from stored import listed, row

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.records import RequestState

PROGRAM = Path(__file__).parent / "scripts" / "ledger.py"
ORDER = [
    RequestState.PENDING,
    RequestState.LEASED,
    RequestState.SENT,
    RequestState.RECEIVED,
    RequestState.FAILED,
    RequestState.DONE,
]
STEPS = {state: place for place, state in enumerate(ORDER)}
WORKERS = 16


async def run_until(path: Path, lines: int) -> dict[str, RequestState]:
    """Run the program until it has said so many things, kill it, and return the last it said of each request."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), str(path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said: dict[str, RequestState] = {}
    for number in itertools.count(1):
        words = (await process.stdout.readline()).decode().split()
        if not words:  # it was killed, and this is all that it said before
            break
        said[words[0]] = RequestState(words[1])
        if number == lines:
            os.kill(process.pid, signal.SIGKILL)
    assert -signal.SIGKILL == await process.wait()
    return said


@pytest.mark.parametrize("lines", [*(pytest.param(lines, marks=pytest.mark.slow) for lines in (1, 20, 97)), 400])
async def test_what_was_said_is_so(path, lines):
    """A killed process loses nothing that was awaited, and nothing is sent twice."""
    async with await JobStore.open(path) as store:
        await store.add([row(number, n=1) for number in range(1, 2001)])
    said = await run_until(path, lines)

    async with await JobStore.open(path) as store:
        found = {record.key: record async for record in store.records()}
        behind = {one: state for one, state in said.items() if STEPS[found[one].state] < STEPS[state]}
        ahead = {one for one in found if STEPS[found[one].state] > STEPS[said.get(one, RequestState.PENDING)]}
        assert {} == behind
        assert len(ahead) <= WORKERS
        assert len(said) >= 1
        totals = await store.totals()
        paid = [one for one in found.values() if one.state not in {RequestState.PENDING, RequestState.LEASED}]
        assert len(paid) == totals.cost + totals.reserved == totals.committed
        kept = [one for one in found.values() if one.state is RequestState.FAILED]
        assert [1] * len(kept) == [len(one.images) for one in kept]

        await store.release_leases()
        again = {record.key for record in await store.lease(3000)}
        assert not again & {one.key for one in paid}
        assert 2000 == len(await listed(store.records()))
