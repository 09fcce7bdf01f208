"""Group T: callers that leave, clients that are closed, and what a machine runs out of."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
from blockbuster import BlockBuster
from fakes import until
from faults import authorities
from faults.gateway import Gateway, Step
from faults.proxy import BlackHole, Proxy, Toxic
from faults.stage import BIG, CANARY, SMALL, Expected, Stage, edit, generate, held, scripted, written
from faults.store import Serve, stored
from faults.table import Play, case, variants
from leaks import open_descriptors, resident
from ways import here

from burncloud_images import AsyncImagesClient, Directory, EditRequest, GenerationRequest, Network, errors
from burncloud_images.emulator import Emulator, Fault

SCRIPTS = Path(__file__).parent
CALLS = 10_000 if os.environ.get("FAULTS_REPORT") else 500
"""Of T07; fewer where only the fast cases are played."""

# --- cancellation ----------------------------------------------------------------------------------------------------

TIMES = 20
Reached = Callable[[], object]


async def cancelled(
    stage: Stage, client: AsyncImagesClient, reached: Reached, call: Callable[..., Awaitable[object]] = generate
) -> None:
    """Start twenty calls, let them get where they are to be, and cancel them; without the fault just call once."""
    if not stage.faulty:
        outcome = await stage.call(call(client))
        assert outcome.error is None, repr(outcome.error)
        return
    calls = [asyncio.ensure_future(call(client)) for _ in range(TIMES)]
    await until(reached)
    for one in calls:
        one.cancel()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    stage.seen.extend("cancelled" for _ in ends)


async def while_queued(stage: Stage) -> None:
    faults = [Fault(cut="stall", times=None)] if stage.faulty else []
    world = await stage.world(lambda _faulty: scripted(*faults)(True))
    client = await stage.client(world.base_url, max_connections=1)
    stage.clock.scale = 10.0
    await cancelled(stage, client, lambda: world.count()[0])


async def while_resolving(stage: Stage) -> None:
    world = await stage.world(scripted())
    asked, released = threading.Event(), threading.Event()

    def resolve(_host: str, port: int, *_: object, **__: object) -> list[object]:
        asked.set()
        if stage.faulty:
            released.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    stage.monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = world.base_url.replace("127.0.0.1", "gateway.test")
    client = await stage.client(url, network=Network(allow_http=True))
    stage.clock.scale = 10.0
    try:
        await cancelled(stage, client, asked.is_set)
    finally:
        released.set()


async def while_connecting(stage: Stage) -> None:
    world = await stage.world(scripted())
    hole = BlackHole()
    stage.stack.callback(hole.close)
    url = f"{here().url(hole.port)}/v1" if stage.faulty else world.base_url
    client = await stage.client(url)
    stage.clock.scale = 10.0
    await cancelled(stage, client, moments(5))


def moments(count: int) -> Reached:
    """Return what is true after the loop has gone round a few times."""
    left = iter(range(count))
    return lambda: next(left, None) is None


async def while_shaking_hands(stage: Stage) -> None:
    authority = authorities.good()
    emulator = await stage.enter(Emulator(api_key=CANARY, tls=False))
    front = await stage.enter(Proxy(emulator.port, front=authority.server))
    toxics = [Toxic(action="stall", at=1, connection=None)] if stage.faulty else []
    proxy = await stage.enter(Proxy(front.port, *toxics))
    client = await stage.client(f"https://127.0.0.1:{proxy.port}/v1", network=Network(ca=authority.client))
    stage.clock.scale = 10.0
    await cancelled(stage, client, lambda: len(proxy.fired) == TIMES)


def at_fault(fault: Fault, call: Callable[..., Awaitable[object]] = generate) -> Play:
    """Return a play that is cancelled once the server has all calls where *fault* holds them."""

    async def play(stage: Stage) -> None:
        world = await stage.world(scripted(fault))
        client = await stage.client(world.base_url)
        stage.clock.scale = 10.0
        await cancelled(stage, client, lambda: len(world.emulator.ledger.requests) == TIMES, call)

    return play


async def at_the_status(stage: Stage) -> None:
    hanging = asyncio.Event()

    async def begin(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        await hanging.wait()

    world = await stage.world(written(*[Step(answer=begin)] * TIMES))
    client = await stage.client(world.base_url)
    stage.clock.scale = 10.0
    await cancelled(stage, client, lambda: world.gateway.serving == TIMES)


async def between_tries(stage: Stage) -> None:
    world = await stage.world(scripted(*[Fault(status=503)] * TIMES))
    client = await stage.client(world.base_url)
    stage.clock.scale = 10.0
    waiting = []

    async def hang(_waits: int) -> None:
        waiting.append(1)
        await asyncio.Event().wait()

    stage.clock.on_sleep = hang
    await cancelled(stage, client, lambda: len(waiting) == TIMES)


async def while_fetching(stage: Stage) -> None:
    world = await stage.world(stored(Serve(cut=0.5, stall=True)))
    body = world.gateway.script[0]
    world.gateway.script = (body,) * TIMES
    client = await stage.client(world.base_url, **world.options)
    stage.clock.scale = 10.0

    async def save(client: AsyncImagesClient) -> object:
        return await client.send(GenerationRequest("otter", **SMALL), into=Directory(stage.folder / "out"))

    await cancelled(stage, client, lambda: len(world.store.gets) == TIMES, save)
    assert (0 if stage.faulty else 1) == len([*(stage.folder / "out").iterdir()])


@case("T01", "cancelled 20 times at each of 10 points", "CancelledError; nothing left over")
async def cancel_everywhere(stage: Stage) -> None:
    """Whatever is open is closed, and what is half written is removed."""
    await variants(
        stage,
        {
            "queued": while_queued,
            "resolving": while_resolving,
            "connecting": while_connecting,
            "TLS": while_shaking_hands,
            "sending": at_fault(Fault(cut="stall", place="upload", byte=0.5, times=TIMES), edit),
            "sent": at_fault(Fault(cut="stall", billed=True, times=TIMES)),
            "answer begun": at_the_status,
            "in the answer": at_fault(Fault(cut="stall", place="answer", byte=0.5, times=TIMES)),
            "between tries": between_tries,
            "fetching": while_fetching,
        },
    )


@case("T02", "asyncio.timeout around a call", "TimeoutError; not sent again, and the note says that it may be billed")
async def timeout(stage: Stage) -> None:
    """The caller's own time ends the call, once."""
    world = await stage.world(scripted(Fault(cut="stall", billed=True)))
    client = await stage.client(world.base_url)
    stage.clock.scale = 10.0

    async def hurried() -> object:
        async with asyncio.timeout(0.1 if stage.faulty else 30):
            return await generate(client)

    outcome = await stage.call(hurried())
    stage.count()
    assert 1 == stage.posts
    assert isinstance(outcome.error, TimeoutError) == stage.faulty
    if stage.faulty:
        (note,) = outcome.error.__cause__.__notes__
        assert "may have been billed" in note


@case("T03", "another task of the group fails", "cancelled; the group's error")
async def sibling(stage: Stage) -> None:
    """A task group ends the call like any other task."""
    world = await stage.world(scripted(Fault(cut="stall", billed=True)))
    client = await stage.client(world.base_url)
    stage.clock.scale = 10.0

    async def fail() -> None:
        await until(lambda: world.count()[0])
        if stage.faulty:
            raise ValueError("sibling")

    async def together() -> object:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(generate(client))
            group.create_task(fail())
        return call.result()

    outcome = await stage.call(together())
    stage.count()
    assert 1 == stage.posts
    assert isinstance(outcome.error, ExceptionGroup) == stage.faulty
    if stage.faulty:
        assert [ValueError] == [type(error) for error in outcome.error.exceptions]


@case("T04", "client closed while calls are in flight", "ImagesError that says whether it may be billed")
async def closed_in_flight(stage: Stage) -> None:
    """Every caller is told."""
    faults = [Fault(cut="stall", billed=True, times=5)] if stage.faulty else []
    world = await stage.world(lambda _faulty: scripted(*faults)(True))
    client = await stage.client(world.base_url)
    stage.clock.scale = 10.0
    calls = [asyncio.ensure_future(stage.call(generate(client))) for _ in range(5)]
    await until(lambda: world.count() == (5, 5) if stage.faulty else all(call.done() for call in calls))
    await client.aclose()
    outcomes = await asyncio.gather(*calls)
    stage.count(5)
    assert (5, 5) == (stage.posts, stage.billed)
    for outcome in outcomes:
        if stage.faulty:
            stage.judge(outcome, held_by(5))
        else:
            assert outcome.error is None


def held_by(calls: int) -> Expected:
    """Expect every one of *calls* to be held."""
    return attrs.evolve(held(billed=calls), posts=calls)


@case("T05", "client used after close, in another loop, at exit", "ClientClosedError; no noise")
async def misused(stage: Stage) -> None:
    """A typed error, and an interpreter that ends in silence."""
    await variants(stage, {"after close": after_close, "another loop": other_loop, "exit": at_exit})


async def after_close(stage: Stage) -> None:
    world = await stage.world(scripted())
    client = await stage.client(world.base_url)
    if stage.faulty:
        await client.aclose()
    outcome = await stage.call(generate(client))
    assert isinstance(outcome.error, errors.ClientClosedError) == stage.faulty
    stage.count()


async def other_loop(stage: Stage) -> None:
    world = await stage.world(scripted())
    client = await stage.client(world.base_url)
    outcome = await stage.call(generate(client))
    assert outcome.error is None
    if stage.faulty:
        call = asyncio.to_thread(asyncio.run, generate(client))
        outcome = await stage.call(call)
        assert isinstance(outcome.error, errors.ClientClosedError)
    stage.count()
    assert 1 == stage.posts


async def at_exit(stage: Stage) -> None:
    world = await stage.world(scripted())
    output = await script(stage, "at_exit.py" if stage.faulty else "ordinary.py", world.base_url)
    stage.count(1 if stage.faulty else 3)
    assert (b"typed\n" if stage.faulty else b"") == output


async def script(stage: Stage, name: str, url: str, *options: str, **environment: str) -> bytes:
    """Run one of the scripts beside this file, and return what it says; it must not say anything to stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "error", *options, str(SCRIPTS / "scripts" / name), url),
        env={**os.environ, "BURNCLOUD_API_KEY": CANARY, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, noise = await process.communicate()
    stage.seen.append(f"exit code {process.returncode}")
    assert (0, b"") == (process.returncode, noise), noise.decode()
    return output


# --- what runs out ---------------------------------------------------------------------------------------------------


@case("T06", "64 file descriptors for 200 calls", "success or ConnectionFailedError; billed = delivered", bound=60)
async def scarce(stage: Stage) -> None:
    """No connection is no bill, and no image is lost for want of a descriptor."""
    gateway = await stage.enter(Gateway())
    output = await script(stage, "scarce.py", gateway.base_url, BURNCLOUD_DESCRIPTORS="64" if stage.faulty else "1024")
    told = json.loads(output)
    stage.posts, stage.billed = gateway.posts, gateway.billed
    assert 200 == sum(told["outcomes"].values()), told
    assert {*told["outcomes"]} <= {"succeeds", "ConnectionFailedError", "OutcomeUnknownError"}, told
    assert stage.billed <= told["outcomes"]["succeeds"] + told["outcomes"].get("OutcomeUnknownError", 0)
    if stage.faulty:
        assert told["exhausted"], "descriptors never ran out"
    else:
        assert {"succeeds": 200} == told["outcomes"]


@case("T07", f"{10_000:,} calls", "memory grows by less than 1 KB a call, descriptors do not", bound=180)
async def many_calls(stage: Stage) -> None:
    """The client keeps nothing of a call that is over."""
    calls = CALLS if stage.faulty else 20
    async with private_server() as url:
        client = await stage.client(url, api_key="sk-private_server")
        descriptors = len(open_descriptors())

        async def worker(count: int) -> None:
            for _ in range(count):
                await client.generate("a sea otter", **SMALL)

        warm = max(calls // 5, 20)
        await asyncio.gather(*(worker(warm // 20) for _ in range(20)))
        before = resident()
        await asyncio.gather(*(worker(calls // 20) for _ in range(20)))
        grown = resident() - before
        # A connection for each worker at most: how many the first calls opened depends on how fast they ended.
        assert len(open_descriptors()) <= descriptors + 20 + 2
    stage.seen.append(f"{grown / calls:.0f} bytes a call")
    assert grown < max(1024 * calls, 4 * 1024 * 1024), f"{grown / calls:.0f} bytes a call"


@asynccontextmanager
async def private_server() -> AsyncIterator[str]:
    """Serve images in another process, whose ledger costs this one no memory."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SCRIPTS / "scripts" / "private_server.py"), *here().chain),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


@case("T08", "uploads, downloads and files under a detector of blocking calls", "none blocks the loop")
async def blocking(stage: Stage) -> None:
    """Files are read and written by threads."""
    path = stage.folder / "photo.png"
    path.write_bytes(BIG)
    world = await stage.world(lambda _faulty: stored(Serve())(True))
    emulator = await stage.world(scripted())
    client = await stage.client(emulator.base_url)
    fetcher = await stage.client(world.base_url, **world.options)
    detector = BlockBuster(scanned_modules="burncloud_images", excluded_modules=["burncloud_images.emulator"])
    if stage.faulty:
        detector.activate()
    try:
        sinks = [Directory(stage.folder / f"out{number}", durable=True, hash=True) for number in range(2)]
        first = await stage.call(client.send(EditRequest(path, "a beret", **SMALL), into=sinks[0]))
        second = await stage.call(fetcher.send(GenerationRequest("otter", **SMALL), into=sinks[1]))
        third = await stage.call(generate(client))
        fourth = await stage.call(client.edit(lambda: path.open("rb"), "a beret", **SMALL))
    finally:
        if stage.faulty:
            detector.deactivate()
    stage.count(4)
    for outcome in (first, second, third, fourth):
        assert outcome.error is None, repr(outcome.error)
    await third.result.image.save(stage.folder / "saved.png")


@case("T09", "development mode, every warning an error", "no warning")
async def strictly(stage: Stage) -> None:
    """A program that does a little of everything ends in silence; the tests themselves all run so."""
    world = await stage.world(scripted(*[Fault(status=503)] * 2))
    await script(stage, "ordinary.py", world.base_url)
    stage.count(3)
    assert not stage.faulty or world.fired()
    assert 3 == stage.billed


@case("T10", "uvloop; asyncio's debug mode", "succeeds")
async def other_loops(stage: Stage) -> None:
    """Other loops and asyncio's own checks change nothing."""

    def play_of(**environment: str) -> Play:
        async def play(stage: Stage) -> None:
            world = await stage.world(scripted(Fault(cut="reset", place="upload", byte=0.5, operation="edits")))
            await script(stage, "ordinary.py", world.base_url, **environment)
            stage.count(3)
            assert 3 == stage.billed
            assert not stage.faulty or world.fired()

        return play

    await variants(stage, {"debug": play_of(PYTHONASYNCIODEBUG="1"), "uvloop": play_of(BURNCLOUD_LOOP="uvloop")})
