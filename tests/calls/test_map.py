"""The calls of a map, with a fake sender: every request has one outcome, in order if that was asked for."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from fakes import until
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images import Done, Failed, GenerationRequest, errors
from burncloud_images.calls.background import BackgroundTasks
from burncloud_images.calls.map import BUYING, OPEN, TAKEN, TRANSITIONS, MapRun, MapState
from burncloud_images.calls.map_limits import InFlightLimit
from burncloud_images.calls.map_outcomes import Outcomes
from burncloud_images.calls.unclaimed_outcomes import UnclaimedLosses, UnclaimedOutcomes
from burncloud_images.errors import Phase
from burncloud_images.results import Attempt, Image, ImagesResult

pytestmark = pytest.mark.ways("tls")


class FakeSender:
    """Answers after as many turns of the event loop as the prompt says, and counts the calls that run."""

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


def start(requests, send, *, on_unclaimed=None, on_exit="drain", concurrency=3, max_bytes=100, ordered=False):
    limit = InFlightLimit(concurrency=concurrency, max_bytes=max_bytes, ordered=ordered)
    unclaimed = UnclaimedOutcomes(show=on_unclaimed)
    run = MapRun(
        requests=requests, send=send, limit=limit, on_exit=on_exit, unclaimed=unclaimed, background=BackgroundTasks()
    )
    return Outcomes(run)


PLANS = st.lists(st.tuples(st.integers(0, 6), st.integers(-2, 60)), max_size=25)


BOUNDS = st.fixed_dictionaries(
    {"concurrency": st.integers(1, 5), "max_bytes": st.sampled_from([100, 10**9]), "ordered": st.booleans()}
)


@given(PLANS, BOUNDS, st.booleans())
def test_every_request_has_one_outcome_in_any_or_its_order(plans, bounds, is_async):
    """Every request has one outcome, however long its call takes, however large its image is, or if it fails."""
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
    """However and whenever the map is left, each request that was pulled has one outcome."""
    pulled, unclaimed, taken = [], [], []

    def source():
        for turns, size in plans:
            pulled.append(1)
            yield GenerationRequest(f"{turns} {size}")

    async def leave_early():
        outcomes = start(source(), FakeSender().send, on_unclaimed=unclaimed.append, on_exit=on_exit, **bounds)
        run = outcomes._run
        if in_block:
            async with outcomes:
                taken.extend([outcome async for _, outcome in azip(stay, outcomes)])
        else:
            taken.extend([outcome async for _, outcome in azip(stay, outcomes)])
            del outcomes
        await run.ended.wait()
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
    """Ends each call when the test says so."""

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
    """Start one call and leave the map while it runs; return its outcome and the tasks that wait."""
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
    """A call that may have been paid for goes on, and asks a server that knows its key for the image again."""
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
    """A refused call is cancelled while the map drains, since its next attempt would buy an image."""
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
    """A cancelled call reports its first attempt, which may have been billed, and not its second."""
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


async def test_an_unknown_outcome_with_images_tells_more_than_one_without():
    """A cancelled call reports the attempt that brought images, whichever it was."""
    held = Held()
    unclaimed = []
    outcomes = start([GenerationRequest("otter")], held.send, on_unclaimed=unclaimed.append, on_exit="cancel")
    waiting = asyncio.create_task(anext(outcomes))
    await until(lambda: held.hooks)
    await held.hooks[0].after_attempt(attempt(wait=1.0), errors.OutcomeUnknownError("cut"))
    fuller = errors.OutcomeUnknownError("cut later", images=[Image(data=b"otter")])
    await held.hooks[0].after_attempt(attempt(wait=1.0), fuller)
    await outcomes.aclose()

    assert [fuller] == [outcome.error for outcome in unclaimed]
    assert 2 == len(fuller.history)
    await asyncio.wait([waiting])


async def test_a_call_that_never_began_is_given_up():
    """A call whose task has not run yet is cancelled, and its outcome says that nothing was billed."""
    held, unclaimed = Held(), []
    requests = [GenerationRequest("otter")] * 2
    outcomes = start(requests, held.send, on_unclaimed=unclaimed.append, max_bytes=10**9)
    outcomes._run.begin()
    await asyncio.sleep(0)  # the feeder's turn
    assert 2 == len(outcomes._run.running)
    await outcomes.aclose()

    assert [] == held.hooks
    assert ["Nothing was billed" in str(outcome.error) for outcome in unclaimed] == [True, True]


async def test_what_was_lost_is_told_once():
    """The warning about lost images comes once, even if the map is closed twice."""
    outcomes = start([GenerationRequest("0 9")] * 3, FakeSender().send, max_bytes=10**9)
    await anext(outcomes)
    with pytest.warns(errors.ImagesWarning, match="2 paid images"):
        await outcomes.aclose()
    await outcomes.aclose()


async def test_a_map_that_is_dropped_unused_leaves_nothing():
    """A map that was never iterated ends when it is garbage-collected, and the client can close."""
    outcomes = start([GenerationRequest("otter")], FakeSender().send)
    run = outcomes._run
    assert {run} == run.background.works
    del outcomes
    await asyncio.sleep(0)

    assert set() == run.background.works
    assert run.ended.is_set()


def test_a_map_may_outlive_its_loop():
    """A map that is garbage-collected after its loop was closed raises nothing."""

    async def begin():
        return start([GenerationRequest("otter")], FakeSender().send)

    outcomes = asyncio.run(begin())
    del outcomes


def test_what_came_to_a_map_that_outlived_its_loop_is_unclaimed():
    """A program that ended without closing the client still receives the unclaimed outcomes."""
    unclaimed = []

    async def begin():
        outcomes = start([GenerationRequest("0 9")] * 3, FakeSender().send, on_unclaimed=unclaimed.append)
        await anext(outcomes)
        await until(lambda: not outcomes._run.running)
        return outcomes

    outcomes = asyncio.run(begin())
    del outcomes

    assert [Done, Done] == [type(outcome) for outcome in unclaimed]


def test_a_sum_over_many_maps_names_the_first_requests():
    """A sum keeps only the first 100 keys, since a client may live for years."""
    total = UnclaimedLosses()
    for number in range(500):
        losses = UnclaimedLosses()
        losses.count(
            Done(index=0, request=None, result=ImagesResult(images=(Image(data=b"x"),), idempotency_key=f"k{number}"))
        )
        total.add(losses)

    assert (500, 100) == (total.paid.count, len(total.paid.keys))
    assert "500 paid images were in memory only (k0, k1," in str(total)
    assert "k99 and 400 more)" in str(total)


class TestStates:
    """The table of a map's states."""

    def test_no_event_leads_back_to_buying(self):
        """A map that has stopped never starts a purchase again, whatever happens to it."""
        ways = [(before, after) for table in TRANSITIONS.values() for before, after in table.items()]
        assert [] == [way for way in ways if way[0] not in BUYING and way[1] in BUYING]

    def test_no_event_leads_back_to_taking(self):
        """Once outcomes are unclaimed, none goes into the queue again."""
        ways = [(before, after) for table in TRANSITIONS.values() for before, after in table.items()]
        assert [] == [way for way in ways if way[0] not in TAKEN and way[1] in TAKEN]

    def test_every_state_can_be_reached(self):
        """Every state but the first is the end of a transition."""
        assert set(MapState) - {MapState.NEW} == {after for table in TRANSITIONS.values() for after in table.values()}

    def test_every_open_state_can_stop_and_be_left(self):
        """A map can be closed and left at any time before."""
        assert OPEN < BUYING < TAKEN
        assert [BUYING, TAKEN] == [set(TRANSITIONS[event]) for event in ("stop", "leave")]

    @pytest.mark.parametrize(
        ("events", "state"),
        [
            (["wait"], MapState.PULLING),
            (["wait", "give up"], MapState.PAUSED),
            (["wait", "give up", "wait"], MapState.PULLING),
            (["wait", "end of requests", "give up"], MapState.UNATTENDED),
            (["wait", "give up", "end of requests"], MapState.UNATTENDED),
            (["wait", "give up", "end of requests", "wait"], MapState.FINISHING),
            (["wait", "stop", "wait"], MapState.STOPPING),
            (["wait", "stop", "give up"], MapState.STOPPING),
            (["stop", "leave", "stop"], MapState.LEFT),
            (["leave", "abandon", "leave"], MapState.ABANDONED),
        ],
    )
    async def test_events_lead_to_states(self, events, state):
        """Each sequence of events ends in its state."""
        run = start([], FakeSender().send)._run
        for event in events:
            run.move(event)
        assert state is run.state
