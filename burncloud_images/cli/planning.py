"""`plan`: what lists ask for, what that may cost and how long it takes, without sending or writing anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import attrs

from burncloud_images.bulk.prices import PriceTable
from burncloud_images.bulk.rows import BadRow, Row
from burncloud_images.cli.arguments import Listing, Pace, Spending
from burncloud_images.cli.figures import count, to_dollars, to_duration
from burncloud_images.cli.inputs import Stdin
from burncloud_images.cli.listing import print_bytes, print_json
from burncloud_images.cli.lists import to_lists
from burncloud_images.cli.money import load_prices, to_nano
from burncloud_images.cli.options import take
from burncloud_images.cli.reporting import Reporter, plain
from burncloud_images.client import MODEL_VARIABLES, from_environment

__all__ = ["Plan", "print_plan", "show_plan", "survey"]

MOST_BAD_ROWS = 20
"""Bad rows that are printed; --json has all."""
NO_MODEL = "no model named"


async def print_plan(values: Mapping[str, Any], reporter: Reporter) -> int:
    """
    Print the plan for the lists, and return 0; 3 if some rows are bad, 1 if all are.

    Raises:
        UsageError: An option cannot be used.
        ImagesError: A list cannot be read.
    """
    spending, pace = take(Spending, values), take(Pace, values)
    prices = load_prices(spending)
    budget = to_nano(spending.budget)
    with reporter.working("reading"):
        plan = await survey(to_lists(values, Stdin()).read(), prices)
    show_plan(plan, pace, budget=budget, spending=spending, as_json=take(Listing, values).json)
    return plan.code


@attrs.define(kw_only=True)
class Share:
    """What one model is asked for."""

    requests: int = 0
    images: int = 0
    cost: int | None = 0


@attrs.define(kw_only=True)
class Plan:
    """
    What lists ask for.

    Attributes:
        rows: Lines that were read, blank ones left out.
        duplicates: Rows that are the same request as one before.
        problems: Rows that are no requests.
        models: What each model is asked for; the cost is the worst case, None without a price.
        first: The first request.
        keys: Of all requests.
        labels: The request that each id belongs to.
    """

    rows: int = 0
    duplicates: int = 0
    problems: list[BadRow] = attrs.field(factory=list)
    models: dict[str, Share] = attrs.field(factory=dict)
    first: Row | None = None
    keys: set[bytes] = attrs.field(factory=set, repr=False)
    labels: dict[str, bytes] = attrs.field(factory=dict, repr=False)

    @property
    def requests(self) -> int:
        """How many different ones there are."""
        return sum(share.requests for share in self.models.values())

    @property
    def images(self) -> int:
        """How many they ask for."""
        return sum(share.images for share in self.models.values())

    @property
    def cost(self) -> int | None:
        """The most that they cost, in nano-dollars; None if a price is not known."""
        costs = [share.cost for share in self.models.values()]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    @property
    def code(self) -> int:
        """The exit code."""
        return 0 if not self.problems else 3 if self.models else 1

    def seconds(self, pace: Pace) -> float | None:
        """Return how long it takes at *pace*; None without one."""
        limits = ((self.requests, pace.rpm), (self.images, pace.ipm))
        return max((60 * number / most for number, most in limits if most), default=None)

    def take(self, row: Row | BadRow, prices: PriceTable | None, model: str | None) -> None:
        """Count one row."""
        self.rows += 1
        if isinstance(row, BadRow):
            self.problems.append(row)
            return
        key = bytes.fromhex(row.key)
        if key in self.keys:
            self.duplicates += 1
        elif row.label and self.labels.get(row.label, key) != key:
            reason = "another request has this id"
            self.problems.append(BadRow(source=row.source, line=row.line, label=row.label, reason=reason))
        else:
            self.keys.add(key)
            if row.label:
                self.labels[row.label] = key
            self.first = self.first or row
            self.add({"model": model, **row.document}, prices)

    def add(self, document: Mapping[str, object], prices: PriceTable | None) -> None:
        share = self.models.setdefault(str(document["model"] or NO_MODEL), Share())
        n = document.get("n")
        worst = prices.worst_case(document) if prices is not None else None
        share.requests += 1
        share.images += n if isinstance(n, int) else 1
        share.cost = None if share.cost is None or worst is None else share.cost + worst


async def survey(rows: AsyncIterator[Row | BadRow], prices: PriceTable | None) -> Plan:
    """Return what *rows* ask for."""
    plan = Plan()
    model = from_environment(MODEL_VARIABLES)
    async for row in rows:
        plan.take(row, prices, model)
    return plan


def show_plan(plan: Plan, pace: Pace, *, budget: int | None, spending: Spending, as_json: bool) -> None:
    """Print a plan."""
    if as_json:
        print_json(to_json(plan, pace))
    else:
        lines = (*to_lines(plan, spending), *limits_to_lines(plan, pace, budget, spending), *problems_to_lines(plan))
        print_bytes("".join(f"{plain(line)}\n" for line in lines).encode(errors="backslashreplace"))


def to_lines(plan: Plan, spending: Spending) -> Iterator[str]:
    doubles = f", {count(plan.duplicates, 'duplicate')}" if plan.duplicates else ""
    bad = f", {len(plan.problems):,} bad" if plan.problems else ""
    yield (
        f"{count(plan.rows, 'row')}{doubles}{bad}: {count(plan.requests, 'request')} for {count(plan.images, 'image')}"
    )
    width = max(map(len, plan.models), default=0)
    for model, share in sorted(plan.models.items()):
        cost = f", at most {to_dollars(share.cost)}" if share.cost is not None else ""
        cost = cost or (", no price known" if spending.prices else "")
        yield f"  {model:{width}}  {count(share.requests, 'request')}, {count(share.images, 'image')}{cost}"


def limits_to_lines(plan: Plan, pace: Pace, budget: int | None, spending: Spending) -> Iterator[str]:
    if plan.cost is not None and spending.prices:
        over = ", which is more than the budget" if budget is not None and plan.cost > budget else ""
        yield f"cost: at most {to_dollars(plan.cost)}{over}"
    elif spending.prices:
        yield "cost: not known for all models; --max-images limits a job without prices"
    else:
        yield "cost: not known without --prices; --max-images limits a job without prices"
    if spending.max_images is not None and plan.images > spending.max_images:
        yield f"images: {plan.images - spending.max_images:,} more than --max-images"
    seconds = plan.seconds(pace)
    if seconds is None:
        yield f"time: as fast as the API answers, {count(pace.concurrency, 'request')} at once"
    else:
        yield f"time: about {to_duration(seconds)} at this pace, if the API keeps it"


def problems_to_lines(plan: Plan) -> Iterator[str]:
    for problem in plan.problems[:MOST_BAD_ROWS]:
        label = f" ({problem.label})" if problem.label else ""
        yield f"bad row {problem.source}:{problem.line}{label}: {problem.reason}"
    if len(plan.problems) > MOST_BAD_ROWS:
        yield f"… and {count(len(plan.problems) - MOST_BAD_ROWS, 'bad row')} more; --json lists all"


def to_json(plan: Plan, pace: Pace) -> dict[str, object]:
    return {
        "rows": plan.rows,
        "duplicates": plan.duplicates,
        "requests": plan.requests,
        "images": plan.images,
        "cost": dollars(plan.cost),
        "seconds": plan.seconds(pace),
        "models": {name: {**attrs.asdict(share), "cost": dollars(share.cost)} for name, share in plan.models.items()},
        "problems": [attrs.asdict(problem) for problem in plan.problems],
    }


def dollars(nano: int | None) -> float | None:
    return None if nano is None else nano / 1e9
