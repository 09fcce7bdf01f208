"""The columns of tests: what a way changes, and how cases are counted."""

from __future__ import annotations

import pytest
from fakes import FakeClock
from raw import answering, serve
from ways import here

from burncloud_images import AsyncImagesClient, errors
from burncloud_images.emulator import Emulator

pytestmark = pytest.mark.ways("tls", "connect")

SMALL = {"model": "gpt-image-2", "size": "1024x640"}
SCHEMES = {"plain": "http", "tls": "https", "connect": "https"}
TLS_RECORD = b"\x16\x03"


async def test_an_emulator_and_a_client_meet_on_every_way(way, request):
    """The server's address alone decides which way a client takes, and the proxy counts what passes."""
    async with Emulator() as emulator, AsyncImagesClient(emulator.api_key, emulator.base_url) as client:
        await client.generate("an otter", **SMALL)

    assert emulator.base_url.startswith(f"{SCHEMES[way.name]}:")
    assert emulator.ledger.billed_requests == 1
    if way.name == "connect":
        tunnels = request.getfixturevalue("tunnels")
        assert tunnels.opened == 1
        assert tunnels.heads[0].startswith(f"CONNECT 127.0.0.1:{emulator.port} ".encode())
        assert emulator.api_key.encode() not in tunnels.heads[0]


async def test_a_server_of_a_test_goes_by_the_way(way):
    """A test's server reads plain text, whether the client's bytes are encrypted on the way or not."""
    answer = b"HTTP/1.1 400 X\r\nContent-Length: 0\r\n\r\n"
    async with serve(answering(answer)) as raw, AsyncImagesClient("sk", raw.url, clock=FakeClock()) as client:
        with pytest.raises(errors.BadRequestError):
            await client.generate("an otter", **SMALL)

    assert raw.url == here().url(raw.port)
    assert raw.requests[0].startswith(b"POST /v1/images/generations")


@pytest.mark.only("tls", "connect", reason="nothing is encrypted there")
async def test_bytes_on_the_way_are_encrypted():
    """The first bytes are a TLS handshake, with a tunnel or without."""
    came = []

    async def note(reader, _writer, _request):
        came.append(await reader.read(16))

    async with serve(note, read=False, plain=True) as raw:
        url = raw.url.replace("http:", "https:")
        async with AsyncImagesClient("sk", url, clock=FakeClock()) as client:
            with pytest.raises(errors.ConnectionFailedError):
                await client.generate("an otter", **SMALL)

    assert came[0].startswith(TLS_RECORD)
