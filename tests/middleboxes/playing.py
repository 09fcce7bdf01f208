"""Plays a case: an emulator that goes wrong, a box before it, a client before that."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
from fakes import FakeClock, until
from middleboxes.boxes import Box
from middleboxes.judging import Row, Witness, judge_call, judge_job
from middleboxes.operations import GPT, OPERATIONS
from middleboxes.troubles import TROUBLES, Case, Trouble

from burncloud_images import AsyncImagesClient, GenerationRequest, Network, Timeouts
from burncloud_images.bulk import Job, JobOptions
from burncloud_images.emulator import Emulator, Fault

__all__ = ["play"]

ROWS = 20
AT_ONCE = 4
PATIENCE = 1e9
"""Seconds that a job waits for a box that is down; the clock makes them short."""
BEFORE_BLOW = 6
"""Rows of a job that are billed before something happens to the box."""
SHORT, LONG = 3.0, 20.0
"""Seconds that the client waits for a byte: behind boxes that never give up, and behind the others."""


async def play(box: Box, case: Case, folder: Path, **options: Any) -> Row:
    """Play a case and return what it came to."""
    trouble = TROUBLES[case.trouble]
    is_job = case.operation == "job"
    faults = trouble.job_faults if is_job and trouble.job_faults is not None else trouble.faults
    async with serving(box, faults, absent=trouble.absent) as emulator:
        witness = Witness(lambda: emulator.ledger.billed_requests)
        async with (
            striking(box, trouble, emulator, BEFORE_BLOW if is_job else 1),
            opened(box, emulator, witness, **options) as client,
        ):
            outcome = await (run_job(client, folder) if is_job else call(client, case.operation))
    # What was being drawn has been drawn, so the ledger is whole.
    entries = emulator.ledger.requests
    if faults and not any(entry.fault for entry in entries) and not box.kind.is_gateway:
        raise AssertionError("the fault did not strike")
    if is_job:
        return judge_job(witness, entries, await read_records(folder))
    tag, ended = outcome
    return judge_call(witness, entries, tag, ended)


@asynccontextmanager
async def serving(box: Box, faults: Sequence[Fault], *, absent: bool) -> AsyncIterator[Emulator]:
    """Serve behind *box*, where it expects a server."""
    emulator = Emulator(faults=faults, port=box.place.upstream, tls=box.kind.is_tls)
    if absent:
        yield emulator
        return
    await emulator.start()
    try:
        yield emulator
    finally:
        await emulator.stop()


@asynccontextmanager
async def opened(box: Box, emulator: Emulator, witness: Witness, **options: Any) -> AsyncIterator[AsyncImagesClient]:
    """Open a client that reaches the emulator by way of *box*."""
    network = Network(
        proxy=box.proxy,
        ca=box.ca or emulator.ca,
        allowed_result_hosts=(f"127.0.0.1:{box.place.upstream}", f"127.0.0.1:{box.place.port}"),
    )
    patience = LONG if box.kind.times_out else SHORT
    settings: dict[str, Any] = {
        "network": network,
        "timeouts": Timeouts(first_byte=patience, idle=patience, send_stall=patience),
        "clock": FakeClock(1.0),
        "on_attempt": witness,
        **options,
    }
    base_url = emulator.base_url if box.proxy else box.base_url
    headers = box.kind.headers(box.place)
    if not headers:
        async with AsyncImagesClient(emulator.api_key, base_url, **settings) as client:
            yield client
        return
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        AsyncImagesClient(emulator.api_key, base_url, session=session, **settings) as client,
    ):
        yield client


@asynccontextmanager
async def striking(box: Box, trouble: Trouble, emulator: Emulator, billed: int) -> AsyncIterator[None]:
    """Do to the box what is to be done once so much was billed, and have it running again in the end."""
    blow = box.kill if trouble.blow == "kill" else box.stop

    async def strike() -> None:
        await until(lambda: emulator.ledger.billed_requests >= billed)
        await asyncio.to_thread(blow)
        await asyncio.to_thread(box.start)

    if trouble.blow is None:
        yield
        return
    task = asyncio.create_task(strike())
    try:
        yield
    finally:
        if emulator.ledger.billed_requests < billed:
            task.cancel()  # what it waits for will not come any more
        with suppress(asyncio.CancelledError):
            await task


async def call(client: AsyncImagesClient, operation: str) -> tuple[str, int | BaseException]:
    """Call once and return the tag with what came of it."""
    tag = uuid.uuid4().hex
    try:
        return tag, await OPERATIONS[operation](client, tag)
    except Exception as error:  # noqa: BLE001 (an outcome, whatever it is)
        return tag, error


async def run_job(client: AsyncImagesClient, folder: Path) -> None:
    """Run a job in *folder*."""
    requests = [GenerationRequest(f"sea otter {number}", **GPT) for number in range(ROWS)]
    async with Job.open(folder / "job", clock=FakeClock(1.0)) as job:
        await job.add(requests)
        await job.run(client, JobOptions(concurrency=AT_ONCE, room=0, patience=PATIENCE))


async def read_records(folder: Path) -> list[Any]:
    """Return what the job knows."""
    async with Job.open(folder / "job") as job:
        return [record async for record in job.records()]
