"""
Callers that are cancelled in every way there is, at many instants: what was billed is kept, or is told.

anyio cancels again and again until a scope has been left, and like `asyncio.timeout` it raises an error of its own. So
what a call may have cost has to be found elsewhere: in the log, and by `on_attempt`.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import tempfile
import time
from contextlib import suppress
from functools import partial

import anyio
import attrs
import pytest
from fakes import FakeClock, until

from burncloud_images import AsyncImagesClient, Directory, Done, EditRequest, GenerationRequest, errors
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.files import uploads
from burncloud_images.files.image_files import examine_file
from burncloud_images.files.sinks import DirectoryWriter

SMALL = {"model": "gpt-image-2", "size": "1024x640"}
REQUEST = GenerationRequest("otter", **SMALL)
INSTANTS = 12

pytestmark = pytest.mark.ways("tls")


class Bought:
    """
    What came of calls, and what was said about those that were cancelled.

    Attributes:
        kept: The keys of what was handed over, to the caller or to `on_unclaimed`.
        failed: The keys of what was handed over as a failure that may have been billed.
        seen: The keys of attempts that ended by cancellation and may have been billed, as `on_attempt` saw them.
    """

    def __init__(self, caplog):
        self.kept, self.failed, self.seen = set(), set(), set()
        self.caplog = caplog

    def keep(self, outcome):
        if isinstance(outcome, Done):
            self.kept.add(outcome.result.idempotency_key)
        elif outcome.error.billed:
            self.failed.add(outcome.error.idempotency_key)

    def watch(self, attempt):
        if attempt.failure == "CancelledError" and attempt.phase.may_be_billed:
            self.seen.add(attempt.idempotency_key)

    @property
    def logged(self):
        """The keys in the log."""
        records = [record for record in self.caplog.records if record.name == "burncloud_images"]
        assert {logging.WARNING} >= {record.levelno for record in records}
        return {getattr(record, "idempotency_key", None) for record in records} - {None}


# --- what is cancelled -----------------------------------------------------------------------------------------------


async def generate(client, bought, _folder):
    bought.keep(Done(index=0, request=REQUEST, result=await client.generate("otter", **SMALL)))


async def send(client, bought, folder):
    bought.keep(Done(index=0, request=REQUEST, result=await client.send(REQUEST, into=Directory(folder))))


async def stream(client, bought, _folder):
    async with client.stream(REQUEST) as events:
        async for event in events:
            bought.keep(Done(index=0, request=REQUEST, result=event))


async def paint_all(client, bought, folder, on_exit="drain"):
    requests = [REQUEST] * 6
    options = {"concurrency": 3, "into": Directory(folder), "on_exit": on_exit, "on_unclaimed": bought.keep}
    async with client.map(requests, **options) as outcomes:
        async for outcome in outcomes:
            bought.keep(outcome)


CALLS = {"generate": generate, "send": send, "stream": stream, "map": paint_all}


# --- who cancels -----------------------------------------------------------------------------------------------------


class Moment:
    """A part of the time that *work* takes without being disturbed."""

    def __init__(self, turns, seconds):
        self.turns = turns
        self.seconds = seconds

    async def call(self, act):
        """Call *act* after as many turns of the loop."""
        for _ in range(self.turns):
            await asyncio.sleep(0)
        act()


@attrs.frozen
class Billed:
    """The moment at which so many requests were billed; none of them need be answered."""

    emulator: Emulator
    count: int

    async def call(self, act):
        """Call *act* then."""
        await until(lambda: self.emulator.ledger.billed_requests >= self.count)
        act()


@contextlib.asynccontextmanager
async def at(moment, act):
    """Call *act* when the moment has come, unless the block has ended by then."""
    task = asyncio.create_task(moment.call(act))
    try:
        yield
    finally:
        task.cancel()


async def move_on(work, moment):
    with anyio.move_on_after(3600) as scope:

        def end():
            scope.deadline = anyio.current_time()

        async with at(moment, end):
            await work()


async def fail_after(work, moment):
    with suppress(TimeoutError), anyio.fail_after(3600) as scope:

        def end():
            scope.deadline = anyio.current_time()

        async with at(moment, end):
            await work()


async def cancel_group(work, moment):
    async with anyio.create_task_group() as group:
        group.start_soon(work)
        async with at(moment, group.cancel_scope.cancel):
            await until(lambda: not group.cancel_scope._tasks - {asyncio.current_task()})


async def time_out(work, moment):
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as timeout:
            async with at(moment, lambda: timeout.reschedule(asyncio.get_running_loop().time())):
                await work()


async def wait_for(work, moment):
    with suppress(TimeoutError):
        await asyncio.wait_for(work(), moment.seconds)


async def fail_beside(work, moment):
    def fail():
        raise LookupError

    with suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            group.create_task(moment.call(fail))


async def cancel_once(work, moment):
    task = asyncio.create_task(work())
    async with at(moment, task.cancel):
        await asyncio.wait([task])


async def cancel_for_ever(work, moment):
    task = asyncio.create_task(work())
    await moment.call(lambda: None)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)


LEAVERS = {
    "anyio.move_on_after": move_on,
    "anyio.fail_after": fail_after,
    "anyio task group": cancel_group,
    "asyncio.timeout": time_out,
    "asyncio.wait_for": wait_for,
    "a task of the group fails": fail_beside,
    "cancelled once": cancel_once,
    "cancelled again and again": cancel_for_ever,
}


async def measure(work):
    """Return how many turns of the loop, and seconds, *work* takes; the second time, as the first connects."""
    await work()
    started, turns = time.monotonic(), 0
    task = asyncio.create_task(work())
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    task.result()
    return turns, time.monotonic() - started


async def sweep(bought, call, leave, folder, offset):
    """Leave *call* at instants all over its course; return what the server's ledger says."""
    async with Emulator() as emulator:
        async with AsyncImagesClient(emulator.api_key, emulator.base_url, on_attempt=bought.watch) as client:
            work = partial(call, client, bought, folder)
            await measure(work)  # the first call takes longer, so that instants of its course would lie behind others'
            turns, seconds = await measure(work)
            for instant in range(INSTANTS):
                part = (instant + offset) / INSTANTS
                await leave(work, Moment(int(turns * part), seconds * part))
        await until(lambda: all(request.billed for request in emulator.ledger.requests if request.complete))
        return emulator.ledger


@pytest.mark.sampled(3)
@pytest.mark.parametrize("leaver", LEAVERS)
@pytest.mark.parametrize("name", CALLS)
async def test_what_was_billed_is_kept_or_told(name, leaver, tmp_path, caplog):
    """No request is sent twice, no file is torn, and everything billed is kept or reported."""
    bought = Bought(caplog)
    offset = list(LEAVERS).index(leaver) / len(LEAVERS)
    ledger = await sweep(bought, CALLS[name], LEAVERS[leaver], tmp_path / "out", offset)
    billed = {request.idempotency_key for request in ledger.requests if request.billed}

    assert len(ledger.requests) == len({request.idempotency_key for request in ledger.requests})
    assert billed <= bought.kept | bought.logged
    assert bought.seen <= bought.logged | bought.kept
    assert [] == list(tmp_path.rglob("*.part"))
    assert all(examine_file(path)[1].complete for path in (tmp_path / "out").glob("*"))
    if name == "map":
        assert (billed, set(), set()) == (bought.kept, bought.failed, bought.logged)


@pytest.mark.parametrize("leaver", ["anyio.move_on_after", "asyncio.timeout"])
async def test_a_map_that_is_to_be_cancelled_abandons_calls(leaver, tmp_path, caplog):
    """Leaving a map with `on_exit="cancel"` abandons calls, each of which is reported: the control of the others."""
    bought = Bought(caplog)
    async with Emulator(faults=[Fault(cut="stall", billed=True, times=None)]) as emulator:
        async with AsyncImagesClient(emulator.api_key, emulator.base_url, on_attempt=bought.watch) as client:
            work = partial(paint_all, client, bought, tmp_path / "out", "cancel")
            await LEAVERS[leaver](work, Billed(emulator, 3))
        billed = {request.idempotency_key for request in emulator.ledger.requests if request.billed}

    assert 3 == len(billed)
    assert (billed, set()) == (bought.failed, bought.kept)


@pytest.mark.parametrize("name", ["generate", "send", "stream"])
async def test_the_error_of_a_cancelled_call_says_what_it_may_have_cost(name, tmp_path, caplog):
    """Attributes, a note, the log and `on_attempt` name the same key."""
    bought = Bought(caplog)
    async with Emulator(faults=[Fault(cut="stall", billed=True)]) as emulator:
        async with AsyncImagesClient(emulator.api_key, emulator.base_url, on_attempt=bought.watch) as client:
            task = asyncio.create_task(CALLS[name](client, bought, tmp_path / "out"))
            await until(lambda: emulator.ledger.billed_requests)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
        (request,) = emulator.ledger.requests

    error = caught.value
    assert (errors.Billing.MAYBE, request.idempotency_key) == (error.billed, error.idempotency_key)
    assert error.phase.may_be_billed
    assert request.idempotency_key in " ".join(error.__notes__)
    assert {request.idempotency_key} == bought.logged == bought.seen
    (record,) = [record for record in caplog.records if record.name == "burncloud_images"]
    assert (errors.Billing.MAYBE, error.phase) == (record.billed, record.phase)


@pytest.mark.parametrize("leaver", LEAVERS)
async def test_a_cancelled_fetch_costs_nothing_and_leaves_no_file(leaver, tmp_path, caplog):
    """A cancelled `fetch` is not billed, leaves no file, and can be repeated."""
    bought = Bought(caplog)

    async def fetch(client, _bought, folder):
        (link,) = links
        await client.fetch(link, into=Directory(folder, exists="rename"))

    async with Emulator() as emulator:
        async with AsyncImagesClient(emulator.api_key, emulator.base_url) as client:
            made = await client.generate("otter", model="dall-e-2", size="256x256", response_format="url")
            links = [made.image.url]
            turns, seconds = await measure(partial(fetch, client, bought, tmp_path))
            for instant in range(INSTANTS):
                moment = Moment(int(turns * instant / INSTANTS), seconds * instant / INSTANTS)
                await LEAVERS[leaver](partial(fetch, client, bought, tmp_path), moment)
        assert 1 == len(emulator.ledger.requests)

    assert [] == list(tmp_path.rglob("*.part"))
    assert all(examine_file(path)[1].complete for path in tmp_path.glob("*.png"))
    assert [] == caplog.records


class StandingClock(FakeClock):
    """A clock on which no wait ends."""

    async def sleep(self, seconds):
        self.slept.append(seconds)
        await asyncio.Event().wait()


async def test_a_call_that_was_refused_is_not_told_of(caplog):
    """A cancelled call that waits after a refusal is not logged, as it was not billed."""
    clock = StandingClock()
    async with (
        Emulator(faults=[Fault(status=429)]) as emulator,
        AsyncImagesClient(emulator.api_key, emulator.base_url, clock=clock) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(generate, client, Bought(caplog), None)
        await until(lambda: clock.slept)
        group.cancel_scope.cancel()

    assert (1, 0) == (len(emulator.ledger.requests), emulator.ledger.billed_requests)
    assert [] == caplog.records


@pytest.mark.parametrize("place", ["write_last", "rename"])
@pytest.mark.parametrize("name", ["send", "map"])
async def test_a_scope_that_cancels_while_a_file_is_written_tears_none(name, place, tmp_path, caplog, monkeypatch):
    """A file that is written during a cancellation is whole or absent."""
    bought, begun = Bought(caplog), []
    original = getattr(DirectoryWriter, place)

    def slowly(writer, argument):
        begun.append(place)
        time.sleep(0.03)
        return original(writer, argument)

    monkeypatch.setattr(DirectoryWriter, place, slowly)
    async with (
        Emulator() as emulator,
        AsyncImagesClient(emulator.api_key, emulator.base_url, on_attempt=bought.watch) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(CALLS[name], client, bought, tmp_path / "out")
        await until(lambda: begun)
        group.cancel_scope.cancel()
    billed = {request.idempotency_key for request in emulator.ledger.requests if request.billed}
    files = list((tmp_path / "out").iterdir())

    assert all(examine_file(path)[1].complete for path in files)
    assert not [path for path in files if path.name.startswith(".")]
    if name == "map":
        assert (billed, set()) == (bought.kept, bought.logged)
        assert len(billed) == len(files)
    else:
        assert billed == bought.logged
        assert len(files) == (place == "rename")


async def test_a_call_that_is_cancelled_while_its_uploads_are_closed_was_billed(caplog, monkeypatch):
    """All images have come, and the temporary file of an upload is still being closed."""
    bought, closing = Bought(caplog), []

    class SlowFile(io.BytesIO):
        def close(self):
            closing.append(self)
            time.sleep(0.03)
            super().close()

    async def chunks():
        yield picture

    original = tempfile.SpooledTemporaryFile

    def open_file(max_size):  # the emulator has such files too
        return SlowFile() if max_size == uploads.IN_MEMORY else original(max_size=max_size)

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", open_file)
    async with (
        Emulator() as emulator,
        AsyncImagesClient(emulator.api_key, emulator.base_url, on_attempt=bought.watch) as client,
    ):
        picture = (await client.generate("otter", **SMALL)).image.data
        call = asyncio.create_task(client.send(EditRequest(image=chunks(), prompt="otter", **SMALL)))
        await until(lambda: closing)
        call.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await call

    assert (2, errors.Billing.YES) == (emulator.ledger.billed_requests, errors.find_billing(caught.value))
    assert {caught.value.idempotency_key} == bought.seen == bought.logged


async def test_a_call_that_is_cancelled_while_it_fails_leaves_no_unfinished_file(tmp_path, monkeypatch):
    """An image broke off, and its bytes are still being read back."""
    begun = []
    original = DirectoryWriter.read_file

    def slowly(writer, size):
        begun.append(size)
        time.sleep(0.03)
        return original(writer, size)

    monkeypatch.setattr(DirectoryWriter, "read_file", slowly)
    async with (
        Emulator(faults=[Fault(cut="reset", place="answer", byte=0.75)]) as emulator,
        AsyncImagesClient(emulator.api_key, emulator.base_url) as client,
    ):
        request = GenerationRequest("otter", n=2, **SMALL)
        call = asyncio.create_task(client.send(request, into=Directory(tmp_path)))
        await until(lambda: begun)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    (path,) = tmp_path.iterdir()
    assert examine_file(path)[1].complete
