"""The budget of a job: the worst case of a request is reserved before it is sent, and later replaced by its cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from burncloud_images.bulk.prices.cost import show_money
from burncloud_images.bulk.prices.table import PriceTable
from burncloud_images.errors import ConfigurationError

MAX_MODELS_NAMED = 5


@attrs.frozen(kw_only=True)
class Reservation:
    """
    What is reserved for a request.

    Attributes:
        cost: Nano-dollars; None without a price.
        images: How many.
    """

    cost: int | None
    images: int


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
        self._shares: dict[str, Reservation] = {}

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
        self._shares[key] = Reservation(cost=cost, images=images)
        self.reserved += cost or 0
        self.images += images
        return True

    def fits(self, cost: int, images: int) -> bool:
        """Return whether that may be bought now."""
        return within(self.cost + self.reserved + cost, self.max_cost) and within(self.images + images, self.max_images)

    def never_fits(self, cost: int | None, images: int) -> bool:
        """Return whether that cannot be bought even if nothing that is under way is billed."""
        back = sum(share.cost or 0 for share in self._shares.values())
        fewer = sum(share.images for share in self._shares.values())
        return not self.fits((cost or 0) - back, images - fewer)

    def adopt(self, key: str, *, cost: int, images: int) -> None:
        """Take over what an earlier run reserved for a request, and what counts as reserved already."""
        self._shares[key] = Reservation(cost=cost, images=images)

    def settle(self, key: str, *, cost: int | None, images: int) -> None:
        """
        Replace what was reserved for a request with what it cost.

        If nothing is reserved for it, the cost is added, and its images are taken to be counted already.

        Args:
            key: Of the request.
            cost: Nano-dollars; None if that is not known, so that the worst case stays.
            images: How many came.
        """
        share = self._shares.pop(key, Reservation(cost=None, images=images))
        self.images += images - share.images
        if cost is not None:
            self.reserved -= share.cost or 0
            self.cost += cost

    def release(self, key: str) -> None:
        """Release what was reserved for a request: nothing was billed."""
        share = self._shares.pop(key, Reservation(cost=None, images=0))
        self.reserved -= share.cost or 0
        self.images -= share.images

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


def refuse_unpriced(prices: PriceTable | None, documents: Iterable[Mapping[str, object]]) -> None:
    """
    Check that every request has a price, before the first is sent under a limit of cost.

    Args:
        prices: The table, if there is one.
        documents: The fields of the requests.

    Raises:
        ConfigurationError: What some of them can cost is not known; it names their models.
    """
    if prices is None:
        raise ConfigurationError("max_cost needs prices; without them use max_images.")
    names: dict[str, int] = {}
    for document in documents:
        name = prices.name_unpriced(document)
        if name is not None:
            names[name] = names.get(name, 0) + 1
    if names:
        listed = "; ".join(f"{name} ({number:,})" for name, number in list(names.items())[:MAX_MODELS_NAMED])
        others = f"; and {len(names) - MAX_MODELS_NAMED:,} more" if len(names) > MAX_MODELS_NAMED else ""
        raise ConfigurationError(
            f"The prices of {prices.date} do not say what these requests can cost: {listed}{others}. "
            "Add them to the price file, or use max_images in place of max_cost."
        )


def within(amount: int, most: int | None) -> bool:
    return most is None or amount <= most


def count(images: int) -> str:
    return f"{images:,} image" if images == 1 else f"{images:,} images"
