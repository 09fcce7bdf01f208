"""The proxy does what its toxics say, at the byte that they name."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from faults.proxy import BlackHole, Proxy, Toxic
from raw import answering, serve

REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b"y" * 500


@asynccontextmanager
async def through(*toxics: Toxic):
    """Give a server and a connection to it by way of the proxy."""
    async with serve(answering(ANSWER)) as raw, Proxy(raw.port, *toxics) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        try:
            yield raw, proxy, reader, writer
        finally:
            writer.transport.abort()


async def exchange(reader, writer) -> bytes:
    writer.write(REQUEST)
    return await reader.read()


async def test_without_toxics_it_passes_on():
    """Without toxics the proxy passes on both directions and the end of the connection."""
    async with through() as (raw, proxy, reader, writer):
        assert ANSWER == await exchange(reader, writer)
        assert [REQUEST] == raw.requests
        assert (1, []) == (proxy.connections, proxy.fired)


@pytest.mark.parametrize("at", [0.5, -1, -1000, 3])
async def test_a_request_is_cut_at_its_byte(at):
    """A request is cut at a byte that is given from the start, as a share, or from the end of the body."""
    async with through(Toxic(action="close", at=at)) as (raw, proxy, reader, writer):
        assert b"" == await exchange(reader, writer)
        assert [] == raw.requests
        assert 1 == len(proxy.fired)


async def test_an_answer_is_cut_at_its_byte():
    """An answer is cut at exactly the given byte."""
    async with through(Toxic(action="close", direction="down", at=100)) as (raw, _, reader, writer):
        assert ANSWER[:100] == await exchange(reader, writer)
        assert [REQUEST] == raw.requests


async def test_a_reset_is_one():
    """The client sees a reset and not a plain end."""
    async with through(Toxic(action="reset", direction="down", at=100)) as (_, _, reader, writer):
        writer.write(REQUEST)
        await reader.readexactly(100)
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_half_close_ends_one_direction():
    """After a half-close the other direction can still be written to."""
    async with through(Toxic(action="half-close", direction="down", at=100)) as (_, _, reader, writer):
        assert ANSWER[:100] == await exchange(reader, writer)
        assert not writer.transport.is_closing()


async def test_a_stall_says_nothing():
    """A stalled connection stays silent until one side leaves."""
    async with through(Toxic(action="stall", direction="down", at=100)) as (_, _, reader, writer):
        writer.write(REQUEST)
        assert ANSWER[:100] == await reader.readexactly(100)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.02)


@pytest.mark.parametrize("action", ["slice", "drip"])
async def test_slices_are_single_bytes(action):
    """All bytes arrive, one in each slice."""
    async with through(Toxic(action=action, direction="down")) as (_, proxy, reader, writer):
        assert ANSWER == await exchange(reader, writer)
        assert 1 == len(proxy.fired)


async def test_only_the_connection_that_is_meant_is_hit():
    """A toxic hits only the connection whose number it has."""
    async with through(Toxic(action="close", connection=1)) as (raw, proxy, reader, writer):
        assert ANSWER == await exchange(reader, writer)
        second = await asyncio.open_connection("127.0.0.1", proxy.port)
        with suppress(ConnectionResetError):  # it was closed on unread bytes
            assert b"" == await exchange(*second)
        assert [REQUEST] == raw.requests
        assert 1 == len(proxy.fired)
        second[1].transport.abort()


async def test_it_waits_and_it_calls():
    """The proxy pauses at the given byte, calls back, and then goes on."""
    called = []
    toxics = (Toxic(action="wait", at=20, seconds=0.02), Toxic(action="call", at=-1, then=lambda: called.append(1)))
    async with through(*toxics) as (raw, proxy, reader, writer):
        assert ANSWER == await exchange(reader, writer)
        assert [REQUEST] == raw.requests
        assert [1] == called
        assert 2 == len(proxy.fired)


async def test_a_black_hole_answers_to_no_knock():
    """A black hole neither accepts nor refuses a connection."""
    hole = BlackHole()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.open_connection("127.0.0.1", hole.port)
    finally:
        hole.close()
