"""The canned answers themselves: what the client's tests rely on."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from aiohttp.payload import BytesPayload, Payload
from canned import Canned, canned_answers

URL = "http://127.0.0.1:1/v1/images/generations"


class PiecePayload(Payload):
    """A body of our own, as the client's: no data that could be copied, only a writer."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__(None, content_type="application/json")
        self.pieces = pieces
        self.written = 0

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise NotImplementedError

    async def write(self, writer) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer, content_length) -> None:
        for piece in self.pieces:
            await writer.write(piece)
            self.written += len(piece)


@pytest.fixture
def canned() -> Iterator[Canned]:
    with canned_answers() as answers:
        yield answers


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_status_headers_and_body(canned, session):
    """An answer has the status, the headers in any case and the bytes it was given."""
    canned.answer(429, body=b'{"error": 1}', headers={"Retry-After": "3", "x-request-id": "r-1"})

    async with session.post(URL) as response:
        body = await response.read()

    assert (429, b'{"error": 1}') == (response.status, body)
    assert "3" == response.headers["retry-after"]
    assert "application/json" == response.content_type


async def test_read_as_the_client_reads(canned, session):
    """The body comes from the stream too, piece by piece or whatever is there."""
    canned.answer(200, body=b"x" * 200_000)

    async with session.post(URL, allow_redirects=False) as response:
        whole = b"".join([piece async for piece in response.content.iter_any()])
    async with session.post(URL, allow_redirects=False) as response:
        first = await response.content.readany()

        assert b"" == await response.content.readany()
    assert whole == first == b"x" * 200_000


async def test_json(canned, session):
    """A value is sent as JSON."""
    canned.answer(200, json={"data": []})

    async with session.post(URL) as response:
        assert {"data": []} == await response.json()


async def test_redirects_are_not_followed(canned, session):
    """A redirect is an ordinary answer when redirects are off."""
    canned.answer(302, headers={"Location": "/elsewhere"})

    async with session.post(URL, allow_redirects=False) as response:
        assert (302, "/elsewhere") == (response.status, response.headers["Location"])


@pytest.mark.parametrize(
    "error", [aiohttp.ServerDisconnectedError(), TimeoutError(), ConnectionResetError(104, "reset")], ids=repr
)
async def test_exception(canned, session, error):
    """An exception is raised unchanged."""
    canned.fail(error)

    with pytest.raises(type(error)):
        await session.post(URL)


async def test_answers_follow_one_another(canned, session):
    """Each answer serves as often as it says, in order; the last one for ever."""
    canned.fail(TimeoutError(), times=1)
    canned.answer(503, times=2)
    canned.answer(200)

    with pytest.raises(TimeoutError):
        await session.post(URL)
    statuses = [(await session.post(URL)).status for _ in range(4)]

    assert [503, 503, 200, 200] == statuses


async def test_method_and_url(canned, session):
    """An answer is for one method, and for one URL if it names one."""
    canned.answer(200, method="GET", url=re.compile(r".*/image\.png"))

    assert 200 == (await session.get("http://127.0.0.1:1/image.png?signature=s")).status
    with pytest.raises(aiohttp.ClientConnectionError):
        await session.get("http://127.0.0.1:1/other.png")
    with pytest.raises(aiohttp.ClientConnectionError):
        await session.post("http://127.0.0.1:1/image.png")


async def test_requests_are_recorded(canned, session):
    """The URL, headers, body and options of each request are recorded."""
    canned.answer(200)

    await session.post(URL, data=BytesPayload(b"{}"), headers={"Authorization": "Bearer k"}, allow_redirects=False)

    (request,) = canned.requests
    assert (URL, b"{}") == (str(request.url), request.body)
    assert "Bearer k" == request.headers["authorization"]
    assert request.options["allow_redirects"] is False


async def test_own_payload_is_written(canned, session):
    """A body that can only be written is written whole before the answer, once an attempt."""
    body = PiecePayload(b"ab", b"cd")
    canned.answer(200)

    await session.post(URL, data=body)

    assert b"abcd" == canned.requests[0].body
    assert 4 == body.written


@pytest.mark.parametrize(("body_sent", "written"), [(True, 4), (False, 0)])
async def test_exception_before_or_after_the_body(canned, session, body_sent, written):
    """A failure comes after the whole body or before any of it."""
    body = PiecePayload(b"ab", b"cd")
    canned.fail(ConnectionResetError(104, "reset"), body_sent=body_sent)

    with pytest.raises(ConnectionResetError):
        await session.post(URL, data=body)

    assert written == body.written == len(canned.requests[0].body)
