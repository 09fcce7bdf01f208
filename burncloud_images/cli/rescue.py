"""Paid images that a failure left in memory go to a file; what else it holds goes to files that only the user reads."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from burncloud_images.cli.reporting import Reporter
from burncloud_images.errors import ImagesError
from burncloud_images.results import EXTENSIONS, DamagedImage, Image, ImageDetails, SavedImage, Unfetched


def rescue(error: ImagesError, folder: Path | None, reporter: Reporter) -> list[Path]:
    """
    Return the paths of all images that *error* holds, on the disk from now on.

    Args:
        error: What ended the request.
        folder: Where its images were to go; None for stdout.
        reporter: Told where everything is.
    """
    name = (error.idempotency_key or "unknown").replace("-", "")[:12]
    paths = save_images(error.images, name, reporter)
    for fragment in error.damaged:
        save_fragment(fragment, name, folder, reporter)
    if error.answer_path is not None:
        reporter.note(f"the answer is kept in {error.answer_path}")
    elif (raw := error.raw) and (kept := keep(f"{name}.answer", raw, [*([folder] if folder else []), *fallbacks()])):
        reporter.note(f"the answer, without the images that were taken, is in {kept}")
    for image in error.unfetched:
        save_address(image, name, folder, reporter)
    return paths


def save_address(image: Unfetched, name: str, folder: Path | None, reporter: Reporter) -> None:
    """Write the address of a paid image to a file: it is a key to the image, so it goes to no terminal and no log."""
    what = f"image {image.index + 1} is paid for and was not fetched: {image.reason}"
    if image.expired:
        reporter.note(what)
        return
    folders = [*([folder] if folder else []), *fallbacks()]
    kept = keep(f"{name}-{image.index + 1}.url", image.url.encode() + b"\n", folders)
    if kept:
        until = f"good until {image.expires_at:%H:%M} UTC" if image.expires_at else "good for about an hour"
        reporter.note(f"{what} Its address, {until}, is in {kept}; fetch it with: {how_to_fetch(kept)}")
    else:
        reporter.say("error", f"{what[0].upper()}{what[1:]} Its address could be saved nowhere.")


def save_addresses(urls: Sequence[str], name: str, folder: Path | None, reporter: Reporter) -> None:
    """Write the addresses of images to one file, likewise."""
    folders = [*([folder] if folder else []), *fallbacks()]
    kept = keep(f"{name}.urls", "".join(f"{url}\n" for url in urls).encode(), folders)
    if kept:
        what = f"{len(urls)} of the images are at addresses, which are in {kept}"
        reporter.note(f"{what}; while they are good, fetch them with: {how_to_fetch(kept)}")
    else:
        reporter.say("error", f"The addresses of {len(urls)} images could be saved nowhere.")


def how_to_fetch(path: Path) -> str:
    return f"burncloud-images fetch {shlex.quote(f'@{path}')}"


def save_images(images: Sequence[ImageDetails], name: str, reporter: Reporter) -> list[Path]:
    """Return where *images* are, after writing those that are in memory only to wherever there is room."""
    paths = []
    for image in images:
        if isinstance(image, SavedImage):
            paths.append(image.path)
        elif isinstance(image, Image):
            extension = EXTENSIONS.get(image.media_type or "", "bin")
            kept = keep(f"{name}-{image.index + 1}.{extension}", image.data, fallbacks())
            if kept:
                paths.append(kept)
                reporter.note(f"image {image.index + 1} is paid for and was saved as {kept}")
            else:
                reporter.say("error", f"Image {image.index + 1} is paid for and could be saved nowhere.")
    return paths


def save_fragment(fragment: DamagedImage, name: str, folder: Path | None, reporter: Reporter) -> None:
    """Write what is left of an image, and the text behind it that could not be decoded."""
    for ending, data in (("damaged", fragment.data), ("damaged.b64", fragment.rest)):
        places = [*([folder] if folder else []), *fallbacks()]
        if data and (kept := keep(f"{name}-{fragment.index + 1}.{ending}", data, places)):
            reporter.note(f"image {fragment.index + 1} is damaged ({fragment.reason}); what came of it is in {kept}")


def fallbacks() -> Iterator[Path]:
    yield Path(tempfile.gettempdir())
    yield Path.home()
    yield Path.cwd()


def keep(name: str, data: bytes, folders: Sequence[Path] | Iterator[Path]) -> Path | None:
    """Write *data* to a new file of mode 0600 in the first folder that takes it."""
    for folder in folders:
        path = folder / name
        try:
            with open(path, "xb", opener=partial(os.open, mode=0o600)) as handle:
                handle.write(data)
        except FileExistsError:
            continue
        except OSError:
            path.unlink(missing_ok=True)
            continue
        return path
    return None
