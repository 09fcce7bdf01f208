"""The images that a job's requests upload. A request is not sent if the bytes of its images have changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from burncloud_images.bulk.directory import JobDirectory
from burncloud_images.bulk.folder_descriptors import write_new
from burncloud_images.bulk.records import InputFile
from burncloud_images.disk import sha256_of, sync_folder
from burncloud_images.errors import InputChangedError
from burncloud_images.model.media import examine_bytes
from burncloud_images.model.operations import IMAGE_FIELDS


def input_files(document: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """Yield what a document says of each file that it uploads."""
    for field in IMAGE_FIELDS:
        value = document.get(field)
        if value is None:
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping) and "path" in item:
                yield item


def has_input_files(document: Mapping[str, object]) -> bool:
    """Say whether there is anything to check."""
    return any(True for _ in input_files(document))


def check_input_files(document: Mapping[str, object]) -> None:
    """
    Make sure that every file still holds the bytes that its request was made with; blocks.

    A file whose size and time are the same is taken to be the same; any other is read.

    Raises:
        InputChangedError: One does not, or cannot be read.
    """
    for input_file in input_files(document):
        path = Path(str(input_file["path"]))
        try:
            status = path.stat()
            same = (status.st_size, status.st_mtime_ns) == (input_file.get("size"), input_file.get("mtime_ns"))
            if same or sha256_of(path) == input_file.get("sha256"):
                continue
        except OSError as error:
            raise InputChangedError(f"{path} cannot be read any more: {error.strerror or error}.") from None
        raise InputChangedError(f"{path} has changed since its request was made.")


def write_into(folder: int, name: str, data: bytes) -> None:
    part = f".{name}.{os.getpid()}.part"
    with suppress(FileNotFoundError):
        os.unlink(part, dir_fd=folder)
    write_new(folder, part, data)
    os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    sync_folder(folder)


def keep_input_file(data: bytes, directory: JobDirectory) -> InputFile:
    """
    Keep an image that was handed over as bytes, so that another run can upload it; blocks.

    Raises:
        OSError: It cannot be written.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    path = (directory.inputs / f"{sha256}.{examine_bytes(data).extension}").absolute()
    with directory.folder(directory.inputs.name) as folder:
        try:
            status = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            write_into(folder, path.name, data)
            status = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
    return InputFile(path=path, sha256=sha256, size=status.st_size, mtime_ns=status.st_mtime_ns)
