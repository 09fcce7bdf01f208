"""The guards that every test runs under: each is tripped once, in a pytest of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TRIPPING = """
import asyncio, os, socket, tempfile, threading, time, warnings
import pytest

async def test_task():
    kept.append(asyncio.create_task(asyncio.Event().wait()))

async def test_descriptor():
    kept.append(os.open(__file__, os.O_RDONLY))

def test_thread():
    threading.Thread(target=threading.Event().wait, name="burncloud-x", daemon=True).start()

async def test_sleep_in_a_task():
    task = asyncio.create_task(asyncio.sleep(9))
    await asyncio.wait([task])
    task.exception()

def test_sleep():
    time.sleep(9)

def test_network():
    socket.create_connection(("192.0.2.1", 80))

def test_warning():
    warnings.warn("careful")

async def test_short_sleep():
    time.sleep(0.001)
    await asyncio.sleep(0.001)

async def test_local_server():
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()

def test_environment(tmp_path):
    own = {name for name in os.environ if name.upper().startswith(("BURNCLOUD_", "OPENAI_"))}
    assert own == {"BURNCLOUD_EMULATOR_PLAIN"}
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(tmp_path.parent / "scratch")

def test_document(contract):
    assert contract == {"openapi": "3.1.0"}

kept = []
"""


def run_pytest(folder: Path, *chosen: str, **variables: str) -> str:
    """Run the tripping tests with this project's settings and fixtures; return what pytest printed."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    folder.joinpath("test_tripping.py").write_text(TRIPPING, encoding="utf-8")
    options = ("-q", "-rA", "--tb=no", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"))
    process = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", str(folder), str(folder), *chosen],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return process.stdout


def outcomes(output: str) -> dict[str, set[str]]:
    """Return the tests of each outcome."""
    found: dict[str, set[str]] = {}
    for outcome, name in re.findall(r"^(PASSED|FAILED|ERROR) \S+::test_(\w+)", output, re.MULTILINE):
        found.setdefault(outcome, set()).add(name)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "checkout" / "tests"
    made.mkdir(parents=True)
    return made


@pytest.mark.slow
def test_guards(folder):
    """Leaks, sleeps, warnings and the network fail a test; a local server and a short sleep do not."""
    document = folder / "document.yaml"
    document.write_text("openapi: 3.1.0", encoding="utf-8")

    output = run_pytest(folder, BURNCLOUD_IMAGES_OPENAPI=str(document), Burncloud_API_KEY="k", OPENAI_API_KEY="k")

    found = outcomes(output)
    assert {"task", "descriptor", "thread", "sleep_in_a_task", "sleep"} == found["ERROR"], output
    assert {"sleep", "network", "warning"} == found["FAILED"], output
    assert {"short_sleep", "local_server", "environment", "document"} <= found["PASSED"], output
    assert "\n1 contract tests ran\n" in output


@pytest.mark.slow
def test_contract_file_that_is_not_there(folder):
    """A document that is named and missing is an error, not a skipped test."""
    output = run_pytest(folder, "-k", "document", BURNCLOUD_IMAGES_OPENAPI=str(folder / "none.yaml"))

    assert "document" in outcomes(output)["ERROR"], output
    assert "\n0 contract tests ran\n" in output
