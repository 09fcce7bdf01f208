"""
`named/`: the images of a job under names that people can read, as further names of the same files.

It is made anew in each run that changes anything. The job itself knows images by the keys of their requests.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import attrs

from burncloud_images.bulk.folder_descriptors import opened
from burncloud_images.bulk.records import RequestRecord, StoredImage
from burncloud_images.disk import shorten, sync_folder
from burncloud_images.errors import ConfigurationError
from burncloud_images.files.sinks import FIELD, LONGEST_NAME, slug, strip_extension

NAMED = "named"
PART = ".named.part"
FIELDS = ("id", "index", "ext", "slug", "sha8", "model", "date", "key", "row.COLUMN")
NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS})
"""Errors of file systems where a file has one name; the image is copied there."""


def check_name(template: str) -> None:
    """
    Check a template of names.

    Raises:
        ConfigurationError: It is not one.
    """
    unknown = [field for field in FIELD.findall(template) if field not in FIELDS[:-1] and not is_column(field)]
    if unknown or set(FIELD.sub("", template)) & set("{}"):
        raise ConfigurationError(
            f"The name {template!r} may hold {', '.join(f'{{{field}}}' for field in FIELDS)} only."
        )
    if not template or template.startswith(".") or set(template) & set("/\\\0"):
        raise ConfigurationError(f"The name {template!r} has to be a plain file name; the job's folder is given.")


def is_column(field: str) -> bool:
    return field.startswith("row.") and bool(field.removeprefix("row.").strip())


@attrs.define
class NamedImages:
    """
    Gives images names; everything blocks.

    Attributes:
        folder: The job's directory.
        template: For the names.
    """

    folder: Path
    template: str
    taken: dict[str, int] = attrs.field(factory=dict, repr=False)

    def add(self, records: Sequence[RequestRecord], /) -> None:
        """Give the images of requests their names; those in shards have one already."""
        if not self.taken:
            self.discard()
        with opened(self.folder) as folder, opened(self.folder, PART, make=True) as part:
            for record in records:
                for image in record.images:
                    if ".tar/" not in image.path:
                        self.put(folder, part, image.path, fill(self.template, record, image))

    def put(self, folder: int, part: int, path: str, name: str) -> None:
        stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
        while True:
            count = self.taken[name.casefold()] = self.taken.get(name.casefold(), 0) + 1
            chosen = name if count == 1 else f"{stem}-{count}{suffix}"
            try:
                give_name(folder, path, part, chosen)
            except FileExistsError:  # another image is called so
                continue
            except FileNotFoundError:  # the image was removed; `verify` tells of it
                return
            return

    def commit(self) -> None:
        with opened(self.folder) as folder, opened(self.folder, PART, make=True):
            remove(folder, NAMED)
            os.rename(PART, NAMED, src_dir_fd=folder, dst_dir_fd=folder)
            sync_folder(folder)

    def discard(self) -> None:
        with opened(self.folder) as folder:
            remove(folder, PART)


def remove(folder: int, name: str) -> None:
    """Remove a folder that this module made, with the names in it."""
    try:
        shutil.rmtree(name, dir_fd=folder)
    except FileNotFoundError:
        return


def give_name(folder: int, path: str, part: int, name: str) -> None:
    try:
        os.link(path, name, src_dir_fd=folder, dst_dir_fd=part, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
        with os.fdopen(source, "rb") as image:
            target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=part)
            with os.fdopen(target, "wb") as copy:
                shutil.copyfileobj(image, copy)


def fill(template: str, record: RequestRecord, image: StoredImage) -> str:
    """Return the name of an image; it holds no slash, whatever the row does."""
    extension = PurePosixPath(image.path).suffix.lstrip(".")
    values = {
        "id": plain(record.label) or record.key[:12],
        "index": str(image.index + 1),
        "ext": extension,
        "slug": slug(str(record.document.get("prompt") or "")),
        "sha8": image.sha256[:8],
        "model": slug(str(record.document.get("model") or "")),
        "date": f"{datetime.fromtimestamp(record.ended_at or 0, UTC):%Y-%m-%d}",
        "key": record.key,
        **{f"row.{name}": plain(str(value)) or "none" for name, value in record.notes.columns.items()},
    }
    stem = strip_extension(FIELD.sub(lambda match: values.get(match[1], "none"), template))
    if image.index and not {"index", "sha8"} & set(FIELD.findall(template)):
        stem = f"{stem}-{image.index + 1}"
    return shorten(stem, f".{extension}", LONGEST_NAME)


def plain(text: str) -> str:
    """Return *text* as a part of a file name: letters, digits, dots and dashes of any script."""
    return re.sub(r"[^\w.-]+", "-", text).strip(".-")[:100]
