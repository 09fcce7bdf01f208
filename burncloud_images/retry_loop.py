"""
The loop over the attempts of a call, by tenacity.

The first attempt is made without it; `retry.RetryPolicy` decides whether there is another, and after how long.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

import attrs

from burncloud_images.errors import ImagesError, RateLimitError
from burncloud_images.retry import (
    LONGEST_SERVER_WAIT,
    Clock,
    PacingGate,
    RetryBudget,
    RetryPolicy,
    Verdict,
    choose_error,
    server_wait,
)

if TYPE_CHECKING:
    from tenacity import AsyncRetrying

T = TypeVar("T")


class FailureObserver(Protocol):
    """Sees every failed attempt."""

    async def __call__(self, error: ImagesError, wait: float | None, /) -> None:
        """Called with the error, and the seconds until the next attempt or None."""


@attrs.define(kw_only=True)
class RetryState:
    """
    The failures of one call, and the wait that was decided last.

    Attributes:
        failures: What each attempt raised.
        counts: Failures in a row, by verdict.
        retries: Number of retries that the budget has paid for.
        wait: Seconds until the next attempt; None if there is none.
    """

    policy: RetryPolicy
    clock: Clock
    jitter: Callable[[], float]
    on_failure: FailureObserver | None
    made_progress: Callable[[], bool] | None
    too_late: str | None
    budget: RetryBudget | None
    gate: PacingGate | None
    started: float
    failures: list[ImagesError] = attrs.field(factory=list)
    counts: dict[Verdict, int] = attrs.field(factory=dict)
    retries: int = 0
    wait: float | None = None

    async def allows(self, error: BaseException) -> bool:
        """Record that an attempt raised *error*, and return whether there is another one."""
        if not isinstance(error, ImagesError):
            return False  # CancelledError above all
        self.failures.append(error)
        verdict = self.policy.judge(error)
        is_first = self.made_progress is not None and self.made_progress()
        self.counts[verdict] = 1 if is_first else self.counts.get(verdict, 0) + 1
        self.close_gate(error)
        self.wait = self.find_wait(error, verdict)
        if self.on_failure is not None:
            await self.on_failure(error, self.wait)
        return self.wait is not None

    def find_wait(self, error: ImagesError, verdict: Verdict) -> float | None:
        """Return the seconds to wait, within the deadline and the budget; a note says which of them forbids a retry."""
        attempt, jitter = self.counts[verdict], self.jitter()
        wait = self.policy.wait(error, attempt=attempt, elapsed=self.elapsed, jitter=jitter)
        if wait is None:
            patient = attrs.evolve(self.policy, deadline=None)
            if patient.wait(error, attempt=attempt, elapsed=0.0, jitter=jitter) is not None:
                self.note_deadline(error)
            return None
        if verdict == "retry" and self.budget is not None:
            if not self.budget.take():
                error.add_note("It was not tried again: too many calls of this client have failed.")
                return None
            self.retries += 1
        return wait

    @property
    def elapsed(self) -> float:
        """Seconds since the first attempt."""
        return self.clock.monotonic() - self.started

    def note_deadline(self, error: ImagesError) -> None:
        deadline = f"It was not tried again: that would have been after the deadline of {self.policy.deadline:g} s."
        error.add_note(self.too_late or deadline)

    def close_gate(self, error: ImagesError) -> None:
        """Make all calls wait for as long as the server asked one of them to."""
        asked = server_wait(error) if isinstance(error, RateLimitError) else None
        if self.gate is not None and asked is not None and asked <= LONGEST_SERVER_WAIT:
            self.gate.close(self.clock.monotonic() + asked)

    async def wait_for_gate(self) -> bool:
        """Wait until the gate is open; False, at once, if that is after the deadline."""
        while self.gate is not None and (seconds := self.gate.remaining(self.clock.monotonic())) > 0:
            if self.policy.deadline is not None and self.elapsed + seconds > self.policy.deadline:
                return False
            # wake all waiters at once: if spread out, the first 429 would close the gate for the rest
            await self.clock.sleep(seconds)
        return True

    async def pause(self, seconds: float | None) -> None:
        """
        Wait before a retry, and until the gate is open.

        Raises:
            ImagesError: The last failure, as the gate opens after the deadline.
        """
        await self.clock.sleep(seconds or 0.0)
        if not await self.wait_for_gate():
            self.note_deadline(self.failures[-1])
            raise self.failures[-1]


async def repeat(  # noqa: PLR0913 (ports, each with a default or needed by all)
    attempt: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    *,
    clock: Clock,
    jitter: Callable[[], float],
    on_failure: FailureObserver | None = None,
    made_progress: Callable[[], bool] | None = None,
    too_late: str | None = None,
    budget: RetryBudget | None = None,
    gate: PacingGate | None = None,
) -> T:
    """
    Return what *attempt* returns, calling it again as *policy* says.

    Args:
        attempt: Sends a request once.
        policy: Decides.
        clock: Time.
        jitter: Random numbers in [0, 1).
        on_failure: Sees every failure.
        made_progress: Whether the attempt that failed got further than the one before, so that the count starts again.
        too_late: The note on an error whose retry would start after the deadline; by default it names the deadline.
        budget: Pays for the retries of all calls; None for no limit.
        gate: Holds attempts back while the server asks for a pause.

    Raises:
        ImagesError: The last failure; or, from it, an earlier one that may have been billed.
    """
    state = RetryState(
        policy=policy,
        clock=clock,
        jitter=jitter,
        on_failure=on_failure,
        made_progress=made_progress,
        too_late=too_late,
        budget=budget,
        gate=gate,
        started=clock.monotonic(),
    )
    if gate is not None and gate.opens_at > state.started:
        await state.wait_for_gate()  # if it opens after the deadline, the first attempt asks the server itself
    try:
        result: T | ImagesError = await attempt()  # without tenacity, which costs more than a small request
    except ImagesError as error:
        result = error
    if isinstance(result, ImagesError):
        result = await retry(attempt, result, state)
    if budget is not None:
        budget.refund(state.retries)
    return result


async def retry(attempt: Callable[[], Awaitable[T]], first: ImagesError, state: RetryState) -> T:
    """Return what a later attempt returns, after the first one raised *first*."""
    retrying = make_loop(state)
    if retrying is None:
        state.policy = attrs.evolve(state.policy, attempts=1)
    if not await state.allows(first) or retrying is None:
        raise first

    async def next_attempt() -> T:  # tenacity awaits only what is declared as a coroutine function, unlike a lambda
        return await attempt()

    try:
        await state.pause(state.wait)
        return await retrying(next_attempt)
    except ImagesError as error:
        earlier = [failure for failure in state.failures if failure is not error]
        chosen = choose_error([*earlier, error])
        if chosen is error:
            raise
        raise chosen from error


def make_loop(state: RetryState) -> AsyncRetrying | None:
    """
    Return the loop over the attempts after the first: one for each call, since a loop counts its attempts.

    None if no file descriptor is left to load tenacity with.
    """
    try:
        import tenacity.asyncio
    except OSError:
        return None
    return tenacity.AsyncRetrying(
        retry=tenacity.asyncio.retry_if_exception(state.allows), wait=lambda _: state.wait or 0.0, sleep=state.pause
    )
