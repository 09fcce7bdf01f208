"""Everything that can go wrong on purpose: what the peer sees, and what the ledger says of the money."""

import asyncio
import base64
import json
import time

import aiohttp
import pytest
from statuses import ROWS, to_parameters

from burncloud_images.emulator import Emulator, Fault, UnfiredFaultWarning
from burncloud_images.emulator.faults import MNEMONICS
from burncloud_images.errors import Phase

LARGE = 8 * 1024 * 1024


def last(emulator):
    return emulator.ledger.requests[-1]


def outcome(emulator):
    entry = last(emulator)
    return entry.complete, entry.billed, entry.phase


async def until(condition):
    """Wait for what the server does by itself."""
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it never came")


async def generate_raw(emulator, **fields):
    """Return all bytes of the answer, and the error that ended the connection."""
    body = json.dumps({"prompt": "otter", "size": "256x256", **fields}).encode()
    return await exchange_raw(emulator, "/v1/images/generations", body)


async def exchange_raw(emulator, path, body, length=None):
    reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-emulator\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {length or len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    received, error = bytearray(), None
    try:
        async with asyncio.timeout(5):
            while piece := await reader.read(65536):
                received += piece
    except OSError as caught:
        error = caught
    finally:
        writer.close()
    return bytes(received), error


async def test_scripted_faults_fire_in_order_once_each(caller):
    """Scripted faults strike one request each, in order."""
    faults = [Fault(status=429, retry_after=0.2), Fault(status=503, headers={"X-Should-Retry": "false"})]
    async with Emulator(faults=faults) as emulator:
        first, second, third = [await caller.generate(emulator) for _ in range(3)]
        assert emulator.unfired == ()
    assert (first.status, first.headers["Retry-After"], first.error["code"]) == (429, "0.2", "rate_limit_exceeded")
    assert (second.status, second.headers["x-should-retry"]) == (503, "false")
    assert third.status == 200
    assert [entry.billed for entry in emulator.ledger.requests] == [False, False, True]
    assert emulator.ledger.requests[0].fault == faults[0]


async def test_a_fault_waits_for_its_endpoint(caller):
    """A fault for one endpoint ignores requests to others."""
    faults = [Fault(status=500, operation="edits"), Fault(status=502, times=2)]
    async with Emulator(faults=faults) as emulator:
        statuses = [(await caller.generate(emulator)).status for _ in range(3)]
        assert emulator.unfired == (faults[0],)
        reply = await caller.upload(emulator, "edits", [])
    assert (statuses, reply.status) == ([502, 502, 200], 500)


async def test_a_fault_that_never_struck_is_told():
    """Leaving the block warns of a fault that never struck."""
    with pytest.warns(UnfiredFaultWarning, match=r"never struck: \{'status': 429\}"):
        async with Emulator(faults=[Fault(status=429)]):
            pass


async def test_an_error_in_the_block_is_not_hidden_by_the_warning():
    """An error in the block is raised instead of the warning."""
    with pytest.raises(ZeroDivisionError):
        async with Emulator(faults=[Fault(status=429)]):
            _ = 1 / 0


async def test_a_request_brings_its_own_fault(emulator, caller):
    """The fault in a request's header strikes that request alone, before any scripted one."""
    headers = {"X-Emulator-Fault": '{"status": 418, "body": {"error": "tea"}}'}
    reply = await caller.generate(emulator, headers)
    assert (reply.status, reply.json) == (418, {"error": "tea"})
    assert (await caller.generate(emulator)).status == 200
    ledger = (await caller.call(emulator, "GET", "/emulator/ledger")).json
    assert ledger["requests"][0]["fault"] == {"status": 418, "body": {"error": "tea"}}


@pytest.mark.parametrize(
    "text", ["{", '{"colour": 1}', "[1]", '{"status": 7}', '{"cut": "bend"}', '{"byte": "x"}', '{"headers": 1}']
)
async def test_a_header_that_asks_for_no_fault_is_refused(emulator, caller, text):
    """A header with an invalid fault is refused."""
    reply = await caller.generate(emulator, {"X-Emulator-Fault": text})
    assert (reply.status, reply.error["code"]) == (400, "invalid_fault")


@pytest.mark.parametrize(
    ("fault", "content_type", "body"),
    [
        (Fault(body="<html>", status=502), "text/html", b"<html>"),
        (Fault(body="", status=429), "application/json", b""),
        (Fault(body=b"\xff\xfe", billed=True), "application/octet-stream", b"\xff\xfe"),
        (Fault(body={"data": []}, billed=True), "application/json", b'{"data": []}'),
        (Fault(body="x", headers={"content-type": "text/plain"}), "text/plain", b"x"),
        (Fault(status=204), "application/json", b""),
    ],
)
async def test_any_body_can_be_answered(caller, fault, content_type, body):
    """A fault can answer with text, bytes or JSON, before or after the work."""
    async with Emulator(faults=[fault]) as emulator:
        reply = await caller.generate(emulator)
    assert (reply.status, reply.body) == (fault.status or 200, body)
    assert reply.status == 204 or reply.headers["Content-Type"] == content_type
    assert emulator.ledger.billed_requests == fault.billed


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    "row",
    to_parameters(
        [row for row in ROWS if row.is_playable and "location" not in row.headers],
        alike=lambda row: (row.status, type(row.body), *row.headers),
        name=lambda row: row.id,
    ),
)
async def test_an_answer_arrives_as_it_is_written(caller, row):
    """Status, headers and body reach the peer, and the ledger bills what the fault says."""
    fault = row.fault(billed=row.billings[0])
    async with Emulator(faults=[fault]) as emulator:
        reply = await caller.generate(emulator)
        assert row.billings[0] == emulator.ledger.billed_requests
    assert row.status == reply.status
    assert fault.body is None or row.data == reply.body
    assert row.headers == {name: reply.headers[name] for name in row.headers}


@pytest.mark.parametrize("status", [row.status for row in ROWS if row.body is None])
async def test_each_status_has_an_error_in_the_envelope(caller, status):
    """Every error status has an envelope with all four members."""
    async with Emulator(faults=[Fault(status=status)]) as emulator:
        reply = await caller.generate(emulator)
    assert reply.status == status
    assert set(reply.error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("billed", [False, True])
@pytest.mark.parametrize("cut", ["close", "reset"])
async def test_a_cut_after_the_body_answers_nothing(cut, billed):
    """A cut after the body sends no answer: `close` ends silently, `reset` with an error."""
    async with Emulator(faults=[Fault(cut=cut, billed=billed)]) as emulator:
        received, error = await generate_raw(emulator)
    assert received == b""
    assert isinstance(error, ConnectionResetError) == (cut == "reset")
    assert outcome(emulator) == (True, billed, Phase.FINAL_RELEASED)
    assert last(emulator).status is None


@pytest.mark.parametrize("cut", ["close", "reset"])
async def test_a_cut_before_the_body_leaves_it_unread(cut):
    """A request that is cut before its body is not billed."""
    async with Emulator(faults=[Fault(cut=cut, place="before-body")]) as emulator:
        received, _ = await exchange_raw(emulator, "/v1/images/edits", b"x", length=LARGE)
    assert received == b""
    assert outcome(emulator) == (False, False, Phase.HEADERS)


@pytest.mark.parametrize(("byte", "cut"), [(0.5, "reset"), (100_000, "close"), (-1, "reset")])
async def test_a_cut_in_the_upload_ends_it_there(byte, cut):
    """An upload can be cut at a share, at a byte, or before its last byte."""
    sent = LARGE - 1 if byte == -1 else LARGE
    async with Emulator(faults=[Fault(cut=cut, place="upload", byte=byte)]) as emulator:
        received, _ = await exchange_raw(emulator, "/v1/images/edits", bytes(sent), length=LARGE)
    assert received == b""
    assert outcome(emulator) == (False, False, Phase.BODY)


async def test_an_early_answer_does_not_wait_for_the_upload(caller):
    """An early answer is sent after the head, and then the connection ends."""
    fault = Fault(status=413, place="before-body", cut="close")
    async with Emulator(faults=[fault, Fault(status=401, place="upload", byte=70_000, cut="close")]) as emulator:
        received, _ = await exchange_raw(emulator, "/v1/images/edits", b"", length=LARGE)
        assert received.startswith(b"HTTP/1.1 413 ")
        assert b"Connection: close" in received
        assert outcome(emulator) == (False, False, Phase.COMPLETE)
        received, _ = await exchange_raw(emulator, "/v1/images/edits", bytes(80_000))
    assert received.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("framing", ["length", "chunked", "eof"])
@pytest.mark.parametrize("cut", ["close", "reset"])
async def test_an_answer_can_be_cut_in_its_body(framing, cut):
    """A cut in the answer's body sends its beginning, and the images are billed."""
    async with Emulator(faults=[Fault(cut=cut, place="answer", byte=1_000, framing=framing)]) as emulator:
        received, error = await generate_raw(emulator, response_format="b64_json")
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert (b"Content-Length:" in head) == (framing == "length")
    assert len(body.partition(b"\r\n")[2] if framing == "chunked" else body) == 1_000
    assert isinstance(error, ConnectionResetError) == (cut == "reset")
    assert outcome(emulator) == (True, True, Phase.BODY_IN)


@pytest.mark.parametrize("framing", ["length", "chunked", "eof"])
async def test_each_framing_carries_a_whole_answer(caller, framing):
    """Any client can read a whole answer in each framing."""
    async with Emulator(
        faults=[Fault(framing=framing, cut="close", billed=True, status=200, body={"a": 1})]
    ) as emulator:
        reply = await caller.generate(emulator)
    assert reply.json == {"a": 1}
    assert outcome(emulator) == (True, True, Phase.COMPLETE)


@pytest.mark.parametrize("framing", ["chunked", "eof"])
async def test_a_framing_alone_leaves_the_true_answer(caller, framing):
    """A fault with only a framing sends the true answer."""
    async with Emulator(faults=[Fault(framing=framing)]) as emulator:
        reply = await caller.generate(emulator)
    assert len(reply.json["data"]) == 1
    assert "Content-Length" not in reply.headers


async def test_an_answer_without_a_length_can_be_cut_unnoticed(caller):
    """A cut answer without a length looks like a good status with half a JSON text."""
    async with Emulator(faults=[Fault.parse("truncated-without-length")]) as emulator:
        reply = await caller.generate(emulator)
    assert reply.status == 200
    with pytest.raises(json.JSONDecodeError):
        _ = reply.json


async def test_bytes_can_be_sent_in_place_of_http(caller):
    """With raw bytes in place of HTTP, no status is recorded, but the images are billed."""
    async with Emulator(faults=[Fault.parse("garbage")]) as emulator:
        received, _ = await generate_raw(emulator)
    assert received == b"\x16\x03\x01\x02\x00"
    assert (last(emulator).status, last(emulator).billed) == (None, True)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut="stall", place="before-body"),
        Fault(cut="stall", place="upload", byte=0.5),
        Fault(cut="stall"),
        Fault(cut="stall", billed=True),
        Fault(cut="stall", place="answer", byte=10),
        Fault(delay=3600.0),
    ],
)
async def test_a_stalled_server_says_nothing_and_still_stops_at_once(caller, fault):
    """Leaving the block does not wait for a client on a stalled connection."""
    async with Emulator(faults=[fault]) as emulator:
        asking = asyncio.ensure_future(caller.generate(emulator))
        await until(lambda: emulator.ledger.requests and last(emulator).fault == fault)
        await asyncio.sleep(0.02)
        assert not asking.done()
        asking.cancel()
        begun = time.monotonic()
    assert time.monotonic() - begun < 3


async def test_a_request_can_ask_for_bytes(emulator, caller):
    """A request's header can ask for raw bytes, as the text that the ledger shows."""
    headers = {"X-Emulator-Fault": json.dumps(Fault(raw=b"\xffHTTP").to_json())}
    with pytest.raises(aiohttp.ClientResponseError):
        await caller.generate(emulator, headers)
    assert last(emulator).fault == Fault(raw=b"\xffHTTP")


async def test_a_stopping_server_is_quiet(caplog):
    """A server that stops while clients wait logs nothing."""
    waiting = []
    async with Emulator(faults=[Fault(cut="stall"), Fault(delay=60.0), Fault(cut="stall", place="answer")]) as emulator:
        for number in range(3):
            waiting.append(asyncio.ensure_future(generate_raw(emulator)))
            await until(lambda count=number: len(emulator.ledger.requests) > count and last(emulator).complete)
    await asyncio.gather(*waiting)
    assert [record.getMessage() for record in caplog.records] == []


async def test_the_ledger_has_the_fields_before_the_answer_is_sent():
    """The ledger has the whole request before the answer is sent."""
    async with Emulator(faults=[Fault(cut="stall", place="answer", byte=1)]) as emulator:
        asking = asyncio.create_task(generate_raw(emulator))
        await until(lambda: last(emulator).billed if emulator.ledger.requests else False)

        assert [("prompt", '"otter"'), ("size", '"256x256"')] == list(last(emulator).fields)
    await asking


async def test_a_stalled_connection_ends_when_the_server_stops():
    """A client that waits on a stalled connection is disconnected when the server stops."""
    async with Emulator(faults=[Fault(cut="stall")]) as emulator:
        waiting = asyncio.ensure_future(generate_raw(emulator))
        await until(lambda: emulator.ledger.requests and last(emulator).complete)
    assert (await waiting)[0] == b""


async def test_a_delay_comes_after_the_work(caller):
    """A client that gives up during a delay has been billed."""
    async with Emulator(faults=[Fault(delay=30.0)]) as emulator:
        asking = asyncio.ensure_future(caller.generate(emulator))
        await until(lambda: emulator.ledger.billed_images)
        assert not asking.done()
        asking.cancel()
    assert outcome(emulator)[:2] == (True, True)


async def test_a_short_delay_and_latency_only_wait(caller):
    """Delay and latency add up, and then the true answer comes."""
    begun = time.monotonic()
    async with Emulator(faults=[Fault(delay=0.02)], latency=0.02) as emulator:
        assert (await caller.generate(emulator)).status == 200
    assert time.monotonic() - begun >= 0.04


async def test_a_result_can_be_born_expired(caller):
    """A fault can make the result URLs of one answer expired from the start."""
    async with Emulator(faults=[Fault(expired=True)]) as emulator:
        urls = [(await caller.generate(emulator)).json["data"][0]["url"] for _ in range(2)]
        replies = [await caller.call(emulator, "GET", url) for url in urls]
    assert [reply.status for reply in replies] == [403, 200]
    assert b"AuthenticationFailed" in replies[0].body


async def test_downloads_and_models_have_faults_of_their_own(caller):
    """Downloads and the list of models have faults that name them."""
    faults = [
        Fault(operation="downloads", status=500, body="<oops>"),
        Fault(operation="downloads", headers={"Content-MD5": "AAAA"}),
        Fault(operation="downloads", cut="close", place="answer", byte=100),
        Fault(operation="downloads", cut="reset"),
        Fault(operation="models", status=429),
    ]
    async with Emulator(faults=faults) as emulator:
        url = (await caller.generate(emulator)).json["data"][0]["url"]
        assert (await caller.call(emulator, "GET", url)).status == 500
        assert (await caller.call(emulator, "GET", url)).headers["Content-MD5"] == "AAAA"
        with pytest.raises(aiohttp.ClientPayloadError):
            await caller.call(emulator, "GET", url)
        # The client asks again by itself when a GET is cut before the answer, so the next one is good.
        assert (await caller.call(emulator, "GET", url)).status == 200
        assert (await caller.call(emulator, "GET", "/v1/models")).status == 429
    assert [download.status for download in emulator.ledger.downloads][:4] == [500, 200, 200, None]
    assert emulator.ledger.downloads[0].authorization


async def test_a_refused_request_leaves_the_fault_for_the_next(caller):
    """A request that is refused leaves its fault for the next one."""
    async with Emulator(faults=[Fault(status=500, billed=True)]) as emulator:
        assert (await caller.generate(emulator, n=99)).status == 400
        assert last(emulator).fault is None
        assert (await caller.generate(emulator)).status == 500
    assert emulator.ledger.billed_requests == 1


async def test_a_wrong_key_does_not_use_up_a_fault(caller):
    """A request with a wrong key does not use up a fault."""
    async with Emulator(faults=[Fault(status=500)]) as emulator:
        assert (await caller.generate(emulator, {"Authorization": "Bearer x"})).status == 401
        assert (await caller.generate(emulator)).status == 500


async def test_a_probable_fault_strikes_its_share_and_the_same_ones_each_time(caller):
    """A fault with a probability strikes the same share of requests in every run."""
    runs = []
    for _ in range(2):
        async with Emulator(faults=[Fault.parse("429:0.3")]) as emulator:
            runs.append([(await caller.generate(emulator)).status for _ in range(30)])
    assert runs[0] == runs[1]
    assert 3 <= runs[0].count(429) <= 15


@pytest.mark.parametrize("name", sorted(MNEMONICS))
def test_each_mnemonic_parses(name):
    """A mnemonic strikes once, and without limit if it has a probability."""
    assert Fault.parse(name) == MNEMONICS[name]
    often = Fault.parse(f" {name}:0.25 ")
    assert (often.times, often.probability) == (None, 0.25)


def test_a_status_parses():
    """A status parses, with or without a probability after a colon."""
    assert Fault.parse("503") == Fault(status=503)
    assert Fault.parse("503:1") == Fault(status=503, times=None)


@pytest.mark.parametrize("text", ["", "tea", "42", "429:", "429:2", "429:0", "429:x"])
def test_what_is_no_fault_does_not_parse(text):
    """Text that is not a fault, or has a probability outside 0 to 1, does not parse."""
    with pytest.raises(ValueError, match=r"."):
        Fault.parse(text)


@pytest.mark.parametrize(
    "options",
    [
        {"status": 100},
        {"times": 0},
        {"delay": -1},
        {"cut": "bend"},
        {"place": "upload"},
        {"place": "before-body", "cut": "close", "billed": True},
        {"place": "answer"},
        {"probability": 1.5},
        {"operation": "nowhere"},
        {"framing": "xml"},
    ],
)
def test_a_fault_that_makes_no_sense_cannot_be_written(options):
    """A contradictory fault cannot be created."""
    with pytest.raises(ValueError, match=r"."):
        Fault(**options)


def test_a_byte_is_a_number_a_share_or_counts_from_the_end():
    """`byte` is a number, a share or counts from the end, and stays within the body."""
    places = {0: 0, 10: 10, 200: 100, 0.5: 50, -1: 99, -0.25: 75, -200: 0}
    assert {byte: Fault(byte=byte).offset(100) for byte in places} == places


def test_a_fault_shows_what_was_asked_for():
    """A fault's JSON has bytes as text and leaves defaults out."""
    assert Fault(raw=b"\xff", headers={"a": "b"}).to_json() == {"raw": "ÿ", "headers": {"a": "b"}}


async def test_a_small_body_is_complete_in_the_ledger_when_the_answer_is_read(emulator, caller):
    """The ledger entry is final once the answer has been read."""
    reply = await caller.generate(emulator, response_format="b64_json")
    assert base64.b64decode(reply.json["data"][0]["b64_json"]).startswith(b"\x89PNG")
    assert outcome(emulator) == (True, True, Phase.COMPLETE)
