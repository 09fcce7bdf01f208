"""Django's ASGI handler: an async view that paints, and a visitor who leaves."""

from __future__ import annotations

import gc
import json

import pytest
from fakes import until
from frameworks.conftest import SMALL, serve, visit

from burncloud_images import Done, GenerationRequest

http = pytest.importorskip("django.http")

REQUEST = GenerationRequest("otter", **SMALL)


def painting(studio):
    """Return a view that answers when an image is there."""

    async def view(_request):
        result = await studio.client.generate("otter", **SMALL)
        studio.keep(Done(index=0, request=REQUEST, result=result))
        return http.HttpResponse(result.image.data, content_type=result.image.media_type)

    return view


def collecting(studio):
    """Return a view that answers when all images are there."""

    async def view(_request):
        async with studio.client.map(studio.requests(100), concurrency=4, on_unclaimed=studio.keep) as outcomes:
            async for outcome in outcomes:
                studio.keep(outcome)
        return http.HttpResponse("all\n")

    return view


def streaming(studio):
    """Return a view that says at once which images are there."""

    async def body():
        async with studio.client.map(studio.requests(100), concurrency=4, on_unclaimed=studio.keep) as outcomes:
            async for outcome in outcomes:
                studio.keep(outcome)
                yield json.dumps({"index": outcome.index}).encode() + b"\n"

    async def view(_request):
        return http.StreamingHttpResponse(body(), content_type="application/x-ndjson")

    return view


async def come_and_go(studio, app, lines=0):
    """Let somebody come, and leave in the middle."""
    async with serve(app, lifespan="off") as port, visit(port, "/") as visitor:
        await visitor.lines(lines)
        await until(lambda: studio.posts >= 1 + lines)
        await visitor.leave()
        await until(lambda: studio.told.keys or studio.kept)
        await until(lambda: studio.told.keys or not studio.client.background.works)
    gc.collect()
    await studio.client.aclose()
    await until(lambda: studio.billed == studio.posts)


async def test_a_visitor_who_stays_gets_the_image(open_studio, make_app):
    """A visitor who stays gets the image as it was made."""
    studio = await open_studio()
    async with serve(make_app(painting(studio)), lifespan="off") as port, visit(port, "/") as visitor:
        answer = await visitor.read()

    assert studio.kept[0].result.image.data in answer


async def test_a_visitor_who_leaves_a_single_call_is_told_of(open_studio, make_app):
    """When Django cancels the view, the log and `on_attempt` have the key of the call."""
    studio = await open_studio()
    await come_and_go(studio, make_app(painting(studio)))

    assert 1 == studio.billed
    assert set(studio.billed_keys) == studio.told.keys == studio.observed_keys


@pytest.mark.parametrize(("view", "lines"), [(collecting, 0), (streaming, 3)])
async def test_a_visitor_who_leaves_a_map_loses_nothing(open_studio, make_app, view, lines):
    """Requests that were sent finish and are kept; the rest of the list is not bought."""
    studio = await open_studio()
    await come_and_go(studio, make_app(view(studio)), lines)

    assert studio.posts == studio.billed < 20
    assert {1} == set(studio.billed_keys.values())
    assert set(studio.billed_keys) == studio.done_keys
    assert set() == studio.told.keys
