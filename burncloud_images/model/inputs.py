"""
An image to upload: where its bytes are, not a reader of them.

`to_source` converts all that callers pass to one of a few immutable values; `files.uploads` opens these for every
attempt.
"""

from __future__ import annotations

import binascii
import os
import re
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from pathlib import Path
from typing import IO, Protocol, TypeAlias, TypeGuard, runtime_checkable

import attrs

from burncloud_images.errors import InvalidRequestError, Violation, hide_query


@runtime_checkable
class Readable(Protocol):
    """A binary file object: `open(…, "rb")`, `io.BytesIO`."""

    def read(self, size: int = -1, /) -> bytes: ...


@runtime_checkable
class AsyncReadable(Protocol):
    """A binary file object whose methods are awaited: an aiofiles handle, an aiohttp `StreamReader`."""

    def read(self, size: int = -1, /) -> Awaitable[bytes]: ...


class PillowImage(Protocol):
    """A Pillow image."""

    def save(self, fp: IO[bytes], format: str | None = None) -> None: ...  # noqa: A002 (Pillow's own name)


Openable: TypeAlias = Readable | AsyncReadable | AsyncIterable[bytes]
"""What an opener returns, awaited or not."""


@attrs.frozen
class PathSource:
    """A file that is opened anew for every attempt."""

    path: Path


@attrs.frozen
class BytesSource:
    """Bytes in memory."""

    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")


@attrs.frozen
class FileObjectSource:
    """
    A seekable file object of the caller.

    It is read from its present position, is rewound to it for another attempt, and is never closed here.
    """

    handle: Readable | AsyncReadable


@attrs.frozen
class StreamSource:
    """A source that can be read once; it is kept in an unnamed temporary file while it is first read."""

    chunks: AsyncIterable[bytes] | AsyncReadable | Readable


@attrs.frozen
class CallableSource:
    """A callable that opens the source; it is called for every attempt and what it returns is closed."""

    open: Callable[[], Openable | Awaitable[Openable]]


@attrs.frozen
class PillowSource:
    """A Pillow image; it is sent as PNG."""

    picture: PillowImage


@attrs.frozen
class ImageURL:
    """
    An image that is somewhere on the web.

    With `EditRequest(by_reference=True)` the URL itself is sent. Otherwise the image is downloaded first, with the same
    address checks as results, and uploaded.

    Attributes:
        url: An `https://` or `data:` URL. Its query or its data is not shown in reprs.
    """

    url: str = attrs.field(repr=hide_query)


@attrs.frozen
class FileID:
    """An image that the Files API of the provider holds; for `EditRequest(by_reference=True)` only."""

    id: str


ImageSource: TypeAlias = (
    PathSource | BytesSource | FileObjectSource | StreamSource | CallableSource | PillowSource | ImageURL | FileID
)

ImageLike: TypeAlias = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | Readable
    | AsyncReadable
    | AsyncIterable[bytes]
    | Callable[[], Openable | Awaitable[Openable]]
    | PillowImage
    | ImageSource
)
"""
A path, bytes, a seekable (async) file object, an async iterator of bytes, a callable that opens one, a Pillow image, a
`data:` URL, or an `ImageURL`.
"""

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
"""How a URL begins, but for `data:`."""
DATA_URL = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)
SOURCES = (PathSource, BytesSource, FileObjectSource, StreamSource, CallableSource, PillowSource, ImageURL, FileID)


def to_source(value: ImageLike) -> ImageSource:
    """
    Return where the bytes of *value* are.

    Raises:
        InvalidRequestError: It cannot hold an image, or it is a web address that is not wrapped in `ImageURL`.
    """
    if isinstance(value, SOURCES):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return BytesSource(bytes(value))
    if isinstance(value, str):
        return text_to_source(value)
    if isinstance(value, os.PathLike):
        return path_to_source(os.fsdecode(value))
    return object_to_source(value)


def to_sources(value: ImageLike | Sequence[ImageLike]) -> tuple[ImageSource, ...]:
    """Return the sources of one image or of several."""
    values = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(to_source(item) for item in values)  # pyright: ignore[reportArgumentType] (a list or tuple is none)


def text_to_source(text: str) -> ImageSource:
    if DATA_URL.match(text):
        return BytesSource(data_url_bytes(text))
    if text[:5].lower() == "data:":
        raise refusal("a data: URL has to hold base64")
    if SCHEME.match(text):
        raise refusal("a web address is not a path; write ImageURL(…) to have it fetched")
    return path_to_source(text)


def path_to_source(text: str) -> PathSource:
    if not text or "\0" in text:
        raise refusal("an empty path or one with a NUL byte names no file")
    return PathSource(Path(text))


def data_url_bytes(url: str) -> bytes:
    """
    Return the bytes that a base64 `data:` URL holds.

    Source:
        RFC 2397; RFC 4648 §4, strictly.
    """
    try:
        return binascii.a2b_base64(url.partition(",")[2], strict_mode=True)
    except ValueError:
        raise refusal("the data: URL holds characters that are not base64") from None


def object_to_source(value: object) -> ImageSource:
    if is_picture(value):
        return PillowSource(value)
    if isinstance(value, Readable):  # structural: an AsyncReadable has the same method name
        return FileObjectSource(value) if is_seekable(value) else StreamSource(value)
    if isinstance(value, AsyncIterable):
        return StreamSource(value)
    if callable(value):
        return CallableSource(value)  # pyright: ignore[reportArgumentType] (seen when it is called)
    raise refusal(f"{type(value).__name__} cannot be read as an image")


def is_picture(value: object) -> TypeGuard[PillowImage]:
    # By name, so that Pillow is not imported for those who do not use it.
    return any((kind.__module__, kind.__name__) == ("PIL.Image", "Image") for kind in type(value).__mro__)


def is_seekable(handle: object) -> bool:
    seekable = getattr(handle, "seekable", None)
    if not hasattr(handle, "seek") or not hasattr(handle, "tell"):
        return False
    if seekable is None or is_coroutine_function(seekable):
        return True  # an async handle is asked when it is used
    try:
        return bool(seekable())
    except ValueError:
        raise refusal("the file is closed") from None


def is_coroutine_function(function: object) -> bool:
    import inspect

    return inspect.iscoroutinefunction(function)


def refusal(message: str) -> InvalidRequestError:
    return InvalidRequestError([Violation("image", message)])
