"""Work in threads that nothing can stop, and pieces that are written whole."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from burncloud_images.disk import MOST_PIECES, finish_whatever_happens, write_pieces, write_whole


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
