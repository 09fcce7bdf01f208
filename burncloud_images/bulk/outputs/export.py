"""Everything that a job writes beside its images, in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

import attrs

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.outputs.files import WholeFile, batches, reported, to_line, write_records
from burncloud_images.bulk.outputs.gallery import Gallery
from burncloud_images.bulk.outputs.metadata import Format, open_metadata, require
from burncloud_images.bulk.outputs.report import ReportBuilder, Summary, write_report
from burncloud_images.bulk.records import BadRow
from burncloud_images.disk import finish_whatever_happens, run


@attrs.frozen(kw_only=True)
class Outputs:
    """
    Where things are.

    Attributes:
        metadata: A row per image.
        report: What came of the job.
        gallery: A page to look at.
        bad_rows: Lines of the inputs that are no requests; None if there are none.
        summary: What the report says.
    """

    metadata: Path
    report: Path
    gallery: Path
    bad_rows: Path | None
    summary: Summary


async def write_outputs(
    store: JobStore,
    folder: Path,
    *,
    format: Format,  # noqa: A002 (the option's name)
    facts: Mapping[str, object],
    executor: Executor,
) -> Outputs:
    """
    Write metadata, bad_rows, report and gallery, each whole or not at all; memory stays flat however large the job is.

    Args:
        store: The job; it may go on meanwhile.
        folder: Its directory.
        format: Of the metadata: `jsonl`, or `parquet`, which needs pyarrow.
        facts: What the report says about the run: `started` and `ended` in seconds since 1970, `stopped`, and anything
            else, for example `settings` and `versions`, as it is. It is shown to whoever has the report, so it may hold
            no secrets.
        executor: For everything that blocks.

    Raises:
        ConfigurationError: pyarrow is missing.
        StorageError: Something cannot be written; what an earlier run wrote of it stays.

    Cancellation leaves what was finished by then, and no unfinished files.
    """
    require(format)
    folder = await run(executor, folder.resolve)
    metadata = folder / f"metadata.{format}"
    tally, gallery = ReportBuilder(facts), Gallery(folder)
    report = folder / "report.json"
    with reported(folder):
        await write_records(store.records(), [open_metadata(metadata), tally, gallery], executor)
        bad_rows = await write_bad_rows(store, folder, executor=executor)
        summary = tally.summarise(await store.totals())
        await finish_whatever_happens(run(executor, write_report, report, summary))
        await finish_whatever_happens(run(executor, gallery.conclude, summary))
    return Outputs(metadata=metadata, report=report, gallery=gallery.path, bad_rows=bad_rows, summary=summary)


async def write_bad_rows(store: JobStore, folder: Path, *, executor: Executor) -> Path | None:
    """
    Write all bad_rows, and return the file; None if there are none, and then there is no file.

    Raises:
        StorageError: It cannot be written; an earlier one stays as it is.
    """
    path = folder / "bad_rows.jsonl"
    file: WholeFile | None = None
    with reported(folder):
        try:
            async for batch in batches(store.bad_rows()):
                file = file or await finish_whatever_happens(run(executor, WholeFile.open, path))
                await finish_whatever_happens(run(executor, write, file, batch))
            if file is None:
                await run(executor, remove, path)
                return None
            await finish_whatever_happens(run(executor, file.keep))
        except BaseException:
            if file is not None:
                await finish_whatever_happens(run(executor, file.discard))
            raise
    return path


def write(file: WholeFile, bad_rows: Sequence[BadRow]) -> None:
    file.handle.writelines(to_line(to_row(problem)) for problem in bad_rows)


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def to_row(problem: BadRow) -> dict[str, object]:
    return {"source": problem.source, "line": problem.line, "id": problem.label, "reason": problem.reason}
