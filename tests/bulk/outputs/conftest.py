"""Threads for what blocks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """Return an executor for one test."""
    with ThreadPoolExecutor(max_workers=2) as threads:
        yield threads
