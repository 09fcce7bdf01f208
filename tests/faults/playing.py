"""Plays a case once, and looks at what it left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection

from faults.stage import CANARY, Stage, listening, others
from faults.table import Case
from leaks import open_descriptors, own_threads, settle_descriptors
from ways import tunnelled


def lasting_threads(before: Collection[threading.Thread]) -> list[threading.Thread]:
    """Return the package's threads that are new since *before* and do not end within a second."""
    left = [thread for thread in own_threads() if thread not in before]
    for thread in left:
        thread.join(timeout=1)
    return [thread for thread in left if thread.is_alive()]


async def play(case: Case, stage: Stage) -> list[str]:
    """Play a case once, and return what it left over."""
    assert case.play is not None
    before, running, started = open_descriptors(), await others(), own_threads()
    async with asyncio.timeout(case.bound), listening(stage.output) as unexpected, tunnelled(), stage.stack:
        await case.play(stage)
    problems = [f"a task is left: {task}" for task in await others() - running]
    problems += [f"a descriptor is left: {target}" for target in (await settle_descriptors(before)).values()]
    problems += [f"a thread is left: {thread.name}" for thread in lasting_threads(started)]
    problems += [f"a warning: {warning}" for warning in unexpected]
    for words in stage.expected_words:
        assert any(words in text for text in stage.output), f"nobody said {words!r}"
    problems += [f"the key is shown: {text[:300]!r}" for text in stage.output if CANARY in text]
    return problems
