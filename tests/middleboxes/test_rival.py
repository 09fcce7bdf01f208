"""The official client through the same boxes: a part of the report, and a proof that the ledger counts."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from middleboxes.boxes import Box
from middleboxes.kinds import KINDS
from middleboxes.playing import serving
from middleboxes.report import Report, RivalRow
from middleboxes.troubles import TROUBLES

ROOT = Path(__file__).resolve().parents[2]
REVERSE = [kind for kind in KINDS if kind.way == "reverse" and kind.id != "nginx-narrow"]
FAULTS = ("none", "close", "slow", "500")


@pytest.mark.middleboxes
@pytest.mark.timeout(900)  # the first may have to fetch the program
@pytest.mark.parametrize(
    ("box", "trouble"),
    [pytest.param(kind, trouble, id=f"{kind.id}-{trouble}") for kind in REVERSE for trouble in FAULTS],
    indirect=["box"],
)
async def test_the_official_client_is_counted(box: Box, trouble: str, found: Report):
    """The ledger counts the official client's requests, and without a fault it is billed once."""
    async with serving(box, TROUBLES[trouble].faults, absent=False) as emulator:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "middleboxes.rival"),
            *(box.base_url, emulator.api_key, json.dumps(dict(box.kind.headers(box.place)))),
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    ledger = emulator.ledger
    row = RivalRow(arrived=len(ledger.requests), billed=ledger.billed_requests, seen=output.decode().strip())
    found.rivals[box.kind.id, trouble] = row

    assert row.billed > 0
    assert (trouble != "none") or (1, "succeeds") == (row.billed, row.seen)
