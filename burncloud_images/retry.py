"""
When a request is sent again: a pure decision, and what the calls of a client share for it.

What the error says about billing decides what is sent again, and never its class in the HTTP library. After an error
that leaves the outcome unknown, a request is sent again only if the caller accepted to pay twice, or if the server is
known to recognise a request that it has seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import attrs

from burncloud_images.errors import (
    APIError,
    AuthenticationError,
    Billing,
    ConfigurationError,
    ConnectionFailedError,
    DownloadError,
    ImagesError,
    InputChangedError,
    ModerationError,
    OutcomeUnknownError,
    RateLimitError,
    ServerError,
    mark,
)

if TYPE_CHECKING:
    from datetime import datetime

Verdict: TypeAlias = Literal["retry", "throttled", "stop"]
"""Retry after a failure; retry when the server allows it, which does not count as a failure; or raise the error."""

Answered: TypeAlias = APIError | ConnectionFailedError | OutcomeUnknownError
"""Errors that say whether the server wants the request to be sent again."""

PASSING = (RateLimitError, ServerError)
"""Errors after which the API may answer the same request differently a little later."""

SAYS_NOTHING_BILLED = (APIError, ConnectionFailedError, InputChangedError)
"""Errors that, if not marked otherwise, say that their own attempt was not billed."""

THROTTLE_FIRST_WAIT = 1.0
SHORTEST_WAIT = 0.1
IN_FLIGHT_WAIT = 5.0
"""Seconds until a request that the server is still processing is sent again."""
LONGEST_SERVER_WAIT = 120.0
"""If a server asks for more seconds, the error is raised instead."""
LONGEST_SENSIBLE_WAIT = 3600.0
"""If a server asks for even more, it is ignored and the policy's own wait is used."""


class Clock(Protocol):
    """The source of time and date; tests hand in one whose seconds are shorter."""

    def now(self) -> datetime:
        """Return the date and time, aware UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    def loop_seconds(self, seconds: float) -> float:
        """Return how long *seconds* last on the event loop's own clock."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


def duration(_policy: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    """Refuse a value that is not a duration."""
    if value is not None and not 0 <= value < math.inf:  # nan is not
        raise ValueError(f"{attribute.name} has to be a number of seconds from 0 on, not {value}")


def to_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """Return *names* as a tuple; a string is a single name and not its letters."""
    return (names,) if isinstance(names, str) else tuple(names)


def to_codes(codes: Mapping[str, type[APIError]]) -> Mapping[str, type[APIError]]:
    """
    Return the classes of errors by their codes; a number is a code too.

    Raises:
        ConfigurationError: Something is not a code, or not the class of an error that the API answers.
    """
    check_codes(codes)
    return {str(code): kind for code, kind in codes.items()}


def check_codes(codes: object) -> None:
    if not isinstance(codes, Mapping):
        raise ConfigurationError(f"codes has to map error codes to classes of errors; {codes!r} does not.")
    for code, kind in codes.items():
        if isinstance(code, bool) or not isinstance(code, str | int) or code == "":
            raise ConfigurationError(f"codes: {code!r} is not an error code, which is a text such as '1113'.")
        if not (isinstance(kind, type) and issubclass(kind, APIError) and kind is not APIError):
            named = kind.__name__ if isinstance(kind, type) else repr(kind)
            known = ", ".join(sorted(one.__name__ for one in APIError.__subclasses__()))
            raise ConfigurationError(f"codes: {code} cannot mean {named}; it can mean one of {known}.")


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """
    Which failures are retried, how often and after how long.

    The maximum wait doubles with each attempt, and the wait is a random part of it (full jitter). A longer wait that
    the server asks for is kept; if it asks for more than two minutes, the error is raised instead.

    Attributes:
        attempts: Maximum number of attempts, at least 1. With 1 nothing is retried. A 429 does not count as a failure:
            only `deadline` limits it.
        first_wait: Maximum seconds before the second attempt.
        max_wait: Maximum seconds before any later attempt.
        throttle_wait: Maximum seconds before an attempt after a 429, unless the 429 names a longer time.
        deadline: Seconds after the start of the first attempt in which another may start; None for no limit. A running
            attempt is never cut.
        task_deadline: Seconds for which a task is asked for, from the moment it is known; None for those of `deadline`.
            In a job it holds for each run.
        on_unknown: What to do when a request may have been billed and no usable answer came. `raise` is safe; with
            `retry` the caller accepts paying twice.
        retry_codes: Error codes of the API that are retried, beyond the documented ones.
        fail_codes: Error codes that are never retried.
        unknown_codes: Error codes that may come after the image was made; they are raised as `OutcomeUnknownError`.
        codes: What error codes of your gateway mean: a class of error for each, as in `{"1113": QuotaExceededError}`.
            The class decides whether the request is sent again, and what a job does. It comes before what this package
            knows of the code.
        trust_errors: Whether, as you know of the gateway, a 5xx error in the API's own form means that nothing was
            billed. It does not apply to HTML pages, or to errors that are known to come from a proxy.
        server_idempotency: What the server does with an `Idempotency-Key` that it has seen: `none` (it may make the
            image again), `replay` (it repeats its answer) or `reject` (it refuses). With the latter two a request with
            an unknown outcome is sent again, since that buys nothing twice.
    """

    attempts: int = attrs.field(default=4, validator=[attrs.validators.instance_of(int), attrs.validators.ge(1)])
    first_wait: float = attrs.field(default=0.5, validator=duration)
    max_wait: float = attrs.field(default=8.0, validator=duration)
    throttle_wait: float = attrs.field(default=30.0, validator=duration)
    deadline: float | None = attrs.field(default=900.0, validator=duration)
    task_deadline: float | None = attrs.field(default=None, validator=duration)
    on_unknown: Literal["raise", "retry"] = attrs.field(
        default="raise", validator=attrs.validators.in_(("raise", "retry"))
    )
    retry_codes: tuple[str, ...] = attrs.field(default=(), converter=to_names)
    fail_codes: tuple[str, ...] = attrs.field(default=(), converter=to_names)
    unknown_codes: tuple[str, ...] = attrs.field(default=(), converter=to_names)
    codes: Mapping[str, type[APIError]] = attrs.field(factory=dict, converter=to_codes, hash=False)
    trust_errors: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))
    server_idempotency: Literal["none", "replay", "reject"] = attrs.field(
        default="none", validator=attrs.validators.in_(("none", "replay", "reject"))
    )

    def wait(self, error: ImagesError, *, attempt: int, elapsed: float, jitter: float) -> float | None:
        """
        Return how long to wait before the next attempt.

        Args:
            error: What the last attempt raised.
            attempt: How many attempts have ended with the verdict of this one, from 1.
            elapsed: Seconds since the first attempt began.
            jitter: A number in [0, 1); an argument, so that this stays pure.

        Returns:
            Seconds, never less than the server asked for; None to stop.
        """
        verdict = self.judge(error)
        if verdict == "stop" or self.attempts == 1 or (verdict == "retry" and attempt >= self.most_attempts(error)):
            return None
        seconds = self.delay(error, verdict, attempt, jitter)
        if seconds is None or (self.deadline is not None and elapsed + seconds > self.deadline):
            return None
        return seconds

    def judge(self, error: ImagesError) -> Verdict:
        """Return what kind of failure *error* is."""
        if isinstance(error, DownloadError):
            return "retry" if error.retryable else "stop"
        if not isinstance(error, Answered):
            return "stop"
        code = None if isinstance(error, ConnectionFailedError) else error.code
        if error.retryable is False or code in self.fail_codes:
            return "stop"
        if isinstance(error, ConnectionFailedError):
            return "stop" if error.billed else "retry"
        if isinstance(error, OutcomeUnknownError) or error.billed or code in self.unknown_codes:
            return self.judge_unknown(error)
        return self.judge_refusal(error)

    def judge_unknown(self, error: OutcomeUnknownError | APIError) -> Verdict:
        """Return what to do about an attempt that may have been billed."""
        if isinstance(error, OutcomeUnknownError) and error.in_flight:
            return "throttled"  # the server knows the key, so asking again buys nothing
        if isinstance(error, APIError) and not isinstance(error, PASSING):
            return "retry" if error.code in self.retry_codes else "stop"
        safe = self.server_idempotency != "none" or error.code in self.retry_codes
        return "retry" if safe or self.on_unknown == "retry" else "stop"

    def judge_refusal(self, error: APIError) -> Verdict:
        """Return what to do about an answer that says that nothing was billed."""
        if isinstance(error, RateLimitError):
            return "throttled"
        key_changed = isinstance(error, AuthenticationError) and error.key_changed
        failed = isinstance(error, ServerError)
        return "retry" if failed or key_changed or error.retryable or error.code in self.retry_codes else "stop"

    def most_attempts(self, error: ImagesError) -> int:
        """Return the maximum number of attempts for a failure such as *error*."""
        own = error.most_attempts if isinstance(error, ConnectionFailedError) else None
        return min(self.attempts, own or self.attempts)

    def delay(self, error: ImagesError, verdict: Verdict, attempt: int, jitter: float) -> float | None:
        """Return the seconds to wait, without regard to the deadline; None if the server asks for too many."""
        asked = server_wait(error) or 0.0
        if asked > LONGEST_SERVER_WAIT:
            return None
        told = asked + spread(asked, jitter)
        if isinstance(error, OutcomeUnknownError) and error.in_flight:
            return max(told, THROTTLE_FIRST_WAIT)  # the server knows best when it will be done
        first, most = (
            (THROTTLE_FIRST_WAIT, self.throttle_wait) if verdict == "throttled" else (self.first_wait, self.max_wait)
        )
        # Waits grow even if the server asks for the same short wait again and again.
        return max(told, min(SHORTEST_WAIT, most), jitter * min(most, first * 2.0 ** min(attempt - 1, 30)))


def is_unknown(error: ImagesError) -> bool:
    """Return whether an attempt that raised *error* may have been billed without a usable answer."""
    return isinstance(error, APIError | OutcomeUnknownError) and error.billed > Billing.NO


def count_images(error: ImagesError) -> int:
    """Return how many images *error* holds, whole or not."""
    return sum(len(getattr(error, name, ())) for name in ("images", "partials", "damaged"))


def choose_error(failures: Sequence[ImagesError]) -> ImagesError:
    """
    Return the most informative error of a call whose attempts raised *failures*.

    A last attempt that was not billed does not undo an earlier one that may have been billed.
    """
    last, doubtful = failures[-1], [error for error in failures if is_unknown(error)]
    if isinstance(last, APIError) and last.key_already_used and last is not failures[0]:
        return blame_earlier(failures)
    if is_unknown(last):
        # The one with the most images; then any but a refusal for its content, as that made none; then *last*.
        return max(doubtful, key=lambda one: (count_images(one), not isinstance(one, ModerationError), one is last))
    if isinstance(last, SAYS_NOTHING_BILLED):
        return max(doubtful, key=count_images, default=last)
    return last


def blame_earlier(failures: Sequence[ImagesError]) -> ImagesError:
    """Return the error of an earlier attempt, which reached the API: the last answer says that it knows the key."""
    *earlier, last = failures
    error = max(filter(is_unknown, earlier), key=count_images, default=earlier[0])
    mark(error, Billing.MAYBE)
    error.add_note(f"A later attempt was refused: {last.message} So an earlier one may have been billed.")
    return error


def server_wait(error: ImagesError) -> float | None:
    """Return the seconds that the server asks to wait; None if it does not say."""
    asked = error.retry_after if isinstance(error, Answered | DownloadError) else None
    if asked and asked <= LONGEST_SENSIBLE_WAIT:
        return asked
    return IN_FLIGHT_WAIT if isinstance(error, OutcomeUnknownError) and error.in_flight else None


def spread(seconds: float, jitter: float) -> float:
    """Return seconds to add to a wait that the server asked for, so that not all clients come back at once."""
    return jitter * min(5.0, 0.1 * seconds)


@attrs.define(kw_only=True)
class RetryBudget:
    """
    Limits the retries of all calls of a client, so that 1,000 calls to a dead gateway do not send 4,000 requests.

    Attributes:
        most: Tokens at the start, and the maximum.
        cost: Tokens that one retry costs. They come back if the call succeeds.
        tokens: Tokens left.

    Source:
        The token bucket of the AWS SDKs' standard retry mode, with its numbers.
    """

    most: int = 500
    cost: int = 14
    tokens: int = attrs.field(default=attrs.Factory(lambda budget: budget.most, takes_self=True))

    def take(self) -> bool:
        """Pay for one retry, or return False if too little is left."""
        if self.tokens < self.cost:
            return False
        self.tokens -= self.cost
        return True

    def refund(self, retries: int) -> None:
        """Give back the tokens of a call that succeeded after *retries*; a call without retries earns one token."""
        self.tokens = min(self.most, self.tokens + (retries * self.cost or 1))


@attrs.define
class PacingGate:
    """
    Closed while the server has asked for a pause; shared by all calls of a client.

    Attributes:
        opens_at: On the steady clock of the calls, in seconds; if that is past, the gate is open.
    """

    opens_at: float = float("-inf")

    def remaining(self, now: float) -> float:
        """Return the seconds until it opens; 0 if it is open."""
        return max(0.0, self.opens_at - now)

    def close(self, until: float) -> None:
        """Keep the gate closed until then; never open it earlier."""
        self.opens_at = max(self.opens_at, until)
