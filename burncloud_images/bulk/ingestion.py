"""
Inputs become requests of a job, once: an input that has changed since is asked about.

Rows are known by their key, so reading an input again adds nothing. But a list that was edited, or is read with other
defaults, would be a second job in the same directory, and be bought a second time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterable, Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import attrs

from burncloud_images.bulk.directory import JobDirectory
from burncloud_images.bulk.documents import to_document, to_key
from burncloud_images.bulk.inputs import STDIN, InputOptions, fingerprint, open_input
from burncloud_images.bulk.originals import keep_original
from burncloud_images.bulk.records import Added
from burncloud_images.bulk.rows import BadRow, InputFile, Row
from burncloud_images.bulk.store import Store
from burncloud_images.disk import run
from burncloud_images.errors import ImagesError, InputChangedError, InvalidRequestError, JobError, Violation
from burncloud_images.model.inputs import BytesSource, PathSource
from burncloud_images.model.operations import IMAGE_FIELDS, ImagesRequest

BATCH = 1000
MEMORY = "inputs"
"""Under which name the store remembers them."""


async def add_input(
    store: Store, source: str | Path, options: InputOptions, executor: Executor, *, allow_change: bool = False
) -> Added:
    """
    Add the rows of an input.

    Raises:
        InputChangedError: It is not what it was when it was first read, or its options are not.
        InvalidRequestError: It cannot be read at all.
    """
    settings = digest_of(options)
    if str(source) == STDIN:
        return await add_rows(store, open_input(STDIN, options, executor))
    path = Path(source).absolute()
    known = await recall(store)
    before = known.get(str(path))
    now = await run(executor, fingerprint, path, before)
    print_of = {**attrs.asdict(now), "settings": settings}
    if before is not None and not allow_change:
        refuse_change(path, before, print_of)
    is_read = before is not None and before.get("rows") is not None and same(before, print_of)
    if before is not None and is_read and not await store.has_problems(str(path)):  # which may be mended elsewhere
        if before != {**before, **print_of}:
            await store.set_metadata(MEMORY, {**known, str(path): {**before, **print_of}})
        return Added(known=int(str(before["rows"])))
    await store.set_metadata(MEMORY, {**known, str(path): {**print_of, "rows": None}})
    await store.clear_problems(str(path))
    added = await add_rows(store, open_input(path, options, executor))
    rows = added.new + added.known
    await store.set_metadata(MEMORY, {**await recall(store), str(path): {**print_of, "rows": rows}})
    return added


def refuse_change(path: Path, before: Mapping[str, object], now: Mapping[str, object]) -> None:
    what = "" if same(before, now, ("sha256",)) else "has changed since this job read it"
    what = what or ("" if same(before, now, ("settings",)) else "was read by this job with other defaults")
    if what:
        error = InputChangedError(f"{path} {what}, and what is new in it would be bought besides.")
        error.add_note("Say that this is wanted, or use another directory.")
        raise error


def same(
    before: Mapping[str, object], now: Mapping[str, object], names: tuple[str, ...] = ("sha256", "settings")
) -> bool:
    return all(before.get(name) == now.get(name) for name in names)


def digest_of(options: InputOptions) -> str:
    """Return what tells one set of defaults from another."""
    root = str(options.input_root.absolute()) if options.input_root is not None else None
    text = json.dumps([dict(options.defaults), root, options.format], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


async def find_unread(store: Store) -> list[str]:
    """Return the inputs that were not read to their end, as when the process was killed meanwhile."""
    return sorted(path for path, facts in (await recall(store)).items() if facts.get("rows") is None)


async def recall(store: Store) -> dict[str, dict[str, object]]:
    known = await store.get_metadata(MEMORY)
    if known is None:
        return {}
    if not isinstance(known, dict) or not all(isinstance(facts, dict) for facts in known.values()):
        raise JobError("The job's store is damaged: it does not say which lists it has read. Restore it from a copy.")
    return known


async def add_rows(store: Store, rows: AsyncIterable[Row | BadRow]) -> Added:
    """Add rows as they come."""
    total = Added()
    batch: list[Row | BadRow] = []
    async for row in rows:
        batch.append(row)
        if len(batch) >= BATCH:
            total = plus(total, await store.add(batch))
            batch = []
    return plus(total, await store.add(batch)) if batch else total


def plus(one: Added, other: Added) -> Added:
    return Added(new=one.new + other.new, known=one.known + other.known, refused=one.refused + other.refused)


async def add_requests(
    store: Store,
    requests: Iterable[ImagesRequest] | AsyncIterable[ImagesRequest],
    directory: JobDirectory,
    executor: Executor,
    *,
    name: str,
) -> Added:
    """
    Add requests of a program; images that are bytes are kept in the job's directory.

    Raises:
        InvalidRequestError: An image cannot be read again by another run.
    """

    async def rows() -> AsyncIterable[Row]:
        number = 0
        async for request in each(requests):
            number += 1
            yield await run(executor, to_row, request, directory, name, number)

    return await add_rows(store, rows())


async def each(requests: Iterable[ImagesRequest] | AsyncIterable[ImagesRequest]) -> AsyncIterable[ImagesRequest]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


def to_row(request: ImagesRequest, directory: JobDirectory, name: str, line: int) -> Row:
    files: dict[Path, InputFile] = {}
    request = keep_bytes(request, directory)
    for _, source in request.images():
        if isinstance(source, PathSource):
            files[source.path] = look_at(source.path)
    document = to_document(request, files)
    return Row(key=to_key(document, 0), document=document, source=name, line=line)


def keep_bytes(request: ImagesRequest, directory: JobDirectory) -> ImagesRequest:
    """Return *request* with files in place of bytes."""

    def keep(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(keep(item) for item in value)
        return PathSource(keep_original(value.data, directory).path) if isinstance(value, BytesSource) else value

    kept: dict[str, Any] = {name: keep(getattr(request, name)) for name in IMAGE_FIELDS if hasattr(request, name)}
    return attrs.evolve(request, **kept)


def look_at(path: Path) -> InputFile:
    try:
        with path.open("rb") as handle:
            sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
        status = path.stat()
    except OSError as error:
        raise unreadable(path, error) from None
    return InputFile(path=path.absolute(), sha256=sha256, size=status.st_size, mtime_ns=status.st_mtime_ns)


def unreadable(path: Path, error: OSError) -> ImagesError:
    return InvalidRequestError([Violation("image", f"{path} cannot be read: {error.strerror or error}")])
