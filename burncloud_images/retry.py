"""
When a request is sent again: a pure decision, and the tenacity loop made from it.

What may be repeated is decided by what the error says about money, never by its class in the HTTP library: an error
that leaves the outcome unknown is never repeated unless the caller accepted to pay twice, or the server is known to
recognise a request that it has seen.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

import attrs

from burncloud_images.errors import (
    APIError,
    AuthenticationError,
    Billing,
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
    from tenacity import AsyncRetrying

T = TypeVar("T")

Verdict = Literal["retry", "pace", "stop"]
"""Try again as a failure; try again as the server's pace, which does not count as a failure; or raise."""

Answered: TypeAlias = APIError | ConnectionFailedError | OutcomeUnknownError
"""What an answer with an error becomes: each knows what the server said about trying again."""

PASSING = (RateLimitError, ServerError)
"""What the API may answer to the same request in another way a little later."""

THROTTLE_FIRST_WAIT = 1.0
SHORTEST_WAIT = 0.1
IN_FLIGHT_WAIT = 5.0
"""Seconds until the server is asked again for the outcome of a request that it is still working on."""
LONGEST_SERVER_WAIT = 120.0
"""A server that asks for more is told to the caller instead of slept for."""
LONGEST_SENSIBLE_WAIT = 3600.0
"""A server that asks for more says nothing about now; the wait is our own then."""


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
    """Refuse what is no duration."""
    if value is not None and not 0 <= value < math.inf:  # nan is not
        raise ValueError(f"{attribute.name} has to be a number of seconds from 0 on, not {value}")


def to_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """Return *names* as they are kept; a single one is one name, not its letters."""
    return (names,) if isinstance(names, str) else tuple(names)


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """
    Which failures are repeated, how often and how long after.

    Waits double from try to try, with full jitter: a random part of a growing most. What the server asks for makes them
    longer, never shorter, and above two minutes it is raised instead of slept.

    Attributes:
        attempts: Tries in all, at least 1. With 1 nothing is repeated. An answer 429 is the server's pace and not a
            failure: it is limited by `deadline` alone.
        first_wait: Most seconds before the second try.
        max_wait: Most seconds before any later try.
        throttle_wait: Most seconds before a try after a 429, unless it names a longer time.
        deadline: Seconds after the first try's start in which another may start; None for no limit. It never cuts a
            try that runs.
        on_unknown: What to do when a request may have been billed and no usable answer came. `raise` is safe; with
            `retry` the caller accepts to pay twice.
        retry_codes: Error codes of the API that are worth another try, beyond the documented ones.
        fail_codes: Error codes that are never worth one.
        unknown_codes: Error codes that may come after the image was made; they are raised as `OutcomeUnknownError`.
        trust_errors: Whether an error 5xx in the API's own form says that nothing was billed, by your knowledge of the
            gateway. It holds for no page, and for no error that is known to be a proxy's.
        server_idempotency: What the server does with an `Idempotency-Key` that it has seen: `none` (it may make the
            image again), `replay` (it repeats its answer) or `reject` (it refuses). With the latter two an unknown
            outcome is asked for again, since that buys nothing twice.
    """

    attempts: int = attrs.field(default=4, validator=[attrs.validators.instance_of(int), attrs.validators.ge(1)])
    first_wait: float = attrs.field(default=0.5, validator=duration)
    max_wait: float = attrs.field(default=8.0, validator=duration)
    throttle_wait: float = attrs.field(default=30.0, validator=duration)
    deadline: float | None = attrs.field(default=900.0, validator=duration)
    on_unknown: Literal["raise", "retry"] = attrs.field(
        default="raise", validator=attrs.validators.in_(("raise", "retry"))
    )
    retry_codes: tuple[str, ...] = attrs.field(default=(), converter=to_names)
    fail_codes: tuple[str, ...] = attrs.field(default=(), converter=to_names)
    unknown_codes: tuple[str, ...] = attrs.field(default=(), converter=to_names)
    trust_errors: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))
    server_idempotency: Literal["none", "replay", "reject"] = attrs.field(
        default="none", validator=attrs.validators.in_(("none", "replay", "reject"))
    )

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
        if verdict == "stop" or self.attempts == 1 or (verdict == "retry" and attempt >= self.most_attempts(error)):
            return None
        seconds = self.delay(error, verdict, attempt, jitter)
        if seconds is None or (self.deadline is not None and elapsed + seconds > self.deadline):
            return None
        return seconds

    def judge(self, error: ImagesError) -> Verdict:
        """Return what kind of failure *error* is."""
        if isinstance(error, DownloadError):
            return "retry" if error.transient else "stop"
        if not isinstance(error, Answered):
            return "stop"
        code = None if isinstance(error, ConnectionFailedError) else error.code
        if error.should_retry is False or code in self.fail_codes:
            return "stop"
        if isinstance(error, ConnectionFailedError):
            return "stop" if error.permanent or error.billed else "retry"
        if isinstance(error, OutcomeUnknownError) or error.billed or code in self.unknown_codes:
            return self.judge_unknown(error)
        return self.judge_refusal(error)

    def judge_unknown(self, error: OutcomeUnknownError | APIError) -> Verdict:
        """Return what to do about an attempt that may have been billed."""
        if isinstance(error, OutcomeUnknownError) and error.in_flight:
            return "pace"  # the server knows the key, so asking again buys nothing
        if isinstance(error, APIError) and not isinstance(error, PASSING):
            return "retry" if error.code in self.retry_codes else "stop"
        safe = self.server_idempotency != "none" or error.code in self.retry_codes
        return "retry" if safe or self.on_unknown == "retry" else "stop"

    def judge_refusal(self, error: APIError) -> Verdict:
        """Return what kind of failure an answer is that says that nothing was made."""
        if isinstance(error, RateLimitError):
            return "pace"
        key_changed = isinstance(error, AuthenticationError) and error.key_changed
        failed = isinstance(error, ServerError)
        return "retry" if failed or key_changed or error.should_retry or error.code in self.retry_codes else "stop"

    def most_attempts(self, error: ImagesError) -> int:
        """Return how many attempts a failure such as *error* is worth."""
        own = error.most_attempts if isinstance(error, ConnectionFailedError) else None
        return min(self.attempts, own or self.attempts)

    def delay(self, error: ImagesError, verdict: Verdict, attempt: int, jitter: float) -> float | None:
        """Return the seconds to wait, whatever the deadline; None if the server asks for too many."""
        asked = server_wait(error) or 0.0
        if asked > LONGEST_SERVER_WAIT:
            return None
        told = asked + spread(asked, jitter)
        if isinstance(error, OutcomeUnknownError) and error.in_flight:
            return max(told, THROTTLE_FIRST_WAIT)  # whoever works on it says when it may be done
        first, most = (
            (THROTTLE_FIRST_WAIT, self.throttle_wait) if verdict == "pace" else (self.first_wait, self.max_wait)
        )
        # A server that asks for a moment, again and again, does not know what it asks for.
        return max(told, min(SHORTEST_WAIT, most), jitter * min(most, first * 2.0 ** min(attempt - 1, 30)))


def is_unknown(error: ImagesError) -> bool:
    """Whether an attempt that ended so may have been billed and brought nothing usable."""
    return isinstance(error, APIError | OutcomeUnknownError) and error.billed > Billing.NO


def count_images(error: ImagesError) -> int:
    """Return how many images *error* holds, whole or not."""
    return sum(len(getattr(error, name, ())) for name in ("images", "partials", "damaged"))


def server_wait(error: ImagesError) -> float | None:
    """Return the seconds for which the server wants to be left alone; None if that is for us to say."""
    asked = error.retry_after if isinstance(error, Answered | DownloadError) else None
    if asked and asked <= LONGEST_SENSIBLE_WAIT:
        return asked
    return IN_FLIGHT_WAIT if isinstance(error, OutcomeUnknownError) and error.in_flight else None


def spread(seconds: float, jitter: float) -> float:
    """Return what to add to *seconds*, so that not everybody who was told the same comes back at once."""
    return jitter * min(5.0, 0.1 * seconds)


@attrs.define(kw_only=True)
class RetryBudget:
    """
    What the retries of all calls of a client cost: of a dead gateway, 1,000 calls need not find out four times each.

    Attributes:
        most: Tokens at first, and never more.
        cost: Of one retry. It comes back if the call succeeds.
        tokens: What is left.

    Source:
        The token bucket of the AWS SDKs' standard retry mode, with its numbers.
    """

    most: int = 500
    cost: int = 14
    tokens: int = attrs.field(default=attrs.Factory(lambda budget: budget.most, takes_self=True))

    def take(self) -> bool:
        """Pay for one retry; False if too little is left."""
        if self.tokens < self.cost:
            return False
        self.tokens -= self.cost
        return True

    def refund(self, retries: int) -> None:
        """Give back what a call paid that succeeded after *retries*; one that needed none earns a token."""
        self.tokens = min(self.most, self.tokens + (retries * self.cost or 1))


@attrs.define
class PacingGate:
    """
    Closed while a server has asked for patience; one for all calls that it concerns.

    Attributes:
        opens_at: On the clock of those who ask; in the past, it is open.
    """

    opens_at: float = float("-inf")

    def remaining(self, now: float) -> float:
        """Return the seconds until it opens; 0 if it is open."""
        return max(0.0, self.opens_at - now)

    def close(self, until: float) -> None:
        """Keep it closed until then; never opens it earlier."""
        self.opens_at = max(self.opens_at, until)


class Observer(Protocol):
    """Sees every failed attempt, with the seconds until the next or None."""

    async def __call__(self, error: ImagesError, wait: float | None, /) -> None:
        """Take note."""


@attrs.define(kw_only=True)
class RetryState:
    """One call's failures, and the wait that was last decided."""

    policy: RetryPolicy
    sleep: Callable[[float], Awaitable[None]]
    monotonic: Callable[[], float]
    jitter: Callable[[], float]
    on_failure: Observer
    budget: RetryBudget | None
    gate: PacingGate | None
    started: float
    failures: list[ImagesError] = attrs.field(factory=list)
    counts: dict[Verdict, int] = attrs.field(factory=dict)
    paid: int = 0
    wait: float | None = None

    async def allows(self, error: BaseException) -> bool:
        """Decide whether to go on after *error*; tenacity asks once per failure."""
        if not isinstance(error, ImagesError):
            return False  # CancelledError above all
        if error in self.failures:
            return False  # raised once more, as the gate stays closed beyond the deadline
        self.failures.append(error)
        verdict = self.policy.judge(error)
        self.counts[verdict] = self.counts.get(verdict, 0) + 1
        self.close_gate(error)
        self.wait = self.decide(error, verdict)
        await self.on_failure(error, self.wait)
        return self.wait is not None

    def decide(self, error: ImagesError, verdict: Verdict) -> float | None:
        """Return the seconds to wait, within the deadline and the budget; what stands in the way is noted."""
        attempt, jitter = self.counts[verdict], self.jitter()
        wait = self.policy.wait(error, attempt=attempt, elapsed=self.monotonic() - self.started, jitter=jitter)
        if wait is None:
            patient = attrs.evolve(self.policy, deadline=None)
            if patient.wait(error, attempt=attempt, elapsed=0.0, jitter=jitter) is not None:
                self.note_deadline(error)
            return None
        if verdict == "retry" and self.budget is not None:
            if not self.budget.take():
                error.add_note("It was not tried again: too many calls of this client have failed.")
                return None
            self.paid += 1
        return wait

    def note_deadline(self, error: ImagesError) -> None:
        error.add_note(
            f"It was not tried again: that would have been after the deadline of {self.policy.deadline:g} s."
        )

    def close_gate(self, error: ImagesError) -> None:
        """Let a server's pace hold for all calls, not only for the one that was told."""
        asked = server_wait(error) if isinstance(error, RateLimitError) else None
        if self.gate is not None and asked is not None and asked <= LONGEST_SERVER_WAIT:
            self.gate.close(self.monotonic() + asked)

    async def wait_for_gate(self) -> bool:
        """Wait until the gate is open; False if that is beyond the deadline."""
        while self.gate is not None and (seconds := self.gate.remaining(now := self.monotonic())) > 0:
            if self.policy.deadline is not None and now - self.started + seconds > self.policy.deadline:
                return False
            await self.sleep(seconds)  # all together: spread out, the first to be refused would shut the others out
        return True

    def succeed(self) -> None:
        if self.budget is not None:
            self.budget.refund(self.paid)

    def tell(self, last: ImagesError) -> ImagesError:
        """
        Return the error that the caller has to know.

        A last attempt that billed nothing does not undo an earlier one that may have been billed.
        """
        unknown = [error for error in self.failures if is_unknown(error)]
        if isinstance(last, APIError) and last.key_already_used and last is not self.failures[0]:
            earlier = [error for error in unknown if error is not last]
            first = max(earlier, key=count_images, default=self.failures[0])
            mark(first, Billing.MAYBE)
            first.add_note(f"A later attempt was refused: {last.message} So an earlier one may have been billed.")
            return first
        if is_unknown(last):  # that images were refused tells less than that they may be there
            return max(unknown, key=lambda one: (count_images(one), not isinstance(one, ModerationError), one is last))
        if isinstance(last, APIError | ConnectionFailedError | InputChangedError):
            return max(unknown, key=count_images, default=last)
        return last


async def repeat(
    attempt: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    *,
    sleep: Callable[[float], Awaitable[None]],
    monotonic: Callable[[], float],
    jitter: Callable[[], float],
    on_failure: Observer,
    budget: RetryBudget | None = None,
    gate: PacingGate | None = None,
) -> T:
    """
    Return what *attempt* returns, calling it again as *policy* says.

    The first call runs bare: building tenacity's loop costs more than a small request. If it fails, the loop's first
    call raises what it raised.

    Args:
        attempt: Sends a request once.
        policy: Decides.
        sleep: Waits.
        monotonic: Tells the time.
        jitter: Random numbers in [0, 1).
        on_failure: Sees every failure.
        budget: Pays for the retries of all calls; None for no limit.
        gate: Holds attempts back while the server wants none.

    Raises:
        ImagesError: The last failure; or, from it, an earlier one that may have been billed.
    """
    repetition = RetryState(
        policy=policy,
        sleep=sleep,
        monotonic=monotonic,
        jitter=jitter,
        on_failure=on_failure,
        budget=budget,
        gate=gate,
        started=monotonic(),
    )
    await repetition.wait_for_gate()  # closed beyond the deadline, the first attempt asks for itself
    try:
        result = await attempt()
    except ImagesError as error:
        failed = [error]
    else:
        repetition.succeed()
        return result

    async def next_attempt() -> T:
        if failed:
            raise failed.pop()
        if not await repetition.wait_for_gate():
            repetition.note_deadline(repetition.failures[-1])
            raise repetition.failures[-1]
        return await attempt()

    try:
        again = loop(repetition)
    except OSError:  # no file descriptor is left to load tenacity with; what happened is more than that
        await on_failure(failed[0], None)
        raise failed[0] from None
    try:
        result = await again(next_attempt)
    except ImagesError as error:
        told = repetition.tell(error)
        if told is error:
            raise
        raise told from error
    repetition.succeed()
    return result


def loop(repetition: RetryState) -> AsyncRetrying:
    # A new object per call: shared ones mix the attempts of concurrent calls. What `allows` refuses it raises as it is.
    import tenacity.asyncio

    return tenacity.AsyncRetrying(
        retry=tenacity.asyncio.retry_if_exception(repetition.allows),
        wait=lambda _: repetition.wait or 0.0,
        sleep=repetition.sleep,
    )
