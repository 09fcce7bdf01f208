"""What pays for requests: the budget, by the prices that are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from burncloud_images.bulk.budget import Budget
from burncloud_images.bulk.passage import Halted
from burncloud_images.bulk.prices import PriceTable
from burncloud_images.bulk.queue import Queue
from burncloud_images.bulk.records import Record

__all__ = ["JobPurse"]


@attrs.define(kw_only=True, eq=False)
class JobPurse:
    """
    Sets the worst case aside before a request is sent, and puts what it cost in its place.

    Attributes:
        budget: What may be spent.
        prices: What images cost; None if that is not known.
        model: Of requests that name none.
        queue: Tells when something has changed.
        overspend: Called, with the reason, when the next request does not fit.
    """

    budget: Budget
    prices: PriceTable | None
    model: str | None
    queue: Queue
    overspend: Callable[[str], None]

    async def reserve(self, record: Record) -> int:
        """
        Set the worst case of a request aside; waits for what is under way if that may make room.

        Raises:
            Halted: It does not fit, or the job starts nothing more.
        """
        worst = self.prices.worst_case(self.fields(record)) if self.prices is not None else None
        while not self.budget.reserve(record.key, cost=worst, images=record.wanted):
            if self.queue.closed:
                raise Halted
            if self.budget.never_fits(worst, record.wanted):
                self.overspend(self.budget.describe(worst, record.wanted))
                raise Halted
            await self.queue.changed.wait()
        return worst or 0

    def free(self, record: Record) -> None:
        """Take back what was set aside: nothing was billed."""
        self.budget.release(record.key)
        self.queue.notify()

    def keep(self, record: Record) -> None:
        """Leave what was set aside as it is, for good: it may have been billed."""
        self.budget.keep(record.key)
        self.queue.notify()

    def cost(self, record: Record, about: Mapping[str, object], images: int) -> int | None:
        """Return what a request cost, by what its answer says; None if that is not known."""
        if self.prices is None:
            return None
        usage = about.get("usage")
        made = {name: about[name] for name in ("quality", "size") if name in about}
        tokens = usage if isinstance(usage, Mapping) else None
        fields = {**self.fields(record), **made}
        cost = self.prices.cost(fields, tokens, images)
        if cost is None and images > record.wanted:  # the worst case that was set aside is that of fewer
            return self.prices.worst_case({**fields, "n": images})
        return cost

    def fields(self, record: Record) -> Mapping[str, object]:
        """Return what a price depends on."""
        return {"model": self.model, **record.document}
