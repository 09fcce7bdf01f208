"""
How much of a map may be in flight: a number of calls, a number of bytes, and an order.

A call is in flight from its start until its outcome is taken. Outcomes that wait count like calls that run, so a
consumer that is slow, or that wants its outcomes in order, slows the calls down instead of filling the memory.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

T = TypeVar("T")

FIRST_GUESS = 4 * 1024 * 1024
"""Size estimate until the first outcome arrives, in bytes: twice an image of 1024 by 1024 pixels."""
SMOOTHING = 0.125
"""Smoothing factor with which the size estimate falls."""


@attrs.define(kw_only=True)
class InFlightLimit(Generic[T]):
    """
    Counts what is in flight, and says whether there is room for more.

    Attributes:
        concurrency: Maximum number of calls that run at once. Twice as many may be in flight.
        max_bytes: Maximum bytes of the outcomes that wait, together with the estimate for the calls that run. A single
            call may always run, however large.
        ordered: Whether outcomes come in the order of their requests.
        started: Number of calls started so far.
        running: Number of calls that run.
        waiting: Number of outcomes that wait to be taken.
        held: Bytes of those.
        expected: Estimate of the next outcome's bytes: it rises to a larger outcome at once and falls slowly.
        early: Outcomes, by place, that wait for an earlier one.
        due: Place of the next outcome, if they come in order.
    """

    concurrency: int = attrs.field(validator=[attrs.validators.instance_of(int), attrs.validators.ge(1)])
    max_bytes: int = attrs.field(validator=attrs.validators.gt(0))
    ordered: bool
    started: int = 0
    running: int = 0
    waiting: int = 0
    held: int = 0
    expected: float | None = None
    early: dict[int, T | None] = attrs.field(factory=dict)
    due: int = 0

    @property
    def has_room(self) -> bool:
        """Whether one more call may be started."""
        in_flight = self.running + self.waiting
        if in_flight == 0:
            return True
        if self.running >= self.concurrency or in_flight >= 2 * self.concurrency:
            return False
        expected = FIRST_GUESS if self.expected is None else self.expected
        return self.held + (self.running + 1) * expected <= self.max_bytes

    def start(self) -> int:
        """Count a call that starts, and return its place, from 0."""
        self.running += 1
        self.started += 1
        return self.started - 1

    def end(self, index: int, outcome: T | None, size: int) -> list[T]:
        """
        Count a call that has ended, and return the outcomes that can be taken now.

        Args:
            index: The place of the call.
            outcome: Its outcome; None if it has none.
            size: Bytes of *outcome*.
        """
        self.running -= 1
        if outcome is not None:
            self.waiting += 1
            self.held += size
        if not self.ordered:
            return [] if outcome is None else [outcome]
        self.early[index] = outcome
        ready = []
        while self.due in self.early:
            ready.append(self.early.pop(self.due))
            self.due += 1
        return [outcome for outcome in ready if outcome is not None]

    def expect(self, size: int) -> None:
        """Update the size estimate with an outcome of *size* bytes."""
        before = self.expected or 0.0
        self.expected = max(float(size), before + SMOOTHING * (size - before))

    def take(self, size: int) -> None:
        """Count an outcome of *size* bytes that is taken."""
        self.waiting -= 1
        self.held -= size

    def withdraw(self) -> list[T]:
        """Return the outcomes that wait for earlier ones, and stop ordering."""
        waiting = [outcome for _, outcome in sorted(self.early.items()) if outcome is not None]
        self.early.clear()
        self.ordered = False
        return waiting
