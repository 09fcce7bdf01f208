"""The program called in this process, an emulator in a thread beside it, and pictures to send."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import tempfile
import threading
from pathlib import Path

import attrs
import pytest
from pictures import png

from burncloud_images.__main__ import main
from burncloud_images.emulator import Emulator
from burncloud_images.transport.clock import SystemClock

KEY = "sk-canary-5e1f"


@attrs.frozen
class Ran:
    """How one command ended."""

    code: int
    out: bytes
    err: str

    @property
    def paths(self):
        return [Path(os.fsdecode(line)) for line in self.out.splitlines()]

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def events(self):
        return [json.loads(line) for line in self.err.splitlines()]

    @property
    def errors(self):
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


@pytest.fixture
def here(monkeypatch, tmp_path):
    """Return the empty folder in which commands run."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return folder


@pytest.fixture
def cli(capsysbinary, monkeypatch, here):
    """Return a function that runs one command and says how it ended."""

    def call(*words, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsysbinary.readouterr()
        code = main([str(word) for word in words])
        out, err = capsysbinary.readouterr()
        return Ran(code, out, err.decode())

    return call


@contextlib.contextmanager
def served(**options):
    """Serve the API in a thread of its own, as the program has its own event loop."""
    ready = threading.Event()
    stop = asyncio.Event()
    server = Emulator(**options)
    loops = []

    async def serve():
        await server.start()
        loops.append(asyncio.get_running_loop())
        ready.set()
        await stop.wait()
        await server.stop()

    def work():
        try:
            asyncio.run(serve())
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="server of a test")
    thread.start()
    ready.wait()
    try:
        yield server
    finally:
        if loops:
            loops[0].call_soon_threadsafe(stop.set)
        thread.join()


@pytest.fixture
def serve(monkeypatch):
    """Return a function that serves the API, with faults, and points the environment at it."""
    with contextlib.ExitStack() as stack:

        def start(*faults, **options):
            server = stack.enter_context(served(faults=faults, api_key=KEY, **options))
            monkeypatch.setenv("BURNCLOUD_API_BASE_URL", server.base_url)
            monkeypatch.setenv("BURNCLOUD_API_KEY", KEY)
            return server

        yield start


@pytest.fixture
def no_wait(monkeypatch):
    """Let the time between two attempts pass at once."""

    async def sleep(_clock, _seconds):
        await asyncio.sleep(0)

    monkeypatch.setattr(SystemClock, "sleep", sleep)


@pytest.fixture
def photo(tmp_path):
    """Return the path of a PNG with transparent places."""
    path = tmp_path / "photo.png"
    path.write_bytes(png(64, 64))
    return path


@pytest.fixture
def other_photo(tmp_path):
    """Return the path of a PNG of another size."""
    path = tmp_path / "other.png"
    path.write_bytes(png(32, 32))
    return path
