"""What a few requests took, and for which others it is a ceiling."""

from datetime import date

import attrs
import pytest

from burncloud_images.prices.measured import CostSample, find_measurement, from_json, measure, to_json
from burncloud_images.prices.table import MEASURED, PriceTable

HIGH = {"model": "m", "prompt": "a fox", "quality": "high", "size": "1024x1024"}
TOKENS = {"date": "2026-11-30", "models": {"m": {"text_input": 5, "image_output": 30}}}


def sample(images=1, cost=None, fields=None, **usage):
    return CostSample(fields={**HIGH, **(fields or {})}, images=images, usage=usage, cost=cost)


def priced(*samples, table=None):
    return attrs.evolve(PriceTable.read(table or TOKENS), measured=measure(samples))


@pytest.mark.parametrize(("requests", "ceiling"), [(1, 2000), (2, 1500), (3, 1334), (4, 1250), (9, 1250)], ids=str)
def test_the_margin_shrinks_with_the_number_of_requests(requests, ceiling):
    """It is a k-th part of the most of k, and at least a quarter."""
    (found,) = measure([sample(output_tokens=1000)] * requests)
    assert ceiling == found.with_margin(found.tokens)


@pytest.mark.parametrize("open_field", ["quality", "size"])
@pytest.mark.parametrize("value", [None, "auto"])
def test_the_margin_is_twice_as_high_where_the_server_decides(open_field, value):
    """It may decide otherwise next time."""
    (found,) = measure([sample(output_tokens=1000, fields={open_field: value})] * 4)
    assert 1500 == found.with_margin(found.tokens)


def test_tokens_are_multiplied_by_their_price():
    """What the prompt takes is not measured but counted as always, and all images of a request count."""
    prices = priced(*[sample(output_tokens=1000)] * 4)
    worst = prices.worst_case({**HIGH, "n": 2})
    text = len(HIGH["prompt"]) + 64
    assert 2 * (text * 5_000 + 1250 * 30_000) == worst
    assert MEASURED == prices.name_basis(HIGH)
    assert prices.typical(HIGH) < prices.worst_case(HIGH)


def test_the_costs_that_answers_name_come_before_tokens():
    """They are the bill, and no price of tokens is needed."""
    prices = priced(*[sample(cost=10_000_000, output_tokens=7)] * 4, table={"date": "2026-11-30", "models": {}})
    assert 12_500_000 == prices.worst_case(HIGH)
    assert 10_000_000 == prices.typical(HIGH)


def test_a_documented_ceiling_comes_before_a_measured_one():
    """A document knows all images, and a measurement a few."""
    table = {"date": "2026-11-30", "models": {"m": {"images": {"*": {"*": "0.04"}}}}}
    assert 40_000_000 == priced(sample(cost=1), table=table).worst_case(HIGH)


def test_what_one_answer_does_not_tell_is_not_measured():
    """The answer that is silent may be the dearest."""
    assert () == measure([sample(output_tokens=1000), sample()])
    (found,) = measure([sample(output_tokens=1000, cost=5), sample(output_tokens=900)])
    assert (1000, 0) == (found.tokens, found.cost)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"output_tokens": 1001}, 501),
        ({"total_tokens": 1000, "input_tokens": 10}, 495),
        ({"output_tokens": -5}, None),
        ({"output_tokens": True}, None),
        ({"output_tokens": "1000"}, None),
        ({"total_tokens": 10, "input_tokens": 1000}, None),
    ],
    ids=str,
)
def test_tokens_of_an_image(usage, tokens):
    """The tokens of a request are shared by its images, rounded up; what is not a count tells nothing."""
    found = measure([sample(2, **usage)])
    assert tokens == (found[0].tokens if found else None)


@pytest.mark.parametrize(
    "changed",
    [
        {"quality": "low"},
        {"quality": "medium"},
        {"prompt": "x" * 1000},
        {"n": 4},
        {"user": "somebody"},
        {"seed": 7},
        {"operation": "generations"},
    ],
    ids=str,
)
def test_a_ceiling_holds_for_what_costs_no_more(changed):
    """Lower qualities, prompts that are not much longer, and fields without a price."""
    assert find_measurement(measure([sample(output_tokens=1000)]), {**HIGH, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"quality": "max"},
        {"quality": None},
        {"quality": "auto"},
        {"quality": "their-own"},
        {"size": "1536x1024"},
        {"size": None},
        {"model": "m-2"},
        {"model": None},
        {"prompt": "x" * 1100},
        {"image": [{"path": "a.png"}]},
        {"output_format": "svg"},
        {"frame_count": 4},
        {"partial_images": 3},
        {"resolution": "4K"},
    ],
    ids=str,
)
def test_a_ceiling_does_not_hold_for_what_may_cost_more(changed):
    """A budget refuses it rather than guess."""
    prices = priced(sample(output_tokens=1000))
    assert prices.worst_case({**HIGH, **changed}) is None


def test_the_measurement_of_its_own_kind_counts_first():
    """A low one is not set aside as if it were high, though that covers it."""
    samples = [sample(output_tokens=4000), sample(output_tokens=100, fields={"quality": "low"})]
    assert 100 == find_measurement(measure(samples), {**HIGH, "quality": "low"}).tokens
    assert 4000 == find_measurement(measure(samples), {**HIGH, "quality": "medium"}).tokens


def test_measurements_are_json_and_back():
    """A job remembers them so."""
    found = measure([sample(output_tokens=1000), sample(cost=7, fields={"model": None})])
    assert found == from_json(to_json(found))


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        "x",
        [None],
        [3],
        [{}],
        [{"factors": {}}],
        [{"factors": None, "requests": 1}],
        [{**to_json(measure([sample(output_tokens=1)]))[0], "requests": 0}],
        [{**to_json(measure([sample(output_tokens=1)]))[0], "tokens": -1}],
        [{**to_json(measure([sample(output_tokens=1)]))[0], "cost": "7"}],
        [{**to_json(measure([sample(output_tokens=1)]))[0], "usual_cost": 0.5}],
        [{**to_json(measure([sample(output_tokens=1)]))[0], "more": 1}],
    ],
    ids=str,
)
def test_what_is_not_a_measurement_is_left_out(value):
    """A budget then refuses what it would have told of."""
    assert () == from_json(value)


def test_the_date_of_a_table_stays():
    """Measurements are added to prices, which stay as they are."""
    assert date(2026, 11, 30) == priced(sample(output_tokens=1)).date
