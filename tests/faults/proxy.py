"""
A TCP proxy that does one thing wrong, at one byte, in one direction, to one connection.

It sits between a client and any server on loopback. It understands nothing of what it passes on but where the body of a
request begins and how long it is, so that a cut can be told from the body's end. Below TLS it cannot read that: it is
told how long the body is at least, shares are those of so many encrypted bytes, and the end is where the client has
sent as much and then says no more.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal, Self

import attrs

NEVER = 2**62
Action = Literal["reset", "close", "half-close", "stall", "wait", "slice", "drip", "call"]
Direction = Literal["up", "down"]

ENDINGS = frozenset({"reset", "close", "half-close", "stall"})
PIECE = 64 * 1024
QUIET = 0.1
"""Seconds without a byte after which a client that has sent a whole body waits for its answer."""
SMALL_BUFFER = 64 * 1024
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class Toxic:
    """
    What goes wrong.

    Attributes:
        action: `reset` sends RST to both sides, `close` FIN to both, `half-close` FIN in its direction only, `stall`
            passes nothing on until a side leaves, `wait` passes on after `seconds`, `slice` passes on bytes one by one,
            `drip` passes on one byte every `seconds`, `call` calls `then` and goes on.
        direction: `up` is from the client to the server.
        at: After how many bytes. Upwards negative numbers count from the end of the request's body, and a share of 1 is
            one of the body.
        connection: Which one, from 0; None for all.
        seconds: How long.
        then: What is called.
        body: How long the request's body is at least, for where it is encrypted.
    """

    action: Action
    direction: Direction = "up"
    at: float = 0
    connection: int | None = 0
    seconds: float = 0.0
    then: Callable[[], object] = attrs.field(default=lambda: None)
    body: int = 0

    def place(self, head: int, length: int) -> int:
        """Return the byte of the direction at which it strikes."""
        if 0 < self.at < 1:
            return head + int(self.at * length)
        return int(self.at) if self.at >= 0 else head + length + int(self.at)

    def place_encrypted(self) -> int:
        """Return the same below TLS, where the place before an end is only known once it is reached."""
        assert self.body or not (self.at < 0 or 0 < self.at < 1), "an encrypted body's length has to be told"
        return NEVER if self.at < 0 else self.place(0, self.body)


class Proxy:
    """
    Listens, and passes on to a port of this machine.

    Args:
        upstream: The port; None refuses nothing and answers nothing.
        toxics: What goes wrong.
        front: TLS towards the client.
        back: TLS towards the server.

    Attributes:
        connections: How many were accepted.
        fired: The toxics that struck.
    """

    def __init__(
        self,
        upstream: int | None,
        *toxics: Toxic,
        front: ssl.SSLContext | None = None,
        back: ssl.SSLContext | None = None,
    ) -> None:
        self.upstream = upstream
        self.toxics = toxics
        self.front = front
        self.back = back
        self.connections = 0
        self.fired: list[Toxic] = []
        self.port = 0
        self.server: asyncio.Server | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.handshakes_failed = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen."""
        listener = socket.create_server(("127.0.0.1", port), backlog=256)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)  # or it would take in what is to be cut
        self.server = await asyncio.start_server(self.accepted, sock=listener, limit=PIECE, ssl=self.front)
        self.port = listener.getsockname()[1]

    async def stop(self) -> None:
        """Close every connection."""
        if self.server is None:
            return
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.server.wait_closed()
        self.server = None

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        number, self.connections = self.connections, self.connections + 1
        toxics = [toxic for toxic in self.toxics if toxic.connection in {None, number}]
        try:
            await Passage(self, toxics, reader, writer).run()
        except (OSError, asyncio.CancelledError):
            pass  # a side that leaves ends the passage
        finally:
            writer.transport.abort()


class Cut(Exception):  # noqa: N818 (an order, not a defect)
    """Both sides are to be closed, in the way that the argument says."""


class Passage:
    """One connection, both ways."""

    def __init__(
        self, proxy: Proxy, toxics: list[Toxic], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.proxy = proxy
        self.toxics = toxics
        self.client = reader, writer
        self.server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.gone = asyncio.Event()

    async def run(self) -> None:
        """Pass on until a side leaves or a toxic ends it."""
        early = next((toxic for toxic in self.toxics if toxic.at == 0 and toxic.action in ENDINGS), None)
        try:
            if early is not None and early.direction == "up":
                await self.strike(early, self.client[1])
            if self.proxy.upstream is None:
                await self.client[0].read()
                return
            self.server = await asyncio.open_connection(
                "127.0.0.1", self.proxy.upstream, limit=PIECE, ssl=self.proxy.back
            )
            up = asyncio.ensure_future(self.pump("up", self.client[0], self.server[1]))
            down = asyncio.ensure_future(self.pump("down", self.server[0], self.client[1]))
            try:
                await asyncio.gather(up, down)
            finally:
                up.cancel()
                down.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
        except Cut as order:
            self.end(str(order))
        finally:
            if self.server is not None:
                self.server[1].transport.abort()

    async def pump(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one direction, and its end."""
        toxics = [toxic for toxic in self.toxics if toxic.direction == direction]
        passed, encrypted = 0, False
        last = next((toxic for toxic in toxics if toxic.at < 0), None)
        pending: list[tuple[int, Toxic]] | None = None
        data = b""
        while True:
            piece = await reader.read(PIECE)
            if not piece:
                break
            data += piece
            encrypted = encrypted or (not passed and tls(data))
            if last is not None and encrypted and passed + len(data) > last.body:
                await self.withhold(last, data, reader, writer)
                return
            if pending is None:
                if (
                    direction == "up"
                    and toxics
                    and self.proxy.back is None
                    and b"\r\n\r\n" not in data
                    and not tls(data)
                ):
                    continue
                pending = places(toxics, data)
            while pending and passed + len(data) >= pending[0][0]:
                place, toxic = pending.pop(0)
                part, data = data[: place - passed], data[place - passed :]
                await send(writer, part)
                passed += len(part)
                if toxic.action in {"slice", "drip"}:
                    self.proxy.fired.append(toxic)
                    await self.sliver(toxic, data, reader, writer)
                    return
                await self.strike(toxic, writer)
            await send(writer, data)
            passed += len(data)
            data = b""
        if writer.can_write_eof():
            with suppress(OSError):
                writer.write_eof()

    async def strike(self, toxic: Toxic, writer: asyncio.StreamWriter) -> None:
        """Do what the toxic says; those that end the connection do not return."""
        self.proxy.fired.append(toxic)
        match toxic.action:
            case "reset" | "close":
                raise Cut(toxic.action)
            case "half-close":
                writer.write_eof()
                await asyncio.Event().wait()
            case "stall":
                await self.until_left()
            case "wait":
                await pause(toxic.seconds)
            case "call":
                toxic.then()

    async def withhold(
        self, toxic: Toxic, data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on all but the last bytes, until no more come, and strike."""
        kept = -int(toxic.at)
        while True:
            await send(writer, data[:-kept])
            data = data[-kept:]
            try:
                piece = await asyncio.wait_for(reader.read(PIECE), QUIET)
            except TimeoutError:
                break
            if not piece:
                return
            data += piece
        await self.strike(toxic, writer)

    async def until_left(self) -> None:
        """Return never, but end when the client has left."""
        transport = self.client[1].transport
        while not transport.is_closing() and not self.client[0].at_eof():
            await pause(0.005)
        raise Cut("close")

    async def sliver(
        self, toxic: Toxic, data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on byte after byte, each in a segment of its own."""
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data:
            for byte in data:
                await send(writer, bytes([byte]))
                await pause(toxic.seconds)
            data = await reader.read(PIECE)
        writer.write_eof()

    def end(self, how: str) -> None:
        for side in filter(None, (self.client, self.server)):
            transport = side[1].transport
            if how == "reset":
                connection = transport.get_extra_info("socket")
                with suppress(OSError):  # closed already
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()


def places(toxics: Sequence[Toxic], data: bytes) -> list[tuple[int, Toxic]]:
    """Return where each strikes, by what comes first on a connection."""
    head = data.find(b"\r\n\r\n") + 4
    found = LENGTH.search(data[:head])
    length = int(found[1]) if found else 0
    pairs = [(toxic.place_encrypted() if tls(data) else toxic.place(head, length), toxic) for toxic in toxics]
    return sorted(pairs, key=lambda pair: pair[0])


def tls(data: bytes) -> bool:
    """Say whether *data* begins a TLS handshake."""
    return data[:1] == b"\x16"


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    if data:
        writer.write(data)
        await writer.drain()


async def pause(seconds: float) -> None:
    """Wait for a fault's own time."""
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), seconds)


class BlackHole:
    """A port whose backlog is full: the system drops whatever knocks."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port = self.listener.getsockname()[1]
        self.queued: list[socket.socket] = []
        for _ in range(4):
            knocker = socket.socket()
            knocker.setblocking(False)
            knocker.connect_ex(("127.0.0.1", self.port))
            self.queued.append(knocker)

    def close(self) -> None:
        for end in (*self.queued, self.listener):
            end.close()


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
