"""
A pool of connections that records the phases of an attempt.

The session's own trace hooks would do it too, but they cost a small request more than writing it does.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import ContextVar
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING
from weakref import WeakSet

import aiohttp
from aiohttp.tracing import Trace

from burncloud_images.errors import Phase
from burncloud_images.transport.interface import AttemptState

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection

QUIET = aiohttp.TraceConfig()
QUIET.freeze()


class PhaseTrace(Trace):
    """
    Records the phases of one attempt, and starts the time of each; waiting for a free connection has none.

    Args:
        session: Sends the request.
        state: Of the attempt.
        connect: Seconds that connecting may take.
        send: Seconds from the connection to the next phase.
    """

    def __init__(self, session: aiohttp.ClientSession, state: AttemptState, connect: float, send: float) -> None:
        super().__init__(session, QUIET, SimpleNamespace())
        self.state = state
        self.connect = connect
        self.send = send

    async def send_connection_create_start(self) -> None:
        self.state.enter(Phase.CONNECTING, self.connect)

    async def send_dns_resolvehost_start(self, host: str) -> None:  # noqa: ARG002
        self.state.phase = Phase.RESOLVING  # a stage within connecting, in its time

    async def send_dns_resolvehost_end(self, host: str) -> None:  # noqa: ARG002
        self.state.phase = Phase.CONNECTING

    async def send_connection_reuseconn(self) -> None:
        self.state.reused = True

    def begin_sending(self) -> None:
        """Note that the request leaves now."""
        self.state.enter(Phase.HEADERS, self.send)


TRACE: ContextVar[PhaseTrace] = ContextVar("TRACE")
"""Of the request that this task sends: aiohttp hands a connector nothing of ours."""


class Connector(aiohttp.TCPConnector):
    """
    Connections of which each request's `TRACE` is told.

    One that is closed while idle says goodbye over TLS first, and waits half a minute for a server that does not
    answer. aiohttp no longer knows of it then, so it is remembered here.
    """

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Connection:
        """Return a connection for *req*."""
        trace = TRACE.get()
        connection = await super().connect(req, [*traces, trace], timeout)
        if connection.transport is not None:
            with suppress(TypeError):  # uvloop's cannot be referred to weakly
                self.transports.add(connection.transport)
        trace.begin_sending()
        return connection

    @cached_property
    def transports(self) -> WeakSet[asyncio.Transport]:
        """Those of all connections that are open or being closed."""
        return WeakSet()

    async def close(self, *, abort_ssl: bool = False) -> None:  # noqa: ARG002 (it always does)
        """Close all connections at once, so that no socket outlives the event loop."""
        await super().close()
        for transport in self.transports:
            transport.abort()
        await asyncio.sleep(0)
