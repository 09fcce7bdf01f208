"""Plays a case once, and looks at what it left."""

from __future__ import annotations

import asyncio

from faults.stage import CANARY, Stage, listening, others
from faults.table import Case
from leaks import open_descriptors, own_threads, settle_descriptors


async def play(case: Case, stage: Stage) -> list[str]:
    """Play a case once, and return what it left over."""
    assert case.play is not None
    before, running, threads = open_descriptors(), await others(), own_threads()
    async with asyncio.timeout(case.bound), listening(stage.output) as unexpected, stage.stack:
        await case.play(stage)
    problems = [f"a task is left: {task}" for task in await others() - running]
    problems += [f"a descriptor is left: {target}" for target in (await settle_descriptors(before)).values()]
    problems += [f"a thread is left: {thread.name}" for thread in own_threads() if thread not in threads]
    problems += [f"a warning: {warning}" for warning in unexpected]
    for words in stage.expected_words:
        assert any(words in text for text in stage.output), f"nobody said {words!r}"
    problems += [f"the key is shown: {text[:300]!r}" for text in stage.output if CANARY in text]
    return problems
