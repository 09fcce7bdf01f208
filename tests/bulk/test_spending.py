"""A limit of cost buys exactly what it allows, with 32 at once and over runs that are given up half-way."""

from __future__ import annotations

import base64

import pytest
from pictures import png
from workshop import prompts

from burncloud_images import bulk, errors
from burncloud_images.bulk import RequestState
from burncloud_images.bulk.budget import UNBELIEVABLE
from burncloud_images.emulator import Fault
from burncloud_images.model.rules import KNOWN

CENTS_4 = 40_000_000
FLAT = bulk.PriceTable.read({"date": "2026-11-23", "models": {"gpt-image-2": {"images": {"*": {"*": "0.04"}}}}})
LIMITS = [pytest.param({"max_images": 100}, marks=pytest.mark.slow), {"max_cost": 100 * CENTS_4, "prices": FLAT}]


@pytest.mark.parametrize("limit", LIMITS, ids=["images", "cost"])
async def test_a_cap_of_100_images_buys_exactly_100(workshop, limit):
    """Of 130 that are asked for, 32 at once; another run under the same cap buys none."""
    shop = await workshop()
    report = await shop.run(prompts(130), concurrency=32, **limit)

    assert ("budget", 100, 100) == (report.stopped, shop.billed, len(shop.images))
    report = await shop.run(concurrency=32, **limit)

    assert ("budget", 100, 30) == (report.stopped, shop.billed, report.totals.counts[RequestState.PENDING])


@pytest.mark.slow
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
    assert 0 < counts[RequestState.IN_DOUBT] <= 32
    assert ("budget", 100) == (report.stopped, counts[RequestState.DONE] + counts[RequestState.IN_DOUBT])
    assert counts[RequestState.DONE] <= shop.billed <= 100


async def test_models_without_a_price_are_refused_before_anything_is_sent(workshop):
    """A limit that cannot be kept is none."""
    shop = await workshop()
    rows = [*prompts(3), *prompts(2, id=None, model="gpt-image-2.6-flare", prompt="another")]
    with pytest.raises(errors.ConfigurationError, match=r"gpt-image-2\.6-flare"):
        await shop.run(rows, max_cost=CENTS_4, prices=FLAT)

    assert 0 == shop.posts


@pytest.mark.sampled(5)
@pytest.mark.parametrize("model", KNOWN)
async def test_a_budget_holds_for_every_model_that_the_rules_name(workshop, model):
    """With the price of an image that the user names, whatever the list knows of the model."""
    shop = await workshop()
    prices = bulk.PriceTable.listed().with_price(CENTS_4, model)
    rows = [{"id": f"row-{number}", "prompt": f"otter {number}", "model": model} for number in range(6)]

    report = await shop.run(rows, concurrency=4, max_cost=4 * CENTS_4, prices=prices)

    assert ("budget", 4) == (report.stopped, shop.billed)
    assert 4 * CENTS_4 == report.totals.cost + report.totals.reserved


async def test_what_is_in_doubt_at_an_unknown_price_counts_once_there_is_one(workshop):
    """A run without prices left it; the budget of the next run knows its worst case."""
    shop = await workshop(Fault(cut="close", billed=True))
    await shop.run(prompts(4), concurrency=1, limit=1)

    report = await shop.run(concurrency=1, max_cost=3 * CENTS_4, prices=FLAT)

    assert ("budget", 3, CENTS_4) == (report.stopped, shop.billed, report.totals.reserved)


async def test_a_request_that_costs_more_than_its_worst_case_raises_that_of_the_others(workshop):
    """A measured ceiling may be too low; what is found out is set aside for the requests that follow, and said once."""
    dear = {"created": 1, "data": [{"b64_json": base64.b64encode(png()).decode()}], "usage": {"cost": 0.1}}
    shop = await workshop(Fault(body=dear, billed=True, times=3))

    report = await shop.run(prompts(9), concurrency=1, max_cost=8 * CENTS_4, prices=FLAT)

    assert ("budget", 3, 3 * 100_000_000) == (report.stopped, shop.billed, report.totals.cost)
    assert 1 == sum("so more is reserved for gpt-image-2" in event.message for event in shop.events)


# --- answers that are not to be believed -----------------------------------------------------------------------------

BY_TOKENS = bulk.PriceTable.listed()


def answer(images=1, **usage):
    """Return an answer with so many images, and with this usage."""
    picture = {"b64_json": base64.b64encode(png()).decode()}
    body = {"created": 1, "data": [picture] * images}
    return Fault(body={**body, "usage": usage} if usage else body, billed=True)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("metadata", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    "tokens", [10**9, 10**18, 2**63, 10**4000, -(10**18)], ids=["billion", "trillions", "64 bits", "huge", "negative"]
)
async def test_a_usage_out_of_all_proportion_is_none(workshop, tokens, metadata):
    """The worst case counts as spent, the job says so or leaves the number out, and no run ends by it."""
    if metadata == "parquet":
        pytest.importorskip("pyarrow")
    shop = await workshop(answer(input_tokens=7, output_tokens=tokens, total_tokens=7))
    worst = BY_TOKENS.worst_case(prompts(1, operation="generations")[0])

    report = await shop.run(prompts(1), prices=BY_TOKENS, metadata=metadata)
    (record,) = await shop.records()

    assert ("finished", RequestState.DONE) == (report.stopped, record.state)
    assert worst == (record.cost or 0) + record.reserved
    assert (tokens == 10**9) == any(UNBELIEVABLE in event.message for event in shop.events)


@pytest.mark.parametrize("prices", [BY_TOKENS, None], ids=["list", "no prices"])
@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost": 0.0123, "output_tokens": 5}, 12_300_000),
        ({"cost_in_usd_ticks": 150_000_000}, 15_000_000),
        ({"total_cost": "0.02"}, 20_000_000),
    ],
    ids=["cost", "ticks", "total"],
)
async def test_what_the_answer_says_counts_before_the_prices(workshop, usage, cost, prices):
    """Its own cost is what is billed."""
    shop = await workshop(answer(**usage))
    report = await shop.run(prompts(1), prices=prices)
    assert (cost, 0) == (report.totals.cost, report.totals.reserved)


@pytest.mark.parametrize(
    "usage", [{"cost": 900_000}, {"cost": 0}, {"cost": -1}, {"cost": 1, "currency": "CNY"}], ids=str
)
async def test_a_cost_that_cannot_be_one_counts_for_nothing(workshop, usage):
    """Then the prices tell, as without it."""
    shop = await workshop(answer(**usage))
    report = await shop.run(prompts(1), prices=BY_TOKENS)
    worst = BY_TOKENS.worst_case(prompts(1, operation="generations")[0])
    assert worst == report.totals.cost + report.totals.reserved


async def test_more_images_than_were_asked_for_cost_as_much_as_they_may(workshop):
    """Without a usage or a price for each image, the worst case of one counts for each that came."""
    shop = await workshop(answer(images=30))
    worst = BY_TOKENS.worst_case(prompts(1, operation="generations")[0])

    report = await shop.run(prompts(1), prices=BY_TOKENS)

    assert 30 == report.totals.images == report.totals.committed
    assert 30 * worst == report.totals.cost + report.totals.reserved


# --- proxies that err after the work ---------------------------------------------------------------------------------

PROXIES = {
    "Cloudflare 524": (524, {"type": "https://example/524", "title": "A timeout occurred", "status": 524}),
    "Varnish 503": (503, "<html><h1>Error 503 Backend fetch failed</h1></html>"),
    "Envoy 503": (503, "upstream connect error or disconnect/reset before headers"),
    "Kong 502": (502, {"message": "An invalid response was received from the upstream server"}),
    "LiteLLM 500": (500, {"error": {"message": "litellm.APIError", "type": None, "param": None, "code": "500"}}),
    "Portkey 500": (500, {"status": "failure", "message": "Something went wrong"}),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "limit", [{"max_images": 5}, {"max_cost": 5 * CENTS_4, "prices": FLAT}], ids=["images", "cost"]
)
@pytest.mark.parametrize(("status", "body"), PROXIES.values(), ids=PROXIES)
async def test_a_limit_holds_behind_a_proxy_that_errs_after_the_work(workshop, status, body, limit):
    """Each row is sent once, is in doubt with its worst case, and what may be billed never passes the limit."""
    shop = await workshop(Fault(status=status, body=body, billed=True, times=None))

    report = await shop.run(prompts(20), concurrency=4, **limit)
    again = await shop.run(concurrency=4, **limit)
    records = [record for record in await shop.records() if record.state is not RequestState.PENDING]

    assert ("budget", "budget") == (report.stopped, again.stopped)
    assert {RequestState.IN_DOUBT} == {record.state for record in records}
    assert (5, 5, 5) == (shop.billed, len(records), report.totals.committed)
    assert {1} == set(shop.billed_keys.values())
    assert 5 * CENTS_4 * ("prices" in limit) == again.totals.reserved
