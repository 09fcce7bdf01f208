"""The kinds of limit of an uploaded image."""

# ruff: noqa: ARG001, ARG002 (every kind is asked in the same way, and most look at the upload alone)
from __future__ import annotations

from typing import Protocol

import attrs

from burncloud_images.emulator.answers import Refusal
from burncloud_images.emulator.intake import Upload


class UploadCheck(Protocol):
    """Refuses an upload, or lets it pass."""

    def __call__(self, upload: Upload, first: Upload) -> None:
        """Raise `Refusal` if *upload*, beside the *first* image, is not allowed."""


@attrs.frozen
class Pixels:
    """An image in one of these formats, sent under its true name."""

    types: tuple[str, ...]

    def __call__(self, upload: Upload, first: Upload) -> None:
        name, sent = upload.part.name, (upload.part.content_type or "").partition(";")[0].strip().lower()
        if sent.replace("image/jpg", "image/jpeg") not in self.types:
            wanted = ", ".join(self.types)
            raise Refusal(
                f"Invalid file {name!r}: unsupported mimetype ({sent!r}); it has to be one of {wanted}.",
                param=name,
                code="unsupported_file_mimetype",
            )
        if upload.media.media_type != sent.replace("image/jpg", "image/jpeg"):
            raise unreadable(upload, f"it came as {sent} and is {upload.media.media_type or 'no image'}")
        if upload.media.dimensions is None or not upload.media.complete:
            raise unreadable(upload, "its end or its size is missing")


def unreadable(upload: Upload, why: str) -> Refusal:
    return Refusal(f"Invalid file {upload.part.name!r}: {why}.", param=upload.part.name, code="invalid_image_file")


def less_than(size: int) -> UploadCheck:
    def check(upload: Upload, first: Upload) -> None:
        if upload.part.size >= size:
            raise unreadable(upload, f"{upload.part.size} bytes are not less than {size}")

    return check


def is_square(upload: Upload, first: Upload) -> None:
    """Want as many columns as rows."""
    if upload.media.width != upload.media.height:
        raise unreadable(upload, "it is not square")


def has_transparency(upload: Upload, first: Upload) -> None:
    """Want an alpha channel."""
    if not upload.media.alpha:
        raise unreadable(upload, "it has no alpha channel, and transparent pixels say where to edit")


def has_size_of_first(upload: Upload, first: Upload) -> None:
    """Want the first image's width and height."""
    if upload.media.dimensions != first.media.dimensions:
        raise unreadable(upload, f"it is {upload.media.dimensions}, and the image is {first.media.dimensions}")
