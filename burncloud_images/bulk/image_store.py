"""The job's images on disk: written under names known beforehand, found again, and kept when an answer is unusable."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import attrs

from burncloud_images.bulk.directory import JobDirectory
from burncloud_images.bulk.folder_descriptors import numbered, write_new
from burncloud_images.bulk.records import StoredImage
from burncloud_images.disk import DEFAULT_MODE, run, sha256_of, sync_file, sync_folder, write_elsewhere
from burncloud_images.errors import ImagesError, StorageError
from burncloud_images.files.image_files import examine_file, examine_handle
from burncloud_images.files.sinks import Directory, DirectoryWriter, ImageContext
from burncloud_images.model.media import Media
from burncloud_images.results import EXTENSIONS, Image, SavedImage

FINAL = re.compile(r"([0-9a-f]{32})(?:-(\d+))?\.(\w+)")
PART = re.compile(r"\.([0-9a-f]{32})-(\d+)-[0-9a-f]+\.part")


@attrs.define
class ImageStore:
    """
    The folders of the job's images, each made once.

    Attributes:
        made: Those that are known to be there.
        folders: As sinks, by the beginning of the keys and by whether images are numbered.
        mark: Tells unfinished files of this run from those of others.
        numbers: Tells them from each other.
        loss: What was removed during the run, as a sentence; None if nothing was.
    """

    directory: JobDirectory
    made: set[str] = attrs.field(factory=set)
    folders: dict[tuple[str, bool], Directory] = attrs.field(factory=dict)
    mark: str = attrs.field(factory=lambda: os.urandom(4).hex())
    numbers: Iterator[int] = attrs.field(factory=itertools.count)
    loss: str | None = None

    def find(self, key: str, *, several: bool) -> Directory:
        """Return the folder of the images of one request, as a sink."""
        place = key[:2], several
        folder = self.folders.get(place)
        if folder is None:
            name = "{id}-{index}.{ext}" if several else "{id}.{ext}"
            # A name can only be taken by an earlier copy of the same image.
            folder = Directory(self.directory.image_folder(key), name=name, exists="overwrite", hash=True, durable=True)
            self.folders[place] = folder
        return folder

    def name_part(self, key: str, index: int) -> str:
        """Return a name for an unfinished file, which tells whose it is."""
        return f".{key}-{index + 1}-{self.mark}{next(self.numbers):x}.part"

    def make(self, image_folder: str) -> None:
        """Create a folder and sync its parent directory; blocks."""
        images, image_folder = self.directory.image_folder_names(image_folder)
        for names in ((images,), (images, image_folder)):
            if names[-1] not in self.made:
                with self.directory.folder(*names), self.directory.folder(*names[:-1]) as above:
                    sync_folder(above)
                self.made.add(names[-1])

    @contextmanager
    def open(self, image_folder: str) -> Iterator[int]:
        """Give a descriptor of a folder; one that was removed since it was made is made again, and noted; blocks."""
        names = self.directory.image_folder_names(image_folder)
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(self.directory.folder(*names, make=False))
            except FileNotFoundError:
                self.loss = f"{'/'.join((str(self.directory.path), *names))} was removed while the job ran."
                folder = stack.enter_context(self.directory.folder(*names))
            yield folder


@attrs.define(kw_only=True)
class JobImageWriter(DirectoryWriter):
    """A hidden file of a job, which is reached from folder to folder: past no link, and into one that was moved."""

    image_store: ImageStore

    def folder(self) -> AbstractContextManager[int]:
        return self.image_store.open(self.sink.path.name)

    def open_part(self, path: str, flags: int) -> int:  # noqa: ARG002 (as it is called)
        with self.folder() as folder:
            return os.open(self.part.name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, DEFAULT_MODE, dir_fd=folder)

    def choose(self, wanted: Path) -> Path:
        with self.folder() as folder:
            os.replace(self.part.name, wanted.name, src_dir_fd=folder, dst_dir_fd=folder)
        return wanted

    def sync(self) -> None:
        with self.folder() as folder:
            sync_folder(folder)

    def write_elsewhere(self, media: Media, data: bytes) -> Path | None:  # noqa: ARG002 (as it is called)
        """Leave it in memory: the run saves it once there is room, or else in `rescue`."""
        return None

    def unlink(self) -> None:
        with self.folder() as folder:
            os.unlink(self.part.name, dir_fd=folder)


@attrs.frozen(kw_only=True)
class JobImageSink:
    """
    Writes the images of one request.

    Attributes:
        key: Of the request; the images are named after it.
        several: Whether there may be more than one image, which are then numbered from 1.
    """

    image_store: ImageStore
    key: str
    several: bool

    @property
    def folder(self) -> Directory:
        """The folder as a sink."""
        return self.image_store.find(self.key, several=self.several)

    async def prepare(self, placement: ImageContext, count: int) -> None:  # noqa: ARG002 (a sink's signature)
        """
        Make the folder.

        Raises:
            StorageError: It cannot be made.
        """
        folder = self.folder.path
        if folder.name in self.image_store.made:
            return
        try:
            await run(placement.executor, self.image_store.make, folder.name)
        except OSError as error:
            raise StorageError(f"{folder} cannot be created: {error.strerror or error}.") from None

    def answer_path(self, placement: ImageContext) -> Path | None:  # noqa: ARG002 (a sink's signature)
        """Return the file for an answer that is not understood; None if the folder for it cannot be opened; blocks."""
        directory = self.image_store.directory
        try:
            with directory.folder(directory.rescue.name):
                return directory.place / directory.rescue.name / f"{self.key}.answer"
        except OSError:
            return None

    def open(self, placement: ImageContext) -> JobImageWriter:
        """Return a writer into a hidden file, whose name tells whose it is."""
        folder = self.folder
        return JobImageWriter(
            image_store=self.image_store,
            sink=folder,
            placement=attrs.evolve(placement, id=self.key),
            part=folder.path / self.image_store.name_part(self.key, placement.index),
        )


def to_stored(image: SavedImage, directory: JobDirectory) -> StoredImage:
    """Return *image* as the store keeps it."""
    return StoredImage(
        index=image.index,
        path=directory.relative(image.path),
        size=image.size,
        sha256=image.sha256 or "",
        media_type=image.media_type,
        width=image.width,
        height=image.height,
        revised_prompt=image.revised_prompt,
    )


def find_parts(directory: JobDirectory) -> Iterator[tuple[str, int, Path]]:
    """Yield the key, the index and the path of every unfinished file; blocks."""
    for path in directory.images.glob("[0-9a-f][0-9a-f]/.*.part"):
        if found := PART.fullmatch(path.name):
            yield found[1], int(found[2]) - 1, path


def find_images(directory: JobDirectory, key: str) -> tuple[StoredImage, ...]:
    """Return the images of one request that are there under their final names, which only whole ones have; blocks."""
    folder = directory.image_folder(key)
    found = []
    for path in folder.glob(f"{key}*"):
        name = FINAL.fullmatch(path.name)
        if name and name[1] == key and name[3] in EXTENSIONS.values() and path.is_file() and not path.is_symlink():
            found.append(measure(path, int(name[2] or 1) - 1, directory))
    return tuple(sorted(found, key=lambda image: image.index))


def measure(path: Path, index: int, directory: JobDirectory) -> StoredImage:
    identity, media = examine_file(path)
    return StoredImage(
        index=index,
        path=directory.relative(path),
        size=identity[2],
        sha256=sha256_of(path),
        media_type=media.media_type,
        width=media.width,
        height=media.height,
    )


def restore(directory: JobDirectory, part: str, key: str, index: int, *, several: bool) -> bool:
    """
    Give an unfinished file that turns out to be whole its name, durably; blocks.

    Returns:
        Whether it is whole; if not, it was left as it is.
    """
    with directory.folder(*directory.image_folder_names(key)) as folder:
        descriptor = os.open(part, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
        with os.fdopen(descriptor, "r+b") as handle:
            media = examine_handle(handle, 0, os.fstat(descriptor).st_size)
            if media.media_type is None or not media.complete:
                return False
            sync_file(descriptor)
        final = f"{key}-{index + 1}.{media.extension}" if several else f"{key}.{media.extension}"
        os.replace(part, final, src_dir_fd=folder, dst_dir_fd=folder)
        sync_folder(folder)
    return True


RESCUE = "rescue"


def rescue_answer(error: ImagesError, key: str, directory: JobDirectory, *, anywhere: bool = False) -> list[Path]:
    """
    Write what *error* holds of an answer to files that only their owner can read, and return them; blocks.

    They go to `rescue`, or if *anywhere* is true and that is not possible, to the folder for temporary files.

    Raises:
        OSError: They cannot be written.
    """
    pieces = to_pieces(error, key)
    kept = [error.answer_path] if error.answer_path is not None else []
    if not pieces and not kept:
        return []
    pieces[f"{key}.json"] = json.dumps(
        {
            "key": key,
            "error": type(error).__name__,
            "message": error.message,
            "request_id": error.request_id,
            "answer": error.answer_path.name if error.answer_path is not None else None,
            "damaged": {str(image.index + 1): image.reason for image in error.damaged},
        },
        indent=2,
    ).encode()
    return [*kept, *(rescue_pieces(pieces, directory) if anywhere else put_into_rescue(pieces, directory))]


def to_pieces(error: ImagesError, key: str) -> dict[str, bytes]:
    """Return what *error* holds in memory, under the names of the files for it."""
    pieces = {f"{key}.answer": error.raw} if error.answer_path is None and error.raw else {}
    for image in error.damaged:
        pieces[f"{key}-{image.index + 1}.damaged"] = image.data
        if image.rest:
            pieces[f"{key}-{image.index + 1}.rest"] = image.rest
    for partial in error.partials[-1:]:  # the last is the best
        pieces[f"{key}-{partial.image.index + 1}.preview"] = partial.data
    for whole in error.images:
        if isinstance(whole, Image):
            pieces[f"{key}-{whole.index + 1}.image"] = whole.data
    for missing in error.unfetched:
        if not missing.expired:
            pieces[f"{key}-{missing.index + 1}.url"] = missing.url.encode()
    return pieces


def rescue_pieces(pieces: Mapping[str, bytes], directory: JobDirectory) -> list[Path]:
    """
    Write paid bytes to `rescue`, or if that is not possible to another folder; blocks.

    Raises:
        OSError: No folder took them all.
    """
    try:
        return put_into_rescue(pieces, directory)
    except OSError:
        paths = [path for name, data in pieces.items() if (path := write_elsewhere(name, data)) is not None]
        if len(paths) < len(pieces):
            raise
        return paths


def put_into_rescue(pieces: Mapping[str, bytes], directory: JobDirectory) -> list[Path]:
    with directory.folder(RESCUE) as folder:
        names = [write_private(folder, name, data) for name, data in pieces.items()]
        with suppress(OSError):  # the files exist, and another folder would not be safer
            sync_folder(folder)
    return [directory.place / RESCUE / name for name in names]


def write_private(folder: int, wanted: str, data: bytes) -> str:
    """Write a new file, and return its name: *wanted*, or with a number where that is taken."""
    names = numbered(wanted)
    while True:
        name = next(names)
        with suppress(FileExistsError):
            write_new(folder, name, data)
            return name


def make_way(directory: JobDirectory, key: str) -> None:
    """Move the old files of a request that is bought again, so that none is taken for a new one; blocks."""
    with directory.folder(*directory.image_folder_names(key)) as image_folder:
        names = [name for name in os.listdir(image_folder) if name.startswith(key)]  # noqa: PTH208 (a descriptor)
    for name in names:
        move_to_rescue(directory, key, name)


def move_to_rescue(directory: JobDirectory, key: str, name: str) -> None:
    """Move a file of a request to `rescue`; blocks."""
    with directory.folder(*directory.image_folder_names(key)) as image_folder, directory.folder(RESCUE) as rescue:
        taken = set(os.listdir(rescue))  # noqa: PTH208
        kept = next(free for free in numbered(name.lstrip(".")) if free not in taken)
        os.rename(name, kept, src_dir_fd=image_folder, dst_dir_fd=rescue)
