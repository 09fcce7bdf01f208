"""`plan --measure`: buys a few requests into the folder of a job, and tells what an image of them costs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from burncloud_images.bulk.directory import JobDirectory
from burncloud_images.bulk.job import Job
from burncloud_images.bulk.measurement import measure_requests, open_measurements, reserve_unpriced
from burncloud_images.bulk.options import JobOptions
from burncloud_images.bulk.records import NewRequest, RequestState, RunReport, count_images
from burncloud_images.cli.connection import open_client
from burncloud_images.cli.exit_codes import FAILED, SOME_FAILED, UsageError, translate
from burncloud_images.cli.inputs import JobInputs, StandardInput
from burncloud_images.cli.interrupts import JobInterrupts
from burncloud_images.cli.job_exit import advise, summarise, to_exit
from burncloud_images.cli.options import BudgetOptions, ConnectionOptions, MeasureOptions, RateOptions
from burncloud_images.cli.reporting import JobProgressReporter, Reporter, format_count
from burncloud_images.cli.retired_models import warn_of_retired
from burncloud_images.client import AsyncImagesClient
from burncloud_images.errors import ConfigurationError
from burncloud_images.model.inputs import SCHEME
from burncloud_images.prices.cost import DOLLAR, show_money
from burncloud_images.prices.measured import CostMeasurement
from burncloud_images.prices.table import MEASURED, PriceTable

SMALLEST_PRICE = DOLLAR // 10_000
"""To which the price of an image is rounded up that a user may type."""


async def add_measured(prices: PriceTable | None, folder: Path | None) -> PriceTable | None:
    """Return the prices with what was measured in the job in *folder*, if there is one."""
    if prices is None or folder is None or not JobDirectory(folder).store.exists():
        return prices
    return attrs.evolve(prices, measured=await open_measurements(JobDirectory(folder).store))


def find_folder(measuring: MeasureOptions, lists: JobInputs) -> Path | None:
    """
    Return the folder of the images that are or were bought to measure; None if there is none.

    Raises:
        UsageError: It is not one, or a list is not a file, so it cannot be read again.
    """
    if measuring.directory and (scheme := SCHEME.match(measuring.directory)):
        raise UsageError(f"Measured images need a folder of this machine, not the address {scheme[0]}….")
    if measuring.measure is None:
        return Path(measuring.directory) if measuring.directory else None
    for name in lists.names:
        if not Path(name).is_file():
            raise UsageError("--measure reads the lists twice, so they have to be files.")
    return Path(measuring.directory or f"{Path(lists.names[0]).stem}-measured")


@attrs.define(kw_only=True)
class MeasureCommand:
    """
    The purchase of a few requests.

    Attributes:
        rows: The requests.
        model: Of requests that name none.
        budget: Nano-dollars that they may cost, as far as that is known; None for no limit.
        code: The exit code of the purchase.
    """

    rows: Sequence[NewRequest]
    folder: Path
    prices: PriceTable
    reporter: Reporter
    model: str | None = None
    budget: int | None = None
    spending: BudgetOptions = attrs.field(factory=BudgetOptions)
    measured: tuple[CostMeasurement, ...] = ()
    code: int = 0
    spent: int = 0
    reserved: int = 0

    @property
    def images(self) -> int:
        """How many images the requests ask for."""
        return sum(count_images(row.document) for row in self.rows)

    async def buy(self, connection: ConnectionOptions, pace: RateOptions, stdin: StandardInput) -> PriceTable:
        """
        Buy the requests that the folder does not have, and return the prices with what they told.

        Raises:
            UsageError: An option or the folder cannot be used; nothing was sent.
            ImagesError: The folder cannot be written, or nothing could be sent.
        """
        self.refuse_excess()
        most = pace.concurrency
        async with (
            open_client(connection, self.reporter, stdin, max_connections=most) as client,
            Job.open(self.folder) as job,
        ):
            await self.refuse_other_requests(job)
            warn_of_retired(sorted({self.find_model(row) for row in self.rows}))
            await self.announce(job)
            await job.store.add(self.rows)
            interrupts = JobInterrupts(job=job, reporter=self.reporter)
            with interrupts.handlers():
                report = await self.run(job, client, self.to_options(connection, pace))
            self.measured = await measure_requests(job.store, client.model)
            prices = attrs.evolve(self.prices, measured=self.measured)
            await reserve_unpriced(job.store, prices, client.model)
            totals = await job.totals()
        report = attrs.evolve(report, totals=totals)
        self.spent, self.reserved = totals.cost, totals.reserved
        self.report(report, prices)
        return prices

    def refuse_excess(self) -> None:
        """
        Refuse a purchase that may pass the budget.

        Raises:
            UsageError: It may cost more, or has more images.
        """
        known = sum(self.worst_case(row) or 0 for row in self.rows)
        if self.budget is not None and known > self.budget:
            raise UsageError(
                f"The measured requests may cost {show_money(known)}, more than --budget; nothing was sent."
            )
        most = self.spending.max_images
        if most is not None and self.images > most:
            raise UsageError(f"--measure asks for {format_count(self.images, 'image')}, more than --max-images.")

    async def refuse_other_requests(self, job: Job) -> None:
        """
        Refuse a folder whose job would buy other requests as well.

        Raises:
            UsageError: Others wait in it.
        """
        chosen = {row.key for row in self.rows}
        async for record in job.store.records({RequestState.PENDING}):
            if record.key not in chosen:
                raise UsageError(
                    f"Other requests wait in the job in {self.folder}, and would be bought as well; name another "
                    "folder with --into, or run the job."
                )

    async def announce(self, job: Job) -> None:
        """Say what is bought, and what it can cost."""
        known = [await job.store.get(row.key) for row in self.rows]
        new = [
            row
            for row, record in zip(self.rows, known, strict=True)
            if record is None or record.state is RequestState.PENDING
        ]
        earlier = len(self.rows) - len(new)
        there = f"; {format_count(earlier, 'request')} of {len(self.rows):,} bought earlier" if earlier else ""
        asked = format_count(sum(count_images(row.document) for row in new), "image")
        self.reporter.note(
            f"--measure buys {format_count(len(new), 'request')} for {asked} into {self.folder}, "
            f"{self.describe_most(new)}{there}"
        )

    def describe_most(self, rows: Sequence[NewRequest]) -> str:
        costs = {self.find_model(row) or "the server's own model": self.worst_case(row) for row in rows}
        unknown = [model for model, cost in costs.items() if cost is None]
        if unknown:
            return f"at a price that is not known for {', '.join(unknown)}"
        return f"for at most {show_money(sum(self.worst_case(row) or 0 for row in rows))}"

    async def run(self, job: Job, client: AsyncImagesClient, options: JobOptions) -> RunReport:
        progress = JobProgressReporter(reporter=self.reporter, ask=job.progress)
        try:
            with progress.showing():
                return await job.run(client, options, progress.see)
        except ConfigurationError as error:
            raise UsageError(translate(error.message)) from None

    def to_options(self, connection: ConnectionOptions, pace: RateOptions) -> JobOptions:
        return JobOptions(
            concurrency=min(pace.concurrency, len(self.rows)),
            requests_per_minute=pace.rpm,
            images_per_minute=pace.ipm,
            tokens_per_minute=pace.tpm,
            prices=self.prices,
            limit=len(self.rows),
            patience=connection.deadline,
        )

    def report(self, report: RunReport, prices: PriceTable) -> None:
        """Say how the purchase ended, and find its exit code."""
        self.code = to_exit(report.stopped, report.totals)
        unknown = [row for row in self.rows if prices.worst_case(self.fields(row.document)) is None]
        if self.code:
            self.reporter.say("error", report.message or summarise(report))
            followed = list(advise(report, str(self.folder)))
        elif unknown:
            self.code = FAILED if len(unknown) == len(self.rows) else SOME_FAILED
            self.reporter.say("error", self.explain(unknown))
            followed = []
        else:
            followed = [f"`burncloud-images batch` with --into {shlex.quote(str(self.folder))} keeps these images."]
        if not self.reporter.options.quiet:
            if report.message or not to_exit(report.stopped, report.totals):
                self.reporter.say("summary", summarise(report))
            for sentence in followed:
                self.reporter.say("next", sentence)

    def explain(self, rows: Sequence[NewRequest]) -> str:
        """Return why nothing could be measured of *rows*."""
        models = sorted({self.find_model(row) or "the server's own model" for row in rows})
        counted = {measurement.factors.model for measurement in self.measured if measurement.tokens}
        why = "no answer says what it cost or how many tokens it took"
        if counted.issuperset(models):
            why = "the answers name tokens, whose price is not known, and no cost"
        named = ", ".join(models)
        return f"Not measured: {named}: {why}. Name a price with --price MODEL=DOLLARS or --prices FILE."

    def lines(self, prices: PriceTable) -> Iterator[str]:
        """Yield what was measured, a line for each kind of request, and the prices to type elsewhere."""
        for measurement in self.measured:
            yield f"measured: {describe_measurement(measurement)}"
        for model, price in sorted(self.find_ceilings(prices).items()):
            amount = f"{price / DOLLAR:.4f}"
            yield f"measured: in another folder, --price {shlex.quote(model)}={amount} is the ceiling"

    def find_ceilings(self, prices: PriceTable) -> Mapping[str, int]:
        """Return the measured ceiling of an image of each model that has no other, rounded up."""
        ceilings: dict[str, int] = {}
        for row in self.rows:
            fields = {**self.fields(row.document), "n": 1}
            model, cost = self.find_model(row), prices.measured_cost(fields)
            if model and cost is not None and prices.name_basis(fields) == MEASURED:
                ceilings[model] = max(ceilings.get(model, 0), -(-cost // SMALLEST_PRICE) * SMALLEST_PRICE)
        return ceilings

    def to_json(self, prices: PriceTable) -> dict[str, object]:
        """Return what was bought and measured as JSON, with amounts in dollars."""
        return {
            "folder": str(self.folder),
            "requests": len(self.rows),
            "images": self.images,
            "code": self.code,
            "spent": self.spent / DOLLAR,
            "perhaps_spent": self.reserved / DOLLAR,
            "ceilings": {model: cost / DOLLAR for model, cost in self.find_ceilings(prices).items()},
        }

    def worst_case(self, row: NewRequest) -> int | None:
        return self.prices.worst_case(self.fields(row.document))

    def find_model(self, row: NewRequest) -> str:
        return str(self.fields(row.document)["model"] or "")

    def fields(self, document: Mapping[str, object]) -> Mapping[str, object]:
        return {"model": self.model, **document}


def describe_measurement(measurement: CostMeasurement) -> str:
    """Return what was measured of one kind of request, and with which margin it counts."""
    factors = measurement.factors
    quality = f" with quality {factors.quality}" if factors.quality else ""
    most = f"{show_money(measurement.cost)}" if measurement.cost else f"{measurement.tokens:,} output tokens"
    margin = measurement.with_margin(100) - 100
    asked = format_count(measurement.requests, "request")
    return (
        f"{factors.model or 'the default model'}{quality}: {asked}, at most {most} an image; the ceiling adds {margin}%"
    )
