"""`batch`: runs lists as a job in a folder, from the arguments to the exit code; the module to read first on jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs

from burncloud_images.bulk.budget import refuse_unpriced
from burncloud_images.bulk.directory import JobDirectory
from burncloud_images.bulk.inputs.ingest import find_unread
from burncloud_images.bulk.job import Job
from burncloud_images.bulk.job_shard import SHARD, JobShard
from burncloud_images.bulk.options import JobOptions
from burncloud_images.bulk.outputs.metadata import require
from burncloud_images.bulk.outputs.named import check_name
from burncloud_images.bulk.records import (
    BadRow,
    JobEvent,
    NewRequest,
    RequestRecord,
    RequestState,
    RunReport,
    StoredImage,
)
from burncloud_images.bulk.request_json import to_request
from burncloud_images.cli.connection import open_client
from burncloud_images.cli.exit_codes import ABANDONED, UsageError, translate
from burncloud_images.cli.inputs import CONTAINERS, JobInputs, StandardInput, to_lists, validate_numbers
from burncloud_images.cli.interrupts import JobInterrupts
from burncloud_images.cli.job_exit import advise, summarise, to_exit, to_json
from burncloud_images.cli.job_views import view
from burncloud_images.cli.measure import add_measured
from burncloud_images.cli.options import BudgetOptions, ConnectionOptions, JobFolderOptions, RateOptions, RunOptions
from burncloud_images.cli.outputs import print_json, print_paths
from burncloud_images.cli.plan import find_budget, find_prices, make_plan, show_plan
from burncloud_images.cli.reporting import JobProgressReporter, Reporter, format_count, format_location
from burncloud_images.cli.requests import preview
from burncloud_images.cli.retired_models import warn_of_retired
from burncloud_images.client import AsyncImagesClient
from burncloud_images.errors import ConfigurationError, InputChangedError, StorageError
from burncloud_images.model.inputs import SCHEME
from burncloud_images.prices.table import PriceTable

MOST_BAD_ROWS = 5
"""Bad rows that are printed after reading the lists; `status` lists all."""


async def run(
    values: Mapping[str, Any],
    job_folder: JobFolderOptions,
    running: RunOptions,
    pace: RateOptions,
    spending: BudgetOptions,
    connection: ConnectionOptions,
    reporter: Reporter,
) -> int:
    """
    Run the job and return the exit code.

    Raises:
        UsageError: A value cannot be used.
        ImagesError: The job cannot be opened or run.
    """
    stdin = StandardInput()
    lists = to_lists(values, stdin, reporter.note)
    if not job_folder.directory:
        raise UsageError("A job needs a folder: add --into DIR.")
    if scheme := SCHEME.match(job_folder.directory):
        raise UsageError(f"A job needs a folder of this machine, not the address {scheme[0]}….")
    folder = Path(job_folder.directory)
    options = to_options(values, job_folder, running, pace, spending, connection, reporter)
    if (shard := await find_shard(running, folder)) is not None:
        lists, options = attrs.evolve(lists, shard=shard), shard.divide(options)
    options = attrs.evolve(options, prices=await add_measured(options.prices, folder))
    if not lists.names and not JobDirectory(folder).store.exists():
        raise UsageError(f"There is no job in {folder}; give at least one list of prompts.")
    try:
        require(options.metadata)
    except ConfigurationError as error:
        raise UsageError(translate(error.message)) from None
    if running.dry_run:
        return await show_dry_run(lists, folder, options, pace, running, connection, reporter)
    async with open_client(connection, reporter, stdin, max_connections=options.concurrency) as client:
        await check_prices(lists, folder, options)
        async with Job.open(folder) as job:
            command = JobCommand(job=job, folder=folder, running=running, reporter=reporter)
            interrupts = JobInterrupts(job=job, reporter=reporter)
            with interrupts.handlers():
                await interrupts.read(command.add(lists))
                warn_of_retired(await job.store.models())
                report = await command.run(client, options)
    return command.print_report(report)


@attrs.define(kw_only=True)
class JobCommand:
    """
    One run of a job, as it shows on the command line.

    Attributes:
        unprinted: The error that kept results from being printed.
    """

    job: Job
    folder: Path
    running: RunOptions
    reporter: Reporter
    unprinted: StorageError | None = None

    async def add(self, lists: JobInputs) -> None:
        """
        Add the rows of the lists to the job, and report bad rows.

        Raises:
            UsageError: A list has changed, or was not read completely.
        """
        self.note_recovered()
        with self.reporter.working("reading"):
            for name in lists.names:
                await self.add_list(name, lists)
        if unread := await find_unread(self.job.store):
            raise UsageError(f"{unread[0]} was not read completely before the job was interrupted; give it again.")
        if lists.names and not self.reporter.options.quiet:
            await self.note_bad_rows()

    async def add_list(self, name: str, lists: JobInputs) -> None:
        try:
            added = await self.job.add(
                name, lists.options, allow_change=self.running.allow_input_change, replace=self.running.replace
            )
        except InputChangedError as error:
            message = f"{error.message} Add --allow-input-change if that is intended, or use another folder."
            raise UsageError(message) from None
        known = f", {added.known:,} known already" if added.known else ""
        replaced = f", {added.replaced:,} in the place of others" if added.replaced else ""
        self.reporter.note(f"{name}: {format_count(added.new, 'new request')}{known}{replaced}")
        for label, other in added.same:
            shared = f"the same request as {other}" if other else "the same request as another"
            self.reporter.note(f"{name}: {label} is {shared}; they share their images")
        if added.refused and not self.running.replace:
            self.reporter.note("rows whose id another request has were not added; --replace puts them in its place")

    async def note_bad_rows(self) -> None:
        bad_rows = (await self.job.totals()).bad_rows
        told = 0
        async for problem in self.job.store.bad_rows():
            if told == MOST_BAD_ROWS:
                rest = format_count(bad_rows - told, "bad row")
                self.reporter.say("bad row", f"… and {rest} more; `burncloud-images status {self.folder}` lists all")
                break
            told += 1
            self.reporter.say("bad row", f"{format_location(problem)}: {problem.reason}")

    def note_recovered(self) -> None:
        recovered = self.job.recovered
        if recovered.done or recovered.in_doubt or recovered.waiting:
            self.reporter.note(
                f"the last run was killed: {recovered.done:,} of its requests are done, "
                f"{recovered.in_doubt:,} are in doubt, {recovered.waiting:,} had not been sent"
            )

    async def run(self, client: AsyncImagesClient, options: JobOptions) -> RunReport:
        """
        Run the job and show its progress.

        Raises:
            UsageError: There is a budget, and a price is unknown.
        """
        progress = JobProgressReporter(reporter=self.reporter, ask=self.job.progress)

        def watch(event: JobEvent) -> None:
            progress.see(event)
            if self.running.json and event.record is not None:
                self.print_row(event, event.record)

        try:
            with progress.showing():
                return await self.job.run(client, options, watch)
        except ConfigurationError as error:
            raise UsageError(translate(error.message)) from None

    def print_row(self, event: JobEvent, record: RequestRecord) -> None:
        """Print the result of a row; if stdout cannot be written, stop buying."""
        try:
            print_json(self.row_to_json(event, record))
        except BrokenPipeError:
            self.reporter.note("the reader of stdout has closed it; finishing requests already sent")
            self.job.drain()
        except StorageError as error:
            self.unprinted = error
            self.reporter.note("stdout cannot be written; finishing requests already sent")
            self.job.drain()

    def row_to_json(self, event: JobEvent, record: RequestRecord) -> dict[str, object]:
        return {
            **record.identity,
            "state": event.kind,
            "images": [self.image_to_json(image) for image in event.images],
            "failure": attrs.asdict(event.failure) if event.failure is not None else None,
        }

    def image_to_json(self, image: StoredImage) -> dict[str, object]:
        return {**attrs.asdict(image), "path": str(self.folder / image.path)}

    def print_report(self, report: RunReport) -> int:
        """
        Print the report of the run and return the exit code.

        Raises:
            StorageError: Results could not be printed.
        """
        code = to_exit(report.stopped, report.totals)
        gallery = self.folder / "gallery.html"
        if self.reporter.options.quiet:
            if code:
                self.reporter.say("error", report.message or summarise(report), error=report.error)
        else:
            facts = {"stopped": report.stopped, "code": code, **to_json(report.totals)}
            self.reporter.say("summary", summarise(report), **(facts if self.reporter.mode == "json" else {}))
            for sentence in advise(report, str(self.folder)):
                self.reporter.say("next", sentence)
        if self.running.json:
            print_json({"stopped": report.stopped, "code": code, "gallery": str(gallery), **to_json(report.totals)})
        elif gallery.exists():
            print_paths([gallery])
        if self.unprinted is not None and code != ABANDONED:
            raise self.unprinted
        return code


def to_options(
    values: Mapping[str, Any],
    folder: JobFolderOptions,
    running: RunOptions,
    pace: RateOptions,
    spending: BudgetOptions,
    connection: ConnectionOptions,
    reporter: Reporter,
) -> JobOptions:
    """
    Return the options of the job.

    Raises:
        UsageError: An option does not accept its value.
    """
    validate_numbers(values)
    return JobOptions(
        concurrency=pace.concurrency,
        requests_per_minute=pace.rpm,
        images_per_minute=pace.ipm,
        tokens_per_minute=pace.tpm,
        max_cost=find_budget(spending),
        max_images=spending.max_images,
        prices=find_prices(spending, reporter, free=connection.emulator),
        on_unknown=running.on_unknown,
        server_idempotency=running.server_idempotency,
        retry_failed=running.retry_failed,
        limit=running.limit,
        fail_fast=running.fail_fast,
        patience=connection.deadline,
        via_stream=running.via_stream,
        output=to_layout(folder, values.get("output_format")),
        metadata=folder.metadata,
        name=to_name(folder, values.get("output_format")),
    )


async def find_shard(running: RunOptions, folder: Path) -> JobShard | None:
    """
    Return the part of the lists that the job takes: by --shard, or the one that its folder remembers.

    Raises:
        UsageError: --shard does not name a shard.
    """
    try:
        if running.shard is not None:
            return JobShard.of(running.shard)
        if not JobDirectory(folder).store.exists():
            return None
        async with view(str(folder)) as store:
            held = await store.get_metadata(SHARD)
        return JobShard.of(str(held)) if held is not None else None
    except ConfigurationError as error:
        raise UsageError(error.message) from None


def to_name(folder: JobFolderOptions, asked: str | None) -> str | None:
    """
    Return the template of names, if there is one.

    Raises:
        UsageError: It is not one, or images are in tar files.
    """
    if folder.name is None:
        return None
    if to_layout(folder, asked) != "files":
        raise UsageError("--name gives files names, and with --layout webdataset images are in tar files.")
    try:
        check_name(folder.name)
    except ConfigurationError as error:
        raise UsageError(error.message) from None
    return folder.name


def to_layout(folder: JobFolderOptions, asked: str | None) -> Any:  # noqa: ANN401 (a literal, checked by the options)
    """Return how images are stored: --layout, or --format if that names a layout."""
    said = asked if asked in CONTAINERS else None
    if said and folder.layout and said != folder.layout:
        raise UsageError(f"--layout {folder.layout} and --format {said} contradict each other.")
    return folder.layout or said or "files"


async def check_prices(lists: JobInputs, folder: Path, options: JobOptions) -> None:
    """
    Refuse lists whose cost a budget cannot limit before they are added to the job, from which rows cannot be removed.

    Args:
        lists: The lists. Only files can be read twice; stdin and pipes are checked by the run.
        folder: The job's folder, which may not exist; requests that the job has are checked by the run.
        options: The options of the job.

    Raises:
        UsageError: The price of a request is unknown.
        InvalidRequestError: A list cannot be read.
    """
    files = attrs.evolve(lists, names=tuple(name for name in lists.names if Path(name).is_file()))
    if options.max_cost is None or not files.names:
        return
    try:
        await refuse_unpriced(options.prices, find_unpriced(files, folder, options.prices))
    except ConfigurationError as error:
        raise UsageError(translate(error.message)) from None


async def find_unpriced(
    lists: JobInputs, folder: Path, prices: PriceTable | None
) -> AsyncGenerator[Mapping[str, object], None]:
    """Yield the documents of new requests whose price is unknown."""
    async with AsyncExitStack() as stack:
        known = await stack.enter_async_context(view(str(folder))) if JobDirectory(folder).store.exists() else None
        async for row in lists.read():
            if isinstance(row, BadRow) or (prices is not None and prices.worst_case(row.document) is not None):
                continue
            if known is None or await known.get(row.key) is None:
                yield row.document


async def show_dry_run(
    lists: JobInputs,
    folder: Path,
    options: JobOptions,
    pace: RateOptions,
    running: RunOptions,
    connection: ConnectionOptions,
    reporter: Reporter,
) -> int:
    """
    Print what would be sent, and return 0; 3 if some rows are bad, 1 if all are.

    Without lists, the plan is about the waiting requests of the job.

    Raises:
        UsageError: --emulator was given as well.
        ImagesError: A list, or an image of the first request, cannot be read.
    """
    if connection.emulator:
        raise UsageError("--dry-run sends nothing, so it cannot be combined with --emulator.")
    rows = lists.read() if lists.names else read_job(folder)
    plan = await make_plan(rows, options.prices, shows_sizes=lists.shape is not None)
    show_plan(
        plan,
        pace,
        max_cost=options.max_cost,
        max_images=options.max_images,
        as_json=running.json,
    )
    if plan.first is not None:
        request = to_request(plan.first.document)
        try:
            await preview(request, connection, as_json=running.json, streams=running.via_stream, key=plan.first.key)
        except UsageError as error:
            reporter.note(f"the first request is not shown: {error}")
    return plan.code


async def read_job(folder: Path) -> AsyncIterator[NewRequest | BadRow]:
    """Yield the waiting requests of a job."""
    async with view(str(folder)) as store:
        async for record in store.records({RequestState.PENDING}):
            yield NewRequest(
                key=record.key,
                document=record.document,
                source=record.source,
                line=record.line,
                label=record.label,
            )
