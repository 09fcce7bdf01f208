"""Uploads of every size and kind, whole and cut, in each column: how far each got, what it cost, what was told."""

from __future__ import annotations

import os
import platform
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from fakes import FakeClock
from pictures import png
from reliability import grid, write_part
from ways import TITLES, WAYS, Way

from burncloud_images import AsyncImagesClient, errors
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.errors import Phase

pytestmark = pytest.mark.ways("tls", "connect")

REPORT = os.environ.get("UPLOADS_REPORT")
"""The file to write; read before any test clears the environment."""
KB, MB = 1000, 1_000_000
KNOWN = 4 * MB
"""Bytes from which on a cut at half is known to have come before the end; buffers on the way take less."""
SIZES: Mapping[str, tuple[int, ...]] = {
    "path": (1 * KB, 64 * KB, 1 * MB, 4 * MB, 16 * MB, 50 * MB),
    "bytes": (1 * KB, 64 * KB, 1 * MB, 4 * MB, 16 * MB, 50 * MB),
    "iterator": (1 * KB, 64 * KB, 1 * MB, 4 * MB, 16 * MB, 50 * MB),
    "16 files": (1 * KB, 3 * MB),
    "variation": (1 * KB, 1 * MB, 4 * MB),
}
"""Of each image, by what is uploaded; all but the last are edits."""
CUTS: Mapping[str, tuple[Fault, ...]] = {
    "not cut": (),
    "at half": (Fault(cut="reset", place="upload", byte=0.5),),
    "after the last byte": (Fault(cut="reset", billed=True),),
}


@attrs.frozen(kw_only=True)
class Seen:
    """What one upload came to."""

    phases: tuple[Phase, ...]
    posts: int
    billed: int
    told: str

    def __str__(self) -> str:
        """Return the cell."""
        return f"{', '.join(phase.name for phase in self.phases)}: {self.posts} / {self.billed}, {self.told}"


Rows = dict[tuple[str, int, str], dict[str, Seen]]


@pytest.fixture(scope="module")
def rows() -> Iterator[Rows]:
    """Return what was seen so far; the table is written in the end, if one was asked for."""
    found: Rows = {}
    yield found
    if REPORT:
        write_part(Path(REPORT), "uploads", to_markdown(found))


def cases() -> Iterator[object]:
    for kind, sizes in SIZES.items():
        for size in sizes:
            for cut in CUTS:
                quick = size == KNOWN and kind in {"path", "variation"}
                marks = [] if quick else [pytest.mark.faults]
                yield pytest.param(kind, size, cut, id=f"{kind}-{size}-{cut}".replace(" ", "-"), marks=marks)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "size", "cut"), [*cases()])
async def test_an_upload(kind: str, size: int, cut: str, way: Way, rows: Rows, tmp_path: Path):
    """An upload arrives whole, is sent again where nothing can be billed, or ends as an unknown outcome."""
    image = png(256, 256, pad=size if size < MB else size - 2 * KB)
    async with Emulator(faults=CUTS[cut]) as emulator:
        async with AsyncImagesClient(
            emulator.api_key, emulator.base_url, clock=FakeClock(0.1), validation="off"
        ) as client:
            phases, told = await upload(client, kind, image, tmp_path / "photo.png")
        ledger = emulator.ledger
    seen = Seen(phases=phases, posts=len(ledger.requests), billed=ledger.billed_requests, told=told)
    rows.setdefault((kind, size, cut), {})[way.name] = seen

    whole = (Phase.COMPLETE,)
    if cut == "not cut":
        assert seen == Seen(phases=whole, posts=1, billed=1, told="succeeds")
        assert {len(image)} == {part.size for part in ledger.requests[0].parts}
    elif cut == "after the last byte":
        assert seen == Seen(phases=(Phase.FINAL_RELEASED,), posts=1, billed=1, told="may have been billed")
    else:
        again = Seen(phases=(Phase.BODY, *whole), posts=2, billed=1, told="succeeds")
        held = Seen(phases=(Phase.FINAL_RELEASED,), posts=1, billed=0, told="may have been billed")
        total = len(image) * (16 if kind == "16 files" else 1)
        assert seen == again or (total < KNOWN and seen == held)


async def upload(client: AsyncImagesClient, kind: str, image: bytes, path: Path) -> tuple[tuple[Phase, ...], str]:
    """Send *image*; return how far each attempt got, and what the caller was told."""
    path.write_bytes(image)
    sources: Mapping[str, Any] = {
        "path": path,
        "bytes": image,
        "iterator": pieces_of(image),
        "16 files": [path] * 16,
        "variation": path,
    }
    try:
        if kind == "variation":
            result = await client.create_variation(path, model="dall-e-2", size="256x256")
        else:
            result = await client.edit(sources[kind], "a beret", model="gpt-image-2", size="1024x640")
    except errors.OutcomeUnknownError as error:
        return tuple(attempt.phase for attempt in error.history), "may have been billed"
    return tuple(attempt.phase for attempt in result.history), "succeeds"


async def pieces_of(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 300_000):
        yield data[start : start + 300_000]


def to_markdown(rows: Rows) -> str:
    """Return the part of the page."""
    heads = ("upload", "cut", *(TITLES[way] for way in WAYS))
    lines = [(f"{kind}, {size_of(size)}", cut, *beside(seen)) for (kind, size, cut), seen in rows.items()]
    counts = ", ".join(f"{sum(way in seen for seen in rows.values())} {TITLES[way]}" for way in WAYS)
    system = f"{platform.system()}, Python {platform.python_version()}"
    return "\n\n".join(
        [
            "## Uploads, whole and cut",
            f"Written by `nox -s uploads` on {datetime.now(UTC):%Y-%m-%d}: {system}. Cases: {counts}.",
            INTRODUCTION,
            grid(heads, lines),
        ]
    )


INTRODUCTION = """\
Each cell says how far every attempt got, how many requests reached the server and how many it billed, and what the
caller was told; *the same* is as on plain sockets. A cut at half is known to have come before the end of the request
from 4 MB on, so it is sent again. Buffers on the way may hide it below that, and then the outcome counts as unknown."""


def beside(seen: Mapping[str, Seen]) -> Iterator[str]:
    plain = seen.get("plain")
    for way in WAYS:
        found = seen.get(way)
        yield "-" if found is None else "the same" if way != "plain" and found == plain else str(found)


def size_of(size: int) -> str:
    return f"{size // MB} MB" if size >= MB else f"{size // KB} kB"
