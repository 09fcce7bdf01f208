"""Jobs in a directory of their own, against emulators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeClock
from pictures import png
from workshop import Workshop

from burncloud_images import AsyncImagesClient
from burncloud_images.emulator import Emulator, Fault

SetUp = Callable[..., Any]


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[SetUp]:
    """Return what starts an emulator with faults, and a place for a job."""
    async with AsyncExitStack() as stack:

        async def start(
            *faults: Fault, scale: float = 0.1, emulator: Mapping[str, Any] | None = None, **options: Any
        ) -> Workshop:
            server = await stack.enter_async_context(Emulator(faults=faults, **(emulator or {})))
            clock = FakeClock(scale)
            client = AsyncImagesClient(server.api_key, server.base_url, **{"clock": clock, **options})
            await stack.enter_async_context(client)
            return Workshop(path=tmp_path, emulator=server, client=client, clock=clock)

        yield start


@pytest.fixture
def png_file(tmp_path: Path) -> Path:
    """Return a small picture beside the input."""
    path = tmp_path / "photo.png"
    path.write_bytes(png())
    return path
