"""The CONNECT proxy tunnels what it should, and breaks where it is told to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from raw import serve
from tunnels import Break, Tunnels

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


async def echo(reader, writer, _request):
    """Answer every piece with itself."""
    while piece := await reader.read(65_536):
        writer.write(piece)
        await writer.drain()


@asynccontextmanager
async def tunnelled(*breaks: Break, refusals: tuple[bytes, ...] = ()):
    """Give the proxy, and a connection that has asked it for a tunnel to a server which echoes."""
    async with serve(echo, read=False, plain=True) as raw, Tunnels(*breaks, refusals=refusals) as tunnels:
        reader, writer = await asyncio.open_connection("127.0.0.1", tunnels.port)
        try:
            writer.write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % raw.port)
            yield tunnels, reader, writer
        finally:
            writer.transport.abort()


async def test_it_passes_on_both_ways():
    """A tunnel passes on both directions and is counted."""
    async with tunnelled() as (tunnels, reader, writer):
        assert ESTABLISHED == await reader.readexactly(len(ESTABLISHED))
        writer.write(b"x" * 300_000)
        writer.write_eof()
        echoed = await reader.read(-1)

    assert 300_000 == len(echoed)
    assert 1 == tunnels.opened
    assert [] == tunnels.broken


async def test_it_refuses_as_it_is_told():
    """The proxy refuses a tunnel once for each answer that it was given."""
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    async with tunnelled(refusals=(refusal,)) as (tunnels, reader, _writer):
        assert refusal == await reader.read(-1)

    assert 0 == tunnels.opened
    assert 1 == len(tunnels.heads)


@pytest.mark.parametrize("request_line", [b"GET http://127.0.0.1/ HTTP/1.1", b"CONNECT 127.0.0.1:1 HTTP/1.1"])
async def test_what_cannot_be_tunnelled_is_refused(request_line):
    """The proxy refuses another method, and a server that is not there."""
    async with Tunnels() as tunnels:
        reader, writer = await asyncio.open_connection("127.0.0.1", tunnels.port)
        writer.write(request_line + b"\r\n\r\n")
        answer = await reader.read(-1)
        writer.close()

    assert answer.split()[1] in {b"405", b"502"}
    assert 0 == tunnels.opened


async def test_a_cut_comes_at_its_byte():
    """The server gets all bytes before the cut, and the client sees the connection end."""
    async with tunnelled(Break(how="cut", after=1000)) as (tunnels, reader, writer):
        await reader.readexactly(len(ESTABLISHED))
        writer.write(b"x" * 999)
        assert 999 == len(await reader.readexactly(999))
        writer.write(b"x" * 999)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(999)

    assert 1 == len(tunnels.broken)


async def test_a_cut_can_wait_for_the_answer():
    """The whole request is passed on, and nothing of the answer after the cut arrives."""
    async with tunnelled(Break(how="cut", after=1000, answered=True)) as (tunnels, reader, writer):
        await reader.readexactly(len(ESTABLISHED))
        writer.write(b"x" * 1000)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)

    assert 1 == len(tunnels.broken)


async def test_a_stall_lasts_until_the_client_leaves():
    """A stalled tunnel sends nothing and stays open until the client leaves."""
    async with tunnelled(Break(how="stall", after=10)) as (tunnels, reader, writer):
        await reader.readexactly(len(ESTABLISHED))
        writer.write(b"x" * 20)
        assert b"x" * 10 == await reader.readexactly(10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.02)

    assert 1 == len(tunnels.broken)
