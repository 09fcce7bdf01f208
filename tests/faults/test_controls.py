"""The matrix can fail: each of its judges finds what it looks for, where it is."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from pathlib import Path

import pytest
from faults.gateway import Gateway, Step
from faults.playing import play
from faults.stage import CANARY, Stage, generate, held, retried, scripted, succeeds, written
from faults.store import Store, links
from faults.table import Case, one_call

from burncloud_images import AsyncImagesClient, RetryPolicy, errors
from burncloud_images.emulator import Fault
from burncloud_images.transport import http
from burncloud_images.transport.address_guard import AddressPolicy


@pytest.fixture
def stage(tmp_path: Path, monkeypatch) -> Stage:
    """Return a stage on which something goes wrong."""
    return Stage(faulty=True, folder=tmp_path, monkeypatch=monkeypatch)


LOST_ANSWERS = {
    "closed": scripted(Fault(cut="close", billed=True)),
    "truncated": scripted(Fault(cut="close", place="answer", byte=0.5)),
    "without length": scripted(Fault(cut="close", place="answer", byte=0.5, framing="eof")),
    "page": scripted(Fault(status=502, body="<html>", billed=True)),
    "garbage": written(Step(answer=b"garbage\r\n\r\n")),
}


@pytest.mark.parametrize("name", LOST_ANSWERS)
async def test_who_accepts_to_pay_twice_does(name, stage: Stage, found):
    """With `on_unknown="retry"` the same faults are billed twice, and the ledger shows it."""
    world = await stage.enter(LOST_ANSWERS[name](True))
    stage.worlds.append(world)
    async with stage.stack:
        client = await stage.client(world.base_url, retry=RetryPolicy(on_unknown="retry"))
        await stage.call(generate(client))
        stage.count()

    assert (2, 2, 1) == (stage.posts, stage.billed, stage.double)
    found.notes["Negative controls"] = (
        f'With `on_unknown="retry"` each of {len(LOST_ANSWERS)} lost answers is a double bill, and with the guard off '
        "a private server of the client's own network is reached; the tests fail if not."
    )


async def test_without_the_guard_a_private_server_is_reached(monkeypatch):
    """Without the guard a download reaches the private server."""
    monkeypatch.setattr(AddressPolicy, "check", lambda *_args, **_options: None)
    monkeypatch.setattr(http, "open_public_socket", http.open_socket)
    async with (
        Store() as private_server,
        Gateway(Step(answer=links(private_server.url), closes=False)) as gateway,
        AsyncImagesClient(CANARY, gateway.base_url) as client,
    ):
        await generate(client)

    assert 1 == private_server.connections


async def test_with_the_guard_it_is_not():
    """With the guard a download does not reach the private server."""
    async with (
        Store() as private_server,
        Gateway(Step(answer=links(private_server.url), closes=False)) as gateway,
        AsyncImagesClient(CANARY, gateway.base_url) as client,
    ):
        with pytest.raises(errors.DownloadRefusedError):
            await generate(client)

    assert 0 == private_server.connections


async def found_by(stage: Stage, action) -> list[str]:
    """Return what is found after a case that does *action*."""
    return await play(Case(id="X99", fault="control", expected="", play=action), stage)


async def test_a_task_that_is_left_is_found(stage: Stage):
    """The check finds a task that is still running."""
    tasks = []

    async def leave(_stage: Stage) -> None:
        tasks.append(asyncio.ensure_future(asyncio.Event().wait()))

    problems = await found_by(stage, leave)
    tasks[0].cancel()
    assert any("a task is left" in problem for problem in problems)


async def test_a_descriptor_that_is_left_is_found(stage: Stage):
    """The check finds an open socket or file."""
    ends = []

    async def leave(_stage: Stage) -> None:
        ends.extend(os.pipe())

    problems = await found_by(stage, leave)
    for end in ends:
        os.close(end)
    assert any("a descriptor is left" in problem for problem in problems)


async def test_a_thread_that_is_left_is_found(stage: Stage):
    """The check finds a thread with one of the package's names."""
    released = threading.Event()

    async def leave(_stage: Stage) -> None:
        threading.Thread(target=released.wait, name="burncloud-images_0").start()

    problems = await found_by(stage, leave)
    released.set()
    assert any("a thread is left" in problem for problem in problems)


async def test_a_key_that_is_shown_is_found(stage: Stage):
    """The check finds a key that was written to a log."""

    async def show(_stage: Stage) -> None:
        logging.getLogger("any").debug("the key is %s", CANARY)

    problems = await found_by(stage, show)
    assert any("the key is shown" in problem for problem in problems)


async def test_a_fault_that_does_not_fire_fails(stage: Stage):
    """A case whose fault does not fire fails."""
    waits_for_an_edit = scripted(Fault(status=503, operation="edits"))
    with pytest.raises(AssertionError, match="did not fire"):
        async with stage.stack:
            await one_call(waits_for_an_edit, succeeds())(stage)


@pytest.mark.parametrize("expected", [held(), retried(), succeeds(billed=2)])
async def test_another_outcome_than_the_expected_fails(stage: Stage, expected):
    """A case fails if the error, the number of POSTs or the bill differs from the table."""
    with pytest.raises(AssertionError, match="expected"):
        async with stage.stack:
            await one_call(scripted(Fault(delay=0.001)), expected)(stage)


async def test_a_paid_image_of_which_nobody_tells_is_lost(stage: Stage):
    """An error that says that nothing was billed counts as a loss if something was."""

    async def lie(_client: AsyncImagesClient) -> object:
        raise errors.ConnectionFailedError("It was cut.")

    setting = written()
    async with stage.stack:
        world = await stage.world(setting)
        client = await stage.client(world.base_url)
        await generate(client)
        outcome = await stage.call(lie(client))
        with pytest.raises(AssertionError, match="OutcomeUnknownError expected"):
            stage.judge(outcome, held())
    assert 1 == stage.lost
