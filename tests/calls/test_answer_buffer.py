"""What is held of an answer is let go without a trace, or kept whole wherever there is room for it."""

from __future__ import annotations

import errno
import gc
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes import until

from burncloud_images import Memory
from burncloud_images.calls import answer_buffer as module
from burncloud_images.calls.answer_buffer import AnswerBuffer, find_place
from burncloud_images.cli.outputs import PartialSavingSink
from burncloud_images.files.sinks import Directory

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
LARGE = os.urandom(300_000) * 5


@pytest.fixture
def hold():
    """Return what makes a buffer."""
    executor = ThreadPoolExecutor(1)
    yield lambda path=None: AnswerBuffer(executor=executor, find_path=lambda: path)
    executor.shutdown()


@pytest.fixture
def failing(monkeypatch):
    """Return what lets the disk fail after so many writes, for so many."""

    def fail(after, times=1):
        write, calls = os.pwrite, []

        def pwrite(descriptor, data, offset):
            calls.append(offset)
            if after < len(calls) <= after + times:
                raise FULL
            return write(descriptor, data[:70_000], offset)

        monkeypatch.setattr(os, "pwrite", pwrite)

    return fail


async def add(buffer, data, size=100_000):
    for start in range(0, len(data), size):
        await buffer.add(data[start : start + size])


async def test_nothing_is_left_of_what_is_let_go(hold, tmp_path):
    """After a drop nothing is left in memory or on disk, and nothing more is taken."""
    buffer = hold(tmp_path / "new" / "x.answer")
    await add(buffer, LARGE)
    (part,) = (tmp_path / "new").iterdir()
    assert 0o600 == stat.S_IMODE(part.stat().st_mode)

    await buffer.drop()
    await buffer.add(b"more")

    assert [] == list((tmp_path / "new").iterdir())
    assert None is await buffer.keep(in_file=True)


async def test_a_restart_begins_anew(hold):
    """A restart after a drop takes new bytes; while bytes are held it does nothing."""
    buffer = hold()
    await buffer.add(b"one")
    await buffer.restart(b"two")
    assert b"one" == (await buffer.keep(in_file=False)).read()

    await buffer.drop()
    await buffer.restart(b"three", b"", b" four")
    assert b"three four" == (await buffer.keep(in_file=False)).read()


@pytest.mark.parametrize("in_file", [False, True])
async def test_a_small_answer_is_in_a_file_if_it_is_worth_one(hold, tmp_path, in_file):
    """A small answer is in a file if that was asked for, otherwise in memory."""
    buffer = hold(tmp_path / "x.answer")
    await buffer.add(b"small")
    kept = await buffer.keep(in_file=in_file)

    assert b"small" == kept.read()
    assert in_file == (kept.path is not None)
    assert not buffer.waiting or not in_file


async def test_an_unnamed_file_goes_with_its_value(hold):
    """An unnamed file is closed with its value, and no descriptor is left."""
    buffer = hold()
    await add(buffer, LARGE)
    kept = await buffer.keep(in_file=False)
    descriptor = kept.file.fileno()
    assert LARGE == kept.read() == kept.read()
    assert f"{len(LARGE):,} bytes" in kept.whereabouts

    del kept
    gc.collect()

    await until(lambda: is_closed(descriptor))  # a thread may still hold it for a moment


def is_closed(descriptor):
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


@pytest.mark.parametrize("after", [0, 2, 16])
async def test_a_disk_that_fails_leaves_it_to_another(hold, tmp_path, failing, after):
    """If a disk fails, another one takes the answer, with the bytes that were written already."""
    failing(after)
    buffer = hold(tmp_path / "x.answer")
    await add(buffer, LARGE)
    kept = await buffer.keep(in_file=True)

    assert LARGE == kept.read()
    assert [] == list(tmp_path.glob(".*.part"))
    assert kept.path is None


@pytest.mark.parametrize("after", [0, 16])
async def test_without_any_disk_it_stays_in_memory(hold, tmp_path, failing, after):
    """If no disk takes the answer it stays in memory, since it is paid for."""
    failing(after, times=1000)
    buffer = hold(tmp_path / "x.answer")
    await add(buffer, LARGE)
    kept = await buffer.keep(in_file=True)

    assert LARGE == kept.read()
    assert (None, None) == (kept.path, kept.file)


async def test_memory_is_not_for_any_amount(hold, failing, monkeypatch):
    """If no disk takes the answer, only as much is held in memory as its limit allows."""
    monkeypatch.setattr(module, "MOST_IN_MEMORY", 1_200_000)
    failing(0, times=1000)
    buffer = hold()
    await add(buffer, LARGE)
    kept = await buffer.keep(in_file=False)

    assert 1_200_000 < kept.size < len(LARGE)
    assert LARGE[: kept.size] == kept.read()


async def test_a_file_that_cannot_have_its_name_keeps_the_one_it_has(hold, tmp_path, monkeypatch):
    """A file that cannot be renamed keeps its first name, and can be read."""

    def fail(*_args, **_options):
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(module, "place", fail)
    buffer = hold(tmp_path / "x.answer")
    await add(buffer, LARGE)
    kept = await buffer.keep(in_file=True)

    assert [kept.path] == list(tmp_path.glob(".x.answer-*.part"))
    assert LARGE == kept.read()


async def test_a_name_is_taken_only_once(hold, tmp_path):
    """A name that is taken gets a number."""
    paths = []
    for text in (b"one", b"two", b"three"):
        buffer = hold(tmp_path / "x.answer")
        await buffer.add(text)
        paths.append((await buffer.keep(in_file=True)).path)

    assert ["x.answer", "x-2.answer", "x-3.answer"] == [path.name for path in paths]
    assert [b"one", b"two", b"three"] == [path.read_bytes() for path in paths]


async def test_a_file_that_was_removed_reads_as_nothing(hold, tmp_path):
    """A file that was moved reads as empty, so that its error can still be shown."""
    buffer = hold(tmp_path / "x.answer")
    await buffer.add(b"small")
    kept = await buffer.keep(in_file=True)
    kept.path.unlink()

    assert b"" == kept.read()


def test_previews_do_not_change_the_place(tmp_path):
    """A sink around another one keeps answers in that one's place."""
    folder = Directory(tmp_path)
    place = type("ImageContext", (), {"id": "x"})()
    around = [PartialSavingSink(images=sink, folder=folder, show=print) for sink in (folder, Memory())]

    assert [tmp_path / "x.answer", None] == [find_place(sink, place) for sink in around]
