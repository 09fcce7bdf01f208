"""What comes of an input, read as a job reads it."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest
from pictures import png

from burncloud_images.bulk.inputs import STDIN, InputOptions, open_input
from burncloud_images.bulk.records import BadRow, NewRequest
from burncloud_images.errors import ImagesWarning

Read = Callable[..., Any]


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """Return a thread to read in."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool


@pytest.fixture
def pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Return both ends of a pipe, the reader's first."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stdin, os.fdopen(writer, "wb", buffering=0) as out:
        yield stdin, out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of images, beside others that rows may not name."""
    inside = tmp_path / "list"
    inside.mkdir()
    (inside / "a.png").write_bytes(png(16, 16))
    (inside / "b.png").write_bytes(png(32, 32))
    (tmp_path / "secret.png").write_bytes(png(8, 8))
    return inside


@pytest.fixture
def read(folder: Path, executor: ThreadPoolExecutor) -> Read:
    """Return what reads a list of that name and content in the folder, or from stdin."""

    async def go(content: str | bytes, name: str = "rows.jsonl", **options: Any) -> list[NewRequest | BadRow]:
        data = content.encode() if isinstance(content, str) else content
        source: str | Path = folder / name
        if name == STDIN:
            source = name
            options.setdefault("input_root", folder)
        else:
            Path(source).write_bytes(data)
        made = InputOptions(**options)
        return [row async for row in open_input(source, made, executor, stdin=io.BytesIO(data))]

    return go


@pytest.fixture
def warned(read: Read) -> Read:
    """Return what reads a list, and gives what is warned of besides."""

    async def go(*args: Any, **options: Any) -> tuple[list[NewRequest | BadRow], list[str]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rows = await read(*args, **options)
        assert all(warning.category is ImagesWarning for warning in caught)
        return rows, [str(warning.message) for warning in caught]

    return go
