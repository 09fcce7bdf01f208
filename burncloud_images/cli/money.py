"""What a job may cost, as it is typed."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from burncloud_images.bulk.prices import PriceTable
from burncloud_images.cli.arguments import Spending
from burncloud_images.cli.exits import UsageError
from burncloud_images.errors import ImagesError

__all__ = ["load_prices", "to_nano"]


def to_nano(dollars: str | None) -> int | None:
    """
    Return dollars as nano-dollars, exactly; None stays so.

    Raises:
        UsageError: It is no amount.
    """
    if dollars is None:
        return None
    try:
        amount = Decimal(dollars.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("nan")
    if not (amount.is_finite() and amount >= 0):
        raise UsageError("--budget has to be an amount of dollars, as 5.00.")
    return int(amount * 1_000_000_000)


def load_prices(spending: Spending) -> PriceTable | None:
    """
    Return what images cost; None if that is not known.

    Raises:
        UsageError: The file cannot be used, or there is a budget without prices.
    """
    if spending.prices is None:
        if spending.budget is not None:
            raise UsageError("A budget needs prices: add --prices FILE, or limit the job by --max-images.")
        return None
    try:
        return PriceTable.load(spending.prices)
    except ImagesError as error:
        raise UsageError(error.message) from None
