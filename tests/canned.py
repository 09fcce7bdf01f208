"""
Canned answers to aiohttp requests: which status, headers and body there are, or which exception.

aioresponses 0.7.9 does not know three things about aiohttp 3.14: a response's constructor needs the request's writer
(its issue 289), a body of more than 128 KiB pauses the connection's parser, and a request's body may be a payload that
is written, not data that is copied. All three are mended here.

Bodies arrive in one piece and no connection exists, so this is for the mapping of statuses, headers and exceptions.
Whatever depends on pieces, phases or sockets is tested against the emulator.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import aiohttp
import attrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aioresponses import aioresponses
from multidict import CIMultiDict
from yarl import URL

__all__ = ["Canned", "CannedRequest", "canned_answers"]

ANY_URL = re.compile("")
TIMES_WITHOUT_END = 1_000_000
LARGEST_BODY = 2**40


class Recorder(AbstractStreamWriter):
    """A request's writer that keeps what is written."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.output_size = 0

    async def write(self, chunk: bytes | bytearray | memoryview, *_: object, **__: object) -> None:
        self.body += chunk
        self.output_size += len(chunk)

    async def write_eof(self, chunk: bytes = b"") -> None:
        await self.write(chunk)

    async def drain(self) -> None:
        """There is nothing to wait for."""

    def enable_compression(self, *_: object, **__: object) -> None:
        raise AssertionError("no request of this package is compressed")

    def enable_chunking(self) -> None:
        raise AssertionError("every request of this package has a length")

    async def write_headers(self, status_line: str, headers: CIMultiDict[str]) -> None:
        raise AssertionError("there is no connection")


class CannedResponse(aiohttp.ClientResponse):
    """A response that aioresponses can make: the request was sent, by a writer that nobody handed over."""

    def __init__(self, method: str, url: URL, **options: object) -> None:
        super().__init__(method, url, stream_writer=Recorder(), **options)

    @property
    def content(self) -> aiohttp.StreamReader:
        """The answer's body."""
        return self.stream

    @content.setter
    def content(self, _: aiohttp.StreamReader) -> None:
        # The one that comes has a limit, past which it would pause the parser of a connection that does not exist.
        loop = asyncio.get_running_loop()
        self.stream = aiohttp.StreamReader(ResponseHandler(loop), limit=LARGEST_BODY, loop=loop)


@attrs.frozen(kw_only=True)
class CannedRequest:
    """
    A request as it was made.

    Attributes:
        url: Where to.
        headers: Those of the call and of its body.
        body: All of it, written once.
        options: Whatever else was handed to `ClientSession.request`.
    """

    url: URL
    headers: CIMultiDict[str]
    body: bytes
    options: Mapping[str, object]


@attrs.define
class Canned:
    """
    What is answered, and what was asked.

    Attributes:
        mock: The patched session.
        requests: In order, those that failed included.
    """

    mock: aioresponses
    requests: list[CannedRequest] = attrs.field(factory=list)

    def answer(
        self,
        status: int = 200,
        *,
        body: bytes = b"",
        json: object = None,
        headers: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        method: str = "POST",
        url: str | re.Pattern[str] = ANY_URL,
        times: int | None = None,
    ) -> None:
        """
        Answer the next *times* matching requests, or all of them, which no earlier answer takes.

        Args:
            status: HTTP status.
            body: The answer's bytes.
            json: What to encode instead of *body*.
            headers: Besides the content type.
            content_type: Of the answer.
            method: Of the request.
            url: Of the request; a pattern is searched from the beginning.
            times: How many requests; None for all.
        """
        self.mock.add(
            url,
            method,
            status=status,
            body=body,
            payload=json,
            headers=CIMultiDict(headers or {}),
            content_type=content_type,
            response_class=CannedResponse,
            repeat=times or TIMES_WITHOUT_END,
            callback=self.record,
        )

    def fail(
        self,
        exception: BaseException,
        *,
        method: str = "POST",
        url: str | re.Pattern[str] = ANY_URL,
        times: int | None = None,
        body_sent: bool = True,
    ) -> None:
        """
        Raise *exception* for the next *times* matching requests, or for all of them.

        Args:
            exception: What the session raises.
            method: Of the request.
            url: Of the request; a pattern is searched from the beginning.
            times: How many requests; None for all.
            body_sent: Whether the whole body is written before it.
        """
        callback = self.record if body_sent else self.record_unsent
        self.mock.add(url, method, exception=exception, repeat=times or TIMES_WITHOUT_END, callback=callback)

    async def record(self, url: URL, **options: object) -> None:
        """Write the request's body and keep the request."""
        data = options.pop("data", None)
        recorder = Recorder()
        if isinstance(data, aiohttp.Payload):
            await data.write_with_length(recorder, None)
        elif isinstance(data, bytes | bytearray | memoryview):
            await recorder.write(data)
        else:
            assert data is None, f"a body of type {type(data)} cannot be recorded"
        self.keep(url, bytes(recorder.body), options)

    def record_unsent(self, url: URL, **options: object) -> None:
        """Keep the request; its body is not touched."""
        options.pop("data", None)
        self.keep(url, b"", options)

    def keep(self, url: URL, body: bytes, options: dict[str, object]) -> None:
        headers = CIMultiDict(cast("Mapping[str, str]", options.pop("headers", None) or {}))
        self.requests.append(CannedRequest(url=url, headers=headers, body=body, options=options))


@contextmanager
def canned_answers() -> Iterator[Canned]:
    """Answer every request of every aiohttp session; one without an answer fails as if nobody listened."""
    with aioresponses() as mock:
        yield Canned(mock)
