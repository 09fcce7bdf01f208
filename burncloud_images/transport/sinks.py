"""
Where image bytes go as they arrive: `Memory`, `Directory`, or a sink of your own.

A sink opens one writer per image. The writer is given pieces, says what they are, and then keeps or discards them. A
`Directory` shows whole files or none: it writes to a hidden `.part` file and renames it when the image has been looked
at. If the disk fails half-way the image, which is paid for, goes on into memory and is handed over by the error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, runtime_checkable

import attrs

from burncloud_images.errors import ConfigurationError, StorageError
from burncloud_images.results import ImageDetails

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from burncloud_images.model.media import Media
    from burncloud_images.transport.writers import DirectoryWriter, MemoryWriter

__all__ = ["Directory", "ImageWriter", "Memory", "PartialSink", "Placement", "Recoverable", "Sink"]

T_co = TypeVar("T_co", bound=ImageDetails, covariant=True)


@attrs.frozen(kw_only=True)
class Placement:
    """
    Which image a sink is asked to take.

    Attributes:
        id: Of the request: the first 12 characters of its idempotency key.
        index: Place of the image in the answer, from 0.
        prompt: What was drawn, if there was a prompt.
        model: As asked for.
        date: When the request was made, aware UTC.
        executor: The client's own threads, for work that blocks.
    """

    id: str
    index: int
    prompt: str
    model: str
    date: datetime
    executor: Executor


class ImageWriter(Protocol[T_co]):
    """Takes one image."""

    async def write(self, data: bytes) -> None:
        """Take the next bytes; they are not yet whole, nor known to be an image."""

    async def finish(self) -> Media:
        """Return what the bytes are, now that they are all there."""

    async def keep(self, media: Media) -> T_co:
        """
        Make the image permanent and return it.

        Raises:
            StorageError: It cannot be; the error holds the image.
        """

    async def discard(self) -> None:
        """Remove every trace."""


class Sink(Protocol[T_co]):
    """Takes the images of requests."""

    async def prepare(self, placement: Placement, count: int) -> None:
        """
        Make sure that *count* images can be taken, before the request is sent.

        Raises:
            StorageError: They cannot.
        """

    def open(self, placement: Placement) -> ImageWriter[T_co]:
        """Return a writer for one image."""


@runtime_checkable
class PartialSink(Protocol):
    """A sink that takes previews as well; others are spared them."""

    def open_partial(self, placement: Placement, number: int) -> ImageWriter[ImageDetails]:
        """Return a writer for the preview *number* of one image."""


@runtime_checkable
class Recoverable(Protocol):
    """A writer that can tell what it was given, should it turn out to be no whole image."""

    async def recover(self, most: int) -> bytes:
        """
        Return the first *most* bytes.

        Raises:
            OSError: They cannot be read.
        """


@attrs.frozen
class Memory:
    """Keeps the images as bytes; results are `Image`."""

    async def prepare(self, placement: Placement, count: int) -> None:
        """Need nothing."""

    def open(self, placement: Placement) -> MemoryWriter:
        """Return a writer into a buffer."""
        from burncloud_images.transport.writers import MemoryWriter

        return MemoryWriter(index=placement.index)


FIELD = re.compile(r"\{([^{}]*)\}")
FIELDS = ("id", "index", "ext", "slug", "sha8", "model", "date")

Exists = Literal["error", "rename", "overwrite"]


def template(_sink: object, _attribute: object, name: str) -> None:
    """Refuse a name that is a path or holds a field that is not in the list."""
    unknown = [field for field in FIELD.findall(name) if field not in FIELDS]
    if unknown or set(FIELD.sub("", name)) & set("{}"):
        raise ConfigurationError(f"The name {name!r} may hold {', '.join(f'{{{field}}}' for field in FIELDS)} only.")
    if not name or name.startswith(".") or set(name) & set("/\\\0"):
        raise ConfigurationError(f"The name {name!r} has to be a plain file name; the folder is given by the path.")


@attrs.frozen
class Directory:
    """
    Writes the images to files; results are `SavedImage`.

    Args:
        path: The folder; it is made if it is not there.
        name: A template for file names. Its fields are `{id}` (of the request), `{index}` (from 1), `{ext}` (of the
            bytes), `{slug}` (of the prompt), `{sha8}` (of the bytes), `{model}` and `{date}` (UTC). Without `{ext}` the
            extension is put right, and without `{index}` several images are numbered.
        exists: What to do if the name is taken: `error` before anything is sent where the name can be known,
            `rename` by a number, or `overwrite`.
        hash: Whether to fill `SavedImage.sha256`.
        durable: Whether the file and its folder are synced to the disk before the image counts as kept.
    """

    path: Path = attrs.field(converter=Path)
    name: str = attrs.field(default="{id}-{index}.{ext}", validator=template)
    exists: Exists = attrs.field(default="error", validator=attrs.validators.in_(("error", "rename", "overwrite")))
    hash: bool = False
    durable: bool = False

    async def prepare(self, placement: Placement, count: int) -> None:
        """Make the folder, try to write there, and look for names that are taken."""
        from burncloud_images.transport.files import run

        try:
            await run(placement.executor, self.try_folder)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error.strerror or error}.") from None
        if self.exists == "error" and not {"id", "sha8"} & set(FIELD.findall(self.name)):
            taken = await run(placement.executor, self.find_taken, placement, count)
            if taken:
                raise StorageError(f"{taken} exists already, so nothing was sent.")

    def open(self, placement: Placement) -> DirectoryWriter:
        """Return a writer into a hidden file."""
        from burncloud_images.transport.writers import DirectoryWriter

        part = self.path / f".{placement.id}-{placement.index + 1}-{os.urandom(3).hex()}.part"
        return DirectoryWriter(sink=self, placement=placement, part=part)

    def answer_path(self, placement: Placement) -> Path:
        """Return the file for an answer that is not understood."""
        return self.path / f"{placement.id}.answer"

    def try_folder(self) -> None:
        """Make the folder and see whether files can be made in it; blocks."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not self.path.is_dir():
            raise NotADirectoryError("it is no folder")
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise PermissionError("permission denied")

    def find_taken(self, placement: Placement, count: int) -> Path | None:
        """Return a name that is taken of those that *count* images can get; blocks."""
        for index in range(count):
            for name in self.candidates(attrs.evolve(placement, index=index)):
                path = self.path / name
                if path.exists() or path.is_symlink():
                    return path
        return None

    def candidates(self, placement: Placement) -> Iterator[str]:
        """Yield the names that one image can get: with the extension that the template names, or else with any."""
        from burncloud_images.model.media import EXTENSIONS, Media

        suffix = Path(self.name).suffix.lower().lstrip(".").replace("jpeg", "jpg")
        for media_type, extension in EXTENSIONS.items():
            if suffix not in EXTENSIONS.values() or suffix == extension:
                yield self.file_name(placement, Media(media_type=media_type), "")

    def file_name(self, placement: Placement, media: Media, sha256: str) -> str:
        """Return the name of one image; it never leaves the folder, whatever the prompt."""
        from burncloud_images.transport.names import fill

        return fill(self.name, placement, media, sha256)
