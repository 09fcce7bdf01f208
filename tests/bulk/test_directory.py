"""The lock, and the room for what is paid."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from burncloud_images import errors
from burncloud_images.bulk.directory import Ballast, JobDirectory, JobLock, find_holder

HOLD = """
import sys
from pathlib import Path
from burncloud_images.bulk.directory import JobLock
lock = JobLock.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


FORK = """
import multiprocessing, os, sys, time
from pathlib import Path
from burncloud_images.bulk.directory import JobLock

def sleep():
    print(os.getpid(), flush=True)
    time.sleep(60)

with JobLock.acquire(Path(sys.argv[1])) as lock:
    if sys.argv[2] == "fork":
        if not os.fork():
            lock.release()  # as whatever it unwinds would
            sleep()
    else:
        multiprocessing.get_context("fork").Process(target=sleep).start()
    sys.stdin.readline()
    os._exit(0)
"""


class TestNames:
    """Where things lie."""

    def test_paths_are_told_from_the_directory_on(self, tmp_path):
        """As the store keeps them, with slashes; what lies elsewhere has no such name."""
        directory = JobDirectory(tmp_path)
        key = "ab" * 16

        assert f"images/ab/{key}.png" == directory.relative(directory.image_folder(key) / f"{key}.png")
        with pytest.raises(ValueError, match="is not in"):
            directory.relative(tmp_path.with_name(f"{tmp_path.name}-2") / "a.png")


class TestJobLock:
    """Held by one run, for as long as its process lives."""

    def test_another_process_is_told_who_holds_it(self, tmp_path):
        """A second process gets an error that names the one that holds the lock."""
        path = tmp_path / "job.lock"
        command = [sys.executable, "-c", HOLD, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert "held\n" == holder.stdout.readline()
            with pytest.raises(errors.JobLockedError, match=f"process {holder.pid}") as caught:
                JobLock.acquire(path)
            holder.kill()
            holder.wait()

        assert holder.pid == caught.value.pid
        JobLock.acquire(path).release()

    @pytest.mark.slow
    @pytest.mark.parametrize("way", ["fork", "multiprocessing"])
    def test_a_forked_child_does_not_hold_it(self, tmp_path, way):
        """It is held while the parent lives, and by nobody once it is dead, though the child lives on."""
        path = tmp_path / "job.lock"
        command = [sys.executable, "-c", FORK, str(path), way]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
            child = int(parent.stdout.readline())
            try:
                held = find_holder(path)
                parent.stdin.write("\n")
                parent.stdin.flush()
                parent.wait()
                after = find_holder(path)
                JobLock.acquire(path).release()
                os.kill(child, 0)
            finally:
                os.kill(child, signal.SIGKILL)

        assert (parent.pid, None) == (held, after)

    def test_a_link_in_its_place_is_refused(self, tmp_path):
        """A link in the place of the lock file is refused."""
        (tmp_path / "other").write_text("precious")
        (tmp_path / "job.lock").symlink_to(tmp_path / "other")
        with pytest.raises(errors.StorageError):
            JobLock.acquire(tmp_path / "job.lock")

        assert "precious" == (tmp_path / "other").read_text()


class TestBallast:
    """Room that is taken, and given up at once."""

    def test_it_takes_real_room(self, tmp_path):
        """The reserved file occupies real blocks of the disk."""
        ballast = Ballast(tmp_path / ".ballast", 1 << 20)
        ballast.load()

        assert 1 << 20 == ballast.path.stat().st_blocks * 512
        assert ballast.drop()
        assert not ballast.drop()

    def test_too_little_room_is_said_before_anything_is_bought(self, tmp_path):
        """Too little room is an error before anything is bought."""
        with pytest.raises(errors.StorageError, match="too little space"):
            Ballast(tmp_path / ".ballast", 1 << 60).load()

        assert [] == list(tmp_path.glob(".ballast"))

    @pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV, errno.EPERM, None])
    def test_a_file_system_that_cannot_reserve_room_may_have_it(self, tmp_path, monkeypatch, code):
        """Where room cannot be reserved, or the system has no call for it, what is free decides."""

        def refuse(*_):
            raise OSError(code, os.strerror(code))

        if code is None:
            monkeypatch.delattr(os, "posix_fallocate")
        else:
            monkeypatch.setattr(os, "posix_fallocate", refuse)
        Ballast(tmp_path / ".ballast", 1 << 20).load()
        with pytest.raises(errors.StorageError, match=r"too little space \(No space left on device\)"):
            Ballast(tmp_path / ".ballast", 1 << 60).load()

    @pytest.mark.parametrize("blocks", [None, 0])
    def test_a_file_system_that_tells_nothing_is_not_full(self, tmp_path, monkeypatch, blocks):
        """Where room can neither be reserved nor counted, nothing says that there is too little of it."""

        def refuse(*_):
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

        real = os.statvfs(tmp_path)
        told = os.statvfs_result((real.f_bsize, real.f_frsize, *[0] * 9))
        monkeypatch.setattr(os, "posix_fallocate", refuse)
        monkeypatch.setattr(os, "statvfs", refuse if blocks is None else lambda _: told)

        Ballast(tmp_path / ".ballast", 1 << 20).load()


class TestJobDirectory:
    """Where things lie, and who may read them."""

    async def test_what_can_hold_addresses_is_for_its_owner_alone(self, workshop):
        """Files that can hold URLs are readable by their owner alone."""
        shop = await workshop()
        await shop.run([{"prompt": "one", "model": "dall-e-2", "size": "256x256"}])
        for name in ("job.sqlite3", "job.lock"):
            assert 0o600 == stat.S_IMODE((shop.path / "out" / name).stat().st_mode)

    def test_a_folder_that_may_not_be_written_is_refused(self, tmp_path):
        """A folder without write permission is refused."""
        (tmp_path / "file").write_text("x")
        with pytest.raises(errors.StorageError):
            JobDirectory(tmp_path / "file").make()

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_so_is_one_of_somebody_else(self, tmp_path):
        """A folder that belongs to another user is refused."""
        tmp_path.chmod(0o500)
        with pytest.raises(errors.StorageError, match="permission"):
            JobDirectory(tmp_path).make()


def test_the_names_above_a_new_job_are_durable(tmp_path: Path, monkeypatch):
    """A power cut that takes the directory's name takes everything that was bought into it."""
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    )
    directory = JobDirectory(tmp_path / "jobs" / "out")
    directory.make()

    assert {str(tmp_path), str(tmp_path / "jobs")} <= {*synced}
    directory.store.touch()
    synced.clear()
    directory.make()

    assert [] == synced
