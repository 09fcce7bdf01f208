"""What a job finds in its directory after a kill, or after the loss of its store."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from pictures import png
from workshop import prompts

from burncloud_images import bulk
from burncloud_images.bulk import RequestState
from burncloud_images.bulk.recovery import PARTLY, recover
from burncloud_images.emulator import Fault


@pytest.fixture
def threads():
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def leave_sent(shop, count=1, **fields):
    """Leave requests as a run does that is killed while they are on their way."""
    async with bulk.Job.open(shop.path / "out") as job:
        from workshop import write_rows

        await job.add(write_rows(shop.path / "rows.jsonl", prompts(count, **fields)))
        records = await job.store.lease(count)
        for record in records:
            await job.store.mark_sent(record.key, reserved=5, at=1.0)
            job.directory.image_folder(record.key).mkdir(parents=True)
        await job.store.set_metadata("running", value=True)
        return records


async def reopen(shop):
    async with bulk.Job.open(shop.path / "out") as job:
        return job.recovered, [record async for record in job.records()]


class TestRecovery:
    """Final names are whole images, so what is there counts; the rest is in doubt."""

    async def test_a_request_whose_image_is_there_is_done(self, workshop):
        """A request whose images are all there is done."""
        shop = await workshop()
        (record,) = await leave_sent(shop)
        (shop.path / "out/images" / record.key[:2] / f"{record.key}.png").write_bytes(png())
        recovered, (record,) = await reopen(shop)

        assert (1, 0, RequestState.DONE, 1, 5) == (
            recovered.done,
            recovered.in_doubt,
            record.state,
            len(record.images),
            record.reserved,
        )

    async def test_a_whole_part_is_given_its_name(self, workshop):
        """A whole part file is given its final name."""
        shop = await workshop()
        (record,) = await leave_sent(shop)
        part = shop.path / "out/images" / record.key[:2] / f".{record.key}-1-abcdef.part"
        part.write_bytes(png())
        _, (record,) = await reopen(shop)

        assert (RequestState.DONE, f"images/{record.key[:2]}/{record.key}.png") == (record.state, record.images[0].path)
        assert not part.exists()

    async def test_a_torn_part_is_put_aside_and_its_request_is_in_doubt(self, workshop):
        """A torn part file is moved away, and its request is in doubt."""
        shop = await workshop()
        (record,) = await leave_sent(shop)
        part = shop.path / "out/images" / record.key[:2] / f".{record.key}-1-abcdef.part"
        part.write_bytes(png()[:-8])
        recovered, (record,) = await reopen(shop)

        assert (1, RequestState.IN_DOUBT, ()) == (recovered.in_doubt, record.state, record.images)
        assert [f"{record.key}-1-abcdef.part"] == [path.name for path in (shop.path / "out/rescue").iterdir()]

    async def test_one_of_two_images_is_kept_and_the_request_is_in_doubt(self, workshop):
        """One of two images is kept, and its request is in doubt."""
        shop = await workshop()
        (record,) = await leave_sent(shop, n=2)
        (shop.path / "out/images" / record.key[:2] / f"{record.key}-1.png").write_bytes(png())
        _, (record,) = await reopen(shop)

        assert (RequestState.IN_DOUBT, [0]) == (record.state, [image.index for image in record.images])

    async def test_what_was_leased_waits_again(self, workshop):
        """A request that was only leased waits again."""
        shop = await workshop()
        await leave_sent(shop)
        async with bulk.Job.open(shop.path / "out") as job:
            await job.add([record_request(number) for number in range(3)])
            await job.store.lease(2)
            await job.store.set_metadata("running", value=True)
        recovered, _ = await reopen(shop)

        assert 2 == recovered.waiting

    async def test_recovering_twice_changes_nothing(self, workshop, threads):
        """A kill during recovery is a kill like any other."""
        shop = await workshop()
        await leave_sent(shop, 3)
        _, first = await reopen(shop)
        async with bulk.Job.open(shop.path / "out") as job:
            again = await recover(job.store, job.directory, threads)
            second = [record async for record in job.records()]

        assert (0, 0, 0) == (again.waiting, again.done, again.in_doubt)
        assert first == second


def record_request(number: int):
    from burncloud_images import GenerationRequest

    return GenerationRequest(f"another {number}", model="gpt-image-2")


PRICES = {"prices": bulk.PriceTable.listed()}


def lose_store(shop):
    for path in shop.path.glob("out/job.sqlite3*"):
        path.unlink()


def adopted(shop):
    """Return what was said of images that were taken over."""
    return [event.message for event in shop.events if "under the keys of requests" in event.message]


@pytest.mark.slow
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

    assert (24 + 1, 24 + 1) == (shop.posts, report.totals.counts[RequestState.DONE])
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

    assert {RequestState.DONE: 6} == await shop.states()
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

    assert {RequestState.DONE: 3} == await shop.states()
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

    assert {RequestState.DONE: 1, RequestState.IN_DOUBT: 2} == await shop.states()
    assert PARTLY == records[first.key].failure == records[second.key].failure
    assert [1, 1, 2] == sorted(len(record.images) for record in records.values())
    assert (3, 6) == (shop.posts, report.totals.committed)
    assert third.images == records[third.key].images


async def test_unfinished_files_are_adopted_too(workshop):
    """Without its store a whole unfinished image counts as bought, and a torn one is kept and puts its row in doubt."""
    shop = await workshop()
    await shop.run(prompts(3))
    whole, torn, _ = await shop.records()
    for record, size in ((whole, None), (torn, -30)):
        path = shop.path / "out" / record.images[0].path
        path.with_name(f".{record.key}-1-abcdef.part").write_bytes(path.read_bytes()[:size])
        path.unlink()
    lose_store(shop)
    await shop.run(prompts(3))

    assert {RequestState.DONE: 2, RequestState.IN_DOUBT: 1} == await shop.states()
    assert 3 == shop.posts
    assert [f"{torn.key}-1-abcdef.part"] == [path.name for path in (shop.path / "out/rescue").iterdir()]
    assert 2 == len(shop.images)


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

    assert ({RequestState.FAILED: 1}, {RequestState.DONE: 1}) == (failed, await shop.states())
    assert ([], 2) == (adopted(shop), shop.posts)
