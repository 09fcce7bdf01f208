"""Starts the boxes, keeps what was seen, and writes it down at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from middleboxes.boxes import Box, BrokenBoxError, Kind
from middleboxes.provisions import MissingBoxError
from middleboxes.report import Report
from reliability import write_part

REPORT = os.environ.get("MIDDLEBOXES_REPORT")
"""The file to write; read before any test clears the environment."""
IS_CI = bool(os.environ.get("CI"))

SCRATCH = tempfile.gettempdir()
"""Not pytest's own folders, which are closed to other users."""

FOUND = pytest.StashKey[Report]()


@attrs.define(kw_only=True)
class Stand:
    """
    Has one box running, the one that was asked for last; its files stay if a test failed meanwhile.

    Attributes:
        found: Where versions and what is missing are noted.
        count_failures: Returns how many tests have failed.
        running: The box.
        failures: Tests that had failed before it was started.
        broken: What does not start, and is not started for each of its tests.
    """

    found: Report
    count_failures: Callable[[], int]
    running: Box | None = None
    failures: int = 0
    broken: dict[str, str] = attrs.field(factory=dict)

    def show(self, kind: Kind) -> Box:
        """
        Return the box of a kind, running.

        Raises:
            MissingBoxError: It is not here and cannot be fetched.
            BrokenBoxError: It does not start.
        """
        if why := self.broken.get(kind.id):
            raise BrokenBoxError(why)
        if self.running is not None and self.running.kind is kind:
            return self.running
        self.clear()
        if why := self.found.missing.get(kind.title):
            raise MissingBoxError(why)
        try:
            box = Box.set_up(kind, Path(tempfile.mkdtemp(prefix=f"middlebox-{kind.id}-", dir=SCRATCH)))
        except MissingBoxError as error:
            self.found.missing[kind.title] = str(error)
            raise
        self.found.versions[kind.id] = box.version
        try:
            box.start()
        except BrokenBoxError as error:
            self.broken[kind.id] = str(error)
            raise
        self.running, self.failures = box, self.count_failures()
        return box

    def clear(self) -> None:
        """Stop what runs."""
        box, self.running = self.running, None
        if box is None:
            return
        box.stop()
        if self.count_failures() == self.failures:
            shutil.rmtree(box.place.folder, ignore_errors=True)


def pytest_configure(config: pytest.Config) -> None:
    """Begin a report."""
    config.stash[FOUND] = Report()


@pytest.fixture(scope="session")
def found(request: pytest.FixtureRequest) -> Report:
    """Return the report of this run."""
    return request.config.stash[FOUND]


@pytest.fixture(scope="session")
def stand(request: pytest.FixtureRequest, found: Report) -> Iterator[Stand]:
    """Return what starts boxes."""
    stand = Stand(found=found, count_failures=lambda: request.session.testsfailed)
    yield stand
    stand.clear()


@pytest.fixture
def box(request: pytest.FixtureRequest, stand: Stand) -> Box:
    """Return the program that the test is about."""
    kind: Kind = request.param
    try:
        return stand.show(kind)
    except MissingBoxError as error:
        if IS_CI and kind.quick:
            pytest.fail(f"{kind.name} is missing: {error}")
        pytest.skip(f"{kind.name} is missing: {error}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report, if one was asked for."""
    if REPORT and session.config.stash[FOUND].rows:
        write_part(Path(REPORT), "middleboxes", session.config.stash[FOUND].to_markdown())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the tables."""
    report = config.stash[FOUND]
    if report.rows:
        terminalreporter.write_line(report.to_markdown())
