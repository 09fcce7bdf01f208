"""A server that keeps requests as they came."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from golden.raw_http import Recorder


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    """Record one test's requests."""
    async with Recorder() as server:
        yield server
