"""
One image on its way down, over all attempts: what has arrived stays, and the rest is asked for.

The bytes stand in the sink's own writer, so nothing is kept twice. A writer cannot go back; where the file turned out
to be another one, it is discarded and a new one is opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import attrs

from burncloud_images.calls.receiving import Damaged, keep_image
from burncloud_images.files.sinks import ImageWriter
from burncloud_images.results import ImageDetails
from burncloud_images.wire.download_headers import Checksum, RemoteFile, find_part, find_representation

T = TypeVar("T", bound=ImageDetails)


@attrs.define(kw_only=True)
class PartialDownload(Generic[T]):
    """
    What has arrived.

    Attributes:
        open_writer: Opens a writer for the image.
        file: What the host says about it.
        writer: Has the bytes; None before any came.
        size: How many.
        reached: The most that there ever were.
        distrusted: Whether the host answered a request for the rest with something else.
    """

    open_writer: Callable[[], ImageWriter[T]]
    file: RemoteFile = attrs.field(factory=RemoteFile)
    writer: ImageWriter[T] | None = None
    size: int = 0
    reached: int = 0
    distrusted: bool = False
    digests: list[tuple[Checksum, hashlib._Hash]] = attrs.field(factory=list)

    @property
    def resumable(self) -> bool:
        """Whether what comes later can be told to belong to what is there."""
        return self.file.validator is not None and not self.distrusted

    def headers(self) -> Mapping[str, str]:
        """Return what asks for the rest, or for all if nothing can be kept."""
        if not self.size or not self.resumable:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.file.validator or ""}

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Begin anew with a whole file, as the headers of its answer describe it."""
        await self.discard()
        self.file = find_representation(headers)
        self.digests = [(one, hashlib.new(one.algorithm, usedforsecurity=False)) for one in self.file.checksums]
        self.writer = self.open_writer()

    def continues(self, headers: Mapping[str, str]) -> bool:
        """Say whether an answer with a part begins where this ends, and is of the same file."""
        part = find_part(headers)
        if part is None or part.start != self.size:
            return False
        same_length = None in {part.total, self.file.length} or part.total == self.file.length
        # What was told apart by its date had no tag; a part with one is then of another file.
        return same_length and headers.get("etag", self.file.validator) == self.file.validator

    def ends(self, headers: Mapping[str, str]) -> bool:
        """Say whether a refusal to send more means that there is no more."""
        part = find_part(headers)
        return part is not None and part.total == self.size

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""
        assert self.writer is not None
        for _, digest in self.digests:
            digest.update(data)
        await self.writer.write(data)
        self.size += len(data)
        self.reached = max(self.reached, self.size)

    async def keep(self) -> T:
        """
        Keep the image, if it is whole and is what the host says; else begin anew.

        Raises:
            Damaged: It is not.
            StorageError: It cannot be stored.
        """
        problem = self.problem()
        if problem is None and self.writer is not None:
            try:
                kept = await keep_image(self.writer)
            except Damaged:
                self.forget()
                raise
            self.forget()
            return kept
        await self.discard()
        raise Damaged(problem or "nothing came")

    def problem(self) -> str | None:
        if self.file.length is not None and self.size != self.file.length:
            return f"it has {self.size:,} bytes instead of {self.file.length:,}"
        wrong = next((one.header for one, digest in self.digests if digest.digest() != one.digest), None)
        return f"its checksum is not the one in {wrong}" if wrong else None

    async def discard(self) -> None:
        """Leave no trace."""
        writer = self.writer
        self.forget()
        if writer is not None:
            await writer.discard()

    def forget(self) -> None:
        self.writer, self.size, self.digests = None, 0, []
        self.file = RemoteFile()
