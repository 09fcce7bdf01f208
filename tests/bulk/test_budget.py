"""What may be spent is never passed and always used up, in whatever order things happen and however runs end."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from burncloud_images.bulk.budget import Budget, refuse_unpriced
from burncloud_images.errors import ConfigurationError
from burncloud_images.prices.table import PriceTable

CENT = 10**7
TABLE = PriceTable.read({"date": "2026-11-23", "models": {"flat": {"images": {"*": {"*": "0.04"}}}}})


def count_held(budget):
    """Return for how many requests something is reserved that may be released."""
    return len(budget._shares)


def fresh(max_cost=None, max_images=None, *, cost=0, reserved=0, images=0):
    return Budget(max_cost, max_images, cost=cost, reserved=reserved, images=images)


@attrs.define
class Books:
    """What a store would know after a run was killed, and what a server would bill."""

    cost: int = 0
    reserved: int = 0
    images: int = 0
    billed_cost: int = 0
    billed_images: int = 0

    def open(self, max_cost, max_images):
        return fresh(max_cost, max_images, cost=self.cost, reserved=self.reserved, images=self.images)


# --- all orders ------------------------------------------------------------------------------------------------------


class Spending(RuleBasedStateMachine):
    """Up to 32 requests at once, each of which may cost less than feared, fail, stay in doubt, or see its run die."""

    @initialize(
        max_cost=st.none() | st.integers(0, 400), max_images=st.none() | st.integers(0, 100), seed=st.integers(0, 99)
    )
    def begin(self, max_cost, max_images, seed):
        self.max_cost, self.max_images, self.random = max_cost, max_images, random.Random(seed)
        self.books, self.sent, self.number = Books(), {}, 0
        self.budget = self.books.open(max_cost, max_images)

    @precondition(lambda self: len(self.sent) < 32)
    @rule(cost=st.integers(0, 40), images=st.integers(1, 10))
    def send(self, cost, images):
        """Its intent is durable, so it counts in the books."""
        self.number += 1
        key, fits = f"key-{self.number}", self.budget.fits(cost, images)
        assert fits == self.budget.reserve(key, cost=cost, images=images)
        assert not (fits and self.budget.never_fits(cost, images))
        if fits:
            self.sent[key] = (cost, images)
            self.books.reserved += cost
            self.books.images += images

    @precondition(lambda self: self.sent)
    @rule(share=st.floats(0, 1), told=st.booleans())
    def succeed(self, share, told):
        """It cost what it cost, which an answer may not tell."""
        key, cost, images = self.take()
        paid, came = int(cost * share), self.random.randint(1, images)
        self.books.billed_cost += paid
        self.books.billed_images += came
        self.books.images += came - images
        if told:
            self.books.reserved -= cost
            self.books.cost += paid
        self.budget.settle(key, cost=paid if told else None, images=came)

    @precondition(lambda self: self.sent)
    @rule()
    def refuse(self):
        """Nothing was billed."""
        key, cost, images = self.take()
        self.books.reserved -= cost
        self.books.images -= images
        self.budget.release(key)

    @precondition(lambda self: self.sent)
    @rule(billed=st.booleans())
    def doubt(self, billed):
        """Nobody knows."""
        key, cost, images = self.take()
        self.bill(cost, images, billed=billed)
        self.budget.keep(key)

    @rule()
    def kill(self):
        """All that was sent is in doubt, billed or not; a new run begins with what the books say."""
        while self.sent:
            _, cost, images = self.take()
            self.bill(cost, images, billed=self.random.random() < 0.5)
        self.budget = self.books.open(self.max_cost, self.max_images)

    def take(self):
        key = self.random.choice(list(self.sent))
        return (key, *self.sent.pop(key))

    def bill(self, cost, images, *, billed):
        self.books.billed_cost += cost * billed
        self.books.billed_images += images * billed

    @invariant()
    def no_more_is_billed_than_was_allowed(self):
        """Even if all that is under way is."""
        cost, images = (sum(pair[place] for pair in self.sent.values()) for place in (0, 1))
        assert self.max_cost is None or self.books.billed_cost + cost <= self.max_cost
        assert self.max_images is None or self.books.billed_images + images <= self.max_images

    @invariant()
    def the_books_and_the_budget_agree(self):
        """A new run knows what the old one did."""
        budget = self.budget
        assert (self.books.cost, self.books.reserved, self.books.images) == (
            budget.cost,
            budget.reserved,
            budget.images,
        )
        assert budget.cost + budget.reserved >= self.books.billed_cost
        assert len(self.sent) == count_held(budget)


TestSpending = Spending.TestCase


class TestExactly:
    """A cap is used up to the last image, and not passed by one."""

    @given(st.integers(0, 2**32), st.sampled_from([1, 7, 32]), st.integers(0, 4))
    def test_a_cap_of_100_images_buys_100(self, seed, concurrency, kills):
        """In any order, at one price, by images or by money; what a kill leaves in doubt is among them."""
        for limits in ({"max_images": 100}, {"max_cost": 100 * CENT}, {"max_cost": 100 * CENT, "max_images": 100}):
            bought, doubtful = buy(limits, random.Random(seed), concurrency, kills)
            assert 100 == bought + doubtful
            assert doubtful <= kills * concurrency
            assert kills or 100 == bought

    def test_reserving_without_counting_what_is_under_way_would_be_caught(self):
        """The control: a budget that only sees what is settled buys more."""
        bought, _ = buy({"max_images": 100}, random.Random(1), 32, 0, kind=Careless)

        assert bought > 100

    def test_forgetting_what_is_in_doubt_would_be_caught(self):
        """The control: a run that begins with what is settled alone passes the cap."""
        totals = [sum(buy({"max_images": 100}, random.Random(seed), 32, 4, kind=Forgetful)) for seed in range(20)]

        assert max(totals) > 100


class Careless(Budget):
    """Counts nothing before it is paid."""

    def fits(self, cost, images):
        under_way = sum(images for _, images in self._shares.values())
        return super().fits(cost, images - under_way)


class Forgetful(Budget):
    """Begins without what is in doubt."""

    def __init__(self, max_cost, max_images, *, cost, reserved, images):
        super().__init__(max_cost, max_images, cost=cost, reserved=0, images=cost // CENT)


def buy(limits, chance, concurrency, kills, kind=Budget):
    """Return how many of 1,000 images of a cent each are bought, and how many are in doubt."""
    books = Books()
    at = sorted(chance.sample(range(300), kills))
    budget, running, steps, number, doubtful = open_again(kind, limits, books), {}, 0, 0, 0
    while True:
        steps += 1
        if at and steps >= at[0]:
            at.pop(0)
            doubtful += len(running)
            running.clear()
            budget = open_again(kind, limits, books)
        wants = len(running) < concurrency and number < 1000
        if wants and (not running or chance.random() < 0.6):
            if budget.reserve(str(number), cost=CENT, images=1):
                running[str(number)] = None
                books.reserved += CENT
                books.images += 1
                number += 1
            elif not running:
                assert budget.never_fits(CENT, 1)
                assert 0 == count_held(budget)
                return books.billed_images, doubtful
        if running and chance.random() < 0.5:
            key = chance.choice(list(running))
            del running[key]
            if chance.random() < 0.2:
                budget.release(key)
                books.reserved -= CENT
                books.images -= 1
            else:
                budget.settle(key, cost=CENT, images=1)
                books.reserved -= CENT
                books.cost += CENT
                books.billed_images += 1


def open_again(kind, limits, books):
    return kind(
        limits.get("max_cost"), limits.get("max_images"), cost=books.cost, reserved=books.reserved, images=books.images
    )


# --- one by one ------------------------------------------------------------------------------------------------------


class TestSharing:
    """What one call does."""

    def test_what_is_set_aside_counts_until_it_comes_back(self):
        """The worst case counts until the request is settled, and its cost after that."""
        budget = fresh(10, None)
        assert budget.reserve("a", cost=6, images=1)
        assert not budget.reserve("b", cost=5, images=1)
        budget.settle("a", cost=4, images=1)
        assert budget.reserve("b", cost=6, images=1)
        assert (4, 6, 2, 1) == (budget.cost, budget.reserved, budget.images, count_held(budget))

    def test_what_does_not_fit_sets_nothing_aside(self):
        """A request that does not fit reserves neither money nor images."""
        budget = fresh(10, 5)
        assert not budget.reserve("a", cost=11, images=1)
        assert not budget.reserve("a", cost=1, images=6)
        assert (0, 0, 0, 0) == (budget.cost, budget.reserved, budget.images, count_held(budget))

    def test_a_cost_that_is_not_known_leaves_the_worst_case(self):
        """It may have been that much."""
        budget = fresh(10)
        budget.reserve("a", cost=6, images=3)
        budget.settle("a", cost=None, images=2)
        assert (0, 6, 2, 0) == (budget.cost, budget.reserved, budget.images, count_held(budget))

    def test_a_cost_beyond_the_worst_case_counts_in_full(self):
        """Nothing more is bought then."""
        budget = fresh(10)
        budget.reserve("a", cost=6, images=1)
        budget.settle("a", cost=12, images=1)
        assert (12, 0) == (budget.cost, budget.reserved)
        assert not budget.fits(0, 1)

    def test_without_a_price_images_can_be_counted(self):
        """Without a price images are counted, and a cost that becomes known is added."""
        budget = fresh(None, 2)
        assert budget.reserve("a", cost=None, images=2)
        assert not budget.reserve("b", cost=None, images=1)
        budget.settle("a", cost=7, images=2)
        assert (7, 0, 2) == (budget.cost, budget.reserved, budget.images)

    def test_a_limit_of_cost_needs_a_price(self):
        """It would not be one otherwise."""
        with pytest.raises(ConfigurationError, match="max_cost needs the price of every request; use max_images"):
            fresh(10).reserve("a", cost=None, images=1)

    def test_without_limits_everything_fits(self):
        """It is counted all the same."""
        budget = fresh()
        assert budget.reserve("a", cost=10**15, images=10**6)
        assert not budget.never_fits(10**18, 10**9)
        assert (10**15, 10**6) == (budget.reserved, budget.images)

    def test_a_request_has_one_share(self):
        """Two would be a mistake of the program."""
        budget = fresh(10)
        budget.reserve("a", cost=1, images=1)
        with pytest.raises(RuntimeError, match="something is already reserved for"):
            budget.reserve("a", cost=1, images=1)

    def test_a_share_ends_once(self):
        """What comes after it changes nothing."""
        budget = fresh(10)
        budget.reserve("a", cost=6, images=1)
        budget.release("a")
        budget.release("a")
        budget.keep("a")
        assert (0, 0, 0) == (budget.cost, budget.reserved, budget.images)
        assert budget.reserve("a", cost=6, images=1)

    def test_what_is_kept_counts_besides_another_try(self):
        """A request that may have been billed and is sent again may be billed twice."""
        budget = fresh(12)
        budget.reserve("a", cost=6, images=1)
        budget.keep("a")
        assert budget.reserve("a", cost=6, images=1)
        assert not budget.fits(1, 1)
        assert (12, 2, 1) == (budget.reserved, budget.images, count_held(budget))

    def test_what_an_earlier_run_set_aside_can_be_settled(self):
        """It counts as reserved from the start; taken up again, its cost takes its place."""
        budget = fresh(20, cost=3, reserved=8, images=5)
        budget.adopt("a", cost=6, images=2)
        assert (8, 5, 1) == (budget.reserved, budget.images, count_held(budget))
        budget.settle("a", cost=4, images=2)
        assert (7, 2, 5) == (budget.cost, budget.reserved, budget.images)

    def test_what_was_not_taken_up_is_counted_beside_what_was_reserved(self):
        """Rather too much than too little."""
        budget = fresh(20, cost=3, reserved=8, images=5)
        budget.settle("a", cost=4, images=2)
        assert (7, 8, 5) == (budget.cost, budget.reserved, budget.images)

    def test_what_is_under_way_may_make_room(self):
        """Unless even all of it were too little."""
        budget = fresh(10, 4, cost=2, images=1)
        budget.reserve("a", cost=6, images=2)
        assert (False, False) == (budget.fits(8, 3), budget.never_fits(8, 3))
        assert budget.never_fits(9, 1)
        assert budget.never_fits(1, 4)
        budget.keep("a")
        assert budget.never_fits(3, 1)
        assert not budget.never_fits(2, 1)


class TestWords:
    """Why nothing more is bought."""

    def test_money_that_is_short_is_told(self):
        """With what is spent, and what may be."""
        budget = fresh(500 * CENT, cost=480 * CENT, reserved=15 * CENT)
        assert (
            "Budget reached: $4.80 of $5.00 spent, $0.15 in doubt, and the next request may cost $0.10."
            == budget.describe(10 * CENT, 1)
        )
        budget = fresh(500 * CENT, cost=500 * CENT)
        said = budget.describe(10 * CENT, 1)
        assert "Budget reached: $5.00 of $5.00 spent, and the next request may cost $0.10." == said

    def test_images_that_are_too_many_are_told(self):
        """With or without money."""
        budget = fresh(None, 1000, images=999)
        assert (
            "Limit reached: 999 of 1,000 images bought or in doubt, and the next request asks for 4 images."
            == budget.describe(None, 4)
        )
        assert "" == budget.describe(None, 1)
        assert fresh(None, 0).describe(None, 1).startswith("Limit reached: 0 of 0 images bought")


async def refuse(prices, documents):
    """Check the prices of *documents*."""

    async def each():
        for document in documents:
            yield document

    await refuse_unpriced(prices, each())


class TestPrices:
    """A limit of cost is refused before anything is sent if it cannot be kept."""

    async def test_models_without_a_price_are_named(self):
        """Each once, with the number of its requests."""
        documents = [{"model": "flat"}, {"model": "new"}, {"model": "new"}, {"prompt": "a"}]
        with pytest.raises(ConfigurationError) as caught:
            await refuse(TABLE, documents)
        assert (
            "The prices of 2026-11-23 do not say what these requests can cost: new (2); the server's own model (1). "
            "Add them to the price file, name the price of an image (--price MODEL=DOLLARS, PriceTable.with_price), "
            "buy a few to measure it (plan --measure), or use max_images in place of max_cost." == caught.value.message
        )

    async def test_of_many_models_some_are_named(self):
        """The others are counted, up to a thousand requests."""
        with pytest.raises(ConfigurationError, match=r"m3 \(1\); m4 \(1\); and 995 more\."):
            await refuse(TABLE, ({"model": f"m{number}"} for number in range(1_007)))
        with pytest.raises(ConfigurationError, match=r"m3 \(1\); m4 \(1\)\. Add"):
            await refuse(TABLE, ({"model": f"m{number}"} for number in range(5)))

    async def test_without_prices_there_is_no_limit_of_cost(self):
        """Without prices a limit of cost is refused, and the error names `max_images`."""
        with pytest.raises(ConfigurationError, match="max_cost needs prices; without them use max_images"):
            await refuse(None, [])

    async def test_requests_with_a_price_pass(self):
        """There is nothing to say."""
        await refuse(TABLE, [{"model": "flat"}] * 3)
