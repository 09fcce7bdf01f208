"""The program in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

PROGRAM = (sys.executable, "-m", "burncloud_images")


def start(*words, **options):
    """Start the program."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that happens in another thread or process; pytest's own timeout ends what never comes."""
    while not condition():
        time.sleep(0.005)


def read_until(stream, text):
    """Read lines until one holds *text*; pytest's own timeout ends what never comes."""
    for line in stream:
        if text in line:
            return line
    raise AssertionError(f"the program ended without saying {text!r}")
