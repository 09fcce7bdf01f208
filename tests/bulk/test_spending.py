"""A limit of cost buys exactly what it allows, with 32 at once and over runs that are given up half-way."""

from __future__ import annotations

import pytest
from workshop import prompts

from burncloud_images import bulk, errors
from burncloud_images.bulk import State

CENTS_4 = 40_000_000
FLAT = bulk.PriceTable.read({"date": "2026-11-23", "models": {"gpt-image-2": {"images": {"*": {"*": "0.04"}}}}})
LIMITS = [{"max_images": 100}, {"max_cost": 100 * CENTS_4, "prices": FLAT}]


@pytest.mark.parametrize("limit", LIMITS, ids=["images", "cost"])
async def test_a_cap_of_100_images_buys_exactly_100(workshop, limit):
    """Of 130 that are asked for, 32 at once; another run under the same cap buys none."""
    shop = await workshop()
    report = await shop.run(prompts(130), concurrency=32, **limit)

    assert ("budget", 100, 100) == (report.stopped, shop.billed, len(shop.images))
    report = await shop.run(concurrency=32, **limit)

    assert ("budget", 100, 30) == (report.stopped, shop.billed, report.totals.counts[State.PENDING])


@pytest.mark.parametrize("limit", LIMITS, ids=["images", "cost"])
async def test_what_was_given_up_on_its_way_counts_as_bought(workshop, limit):
    """Nobody knows whether it was billed, so what is known and what is in doubt are 100 together."""
    shop = await workshop(emulator={"latency": 0.02})

    def give_up(event):
        if event.progress.done == 40:
            shop.job.abandon()

    report = await shop.run(prompts(130), concurrency=32, watch=give_up, **limit)
    assert "abandoned" == report.stopped
    report = await shop.run(concurrency=32, **limit)

    counts = report.totals.counts
    assert 0 < counts[State.IN_DOUBT] <= 32
    assert ("budget", 100) == (report.stopped, counts[State.DONE] + counts[State.IN_DOUBT])
    assert counts[State.DONE] <= shop.billed <= 100


async def test_models_without_a_price_are_refused_before_anything_is_sent(workshop):
    """A limit that cannot be kept is none."""
    shop = await workshop()
    rows = [*prompts(3), *prompts(2, id=None, model="gpt-image-2.6-flare", prompt="another")]
    with pytest.raises(errors.ConfigurationError, match=r"gpt-image-2\.6-flare"):
        await shop.run(rows, max_cost=CENTS_4, prices=FLAT)

    assert 0 == shop.posts
