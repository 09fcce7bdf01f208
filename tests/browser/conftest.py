"""Chromium, and galleries to open in it; what it measured is printed at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from browser.sample_jobs import crowd, exhibit, run_beside, write
from browser.visits import Visit
from pictures import png

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = Path("/usr/bin/chromium")

MEASURED = pytest.StashKey[list[str]]()

PICTURE = os.environ.get("GALLERY_PICTURE")
"""The file to draw; read before any test clears the environment."""


def pytest_configure(config: pytest.Config) -> None:
    """Begin a list of figures."""
    config.stash[MEASURED] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the figures."""
    for line in config.stash[MEASURED]:
        terminalreporter.write_line(line)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> list[str]:
    """Return the list to which a test adds its figures."""
    return request.config.stash[MEASURED]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Start Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.is_file():
        pytest.skip(f"{CHROMIUM} is not there: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., Visit]]:
    """Return a function that opens a gallery; what went wrong in it fails the test at its end."""
    visits: list[Visit] = []

    def start(folder: Path, **context: object) -> Visit:
        visits.append(Visit.start(chromium, folder, **context))
        return visits[-1]

    yield start
    problems = [problem for visit in visits for problem in visit.end()]
    assert [] == problems


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *args: object) -> None:
        """Write no log."""


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Return a function that serves a folder on this machine, and returns its URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder))
        servers.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a job whose pictures the emulator drew."""
    folder = tmp_path_factory.mktemp("drawn") / "alpine-series"
    folder.mkdir()
    run_beside(partial(exhibit, folder))
    return folder


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a job with 10,000 cards."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "images").mkdir()
    (folder / "images" / "one.png").write_bytes(png(96, 96))
    write(folder, list(crowd(10_000)))
    return folder
