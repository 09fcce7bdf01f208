"""Parquet files: columns as in tables, with types of their own. They need pyarrow, which is the extra `data`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from burncloud_images.bulk.inputs import columns
from burncloud_images.bulk.inputs.columns import COLUMNS, TYPES, ParsedRow, ParsedRows, clip
from burncloud_images.bulk.inputs.sources import MAX_LINE_BYTES, open_file, refusal
from burncloud_images.bulk.inputs.tables import TableOptions
from burncloud_images.errors import ConfigurationError
from burncloud_images.model.operations import IMAGE_FIELDS

if TYPE_CHECKING:
    from pyarrow import DataType, RecordBatch

ROWS = 256
"""Read at once."""
BUFFER = 1024 * 1024


def read_parquet(path: Path, options: TableOptions) -> ParsedRows:
    """
    Yield the rows of a file, read a few at a time.

    Args:
        path: Where it is.
        options: What its columns are called, and whether rows get a prompt or an image.

    Raises:
        ConfigurationError: pyarrow is missing.
        InvalidRequestError: It is not Parquet, or no column makes a request.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        message = "Parquet is read by pyarrow, which is an extra: pip install 'burncloud-images[data]'."
        raise ConfigurationError(message) from None
    open_file(path).close()
    try:
        # Without a buffer all of a row group is read at once, and a file may be one group.
        file = pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
        names: list[str] = file.schema_arrow.names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise refusal(path, f"it cannot be read as Parquet: {clip(str(error))}") from None
    with file:
        columns = options.find_columns(names)
        schema = file.schema_arrow
        known = {
            name: column
            for name, column in zip(names, columns, strict=True)
            if column in COLUMNS or is_simple(schema.field(name).type)
        }
        for name, column in known.items():
            if column in IMAGE_FIELDS and holds_bytes(file.schema_arrow.field(name).type):
                reason = f"its column {name} holds images themselves; rows name them by path or address"
                raise refusal(path, reason)
        line = 0
        try:
            for batch in file.iter_batches(batch_size=ROWS, columns=[*known], use_threads=False):
                for row in rows_of(batch):
                    line += 1
                    named = {known[name]: value for name, value in row.items()} if row is not None else None
                    yield to_parsed_row(named, line)
        except (pa.ArrowException, OSError):
            yield ParsedRow(line=line + 1, problem="it is damaged, and the rest cannot be read")


def is_simple(kind: DataType) -> bool:
    """Say whether values of a type are text, numbers, truths or dates."""
    import pyarrow as pa

    of = pa.types
    if of.is_dictionary(kind):
        return is_simple(kind.value_type)
    tests = (of.is_string, of.is_large_string, of.is_integer, of.is_floating, of.is_boolean, of.is_temporal)
    return any(test(kind) for test in tests)


def holds_bytes(kind: DataType) -> bool:
    """Say whether values of a type can hold bytes, in which a few rows could fill the memory."""
    import pyarrow as pa

    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return True
    return any(holds_bytes(kind.field(index).type) for index in range(kind.num_fields))


def rows_of(batch: RecordBatch) -> Iterator[Mapping[str, object] | None]:
    """Yield the rows of a batch; None for one that Python cannot represent, as text that is not UTF-8."""
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):
        for index in range(batch.num_rows):
            try:
                yield from batch.slice(index, 1).to_pylist()
            except (ValueError, OverflowError):
                yield None


def to_parsed_row(row: Mapping[str, object] | None, line: int) -> ParsedRow:
    if row is None:
        return ParsedRow(line=line, problem="it holds text that is not UTF-8, or a date that does not exist")
    size = sum(len(value) for value in row.values() if isinstance(value, (str, bytes)))
    if size > MAX_LINE_BYTES:
        return ParsedRow(line=line, size=size, problem="it is longer than 1 MiB")
    values, problem = columns.to_values(row.items(), to_value)
    return ParsedRow(line=line, size=size, values=values, problem=problem)


def to_value(name: str, value: object) -> object:
    """
    Return what a cell gives; None for nothing.

    Raises:
        UnusableRow: It is text that should hold JSON, and does not.
    """
    kind = TYPES.get(name)
    if value == "":  # as in a table, where it gives nothing either
        return None
    if isinstance(value, float):  # what is missing among whole numbers makes all of them floats
        if math.isnan(value):
            return None
        return int(value) if kind is int and value.is_integer() else value
    if kind is Mapping or name in IMAGE_FIELDS:
        if isinstance(value, str):
            return columns.to_value(name, value)
        return without_gaps(value, is_map=kind is Mapping)
    return value


def without_gaps(value: object, *, is_map: bool = False) -> object:
    """Return a nested cell without its null members, since every row of a struct column has all members."""
    if is_map and isinstance(value, list):
        return dict(value)  # a column of maps
    if isinstance(value, dict):
        return {name: without_gaps(item) for name, item in value.items() if item is not None}
    return [without_gaps(item) for item in value] if isinstance(value, list) else value
