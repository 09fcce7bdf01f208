"""The life of the server, and what it keeps."""

import asyncio
import gc
import subprocess
import sys
import threading

import pytest

from burncloud_images.emulator import Emulator
from burncloud_images.emulator.renderer import Renderer


async def test_it_serves_where_it_says(caller):
    """It listens on a free port of this machine with the default key."""
    async with Emulator() as emulator:
        assert emulator.base_url == f"http://127.0.0.1:{emulator.port}/v1"
        assert emulator.api_key == "sk-emulator"
        assert emulator.ledger.requests == ()


def test_it_has_no_address_before_it_starts():
    """The base URL raises an error until the emulator is started."""
    with pytest.raises(RuntimeError, match="until it is started"):
        _ = Emulator().base_url


def test_an_address_of_the_newer_kind_is_written_in_brackets():
    """The base URL has an IPv6 host in brackets."""
    assert Emulator(host="::1", port=80).base_url == "http://[::1]:80/v1"


async def test_its_own_key_is_the_only_one(caller):
    """Any text can be the API key."""
    async with Emulator(api_key="sk-other") as emulator:
        assert (await caller.generate(emulator)).status == 200


async def test_a_taken_port_is_told(emulator):
    """A taken port raises an error and leaves nothing open."""
    with pytest.raises(OSError, match=str(emulator.port)):
        async with Emulator(port=emulator.port):
            pytest.fail("two servers on one port")


async def test_it_can_be_stopped_twice(caller):
    """Stopping a second time does nothing."""
    emulator = Emulator()
    await emulator.start()
    await emulator.stop()
    await emulator.stop()


async def test_nothing_is_left_when_it_stops(caller):
    """No task and no thread is left after the emulator stops, and the ledger can still be read."""
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    async with Emulator() as emulator:
        await asyncio.gather(*(caller.generate(emulator, prompt=str(number)) for number in range(8)))
    await asyncio.sleep(0)
    gc.collect()
    assert asyncio.all_tasks() <= tasks
    assert {thread for thread in threading.enumerate() if "emulator" in thread.name} <= threads
    assert emulator.ledger.billed_images == 8


async def test_requests_are_served_side_by_side(emulator, caller):
    """Requests at the same time each get their own answer."""
    replies = await asyncio.gather(*(caller.generate(emulator, n=number) for number in range(1, 9)))
    assert [len(reply.json["data"]) for reply in replies] == list(range(1, 9))


async def test_without_pillow_it_says_what_to_install(monkeypatch):
    """Without Pillow, starting raises an error with the install command."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'burncloud-images\[emulator\]'"):
        await Emulator().start()


async def test_without_trustme_it_says_what_to_install(monkeypatch):
    """Without trustme, `tls=True` raises an error with the name of the extra."""
    monkeypatch.setitem(sys.modules, "trustme", None)

    with pytest.raises(ModuleNotFoundError, match=r"burncloud-images\[emulator\]"):
        await Emulator(tls=True).start()


def test_pillow_is_loaded_when_it_is_started():
    """Importing the package does not import Pillow."""
    fault_plan = "import sys, burncloud_images.emulator; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", fault_plan], check=False).returncode == 0


async def test_the_renderer_forgets_the_oldest(monkeypatch, caller):
    """The renderer's cache stays below its size limit."""
    monkeypatch.setattr("burncloud_images.emulator.renderer.MAX_BYTES", 60_000)
    async with Emulator() as emulator:
        renderer = emulator.state.renderer
        assert isinstance(renderer, Renderer)
        for number in range(6):
            await caller.generate(emulator, prompt=str(number))
        assert sum(map(len, renderer.cached.values())) == renderer.size <= 60_000
