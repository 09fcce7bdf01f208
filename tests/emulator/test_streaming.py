"""Event streams: what the API sends, what goes wrong in them, and what the ledger says of the money."""

import asyncio
import base64
import io
import json
import time

import aiohttp
import attrs
import pytest
from PIL import Image, ImageChops, ImageStat

from burncloud_images.emulator import Emulator, Fault, UnfiredFaultWarning
from burncloud_images.emulator.faults import IN_STREAM
from burncloud_images.errors import Phase

SMALL = {"model": "gpt-image-2", "size": "1024x640", "stream": True}
OVERLOADED = {"message": "Too much is going on.", "type": "server_error", "param": None, "code": "server_is_overloaded"}


@attrs.frozen
class Stream:
    """All that came, taken apart by hand as the HTML standard says (section 9.2.6)."""

    body: bytes
    status: int = 200
    headers: object = None
    error: Exception | None = None

    @property
    def lines(self):
        return self.body.decode().split("\n")

    @property
    def messages(self):
        """Name and data of each event that came whole."""
        found, name, data = [], None, []
        for line in self.lines[:-1]:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                found += [(name, "\n".join(data))] if data else []
                name, data = None, []
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
        return found

    @property
    def events(self):
        return [json.loads(data) for _, data in self.messages if data != "[DONE]"]

    @property
    def kinds(self):
        """The last word of each event's type."""
        return [event.get("type", "-").rpartition(".")[2] for event in self.events]

    @property
    def comments(self):
        return [line for line in self.lines if line.startswith(":")]

    @property
    def done(self):
        return bool(self.messages) and self.messages[-1][1] == "[DONE]"


async def receive(response):
    body, error = bytearray(), None
    try:
        async for piece in response.content.iter_any():
            body += piece
    except aiohttp.ClientError as caught:
        error = caught
    return Stream(bytes(body), response.status, response.headers, error)


async def ask(emulator, headers=(), **fields):
    """Ask for a stream of a generation, and read all of it."""
    fields = {"prompt": "a sea otter", **SMALL, **fields}
    headers = {"Authorization": f"Bearer {emulator.api_key}", **dict(headers)}
    url = f"{emulator.base_url}/images/generations"
    async with aiohttp.ClientSession() as session, session.post(url, json=fields, headers=headers) as response:
        return await receive(response)


async def stream(*faults, **fields):
    """Ask an emulator with *faults* once; return the stream and the entry in the ledger."""
    async with Emulator(faults=faults) as emulator:
        received = await ask(emulator, **fields)
        (entry,) = emulator.ledger.requests
    assert entry.fault == (faults[0] if faults else None)
    return received, entry


def opened(event):
    return Image.open(io.BytesIO(base64.b64decode(event["b64_json"])))


def on_white(picture):
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA")).convert("RGB")


# --- what the API sends ----------------------------------------------------------------------------------------------


async def test_without_partials_one_event_comes():
    """A stream without early states is one named event with the whole image and its usage."""
    received, entry = await stream()
    ((name, _),) = received.messages
    (event,) = received.events
    assert name == event["type"] == "image_generation.completed"
    assert received.headers["Content-Type"].split(";")[0] == "text/event-stream"
    assert received.headers["Transfer-Encoding"] == "chunked"
    assert received.headers["x-request-id"] == entry.request_id
    assert opened(event).size == (1024, 640)
    assert set(event) == {"type", "b64_json", "created_at", "size", "quality", "background", "output_format", "usage"}
    assert not received.done
    assert (entry.billed, entry.images, entry.status, entry.phase) == (True, 1, 200, Phase.COMPLETE)


@pytest.mark.parametrize("partials", [0, 1, 2, 3])
async def test_as_many_partials_come_as_were_asked_for(partials):
    """Early states are numbered from 0, and each costs 100 tokens."""
    received, entry = await stream(partial_images=partials)
    assert received.kinds == ["partial_image"] * partials + ["completed"]
    assert [event["partial_image_index"] for event in received.events[:-1]] == list(range(partials))
    usage = received.events[-1]["usage"]
    (plain,) = (await stream())[0].events
    assert usage["output_tokens"] == plain["usage"]["output_tokens"] + 100 * partials
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert entry.images == 1


async def test_partials_say_what_was_asked_for_and_the_last_event_what_was_made():
    """Early states repeat `auto`, and the completed event has the resolved values."""
    received, _ = await stream(size="auto", partial_images=1, quality="auto", safety_identifier="5994")
    partial, completed = received.events
    assert [partial[name] for name in ("size", "quality", "background", "output_format")] == [*["auto"] * 3, "png"]
    decided = [completed[name] for name in ("size", "quality", "background", "output_format")]
    assert decided == ["1024x1024", "medium", "opaque", "png"]
    assert (completed["safety_identifier"], partial.get("safety_identifier")) == ("5994", None)
    assert partial["created_at"] == completed["created_at"] == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize(
    "fields",
    [
        {"output_format": "png"},
        {"output_format": "jpeg", "output_compression": 70},
        {"output_format": "webp"},
        {"output_format": "webp", "background": "transparent"},
        {"size": "480x1408"},
    ],
)
async def test_partials_are_pictures_that_come_closer_to_the_last(fields):
    """Early states have the final size and format, and each is nearer to the final image."""
    received, _ = await stream(**{"partial_images": 3, **fields})
    pictures = [opened(event) for event in received.events]
    assert len({(picture.size, picture.format, picture.mode) for picture in pictures}) == 1
    seen = [on_white(picture) for picture in pictures]
    distances = [sum(ImageStat.Stat(ImageChops.difference(picture, seen[-1])).mean) for picture in seen]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > distances[-2] > distances[-1] == 0


async def test_the_same_stream_comes_again_and_shows_the_plain_answers_image(caller):
    """Another server sends the same stream, with the same images as a plain answer."""
    bodies = []
    for _ in range(2):
        async with Emulator(clock=lambda: 1_800_000_000) as emulator:
            received = await ask(emulator, partial_images=2, n=2)
            reply = await caller.generate(emulator, **{**SMALL, "stream": False, "n": 2})
        bodies.append(received.body)
    assert bodies[0] == bodies[1]
    finished = [event["b64_json"] for event in received.events if "usage" in event]
    assert finished == [image["b64_json"] for image in reply.json["data"]]


async def test_several_images_are_several_completed_events():
    """Several images come one after the other, each with its own completed event."""
    received, entry = await stream(n=3, partial_images=1)
    assert received.kinds == ["partial_image", "completed"] * 3
    assert len({event["b64_json"] for event in received.events}) == 6
    assert entry.images == 3


async def test_an_edit_streams_from_a_form(emulator, caller, photo):
    """A form with `stream=true` and `partial_images=2` gets events named after edits."""
    fields = {**SMALL, "stream": "true", "partial_images": 2}
    reply = await caller.edit(emulator, ("image", "a.png", "image/png", photo), **fields)
    received = Stream(reply.body)
    assert [name for name, _ in received.messages] == ["image_edit.partial_image"] * 2 + ["image_edit.completed"]
    assert received.events[-1]["usage"]["input_tokens_details"]["image_tokens"] > 0
    assert emulator.ledger.requests[0].billed


async def test_an_edit_by_reference_streams(emulator, caller, photo):
    """An edit by reference can stream."""
    url = "data:image/png;base64," + base64.b64encode(photo).decode()
    fields = {"images": [{"image_url": url}], "prompt": "a hat", **SMALL}
    reply = await caller.call(emulator, "POST", "/v1/images/edits", json=fields)
    assert [event["type"] for event in Stream(reply.body).events] == ["image_edit.completed"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "gpt-image-2.6-flare", "output_format": "gif"}, "invalid_value"),
        ({"model": "gpt-image-2.6-flare", "output_format": "svg"}, "invalid_value"),
        ({"model": "dall-e-2", "size": "256x256"}, "unsupported_parameter"),
        ({"model": "dall-e-3", "size": "1024x1024"}, "unsupported_parameter"),
        ({"stream": "true"}, "invalid_type"),
        ({"stream": 1}, "invalid_type"),
    ],
)
async def test_what_cannot_stream_is_refused(emulator, caller, fields, code):
    """A stream that is not possible is refused, and nothing is billed."""
    reply = await caller.generate(emulator, **{**SMALL, **fields})
    assert (reply.status, reply.error["param"], reply.error["code"]) == (400, "stream", code)
    assert emulator.ledger.billed_requests == 0


@pytest.mark.parametrize("model", ["dall-e-2", "gpt-image-2.6-flare"])
async def test_a_stream_that_is_declined_is_a_plain_answer(emulator, caller, model):
    """With `stream: false` the answer is plain JSON, and `partial_images` costs nothing."""
    fields = {"partial_images": 3} if model != "dall-e-2" else {}
    reply = await caller.generate(emulator, model=model, stream=False, **fields)
    plain = await caller.generate(emulator, model=model)
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json.get("usage") == plain.json.get("usage")


async def test_variations_do_not_know_the_field(emulator, caller, photo):
    """The endpoint of variations ignores `stream`."""
    files = [("image", "a.png", "image/png", photo)]
    reply = await caller.upload(emulator, "variations", files, size="256x256", stream="true")
    assert (reply.status, len(reply.json["data"])) == (200, 1)


async def test_the_connection_is_used_again(emulator, caller):
    """The connection is reused after a stream."""
    for _ in range(2):
        await caller.generate(emulator, **SMALL)
    assert len(caller.session.connector._conns) == 1


@pytest.mark.parametrize("operation", ["generations", "edits"])
async def test_events_keep_to_the_document(emulator, caller, contract, photo, operation):
    """Each event is valid by its schema in the API's document and has no other key."""
    import jsonschema

    schemas = contract["components"]["schemas"]
    fields = {**SMALL, "size": "1024x1024", "partial_images": 1, "stream": "true"}
    if operation == "edits":
        body = (await caller.edit(emulator, ("image", "a.png", "image/png", photo), **fields)).body
    else:
        body = (await caller.generate(emulator, **{**fields, "stream": True})).body
    subject = {"generations": "ImageGen", "edits": "ImageEdit"}[operation]
    for event, kind in zip(Stream(body).events, ("PartialImageEvent", "CompletedEvent"), strict=True):
        jsonschema.Draft202012Validator({**contract, "$ref": f"#/components/schemas/{subject}{kind}"}).validate(event)
        assert set(event) == set(schemas[f"{subject}{kind}"]["required"])


# --- cuts: whatever has begun was paid for ---------------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["close", "reset"])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_a_stream_can_be_cut_after_so_many_events(cut, after):
    """Events before a cut arrive whole, and the client sees that the stream was cut."""
    received, entry = await stream(Fault(cut=cut, place="answer", after=after), partial_images=2)
    assert received.error is not None
    assert (entry.billed, entry.images, entry.status, entry.phase) == (True, 1, 200, Phase.BODY_IN)
    if cut == "close":  # this client drops what it has not handed out yet when it sees a reset
        assert received.kinds == ["partial_image", "partial_image", "completed"][:after]


async def read_raw(emulator, **fields):
    """Return all that came over a socket, and what ended it."""
    body = json.dumps({"prompt": "a sea otter", **SMALL, **fields}).encode()
    head = f"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {emulator.api_key}\r\n"
    head += f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
    writer.write(head.encode() + body)
    received = bytearray()
    try:
        async with asyncio.timeout(30):
            while piece := await reader.read(65536):
                received += piece
    except OSError as error:
        return bytes(received), error
    finally:
        writer.close()
    return bytes(received), None


@pytest.mark.usefixtures("landscapes")  # which are large
@pytest.mark.parametrize("cut", ["close", pytest.param("reset", marks=pytest.mark.slow)])
async def test_what_was_sent_before_a_cut_arrives(cut):
    """Everything sent before a cut arrives, even megabytes before a reset."""
    fault = Fault(cut=cut, place="answer", after=3)
    async with Emulator(faults=[fault]) as emulator:
        received, error = await read_raw(emulator, size="2048x2048", n=3)
    assert isinstance(error, ConnectionResetError) == (cut == "reset")
    assert received.count(b"event: image_generation.completed\n") == 3
    assert received.endswith(b"\n\n\r\n"), "the last chunk is whole, and no end follows"
    assert len(received) > 1_000_000


@pytest.mark.parametrize("byte", [1, 20, 0.5, -10])
async def test_a_stream_can_be_cut_at_a_byte(byte):
    """`byte` counts the bytes of the event stream, without its chunks."""
    async with Emulator(clock=lambda: 1_800_000_000) as emulator:
        whole = await ask(emulator, partial_images=1)
    async with Emulator(
        clock=lambda: 1_800_000_000, faults=[Fault(cut="close", place="answer", byte=byte)]
    ) as emulator:
        received = await ask(emulator, partial_images=1)
    length = len(whole.body)
    wanted = {1: 1, 20: 20, 0.5: length // 2, -10: length - 10}[byte]
    assert received.body == whole.body[:wanted]
    assert received.error is not None
    assert emulator.ledger.billed_images == 1


async def test_a_stream_without_chunks_can_be_cut_unnoticed():
    """Without chunks, only the missing event shows that a stream was cut."""
    received, entry = await stream(Fault(cut="close", place="answer", after=1, framing="eof"), partial_images=1)
    assert (received.error, received.kinds) == (None, ["partial_image"])
    assert "Transfer-Encoding" not in received.headers
    assert (entry.billed, entry.phase) == (True, Phase.BODY_IN)


async def test_a_stream_may_end_with_the_connection():
    """A whole stream can be sent without chunks."""
    received, entry = await stream(Fault(framing="eof"), partial_images=1)
    assert (received.error, received.kinds, entry.phase) == (None, ["partial_image", "completed"], Phase.COMPLETE)


async def test_a_stream_can_stall():
    """A stalled stream sends nothing until the client leaves or the server stops."""
    async with Emulator(faults=[Fault(cut="stall", place="answer", after=1)]) as emulator:
        reading = asyncio.ensure_future(read_raw(emulator, partial_images=1))
        await asyncio.wait([reading], timeout=0.3)
        assert not reading.done()
    received, _ = await reading
    assert received.count(b"event: ") == 1
    assert emulator.ledger.billed_images == 1


@pytest.mark.parametrize("framing", ["length", "eof"])
async def test_a_client_that_leaves_has_been_billed(framing, caplog):
    """A client that leaves during a stream has been billed, and the server logs nothing."""
    async with Emulator(faults=[Fault(pace=0.02, pings=5, framing=framing)]) as emulator:
        async with aiohttp.ClientSession() as session:
            headers = {"Authorization": f"Bearer {emulator.api_key}"}
            fields = {"prompt": "otter", **SMALL}
            url = f"{emulator.base_url}/images/generations"
            async with session.post(url, json=fields, headers=headers) as response:
                assert await response.content.readany() == b": PING\n\n"
        async with asyncio.timeout(5):
            while (entry := emulator.ledger.requests[0]).phase is not Phase.BODY_IN:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.005)
    assert (entry.billed, entry.status) == (True, 200)
    assert [] == [record.getMessage() for record in caplog.records]


async def test_a_stopping_server_ends_a_stream(caplog):
    """A server that stops ends a stream in the middle and logs nothing."""
    async with Emulator(faults=[Fault(pace=60.0)]) as emulator:
        reading = asyncio.ensure_future(read_raw(emulator))
        async with asyncio.timeout(5):
            while not emulator.ledger.billed_images:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.005)
    received, _ = await reading
    assert b"completed" not in received
    assert [] == [record.getMessage() for record in caplog.records]


async def test_a_stream_can_end_without_a_completed_event():
    """A stream can end without a completed event and without an error in HTTP."""
    received, entry = await stream(Fault(after=1), partial_images=2)
    assert (received.error, received.kinds) == (None, ["partial_image"])
    assert (entry.billed, entry.status, entry.phase) == (True, 200, Phase.COMPLETE)


async def test_a_stream_can_be_empty():
    """An empty stream has a good status, the right type and no events."""
    received, entry = await stream(Fault(after=0))
    assert (received.body, received.error, entry.billed) == (b"", None, True)
    assert received.headers["Content-Type"].startswith("text/event-stream")


async def test_fewer_images_than_asked_for_may_come():
    """A stream can show fewer images than were made and billed."""
    received, entry = await stream(Fault(after=1), n=2)
    assert (received.kinds, entry.images) == (["completed"], 2)


# --- errors after a good status --------------------------------------------------------------------------------------


@pytest.mark.parametrize("billed", [False, True])
@pytest.mark.parametrize("error", [{"type": "error", "error": OVERLOADED}, {"error": OVERLOADED}])
async def test_an_error_can_be_all_that_comes(error, billed):
    """An error can be the only event, billed or not."""
    received, entry = await stream(Fault(error=error, billed=billed), partial_images=1)
    assert received.messages == [("error", json.dumps(error))]
    assert received.headers["Content-Type"].startswith("text/event-stream")
    assert (entry.status, entry.billed, entry.images) == (200, billed, int(billed))


@pytest.mark.parametrize("after", [1, 2])
async def test_an_error_can_follow_events(after):
    """An error can follow events, and then the images have been billed."""
    error = {"type": "upstream_error", "error": OVERLOADED}
    received, entry = await stream(Fault(error=error, after=after), partial_images=1)
    assert received.kinds == [*["partial_image", "completed"][:after], "upstream_error"]
    assert (received.error, entry.billed) == (None, True)


# --- what is unusual, but well-formed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault(done=True), lambda received: received.done),
        (Fault(pings=2), lambda received: received.comments == [": PING"] * 8),
        (Fault(drip=7), lambda _: True),
        (Fault(pace=0.001), lambda _: True),
        (Fault(done=True, pings=1, drip=999), lambda received: received.done and len(received.comments) == 4),
    ],
    ids=lambda value: json.dumps(value.to_json()) if isinstance(value, Fault) else "",
)
async def test_an_odd_stream_says_the_same(fault, seen):
    """Oddities change how a stream is written, and not its images."""
    usual, _ = await stream(partial_images=2)
    received, entry = await stream(fault, partial_images=2)
    assert not seen(usual) or not IN_STREAM.isdisjoint(set(fault.to_json()) & {"drip", "pace"})
    assert seen(received)
    images = [event["b64_json"] for event in received.events]
    assert images == [event["b64_json"] for event in usual.events]
    assert (received.error, entry.billed, entry.phase) == (None, True, Phase.COMPLETE)


async def test_many_pings_come_between_events():
    """Thousands of comments can come between events."""
    received, _ = await stream(Fault(pings=5_000))
    assert len(received.comments) == 10_000
    assert received.kinds == ["completed"]


async def test_pings_and_events_are_paced():
    """`pace` delays each comment and each event."""
    begun = time.monotonic()
    received, _ = await stream(Fault(pings=3, pace=0.01), partial_images=1)
    assert time.monotonic() - begun >= 11 * 0.01
    assert (len(received.comments), received.kinds) == (9, ["partial_image", "completed"])


@pytest.mark.usefixtures("landscapes")  # which are large
async def test_a_stream_drips():
    """`drip` sends each portion as its own chunk."""
    async with Emulator(faults=[Fault(drip=100)]) as emulator:
        received, _ = await read_raw(emulator)
    chunks = received.partition(b"\r\n\r\n")[2].split(b"\r\n")[0::2]
    assert set(chunks[:-3]) == {b"64"}
    assert len(chunks) > 50


async def test_early_events_come_before_late_ones():
    """A client gets the first event while the second is held back."""
    async with Emulator(faults=[Fault(pace=0.05)]) as emulator, aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {emulator.api_key}"}
        fields = {"prompt": "otter", "partial_images": 1, **SMALL}
        async with session.post(f"{emulator.base_url}/images/generations", json=fields, headers=headers) as response:
            start_stream = bytearray()
            while not start_stream.endswith(b"\n\n"):
                start_stream += await response.content.readany()
            assert Stream(bytes(start_stream)).kinds == ["partial_image"]
            assert Stream(await response.content.read()).kinds == ["completed"]


async def test_fewer_partials_may_come_than_were_asked_for():
    """`partials` limits the early states and the tokens counted for them."""
    received, _ = await stream(Fault(partials=1), partial_images=3)
    usual, _ = await stream(partial_images=1)
    assert received.kinds == ["partial_image", "completed"]
    assert received.events[-1]["usage"] == usual.events[-1]["usage"]


@pytest.mark.parametrize("where", ["b64_json", "url"])
async def test_a_gateway_makes_events_up(where, caller, photo):
    """`fabricated` sends generation events even for an edit, and its URLs lead to the images."""
    async with Emulator(faults=[Fault(fabricated=where, pings=1, done=True)]) as emulator:
        fields = {**SMALL, "stream": "true", "partial_images": 2, "n": 2}
        reply = await caller.edit(emulator, ("image", "a.png", "image/png", photo), **fields)
        received = Stream(reply.body)
        urls = [event["url"] for event in received.events if where == "url"]
        found = [(await caller.call(emulator, "GET", url)).body for url in urls]
    assert [name for name, _ in received.messages[:-1]] == ["image_generation.completed"] * 2
    assert {tuple(event) for event in received.events} == {("type", where, "created_at", "revised_prompt", "usage")}
    assert received.done
    assert [Image.open(io.BytesIO(content)).size for content in found] == [(1024, 640)] * len(urls)
    assert emulator.ledger.billed_images == 2


async def test_a_gateway_may_answer_a_stream_with_json():
    """`plain` answers as if `stream` had not been sent."""
    received, entry = await stream(Fault(plain=True), partial_images=2)
    assert received.headers["Content-Type"] == "application/json"
    assert len(json.loads(received.body)["data"]) == 1
    assert (entry.billed, entry.images, entry.phase) == (True, 1, Phase.COMPLETE)


@pytest.mark.parametrize(
    ("fault", "status", "billed"),
    [
        (Fault(status=500, body={"error": {"code": "bad_response_body"}}, billed=True), 500, True),
        (Fault(status=429), 429, False),
        (Fault(body="<html>", status=502), 502, False),
    ],
)
async def test_other_faults_strike_a_stream_as_any_request(fault, status, billed):
    """A status or a body replaces a stream as it replaces any answer."""
    received, entry = await stream(fault)
    assert (received.status, entry.billed) == (status, billed)
    assert "event-stream" not in received.headers["Content-Type"]


async def test_headers_and_a_delay_go_with_a_stream():
    """Headers and a delay apply to streams too."""
    received, _ = await stream(Fault(headers={"X-Accel-Buffering": "no"}, delay=0.01))
    assert (received.headers["X-Accel-Buffering"], received.kinds) == ("no", ["completed"])


# --- faults that find nothing to strike ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "fields"),
    [
        (Fault(done=True), {"stream": False}),
        (Fault(plain=True), {"stream": False}),
        (Fault(error={"error": OVERLOADED}), {"stream": False}),
        (Fault(cut="close", place="answer", after=4), {"partial_images": 2}),
        (Fault(after=3), {"partial_images": 2}),
        (Fault(partials=2), {"partial_images": 2}),
        (Fault(done=True), {"n": 99}),
    ],
    ids=str,
)
async def test_a_fault_that_has_nothing_to_strike_waits(fault, fields):
    """A fault that cannot strike a request leaves the true answer and is reported at the end."""
    async with Emulator() as emulator:
        usual = await ask(emulator, **fields)
    emulator = Emulator(faults=[fault])
    await emulator.start()
    received = await ask(emulator, **fields)
    with pytest.warns(UnfiredFaultWarning):
        await emulator.__aexit__(None, None, None)
    (entry,) = emulator.ledger.requests
    assert emulator.unfired == (fault,)
    assert (received.status, len(received.body), received.error) == (usual.status, len(usual.body), None)
    assert entry.fault is None


async def test_a_waiting_fault_strikes_the_next_stream():
    """A fault that needs a stream strikes the next stream, once."""
    async with Emulator(faults=[Fault(done=True)]) as emulator:
        answers = [await ask(emulator, stream=streams) for streams in (False, True, True)]
    assert [received.body.startswith(b"event") and received.done for received in answers] == [False, True, False]


async def test_a_request_brings_its_streams_fault():
    """A request's header can bring a fault for its stream."""
    fault = Fault(error={"error": OVERLOADED}, after=1, pings=1)
    async with Emulator() as emulator:
        headers = {"X-Emulator-Fault": json.dumps(fault.to_json())}
        received = await ask(emulator, headers, partial_images=1)
        (entry,) = emulator.ledger.requests
    assert received.kinds == ["partial_image", "-"]
    assert entry.fault == fault


@pytest.mark.parametrize(
    "options",
    [
        {"after": -1},
        {"after": 1.5},
        {"drip": 0},
        {"pings": -1},
        {"pace": -0.1},
        {"partials": -1},
        {"fabricated": "png"},
        {"after": 1, "cut": "close"},
        {"after": 1, "cut": "close", "place": "answer", "byte": 10},
        {"done": True, "cut": "close", "place": "upload"},
        {"done": True, "status": 500},
        {"pings": 1, "body": "x"},
        {"error": {"error": {}}, "cut": "close", "place": "answer"},
        {"plain": True, "pings": 1},
        {"fabricated": "url", "partials": 1},
        {"done": True, "operation": "variations"},
        {"done": True, "operation": "downloads"},
    ],
)
def test_a_fault_in_a_stream_that_makes_no_sense_cannot_be_written(options):
    """A contradictory fault for streams cannot be created."""
    with pytest.raises((ValueError, TypeError), match=r"."):
        Fault(**options)


def test_the_attributes_that_need_a_stream_stand_together():
    """The attributes that need a stream stand from `after` to `plain`, as the documentation says."""
    names = [field.name for field in attrs.fields(Fault)]
    assert set(names[names.index("after") : names.index("plain") + 1]) == IN_STREAM
