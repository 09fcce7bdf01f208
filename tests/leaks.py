"""
What is left over: file descriptors and threads.

Looking costs next to nothing when nothing is: descriptors are listed, and the garbage collector runs only when there
are more of them.
"""

from __future__ import annotations

import asyncio
import gc
import os
import stat
import threading
from pathlib import Path

DESCRIPTORS = Path("/proc/self/fd")


def open_descriptors() -> dict[str, str]:
    """Return what each open file descriptor is, by its number; nothing where there is no /proc."""
    found = {}
    for entry in DESCRIPTORS.iterdir() if DESCRIPTORS.is_dir() else ():
        try:
            # Terminals and /dev/null; a file in /dev/shm counts.
            is_device = stat.S_ISCHR(os.fstat(int(entry.name)).st_mode)
            target = str(entry.readlink())
        except OSError:  # the one that lists the directory
            continue
        if not is_device and not target.startswith("/proc/"):
            found[entry.name] = target
    return found


async def settle_descriptors(before: dict[str, str]) -> dict[str, str]:
    """Return the descriptors that are new since *before*, once closing transports have had their turn."""
    for _ in range(3):
        after = open_descriptors()
        if len(after) <= len(before):
            return {}
        await asyncio.sleep(0.01)
        gc.collect()
    return {number: target for number, target in after.items() if before.get(number) != target}


def own_threads() -> list[threading.Thread]:
    """Return the threads that this package started."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("burncloud")]


def resident() -> int:
    """Return the bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
