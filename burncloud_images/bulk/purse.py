"""Pays for requests from the budget, by known prices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from burncloud_images.bulk.budget import Budget
from burncloud_images.bulk.passage import JobStopped
from burncloud_images.bulk.prices.table import PriceTable
from burncloud_images.bulk.queue import RequestQueue
from burncloud_images.bulk.records import RequestRecord

MAX_TIMES_WORST_CASE = 10
"""A usage that costs more than this many times the worst case is not believed, even if a server counts otherwise."""
MAX_COST = 10**15
"""Nano-dollars that a request without a worst case can cost: a million dollars."""
UNBELIEVABLE = "The usage in the answer is not plausible, so the worst case counts as spent."


@attrs.define(kw_only=True, eq=False)
class JobPurse:
    """
    Reserves the worst case before a request is sent, and replaces it with the actual cost.

    Attributes:
        budget: What may be spent.
        prices: What images cost; None if that is not known.
        model: Of requests that name none.
        queue: Tells when something has changed.
        overspend: Called, with the reason, when the next request does not fit.
        say: Called with what is good to know.
    """

    budget: Budget
    prices: PriceTable | None
    model: str | None
    queue: RequestQueue
    overspend: Callable[[str], None]
    say: Callable[[str], None]

    async def reserve(self, record: RequestRecord) -> int:
        """
        Reserve the worst case of a request; wait for requests that are sent if those may make room.

        Raises:
            JobStopped: It does not fit, or the job starts nothing more.
        """
        worst = self.worst_case(record, record.wanted)
        while not self.budget.reserve(record.key, cost=worst, images=record.wanted):
            if self.queue.closed:
                raise JobStopped
            if self.budget.never_fits(worst, record.wanted):
                self.overspend(self.budget.describe(worst, record.wanted))
                raise JobStopped
            await self.queue.changed.wait()
        return worst or 0

    def free(self, record: RequestRecord) -> None:
        """Release what was reserved: nothing was billed."""
        self.budget.release(record.key)
        self.queue.notify()

    def keep(self, record: RequestRecord) -> None:
        """Keep what was reserved: it may have been billed."""
        self.budget.keep(record.key)
        self.queue.notify()

    def cost(self, record: RequestRecord, about: Mapping[str, object], images: int) -> int | None:
        """
        Return what a request cost, by what its answer says; None if that is not known, and its worst case stays.

        An answer is believed within bounds: an absurdly large usage is ignored, and images beyond those that were asked
        for cost as much as the others may.
        """
        if self.prices is None:
            return None
        worst = self.worst_case(record, images)
        usage = about.get("usage")
        made = {name: about[name] for name in ("quality", "size") if name in about}
        tokens = usage if isinstance(usage, Mapping) and usage.get("output_tokens") else None  # no image is free
        cost = self.prices.cost({**self.fields(record), **made}, tokens, images)
        if cost is not None and not 0 <= cost <= (MAX_COST if worst is None else MAX_TIMES_WORST_CASE * worst):
            self.say(f"{record.label or record.key[:8]}: {UNBELIEVABLE}")
            return worst
        return worst if cost is None and images > record.wanted else cost

    def worst_case(self, record: RequestRecord, images: int) -> int | None:
        """Return the most that so many images of a request may cost, in nano-dollars; None if that is not known."""
        if self.prices is None:
            return None
        return self.prices.worst_case({**self.fields(record), "n": max(images, record.wanted)})

    def fields(self, record: RequestRecord) -> Mapping[str, object]:
        """Return what a price depends on."""
        return {"model": self.model, **record.document}
