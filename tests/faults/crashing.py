"""Group B: what only a job of many requests can meet."""

from __future__ import annotations

from faults.table import skip

for number, fault in enumerate(
    (
        "killed at each failpoint, unknown outcomes held",
        "killed at each failpoint, server replays keys",
        "killed while it recovers",
        "killed at 200 random moments",
        "journal torn, bit-flipped, empty, of another version",
        "second runner on one job",
        "SIGTERM",
        "Ctrl-C twice",
        "stopped for ten minutes, result URLs expired",
        "disk full, then freed",
        "system clock jumps by a day",
        "input edited between runs",
        "cost limit reached",
    ),
    start=1,
):
    skip(f"B{number:02}", fault)
