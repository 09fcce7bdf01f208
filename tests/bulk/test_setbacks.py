"""What goes wrong around a purchase: nothing is bought twice for it, and nothing that is paid is lost."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import stat

import aiohttp
import attrs
import pytest
from fakes import until
from pictures import png
from workshop import BY_URL, ONCE, prompts

from burncloud_images import AsyncImagesClient, RetryPolicy, bulk, errors
from burncloud_images.bulk import RequestState, image_store
from burncloud_images.bulk.database import JobStore
from burncloud_images.emulator import Fault
from burncloud_images.files.sinks import DirectoryWriter

NOT_NOW = Fault(operation="downloads", status=503)
CUT = Fault(cut="close", billed=True)
CUT_LATE = Fault(cut="close", place="answer", byte=300)
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def several(fault, times):
    """Return *fault* for several requests."""
    return attrs.evolve(fault, times=times)


def at(url, **fields):
    """Return an answer whose image is at an address, and that was billed."""
    return Fault(body={"created": 1, "data": [{"url": url}]}, billed=True, **fields)


def report_of(shop):
    return (shop.path / "out/report.json").read_text()


def by_url(count):
    return [{"prompt": f"picture {number}", **BY_URL} for number in range(count)]


class TestDownloadsThatFail:
    """An image that is paid for and lies at an address."""

    async def test_the_budget_does_not_wait_for_what_is_paid(self, workshop):
        """The share of one whose download is tried again never comes back, so nothing waits for that."""
        shop = await workshop(NOT_NOW, retry=ONCE)

        report = await shop.run(by_url(3), concurrency=1, max_images=2)

        assert "budget" == report.stopped
        assert {RequestState.DONE: 2, RequestState.PENDING: 1} == await shop.states()
        assert (2, 2) == (shop.billed, len(shop.images))

    async def test_a_run_that_stops_fetches_what_is_paid(self, workshop):
        """Its address may have ended when another run begins."""
        shop = await workshop(NOT_NOW, Fault(status=401, delay=0.1), retry=ONCE)

        report = await shop.run(by_url(3), concurrency=2)

        assert "authentication" == report.stopped
        assert 1 <= (await shop.states())[RequestState.DONE] == shop.billed == len(shop.images)

    async def test_addresses_that_could_not_be_written_down_are_once_more(self, workshop, monkeypatch):
        """A request whose image is paid is never sent again."""
        receive, calls = JobStore.mark_received, []

        async def fail_once(*args, **options):
            calls.append(args)
            if len(calls) == 1:
                raise errors.StorageError("The job's store is locked.")
            return await receive(*args, **options)

        monkeypatch.setattr(JobStore, "mark_received", fail_once)
        shop = await workshop(NOT_NOW, retry=ONCE)
        await shop.run(by_url(1))

        assert {RequestState.DONE: 1} == await shop.states()
        assert (1, 1, 2) == (shop.posts, len(shop.images), len(calls))

    async def test_addresses_that_cannot_be_written_down_at_all(self, workshop, monkeypatch):
        """The request is in doubt, and not bought by another run; its URL is in a file of the owner's."""

        async def fail(*args, **options):
            raise errors.StorageError("The job's store is locked.")

        with monkeypatch.context() as patch:
            patch.setattr(JobStore, "mark_received", fail)
            shop = await workshop(NOT_NOW, retry=ONCE)
            report = await shop.run(by_url(1))
        await shop.run()

        assert "disk" == report.stopped
        assert {RequestState.IN_DOUBT: 1} == await shop.states()
        assert 1 == shop.posts
        (kept,) = shop.path.glob("out/rescue/*-1.url")
        assert kept.read_text().startswith(shop.emulator.base_url.removesuffix("/v1"))
        assert 0o600 == stat.S_IMODE(kept.stat().st_mode)

    async def test_images_that_were_named_before_a_kill_are_found(self, workshop, monkeypatch):
        """Images that had their final names before a kill are found, even if their URLs have expired."""

        async def stuck(*args, **options):
            await asyncio.Event().wait()

        shop = await workshop()
        with monkeypatch.context() as patch:
            patch.setattr(JobStore, "finish", stuck)
            running = asyncio.create_task(shop.run(by_url(1)))
            await until(lambda: [path.suffix for path in shop.images] == [".png"])
            shop.job.abandon()
            await running
        before = await shop.states()

        async def end(*args, **options):
            raise errors.ResultExpiredError("The address has ended.")

        monkeypatch.setattr(AsyncImagesClient, "fetch", end)
        await shop.run()
        (record,) = await shop.records()

        assert {RequestState.RECEIVED: 1} == before
        assert (RequestState.DONE, 1, 1) == (record.state, len(record.images), shop.posts)

    async def test_an_address_that_is_refused_holds_nobody_up(self, workshop):
        """The row is left as paid and unfetched at once, its worker goes on, and no run buys it again."""
        shop = await workshop(at("https://10.0.0.1/a.png"), Fault(), at("https://10.0.0.1/b.png"))

        report = await shop.run(prompts(4), concurrency=1)
        again = await shop.run()
        records = [record for record in await shop.records() if record.state is RequestState.RECEIVED]

        assert ("finished", "finished") == (report.stopped, again.stopped)
        assert {RequestState.DONE: 2, RequestState.RECEIVED: 2} == await shop.states()
        assert (4, []) == (shop.posts, shop.clock.slept)
        assert ["DownloadRefusedError"] * 2 == [record.failure.error for record in records]
        assert (2, 2) == (report.outstanding.requests, again.outstanding.refused)
        assert ["unfetched"] * 2 == [event.kind for event in shop.events if event.failure][:2]
        assert ["DownloadRefusedError"] == [one["error"] for one in json.loads(report_of(shop))["errors"]]

    @pytest.mark.slow
    async def test_nothing_more_is_bought_once_nothing_can_be_fetched(self, workshop):
        """The first ten say enough; a thousand of them are settled without a pause, each tried to the last."""
        shop = await workshop(at("https://10.0.0.1/a.png", times=None))
        rows = prompts(1000)

        first = await shop.run(rows)
        bought = shop.posts
        async with bulk.Job.open(shop.path / "out") as job:
            for record in await job.store.lease(1000):
                await job.store.mark_sent(record.key, reserved=0, at=1.0)
                link = bulk.UnfetchedLink(index=0, url="https://10.0.0.1/a.png")
                await job.store.mark_received(record.key, [link], about={}, request_id=None)
        await shop.run()

        assert "failed" == first.stopped
        assert bought <= 10 + 4
        assert 1000 + bought == sum(event.kind == "unfetched" for event in shop.events)
        assert {RequestState.RECEIVED: 1000} == await shop.states()
        assert (bought, []) == (shop.posts, shop.clock.slept)

    async def test_a_host_that_is_down_is_waited_for_once(self, workshop):
        """Rows that come after the job has waited for it long enough are left without a pause."""
        shop = await workshop(several(NOT_NOW, None), retry=ONCE)

        began = shop.clock.monotonic()
        report = await shop.run(by_url(8), concurrency=1)

        assert {RequestState.RECEIVED: 8} == await shop.states()
        assert 30 <= shop.clock.monotonic() - began < 120
        assert (8, 0) == (report.outstanding.requests, report.outstanding.refused)
        assert report.outstanding.expires_at is not None

    async def test_a_full_disk_while_a_later_run_fetches(self, workshop, monkeypatch):
        """What came is held in memory until there is room."""
        shop = await workshop(several(NOT_NOW, 3), retry=ONCE)
        await shop.run(by_url(1))
        write, calls = DirectoryWriter.write_batch, []

        def fail_once(writer, batch):
            calls.append(batch)
            if len(calls) == 1:
                raise FULL
            write(writer, batch)

        monkeypatch.setattr(DirectoryWriter, "write_batch", fail_once)
        report = await shop.run()

        assert "disk" == report.stopped
        assert {RequestState.DONE: 1} == await shop.states()
        assert (1, 1) == (shop.posts, len(shop.images))


class TestImagesThatFailInTwoWays:
    """Of one paid answer, an image cannot be written and another cannot be fetched."""

    @pytest.fixture
    def troubled(self, workshop, monkeypatch):
        """Return what starts a job whose first writes fail, whose URLs cannot be recorded, and one of whose images."""

        def fail_first(function, times, problem):
            calls = []

            def fail(*args, **options):
                calls.append(args)
                if len(calls) <= times:
                    raise problem
                return function(*args, **options)

            return fail

        async def start(problem, writes, locked_times):
            locked = errors.StorageError("The job's store is locked.")
            monkeypatch.setattr(
                DirectoryWriter, "write_batch", fail_first(DirectoryWriter.write_batch, writes, problem)
            )
            monkeypatch.setattr(JobStore, "mark_received", fail_first(JobStore.mark_received, locked_times, locked))
            return await workshop(NOT_NOW, retry=ONCE)

        return start

    async def test_a_full_disk_loses_no_url(self, troubled):
        """The image in memory is saved once there is room, and the next run fetches the other."""
        shop = await troubled(FULL, 1, 1)

        first = await shop.run([{"prompt": "two", "n": 2, **BY_URL}])
        between = await shop.states()
        await shop.run()

        assert "disk" == first.stopped
        assert ({RequestState.RECEIVED: 1}, {RequestState.DONE: 1}) == (between, await shop.states())
        assert (1, 2) == (shop.posts, len(shop.images))

    async def test_a_folder_that_cannot_be_written_loses_no_url(self, troubled):
        """The image in memory goes to another place, and the next run fetches both."""
        shop = await troubled(OSError(errno.EIO, os.strerror(errno.EIO)), 2, 0)

        first = await shop.run([{"prompt": "two", "n": 2, **BY_URL}])
        between = await shop.states()
        await shop.run()

        assert "disk" == first.stopped
        assert ({RequestState.RECEIVED: 1}, {RequestState.DONE: 1}) == (between, await shop.states())
        assert (1, 2) == (shop.posts, len(shop.images))
        assert 1 == len(list((shop.path / "out/rescue").iterdir()))


class TestOthersThatRun:
    """What happens to one request, or to the store, ends no other that is paid for."""

    async def test_what_cannot_be_rescued_is_in_doubt_all_the_same(self, workshop, monkeypatch):
        """The disk is full, so nothing more is bought, and the others come to their end."""

        def full(*args):
            raise FULL

        monkeypatch.setattr(image_store, "write_private", full)
        shop = await workshop(Fault(cut="close", place="answer", byte=-40), Fault(delay=0.3, times=3))

        report = await shop.run(prompts(8))
        states = await shop.states()

        assert "disk" == report.stopped
        assert 1 == states[RequestState.IN_DOUBT]
        assert shop.billed == states[RequestState.DONE] + 1 == len(shop.images)

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize(
        ("problem", "stopped"),
        [(errors.StorageError("The job's store is full."), "disk"), (LookupError("a mistake"), None)],
    )
    async def test_a_store_that_gives_out_nothing_more(self, workshop, monkeypatch, problem, stopped):
        """The run ends as on a full disk, or with the mistake, once the others have come to their end."""
        lease, calls = JobStore.lease, []

        async def fail_later(store, most):
            calls.append(most)
            if len(calls) > 1:
                raise problem
            return await lease(store, 4)

        monkeypatch.setattr(JobStore, "lease", fail_later)
        shop = await workshop(Fault(), Fault(delay=0.3, times=3))

        if stopped is None:
            with pytest.raises(LookupError):
                await shop.run(prompts(8))
        else:
            assert stopped == (await shop.run(prompts(8))).stopped
        monkeypatch.undo()

        assert {RequestState.DONE: 4, RequestState.PENDING: 4} == await shop.states()

    async def test_a_client_that_is_closed_sends_nothing(self, workshop):
        """A closed client sends nothing, so nothing is in doubt."""
        session = aiohttp.ClientSession()
        await session.close()
        shop = await workshop(session=session)

        with pytest.raises(errors.ClientClosedError):
            await shop.run(prompts(5))

        assert {RequestState.PENDING: 5} == await shop.states()

    async def test_a_proxy_that_answers_nothing_usable_stops_the_run(self, workshop):
        """Each request may have been billed, so ten of them are enough to know."""
        shop = await workshop(Fault(status=502, body="<html>502 Bad Gateway</html>", times=None))

        report = await shop.run(prompts(60))

        assert "failed" == report.stopped
        assert shop.posts <= 10 + 4

    async def test_fail_fast_stops_at_the_first_in_doubt(self, workshop):
        """It may have cost money and brought nothing."""
        shop = await workshop(Fault(status=502, body="<html>502 Bad Gateway</html>", times=None))

        report = await shop.run(prompts(20), fail_fast=True)

        assert "failed" == report.stopped
        assert shop.posts <= 4


class TestUnknownOutcomesThatAreNotRetried:
    """An attempt brought a part of an image, and the job stops before the next attempt."""

    async def test_a_part_that_came_before_the_budget_ended_is_rescued(self, workshop):
        """The budget allows no second attempt; what the first one brought is kept."""
        shop = await workshop(CUT_LATE, retry=RetryPolicy(on_unknown="retry"))

        report = await shop.run(prompts(1), max_images=1)

        assert "budget" == report.stopped
        assert {RequestState.IN_DOUBT: 1} == await shop.states()
        assert [".damaged"] == [path.suffix for path in shop.path.glob("out/rescue/*") if path.suffix == ".damaged"]

    async def test_a_part_that_came_before_a_job_was_abandoned_is_rescued(self, workshop):
        """The job is abandoned while the second attempt is under way."""
        shop = await workshop(CUT_LATE, Fault(cut="stall", billed=True), retry=RetryPolicy(on_unknown="retry"))
        running = asyncio.create_task(shop.run(prompts(1)))
        await until(lambda: shop.posts == 2)
        shop.job.abandon()
        await running

        assert {RequestState.IN_DOUBT: 1} == await shop.states()
        assert [".damaged"] == [path.suffix for path in shop.path.glob("out/rescue/*") if path.suffix == ".damaged"]


class TestConsent:
    """What was in doubt is bought again only by the run that was told to."""

    async def test_a_run_that_is_refused_lets_nothing_wait_again(self, workshop):
        """A budget without prices is no consent for another run."""
        shop = await workshop(CUT)
        await shop.run(prompts(1))
        with pytest.raises(errors.ConfigurationError):
            await shop.run(on_unknown="retry", max_cost=10**9)
        before = await shop.states()
        await shop.run()

        assert {RequestState.IN_DOUBT: 1} == before == await shop.states()
        assert 1 == shop.posts

    async def test_what_a_run_did_not_come_to_is_in_doubt_again(self, workshop):
        """With its key and its reason."""
        shop = await workshop(several(CUT, 3))
        await shop.run(prompts(3), concurrency=1)
        await shop.run(on_unknown="retry", limit=1, concurrency=1)
        after = await shop.states()
        await shop.run()

        assert {RequestState.DONE: 1, RequestState.IN_DOUBT: 2} == after == await shop.states()
        assert 4 == shop.posts
        assert 2 == sum(record.failure is not None for record in await shop.records())

    async def test_a_run_that_is_killed_leaves_them_in_doubt(self, workshop):
        """What it had not sent, at least."""
        shop = await workshop(several(CUT, 2))
        await shop.run(prompts(2), concurrency=1)
        async with bulk.Job.open(shop.path / "out") as job:
            await job.store.set_metadata("running", True)
            await job.reopen(bulk.JobOptions(on_unknown="retry"))
            await job.store.lease(1)
        await shop.run()

        assert {RequestState.IN_DOUBT: 2} == await shop.states()
        assert 2 == shop.posts

    async def test_an_old_file_is_no_proof_of_a_new_purchase(self, workshop):
        """The file of a row that failed because it was damaged is put aside before it is bought again."""
        shop = await workshop(Fault(), Fault(cut="stall", billed=True))
        await shop.run(prompts(1))
        shop.images[0].write_bytes(shop.images[0].read_bytes()[:100])
        await shop.run()
        failed = await shop.states()
        running = asyncio.create_task(shop.run(retry_failed=True))
        await until(lambda: shop.billed == 2)
        shop.job.abandon()
        await running

        assert ({RequestState.FAILED: 1}, {RequestState.IN_DOUBT: 1}) == (failed, await shop.states())
        assert [] == shop.images
        assert 1 == len(list((shop.path / "out/rescue").iterdir()))


async def test_a_key_that_the_server_knows_leaves_a_doubt(workshop):
    """What a run before sent is the reason, so the row is not one that failed and cost nothing."""
    shop = await workshop(Fault(cut="reset", billed=True), emulator={"idempotency": "reject"})
    await shop.run(prompts(1))
    await shop.run(on_unknown="retry")
    (record,) = await shop.records()

    assert (RequestState.IN_DOUBT, "idempotency_key_already_used") == (record.state, record.failure.code)
    assert "may have been billed" in record.failure.message
    assert (2, 1) == (shop.posts, shop.billed)


IN_FLIGHT = {"error": {"code": "idempotency_in_progress", "message": "A request with this key is in progress."}}


async def test_a_server_that_never_stops_working_on_a_key_is_given_up(workshop):
    """After the job's patience; asking whether it has ended buys nothing, so nothing is set aside for it."""
    shop = await workshop(Fault(status=409, body=IN_FLIGHT, times=None))

    report = await shop.run(prompts(1), patience=60, max_images=3)

    assert "gave_up" == report.stopped
    assert {RequestState.IN_DOUBT: 1} == await shop.states()
    assert 1 == report.totals.committed


class TestAnswersThatAreNotUnderstood:
    """A whole answer came with status 200, so the work may be done and paid for."""

    async def test_an_answer_in_another_form_is_in_the_rescue_folder(self, workshop):
        """Whole, for its owner only, and once; the request is not sent again, by another run either."""
        body = json.dumps({"created": 1, "pictures": [{"otter": "iVBO" * 500_000}]}).encode()
        shop = await workshop(Fault(status=200, body=body.decode(), billed=True))

        await shop.run(prompts(1))
        await shop.run()

        (record,) = await shop.records()
        (kept,) = (shop.path / "out/rescue").glob("*.answer")
        assert (f"{record.key}.answer", 0o600) == (kept.name, stat.S_IMODE(kept.stat().st_mode))
        assert body == kept.read_bytes()
        told = json.loads((shop.path / f"out/rescue/{record.key}.json").read_text())
        assert kept.name == told["answer"]
        assert [] == list((shop.path / "out/rescue").glob("*.part"))
        assert RequestState.PENDING is not record.state
        assert 1 == shop.posts

    @pytest.mark.parametrize("code", ["rate_limit_exceeded", "server_is_overloaded", "insufficient_quota", None])
    async def test_an_error_with_status_200_is_never_bought_again(self, workshop, code):
        """Neither at once nor by another run: it came after the work."""
        error = {"message": "odd", "type": "server_error", "code": code}
        shop = await workshop(Fault(status=200, body={"error": error}, billed=True))

        await shop.run(prompts(1))
        await shop.run()

        assert {RequestState.IN_DOUBT: 1} == await shop.states()
        assert 1 == shop.posts

    @pytest.mark.parametrize("code", ["rate_limit_exceeded", None])
    async def test_an_address_beside_an_error_is_fetched(self, workshop, code):
        """The image is there, so the request is done."""
        beside = {"error": {"message": "", "type": "", "code": code}}
        shop = await workshop()
        url = f"{shop.emulator.base_url}/nowhere.png"
        fault = Fault(status=200, body={"created": 1, "data": [{"url": url}], **beside}, billed=True)
        again = await workshop(fault, retry=ONCE)

        await again.run(prompts(1))

        assert 1 == again.posts
        assert RequestState.PENDING not in await again.states()

    async def test_more_images_than_were_asked_for_are_booked_as_many(self, workshop):
        """Without usage and without a price per image the worst case of as many counts."""
        tokens = {"text_input": 5, "image_output": 30, "output_tokens": {"*": {"*": 1000}}}
        prices = bulk.PriceTable.read({"date": "2026-11-23", "models": {"gpt-image-2": tokens}})
        image = {"b64_json": base64.b64encode(png()).decode()}
        shop = await workshop(Fault(status=200, body={"created": 1, "data": [image] * 3}, billed=True))

        report = await shop.run(prompts(1), prices=prices)

        (record,) = await shop.records()
        assert 3 == len(record.images)
        assert prices.worst_case({**record.document, "n": 3}) == record.cost == report.totals.cost
