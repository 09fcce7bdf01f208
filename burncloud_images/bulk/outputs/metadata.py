"""
`metadata.jsonl` or `metadata.parquet`: one row per stored image.

If the images are single files, Hugging Face's `imagefolder` loads the job's directory as it is: it finds the images by
the column `file_name`. A missing text is empty, so that a reader that guesses types from the first rows guesses right;
a missing number is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from burncloud_images.bulk.outputs.output_files import AtomicFile, LinesFile, RowWriter, dump, well_formed
from burncloud_images.bulk.records import RequestRecord, StoredImage
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
    "index": "integer",  # in the answer, from 0
    "prompt": "text",
    "revised_prompt": "text",
    "model": "text",  # as asked for
    "operation": "text",  # generations, edits or variations
    "size": "text",  # as the answer says, else as asked for
    "quality": "text",  # as the answer says, else as asked for
    "width": "integer",  # pixels
    "height": "integer",
    "media_type": "text",
    "bytes": "integer",
    "sha256": "text",
    "cost": "dollars",  # this image's share of the request's cost; the shares add up exactly
    "request_id": "text",
    "created": "time",  # UTC, as the answer says, else when the request ended
    "columns": "json",  # the user's own columns of the row; only where there are some
    "other_ids": "json",  # of further rows that ask for the same; only where there are some
    "refused": "json",  # images that the server refused: index, code and message; only where there are some
    "state": "text",  # of the request; an image of one that is in doubt is as good as any other
}
"""All columns, in order, with their types."""

GROUP = 5_000
"""Rows of a Parquet row group; one group is in memory."""


def require(format: Format) -> None:  # noqa: A002 (the option's name)
    """
    Check that a format can be written here, before anything is bought for it.

    Raises:
        ConfigurationError: pyarrow is missing.
    """
    if format == "parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            message = "Writing Parquet needs pyarrow: pip install 'burncloud-images[data]'."
            raise ConfigurationError(message) from None


def open_metadata(path: Path) -> RowWriter[RequestRecord]:
    """Return the writer for the extension of *path*."""
    return ParquetMetadata(path) if path.suffix == ".parquet" else LinesFile(path, to_rows)


def remove_other(path: Path) -> None:
    """Remove the file of an earlier run in the other format: `imagefolder` accepts only one."""
    for suffix in {".jsonl", ".parquet"} - {path.suffix}:
        path.with_suffix(suffix).unlink(missing_ok=True)


@attrs.define
class ParquetMetadata:
    """Writes Parquet, a row group at a time."""

    path: Path
    file: AtomicFile | None = None
    writer: ParquetWriter | None = None
    rows: list[NewRequest] = attrs.field(factory=list)

    def add(self, records: Sequence[RequestRecord]) -> None:
        """Collect a row per image, and write full groups."""
        self.rows += to_rows(records)
        while len(self.rows) >= GROUP:
            self.write(self.rows[:GROUP])
            del self.rows[:GROUP]

    def commit(self) -> None:
        self.write(self.rows)  # even if there are none: an empty table has columns, too
        self.rows = []
        file, writer = self.open()
        writer.close()
        file.commit()

    def discard(self) -> None:
        if self.file is not None:
            self.file.discard()

    def write(self, rows: list[NewRequest]) -> None:
        import pyarrow as pa

        whole = [{name: to_cell(value) for name, value in row.items()} for row in rows]
        _, writer = self.open()
        writer.write_batch(pa.RecordBatch.from_pylist(whole, schema=to_schema()))

    def open(self) -> tuple[AtomicFile, ParquetWriter]:
        import pyarrow.parquet as pq

        self.file = self.file or AtomicFile.open(self.path)
        self.writer = self.writer or pq.ParquetWriter(self.file.handle, to_schema(), compression="zstd")
        return self.file, self.writer


def to_cell(value: object) -> object:
    """Return a value as Parquet holds it, where all rows have the same types: JSON as text."""
    value = dump(value) if isinstance(value, (dict, list)) else value
    return well_formed(value) if isinstance(value, str) else value


def to_schema() -> pa.Schema:
    """Return `COLUMNS` as an Arrow schema."""
    import pyarrow as pa

    kinds = {
        "text": pa.string(),
        "integer": pa.int64(),
        "dollars": pa.float64(),
        "time": pa.timestamp("ms", tz="UTC"),
        "json": pa.string(),
    }
    return pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])


def to_rows(records: Sequence[RequestRecord]) -> Iterator[NewRequest]:
    """Yield a row per image."""
    for record in records:
        for place, image in enumerate(record.images):
            yield to_row(record, image, place)


def to_row(record: RequestRecord, image: StoredImage, place: int) -> NewRequest:
    """
    Return the row of one image, by `COLUMNS`.

    Args:
        record: Its request.
        image: The image.
        place: Its index among the stored images of the request, from 0.
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
        **({"columns": dict(record.notes.columns)} if record.notes.columns else {}),
        **({"other_ids": list(record.notes.other_ids)} if record.notes.other_ids else {}),
        **({"refused": [attrs.asdict(image) for image in record.refused]} if record.refused else {}),
        "state": str(record.state),
    }


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def dollars(cost: int | None) -> float | None:
    """Return nano-dollars as dollars, exactly below nine million dollars."""
    return None if cost is None else cost / 1_000_000_000


def share(cost: int | None, place: int, count: int) -> int | None:
    """Return the cost of one of *count* images; the first ones get the remainder."""
    return None if cost is None else cost // count + (place < cost % count)


def created(record: RequestRecord) -> datetime | None:
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
