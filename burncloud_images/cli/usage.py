"""`usage`: what a job used and cost, by day and model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

import attrs

from burncloud_images.bulk.prices.cost import DOLLAR, show_money
from burncloud_images.bulk.records import Record
from burncloud_images.cli.arguments import Listing
from burncloud_images.cli.listing import print_bytes, print_json
from burncloud_images.cli.outcomes import spent
from burncloud_images.cli.planning import NO_MODEL
from burncloud_images.cli.reporting import Reporter, plain
from burncloud_images.cli.status import view

HEAD = ("day", "model", "requests", "images", "tokens in", "tokens out", "cost")


@attrs.define(kw_only=True)
class Share:
    """
    What one model was used for in one day.

    Attributes:
        requests: That came to their end.
        images: That came.
        input_tokens: As the API says; 0 where it says nothing.
        output_tokens: Likewise.
        cost: Nano-dollars, as far as prices were known.
    """

    requests: int = 0
    images: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0

    def take(self, record: Record) -> None:
        """Count one request."""
        usage = record.about.get("usage")
        tokens = usage if isinstance(usage, Mapping) else {}
        self.requests += 1
        self.images += len(record.images)
        self.input_tokens += to_number(tokens.get("input_tokens"))
        self.output_tokens += to_number(tokens.get("output_tokens"))
        self.cost += record.cost or 0

    def cells(self) -> tuple[str, ...]:
        """Return it as text."""
        numbers = (self.requests, self.images, self.input_tokens, self.output_tokens)
        return (*(f"{number:,}" for number in numbers), show_money(self.cost))


def to_number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


async def print_usage(directory: str, listing: Listing, reporter: Reporter) -> int:
    """
    Print what a job used, and return 0.

    Raises:
        JobError: There is no job, or it cannot be read.
    """
    shares: dict[tuple[str, str], Share] = {}
    total = Share()
    with reporter.working("counting"):
        async with view(directory) as store:
            async for record in store.records():
                if record.ended_at is None:
                    continue
                day = f"{datetime.fromtimestamp(record.ended_at, UTC):%Y-%m-%d}"
                model = str(record.document.get("model") or NO_MODEL)
                for share in (shares.setdefault((day, model), Share()), total):
                    share.take(record)
            totals = await store.totals()
    if listing.json:
        days = [{"day": day, "model": model, **to_json(share)} for (day, model), share in sorted(shares.items())]
        print_json({"days": days, "total": to_json(total), "reserved": totals.reserved / DOLLAR})
    else:
        rows = [(day, model, *share.cells()) for (day, model), share in sorted(shares.items())]
        lines = (*to_table([HEAD, *rows, ("total", "", *total.cells())]), spent(totals.cost, totals.reserved))
        print_bytes("".join(f"{plain(line)}\n" for line in lines).encode(errors="backslashreplace"))
    return 0


def to_json(share: Share) -> dict[str, object]:
    return {**attrs.asdict(share), "cost": share.cost / DOLLAR}


def to_table(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield lines in which columns stand below each other, numbers to the right."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  ".join(
            f"{cell:{width}}" if place < 2 else f"{cell:>{width}}" for place, (cell, width) in enumerate(cells)
        ).rstrip()
