"""A job keeps the pace that it was given, over its restarts too."""

from __future__ import annotations

import attrs
import pytest
from fakes import FakeClock
from workshop import prompts, write_rows

from burncloud_images import bulk
from burncloud_images.bulk.pace import RateLimiter
from burncloud_images.bulk.system_uptime import SystemUptime, find_leap, read_uptime


def fullest(times, seconds):
    """Return how many of *times* lie at most within any half-open stretch of *seconds*."""
    return max(sum(start <= at < start + seconds for at in times) for start in times)


async def run_twice(shop, clock):
    """Run half of a job, then the rest in a new run a moment later; return when each request was sent."""

    def open_job():
        return bulk.Job.open(shop.path / "out", clock=clock, now=lambda: 1.7e9 + clock.monotonic())

    options = {"concurrency": 8, "requests_per_minute": 5, "room": 0}
    async with open_job() as job:
        await job.add(write_rows(shop.path / "rows.jsonl", prompts(14)))
        await job.run(shop.client, bulk.JobOptions(limit=4, **options))
    async with open_job() as job:
        await job.run(shop.client, bulk.JobOptions(**options))
        return [record.sent_at async for record in job.records()]


async def test_a_limit_a_minute_holds_over_a_restart(workshop):
    """Never more than five in any minute, and no minute wasted."""
    shop = await workshop()
    sent = await run_twice(shop, FakeClock())

    assert (14, 14) == (len(sent), shop.billed)
    assert 5 == fullest(sent, 60)
    assert 120 < max(sent) - min(sent) < 130


async def test_a_pacer_that_forgets_would_be_caught(workshop, monkeypatch):
    """The control: a new run that knows nothing of the last one sends more."""
    monkeypatch.setattr(RateLimiter, "restore", lambda *_: None)
    shop = await workshop()
    sent = await run_twice(shop, FakeClock())

    assert fullest(sent, 60) > 5


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "minutes"), [({"images_per_minute": 4}, 4), ({"tokens_per_minute": 600}, 9)])
async def test_images_and_tokens_have_limits_of_their_own(workshop, limit, minutes):
    """Ten requests of two images each, of which each takes some hundred tokens at most."""
    shop = await workshop()
    clock = FakeClock()
    async with bulk.Job.open(shop.path / "out", clock=clock, now=lambda: 1.7e9 + clock.monotonic()) as job:
        rows = prompts(10, n=2, quality="low", size="1024x1024")
        await job.add(write_rows(shop.path / "rows.jsonl", rows))
        await job.run(shop.client, bulk.JobOptions(concurrency=8, room=0, **limit))
        sent = [record.sent_at async for record in job.records()]

    assert 10 == shop.billed
    assert minutes == round((max(sent) - min(sent)) / 60)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("leap", "boots", "held"),
    [(90.0, "aa", True), (86_400.0, "aa", True), (0.0, "aa", True), (-500.0, "aa", True), (90.0, "ab", False)],
)
async def test_a_clock_that_is_set_between_runs_opens_no_pace(workshop, leap, boots, held):
    """The time since the computer was started tells how long ago the last requests were; a new start tells nothing."""
    shop = await workshop()
    clock = FakeClock()
    options = bulk.JobOptions(concurrency=8, requests_per_minute=5, room=0)
    sent = []
    for ahead, boot in ((0.0, boots[0]), (leap, boots[1])):
        async with bulk.Job.open(
            shop.path / "out",
            clock=clock,
            now=lambda ahead=ahead: 1.7e9 + ahead + clock.monotonic(),
            uptime=lambda boot=boot: SystemUptime(boot, clock.monotonic()),
        ) as job:
            await job.add(write_rows(shop.path / "rows.jsonl", prompts(10)))
            began = clock.monotonic()
            await job.run(shop.client, attrs.evolve(options, limit=5))
            sent.append(clock.monotonic() - began)

    assert 10 == shop.billed
    assert held == (sent[1] > 50)


@pytest.mark.parametrize(
    "known", [None, 5, [], {}, {"boot": "a"}, {"boot": "a", "began": "x"}, {"boot": "b", "began": 1}]
)
def test_what_tells_nothing_is_no_leap(known):
    """Neither a store of an earlier version nor one that was edited makes a run wait."""
    assert 0 == find_leap(known, 1.7e9, SystemUptime("a", 100.0))
    assert 0 == find_leap({"boot": "a", "began": 1.0}, 1.7e9, None)


def test_this_computer_tells_how_long_it_is_up():
    """The uptime is a positive number or is not known."""
    uptime = read_uptime()

    assert uptime is None or uptime.seconds > 0 < len(uptime.boot)
