"""
Read an input and add its rows to a job.

An input is read a few rows at a time in a thread, so neither its length nor a slow disk holds up the event loop.
Rows are known by their key, so reading an input again adds nothing. A list that was edited, or is read with other
defaults, would be bought a second time, so it needs consent.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import warnings
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from concurrent.futures import Executor
from contextlib import aclosing, closing, suppress
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO, TypeAlias, TypeVar, cast

import attrs

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.directory import JobDirectory
from burncloud_images.bulk.input_files import keep_input_file
from burncloud_images.bulk.inputs.columns import ColumnNames, ParsedRow, ParsedRows, UnusableRow
from burncloud_images.bulk.inputs.encodings import open_text
from burncloud_images.bulk.inputs.formats import read_text
from burncloud_images.bulk.inputs.parquet import read_parquet
from burncloud_images.bulk.inputs.row_images import ImageFileInspector
from burncloud_images.bulk.inputs.rows import RowDefaults, RowParser
from burncloud_images.bulk.inputs.sources import (
    STDIN,
    find_format,
    fingerprint,
    open_file,
    open_stdin,
    refusal,
)
from burncloud_images.bulk.inputs.spreadsheets import read_spreadsheet
from burncloud_images.bulk.inputs.tables import TableOptions, to_delimiter
from burncloud_images.bulk.inputs.templates import Template
from burncloud_images.bulk.job_shard import JobShard
from burncloud_images.bulk.records import AddedRows, BadRow, InputFile, NewRequest
from burncloud_images.bulk.request_json import to_document, to_key
from burncloud_images.disk import finish_whatever_happens, run, sha256_of
from burncloud_images.errors import (
    ImagesError,
    ImagesWarning,
    InputChangedError,
    InvalidRequestError,
    JobError,
    Violation,
)
from burncloud_images.model.inputs import BytesSource, PathSource
from burncloud_images.model.operations import IMAGE_FIELDS, ImagesRequest

T = TypeVar("T")

ROWS_PER_HOP = 500
"""Made with one hop to a thread."""
BYTES_PER_HOP = 4 * 1024 * 1024
"""Bytes that are read for them, images included: a hop cannot be cut short."""


@attrs.frozen(kw_only=True)
class InputOptions:
    """
    How an input is read.

    Attributes:
        defaults: Fields of the API for rows that do not have them, each where the row's operation has it; others are
            sent as `extra`.
        input_root: The folder that rows may name images in; None for that of the input, or the current one for stdin.
        format: `txt`, `csv`, `tsv`, `json`, `jsonl`, `parquet` or `xlsx`; None for what the name says, and for text
            what its first lines look like.
        encoding: Of text; None to find out.
        delimiter: What stands between the cells of a table; None to find out.
        sheet: Of a spreadsheet; None for the first.
        columns: What the list calls columns, by the column.
        template: A prompt with places for columns, as `{animal} in the style of {style}`.
        models: Each row that names no model becomes a request for each of these.
        aspect: Width to height, as `16:9`, for rows without a size: each gets the one that its model takes.
        pixels: About how many an image of that shape has; None for a million.
        allow_http: Whether rows may name images at unencrypted addresses.
        shard: The part of the rows that is taken, for several jobs that share a list; None for all.
    """

    defaults: Mapping[str, object] = attrs.field(factory=dict)
    input_root: Path | None = attrs.field(default=None, converter=attrs.converters.optional(Path))
    format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    columns: Mapping[str, str] = attrs.field(factory=dict)
    template: str | None = None
    models: Sequence[str] = ()
    aspect: str | None = None
    pixels: int | None = None
    allow_http: bool = False
    shard: JobShard | None = None

    def takes(self, row: NewRequest | BadRow) -> bool:
        """Return whether a row belongs to the part that is taken."""
        if self.shard is None:
            return True
        return self.shard.has(row.key) if isinstance(row, NewRequest) else self.shard.has_line(row.line)

    def find_template(self) -> Template | None:
        """
        Return what makes prompts, over the columns as requests call them.

        Raises:
            UnusableRow: It is not a template.
        """
        return Template.of(self.template).under(ColumnNames.of(self.columns)) if self.template is not None else None

    def tables(self, parser: RowParser) -> TableOptions:
        """
        Return how tables are read.

        Raises:
            UnusableRow: An option cannot be used.
        """
        return TableOptions(
            names=ColumnNames.of(self.columns),
            delimiter=to_delimiter(self.delimiter) if self.delimiter is not None else None,
            has_defaults=parser.template is not None or parser.defaults.make_requests,
            needed=parser.template.names if parser.template is not None else (),
            sheet=self.sheet,
        )


async def open_input(
    source: str | Path, options: InputOptions, executor: Executor | None, *, stdin: BinaryIO | None = None
) -> AsyncGenerator[NewRequest | BadRow, None]:
    """
    Yield a request or a bad row for each record of an input, in order; blank ones are skipped.

    Columns that are not sent and values beyond documented limits are each reported once, by an `ImagesWarning`.

    Args:
        source: Path of the input, or `-` for stdin.
        options: How it is read.
        executor: Reads.
        stdin: In place of that of the process.

    Raises:
        InvalidRequestError: The input cannot be read at all.
        InputChangedError: It cannot be read to its end.
        ConfigurationError: It is Parquet, and pyarrow is missing.

    Cancellation waits for the thread, which stops at the next rows.
    """
    reading = InputReader(source=str(source), options=options, stdin=stdin)
    try:
        while (taken := await take(reading, executor)) is not None:
            rows, row_warnings = taken
            for remark in row_warnings:
                warnings.warn(remark, ImagesWarning, stacklevel=2)
            for row in filter(options.takes, rows):
                yield row
    finally:
        reading.close()


async def take(reading: InputReader, executor: Executor | None) -> Taken | None:
    """Return the next rows. Cancellation waits for a file and leaves standard input, which may never give anything."""
    if reading.source == STDIN:
        return await run_in_daemon(reading.take)
    return await finish_whatever_happens(run(executor, reading.take))


def run_in_daemon(function: Callable[[], T]) -> asyncio.Future[T]:
    """Call *function* in a daemon thread, and return a future of its result."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast("T", result))

    def work() -> None:
        result, error = None, None
        try:
            result = function()
        except Exception as problem:  # noqa: BLE001 (raised where the future is awaited)
            error = problem
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, error)

    Thread(target=work, name="burncloud-stdin", daemon=True).start()
    return future


FILES: Mapping[str | None, Callable[[Path, TableOptions], ParsedRows]] = {
    "parquet": read_parquet,
    "xlsx": read_spreadsheet,
}
"""Formats that are not text."""
Taken: TypeAlias = tuple[Sequence[NewRequest | BadRow], Sequence[str]]
"""Rows, and warnings about them."""
Made: TypeAlias = Generator[tuple[NewRequest | BadRow, int], None, None]
"""Rows with the bytes that were read for them."""


@attrs.define(kw_only=True)
class InputReader:
    """An input that is being read; its methods are called one after the other, from any thread."""

    source: str
    options: InputOptions
    stdin: BinaryIO | None
    rows: Made | None = None
    parser: RowParser | None = None

    def take(self) -> Taken | None:
        """Return the next rows, and None behind the last; blocks."""
        if self.rows is None:
            try:
                self.parser = self.find_parser()
            except UnusableRow as problem:
                raise refusal(self.source, str(problem)) from None
            self.rows = self.read(self.parser)
        assert self.parser is not None
        self.parser.files.look_anew()
        rows: list[NewRequest | BadRow] = []
        work = 0
        for row, size in self.rows:
            rows.append(row)
            work += size
            if len(rows) == ROWS_PER_HOP or work > BYTES_PER_HOP:
                break
        return (rows, self.parser.row_warnings.take()) if rows else None

    def find_parser(self) -> RowParser:
        folder = Path() if self.source == STDIN else Path(self.source).parent
        root = self.options.input_root
        if root is not None and not root.is_dir():
            raise refusal(root, "it is not a folder, so rows cannot name images in it")
        return RowParser(
            source=self.source,
            defaults=RowDefaults.of(self.options.defaults),
            files=ImageFileInspector.below(folder if root is None else root),
            allow_http=self.options.allow_http,
            template=self.options.find_template(),
            models=self.options.models,
            aspect=self.options.aspect,
            pixels=self.options.pixels,
        )

    def read(self, parser: RowParser) -> Made:
        files = parser.files
        try:
            with closing(self.parsed_rows(parser)) as parsed_rows:
                for parsed in parsed_rows:
                    before = files.read
                    for row in parser.to_rows(parsed):
                        yield row, parsed.size + files.read - before
                        before = files.read
        except UnusableRow as problem:
            raise refusal(self.source, str(problem)) from None

    def parsed_rows(self, parser: RowParser) -> Generator[ParsedRow, None, None]:
        name = find_format(self.source, self.options.format)
        if name in FILES:
            yield from FILES[name](Path(self.source), self.options.tables(parser))
            return
        if self.source == STDIN:
            yield from self.texts(self.stdin or open_stdin(), name, parser)
            return
        with open_file(Path(self.source)) as handle:
            yield from self.texts(handle, name, parser)

    def texts(self, handle: BinaryIO, name: str | None, parser: RowParser) -> ParsedRows:
        with open_text(self.source, handle, self.options.encoding) as text:
            yield from read_text(text, name, self.options.tables(parser))

    def close(self) -> None:
        """Close the input, unless a thread that was left still reads it."""
        if self.rows is not None:
            with suppress(ValueError):
                self.rows.close()


BATCH = 1000
MEMORY = "inputs"
"""Under which name the store remembers them."""


async def add_input(
    store: JobStore,
    source: str | Path,
    options: InputOptions,
    executor: Executor,
    *,
    allow_change: bool = False,
    replace: bool = False,
) -> AddedRows:
    """
    Add the rows of an input.

    Raises:
        InputChangedError: It is not what it was when it was first read, or its options are not.
        InvalidRequestError: It cannot be read at all.
    """
    settings = digest_of(options)
    if str(source) == STDIN:
        return await add_rows(store, open_input(STDIN, options, executor), replace=replace)
    path = Path(source).absolute()
    known = await recall(store)
    before = known.get(str(path))
    now = await run(executor, fingerprint, path, before)
    print_of = {**now, "settings": settings}
    if before is not None and not (allow_change or replace):
        refuse_change(path, before, print_of)
    is_read = before is not None and before.get("rows") is not None and same(before, print_of)
    if (
        before is not None and is_read and not replace and not await store.has_bad_rows(str(path))
    ):  # which may be mended elsewhere
        if before != {**before, **print_of}:
            await store.set_metadata(MEMORY, {**known, str(path): {**before, **print_of}})
        return AddedRows(known=int(str(before["rows"])))
    async with aclosing(open_input(path, options, executor)) as rows:
        first = await anext(rows, None)  # a list that is refused here is not remembered, so it can be read another way
        await store.set_metadata(MEMORY, {**known, str(path): {**print_of, "rows": None}})
        await store.clear_bad_rows(str(path))
        added = await add_rows(store, rows, first, replace=replace)
    count = added.new + added.known
    await store.set_metadata(MEMORY, {**await recall(store), str(path): {**print_of, "rows": count}})
    return added


def refuse_change(path: Path, before: Mapping[str, object], now: Mapping[str, object]) -> None:
    what = "" if same(before, now, ("sha256",)) else "has changed since this job read it"
    what = what or ("" if same(before, now, ("settings",)) else "was read by this job with other defaults")
    if what:
        error = InputChangedError(f"{path} {what}, so this run would also buy its new rows.")
        error.add_note("Confirm that this is intended, or use another directory.")
        raise error


def same(
    before: Mapping[str, object], now: Mapping[str, object], names: tuple[str, ...] = ("sha256", "settings")
) -> bool:
    return all(before.get(name) == now.get(name) for name in names)


def digest_of(options: InputOptions) -> str:
    """Return what tells one set of defaults from another."""
    root = str(options.input_root.absolute()) if options.input_root is not None else None
    names = ("encoding", "delimiter", "sheet", "columns", "template", "models", "aspect", "pixels")
    further = {name: getattr(options, name) for name in names}
    given = {name: value for name, value in further.items() if value}  # jobs remember what digests were without these
    parts = [dict(options.defaults), root, options.format, *([given] if given else [])]
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


async def find_unread(store: JobStore) -> list[str]:
    """Return the inputs that were not read to their end, as when the process was killed meanwhile."""
    return sorted(path for path, facts in (await recall(store)).items() if facts.get("rows") is None)


async def recall(store: JobStore) -> dict[str, dict[str, object]]:
    known = await store.get_metadata(MEMORY)
    if known is None:
        return {}
    if not isinstance(known, dict) or not all(isinstance(facts, dict) for facts in known.values()):
        raise JobError("The job's store is damaged: it does not say which lists it has read. Restore it from a copy.")
    return known


async def add_rows(
    store: JobStore,
    rows: AsyncIterable[NewRequest | BadRow],
    first: NewRequest | BadRow | None = None,
    *,
    replace: bool = False,
) -> AddedRows:
    """Add rows as they come, after the first if it was taken already."""
    total = AddedRows()
    batch = [] if first is None else [first]
    async for row in rows:
        batch.append(row)
        if len(batch) >= BATCH:
            total = total.plus(await store.add(batch, replace=replace))
            batch = []
    return total.plus(await store.add(batch, replace=replace)) if batch else total


async def add_requests(
    store: JobStore,
    requests: Iterable[ImagesRequest] | AsyncIterable[ImagesRequest],
    directory: JobDirectory,
    executor: Executor,
    *,
    name: str,
    takes: Callable[[NewRequest], bool],
) -> AddedRows:
    """
    Add requests made by a program that *takes* accepts; images given as bytes are stored in the job's directory.

    Raises:
        InvalidRequestError: An image cannot be read again by another run.
    """

    async def rows() -> AsyncIterable[NewRequest]:
        number = 0
        async for request in each(requests):
            number += 1
            row = await run(executor, to_row, request, directory, name, number)
            if takes(row):
                yield row

    return await add_rows(store, rows())


async def each(requests: Iterable[ImagesRequest] | AsyncIterable[ImagesRequest]) -> AsyncIterable[ImagesRequest]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


def to_row(request: ImagesRequest, directory: JobDirectory, name: str, line: int) -> NewRequest:
    files: dict[Path, InputFile] = {}
    request = keep_bytes(request, directory)
    for _, source in request.images():
        if isinstance(source, PathSource):
            files[source.path] = look_at(source.path)
    document = to_document(request, files)
    return NewRequest(key=to_key(document, 0), document=document, source=name, line=line)


def keep_bytes(request: ImagesRequest, directory: JobDirectory) -> ImagesRequest:
    """Return *request* with files in place of bytes."""

    def keep(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(keep(item) for item in value)
        return PathSource(keep_input_file(value.data, directory).path) if isinstance(value, BytesSource) else value

    kept: dict[str, Any] = {name: keep(getattr(request, name)) for name in IMAGE_FIELDS if hasattr(request, name)}
    return attrs.evolve(request, **kept)


def look_at(path: Path) -> InputFile:
    try:
        sha256 = sha256_of(path)
        status = path.stat()
    except OSError as error:
        raise unreadable(path, error) from None
    return InputFile(path=path.absolute(), sha256=sha256, size=status.st_size, mtime_ns=status.st_mtime_ns)


def unreadable(path: Path, error: OSError) -> ImagesError:
    return InvalidRequestError([Violation("image", f"{path} cannot be read: {error.strerror or error}")])
