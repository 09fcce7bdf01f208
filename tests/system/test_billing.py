"""Whatever ends a call says by `billed` what it may have cost, and the sentence follows from that."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
from fakes import FakeClock, until
from pictures import png
from raw import hang, serve

from burncloud_images import AsyncImagesClient, GenerationRequest, Memory, RetryPolicy, Timeouts, errors
from burncloud_images.emulator import Fault
from burncloud_images.errors import SENTENCES, Billing

SMALL = {"size": "1024x640", "model": "gpt-image-2"}
BIG = png(pad=4 * 1024 * 1024)
NOTHING = {"message": "", "type": "", "param": "", "code": None}
SLOW = {"message": "slow", "type": "rate_limit_error", "code": "rate_limit_exceeded"}
REFUSED = "http://192.168.0.1/otter.png"
DOWNLOAD = errors.DownloadRefusedError
BY_URL = {"response_format": "url", "size": "256x256", "model": "dall-e-2"}


class Patient(FakeClock):
    """A clock whose waits do not end."""

    async def sleep(self, seconds: float) -> None:
        """Wait for ever."""
        self.slept.append(seconds)
        await asyncio.Event().wait()


async def cancel_when(condition, call):
    """Cancel *call* once *condition* holds, and return what it raised."""
    task = asyncio.create_task(call)
    await until(condition)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    return caught.value


class TestPaidCalls:
    """What may have been billed says so, by the attribute and in words."""

    @pytest.mark.parametrize(
        ("fault", "kind", "billed"),
        [
            (Fault(cut="reset", billed=True), errors.OutcomeUnknownError, Billing.MAYBE),
            (Fault(status=200, body="<html>", billed=True), errors.ProtocolError, Billing.MAYBE),
            (Fault(status=200, body={"data": [], "error": NOTHING}), errors.ProtocolError, Billing.MAYBE),
            (Fault(status=200, body={"data": [{"url": REFUSED}], "error": NOTHING}), DOWNLOAD, Billing.YES),
            (Fault(status=200, body={"data": [{"url": REFUSED}], "error": SLOW}), DOWNLOAD, Billing.YES),
            (Fault(status=200, body={"data": [], "usage": {"total_tokens": 9}}), errors.ProtocolError, Billing.YES),
            (Fault(status=200, body={"data": [{"b64_json": "!"}]}), errors.ProtocolError, Billing.YES),
            (Fault(cut="close", place="answer", byte=0.9), errors.OutcomeUnknownError, Billing.YES),
        ],
    )
    async def test_an_error_tells(self, set_up, fault, kind, billed):
        """An error with part of an image or with its tokens is billed."""
        bench = await set_up(fault)
        with pytest.raises(kind) as caught:
            await bench.client.generate("otter", **SMALL)

        assert billed is caught.value.billed
        assert SENTENCES[billed] in str(caught.value)

    async def test_a_result_that_cannot_be_fetched_is_billed(self, set_up):
        """An image whose download fails was billed."""
        bench = await set_up(Fault(status=418, operation="downloads", times=None))
        with pytest.raises(errors.DownloadError, match="This request was billed") as caught:
            await bench.client.generate("otter", **BY_URL)

        assert Billing.YES is caught.value.billed

    async def test_an_attempt_that_may_have_been_billed_is_not_forgotten(self, set_up):
        """A refusal after an attempt that may have been billed does not make the call free."""
        bench = await set_up(Fault(cut="reset", billed=True), Fault(status=401), retry=RetryPolicy(on_unknown="retry"))
        with pytest.raises(errors.ImagesError) as caught:
            await bench.client.generate("otter", **SMALL)

        assert Billing.MAYBE is caught.value.billed
        assert 2 == bench.posts


class TestFreeCalls:
    """What is never billed never says that it may have been."""

    @pytest.mark.parametrize(
        "fault",
        [
            Fault(status=504, operation="models", times=None),
            Fault(status=500, body="<html>", operation="models", times=None),
            Fault(status=200, body="<html>", operation="models", times=None),
            Fault(cut="reset", operation="models", times=None),
        ],
        ids=["504", "a page", "no list", "reset"],
    )
    async def test_the_list_of_models(self, set_up, fault):
        """Listing models is never billed, and is retried where that may help."""
        bench = await set_up(fault)
        with pytest.raises(errors.ImagesError, match=r"Nothing was billed\.") as caught:
            await bench.client.models()

        assert Billing.NO is caught.value.billed

    async def test_a_list_of_models_that_was_cut_is_asked_for_again(self, set_up):
        """A list of models that was cut off is requested again."""
        bench = await set_up(Fault(cut="reset", place="answer", byte=0.5, operation="models"))
        assert await bench.client.models()
        bench.assert_fired()

    async def test_a_fetch(self, set_up):
        """A failed `fetch` is not billed, although its image may be paid for."""
        bench = await set_up()
        with pytest.raises(errors.DownloadRefusedError, match="costs nothing") as caught:
            await bench.client.fetch("https://127.0.0.1:1/otter.png", into=Memory())

        assert Billing.NO is caught.value.billed


class TestEarlyAnswers:
    """A result that begins before the whole request has left."""

    @pytest.mark.parametrize("streams", [False, True])
    async def test_its_end_does_not_undo_it(self, streams):
        """A cut at the end of an early result keeps its whole images and buys nothing again."""
        whole, rest = base64.b64encode(png()).decode(), "A" * 1000
        documents = [{"type": "image_edit.completed", "b64_json": image} for image in (whole, rest)]
        told = "".join(f"data: {json.dumps(document)}\n\n" for document in documents)
        body = told if streams else json.dumps({"data": documents})
        kind = "text/event-stream" if streams else "application/json"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        calls = []

        async def answer_early(reader, writer, _request):
            calls.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(head.encode() + body[:-500].encode())
            await hang(reader, writer, b"")

        short = Timeouts(send_stall=0.2, idle=0.2)
        async with serve(answer_early, read=False) as raw, AsyncImagesClient("key", raw.url, timeouts=short) as client:
            with pytest.raises(errors.OutcomeUnknownError, match="This request was billed") as caught:
                await client.edit(BIG, "otter", n=2, model="gpt-image-2")

        assert [png()] == [image.data for image in caught.value.images]
        assert 1 == len(calls)


class TestCancellations:
    """A `CancelledError` carries the same attribute."""

    async def test_before_the_request_was_whole(self, set_up):
        """A call that is cancelled before the request was whole was not billed."""
        bench = await set_up(Fault(cut="stall", place="upload", byte=0.5))
        error = await cancel_when(lambda: bench.posts, bench.client.edit(BIG, "otter", **SMALL))

        assert Billing.NO is error.billed

    @pytest.mark.parametrize("streams", [False, True])
    async def test_twice(self, set_up, streams):
        """A second cancellation leaves before the call has ended, so it may have been billed."""

        async def stream():
            async with bench.client.stream(GenerationRequest("otter", **SMALL)) as events:
                return [event async for event in events]

        bench = await set_up(Fault(cut="stall"))
        task = asyncio.create_task(stream() if streams else bench.client.generate("otter", **SMALL))
        await until(lambda: bench.posts)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task

        assert Billing.MAYBE is caught.value.billed

    async def test_a_stream_that_had_failed(self, set_up):
        """Cancelling a failed stream keeps what its error says about billing."""

        async def stream():
            async with bench.client.stream(GenerationRequest("otter", **SMALL)) as events:
                try:
                    await anext(events)
                except errors.OutcomeUnknownError:
                    task.cancel()
                    raise

        bench = await set_up(Fault(cut="reset", billed=True))
        task = asyncio.create_task(stream())
        with pytest.raises(asyncio.CancelledError) as caught:
            await task

        assert Billing.MAYBE is caught.value.billed
        assert caught.value.idempotency_key

    async def test_before_the_answer(self, set_up):
        """A call that is cancelled before the answer may have been billed, and its note says so."""
        bench = await set_up(Fault(cut="stall", billed=True))
        error = await cancel_when(lambda: bench.billed, bench.client.generate("otter", **SMALL))

        assert Billing.MAYBE is error.billed
        assert SENTENCES[Billing.MAYBE] in error.__notes__[0]

    async def test_while_the_images_are_fetched(self, set_up):
        """A call that is cancelled while its images are downloaded was billed."""
        bench = await set_up(Fault(cut="stall", operation="downloads"))
        fetched = lambda: not bench.emulator.unfired  # noqa: E731
        error = await cancel_when(fetched, bench.client.generate("otter", **BY_URL))

        assert Billing.YES is error.billed

    async def test_while_waiting_after_a_refusal(self, set_up):
        """A call that is cancelled while it waits after a refusal was not billed."""
        clock = Patient()
        bench = await set_up(Fault(status=429, retry_after=100), clock=clock)
        error = await cancel_when(lambda: clock.slept, bench.client.generate("otter", **SMALL))

        assert Billing.NO is error.billed

    async def test_of_a_stream(self, set_up):
        """The task that is cancelled is the one that reads the stream, and its error says what was billed."""
        bench = await set_up(Fault(cut="stall", place="answer", after=0))

        async def receive():
            async with bench.client.stream(GenerationRequest("otter", **SMALL)) as images:
                async for _ in images:
                    pass

        error = await cancel_when(lambda: bench.billed, receive())

        assert Billing.MAYBE is error.billed

    async def test_of_a_list_of_models(self, set_up):
        """A cancelled list of models was not billed."""
        bench = await set_up(Fault(cut="stall", operation="models"))
        error = await cancel_when(lambda: not bench.emulator.unfired, bench.client.models())

        assert Billing.NO is error.billed
