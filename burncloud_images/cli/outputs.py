"""Where images go: what `-o`, `--into`, `--name` and `--exists` mean together, and the sink they make."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Literal

import attrs

from burncloud_images.cli.arguments import Output
from burncloud_images.cli.exits import UsageError
from burncloud_images.errors import StorageError
from burncloud_images.files.sinks import Directory, DirectoryWriter, ImageContext
from burncloud_images.results import SavedImage

DEFAULT_NAME = "{id}-{index}.{ext}"
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Present(Exception):  # noqa: N818 (a reason to stop, and a success)
    """All images that a request would make are there already."""

    def __init__(self, paths: list[Path]) -> None:
        super().__init__("all images exist already")
        self.paths = paths


@attrs.frozen(kw_only=True)
class Target:
    """
    A sink that decides about taken names before anything is paid for, and then loses nothing to one.

    `Directory` looks for a name with every extension, as it cannot know the format. Here `-o photo.png` is not stopped
    by the photo.jpg that it may have been made from. So a name can still turn out to be taken once the bytes are there,
    and then the image gets a number.

    Attributes:
        directory: Where files are written.
        exists: As `Output.exists`.
        named: Whether the user gave the file's own name, by -o.
    """

    directory: Directory
    exists: Literal["error", "skip", "rename", "overwrite"]
    named: bool

    async def prepare(self, placement: ImageContext, count: int) -> None:
        """
        Make sure that the images can be taken.

        Raises:
            Present: They are there, and that is enough.
            StorageError: They cannot.
        """
        await self.directory.prepare(placement, count)
        if self.exists in {"rename", "overwrite"} or "{id}" in self.directory.name or "{sha8}" in self.directory.name:
            return
        found = [self.find(attrs.evolve(placement, index=index)) for index in range(count)]
        taken = [path for path in found if path is not None]
        if self.exists == "skip" and len(taken) == count:
            raise Present(taken)
        if taken:
            others = "" if len(taken) == count else f" ({len(taken)} of {count} names are taken)"
            choices = "rename or overwrite" if self.exists == "skip" else "skip, rename or overwrite"
            message = (
                f"{taken[0]} exists already{others}, so nothing was sent; choose another name, or --exists {choices}."
            )
            raise StorageError(message)

    def find(self, placement: ImageContext) -> Path | None:
        """Return the file that is in the way of one image."""
        paths = (self.directory.path / name for name in self.directory.candidates(placement))
        return next((path for path in paths if path.exists() or path.is_symlink()), None)

    def open(self, placement: ImageContext) -> DirectoryWriter:
        """Return a writer into a hidden file."""
        return self.directory.open(placement)

    def answer_path(self, placement: ImageContext) -> Path:
        """Return the file for an answer that is not understood."""
        return self.directory.answer_path(placement)

    def remark(self, image: SavedImage) -> str | None:
        """Return what is to be said if the name is not the one that was asked for."""
        wanted = Path(self.directory.name)
        if not self.named or "{" in wanted.name or not wanted.suffix:
            return None
        suffixes = {".jpeg": ".jpg"}
        if suffixes.get(wanted.suffix.lower(), wanted.suffix.lower()) != image.path.suffix:
            extension = image.path.suffix.lstrip(".")
            asked = wanted.suffix.lstrip(".").replace("jpg", "jpeg")
            return f"the image is {image.media_type}, so its name ends in .{extension}; --format {asked} asks for that"
        return None


def to_target(output: Output) -> Target:
    """
    Return the sink for files; `-o -` is not for this function.

    Raises:
        UsageError: The options contradict each other.
        ConfigurationError: The name holds something that no name may hold.
    """
    if output.output is not None and output.into is not None:
        raise UsageError("-o and --into both say where images go; give one of them.")
    place = output.output if output.output is not None else output.into
    if place is not None and URL.match(place):
        raise UsageError(f"Images are written to files, not to {URL.match(place)[0]} addresses.")  # type: ignore[index]
    if place == "":
        raise UsageError("The path to write to is empty.")
    path = Path(place or ".")
    named = output.output is not None and not output.output.endswith("/") and not path.is_dir()
    if named and output.name is not None:
        raise UsageError("-o names a file, so --name has nothing to name; give a folder to -o, or --into.")
    folder, name = (path.parent, path.name) if named else (path, output.name or DEFAULT_NAME)
    if "{" in str(folder) and not folder.is_dir():
        raise UsageError(f"Fields are for file names only, not for the folder {folder}.")
    directory = Directory(folder, name=name, exists="overwrite" if output.exists == "overwrite" else "rename")
    return Target(directory=directory, exists=output.exists, named=named)


def check_stdout(output: Output, count: int) -> None:
    """
    Refuse what stdout cannot carry.

    Raises:
        UsageError: The *count* images, or what else was asked for.
    """
    if output.output != "-":
        return
    if output.json or output.sidecar or output.into or output.name:
        raise UsageError("-o - writes the image to stdout, so --json, --sidecar, --into and --name do not apply.")
    if count != 1:
        raise UsageError(f"-o - takes one image, not {count}; use --into for several.")
    if sys.stdout.isatty() and not output.dry_run:
        raise UsageError("An image is nothing for a terminal; use -o FILE, or send -o - into a pipe.")
