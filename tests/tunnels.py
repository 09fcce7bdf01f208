"""An HTTP CONNECT proxy, which counts its tunnels and can refuse, cut or stall them."""

from __future__ import annotations

import asyncio
import socket
from typing import Literal, Self

import attrs
from fakes import until

__all__ = ["Break", "Tunnels"]

PIECE = 64 * 1024
SMALL_BUFFER = 64 * 1024
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@attrs.frozen(kw_only=True)
class Break:
    """
    How a tunnel ends before its time.

    Attributes:
        how: `cut` closes both sides at once; `stall` passes nothing on from there, until the client leaves.
        after: Encrypted bytes towards the server after which it strikes.
        answered: Whether it waits, beyond those, for the first byte of the server's answer, and keeps it.
        tunnel: Which one, from 0.
    """

    how: Literal["cut", "stall"]
    after: int
    answered: bool = False
    tunnel: int = 0


class Tunnels:
    """
    Listens on loopback, and tunnels to wherever it is asked to.

    Args:
        breaks: What goes wrong with tunnels that stand.
        refusals: Answers in place of a tunnel, one for each request, until there is none left.
        hoards: Whether the system may take in megabytes that the server does not take; then a client cannot know how
            far its request got.

    Attributes:
        port: Where it listens, within its block.
        opened: How many tunnels stood.
        heads: The requests, as they arrived.
        broken: The breaks that struck.
    """

    def __init__(self, *breaks: Break, refusals: tuple[bytes, ...] = (), hoards: bool = False) -> None:
        self.hoards = hoards
        self.breaks = breaks
        self.refusals = list(refusals)
        self.port = self.opened = 0
        self.heads: list[bytes] = []
        self.broken: list[Break] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """What to give a client as its proxy."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        if not self.hoards:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        self.server = await asyncio.start_server(self.accepted, sock=listener, limit=PIECE)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        assert self.server is not None
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.server.wait_closed()

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            await self.connect(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # a side left, or the test is over
        finally:
            self.tasks.discard(task)
            writer.transport.abort()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        method, target, _ = head.split(b" ", 2)
        if method != b"CONNECT":
            writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        if self.refusals:
            writer.write(self.refusals.pop(0))
            await writer.drain()
            return
        host, _, port = target.decode("ascii").rpartition(":")
        try:
            there = await asyncio.open_connection(host.strip("[]"), int(port), limit=PIECE)
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        if not self.hoards:
            there[1].get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        number, self.opened = self.opened, self.opened + 1
        writer.write(ESTABLISHED)
        try:
            breaks = [one for one in self.breaks if one.tunnel == number]
            await Tunnel((reader, writer), there, breaks, self.broken).run()
        finally:
            there[1].transport.abort()


Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Tunnel:
    """One tunnel, both ways."""

    def __init__(self, client: Side, server: Side, breaks: list[Break], broken: list[Break]) -> None:
        self.client = client
        self.server = server
        self.breaks = breaks
        self.broken = broken
        self.passed = 0

    async def run(self) -> None:
        """Pass on until both sides have ended, or one of them fails."""
        ways = [
            asyncio.ensure_future(self.pump(self.client[0], self.server[1], upwards=True)),
            asyncio.ensure_future(self.pump(self.server[0], self.client[1], upwards=False)),
        ]
        try:
            await asyncio.gather(*ways)
        finally:
            for one in ways:
                one.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, upwards: bool) -> None:
        while piece := await reader.read(PIECE):
            if (order := self.due(len(piece), upwards=upwards)) is not None:
                if upwards:
                    writer.write(piece[: max(0, order.after - self.passed)])
                    await writer.drain()
                await self.strike(order)
            writer.write(piece)
            await writer.drain()
            self.passed += len(piece) if upwards else 0
        if writer.can_write_eof():
            writer.write_eof()

    def due(self, size: int, *, upwards: bool) -> Break | None:
        reached = self.passed + (size if upwards else 0)
        return next((one for one in self.breaks if one.answered != upwards and reached >= one.after), None)

    async def strike(self, order: Break) -> None:
        self.broken.append(order)
        if order.how == "stall":
            await until(lambda: self.client[0].at_eof() or self.client[1].transport.is_closing())
        raise ConnectionResetError("the tunnel was broken")
