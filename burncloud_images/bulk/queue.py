"""The order of requests: paid ones to fetch first, then new ones, then those to retry."""

from __future__ import annotations

import asyncio
from collections import deque

import attrs

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.pace import wait_for
from burncloud_images.bulk.records import BOUGHT, RequestRecord, RequestState, UnfetchedLink
from burncloud_images.retry import Clock

MAX_ROUNDS_PER_RUN = 3
"""How often a run tries a request again that was not served, beyond the attempts of each call."""


class JobStopped(Exception):  # noqa: N818 (asked for, no error)
    """The job starts nothing more."""


@attrs.define(kw_only=True, eq=False)
class RequestQueue:
    """
    Gives workers the next request; leases a few ahead.

    Attributes:
        ahead: How many are leased at once.
        most: How many new ones are handed out; None for all.
        closed: Whether none is handed out any more.
        exhausted: Whether there were more than `most`.
        requeued: Those that are tried again in the same run, each with when.
    """

    store: JobStore
    clock: Clock
    ahead: int
    most: int | None = None
    closed: bool = False
    exhausted: bool = False
    handed_out: int = 0
    received: list[RequestRecord] = attrs.field(factory=list)
    waiting: deque[RequestRecord] = attrs.field(factory=deque)
    requeued: list[tuple[float, RequestRecord]] = attrs.field(factory=list)
    rounds: dict[str, int] = attrs.field(factory=dict)
    leasing: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    changed: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def load(self) -> list[RequestRecord]:
        """Return what is bought and not yet fetched, which is handed out first, by its expiry, and tasks last."""
        records = [record async for record in self.store.records(BOUGHT)]
        self.received = sorted(records, key=earliest, reverse=True)  # taken from the end
        return records

    async def take(self) -> RequestRecord | None:
        """Return the next request, or None when this worker is done."""
        while not self.closed:
            if self.received:
                return self.received.pop()
            record = await self.next_new() or self.next_requeued()
            if record is not None:
                return record
            if not self.requeued:
                return None
            await self.pause(min(due for due, _ in self.requeued) - self.clock.monotonic())
        return None

    async def next_new(self) -> RequestRecord | None:
        async with self.leasing:
            if not self.waiting and not self.closed:
                self.waiting.extend(await self.store.lease(self.ahead))
            if not self.waiting or self.closed:
                return None
            if self.most is not None and self.handed_out >= self.most:
                self.exhausted = True
                return None
            self.handed_out += 1
            return self.waiting.popleft()

    def next_requeued(self) -> RequestRecord | None:
        now = self.clock.monotonic()
        first = min(self.requeued, key=lambda requeued: requeued[0], default=None)
        if first is None or first[0] > now:
            return None
        self.requeued.remove(first)
        return first[1]

    def requeue(self, record: RequestRecord, seconds: float) -> None:
        """Hand a request out again, after a while."""
        self.requeued.append((self.clock.monotonic() + seconds, record))

    def count_round(self, record: RequestRecord) -> bool:
        """Say whether there is to be another round for a request."""
        rounds = self.rounds[record.key] = self.rounds.get(record.key, 0) + 1
        return rounds < MAX_ROUNDS_PER_RUN and not self.closed

    async def pause(self, seconds: float) -> None:
        """Wait, or until something changes."""
        await wait_for(self.changed, seconds, self.clock)

    def notify(self) -> None:
        """Wake all waiting workers, to look again."""
        self.changed.set()
        self.changed = asyncio.Event()

    def close(self) -> None:
        """Hand nothing out any more."""
        self.closed = True
        self.notify()


def expiry_of(link: UnfetchedLink) -> float:
    """Return when a URL expires, in seconds since 1970; 0 if that is not known."""
    return link.expires_at.timestamp() if link.expires_at is not None else 0.0


def earliest(record: RequestRecord) -> float:
    if record.state is RequestState.ACCEPTED:
        return float("inf")
    return min(map(expiry_of, record.links), default=0.0)
