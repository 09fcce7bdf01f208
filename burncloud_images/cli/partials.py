"""PartialMemory of images that are being made: a folder for them beside wherever the images go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import attrs

from burncloud_images.calls.retention import find_place
from burncloud_images.cli.arguments import Streaming
from burncloud_images.cli.exits import UsageError
from burncloud_images.errors import StorageError
from burncloud_images.files.sinks import Directory, DirectoryWriter, ImageContext, ImageWriter, Sink
from burncloud_images.model.media import Media
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.results import ImageDetails, SavedImage

T = TypeVar("T", bound=ImageDetails)

BY_DEFAULT = 3


def ask_for_partials(request: ImagesRequest, streaming: Streaming) -> ImagesRequest:
    """
    Return *request*, asking for previews if there is a folder for them.

    Raises:
        UsageError: It asks for some, and there is none.
    """
    number = getattr(request, "partial_images", None)
    if number is not None and streaming.partials is None and not streaming.via_stream:
        raise UsageError("--partial-images asks for previews; give a folder for them with --partials.")
    if streaming.partials is None or number is not None:
        return request
    return attrs.evolve(request, partial_images=BY_DEFAULT)  # type: ignore[call-arg]


@attrs.frozen(kw_only=True)
class WithPartials(Generic[T]):
    """
    A sink that takes previews as well.

    Attributes:
        images: Takes the images.
        folder: Takes the previews; a file that is there keeps its name.
        show: Told of each preview that is there: what it is, and its path.
    """

    images: Sink[T]
    folder: Directory
    show: Callable[[str, SavedImage], None]

    async def prepare(self, placement: ImageContext, count: int) -> None:
        """
        Make sure that both can be taken.

        Raises:
            StorageError: They cannot.
        """
        await self.images.prepare(placement, count)
        await self.folder.prepare(placement, count)

    def open(self, placement: ImageContext) -> ImageWriter[T]:
        """Return a writer for an image."""
        return self.images.open(placement)

    def answer_path(self, placement: ImageContext) -> Path | None:
        """Return the file for an answer that is not understood, where images go to files."""
        return find_place(self.images, placement)

    def open_partial(self, placement: ImageContext, number: int) -> PartialWriter:
        """Return a writer for a preview, whole or not there like any image."""
        name = f"{{id}}-{{index}}-partial{number}.{{ext}}"
        what = f"preview {number + 1} of image {placement.index + 1}"
        folder = Directory(self.folder.path, name=name, exists="rename")
        return PartialWriter(file=folder.open(placement), what=what, show=self.show)


@attrs.frozen(kw_only=True)
class PartialWriter:
    """A writer that tells of its file."""

    file: DirectoryWriter
    what: str
    show: Callable[[str, SavedImage], None]

    async def write(self, data: bytes) -> None:
        await self.file.write(data)

    async def finish(self) -> Media:
        return await self.file.finish()

    async def keep(self, media: Media) -> ImageDetails:
        try:
            saved = await self.file.keep(media)
        except StorageError as error:
            return error.images[0]  # it is only a preview, and the folder was looked at before
        self.show(self.what, saved)
        return saved

    async def discard(self) -> None:
        await self.file.discard()
