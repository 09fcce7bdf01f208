"""Clients of emulators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from fakes import FakeClock

from burncloud_images import AsyncImagesClient
from burncloud_images.emulator import Emulator, Fault


class Bench:
    """An emulator and a client of it, for one test."""

    def __init__(self, emulator: Emulator, client: AsyncImagesClient, clock: FakeClock) -> None:
        self.emulator = emulator
        self.client = client
        self.clock = clock

    @property
    def posts(self) -> int:
        return len(self.emulator.ledger.requests)

    @property
    def billed(self) -> int:
        return self.emulator.ledger.billed_requests

    def assert_fired(self) -> None:
        assert () == self.emulator.unfired


SetUp = Callable[..., Any]


@pytest.fixture
async def set_up() -> AsyncIterator[SetUp]:
    """Return what starts an emulator with faults and a client of it with options."""
    async with AsyncExitStack() as stack:

        async def start(
            *faults: Fault, scale: float = 0.1, emulator: dict[str, Any] | None = None, **options: Any
        ) -> Bench:
            server = await stack.enter_async_context(Emulator(faults=faults, **(emulator or {})))
            clock = FakeClock(scale)
            client = AsyncImagesClient(server.api_key, server.base_url, **{"clock": clock, **options})
            await stack.enter_async_context(client)
            return Bench(server, client, clock)

        yield start
