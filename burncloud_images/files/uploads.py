"""
The images of a request, looked at once and opened anew for every attempt.

A handle that was read for the first attempt is at its end for the second: HTTP libraries that are given one send an
empty image then, and the server says 200. So an upload is not a reader: it opens one for each attempt, and knows its
length.
"""

from __future__ import annotations

import errno
import inspect
import io
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import IO, TypeAlias, TypeVar, cast

import attrs

from burncloud_images.disk import PIECE, run
from burncloud_images.errors import ImagesError, InputChangedError, InvalidRequestError, Violation
from burncloud_images.files.image_files import Identity, examine_file, examine_handle, read_pieces
from burncloud_images.model.inputs import (
    AsyncReadable,
    BytesSource,
    CallableSource,
    FileID,
    FileObjectSource,
    ImageSource,
    ImageURL,
    PathSource,
    PillowSource,
    Readable,
    StreamSource,
    to_source,
)
from burncloud_images.model.media import Media, examine, examine_bytes
from burncloud_images.model.rule_kinds import MB, MeasuredImage

T = TypeVar("T")

IN_MEMORY = 8 * MB
"""How much of a one-shot source is kept in memory before it goes to an unnamed file."""

UPLOADABLE = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})

Fetch = Callable[[str], Awaitable[bytes]]
"""Downloads the image at a URL, with the address checks."""


@attrs.frozen
class BytesUpload:
    """Bytes in memory."""

    data: bytes = attrs.field(repr=False)
    media: Media

    @property
    def name(self) -> str:
        return "an image in memory"

    @property
    def size(self) -> int:
        return len(self.data)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        yield self.data


@attrs.frozen
class PathUpload:
    """A file that is opened for every attempt."""

    path: Path
    identity: Identity
    media: Media
    executor: Executor

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def size(self) -> int:
        return self.identity[2]

    def pieces(self) -> AsyncGenerator[bytes, None]:
        return read_pieces(self.path, self.identity, self.executor)


@attrs.frozen
class HandleUpload:
    """An open file, sync or async, that is rewound for every attempt."""

    handle: Readable | AsyncReadable
    start: int
    size: int
    media: Media
    executor: Executor

    @property
    def name(self) -> str:
        return name_of(self.handle)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        await call(self.executor, self.handle, "seek", self.start)
        left = self.size
        while left:
            piece = await call(self.executor, self.handle, "read", min(PIECE, left))
            if not isinstance(piece, bytes) or not piece:
                raise InputChangedError(f"{self.name} ended {left:,} bytes early; it shrank, or was closed.")
            left -= len(piece)
            yield piece


@attrs.frozen
class UploadOpener:
    """A callable that opens a seekable source for every attempt."""

    source: CallableSource
    start: int
    size: int
    media: Media
    executor: Executor
    name: str

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        async with opened(self.source, self.executor) as handle:
            again = HandleUpload(cast("Readable", handle), self.start, self.size, self.media, self.executor)
            if await call(self.executor, handle, "seek", 0, io.SEEK_END) != self.start + self.size:
                raise InputChangedError(f"{self.name} changed its size between attempts.")
            async with aclosing(again.pieces()) as pieces:
                async for piece in pieces:
                    yield piece


Upload: TypeAlias = BytesUpload | PathUpload | HandleUpload | UploadOpener


@asynccontextmanager
async def open_uploads(
    images: Sequence[tuple[str, ImageSource]], executor: Executor, fetch: Fetch, most_bytes: int
) -> AsyncIterator[tuple[tuple[Upload, ...], tuple[MeasuredImage, ...]]]:
    """
    Open the uploads of a request and measure them.

    Args:
        images: Field names and sources, in the order in which they are sent.
        executor: For everything that blocks.
        fetch: For `ImageURL`.
        most_bytes: A one-shot source that goes on longer is refused; with 0 it is not even read.

    Raises:
        InvalidRequestError: Sources that cannot be read, are empty or hold no image; all of them.
        DownloadError: An `ImageURL` could not be fetched.
    """
    async with AsyncExitStack() as stack:
        opener = UploadFactory(executor=executor, fetch=fetch, most_bytes=most_bytes, stack=stack)
        uploads: list[Upload] = []
        violations: list[Violation] = []
        count = sum(field == "image" for field, _ in images)
        for number, (field, source) in enumerate(images, start=1):
            try:
                upload = await opener.open(source)
                check(upload, source)
                uploads.append(upload)
            except UnusableSource as problem:
                which = f"number {number} of {count}: " if field == "image" and count > 1 else ""
                violations.append(Violation(field, f"{which}{problem}"))
        if violations:
            raise InvalidRequestError(violations)
        pairs = zip(images, uploads, strict=True)
        measured = [MeasuredImage(field=field, size=up.size, media=up.media) for (field, _), up in pairs]
        yield tuple(uploads), tuple(measured)


class UnusableSource(Exception):  # noqa: N818 (never leaves this module)
    """A source that cannot be sent; the message is one clause."""


def check(upload: Upload, source: ImageSource) -> None:
    name = f"{source.path}: " if isinstance(source, PathSource) else ""
    if upload.size == 0:
        raise UnusableSource(f"{name}it is empty")
    if upload.media.media_type not in UPLOADABLE:
        raise UnusableSource(f"{name}it is not a PNG, JPEG, WebP or GIF image")


@attrs.frozen(kw_only=True)
class UploadFactory:
    """Turns each kind of source into an upload."""

    executor: Executor
    fetch: Fetch
    most_bytes: int
    stack: AsyncExitStack

    async def open(self, source: ImageSource) -> Upload:  # noqa: PLR0911 (one per kind)
        match source:
            case BytesSource(data):
                return BytesUpload(data, examine_bytes(data))
            case PathSource(path):
                return await self.open_path(path)
            case FileObjectSource(handle):
                return await self.measure_handle(handle)
            case StreamSource(chunks):
                return await self.spool(chunks)
            case CallableSource():
                return await self.open_opener(source)
            case PillowSource():
                return await self.encode_picture(source)
            case ImageURL(url):
                return await self.fetch_url(url)
            case FileID():
                raise UnusableSource("a FileID can only be sent by reference")

    async def open_path(self, path: Path) -> Upload:
        try:
            identity, media = await run(self.executor, examine_file, path)
        except OSError as error:
            raise UnusableSource(f"{path}: {reason(error)}") from None
        return PathUpload(path, identity, media, self.executor)

    async def measure_handle(self, handle: Readable | AsyncReadable) -> Upload:
        try:
            if await call(self.executor, handle, "seekable") is False:
                return await self.spool(handle)
            start = await call(self.executor, handle, "tell")
            end = await call(self.executor, handle, "seek", 0, io.SEEK_END)
            if not isinstance(start, int) or not isinstance(end, int):
                raise UnusableSource("it is not a binary file")
            media = await examine_open(self.executor, handle, start, end - start)
            await call(self.executor, handle, "seek", start)
        except (OSError, ValueError, TypeError) as error:
            raise UnusableSource(f"it cannot be read: {reason(error)}") from None
        return HandleUpload(handle, start, max(0, end - start), media, self.executor)

    async def open_opener(self, source: CallableSource) -> Upload:
        async with opened(source, self.executor) as handle:
            if not (hasattr(handle, "seek") and hasattr(handle, "tell")):
                return await self.spool(handle)
            upload = await self.measure_handle(cast("Readable", handle))
        if isinstance(upload, HandleUpload):
            return UploadOpener(source, upload.start, upload.size, upload.media, self.executor, upload.name)
        return upload

    async def spool(self, source: object) -> Upload:
        """Keep what can be read once, so that another attempt can send it."""
        if not self.most_bytes:
            raise UnusableSource(
                "it can be read only once, and Limits(spool=0) says not to keep it for another attempt"
            )
        file = cast("IO[bytes]", tempfile.SpooledTemporaryFile(max_size=IN_MEMORY))  # noqa: SIM115 (closed by the stack)
        self.stack.push_async_callback(run, self.executor, file.close)
        size = 0
        try:
            async with aclosing(chunks_of(source, self.executor)) as chunks:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > self.most_bytes:
                        raise UnusableSource(f"it is larger than {self.most_bytes / MB:g} MiB")
                    await run(self.executor, file.write, chunk)
        except (OSError, ValueError, TypeError) as error:
            raise UnusableSource(f"it cannot be read: {reason(error)}") from None
        media = await run(self.executor, examine_handle, file, 0, size)
        return HandleUpload(file, 0, size, media, self.executor)

    async def encode_picture(self, source: PillowSource) -> Upload:
        from burncloud_images.files.pictures import UnusablePicture, encode_png

        try:
            data = await run(self.executor, encode_png, source.picture)
        except UnusablePicture as problem:
            raise UnusableSource(str(problem)) from None
        return BytesUpload(data, examine_bytes(data))

    async def fetch_url(self, url: str) -> Upload:
        if url.startswith("data:"):
            return await self.open(to_source(url))
        data = await self.fetch(url)
        return BytesUpload(data, examine_bytes(data))


def name_of(handle: object) -> str:
    """Return the name that an open file says it has; an unnamed temporary file says a number."""
    name = getattr(handle, "name", None)
    return name if isinstance(name, str) and name else "an open file"


def reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and error.strerror == os.strerror(errno.ENOENT):
        return "there is no such file"  # and not that there is no folder for temporary ones
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text or type(error).__name__


async def call(executor: Executor, handle: object, name: str, *args: object) -> object:
    """Call a file object's method: awaited if it is async, else in a thread."""
    method = getattr(handle, name, None)
    if method is None:
        return None
    if inspect.iscoroutinefunction(method):
        return await method(*args)
    answer = await run(executor, method, *args)
    return await answer if inspect.isawaitable(answer) else answer


async def examine_open(executor: Executor, handle: object, start: int, size: int) -> Media:
    probe = examine(max(0, size))
    try:
        offset, length = next(probe)
        while True:
            await call(executor, handle, "seek", start + offset)
            piece = await call(executor, handle, "read", length)
            if not isinstance(piece, bytes):
                raise UnusableSource("it is not a binary file; open it with mode 'rb'")
            offset, length = probe.send(piece)
    except StopIteration as stop:
        media: Media = stop.value
        return media


async def chunks_of(source: object, executor: Executor) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of something that can be read once."""
    if isinstance(source, Readable):
        while chunk := await call(executor, source, "read", PIECE):
            yield as_bytes(chunk)
    elif isinstance(source, AsyncIterable):
        async for chunk in source:
            yield as_bytes(chunk)
    else:
        raise UnusableSource(f"an opener has to open a binary file or an async iterator, not {type(source).__name__}")


def as_bytes(chunk: object) -> bytes:
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return bytes(chunk)
    raise UnusableSource(f"it gave {type(chunk).__name__} instead of bytes")


@asynccontextmanager
async def opened(source: CallableSource, executor: Executor) -> AsyncIterator[object]:
    """Give what the opener opens, and close it: it was opened for us."""
    try:
        handle: object = source.open()
        if inspect.isawaitable(handle):
            handle = await handle
    except ImagesError:
        raise
    except OSError as error:
        raise UnusableSource(f"the opener failed: {reason(error)}") from None
    try:
        yield handle
    finally:
        for name in ("aclose", "close"):
            if hasattr(handle, name):
                await call(executor, handle, name)
                break
