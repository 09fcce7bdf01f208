"""What a job may cost, as it is typed."""

from __future__ import annotations

from burncloud_images.bulk.money import parse_money
from burncloud_images.bulk.prices import PriceTable
from burncloud_images.cli.arguments import Spending
from burncloud_images.cli.exits import UsageError
from burncloud_images.cli.reporting import Reporter
from burncloud_images.errors import ConfigurationError

__all__ = ["find_budget", "find_prices"]


def find_budget(spending: Spending) -> int | None:
    """
    Return the budget in nano-dollars; None if there is none.

    Raises:
        UsageError: It is no amount.
    """
    if spending.budget is None:
        return None
    try:
        return parse_money(spending.budget)
    except ConfigurationError as error:
        raise UsageError(f"--budget: {error.message}") from None


def find_prices(spending: Spending, reporter: Reporter, *, free: bool = False) -> PriceTable | None:
    """
    Return what images cost: as the user's file says, or else the list prices.

    Args:
        spending: What was given.
        reporter: Told which prices count, if the user named none.
        free: Whether nothing is paid, so that no prices are needed without a budget.

    Raises:
        UsageError: The file cannot be used.
    """
    if spending.prices is None:
        if free and spending.budget is None:
            return None
        prices = PriceTable.listed()
        reporter.note(f"costs are counted by the list prices of {prices.date}; --prices FILE says what you pay")
        return prices
    try:
        return PriceTable.load(spending.prices)
    except ConfigurationError as error:
        raise UsageError(error.message) from None
