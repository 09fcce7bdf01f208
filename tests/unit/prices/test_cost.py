"""Dollars become nano-dollars exactly, and are shown so that a person can read them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.errors import ConfigurationError
from burncloud_images.prices.cost import DOLLAR, parse_money, show_money


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("5", 5 * DOLLAR),
        ("5.00", 5 * DOLLAR),
        (" $5.00 ", 5 * DOLLAR),
        ("0", 0),
        ("0.1", 100_000_000),
        ("0.000000001", 1),
        ("0.3", 300_000_000),  # 0.3 * 1e9 as floats is 299,999,999.99…
        ("999999999.999999999", 10**18 - 1),
    ],
)
def test_an_amount_is_read_exactly(text, amount):
    """With or without its sign."""
    assert amount == parse_money(text)


@pytest.mark.parametrize(
    "text",
    ["", "$", "five", "-5", "+5", "1e3", "nan", "inf", "5,00", "1_000", "5.", ".5", "$-5", "0.0000000001", "5 $", "٣"],
)
def test_what_is_no_amount_is_refused(text):
    """Text that is not an amount, is finer than a nano-dollar, or is ambiguous is refused."""
    with pytest.raises(ConfigurationError, match=r"is not an amount of dollars such as 5\.00"):
        parse_money(text)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (5 * DOLLAR, "$5.00"),
        (1_234_567_890_000, "$1,234.57"),
        (DOLLAR, "$1.00"),
        (999_999_999, "$1.00"),
        (995_000_000, "$0.995"),
        (100_000_000, "$0.10"),
        (42_000_000, "$0.042"),
        (40_000_000, "$0.04"),
        (211_045_000, "$0.211"),
        (4_200_000, "$0.0042"),
        (123_456, "$0.000123"),
        (1, "$0.000000001"),
        (-40_000_000, "-$0.04"),
    ],
)
def test_an_amount_is_shown_as_dollars(amount, text):
    """To the cent, and below a dollar to three digits."""
    assert text == show_money(amount)


@given(st.integers(0, 10**17))
def test_what_is_shown_is_near_to_what_is_meant(amount):
    """Within half a cent, or half of a thousandth of the amount."""
    shown = Decimal(show_money(amount).replace("$", "").replace(",", ""))

    assert abs(shown - Decimal(amount).scaleb(-9)) <= max(Decimal("0.005") if amount >= DOLLAR else 0, shown / 200)


@given(st.integers(0, 10**18 - 1))
def test_exact_amounts_come_back(amount):
    """Read from all of their digits."""
    assert amount == parse_money(f"{Decimal(amount).scaleb(-9):f}")
