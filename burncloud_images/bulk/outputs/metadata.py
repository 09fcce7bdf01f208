"""
`metadata.jsonl` or `metadata.parquet`: one row per image that is there.

With the images as single files the job's directory loads as it is with Hugging Face's `imagefolder`, which finds the
images by the column `file_name`; that column is theirs, the others are ours. A text that is missing is empty, so that a
reader that guesses types from the first rows guesses right; a number that is missing is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.outputs.files import (
    RecordWriter,
    WholeFile,
    reported,
    to_line,
    well_formed,
    write_records,
)
from burncloud_images.bulk.records import Record, StoredImage
from burncloud_images.errors import ConfigurationError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

Format: TypeAlias = Literal["jsonl", "parquet"]

NewRequest: TypeAlias = dict[str, object]

COLUMNS: Mapping[str, str] = {
    "file_name": "text",  # relative to the directory, with `/`; within a shard `00000.tar/key.png`
    "key": "text",
    "id": "text",  # of the row in the input
    "index": "integer",  # place in the answer, from 0
    "prompt": "text",
    "revised_prompt": "text",
    "model": "text",  # as asked for
    "operation": "text",  # generations, edits or variations
    "size": "text",  # as the answer says, else as asked for
    "quality": "text",  # likewise
    "width": "integer",  # pixels
    "height": "integer",
    "media_type": "text",
    "bytes": "integer",
    "sha256": "text",
    "cost": "dollars",  # this image's share of what its request cost; the shares add up exactly
    "request_id": "text",
    "created": "time",  # UTC, as the answer says, else when the request came to its end
    "state": "text",  # of the request: an image of one that is in doubt is as good as any other
}
"""All columns, in their order, with what they hold."""

GROUP = 5_000
"""Rows of a Parquet row group, of which one is in memory."""


async def write_metadata(store: JobStore, folder: Path, format: Format, *, executor: Executor) -> Path:  # noqa: A002
    """
    Write the metadata of all images that are there, and return the file.

    Args:
        store: The job.
        folder: Its directory.
        format: `jsonl`, or `parquet`, which needs pyarrow.
        executor: For everything that blocks.

    Raises:
        ConfigurationError: pyarrow is missing.
        StorageError: The file cannot be written; an earlier one stays as it is.
    """
    require(format)
    path = folder / f"metadata.{format}"
    with reported(folder):
        await write_records(store.records(), [open_metadata(path)], executor)
    return path


def require(format: Format) -> None:  # noqa: A002 (the option's name)
    """
    Refuse a format that cannot be written here, before anything is bought for it.

    Raises:
        ConfigurationError: pyarrow is missing.
    """
    if format == "parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            message = "Parquet is written by pyarrow, which is an extra: pip install 'burncloud-images[data]'."
            raise ConfigurationError(message) from None


def open_metadata(path: Path) -> RecordWriter:
    """Return the writer of *path*, by its extension."""
    return ParquetMetadata(path) if path.suffix == ".parquet" else LinesMetadata(path)


def remove_other(path: Path) -> None:
    """Remove what an earlier run wrote in the other format: `imagefolder` takes one only."""
    for suffix in {".jsonl", ".parquet"} - {path.suffix}:
        path.with_suffix(suffix).unlink(missing_ok=True)


@attrs.define
class LinesMetadata:
    """Writes JSON Lines."""

    path: Path
    file: WholeFile | None = None

    def take(self, records: Sequence[Record]) -> None:
        """Write a line per image."""
        self.open().handle.write(b"".join(to_line(row) for row in to_rows(records)))

    def finish(self) -> None:
        """Show the file."""
        self.open().keep()
        remove_other(self.path)

    def discard(self) -> None:
        """Leave no trace."""
        if self.file is not None:
            self.file.discard()

    def open(self) -> WholeFile:
        self.file = self.file or WholeFile.open(self.path)
        return self.file


@attrs.define
class ParquetMetadata:
    """Writes Parquet, a row group at a time."""

    path: Path
    file: WholeFile | None = None
    writer: ParquetWriter | None = None
    rows: list[NewRequest] = attrs.field(factory=list)

    def take(self, records: Sequence[Record]) -> None:
        """Gather a row per image, and write full groups."""
        self.rows += to_rows(records)
        while len(self.rows) >= GROUP:
            self.write(self.rows[:GROUP])
            del self.rows[:GROUP]

    def finish(self) -> None:
        """Show the file."""
        self.write(self.rows)  # also none: an empty table still has its columns
        self.rows = []
        file, writer = self.open()
        writer.close()
        file.keep()
        remove_other(self.path)

    def discard(self) -> None:
        """Leave no trace."""
        if self.file is not None:
            self.file.discard()

    def write(self, rows: list[NewRequest]) -> None:
        import pyarrow as pa

        whole = [
            {name: well_formed(value) if isinstance(value, str) else value for name, value in row.items()}
            for row in rows
        ]
        _, writer = self.open()
        writer.write_batch(pa.RecordBatch.from_pylist(whole, schema=to_schema()))

    def open(self) -> tuple[WholeFile, ParquetWriter]:
        import pyarrow.parquet as pq

        self.file = self.file or WholeFile.open(self.path)
        self.writer = self.writer or pq.ParquetWriter(self.file.handle, to_schema(), compression="zstd")
        return self.file, self.writer


def to_schema() -> pa.Schema:
    """Return `COLUMNS` as Arrow has them."""
    import pyarrow as pa

    kinds = {"text": pa.string(), "integer": pa.int64(), "dollars": pa.float64(), "time": pa.timestamp("ms", tz="UTC")}
    return pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])


def to_rows(records: Sequence[Record]) -> Iterator[NewRequest]:
    """Yield a row per image."""
    for record in records:
        for place, image in enumerate(record.images):
            yield to_row(record, image, place)


def to_row(record: Record, image: StoredImage, place: int) -> NewRequest:
    """
    Return what is known of one image, by `COLUMNS`.

    Args:
        record: Its request.
        image: The image.
        place: Which of the request's images it is, from 0.
    """
    return {
        "file_name": image.path,
        "key": record.key,
        "id": record.label,
        "index": image.index,
        "prompt": text(record.document.get("prompt")),
        "revised_prompt": image.revised_prompt or "",
        "model": text(record.document.get("model")),
        "operation": text(record.document.get("operation")),
        "size": text(record.about.get("size") or record.document.get("size")),
        "quality": text(record.about.get("quality") or record.document.get("quality")),
        "width": image.width,
        "height": image.height,
        "media_type": image.media_type or "",
        "bytes": image.size,
        "sha256": image.sha256,
        "cost": dollars(share(record.cost, place, len(record.images))),
        "request_id": record.request_id or "",
        "created": created(record),
        "state": str(record.state),
    }


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def dollars(cost: int | None) -> float | None:
    """Return nano-dollars as dollars; below nine million of them no digit is lost."""
    return None if cost is None else cost / 1_000_000_000


def share(cost: int | None, place: int, count: int) -> int | None:
    """Return what one of *count* images cost; the first ones bear what cannot be divided."""
    return None if cost is None else cost // count + (place < cost % count)


def created(record: Record) -> datetime | None:
    """Return when the images were made, aware UTC."""
    said = record.about.get("created")
    if isinstance(said, str):
        try:
            moment = datetime.fromisoformat(said)
        except ValueError:
            pass
        else:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
    return None if record.ended_at is None else datetime.fromtimestamp(int(record.ended_at), UTC)
