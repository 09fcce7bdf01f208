"""
When a request is sent again: a pure decision, and the tenacity loop made from it.

What may be repeated is decided by what the error says about money, never by its class in the HTTP library: an error
that leaves the outcome unknown is never repeated unless the caller accepted to pay twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import attrs

from burncloud_images.errors import (
    APIError,
    ConnectionFailedError,
    DownloadError,
    ImagesError,
    OutcomeUnknownError,
    RateLimitError,
    ServerError,
)

if TYPE_CHECKING:
    from tenacity import AsyncRetrying

__all__ = ["RetryPolicy", "Verdict", "repeat", "to_names"]

T = TypeVar("T")

Verdict = Literal["retry", "pace", "stop"]
"""Try again as a failure; try again as the server's pace, which does not count as a failure; or raise."""

THROTTLE_FIRST_WAIT = 1.0
SHORTEST_WAIT = 0.1
LONGEST_SERVER_WAIT = 120.0
"""A server that asks for more is told to the caller instead of slept for."""


def not_negative(_policy: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    """Refuse what is no duration."""
    if value is not None and not value >= 0:  # nan is not
        raise ValueError(f"{attribute.name} has to be at least 0 seconds, not {value}")


def to_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return *names* as they are kept; a function because mypy cannot see through `converter=tuple`."""
    return tuple(names)


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """
    Which failures are repeated, how often and how long after.

    Waits double from try to try, with full jitter: a random part of a growing most. What the server asks for is never
    undercut, and above two minutes it is raised instead of slept.

    Attributes:
        attempts: Tries in all, at least 1. With 1 nothing is repeated. An answer 429 is the server's pace and not a
            failure: it is limited by `deadline` alone.
        first_wait: Most seconds before the second try.
        max_wait: Most seconds before any later try.
        throttle_wait: Most seconds before a try after a 429 that names no time.
        deadline: Seconds after the first try's start in which another may start; None for no limit. It never cuts a
            try that runs.
        on_unknown: What to do when a request may have been billed and no usable answer came. `raise` is safe; with
            `retry` the caller accepts to pay twice.
        retry_codes: Error codes of the API that are worth another try, beyond the documented ones.
        fail_codes: Error codes that are never worth one.
        unknown_codes: Error codes that may come after the image was made.
    """

    attempts: int = attrs.field(default=4, validator=attrs.validators.ge(1))
    first_wait: float = attrs.field(default=0.5, validator=not_negative)
    max_wait: float = attrs.field(default=8.0, validator=not_negative)
    throttle_wait: float = attrs.field(default=30.0, validator=not_negative)
    deadline: float | None = attrs.field(default=900.0, validator=not_negative)
    on_unknown: Literal["raise", "retry"] = attrs.field(
        default="raise", validator=attrs.validators.in_(("raise", "retry"))
    )
    retry_codes: tuple[str, ...] = attrs.field(default=(), converter=to_names)
    fail_codes: tuple[str, ...] = attrs.field(default=(), converter=to_names)
    unknown_codes: tuple[str, ...] = attrs.field(default=(), converter=to_names)

    def wait(self, error: ImagesError, *, attempt: int, elapsed: float, jitter: float) -> float | None:
        """
        Return how long to wait before the next attempt.

        Args:
            error: What the last attempt raised.
            attempt: How many attempts have ended like this one, as a failure or as pace, from 1.
            elapsed: Seconds since the first attempt began.
            jitter: A number in [0, 1); an argument, so that this stays pure.

        Returns:
            Seconds, never less than the server asked for; None to give up.
        """
        verdict = self.judge(error)
        if verdict == "stop" or self.attempts == 1 or (verdict == "retry" and attempt >= self.attempts):
            return None
        seconds = self.delay(error, verdict, attempt, jitter)
        if seconds is None or (self.deadline is not None and elapsed + seconds > self.deadline):
            return None
        return seconds

    def judge(self, error: ImagesError) -> Verdict:
        """Return what kind of failure *error* is."""
        if isinstance(error, APIError):
            return self.judge_answer(error)
        if isinstance(error, OutcomeUnknownError):
            return "retry" if self.on_unknown == "retry" else "stop"
        if isinstance(error, ConnectionFailedError):
            return "stop" if error.permanent else "retry"
        if isinstance(error, DownloadError):
            return "retry" if error.transient else "stop"
        return "stop"

    def judge_answer(self, error: APIError) -> Verdict:
        """Return what kind of failure an error answer is."""
        if error.midway or error.code in self.unknown_codes:
            return "retry" if self.on_unknown == "retry" else "stop"
        if error.should_retry is False or error.code in self.fail_codes:
            return "stop"
        if isinstance(error, RateLimitError):
            return "pace"
        wanted = isinstance(error, ServerError) and error.status >= 400
        return "retry" if wanted or error.should_retry or error.code in self.retry_codes else "stop"

    def delay(self, error: ImagesError, verdict: Verdict, attempt: int, jitter: float) -> float | None:
        """Return the seconds to wait, whatever the deadline; None if the server asks for too many."""
        asked = error.retry_after if isinstance(error, (APIError, DownloadError)) else None
        if asked is not None:
            return None if asked > LONGEST_SERVER_WAIT else asked + jitter * min(5.0, 0.1 * asked)
        first, most = (
            (THROTTLE_FIRST_WAIT, self.throttle_wait) if verdict == "pace" else (self.first_wait, self.max_wait)
        )
        return max(min(SHORTEST_WAIT, most), jitter * min(most, first * 2.0 ** min(attempt - 1, 30)))


class Observer(Protocol):
    """Sees every failed attempt, with the seconds until the next or None."""

    def __call__(self, error: ImagesError, wait: float | None, /) -> None:
        """Take note."""


@attrs.define(kw_only=True)
class Repetition:
    """One call's count of failures, and the wait that was last decided."""

    policy: RetryPolicy
    monotonic: Callable[[], float]
    jitter: Callable[[], float]
    on_failure: Observer
    started: float
    counts: dict[Verdict, int] = attrs.field(factory=dict)
    wait: float | None = None

    def allows(self, error: BaseException) -> bool:
        """Decide whether to go on after *error*; tenacity asks once per failure."""
        if not isinstance(error, ImagesError):
            return False  # CancelledError above all
        verdict = self.policy.judge(error)
        self.counts[verdict] = self.counts.get(verdict, 0) + 1
        elapsed = self.monotonic() - self.started
        self.wait = self.policy.wait(error, attempt=self.counts[verdict], elapsed=elapsed, jitter=self.jitter())
        self.on_failure(error, self.wait)
        return self.wait is not None


async def repeat(
    attempt: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    *,
    sleep: Callable[[float], Awaitable[None]],
    monotonic: Callable[[], float],
    jitter: Callable[[], float],
    on_failure: Observer,
) -> T:
    """
    Return what *attempt* returns, calling it again as *policy* says.

    The first call runs bare: building tenacity's loop costs more than a small request. If it fails, the loop's first
    call raises what it raised.

    Raises:
        ImagesError: The last failure.
    """
    repetition = Repetition(
        policy=policy, monotonic=monotonic, jitter=jitter, on_failure=on_failure, started=monotonic()
    )
    try:
        return await attempt()
    except ImagesError as error:
        failed = [error]

    async def next_attempt() -> T:
        if failed:
            raise failed.pop()
        return await attempt()

    return await loop(repetition, sleep)(next_attempt)


def loop(repetition: Repetition, sleep: Callable[[float], Awaitable[None]]) -> AsyncRetrying:
    # A new object per call: shared ones mix the attempts of concurrent calls.
    import tenacity

    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(repetition.allows),
        wait=lambda _: repetition.wait or 0.0,
        stop=tenacity.stop_never,
        sleep=sleep,
        reraise=True,
    )
