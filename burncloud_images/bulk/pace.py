"""
Rate limits, adaptive concurrency and a circuit breaker; the clock is an argument.

A `RateLimiter` keeps to the caller's limits: so many requests, images or tokens a minute. `AdaptiveConcurrency` finds
out how many requests a server takes at once, and a `CircuitBreaker` spares one that does not answer. They know nothing
of each other: a sender asks the circuit breaker, takes a slot, and asks the rate limiter last, since a permit is only
good at that moment.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable, Mapping

import attrs

from burncloud_images.retry import Clock

GUARD = 0.02
"""Seconds by which windows are longer than was asked for: clocks round, and a busy machine is late to use a permit."""
MAX_OBSERVED_PAUSE = 120.0
"""Maximum seconds to wait for a server's limit to be reset before the server is asked again."""

CUT = 0.7
SUCCESSES_PER_STEP = 10
ROUNDS_GROW = 4
MAX_PROBE_ROUNDS = 20
"""For how many rounds a level is kept at most above which a server refuses, before one more is tried again."""


# --- so many a minute ------------------------------------------------------------------------------------------------


def positive(_window: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 < value < math.inf:  # nan is not
        raise ValueError(f"{attribute.name} has to be a number above 0, not {value}")


@attrs.frozen
class RateWindow:
    """
    A limit: no more than an amount within any stretch of time of a length, wherever it begins.

    Attributes:
        amount: Of requests, images or tokens.
        seconds: Length; the end itself does not belong to it.
    """

    amount: float = attrs.field(validator=positive)
    seconds: float = attrs.field(validator=positive)


@attrs.frozen(kw_only=True)
class Permit:
    """
    Permission to send one request now.

    Attributes:
        number: How many were given before it.
        at: When it was given, on the pacer's clock.
        totals: What was let through by then, with it, since the pacer was made.
    """

    number: int
    at: float
    totals: Mapping[str, float] = attrs.field(repr=False)


@attrs.define(kw_only=True)
class WindowCount:
    """
    What was sent recently under one limit.

    Attributes:
        window: The limit.
        slack: Seconds by which it is kept for longer.
        entries: When each ceases to count, and its weight; the first to do so first.
        used: Sum of their weights.
    """

    window: RateWindow
    slack: float
    entries: deque[tuple[float, float]] = attrs.field(factory=deque)
    used: float = 0.0

    def enter(self, weight: float, at: float) -> None:
        """Count what was let through at some time; what exceeds the limit counts for as much longer."""
        if weight > 0:
            length = self.window.seconds * max(1.0, weight / self.window.amount)
            self.entries.append((at + length + self.slack, weight))
            self.used += weight

    def expire(self, now: float) -> None:
        """Forget what no longer counts."""
        while self.entries and self.entries[0][0] <= now:
            self.used -= self.entries.popleft()[1]
        if not self.entries:
            self.used = 0.0  # rounding may have left something of fractions

    def opening(self, weight: float, now: float) -> float:
        """Return when *weight* may pass as things are: now, or the end of what stands in its way."""
        self.expire(now)
        excess = self.used + weight - self.window.amount
        if weight <= 0 or excess <= 0 or not self.entries:
            return now
        for end, share in self.entries:
            excess -= share
            if excess <= 0:
                return end
        return self.entries[-1][0]  # heavier than the limit: it goes alone


@attrs.define(kw_only=True)
class ServerLimit:
    """
    What is left of one of a server's limits, as it said.

    Attributes:
        left: How much may still pass.
        until: When the limit is as new again.
        number: Of the permit whose answer said so.
    """

    left: float
    until: float
    number: int


class RateLimiter:
    """
    Lets requests start in the order in which they ask, as fast as all limits allow.

    No stretch of time as long as a window ever holds more than its amount, measured where `acquire` returns. That is
    exact: every permit is remembered for as long as it counts. Nobody overtakes, so a heavy request is not starved by
    light ones; one that is heavier than a whole limit goes alone, and counts for as many windows as it would fill.
    The first in the queue sleeps until its time; the others wait for their turn.

    Cancellation of `acquire` leaves the queue and spends nothing.

    Args:
        limits: By the names that the weights use.
        clock: Tells the time, and waits.
        slack: Seconds that requests may differ in how long they take from their permit to the server. Windows are kept
            for that much longer, so that the server, too, sees none that is too full: the first requests open their
            connections, and those that follow a window later need not.

    Attributes:
        paused_until: Nothing passes before, on the pacer's clock.
    """

    def __init__(self, limits: Mapping[str, RateWindow], clock: Clock, *, slack: float = GUARD) -> None:
        self.paused_until = -math.inf
        self._clock = clock
        self._accounts = {name: WindowCount(window=window, slack=max(slack, GUARD)) for name, window in limits.items()}
        self._allowances: dict[str, ServerLimit] = {}
        self._totals: dict[str, float] = {}
        self._given = 0
        self._turn = asyncio.Lock()

    async def acquire(self, weights: Mapping[str, float]) -> Permit:
        """
        Wait until a request may be sent, and count it.

        Args:
            weights: What it takes of each limit, for example `{"requests": 1, "images": 4, "tokens": 9000}`. What has
                no limit of its own is still held against what the server says is left of it.

        Raises:
            ValueError: A weight is not a number of at least 0.
        """
        refuse_nonsense(weights)
        async with self._turn:
            now = self._clock.monotonic()
            while (opening := self._opening(weights, now)) > now:
                await self._clock.sleep(opening - now)
                now = self._clock.monotonic()
            return self._let_through(weights, now)

    def pause(self, seconds: float) -> None:
        """
        Let nothing through for as long as a server asked; never ends an earlier pause sooner.

        Raises:
            ValueError: It is not a number of seconds of at least 0.
        """
        refuse_nonsense({"a pause": seconds})
        self.paused_until = max(self.paused_until, self._clock.monotonic() + seconds)

    def observe(self, name: str, remaining: float, reset: float, permit: Permit | None = None) -> None:
        """
        Take a server at its word: until its limit is reset no more passes than it said is left.

        Servers count a request when it arrives and answer when its images are made, so what they say is as old as the
        request: whatever was let through since is taken off, and the time until the reset began with the permit. Of
        several answers the one to the latest request counts.

        Args:
            name: What is limited, as in the weights: `requests`, `images` or `tokens`.
            remaining: How much of it the server said is left.
            reset: Seconds after which it said that the limit is as new; no more than two minutes are believed.
            permit: Of the request that was answered. Without it, what was said is taken to be true now.
        """
        now = self._clock.monotonic()
        permit = permit or Permit(number=self._given, at=now, totals=self._totals)
        known = self._allowances.get(name)
        if known is not None and known.number > permit.number:
            return
        since = self._totals.get(name, 0.0) - permit.totals.get(name, 0.0)
        until = min(permit.at + reset, now + MAX_OBSERVED_PAUSE)
        self._allowances[name] = ServerLimit(left=remaining - since, until=until, number=permit.number)

    def restore(self, history: Iterable[tuple[float, Mapping[str, float]]]) -> None:
        """
        Count what was sent before the pacer was made, so that a limit holds over a restart.

        Args:
            history: How many seconds ago each request was sent, and its weights. What seems to lie in the future is
                taken to have been sent now.
        """
        now = self._clock.monotonic()
        for age, weights in history:
            refuse_nonsense(weights)
            for name, weight in weights.items():
                if name in self._accounts:
                    self._accounts[name].enter(weight, now - max(0.0, age))
        for account in self._accounts.values():
            account.entries = deque(sorted(account.entries))

    def _opening(self, weights: Mapping[str, float], now: float) -> float:
        openings = [self.paused_until]
        for name, weight in weights.items():
            if name in self._accounts:
                openings.append(self._accounts[name].opening(weight, now))
            allowance = self._allowances.get(name)
            if allowance is not None and weight > max(0.0, allowance.left):
                openings.append(allowance.until)
        return max(openings)

    def _let_through(self, weights: Mapping[str, float], now: float) -> Permit:
        self._enter(weights, now)
        permit = Permit(number=self._given, at=now, totals=dict(self._totals))
        self._given += 1
        return permit

    def _enter(self, weights: Mapping[str, float], now: float) -> None:
        for name, weight in weights.items():
            self._totals[name] = self._totals.get(name, 0.0) + weight
            if name in self._accounts:
                self._accounts[name].enter(weight, now)
            allowance = self._allowances.get(name)
            if allowance is not None:
                if allowance.until <= now:
                    del self._allowances[name]
                else:
                    allowance.left -= weight


def refuse_nonsense(weights: Mapping[str, float]) -> None:
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:  # nan is not
            raise ValueError(f"{name} has to be a number from 0 on, not {weight}")


# --- so many at once -------------------------------------------------------------------------------------------------


class AdaptiveConcurrency:
    """
    Finds how many concurrent requests a server accepts, only from what it refuses.

    A refusal cuts the level to 0.7 of it, at most once per round trip: only if the refused request was sent after the
    last cut. Ten successes raise it by one, or a round of them where that is fewer. Where a server refused, the level
    stays for a round before one more is tried, and that for a round; each time that it refuses there again, for four
    times as many, up to 20. So nearly all of a capacity that does not change is used, and one of about a thousand
    requests is refused, while refusals by chance cost no more than without that. Successes raise nothing while fewer
    requests run than may: they say nothing about more. How long an answer takes says nothing here, since images take
    seconds to minutes.

    Places are given in the order in which they are asked for. Cancellation of `acquire` leaves the queue.

    Source:
        Additive increase and multiplicative decrease as in RFC 5681; a plateau where loss was met as in RFC 9438
        (CUBIC); no growth of a window that is not used as in RFC 7661.

    Attributes:
        most: The level is never greater.
        level: How many may run at once.
        running: How many do.
        ceiling: How many ran when the server last refused one more; `most` if it took one more since.
        rounds: For how many rounds the level stays there.
        cut_at: When the level was last cut, on the clock.
    """

    def __init__(self, most: int, clock: Clock, first: int | None = None) -> None:
        if most < 1:
            raise ValueError(f"most has to be at least 1, not {most}")
        self.most = most
        self.level = most if first is None else max(1, min(first, most))
        self.running = 0
        self.ceiling = most
        self.rounds = 1
        self.cut_at = -math.inf
        self._clock = clock
        self._successes = 0
        self._passed = most
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Wait for a place; it has to be released."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # given, and never used
                self.release()
            raise

    def release(self) -> None:
        """Let the next one in."""
        self.running -= 1
        self._admit()

    def succeed(self) -> None:
        """Note, before its place is released, that a request was served."""
        if self.running < self.level or self.level == self.most:
            return
        self._successes += 1
        if self._successes >= self._needed():
            self._successes = 0
            self.level += 1
            if self.level > self.ceiling:
                self._passed, self.ceiling = self.ceiling, self.most

    def reject(self, since: float) -> None:
        """
        Note, before its place is released, that the server was too busy for a request: 429, 503, or no answer in time.

        Args:
            since: When it was sent, on the clock.
        """
        others = self.running - 1
        if since >= self.cut_at:
            self.cut_at = self._clock.monotonic()
            self.rounds = min(ROUNDS_GROW * self.rounds, MAX_PROBE_ROUNDS) if self._probing else 1
            self.level = max(1, int(CUT * self.level))
            self._passed = self.ceiling = others
        self.ceiling = max(self.level, min(self.ceiling, others))
        self._successes = 0

    @property
    def _probing(self) -> bool:
        """Whether the level is one above that where the server last refused."""
        return self.level == self._passed + 1

    def _needed(self) -> int:
        """Return how many successes the next step takes."""
        if self.level >= self.ceiling:
            return self.rounds * self.level
        if self._probing:  # for a round, so that a refusal comes before the next step
            return self.level
        return min(SUCCESSES_PER_STEP, self.level)

    def _admit(self) -> None:
        while self._waiting and self.running < self.level:
            turn = self._waiting.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)


# --- nobody there ----------------------------------------------------------------------------------------------------


class CircuitBreaker:
    """
    Stops requests to a server that cannot be reached, and lets a few through to test it.

    It opens after so many failures of the transport in a row. While it is open one request at a time is let through to
    see, in the order in which they came. Any answer to one of them closes it.

    Cancellation of `admit` leaves the queue; the next one takes its place.

    Attributes:
        threshold: Failures in a row.
        probe_every: Seconds from one probe to the next.
        failures: How many there were in a row.
        opened_at: When it opened, on its clock; None while it is closed.
    """

    def __init__(self, clock: Clock, *, threshold: int = 10, probe_every: float = 15.0) -> None:
        self.threshold = threshold
        self.probe_every = probe_every
        self.failures = 0
        self.opened_at: float | None = None
        self._clock = clock
        self._next_probe = -math.inf
        self._turn = asyncio.Lock()
        self._closed = asyncio.Event()

    async def admit(self) -> None:
        """Wait while it is open, or to be the next probe."""
        async with self._turn:
            while self.opened_at is not None:
                wait = self._next_probe - self._clock.monotonic()
                if wait <= 0:
                    self._next_probe = self._clock.monotonic() + self.probe_every
                    return
                await wait_for(self._closed, wait, self._clock)

    def fail(self) -> None:
        """Note that a request did not reach the server, or lost it."""
        self.failures += 1
        if self.opened_at is None and self.failures >= self.threshold:
            self.opened_at = self._clock.monotonic()
            self._next_probe = self.opened_at + self.probe_every
            self._closed.clear()

    def succeed(self) -> None:
        """Note that the server answered, with a result or an error."""
        self.failures = 0
        self.opened_at = None
        self._closed.set()


async def wait_for(event: asyncio.Event, seconds: float, clock: Clock) -> None:
    """Wait for an event, but no longer than *seconds*."""
    waits = {asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(max(0.0, seconds)))}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
