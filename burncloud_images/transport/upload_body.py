"""
The body of a request, written so that one can tell whether the server may have all of it.

The last piece is held back until the kernel has taken all others. What fails before that piece is handed to the
connection cannot have been billed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from burncloud_images.errors import (
    ImagesError,
    InputChangedError,
    Phase,
)
from burncloud_images.settings import Timeouts
from burncloud_images.transport.interface import AttemptState, ReplayableUpload
from burncloud_images.wire.multipart import BodyPlan, FilePlaceholder

SLICE = 128 * 1024
UNSENT = 128 * 1024
"""Bytes that the kernel takes before it says that it is full; more would hide where a cut was."""
LEAST_BUFFER = 1
"""Bytes that asyncio holds before it says that it is full. Never 0: with TLS an empty buffer would count as full."""


class UploadBody(aiohttp.Payload):
    """A body that is read from its sources as it is written, made anew for every attempt."""

    def __init__(
        self, plan: BodyPlan, uploads: Sequence[ReplayableUpload], state: AttemptState, timeouts: Timeouts
    ) -> None:
        super().__init__(None, content_type=plan.content_type)
        self._size = plan.length
        self.plan = plan
        self.uploads = uploads
        self.state = state
        self.timeouts = timeouts
        self.begun = False
        self.ended = asyncio.Event()

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        """Return the body as text, for what records requests; in place of its files stands how large they are."""
        return self.outline().decode(encoding, errors)

    def outline(self) -> bytes:
        segments = (
            f"({segment.size:,} bytes)".encode() if isinstance(segment, FilePlaceholder) else bytes(segment)
            for segment in self.plan.segments
        )
        return b"".join((*segments, self.plan.final))

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002 (aiohttp's)
        """Return the whole body, for a middleware that signs or records requests."""
        pieces = []
        for segment in self.plan.segments:
            if isinstance(segment, FilePlaceholder):
                async with aclosing(self.pieces_of(segment)) as found:
                    pieces += [bytes(piece) async for piece in found]
            else:
                pieces.append(bytes(segment))
        return b"".join((*pieces, self.plan.final))

    def __deepcopy__(self, memo: dict[int, object]) -> bytes:
        """Return what a recorder can store of the body, as it does with a copy."""
        return self.outline()

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:  # noqa: ARG002
        """Write the body; it is never cut."""
        await self.write(writer)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the segments, wait until the kernel has them, and only then write the last piece."""
        self.begun = True
        transport = getattr(writer, "transport", None)
        try:
            self.state.enter(Phase.BODY, self.timeouts.send_stall)
            if self.plan.segments:
                await self.write_segments(writer)
            self.state.enter(Phase.FINAL_RELEASED, self.timeouts.send_stall)
            await writer.write(self.plan.final)
            self.state.sent = self.plan.length
            if self.state.status is None:
                self.state.allow(self.timeouts.first_byte)
        except BaseException:
            # What is closed waits until the peer has read the rest: for ever, if it has answered and reads no more.
            if transport is not None:
                transport.abort()
            raise
        finally:
            self.ended.set()

    async def write_segments(self, writer: AbstractStreamWriter) -> None:
        prepare(writer)
        for segment in self.plan.segments:
            if isinstance(segment, FilePlaceholder):
                await self.write_file(writer, segment)
            else:
                await self.write_slices(writer, segment)
        require_connection(writer)

    async def write_file(self, writer: AbstractStreamWriter, slot: FilePlaceholder) -> None:
        left = slot.size
        async with aclosing(self.pieces_of(slot)) as pieces:
            async for piece in pieces:
                left -= len(piece)
                await self.write_slices(writer, piece)
        if left:
            name = self.uploads[slot.index].name
            self.state.input_error = InputChangedError(f"{name} is shorter than the {slot.size:,} bytes it had before.")
            raise self.state.input_error

    async def pieces_of(self, slot: FilePlaceholder) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes; what goes wrong with it is kept apart from what goes wrong with the network."""
        upload = self.uploads[slot.index]
        pieces = upload.pieces()
        try:
            async for piece in pieces:
                yield piece
        except ImagesError as error:
            self.state.input_error = error
            raise
        except Exception as error:
            self.state.input_error = InputChangedError(f"{upload.name} cannot be read again: {error}.")
            raise
        finally:
            await pieces.aclose()

    async def write_slices(self, writer: AbstractStreamWriter, piece: bytes) -> None:
        view = memoryview(piece)
        for start in range(0, len(view), SLICE):
            part = view[start : start + SLICE]
            self.state.allow(self.timeouts.send_stall)
            await writer.write(part)
            await writer.drain()
            require_connection(writer)
            self.state.sent += len(part)


def prepare(writer: AbstractStreamWriter) -> None:
    """
    Make the connection tell the truth about what has left.

    By default asyncio keeps 64 KiB and the kernel megabytes, so a body would look sent long before it is.
    """
    transport = getattr(writer, "transport", None)
    if transport is None:
        return
    transport.set_write_buffer_limits(high=LEAST_BUFFER)
    if (below := below_tls(transport)) is not None:  # its buffer would hide a cut as well
        below.set_write_buffer_limits(high=LEAST_BUFFER)
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    connection = transport.get_extra_info("socket")
    if option is not None and connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
        connection.setsockopt(socket.IPPROTO_TCP, option, UNSENT)


def require_connection(writer: AbstractStreamWriter) -> None:
    """
    Raise if the connection is lost.

    A lost connection wakes `drain` without an error. Over TLS it is only told of once the loop has gone round, and what
    is written until then vanishes, as if it had been sent.
    """
    transport = getattr(writer, "transport", None)
    ends = (transport, below_tls(transport))
    if transport is None or any(end is not None and end.is_closing() for end in ends):
        raise ConnectionResetError("closed before the last boundary")


def below_tls(transport: asyncio.WriteTransport | None) -> asyncio.WriteTransport | None:
    """
    Return the transport that carries a TLS transport's bytes.

    There is no public way to it, and uvloop has none; then a cut counts as later than it was, which errs on the safe
    side.
    """
    below: asyncio.WriteTransport | None = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    return below
