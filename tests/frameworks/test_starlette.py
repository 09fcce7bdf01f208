"""Middleware around the four ways to call, and a job in the background of an application."""

from __future__ import annotations

import gc
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest
from fakes import until
from frameworks.conftest import SMALL, serve, visit

from burncloud_images import AsyncImagesClient, Directory, Done, Failed, GenerationRequest, bulk

applications = pytest.importorskip("starlette.applications")
middleware = pytest.importorskip("starlette.middleware")
base = pytest.importorskip("starlette.middleware.base")
responses = pytest.importorskip("starlette.responses")
routing = pytest.importorskip("starlette.routing")

REQUEST = GenerationRequest("otter", **SMALL)


async def generate(studio, _folder):
    studio.keep(Done(index=0, request=REQUEST, result=await studio.client.generate("otter", **SMALL)))


async def send(studio, folder):
    studio.keep(Done(index=0, request=REQUEST, result=await studio.client.send(REQUEST, into=Directory(folder))))


async def stream(studio, _folder):
    async with studio.client.stream(REQUEST) as events:
        async for event in events:
            studio.keep(Done(index=0, request=REQUEST, result=event))


async def paint_all(studio, folder, count=100):
    options = {"concurrency": 4, "into": Directory(folder), "on_unclaimed": studio.keep}
    async with studio.client.map(studio.requests(count), **options) as outcomes:
        async for outcome in outcomes:
            studio.keep(outcome)


CALLS = {"generate": generate, "send": send, "stream": stream, "map": paint_all}


class Counting(base.BaseHTTPMiddleware):
    """Lets every page through."""

    async def dispatch(self, request, call_next):
        return await call_next(request)


def make_app(studio, call, folder):
    """
    Return an application whose page answers first and paints then, within its answer.

    So middleware notices that the visitor has left, and cancels.
    """

    async def body():
        yield b"{}\n"
        await call(studio, folder)
        yield b"{}\n"

    async def page(_request):
        return responses.StreamingResponse(body())

    around = [middleware.Middleware(Counting), middleware.Middleware(Counting)]
    return applications.Starlette(routes=[routing.Route("/", page)], middleware=around)


@pytest.mark.parametrize("name", CALLS)
async def test_a_visitor_who_stays_gets_what_was_made(open_studio, tmp_path, name):
    """A visitor who stays gets every image, with or without middleware."""
    studio = await open_studio()
    call = partial(paint_all, count=4) if name == "map" else CALLS[name]
    async with serve(make_app(studio, call, tmp_path / "out")) as port, visit(port, "/") as visitor:
        await visitor.lines(2)

    assert set(studio.billed_keys) == studio.done_keys
    assert studio.billed == len(studio.kept)


@pytest.mark.parametrize("name", CALLS)
async def test_a_visitor_who_leaves_costs_nothing_untold(open_studio, tmp_path, name):
    """Whatever is billed is kept, or named with its key by the log and by `on_attempt`."""
    studio = await open_studio()
    async with serve(make_app(studio, CALLS[name], tmp_path / "out")) as port, visit(port, "/") as visitor:
        await visitor.lines(1)
        await until(lambda: studio.posts)
        await visitor.leave()
        await until(lambda: studio.told.keys or not studio.client.background.works)
    gc.collect()
    await studio.client.aclose()
    await until(lambda: studio.billed == studio.posts)

    assert {1} == set(studio.billed_keys.values())
    if name == "map":
        assert set(studio.billed_keys) == studio.done_keys
        assert set() == studio.told.keys
    else:
        assert set(studio.billed_keys) == studio.told.keys == studio.observed_keys
        assert not list(tmp_path.rglob("*.part"))


def make_worker(studio, folder, rows, *, on_exit):
    """Return an application that runs a job in its background, in a task group that is cancelled when it stops."""

    @asynccontextmanager
    async def lifespan(_app):
        async with anyio.create_task_group() as group:
            group.start_soon(work)
            yield
            group.cancel_scope.cancel()
        await studio.client.aclose(on_exit=on_exit)

    async def work():
        async with bulk.Job.open(folder) as job:
            await job.add(rows)
            await job.run(studio.client, bulk.JobOptions(concurrency=4, room=0))

    return applications.Starlette(lifespan=lifespan)


async def run_for_a_while(studio, folder, *, on_exit=None):
    """Stop the application in the middle of its job; return the states of the job's requests."""
    rows = list(studio.requests(40))
    async with serve(make_worker(studio, folder, rows, on_exit=on_exit)):
        await until(lambda: studio.billed >= 6)
    async with bulk.Job.open(folder) as job:
        return (await job.totals()).counts


async def test_a_job_in_the_background_is_drained_when_the_application_stops(open_studio, tmp_path):
    """Nothing is in doubt, and another run buys the rest and nothing twice."""
    studio = await open_studio()
    counts = await run_for_a_while(studio, tmp_path / "job")
    posts = studio.posts

    assert posts == studio.billed == counts[bulk.RequestState.DONE] < 40
    assert 0 == counts[bulk.RequestState.IN_DOUBT]
    async with (
        AsyncImagesClient(studio.emulator.api_key, studio.emulator.base_url) as client,
        bulk.Job.open(tmp_path / "job") as job,
    ):
        report = await job.run(client, bulk.JobOptions(concurrency=8, room=0))
    assert ("finished", 40) == (report.stopped, report.totals.counts[bulk.RequestState.DONE])
    assert 40 == studio.billed == len(studio.billed_keys)


async def test_a_job_whose_client_cancels_leaves_doubts(open_studio, tmp_path):
    """A job whose client cancels its calls leaves requests in doubt: the control of the test above."""
    studio = await open_studio()
    counts = await run_for_a_while(studio, tmp_path / "job", on_exit="cancel")

    assert 0 < counts[bulk.RequestState.IN_DOUBT] <= 4


async def test_a_client_within_the_cancelled_group_ends_its_job_all_the_same(open_studio, tmp_path):
    """A job finishes even if closing its client is cancelled, as long as the loop runs."""
    studio = await open_studio()
    rows = list(studio.requests(40))

    async def work():
        async with studio.client, bulk.Job.open(tmp_path / "job") as job:
            await job.add(rows)
            await job.run(studio.client, bulk.JobOptions(concurrency=4, room=0))

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await until(lambda: studio.billed >= 6 and studio.posts > studio.billed)
        group.cancel_scope.cancel()
    await studio.client.aclose()
    async with bulk.Job.open(tmp_path / "job") as job:
        counts = (await job.totals()).counts

    assert studio.posts == studio.billed == counts[bulk.RequestState.DONE] < 40
    assert 0 == counts[bulk.RequestState.IN_DOUBT]


async def test_outcomes_that_were_told_are_no_failures(open_studio, tmp_path):
    """A call that was given up before it was sent says that nothing was billed."""
    studio = await open_studio(max_connections=2)
    async with serve(make_app(studio, paint_all, tmp_path / "out")) as port, visit(port, "/") as visitor:
        await visitor.lines(1)
        await until(lambda: studio.posts >= 2)
        await visitor.leave()
        await until(lambda: studio.kept and not studio.client.background.works)

    failures = [outcome.error for outcome in studio.kept if isinstance(outcome, Failed)]
    assert all("Nothing was billed" in str(error) for error in failures)
    assert studio.billed == studio.posts
