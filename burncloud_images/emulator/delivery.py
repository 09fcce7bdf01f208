"""Sends an answer over the connection: complete, or broken as a fault says."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import cast

import attrs
from aiohttp import web

from burncloud_images.emulator.errors import HTTPAnswer, fault_body
from burncloud_images.emulator.faults import Fault
from burncloud_images.emulator.responses import EVENT_STREAM, encode_events

Write = Callable[[bytes], Awaitable[None]]

STEP = 0.01
LINGER = 1.0
"""Seconds for which an upload is read after it was answered."""


@attrs.frozen(kw_only=True)
class AnswerDelivery:
    """
    How much of an answer was sent.

    Attributes:
        whole: Whether all of it was written to the connection.
        response: What to return to aiohttp; if the connection has ended, an empty response that is never sent.
    """

    whole: bool
    response: web.StreamResponse = attrs.field(factory=web.Response)


GONE = AnswerDelivery(whole=False)


def to_replacement(fault: Fault) -> HTTPAnswer:
    """Return what *fault* answers in place of the API."""
    if fault.error is not None:
        return HTTPAnswer(pieces=encode_events((), fault), headers=merge_headers({"Content-Type": EVENT_STREAM}, fault))
    status = fault.status if fault.status is not None else 200
    body, kind = to_body(fault, status)
    return HTTPAnswer(status=status, body=body, headers=merge_headers({"Content-Type": kind}, fault))


def to_body(fault: Fault, status: int) -> tuple[bytes, str]:
    if fault.body is None:
        return fault_body(status, billed=fault.billed), "application/json"
    if isinstance(fault.body, bytes):
        return fault.body, "application/octet-stream"
    if isinstance(fault.body, str):
        text = fault.body.lstrip()
        return fault.body.encode(), "text/html" if text.startswith("<") else "application/json"
    return json.dumps(fault.body).encode(), "application/json"


def merge_headers(headers: Mapping[str, str], fault: Fault) -> dict[str, str]:
    """Return *headers*, with those of the fault replacing their own."""
    own = {name.lower() for name in fault.headers}
    kept = {name: value for name, value in headers.items() if name.lower() not in own}
    if fault.retry_after is not None:
        kept["Retry-After"] = f"{fault.retry_after:g}"
    return {**kept, **fault.headers}


async def deliver(
    request: web.BaseRequest, answer: HTTPAnswer, fault: Fault | None, closing: asyncio.Event
) -> AnswerDelivery:
    """Send *answer* and say how far that got."""
    if answer.pieces is not None:
        return await send_stream(request, answer, answer.pieces, fault or Fault(), closing)
    if fault is None or fault.is_usual:
        return await send(request, answer)
    body = answer.body
    if fault.place == "answer":
        body = body[: fault.offset(len(body))]
    whole = fault.place != "answer"
    transport = request.transport
    if transport is None:
        return GONE
    head = encode_head(answer, fault)
    if fault.raw is not None:
        head, body = fault.raw, b""
    elif fault.framing == "chunked":
        body = encode_chunk(answer, body, whole=whole)
    transport.write(head)
    await write_at(transport, body, fault.rate, closing)
    await wait_until(lambda: transport.is_closing() or not transport.get_write_buffer_size(), closing)
    if fault.cut != "reset":
        await linger(request)
    await cut(request, fault.cut or "close", closing)
    return AnswerDelivery(whole=whole)


async def send_stream(
    request: web.BaseRequest, answer: HTTPAnswer, pieces: Sequence[bytes], fault: Fault, closing: asyncio.Event
) -> AnswerDelivery:
    """Send a stream piece by piece, up to where *fault* strikes."""
    transport = request.transport
    if transport is None:
        return GONE
    try:
        response, write = await start_stream(request, transport, answer, fault)
        for piece in split_pieces(pieces, fault):
            await pause(fault.pace, closing)
            if closing.is_set():
                transport.close()
                return GONE
            await write(piece)
            await asyncio.sleep(0)  # so that other requests are served meanwhile
        if response is not None and fault.cut is None:
            await response.write_eof()
            return AnswerDelivery(whole=True, response=response)
    except ConnectionError:
        return GONE
    await wait_until(lambda: transport.is_closing() or not transport.get_write_buffer_size(), closing)
    if fault.cut == "reset":
        await wait_for_peer(transport, closing)
    await cut(request, fault.cut or "close", closing)
    return AnswerDelivery(whole=fault.cut is None)


async def start_stream(
    request: web.BaseRequest, transport: asyncio.Transport, answer: HTTPAnswer, fault: Fault
) -> tuple[web.StreamResponse | None, Write]:
    """Send the head of a stream and return what writes the rest; no response if the stream ends with the connection."""
    if fault.framing == "eof":
        transport.write(encode_head(answer, fault))

        async def write(piece: bytes) -> None:
            if transport.is_closing():
                raise ConnectionResetError
            transport.write(piece)

        return None, write
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    await response.prepare(request)
    return response, response.write


def split_pieces(pieces: Sequence[bytes], fault: Fault) -> Iterator[bytes]:
    """Yield the bytes of *pieces* that are sent, each portion as it is sent."""
    length = sum(map(len, pieces))
    left = fault.offset(length) if fault.place == "answer" and fault.after is None else length
    for piece in pieces:
        sent = piece[:left]
        left -= len(sent)
        step = fault.drip or len(sent) or 1
        yield from (sent[start : start + step] for start in range(0, len(sent), step))


async def wait_for_peer(transport: asyncio.Transport, closing: asyncio.Event) -> None:
    """Wait up to LINGER seconds until the peer's system has acknowledged everything: a reset discards the rest."""
    try:
        import fcntl
        import termios
    except ImportError:  # Windows does not tell
        return
    peer = transport.get_extra_info("socket")

    def arrived() -> bool:
        return transport.is_closing() or not any(fcntl.ioctl(peer.fileno(), termios.TIOCOUTQ, bytes(4)))

    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            await wait_until(arrived, closing)


async def linger(request: web.BaseRequest) -> None:
    """Send FIN and read for up to LINGER seconds: closing with unread bytes sends RST, which loses the answer."""
    transport = request.transport
    if transport is None or request.content.is_eof():
        return
    transport.write_eof()
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(LINGER):
            async for _ in request.content.iter_any():
                pass


async def send(request: web.BaseRequest, answer: HTTPAnswer) -> AnswerDelivery:
    response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        return GONE
    return AnswerDelivery(whole=True, response=response)


async def write_at(transport: asyncio.WriteTransport, body: bytes, rate: float | None, closing: asyncio.Event) -> None:
    """Write *body*, no faster than *rate* bytes a second."""
    piece = len(body) if rate is None else max(1, int(rate * STEP))
    for start in range(0, len(body), piece or 1):
        if transport.is_closing() or closing.is_set():
            return
        transport.write(body[start : start + piece])
        await pause(0 if rate is None else piece / rate, closing)


def encode_head(answer: HTTPAnswer, fault: Fault) -> bytes:
    """Return the status line and headers of an answer as bytes."""
    headers = {**answer.headers, "Connection": "close"}
    if fault.framing == "length":
        headers = {"Content-Length": str(len(answer.body)), **headers}
    elif fault.framing == "chunked":
        headers["Transfer-Encoding"] = "chunked"
    lines = [
        f"HTTP/1.1 {answer.status} {reason(answer.status)}",
        *(f"{name}: {text}" for name, text in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def encode_chunk(answer: HTTPAnswer, body: bytes, *, whole: bool) -> bytes:
    # A chunk that is cut announces its full length.
    size = len(body) if whole else len(answer.body)
    return b"%x\r\n%b" % (size, body) + (b"\r\n0\r\n\r\n" if whole else b"")


def reason(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"


async def cut(request: web.BaseRequest, how: str, closing: asyncio.Event) -> None:
    """End the connection, so that the peer sees FIN, RST, or nothing until it leaves."""
    transport = request.transport
    if transport is None:
        return
    if how == "stall":
        await wait_until(transport.is_closing, closing)
    if how == "reset":
        # With a linger time of 0, closing discards what was not sent and sends RST.
        peer = cast("socket.socket", transport.get_extra_info("socket"))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    # Over TLS, aiohttp learns of the connection's end late, and would meanwhile wait for the rest of the request.
    request.protocol.force_close()


async def wait_until(done: Callable[[], bool], closing: asyncio.Event) -> None:
    """Wait until *done* returns true or the server stops."""
    while not done() and not closing.is_set():
        await pause(STEP, closing)


async def pause(seconds: float, closing: asyncio.Event) -> None:
    """Sleep for *seconds*, or until the server stops."""
    if seconds > 0:
        try:
            await asyncio.wait_for(closing.wait(), seconds)
        except TimeoutError:
            return
