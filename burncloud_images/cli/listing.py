"""What stdout carries: paths, one object of JSON, or the bytes of an image; and the files beside images."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from burncloud_images.cli.streams import escaped, silence
from burncloud_images.errors import ImagesError, StorageError
from burncloud_images.model.inputs import ImageURL, PathSource
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.results import Attempt, ImagesResult, SavedImage


def print_paths(paths: Iterable[Path]) -> None:
    """Print paths as the file system has them, whatever the terminal's encoding."""
    print_bytes(b"".join(os.fsencode(path) + b"\n" for path in paths))


def print_json(document: object) -> None:
    """Print one line of JSON in UTF-8; a path that is not UTF-8 keeps its bytes as escapes."""
    print_bytes(encode(document) + b"\n")


def print_bytes(data: bytes) -> None:
    """
    Write to stdout.

    Raises:
        BrokenPipeError: Its reader has left.
        StorageError: It cannot be written; what is printed later goes nowhere.
    """
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        silence(sys.stdout)
        raise
    except OSError as error:
        silence(sys.stdout)
        raise StorageError(f"standard output cannot be written: {error.strerror or error}.") from None


def encode(document: object, indent: int | None = None) -> bytes:
    text = json.dumps(document, ensure_ascii=False, indent=indent, default=to_plain)
    return escaped(text).encode()


def to_plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def to_json(result: ImagesResult[SavedImage]) -> dict[str, Any]:
    """Return what is known about a result; no bytes, no addresses that are secrets."""
    return {
        "images": [image_to_json(image) for image in result.images],
        "created": result.created,
        "usage": attrs.asdict(result.usage) if result.usage else None,
        "background": result.background,
        "output_format": result.output_format,
        "quality": result.quality,
        "size": result.size,
        "request_id": result.request_id,
        "idempotency_key": result.idempotency_key,
        "history": history_to_json(result.history),
    }


def image_to_json(image: SavedImage) -> dict[str, Any]:
    return {
        "path": str(image.path),
        "size": image.size,
        "media_type": image.media_type,
        "width": image.width,
        "height": image.height,
        "revised_prompt": image.revised_prompt,
    }


def history_to_json(history: Iterable[Attempt]) -> list[dict[str, Any]]:
    return [{**attrs.asdict(attempt), "phase": attempt.phase.name.lower()} for attempt in history]


def failure_to_json(error: ImagesError, paths: Sequence[Path]) -> dict[str, Any]:
    """Return what is left of a request that failed: the images that are there all the same."""
    return {
        "images": [{"path": str(path)} for path in paths],
        "error": type(error).__name__,
        "request_id": error.request_id,
        "idempotency_key": error.idempotency_key,
        "history": history_to_json(error.history),
    }


def write_sidecar(image: SavedImage, request: ImagesRequest, result: ImagesResult[SavedImage]) -> Path:
    """
    Write what is known about *image* beside it, whole or not at all.

    Raises:
        OSError: It cannot be written; the image is there.
    """
    path = image.path.with_name(f"{image.path.name}.json")
    part = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    document = {
        "operation": request.operation,
        **{name: value for name, value in to_json(result).items() if name != "images"},
        "image": image_to_json(image),
        "request": request.fields(),
        "inputs": [{"field": name, "source": source_to_text(source)} for name, source in request.images()],
    }
    try:
        part.write_bytes(encode(document, indent=2) + b"\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def source_to_text(source: object) -> str:
    """Return where an input came from; the query of an address may be a key."""
    if isinstance(source, PathSource):
        return str(source.path)
    if isinstance(source, ImageURL):
        return source.url.partition("?")[0] if not source.url.startswith("data:") else "data:"
    return "-"
