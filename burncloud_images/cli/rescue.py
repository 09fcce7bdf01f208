"""Saves what an error holds: images in memory, damaged data, answers and URLs, in files only the user can read."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from burncloud_images.cli.reporting import Reporter, format_count
from burncloud_images.disk import write_elsewhere
from burncloud_images.errors import ImagesError, StorageError
from burncloud_images.files.sinks import to_id
from burncloud_images.results import EXTENSIONS, DamagedImage, Image, ImageDetails, SavedImage, Unfetched


def rescue(error: ImagesError, folder: Path | None, reporter: Reporter) -> list[Path]:
    """Save everything of value that *error* holds, in *folder* if there is one, and return the paths of its images."""
    name = to_id(error.idempotency_key or "unknown")
    paths = save_images(error.images, name, reporter, found_elsewhere(error))
    for fragment in error.damaged:
        save_fragment(fragment, name, folder, reporter)
    if error.answer_path is not None:
        reporter.note(f"the answer is kept in {error.answer_path}")
    elif (raw := error.raw) and (kept := keep(f"{name}.answer", raw, folder)):
        reporter.note(f"the answer, without its saved images, is in {kept}")
    for image in error.unfetched:
        save_address(image, name, folder, reporter, refused=getattr(error, "host", None))
    return paths


def found_elsewhere(error: ImagesError) -> Mapping[int, Path]:
    """Return the files that a sink wrote images to which could not be stored, by their `index`."""
    return error.elsewhere if isinstance(error, StorageError) else {}


def save_address(
    image: Unfetched, name: str, folder: Path | None, reporter: Reporter, *, refused: str | None = None
) -> None:
    """
    Write the URL of a paid image to a file; anyone who has it can download the image, so it is never printed.

    Args:
        image: The image.
        name: Of the file, without its ending.
        folder: Where to write it, if possible.
        reporter: Told where it is.
        refused: The host that the command has to allow.
    """
    what = f"image {image.index + 1} is paid for but was not downloaded: {image.reason}"
    if image.expired:
        reporter.note(what)
        return
    if kept := keep(f"{name}-{image.index + 1}.url", image.url.encode() + b"\n", folder):
        until = f"valid until {image.expires_at:%H:%M} UTC" if image.expires_at else "valid for about an hour"
        reporter.note(f"{what} Its URL, {until}, is in {kept}; fetch it with: {how_to_fetch(kept, refused)}")
    else:
        reporter.say("error", f"{what[0].upper()}{what[1:]} Its URL could not be saved anywhere.")


def save_addresses(urls: Sequence[str], name: str, folder: Path | None, reporter: Reporter) -> None:
    """Write the URLs of images to one file."""
    if kept := keep(f"{name}.urls", "".join(f"{url}\n" for url in urls).encode(), folder):
        what = f"{format_count(len(urls), 'image')} must be downloaded; the URLs are in {kept}"
        reporter.note(f"{what}. Before they expire, run: {how_to_fetch(kept)}")
    else:
        reporter.say("error", f"The URLs of {format_count(len(urls), 'image')} could not be saved anywhere.")


def how_to_fetch(path: Path, refused: str | None = None) -> str:
    """Return the command that fetches the images whose URLs are in the file at *path*."""
    allow = f"--result-host {shlex.quote(refused)} " if refused else ""
    return f"burncloud-images fetch {allow}{shlex.quote(f'@{path}')}"


def save_images(
    images: Sequence[ImageDetails],
    name: str,
    reporter: Reporter,
    elsewhere: Mapping[int, Path] = MappingProxyType({}),  # where the sink wrote some already
) -> list[Path]:
    """Return the paths of *images*, after saving those that are only in memory to the first folder that works."""
    paths = []
    for image in images:
        if isinstance(image, SavedImage):
            paths.append(image.path)
        elif image.index in elsewhere:
            paths.append(elsewhere[image.index])
        elif isinstance(image, Image):
            extension = EXTENSIONS.get(image.media_type or "", "bin")
            if kept := keep(f"{name}-{image.index + 1}.{extension}", image.data):
                paths.append(kept)
                reporter.note(f"image {image.index + 1} is paid for and was saved as {kept}")
            else:
                reporter.say("error", f"Image {image.index + 1} is paid for but could not be saved anywhere.")
    return paths


def save_fragment(fragment: DamagedImage, name: str, folder: Path | None, reporter: Reporter) -> None:
    """Write the decoded part of a damaged image, and the text that could not be decoded."""
    for ending, data in (("damaged", fragment.data), ("damaged.b64", fragment.rest)):
        if data and (kept := keep(f"{name}-{fragment.index + 1}.{ending}", data, folder)):
            reporter.note(f"image {fragment.index + 1} is damaged ({fragment.reason}); what arrived is in {kept}")


def keep(name: str, data: bytes, folder: Path | None = None) -> Path | None:
    """Write *data* to a new file of mode 0600 in *folder*, or else in the first usual one that can be written."""
    return write_elsewhere(name, data, *([folder] if folder else []))
