"""How fast requests start: no window too full, nobody overtaken, nothing waited for in vain. All in virtual time."""

from __future__ import annotations

import asyncio
import math
import random
import sys
from contextlib import asynccontextmanager

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual import LoopClock, simulate

from burncloud_images.bulk import pace
from burncloud_images.bulk.pace import AdaptiveConcurrency, CircuitBreaker, RateLimiter, RateWindow

CLOCK = LoopClock()
GUARD = pace.GUARD


@asynccontextmanager
async def slot(limit):
    """Hold a place of *limit* for as long as the block lasts."""
    await limit.acquire()
    try:
        yield
    finally:
        limit.release()


def fullest(passed, seconds):
    """Return the greatest sum within any half-open stretch of *seconds* of pairs of time and weight."""
    passed = sorted(passed)
    total, most, first = 0.0, 0.0, 0
    for at, weight in passed:
        total += weight
        while passed[first][0] + seconds <= at:
            total -= passed[first][1]
            first += 1
        most = max(most, total)
    return most


# --- the pacer -------------------------------------------------------------------------------------------------------


@attrs.frozen
class Arrival:
    """A request: how long after the one before it asks, what it weighs, and how long it has patience."""

    gap: float
    weights: dict[str, float]
    patience: float = math.inf


async def play(pacer, arrivals):
    """Let requests ask as they arrive; return when each arrived and when it passed, None if it lost its patience."""
    clock, asked, passed = CLOCK, [], [None] * len(arrivals)

    async def ask(number, weights, patience):
        try:
            async with asyncio.timeout(None if math.isinf(patience) else patience):
                await pacer.acquire(weights)
        except TimeoutError:
            return
        passed[number] = clock.monotonic()

    async with asyncio.TaskGroup() as group:
        for number, arrival in enumerate(arrivals):
            if arrival.gap:
                await clock.sleep(arrival.gap)
            asked.append(clock.monotonic())
            group.create_task(ask(number, arrival.weights, arrival.patience))
            await asyncio.sleep(0)
    return asked, passed


def expect(limits, asked, passed, arrivals):
    """Return when each request ought to pass, by trying all times at which something can change."""
    expected, entries, before = [], {name: [] for name in limits}, 0.0
    for at, came, arrival in zip(asked, passed, arrivals, strict=True):
        if came is None:  # whoever waited behind it did so until it lost its patience
            expected.append(None)
            before = max(before, at + arrival.patience)
            continue
        earliest = max(at, before)
        ends = (end for each in entries.values() for end, _ in each)
        for moment in sorted({earliest, *(end for end in ends if end > earliest)}):
            if all(
                fits(entries[name], arrival.weights.get(name, 0), window.amount, moment)
                for name, window in limits.items()
            ):
                break
        expected.append(moment)
        before = came
        for name, window in limits.items():
            weight = arrival.weights.get(name, 0)
            entries[name].append((came + window.seconds * max(1, weight / window.amount) + GUARD, weight))
    return expected


def fits(entries, weight, amount, moment):
    used = sum(share for end, share in entries if end > moment)
    return weight == 0 or used + weight <= amount or used == 0


names = st.sampled_from(["requests", "images", "tokens"])
windows = st.builds(RateWindow, st.integers(1, 12), st.sampled_from([1.0, 2.5, 60.0]))
gaps = st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.3, 1.0, 7.0])
arrivals = st.lists(
    st.builds(
        Arrival,
        gaps,
        st.dictionaries(names, st.integers(0, 15)),
        st.sampled_from([math.inf, math.inf, 0.05, 1.0, 30.0]),
    ),
    max_size=40,
)


class TestWindows:
    """However requests arrive, no window is ever too full, and none waits longer than it has to."""

    @given(st.dictionaries(names, windows), arrivals)
    def test_no_window_ever_holds_more_than_its_amount(self, limits, arrivals):
        """A request that is heavier than a whole limit passes alone."""
        _, passed = simulate(play_with(limits, arrivals))

        for name, window in limits.items():
            entries = [
                (at, arrival.weights.get(name, 0))
                for at, arrival in zip(passed, arrivals, strict=True)
                if at is not None and arrival.weights.get(name, 0)
            ]
            light = [entry for entry in entries if entry[1] <= window.amount]
            assert fullest(light, window.seconds) <= window.amount
            for at, weight in entries:
                if weight > window.amount:
                    around = [other for other, _ in entries if abs(other - at) < window.seconds]
                    assert [at] == around

    @given(st.dictionaries(names, windows), arrivals)
    def test_everybody_passes_at_the_first_moment_that_is_possible(self, limits, arrivals):
        """In the order in which they came; who loses patience leaves no trace."""
        asked, passed = simulate(play_with(limits, arrivals))

        came = [at for at in passed if at is not None]
        assert sorted(came) == came
        expected = expect(limits, asked, passed, arrivals)
        assert [at if at is None else pytest.approx(at, abs=1e-6) for at in expected] == passed

    def test_a_limit_of_50_a_second_lets_50_through_in_any_second(self):
        """No second has more than 50 permits, and 200 waiting requests take little more than three seconds."""
        _, passed = simulate(play_with({"requests": RateWindow(50, 1)}, [Arrival(0, {"requests": 1})] * 200))

        assert 50 == fullest([(at, 1) for at in passed], 1)
        assert [50] * 4 == [passed.count(at) for at in sorted(set(passed))]
        assert 3 < max(passed) < 3.1

    @given(windows, st.lists(st.tuples(gaps, st.floats(0, 0.25)), max_size=40))
    def test_a_server_sees_no_window_too_full_either(self, window, plan):
        """However long requests take to it, if that differs by no more than the slack."""
        limits, arrivals = {"requests": window}, [Arrival(gap, {"requests": 1}) for gap, _ in plan]

        async def main():
            return await play(RateLimiter(limits, CLOCK, slack=0.25), arrivals)

        _, passed = simulate(main())
        arrived = [(at + delay, 1) for at, (_, delay) in zip(passed, plan, strict=True)]
        assert fullest(arrived, window.seconds) <= window.amount

    def test_without_slack_a_server_may_see_a_window_too_full(self):
        """The control: the first ones take longer than those after them."""
        _, passed = simulate(play_with({"requests": RateWindow(50, 60)}, [Arrival(0, {"requests": 1})] * 100))
        delays = [0.25] * 50 + [0.01] * 50

        arrived = [(at + delay, 1) for at, delay in zip(passed, delays, strict=True)]
        assert 100 == fullest(arrived, 60)

    def test_a_token_bucket_of_the_same_rate_would_be_caught(self):
        """The check sees what it is there for."""
        passed = simulate(drain(Bucket(50, 1), 200))

        assert 90 < fullest([(at, 1) for at in passed], 1) <= 100

    def test_a_window_of_fixed_seconds_would_be_caught(self):
        """Counters that start anew at each full second let twice the limit through about it."""
        arrivals = [0.9] * 50 + [1.0] * 50

        assert 100 == fullest([(at, 1) for at in arrivals], 1)

    def test_a_heavy_request_is_not_overtaken(self):
        """Light ones that come later wait, however well they would fit."""
        arrivals = [
            Arrival(0, {"images": 6}),
            Arrival(0.1, {"images": 10}),
            *[Arrival(0.1, {"images": 1}) for _ in range(5)],
        ]
        _, passed = simulate(play_with({"images": RateWindow(10, 60)}, arrivals))

        assert [0, 60] == [pytest.approx(at, abs=0.1) for at in passed[:2]]
        assert all(at >= 120 for at in passed[2:])

    def test_the_rate_holds_for_requests_that_are_heavier_than_their_limit(self):
        """Half a request a minute is one every two minutes."""
        _, passed = simulate(play_with({"requests": RateWindow(0.5, 60)}, [Arrival(0, {"requests": 1})] * 4))

        assert [0, 120, 240, 360] == [pytest.approx(at, abs=0.1) for at in passed]

    def test_without_limits_nobody_waits(self):
        """Without limits, or with no weight, nothing waits."""
        _, passed = simulate(play_with({}, [Arrival(0, {"requests": 1e9})] * 100))
        assert [0.0] * 100 == passed

        _, passed = simulate(
            play_with({"tokens": RateWindow(1, 60)}, [Arrival(0, {"tokens": 1}), Arrival(0, {"tokens": 0})])
        )
        assert [0.0, 0.0] == passed

    def test_fractions_leave_nothing_behind(self):
        """A thousand tenths come and go, and the window is as empty as before."""
        arrivals = [Arrival(0, {"tokens": 0.1})] * 1000

        _, passed = simulate(play_with({"tokens": RateWindow(1, 1)}, arrivals))

        assert fullest([(at, 0.1) for at in passed], 1) <= 1 + 1e-9
        assert max(passed) < 103

    def test_nobody_looks_twice(self):
        """Whoever waits sleeps once, until its moment; the others do not sleep at all."""

        async def main():
            clock = CountingClock()
            pacer = RateLimiter({"tokens": RateWindow(10, 60)}, clock)
            await play(pacer, [Arrival(1, {"tokens": 1})] * 10 + [Arrival(0, {"tokens": 9})] * 5)
            return clock.sleeps

        assert 5 == simulate(main())

    @pytest.mark.parametrize("weight", [-1, math.nan, math.inf])
    def test_what_is_no_weight_is_refused(self, weight):
        """It would wait for ever, or make others."""
        weights, pacer = {"tokens": weight}, RateLimiter({}, CLOCK)
        with pytest.raises(ValueError, match="tokens has to be a number from 0 on"):
            simulate(pacer.acquire(weights))

    @pytest.mark.parametrize("values", [(0, 1), (-1, 1), (1, 0), (math.nan, 1), (1, math.inf)])
    def test_what_is_no_window_is_refused(self, values):
        """An amount or a length of nothing."""
        with pytest.raises(ValueError, match="has to be a number above 0"):
            RateWindow(*values)


async def play_with(limits, arrivals):
    return await play(RateLimiter(limits, CLOCK), arrivals)


class CountingClock(LoopClock):
    """Counts who sleeps."""

    sleeps = 0

    async def sleep(self, seconds):
        self.sleeps += 1
        await super().sleep(seconds)


class Bucket:
    """A token bucket, as a control: full at first, and filled at its rate."""

    def __init__(self, amount, seconds):
        self.amount, self.rate, self.level, self.at = amount, amount / seconds, amount, 0.0
        self.lock = asyncio.Lock()

    async def acquire(self, weights):
        async with self.lock:
            while True:
                now = CLOCK.monotonic()
                self.level, self.at = min(self.amount, self.level + (now - self.at) * self.rate), now
                if self.level >= 1:
                    self.level -= 1
                    return
                await CLOCK.sleep((1 - self.level) / self.rate + 1e-9)


async def drain(pacer, number):
    passed = []
    for _ in range(number):
        await pacer.acquire({"requests": 1})
        passed.append(CLOCK.monotonic())
    return passed


class TestCancellation:
    """Who gives up leaves the queue and spends nothing."""

    def test_the_first_in_the_queue_gives_way_to_the_next(self):
        """When the first in the queue is cancelled, the next passes at the same time."""

        async def main():
            pacer = RateLimiter({"requests": RateWindow(1, 10)}, CLOCK)
            await pacer.acquire({"requests": 1})
            first, second = (asyncio.create_task(pacer.acquire({"requests": 1})) for _ in range(2))
            await CLOCK.sleep(5)
            first.cancel()
            await second
            return CLOCK.monotonic(), first.cancelled()

        assert (pytest.approx(10, abs=0.1), True) == simulate(main())

    def test_one_in_the_middle_is_passed_over(self):
        """Whether it gives up before its turn or in the same moment."""

        async def main():
            pacer = RateLimiter({"requests": RateWindow(1, 10)}, CLOCK)
            passed = []

            async def ask(name):
                await pacer.acquire({"requests": 1})
                passed.append((name, round(CLOCK.monotonic())))

            tasks = {name: asyncio.create_task(ask(name)) for name in "abcd"}
            await asyncio.sleep(0)
            tasks["b"].cancel()
            await CLOCK.sleep(10 + GUARD)
            tasks["c"].cancel()
            await asyncio.wait(tasks.values())
            return passed

        assert simulate(main()) in ([("a", 0), ("d", 10)], [("a", 0), ("c", 10), ("d", 20)])

    @given(st.integers(0, 30))
    def test_a_permit_that_was_given_counts(self, loops):
        """However few rounds of the loop later its owner is cancelled, either it was told or nothing was spent."""

        async def main():
            pacer = RateLimiter({"requests": RateWindow(1, 10)}, CLOCK)
            told = []

            async def ask():
                await pacer.acquire({"requests": 1})
                told.append(CLOCK.monotonic())

            tasks = [asyncio.create_task(ask()) for _ in range(3)]
            for _ in range(loops):
                await asyncio.sleep(0)
            tasks[0].cancel()
            await asyncio.wait(tasks)
            return [round(at) for at in told]

        told = simulate(main())
        assert told in ([0, 10, 20], [0, 10])
        assert loops or [0, 10] == told


class TestPauses:
    """What a server asks for holds everybody."""

    def test_nobody_passes_during_a_pause(self):
        """Not even who was about to; the longest pause counts."""

        async def main():
            pacer = RateLimiter({"requests": RateWindow(1, 1)}, CLOCK)
            await pacer.acquire({"requests": 1})
            waiting = asyncio.create_task(pacer.acquire({"requests": 1}))
            await CLOCK.sleep(0.5)
            pacer.pause(30)
            pacer.pause(2)
            permit = await waiting
            return permit.at, pacer.paused_until

        assert (pytest.approx(30.5), pytest.approx(30.5)) == simulate(main())

    def test_a_pause_is_no_permit_to_catch_up(self):
        """After it the window is as narrow as before."""

        async def main():
            pacer = RateLimiter({"requests": RateWindow(2, 10)}, CLOCK)
            pacer.pause(100)
            return [(await pacer.acquire({"requests": 1})).at for _ in range(4)]

        assert [pytest.approx(at, abs=0.1) for at in (100, 100, 110, 110)] == simulate(main())

    @pytest.mark.parametrize("seconds", [-1, math.nan, math.inf])
    def test_what_is_no_pause_is_refused(self, seconds):
        """A pause of nan would never end, or never begin."""
        with pytest.raises(ValueError, match="a pause has to be a number from 0 on"):
            RateLimiter({}, CLOCK).pause(seconds)


class TestHistory:
    """A limit holds over a restart, and over what turned out to be more than expected."""

    @given(st.lists(st.floats(0, 59), min_size=1, max_size=10))
    def test_what_was_sent_before_counts(self, ages):
        """In whatever order it is told."""

        async def main():
            await CLOCK.sleep(1000)
            pacer = RateLimiter({"requests": RateWindow(10, 60)}, CLOCK)
            pacer.restore([(age, {"requests": 1}) for age in ages])
            asked = CLOCK.monotonic()
            passed = [(await pacer.acquire({"requests": 1})).at for _ in range(12)]
            return [(asked - age, 1) for age in ages] + [(at, 1) for at in passed]

        assert fullest(simulate(main()), 60) <= 10

    def test_what_is_longer_ago_does_not_count(self):
        """Old permits and those without a limit do not count; future ones count as of now."""

        async def main():
            pacer = RateLimiter({"images": RateWindow(2, 60)}, CLOCK)
            pacer.restore([(61, {"images": 2}), (0, {"requests": 9}), (-500, {"images": 1})])
            return [(await pacer.acquire({"images": 1})).at for _ in range(2)]

        assert [pytest.approx(at, abs=0.1) for at in (0, 60)] == simulate(main())

    def test_what_was_no_weight_is_refused(self):
        """As it is of a request."""

        async def main():
            RateLimiter({}, CLOCK).restore([(1, {"tokens": math.nan})])

        with pytest.raises(ValueError, match="tokens has to be a number from 0 on"):
            simulate(main())

    def test_more_than_fits_is_waited_out(self):
        """As after a limit was lowered."""

        async def main():
            pacer = RateLimiter({"images": RateWindow(2, 60)}, CLOCK)
            pacer.restore([(50 - number, {"images": 1}) for number in range(6)])
            return (await pacer.acquire({"images": 1})).at

        assert pytest.approx(14, abs=0.1) == simulate(main())

    def test_what_was_taken_beyond_a_weight_can_be_added(self):
        """The next one waits for it."""

        async def main():
            pacer = RateLimiter({"tokens": RateWindow(100, 60)}, CLOCK)
            await pacer.acquire({"tokens": 50})
            await CLOCK.sleep(30)
            pacer.restore([(0.0, {"tokens": 40, "requests": 1})])
            return [(await pacer.acquire({"tokens": 30})).at for _ in range(3)]

        assert [pytest.approx(at, abs=0.1) for at in (60, 60, 90)] == simulate(main())


class TestAllowances:
    """What a server says is left of its limits is all that passes until they are reset."""

    def test_nothing_passes_while_nothing_is_left(self):
        """Nothing passes until the server's limit resets, and then that limit is forgotten."""

        async def main():
            pacer = RateLimiter({}, CLOCK)
            pacer.observe("requests", 0, 12)
            return [(await pacer.acquire({"requests": 1})).at for _ in range(3)]

        assert [12, 12, 12] == simulate(main())

    def test_what_is_left_passes(self):
        """By weight; what weighs nothing of it does too."""

        async def main():
            pacer = RateLimiter({}, CLOCK)
            pacer.observe("images", 4, 30)
            weights = [{"images": 2}, {"images": 2}, {"requests": 1}, {"images": 1}, {"images": 2}]
            return [(await pacer.acquire(weight)).at for weight in weights]

        assert [0, 0, 0, 30, 30] == simulate(main())

    def test_what_weighs_nothing_is_not_held(self):
        """A request without weight passes even if more is in flight than was left."""

        async def main():
            pacer = RateLimiter({}, CLOCK)
            permit = await pacer.acquire({"images": 0})
            await pacer.acquire({"images": 9})
            pacer.observe("images", 2, 30, permit)
            return [(await pacer.acquire({"images": weight})).at for weight in (0, 1)]

        assert [0, 30] == simulate(main())

    def test_an_answer_is_as_old_as_its_request(self):
        """What was let through since is taken off, and the time until the reset began then."""

        async def main():
            pacer = RateLimiter({}, CLOCK)
            permits = [await pacer.acquire({"requests": 1}) for _ in range(4)]
            await CLOCK.sleep(10)
            pacer.observe("requests", 5, 60, permits[0])
            return [(await pacer.acquire({"requests": 1})).at for _ in range(3)]

        assert [10, 10, 60] == simulate(main())

    def test_the_answer_to_the_latest_request_counts(self):
        """Answers overtake one another."""

        async def main():
            pacer = RateLimiter({}, CLOCK)
            early, late = [await pacer.acquire({"requests": 1}) for _ in range(2)]
            pacer.observe("requests", 3, 60, late)
            pacer.observe("requests", 0, 60, early)
            return [(await pacer.acquire({"requests": 1})).at for _ in range(4)]

        assert [0, 0, 0, 60] == simulate(main())

    def test_what_is_told_later_counts(self):
        """Where it is not known which request was answered."""

        async def main():
            pacer = RateLimiter({}, CLOCK)
            pacer.observe("requests", 9, 60)
            pacer.observe("requests", 0, 20)
            return (await pacer.acquire({"requests": 1})).at

        assert 20 == simulate(main())

    def test_a_reset_that_is_over_when_the_answer_comes_holds_nobody(self):
        """Images take longer than some windows."""

        async def main():
            pacer = RateLimiter({}, CLOCK)
            permit = await pacer.acquire({"requests": 1})
            await CLOCK.sleep(90)
            pacer.observe("requests", 0, 60, permit)
            return (await pacer.acquire({"requests": 1})).at

        assert 90 == simulate(main())

    def test_no_more_than_two_minutes_are_believed(self):
        """A limit by the day is asked for now and then."""

        async def main():
            pacer = RateLimiter({}, CLOCK)
            pacer.observe("requests", 0, 86_400)
            return (await pacer.acquire({"requests": 1})).at

        assert 120 == simulate(main())

    def test_a_request_that_is_heavier_than_what_a_server_has_passes_after_the_reset(self):
        """It does not wait for ever."""

        async def main():
            pacer = RateLimiter({}, CLOCK)
            pacer.observe("tokens", 10, 5)
            return [(await pacer.acquire({"tokens": 1000})).at for _ in range(2)]

        assert [5, 5] == simulate(main())


# --- the adaptive limit ----------------------------------------------------------------------------------------------


class Busy(Exception):  # noqa: N818
    """An answer 429."""


class HiddenCapacity:
    """A server that refuses whatever is more than it can take at once, and says so at once."""

    def __init__(self, capacity, seed, failing=0.0):
        self.capacity, self.random, self.failing = capacity, random.Random(seed), failing
        self.running, self.served, self.refused = 0, [], []

    async def serve(self):
        await CLOCK.sleep(0.02)
        if self.running >= self.capacity or self.random.random() < self.failing:
            self.refused.append(CLOCK.monotonic())
            raise Busy
        self.running += 1
        try:
            await CLOCK.sleep(self.random.lognormvariate(math.log(20), 0.4))
        finally:
            self.running -= 1
        self.served.append(CLOCK.monotonic())

    def rate(self, since, until):
        return sum(since <= at < until for at in self.served) / (until - since)

    def share_refused(self, since, until):
        served = sum(since <= at < until for at in self.served)
        refused = sum(since <= at < until for at in self.refused)
        return refused / (served + refused)


class FixedLimit(AdaptiveConcurrency):
    """Never changes: a control that knows the capacity."""

    def reject(self, since):
        pass

    def succeed(self):
        pass


class WithoutPlateau(AdaptiveConcurrency):
    """Grows as fast near the ceiling as anywhere: a control."""

    def _needed(self):
        return 10


class WithoutCuts(AdaptiveConcurrency):
    """Takes no notice of refusals: a control."""

    def reject(self, since):
        pass


async def run_against(server, limit, *, workers, seconds, change=None):
    """Keep *workers* busy for so long; who is refused comes back after a moment, as a retry does."""

    async def work():
        while CLOCK.monotonic() < seconds:
            async with slot(limit):
                since = CLOCK.monotonic()
                try:
                    await server.serve()
                except Busy:
                    limit.reject(since)
                    refused = True
                else:
                    limit.succeed()
                    refused = False
            if refused:
                await CLOCK.sleep(server.random.uniform(0.1, 1.0))

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
        for at, capacity in change or ():
            await CLOCK.sleep(at - CLOCK.monotonic())
            server.capacity = capacity
    return server


LONG = 1600
"""Seconds of a trial; what longer ones show differs by less than a percent."""


def try_limit(kind, most, *, capacity=40, seed=1, seconds=LONG, failing=0.0, change=None, **options):
    async def main():
        server = HiddenCapacity(capacity, seed, failing)
        limit = kind(most, CLOCK, **options)
        await run_against(server, limit, workers=most, seconds=seconds, change=change)
        assert 0 == limit.running
        return server, limit

    return simulate(main())


WARM = 400
"""Seconds of warm-up: twenty answers long."""


class TestAdaptation:
    """A capacity that nobody tells is found and used, at the price of few refusals."""

    @pytest.mark.sampled(4)
    @pytest.mark.parametrize("seed", [1, 2])
    @pytest.mark.parametrize("most", [64, 200])
    def test_a_hidden_capacity_of_40_is_used(self, most, seed, capsys):
        """At least 95 % of what a client gets that knows it, and fewer than 1 % of the requests refused."""
        server, _ = try_limit(AdaptiveConcurrency, most, seed=seed)
        known, _ = try_limit(FixedLimit, 40, seed=seed)

        share = server.rate(WARM, LONG) / known.rate(WARM, LONG)
        refused = server.share_refused(WARM, LONG)
        with capsys.disabled():
            sys.stdout.write(f"\n  capacity 40, most {most}, seed {seed}: {share:.1%} of it, {refused:.2%} refused")
        assert share >= 0.95
        assert refused < 0.01

    @pytest.mark.parametrize("capacity", [3, 10, pytest.param(60, marks=pytest.mark.slow)])
    def test_any_other_capacity_is_used_too(self, capacity):
        """Of three places one more is much to try: small ones refuse more."""
        server, _ = try_limit(AdaptiveConcurrency, 150, capacity=capacity, seconds=LONG)
        known, _ = try_limit(FixedLimit, capacity, capacity=capacity, seconds=LONG)

        assert server.rate(WARM, LONG) / known.rate(WARM, LONG) >= 0.95
        assert server.share_refused(WARM, LONG) < (0.01 if capacity >= 10 else 0.06)

    def test_without_a_plateau_it_is_not(self):
        """The control: a saw of equal teeth uses less."""
        server, _ = try_limit(WithoutPlateau, 64)
        known, _ = try_limit(FixedLimit, 40)

        assert server.rate(WARM, LONG) / known.rate(WARM, LONG) < 0.95

    def test_who_takes_no_notice_of_refusals_is_refused_much(self):
        """The control: the server's 429 are there."""
        server, _ = try_limit(WithoutCuts, 64, seconds=60)

        assert server.share_refused(30, 60) > 0.5

    def test_a_capacity_that_changes_is_followed(self):
        """Down at once, up within some dozens of answers' time."""
        server, limit = try_limit(AdaptiveConcurrency, 64, seconds=3000, change=[(800, 15), (1600, 60)])

        assert 0.9 < server.rate(1100, 1600) / (15 / mean_answer()) < 1.05
        assert 0.85 < server.rate(2500, 3000) / (60 / mean_answer()) < 1.05
        assert server.share_refused(1100, 1600) < 0.01
        assert limit.level >= 40

    def test_a_server_that_never_refuses_gets_all_that_may_be(self):
        """The level begins at the most, and stays there."""
        server, limit = try_limit(AdaptiveConcurrency, 30)

        assert (30, []) == (limit.level, server.refused)

    @pytest.mark.slow
    def test_refusals_by_chance_cost_little(self):
        """One of a thousand that fails for other reasons than load; and never more than a plain saw would lose."""
        rare, _ = try_limit(AdaptiveConcurrency, 30, capacity=1000, failing=0.001, seconds=4000)
        assert rare.rate(WARM, 4000) / (30 / mean_answer()) > 0.9

        often, _ = try_limit(AdaptiveConcurrency, 30, capacity=1000, failing=0.01, seconds=4000)
        plain, _ = try_limit(WithoutPlateau, 30, capacity=1000, failing=0.01, seconds=4000)
        assert often.rate(WARM, 4000) / plain.rate(WARM, 4000) > 0.9


def mean_answer():
    """Return how long an answer takes on average, in seconds."""
    return 20 * math.exp(0.4**2 / 2) + 0.02


class Steps(dict[int, int]):
    """How many successes each level took the last time, and how many each stay below a ceiling took."""

    def __init__(self):
        super().__init__()
        self.stays = []


async def climb(refusals):
    """Refuse one of twenty at first, then one wherever the level reaches one of *refusals*, each once."""
    limit, steps, refusals = AdaptiveConcurrency(40, CLOCK, 20), Steps(), [20, *refusals]
    while limit.level < 40:
        while limit.running < limit.level:
            await limit.acquire()
        if refusals and limit.level == refusals[0] and limit.running == limit.level:
            refusals.pop(0)
            await CLOCK.sleep(1)
            limit.reject(CLOCK.monotonic())
        while limit.running > limit.level:
            limit.release()
        level, ceiling, successes = limit.level, limit.ceiling, 0
        while limit.level == level:
            limit.succeed()
            successes += 1
        steps[level] = successes
        if level == ceiling:
            steps.stays.append(successes)
    return limit, steps


class TestLevel:
    """What one refusal or success does."""

    def test_a_refusal_cuts_the_level_to_seven_tenths(self):
        """Once per round trip: what was sent before the cut does not cut again."""

        async def main():
            limit = AdaptiveConcurrency(20, CLOCK)
            for _ in range(20):
                await limit.acquire()
            sent = CLOCK.monotonic()
            await CLOCK.sleep(1)
            for _ in range(5):
                limit.reject(sent)
                limit.release()
            once = limit.level
            limit.reject(CLOCK.monotonic())
            return once, limit.level, limit.running

        assert (14, 9, 15) == simulate(main())

    def test_the_level_never_falls_below_one(self):
        """One request at a time always runs."""

        async def main():
            limit = AdaptiveConcurrency(2, CLOCK)
            for _ in range(5):
                async with slot(limit):
                    limit.reject(CLOCK.monotonic())
            return limit.level

        assert 1 == simulate(main())

    @pytest.mark.parametrize(("level", "needed"), [(1, 1), (4, 4), (10, 10), (25, 10)])
    def test_ten_successes_or_a_round_raise_it(self, level, needed):
        """The level rises after ten successes or a round, whichever is less."""

        async def main():
            limit = AdaptiveConcurrency(30, CLOCK, level)
            for _ in range(level):
                await limit.acquire()
            for _ in range(needed - 1):
                limit.succeed()
            before = limit.level
            limit.succeed()
            return before, limit.level

        assert (level, level + 1) == simulate(main())

    def test_successes_of_a_limit_that_is_not_used_up_raise_nothing(self):
        """They say nothing about more."""

        async def main():
            limit = AdaptiveConcurrency(30, CLOCK, 5)
            for _ in range(1000):
                async with slot(limit):
                    limit.succeed()
            return limit.level

        assert 5 == simulate(main())

    def test_a_refusal_makes_successes_count_anew(self):
        """Nine before it and one after it are not ten."""

        async def main():
            limit = AdaptiveConcurrency(40, CLOCK, 20)
            for _ in range(20):
                await limit.acquire()
            for _ in range(9):
                limit.succeed()
            limit.reject(CLOCK.monotonic())
            limit.succeed()
            return limit.level, limit.ceiling

        assert (14, 19) == simulate(main())

    def test_it_stays_where_a_server_refused(self):
        """For a round, and for another on the step above; then it goes on, and what was is forgotten."""
        limit, steps = simulate(climb([]))

        assert {14: 10, 15: 10, 18: 10, 19: 19, 20: 20, 21: 10} == {
            level: steps[level] for level in (14, 15, 18, 19, 20, 21)
        }
        assert (40, 40) == (limit.level, limit.ceiling)

    def test_it_stays_four_times_as_long_where_a_server_refuses_again(self):
        """Up to twenty rounds; a refusal elsewhere makes that one again."""
        _, steps = simulate(climb([20] * 6))
        assert [19 * rounds for rounds in (1, 4, 16, 20, 20, 20, 20)] == steps.stays

        for elsewhere in (17, 19, 21):
            _, steps = simulate(climb([20, 20, elsewhere]))
            assert elsewhere - 1 == steps.stays[-1]

    def test_refusals_that_come_late_lower_the_ceiling_alone(self):
        """The more of a burst are refused, the better the capacity is known."""

        async def main():
            limit = AdaptiveConcurrency(50, CLOCK)
            for _ in range(50):
                await limit.acquire()
            for _ in range(10):
                limit.reject(-1.0 if limit.level < 50 else CLOCK.monotonic())
                limit.release()
            return limit.level, limit.ceiling

        assert (35, 40) == simulate(main())

    @pytest.mark.parametrize(("first", "level"), [(None, 8), (3, 3), (99, 8), (0, 1)])
    def test_it_begins_at_the_most_unless_told(self, first, level):
        """Within what is possible."""
        assert level == AdaptiveConcurrency(8, CLOCK, first).level

    def test_at_least_one_request_may_run(self):
        """A limit of none would be a stop."""
        with pytest.raises(ValueError, match="most has to be at least 1, not 0"):
            AdaptiveConcurrency(0, CLOCK)


class TestPlaces:
    """Places go to those who asked first, and none is lost."""

    def test_places_are_given_in_order(self):
        """Slots are given in order, even while the level changes."""

        async def main():
            limit, order = AdaptiveConcurrency(3, CLOCK), []

            async def work(number):
                async with slot(limit):
                    order.append(number)
                    await CLOCK.sleep(1)
                    if number == 4:
                        limit.reject(CLOCK.monotonic())
                    else:
                        limit.succeed()

            async with asyncio.TaskGroup() as group:
                for number in range(30):
                    group.create_task(work(number))
            return order, limit.running

        assert (list(range(30)), 0) == simulate(main())

    @given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 12)), max_size=25), st.integers(1, 4))
    def test_whoever_is_cancelled_takes_no_place_along(self, plans, most):
        """At whatever moment: as many as may run do, and none is left running in the books."""

        async def main():
            limit, most_seen = AdaptiveConcurrency(most, CLOCK), 0

            async def work(seconds):
                nonlocal most_seen
                async with slot(limit):
                    most_seen = max(most_seen, limit.running)
                    await CLOCK.sleep(seconds)

            tasks = []
            for loops, seconds in plans:
                tasks.append(asyncio.create_task(work(seconds)))
                for _ in range(loops):
                    await asyncio.sleep(0)
                if loops % 3 == 0:
                    random.Random(loops).choice(tasks).cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return most_seen, limit.running

        seen, running = simulate(main())
        assert seen <= most
        assert 0 == running

    def test_a_place_that_is_given_to_somebody_who_is_cancelled_goes_on(self):
        """In the very moment between."""

        async def main():
            limit = AdaptiveConcurrency(1, CLOCK)
            await limit.acquire()
            first, second = (asyncio.create_task(limit.acquire()) for _ in range(2))
            await asyncio.sleep(0)
            limit.release()
            first.cancel()
            await second
            return first.cancelled(), limit.running

        assert (True, 1) == simulate(main())


# --- the circuit -----------------------------------------------------------------------------------------------------


class TestCircuit:
    """A server that is not there is asked now and then by one."""

    def test_it_opens_after_failures_in_a_row(self):
        """An answer in between starts the count anew."""
        circuit = CircuitBreaker(StoppedClock(), threshold=3)
        for _ in range(2):
            circuit.fail()
        assert None is circuit.opened_at
        circuit.succeed()
        for _ in range(2):
            circuit.fail()
        assert (None, 2) == (circuit.opened_at, circuit.failures)
        circuit.fail()
        assert 100.0 == circuit.opened_at

    def test_while_it_is_open_one_passes_every_15_seconds(self):
        """In the order in which they came."""

        async def main():
            circuit, passed = CircuitBreaker(CLOCK), []

            async def ask(number):
                await circuit.admit()
                passed.append((number, CLOCK.monotonic()))
                circuit.fail()

            for _ in range(10):
                circuit.fail()
            async with asyncio.TaskGroup() as group:
                for number in range(4):
                    group.create_task(ask(number))
            return passed

        assert [(0, 15.0), (1, 30.0), (2, 45.0), (3, 60.0)] == simulate(main())

    def test_who_comes_shortly_before_a_probe_waits_for_it(self):
        """Not even a moment is given away."""

        async def main():
            circuit = CircuitBreaker(CLOCK, threshold=1)
            circuit.fail()
            await CLOCK.sleep(14.5)
            await circuit.admit()
            return CLOCK.monotonic()

        assert 15.0 == simulate(main())

    def test_an_answer_lets_everybody_through(self):
        """At once, not when the next probe would be due."""

        async def main():
            circuit = CircuitBreaker(CLOCK, threshold=1, probe_every=15)
            circuit.fail()
            waiting = [asyncio.create_task(circuit.admit()) for _ in range(5)]
            await CLOCK.sleep(20)
            passed = [task.done() for task in waiting]
            circuit.succeed()
            await asyncio.gather(*waiting)
            return passed, CLOCK.monotonic()

        assert ([True, False, False, False, False], 20.0) == simulate(main())

    def test_it_opens_again(self):
        """After it was closed by an answer, and with its count from the start."""

        async def main():
            circuit = CircuitBreaker(CLOCK, threshold=2, probe_every=15)
            for _ in range(2):
                circuit.fail()
            circuit.succeed()
            await circuit.admit()
            for _ in range(2):
                circuit.fail()
            await circuit.admit()
            return CLOCK.monotonic()

        assert 15.0 == simulate(main())

    def test_who_is_cancelled_leaves_its_turn_to_the_next(self):
        """A cancelled waiter leaves its turn to the next and no timer behind."""

        async def main():
            circuit = CircuitBreaker(CLOCK, threshold=1)
            circuit.fail()
            first, second = (asyncio.create_task(circuit.admit()) for _ in range(2))
            await CLOCK.sleep(5)
            first.cancel()
            await second
            return CLOCK.monotonic(), len(asyncio.all_tasks())

        assert (15.0, 1) == simulate(main())


class StoppedClock:
    """A clock that is set by hand."""

    now = 100.0

    def monotonic(self):
        return self.now
