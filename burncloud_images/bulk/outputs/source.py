"""What is read of a job to write its outputs: the part of a `Store` that changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Collection
from typing import Protocol

from burncloud_images.bulk.records import Record, State, Totals
from burncloud_images.bulk.rows import BadRow


class RecordSource(Protocol):
    """A `Store`, or a view of one while a job runs."""

    def records(self, states: Collection[State] | None = None) -> AsyncIterator[Record]:
        """Yield the requests in these states, or all, in their order."""

    def problems(self) -> AsyncIterator[BadRow]:
        """Yield the lines that are no requests, in their order."""

    def totals(self) -> Awaitable[Totals]:
        """Return the sums."""
