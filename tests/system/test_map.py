"""Many requests at once: bounded, in any order or theirs, failures as values, and no paid image lost on the way out."""

from __future__ import annotations

import asyncio
import gc
import itertools

import pytest
from fakes import until

from burncloud_images import Directory, Done, Failed, GenerationRequest, RetryPolicy, errors
from burncloud_images.emulator import Fault

SMALL = {"model": "gpt-image-2", "size": "64x64"}
SLOW = Fault(delay=0.05, times=None)


def requests(count):
    return [GenerationRequest(f"otter {number}", **SMALL) for number in range(count)]


def endless(pulled):
    """Yield requests for ever, and count them."""
    for number in itertools.count():
        pulled.append(number)
        yield GenerationRequest(f"otter {number}", **SMALL)


class Reader:
    """Reads the loop's lost exceptions."""

    def __init__(self):
        self.lost = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self.lost.append(context))

    def close(self):
        asyncio.get_running_loop().set_exception_handler(None)


@pytest.fixture(autouse=True)
async def lost():
    """Fail a test whose loop has something to tell; return what it told for those that expect it."""
    reader = Reader()
    yield reader.lost
    gc.collect()
    await asyncio.sleep(0)
    reader.close()
    assert [] == reader.lost


class TestOutcomes:
    """What comes out."""

    async def test_every_request_has_one_outcome(self, set_up):
        """With its place and the request itself."""
        bench = await set_up()
        given = requests(20)
        outcomes = [outcome async for outcome in bench.client.map(given, concurrency=4)]

        assert list(range(20)) == sorted(outcome.index for outcome in outcomes)
        assert all(outcome.request is given[outcome.index] for outcome in outcomes)
        assert all((64, 64) == (outcome.result.image.width, outcome.result.image.height) for outcome in outcomes)
        assert (20, 20) == (bench.posts, bench.billed)

    async def test_a_failure_is_a_value_and_stops_nothing(self, set_up):
        """Matched as the docs show it."""
        refusal = {"error": {"message": "no", "code": "moderation_blocked"}}
        bench = await set_up(Fault(status=400, body=refusal))
        seen = {"done": 0, "failed": 0}
        async for outcome in bench.client.map(requests(5)):
            match outcome:
                case Done(result=result):
                    assert result.image.data
                    seen["done"] += 1
                case Failed(request=request, error=error):
                    assert request.prompt.startswith("otter")
                    assert isinstance(error, errors.ModerationError)
                    assert error.idempotency_key
                    seen["failed"] += 1

        assert {"done": 4, "failed": 1} == seen

    async def test_a_sink_gets_the_images(self, set_up, tmp_path):
        """Results are then of files."""
        bench = await set_up()
        outcomes = [outcome async for outcome in bench.client.map(requests(6), into=Directory(tmp_path / "out"))]

        paths = {outcome.result.image.path for outcome in outcomes}
        assert paths == set((tmp_path / "out").iterdir())
        assert 6 == len(paths)

    async def test_order_is_kept_if_asked_for(self, set_up):
        """Though the first is the last to end."""
        bench = await set_up(Fault(delay=0.1), Fault(delay=0.03))
        seen = [o.index async for o in bench.client.map(requests(12), concurrency=3, ordered=True)]

        assert list(range(12)) == seen

    async def test_without_order_the_quick_come_first(self, set_up):
        """One slow call holds up nobody."""
        bench = await set_up(Fault(delay=0.2))
        seen = [o.index async for o in bench.client.map(requests(6), concurrency=2)]

        assert 0 == seen[-1]

    async def test_async_iterables_are_taken(self, set_up):
        """And closed in the end, if they are generators."""
        bench = await set_up()
        closed = []

        async def source():
            try:
                for request in requests(5):
                    await asyncio.sleep(0)
                    yield request
            finally:
                closed.append(True)

        assert 5 == len([o async for o in bench.client.map(source(), concurrency=2)])
        async with bench.client.map(source(), concurrency=1, on_unclaimed=lambda _: None) as outcomes:
            await anext(outcomes)
        assert [True, True] == closed

    async def test_no_requests_no_outcomes(self, set_up):
        """And nothing is sent."""
        bench = await set_up()

        assert [] == [o async for o in bench.client.map([])]
        assert 0 == bench.posts

    async def test_streams_inside_for_gateways_that_cut(self, set_up):
        """`keep_alive` is that of `send`."""
        bench = await set_up()
        (outcome,) = [o async for o in bench.client.map(requests(1), keep_alive=True)]

        assert outcome.result.image.data
        assert ("stream", "true") in bench.emulator.ledger.requests[0].fields

    async def test_several_tasks_may_share_a_map(self, set_up):
        """Each outcome goes to one of them."""
        bench = await set_up()
        outcomes = bench.client.map(requests(12), concurrency=4)
        seen = []

        async def consume():
            async for outcome in outcomes:
                seen.append(outcome.index)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(consume())

        assert list(range(12)) == sorted(seen)

    async def test_options_of_a_copy_count(self, set_up):
        """`with_options` is how a map gets its retry policy."""
        bench = await set_up(Fault(status=500))
        once = bench.client.with_options(retry=RetryPolicy(attempts=1))
        (outcome,) = [o async for o in once.map(requests(1))]

        assert isinstance(outcome.error, errors.ServerError)
        assert 1 == len(outcome.error.history)

    @pytest.mark.parametrize("options", [{"concurrency": 0}, {"max_bytes": 0}, {"on_exit": "wait"}])
    async def test_options_without_sense_are_refused(self, set_up, options):
        """Before anything is pulled."""
        bench = await set_up()
        with pytest.raises(ValueError, match=next(iter(options)).removeprefix("max_")):
            bench.client.map(requests(1), **options)


class TestBounds:
    """What is outstanding."""

    @pytest.mark.parametrize("ordered", [False, True])
    async def test_a_slow_consumer_slows_the_calls(self, set_up, ordered):
        """Of an endless source only what there is room for is pulled, sent and billed."""
        bench = await set_up()
        pulled = []
        outcomes = bench.client.map(endless(pulled), concurrency=3, ordered=ordered, on_unclaimed=lambda _: None)
        async with outcomes:
            for taken in range(1, 5):
                await anext(outcomes)
                await until(lambda taken=taken: bench.billed == taken + 6)
                await asyncio.sleep(0.01)

                assert taken + 6 == len(pulled) == bench.posts

    async def test_no_more_calls_run_than_were_asked_for(self, set_up):
        """The server sees it."""
        bench = await set_up(Fault(cut="stall", times=None))
        pulled = []
        outcomes = bench.client.map(endless(pulled), concurrency=5, on_exit="cancel", on_unclaimed=lambda _: None)
        async with outcomes:
            waiting = asyncio.create_task(anext(outcomes))
            await until(lambda: bench.posts == 5)
            await asyncio.sleep(0.02)

            assert (5, 5) == (bench.posts, len(pulled))
            waiting.cancel()
            await asyncio.wait([waiting])

    async def test_bytes_bound_what_waits(self, set_up):
        """Images of about 12 kB each: no more are made ahead than fit."""
        bench = await set_up()
        (first,) = [o async for o in bench.client.map(requests(1))]
        size = first.result.image.size
        pulled = []
        bound = {"concurrency": 20, "max_bytes": 5 * size}
        async with bench.client.map(endless(pulled), **bound, on_unclaimed=lambda _: None) as outcomes:
            for taken in range(1, 20):
                await anext(outcomes)
                await asyncio.sleep(0.005)
                assert len(pulled) <= taken + 6
            assert len(pulled) > 20

    async def test_one_call_is_always_let_through(self, set_up):
        """However small the bound, the work gets done."""
        bench = await set_up()

        assert 4 == len([o async for o in bench.client.map(requests(4), max_bytes=1)])

    async def test_files_are_no_bytes_in_memory(self, set_up, tmp_path):
        """After the first has shown that nothing is kept in memory, only the number of calls counts."""
        bench = await set_up()
        pulled = []
        async with bench.client.map(endless(pulled), into=Directory(tmp_path), concurrency=8, max_bytes=1) as outcomes:
            await anext(outcomes)
            await until(lambda: len(pulled) == 17)

    async def test_nothing_is_pulled_before_the_first_step(self, set_up):
        """A map that is not iterated does nothing."""
        bench = await set_up()
        pulled = []
        outcomes = bench.client.map(endless(pulled))
        await asyncio.sleep(0.01)
        async with outcomes:
            pass

        assert ([], 0) == (pulled, bench.posts)


class TestLeaving:
    """What the way out costs."""

    @pytest.mark.parametrize("ordered", [False, True])
    async def test_a_block_drains_what_is_paid(self, set_up, ordered):
        """Each request that was sent is billed once, and its outcome is taken or passed on."""
        bench = await set_up(SLOW)
        taken, unclaimed = [], []
        async with bench.client.map(
            endless([]), concurrency=4, ordered=ordered, on_unclaimed=unclaimed.append
        ) as outcomes:
            async for outcome in outcomes:
                taken.append(outcome)
                if len(taken) == 3:
                    break

        assert bench.posts == bench.billed == len(taken) + len(unclaimed)
        assert all(isinstance(outcome, Done) for outcome in unclaimed)
        keys = {outcome.result.idempotency_key for outcome in (*taken, *unclaimed)}
        assert keys == {request.idempotency_key for request in bench.emulator.ledger.requests}

    async def test_a_block_can_cancel_instead(self, set_up):
        """No more than the running calls are lost, and they are named with their keys."""
        bench = await set_up(*[Fault(delay=0)] * 3, Fault(cut="stall", billed=True, times=None))
        taken, unclaimed = [], []
        async with bench.client.map(
            endless([]), concurrency=4, on_exit="cancel", on_unclaimed=unclaimed.append
        ) as outcomes:
            async for outcome in outcomes:
                taken.append(outcome)
                if len(taken) == 3:
                    await until(lambda: bench.posts == 7)
                    break

        assert 7 == bench.posts
        assert {errors.OutcomeUnknownError} == {type(outcome.error) for outcome in unclaimed}
        assert {outcome.error.idempotency_key for outcome in unclaimed} == {
            request.idempotency_key for request in bench.emulator.ledger.requests[3:]
        }

    @pytest.mark.parametrize("on_exit", ["drain", "cancel"])
    async def test_a_plain_loop_may_be_left_too(self, set_up, on_exit):
        """Its calls end behind it, and closing the client waits for them."""
        bench = await set_up(SLOW)
        taken, unclaimed = [], []
        async for outcome in bench.client.map(
            endless([]), concurrency=4, on_exit=on_exit, on_unclaimed=unclaimed.append
        ):
            taken.append(outcome)
            break
        await bench.client.aclose()

        assert bench.posts == len(taken) + len(unclaimed)
        if on_exit == "drain":
            assert bench.posts == bench.billed
            assert all(isinstance(outcome, Done) for outcome in unclaimed)
        else:
            assert 0 < sum(isinstance(outcome, Failed) for outcome in unclaimed) <= 4

    async def test_nobody_is_told_of_files(self, set_up, tmp_path):
        """Drained outcomes of a folder are not lost: their files are there."""
        bench = await set_up()
        async with bench.client.map(endless([]), into=Directory(tmp_path / "out"), concurrency=4) as outcomes:
            await anext(outcomes)

        assert bench.billed == len(list((tmp_path / "out").iterdir()))

    async def test_what_is_lost_in_memory_is_warned_of(self, set_up):
        """With the number of images, and what to do about it."""
        bench = await set_up()
        with pytest.warns(errors.ImagesWarning, match=r"paid images were in memory only.*on_unclaimed") as caught:
            async with bench.client.map(endless([]), concurrency=2) as outcomes:
                await anext(outcomes)

        (warning,) = caught
        assert __file__ == warning.filename
        assert f"{bench.billed - 1} paid images" in str(warning.message)

    async def test_a_plain_loop_warns_as_well(self, set_up):
        """When its last call has ended."""
        bench = await set_up(SLOW)
        with pytest.warns(errors.ImagesWarning, match="3 paid images were in memory only"):
            async for _ in bench.client.map(requests(4)):
                break
            await bench.client.aclose()

    async def test_calls_that_wait_to_be_tried_again_are_given_up(self, set_up):
        """Draining starts no purchase; the error is that of the last attempt."""
        bench = await set_up(Fault(delay=0), Fault(status=500, times=None), scale=1.0)
        unclaimed = []
        first_sleep = bench.clock.sleep
        asleep = asyncio.Event()

        async def sleep(_seconds):
            asleep.set()
            await asyncio.Event().wait()

        bench.clock.sleep = sleep
        async with bench.client.map(requests(2), concurrency=1, on_unclaimed=unclaimed.append) as outcomes:
            await anext(outcomes)
            await asleep.wait()
        bench.clock.sleep = first_sleep

        (outcome,) = unclaimed
        assert 2 == bench.posts
        assert isinstance(outcome.error, errors.ServerError)
        assert 1 == len(outcome.error.history)
        assert bench.emulator.ledger.requests[1].idempotency_key == outcome.error.idempotency_key

    async def test_calls_that_fail_while_they_are_drained_are_not_tried_again(self, set_up):
        """The refusal comes after the loop was left."""
        bench = await set_up(Fault(delay=0), Fault(status=429, delay=0.05, times=None))
        unclaimed = []
        async with bench.client.map(requests(2), concurrency=2, on_unclaimed=unclaimed.append) as outcomes:
            await anext(outcomes)
            await until(lambda: bench.posts == 2)

        assert 2 == bench.posts
        assert [errors.RateLimitError] == [type(outcome.error) for outcome in unclaimed]

    async def test_an_observer_of_the_unclaimed_that_fails_costs_nothing(self, set_up, lost):
        """What it raises goes where lost exceptions go."""
        bench = await set_up()

        def fail(_outcome):
            raise RuntimeError("no room")

        async with bench.client.map(requests(3), concurrency=3, on_unclaimed=fail) as outcomes:
            await anext(outcomes)

        assert ["no room"] * 2 == [str(context["exception"]) for context in lost]
        assert 3 == bench.billed
        lost.clear()
