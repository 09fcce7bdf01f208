"""
Forks workers from a process that has loaded everything, so that a run costs a fork and not half a second of imports.

Reads a plan a line, with `kill_after` seconds or without; answers each with how the worker ended.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from typing import Any

from crash import worker

LONGEST = 45.0
"""Seconds after which a run hangs."""


def load() -> None:
    """Load what a run loads on its way."""
    import hashlib
    import sqlite3

    import aiofiles
    import aiohttp
    import tenacity

    import burncloud_images.bulk.outputs
    import burncloud_images.calls.call
    import burncloud_images.calls.download
    import burncloud_images.calls.resources
    import burncloud_images.files.sinks

    assert all((aiofiles, aiohttp, hashlib, sqlite3, tenacity, burncloud_images))
    gc.freeze()


def fork(plan: worker.Plan) -> int:
    """Begin a run, and return its process's number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        errors = os.open(plan.errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDWR)
        for target, source in ((0, nothing), (1, nothing), (2, errors)):
            os.dup2(source, target)
        status = worker.main(plan)
    finally:
        sys.stderr.flush()
        os._exit(status)


def attend(child: int, kill_after: float | None) -> dict[str, Any]:
    """Wait for a run, kill it if it is to be, and say how it ended."""
    started = time.monotonic()
    limit = LONGEST if kill_after is None else kill_after
    ended = os.waitpid(child, os.WNOHANG)
    while not ended[0] and (left := limit - (time.monotonic() - started)) > 0:
        signal.sigtimedwait({signal.SIGCHLD}, left)
        ended = os.waitpid(child, os.WNOHANG)
    hangs = not ended[0] and kill_after is None
    if not ended[0]:
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)
    return {
        "status": os.waitstatus_to_exitcode(ended[1]),
        "hangs": hangs,
        "seconds": time.monotonic() - started,
    }


def main() -> None:
    """Serve until stdin ends."""
    load()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    for line in sys.stdin:
        asked = json.loads(line)
        answer = attend(fork(worker.Plan(**asked["plan"])), asked.get("kill_after"))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
