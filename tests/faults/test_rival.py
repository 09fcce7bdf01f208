"""The official client meets the same faults: a column of the report, and a proof that the ledger counts."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from faults.report import Report, RivalRow

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_the_official_client_buys_twice(found: Report):
    """The official client with its own settings pays twice where this one does not, so the ledger can see it."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "faults.rival"),
        env={**os.environ, "PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert 0 == process.returncode
    found.rivals.update({key: RivalRow(**row) for key, row in json.loads(output).items()})

    assert sum(max(0, row.billed - 1) for row in found.rivals.values()) > 0
    assert {"R01", "R10", "R11", "S15"} <= {key for key, row in found.rivals.items() if row.billed > 1}
