"""What came of a paid answer that cannot be used as it is: kept as it came, for a person or a support to look at."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from burncloud_images.bulk.directory import JobDirectory
from burncloud_images.bulk.folders import NEW, opened
from burncloud_images.errors import ImagesError
from burncloud_images.results import DamagedImage, Image, PartialImage

RESCUE = "rescue"


def salvage(error: ImagesError, key: str, directory: JobDirectory, *, anywhere: bool = False) -> list[Path]:
    """
    Write down what *error* holds of an answer, for its owner only, and return the files; blocks.

    Args:
        error: How the call of a request ended.
        key: Of the request.
        directory: Of the job.
        anywhere: Whether the folder for temporary files will do.

    Raises:
        OSError: They cannot be written.
    """
    pieces: dict[str, bytes] = {}
    if error.answer_path is None and (raw := error.raw):
        pieces[f"{key}.answer"] = raw
    damaged: tuple[DamagedImage, ...] = getattr(error, "damaged", ())
    for image in damaged:
        pieces[f"{key}-{image.index + 1}.damaged"] = image.data
        if image.rest:
            pieces[f"{key}-{image.index + 1}.rest"] = image.rest
    partials: tuple[PartialImage, ...] = getattr(error, "partials", ())
    for partial in partials[-1:]:  # the last is the best
        pieces[f"{key}-{partial.image.index + 1}.preview"] = partial.data
    whole: tuple[object, ...] = getattr(error, "images", ())
    in_memory = [image for image in whole if isinstance(image, Image)]
    pieces |= {f"{key}-{image.index + 1}.image": image.data for image in in_memory}
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
            "damaged": {str(image.index + 1): image.reason for image in damaged},
        },
        indent=2,
    ).encode()
    return [*kept, *(put_aside(pieces, directory) if anywhere else put_into_rescue(pieces, directory))]


def put_aside(pieces: Mapping[str, bytes], directory: JobDirectory) -> list[Path]:
    """
    Write what is paid and has no place to where it can be: to `rescue`, or to the folder for temporary files; blocks.

    Raises:
        OSError: The folder does not exist.
    """
    try:
        return put_into_rescue(pieces, directory)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="burncloud-job-"))
        with opened(folder) as descriptor:
            return [folder / write_private(descriptor, name, data) for name, data in pieces.items()]


def put_into_rescue(pieces: Mapping[str, bytes], directory: JobDirectory) -> list[Path]:
    with directory.folder(RESCUE) as folder:
        names = [write_private(folder, name, data) for name, data in pieces.items()]
        os.fsync(folder)
    return [directory.place / RESCUE / name for name in names]


def write_private(folder: int, wanted: str, data: bytes) -> str:
    """Write a new file, and return its name: *wanted*, or with a number where that is taken."""
    names = numbered(wanted)
    while True:
        name = next(names)
        with suppress(FileExistsError):
            descriptor = os.open(name, NEW, 0o600, dir_fd=folder)
            break
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    return name


def make_way(directory: JobDirectory, key: str) -> None:
    """Put the files of a request aside that is bought again, so that no old one is taken for a new one; blocks."""
    with directory.folder(*directory.shelf_names(key)) as shelf:
        names = [name for name in os.listdir(shelf) if name.startswith(key)]  # noqa: PTH208 (a descriptor)
    for name in names:
        move_aside(directory, key, name)


def move_aside(directory: JobDirectory, key: str, name: str) -> None:
    """Keep a file of a request that is in the way of another purchase; blocks."""
    with directory.folder(*directory.shelf_names(key)) as shelf, directory.folder(RESCUE) as rescue:
        taken = set(os.listdir(rescue))  # noqa: PTH208
        kept = next(free for free in numbered(name.lstrip(".")) if free not in taken)
        os.rename(name, kept, src_dir_fd=shelf, dst_dir_fd=rescue)


def numbered(name: str) -> Iterator[str]:
    yield name
    for number in itertools.count(2):
        yield f"{name}.{number}"
