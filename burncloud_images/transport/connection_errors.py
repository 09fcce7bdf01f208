"""Converts exceptions of aiohttp and the system to ours: what happened, where, and whether it may be billed."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Mapping

import aiohttp

from burncloud_images.errors import (
    ConnectionFailedError,
    ImagesError,
    OutcomeUnknownError,
    Phase,
)
from burncloud_images.settings import Timeouts
from burncloud_images.transport.interface import AttemptState

NAMELESS_ATTEMPTS = 2
"""How many attempts a host is worth whose name does not exist, before anything was ever reached."""


STAGES: Mapping[Phase, str] = {
    Phase.QUEUED: "before it began",
    Phase.RESOLVING: "while the host's name was being resolved",
    Phase.CONNECTING: "while connecting",
    Phase.HEADERS: "while the request was being sent",
    Phase.BODY: "while the request was being sent",
    Phase.FINAL_RELEASED: "after the whole request was sent, before an answer came",
    Phase.STATUS: "at the beginning of the answer",
    Phase.BODY_IN: "in the middle of the answer",
    Phase.ACCEPTED: "after the request was accepted",
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
    (aiohttp.ClientResponseError, "the answer is not valid HTTP"),
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


def to_failure(error: Exception, state: AttemptState, *, was_reached: bool = True) -> ImagesError:
    """Return our error for *error*: decided by how far the request got, never by the class of the exception."""
    if state.input_error is not None:
        return state.input_error
    to = f" to {state.place}" if state.place else ""
    message = f"The connection{to} failed {stage(state)}: {meaning(error)}.{find_source(state)}"
    timed_out = isinstance(error, TimeoutError)
    if state.phase.may_be_billed:
        return OutcomeUnknownError(message, status=state.status, phase=state.phase, timed_out=timed_out)
    permanent = isinstance(error, PERMANENT) and not is_cut(error)
    refused = isinstance(error, aiohttp.ClientHttpProxyError) and error.status < 500
    return ConnectionFailedError(
        message,
        phase=state.phase,
        retryable=False if permanent or refused else None,
        timed_out=timed_out,
        # A wrong base URL is more likely than a moment without a network.
        most_attempts=NAMELESS_ATTEMPTS if is_nameless(error) and not was_reached else None,
    )


def find_source(state: AttemptState) -> str:
    """Return where the host that was not reached was set, as a sentence that follows another."""
    return f" {state.source}" if state.source and state.phase <= Phase.CONNECTING else ""


def stage(state: AttemptState) -> str:
    early = state.status is not None and not state.phase.may_be_billed
    return "while the answer was being read" if early else STAGES[state.phase]


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


def stalled(state: AttemptState, limit: str) -> ImagesError:
    message = f"Nothing moved for {limit} {stage(state)}, with {state.place}.{find_source(state)}"
    if state.phase.may_be_billed:
        return OutcomeUnknownError(message, status=state.status, phase=state.phase, timed_out=True)
    return ConnectionFailedError(message, phase=state.phase, timed_out=True)
