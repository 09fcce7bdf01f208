"""The key shows itself to the connection only."""

from __future__ import annotations

import asyncio
import base64
import re
import traceback

import pytest
from fakes import FakeClock
from pictures import png
from raw import answering, serve

from burncloud_images import AsyncImagesClient, GenerationRequest, Limits, Memory, RetryPolicy, errors
from burncloud_images.transport.secret import RedactedURL, Secret, bearer, forgetting_locals, hide

pytestmark = pytest.mark.ways("tls")

KEY = "sk-canary-5d1c"
LONG_BASE64 = re.compile(r"[A-Za-z0-9+/]{100}|(?:\\x[0-9a-f]{2}.{0,3}){30}")
"""Also an image's bytes."""


def shown(error: BaseException) -> str:
    """Return what a crash reporter writes: the package's frames, with their local variables."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in report.stack if "/burncloud_images/" in frame.filename]
    assert frames
    return "".join(traceback.StackSummary.from_list(frames).format())


def test_a_secret_is_masked_wherever_it_is_printed():
    """A secret is masked in its repr and in formatted text, and is itself in a header."""
    assert "'***'" == repr(Secret(KEY))
    assert "***" == f"{Secret(KEY)}"
    assert f"Bearer {KEY}" == str(bearer(Secret(KEY)))
    assert f"Bearer {KEY}".encode() == bearer(Secret(KEY)).encode()
    assert "'***'" == repr(bearer(KEY))


def test_only_text_is_hidden():
    """A callable that returns the key is not wrapped."""
    assert len is hide(len)
    assert None is hide(None)


async def sync_key() -> str:
    return KEY


@pytest.mark.parametrize("key", [KEY, lambda: KEY, sync_key], ids=["text", "callable", "async callable"])
async def test_no_traceback_shows_the_key(key):
    """No traceback shows the key, even with local variables."""
    async with serve(answering(b"garbage\r\n\r\n")) as raw, AsyncImagesClient(key, raw.url) as client:
        with pytest.raises(errors.OutcomeUnknownError) as caught:
            await client.generate("otter")

    assert KEY.encode() in raw.requests[0]
    assert KEY not in shown(caught.value)


@pytest.mark.parametrize("key", [f"{KEY}\r\n", lambda: f"{KEY} "], ids=["text", "callable"])
async def test_no_traceback_shows_a_key_that_cannot_be_sent(key):
    """The error for a key that cannot be sent does not show it."""
    with pytest.raises(errors.ConfigurationError) as caught:
        await AsyncImagesClient(key, "http://127.0.0.1:9").generate("otter")

    assert KEY not in shown(caught.value)


# --- what the variables of a traceback show ---------------------------------------------------------------------------

SIGNED = "https://127.0.0.1:9/image.png?sig=canary-signature"
IMAGE = base64.b64encode(png(pad=300_000))
ONCE = RetryPolicy(attempts=1)


def answer(body, content_type=b"application/json"):
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (content_type, len(body), body)


def variables(error):
    """Return what a crash reporter writes of every frame but the test's, also behind *error*."""
    texts, pending = [], [traceback.TracebackException.from_exception(error, capture_locals=True)]
    while pending:
        report = pending.pop()
        frames = [frame for frame in report.stack if "/tests/" not in frame.filename]
        texts += traceback.StackSummary.from_list(frames).format()
        pending += [other for other in (report.__cause__, report.__context__) if other is not None]
    return "".join(texts)


class FailingWriter:
    def __init__(self, writer):
        self.writer = writer

    async def write(self, chunk):
        raise ZeroDivisionError

    async def discard(self):
        await self.writer.discard()


class FailingSink(Memory):
    def open(self, placement):
        return FailingWriter(super().open(placement))


BODIES = {
    "an address that is refused": b'{"data": [{"url": "%s"}]}' % SIGNED.encode(),
    "an image that is cut": b'{"data": [{"b64_json": "%s' % IMAGE[:200_000],
    "an image that is no base64": b'{"data": [{"b64_json": "%s*"}]}' % IMAGE,
    "an image that is too large": b'{"data": [{"b64_json": "%s"}]}' % (IMAGE * 2),
    "no JSON after a broken image": b'{"data": [{"b64_json": "%s*"}, "%s"}' % (IMAGE, SIGNED.encode()),
    "an address beside a broken image": b'{"data": [{"b64_json": "%s*"}, {"url": "%s"}]}' % (IMAGE, SIGNED.encode()),
    "base64 in another field": b'{"picture": "%s", "link": "%s"}' % (IMAGE, SIGNED.encode()),
    "base64 alone": IMAGE,
    "an error with an image": b'{"error": {"message": "No.", "image": "%s", "link": "%s"}}' % (IMAGE, SIGNED.encode()),
}


class TestVariables:
    """No variable of a frame shows an image or a signature; lines are shown as ever."""

    @pytest.mark.parametrize("streams", [False, True], ids=["plain", "stream"])
    @pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
    async def test_nothing_of_an_answer_is_shown(self, body, streams):
        """No traceback shows anything of an answer, whatever is wrong with it."""
        if streams:
            text = b"data: " + body.replace(b'{"data": [', b"").replace(b"]}", b"") + b"\n\n"
            handler = answering(answer(text, b"text/event-stream"))
        else:
            handler = answering(answer(body))
        async with serve(handler) as raw:
            limits = Limits(image=400_000)
            async with AsyncImagesClient(KEY, raw.url, retry=ONCE, limits=limits, clock=FakeClock()) as client:
                with pytest.raises(errors.ImagesError) as caught:
                    await client.send(GenerationRequest("otter", model="m", n=2), via_stream=streams)

        shown = variables(caught.value)
        assert "call.py" in shown
        assert KEY not in shown
        assert "canary-signature" not in shown
        assert not LONG_BASE64.search(shown)

    async def test_nothing_is_shown_when_the_callers_sink_fails(self):
        """A failing sink keeps its own variables, and no others are shown."""
        handler = answering(answer(b'{"data": [{"b64_json": "%s"}]}' % IMAGE))
        async with serve(handler) as raw, AsyncImagesClient(KEY, raw.url, retry=ONCE) as client:
            with pytest.raises(ZeroDivisionError) as caught:
                await client.send(GenerationRequest("otter", model="m"), into=FailingSink())

        shown = variables(caught.value)
        assert "receiving.py" in shown
        assert not LONG_BASE64.search(shown)
        last = list(traceback.walk_tb(caught.value.__traceback__))[-1][0]
        assert "chunk" in last.f_locals

    async def test_no_signature_is_shown_when_an_address_is_fetched(self):
        """No traceback of `fetch` shows the signature of the URL."""
        async with AsyncImagesClient(KEY, "http://127.0.0.1:9", retry=ONCE) as client:
            with pytest.raises(errors.DownloadError) as caught:
                await client.fetch(SIGNED, into=Memory())

        assert caught.value.url == SIGNED
        assert "canary-signature" not in variables(caught.value)

    async def test_no_image_of_the_callers_is_shown(self):
        """A failed upload does not show the bytes of the image."""
        async with AsyncImagesClient(KEY, "http://127.0.0.1:9", retry=ONCE) as client:
            with pytest.raises(errors.ConnectionFailedError) as caught:
                await client.edit("data:image/png;base64," + IMAGE.decode(), "a beret", model="m")

        shown = variables(caught.value)
        assert KEY not in shown
        assert not LONG_BASE64.search(shown)

    async def test_a_cancelled_call_shows_nothing(self):
        """The traceback of a cancelled call shows no variables."""

        async def begin(_reader, writer, _request):
            writer.write(answer(b'{"data": [{"b64_json": "%s"}]}' % IMAGE)[:200_000])
            await writer.drain()
            begun.set()
            await asyncio.Event().wait()

        begun = asyncio.Event()
        async with serve(begin) as raw, AsyncImagesClient(KEY, raw.url, retry=ONCE) as client:
            call = asyncio.create_task(client.generate("otter", model="m"))
            await begun.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await call

        shown = variables(caught.value)
        assert KEY not in shown
        assert not LONG_BASE64.search(shown)


def test_an_address_is_printed_without_its_query():
    """A URL is printed without its query and is otherwise ordinary text."""
    address = RedactedURL(SIGNED)

    assert "'https://127.0.0.1:9/image.png?…'" == repr(address)
    assert SIGNED == address
    assert str is type(str(address))


def test_what_suppressed_exceptions_hold_is_let_go():
    """Suppressed exceptions keep no frames, because crash reporters look at them."""

    def fail():
        try:
            return {}["one"]
        except KeyError:
            raise ValueError("other") from None

    with pytest.raises(ValueError, match="other") as caught, forgetting_locals():
        fail()

    assert caught.value.__context__ is None
