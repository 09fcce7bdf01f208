"""
The Transport port and its aiohttp form: requests out, answers in, and how far each got.

Three things decide whether a failure was paid for, and none of them is the class of an exception: whether the last
piece of the body had been handed to the connection, whether an answer began, and whether it came to its end. So the
body is written by a payload of our own, which holds the last piece back until the kernel has taken all others, and
every attempt keeps a record of its phase.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace
from typing import Literal, Protocol, TypeAlias

import aiohttp
import attrs
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from burncloud_images.errors import (
    ClientClosedError,
    ConnectionFailedError,
    DownloadRefusedError,
    ImagesError,
    InputChangedError,
    OutcomeUnknownError,
    Phase,
)
from burncloud_images.files.uploads import Upload
from burncloud_images.settings import Network, Timeouts, proxy_for, to_ssl
from burncloud_images.transport.address_guard import is_public
from burncloud_images.transport.clock import Clock
from burncloud_images.transport.timeouts import StageTimer
from burncloud_images.wire.body import BodyText
from burncloud_images.wire.compression import Inflater
from burncloud_images.wire.headers import fold_headers
from burncloud_images.wire.multipart import BodyPlan, FileSlot

__all__ = ["AiohttpTransport", "Progress", "Response", "Session", "Transport"]

Session: TypeAlias = aiohttp.ClientSession
Door: TypeAlias = Literal["api", "guarded", "exempt"]
"""To the API; to public addresses only; to hosts that the operator vouches for."""

SLICE = 128 * 1024
READ_BUFFER = 64 * 1024
"""Half of what is received before the socket waits for the sink."""
UNSENT = 128 * 1024
"""Bytes that the kernel takes before it says that it is full; more would hide where a cut was."""
LEAST_BUFFER = 1
"""Bytes that asyncio holds before it says that it is full. Never 0: with TLS an empty buffer would be full for ever."""
LEAST_PROGRESS = 1024
"""Bytes of an answer that start its idle time anew; with one byte now and then it would last for ever."""
KEEP_ALIVE = 0.1
"""
Seconds an idle connection is kept, so that many quick calls share some.

A new one costs nothing beside an image. One that the server is just closing may eat a paid request, and no server is
known that closes so soon.
"""
NAMELESS_ATTEMPTS = 2
"""How many attempts a host is worth whose name does not exist, before anything was ever reached."""


@attrs.define(kw_only=True)
class Progress:
    """
    How far one attempt has got; each stage has its own time.

    Attributes:
        clock: Scales the times.
        timer: Ends the stage that takes too long.
        waited: How long chunks of the answer were waited for, in seconds of the event loop while it ran.
        phase: The furthest point of the request.
        sent: Body bytes handed to the connection.
        status: HTTP status, once an answer has begun.
        input_error: What went wrong with the caller's own files.
        reused: Whether the connection had been used before.
        place: Host and port that are connected to.
    """

    clock: Clock
    timer: StageTimer = attrs.field(
        default=attrs.Factory(lambda self: StageTimer(self.clock.loop_seconds(1.0)), takes_self=True)
    )
    waited: float = 0.0
    phase: Phase = Phase.QUEUED
    sent: int = 0
    status: int | None = None
    input_error: ImagesError | None = None
    reused: bool = False
    place: str = ""

    def enter(self, phase: Phase, seconds: float | None = None) -> None:
        """Go on to *phase*, which may take *seconds*; an answer to half a request does not make it whole."""
        if phase <= Phase.FINAL_RELEASED or self.phase >= Phase.FINAL_RELEASED:
            self.phase = max(self.phase, phase)
        self.allow(seconds)

    def take_answer(self) -> None:
        """Take note that a result has begun to come: who has one has worked, however little of the request had left."""
        self.phase = max(self.phase, Phase.BODY_IN)

    def allow(self, seconds: float | None) -> None:
        """Start the time of a stage anew; None stops it."""
        self.timer.allow(None if seconds is None else self.clock.loop_seconds(seconds))


class Response(Protocol):
    """An answer whose headers are there."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """With lower-case names."""

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives."""


class Transport(Protocol):
    """The port between an exchange and the network."""

    def post(
        self,
        url: str,
        headers: Mapping[str, str],
        body: tuple[BodyPlan, Sequence[Upload]],
        progress: Progress,
        timeouts: Timeouts,
    ) -> AbstractAsyncContextManager[Response]:
        """
        Send a request; leaving the block closes or returns the connection.

        Raises:
            ConnectionFailedError: The request cannot have been executed.
            OutcomeUnknownError: It may have been.
            InputChangedError: The caller's files changed.
        """

    def get(
        self, url: str, headers: Mapping[str, str], progress: Progress, timeouts: Timeouts, *, door: Door
    ) -> AbstractAsyncContextManager[Response]:
        """
        Fetch something that can be fetched again.

        Raises:
            ConnectionFailedError: No answer came, or not all of it.
            DownloadRefusedError: The address is not public.
        """

    async def aclose(self) -> None:
        """Close the connections."""


class PlannedPayload(aiohttp.Payload):
    """A body that is read from its sources as it is written, made anew for every attempt."""

    def __init__(self, plan: BodyPlan, uploads: Sequence[Upload], progress: Progress, timeouts: Timeouts) -> None:
        super().__init__(None, content_type=plan.content_type)
        self._size = plan.length
        self.plan = plan
        self.uploads = uploads
        self.progress = progress
        self.timeouts = timeouts
        self.begun = False
        self.ended = asyncio.Event()

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002
        """Refuse to be text."""
        raise TypeError("this body is not text")

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:  # noqa: ARG002
        """Write the body; it is never cut."""
        await self.write(writer)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the segments, wait until the kernel has them, and only then let the last piece go."""
        self.begun = True
        transport = getattr(writer, "transport", None)
        try:
            self.progress.enter(Phase.BODY, self.timeouts.send_stall)
            if self.plan.segments:
                await self.write_segments(writer)
            self.progress.enter(Phase.FINAL_RELEASED, self.timeouts.send_stall)
            await writer.write(self.plan.final)
            self.progress.sent = self.plan.length
            if self.progress.status is None:
                self.progress.allow(self.timeouts.first_byte)
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
            if isinstance(segment, FileSlot):
                await self.write_file(writer, segment)
            else:
                await self.write_slices(writer, segment)
        require_connection(writer)

    async def write_file(self, writer: AbstractStreamWriter, slot: FileSlot) -> None:
        left = slot.size
        async with aclosing(self.read(slot)) as pieces:
            async for piece in pieces:
                left -= len(piece)
                await self.write_slices(writer, piece)
        if left:
            self.progress.input_error = InputChangedError("An image is not as long as it was when it was looked at.")
            raise self.progress.input_error

    async def read(self, slot: FileSlot) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes; what goes wrong with it is kept apart from what goes wrong with the network."""
        pieces = self.uploads[slot.index].pieces()
        try:
            async for piece in pieces:
                yield piece
        except ImagesError as error:
            self.progress.input_error = error
            raise
        except Exception as error:
            self.progress.input_error = InputChangedError(f"An image cannot be read again: {error}.")
            raise
        finally:
            await pieces.aclose()

    async def write_slices(self, writer: AbstractStreamWriter, piece: bytes) -> None:
        view = memoryview(piece)
        for start in range(0, len(view), SLICE):
            part = view[start : start + SLICE]
            self.progress.allow(self.timeouts.send_stall)
            await writer.write(part)
            await writer.drain()
            require_connection(writer)
            self.progress.sent += len(part)


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
    Refuse to go on where nothing arrives any more.

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


@attrs.define(kw_only=True)
class Patience:
    """
    How long an answer may still be silent, in the loop's own seconds.

    White space before the answer, by which some gateways show that they are alive while an image is made, starts the
    time anew as well, for as long as a first byte may take.

    Attributes:
        idle: The whole time.
        first_byte: The time for white space.
        text: Tells what the body is, until that is known; None for a file. Whoever reads a file or a stream knows
            better what is progress in it.
        least: Bytes that start the time anew.
        left: What is left of the time.
        waited: How long white space has come.
        came: Bytes since the time was started.
    """

    idle: float
    first_byte: float
    text: BodyText | None = None
    least: int = 1
    left: float = attrs.field(default=attrs.Factory(lambda self: self.idle, takes_self=True))
    waited: float | None = 0.0
    came: int = 0

    def take(self, chunk: bytes, seconds: float) -> None:
        """Take note of *chunk*, for which so many *seconds* were waited."""
        if self.text is not None:
            self.find_least(self.text, chunk)
        self.came += len(chunk)
        self.left -= seconds
        if self.waited is not None:
            self.waited = self.waited + seconds if chunk.isspace() else None
        if self.waited is not None:
            self.left = min(self.idle, self.first_byte - self.waited)
        elif self.came >= self.least:
            self.left, self.came = self.idle, 0

    def find_least(self, text: BodyText, chunk: bytes) -> None:
        text.feed(chunk)
        is_stream = text.has_comments if text.shape is None else text.shape == "events"
        self.least = 1 if is_stream else LEAST_PROGRESS
        self.text = text if text.shape is None else None


@attrs.frozen
class AiohttpResponse:
    """An answer of aiohttp's."""

    response: aiohttp.ClientResponse
    progress: Progress
    timeouts: Timeouts
    inflated: bool
    watched: bool = False

    @property
    def status(self) -> int:
        return self.response.status

    @cached_property
    def headers(self) -> Mapping[str, str]:
        return fold_headers(self.response.headers.items())

    def chunks(self) -> AsyncGenerator[bytes, None]:
        encoding = self.headers.get("content-encoding", "identity").lower()
        return self.received() if self.inflated or encoding in {"identity", ""} else self.decompressed(encoding)

    async def decompressed(self, encoding: str) -> AsyncGenerator[bytes, None]:
        inflater = Inflater(encoding)
        async with aclosing(self.received()) as chunks:
            async for chunk in chunks:
                try:
                    for piece in inflater.feed(chunk):
                        yield piece
                except ValueError:
                    message = "The answer's compression is broken."
                    raise OutcomeUnknownError(message, phase=self.progress.phase) from None
        for piece in inflater.close():
            yield piece
        if inflater.is_cut:
            raise OutcomeUnknownError("The answer's compression ends too early.", phase=self.progress.phase)

    async def received(self) -> AsyncGenerator[bytes, None]:
        scale = self.progress.clock.loop_seconds
        is_events = self.watched and self.response.content_type == "text/event-stream"
        patience = Patience(
            idle=scale(self.timeouts.idle),
            first_byte=scale(self.timeouts.first_byte),
            text=BodyText(is_events=is_events) if self.watched else None,
        )
        while True:
            self.progress.timer.allow(patience.left)
            try:
                chunk = await self.response.content.readany()
            except (aiohttp.ClientError, OSError) as error:
                if rest := take_rest(self.response.content):
                    self.progress.enter(Phase.BODY_IN)
                    yield rest
                raise to_failure(error, self.progress) from None
            waited = self.progress.timer.elapsed()
            self.progress.allow(None)  # the sink's time is not the server's
            if not chunk:
                break
            self.progress.waited += waited
            patience.take(chunk, waited)
            self.progress.enter(Phase.BODY_IN)
            yield chunk
        self.progress.enter(Phase.COMPLETE)


def take_rest(content: aiohttp.StreamReader) -> bytes:
    """
    Return what had come before a failure.

    aiohttp gives out nothing more once it knows of one, so whatever came while the sink was busy would be lost, and may
    be the end of an image.
    """
    content.set_exception(None)  # type: ignore[arg-type] # there is no other public way to what it holds
    return content.read_nowait()


NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
"""The library's own timeouts count the time in which the process is stopped; a stage's timer does not."""


class AiohttpTransport:
    """
    Connections, made on first use.

    Attributes:
        clock: Scales the times.
        network: How the network is reached.
        max_connections: To the API; more requests wait for a free one.
        borrowed: A session of the caller's for the API, never closed here.
    """

    def __init__(
        self, *, clock: Clock, network: Network, max_connections: int, borrowed: aiohttp.ClientSession | None = None
    ) -> None:
        self.clock = clock
        self.network = network
        self.max_connections = max_connections
        self.borrowed = borrowed
        self.sessions: dict[Door, aiohttp.ClientSession] = {}
        self.closed = False
        self.reached = False

    async def aclose(self) -> None:
        """Close all but the borrowed session."""
        sessions, self.sessions, self.closed = self.sessions, {}, True
        for session in sessions.values():
            await session.close()

    def post(
        self,
        url: str,
        headers: Mapping[str, str],
        body: tuple[BodyPlan, Sequence[Upload]],
        progress: Progress,
        timeouts: Timeouts,
    ) -> AbstractAsyncContextManager[Response]:
        """Send a request."""
        payload = PlannedPayload(*body, progress, timeouts)
        return self.answer(self.session("api"), "POST", url, headers, payload, progress, timeouts)

    @asynccontextmanager
    async def get(
        self, url: str, headers: Mapping[str, str], progress: Progress, timeouts: Timeouts, *, door: Door
    ) -> AsyncIterator[Response]:
        """Fetch something that can be fetched again."""
        session = self.session(door)
        if door == "guarded":
            await self.check_behind_proxy(url)
        stages = attrs.evolve(timeouts, first_byte=timeouts.download_first_byte, idle=timeouts.download_idle)
        async with self.answer(session, "GET", url, headers, None, progress, stages) as response:
            yield response

    @asynccontextmanager
    async def answer(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        headers: Mapping[str, str],
        payload: PlannedPayload | None,
        progress: Progress,
        timeouts: Timeouts,
    ) -> AsyncIterator[Response]:
        response: aiohttp.ClientResponse | None = None
        try:
            async with progress.timer:
                response = await self.request(session, method, url, headers, payload, progress, timeouts)
                yield AiohttpResponse(response, progress, timeouts, session.auto_decompress, payload is not None)
        except TimeoutError:
            if not progress.timer.expired():
                raise
            raise stalled(progress, find_limit(progress.phase, timeouts, is_download=payload is None)) from None
        finally:
            if response is not None:
                response.close()
            if payload is not None and payload.begun:
                await payload.ended.wait()

    async def request(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        headers: Mapping[str, str],
        payload: PlannedPayload | None,
        progress: Progress,
        timeouts: Timeouts,
    ) -> aiohttp.ClientResponse:
        address = URL(url, encoded=True)  # encoding it again would break a signature
        host = address.host or ""
        progress.place = f"{f'[{host}]' if ':' in host else host}:{address.port}"
        try:
            response = await session.request(
                method,
                address,
                data=payload,
                # Content networks then write their errors in JSON too, whose words go into ours; none is believed.
                headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": agent(), **headers},
                allow_redirects=False,
                raise_for_status=False,
                proxy=self.proxy(session, address),
                timeout=NO_TIMEOUT,
                trace_request_ctx=(progress, timeouts),
            )
        except (aiohttp.ClientError, OSError) as error:
            failure = to_failure(error, progress)
            if isinstance(failure, ConnectionFailedError) and is_nameless(error) and not self.reached:
                failure.most_attempts = NAMELESS_ATTEMPTS  # a wrong base URL rather than a moment without a network
            raise failure from None
        except RuntimeError:
            if not session.closed:
                raise
            raise ClientClosedError("The client was closed while the request waited.", phase=progress.phase) from None
        self.reached = True
        progress.status = response.status
        progress.enter(Phase.STATUS, timeouts.idle)
        return response

    def proxy(self, session: aiohttp.ClientSession, address: URL) -> str | None:
        """Return the proxy for *address*; a borrowed session may read the environment on its own, and unchecked."""
        network = attrs.evolve(self.network, trust_env=True) if session.trust_env else self.network
        return proxy_for(network, address.scheme, address.host or "")

    def session(self, door: Door) -> aiohttp.ClientSession:
        """Return the session behind a door."""
        if door == "api" and self.borrowed is not None:
            return self.borrowed
        if self.closed:  # a download that is tried again would open connections that nobody closes
            raise ClientClosedError("The client was closed while the request waited.")
        if door not in self.sessions:
            self.sessions[door] = self.make_session(guarded=door == "guarded")
        return self.sessions[door]

    def make_session(self, *, guarded: bool) -> aiohttp.ClientSession:
        # Every handshake needs it. Loaded by the first of them, it would want a descriptor where there may be none.
        import encodings.idna  # noqa: F401

        keep_buffers()
        # No headers of its own: aiohttp would send them to any host. No cookies, no .netrc.
        connector = aiohttp.TCPConnector(
            limit=self.max_connections,
            keepalive_timeout=KEEP_ALIVE,
            ssl=to_ssl(self.network),
            socket_factory=open_public_socket if guarded and not self.network.proxy else open_socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=READ_BUFFER,
            trace_configs=[trace()],
        )

    async def check_behind_proxy(self, url: str) -> None:
        """Look the target up ourselves where the socket would only see the proxy; weaker, as names can change."""
        address = URL(url, encoded=True)
        if proxy_for(self.network, address.scheme, address.host or "") is None:
            return
        with suppress(OSError):  # names that only the proxy can resolve
            for *_, sockaddr in await asyncio.get_running_loop().getaddrinfo(address.host, address.port):
                refuse_private(str(sockaddr[0]))


def keep_buffers() -> None:
    """
    Have the C library keep freed buffers for the next chunks: 80 MB of images take 36,000 page faults without.

    Source: mallopt(3), M_MMAP_THRESHOLD: it grows to the largest block that was freed. This one is never touched.
    """
    bytes(1024 * 1024)


@cache
def agent() -> str:
    try:
        return f"burncloud-images/{version('burncloud-images')}"
    except PackageNotFoundError:  # run from a checkout
        return "burncloud-images"


def open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """Return a socket that notices a dead peer during the minutes in which an image is made."""
    family, kind, protocol, *_ = address
    connection = socket.socket(family, kind, protocol)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
    return connection


def open_public_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """Return a socket, unless the address is not public; every spelling has become an address here."""
    refuse_private(str(address[4][0]))
    return open_socket(address)


def refuse_private(address: str) -> None:
    if not is_public(address):
        raise DownloadRefusedError(
            f"The image's address is refused: its host is {address}, which is no public address."
        )


def trace() -> aiohttp.TraceConfig:
    """Return hooks that record phases and start each stage's time; waiting for a free connection has none."""

    async def connect(_session: object, context: SimpleNamespace, _event: object) -> None:
        progress, timeouts = context.trace_request_ctx
        progress.enter(Phase.CONNECTING, timeouts.connect)

    async def resolve(_session: object, context: SimpleNamespace, _event: object) -> None:
        context.trace_request_ctx[0].phase = Phase.RESOLVING  # a stage within connecting, in its time

    async def resolved(_session: object, context: SimpleNamespace, _event: object) -> None:
        context.trace_request_ctx[0].phase = Phase.CONNECTING

    async def reuse(_session: object, context: SimpleNamespace, _event: object) -> None:
        context.trace_request_ctx[0].reused = True

    async def send(_session: object, context: SimpleNamespace, event: aiohttp.TraceRequestHeadersSentParams) -> None:
        progress, timeouts = context.trace_request_ctx
        progress.enter(Phase.HEADERS, timeouts.first_byte if event.method == "GET" else timeouts.send_stall)

    config = aiohttp.TraceConfig()
    config.on_connection_create_start.append(connect)
    config.on_dns_resolvehost_start.append(resolve)
    config.on_dns_resolvehost_end.append(resolved)
    config.on_connection_reuseconn.append(reuse)
    config.on_request_headers_sent.append(send)
    return config


STAGES: Mapping[Phase, str] = {
    Phase.QUEUED: "before it began",
    Phase.RESOLVING: "while the host's name was being resolved",
    Phase.CONNECTING: "while connecting",
    Phase.HEADERS: "while the request was being sent",
    Phase.BODY: "while the request was being sent",
    Phase.FINAL_RELEASED: "after the whole request was sent, before an answer came",
    Phase.STATUS: "at the beginning of the answer",
    Phase.BODY_IN: "in the middle of the answer",
    Phase.COMPLETE: "after the answer",
}

# What the library's exceptions mean, most special first; their own texts hold addresses and headers.
MEANINGS: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientConnectorCertificateError, "its certificate does not verify"),
    (aiohttp.ClientConnectorSSLError, "TLS could not be set up"),
    (aiohttp.ClientConnectorDNSError, "its name cannot be resolved"),
    (aiohttp.ClientProxyConnectionError, "the proxy cannot be reached"),
    (aiohttp.ClientHttpProxyError, "the proxy refuses the connection"),
    (aiohttp.ServerTimeoutError, "it took too long"),
    (aiohttp.ServerDisconnectedError, "the other side closed the connection"),
    (aiohttp.ClientPayloadError, "the answer is shorter than it said"),
    (aiohttp.ClientResponseError, "the answer is no valid HTTP"),
)
# What the system's error numbers mean; asyncio's own texts for them hold addresses.
NUMBERS: Mapping[int, str] = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "the other side reset the connection",
    errno.ECONNABORTED: "the connection was aborted",
    errno.EPIPE: "the other side closed the connection",
    errno.ETIMEDOUT: "it took too long",
    errno.ENETUNREACH: "its network cannot be reached",
    errno.EHOSTUNREACH: "it cannot be reached",
}
PERMANENT = (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)


def to_failure(error: Exception, progress: Progress) -> ImagesError:
    """Return what *error* means: decided by how far the request got, never by the class of the exception."""
    if progress.input_error is not None:
        return progress.input_error
    to = f" to {progress.place}" if progress.place else ""
    message = f"The connection{to} failed {stage(progress)}: {meaning(error)}."
    failure: ConnectionFailedError | OutcomeUnknownError
    if progress.phase.may_be_billed:
        failure = OutcomeUnknownError(message, status=progress.status, phase=progress.phase)
    else:
        permanent = isinstance(error, PERMANENT) and not is_cut(error)
        refused = isinstance(error, aiohttp.ClientHttpProxyError) and error.status < 500
        failure = ConnectionFailedError(message, phase=progress.phase, permanent=permanent or refused)
    failure.timed_out = isinstance(error, TimeoutError)
    return failure


def stage(progress: Progress) -> str:
    early = progress.status is not None and not progress.phase.may_be_billed
    return "while the answer was being read" if early else STAGES[progress.phase]


def meaning(error: Exception) -> str:
    text = next((text for kind, text in MEANINGS if isinstance(error, kind)), None)
    number = (error.errno or 0) if isinstance(error, OSError) else 0
    if text is None and number in errno.errorcode:
        text = NUMBERS.get(number) or os.strerror(number).lower()
    return text or type(error).__name__


def is_nameless(error: Exception) -> bool:
    """Whether the host's name does not exist, as far as is known."""
    return isinstance(error, aiohttp.ClientConnectorDNSError) and error.os_error.errno != socket.EAI_AGAIN


def is_cut(error: Exception) -> bool:
    """Whether TLS failed because the connection did."""
    cause = getattr(error, "os_error", None) or error.__cause__
    return isinstance(cause, (ssl.SSLEOFError, ConnectionError))


# What limits a stage, of a request and of a download.
LIMITS: Mapping[Phase, tuple[str, str]] = {
    Phase.RESOLVING: ("connect", "connect"),
    Phase.CONNECTING: ("connect", "connect"),
    Phase.HEADERS: ("send_stall", "download_first_byte"),
    Phase.BODY: ("send_stall", "send_stall"),
    Phase.FINAL_RELEASED: ("first_byte", "first_byte"),
    Phase.STATUS: ("idle", "download_idle"),
    Phase.BODY_IN: ("idle", "download_idle"),
}


def find_limit(phase: Phase, timeouts: Timeouts, *, is_download: bool) -> str:
    """Return how long *phase* may take, and which option says so."""
    option = LIMITS.get(phase, LIMITS[Phase.BODY_IN])[is_download]
    seconds: float = getattr(timeouts, option)
    return f"{seconds:g} s (Timeouts.{option})"


def stalled(progress: Progress, limit: str) -> ImagesError:
    message = f"Nothing moved for {limit} {stage(progress)}, with {progress.place}."
    failure: ConnectionFailedError | OutcomeUnknownError
    if progress.phase.may_be_billed:
        failure = OutcomeUnknownError(message, status=progress.status, phase=progress.phase)
    else:
        failure = ConnectionFailedError(message, phase=progress.phase)
    failure.timed_out = True
    return failure
