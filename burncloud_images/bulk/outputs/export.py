"""Everything that a job writes beside its images, in one pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.outputs.gallery import GalleryWriter
from burncloud_images.bulk.outputs.metadata import Format, open_metadata, remove_other, require
from burncloud_images.bulk.outputs.named import NamedImages
from burncloud_images.bulk.outputs.output_files import LinesFile, storage_errors, write_rows
from burncloud_images.bulk.outputs.report import ReportContents, write_report
from burncloud_images.bulk.records import BadRow, RequestRecord
from burncloud_images.disk import finish_whatever_happens, run


async def write_outputs(
    store: JobStore,
    folder: Path,
    *,
    format: Format,  # noqa: A002 (the option's name)
    facts: Mapping[str, object],
    name: str | None = None,
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
        name: Template for names that people can read; None for none.
        executor: For everything that blocks.

    Raises:
        ConfigurationError: pyarrow is missing.
        StorageError: A file cannot be written; the one of an earlier run stays.

    Cancellation leaves the files that were finished by then, and no unfinished ones.
    """
    require(format)
    folder = await run(executor, folder.resolve)
    summary, gallery = ReportContents(facts), GalleryWriter(folder)
    with storage_errors(folder):
        metadata = folder / f"metadata.{format}"
        names = [NamedImages(folder, name)] if name is not None else []
        await write_rows(shown(store), [open_metadata(metadata), summary, gallery, *names], executor)
        await run(executor, remove_other, metadata)
        await write_bad_rows(store, folder, executor)
        totals = await store.totals()
        await finish_whatever_happens(run(executor, write_report, folder / "report.json", summary, totals))
        await finish_whatever_happens(run(executor, gallery.write_page, summary, totals))


async def shown(store: JobStore) -> AsyncIterator[RequestRecord]:
    """Yield the requests whose place no other has taken."""
    async for record in store.records():
        if not record.notes.is_replaced:
            yield record


async def write_bad_rows(store: JobStore, folder: Path, executor: Executor) -> None:
    """Write `bad_rows.jsonl`: the input lines that are not requests; if there are none, an earlier file is removed."""
    await write_rows(store.bad_rows(), [LinesFile(folder / "bad_rows.jsonl", describe, is_optional=True)], executor)


def describe(bad_rows: Sequence[BadRow]) -> Iterator[dict[str, object]]:
    for row in bad_rows:
        yield {"source": row.source, "line": row.line, "id": row.label, "reason": row.reason}
