"""How long the computer has been up, which shows that its clock was set."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import attrs

BOOT = Path("/proc/sys/kernel/random/boot_id")


@attrs.frozen
class SystemUptime:
    """
    A moment that no clock tells.

    Attributes:
        boot: Which time the computer was started.
        seconds: Since then, those in which it slept included.
    """

    boot: str
    seconds: float


def read_uptime() -> SystemUptime | None:
    """Return how long the computer is up; None if it does not tell."""
    try:
        return SystemUptime(BOOT.read_text(encoding="ascii").strip(), time.clock_gettime(time.CLOCK_BOOTTIME))
    except (OSError, AttributeError):
        return None


def find_leap(known: object, now: float, uptime: SystemUptime | None) -> float:
    """
    Return by how many seconds the clock was set forward.

    Args:
        known: What `remembered` returned earlier; any other value is ignored.
        now: The date, in seconds since 1970.
        uptime: As now read.
    """
    if uptime is None or not isinstance(known, Mapping) or known.get("boot") != uptime.boot:
        return 0.0
    began = known.get("began")
    return max(0.0, now - uptime.seconds - began) if isinstance(began, int | float) else 0.0


def remembered(now: float, uptime: SystemUptime | None) -> dict[str, object] | None:
    """Return what to compare a later moment with: when the computer was started, by the clock of now."""
    return None if uptime is None else {"boot": uptime.boot, "began": now - uptime.seconds}
