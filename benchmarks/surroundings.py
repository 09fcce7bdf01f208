"""What a run is made on: programs, machine, and what else the machine does."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.figures import BUSY
from benchmarks.server import find_nginx, version_of

__all__ = ["idleness", "machine", "package_versions", "program_versions"]


def idleness() -> float:
    """Return what the machine does besides, as a load average of the last minute; say so if it is much."""
    load = round(os.getloadavg()[0], 2)
    if load > BUSY:
        print(f"The machine is busy (load {load}): figures will only indicate.", file=sys.stderr)
    return load


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the version of Python, and of the packages among *names* that are installed."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def program_versions() -> dict[str, str]:
    """Return the versions of nginx and curl."""
    curl = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S607
    return {"nginx": version_of(find_nginx()), "curl": curl.split()[1]}


def machine() -> dict[str, str | int]:
    """Return the system, the processor and its cores."""
    information = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = re.search(r"^model name\s*:\s*(.+)$", information, re.MULTILINE)
    return {
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "cpu": name[1] if name else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
    }
