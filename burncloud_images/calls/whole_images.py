"""Keeping what has been written only if it is a whole image."""

from __future__ import annotations

from typing import TypeVar

from burncloud_images.files.sinks import ImageWriter, ReadableWriter
from burncloud_images.results import ImageDetails

T = TypeVar("T", bound=ImageDetails)


NOT_AN_IMAGE = "its bytes are not an image"


class IncompleteImage(Exception):  # noqa: N818 (never leaves the package)
    """Bytes that are not a whole image; the message is one clause."""


async def read_back(writer: ImageWriter[T], most: int) -> bytes:
    """Return the bytes that *writer* was given, if it can read them back."""
    if not most or not isinstance(writer, ReadableWriter):
        return b""
    try:
        return await writer.read_back(most)
    except OSError:
        return b""


async def keep_image(writer: ImageWriter[T]) -> T:
    """
    Keep what has been written, if it is a whole image.

    Raises:
        IncompleteImage: It is not; the caller discards it.
        StorageError: It cannot be stored.
    """
    media = await writer.finish()
    if media.media_type is not None and media.complete is not False:
        return await writer.keep(media)
    raise IncompleteImage(NOT_AN_IMAGE if media.media_type is None else f"its {media.media_type} has no end")
