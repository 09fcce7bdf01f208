"""Whole jobs against the emulator: what is bought, what is kept, and what another run does; judged by the ledger."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from fakes import until
from workshop import BY_URL, ONCE, SMALL, prompts, write_rows

from burncloud_images import AsyncImagesClient, GenerationRequest, bulk, errors
from burncloud_images.bulk import RequestState, image_store, verification
from burncloud_images.bulk.outputs.shards import digests
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.files.sinks import DirectoryWriter

EIGHT = prompts(8)


class TestWhatIsBought:
    """Every request once, whatever happens around it."""

    async def test_every_row_becomes_a_file_and_a_second_run_buys_nothing(self, workshop):
        """Every row becomes a file, and a second run buys nothing."""
        shop = await workshop()
        report = await shop.run(EIGHT)

        assert ("finished", 8, 8) == (report.stopped, report.ended, report.made)
        assert 8 == len(shop.images) == shop.billed == shop.posts
        again = await shop.run()

        assert ("finished", 0) == (again.stopped, again.ended)
        assert 8 == shop.posts

    async def test_the_store_knows_the_bytes_of_every_file(self, workshop):
        """The store has the size and digest of every file."""
        shop = await workshop()
        await shop.run(prompts(3, n=2))
        for record in await shop.records():
            for image in record.images:
                data = (shop.path / "out" / image.path).read_bytes()
                assert (len(data), hashlib.sha256(data).hexdigest()) == (image.size, image.sha256)
        assert 6 == len(shop.images)

    async def test_a_row_that_is_there_twice_is_one_request(self, workshop):
        """A row that occurs twice is one request."""
        shop = await workshop()
        await shop.run(
            [{"prompt": "one", **SMALL}, {"prompt": "one", **SMALL}, {"prompt": "one", "repeat": 1, **SMALL}]
        )

        assert 2 == shop.billed

    async def test_the_key_of_a_request_is_the_same_in_all_runs(self, workshop):
        """It is the Idempotency-Key of every attempt, so the API's support can find them all."""
        shop = await workshop(Fault(status=503), retry=ONCE)
        await shop.run(prompts(1))
        (record,) = await shop.records()
        await shop.run(retry_failed=True)

        assert {record.key} == {entry.idempotency_key for entry in shop.emulator.ledger.requests}

    async def test_requests_of_a_program_are_rows_like_others(self, workshop):
        """Requests that a program adds are treated like rows of a list."""
        shop = await workshop()
        async with bulk.Job.open(shop.path / "out", clock=shop.clock) as job:
            added = await job.add([GenerationRequest("from code", **SMALL), GenerationRequest("from code", **SMALL)])
            report = await job.run(shop.client, bulk.JobOptions(room=0))

        assert (1, 1, 1) == (added.new, added.known, report.made)


class TestInDoubt:
    """What may have been billed is listed, and bought again only with consent."""

    async def test_an_answer_that_never_comes_is_in_doubt_and_stays_so(self, workshop):
        """A request whose answer never comes stays in doubt."""
        shop = await workshop(Fault(cut="close", billed=True))
        report = await shop.run(EIGHT)

        assert ("finished", 1, 7) == (
            report.stopped,
            report.totals.counts[RequestState.IN_DOUBT],
            report.totals.counts[RequestState.DONE],
        )
        (doubt,) = [record for record in await shop.records() if record.state is RequestState.IN_DOUBT]
        assert "OutcomeUnknownError" == doubt.failure.error
        await shop.run()

        assert 8 == shop.posts == shop.billed

    async def test_with_consent_it_is_bought_twice(self, workshop):
        """The negative control of the one above: the ledger sees the double bill."""
        shop = await workshop(Fault(cut="close", billed=True))
        await shop.run(EIGHT)
        await shop.run(on_unknown="retry")

        assert (9, 2) == (shop.billed, max(shop.billed_keys.values()))
        assert 8 == len(shop.images)

    async def test_a_server_that_honours_keys_is_asked_again(self, workshop):
        """A server that honours keys is asked again with the same key, and bills once."""
        shop = await workshop(Fault(cut="close", billed=True), emulator={"idempotency": "replay"})
        await shop.run(EIGHT, server_idempotency="replay")

        assert 8 == shop.billed == len(shop.images)
        assert 1 == max(shop.billed_keys.values())

    async def test_images_that_came_whole_before_the_cut_are_kept(self, workshop):
        """Images that were whole before the cut are kept."""
        shop = await workshop(Fault(cut="close", place="answer", byte=-40))
        await shop.run(prompts(1, n=2))
        (record,) = await shop.records()

        assert RequestState.IN_DOUBT is record.state
        assert len(record.images) == len(shop.images) >= 1
        assert list((shop.path / "out/rescue").iterdir())


class TestStopping:
    """Whatever stops a run, what is paid comes to its end and the rest waits."""

    async def test_the_first_interrupt_lets_paid_calls_finish(self, workshop):
        """After the first interrupt, calls that may be billed finish."""
        shop = await workshop(emulator={"latency": 0.05})

        async def interrupt(job):
            await until(lambda: shop.posts >= 3)
            job.drain()

        tasks = []
        report = await shop.run(EIGHT, begin=lambda job: tasks.append(asyncio.create_task(interrupt(job))))
        await tasks[0]

        assert "interrupted" == report.stopped
        assert 0 == report.totals.counts[RequestState.IN_DOUBT]
        assert shop.billed == report.made == len(shop.images) < 8
        await shop.run()

        assert 8 == shop.billed == len(shop.images)

    async def test_the_second_interrupt_lists_what_was_on_its_way(self, workshop):
        """After the second interrupt, requests in flight are listed as in doubt."""
        shop = await workshop(emulator={"latency": 5.0})

        async def interrupt(job):
            await until(lambda: shop.posts >= 4)
            job.drain()
            job.abandon()

        tasks = []
        report = await shop.run(EIGHT, begin=lambda job: tasks.append(asyncio.create_task(interrupt(job))))
        await tasks[0]

        assert "abandoned" == report.stopped
        assert (4, 4) == (report.totals.counts[RequestState.IN_DOUBT], report.totals.counts[RequestState.PENDING])

    @pytest.mark.parametrize("ends", ["drain", "abandon"])
    async def test_an_interrupt_counts_after_another_reason_to_stop(self, workshop, ends):
        """A run that waits for what is under way, since its budget is reached, ends as the user asks."""
        shop = await workshop(emulator={"latency": 0.5})

        async def interrupt(job):
            await until(lambda: job.run_now is not None and "limit" in job.run_now.reasons)
            getattr(job, ends)()

        def begin(job):
            tasks.append(asyncio.create_task(interrupt(job)))
            tasks.append(asyncio.create_task(stop(job)))

        async def stop(job):
            await until(lambda: shop.posts >= 2)
            job.run_now.stop("quota", "The balance is used up.")
            job.run_now.stop("limit")

        tasks = []
        report = await shop.run(EIGHT, begin=begin)
        await asyncio.gather(*tasks)

        assert {"drain": "interrupted", "abandon": "abandoned"}[ends] == report.stopped
        assert "The balance is used up." in [event.message for event in shop.events]

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("times", [1, 30])
    async def test_a_cancelled_caller_leaves_and_what_is_paid_comes_to_its_end(self, workshop, times):
        """However often it is cancelled; the client's end waits for it, and another run goes on without a doubt."""
        shop = await workshop(emulator={"latency": 0.5})
        task = asyncio.create_task(shop.run(EIGHT))
        await until(lambda: shop.posts >= 4)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        kept_by_then = len(shop.images)
        with pytest.raises(errors.JobLockedError):
            await shop.records()
        await shop.client.aclose()

        assert errors.Billing.MAYBE is caught.value.billed
        assert 4 > kept_by_then
        assert {RequestState.DONE: 4, RequestState.PENDING: 4} == await shop.states()
        async with AsyncImagesClient(shop.emulator.api_key, shop.emulator.base_url, clock=shop.clock) as shop.client:
            await shop.run()
        assert 8 == shop.billed == len(shop.billed_keys) == len(shop.images)

    async def test_a_client_that_closes_at_once_abandons_what_is_on_its_way(self, workshop):
        """It is listed as in doubt; this is what a cancelled caller would cost if it abandoned its calls."""
        shop = await workshop(emulator={"latency": 0.1})
        task = asyncio.create_task(shop.run(EIGHT))
        await until(lambda: shop.posts >= 4)
        task.cancel()
        await asyncio.wait([task])
        await shop.client.aclose(on_exit="cancel")

        assert {RequestState.IN_DOUBT: 4, RequestState.PENDING: 4} == await shop.states()

    async def test_closing_the_client_drains_a_run(self, workshop):
        """Whoever waits for the run gets its report."""
        shop = await workshop(emulator={"latency": 0.05})
        task = asyncio.create_task(shop.run(EIGHT))
        await until(lambda: shop.posts >= 4)
        await shop.client.aclose()
        report = await task

        assert ("interrupted", 0) == (report.stopped, report.totals.counts[RequestState.IN_DOUBT])
        assert shop.posts == shop.billed == len(shop.images)

    async def test_a_run_whose_caller_gave_up_waiting_ends_before_its_job_does(self, workshop):
        """A timeout within the block of the job costs nothing that is paid."""
        shop = await workshop(emulator={"latency": 0.1})
        async with bulk.Job.open(shop.path / "out", clock=shop.clock) as job:
            await job.add(write_rows(shop.path / "rows.jsonl", EIGHT))
            run = asyncio.create_task(job.run(shop.client, bulk.JobOptions(concurrency=4, room=0)))
            await until(lambda: shop.posts == 4)
            run.cancel()
            await asyncio.wait([run])

        assert run.cancelled()
        assert 0 == (await shop.states())[RequestState.IN_DOUBT]
        assert shop.posts == shop.billed == len(shop.images)

    async def test_a_loop_that_ends_lists_what_was_on_its_way(self, tmp_path):
        """As a second Ctrl-C in `asyncio.run` does; the store is closed in order all the same."""
        async with Emulator(latency=5.0) as emulator:

            def run() -> None:
                with asyncio.Runner() as runner:
                    runner.run(begin())

            async def begin() -> None:
                client = AsyncImagesClient(emulator.api_key, emulator.base_url)
                running.append(asyncio.create_task(work(client)))
                await until(lambda: len(emulator.ledger.requests) >= 4)

            async def work(client):
                async with client, bulk.Job.open(tmp_path / "out") as job:
                    await job.add(write_rows(tmp_path / "rows.jsonl", EIGHT))
                    await job.run(client, bulk.JobOptions(concurrency=4, room=0))

            running = []
            await asyncio.to_thread(run)
            async with bulk.Job.open(tmp_path / "out") as job:
                counts = (await job.totals()).counts

        assert (4, 4) == (counts[RequestState.IN_DOUBT], counts[RequestState.PENDING])

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            (Fault(status=401, times=None), "authentication"),
            (Fault(status=429, body={"error": {"code": "insufficient_quota", "message": "x"}}, times=None), "quota"),
        ],
        ids=["key", "quota"],
    )
    async def test_an_account_that_cannot_pay_stops_admission(self, workshop, fault, reason):
        """At once, with every request still waiting for another run."""
        shop = await workshop(fault)
        report = await shop.run(prompts(40))

        assert reason == report.stopped
        assert 40 == report.totals.counts[RequestState.PENDING]
        assert shop.posts <= 4

    async def test_a_gateway_with_nothing_behind_it_is_not_asked_for_every_row(self, workshop):
        """A gateway without a backend is probed and not asked for every row."""
        shop = await workshop(Fault(status=503, times=None))
        report = await shop.run(prompts(200))

        assert "gave_up" == report.stopped
        assert shop.posts < 150
        assert report.totals.counts[RequestState.PENDING] > 180

    async def test_the_same_failure_ten_times_at_first_stops_the_run(self, workshop):
        """A run stops if its first ten requests fail alike."""
        shop = await workshop(Fault(status=404, times=None))
        report = await shop.run(prompts(40), concurrency=1)

        assert ("failed", 10) == (report.stopped, shop.posts)

    async def test_one_job_is_run_once_at_a_time(self, workshop):
        """A job cannot be run twice at the same time."""
        shop = await workshop()
        async with bulk.Job.open(shop.path / "out"):
            with pytest.raises(errors.JobLockedError) as caught:
                async with bulk.Job.open(shop.path / "out"):
                    pass

        assert os.getpid() == caught.value.pid


class TestBudget:
    """No more is bought than was said."""

    async def test_a_cap_of_images_buys_exactly_as_many(self, workshop):
        """A limit of images buys exactly that number."""
        shop = await workshop()
        report = await shop.run(prompts(60), concurrency=32, max_images=25)

        assert ("budget", 25, 25) == (report.stopped, shop.billed, len(shop.images))
        report = await shop.run(concurrency=32, max_images=30)

        assert ("budget", 30) == (report.stopped, shop.billed)

    async def test_what_is_in_doubt_counts_as_bought(self, workshop):
        """Requests in doubt count as bought."""
        shop = await workshop(Fault(cut="close", billed=True, times=3))
        await shop.run(prompts(20), concurrency=8, max_images=10)

        assert 10 == shop.billed

    async def test_consent_to_pay_twice_is_no_consent_to_pay_more(self, workshop):
        """Attempts that follow one in doubt are counted like others."""
        shop = await workshop(Fault(cut="close", billed=True, times=4))
        report = await shop.run(prompts(20), concurrency=8, max_images=10, on_unknown="retry")

        assert "budget" == report.stopped
        assert 10 == shop.billed == report.totals.committed

    async def test_a_run_that_stops_before_another_attempt_lists_the_one_in_doubt(self, workshop):
        """A run that stops before a retry lists the request that is in doubt."""
        shop = await workshop(Fault(cut="close", billed=True, times=None))
        report = await shop.run(prompts(3), concurrency=1, max_images=2, on_unknown="retry")

        assert (1, 2, 2) == (
            report.totals.counts[RequestState.IN_DOUBT],
            report.totals.counts[RequestState.PENDING],
            shop.billed,
        )


class TestAddresses:
    """Images that come as URLs are paid before they are there."""

    async def test_they_are_fetched(self, workshop):
        """Images that came as URLs are downloaded."""
        shop = await workshop()
        report = await shop.run([{"prompt": str(number), **BY_URL} for number in range(3)])

        assert (3, 3) == (report.made, len(shop.images))
        assert not any(record.links for record in await shop.records())

    async def test_a_run_that_was_killed_between_answer_and_image_fetches_it_and_buys_nothing(self, workshop):
        """After a kill between answer and download, the next run downloads the image and buys nothing."""
        shop = await workshop(Fault(operation="downloads", status=503, times=3), retry=ONCE)
        await shop.run([{"prompt": "one", **BY_URL}])
        (record,) = await shop.records()

        assert (RequestState.RECEIVED, 1) == (record.state, len(record.links))
        report = await shop.run([])

        assert (1, 1, 1) == (report.made, shop.billed, len(shop.images))


class TestDisk:
    """A full disk stops the buying and loses nothing."""

    async def test_images_that_do_not_fit_are_saved_once_there_is_room(self, workshop, monkeypatch):
        """Images that do not fit on the disk are saved once there is room."""
        shop = await workshop()
        write, full = DirectoryWriter.write_batch, Counter()

        def fail_at_first(self, batch):
            full["writes"] += 1
            if 3 <= full["writes"] <= 7:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(self, batch)

        monkeypatch.setattr(DirectoryWriter, "write_batch", fail_at_first)
        report = await shop.run(prompts(20))

        assert "disk" == report.stopped
        assert shop.billed == report.totals.images == len(shop.images) < 20
        await shop.run()

        assert 20 == shop.billed == len(shop.images)

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
    async def test_a_disk_that_stays_full_does_not_hold_the_job(self, workshop, monkeypatch, tmp_path, code):
        """After ten seconds each image is in another file, which its row and a note name, and the run ends."""
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

        def refuse(*_):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(DirectoryWriter, "write_batch", refuse)
        monkeypatch.setattr(image_store, "put_into_rescue", refuse)
        shop = await workshop()
        report = await shop.run(prompts(3))
        saved = [*tmp_path.glob("*.png")]

        assert "disk" == report.stopped
        assert shop.billed == len(saved) > 0
        failures = [record.failure.message for record in await shop.records() if record.failure]
        assert all(any(str(path) in message for message in failures) for path in saved)

    async def test_an_abandoned_job_saves_images_that_are_held_in_memory(self, workshop, monkeypatch, tmp_path):
        """The disk is full and nobody waits for room any longer, so they go to the folder for temporary files."""
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

        def refuse(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(DirectoryWriter, "write_batch", refuse)
        monkeypatch.setattr(image_store, "put_into_rescue", refuse)
        shop = await workshop()

        def abandon(event):
            if "held in memory" in event.message:
                shop.job.abandon()

        report = await shop.run(prompts(1, n=2), watch=abandon)
        saved = [*tmp_path.glob("*.png")]

        assert ("abandoned", 1) == (report.stopped, report.totals.counts[RequestState.IN_DOUBT])
        assert 2 == len(saved)
        assert all(any(str(path) in event.message for event in shop.events) for path in saved)

    async def test_a_request_that_is_found_done_is_told_with_its_images(self, workshop, monkeypatch):
        """An abandoned request whose images are on the disk counts as made."""
        shop = await workshop()

        async def hang(*_, **__):
            shop.job.abandon()
            await asyncio.Event().wait()

        monkeypatch.setattr(bulk.job.Run, "complete", hang)
        report = await shop.run(prompts(1, n=2))
        (done,) = (event for event in shop.events if event.kind == "done")

        assert ("abandoned", 1, 2) == (report.stopped, report.ended, report.made)
        assert 2 == len(done.images) == len(shop.images)

    @pytest.mark.parametrize("limit", [None, 2])
    async def test_outputs_that_cannot_be_written_are_told_in_the_report(self, workshop, limit):
        """A run whose requests have all ended returns its report, says what is missing, and the next run writes it."""
        shop = await workshop()
        obstacle = shop.path / "out" / "report.json"
        obstacle.mkdir(parents=True)
        report = await shop.run(prompts(4), limit=limit)

        assert "disk" == report.stopped
        assert any("report.json cannot be written" in event.message for event in shop.events)
        assert report.made == shop.billed == len(shop.images)
        obstacle.rmdir()
        await shop.run()

        assert 4 == shop.billed == len(shop.images)
        assert obstacle.is_file()

    async def test_a_job_without_room_does_not_begin(self, workshop):
        """A job without room on its disk does not start."""
        shop = await workshop()
        with pytest.raises(errors.StorageError, match="too little space"):
            await shop.run(prompts(2), room=1 << 60)

        assert 0 == shop.posts


class TestInputs:
    """What a job was made from stays as it was."""

    async def test_a_list_that_changed_is_refused(self, workshop):
        """A list that changed since the last run is refused."""
        shop = await workshop()
        await shop.run(prompts(2))
        path = write_rows(shop.path / "rows.jsonl", prompts(3))
        async with bulk.Job.open(shop.path / "out") as job:
            with pytest.raises(errors.InputChangedError):
                await job.add(path)
            added = await job.add(path, allow_change=True)

        assert (1, 2) == (added.new, added.known)

    async def test_other_defaults_are_a_change(self, workshop):
        """Other defaults count as a change of the list."""
        shop = await workshop()
        path = write_rows(shop.path / "rows.jsonl", [{"prompt": "one"}])
        async with bulk.Job.open(shop.path / "out") as job:
            await job.add(path, defaults={"model": "gpt-image-2"})
            with pytest.raises(errors.InputChangedError, match="defaults"):
                await job.add(path, defaults={"model": "gpt-image-1"})

    async def test_an_image_that_changed_before_it_was_sent_is_not_sent(self, workshop, png_file):
        """An input image that changed is not sent."""
        shop = await workshop()
        async with bulk.Job.open(shop.path / "out") as job:
            await job.add(write_rows(shop.path / "rows.jsonl", [{"image": png_file.name, "prompt": "snow", **SMALL}]))
        png_file.write_bytes(png_file.read_bytes() + b"more")
        await shop.run()
        (record,) = await shop.records()

        assert (RequestState.FAILED, "InputChangedError", 0) == (record.state, record.failure.error, shop.posts)

    async def test_an_image_that_is_gone_is_not_bought_again_unasked(self, workshop):
        """An image that was deleted is not bought again unless asked for."""
        shop = await workshop()
        await shop.run(prompts(2))
        shop.images[0].unlink()
        report = await shop.run()

        assert (1, 2) == (report.totals.counts[RequestState.FAILED], shop.billed)
        await shop.run(retry_failed=True)

        assert 3 == shop.billed

    async def test_a_request_that_lost_several_images_fails_once(self, workshop):
        """A request that lost several images is counted as one failure."""
        shop = await workshop()
        await shop.run(prompts(1, n=2))
        for path in shop.images:
            path.unlink()
        report = await shop.run()

        assert (1, 1) == (report.totals.counts[RequestState.FAILED], shop.billed)

    async def test_images_that_are_gone_are_in_no_table(self, workshop):
        """Those that are left of the same request are."""
        shop = await workshop()
        await shop.run(prompts(1, n=3))
        shop.images[1].unlink()
        report = await shop.run()

        lines = (shop.path / "out/metadata.jsonl").read_text().splitlines()
        assert [path.name for path in shop.images] == [Path(json.loads(line)["file_name"]).name for line in lines]
        assert 2 == report.totals.images
        assert 3 == report.totals.committed

    async def test_a_row_whose_image_comes_later_is_a_request_then(self, workshop, png_file):
        """A list with bad rows is looked at in each run, though it is the same; then nothing is wrong any more."""
        shop = await workshop()
        away = png_file.rename(png_file.with_suffix(".away"))
        rows = [{"prompt": "a hat", "image": str(png_file), **SMALL}, *prompts(1)]
        root = png_file.parent
        list_file = write_rows(root / "rows.jsonl", rows)
        for expected in (1, 0, 0):
            async with bulk.Job.open(shop.path / "out", clock=shop.clock) as job:
                await job.add(list_file, bulk.InputOptions(input_root=root))
                report = await job.run(shop.client, bulk.JobOptions(room=0))
            assert expected == report.totals.bad_rows
            if away.exists():
                away.rename(png_file)

        assert 2 == shop.billed

    async def test_a_line_that_was_mended_is_no_problem_any_more(self, workshop):
        """Those of the list as it was are forgotten."""
        shop = await workshop()
        before = await shop.run([{"prompt": ""}, *prompts(1)])
        after = await shop.run([{"prompt": "mended", **SMALL}, *prompts(1)])

        assert (1, 0) == (before.totals.bad_rows, after.totals.bad_rows)
        assert not (shop.path / "out/bad_rows.jsonl").exists()


class TestOutputs:
    """What is written beside the images is of the last run."""

    async def test_a_run_that_changes_no_sums_is_told_of(self, workshop):
        """Why it stopped is another."""
        broke = Fault(status=429, body={"error": {"code": "insufficient_quota", "message": "no money"}})
        shop = await workshop(Fault(status=401), broke, retry=ONCE)
        seen = []
        for _ in range(2):
            await shop.run(prompts(1), concurrency=1)
            seen.append(json.loads((shop.path / "out/report.json").read_text())["run"]["stopped"])

        assert ["authentication", "quota"] == seen

    @pytest.mark.parametrize("name", ["report.json", "metadata.jsonl", "gallery.html"])
    async def test_what_was_deleted_is_written_again(self, workshop, name):
        """Outputs that were deleted are written again."""
        shop = await workshop()
        await shop.run(prompts(1))
        (shop.path / "out" / name).unlink()
        await shop.run()

        assert (shop.path / "out" / name).is_file()

    async def test_images_that_cannot_go_into_a_shard_are_named(self, workshop):
        """A file that changed after it was written stays outside of the shards, and a note names its request."""
        shop = await workshop()
        await shop.run(prompts(2))
        changed = next((shop.path / "out").glob("images/*/*.png"))
        changed.write_bytes(b"x" * changed.stat().st_size)
        report = await shop.run(output="webdataset")

        notes = [event.message for event in shop.events if event.kind == "note"]
        assert "finished" == report.stopped
        expected = f"Image files are missing or have changed, so these requests are not in a shard: {changed.stem}."
        assert [expected] == notes
        assert changed.is_file()

    async def test_each_tar_file_is_read_once(self, workshop, monkeypatch):
        """However many batches of its images are looked at."""
        shop = await workshop()
        await shop.run(prompts(5), output="webdataset")
        reads = []

        def read(path):
            reads.append(path.name)
            return digests(path)

        monkeypatch.setattr(verification, "digests", read)
        monkeypatch.setattr(verification, "BATCH", {"bytes": 2})
        async with bulk.Job.open(shop.path / "out") as job:
            found = [item async for item in job.verify()]

        assert (["00000.tar"], [2, 4, 5, 5]) == (reads, found)
