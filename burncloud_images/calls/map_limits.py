"""
How much of a map may be outstanding: a number of calls, a number of bytes, and an order.

Outstanding is what has been started and not yet been taken. What has ended and waits counts as what still runs does, so
a consumer that is slow, or that wants its outcomes in order, slows the calls down instead of filling the memory.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

T = TypeVar("T")

FIRST_GUESS = 4 * 1024 * 1024
"""Bytes that an outcome is taken to have before the first has come: twice those of an image of 1024 by 1024 pixels."""
DRIFT = 0.125
"""How much of the way down from the largest to the latest the expectation goes with each outcome."""


@attrs.define(kw_only=True)
class InFlightLimit(Generic[T]):
    """
    Counts what is outstanding, and says whether there is room for more.

    Attributes:
        concurrency: MapRun that may run at once. Twice as many may be outstanding.
        most_bytes: Of what waits to be taken, and of what is expected from the calls that run. A single call may always
            run, however large.
        ordered: Whether outcomes come in the order of their requests.
        started: MapRun so far.
        running: MapRun that run.
        waiting: Outcomes that wait to be taken.
        held: Bytes of those.
        expected: Bytes of the next outcome, as far as one can tell: it follows a larger one at once and a smaller one
            by and by.
    """

    concurrency: int = attrs.field(validator=[attrs.validators.instance_of(int), attrs.validators.ge(1)])
    most_bytes: int = attrs.field(validator=attrs.validators.gt(0))
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
        outstanding = self.running + self.waiting
        if outstanding == 0:
            return True
        if self.running >= self.concurrency or outstanding >= 2 * self.concurrency:
            return False
        expected = FIRST_GUESS if self.expected is None else self.expected
        return self.held + (self.running + 1) * expected <= self.most_bytes

    def start(self) -> int:
        """Count one call more and return its place, from 0."""
        self.running += 1
        self.started += 1
        return self.started - 1

    def end(self, index: int, outcome: T | None, size: int) -> list[T]:
        """
        Count one call less, and return the outcomes that can be taken now.

        Args:
            index: Its place.
            outcome: What came of it; None if nothing did that could be taken.
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
        """Learn from an image or several of *size* bytes how large the next ones will be."""
        before = self.expected or 0.0
        self.expected = max(float(size), before + DRIFT * (size - before))

    def take(self, size: int) -> None:
        """Count an outcome of *size* bytes as taken."""
        self.waiting -= 1
        self.held -= size

    def withdraw(self) -> list[T]:
        """Return the outcomes that wait for earlier ones, and keep no order from now on."""
        waiting = [outcome for _, outcome in sorted(self.early.items()) if outcome is not None]
        self.early.clear()
        self.ordered = False
        return waiting
