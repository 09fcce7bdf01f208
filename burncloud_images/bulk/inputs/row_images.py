"""
The image files that rows name, looked at once each.

A list of rows may come from anybody, and what it names is uploaded: so a row names files below one folder only, however
it spells them and wherever links lead, and nothing but images. What is looked at, measured and hashed is one open file.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import attrs

from burncloud_images.bulk.inputs.columns import UnusableRow
from burncloud_images.bulk.records import InputFile
from burncloud_images.files.image_files import examine_handle
from burncloud_images.files.uploads import UPLOADABLE
from burncloud_images.model.media import Media
from burncloud_images.model.operations import is_unicode
from burncloud_images.model.rule_kinds import MB

MAX_IMAGE_BYTES = 50 * MB
MAX_REMEMBERED = 10_000
"""Files that are remembered; a list of millions of images names few of them twice at a distance."""

Known = tuple[str, int, int, int, int]
"""Path, device, inode, size and time of change."""


@attrs.frozen
class InspectedImage:
    """
    What is known about an image file.

    Attributes:
        file: Where it is, and what tells whether it is still the same.
        media: What its bytes are.
    """

    file: InputFile
    media: Media


@attrs.define
class ImageFileInspector:
    """
    Looks at image files below one folder; blocks.

    Attributes:
        root: The folder, without links.
        read: Bytes that were hashed so far.
    """

    root: str
    read: int = 0
    known: dict[Known, InspectedImage] = attrs.field(factory=dict, repr=False)
    names: dict[str, InspectedImage] = attrs.field(factory=dict, repr=False)

    @classmethod
    def below(cls, folder: Path) -> ImageFileInspector:
        """Return those below *folder*."""
        return cls(os.path.realpath(folder))

    def look(self, name: str) -> InspectedImage:
        """
        Return what is known of the file that *name* leads to from the folder.

        Raises:
            UnusableRow: It is not below the folder, or no image that can be uploaded.
        """
        if name not in self.names:
            try:
                self.names[name] = self.look_at(self.resolve(name))
            except OSError as error:
                raise UnusableRow(f"it cannot be read: {reason(error)}") from None
        return self.names[name]

    def look_anew(self) -> None:
        """Resolve names and look for changes again from here on: rows that are made at once see one state of a file."""
        self.names.clear()

    def resolve(self, name: str) -> str:
        """Return where *name* leads, without links."""
        if not name or "\0" in name or not is_unicode(name):
            raise UnusableRow("it is not a file name")
        path = os.path.realpath(f"{self.root}/{name}" if name[0] != "/" else name)
        if not f"{path}/".startswith(f"{self.root.rstrip('/')}/"):
            raise UnusableRow("it lies outside the folder that rows may name images in")
        if not is_unicode(path):
            raise UnusableRow("the file name is not UTF-8 text; rename the file")
        return path

    def look_at(self, path: str) -> InspectedImage:
        status = os.lstat(path)
        check_kind(status)  # before it is opened: opening a device may do something
        known = known_as(path, status)
        if known not in self.known:
            self.remember(known, self.examine(path, known))
        return self.known[known]

    def examine(self, path: str, known: Known) -> InspectedImage:
        """Return what is in the file, which has to be the one that was looked at."""
        with opened(path) as handle:
            status = os.fstat(handle.fileno())
            if known_as(path, status) != known:
                raise UnusableRow("it changed while it was read")
            media = check(handle, status.st_size)
            handle.seek(0)
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
            self.read += status.st_size
            if known_as(path, os.fstat(handle.fileno())) != known:
                raise UnusableRow("it changed while it was read")
        file = InputFile(path=Path(path), sha256=digest, size=status.st_size, mtime_ns=status.st_mtime_ns)
        return InspectedImage(file, media)

    def remember(self, known: Known, file: InspectedImage) -> None:
        if len(self.known) >= MAX_REMEMBERED:
            del self.known[next(iter(self.known))]
        self.known[known] = file


@contextmanager
def opened(path: str) -> Iterator[BufferedReader]:
    # A link or a pipe that has taken the file's place since is neither followed nor waited for.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as handle:
        yield handle


def known_as(path: str, status: os.stat_result) -> Known:
    return path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def check_kind(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UnusableRow("it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise UnusableRow("it is not a regular file")


def check(handle: BinaryIO, size: int) -> Media:
    if size == 0:
        raise UnusableRow("it is empty")
    if size > MAX_IMAGE_BYTES:
        raise UnusableRow(f"{size / MB:.1f} MiB is more than {MAX_IMAGE_BYTES / MB:g} MiB")
    media = examine_handle(handle, 0, size)
    if media.media_type not in UPLOADABLE:
        raise UnusableRow("it is not a PNG, JPEG, WebP or GIF image")
    return media


def reason(error: OSError) -> str:
    return "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror or type(error).__name__
