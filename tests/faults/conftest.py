"""Plays the cases, keeps what was seen, and writes it down at the end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from faults import report
from reliability import write_part

REPORT = os.environ.get("FAULTS_REPORT")
"""The file to write; read before any test clears the environment."""

ROWS = pytest.StashKey[report.Report]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin a report."""
    config.stash[ROWS] = report.Report()


@pytest.fixture
def found(request: pytest.FixtureRequest) -> report.Report:
    """Return the report of this run."""
    return request.config.stash[ROWS]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report, if one was asked for."""
    if REPORT and session.config.stash[ROWS].rows:
        write_part(Path(REPORT), "faults", session.config.stash[ROWS].to_markdown())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table where the whole matrix was played, and the sums anyhow."""
    found = config.stash[ROWS]
    if not found.rows:
        return
    if REPORT:
        terminalreporter.write_line(found.table())
    terminalreporter.write_line(found.summary())
