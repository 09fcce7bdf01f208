"""
The images that a request sends, which some servers repeat in their answers about a task.

They are not results. One is recognised by its address, if that was sent, or by its bytes, if they were uploaded.
"""

from __future__ import annotations

import hashlib
from binascii import a2b_base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

import attrs

from burncloud_images.calls.whole_images import read_back
from burncloud_images.errors import ImagesError
from burncloud_images.files.sinks import ImageWriter
from burncloud_images.model.inputs import ImageURL
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.results import ImageDetails
from burncloud_images.transport.interface import ReplayableUpload

T = TypeVar("T", bound=ImageDetails)

LEAST_BASE64 = 64
"""Characters of the base64 of an image; what is shorter is something else."""
MOST_DEPTH = 8


@attrs.define
class SentImages:
    """
    The images of one request.

    Attributes:
        addresses: Where they are; None if the request has no images.
        sizes: Of those that are sent as bytes.
        uploads: Those that are read from their sources.
        digests: Of those whose bytes were read.
    """

    addresses: frozenset[str] | None = None
    sizes: set[int] = attrs.field(factory=set)
    uploads: Sequence[ReplayableUpload] = ()
    digests: set[bytes] = attrs.field(factory=set, repr=False)

    async def match(self, writer: ImageWriter[T], size: int) -> bool:
        """Return whether *writer* was given the bytes of one of them."""
        if size not in self.sizes:
            return False
        await self.read(size)
        return digest(await read_back(writer, size)) in self.digests

    async def read(self, size: int | None = None) -> None:
        """Read the uploads, or those of *size* bytes, as long as their sources are open."""
        uploads = self.uploads
        self.uploads = [upload for upload in uploads if size is not None and upload.size != size]
        for upload in uploads:
            if size is None or upload.size == size:
                with suppress(
                    ImagesError, OSError, ValueError
                ):  # a source that has changed since; nothing depends on it
                    self.digests.add(digest(b"".join([piece async for piece in upload.pieces()])))


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def find_sent(request: ImagesRequest, uploads: Sequence[ReplayableUpload] = ()) -> SentImages:
    """Return the images of *request*: its own, and those that `extra` names."""
    images = [source for _, source in request.images()]
    texts = [source.url for source in images if isinstance(source, ImageURL)]
    texts += find_texts(request.extra or {})
    data = [found for text in texts if (found := to_bytes(text))]
    addresses = frozenset(text.strip() for text in texts if is_address(text))
    return SentImages(
        addresses=addresses if images or data or addresses else None,
        sizes={*map(len, data), *(upload.size for upload in uploads)},
        uploads=uploads,
        digests={*map(digest, data)},
    )


def find_texts(value: object, depth: int = 0) -> Iterator[str]:
    """Yield the texts in *value*."""
    if isinstance(value, str):
        yield value
    elif depth < MOST_DEPTH and isinstance(value, Mapping):
        for item in value.values():
            yield from find_texts(item, depth + 1)
    elif depth < MOST_DEPTH and isinstance(value, Sequence):
        for item in value:
            yield from find_texts(item, depth + 1)


def is_address(text: str) -> bool:
    return text.lstrip()[:8].lower().startswith(("http://", "https://"))


def to_bytes(text: str) -> bytes:
    """Return what *text* holds as a `data:` URL or as base64; nothing if it is neither."""
    is_data = text[:5].lower() == "data:"
    encoded = text.partition(",")[2] if is_data else text
    if len(encoded) >= LEAST_BASE64 and not is_address(text):
        with suppress(ValueError):
            return a2b_base64(encoded, strict_mode=True)
    return b""
