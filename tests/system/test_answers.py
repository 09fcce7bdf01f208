"""Answers that are paid for and come in forms that nobody documents: an image is there, or every byte of the answer."""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
import stat
import warnings
from contextlib import asynccontextmanager

import pytest
from fakes import FakeClock
from pictures import png
from raw import answering, serve

from burncloud_images import AsyncImagesClient, Directory, GenerationRequest, Limits, Memory, RetryPolicy, errors

PICTURE = png(pad=1_900_000)
TEXT = base64.b64encode(PICTURE).decode()
TYPE = "image_generation.completed"


def document(**fields):
    return json.dumps({"created": 1713833628, **fields}).encode()


def event(fields, name=""):
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + json.dumps(fields).encode() + b"\n\n"


ANSWER = document(data=[{"b64_json": TEXT}])
COMPLETED = event({"type": TYPE, "b64_json": TEXT})
BOUNDARY = b"--x\r\nContent-Type: image/png\r\n\r\n" + PICTURE + b"\r\n--x--\r\n"

KNOWN = {
    "answer": ("application/json", ANSWER),
    "events": ("text/event-stream", COMPLETED),
    "events as json": ("application/json", COMPLETED),
    "events as text": ("text/plain", COMPLETED),
    "events without a type": ("", COMPLETED),
    "events named by a line": ("application/json", event({"b64_json": TEXT}, TYPE)),
    "events whose type comes last": ("text/event-stream", event({"b64_json": TEXT, "type": TYPE})),
    "comments, then events": ("application/json", b": wait\n\n: wait\n\n" + COMPLETED),
    "comments, then an answer": ("text/event-stream", b": wait\n\n:\n" + ANSWER),
    "white space, then an answer": ("text/event-stream", b" \n\n" * 9 + ANSWER),
    "an answer as events": ("text/event-stream", ANSWER),
    "an answer in an event": ("text/event-stream", b"data: " + ANSWER + b"\n\ndata: [DONE]\n\n"),
    "an answer in an event as json": ("application/json", b"data: " + ANSWER + b"\n\n"),
    "an answer in an event without its end": ("text/event-stream", b"data: " + ANSWER),
    "an answer of another type in an event": ("text/event-stream", event({"type": "x", "data": [{"b64_json": TEXT}]})),
    "an answer with a mark": ("application/json", b"\xef\xbb\xbf" + ANSWER),
    "an answer in utf-16": ("application/json", ANSWER.decode().encode("utf-16")),
    "an answer in utf-16-le": ("application/json", ANSWER.decode().encode("utf-16-le")),
    "an answer in utf-16-be": ("application/json; charset=utf-8", ANSWER.decode().encode("utf-16-be")),
    "an answer in utf-32": ("application/json", ANSWER.decode().encode("utf-32")),
    "data is an object": ("application/json", document(data={"b64_json": TEXT})),
    "nested": ("application/json", document(result={"output": {"data": [{"b64_json": TEXT}]}})),
    "data of texts": ("application/json", document(data=[TEXT])),
    "images": ("application/json", document(images=[{"b64_json": TEXT}])),
    "b64": ("application/json", document(data=[{"b64": TEXT}])),
    "image_base64": ("application/json", document(data=[{"image_base64": TEXT}])),
    "chat": ("application/json", document(choices=[{"message": {"images": [{"image": TEXT}]}}])),
    "events of another name": ("text/event-stream", event({"type": "image.result", "b64_json": TEXT})),
    "events of another field": ("text/event-stream", event({"type": TYPE, "image": TEXT})),
    "events of another name without an end": (
        "text/event-stream",
        event({"type": "image.partial_succeeded", "b64_json": TEXT})[:-2],
    ),
    "notes behind it": ("application/json", ANSWER + b"\n// cached"),
    "NaN": ("application/json", document(data=[{"b64_json": TEXT}], seconds=float("nan"))),
    "image": ("image/png", PICTURE),
    "image as json": ("application/json", PICTURE),
    "image as events": ("text/event-stream", PICTURE),
    "image without a type": ("", PICTURE),
    "events in utf-16": ("text/event-stream", COMPLETED.decode().encode("utf-16")),
}
"""Forms whose image is found."""

STRANGE = {
    "data is a text": ("application/json", document(data=TEXT)),
    "input": ("application/json", document(input={"images": [{"b64_json": TEXT}]})),
    "chat": ("application/json", document(choices=[{"message": {"content": TEXT}}])),
    "list": ("application/json", b"[" + ANSWER + b"]"),
    "too deep": ("application/json", b"[" * 200 + ANSWER),
    "film": ("video/mp4", b"\0\0\0\x18ftypmp42\0\0\0\0" + PICTURE),
    "base64": ("text/plain", TEXT.encode()),
    "base64 as a text": ("application/json", json.dumps(TEXT).encode()),
    "multipart": ("multipart/mixed; boundary=x", BOUNDARY),
    "lines": ("application/x-ndjson", b'{"status":"working"}\n{"image":"' + TEXT.encode() + b'"}\n'),
    "form": ("application/x-www-form-urlencoded", b"b64_json=" + TEXT.encode()),
    "page": ("text/html", b"<img src='data:image/png;base64," + TEXT.encode() + b"'>"),
    "broken": ("application/json", ANSWER.replace(b'"data"', b'"date"')[:-1]),
    "events of another field": ("text/event-stream", event({"type": TYPE, "picture": TEXT})),
    "events without an end": ("text/event-stream", event({"type": "image.odd", "picture": TEXT})[:-2]),
    "an error beside other fields": ("application/json", document(error={"message": "odd"}, input=[TEXT])),
}
"""Forms whose image is not found."""


@asynccontextmanager
async def answered(body, content_type="application/json", **options):
    """Yield a client of a server that gives this answer, and nothing else, to one request."""
    kind = f"Content-Type: {content_type}\r\n".encode() if content_type else b""
    head = b"HTTP/1.1 200 OK\r\n" + kind + b"Content-Length: %d\r\n\r\n" % len(body)
    options = {"retry": RetryPolicy(attempts=1), "clock": FakeClock(1.0), **options}
    async with serve(answering(head, body)) as raw, AsyncImagesClient("sk-canary", raw.url, **options) as client:
        yield client


@pytest.fixture(params=[pytest.param("memory", marks=pytest.mark.slow), "files"])
def sink(request, tmp_path):
    """Return each sink of the package."""
    return Memory() if request.param == "memory" else Directory(tmp_path / "out")


@pytest.fixture(params=[False, True], ids=["plain", "stream"])
def streams(request):
    """Return whether a stream is asked for."""
    return request.param


def sha256(data):
    return hashlib.sha256(data).hexdigest()


REQUEST = GenerationRequest("otter", model="m")


@pytest.mark.sampled(5)
@pytest.mark.parametrize("form", KNOWN)
async def test_an_image_is_found_whatever_the_label_says(form, streams, sink):
    """The first bytes decide what an answer is, and not its header or what was asked for."""
    content_type, body = KNOWN[form]
    async with answered(body, content_type) as client:
        result = await client.send(REQUEST, into=sink, via_stream=streams)

    image = result.image
    assert sha256(PICTURE) == sha256(image.data if isinstance(sink, Memory) else image.path.read_bytes())
    assert None is result.kept
    assert not isinstance(sink, Directory) or [image.path] == list(sink.path.iterdir())


@pytest.mark.sampled(5)
@pytest.mark.parametrize("form", STRANGE)
async def test_an_answer_without_an_image_is_kept_whole(form, streams, sink):
    """The answer is kept in a file, which the error names."""
    content_type, body = STRANGE[form]
    async with answered(body, content_type) as client:
        with pytest.raises(errors.ImagesError) as caught:
            await client.send(REQUEST, into=sink, via_stream=streams)

    error = caught.value
    assert sha256(body) == sha256(error.raw)
    assert len(body) == error.kept.size
    if isinstance(sink, Memory):
        assert "unnamed temporary file" in str(error)
        assert b"" == pickle.loads(pickle.dumps(error)).raw
        return
    assert [error.answer_path] == list(sink.path.iterdir())
    assert 0o600 == stat.S_IMODE(error.answer_path.stat().st_mode)
    assert error.answer_path.name == f"{error.idempotency_key.replace('-', '')[:12]}.answer"
    assert str(error.answer_path) in str(error)
    assert str(error.answer_path) in str(pickle.loads(pickle.dumps(error)))


async def test_a_small_answer_stays_in_memory():
    """A small answer stays in memory where nobody asked for files."""
    async with answered(b'{"answer":"odd"}') as client:
        with pytest.raises(errors.ProtocolError) as caught:
            await client.send(REQUEST)

    assert b'{"answer":"odd"}' == caught.value.raw
    assert caught.value.kept.file is None


async def test_a_taken_name_gets_a_number(tmp_path):
    """A kept answer gets a numbered name and replaces no other file."""
    key = "0123456789ab"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f"{key}.answer").write_text("earlier")
    async with answered(b'{"answer":"odd"}') as client:
        with pytest.raises(errors.ProtocolError) as caught:
            await client.send(REQUEST, into=Directory(tmp_path / "out"), idempotency_key=key * 2)

    assert tmp_path / "out" / f"{key}-2.answer" == caught.value.answer_path
    assert "earlier" == (tmp_path / "out" / f"{key}.answer").read_text()


async def test_a_folder_that_is_gone_costs_no_answer(tmp_path):
    """If the folder is gone, the answer is kept in an unnamed file."""

    class Gone(Directory):
        def answer_path(self, placement):
            (tmp_path / "file").touch()
            return tmp_path / "file" / f"{placement.id}.answer"

    content_type, body = STRANGE["input"]
    async with answered(body, content_type) as client:
        with pytest.raises(errors.ProtocolError) as caught:
            await client.send(REQUEST, into=Gone(tmp_path))

    assert sha256(body) == sha256(caught.value.raw)
    assert None is caught.value.answer_path


async def test_what_came_of_an_answer_that_was_cut_off_is_kept(sink):
    """The bytes of an answer that was cut off are kept."""
    _, body = STRANGE["input"]
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    options = {"retry": RetryPolicy(attempts=1), "clock": FakeClock(1.0)}
    async with (
        serve(answering(head, body[:-100])) as raw,
        AsyncImagesClient("sk-canary", raw.url, **options) as client,
    ):
        with pytest.raises(errors.OutcomeUnknownError) as caught:
            await client.send(REQUEST, into=sink)

    assert sha256(body[:-100]) == sha256(caught.value.raw)


async def test_only_so_much_is_kept_as_an_answer_may_have(sink):
    """No more than `Limits.response` bytes of an answer are kept."""
    content_type, body = STRANGE["film"]
    async with answered(body * 2, content_type, limits=Limits(response=len(body) + 10)) as client:
        with pytest.raises(errors.TooLargeError) as caught:
            await client.send(REQUEST, into=sink)

    assert caught.value.raw in {b"", (body * 2)[: len(body) + 10]}


async def test_text_past_the_cap_is_kept_as_it_came(sink, monkeypatch):
    """Text past the cap is not parsed, and all of it is kept."""
    monkeypatch.setattr("burncloud_images.wire.image_json.MOST_TEXT", 100_000)
    body = document(data=[{"picture": TEXT}])
    async with answered(body) as client:
        with pytest.raises(errors.TooLargeError, match="beside its images") as caught:
            await client.send(REQUEST, into=sink)

    assert sha256(body) == sha256(caught.value.raw)


async def test_text_past_the_cap_after_an_image_is_kept(monkeypatch):
    """Text past the cap is kept without the image, which is on the error."""
    monkeypatch.setattr("burncloud_images.wire.image_json.MOST_TEXT", 100_000)
    body = document(data=[{"b64_json": TEXT}], input=[TEXT])
    async with answered(body) as client:
        with pytest.raises(errors.TooLargeError) as caught:
            await client.send(REQUEST)

    assert [PICTURE] == [image.data for image in caught.value.images]
    assert body.replace(TEXT.encode(), b"", 1) == caught.value.raw


async def test_an_image_in_another_place_is_kept_beside_one_that_is_found(sink):
    """An answer with an image in an unknown place is kept besides the image that was found."""
    body = document(data=[{"b64_json": TEXT}, {"picture": TEXT}])
    async with answered(body) as client:
        with pytest.warns(errors.ImagesWarning, match="2 images were asked for and 1 came"):
            result = await client.send(GenerationRequest("otter", model="m", n=2), into=sink)

    assert 1 == len(result.images)
    assert TEXT.encode() in result.kept.read()
    assert isinstance(sink, Memory) == (result.kept.path is None)


async def test_a_warning_before_the_purchase_ends_its_own_request_alone():
    """Where warnings are errors, a request that is warned of is refused, and the others of a map are made."""
    requests = [GenerationRequest("otter", model="gpt-image-2", size=size) for size in ("10x10", "1024x1024")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with answered(document(data=[{"b64_json": TEXT}])) as client:
            outcomes = {outcome.index: outcome async for outcome in client.map(requests)}

    assert isinstance(outcomes[0].error, errors.InvalidRequestError)
    assert [PICTURE] == [image.data for image in outcomes[1].result.images]


async def test_a_warning_does_not_cost_the_result():
    """Where warnings are errors, one about an answer that is paid for is shown, and the result is returned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        async with answered(document(data=[{"b64_json": TEXT}])) as client:
            result = await client.send(GenerationRequest("otter", model="m", n=2))

    assert [PICTURE] == [image.data for image in result.images]
    assert ["2 images were asked for and 1 came."] == [str(warning.message) for warning in caught]


async def test_previews_that_are_shown_are_not_kept_twice():
    """Previews that were shown are not kept again, and everything else is."""
    preview = event({"type": "image_generation.partial_image", "b64_json": TEXT, "partial_image_index": 0})
    other = event({"type": "image.other", "picture": TEXT})
    body = preview + other + preview
    shown = []

    async def look(client):
        async with client.stream(GenerationRequest("otter", model="m", partial_images=1)) as events:
            async for preview_of_it in events:
                shown.append(sha256(preview_of_it.image.data))  # noqa: PERF401 (it ends with an error)

    async with answered(body, "text/event-stream") as client:
        with pytest.raises(errors.OutcomeUnknownError) as caught:
            await look(client)

    assert [sha256(PICTURE)] * 2 == shown
    assert other in caught.value.raw
    assert len(caught.value.raw) < len(other) + len(preview)


async def test_previews_that_nobody_takes_are_kept():
    """A stream that ends after its previews is paid for, so they are kept."""
    body = event({"type": "image_generation.partial_image", "b64_json": TEXT})
    async with answered(body, "text/event-stream") as client:
        with pytest.raises(errors.OutcomeUnknownError) as caught:
            await client.send(REQUEST, via_stream=True)

    assert sha256(body) == sha256(caught.value.raw)


class TestErrorsBesideData:
    """An error has to say something, and what is there beside it counts as there."""

    @pytest.mark.parametrize(
        "error",
        [
            {"message": "", "type": "", "code": None},
            {"message": "", "code": 0},
            {},
            "",
            None,
            False,
            [],
            {"message": " "},
        ],
        ids=str,
    )
    async def test_an_error_that_says_nothing_is_none(self, error):
        """An error object with zero values, as servers in Go write it, is not an error."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            async with answered(document(data=[{"b64_json": TEXT}], error=error)) as client:
                result = await client.send(REQUEST)

        assert PICTURE == result.image.data
        assert "error" not in result.extra

    async def test_an_error_beside_an_image_is_told(self):
        """An error beside an image becomes a warning, and the image is returned."""
        error = {"message": "Upstream was slow.", "code": "rate_limit_exceeded"}
        async with answered(document(data=[{"b64_json": TEXT}], error=error)) as client:
            with pytest.warns(errors.ImagesWarning, match=r"holds an error beside its images: Upstream was slow\.$"):
                result = await client.send(REQUEST)

        assert PICTURE == result.image.data
        assert error == result.extra["error"]

    @pytest.mark.parametrize("code", [None, "rate_limit_exceeded"])
    async def test_an_address_beside_an_error_is_paid_for(self, code):
        """A URL beside an error is downloaded, and if that fails it is on the error."""
        body = document(data=[{"url": "https://127.0.0.2/a.png"}], error={"message": "", "type": "", "code": code})
        async with answered(body) as client:
            with pytest.raises(errors.DownloadRefusedError) as caught:
                await client.send(REQUEST)

        assert ["https://127.0.0.2/a.png"] == [image.url for image in caught.value.unfetched]

    @pytest.mark.parametrize("name", [TYPE, "error", "image.odd"])
    async def test_an_image_of_an_event_with_an_error_is_there(self, name):
        """The image of an event with an error is in the result or whole on the error."""
        body = event({"type": name, "b64_json": TEXT, "error": {"message": "odd", "code": "x"}})
        async with answered(body, "text/event-stream") as client:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    images = (await client.send(REQUEST, via_stream=True)).images
            except errors.ImagesError as error:
                images = error.images

        assert [PICTURE] == [image.data for image in images]


class TestCaps:
    """One answer may not name any number of images."""

    async def test_addresses_past_the_cap_are_not_fetched(self, monkeypatch, sink):
        """URLs past the cap are not downloaded, and all of them are kept as text."""
        fetched = []

        async def run(self):
            fetched.append(self.url)
            writer = self.open_writer()
            await writer.write(PICTURE)
            return await writer.keep(await writer.finish())

        monkeypatch.setattr("burncloud_images.calls.download.Download.run", run)
        body = document(data=[{"url": f"https://x.example/{number}"} for number in range(1000)])
        async with answered(body) as client:
            with pytest.warns(errors.ImagesWarning, match="more images than are taken; 100 of"):
                result = await client.send(REQUEST, into=sink)

        assert 100 == len(result.images) == len(fetched)
        assert body == result.kept.read()

    async def test_images_past_the_cap_are_kept_as_text(self):
        """The cap is four times the images that were asked for and at least 100; the rest are kept as text."""
        small = png()
        text = base64.b64encode(small).decode()
        body = document(data=[{"b64_json": text}] * 130, size="16x16")
        async with answered(body) as client:
            with pytest.warns(errors.ImagesWarning, match="more images than are taken; 128 of"):
                result = await client.send(GenerationRequest("otter", model="m", n=32))

        assert 128 == len(result.images)
        assert 2 == result.kept.read().count(text.encode())
        assert "16x16" == result.size

    async def test_an_event_with_an_answer_has_the_same_cap(self):
        """The cap also holds for images in an event with a whole answer."""
        text = base64.b64encode(png()).decode()
        body = b"data: " + document(data=[{"b64_json": text}] * 130) + b"\n\n"
        async with answered(body, "text/event-stream") as client:
            with pytest.warns(errors.ImagesWarning, match="more images than are taken; 100 of"):
                result = await client.send(REQUEST)

        assert 100 == len(result.images)


OTHER_BODIES = {
    "avif": b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf" + bytes(range(256)) * 9,
    "bmp": b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + bytes(900),
    "tiff": b"II*\0\x08\0\0\0" + bytes(900),
    "psd": b"8BPS\0\1" + bytes(900),
    "svg": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'></svg>",
    "gif": b"GIF89a\1\0\1\0\0\0\0\x2c" + bytes(9) + b"\2\1a\0\x3b",
}


@pytest.mark.parametrize("extension", OTHER_BODIES)
async def test_an_answer_that_is_an_image_is_that_image(extension, tmp_path):
    """A body that begins as an image is one, and is whole if its transfer is."""
    body = OTHER_BODIES[extension]
    async with answered(body) as client:
        result = await client.send(REQUEST, into=Directory(tmp_path / "out"))

    assert body == result.image.path.read_bytes()
    assert f".{extension}" == result.image.path.suffix


async def test_an_answer_that_is_a_part_of_an_image_is_kept():
    """An image as an answer that breaks off is damaged, and its bytes are on the error."""
    async with answered(PICTURE[:-20]) as client:
        with pytest.raises(errors.ProtocolError, match="image/png has no end") as caught:
            await client.send(REQUEST)

    assert [PICTURE[:-20]] == [part.data for part in caught.value.damaged]
    assert errors.Billing.YES == caught.value.billed
