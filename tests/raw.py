"""A server that says what a test writes, byte for byte."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ways import here

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


class Raw:
    """Where it listens and what it was sent: one entry per request, head and body."""

    def __init__(self, port: int, url: str) -> None:
        self.requests: list[bytes] = []
        self.port = port
        self.url = url


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + (await reader.readexactly(int(lengths[0])) if lengths else b"")


@asynccontextmanager
async def serve(handler: Handler, *, read: bool = True, plain: bool = False) -> AsyncIterator[Raw]:
    """Call *handler* for each connection, after one request was read, or at once; a proxy is *plain* on every way."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            if read:
                raw.requests.append(await read_request(reader))
            await handler(reader, writer, raw.requests[-1] if raw.requests else b"")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=None if plain else here().server)
    port = server.sockets[0].getsockname()[1]
    raw = Raw(port, f"http://127.0.0.1:{port}" if plain else here().url(port))
    try:
        yield raw
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def answering(*parts: bytes) -> Handler:
    """Return a handler that writes *parts*, each in a piece of its own, and closes."""

    async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _request: bytes) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    return handle


def hang_up(writer: asyncio.StreamWriter) -> None:
    """End a connection without a word: over TLS there is no close_notify."""
    writer.get_extra_info("socket").shutdown(socket.SHUT_WR)


async def hang(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _request: bytes) -> None:
    """Say nothing until the test ends."""
    await asyncio.Event().wait()
