"""`batch --dry-run`: the plan and the first request, and nothing is sent or written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from burncloud_images.bulk.keys import to_request
from burncloud_images.bulk.options import Options
from burncloud_images.bulk.records import BadRow, Row, State
from burncloud_images.cli.arguments import Connection, Pace, Running
from burncloud_images.cli.exits import UsageError
from burncloud_images.cli.lists import Lists
from burncloud_images.cli.options import take
from burncloud_images.cli.planning import show_plan, survey
from burncloud_images.cli.preview import preview
from burncloud_images.cli.reporting import Reporter
from burncloud_images.cli.status import view


async def rehearse(lists: Lists, folder: Path, options: Options, values: Mapping[str, Any], reporter: Reporter) -> int:
    """
    Print what would be sent, and return 0; 3 if some rows are bad, 1 if all are.

    Args:
        lists: What would be added; without any it is about what waits in the job.
        folder: The job.
        options: How it would be run.
        values: What was given, by field.
        reporter: Told why the first request cannot be shown, if it cannot.

    Raises:
        UsageError: An emulator is asked for, which nothing would be sent to.
        ImagesError: A list, or an image of the first request, cannot be read.
    """
    connection, running = take(Connection, values), take(Running, values)
    if connection.emulator:
        raise UsageError("--dry-run sends nothing, so it cannot go together with --emulator.")
    plan = await survey(lists.read() if lists.names else read_job(folder), options.prices)
    show_plan(plan, take(Pace, values), max_cost=options.max_cost, max_images=options.max_images, as_json=running.json)
    if plan.first is not None:
        request = to_request(plan.first.document)
        try:
            await preview(request, connection, as_json=running.json, streams=running.via_stream, key=plan.first.key)
        except UsageError as error:
            reporter.note(f"the first request is not shown: {error}")
    return plan.code


async def read_job(folder: Path) -> AsyncIterator[Row | BadRow]:
    """Yield what waits in a job."""
    async with view(str(folder)) as store:
        async for record in store.records({State.PENDING}):
            yield Row(
                key=record.key,
                document=record.document,
                source=record.source,
                line=record.line,
                label=record.label,
            )
