"""Everything that a job writes beside its images, in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.outputs.gallery import GalleryWriter
from burncloud_images.bulk.outputs.metadata import Format, open_metadata, require
from burncloud_images.bulk.outputs.output_files import AtomicFile, batches, storage_errors, to_line, write_records
from burncloud_images.bulk.outputs.report import ReportBuilder, write_report
from burncloud_images.bulk.records import BadRow
from burncloud_images.disk import finish_whatever_happens, run


async def write_outputs(
    store: JobStore,
    folder: Path,
    *,
    format: Format,  # noqa: A002 (the option's name)
    facts: Mapping[str, object],
    executor: Executor,
) -> None:
    """
    Write metadata, bad rows, report and gallery, each whole or not at all; memory stays flat however large the job is.

    Args:
        store: The job, which may run meanwhile.
        folder: Its directory.
        format: Format of the metadata: `jsonl`, or `parquet`, which needs pyarrow.
        facts: What the report says about the run: `started` and `ended` in seconds since 1970, `stopped`, and anything
            else, for example `settings` and `versions`, as it is. Everybody who has the report can read it, so it must
            not contain secrets.
        executor: For everything that blocks.

    Raises:
        ConfigurationError: pyarrow is missing.
        StorageError: A file cannot be written; the one of an earlier run stays.

    Cancellation leaves the files that were finished by then, and no unfinished ones.
    """
    require(format)
    folder = await run(executor, folder.resolve)
    report, gallery = ReportBuilder(facts), GalleryWriter(folder)
    with storage_errors(folder):
        await write_records(store.records(), [open_metadata(folder / f"metadata.{format}"), report, gallery], executor)
        await write_bad_rows(store, folder, executor=executor)
        summary = report.build(await store.totals())
        await finish_whatever_happens(run(executor, write_report, folder / "report.json", summary))
        await finish_whatever_happens(run(executor, gallery.write_page, summary))


async def write_bad_rows(store: JobStore, folder: Path, *, executor: Executor) -> None:
    """
    Write `bad_rows.jsonl`: the input lines that are not requests, with their place and what is wrong with them.

    If there are none, the file is removed.

    Raises:
        StorageError: The file cannot be written; an earlier one stays as it is.
    """
    path = folder / "bad_rows.jsonl"
    file: AtomicFile | None = None
    with storage_errors(folder):
        try:
            async for batch in batches(store.bad_rows()):
                file = file or await finish_whatever_happens(run(executor, AtomicFile.open, path))
                await finish_whatever_happens(run(executor, write, file, batch))
            if file is None:
                await run(executor, remove, path)
                return
            await finish_whatever_happens(run(executor, file.commit))
        except BaseException:
            if file is not None:
                await finish_whatever_happens(run(executor, file.discard))
            raise


def write(file: AtomicFile, bad_rows: Sequence[BadRow]) -> None:
    file.handle.writelines(to_line(to_row(problem)) for problem in bad_rows)


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def to_row(problem: BadRow) -> dict[str, object]:
    return {"source": problem.source, "line": problem.line, "id": problem.label, "reason": problem.reason}
