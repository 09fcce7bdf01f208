"""`plan`: what lists ask for, what it may cost and how long it takes; nothing is sent or written without --measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from burncloud_images.bulk.measurement import MeasurementCandidates
from burncloud_images.bulk.records import BadRow, NewRequest, count_images
from burncloud_images.cli.exit_codes import UsageError
from burncloud_images.cli.inputs import StandardInput, to_lists, validate_numbers
from burncloud_images.cli.measure import MeasureCommand, add_measured, find_folder
from burncloud_images.cli.options import BudgetOptions, ConnectionOptions, JsonOptions, MeasureOptions, RateOptions
from burncloud_images.cli.outputs import print_json, print_lines
from burncloud_images.cli.reporting import Reporter, format_count, format_duration, format_location
from burncloud_images.client import MODEL_VARIABLES, from_environment
from burncloud_images.errors import ConfigurationError
from burncloud_images.model.retirements import find_retirement
from burncloud_images.prices.cost import DOLLAR, parse_money, show_money
from burncloud_images.prices.table import PriceTable

MOST_BAD_ROWS = 20
"""Bad rows that are printed; --json prints all."""
MOST_UNPRICED = 5
MOST_SIZES = 3
MOST_DUPLICATES = 5
"""Duplicates with ids that are printed."""
NO_MODEL = "no model named"


async def print_plan(
    values: Mapping[str, Any],
    pace: RateOptions,
    spending: BudgetOptions,
    measuring: MeasureOptions,
    connection: ConnectionOptions,
    output: JsonOptions,
    reporter: Reporter,
) -> int:
    """
    Print the plan for the lists, and return 0; 3 if some rows are bad, 1 if all are; else the code of --measure.

    Raises:
        UsageError: An option cannot be used.
        ImagesError: A list cannot be read.
    """
    validate_numbers(values)
    stdin = StandardInput()
    lists = to_lists(values, stdin, reporter.note)
    prices, budget = find_prices(spending, reporter), find_budget(spending)
    assert prices is not None  # without --emulator alone there are none
    folder = find_folder(measuring, lists)
    prices = await add_measured(prices, folder) or prices
    model = from_environment(MODEL_VARIABLES)
    candidates = MeasurementCandidates(most=measuring.measure or 0, model=model)
    with reporter.working("reading"):
        plan = await make_plan(lists.read(), prices, candidates, shows_sizes=lists.shape is not None)
    purchase = None
    if measuring.measure is not None and folder is not None:
        if measuring.measure > plan.requests:
            asked = format_count(plan.requests, "request")
            raise UsageError(f"--measure {measuring.measure:,} is more than the {asked} of the lists.")
        purchase = MeasureCommand(
            rows=candidates.choose(prices),
            folder=folder,
            prices=prices,
            reporter=reporter,
            model=model,
            budget=budget,
            spending=spending,
        )
        prices = await purchase.buy(connection, pace, stdin)
        plan = await make_plan(lists.read(), prices, shows_sizes=lists.shape is not None)
    show_plan(
        plan,
        pace,
        max_cost=budget,
        max_images=spending.max_images,
        as_json=output.json,
        measured=(purchase, prices) if purchase is not None else None,
    )
    return (purchase.code if purchase is not None else 0) or plan.code


@attrs.define(kw_only=True)
class ModelTotals:
    """
    The requests for one model; costs are in nano-dollars.

    Attributes:
        cost: The worst case.
        typical: What is usual.
        measured: The measured ceiling, or the worst case where that is lower; 0 if none holds for all of them.
        basis: What counts the worst case.
        sizes: The number of requests for each size.
    """

    requests: int = 0
    images: int = 0
    cost: int = 0
    typical: int = 0
    measured: int = 0
    basis: str = ""
    unmeasured: int = 0
    sizes: Counter[str] = attrs.field(factory=Counter)

    def measure(self, cost: int | None) -> None:
        """Add the measured ceiling of a request."""
        self.unmeasured += cost is None
        self.measured = 0 if self.unmeasured else self.measured + (cost or 0)

    def name_basis(self, basis: str) -> None:
        """Add what counts the worst case of a request."""
        if basis not in self.basis:
            self.basis = f"{self.basis} and {basis}" if self.basis else basis


@attrs.define(kw_only=True)
class JobPlan:
    """
    What lists ask for.

    Attributes:
        rows: Rows read, without blank ones.
        duplicates: Rows whose request is the same as an earlier one.
        first_duplicates: The first few of them that have an id.
        unpriced: Number of requests for each model without a price.
        tokens: Maximum tokens of the requests for which the price table states it.
        labels: The key of the request with each id.
        shows_sizes: Whether the lines say of what size the images are.
    """

    rows: int = 0
    duplicates: int = 0
    first_duplicates: list[NewRequest] = attrs.field(factory=list)
    bad_rows: list[BadRow] = attrs.field(factory=list)
    models: dict[str, ModelTotals] = attrs.field(factory=dict)
    unpriced: Counter[str] = attrs.field(factory=Counter)
    tokens: int = 0
    first: NewRequest | None = None
    candidates: MeasurementCandidates | None = attrs.field(default=None, repr=False)
    keys: set[bytes] = attrs.field(factory=set, repr=False)
    labels: dict[str, bytes] = attrs.field(factory=dict, repr=False)
    shows_sizes: bool = False

    @property
    def requests(self) -> int:
        """The number of different requests."""
        return sum(share.requests for share in self.models.values())

    @property
    def images(self) -> int:
        """The number of images they ask for."""
        return sum(share.images for share in self.models.values())

    @property
    def cost(self) -> int:
        """The maximum cost of the requests with a price, in nano-dollars."""
        return sum(share.cost for share in self.models.values())

    @property
    def typical(self) -> int:
        """What the requests with a price usually cost, in nano-dollars."""
        return sum(share.typical for share in self.models.values())

    @property
    def code(self) -> int:
        """The exit code."""
        return 0 if not self.bad_rows else 3 if self.models else 1

    def seconds(self, pace: RateOptions) -> float | None:
        """Return the duration at *pace*; None without a limit."""
        # Tokens limit the job only if the price table states them.
        limits = ((self.requests, pace.rpm), (self.images, pace.ipm), (self.tokens, pace.tpm if self.tokens else None))
        return max((60 * number / most for number, most in limits if most), default=None)

    def take(self, row: NewRequest | BadRow, prices: PriceTable | None, model: str | None) -> None:
        """Count one row."""
        self.rows += 1
        if isinstance(row, BadRow):
            self.bad_rows.append(row)
            return
        key = bytes.fromhex(row.key)
        if key in self.keys:
            self.duplicates += 1
            if row.label and self.labels.get(row.label) != key and len(self.first_duplicates) < MOST_DUPLICATES:
                self.first_duplicates.append(row)
        elif row.label and self.labels.get(row.label, key) != key:
            reason = "another request has this id"
            self.bad_rows.append(BadRow(source=row.source, line=row.line, label=row.label, reason=reason))
        else:
            self.keys.add(key)
            if row.label:
                self.labels[row.label] = key
            self.first = self.first or row
            if self.candidates is not None and self.candidates.most:
                self.candidates.add(row)
            self.add({"model": model, **row.document}, prices)

    def add(self, document: Mapping[str, object], prices: PriceTable | None) -> None:
        share = self.models.setdefault(str(document["model"] or NO_MODEL), ModelTotals())
        share.requests += 1
        share.images += count_images(document)
        share.sizes[str(document.get("size") or "auto")] += 1
        self.tokens += (prices.count_tokens(document) or 0) if prices is not None else 0
        if prices is None:
            return
        worst, measured = prices.worst_case(document), prices.measured_cost(document)
        share.measure(measured if measured is None or worst is None else min(measured, worst))
        if worst is not None:
            share.cost += worst
            share.typical += min(worst, prices.typical(document) or worst)
            share.name_basis(prices.name_basis(document))
        elif name := prices.name_unpriced(document):
            self.unpriced[name] += 1


async def make_plan(
    rows: AsyncIterator[NewRequest | BadRow],
    prices: PriceTable | None,
    candidates: MeasurementCandidates | None = None,
    *,
    shows_sizes: bool = False,
) -> JobPlan:
    """Return the plan for *rows*; *candidates* takes those that may be measured."""
    plan = JobPlan(candidates=candidates, shows_sizes=shows_sizes)
    model = from_environment(MODEL_VARIABLES)
    async for row in rows:
        plan.take(row, prices, model)
    return plan


def show_plan(
    plan: JobPlan,
    pace: RateOptions,
    *,
    max_cost: int | None,
    max_images: int | None,
    as_json: bool,
    measured: tuple[MeasureCommand, PriceTable] | None = None,
) -> None:
    """Print a plan, with what was bought to measure it."""
    if as_json:
        more = {"measurement": measured[0].to_json(measured[1])} if measured is not None else {}
        print_json({**plan_to_json(plan, pace), **more})
    else:
        limits = limits_to_lines(plan, pace, max_cost, max_images)
        # A purchase has warned of models already.
        beside = endings_to_lines(plan) if measured is None else measured[0].lines(measured[1])
        print_lines((*to_lines(plan), *limits, *beside, *problems_to_lines(plan)))


def to_lines(plan: JobPlan) -> Iterator[str]:
    doubles = f", {format_count(plan.duplicates, 'duplicate')}" if plan.duplicates else ""
    bad = f", {len(plan.bad_rows):,} bad" if plan.bad_rows else ""
    asked = f"{format_count(plan.requests, 'request')} for {format_count(plan.images, 'image')}"
    yield f"{format_count(plan.rows, 'row')}{doubles}{bad}: {asked}"
    width = max(map(len, plan.models), default=0)
    for model, share in sorted(plan.models.items()):
        usual = f"typically {show_money(share.typical)}, " if share.typical < share.cost else ""
        measured = f"measured at most {show_money(share.measured)}, " if 0 < share.measured != share.cost else ""
        cost = f", {usual}{measured}at most {show_money(share.cost)} by {share.basis}" if share.cost else ""
        asked = f"{format_count(share.requests, 'request')}, {format_count(share.images, 'image')}"
        sizes = f" of {', '.join(size for size, _ in share.sizes.most_common(MOST_SIZES))}" if plan.shows_sizes else ""
        yield f"  {model:{width}}  {asked}{sizes}{cost}"


def limits_to_lines(plan: JobPlan, pace: RateOptions, max_cost: int | None, max_images: int | None) -> Iterator[str]:
    if plan.unpriced:
        names = [f"{name} ({number:,})" for name, number in plan.unpriced.most_common(MOST_UNPRICED)]
        more = [f"{len(plan.unpriced) - MOST_UNPRICED:,} more"] if len(plan.unpriced) > MOST_UNPRICED else []
        advice = "--budget cannot limit these; name --price MODEL=DOLLARS, or buy a few with --measure."
        yield f"no price: {'; '.join(names + more)}. {advice}"
    over = f", more than the budget of {show_money(max_cost)}" if max_cost is not None and plan.cost > max_cost else ""
    usual = f"typically {show_money(plan.typical)}, " if plan.typical < plan.cost else ""
    yield f"cost: {usual}at most {show_money(plan.cost)}{' for what has a price' if plan.unpriced else ''}{over}"
    if max_images is not None and plan.images > max_images:
        yield f"images: {plan.images - max_images:,} more than --max-images"
    seconds = plan.seconds(pace)
    if seconds is None:
        yield f"time: as fast as the API answers, {format_count(pace.concurrency, 'request')} at once"
    else:
        yield f"time: about {format_duration(seconds)} at this pace, if the API keeps it"


def endings_to_lines(plan: JobPlan) -> Iterator[str]:
    today = datetime.now(UTC).date()
    for model, share in sorted(plan.models.items()):
        if (ending := find_retirement(model, today)) is not None:
            yield f"warning: {ending.describe(today)} ({format_count(share.requests, 'request')})"


def problems_to_lines(plan: JobPlan) -> Iterator[str]:
    for row in plan.first_duplicates:
        place = f"{format_location(row)} ({row.label})"
        yield f"duplicate: {place}: an earlier row asks for the same, and they share images"
    for problem in plan.bad_rows[:MOST_BAD_ROWS]:
        label = f" ({problem.label})" if problem.label else ""
        yield f"bad row: {format_location(problem)}{label}: {problem.reason}"
    if len(plan.bad_rows) > MOST_BAD_ROWS:
        yield f"… and {format_count(len(plan.bad_rows) - MOST_BAD_ROWS, 'bad row')} more; --json lists all"


def plan_to_json(plan: JobPlan, pace: RateOptions) -> dict[str, object]:
    return {
        "rows": plan.rows,
        "duplicates": plan.duplicates,
        "requests": plan.requests,
        "images": plan.images,
        "cost": plan.cost / DOLLAR,
        "typical_cost": plan.typical / DOLLAR,
        "unpriced": dict(plan.unpriced),
        "seconds": plan.seconds(pace),
        "models": {name: share_to_json(share) for name, share in plan.models.items()},
        "bad_rows": len(plan.bad_rows),
        "bad_row_list": [attrs.asdict(problem) for problem in plan.bad_rows],
    }


def share_to_json(share: ModelTotals) -> dict[str, object]:
    amounts = {name: getattr(share, name) / DOLLAR for name in ("cost", "typical", "measured")}
    return {**attrs.asdict(share, filter=lambda field, _: field.name != "unmeasured"), **amounts}


def find_budget(spending: BudgetOptions) -> int | None:
    """
    Return the budget in nano-dollars; None if there is none.

    Raises:
        UsageError: It is not a valid amount.
    """
    if spending.budget is None:
        return None
    try:
        return parse_money(spending.budget)
    except ConfigurationError as error:
        raise UsageError(f"--budget: {error.message}") from None


def find_prices(spending: BudgetOptions, reporter: Reporter, *, free: bool = False) -> PriceTable | None:
    """
    Return the prices of the user's file, or else the list prices.

    Args:
        spending: The options.
        reporter: Told which list prices apply, if the user gave no file.
        free: Whether nothing is paid, so that prices are only needed for a budget.

    Raises:
        UsageError: The file cannot be used.
    """
    if spending.prices is not None:
        try:
            return add_prices(PriceTable.load(spending.prices), spending)
        except ConfigurationError as error:
            raise UsageError(error.message) from None
    if free and spending.budget is None and not spending.price:
        return None
    prices = add_prices(PriceTable.listed(), spending)
    if PriceTable.listed().models.keys() <= prices.models.keys():
        reporter.note(f"costs are estimated with the list prices of {prices.date}; --prices FILE sets your own")
    return prices


def add_prices(prices: PriceTable, spending: BudgetOptions) -> PriceTable:
    """
    Return the prices with those that `--price` names; one without a model comes first, whatever the order.

    Raises:
        UsageError: One is not an amount.
    """
    named = [word.rpartition("=") for word in spending.price]
    for model, equals, amount in sorted(named, key=lambda parts: bool(parts[1])):
        if equals and not model.strip():
            raise UsageError(f"--price: a model is missing before ={amount}.")
        try:
            prices = prices.with_price(parse_money(amount), model.strip() or None)
        except ConfigurationError as error:
            raise UsageError(f"--price: {error.message}") from None
    return prices
