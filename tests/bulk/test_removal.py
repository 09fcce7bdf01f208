"""A job whose folder is moved, removed or closed to it while it runs: it ends, and what is paid for is somewhere."""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from workshop import prompts

from burncloud_images import bulk
from burncloud_images.bulk import RequestState, directory, image_store
from burncloud_images.bulk import folder_descriptors as folders
from burncloud_images.emulator import Fault

SLOW = (Fault(delay=0.02, times=3), Fault(delay=0.4, times=None))
"""Three requests are done while others are under way."""
KEY = re.compile(r"\.?([0-9a-f]{32})")


@pytest.fixture(autouse=True)
def temporary(monkeypatch, tmp_path):
    """Return the folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def after(count, work):
    """Return a watch that does *work* once, when so many requests are done."""
    done = []

    def watch(event):
        done.append(event.kind == "done")
        if sum(done) == count and event.kind == "done":
            work()

    return watch


def keys_of(folder):
    """Return the keys of all whole images in *folder*."""
    return {KEY.match(path.name)[1] for path in folder.rglob("*.png") if KEY.match(path.name)}


def remove_all(folder):
    """Remove a folder in which others may be at work, as a person would: until it is gone."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


async def read(path):
    async with bulk.Job.open(path, create=False) as job:
        return {record.key: record async for record in job.records()}


class TestRemoval:
    """Somebody tidies up under a job that runs."""

    async def test_a_folder_that_is_moved_takes_the_job_with_it(self, workshop, tmp_path):
        """What is under way comes to its end there, nothing more is bought, and the job goes on from there."""
        shop = await workshop(*SLOW)
        out, moved = tmp_path / "out", tmp_path / "moved"

        report = await shop.run(prompts(12), watch=after(3, lambda: out.rename(moved)))
        billed = set(shop.billed_keys)
        found = await read(moved)
        async with bulk.Job.open(moved) as job:
            again = await job.run(shop.client, bulk.JobOptions(room=0))

        assert "disk" == report.stopped
        assert f"{out} was moved to {moved} while the job ran" in report.message
        assert 3 <= len(billed) <= 3 + 4 + 4
        assert billed <= keys_of(moved)
        assert billed == {key for key, record in found.items() if record.state is RequestState.DONE}
        assert not out.exists()
        assert (moved / "gallery.html").exists()
        assert ("finished", 12, 12) == (again.stopped, again.totals.counts[RequestState.DONE], shop.billed)

    async def test_a_folder_that_is_removed_is_made_again(self, workshop, tmp_path):
        """With what came later, and with all that is known: no request is bought again for it."""
        shop = await workshop(*SLOW)
        out = tmp_path / "out"
        gone = []

        def remove():
            gone.extend(keys_of(out))
            remove_all(out)

        report = await shop.run(prompts(12), watch=after(3, remove))
        billed = set(shop.billed_keys)
        left = keys_of(out)
        again = await shop.run()

        assert "disk" == report.stopped
        assert billed == left | set(gone)
        assert 3 <= len(billed) <= 3 + 4 + 4
        assert "finished" == again.stopped
        assert {1} == set(shop.billed_keys.values())
        assert (12, len(gone)) == (shop.billed, again.totals.counts[RequestState.FAILED])

    async def test_images_that_are_removed_are_made_no_secret_of(self, workshop, tmp_path):
        """The folder is made again for what is under way; the images that went count as failed at once."""
        shop = await workshop(*SLOW)
        images = tmp_path / "out/images"
        gone = []

        def remove():
            gone.extend(keys_of(images))
            remove_all(images)

        report = await shop.run(prompts(12), watch=after(3, remove))

        assert "disk" == report.stopped
        assert "was removed while the job ran" in report.message
        assert set(shop.billed_keys) == keys_of(images) | set(gone)
        assert {RequestState.FAILED: len(gone), RequestState.DONE: len(keys_of(images))} == {
            state: count for state, count in report.totals.counts.items() if count and state is not RequestState.PENDING
        }

    async def test_a_store_that_is_removed_is_written_again(self, workshop, tmp_path):
        """The run stops and says so; the next one knows all that was bought."""
        shop = await workshop(*SLOW)
        store = tmp_path / "out/job.sqlite3"

        report = await shop.run(prompts(12), watch=after(3, store.unlink))
        mode = store.stat().st_mode & 0o777
        again = await shop.run()

        assert "disk" == report.stopped
        assert "job.sqlite3 was removed or replaced while the job ran" in report.message
        assert 0o600 == mode
        assert ("finished", 12, 12) == (again.stopped, again.totals.counts[RequestState.DONE], shop.billed)
        assert {1} == set(shop.billed_keys.values())

    async def test_a_store_in_the_place_of_another_is_left_alone(self, workshop, tmp_path):
        """What the run knows is put into the rescue folder."""
        shop = await workshop(*SLOW)
        store = tmp_path / "out/job.sqlite3"

        def replace():
            store.unlink()
            store.write_bytes(b"somebody else's")

        report = await shop.run(prompts(12), watch=after(3, replace))
        with sqlite3.connect(tmp_path / "out/rescue/job.sqlite3") as kept:
            done = {key for (key,) in kept.execute("SELECT key FROM requests WHERE state = 'done'")}
        kept.close()

        assert "disk" == report.stopped
        assert b"somebody else's" == store.read_bytes()
        assert set(shop.billed_keys) == done


class TestImagesThatCannotBeStored:
    """For another reason than a full disk, there is nothing to wait for."""

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("lost", [False, True])
    async def test_a_file_in_place_of_the_images(self, workshop, tmp_path, temporary, monkeypatch, lost):
        """What is paid for goes into the rescue folder, or the one for temporary files; where is said, and it ends."""
        if lost:
            monkeypatch.setattr(image_store, "put_into_rescue", refuse)
        shop = await workshop(*SLOW)
        images = tmp_path / "out/images"

        def replace():
            for number in itertools.count():
                images.rename(tmp_path / f"kept-{number}")
                with suppress(IsADirectoryError):  # a thread has made the folder again
                    images.write_text("a file")
                    return

        report = await shop.run(prompts(12), watch=after(3, replace))
        found = await read(tmp_path / "out")
        place = temporary if lost else tmp_path / "out/rescue"
        failed = {key: record.failure for key, record in found.items() if record.state is RequestState.FAILED}

        assert "disk" == report.stopped
        kept = set().union(*map(keys_of, tmp_path.glob("kept-*")))
        assert set(shop.billed_keys) == kept | keys_of(place)
        assert failed
        assert keys_of(place) == set(failed)
        assert all(str(place) in failure.message for failure in failed.values())
        assert all(record.state is not RequestState.IN_DOUBT for record in found.values())
        assert any(str(place) in event.message for event in shop.events if event.kind == "note")

    @pytest.mark.sampled(3)
    @pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENAMETOOLONG, errno.EIO, errno.EDQUOT])
    async def test_every_other_error(self, workshop, tmp_path, monkeypatch, code):
        """Only a quota is waited for; whatever else it is, the run ends and each image is somewhere."""
        shop = await workshop(*SLOW)
        opened, writes = folders.open_below, []

        def fail(folder, name, *, make):
            writes.extend([name] * (name == "images" and not make))
            if name == "images" and 3 < len(writes) < (8 if code == errno.EDQUOT else 1000):
                raise OSError(code, os.strerror(code))
            return opened(folder, name, make=make)

        monkeypatch.setattr(folders, "open_below", fail)
        report = await shop.run(prompts(12))

        assert "disk" == report.stopped
        assert set(shop.billed_keys) == keys_of(tmp_path / "out")
        assert (code == errno.EDQUOT) == (report.totals.counts[RequestState.FAILED] == 0)

    async def test_nowhere_at_all(self, workshop, tmp_path, monkeypatch):
        """Then that is said, and the request is not bought again."""
        monkeypatch.setattr(image_store, "write_private", refuse)
        monkeypatch.setattr(image_store, "write_elsewhere", lambda *_: None)
        shop = await workshop(*SLOW)
        images = tmp_path / "out/images"

        file = tmp_path / "file"
        file.write_text("a file")

        def replace():
            for number in itertools.count():  # the job makes the folder again as soon as it is gone
                images.rename(tmp_path / f"kept-{number}")
                with suppress(IsADirectoryError):
                    file.rename(images)
                    return

        report = await shop.run(prompts(12), watch=after(3, replace))
        await shop.run()

        assert "disk" == report.stopped
        assert any(
            "could be saved nowhere" in record.failure.message for record in await shop.records() if record.failure
        )
        assert {1} == set(shop.billed_keys.values())


def refuse(*args):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_folder_is_reached_past_no_link(tmp_path: Path):
    """Neither in its place nor on the way to it."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "images").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="Not a directory"), directory.JobDirectory(tmp_path).folder("images", "ab"):
        pass
    assert [] == list((tmp_path / "elsewhere").iterdir())
