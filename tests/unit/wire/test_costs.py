"""What answers say that they cost."""

from decimal import Decimal

import pytest

from burncloud_images.results import Cost, ImagesResult
from burncloud_images.wire.answer import to_svg_usage, to_usage
from burncloud_images.wire.costs import find_cost


def find(document, **headers):
    usage = to_usage(document.get("usage"))
    extra = {name: value for name, value in document.items() if name != "usage"}
    return find_cost(usage, extra, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("document", "amount"),
    [
        ({"usage": {"prompt_tokens": 1, "cost": 0.0387}}, "0.0387"),
        ({"usage": {"cost_in_usd_ticks": 700000000}}, "0.07"),
        ({"usage": {"total_cost": "0.05"}}, "0.05"),
        ({"usage": {"cost": {"total": 0.02, "currency": "USD"}}}, "0.02"),
        ({"usage": {"cost_usd": 1}}, "1"),
        ({"cost": 0.04}, "0.04"),
        ({"cost": "$0.042"}, "0.042"),
        ({"cost": {"amount": "0.5"}}, "0.5"),
        ({"total_cost": 2}, "2"),
        ({"cost_in_usd_ticks": 10**10}, "1"),
        ({"usage": {"cost": 0.01}, "cost": 9}, "0.01"),
    ],
)
def test_a_cost_in_an_answer_is_found(document, amount):
    """As OpenRouter, xAI and others write it."""
    assert Cost(amount=Decimal(amount), currency="USD", source="answer") == find(document)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"usage": {"cost": 0}},
        {"usage": {"cost": -1}},
        {"usage": {"cost": None}},
        {"usage": {"cost": True}},
        {"usage": {"cost": "free"}},
        {"usage": {"cost": float("nan")}},
        {"usage": {"cost": 1e12}},
        {"usage": {"cost_in_usd_ticks": 10**40}},
        {"usage": "cost"},
        {"cost": [1]},
    ],
)
def test_what_is_no_cost_is_none(document):
    """Zero is what servers write that know no price."""
    assert find(document) is None


def test_another_currency_is_named():
    """No rate is known, so the currency is kept as it is."""
    assert "CNY" == find({"cost": {"total": 0.3, "currency": "cny"}}).currency
    assert "EUR" == find({"usage": {"cost": 0.3, "currency": "EUR"}}).currency


def test_a_header_counts_where_the_answer_says_nothing():
    """LiteLLM sends the cost of a response in a header."""
    assert Decimal("0.061") == find({}, x_litellm_response_cost="0.061").amount
    assert Decimal("0.07") == find({}, x_gateway_cost_usd="0.07").amount
    assert Decimal("0.01") == find({"cost": 0.01}, x_litellm_response_cost="0.061").amount
    assert find({}, x_litellm_response_cost_original="0.061") is None
    assert find({}, x_litellm_key_spend="3") is None
    assert find({}, x_litellm_response_cost="None") is None


def test_a_usage_in_words_of_chat_counts_and_keeps_all():
    """Gateways that make images of chats name prompt and completion."""
    usage = to_usage({"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16, "cost": 0.1, "is_byok": False})
    assert (7, 9, 16) == (usage.input_tokens, usage.output_tokens, usage.total_tokens)
    assert {"prompt_tokens": 7, "completion_tokens": 9, "cost": 0.1, "is_byok": False} == usage.extra


def test_the_usage_of_an_svg_is_typed():
    """Another model writes it."""
    usage = to_svg_usage(
        {"model": "m", "input_tokens": 1, "output_tokens": 2, "reasoning_tokens": 3, "total_tokens": 4}
    )
    assert ("m", 1, 2, 3, 4) == (
        usage.model,
        usage.input_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        usage.total_tokens,
    )
    assert to_svg_usage(None) is None


class TestResults:
    """The cost of a result."""

    def test_is_what_the_answer_says(self):
        """What the answer says comes before all else."""
        told = Cost(amount=Decimal(1), source="answer")
        assert told == ImagesResult(images=(1,), stated_cost=told, priced={"model": "dall-e-3"}).cost

    def test_is_counted_by_tokens(self):
        """Without that, tokens count at the list prices."""
        usage = to_usage({"input_tokens": 0, "output_tokens": 1000, "total_tokens": 1000})
        cost = ImagesResult(images=(1,), usage=usage, priced={"model": "gpt-image-2"}).cost
        assert Cost(amount=Decimal("0.03"), source="tokens") == cost

    def test_is_that_of_the_list(self):
        """Without tokens, the list has a price by quality and size."""
        fields = {"model": "dall-e-3", "quality": "standard", "size": "1024x1024"}
        cost = ImagesResult(images=(1, 2), priced=fields).cost
        assert ("list", "USD") == (cost.source, cost.currency)
        assert cost.amount == 2 * ImagesResult(images=(1,), priced=fields).cost.amount

    def test_is_none_where_nothing_tells(self):
        """A model that is not known has no price."""
        assert ImagesResult(images=(1,), priced={"model": "x"}).cost is None
        assert ImagesResult(images=(1,)).cost is None
