"""
Where image bytes go as they arrive: `Memory`, `Directory`, or a sink of your own.

A sink opens one writer per image. The writer takes pieces, says what they are, and then keeps or discards them. A
`Directory` shows whole files or none: it writes to a hidden `.part` file and renames it when the image has been looked
at. If the disk fails half-way, the image, which is paid for, goes on into memory, and the error hands it over.
"""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, Protocol, TypeVar, runtime_checkable

import attrs

from burncloud_images.disk import (
    DEFAULT_MODE,
    explain,
    finish_whatever_happens,
    numbered,
    place,
    run,
    shorten,
    sync_file,
    sync_folder,
    try_folder,
    write_elsewhere,
    write_pieces,
)
from burncloud_images.errors import ConfigurationError, StorageError
from burncloud_images.files.image_files import examine_handle
from burncloud_images.model.media import Media, examine_bytes
from burncloud_images.results import EXTENSIONS, Image, ImageDetails, SavedImage

if TYPE_CHECKING:
    import hashlib
    from concurrent.futures import Executor

T_co = TypeVar("T_co", bound=ImageDetails, covariant=True)


@attrs.frozen(kw_only=True)
class ImageContext:
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

    async def prepare(self, placement: ImageContext, count: int) -> None:
        """
        Make sure that *count* images can be taken, before the request is sent.

        Raises:
            StorageError: They cannot.
        """

    def open(self, placement: ImageContext) -> ImageWriter[T_co]:
        """Return a writer for one image."""


@runtime_checkable
class PartialSink(Protocol):
    """A sink that takes previews as well; others are spared them."""

    def open_partial(self, placement: ImageContext, number: int) -> ImageWriter[ImageDetails]:
        """Return a writer for the preview *number* of one image."""


@runtime_checkable
class ReadableWriter(Protocol):
    """A writer that can return what it was given, in case that is not a whole image."""

    async def read_back(self, most: int) -> bytes:
        """
        Return the first *most* bytes.

        Raises:
            OSError: They cannot be read.
        """


@attrs.frozen
class Memory:
    """Keeps the images as bytes; results are `Image`."""

    async def prepare(self, placement: ImageContext, count: int) -> None:
        """Need nothing."""

    def open(self, placement: ImageContext) -> MemoryWriter:
        """Return a writer into a buffer."""
        return MemoryWriter(index=placement.index)


ROOM = 1024 * 1024
"""Bytes that have to be free for each image before one is bought; most need more, small ones less."""
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
        durable: Whether the file is synced to the disk before the image counts as kept, and its folder where the file
            system can.
    """

    path: Path = attrs.field(converter=Path)
    name: str = attrs.field(default="{id}-{index}.{ext}", validator=template)
    exists: Exists = attrs.field(default="error", validator=attrs.validators.in_(("error", "rename", "overwrite")))
    hash: bool = False
    durable: bool = False

    async def prepare(self, placement: ImageContext, count: int) -> None:
        """Make the folder, try to write there, and look for names that are taken."""
        try:
            taken = await run(placement.executor, self.try_folder, placement, count)
        except (OSError, ValueError) as error:
            raise StorageError(f"{self.path} cannot be written: {explain(error)}.") from None
        if taken is not None:
            raise StorageError(f"{taken} exists already, so nothing was sent.")

    def open(self, placement: ImageContext) -> DirectoryWriter:
        """Return a writer into a hidden file."""
        part = self.path / f".{placement.id}-{placement.index + 1}-{os.urandom(3).hex()}.part"
        return DirectoryWriter(sink=self, placement=placement, part=part)

    def answer_path(self, placement: ImageContext) -> Path:
        """Return the file for an answer that is not understood."""
        return self.path / f"{placement.id}.answer"

    def try_folder(self, placement: ImageContext, count: int) -> Path | None:
        """Make the folder, see whether files can be made in it, and return a name that is taken; blocks."""
        try_folder(self.path, self.file_name(placement, Media(media_type="image/png"), "0" * 64), count * ROOM)
        is_foreseen = self.exists == "error" and "sha8" not in FIELD.findall(self.name)
        return self.find_taken(placement, count) if is_foreseen else None

    def find_taken(self, placement: ImageContext, count: int) -> Path | None:
        """Return a taken name among those that *count* images can get; blocks."""
        for index in range(count):
            for name in self.candidates(attrs.evolve(placement, index=index)):
                path = self.path / name
                if path.exists() or path.is_symlink():
                    return path
        return None

    def candidates(self, placement: ImageContext) -> Iterator[str]:
        """Yield the names that one image can get: with the extension that the template names, or else with any."""
        suffix = Path(self.name).suffix.lower().lstrip(".").replace("jpeg", "jpg")
        for media_type, extension in EXTENSIONS.items():
            if suffix not in EXTENSIONS.values() or suffix == extension:
                yield self.file_name(placement, Media(media_type=media_type), "")

    def file_name(self, placement: ImageContext, media: Media, sha256: str) -> str:
        """Return the name of one image; it never leaves the folder, whatever the prompt."""
        return fill(self.name, placement, media, sha256)


T = TypeVar("T")

BATCH = 512 * 1024
"""Bytes written per call to a thread: more would save little, and each of many images buffers as much."""
SMALL = 8 * 1024
"""Bytes below which a piece is copied to the one before it, so that many small ones cost no more than one large one."""


@attrs.define(kw_only=True)
class MemoryWriter:
    """One growing buffer, which becomes the image without being copied."""

    index: int
    buffer: io.BytesIO = attrs.field(factory=io.BytesIO)

    async def write(self, data: bytes) -> None:
        self.buffer.write(data)

    async def finish(self) -> Media:
        with self.buffer.getbuffer() as view:
            return examine_bytes(view)

    async def keep(self, media: Media) -> Image:
        return Image(**described(self.index, media), data=self.buffer.getvalue())  # type: ignore[arg-type]

    async def read_back(self, most: int) -> bytes:
        with self.buffer.getbuffer() as view:
            return bytes(view[:most])

    async def discard(self) -> None:
        self.buffer.close()


def described(index: int, media: Media) -> dict[str, object]:
    return {"index": index, "media_type": media.media_type, "width": media.width, "height": media.height}


@attrs.define(kw_only=True)
class DirectoryWriter:
    """One hidden file, or what is left of it in memory when the disk failed."""

    sink: Directory
    placement: ImageContext
    part: Path
    batch: list[bytes | bytearray] = attrs.field(factory=list)
    waiting: int = 0
    handle: IO[bytes] | None = None
    size: int = 0
    rescued: bytearray | None = None
    trouble: OSError | ValueError | None = None
    digest: hashlib._Hash | None = attrs.field(
        init=False, default=attrs.Factory(lambda writer: start_digest(writer.sink), takes_self=True)
    )

    async def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.rescued is not None:
            self.rescued += data
            return
        self.gather(data)
        if self.waiting >= BATCH:
            await self.flush(self.write_batch)

    def gather(self, data: bytes) -> None:
        self.waiting += len(data)
        if len(data) >= SMALL:
            self.batch.append(data)
        elif self.batch and isinstance(self.batch[-1], bytearray):
            self.batch[-1] += data
        else:
            self.batch.append(bytearray(data))

    async def flush(self, write: Callable[[Sequence[bytes | bytearray]], T]) -> T | None:
        """Let *write* have what has gathered; None if the disk failed, and what came is in memory."""
        batch, self.batch = self.batch, []
        waiting, self.waiting = self.waiting, 0
        try:
            return await finish_whatever_happens(run(self.placement.executor, write, batch))
        except OSError as error:
            self.trouble = error
            flushed = await self.read_again(self.size - waiting)
            self.rescued = bytearray().join((flushed, *batch))
            return None

    async def read_again(self, size: int) -> bytes:
        """
        Return what is in the file already.

        Raises:
            StorageError: The disk cannot be read any more, either.
        """
        try:
            return await run(self.placement.executor, self.read_file, size)
        except (OSError, ValueError) as error:
            message = f"Image {self.placement.index + 1} cannot be stored in {self.sink.path}, nor read back from it"
            raise StorageError(f"{message}: {explain(error)}.") from None

    def write_batch(self, batch: Sequence[bytes | bytearray]) -> None:
        if self.handle is None:
            self.handle = open(self.part, "x+b", buffering=0, opener=self.open_part)  # noqa: SIM115
        write_pieces(self.handle.fileno(), batch)
        if self.digest is not None:
            for piece in batch:
                self.digest.update(piece)

    def open_part(self, path: str, flags: int) -> int:
        return os.open(path, flags, DEFAULT_MODE)

    def write_last(self, batch: Sequence[bytes | bytearray]) -> Media:
        """Write what is left, and look at the whole."""
        if batch:
            self.write_batch(batch)
        return Media() if self.handle is None else examine_handle(self.handle, 0, self.size)

    def read_file(self, size: int) -> bytes:
        """Return what is in the file already; a full disk can still be read."""
        if self.handle is None:
            return b""
        self.handle.seek(0)
        return self.handle.read(size)

    async def finish(self) -> Media:
        media = await self.flush(self.write_last) if self.rescued is None else None
        return examine_bytes(self.rescued or b"") if media is None else media

    async def keep(self, media: Media) -> SavedImage:
        if self.trouble is None:
            try:
                return await finish_whatever_happens(run(self.placement.executor, self.rename, media))
            except (OSError, ValueError) as error:  # a name may hold letters that the locale's encoding does not have
                self.trouble = error
                self.rescued = bytearray(await self.read_again(self.size))
        await self.discard()
        index = self.placement.index
        image = Image(**described(index, media), data=bytes(self.rescued or b""))  # type: ignore[arg-type]
        kept = await finish_whatever_happens(run(self.placement.executor, self.write_elsewhere, media, image.data))
        where = f"; it was saved as {kept}" if kept is not None else ""
        trouble = StorageError(
            f"Image {index + 1} cannot be stored in {self.sink.path}: {explain(self.trouble)}{where}.",
            images=[image],
            elsewhere={index: kept} if kept is not None else None,
        )
        trouble.errno = getattr(self.trouble, "errno", None)
        raise trouble

    def write_elsewhere(self, media: Media, data: bytes) -> Path | None:
        """Write a paid image to another folder, and return its path; None if no folder took it."""
        name = f"{self.placement.id}-{self.placement.index + 1}.{media.extension}"
        return write_elsewhere(name, data)

    def rename(self, media: Media) -> SavedImage:
        handle = self.handle
        if handle is None:
            raise FileNotFoundError("it is empty")
        sha256 = self.digest.hexdigest() if self.digest is not None else None
        if self.sink.durable:
            sync_file(handle.fileno())
        # Some file systems, such as NFS, report a full disk only now, when the file can still be read back.
        os.close(os.dup(handle.fileno()))
        path = self.choose(self.sink.path / self.sink.file_name(self.placement, media, sha256 or ""))
        if self.sink.durable:
            with suppress(OSError):  # the image is whole and has its name, so a failure here must not discard it
                self.sync()
        with suppress(OSError):
            handle.close()
        return SavedImage(
            **described(self.placement.index, media),  # type: ignore[arg-type]
            path=path,
            size=self.size,
            sha256=sha256 if self.sink.hash else None,
        )

    def sync(self) -> None:
        sync_folder(self.sink.path)

    def choose(self, wanted: Path) -> Path:
        """Give the file its name, or the next free one."""
        for path in numbered(wanted):
            try:
                place(self.part, path, overwrite=self.sink.exists == "overwrite")
            except FileExistsError:
                if self.sink.exists == "error":
                    raise
            else:
                return path
        raise FileExistsError(errno.EEXIST, "every numbered name is taken", str(wanted))

    async def read_back(self, most: int) -> bytes:
        if self.rescued is None and self.batch:
            await self.flush(self.write_batch)
        if self.rescued is not None:
            return bytes(self.rescued[:most])
        return await run(self.placement.executor, self.read_file, min(most, self.size))

    async def discard(self) -> None:
        await finish_whatever_happens(run(self.placement.executor, self.remove))

    def remove(self) -> None:
        if self.handle is not None:
            self.handle.close()
            with suppress(OSError):  # a folder that is gone or can no longer be written; the image matters more
                self.unlink()

    def unlink(self) -> None:
        self.part.unlink(missing_ok=True)


def start_digest(sink: Directory) -> hashlib._Hash | None:
    import hashlib  # naming a sink costs next to nothing

    return hashlib.sha256() if sink.hash or "{sha8}" in sink.name else None


LONGEST_NAME = 240
"""Bytes; file systems take 255, and the hidden name of an unfinished file is longer than the final one."""


def fill(template: str, placement: ImageContext, media: Media, sha256: str) -> str:
    """Return the name of one image; it holds no slash, whatever the prompt."""
    values = {
        "id": placement.id,
        "index": str(placement.index + 1),
        "ext": media.extension,
        "slug": slug(placement.prompt),
        "sha8": sha256[:8],
        "model": slug(placement.model),
        "date": f"{placement.date:%Y-%m-%d}",
    }
    stem = strip_extension(FIELD.sub(lambda match: values[match[1]], template))
    if placement.index and not {"index", "sha8"} & set(FIELD.findall(template)):
        stem = f"{stem}-{placement.index + 1}"
    return shorten(stem, f".{media.extension}", LONGEST_NAME)


def strip_extension(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    known = {*EXTENSIONS.values(), "jpeg", "bin"}
    return stem if dot and stem and extension.lower() in known else name


def to_id(key: str) -> str:
    """Return what of an idempotency key is put into file names: 12 letters and digits."""
    return re.sub(r"\W", "", key, flags=re.ASCII)[:12] or "image"


def slug(text: str) -> str:
    """Return letters, digits and dashes of *text*, of any script, at most 60 bytes long."""
    words = re.sub(r"[^\w]+", "-", text.lower()).strip("-_")
    return words.encode()[:60].decode(errors="ignore").strip("-") or "image"
