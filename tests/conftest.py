"""
What every test gets: a clean environment, no real sleeping, a look for leaks, the emulator and the API document.

The checks at the end of a test cost next to nothing when nothing is left over: descriptors are listed, and the garbage
collector runs only when there are more of them.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import yaml
from leaks import open_descriptors, own_threads, settle_descriptors
from parameters import name_parameter

if TYPE_CHECKING:
    from burncloud_images.emulator import Emulator

LONG = frozenset(["browser", "crash", "faults", "middleboxes"])
"""Marks of tests that every change cannot wait for."""
LONGEST_SLEEP = 0.05
OWN_VARIABLES = ("BURNCLOUD_", "OPENAI_")
PLAIN_VARIABLE = "BURNCLOUD_EMULATOR_PLAIN"
CONTRACT_VARIABLE = "BURNCLOUD_IMAGES_OPENAPI"
# Read before any test clears the environment.
CONTRACT_PATH = os.environ.get(CONTRACT_VARIABLE)
CONTRACT_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "openai-images.openapi.yaml"

# On a busy machine an example may take any time.
PATIENT = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("quick", PATIENT, max_examples=25)
hypothesis.settings.register_profile("full", PATIENT, max_examples=100, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("quick")


# --- the API document ------------------------------------------------------------------------------------------------


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever reads the API document, so that no such test goes uncounted, and whatever does not take long."""
    rows: Counter[str] = Counter()
    for item in items:
        if (sampled := item.get_closest_marker("sampled")) is not None:
            test = item.nodeid.partition("[")[0]
            if rows[test] % sampled.args[0]:
                item.add_marker(pytest.mark.slow)
            rows[test] += 1
        if "contract" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.contract)
        if LONG.isdisjoint(mark.name for mark in item.iter_markers()):
            item.add_marker(pytest.mark.quick)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking at thousands of tests each time it is asked to look at one."""
    gc.freeze()


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name the rows of parametrized tests by their values."""
    return name_parameter(val)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many contract tests ran, skipped ones left out."""
    reports = (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed"))
    count = sum(report.when == "call" and "contract" in report.keywords for report in reports)
    terminalreporter.write_line(f"{count} contract tests ran")


@pytest.fixture(scope="session")
def contract() -> dict[str, object]:
    """Return the API document."""
    path = Path(CONTRACT_PATH or CONTRACT_BESIDE)
    if not path.is_file():
        if CONTRACT_PATH:
            pytest.fail(f"{CONTRACT_VARIABLE} names {path}, which is not there")
        pytest.skip(f"no API document: set {CONTRACT_VARIABLE} to its path")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# --- isolation -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory for temporary files; each test finds it empty."""
    return tmp_path_factory.mktemp("scratch", numbered=False)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, scratch: Path) -> Iterator[None]:
    """Take this package's variables away, and give the test plain pictures and a directory for temporary files."""
    for name in list(os.environ):
        if name.upper().startswith(OWN_VARIABLES):
            monkeypatch.delenv(name)
    monkeypatch.setenv(PLAIN_VARIABLE, "1")
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(scratch / name.lower()))
    yield
    for path in scratch.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@pytest.fixture(autouse=True)
def no_long_sleep(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """
    Fail a test in which one call sleeps for more than 50 ms.

    A call raises at once. It may do so in a task whose exceptions nobody reads, so the test fails at its end as well.
    """
    found: list[str] = []
    sleep, sleep_async = time.sleep, asyncio.sleep

    def refuse(delay: float, name: str) -> None:
        if delay > LONGEST_SLEEP:
            caller = inspect.stack(context=0)[2]
            found.append(f"{name}({delay:g}) in {caller.filename}:{caller.lineno}: tests wait for events, not for time")
            raise AssertionError(found[-1])

    def guarded(delay: float) -> None:
        refuse(delay, "time.sleep")
        sleep(delay)

    async def guarded_async(delay: float, result: object = None) -> object:
        refuse(delay, "asyncio.sleep")
        return await sleep_async(delay, result)

    monkeypatch.setattr(time, "sleep", guarded)
    monkeypatch.setattr(asyncio, "sleep", guarded_async)
    yield
    assert not found, "\n".join(found)


@pytest.fixture
def landscapes(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the emulator draw what it draws for users, where somebody looks at it."""
    monkeypatch.delenv(PLAIN_VARIABLE)


# --- leaks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """Fail an async test that leaves tasks or descriptors behind; set up first, so checked last."""
    before = open_descriptors()
    yield
    await asyncio.sleep(0)
    own = {asyncio.current_task()}
    tasks = [task for task in asyncio.all_tasks() - own if not task.done()]
    assert not tasks, f"tasks left over: {tasks}"
    left = await settle_descriptors(before)
    assert not left, f"descriptors left over: {left}"


@pytest.fixture(autouse=True)
def leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves tasks, descriptors or threads behind."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("nothing_left")
    before = own_threads()
    yield
    left = [thread for thread in own_threads() if thread not in before]
    for thread in left:
        thread.join(timeout=1)
    names = [thread.name for thread in left if thread.is_alive()]
    assert not names, f"threads left over: {names}"


# --- the server ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """Serve the API on a free port for one test, without faults."""
    from burncloud_images.emulator import Emulator

    async with Emulator() as server:
        yield server
