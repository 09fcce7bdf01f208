"""
A pool of connections that records the phases of an attempt.

The session's own trace hooks would do it too, but they cost a small request more than writing it does.
"""

from __future__ import annotations

from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING

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
    """Connections of which each request's `TRACE` is told."""

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Connection:
        """Return a connection for *req*."""
        trace = TRACE.get()
        connection = await super().connect(req, [*traces, trace], timeout)
        trace.begin_sending()
        return connection
