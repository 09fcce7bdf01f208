"""The calls of a map, with a fake in place of what sends: complete and in order, whatever takes how long."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from fakes import until
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images import Done, Failed, GenerationRequest, errors
from burncloud_images.calls.background import Background
from burncloud_images.calls.map import MapRun
from burncloud_images.calls.map_limits import InFlightLimit
from burncloud_images.calls.map_outcomes import Outcomes
from burncloud_images.calls.unclaimed import Losses, Unclaimed
from burncloud_images.errors import Phase
from burncloud_images.results import Attempt, Image, ImagesResult

pytestmark = pytest.mark.ways("tls")


class FakeSender:
    """Answers after some turns of the loop, as the prompt says; counts what runs."""

    def __init__(self):
        self.running = 0
        self.most = 0
        self.keys = []

    async def send(self, request, key, hooks):
        self.keys.append(key)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            turns, size = map(int, request.prompt.split())
            await hooks.before_attempt()
            for _ in range(turns):
                await asyncio.sleep(0)
            if size < 0:
                raise errors.ConnectionFailedError("no")
            return ImagesResult(images=(Image(data=bytes(size)),))
        finally:
            self.running -= 1


def start(requests, send, *, on_unclaimed=None, on_exit="drain", concurrency=3, most_bytes=100, ordered=False):
    window = InFlightLimit(concurrency=concurrency, most_bytes=most_bytes, ordered=ordered)
    unclaimed = Unclaimed(show=on_unclaimed)
    calls = MapRun(
        requests=requests, send=send, window=window, on_exit=on_exit, unclaimed=unclaimed, background=Background()
    )
    return Outcomes(calls)


PLANS = st.lists(st.tuples(st.integers(0, 6), st.integers(-2, 60)), max_size=25)


BOUNDS = st.fixed_dictionaries(
    {"concurrency": st.integers(1, 5), "most_bytes": st.sampled_from([100, 10**9]), "ordered": st.booleans()}
)


@given(PLANS, BOUNDS, st.booleans())
def test_every_request_has_one_outcome_in_any_or_its_order(plans, bounds, is_async):
    """Whatever takes how long, is how large, or fails."""
    requests = [GenerationRequest(f"{turns} {size}") for turns, size in plans]

    async def source():
        for request in requests:
            await asyncio.sleep(0)
            yield request

    async def collect():
        sender = FakeSender()
        outcomes = start(source() if is_async else requests, sender.send, **bounds)
        collected = [outcome async for outcome in outcomes]
        return sender, collected

    sender, outcomes = asyncio.run(collect())

    indexes = [outcome.index for outcome in outcomes]
    assert list(range(len(plans))) == (indexes if bounds["ordered"] else sorted(indexes))
    assert all(outcome.request is requests[outcome.index] for outcome in outcomes)
    for outcome in outcomes:
        _, size = plans[outcome.index]
        assert isinstance(outcome, Failed) if size < 0 else size == outcome.result.image.size
    assert sender.most <= bounds["concurrency"]
    assert len(set(sender.keys)) == len(plans)


@given(PLANS, st.integers(0, 10), BOUNDS, st.sampled_from(["drain", "cancel"]), st.booleans())
def test_what_is_left_is_taken_or_unclaimed(plans, stay, bounds, on_exit, in_block):
    """However early, and however: each request that was pulled has one outcome."""
    pulled, unclaimed, taken = [], [], []

    def source():
        for turns, size in plans:
            pulled.append(1)
            yield GenerationRequest(f"{turns} {size}")

    async def leave_early():
        outcomes = start(source(), FakeSender().send, on_unclaimed=unclaimed.append, on_exit=on_exit, **bounds)
        calls = outcomes._calls
        if in_block:
            async with outcomes:
                taken.extend([outcome async for _, outcome in azip(stay, outcomes)])
        else:
            taken.extend([outcome async for _, outcome in azip(stay, outcomes)])
            del outcomes
        await calls.ended.wait()
        await asyncio.sleep(0)
        assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    asyncio.run(leave_early())

    assert list(range(len(pulled))) == sorted(outcome.index for outcome in (*taken, *unclaimed))


async def azip(count, outcomes):
    if count:
        numbers = itertools.count(1)
        async for outcome in outcomes:
            number = next(numbers)
            yield number, outcome
            if number == count:
                return


class Held:
    """Sends nothing until it is told how a call is to end."""

    def __init__(self):
        self.hooks = []
        self.ends = []

    async def send(self, _request, _key, hooks):
        end = asyncio.get_running_loop().create_future()
        self.hooks.append(hooks)
        self.ends.append(end)
        await hooks.before_attempt()
        return await end


async def leave_with(held, *, on_exit="drain"):
    """Start one call and leave the map while it runs; return what becomes of it."""
    unclaimed = []
    outcomes = start([GenerationRequest("otter")], held.send, on_unclaimed=unclaimed.append, on_exit=on_exit)
    waiting = asyncio.create_task(anext(outcomes))
    await until(lambda: held.hooks)
    closing = asyncio.create_task(outcomes.aclose())
    await asyncio.sleep(0)
    return unclaimed, closing, waiting


def attempt(wait=None):
    return Attempt(number=1, phase=Phase.STATUS, elapsed=0.1, wait=wait)


async def test_a_call_in_doubt_is_drained_to_its_end():
    """It may have been paid for, and a server that knows its key is asked for the image again."""
    held = Held()
    unclaimed, closing, waiting = await leave_with(held)
    await held.hooks[0].after_attempt(attempt(wait=1.0), errors.OutcomeUnknownError("cut"))
    await held.hooks[0].after_attempt(attempt(wait=1.0), errors.RateLimitError("later", status=429))
    held.ends[0].set_result(ImagesResult(images=()))
    await closing

    assert [Done] == [type(outcome) for outcome in unclaimed]
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_a_call_that_is_refused_while_it_is_drained_is_given_up():
    """It would be tried again, and so be bought after all."""
    held, unclaimed, refused = Held(), [], errors.RateLimitError("later", status=429)

    async def send(request, key, hooks):
        await held.send(request, key, hooks)
        await hooks.after_attempt(attempt(wait=1.0), refused)
        await asyncio.Event().wait()

    outcomes = start([GenerationRequest("otter")], send, on_unclaimed=unclaimed.append)
    waiting = asyncio.create_task(anext(outcomes))
    await until(lambda: held.hooks)
    closing = asyncio.create_task(outcomes.aclose())
    await asyncio.sleep(0)
    held.ends[0].set_result(None)
    await closing

    assert [refused] == [outcome.error for outcome in unclaimed]
    await asyncio.wait([waiting])


async def test_an_unknown_outcome_is_not_forgotten_for_a_later_attempt():
    """A cancelled call whose first attempt may have been billed says so, whatever the second one did."""
    held = Held()
    unclaimed = []
    outcomes = start([GenerationRequest("otter")], held.send, on_unclaimed=unclaimed.append, on_exit="cancel")
    waiting = asyncio.create_task(anext(outcomes))
    await until(lambda: held.hooks)
    unknown = errors.OutcomeUnknownError("cut")
    await held.hooks[0].after_attempt(attempt(wait=1.0), unknown)
    await held.hooks[0].before_attempt()
    await outcomes.aclose()

    assert [unknown] == [outcome.error for outcome in unclaimed]
    assert 1 == len(unknown.history)
    assert unknown.idempotency_key
    await asyncio.wait([waiting])


async def test_a_call_that_never_began_is_given_up():
    """Its task had no turn yet."""
    held, unclaimed = Held(), []
    requests = [GenerationRequest("otter")] * 2
    outcomes = start(requests, held.send, on_unclaimed=unclaimed.append, most_bytes=10**9)
    outcomes._calls.begin()
    await asyncio.sleep(0)  # the feeder's turn
    assert 2 == len(outcomes._calls.running)
    await outcomes.aclose()

    assert [] == held.hooks
    assert ["Nothing was billed" in str(outcome.error) for outcome in unclaimed] == [True, True]


async def test_what_was_lost_is_told_once():
    """However often the map is closed."""
    outcomes = start([GenerationRequest("0 9")] * 3, FakeSender().send, most_bytes=10**9)
    await anext(outcomes)
    with pytest.warns(errors.ImagesWarning, match="2 paid images"):
        await outcomes.aclose()
    await outcomes.aclose()


async def test_a_map_that_is_dropped_unused_leaves_nothing():
    """Nor keeps the client from closing."""
    outcomes = start([GenerationRequest("otter")], FakeSender().send)
    calls = outcomes._calls
    assert {calls} == calls.background.works
    del outcomes
    await asyncio.sleep(0)

    assert set() == calls.background.works
    assert calls.ended.is_set()


def test_a_map_may_outlive_its_loop():
    """Its end is then noticed by nobody, and harms nobody."""

    async def begin():
        return start([GenerationRequest("otter")], FakeSender().send)

    outcomes = asyncio.run(begin())
    del outcomes


def test_what_came_to_a_map_that_outlived_its_loop_is_unclaimed():
    """The program has ended without closing the client, and still wants to know what it paid for."""
    unclaimed = []

    async def begin():
        outcomes = start([GenerationRequest("0 9")] * 3, FakeSender().send, on_unclaimed=unclaimed.append)
        await anext(outcomes)
        await until(lambda: not outcomes._calls.running)
        return outcomes

    outcomes = asyncio.run(begin())
    del outcomes

    assert [Done, Done] == [type(outcome) for outcome in unclaimed]


def test_a_sum_over_many_maps_names_the_first_requests():
    """Or a client that lives for years would keep every key."""
    total = Losses()
    for number in range(500):
        losses = Losses()
        losses.count(
            Done(index=0, request=None, result=ImagesResult(images=(Image(data=b"x"),), idempotency_key=f"k{number}"))
        )
        total.add(losses)

    assert (500, 100) == (total.paid.count, len(total.paid.keys))
    assert "500 paid images were in memory only (k0, k1," in str(total)
    assert "k99 and 400 more)" in str(total)
