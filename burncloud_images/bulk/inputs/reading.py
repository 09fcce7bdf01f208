"""An input is read a few rows at a time, in a thread, so that neither its length nor a slow disk is felt elsewhere."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing, suppress
from pathlib import Path
from threading import Event
from typing import BinaryIO, TypeAlias

import attrs

from burncloud_images.bulk.inputs.entries import Entries, Unusable
from burncloud_images.bulk.inputs.intake import Intake
from burncloud_images.bulk.inputs.parquet import read_parquet
from burncloud_images.bulk.inputs.requests import Defaults
from burncloud_images.bulk.inputs.sources import STDIN, Bytes, find_format, open_file, open_stdin, refusal
from burncloud_images.bulk.inputs.texts import READERS
from burncloud_images.bulk.rows import BadRow, Row
from burncloud_images.disk import run
from burncloud_images.errors import ImagesWarning

MOST_ROWS = 500
"""Made with one hop to a thread."""
MOST_WORK = 4 * 1024 * 1024
"""Bytes that are read for them, images included: a hop cannot be cut short."""


@attrs.frozen(kw_only=True)
class InputOptions:
    """
    How an input is read.

    Attributes:
        defaults: Fields of the API for rows that do not have them, each where the row's operation has it; others are
            sent as `extra`.
        input_root: The folder that rows may name images in; None for that of the input, or the current one for stdin.
        format: `txt`, `csv`, `tsv`, `jsonl` or `parquet`; None for what the name says.
        allow_http: Whether rows may name images at unencrypted addresses.
    """

    defaults: Mapping[str, object] = attrs.field(factory=dict)
    input_root: Path | None = None
    format: str | None = None
    allow_http: bool = False


async def open_input(
    source: str | Path, options: InputOptions, executor: Executor | None, *, stdin: BinaryIO | None = None
) -> AsyncIterator[Row | BadRow]:
    """
    Yield what each record of an input comes to, in their order; blank ones are passed over.

    Columns that are not sent and documented limits that are passed over are told by an `ImagesWarning`, each once.

    Args:
        source: Path of the input, or `-` for stdin.
        options: How it is read.
        executor: Reads.
        stdin: In place of that of the process.

    Raises:
        InvalidRequestError: The input cannot be read at all.
        InputChangedError: It can be read no more.
        ConfigurationError: It is Parquet, and pyarrow is missing.

    Cancellation waits for the thread, which stops at the next rows.
    """
    reading = Reading(source=str(source), options=options, stdin=stdin)
    try:
        while (taken := await take(reading, executor)) is not None:
            rows, remarks = taken
            for remark in remarks:
                warnings.warn(remark, ImagesWarning, stacklevel=2)
            for row in rows:
                yield row
    finally:
        reading.close()


async def take(reading: Reading, executor: Executor | None) -> Taken | None:
    work = run(executor, reading.take)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        reading.closing.set()
        while not work.done():  # a thread cannot be stopped, and has the input open
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        work.exception()  # seen: nobody waits for it
        raise


Taken: TypeAlias = tuple[Sequence[Row | BadRow], Sequence[str]]
"""Rows, and what is to be said about them."""
Made: TypeAlias = Generator[tuple[Row | BadRow, int] | None, None, None]
"""Rows with the bytes that were read for them, and None where the next may take a while."""


@attrs.define(kw_only=True)
class Reading:
    """An input that is being read; its methods are called one after the other, from any thread."""

    source: str
    options: InputOptions
    stdin: BinaryIO | None
    closing: Event = attrs.field(factory=Event)
    rows: Made | None = None
    intake: Intake | None = None

    def take(self) -> Taken | None:
        """Return the next rows, and None behind the last; blocks."""
        if self.rows is None:
            self.intake = self.find_intake()
            self.rows = self.read(self.intake)
        assert self.intake is not None
        self.intake.builder.files.look_anew()
        rows: list[Row | BadRow] = []
        work = 0
        for made in self.rows:
            if made is not None:
                rows.append(made[0])
                work += made[1]
            elif rows:
                break
            if len(rows) == MOST_ROWS or work > MOST_WORK or self.closing.is_set():
                break
        return (rows, self.intake.remarks.take()) if rows else None

    def find_intake(self) -> Intake:
        folder = Path() if self.source == STDIN else Path(self.source).parent
        root = self.options.input_root
        if root is not None and not root.is_dir():
            raise refusal(root, "it is no folder that rows could name images in")
        return Intake.of(
            self.source,
            Defaults.of(self.options.defaults),
            folder if root is None else root,
            allow_http=self.options.allow_http,
        )

    def read(self, intake: Intake) -> Made:
        files = intake.builder.files
        try:
            with closing(self.entries(has_defaults=intake.builder.defaults.make_requests)) as entries:
                for entry in entries:
                    before = files.read
                    yield None if entry is None else (intake.to_row(entry), entry.size + files.read - before)
        except Unusable as problem:
            raise refusal(self.source, str(problem)) from None

    def entries(self, *, has_defaults: bool) -> Entries:
        name = find_format(self.source, self.options.format)
        if name == "parquet":
            yield from read_parquet(Path(self.source), has_defaults=has_defaults)
            return
        if self.source == STDIN:
            yield from self.texts(self.stdin or open_stdin(), name, has_defaults=has_defaults)
            return
        with open_file(Path(self.source)) as handle:
            yield from self.texts(handle, name, has_defaults=has_defaults)

    def texts(self, handle: BinaryIO, name: str | None, *, has_defaults: bool) -> Entries:
        content = Bytes(self.source, handle, self.closing)
        content.look_ahead()
        yield from READERS[name or content.guess_format()](content.pieces(), has_defaults)

    def close(self) -> None:
        """Let go of the input."""
        self.closing.set()
        if self.rows is not None:
            self.rows.close()
