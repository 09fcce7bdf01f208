"""Wherever a server writes the key, and however it spells it, nothing that a caller sees shows it."""

from __future__ import annotations

import base64
import logging
import pickle
import traceback
import warnings

import pytest
from echoes import KEY, SPELLINGS, as_json, holds_key
from fakes import FakeClock
from pictures import png
from raw import serve

from burncloud_images import AsyncImagesClient, GenerationRequest, RetryPolicy, errors
from burncloud_images.calls.hooks import CallHooks

ONCE = RetryPolicy(attempts=1)
IMAGE = base64.b64encode(png(pad=3_000)).decode()


def head(status, *headers):
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "Connection: close", "", ""])


def in_json(text, status="200 OK", *headers):
    return head(status, "Content-Type: application/json", *headers) + text


def in_events(*events):
    return head("200 OK", "Content-Type: text/event-stream") + "".join(f"data: {event}\n\n" for event in events)


def event(more):
    return f'{{"type": "image_generation.completed", "b64_json": "{IMAGE}", {more}}}'


def preview(more):
    return f'{{"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": "{IMAGE}", {more}}}'


# What a server answers that writes a text; whether it is a text in JSON; whether a stream was asked for.
PLACES = {
    "message": lambda said: in_json(f'{{"error": {{"message": {said}, "code": "bad"}}}}', "400 Bad Request"),
    "message of 200": lambda said: in_json(f'{{"error": {{"message": {said}, "code": "bad"}}}}'),
    "code": lambda said: in_json(f'{{"error": {{"message": "No.", "code": {said}}}}}', "401 Unauthorized"),
    "type and param": lambda said: in_json(
        f'{{"error": {{"message": "No.", "type": {said}, "param": {said}}}}}', "403 No"
    ),
    "deep in the body": lambda said: in_json(f'{{"error": {{"message": "No.", "x": [{{{said}: {said}}}]}}}}', "429 No"),
    "error after the work": lambda said: in_json(f'{{"error": {{"message": {said}, "code": {said}}}}}', "500 No"),
    "page": lambda said: head("502 Bad Gateway", "Content-Type: text/html") + f"<p>Bad key {said[1:-1]}, sorry.</p>",
    "id": lambda said: in_json(f'{{"data": [{{"b64_json": "{IMAGE}"}}]}}', "200 OK", f"x-request-id: {said[1:-1]}"),
    "id of an error": lambda said: in_json(
        '{"error": {"message": "No."}}', "400 No", f"x-oneapi-request-id: {said[1:-1]}"
    ),
    "id in a message": lambda said: in_json(f'{{"error": {{"message": "No. (request id: {said[1:-1]})"}}}}', "400 No"),
    "redirect": lambda said: head("302 Found", f"Location: https://{said[1:-1]}/?{said[1:-1]}", "Content-Length: 0"),
    "no JSON": lambda said: in_json(f"Welcome, {said[1:-1]}!"),
    "beside a broken image": lambda said: in_json(
        f'{{"data": [{{"b64_json": "{IMAGE[:-9]}*", "x": {said}}}], "y": {said}}}'
    ),
    "answer that is cut": lambda said: in_json(f'{{"x": {said}, "data": [{{"b64_json": "{IMAGE[:99]}'),
    "revised prompt": lambda said: in_json(f'{{"data": [{{"b64_json": "{IMAGE}", "revised_prompt": {said}}}]}}'),
    "unknown fields": lambda said: in_json(
        f'{{"data": [{{"b64_json": "{IMAGE}", "x": {said}}}], "y": [{said}], {said}: 1}}'
    ),
    "fields that are known": lambda said: in_json(
        f'{{"data": [{{"b64_json": "{IMAGE}"}}], "size": {said}, "quality": {said}}}'
    ),
}
STREAMS = {
    "event": lambda said: in_events(event(f'"x": {said}, "size": {said}, "revised_prompt": {said}')),
    "preview": lambda said: in_events(preview(f'"x": {said}, "size": {said}'), event('"x": 1')),
    "preview before the end": lambda said: in_events(preview(f'"x": {said}, "size": {said}')),
    "error event": lambda said: in_events(f'{{"type": "error", "error": {{"message": {said}, "code": {said}}}}}'),
    "error after a preview": lambda said: in_events(preview('"x": 1'), f'{{"error": {{"message": {said}}}}}'),
    "event that is text": lambda said: in_events(said[1:-1]),
}


class Witness(CallHooks):
    """Hooks and observers that write down what they see."""

    def __init__(self):
        self.seen = []

    async def on_response(self, status, headers):
        self.seen += [status, dict(headers)]

    async def after_attempt(self, attempt, error):
        self.seen += [attempt, error]

    async def on_links(self, links, answer):
        self.seen += [answer]


def crash_report(error):
    """Return what a crash reporter writes: all frames but the test's own, with their local variables."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    lines, chain = [], [report]
    while chain:
        one = chain.pop()
        frames = [frame for frame in one.stack if "/tests/" not in frame.filename]
        lines += [*traceback.StackSummary.from_list(frames).format(), *one.format_exception_only()]
        chain += [other for other in (one.__cause__, one.__context__) if other is not None]
    return "".join(lines)


def shown_by(error):
    """Return all that an error shows."""
    values = [error, error.args, vars(error), error.__dict__.get("body"), getattr(error, "raw", b"").decode("latin-1")]
    values += [
        str(error),
        getattr(error, "__notes__", []),
        crash_report(error),
        pickle.dumps(error, protocol=0).decode("latin-1"),
    ]
    values += [getattr(item, "extra", None) for name in ("images", "partials") for item in getattr(error, name, ())]
    return values


def shown_by_result(result):
    """Return all that a result shows."""
    fields = {name: getattr(result, name) for name in result.__slots__ if name != "__weakref__"}
    return [result, fields, *((image, image.extra, image.revised_prompt) for image in result.images)]


async def ask(raw, *, stream):
    """Return all that can be seen of one call."""
    witness = Witness()
    async with AsyncImagesClient(KEY, raw.url, retry=ONCE, clock=FakeClock(), on_attempt=witness.seen.append) as client:
        request = GenerationRequest("otter", model="m", **({"partial_images": 1} if stream else {}))
        try:
            if stream:
                async with client.stream(request) as events:
                    async for event in events:
                        witness.seen += [event, dict(event.extra), event.image, event.image.revised_prompt]
            else:
                witness.seen += shown_by_result(await client.send(request, hooks=witness))
        except errors.ImagesError as error:
            witness.seen += shown_by(error)
    return "\n".join(map(str, map(repr, witness.seen)))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("place", [*PLACES, *STREAMS])
async def test_nothing_shows_a_key_that_a_server_echoes(place, caplog):
    """No text, repr, pickle, traceback, log or warning shows an echoed key in any spelling."""
    caplog.set_level(logging.DEBUG)
    answers = iter({**PLACES, **STREAMS}[place](as_json(spelling)) for spelling in SPELLINGS.values())
    shown = {}

    async def answer(_reader, writer, _request):
        writer.write(next(answers).encode())

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with serve(answer) as raw:
            for name in SPELLINGS:
                shown[name] = await ask(raw, stream=place in STREAMS)
    logged = "\n".join(
        [*map(repr, (record.getMessage() for record in caplog.records)), *(str(one.message) for one in warned)]
    )

    assert [name for name, text in shown.items() if holds_key(text)] == []
    assert not holds_key(logged)
    assert len(raw.requests) == len(SPELLINGS)
    assert place == "redirect" or all("***" in text for text in shown.values())
