"""Group C: the server is not reached, or not securely."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from faults import authorities
from faults.authorities import Authority
from faults.gateway import Gateway, Step, document, http
from faults.proxy import BlackHole, Proxy, Toxic, free_port, pause
from faults.stage import (
    CANARY,
    Setting,
    Stage,
    World,
    emulated,
    fails,
    generate,
    held,
    scripted,
    succeeds,
    written,
)
from faults.table import case, row, variants
from ways import here

from burncloud_images import AsyncImagesClient, Network, Timeouts, errors
from burncloud_images.emulator import Emulator

# --- TCP -------------------------------------------------------------------------------------------------------------


@case("C01", "connection refused twice, then the server is up", succeeds(attempts=3))
async def refused_twice(stage: Stage) -> None:
    """The server starts during the second wait."""
    world = await stage.world(scripted())
    proxy = Proxy(world.emulator.port)
    stage.stack.push_async_callback(proxy.stop)
    port = free_port()
    if not stage.faulty:
        await proxy.start(port)

    async def wake(waits: int) -> None:
        if waits == 2:
            await proxy.start(port)

    stage.clock.on_sleep = wake
    client = await stage.client(f"{here().url(port)}/v1")
    outcome = await stage.call(generate(client))
    stage.judge(outcome, succeeds(attempts=3 if stage.faulty else 1))


@asynccontextmanager
async def nowhere(faulty: bool) -> AsyncIterator[World]:
    """Nobody listens."""
    async with Emulator(api_key=CANARY) as emulator:
        url = f"{here().url(free_port())}/v1" if faulty else emulator.base_url
        yield emulated(emulator, url, fired=lambda: True)


row("C02", "connection refused for ever", nowhere, fails(errors.ConnectionFailedError, posts=0, attempts=4))


@case("C03", "SYN swallowed by a full backlog", succeeds(attempts=2), scale=0.05)
async def black_hole(stage: Stage) -> None:
    """Ends at the connect timeout, to a tenth, and the server is there afterwards."""
    world = await stage.world(scripted())
    proxy, hole = Proxy(world.emulator.port), BlackHole()
    stage.stack.push_async_callback(proxy.stop)
    stage.stack.callback(hole.close)
    if not stage.faulty:
        hole.close()
        await proxy.start(hole.port)

    async def open_up(_waits: int) -> None:
        hole.close()
        await proxy.start(hole.port)

    stage.clock.on_sleep = open_up
    client = await stage.client(f"{here().url(hole.port)}/v1", timeouts=Timeouts(connect=9.99))
    outcome = await stage.call(generate(client))
    stage.judge(outcome, succeeds(attempts=2 if stage.faulty else 1))
    if stage.faulty:
        took = outcome.result.history[0].elapsed / stage.scale
        assert 9 <= took <= 11, f"the connect timeout of 10 s took {took:.1f} s"


# --- names -----------------------------------------------------------------------------------------------------------

Resolver = Callable[..., list[object]]


def resolve_by(stage: Stage, resolver: Resolver) -> None:
    """Answer every question for an address with *resolver*."""
    stage.monkeypatch.setattr(socket, "getaddrinfo", resolver)


def address(ip: str, port: int) -> tuple[object, ...]:
    """Return an entry as `getaddrinfo` gives it."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (ip, port, 0, 0) if ":" in ip else (ip, port)


@case("C04", "host name does not exist", fails(errors.ConnectionFailedError, posts=0, attempts=2))
async def no_such_name(stage: Stage) -> None:
    """One more try, then the caller is told."""
    world = await stage.world(scripted())
    asked = []

    def resolve(host: str, port: int, *_: object, **__: object) -> list[object]:
        asked.append(host)
        if stage.faulty:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [address("127.0.0.1", port)]

    resolve_by(stage, resolve)
    client = await stage.client(named(world), network=Network(allow_http=True))
    outcome = await stage.call(generate(client))
    plain = succeeds(attempts=1)
    stage.judge(outcome, fails(errors.ConnectionFailedError, posts=0, attempts=2) if stage.faulty else plain)
    assert asked


def named(world: World) -> str:
    """Return the world's address by a name."""
    return world.base_url.replace("127.0.0.1", "gateway.test")


@case("C05", "DNS takes 3 s while all file threads are stuck", succeeds())
async def slow_names(stage: Stage) -> None:
    """Names are resolved by other threads than those that read and write files."""
    world = await stage.world(scripted())
    released, asked = threading.Event(), threading.Event()

    def resolve(_host: str, port: int, *_: object, **__: object) -> list[object]:
        asked.set()
        if stage.faulty:
            threading.Event().wait(3 * stage.scale)
        return [address("127.0.0.1", port)]

    resolve_by(stage, resolve)
    client = await stage.client(named(world), network=Network(allow_http=True))
    executor = client._lifecycle.open().executor
    stuck = [executor.submit(released.wait) for _ in range(16 if stage.faulty else 0)]
    try:
        outcome = await stage.call(generate(client))
        assert asked.is_set()
        assert not any(task.done() for task in stuck)
    finally:
        released.set()
    stage.judge(outcome, succeeds(attempts=1))


@case("C06", "first address of the name is dead, the second lives", succeeds(attempts=1))
async def dead_address(stage: Stage) -> None:
    """All addresses are tried in one attempt."""
    world = await stage.world(scripted())
    dead = free_port()

    def resolve(_host: str, port: int, *_: object, **__: object) -> list[object]:
        return [*([address("::1", dead)] if stage.faulty else []), address("127.0.0.1", port)]

    resolve_by(stage, resolve)
    client = await stage.client(named(world), network=Network(allow_http=True))
    outcome = await stage.call(generate(client))
    stage.judge(outcome, succeeds(attempts=1))


# --- TLS -------------------------------------------------------------------------------------------------------------


def secured(bad: Callable[[], Authority]) -> Setting:
    """Return a setting whose certificate is bad."""

    @asynccontextmanager
    async def setting(faulty: bool) -> AsyncIterator[World]:
        authority = bad() if faulty else authorities.good()
        async with (
            Emulator(api_key=CANARY, tls=False) as emulator,
            Proxy(emulator.port, front=authority.server) as proxy,
        ):
            url = f"https://127.0.0.1:{proxy.port}/v1"
            yield emulated(emulator, url, fired=lambda: not proxy.connections, network=Network(ca=authority.client))

    return setting


DISTRUSTED = fails(errors.ConnectionFailedError, posts=0, attempts=1)

for number, fault, bad in (
    ("C07", "certificate of an unknown authority", authorities.self_signed),
    ("C08", "certificate of another host", authorities.wrong_host),
    ("C09", "certificate has expired", authorities.expired),
):
    row(number, fault, secured(bad), DISTRUSTED, rival=False)


@asynccontextmanager
async def unsecured(faulty: bool) -> AsyncIterator[World]:
    """The port speaks no TLS."""
    authority = authorities.good()
    async with Emulator(api_key=CANARY, tls=False) as emulator, Proxy(emulator.port, front=authority.server) as proxy:
        port = emulator.port if faulty else proxy.port
        url = f"https://127.0.0.1:{port}/v1"
        yield emulated(emulator, url, fired=lambda: True, network=Network(ca=authority.client))


row("C10", "plain HTTP on the TLS port", unsecured, DISTRUSTED, rival=False)


def broken_handshake(toxic: Toxic) -> Setting:
    """Return a setting in which the first handshake fails on the way."""

    @asynccontextmanager
    async def setting(faulty: bool) -> AsyncIterator[World]:
        authority = authorities.good()
        async with (
            Emulator(api_key=CANARY, tls=False) as emulator,
            Proxy(emulator.port, front=authority.server) as front,
            Proxy(front.port, *([toxic] if faulty else [])) as proxy,
        ):
            url = f"https://127.0.0.1:{proxy.port}/v1"
            yield emulated(emulator, url, fired=lambda: bool(proxy.fired), network=Network(ca=authority.client))

    return setting


row("C11", "TLS handshake stalls", broken_handshake(Toxic(action="stall", at=1)), succeeds(attempts=2), rival=False)
row("C12", "TLS handshake is reset", broken_handshake(Toxic(action="reset", at=1)), succeeds(attempts=2), rival=False)

# --- a proxy ---------------------------------------------------------------------------------------------------------


@case("C13", "proxy refuses the connection, or answers 407", "succeeds after retry; ConnectionFailedError")
async def refused_by_proxy(stage: Stage) -> None:
    """A proxy that is down may come up; one that refuses will refuse again."""
    await variants(stage, {"refused": proxy_down, "407": proxy_refuses})


async def proxy_down(stage: Stage) -> None:
    world = await stage.world(scripted(tls=False))
    proxy, port = Proxy(world.emulator.port), free_port()
    stage.stack.push_async_callback(proxy.stop)
    if not stage.faulty:
        await proxy.start(port)

    async def wake(_waits: int) -> None:
        await proxy.start(port)

    stage.clock.on_sleep = wake
    client = await stage.client(world.base_url, network=Network(proxy=f"http://127.0.0.1:{port}"))
    outcome = await stage.call(generate(client))
    stage.judge(outcome, succeeds(attempts=2 if stage.faulty else 1))
    assert proxy.connections


async def proxy_refuses(stage: Stage) -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    authority = authorities.good()
    async with Emulator(api_key=CANARY, tls=False) as emulator, Proxy(emulator.port, front=authority.server) as front:
        stage.worlds.append(emulated(emulator, "", fired=lambda: True))

        async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            there = await asyncio.open_connection("127.0.0.1", front.port)
            await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer))

        gateway = await stage.enter(Gateway(Step(answer=refusal if stage.faulty else tunnel, billed=False), plain=True))
        network = Network(proxy=f"http://127.0.0.1:{gateway.port}", ca=authority.client)
        async with AsyncImagesClient(
            CANARY, f"https://127.0.0.1:{front.port}/v1", network=network, clock=stage.clock
        ) as client:
            outcome = await stage.call(generate(client))
        assert gateway.heads[0].startswith(b"CONNECT ")
        assert b"authorization" not in gateway.heads[0].lower()
        stage.judge(outcome, DISTRUSTED if stage.faulty else succeeds(attempts=1))


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.close()


# --- the pool --------------------------------------------------------------------------------------------------------


@case("C14", "100 callers wait for two connections, longer than the connect timeout", "all succeed")
async def exhausted_pool(stage: Stage) -> None:
    """Waiting for one's turn is no timeout."""

    async def slowly(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await pause(0.01)
        writer.write(http(document()))

    calls = 102 if stage.faulty else 2
    world = await stage.world(lambda _faulty: Gateway_world(*[Step(answer=slowly, closes=False)] * calls))
    client = await stage.client(world.base_url, max_connections=2)
    outcomes = await asyncio.gather(*(stage.call(generate(client)) for _ in range(calls)))
    stage.count(calls)
    assert (calls, calls) == (stage.posts, stage.billed)
    assert all(outcome.error is None for outcome in outcomes)
    assert {1} == {len(outcome.result.history) for outcome in outcomes}
    assert 2 == world.gateway.busy
    if stage.faulty:
        assert max(outcome.elapsed for outcome in outcomes) > 10 * stage.scale, "nobody waited long enough"


def Gateway_world(*script: Step, **options: object):  # noqa: N802
    return written(*script, **options)(True)


@case("C15", "server closes idle connections, 200 calls around that moment", "all succeed at once", bound=40)
async def idle_race(stage: Stage) -> None:
    """Connections are given up before servers give them up: 0.1 s here, 0.2 s there, which is less than any other."""
    world = await stage.world(lambda _faulty: Gateway_world(idle=0.2 if stage.faulty else None))
    client = await stage.client(world.base_url)
    calls = 200 if stage.faulty else 20

    async def now_and_then(number: int) -> None:
        await pause((number % 20) * 0.015)  # 0 to 0.285 s: before, around and after
        outcome = await stage.call(generate(client))
        assert outcome.error is None, f"call {number}: {outcome.error!r}"
        assert 1 == len(outcome.result.history)

    async def worker(numbers: range) -> None:
        for number in numbers:
            await now_and_then(number)

    await asyncio.gather(*(worker(range(start, calls, 10)) for start in range(10)))
    stage.count(calls)
    assert (calls, calls) == (stage.posts, stage.billed)
    if stage.faulty:
        assert world.gateway.closed_idle or world.gateway.connections < calls, "no connection was idle"


@case("C16", "reused connection is cut after the whole request", held())
async def cut_when_reused(stage: Stage) -> None:
    """A request on an old connection may have been executed like any other."""
    steps = (Step(answer=http(document()), closes=False), Step())
    world = await stage.world(written(*steps))
    client = await stage.client(world.base_url)
    first = await stage.call(generate(client))
    second = await stage.call(generate(client))
    stage.count(2)
    assert first.error is None
    assert (2, 2) == (stage.posts, stage.billed)
    assert 1 == world.gateway.connections, "the connection was not used again"
    assert isinstance(second.error, errors.OutcomeUnknownError) == stage.faulty
    if stage.faulty:
        assert 1 == len(second.error.history)
