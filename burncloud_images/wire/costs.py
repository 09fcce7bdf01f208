"""
What an answer itself says that it cost.

Source: OpenRouter, `usage.cost`; xAI, `usage.cost_in_usd_ticks`, ten thousand million of which are a dollar; LiteLLM,
the header `x-litellm-response-cost`. Zero says nothing: servers write it where they know no price.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from burncloud_images.results import Cost, Usage

if TYPE_CHECKING:
    from decimal import Decimal

TICKS = 10_000_000_000
MOST_DOLLARS = 1_000_000
"""A greater cost of one request is not believed."""
NAMES = ("cost", "total_cost", "cost_usd", "total_cost_usd", "cost_in_usd", "response_cost")
TICK_NAMES = ("cost_in_usd_ticks", "total_cost_in_usd_ticks")
ANY_NAME = frozenset({*NAMES, *TICK_NAMES})
PARTS = ("total", "total_cost", "amount", "value")
"""Where an object has the sum of a cost."""
HEADER = re.compile(r"x-[a-z0-9-]*cost(?:-usd)?")
BEFORE_DISCOUNTS = "original"


def find_cost(
    usage: Usage | None, extra: Mapping[str, object], headers: Mapping[str, str] | None = None
) -> Cost | None:
    """
    Return what an answer says that it cost; None if it does not say.

    Args:
        usage: Of the answer.
        extra: Its fields that are not those of the API.
        headers: With lower-case names.
    """
    places = (usage.extra if usage is not None else {}, as_mapping(extra.get("usage")), extra)
    for place in places:
        for amount in find_amounts(place):
            return Cost(amount=amount, currency=find_currency(place), source="answer")
    for name, value in (headers or {}).items():
        is_cost = "cost" in name and HEADER.fullmatch(name) and BEFORE_DISCOUNTS not in name
        if is_cost and (told := to_amount(value)) is not None:
            return Cost(amount=told, currency="USD", source="answer")
    return None


def find_amounts(place: Mapping[str, object]) -> Iterator[Decimal]:
    if ANY_NAME.isdisjoint(place):  # as in most answers
        return
    for name in TICK_NAMES:
        if ticks := to_amount(place.get(name), most=MOST_DOLLARS * TICKS):
            yield ticks / TICKS
    for name in NAMES:
        value = place.get(name)
        parts = [as_mapping(value).get(part) for part in PARTS] if isinstance(value, Mapping) else [value]
        yield from filter(None, map(to_amount, parts))


def find_currency(place: Mapping[str, object]) -> str:
    named = (place.get("currency"), place.get("cost_currency"), as_mapping(place.get("cost")).get("currency"))
    word = next((text for text in named if isinstance(text, str) and re.fullmatch("[A-Za-z]{3}", text)), "USD")
    return word.upper()


def to_amount(value: object, most: Decimal | int = MOST_DOLLARS) -> Decimal | None:
    """Return an amount above zero."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    from decimal import Decimal, InvalidOperation  # loaded for answers that name a cost only

    try:
        amount = Decimal(str(value).strip().lstrip("$")[:60])
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 < amount <= most else None


def as_mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
