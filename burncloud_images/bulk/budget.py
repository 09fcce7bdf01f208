"""The budget of a job: the worst case of a request is reserved before it is sent, and later replaced by its cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

import attrs

from burncloud_images.bulk.queue import JobStopped, RequestQueue
from burncloud_images.bulk.records import RequestRecord
from burncloud_images.errors import ConfigurationError
from burncloud_images.prices.cost import show_money
from burncloud_images.prices.table import PriceTable

MAX_MODELS_NAMED = 5
MAX_UNPRICED = 1000
"""Requests without a price that are enough to refuse all."""


class Budget:
    """
    Money and images that may still be bought.

    Everything that may have been billed counts as spent: what is under way, what is in doubt, and the worst case of
    what was paid at a price that is not known. So no order of events, nor a new start from what the store knows, passes
    a limit, as long as no request costs more than its worst case.

    Args:
        max_cost: Nano-dollars that all runs together may spend; None for no limit.
        max_images: Images that all runs together may buy; None for no limit.
        cost: Nano-dollars that are spent.
        reserved: Nano-dollars that may have been spent in addition.
        images: Images that are there or may have been bought.
    """

    def __init__(
        self, max_cost: int | None = None, max_images: int | None = None, *, cost: int, reserved: int, images: int
    ) -> None:
        self.max_cost = max_cost
        self.max_images = max_images
        self.cost = cost
        self.reserved = reserved
        self.images = images
        self._shares: dict[str, tuple[int, int]] = {}  # nano-dollars and images, by key

    def reserve(self, key: str, *, cost: int | None, images: int) -> bool:
        """
        Reserve the worst case of a request.

        Args:
            key: Of the request, for which nothing is reserved now.
            cost: Nano-dollars; None if the price is not known.
            images: How many it asks for.

        Returns:
            Whether it fits; if not, nothing is reserved. While something else is sent it may fit later, unless it
            `never_fits`.

        Raises:
            ConfigurationError: There is a limit of cost, and no price.
        """
        if self.max_cost is not None and cost is None:
            raise ConfigurationError("max_cost needs the price of every request; use max_images.")
        if key in self._shares:
            raise RuntimeError(f"something is already reserved for {key}")
        if not self.fits(cost or 0, images):
            return False
        self._shares[key] = cost or 0, images
        self.reserved += cost or 0
        self.images += images
        return True

    def fits(self, cost: int, images: int) -> bool:
        """Return whether that may be bought now."""
        return within(self.cost + self.reserved + cost, self.max_cost) and within(self.images + images, self.max_images)

    def never_fits(self, cost: int | None, images: int) -> bool:
        """Return whether that cannot be bought even if nothing that is under way is billed."""
        shares = self._shares.values()
        return not self.fits((cost or 0) - sum(back for back, _ in shares), images - sum(fewer for _, fewer in shares))

    def adopt(self, key: str, *, cost: int, images: int) -> None:
        """Take over what an earlier run reserved for a request, and what counts as reserved already."""
        self._shares[key] = cost, images

    def settle(self, key: str, *, cost: int | None, images: int) -> None:
        """
        Replace what was reserved for a request with what it cost.

        If nothing is reserved for it, the cost is added, and its images are taken to be counted already.

        Args:
            key: Of the request.
            cost: Nano-dollars; None if that is not known, so that the worst case stays.
            images: How many came.
        """
        reserved, expected = self._shares.pop(key, (0, images))
        self.images += images - expected
        if cost is not None:
            self.reserved -= reserved
            self.cost += cost

    def release(self, key: str) -> None:
        """Release what was reserved for a request: nothing was billed."""
        reserved, images = self._shares.pop(key, (0, 0))
        self.reserved -= reserved
        self.images -= images

    def keep(self, key: str) -> None:
        """Keep what was reserved for a request: it may have been billed."""
        self._shares.pop(key, None)

    def describe(self, cost: int | None, images: int) -> str:
        """Return, as sentences, why a request does not fit."""
        sentences = []
        if not within(self.cost + self.reserved + (cost or 0), self.max_cost):
            doubt = f", {show_money(self.reserved)} in doubt" if self.reserved else ""
            sentences.append(
                f"Budget reached: {show_money(self.cost)} of {show_money(self.max_cost or 0)} spent{doubt}, "
                f"and the next request may cost {show_money(cost or 0)}."
            )
        if not within(self.images + images, self.max_images):
            sentences.append(
                f"Limit reached: {self.images:,} of {count(self.max_images or 0)} bought or in doubt, "
                f"and the next request asks for {count(images)}."
            )
        return " ".join(sentences)


async def refuse_unpriced(prices: PriceTable | None, documents: AsyncGenerator[Mapping[str, object], None]) -> None:
    """
    Check that every request has a price, before the first is sent under a limit of cost.

    Raises:
        ConfigurationError: What some of them can cost is not known; it names their models.
    """
    if prices is None:
        raise ConfigurationError("max_cost needs prices; without them use max_images.")
    names: Counter[str] = Counter()
    async with aclosing(documents):
        async for document in documents:
            if (name := prices.name_unpriced(document)) is not None:
                names[name] += 1
                if names.total() == MAX_UNPRICED:
                    break
    if names:
        listed = "; ".join(f"{name} ({number:,})" for name, number in list(names.items())[:MAX_MODELS_NAMED])
        others = f"; and {len(names) - MAX_MODELS_NAMED:,} more" if len(names) > MAX_MODELS_NAMED else ""
        raise ConfigurationError(
            f"The prices of {prices.date} do not say what these requests can cost: {listed}{others}. "
            "Add them to the price file, name the price of an image (--price MODEL=DOLLARS, PriceTable.with_price), "
            "buy a few to measure it (plan --measure), or use max_images in place of max_cost."
        )


def within(amount: int, most: int | None) -> bool:
    return most is None or amount <= most


def count(images: int) -> str:
    return f"{images:,} image" if images == 1 else f"{images:,} images"


MAX_TIMES_WORST_CASE = 10
"""A usage that costs more than this many times the worst case is not believed, even if a server counts otherwise."""
THOUSAND = 1000
MAX_COST = 10**15
"""Nano-dollars that a request without a worst case can cost: a million dollars."""
UNBELIEVABLE = "The usage in the answer is not plausible, so the worst case counts as spent."


@attrs.define(kw_only=True, eq=False)
class JobPurse:
    """
    Reserves the worst case before a request is sent, and replaces it with the actual cost.

    Attributes:
        prices: What images cost; None if that is not known.
        model: Of requests that name none.
        overspend: Called, with the reason, when the next request does not fit.
        say: Called with what is good to know.
        excess: By model, thousandths of the worst case that count, where a request cost more than its own.
    """

    budget: Budget
    prices: PriceTable | None
    model: str | None
    queue: RequestQueue
    overspend: Callable[[str], None]
    say: Callable[[str], None]
    excess: dict[object, int] = attrs.field(factory=dict)

    async def reserve(self, record: RequestRecord) -> int:
        """
        Reserve the worst case of a request; wait for requests that are sent if those may make room.

        Raises:
            JobStopped: It does not fit, or the job starts nothing more.
        """
        while not self.budget.reserve(record.key, cost=(worst := self.expect(record)), images=record.wanted):
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

    def expect(self, record: RequestRecord) -> int | None:
        """Return what is reserved for a request: its worst case, or more if that was too little before."""
        worst = self.worst_case(record, record.wanted)
        factor = self.excess.get(self.fields(record)["model"], THOUSAND)
        return None if worst is None else -(-worst * factor // THOUSAND)

    def learn(self, record: RequestRecord, cost: int, worst: int) -> None:
        """Reserve more for the requests that follow if one cost more than its worst case, as measured ones may."""
        model = self.fields(record)["model"]
        factor = -(-cost * THOUSAND // worst) if worst else THOUSAND
        if factor > self.excess.get(model, THOUSAND):
            self.excess[model] = factor
            more = f"{show_money(cost)} in place of at most {show_money(worst)}"
            self.say(f"{record.label or record.key[:8]} cost {more}, so more is reserved for {model} from now on.")

    def cost(self, record: RequestRecord, about: Mapping[str, object], images: int) -> int | None:
        """Return what a request cost, as `find_cost` does, and learn from it."""
        worst, cost = self.worst_case(record, images), self.find_cost(record, about, images)
        if worst is not None and cost is not None:
            self.learn(record, cost, worst)
        return cost

    def find_cost(self, record: RequestRecord, about: Mapping[str, object], images: int) -> int | None:
        """
        Return what a request cost, by what its answer says; None if that is not known, and its worst case stays.

        An answer is believed within bounds: an absurdly large usage is ignored, and images beyond those that were asked
        for cost as much as the others may.
        """
        stated = about.get("cost")
        worst = self.worst_case(record, images)
        if isinstance(stated, int) and not isinstance(stated, bool) and 0 < stated <= self.most(worst or None):
            return stated
        if self.prices is None:
            return None
        usage = about.get("usage")
        made = {name: about[name] for name in ("quality", "size") if name in about}
        tokens = usage if isinstance(usage, Mapping) and usage.get("output_tokens") else None  # no image is free
        cost = self.prices.cost({**self.fields(record), **made}, tokens, images)
        if cost is not None and not 0 <= cost <= self.most(worst):
            self.say(f"{record.label or record.key[:8]}: {UNBELIEVABLE}")
            return worst
        return worst if cost is None and images > record.wanted else cost

    def most(self, worst: int | None) -> int:
        """Return the greatest cost that is believed."""
        return MAX_COST if worst is None else MAX_TIMES_WORST_CASE * worst

    def worst_case(self, record: RequestRecord, images: int) -> int | None:
        """Return the most that so many images of a request may cost, in nano-dollars; None if that is not known."""
        if self.prices is None:
            return None
        return self.prices.worst_case({**self.fields(record), "n": max(images, record.wanted)})

    def fields(self, record: RequestRecord) -> Mapping[str, object]:
        """Return what a price depends on."""
        return {"model": self.model, **record.document}
