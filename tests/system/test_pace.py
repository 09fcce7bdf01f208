"""The pace on real sockets and real time: what leaves, and what a server sees."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from virtual import LoopClock

from burncloud_images.bulk.pace import AdaptiveConcurrency, RateLimiter, RateWindow

pytestmark = pytest.mark.ways("tls")

CLOCK = LoopClock()


@asynccontextmanager
async def serving(handler: Callable[[web.Request], object]) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """Serve one handler on a free port, with a client of it."""
    application = web.Application()
    application.router.add_get("/", handler)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session, f"http://127.0.0.1:{port}/"
    await runner.cleanup()


def fullest(times, seconds=1.0):
    """Return how many of *times* lie at most within any half-open stretch of *seconds*."""
    times = sorted(times)
    first, most = 0, 0
    for place, at in enumerate(times):
        while times[first] + seconds <= at:
            first += 1
        most = max(most, place - first + 1)
    return most


@pytest.fixture
def report(capsys):
    """Return what writes a line although the test passes."""

    def write(line):
        with capsys.disabled():
            sys.stdout.write(f"\n  {line}")

    return write


async def send_all(pacer, number):
    """Send *number* requests that all want to go at once; return when each was let through and when it arrived."""
    passed, arrived = [], []

    async def answer(request):
        arrived.append(CLOCK.monotonic())
        return web.Response()

    async with serving(answer) as (session, url):

        async def send():
            await pacer.acquire({"requests": 1})
            passed.append(CLOCK.monotonic())
            async with session.get(url) as response:
                await response.read()

        async with asyncio.TaskGroup() as group:
            for _ in range(number):
                group.create_task(send())
    return passed, arrived


async def test_50_a_second_is_never_more_than_50_in_any_second(report):
    """Of 170 requests at once no second starts more than 50, and the pace is not slower than needed."""
    passed, arrived = await send_all(RateLimiter({"requests": RateWindow(50, 1)}, CLOCK), 170)

    report(f"limit 50 a second: {figures(passed, arrived)}")
    assert 50 == fullest(passed)
    assert 3 <= max(passed) - min(passed) < 3.5


@pytest.mark.slow
async def test_with_slack_the_server_sees_no_more_either(report):
    """The server counts no more in any second either, although opening connections takes time."""
    passed, arrived = await send_all(RateLimiter({"requests": RateWindow(50, 1)}, CLOCK, slack=0.5), 120)
    delays = [there - here for here, there in zip(sorted(passed), sorted(arrived), strict=True)]

    report(f"with 0.5 s of slack: {figures(passed, arrived)}; up to {max(delays):.3f} s on the way")
    assert 50 == fullest(passed)
    assert max(delays) > 0.5 or fullest(arrived) <= 50


def figures(passed, arrived):
    """Return what is to be told."""
    took = max(passed) - min(passed)
    return (
        f"most in any second {fullest(passed)} as let through, {fullest(arrived)} as they arrived; "
        f"{len(passed)} in {took:.3f} s"
    )


class Bucket:
    """A token bucket of the same rate, as a control."""

    def __init__(self, amount):
        self.amount, self.level, self.at, self.lock = amount, amount, CLOCK.monotonic(), asyncio.Lock()

    async def acquire(self, weights):
        async with self.lock:
            while True:
                now = CLOCK.monotonic()
                self.level, self.at = min(self.amount, self.level + (now - self.at) * self.amount), now
                if self.level >= 1:
                    self.level -= 1
                    return
                await CLOCK.sleep((1 - self.level) / self.amount)


@pytest.mark.slow
async def test_a_token_bucket_of_the_same_rate_lets_twice_as_many_through(report):
    """A token bucket of the same rate lets twice as many through: the control."""
    passed, arrived = await send_all(Bucket(50), 120)

    report(f"a token bucket of 50 a second: {figures(passed, arrived)}")
    assert fullest(passed) > 90


class Busy:
    """A server that takes 40 at once for a tenth of a second or so each, and answers 429 to all others."""

    def __init__(self):
        self.random = random.Random(7)
        self.running, self.changed, self.work = 0, CLOCK.monotonic(), 0.0
        self.served, self.refused = 0, 0

    def count(self, more):
        """Add up how long how many were running."""
        now = CLOCK.monotonic()
        self.work += self.running * (now - self.changed)
        self.running, self.changed = self.running + more, now

    def begin_to_measure(self):
        self.count(0)
        self.work, self.served, self.refused = 0.0, 0, 0

    async def answer(self, request):
        if self.running >= 40:
            self.refused += 1
            return web.Response(status=429)
        self.count(1)
        try:
            await CLOCK.sleep(self.random.uniform(0.05, 0.15))
        finally:
            self.count(-1)
        self.served += 1
        return web.Response()


async def press(limit, *, warm, measured):
    """Send what *limit* lets through; return the share of the server that was in use after a warm-up, and refused."""
    server, going = Busy(), True
    async with serving(server.answer) as (session, url):

        async def work():
            while going:
                await limit.acquire()
                try:
                    since = CLOCK.monotonic()
                    async with session.get(url) as response:
                        await response.read()
                    if response.status == 429:
                        limit.reject(since)
                    else:
                        limit.succeed()
                finally:
                    limit.release()
                if response.status == 429:
                    await CLOCK.sleep(0.02)

        async with asyncio.TaskGroup() as group:
            for _ in range(limit.most):
                group.create_task(work())
            await CLOCK.sleep(warm)
            server.begin_to_measure()
            start = CLOCK.monotonic()
            await CLOCK.sleep(measured)
            server.count(0)
            used = server.work / (CLOCK.monotonic() - start) / 40
            refused = server.refused / (server.served + server.refused)
            going = False
    return used, refused


@pytest.mark.slow
async def test_a_hidden_capacity_of_40_is_found_and_used(report):
    """The client reaches nearly the rate of one that knows the capacity, with fewer than 1 % refused."""
    known, none = await press(AdaptiveConcurrency(40, CLOCK), warm=0.3, measured=0.7)
    found, refused = await press(AdaptiveConcurrency(64, CLOCK), warm=1.5, measured=2.5)

    report(f"hidden capacity 40: {found:.1%} of it in use, {known:.1%} by who knows it; {refused:.2%} refused")
    assert 0 == none
    assert found / known >= 0.85
    assert refused < 0.01
