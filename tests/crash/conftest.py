"""Keeps what the kills came to, and writes it down at the end."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from crash.report import Report
from crash.sandbox import Sandbox, open_sandbox
from reliability import write_part

REPORT = os.environ.get("CRASH_REPORT")
"""The file to write; read before any test clears the environment."""
SEED = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(1_000_000))
"""Of all chance; printed, and given again by the environment."""
SANDBOXES = 2

FOUND = pytest.StashKey[Report]()
STARTED = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin a report."""
    config.stash[FOUND] = Report(seed=SEED)
    config.stash[STARTED] = time.monotonic()


@pytest.fixture
def found(request: pytest.FixtureRequest) -> Report:
    """Return the report of this run."""
    return request.config.stash[FOUND]


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Sandbox]]:
    """Start what jobs run in."""
    folder = tmp_path_factory.mktemp("crash")
    with ExitStack() as stack:
        yield [stack.enter_context(open_sandbox(folder / f"sandbox-{number}")) for number in range(SANDBOXES)]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report, if one was asked for."""
    found = session.config.stash[FOUND]
    found.seconds = time.monotonic() - session.config.stash[STARTED]
    if REPORT and found.lines:
        write_part(Path(REPORT), "crash", found.to_markdown())
    if REPORT and found.tasks:
        write_part(Path(REPORT), "tasks", found.tasks_to_markdown())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    found = config.stash[FOUND]
    if found.tasks or found.task_controls:
        terminalreporter.write_line("kills of bulk jobs, with a server that makes tasks")
        terminalreporter.write_line(found.task_table([*found.tasks, *found.task_controls]))
    if found.lines or found.controls:
        terminalreporter.write_line(f"kills of bulk jobs, seed {found.seed} (CRASH_SEED)")
        terminalreporter.write_line(found.table([*found.lines, *found.controls]))
