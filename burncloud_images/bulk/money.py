"""Amounts of money: whole nano-dollars inside, dollars for people."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

from burncloud_images.errors import ConfigurationError

DOLLAR = 1_000_000_000
"""Nano-dollars."""

AMOUNT = re.compile(r"\$?([0-9]{1,9}(?:\.[0-9]{1,9})?)", re.ASCII)
SHOWN_DIGITS = 3


def parse_money(text: str) -> int:
    """
    Return an amount of dollars such as `5`, `5.00` or `$0.042` in nano-dollars, exactly.

    Raises:
        ConfigurationError: It is none.
    """
    match = AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(f"{text!r} is no amount of dollars such as 5.00.")
    return int(Decimal(match[1]).scaleb(9))


def show_money(amount: int) -> str:
    """Return nano-dollars as dollars: to the cent from a dollar on, to three digits below it."""
    dollars = Decimal(abs(amount)).scaleb(-9)
    places = max(2, SHOWN_DIGITS - 1 - dollars.adjusted()) if amount else 2
    rounded = dollars.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    whole, _, fraction = f"{rounded:,f}".partition(".")
    sign = "-" if amount < 0 else ""
    return f"{sign}${whole}.{fraction[:2]}{fraction[2:].rstrip('0')}"
