"""Work in threads that nothing can stop, and pieces that are written whole."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from burncloud_images import disk
from burncloud_images.disk import (
    MOST_PIECES,
    finish_whatever_happens,
    place,
    sync_file,
    sync_folder,
    write_elsewhere,
    write_pieces,
    write_whole,
)


@pytest.mark.parametrize("fails", [False, True])
async def test_work_is_waited_for_however_often_its_caller_is_cancelled(fails):
    """A cancelled caller waits until the thread has finished, and then raises the first cancellation."""
    goes_on, ended = threading.Event(), []

    def write():
        goes_on.wait(10)
        ended.append(True)
        if fails:
            raise OSError

    work = asyncio.get_running_loop().run_in_executor(None, write)
    caller = asyncio.create_task(finish_whatever_happens(work))
    await asyncio.sleep(0)
    for number in range(30):
        caller.cancel(f"cancelled {number}")
        await asyncio.sleep(0)
    assert not caller.done()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError, match="cancelled 0"):
        await caller

    assert [True] == ended


async def test_without_cancellation_it_is_what_came_of_the_work():
    """Without a cancellation the result or error of the work comes back."""
    loop = asyncio.get_running_loop()

    assert 1 == await finish_whatever_happens(loop.run_in_executor(None, lambda: 1))
    with pytest.raises(ZeroDivisionError):
        await finish_whatever_happens(loop.run_in_executor(None, lambda: 1 // 0))


@pytest.mark.parametrize("most", [1, 1000, 10**6])
def test_all_pieces_are_written_however_much_the_system_takes_at_once(tmp_path, monkeypatch, most):
    """Any number of pieces is written in order, also where a call takes only some of them."""
    monkeypatch.setattr(os, "writev", lambda descriptor, pieces: os.write(descriptor, b"".join(pieces)[:most]))
    pieces = [bytes([number % 251]) * (number % 5) for number in range(MOST_PIECES + 10)]
    with (tmp_path / "file").open("wb", buffering=0) as file:
        write_pieces(file.fileno(), pieces)

    assert b"".join(pieces) == (tmp_path / "file").read_bytes()


@pytest.mark.parametrize("stem", ["a" * 251, "水" * 83, "é" * 125, "🦦" * 62])
def test_a_name_of_255_bytes_can_be_written(tmp_path: Path, stem: str):
    """The hidden file has a short name, whatever the letters of the wanted one take."""
    write_whole(tmp_path / f"{stem}.png", b"otter", overwrite=False)

    assert b"otter" == (tmp_path / f"{stem}.png").read_bytes()
    assert 1 == len([*tmp_path.iterdir()])


def refuse(error):
    def call(*_args, **_options):
        raise error

    return call


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(code, "no") for code in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)),
        NotImplementedError("linkat"),
    ],
)
@pytest.mark.parametrize("taken", [False, True])
def test_a_file_system_without_links(tmp_path, monkeypatch, error, taken):
    """However it refuses them, a file gets its name and takes no other's."""
    monkeypatch.setattr(os, "link", refuse(error))
    part, final = tmp_path / "part", tmp_path / "final"
    part.write_text("new")
    if taken:
        final.write_text("old")
        with pytest.raises(FileExistsError):
            place(part, final, overwrite=False)
    else:
        place(part, final, overwrite=False)

    assert ("old" if taken else "new") == final.read_text()


def test_a_hidden_name_that_stays_is_no_failure(tmp_path, monkeypatch):
    """A file that has its name is kept, also where the hidden one cannot be removed."""
    part, final = tmp_path / "part", tmp_path / "final"
    part.write_text("new")
    monkeypatch.setattr(Path, "unlink", refuse(OSError(errno.EACCES, "no")))
    place(part, final, overwrite=False)

    assert "new" == final.read_text()


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_only_files_and_links_are_overwritten(tmp_path, kind):
    """A pipe or device is not replaced by a file."""
    part, final = tmp_path / "part", tmp_path / "final"
    part.write_text("new")
    match kind:
        case "pipe":
            os.mkfifo(final)
        case "folder":
            final.mkdir()
        case _:
            final = Path("/dev/full")
    with pytest.raises(FileExistsError, match="not a regular file"):
        place(part, final, overwrite=True)

    assert not stat.S_ISREG(final.lstat().st_mode)


@pytest.mark.parametrize("sync", [sync_file, sync_folder])
def test_syncing_may_be_unknown_but_not_fail(tmp_path, monkeypatch, sync):
    """A file system that cannot sync is left alone; a disk that fails is told."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for code in disk.UNSUPPORTED:
        monkeypatch.setattr(os, "fsync", refuse(OSError(code, "no")))
        sync(descriptor)
    monkeypatch.setattr(os, "fsync", refuse(OSError(errno.EIO, "no")))
    with pytest.raises(OSError, match="no"):
        sync(descriptor)
    os.close(descriptor)


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """Run as someone without a home, a folder for temporary files and a working directory."""

    def gone():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", gone)
    monkeypatch.setattr(Path, "home", refuse(RuntimeError("Could not determine home directory.")))
    monkeypatch.setattr(Path, "cwd", refuse(FileNotFoundError(errno.ENOENT, "gone")))
    monkeypatch.setattr(disk, "LAST_FOLDERS", [str(tmp_path / "missing"), str(tmp_path)])


def test_bytes_are_written_where_somebody_without_a_place_can(nobody, tmp_path):
    """Folders that are not there are skipped, and taken names get numbers."""
    first = write_elsewhere("a.png", b"1")
    second = write_elsewhere("a.png", b"2")

    assert [tmp_path / "a.png", tmp_path / "a-2.png"] == [first, second]
    assert b"12" == first.read_bytes() + second.read_bytes()
    assert 0o600 == stat.S_IMODE(second.stat().st_mode)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_folder_that_fails_while_it_is_written_is_left_clean(tmp_path, monkeypatch, code):
    """What did not fit is removed, and the next folder is tried."""
    synced = []

    def fail_once(descriptor):
        synced.append(descriptor)
        if len(synced) == 1:
            raise OSError(code, "no")

    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    monkeypatch.setattr(disk, "sync_file", fail_once)

    assert second / "a" == write_elsewhere("a", b"x", first, second)
    assert [] == [*first.iterdir()]


def test_bytes_that_no_folder_takes(nobody, monkeypatch):
    """The caller is told by None."""
    monkeypatch.setattr(disk, "LAST_FOLDERS", ["/proc/nowhere"])

    assert write_elsewhere("a.png", b"1") is None
