"""What a file is called: the template of a `Directory`, filled from what is known of one image."""

from __future__ import annotations

import re

from burncloud_images.model.media import EXTENSIONS, Media
from burncloud_images.transport.sinks import FIELD, Placement

__all__ = ["fill"]

LONGEST_NAME = 240
"""Bytes; file systems take 255, and the hidden name of an unfinished file is longer than the final one."""


def fill(template: str, placement: Placement, media: Media, sha256: str) -> str:
    """Return the name of one image; it holds no slash, whatever the prompt."""
    values = {
        "id": placement.id,
        "index": str(placement.index + 1),
        "ext": media.extension,
        "slug": slug(placement.prompt),
        "sha8": sha256[:8],
        "model": slug(placement.model),
        "date": f"{placement.date:%Y-%m-%d}",
    }
    stem = strip_extension(FIELD.sub(lambda match: values[match[1]], template))
    if placement.index and not {"index", "sha8"} & set(FIELD.findall(template)):
        stem = f"{stem}-{placement.index + 1}"
    return shorten(stem, f".{media.extension}")


def strip_extension(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    known = {*EXTENSIONS.values(), "jpeg", "bin"}
    return stem if dot and stem and extension.lower() in known else name


def slug(text: str) -> str:
    """Return letters, digits and dashes of *text*, of any script, at most 60 bytes long."""
    words = re.sub(r"[^\w]+", "-", text.lower()).strip("-_")
    return words.encode()[:60].decode(errors="ignore").strip("-") or "image"


def shorten(stem: str, extension: str) -> str:
    most = LONGEST_NAME - len(extension.encode())
    return stem.encode()[:most].decode(errors="ignore") + extension
