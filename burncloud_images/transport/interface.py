"""
What calls need of a transport: requests out, answers in, and how far each attempt got.

`transport.http` is its aiohttp form.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol, TypeAlias

import attrs

from burncloud_images.errors import ImagesError, Phase
from burncloud_images.model.media import Media
from burncloud_images.retry import Clock
from burncloud_images.settings import Timeouts
from burncloud_images.transport.timeouts import PhaseTimer
from burncloud_images.wire.multipart import BodyPlan


class ReplayableUpload(Protocol):
    """An image that can be read as often as needed."""

    @property
    def name(self) -> str:
        """What errors call it: its path, if it has one."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def media(self) -> Media:
        """What the bytes are."""

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield all bytes, from the start."""


SessionKind: TypeAlias = Literal["api", "guarded", "exempt"]
"""To the API; to public addresses only; to hosts that the operator vouches for."""


@attrs.define(kw_only=True)
class AttemptState:
    """
    The phase of an attempt; each phase has its own timeout.

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
        source: A sentence that says where the base URL was set, or the proxy if there is one; empty if unknown.
        inflated: Whether the body turned out to be compressed, so that its headers are not about what it holds.
    """

    clock: Clock
    timer: PhaseTimer = attrs.field(
        default=attrs.Factory(lambda self: PhaseTimer(self.clock.loop_seconds(1.0)), takes_self=True)
    )
    waited: float = 0.0
    phase: Phase = Phase.QUEUED
    sent: int = 0
    status: int | None = None
    input_error: ImagesError | None = None
    reused: bool = False
    place: str = ""
    source: str = ""
    inflated: bool = False

    def enter(self, phase: Phase, seconds: float | None = None) -> None:
        """Go on to *phase*, which may take *seconds*; an answer to half a request does not make it whole."""
        if phase <= Phase.FINAL_RELEASED or self.phase >= Phase.FINAL_RELEASED:
            self.phase = max(self.phase, phase)
        self.allow(seconds)

    def take_answer(self) -> None:
        """Note that a result has begun to arrive: the server has worked, even if little of the request was sent."""
        self.phase = max(self.phase, Phase.BODY_IN)

    def allow(self, seconds: float | None) -> None:
        """Start the time of a stage anew; None stops it."""
        self.timer.allow(None if seconds is None else seconds * self.timer.second)


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
    """Sends requests over the network."""

    def post(
        self,
        url: str,
        headers: Mapping[str, str],
        body: tuple[BodyPlan, Sequence[ReplayableUpload]],
        state: AttemptState,
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
        self, url: str, headers: Mapping[str, str], state: AttemptState, timeouts: Timeouts, *, kind: SessionKind
    ) -> AbstractAsyncContextManager[Response]:
        """
        Fetch something that can be fetched again.

        Raises:
            ConnectionFailedError: No answer came, or not all of it.
            DownloadRefusedError: The address is not public.
        """

    async def aclose(self) -> None:
        """Close the connections."""
