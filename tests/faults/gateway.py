"""A gateway whose answers are written by the case, byte for byte, and which keeps a ledger like the emulator's."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable

import attrs
from faults.listener import Listener
from pictures import png

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Step:
    """
    What becomes of one request.

    Attributes:
        answer: Bytes, or a function that talks.
        billed: Whether an image was made for it.
        whole: Whether the body is read before.
        closes: Whether the connection ends with it.
        reset: Whether it ends by RST.
    """

    answer: bytes | Talk = b""
    billed: bool = True
    whole: bool = True
    closes: bool = True
    reset: bool = False


def http(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """Return an answer with its length."""
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {size}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def document(*images: bytes, **fields: object) -> bytes:
    """Return what the API answers."""
    data = [{"b64_json": base64.b64encode(image).decode()} for image in images or (png(),)]
    return json.dumps({"created": 1_750_000_000, "data": data, **fields}).encode()


class Gateway(Listener):
    """
    Answers POST number k by step k; those beyond the script get an image.

    Args:
        script: One step for each request.
        replays: Whether a key that was served is answered again and not billed again.
        idle: Seconds after which a connection that was used is closed without a further request; None for never.
        plain: Whether it speaks no TLS on any way.

    Attributes:
        posts: Requests whose head arrived.
        billed: Images that were made.
        keys: The idempotency keys, in order of arrival.
        busy: Most requests that were served at the same time.
        heads: What arrived before the bodies.
        arrived: When, in seconds of the monotonic clock.
        closed_idle: Connections that were closed for want of a request.
    """

    api_key = "sk-gateway"

    def __init__(self, *script: Step, replays: bool = False, idle: float | None = None, plain: bool = False) -> None:
        super().__init__(plain=plain)
        self.script = script
        self.replays = replays
        self.idle = idle
        self.posts = self.billed = self.busy = self.serving = self.closed_idle = 0
        self.keys: list[bytes] = []
        self.served: set[bytes] = set()
        self.heads: list[bytes] = []
        self.arrived: list[float] = []

    @property
    def base_url(self) -> str:
        """What to give a client."""
        return f"{self.way.url(self.port)}/v1"

    @property
    def fired(self) -> bool:
        """Whether every step was reached."""
        return self.posts >= len(self.script)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        idle = None  # a new connection has all the time that it needs
        while await self.serve(reader, writer, idle):
            idle = self.idle

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle: float | None) -> bool:
        """Serve one request and say whether another may follow."""
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), idle)
        except TimeoutError:
            self.closed_idle += 1
            return False
        number, self.posts = self.posts, self.posts + 1
        self.heads.append(head)
        self.arrived.append(time.monotonic())
        step = self.script[number] if number < len(self.script) else Step(answer=http(document()), closes=False)
        key = header(head, b"idempotency-key")
        self.keys.append(key)
        self.serving += 1
        self.busy = max(self.busy, self.serving)
        try:
            if step.whole:
                await reader.readexactly(int(header(head, b"content-length") or 0))
                self.billed += step.billed and not (self.replays and key in self.served)
                self.served.add(key)
            await self.answer(step, reader, writer)
        finally:
            self.serving -= 1
        return not step.closes

    async def answer(self, step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(step.answer, bytes):
            writer.write(step.answer)
            await writer.drain()
        else:
            await step.answer(reader, writer)
        if step.reset:
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


def header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return b""


__all__ = ["Gateway", "Step", "document", "header", "http"]
