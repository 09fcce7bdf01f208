"""When a request of a job may be sent: rate limits, concurrency, and whether the API can be reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from burncloud_images.bulk.pace import AdaptiveConcurrency, CircuitBreaker, Permit, RateLimiter
from burncloud_images.errors import (
    APIError,
    ConnectionFailedError,
    ImagesError,
    OutcomeUnknownError,
    RateLimitError,
    ServerError,
)
from burncloud_images.results import Attempt
from burncloud_images.retry import Clock
from burncloud_images.wire.headers import find_rate_limits

MAX_PAUSE = 3600.0
"""Seconds; an API that asks for more says nothing about now."""
OVERLOADED = frozenset({429, 503})


@attrs.define(kw_only=True)
class Admission:
    """
    Gives permits at the moment of sending, in the order in which they are asked for.

    Attributes:
        pacer: Requests, images and tokens a minute.
        limit: How many at once: fewer while the API pushes back.
        circuit: Whether the API can be reached.
        patience: Seconds without a success after which it is given up.
        give_up: Called then, with the reason.
        failing_since: When the first of the failures since the last success came.
    """

    pacer: RateLimiter
    limit: AdaptiveConcurrency
    circuit: CircuitBreaker
    clock: Clock
    patience: float
    give_up: Callable[[str], None]
    failing_since: float | None = None

    async def enter(self, weights: Mapping[str, float]) -> Permit:
        """Wait for a permit. Cancellation gives up the place and spends nothing."""
        await self.limit.acquire()
        try:
            await self.circuit.admit()
            return await self.pacer.acquire(weights)
        except BaseException:
            self.limit.release()
            raise

    def cancel(self) -> None:
        """Take a permit back that was not used; the pace counts it all the same."""
        self.limit.release()

    def observe(self, permit: Permit, headers: Mapping[str, str]) -> None:
        """Follow what the API says is left of its limits."""
        for name, limit in find_rate_limits(headers).items():
            self.pacer.observe(name, limit.remaining, limit.reset, permit)

    def leave(self, permit: Permit, attempt: Attempt, error: ImagesError | None) -> None:
        """Take a permit back, and learn from how its attempt ended."""
        if error is None:
            self.limit.succeed()
        elif is_overload(error, attempt):
            self.limit.reject(permit.at)
        self.limit.release()
        if is_absent(error):
            self.circuit.fail()
        else:
            self.circuit.succeed()
        pause = pause_of(error)
        if isinstance(error, RateLimitError) and pause:
            self.pacer.pause(pause)
        self.lose_patience(error, pause)

    def lose_patience(self, error: ImagesError | None, pause: float) -> None:
        """Give up once patience is over, or will be before the API wants to hear of anybody again."""
        if error is None or not (is_absent(error) or asks_for_patience(error)):
            self.failing_since = None
            return
        now = self.clock.monotonic()
        if self.failing_since is None:
            self.failing_since = now
        if now + pause - self.failing_since >= self.patience:
            self.give_up(error.message)


def pause_of(error: ImagesError | None) -> float:
    """Return the seconds for which the API wants to be left alone."""
    asked = error.retry_after if error is not None else None
    return min(asked, MAX_PAUSE) if asked is not None else 0.0


def is_absent(error: ImagesError | None) -> bool:
    """Whether the API was not there: no connection, or a gateway that says that there is nothing behind it."""
    return isinstance(error, ConnectionFailedError | ServerError)


def asks_for_patience(error: ImagesError) -> bool:
    """Whether the API said to come back later: it is busy, or still works on an earlier attempt."""
    return isinstance(error, RateLimitError) or (isinstance(error, OutcomeUnknownError) and error.in_flight)


def is_overload(error: ImagesError, attempt: Attempt) -> bool:
    """Whether an attempt ended because too much was asked for at once: a refusal that says so, or silence."""
    if isinstance(error, APIError):
        return attempt.status in OVERLOADED
    return isinstance(error, OutcomeUnknownError) and attempt.status in {None, 504}
