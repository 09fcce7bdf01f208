"""One answer on its way into a sink: however it is cut, it comes to the same, and others run in between."""

from __future__ import annotations

import asyncio
import base64
import gc
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from types import SimpleNamespace

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import png
from strategies import answers, chunkings, cut, json_values, write_json

from burncloud_images import GenerationRequest, Limits, Memory, errors
from burncloud_images.calls.attempt import CallSpec, RequestAttempt
from burncloud_images.calls.resources import Resources
from burncloud_images.errors import ImagesError
from burncloud_images.retry import RetryBudget
from burncloud_images.settings import Settings
from burncloud_images.transport.clock import SystemClock
from burncloud_images.wire.redaction import KeyRedactor

IMAGE = base64.b64encode(png()).decode()
KINDS = ["image_generation.completed", "image_generation.partial_image", "image_edit.completed", "error", "x", "", None]
MOST_HELD = 0.1
"""Seconds of work without a pause; half of it on a machine that does nothing else."""


@pytest.fixture(scope="module")
def executor():
    """Return a thread for files."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def make_attempt(executor, **settings):
    resources = Resources(
        **dict.fromkeys((field.name for field in attrs.fields(Resources)), None)
        | {"executor": executor, "clock": SystemClock(), "budget": RetryBudget(), "redactors": KeyRedactor}
    )
    request = GenerationRequest("otter", n=2)
    sent = {
        "request": request,
        "fields": request.fields(),
        "sink": Memory(),
        "settings": Settings(base_url="", key=None, **settings),
        "idempotency_key": "k",
    }
    return RequestAttempt(spec=CallSpec(resources=resources, **sent), key="", number=1)


async def take(chunks, executor, headers=None, **settings):
    """Return what a call makes of a body: its images, what is damaged, the rest or the error, and the bytes it kept."""

    async def arrive():
        for chunk in chunks:
            yield chunk

    attempt = make_attempt(executor, **settings)
    response = SimpleNamespace(headers=headers or {}, status=200)
    buffer = attempt.buffer
    error = answer = is_held = None
    async with aclosing(arrive()) as arriving:
        body = attempt.open_body(response, arriving)
        receiver = await attempt.choose_receiver(response, body)
        try:
            answer = await receiver.take(body)
        except ImagesError as raised:
            error, is_held = raised, buffer.is_on
            answer = await receiver.salvage(error)
    kept = error.raw if error is not None and answer is None else b""
    await buffer.drop()
    failure = error and (type(error), str(error))
    images = {index: image.data for index, image in receiver.kept.items()}
    return type(receiver.decoder), images, set(receiver.damaged), repr(answer), failure, is_held, kept


@st.composite
def streams(draw):
    """Return a stream of events as gateways may write them, whole or cut."""
    chance = random.Random(draw(st.integers(0, 99)))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    text = draw(st.sampled_from(["", "\n", ": wait\n\n", "\ufeff"]))
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(KINDS))
        fields = draw(st.dictionaries(st.sampled_from(["error", "usage", "output_index", "data", "x"]), json_values))
        image = draw(st.sampled_from([{}, {"b64_json": IMAGE}, {"b64_json": "!"}, {"data": [{"b64_json": IMAGE}] * 3}]))
        fields = {**fields, **({"type": kind} if kind is not None else {}), **image}
        name = draw(st.sampled_from([None, *KINDS]))
        text += f"event: {name}{end}" if name else ""
        text += f"data: {write_json(fields, chance)!s}".replace("\r", " ").replace("\n", " ") + end * 2
    body = (text + draw(st.sampled_from(["", "data: [DONE]\n\n"]))).encode("utf-8", "replace")
    return body[: draw(st.integers(len(body) // 2, len(body)))]


@given(body=st.one_of(answers, streams(), st.binary(max_size=80)), data=st.data())
def test_any_body_comes_to_the_same_however_it_is_cut(executor, body, data):
    """Any body gives the same result however it is cut, in any encoding, and its bytes are kept."""
    encoding = data.draw(st.sampled_from([None, None, "utf-16", "utf-32-le"]))
    if encoding is not None:
        body = body.decode(errors="replace").encode(encoding)
    pieces = list(cut(body, data.draw(chunkings(len(body)))))

    whole = asyncio.run(take([body], executor))
    in_pieces = asyncio.run(take(pieces, executor))

    assert whole[:-1] == in_pieces[:-1]
    *_, is_held, kept = whole
    assert not is_held or not kept or body == kept == in_pieces[-1]


SMALL_THINGS = {
    "addresses": b'{"data":[' + b'{"url":"https://x.example/a.png"},' * 50_000 + b"{}]}",
    "empty items": b'{"data":[' + b"{}," * 200_000 + b"{}]}",
    "nested items": b'{"data":[' + b'{"a":[{"b":"\\n"}]},' * 20_000 + b"{}]}",
    "values elsewhere": b'{"data":[],"x":[' + b"{}," * 60_000 + b"{}]}",
    "images": b'{"data":[' + b'{"b64_json":"iVBORw0KGgo="},' * 20_000 + b"{}]}",
    "events": b'data: {"a":1}\n\n' * 8_000,
    "previews": b'data: {"type":"image_generation.partial_image","b64_json":"iVBORw0KGgo="}\n\n' * 4_000,
    "lines": b"data: x\n" + b"x\n" * 200_000,
    "comments": b":\n" * 400_000,
}


async def measure(body, executor):
    """Return the longest time, of this thread's own, in which nothing else ran."""
    longest, ended = 0.0, False

    async def watch():
        nonlocal longest
        last = time.thread_time()
        while not ended:
            await asyncio.sleep(0)
            now = time.thread_time()
            last, longest = now, max(longest, now - last)

    task = asyncio.create_task(watch())
    await asyncio.sleep(0)
    gc.disable()  # a collection takes as long as all that the tests before have left
    try:
        await take([body[start : start + 2**17] for start in range(0, len(body), 2**17)], executor)
    finally:
        gc.enable()
    ended = True
    await task
    return longest


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL_THINGS)
async def test_others_run_while_many_small_things_are_taken(monkeypatch, executor, name):
    """Other tasks run while an answer of many small parts is taken that is there at once."""
    monkeypatch.setattr("burncloud_images.calls.response_body.TURN", 0.0)

    assert await measure(SMALL_THINGS[name], executor) < MOST_HELD


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nested items", "events"])
async def test_without_pauses_others_would_be_held(monkeypatch, executor, name):
    """Without pauses other tasks do not run, which shows that the test above tests something."""
    monkeypatch.setattr("burncloud_images.calls.response_body.TURN", 1e9)

    assert await measure(SMALL_THINGS[name], executor) > MOST_HELD


@pytest.mark.parametrize(("size", "is_kept"), [(16 * 1024 - 1, False), (16 * 1024, True)])
async def test_an_error_that_is_large_enough_for_an_image_is_kept(executor, size, is_kept):
    """An error in an answer of success is kept as it arrived from 16 KiB on, as it may hold an image."""
    text = b'{"error":{"message":"Blocked."},"x":"%s"}'
    body = text % (b"A." * size)[: size - len(text) + len("%s")]

    async def arrive():
        yield body

    attempt, response = make_attempt(executor), SimpleNamespace(headers={}, status=200)
    error = errors.ModerationError("Blocked.", status=200)
    async with aclosing(arrive()) as arriving:
        incoming = attempt.open_body(response, arriving)
        receiver = await attempt.choose_receiver(response, incoming)
        await receiver.take(incoming)
        await receiver.salvage(error)
    kept = error.raw
    await attempt.buffer.drop()

    assert size == len(body)
    assert (body if is_kept else b"") == kept


@pytest.mark.parametrize("via_stream", [False, True])
async def test_an_image_may_be_as_large_as_the_limit(executor, via_stream):
    """An image of exactly `Limits.image` bytes is taken, and one byte more is too large."""
    body = b'{"data":[{"b64_json":"%s"}]}' % IMAGE.encode()
    if via_stream:
        body = b'data: {"type":"image_generation.completed","b64_json":"%s"}\n\n' % IMAGE.encode()

    _, images, _, _, failure, *_ = await take([body], executor, limits=Limits(image=len(png())))
    assert (png(), None) == (images[0], failure)

    _, images, _, _, failure, *_ = await take([body], executor, limits=Limits(image=len(png()) - 1))
    assert ({}, errors.TooLargeError) == (images, failure[0])
