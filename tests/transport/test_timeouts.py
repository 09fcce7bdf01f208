"""The time of a stage: it ends what takes too long, and putting its end off costs the event loop nothing."""

from __future__ import annotations

import asyncio

import pytest
from fakes import until

from burncloud_images.transport.timeouts import PhaseTimer

LONG = 600.0


@pytest.fixture
async def alarms(monkeypatch):
    """Return the list of alarms that the running loop is asked for."""
    loop = asyncio.get_running_loop()
    made = []
    call_at = loop.call_at

    def count(when, callback, *args, **options):
        made.append(call_at(when, callback, *args, **options))
        return made[-1]

    monkeypatch.setattr(loop, "call_at", count)
    return made


async def hang():
    await asyncio.get_running_loop().create_future()


async def hang_after(timer, *stages):
    """Go through stages of these seconds, the last of which never ends."""
    async with timer:
        for seconds in stages:
            timer.allow(seconds)
        await hang()


async def test_a_stage_that_takes_too_long_is_ended():
    """A phase that takes too long ends as with `asyncio.timeout`, and the timer says so."""
    timer = PhaseTimer()
    with pytest.raises(TimeoutError):
        await hang_after(timer, 0.001)

    assert timer.expired()


async def test_an_end_that_is_put_off_does_not_come_before_its_time():
    """The alarm for the first end finds a later end and is set again for it."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError):
        await hang_after(PhaseTimer(), 0.005, 0.03)

    assert loop.time() - began >= 0.029


async def test_a_shorter_stage_ends_before_the_longer_one_before_it():
    """A shorter phase replaces the alarm of the longer one before it."""
    with pytest.raises(TimeoutError):
        await hang_after(PhaseTimer(), LONG, 0.001)


async def test_a_stage_without_a_time_is_not_ended():
    """The alarm of an earlier phase does not end one that has no timeout."""
    timer = PhaseTimer()
    async with timer:
        timer.allow(0.001)
        timer.allow(None)
        await until(lambda: timer.alarm is None)
        timer.allow(LONG)

    assert not timer.expired()


async def test_many_stages_cost_one_alarm(alarms):
    """Many phases use one alarm, which is cancelled at the end of the block."""
    timer = PhaseTimer()
    async with timer:
        for _ in range(100):
            timer.allow(30)
            timer.allow(None)
            timer.allow(LONG)

    assert 1 == len(alarms)
    assert alarms[0].cancelled()


async def test_a_cancellation_stays_one():
    """A cancellation is not taken for a timeout."""
    timer = PhaseTimer()

    task = asyncio.create_task(hang_after(timer, LONG))
    await until(lambda: timer.alarm is not None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not timer.expired()
    assert timer.alarm is None
