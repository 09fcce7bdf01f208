"""What the directory tells after a kill."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from pictures import png
from workshop import prompts

from burncloud_images import bulk
from burncloud_images.bulk import State
from burncloud_images.bulk.recovery import recover


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
            job.directory.shelf(record.key).mkdir(parents=True)
        await job.store.set_metadata("running", value=True)
        return records


async def reopen(shop):
    async with bulk.Job.open(shop.path / "out") as job:
        return job.recovered, [record async for record in job.records()]


class TestRecovery:
    """Final names are whole images, so what is there counts; the rest is in doubt."""

    async def test_a_request_whose_image_is_there_is_done(self, workshop):
        shop = await workshop()
        (record,) = await leave_sent(shop)
        (shop.path / "out/images" / record.key[:2] / f"{record.key}.png").write_bytes(png())
        recovered, (record,) = await reopen(shop)

        assert (1, 0, State.DONE, 1, 5) == (
            recovered.done,
            recovered.in_doubt,
            record.state,
            len(record.images),
            record.reserved,
        )

    async def test_a_whole_part_is_given_its_name(self, workshop):
        shop = await workshop()
        (record,) = await leave_sent(shop)
        part = shop.path / "out/images" / record.key[:2] / f".{record.key}-1-abcdef.part"
        part.write_bytes(png())
        part.chmod(0o600)
        _, (record,) = await reopen(shop)

        assert (State.DONE, f"images/{record.key[:2]}/{record.key}.png") == (record.state, record.images[0].path)
        assert not part.exists()
        assert 0o644 & ~os.umask(os.umask(0o022)) == (shop.path / "out" / record.images[0].path).stat().st_mode & 0o777

    async def test_a_torn_part_is_put_aside_and_its_request_is_in_doubt(self, workshop):
        shop = await workshop()
        (record,) = await leave_sent(shop)
        part = shop.path / "out/images" / record.key[:2] / f".{record.key}-1-abcdef.part"
        part.write_bytes(png()[:-8])
        recovered, (record,) = await reopen(shop)

        assert (1, State.IN_DOUBT, ()) == (recovered.in_doubt, record.state, record.images)
        assert [f"{record.key}-1-abcdef.part"] == [path.name for path in (shop.path / "out/rescue").iterdir()]

    async def test_one_of_two_images_is_kept_and_the_request_is_in_doubt(self, workshop):
        shop = await workshop()
        (record,) = await leave_sent(shop, n=2)
        (shop.path / "out/images" / record.key[:2] / f"{record.key}-1.png").write_bytes(png())
        _, (record,) = await reopen(shop)

        assert (State.IN_DOUBT, [0]) == (record.state, [image.index for image in record.images])

    async def test_what_was_leased_waits_again(self, workshop):
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
