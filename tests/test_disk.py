"""Work in threads that nothing can stop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from burncloud_images.disk import finish_whatever_happens


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
