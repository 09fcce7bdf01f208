"""A job whose store is lost, beside images that are named by their keys: none of them is bought again."""

from __future__ import annotations

import json
import shutil

import pytest
from workshop import prompts

from burncloud_images import bulk
from burncloud_images.bulk import State
from burncloud_images.bulk.adoption import PARTLY
from burncloud_images.emulator import Fault

PRICES = {"prices": bulk.PriceTable.listed()}


def lose_store(shop):
    for path in shop.path.glob("out/job.sqlite3*"):
        path.unlink()


def adopted(shop):
    """Return what was said of images that were taken over."""
    return [event.message for event in shop.events if "under the keys of requests" in event.message]


@pytest.mark.parametrize("output", ["files", "webdataset"])
async def test_images_are_adopted(workshop, output):
    """They are done with their sizes and digests, at a cost that is not known, and only what is new is sent."""
    shop = await workshop()
    before = await shop.run(prompts(24, n=2), output=output, **PRICES)
    known = {record.key: record.images for record in await shop.records()}
    lose_store(shop)

    report = await shop.run([*prompts(24, n=2), {"prompt": "one more", **prompts(1)[0], "id": "more", "repeat": 1}],
                            output=output, **PRICES)  # fmt: skip
    records = await shop.records()
    async with bulk.Job.open(shop.path / "out") as job:
        problems = [found async for found in job.verify() if not isinstance(found, int)]

    assert (24 + 1, 24 + 1) == (shop.posts, report.totals.counts[State.DONE])
    assert known == {record.key: record.images for record in records if record.key in known}
    assert {None} == {record.cost for record in records if record.key in known}
    assert report.totals.reserved > before.totals.cost
    assert 24 * 2 + 1 == report.totals.committed == report.totals.images
    assert [] == problems
    assert 24 == json.loads((shop.path / "out/report.json").read_text())["adopted"]
    assert 1 == len(adopted(shop))
    assert adopted(shop)[0].startswith("48 images were in the folder under the keys of requests")


async def test_a_store_that_is_older_than_its_images(workshop):
    """A copy from before does not buy again what came after it was made."""
    shop = await workshop()
    await shop.run(prompts(6), limit=2, concurrency=1)
    store = shop.path / "out/job.sqlite3"
    shutil.copy(store, shop.path / "copy")
    await shop.run()
    shutil.copy(shop.path / "copy", store)
    await shop.run()

    assert {State.DONE: 6} == await shop.states()
    assert 6 == shop.posts


@pytest.mark.parametrize("output", ["files", "webdataset"])
async def test_a_store_from_before_a_refusal(workshop, output):
    """Requests that were refused, and waited when the copy was made, are not bought again either."""
    broke = {"error": {"message": "no money", "type": "insufficient_quota", "code": "insufficient_quota"}}
    shop = await workshop(Fault(status=429, body=broke))
    await shop.run(prompts(3), concurrency=1, output=output)
    store = shop.path / "out/job.sqlite3"
    shutil.copy(store, shop.path / "copy")
    await shop.run(output=output)
    shutil.copy(shop.path / "copy", store)
    await shop.run(output=output)

    assert {State.DONE: 3} == await shop.states()
    assert (4, 3) == (shop.posts, shop.billed)


async def test_what_is_there_in_part_is_in_doubt(workshop):
    """One of two images is gone and another is damaged: both requests were bought, and neither is bought again."""
    shop = await workshop()
    await shop.run(prompts(3, n=2))
    first, second, third = (record for record in await shop.records())
    (shop.path / "out" / first.images[1].path).unlink()
    damaged = shop.path / "out" / second.images[0].path
    damaged.write_bytes(damaged.read_bytes()[:-30])
    lose_store(shop)
    report = await shop.run(prompts(3, n=2), max_images=6)
    records = {record.key: record for record in await shop.records()}

    assert {State.DONE: 1, State.IN_DOUBT: 2} == await shop.states()
    assert PARTLY == records[first.key].failure == records[second.key].failure
    assert [1, 1, 2] == sorted(len(record.images) for record in records.values())
    assert (3, 6) == (shop.posts, report.totals.committed)
    assert third.images == records[third.key].images


async def test_adopted_images_count_for_the_limits(workshop):
    """What they cost is not known, so the worst case is spent."""
    shop = await workshop()
    await shop.run(prompts(3))
    lose_store(shop)
    by_images = await shop.run(prompts(4), max_images=3)
    lose_store(shop)
    by_cost = await shop.run(prompts(4), max_cost=10**7, **PRICES)

    assert ("budget", "budget", 3) == (by_images.stopped, by_cost.stopped, shop.posts)


async def test_requests_that_were_sent_are_not_adopted(workshop):
    """A file under the key of a row that failed and is sent again is put aside, as ever."""
    shop = await workshop()
    await shop.run(prompts(1))
    shop.images[0].write_bytes(shop.images[0].read_bytes()[:100])
    await shop.run()
    failed = await shop.states()
    await shop.run(retry_failed=True)

    assert ({State.FAILED: 1}, {State.DONE: 1}) == (failed, await shop.states())
    assert ([], 2) == (adopted(shop), shop.posts)
