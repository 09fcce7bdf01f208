"""What came of a paid answer that cannot be used as it is: kept as it came, for a person or a support to look at."""

from __future__ import annotations

import json
import os
from pathlib import Path

from burncloud_images.bulk.directory import JobDirectory
from burncloud_images.errors import ImagesError
from burncloud_images.results import DamagedImage, Image, PartialImage

__all__ = ["make_way", "move_aside", "salvage"]


def salvage(error: ImagesError, key: str, directory: JobDirectory) -> list[Path]:
    """
    Write down what *error* holds of an answer, for its owner only, and return the files; blocks.

    Raises:
        OSError: They cannot be written.
    """
    pieces: dict[str, bytes] = {}
    raw = getattr(error, "raw", b"")
    if raw:
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
    if not pieces:
        return []
    pieces[f"{key}.json"] = json.dumps(
        {
            "key": key,
            "error": type(error).__name__,
            "message": error.message,
            "request_id": error.request_id,
            "damaged": {str(image.index + 1): image.reason for image in damaged},
        },
        indent=2,
    ).encode()
    directory.rescue.mkdir(mode=0o700, exist_ok=True)
    return [write_private(directory.rescue / name, data) for name, data in pieces.items()]


def write_private(path: Path, data: bytes) -> Path:
    path = free(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    return path


def make_way(directory: JobDirectory, key: str) -> None:
    """Put the files of a request aside that is bought again, so that no old one is taken for a new one; blocks."""
    for path in directory.shelf(key).glob(f"{key}*"):
        move_aside(path, directory)


def move_aside(path: Path, directory: JobDirectory) -> None:
    """Keep a file that is in the way of another purchase; blocks."""
    directory.rescue.mkdir(mode=0o700, exist_ok=True)
    path.rename(free(directory.rescue / path.name.lstrip(".")))


def free(path: Path) -> Path:
    """Return *path*, or with a number where that is taken."""
    number = 2
    wanted = path
    while path.exists() or path.is_symlink():
        path = wanted.with_name(f"{wanted.name}.{number}")
        number += 1
    return path
