"""When models end, and what is said of it."""

from datetime import date

import pytest

from burncloud_images.model.retirements import SHUTDOWNS, find_retirement

TODAY = date(2026, 11, 30)


@pytest.mark.parametrize(
    ("model", "announced", "said"),
    [
        (
            "gpt-image-1.5",
            None,
            "gpt-image-1.5 is shut down by its provider in 1 day, on 2026-12-01; use gpt-image-2.6",
        ),
        ("gpt-image-1", None, "gpt-image-1 has been shut down by its provider since 2026-10-23; use gpt-image-2.6"),
        ("gpt-image-1-2025-04-15", None, "has been shut down"),
        ("dall-e-3", None, "since 2026-05-12"),
        ("their-own", "2026-12-30", "their-own is shut down by its provider in 30 days, on 2026-12-30"),
        ("their-own", "2026-11-30T00:00:00Z", "has been shut down by its provider since 2026-11-30"),
    ],
)
def test_an_end_is_told_with_its_date_and_successor(model, announced, said):
    """Its date and what to use are said."""
    assert said in find_retirement(model, TODAY, announced).describe(TODAY)


@pytest.mark.parametrize("model", ["gpt-image-2.6-flare", "gpt-image-2.6-flare-2026-12-01"])
def test_a_model_is_not_its_own_successor(model):
    """Where the server says that a recommended model ends, nothing is recommended."""
    assert "use" not in find_retirement(model, TODAY, "2026-12-24").describe(TODAY)


@pytest.mark.parametrize(
    ("model", "announced"),
    [("gpt-image-2", None), ("", None), ("x", "soon"), ("x", "2027-11-30"), ("gpt-image-1", "2027-11-30")],
)
def test_a_model_that_goes_on_says_nothing(model, announced):
    """What the server's own list says comes before the table."""
    assert find_retirement(model, TODAY, announced) is None


def test_the_table_knows_the_dates_of_the_emulator():
    """Both tables have the dates of OpenAI."""
    from burncloud_images.emulator.model_limits import MODELS

    assert {name: date.fromisoformat(day) for name, day in MODELS.items() if day} == SHUTDOWNS
