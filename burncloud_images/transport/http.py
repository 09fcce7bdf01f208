"""
The transport on aiohttp: sessions, requests and responses.

Three things decide whether a failure was paid for, and none of them is the class of an exception: whether the last
piece of the body had been handed to the connection, whether an answer began, and whether it came to its end. So the
body is written by a payload of our own, which holds the last piece back until the kernel has taken all others, and
every attempt keeps a record of its phase.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from functools import cached_property
from typing import TypeAlias

import aiohttp
import attrs
from yarl import URL

from burncloud_images.errors import (
    ClientClosedError,
    ConfigurationError,
    DownloadRefusedError,
    ImagesError,
    OutcomeUnknownError,
    Phase,
)
from burncloud_images.retry import Clock
from burncloud_images.settings import VERSION, Network, Timeouts, find_proxy, proxy_for, to_ssl
from burncloud_images.transport.address_guard import is_public
from burncloud_images.transport.connection_errors import find_limit, stalled, to_failure
from burncloud_images.transport.connector import TRACE, Connector, PhaseTrace
from burncloud_images.transport.interface import AttemptState, ReplayableUpload, Response, SessionKind
from burncloud_images.transport.timeouts import IdleTimer
from burncloud_images.transport.upload_body import UploadBody
from burncloud_images.wire.body_text import BodyTextDecoder
from burncloud_images.wire.decompression import LayeredDecompressor
from burncloud_images.wire.headers import fold_headers
from burncloud_images.wire.multipart import BodyPlan

Session: TypeAlias = aiohttp.ClientSession
AGENT = f"burncloud-images/{VERSION}"
# Content networks then write their errors in JSON too, whose words go into ours; none is believed.
OWN_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": AGENT}
READ_BUFFER = 64 * 1024
"""Half of the bytes that are received before reading pauses until the sink has taken some."""
KEEP_ALIVE = 0.1
"""
Seconds an idle connection is kept, so that many quick calls share some.

A new one costs nothing beside an image. One that the server is just closing may eat a paid request, and no server is
known that closes so soon.
"""


@attrs.frozen
class AiohttpResponse:
    """An answer of aiohttp's."""

    response: aiohttp.ClientResponse
    state: AttemptState
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
        return self.received() if self.inflated else self.decompressed()

    async def decompressed(self) -> AsyncGenerator[bytes, None]:
        decompressor = LayeredDecompressor(self.headers.get("content-encoding", "").lower())
        async with aclosing(self.received()) as chunks:
            async for chunk in chunks:
                if decompressor.is_plain:
                    yield chunk
                    continue
                try:
                    for piece in decompressor.feed(chunk):
                        self.state.inflated = not decompressor.is_plain
                        yield piece
                except ValueError:
                    message = "The answer's compression is broken."
                    raise OutcomeUnknownError(message, phase=self.state.phase) from None
        for piece in decompressor.close():
            yield piece
        if decompressor.is_cut:
            raise OutcomeUnknownError("The compressed answer ended too early.", phase=self.state.phase)

    async def received(self) -> AsyncGenerator[bytes, None]:
        scale = self.state.clock.loop_seconds
        is_events = self.watched and self.response.content_type == "text/event-stream"
        patience = IdleTimer(
            idle=scale(self.timeouts.idle),
            first_byte=scale(self.timeouts.first_byte),
            text=BodyTextDecoder(is_events=is_events) if self.watched else None,
        )
        while True:
            self.state.timer.allow(patience.left)
            try:
                chunk = await self.response.content.readany()
            except (aiohttp.ClientError, OSError) as error:
                if rest := take_rest(self.response.content):
                    self.state.enter(Phase.BODY_IN)
                    yield rest
                raise to_failure(error, self.state) from None
            waited = self.state.timer.elapsed()
            self.state.allow(None)  # the sink's time is not the server's
            if not chunk:
                break
            self.state.waited += waited
            patience.take(chunk, waited)
            self.state.enter(Phase.BODY_IN)
            yield chunk
        self.state.enter(Phase.COMPLETE)


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
        network: How to reach the network.
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
        self.sessions: dict[SessionKind, aiohttp.ClientSession] = {}
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
        body: tuple[BodyPlan, Sequence[ReplayableUpload]],
        state: AttemptState,
        timeouts: Timeouts,
    ) -> AbstractAsyncContextManager[Response]:
        """Send a request."""
        payload = UploadBody(*body, state, timeouts)
        return self.answer(self.session("api"), "POST", url, headers, payload, state, timeouts)

    @asynccontextmanager
    async def get(
        self, url: str, headers: Mapping[str, str], state: AttemptState, timeouts: Timeouts, *, kind: SessionKind
    ) -> AsyncIterator[Response]:
        """Fetch something that can be fetched again."""
        session = self.session(kind)
        if kind == "guarded":
            await self.check_behind_proxy(url)
        stages = attrs.evolve(timeouts, first_byte=timeouts.download_first_byte, idle=timeouts.download_idle)
        async with self.answer(session, "GET", url, headers, None, state, stages) as response:
            yield response

    @asynccontextmanager
    async def answer(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        headers: Mapping[str, str],
        payload: UploadBody | None,
        state: AttemptState,
        timeouts: Timeouts,
    ) -> AsyncIterator[Response]:
        response: aiohttp.ClientResponse | None = None
        try:
            async with state.timer:
                response = await self.request(session, method, url, headers, payload, state, timeouts)
                yield AiohttpResponse(response, state, timeouts, session.auto_decompress, payload is not None)
        except TimeoutError:
            if not state.timer.expired():
                raise
            raise stalled(state, find_limit(state.phase, timeouts, is_download=payload is None)) from None
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
        payload: UploadBody | None,
        state: AttemptState,
        timeouts: Timeouts,
    ) -> aiohttp.ClientResponse:
        address = URL(url, encoded=True)  # encoding it again would break a signature
        host = address.host or ""
        send = timeouts.first_byte if payload is None else timeouts.send_stall
        TRACE.set(PhaseTrace(session, state, timeouts.connect, send))
        state.place = f"{f'[{host}]' if ':' in host else host}:{address.port}"
        try:
            response = await session.request(
                method,
                address,
                data=payload,
                headers={**OWN_HEADERS, **({"Content-Type": payload.content_type} if payload else {}), **headers},
                allow_redirects=False,
                raise_for_status=False,
                proxy=self.proxy(session, address, state),
                timeout=NO_TIMEOUT,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise to_failure(error, state, was_reached=self.reached) from None
        except ImagesError:
            raise
        except Exception as error:
            if session.closed:
                raise to_closed(session is self.borrowed, state.phase) from None
            if session is not self.borrowed:
                raise
            raise to_session_error(error, state.phase) from None
        self.reached = True
        state.status = response.status
        state.enter(Phase.STATUS, timeouts.idle)
        return response

    def proxy(self, session: aiohttp.ClientSession, address: URL, state: AttemptState) -> str | None:
        """Return the proxy for *address*; a borrowed session may read the environment on its own, and unchecked."""
        network = attrs.evolve(self.network, trust_env=True) if session.trust_env else self.network
        found = find_proxy(network, address.scheme, address.host or "")
        if found is None:
            return None
        state.source = f"The proxy is set by {found[1]}."
        return found[0]

    def session(self, kind: SessionKind) -> aiohttp.ClientSession:
        """Return the session of this kind, opened on first use."""
        if kind == "api" and self.borrowed is not None:
            return self.borrowed
        if self.closed:  # a download that is tried again would open connections that nobody closes
            raise ClientClosedError("The client was closed while the request waited.")
        if kind not in self.sessions:
            self.sessions[kind] = self.make_session(guarded=kind == "guarded")
        return self.sessions[kind]

    def make_session(self, *, guarded: bool) -> aiohttp.ClientSession:
        # Every handshake needs it. Loaded by the first of them, it would want a descriptor where there may be none.
        import encodings.idna  # noqa: F401

        keep_buffers()
        # No headers of its own: aiohttp would send them to any host. No cookies, no .netrc.
        connector = Connector(
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
        )

    async def check_behind_proxy(self, url: str) -> None:
        """Look the target up ourselves where the socket would only see the proxy; weaker, as names can change."""
        address = URL(url, encoded=True)
        if proxy_for(self.network, address.scheme, address.host or "") is None:
            return
        with suppress(OSError):  # names that only the proxy can resolve
            for *_, sockaddr in await asyncio.get_running_loop().getaddrinfo(address.host, address.port):
                refuse_private(str(sockaddr[0]))


def check_session(session: object, *, sends_key: bool) -> None:
    """
    Refuse a session that cannot send our requests.

    Raises:
        ConfigurationError: It is not one of aiohttp, or would send credentials of its own in place of the key.
    """
    if getattr(session, "sends_nothing", False) is True:  # the preview of a request
        return
    if not isinstance(session, aiohttp.ClientSession):
        kind = session.__name__ if isinstance(session, type) else type(session).__name__
        message = f"session= has to be an aiohttp.ClientSession that was made, not {kind}"
        raise ConfigurationError(f"{message}; what wraps one may send a request twice.")
    if getattr(session, "auth", None) is not None and sends_key:
        raise ConfigurationError(
            "The session was made with auth=, which would take the place of the API key. "
            "Make it without, or give api_key=False."
        )


def to_closed(borrowed: bool, phase: Phase) -> ClientClosedError:  # noqa: FBT001
    who = "The session that was given is closed." if borrowed else "The client was closed while the request waited."
    return ClientClosedError(who, phase=phase)


def to_session_error(error: Exception, phase: Phase) -> ConfigurationError | OutcomeUnknownError:
    """Return the error for whatever a borrowed session raised: a middleware of its own can raise anything."""
    message = f"The session that was given raised {type(error).__name__}: {str(error).rstrip('.')}."
    if phase.may_be_billed:
        return OutcomeUnknownError(message, phase=phase)
    return ConfigurationError(message, phase=phase)


def keep_buffers() -> None:
    """
    Have the C library keep freed buffers for the next chunks: 80 MB of images take 36,000 page faults without.

    Source: mallopt(3), M_MMAP_THRESHOLD: it grows to the largest block that was freed. This one is never touched.
    """
    bytes(1024 * 1024)


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
            f"The image's address is refused: its host is {address}, which is not a public address.", host=address
        )
