"""Many requests at once: bounded, in any order or theirs, failures as values, and no paid image lost on the way out."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import signal
import sys
import traceback
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from fakes import until
from pictures import png

from burncloud_images import (
    Directory,
    Done,
    EditRequest,
    Failed,
    GenerationRequest,
    Memory,
    RetryPolicy,
    errors,
)
from burncloud_images.emulator import Emulator, Fault

pytestmark = pytest.mark.ways("tls")

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"model": "gpt-image-2", "size": "1024x640"}
SLOW = Fault(delay=0.2, times=None)


def requests(count):
    return [GenerationRequest(f"otter {number}", **SMALL) for number in range(count)]


def endless(pulled):
    """Yield requests for ever, and count them."""
    for number in itertools.count():
        pulled.append(number)
        yield GenerationRequest(f"otter {number}", **SMALL)


def keys_of(bench):
    return {request.idempotency_key for request in bench.emulator.ledger.requests}


async def take_all(outcomes, seen):
    async for outcome in outcomes:
        seen.append(outcome)


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
        """Each request has one outcome, with its index and the request itself."""
        bench = await set_up()
        given = requests(20)
        outcomes = [outcome async for outcome in bench.client.map(given, concurrency=4)]

        assert list(range(20)) == sorted(outcome.index for outcome in outcomes)
        assert all(outcome.request is given[outcome.index] for outcome in outcomes)
        assert all((1024, 640) == (outcome.result.image.width, outcome.result.image.height) for outcome in outcomes)
        assert (20, 20) == (bench.posts, bench.billed)

    async def test_a_failure_is_a_value_and_stops_nothing(self, set_up):
        """A failure is a `Failed` value, and the other calls go on."""
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
        """With a sink the results are files."""
        bench = await set_up()
        outcomes = [outcome async for outcome in bench.client.map(requests(6), into=Directory(tmp_path / "out"))]

        paths = {outcome.result.image.path for outcome in outcomes}
        assert paths == set((tmp_path / "out").iterdir())
        assert 6 == len(paths)

    async def test_order_is_kept_if_asked_for(self, set_up):
        """With `ordered=True` the first request comes first, even if it ends last."""
        bench = await set_up(Fault(delay=0.1), Fault(delay=0.03))
        seen = [o.index async for o in bench.client.map(requests(12), concurrency=3, ordered=True)]

        assert list(range(12)) == seen

    async def test_without_order_one_holds_up_nobody(self, set_up):
        """Without an order, a call that never ends does not delay the others."""
        bench = await set_up(Fault(cut="stall"))
        async with bench.client.map(requests(6), concurrency=2, on_exit="cancel", on_unclaimed=id) as outcomes:
            seen = {(await anext(outcomes)).index for _ in range(5)}

        assert 5 == len(seen)

    async def test_async_iterables_are_taken(self, set_up):
        """An async iterable is accepted, and an async generator is closed at the end."""
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
        """An empty source has no outcomes, and nothing is sent."""
        bench = await set_up()

        assert [] == [o async for o in bench.client.map([])]
        assert 0 == bench.posts

    async def test_streams_inside_for_gateways_that_cut(self, set_up):
        """A map accepts `via_stream` as `send` does."""
        bench = await set_up()
        (outcome,) = [o async for o in bench.client.map(requests(1), via_stream=True)]

        assert outcome.result.image.data
        assert ("stream", "true") in bench.emulator.ledger.requests[0].fields

    async def test_several_tasks_may_share_a_map(self, set_up):
        """Several tasks may share a map, and each outcome goes to one of them."""
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
        """A map uses the options of the client that made it."""
        bench = await set_up(Fault(status=503))
        once = bench.client.with_options(retry=RetryPolicy(attempts=1))
        (outcome,) = [o async for o in once.map(requests(1))]

        assert isinstance(outcome.error, errors.ServerError)
        assert 1 == len(outcome.error.history)

    @pytest.mark.parametrize("options", [{"concurrency": 0}, {"max_bytes": 0}, {"on_exit": "wait"}])
    async def test_options_without_sense_are_refused(self, set_up, options):
        """Invalid options are refused before anything is pulled."""
        bench = await set_up()
        with pytest.raises(ValueError, match=next(iter(options)).removeprefix("max_")):
            bench.client.map(requests(1), **options)


class TestBounds:
    """What is outstanding."""

    @pytest.mark.parametrize("ordered", [False, True])
    async def test_a_slow_consumer_slows_the_calls(self, set_up, ordered):
        """A slow consumer limits how much of an endless source is pulled, sent and billed."""
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
        """The server never sees more calls at once than `concurrency`."""
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
        """No more images are made ahead than the limit of bytes allows."""
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
        """One call always runs, however low the limit of bytes."""
        bench = await set_up()

        assert 4 == len([o async for o in bench.client.map(requests(4), max_bytes=1)])

    async def test_files_are_no_bytes_in_memory(self, set_up, tmp_path):
        """With files, only the number of calls limits a map after the first outcome."""
        bench = await set_up()
        pulled = []
        async with bench.client.map(endless(pulled), into=Directory(tmp_path), concurrency=8, max_bytes=1) as outcomes:
            await anext(outcomes)
            await until(lambda: len(pulled) == 17)

    async def test_nothing_is_pulled_before_the_first_step(self, set_up):
        """A map that is not iterated pulls nothing."""
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
        """Leaving the block waits for each call that was sent, and its outcome is taken or passed on."""
        bench = await set_up(SLOW)
        taken, unclaimed = [], []
        async with bench.client.map(
            endless([]), concurrency=4, ordered=ordered, on_unclaimed=unclaimed.append
        ) as outcomes:
            async for outcome in outcomes:
                taken.append(outcome)
                if len(taken) == 3:
                    break

        done = [outcome for outcome in (*taken, *unclaimed) if isinstance(outcome, Done)]
        assert bench.posts == bench.billed == len(done)
        assert {outcome.result.idempotency_key for outcome in done} == keys_of(bench)
        assert all("before its request was whole" in str(o.error) for o in unclaimed if isinstance(o, Failed))

    async def test_a_block_can_cancel_instead(self, set_up):
        """With `on_exit="cancel"` at most the running calls are lost, and their keys are named."""
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
        """Calls of a loop that was left finish in the background, and closing the client waits for them."""
        bench = await set_up(Fault(delay=0), SLOW if on_exit == "drain" else Fault(cut="stall", times=None))
        unclaimed = []
        async for outcome in bench.client.map(
            endless([]), concurrency=4, on_exit=on_exit, on_unclaimed=unclaimed.append
        ):
            await until(lambda: bench.posts == 5)
            assert isinstance(outcome, Done)
            break
        await bench.client.aclose()

        assert [Done if on_exit == "drain" else Failed] * 4 == [type(outcome) for outcome in unclaimed]
        assert on_exit == "cancel" or bench.posts == bench.billed == 5

    async def test_nobody_is_told_of_files(self, set_up, tmp_path):
        """Drained outcomes that are files cause no warning."""
        bench = await set_up()
        async with bench.client.map(endless([]), into=Directory(tmp_path / "out"), concurrency=4) as outcomes:
            await anext(outcomes)

        assert bench.billed == len(list((tmp_path / "out").iterdir()))

    async def test_what_is_lost_in_memory_is_warned_of(self, set_up):
        """The warning has the number of lost images and says what to do."""
        bench = await set_up()
        with pytest.warns(errors.ImagesWarning, match=r"paid images were in memory only.*on_unclaimed") as caught:
            async with bench.client.map(endless([]), concurrency=2) as outcomes:
                await anext(outcomes)

        (warning,) = caught
        assert __file__ == warning.filename
        assert f"{bench.billed - 1} paid images" in str(warning.message)

    async def test_a_plain_loop_warns_as_well(self, set_up):
        """A loop that was left warns when its last call has ended."""
        bench = await set_up(SLOW)
        async for _ in bench.client.map(requests(4)):
            break
        with pytest.warns(errors.ImagesWarning, match="3 paid images were in memory only"):
            await bench.client.aclose()

    @pytest.mark.parametrize("delay", [0.0, 0.05])
    async def test_calls_that_wait_to_be_tried_again_are_given_up(self, set_up, monkeypatch, delay):
        """Draining gives up calls that wait for a retry, whenever the refusal comes."""
        bench = await set_up(Fault(delay=0), Fault(status=429, delay=delay, times=None))
        asleep = asyncio.Event()

        async def sleep(_seconds):
            asleep.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(bench.clock, "sleep", sleep)
        unclaimed = []
        async with bench.client.map(requests(2), concurrency=1, on_unclaimed=unclaimed.append) as outcomes:
            await anext(outcomes)
            await until(lambda: bench.posts == 2)
            if not delay:
                await asleep.wait()

        (outcome,) = unclaimed
        assert 2 == bench.posts
        assert isinstance(outcome.error, errors.RateLimitError)
        assert 1 == len(outcome.error.history)
        assert bench.emulator.ledger.requests[1].idempotency_key == outcome.error.idempotency_key

    async def test_an_observer_of_the_unclaimed_that_fails_costs_nothing(self, set_up, lost):
        """An exception of `on_unclaimed` goes to the loop's exception handler."""
        bench = await set_up()

        def fail(_outcome):
            raise RuntimeError("no room")

        async with bench.client.map(requests(3), concurrency=3, on_unclaimed=fail) as outcomes:
            await anext(outcomes)

        assert ["no room"] * 2 == [str(context["exception"]) for context in lost]
        assert 3 == bench.billed
        lost.clear()

    async def test_a_pipeline_of_maps_is_left_as_one(self, set_up):
        """Leaving the last map of a pipeline closes the generator between and the first map."""
        bench = await set_up(SLOW)
        unclaimed = []

        async def again(outcomes):
            async for outcome in outcomes:
                yield outcome.request

        first = bench.client.map(endless([]), concurrency=2, on_unclaimed=unclaimed.append)
        async with bench.client.map(again(first), concurrency=2, on_unclaimed=unclaimed.append) as second:
            await anext(second)
        del first
        await bench.client.aclose()

        assert bench.posts == bench.billed


class TestInterruption:
    """Cancellation, Ctrl-C, and a client that closes."""

    @staticmethod
    async def consume(bench, taken, **options):
        async with bench.client.map(endless([]), concurrency=3, **options) as outcomes:
            async for outcome in outcomes:
                taken.append(outcome)

    async def test_waiting_can_be_given_up_and_taken_up_again(self, set_up):
        """A consumer may give up waiting for an outcome and wait again."""
        bench = await set_up(SLOW)
        outcomes = bench.client.map(requests(2), concurrency=2)
        with pytest.raises(TimeoutError) as caught:
            await asyncio.wait_for(anext(outcomes), 0.05)

        assert ["2 calls of client.map were running; AsyncImagesClient.aclose waits for them."] == (
            caught.value.__cause__.__notes__
        )
        assert 2 == len([outcome async for outcome in outcomes])
        assert (2, 2) == (bench.posts, bench.billed)

    async def test_nothing_is_bought_for_whoever_gave_up_waiting(self, set_up):
        """Nothing more is bought while the consumer does not wait."""
        bench = await set_up(SLOW)
        outcomes = bench.client.map(requests(9), concurrency=3)
        waiting = asyncio.create_task(anext(outcomes))
        await until(lambda: bench.posts == 3)
        waiting.cancel()
        await asyncio.wait([waiting])
        await until(lambda: bench.billed == 3)
        await asyncio.sleep(0.03)
        assert 3 == bench.posts  # though there is room for three more

        assert 9 == len([outcome async for outcome in outcomes])
        assert 9 == bench.posts == bench.billed

    async def test_what_waits_for_whoever_gave_up_is_unclaimed_when_the_client_closes(self, set_up):
        """Closing the client reports waiting outcomes, even if an exception keeps the loop's frame alive."""
        bench = await set_up(SLOW)
        unclaimed = []

        async def consume():
            async for _ in bench.client.map(requests(9), concurrency=3, on_unclaimed=unclaimed.append):
                raise AssertionError

        task = asyncio.create_task(consume())
        await until(lambda: bench.posts == 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as kept:
            await task
        await bench.client.aclose()

        assert [Done] * 3 == [type(outcome) for outcome in unclaimed]
        assert 3 == bench.posts == bench.billed
        assert "consume" in str(kept.getrepr())

    @pytest.mark.parametrize("times", [1, 30])
    async def test_a_cancelled_caller_leaves_and_its_calls_go_on(self, set_up, times):
        """A cancelled caller leaves at once, and its calls finish without buying more."""
        bench = await set_up(Fault(delay=0), SLOW)
        taken, unclaimed = [], []
        task = asyncio.create_task(self.consume(bench, taken, on_unclaimed=unclaimed.append))
        await until(lambda: taken and bench.posts == 4)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        posts, billed_by_then = bench.posts, len(taken) + len(unclaimed)
        await bench.client.aclose()

        assert billed_by_then < posts == bench.posts == bench.billed
        assert [Done] * posts == [type(outcome) for outcome in (*taken, *unclaimed)]
        assert ["3 calls of client.map were running; AsyncImagesClient.aclose waits for them."] == (
            caught.value.__notes__
        )

    async def test_a_cancelled_caller_that_was_closing_leaves_as_well(self, set_up):
        """A caller that waits for the calls to end may be cancelled."""
        bench = await set_up(Fault(delay=0), SLOW)
        taken, unclaimed, leaving = [], [], []

        async def consume():
            async with bench.client.map(endless([]), concurrency=3, on_unclaimed=unclaimed.append) as outcomes:
                taken.append(await anext(outcomes))
                await until(lambda: bench.posts == 4)
                leaving.append(True)

        task = asyncio.create_task(consume())
        await until(lambda: leaving)
        task.cancel()
        await asyncio.wait([task])
        assert len(taken) + len(unclaimed) < bench.posts
        await bench.client.aclose()

        assert task.cancelled()
        assert bench.posts == bench.billed == len(taken) + len(unclaimed)

    async def test_what_nobody_took_is_logged_at_once_and_warned_of_at_the_close(self, set_up, caplog):
        """The log and the warning name the requests that nobody took by their keys."""
        bench = await set_up(Fault(delay=0), SLOW)
        taken = []
        task = asyncio.create_task(self.consume(bench, taken))
        await until(lambda: taken and bench.posts == 4)
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: caplog.records)
        with pytest.warns(errors.ImagesWarning, match="paid images were in memory only") as caught:
            await bench.client.aclose()

        (record,) = caplog.records
        missing = keys_of(bench) - {outcome.result.idempotency_key for outcome in taken}
        assert ("burncloud_images", "WARNING", missing) == (
            record.name,
            record.levelname,
            set(record.idempotency_keys),
        )
        assert all(key in record.getMessage() and key in str(caught[0].message) for key in missing)
        assert 1 == len(caught)

    async def test_cancellation_cancels_if_it_was_asked_to(self, set_up):
        """With `on_exit="cancel"` the error names each call that may have been billed."""
        bench = await set_up(Fault(delay=0), Fault(cut="stall", billed=True, times=None))
        taken, unclaimed = [], []
        task = asyncio.create_task(self.consume(bench, taken, on_exit="cancel", on_unclaimed=unclaimed.append))
        await until(lambda: taken and bench.posts == 4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task

        keys = [request.idempotency_key for request in bench.emulator.ledger.requests[1:]]
        notes = [note for note in caught.value.__notes__ if "may have been billed" in note]
        assert 3 == len(notes)
        assert all(any(key in note for note in notes) for key in keys)
        assert set(keys) == {outcome.error.idempotency_key for outcome in unclaimed}

    async def test_a_call_that_was_not_sent_whole_was_not_billed(self, set_up):
        """The failure of a call that was not sent whole says that it was not billed."""
        bench = await set_up(Fault(cut="stall", place="before-body", times=None))
        unclaimed = []
        upload = EditRequest(png(pad=4_000_000), "a hat", **SMALL)
        async with bench.client.map([upload], on_exit="cancel", on_unclaimed=unclaimed.append) as outcomes:
            waiting = asyncio.create_task(anext(outcomes))
            await until(lambda: bench.posts == 1)
            waiting.cancel()
            await asyncio.wait([waiting])

        (outcome,) = unclaimed
        assert isinstance(outcome.error, errors.ConnectionFailedError)
        assert "Nothing was billed" in str(outcome.error)
        assert 0 == bench.billed

    async def test_a_call_that_was_fetching_its_images_tells_where_they_are(self, set_up):
        """A cancelled call whose images are paid gives their URLs, which `fetch` downloads."""
        bench = await set_up(Fault(operation="downloads", cut="stall"))
        unclaimed = []
        made = GenerationRequest("otter", model="dall-e-2", size="256x256")
        async with bench.client.map([made], on_exit="cancel", on_unclaimed=unclaimed.append) as outcomes:
            waiting = asyncio.create_task(anext(outcomes))
            await until(lambda: bench.emulator.ledger.downloads)
            waiting.cancel()
            await asyncio.wait([waiting])

        (outcome,) = unclaimed
        (unfetched,) = outcome.error.unfetched
        image = await bench.client.fetch(unfetched.url, into=Memory())
        assert (256, 256) == (image.width, image.height)

    @pytest.mark.parametrize("on_exit", ["drain", "cancel"])
    async def test_closing_the_client_ends_a_map(self, set_up, on_exit):
        """After the client is closed, finished outcomes can be taken, and then an error is raised."""
        bench = await set_up(SLOW)
        outcomes = bench.client.map(endless([]), concurrency=3, on_exit=on_exit)
        seen = [await anext(outcomes)]
        await bench.client.aclose()
        with pytest.raises(errors.ClientClosedError, match="before all requests"):
            await take_all(outcomes, seen)

        sent = [o for o in seen if isinstance(o, Done) or not isinstance(o.error, errors.ConnectionFailedError)]
        assert bench.posts == len(sent)
        assert on_exit == "cancel" or all(isinstance(outcome, Done) for outcome in sent)
        assert [] == [outcome async for outcome in outcomes]

    async def test_a_closed_client_maps_nothing(self, set_up):
        """A closed client neither starts a map nor begins one that was made before."""
        bench = await set_up()
        early = bench.client.map(requests(1))
        await bench.client.aclose()

        with pytest.raises(errors.ClientClosedError):
            await anext(early)
        with pytest.raises(errors.ClientClosedError):
            bench.client.map(requests(1))
        assert 0 == bench.posts

    async def test_closing_may_be_cancelled(self, set_up):
        """If closing is cancelled, the calls finish and the connections are closed after them."""
        bench = await set_up(SLOW)
        outcomes = bench.client.map(endless([]), concurrency=2)
        waiting = asyncio.create_task(anext(outcomes))
        await until(lambda: bench.posts == 2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bench.client.aclose(), 0.01)
        with pytest.raises(errors.ClientClosedError):
            await bench.client.models()
        await bench.client.aclose()

        assert isinstance(await waiting, Done)
        assert isinstance(await anext(outcomes), Done)
        assert 2 == bench.posts == bench.billed

    @pytest.mark.parametrize("is_closing", [False, True])
    async def test_closing_can_cancel(self, set_up, is_closing):
        """`aclose(on_exit="cancel")` ends the calls and says what may have been billed."""
        bench = await set_up(Fault(cut="stall", billed=True, times=None))
        outcomes = bench.client.map(endless([]), concurrency=2)
        waiting = asyncio.create_task(anext(outcomes))
        await until(lambda: bench.posts == 2)
        if is_closing:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(bench.client.aclose(), 0.01)
        await bench.client.aclose(on_exit="cancel")

        failures = [await waiting, await anext(outcomes)]
        assert [errors.OutcomeUnknownError] * 2 == [type(outcome.error) for outcome in failures]
        assert keys_of(bench) == {outcome.error.idempotency_key for outcome in failures}

    @pytest.mark.parametrize("interrupts", [pytest.param(1, marks=pytest.mark.slow), 2])
    async def test_ctrl_c_lets_paid_calls_finish_and_a_second_one_ends_them(self, interrupts, tmp_path):
        """The first Ctrl-C waits for every image that was billed, and the second one cancels."""
        fault = SLOW if interrupts == 1 else Fault(cut="stall", billed=True, times=None)
        async with Emulator(faults=[fault]) as emulator:
            script = [sys.executable, "-c", SCRIPT, emulator.base_url, str(tmp_path / "out")]
            # Not on stderr, where development mode complains of a slow machine.
            process = await asyncio.create_subprocess_exec(*script, cwd=ROOT, stdout=PIPE, stderr=PIPE)
            await until(lambda: len(emulator.ledger.requests) >= 4)
            process.send_signal(signal.SIGINT)
            assert b"interrupted\n" == await process.stdout.readline()
            if interrupts == 2:
                process.send_signal(signal.SIGINT)
            _, said = await process.communicate()
            ledger = emulator.ledger

        assert -signal.SIGINT == process.returncode
        assert b"destroyed" not in said
        assert b"never" not in said
        if interrupts == 1:
            assert ledger.billed_images == len(ledger.requests) == len(list((tmp_path / "out").iterdir()))
        else:
            assert 4 == len(ledger.requests)
            assert b"4 requests may have been billed" in said
            assert all(request.idempotency_key.encode() in said for request in ledger.requests)


SCRIPT = """
import asyncio, itertools, signal, sys
from burncloud_images import AsyncImagesClient, Directory, GenerationRequest

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process would inherit that it is ignored

async def main():
    async with AsyncImagesClient("sk-emulator", sys.argv[1], model="gpt-image-2") as client:
        requests = (GenerationRequest(f"otter {number}", size="1024x640") for number in itertools.count())
        async with client.map(requests, into=Directory(sys.argv[2]), concurrency=4) as outcomes:
            try:
                async for outcome in outcomes:
                    pass
            finally:  # said once the block is being left: a second interrupt in here would be an error of the loop's
                asyncio.get_running_loop().call_soon(lambda: print("interrupted", flush=True))

asyncio.run(main())
"""


class TestMistakes:
    """What is no failure of a request."""

    async def test_an_exception_of_the_source_comes_last(self, set_up):
        """An exception of the source is raised after the outcomes of all running calls."""
        bench = await set_up(SLOW)

        def source():
            yield from requests(3)
            raise LookupError("line 4 is no prompt")

        seen = []
        with pytest.raises(LookupError, match="line 4"):
            await take_all(bench.client.map(source()), seen)

        assert [0, 1, 2] == sorted(outcome.index for outcome in seen)
        assert 3 == bench.billed

    @pytest.mark.parametrize("ordered", [False, True])
    async def test_a_mistake_in_a_sink_comes_last(self, set_up, ordered):
        """An exception of a sink stops new requests and is raised after all outcomes."""
        bench = await set_up()

        class Broken(Memory):
            def open(self, placement):
                if placement.prompt == "otter 1":
                    raise ZeroDivisionError
                return super().open(placement)

        seen, pulled = [], []
        with pytest.raises(ZeroDivisionError):
            await take_all(bench.client.map(endless(pulled), into=Broken(), concurrency=2, ordered=ordered), seen)

        assert sorted({*range(len(pulled))} - {1}) == sorted(outcome.index for outcome in seen)
        assert bench.posts == len(pulled)

    async def test_only_the_first_mistake_is_raised(self, set_up, lost):
        """Further exceptions go to the loop's exception handler."""
        bench = await set_up()

        class Broken(Memory):
            async def prepare(self, placement, count):
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await take_all(bench.client.map(requests(3), into=Broken(), concurrency=3), [])

        assert [ZeroDivisionError] * 2 == [type(context["exception"]) for context in lost]
        lost.clear()

    async def test_a_mistake_that_nobody_takes_is_reported(self, set_up, lost):
        """An exception that a left loop cannot raise is reported to the loop's exception handler."""
        bench = await set_up()

        def source():
            yield from requests(1)
            raise LookupError

        async with bench.client.map(source()) as outcomes:
            await anext(outcomes)

        assert [LookupError] == [type(context["exception"]) for context in lost]
        lost.clear()

    async def test_what_is_no_request_is_refused(self, set_up):
        """An item that is not a request is refused."""
        bench = await set_up()
        with pytest.raises(TypeError, match="takes requests, not str"):
            await take_all(bench.client.map(["a sea otter"]), [])

        assert 0 == bench.posts

    async def test_a_cancelled_source_cancels(self, set_up):
        """A source that raises a cancellation cancels the loop."""
        bench = await set_up()

        async def source():
            yield requests(1)[0]
            raise asyncio.CancelledError

        seen = []
        with pytest.raises(asyncio.CancelledError):
            await take_all(bench.client.map(source()), seen)

        assert 1 == len(seen)

    async def test_a_source_that_clings_to_life_gets_nothing_sent(self, set_up):
        """A request that a source yields after it was cancelled is not sent."""
        bench = await set_up()

        async def source():
            yield requests(1)[0]
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            yield requests(1)[0]

        async with bench.client.map(source()) as outcomes:
            await anext(outcomes)
            await asyncio.sleep(0)

        assert 1 == bench.posts == bench.billed

    async def test_a_failure_keeps_no_variables_of_its_call(self, set_up):
        """A failure keeps the lines of its traceback but no variables."""
        bench = await set_up(Fault(status=400))
        (outcome,) = [o async for o in bench.client.map(requests(1))]

        frames = [frame for frame, _ in traceback.walk_tb(outcome.error.__traceback__)]
        assert len(frames) > 3
        assert [{}] * len(frames) == [frame.f_locals for frame in frames]
        assert "call.py" in "".join(traceback.format_exception(outcome.error))
