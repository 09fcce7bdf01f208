"""Streams: previews and images as they are made, and what becomes of them when something goes wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import warnings

import attrs
import pytest
from fakes import FakeClock, until
from pictures import png
from raw import answering, serve
from streams import KEEPALIVE, PREVIEWED, odd_stream

from burncloud_images import (
    AsyncImagesClient,
    CompletedImage,
    Directory,
    EditRequest,
    GenerationRequest,
    Image,
    Limits,
    PartialImage,
    RetryPolicy,
    SavedImage,
    Timeouts,
    VariationRequest,
    errors,
)
from burncloud_images.emulator import Fault
from burncloud_images.errors import Billing, Phase

pytestmark = pytest.mark.ways("tls", "connect")

SMALL = {"model": "gpt-image-2", "size": "1024x640"}
REQUEST = GenerationRequest("a sea otter", partial_images=2, **SMALL)
RATE_LIMIT = {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}
FAILED = {"message": "it broke", "type": "server_error"}

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nx-request-id: req-1\r\nConnection: close\r\n\r\n"


async def receive(client, request=REQUEST):
    """Return all that a stream gives."""
    async with client.stream(request) as events:
        return [event async for event in events]


async def watch(client, look, request=REQUEST):
    """Show *look* each event."""
    async with client.stream(request) as events:
        async for event in events:
            look(event)


def kinds(events) -> list[type]:
    return [type(event) for event in events]


def event(kind: str, data: bytes | None = None, **fields: object) -> bytes:
    name = f"image_generation.{kind}"
    image = {"b64_json": base64.b64encode(png() if data is None else data).decode()}
    return f"event: {name}\ndata: {json.dumps({'type': name, **image, **fields})}\n\n".encode()


def client_of(raw, **options):
    return AsyncImagesClient("key", raw.url, model="gpt-image-2", clock=FakeClock(), **options)


class TestWhatComes:
    async def test_previews_and_the_image(self, set_up):
        """The stream yields typed partial images and the image, and is billed once."""
        bench = await set_up()
        *partials, completed = await receive(bench.client)

        assert [PartialImage, PartialImage] == kinds(partials)
        assert isinstance(completed, CompletedImage)
        assert [0, 1] == [partial.partial_image_index for partial in partials]
        assert "1024x640" == completed.size == partials[0].size
        assert ("image/png", 1024, 640) == (completed.image.media_type, completed.image.width, completed.image.height)
        assert completed.data == completed.image.data
        assert completed.usage.output_tokens > 0
        assert completed.created_at.tzinfo
        assert bench.emulator.ledger.requests[0].idempotency_key == completed.idempotency_key
        assert completed.request_id
        assert 1 == bench.billed

    async def test_what_is_asked(self, set_up):
        """`stream` is true in JSON and in a form, and the Accept header asks for events."""
        bench = await set_up()
        await receive(bench.client)
        await receive(bench.client, EditRequest(png(), "a beret", partial_images=1, **SMALL))

        first, second = bench.emulator.ledger.requests
        assert ("stream", "true") in [tuple(field) for field in first.fields]
        assert ("stream", "true") in [tuple(field) for field in second.fields]
        async with serve(answering(HEAD, event("completed"))) as raw, client_of(raw) as client:
            await receive(client)
        assert b"accept: text/event-stream\r\n" in raw.requests[0].lower()
        assert b'"stream":true' in raw.requests[0]

    async def test_an_edit(self, set_up):
        """The events of an edit, which have other names, are read."""
        bench = await set_up()

        events = await receive(bench.client, EditRequest(png(), "a beret", partial_images=1, **SMALL))
        assert [PartialImage, CompletedImage] == kinds(events)

    async def test_several_images(self, set_up):
        """Each image has one completed event, numbered in order of arrival."""
        bench = await set_up()
        events = await receive(bench.client, attrs.evolve(REQUEST, n=3, partial_images=1))

        assert [PartialImage, CompletedImage] * 3 == kinds(events)
        assert [0, 0, 1, 1, 2, 2] == [event.image.index for event in events]

    @pytest.mark.sampled(4)
    @pytest.mark.parametrize(
        "fault",
        [
            Fault(pings=50),
            Fault(done=True),
            Fault(drip=7),
            Fault(drip=1000, pings=1),
            Fault(framing="eof"),
            odd_stream([event for image in PREVIEWED for event in (KEEPALIVE, image)]),
            odd_stream(unnamed=True),
            odd_stream(spread=True),
            odd_stream(line_end="\r\n"),
            odd_stream(line_end="\r", bom=True, spread=True, unnamed=True),
        ],
        ids=["pings", "done", "drip", "drip-pings", "eof", "unknown", "unnamed", "spread", "crlf", "cr-bom"],
    )
    async def test_however_it_is_written(self, set_up, fault):
        """Pings, unknown and unnamed events, data on several lines, any line end and any cut are read."""
        bench = await set_up(fault)

        assert [PartialImage, PartialImage, CompletedImage] == kinds(await receive(bench.client))
        bench.assert_fired()

    async def test_fewer_previews_than_asked(self, set_up):
        """Fewer partial images than asked for are not an error."""
        bench = await set_up(Fault(partials=1))

        assert [PartialImage, CompletedImage] == kinds(await receive(bench.client))
        bench.assert_fired()

    @pytest.mark.parametrize("fault", [Fault(plain=True), Fault(fabricated="b64_json"), Fault(fabricated="url")])
    async def test_a_gateway_that_does_not_stream(self, set_up, fault):
        """A plain answer becomes completed events, and so does one with URLs."""
        bench = await set_up(fault)
        events = await receive(bench.client, attrs.evolve(REQUEST, n=2))

        assert [CompletedImage, CompletedImage] == kinds(events)
        assert [0, 1] == [event.image.index for event in events]
        assert events[1].usage.total_tokens > 0
        bench.assert_fired()

    async def test_a_stream_that_nobody_asked_for(self):
        """A stream that nobody asked for is read as a result."""
        async with serve(answering(HEAD, event("partial_image"), event("completed"))) as raw, client_of(raw) as client:
            result = await client.generate("otter")

        assert png() == result.image.data

    async def test_after_the_last_image_nothing_is_waited_for(self):
        """The stream ends after its last image, even if the server keeps the connection open."""

        async def handle(_reader, writer, _request):
            writer.write(HEAD + event("completed"))
            await asyncio.Event().wait()

        async with serve(handle) as raw, client_of(raw, timeouts=Timeouts(idle=6000)) as client:
            assert [CompletedImage] == kinds(await receive(client))
            result = await client.send(REQUEST, via_stream=True)
        assert Phase.COMPLETE == result.history[0].phase


class TestTheBlock:
    async def test_leaving_early_closes_the_connection(self, set_up):
        """Leaving the block early closes the connection and leaves no task."""
        gone = asyncio.Event()

        async def handle(reader, writer, _request):
            writer.write(HEAD + event("partial_image"))
            await reader.read()
            gone.set()

        async with serve(handle) as raw, client_of(raw) as client:
            async with client.stream(REQUEST) as events:
                async for _ in events:
                    break
            await gone.wait()

    async def test_leaving_without_iterating(self, set_up):
        """Leaving the block without iterating closes the connection too."""
        bench = await set_up()
        async with bench.client.stream(REQUEST):
            pass

    async def test_an_exception_in_the_block_comes_out(self, set_up):
        """An exception in the block is raised unchanged."""
        bench = await set_up()
        with pytest.raises(ZeroDivisionError):
            await watch(bench.client, lambda _: 1 / 0)

    async def test_waiting_may_be_given_up_and_begun_again(self, set_up):
        """A timeout around an event loses the wait and not the image."""
        bench = await set_up(Fault(pace=0.05))
        events = []
        async with bench.client.stream(REQUEST) as iterator:
            while len(events) < 3:
                try:
                    events.append(await asyncio.wait_for(anext(iterator), 0.005))
                except TimeoutError:
                    continue
            with pytest.raises(StopAsyncIteration):
                await anext(iterator)
            with pytest.raises(StopAsyncIteration):
                await anext(iterator)

        assert [PartialImage, PartialImage, CompletedImage] == kinds(events)

    async def test_cancelling_tells_what_it_may_have_cost(self, set_up):
        """The note of a cancelled stream has the key and the phase."""
        bench = await set_up(Fault(cut="stall", place="answer", after=1))
        task = asyncio.create_task(receive(bench.client))
        await until(lambda: bench.billed)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert bench.emulator.ledger.requests[0].idempotency_key in "".join(caught.value.__notes__)

    @pytest.mark.sampled(2)
    async def test_no_more_is_received_than_is_looked_at(self):
        """The stream reads one event ahead of its caller."""
        written = []

        async def handle(_reader, writer, _request):
            writer.write(HEAD)
            for number in range(12):
                writer.write(event("partial_image", png(pad=2_000_000)))
                await writer.drain()
                written.append(number)
            writer.write(event("completed"))

        async with serve(handle) as raw, client_of(raw) as client, client.stream(REQUEST) as events:
            await anext(events)
            count = -1
            while count < len(written):  # until nothing moves any more
                count = len(written)
                await asyncio.sleep(0.05)
            assert count < 12
            assert CompletedImage is kinds([event async for event in events])[-1]

    @pytest.mark.sampled(2)
    async def test_a_slow_caller_is_no_stalled_server(self):
        """The time that the caller takes does not count as a stall."""
        rest = asyncio.Event()

        async def handle(_reader, writer, _request):
            writer.write(HEAD + event("partial_image"))
            await rest.wait()
            writer.write(event("completed"))

        async with serve(handle) as raw, client_of(raw, timeouts=Timeouts(first_byte=0.5, idle=0.5)) as client:
            seen = []
            async with client.stream(REQUEST) as events:
                async for item in events:
                    seen.append(item)
                    rest.set()
                    for _ in range(12):  # more than the 0.5 s that the server has
                        await asyncio.sleep(0.05)

        assert [PartialImage, CompletedImage] == kinds(seen)


class TestEnds:
    """What is known of a stream that does not come to its end."""

    @pytest.mark.sampled(4)
    @pytest.mark.parametrize("cut", ["close", "reset", "stall"])
    @pytest.mark.parametrize("after", [0, 1, 2])
    async def test_a_cut_leaves_the_outcome_unknown(self, set_up, cut, after):
        """After a cut the error holds what came, and nothing is sent again."""
        fault = Fault(cut=cut, place="answer", after=after)
        bench = await set_up(fault, retry=RetryPolicy(on_unknown="retry"), timeouts=Timeouts(idle=20))
        seen = []
        with pytest.raises(errors.OutcomeUnknownError) as caught:
            await watch(bench.client, seen.append)

        assert seen == list(caught.value.partials)
        assert after == len(seen)
        assert caught.value.history[-1].failure == "OutcomeUnknownError"
        assert caught.value.idempotency_key
        assert caught.value.phase >= Phase.STATUS
        assert (1, 1) == (bench.posts, bench.billed)
        bench.assert_fired()

    async def test_an_end_without_an_image(self, set_up):
        """A stream that ends without an image is an error."""
        bench = await set_up(Fault(after=2))
        with pytest.raises(errors.OutcomeUnknownError, match="without a completed image") as caught:
            await receive(bench.client)

        assert 2 == len(caught.value.partials)
        bench.assert_fired()

    async def test_the_images_that_came_are_on_the_error(self, set_up):
        """The one of three images that had come is on the error."""
        bench = await set_up(Fault(cut="reset", place="answer", after=2))
        with pytest.raises(errors.OutcomeUnknownError) as caught:
            await receive(bench.client, attrs.evolve(REQUEST, n=3, partial_images=1))

        assert [Image] == kinds(caught.value.images)

    @pytest.mark.parametrize("missing", [1, 2])
    async def test_an_image_without_its_blank_line_counts(self, missing):
        """An image whose event lacks its blank line counts, whether the connection ends or stalls."""

        async def silent(_reader, writer, _request):
            writer.write(HEAD + event("completed")[:-missing])
            await asyncio.Event().wait()

        for handler in (answering(HEAD, event("completed")[:-missing]), silent):
            async with serve(handler) as raw, client_of(raw, timeouts=Timeouts(idle=0.05)) as client:
                assert [CompletedImage] == kinds(await receive(client))

    async def test_an_image_whose_event_is_cut_is_on_the_error(self):
        """A whole image of an event that was cut is on the error."""
        cut = event("completed", usage={"total_tokens": 1})[:-8]
        async with serve(answering(HEAD, cut)) as raw, client_of(raw) as client:
            with pytest.raises(errors.OutcomeUnknownError) as caught:
                await receive(client)

        assert png() == caught.value.images[0].data

    @pytest.mark.parametrize("item", ["b64_json", "url"])
    async def test_an_event_that_is_an_answer_too_keeps_its_image(self, item):
        """Some gateways fill both forms; the image that is taken is the one that comes first."""
        data = [{item: base64.b64encode(png()).decode() if item == "b64_json" else "https://127.0.0.1/a.png"}]
        both = event("completed").replace(b"}\n\n", b', "data": %b}\n\n' % json.dumps(data).encode())
        async with serve(answering(HEAD, both)) as raw, client_of(raw) as client:
            (completed,) = await receive(client)

        assert png() == completed.data

    async def test_fewer_images_than_asked_is_a_warning(self, set_up):
        """Fewer images than asked for are returned with a warning."""
        async with serve(answering(HEAD, event("completed"), b"data: [DONE]\n\n")) as raw, client_of(raw) as client:
            with pytest.warns(errors.ImagesWarning, match="2 images were asked for and 1 came"):
                await receive(client, attrs.evolve(REQUEST, n=2))

    @pytest.mark.parametrize(
        ("data", "sentence"), [(png()[:-12], "has no end"), (b"no image", "not an image"), (b"", "holds no image")]
    )
    async def test_a_damaged_image(self, data, sentence):
        """A damaged image is not returned as an image."""
        async with serve(answering(HEAD, event("completed", data))) as raw, client_of(raw) as client:
            with pytest.raises(errors.ProtocolError, match=sentence):
                await receive(client)


class TestErrors:
    """Errors that the API tells in a stream."""

    @pytest.mark.parametrize(
        ("error", "kind", "billed"),
        [
            ({"type": "error", "error": FAILED}, errors.ServerError, Billing.MAYBE),
            ({"error": {"message": "no", "code": "moderation_blocked"}}, errors.ModerationError, Billing.MAYBE),
            ({"error": "no"}, errors.ServerError, Billing.MAYBE),
            (
                {"type": "upstream_error", "message": "no", "code": "insufficient_quota"},
                errors.QuotaExceededError,
                Billing.NO,
            ),
        ],
    )
    async def test_raises_its_class(self, set_up, error, kind, billed):
        """The error event raises its own class, and its code decides whether it was billed."""
        bench = await set_up(Fault(error=error))
        with pytest.raises(kind) as caught:
            await receive(bench.client)

        assert billed is caught.value.billed
        assert (1, 0) == (bench.posts, bench.billed)
        bench.assert_fired()

    async def test_after_a_preview_it_may_be_billed(self, set_up):
        """An error after a partial image may be billed and is not retried."""
        bench = await set_up(Fault(after=1, error={"error": RATE_LIMIT}))
        with pytest.raises(errors.RateLimitError, match="may have been billed") as caught:
            await receive(bench.client)

        assert Billing.MAYBE is caught.value.billed
        assert 1 == len(caught.value.partials)
        assert 1 == bench.posts

    @pytest.mark.parametrize(
        ("shown", "billed"),
        [
            (event("completed", b"", b64_json=None, url="http://127.0.0.1:9/otter.png"), Billing.YES),
            (b'data: {"data": [{"url": "http://127.0.0.1:9/otter.png"}]}\n\n', Billing.YES),
            (b'data: {"type": "usage", "usage": {"output_tokens": 9, "total_tokens": 9}}\n\n', Billing.YES),
            (b'data: {"type": "usage", "usage": {"total_tokens": 0}}\n\n', Billing.NO),
            (event("completed", b"", b64_json=None), Billing.MAYBE),
        ],
        ids=["address", "answer", "tokens", "no tokens", "nothing"],
    )
    async def test_what_shows_that_an_image_was_made(self, shown, billed):
        """An error that shows that an image was made is not retried, and the answer is kept."""
        told = f"data: {json.dumps({'error': RATE_LIMIT})}\n\n".encode()
        request = GenerationRequest("otter", n=2, **SMALL)
        retry = RetryPolicy(attempts=2, deadline=0)
        async with serve(answering(HEAD, shown, told)) as raw, client_of(raw, retry=retry) as client:
            with pytest.raises(errors.RateLimitError) as caught:
                await receive(client, request)

        assert billed is caught.value.billed
        assert (shown in caught.value.raw) == (billed is Billing.YES)
        assert 1 == len(raw.requests)

    async def test_before_any_image_it_is_sent_again_as_an_answer_would_be(self, set_up):
        """An error event before any image is retried as an error answer is."""
        bench = await set_up(Fault(error={"error": RATE_LIMIT}))

        assert [PartialImage, PartialImage, CompletedImage] == kinds(await receive(bench.client))
        assert (2, 1) == (bench.posts, bench.billed)

    async def test_before_the_stream_it_is_sent_again(self, set_up):
        """A 503 before the stream is retried."""
        bench = await set_up(Fault(status=503))

        assert [PartialImage, PartialImage, CompletedImage] == kinds(await receive(bench.client))
        assert (2, 1) == (bench.posts, bench.billed)

    async def test_the_key_is_not_shown(self):
        """The error masks a key that a gateway echoes."""
        error = b'data: {"error": {"message": "bad key s3cr3t"}}\n\n'
        async with serve(answering(HEAD, error)) as raw, AsyncImagesClient("s3cr3t", raw.url, model="any") as client:
            with pytest.raises(errors.ServerError, match=r"bad key \*\*\*") as caught:
                await receive(client)

        assert "s3cr3t" not in f"{caught.value!r}{vars(caught.value)}"


class TestBadInput:
    """Whatever a server sends: a typed error, the connection closed, nothing left."""

    async def endless(self, client, match):
        with pytest.raises(errors.TooLargeError, match=match) as caught:
            await client.send(REQUEST, into=Directory(self.folder), via_stream=True)
        assert [] == list(self.folder.iterdir())
        return caught.value

    @pytest.mark.parametrize(
        ("limits", "name"),
        [
            (Limits(event=300_000), "Limits.event"),
            (Limits(image=200_000), "Limits.image"),
            (Limits(response=300_000), "Limits.response"),
        ],
    )
    async def test_endless_base64(self, tmp_path, limits, name):
        """Endless base64 ends at the cap, which the error names."""
        self.folder = tmp_path / "out"

        async def handle(_reader, writer, _request):
            writer.write(HEAD + event("completed")[:-20])
            while not writer.is_closing():
                writer.write(b"AAAA" * 16384)
                await writer.drain()
                await asyncio.sleep(0)  # nothing else tells over TLS that the client has left

        async with serve(handle) as raw, client_of(raw, limits=limits) as client:
            await self.endless(client, name)

    async def test_pings_without_end(self):
        """Endless pings do not keep a stream alive for ever."""

        async def handle(_reader, writer, _request):
            writer.write(HEAD)
            while True:
                writer.write(b": PING\n\n")
                await writer.drain()
                await asyncio.sleep(0.001)

        async with serve(handle) as raw, client_of(raw, timeouts=Timeouts(first_byte=0.1)) as client:
            with pytest.raises(errors.OutcomeUnknownError, match="only signs of waiting"):
                await receive(client)

    @pytest.mark.sampled(2)
    async def test_previews_without_end(self):
        """Endless partial images do not keep a stream alive for ever."""
        previews = 0

        async def handle(_reader, writer, _request):
            nonlocal previews
            writer.write(HEAD)
            while True:
                previews += 1
                writer.write(event("partial_image"))
                await writer.drain()
                await asyncio.sleep(0.01)

        async with serve(handle) as raw, client_of(raw, timeouts=Timeouts(first_byte=0.2)) as client:
            with pytest.raises(errors.OutcomeUnknownError, match="only signs of waiting") as caught:
                await receive(client)

        assert previews > 10
        assert caught.value.partials

    async def test_many_previews_are_not_all_shown(self):
        """A hundred partial images are yielded, and then the image."""
        previews = event("partial_image") * 300

        async with serve(answering(HEAD, previews, event("completed"))) as raw, client_of(raw) as client:
            seen = kinds(await receive(client))

        assert [PartialImage] * 100 + [CompletedImage] == seen

    @pytest.mark.sampled(2)
    async def test_an_image_that_drips_slowly_is_waited_for(self):
        """An image that arrives slowly is waited for."""
        whole = event("completed", png(pad=400_000))

        async def handle(_reader, writer, _request):
            writer.write(HEAD)
            for start in range(0, len(whole), 40_000):
                writer.write(whole[start : start + 40_000])
                await writer.drain()
                await asyncio.sleep(0.05)

        async with serve(handle) as raw, client_of(raw, timeouts=Timeouts(first_byte=0.5)) as client:
            assert [CompletedImage] == kinds(await receive(client))

    async def test_pings_keep_a_silent_stream_alive(self, set_up):
        """Pings keep a stream alive for longer than the idle timeout."""
        bench = await set_up(Fault(pings=10, pace=0.02), timeouts=Timeouts(idle=8))

        assert [CompletedImage] == kinds(await receive(bench.client, attrs.evolve(REQUEST, partial_images=None)))


class TestRules:
    async def test_variations_do_not_stream(self, set_up):
        """A stream of variations is refused before anything is sent."""
        bench = await set_up()
        with pytest.raises(errors.InvalidRequestError, match="cannot be streamed"):
            await receive(bench.client, VariationRequest(png()))
        with pytest.raises(errors.InvalidRequestError, match="cannot be streamed"):
            await bench.client.send(VariationRequest(png()), via_stream=True)

        assert 0 == bench.posts

    @pytest.mark.parametrize(
        "fields",
        [
            {"model": "dall-e-3"},
            {"model": "gpt-image-2.6-flare", "output_format": "gif"},
            {"model": "gpt-image-2.6-flare", "output_format": "svg"},
        ],
    )
    async def test_what_is_not_streamed_is_said(self, set_up, fields):
        """The rules warn of fields that a model does not stream."""
        bench = await set_up(validation="strict")
        with pytest.raises(errors.InvalidRequestError, match="stream:"):
            await receive(bench.client, GenerationRequest("otter", **fields))

        assert 0 == bench.posts

    async def test_a_plain_request_says_nothing_of_streams(self, set_up):
        """A plain request does not warn of what cannot be streamed."""
        bench = await set_up(validation="strict")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await bench.client.generate("otter", model="gpt-image-2.6-flare", output_format="gif", size="1024x640")


class TestKeepAlive:
    """A stream inside, a plain result outside."""

    async def test_is_equal_to_the_plain_result(self, set_up):
        """The result equals that of a plain call but for its ids and token details."""
        bench = await set_up()
        request = GenerationRequest("otter", n=2, safety_identifier="a", **SMALL)
        plain = await bench.client.send(request)
        streamed = await bench.client.send(request, via_stream=True)

        def about(result):
            return attrs.evolve(
                result,
                created=None,
                request_id=None,
                idempotency_key=None,
                history=(),
                usage=attrs.evolve(result.usage, output_tokens_details=None),
            )

        assert about(plain) == about(streamed)
        assert streamed.created

    async def test_writes_whole_files(self, set_up, tmp_path):
        """The partial images are dropped, and each of three images has its own file."""
        bench = await set_up()
        request = attrs.evolve(REQUEST, n=3)
        result = await bench.client.send(request, into=Directory(tmp_path / "out", name="{index}.png"), via_stream=True)

        assert [SavedImage] * 3 == kinds(result.images)
        assert ["1.png", "2.png", "3.png"] == sorted(path.name for path in (tmp_path / "out").iterdir())

    async def test_bytes_that_come_before_their_type_leave_no_preview(self, tmp_path):
        """Bytes of a partial image whose type comes late are removed."""
        data = base64.b64encode(png()).decode()
        late = f'data: {{"b64_json": "{data}", "type": "image_generation.partial_image"}}\n\n'.encode()
        async with serve(answering(HEAD, late, event("completed"))) as raw, client_of(raw) as client:
            await client.send(REQUEST, into=Directory(tmp_path / "out"), via_stream=True)

        assert 1 == len(list((tmp_path / "out").iterdir()))

    @pytest.mark.parametrize("fault", [Fault(plain=True), Fault(fabricated="url")])
    async def test_a_gateway_that_does_not_stream(self, set_up, tmp_path, fault):
        """A plain answer becomes a plain result."""
        bench = await set_up(fault)
        result = await bench.client.send(REQUEST, into=Directory(tmp_path / "out"), via_stream=True)

        assert result.image.path.is_file()
        assert (1, 1) == (bench.posts, bench.billed)

    async def test_a_cut_leaves_no_partial_file(self, set_up, tmp_path):
        """A cut leaves no partial file and an unknown outcome."""
        folder = tmp_path / "out"
        cut = Fault(cut="reset", place="answer", byte=-300)
        bench = await set_up(cut)
        with pytest.raises(errors.OutcomeUnknownError):
            await bench.client.send(REQUEST, into=Directory(folder), via_stream=True)
        assert [] == list(folder.iterdir())

        bench = await set_up(cut, retry=RetryPolicy(on_unknown="retry"))
        await bench.client.send(REQUEST, into=Directory(folder), via_stream=True)
        assert (2, 2) == (bench.posts, bench.billed)
