"""A page that streams what a map brings, and visitors who leave in its middle."""

from __future__ import annotations

import asyncio
import gc
import json

import pytest
from fakes import until
from frameworks.conftest import serve, visit

from burncloud_images import Directory, Done, Failed, errors

fastapi = pytest.importorskip("fastapi")
responses = pytest.importorskip("fastapi.responses")


def make_app(studio, *, on_exit="drain", sink=None, pace=0.0, count=100, padding=0):
    """Return an application that streams the outcomes of a map, slowly if a visitor is to leave between two."""
    app = fastapi.FastAPI()
    options = {"concurrency": 4, "on_exit": on_exit, "on_unclaimed": studio.keep}

    async def paint():
        async with studio.client.map(studio.requests(count), into=sink, **options) as outcomes:
            async for outcome in outcomes:
                studio.kept.append(outcome)
                await asyncio.sleep(pace)
                yield json.dumps({"index": outcome.index, "padding": " " * padding}).encode() + b"\n"

    @app.get("/paint")
    async def get():
        return responses.StreamingResponse(paint(), media_type="application/x-ndjson")

    return app


async def come_and_go(studio, app, *, lines=3):
    """Let somebody read some lines and leave; return how many requests had been sent by then."""
    async with serve(app) as port, visit(port, "/paint") as visitor:
        await visitor.lines(lines)
        await visitor.leave()
        await until(lambda: not studio.client.background.works)
        posts = studio.posts
        gc.collect()
        await asyncio.sleep(0.05)
        assert posts == studio.posts  # nothing that was pending is bought
    return posts


@pytest.mark.parametrize("pace", [0.0, 0.02], ids=["waiting for an image", "between two images"])
@pytest.mark.parametrize("into_files", [False, True])
async def test_a_visitor_who_leaves_costs_nothing_that_is_not_kept(open_studio, tmp_path, pace, into_files):
    """Each request that was sent finishes, is billed once and is kept; the rest of the list is not bought."""
    studio = await open_studio()
    sink = Directory(tmp_path / "out") if into_files else None
    posts = await come_and_go(studio, make_app(studio, sink=sink, pace=pace))

    assert posts == studio.billed < 20
    assert {1} == set(studio.billed_keys.values())
    assert set(studio.billed_keys) == studio.done_keys
    assert all(errors.Billing.NO is outcome.error.billed for outcome in studio.kept if isinstance(outcome, Failed))
    assert not into_files or posts == len(list((tmp_path / "out").iterdir()))


async def test_a_visitor_may_leave_while_something_is_sent(open_studio):
    """The generator is suspended at its `yield`, and is closed when nobody holds it any more."""
    studio = await open_studio()
    async with serve(make_app(studio, padding=20_000_000)) as port, visit(port, "/paint") as visitor:
        await until(lambda: len(studio.kept) == 2)  # uvicorn waits before it sends the second
        await asyncio.sleep(0.05)
        assert 2 == len(studio.kept)
        await visitor.leave()
        await until(lambda: not studio.client.background.works)
        assert studio.posts == studio.billed < 20

    assert set(studio.billed_keys) == studio.done_keys


async def test_a_loop_without_a_block_is_left_as_well(open_studio):
    """Outcomes that nobody took go to `on_unclaimed` at the latest when the client closes."""
    studio = await open_studio()
    app = fastapi.FastAPI()

    async def paint():
        async for outcome in studio.client.map(studio.requests(100), concurrency=4, on_unclaimed=studio.keep):
            studio.keep(outcome)
            yield json.dumps({"index": outcome.index}).encode() + b"\n"

    @app.get("/paint")
    async def get():
        return responses.StreamingResponse(paint(), media_type="application/x-ndjson")

    async with serve(app) as port:
        async with visit(port, "/paint") as visitor:
            await visitor.lines(3)
        await until(lambda: studio.posts == studio.billed)
    await studio.client.aclose()

    assert studio.posts == studio.billed < 20
    assert set(studio.billed_keys) == studio.done_keys


async def test_calls_that_are_to_be_cancelled_are_abandoned(open_studio):
    """With `on_exit="cancel"` a visitor who leaves costs images, and each call is reported."""
    studio = await open_studio()
    await come_and_go(studio, make_app(studio, on_exit="cancel"))

    lost = [outcome for outcome in studio.kept if isinstance(outcome, Failed) and outcome.error.billed]
    assert lost
    assert set(studio.billed_keys) <= studio.done_keys | {outcome.error.idempotency_key for outcome in lost}


async def test_a_visitor_who_stays_gets_everything(open_studio):
    """A visitor who stays gets every image of the list."""
    studio = await open_studio()
    async with serve(make_app(studio, count=12)) as port, visit(port, "/paint") as visitor:
        lines = await visitor.lines(12)

    assert list(range(12)) == sorted(json.loads(line)["index"] for line in lines)
    assert 12 == studio.billed == len([outcome for outcome in studio.kept if isinstance(outcome, Done)])


async def test_many_visitors_leave_at_any_time(open_studio):
    """Thirty visitors leave at different times, and nothing is lost."""
    studio = await open_studio()

    async def come(port, number):
        async with visit(port, "/paint") as visitor:
            if number % 3:
                await visitor.lines(number % 3)
            await asyncio.sleep(number / 1000)

    async with serve(make_app(studio)) as port, asyncio.TaskGroup() as group:
        for number in range(30):
            group.create_task(come(port, number))
    gc.collect()
    await studio.client.aclose()

    assert studio.posts == studio.billed
    assert {1} == set(studio.billed_keys.values())
    assert set(studio.billed_keys) == studio.done_keys


async def test_a_server_that_is_stopped_loses_nothing(open_studio):
    """A server that is stopped cancels its streams after a while, and nothing is lost."""
    studio = await open_studio()
    async with (
        serve(make_app(studio, pace=0.05), timeout_graceful_shutdown=0) as port,
        visit(port, "/paint") as visitor,
    ):
        await visitor.lines(2)
    gc.collect()
    await studio.client.aclose()

    assert studio.posts == studio.billed == len(studio.billed_keys)
    assert set(studio.billed_keys) == studio.done_keys
