"""What a job may cost, as it is typed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import attrs

from burncloud_images.bulk.budget import refuse_unpriced
from burncloud_images.bulk.directory import JobDirectory
from burncloud_images.bulk.options import Options
from burncloud_images.bulk.prices.cost import parse_money
from burncloud_images.bulk.prices.table import PriceTable
from burncloud_images.bulk.records import BadRow
from burncloud_images.cli.arguments import Spending
from burncloud_images.cli.exits import UsageError, translate
from burncloud_images.cli.lists import Lists
from burncloud_images.cli.reporting import Reporter
from burncloud_images.cli.status import view
from burncloud_images.errors import ConfigurationError

MOST_UNPRICED = 1000
"""Requests without a price that are enough to refuse a list."""


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


async def check_prices(lists: Lists, folder: Path, options: Options) -> None:
    """
    Refuse lists that a budget cannot hold for, before the job has them: there they would be in the way of better ones.

    Args:
        lists: What is to be added. Only files can be read twice, so stdin and pipes are left to the run.
        folder: The job, which may not be there yet; what it has already is left to the run, too.
        options: How it is to be run.

    Raises:
        UsageError: The price of a request is not known.
        InvalidRequestError: A list cannot be read.
    """
    files = attrs.evolve(lists, names=tuple(name for name in lists.names if Path(name).is_file()))
    if options.max_cost is None or not files.names:
        return
    try:
        refuse_unpriced(options.prices, [fields async for fields in find_unpriced(files, folder, options.prices)])
    except ConfigurationError as error:
        raise UsageError(translate(error.message)) from None


async def find_unpriced(lists: Lists, folder: Path, prices: PriceTable | None) -> AsyncIterator[Mapping[str, object]]:
    """Yield new requests whose price is not known, up to a thousand."""
    found = 0
    async with AsyncExitStack() as stack:
        known = await stack.enter_async_context(view(str(folder))) if JobDirectory(folder).store.exists() else None
        async for row in lists.read():
            if isinstance(row, BadRow) or (prices is not None and prices.worst_case(row.document) is not None):
                continue
            if known is None or await known.get(row.key) is None:
                yield row.document
                found += 1
            if found == MOST_UNPRICED:
                break
