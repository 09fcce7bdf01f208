"""A stage's time counts while the loop runs: what arrives while the process is stopped or the loop held is read."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import signal
import socket
import ssl
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from fakes import FakeClock, until
from pictures import png

from burncloud_images import AsyncImagesClient, GenerationRequest, Network, RetryPolicy, Timeouts, errors
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.transport.timeouts import PhaseTimer

SCALE = 0.01
STAGE = 10.0
"""Seconds that every stage may take, on the scaled clock: a tenth of a second."""
PAUSE = 2 * STAGE * SCALE
"""Real seconds for which the loop is held."""
STAGES = ("connect", "send_stall", "first_byte", "idle", "download_first_byte", "download_idle")
IMAGE = png(64, 64, pad=300_000)
BASE64 = base64.b64encode(IMAGE)
BODY = b'{"created": 1, "data": [{"b64_json": "%s"}]}' % BASE64
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
EVENT = {"type": "image_generation.completed", "b64_json": BASE64.decode()}
PART = 500
"""Bytes of an answer: too few to show that it goes on."""
FOUR = Path(__file__).parent / "scripts" / "four.py"


class Server:
    """
    A server in a thread of its own, which can hold the loop of its client.

    Attributes:
        requests: The heads of what it was sent.
        left: Bytes of the last request's body that it did not read.
        ended: Set when the test is over.
    """

    def __init__(self, handler, *, scheme="http"):
        self.handler = handler
        self.loop = asyncio.get_running_loop()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{scheme}://127.0.0.1:{self.listener.getsockname()[1]}"
        self.requests = []
        self.left = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)

    def run(self):
        with suppress(OSError):  # the listener is closed
            while True:
                connection, _ = self.listener.accept()
                with connection, suppress(OSError):
                    self.handler(self, connection)

    def receive(self, connection, *, most=10**9):
        """Read a request, and no more of its body than *most* bytes."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        self.requests.append(head)
        lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
        self.left = int(lengths[0]) - len(body) if lengths else 0
        self.go_on(connection, most)

    def go_on(self, connection, most=10**9):
        end = max(0, self.left - most)
        while self.left > end and (chunk := connection.recv(min(self.left - end, 65536))):
            self.left -= len(chunk)

    @contextmanager
    def holding(self, seconds=PAUSE):
        """Hold the client's loop until the block is left, and for *seconds* at least."""
        held, released = threading.Event(), threading.Event()

        def hold_until_released():
            held.set()
            hold(seconds)
            released.wait(10)

        # By then the client waits for more.
        self.loop.call_soon_threadsafe(self.loop.call_later, 0.02, hold_until_released)
        assert held.wait(10)
        try:
            yield
        finally:
            released.set()


def hold(seconds):
    """Do other work in the loop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.001)


def client_of(server, **options):
    timeouts = Timeouts(**dict.fromkeys(STAGES, STAGE))
    options = {"retry": RetryPolicy(attempts=1), "timeouts": timeouts, "clock": FakeClock(SCALE), **options}
    return AsyncImagesClient("sk-canary", server.url, **options)


# --- what comes while the loop is held --------------------------------------------------------------------------------


def before_the_answer(server, connection):
    server.receive(connection)
    with server.holding():
        connection.sendall(HEAD % len(BODY) + BODY[:PART])
    connection.sendall(BODY[PART:])


def at_the_beginning_of_the_answer(server, connection):
    server.receive(connection)
    connection.sendall(HEAD % len(BODY))
    with server.holding():
        connection.sendall(BODY[:PART])
    connection.sendall(BODY[PART:])


def twice_in_the_answer(server, connection):
    server.receive(connection)
    connection.sendall(HEAD % len(BODY) + BODY[:PART])
    for place in (1, 2):
        with server.holding():
            connection.sendall(BODY[place * PART : (place + 1) * PART])
    connection.sendall(BODY[3 * PART :])


def after_white_space(server, connection):
    server.receive(connection)
    connection.sendall(HEAD % (len(BODY) + 2) + b"  ")
    with server.holding():
        connection.sendall(BODY[:PART])
    connection.sendall(BODY[PART:])


def a_while_after_it(server, connection):
    server.receive(connection)
    with server.holding():
        pass
    server.ended.wait(0.5 * STAGE * SCALE)
    connection.sendall(HEAD % len(BODY) + BODY)


def as_a_stream(server, connection):
    server.receive(connection)
    text = b"data: %s\n\n" % json.dumps(EVENT).encode()
    connection.sendall(STREAM + b": ping\n\n" + text[:PART])
    for place in (1, 2):
        with server.holding():
            connection.sendall(text[place * PART : (place + 1) * PART])
    connection.sendall(text[3 * PART :])


def by_an_address(server, connection):
    body = json.dumps({"created": 1, "data": [{"url": f"{server.url}/image.png"}]}).encode()
    server.receive(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    connection.close()
    connection, _ = server.listener.accept()
    with connection:
        server.receive(connection)
        with server.holding():
            connection.sendall(HEAD % len(IMAGE) + IMAGE[:PART])
        with server.holding(4 * PAUSE):  # for longer than the window in which a slow host is found out
            connection.sendall(IMAGE[PART : 2 * PART])
        connection.sendall(IMAGE[2 * PART :])


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "handler",
    [
        before_the_answer,
        at_the_beginning_of_the_answer,
        twice_in_the_answer,
        after_white_space,
        a_while_after_it,
        as_a_stream,
        by_an_address,
    ],
)
async def test_an_answer_that_comes_while_the_loop_is_held_is_taken(handler):
    """An answer is read, even if other code blocked the loop for longer than the phase may take."""
    with Server(handler) as server:
        async with client_of(server) as client:
            result = await client.send(GenerationRequest("otter", model="m"), via_stream=handler is as_a_stream)

    assert result.image.data == IMAGE
    assert len(server.requests) == (2 if handler is by_an_address else 1)


async def test_a_request_goes_on_after_the_loop_was_held():
    """An upload continues after the loop was blocked."""

    def while_sending(server, connection):
        server.receive(connection, most=PART)
        with server.holding():
            server.go_on(connection, 100_000)
        server.go_on(connection)
        connection.sendall(HEAD % len(BODY) + BODY)

    with Server(while_sending) as server:
        async with client_of(server) as client:
            result = await client.edit(png(pad=8_000_000), "a beret", model="m")

    assert result.image.data == IMAGE
    assert len(server.requests) == 1


async def test_a_handshake_goes_on_after_the_loop_was_held():
    """A TLS handshake continues after the loop was blocked."""
    authority, context, trust = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(trust)

    def in_the_handshake(server, connection):
        with server.holding():
            wrapped = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            wrapped.settimeout(0.02)
            with suppress(TimeoutError):
                wrapped.do_handshake()
        wrapped.settimeout(None)
        with wrapped:
            wrapped.do_handshake()
            server.receive(wrapped)
            wrapped.sendall(HEAD % len(BODY) + BODY)

    with Server(in_the_handshake, scheme="https") as server:
        async with client_of(server, network=Network(ca=trust)) as client:
            result = await client.generate("otter", model="m")

    assert result.image.data == IMAGE


# --- what does not come -----------------------------------------------------------------------------------------------


def nothing(server, connection):
    server.receive(connection)
    with server.holding():
        pass
    server.ended.wait()


def the_beginning_only(server, connection):
    server.receive(connection)
    with server.holding():
        connection.sendall(HEAD % len(BODY) + BODY[:PART])
    server.ended.wait()


@pytest.mark.parametrize("handler", [nothing, the_beginning_only])
async def test_a_server_that_hangs_after_a_pause_is_given_up(handler):
    """A pause of the loop is left out of the phase's time, and nothing else is."""
    with Server(handler) as server:
        async with client_of(server) as client:
            began = time.monotonic()
            with pytest.raises(errors.OutcomeUnknownError):
                await client.generate("otter", model="m")
            took = time.monotonic() - began

    assert PAUSE < took < PAUSE + 20 * STAGE * SCALE


async def test_a_loop_that_is_held_again_and_again_does_not_keep_a_stage_alive():
    """A phase ends after its own time, in however small pieces the loop runs."""
    loop, timer = asyncio.get_running_loop(), PhaseTimer(SCALE)
    turns = itertools.count()

    def hold_again():
        next(turns)
        hold(5 * SCALE)
        if not timer.expired():
            loop.call_later(0, hold_again)

    async def hang():
        async with timer:
            timer.allow(STAGE * SCALE)
            await loop.create_future()

    loop.call_soon(hold_again)
    with pytest.raises(TimeoutError):
        await hang()

    assert next(turns) < 100


async def test_the_time_of_a_stage_leaves_out_that_in_which_the_loop_was_held():
    """The measured time of a phase is the time that the server took."""
    timer = PhaseTimer(SCALE)
    async with timer:
        timer.allow(STAGE)
        await asyncio.sleep(0.01)
        hold(0.3)
        await asyncio.sleep(0.01)
        elapsed = timer.elapsed()

    assert elapsed < 0.15


# --- a process that is stopped ----------------------------------------------------------------------------------------


@pytest.mark.sampled(2)
@pytest.mark.parametrize("way", ["plain", "stream"])
async def test_a_process_that_was_stopped_takes_the_answers_that_came_meanwhile(way, monkeypatch):
    """A process that was stopped reads all four answers that arrived meanwhile."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    fault = Fault(delay=0.3, times=4)
    async with Emulator(faults=[fault]) as emulator:
        program = await asyncio.create_subprocess_exec(
            sys.executable, FOUR, emulator.api_key, emulator.base_url, way, stdout=asyncio.subprocess.PIPE
        )
        try:
            await until(lambda: sum(entry.complete for entry in emulator.ledger.requests) == 4)
            program.send_signal(signal.SIGSTOP)
            await until(lambda: all(entry.status == 200 for entry in emulator.ledger.requests))
            stopped = time.monotonic()
            await until(lambda: time.monotonic() - stopped > 1.5)
            program.send_signal(signal.SIGCONT)
            said, _ = await program.communicate()
        finally:
            if program.returncode is None:
                program.kill()
                await program.wait()

    assert said.split() == [b"ImagesResult"] * 4
    assert (len(emulator.ledger.requests), emulator.ledger.billed_requests) == (4, 4)
