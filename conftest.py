"""
Run the Python examples of README.md and docs/ as tests, just as they are printed.

Each document has one namespace, one event loop, an empty working directory and an emulator of its own, which the
environment names. `await` is allowed at the top level, as in `python -m asyncio`. A block after the HTML comment
`<!-- not run: reason -->` is skipped.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import os
import re
import tempfile
import threading
from collections.abc import Awaitable, Iterator
from typing import Any, cast

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

pytest_plugins = ["ways"]

NOT_RUN = re.compile(r"<!--\s*not run:\s*(?P<reason>(?:(?!-->).)+?)\s*-->\s*\Z", re.DOTALL)
STATE = " state"  # no example can have a name with a space


def run_example(example: Example) -> None:
    """Run one block, in the event loop of its document if it awaits something."""
    document = example.document
    if skipped := NOT_RUN.search(document.text, 0, example.start):
        pytest.skip(skipped["reason"])
    # Line numbers of failures are those of the document.
    source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
    code = compile(source, example.path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, example.namespace)  # noqa: S307 (our own documents)
    if code.co_flags & inspect.CO_COROUTINE:
        example.namespace[STATE].runner.run(cast("Awaitable[Any]", result))


@contextlib.contextmanager
def served() -> Iterator[tuple[str, str]]:
    """Serve the API in a thread of its own; yield its base URL and key."""
    from burncloud_images.emulator import Emulator

    ready: list[tuple[str, str]] = []
    started = threading.Event()
    stop = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        async with Emulator() as emulator:
            loops.append(asyncio.get_running_loop())
            ready.append((emulator.base_url, emulator.api_key))
            started.set()
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        finally:
            started.set()

    thread = threading.Thread(target=run, name="emulator of a document")
    thread.start()
    started.wait()
    try:
        if not ready:
            pytest.fail("the emulator did not start")
        yield ready[0]
    finally:
        if loops:
            loops[0].call_soon_threadsafe(stop.set)
        thread.join()


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables, for as long as a document runs."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class DocumentState:
    """What one document runs in; closed by `stack`."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as stack:
            base_url, key = stack.enter_context(served())
            stack.enter_context(environment(BURNCLOUD_API_BASE_URL=base_url, BURNCLOUD_API_KEY=key))
            stack.enter_context(contextlib.chdir(stack.enter_context(tempfile.TemporaryDirectory())))
            self.runner = stack.enter_context(asyncio.Runner())
            self.stack = stack.pop_all()


def set_up(namespace: dict[str, Any]) -> None:
    # As a script has it, for examples that end with `if __name__ == "__main__":`.
    namespace["__name__"] = "__main__"
    namespace[STATE] = DocumentState()


def tear_down(namespace: dict[str, Any]) -> None:
    if state := namespace.pop(STATE, None):
        state.stack.close()


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser("python", run_example)],
    patterns=["README.md", "docs/*.md"],
    setup=set_up,
    teardown=tear_down,
).pytest()
