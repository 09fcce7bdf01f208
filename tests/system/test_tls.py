"""Over HTTPS: what is sent arrives whole, and how far it got is known as well as on plain sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterator

import pytest
import trustme
from fakes import FakeClock, until
from leaks import open_descriptors
from pictures import png

from burncloud_images import AsyncImagesClient, Network, RetryPolicy, Timeouts, errors
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.transport import upload_body

SMALL = {"model": "gpt-image-2", "size": "1024x640"}
KB, MB = 1000, 1_000_000
LARGEST = pytest.param(49 * MB, marks=pytest.mark.slow)


def client_of(emulator: Emulator, **options: object) -> AsyncImagesClient:
    options = {"clock": FakeClock(0.1), "network": Network(ca=emulator.ca), **options}
    return AsyncImagesClient(emulator.api_key, emulator.base_url, **options)


async def pieces_of(data: bytes):
    for start in range(0, len(data), 300_000):
        yield data[start : start + 300_000]


class TestUploads:
    """An empty buffer of a TLS transport counts as full where its limit is 0."""

    @pytest.mark.parametrize("size", [1 * KB, 64 * KB, 300 * KB, 1 * MB, 4 * MB, 16 * MB, LARGEST])
    async def test_an_edit_arrives_whole(self, size):
        """The server gets every byte of an edit of any size."""
        image = png(pad=size)

        async with Emulator(tls=True) as emulator, client_of(emulator) as client:
            result = await client.edit(image, "a beret", **SMALL)

        (entry,) = emulator.ledger.requests
        assert result.image.media_type == "image/png"
        assert entry.complete
        assert entry.parts[0].size == len(image)

    @pytest.mark.parametrize("kind", ["path", "bytes", "file", "iterator", "sixteen"])
    async def test_every_kind_of_source_arrives_whole(self, kind, tmp_path):
        """Paths, bytes, open files, iterators, and sixteen images at once arrive whole."""
        image = png(pad=700 * KB)
        path = tmp_path / "photo.png"
        path.write_bytes(image)
        source = {
            "path": path,
            "bytes": image,
            "file": io.BytesIO(image),
            "iterator": pieces_of(image),
            "sixteen": [image] * 16,
        }[kind]

        async with Emulator(tls=True) as emulator, client_of(emulator) as client:
            await client.edit(source, "a beret", **SMALL)

        (entry,) = emulator.ledger.requests
        assert [part.size for part in entry.parts] == [len(image)] * (16 if kind == "sixteen" else 1)

    async def test_a_variation_arrives_whole(self):
        """The server gets every byte of a variation."""
        async with Emulator(tls=True) as emulator, client_of(emulator) as client:
            result = await client.create_variation(png(256, 256, pad=2 * MB), model="dall-e-2", size="256x256")

        assert result.image.width == 256
        assert emulator.ledger.billed_requests == 1

    async def test_a_context_of_the_callers_own_serves(self):
        """The caller's own TLS context is used instead of a file of authorities."""
        import trustme

        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        trust = ssl.create_default_context()
        authority.configure_trust(trust)

        async with Emulator(tls=context) as emulator, client_of(emulator, network=Network(ca=trust)) as client:
            await client.generate("an otter", **SMALL)

        assert emulator.ca is None
        assert emulator.ledger.billed_requests == 1

    async def test_nobody_else_trusts_the_certificate(self):
        """Nothing is sent to a server with an unknown authority."""
        async with Emulator(tls=True) as emulator, client_of(emulator, network=Network()) as client:
            with pytest.raises(errors.ConnectionFailedError, match="certificate"):
                await client.generate("an otter", **SMALL)

        assert emulator.ledger.requests == ()


class TestControl:
    """With a limit of 0 the same uploads hang, so it is the limit that lets them go on, and these tests see it."""

    @pytest.mark.parametrize("size", [1 * KB, 300 * KB, 4 * MB])
    @pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
    async def test_with_a_limit_of_0_an_upload_over_tls_stalls(self, size, tls, monkeypatch):
        """With a buffer limit of 0 an upload over TLS stalls after its first piece, and a plain one does not."""
        monkeypatch.setattr(upload_body, "LEAST_BUFFER", 0)
        options = {"retry": RetryPolicy(attempts=1), "timeouts": Timeouts(send_stall=3)}

        async with Emulator(tls=tls) as emulator, client_of(emulator, **options) as client:
            uploading = client.edit(png(pad=size), "a beret", **SMALL)
            if tls:
                with pytest.raises(errors.ConnectionFailedError) as caught:
                    await uploading
                assert caught.value.phase is errors.Phase.BODY
            else:
                await uploading

        assert emulator.ledger.billed_requests == (0 if tls else 1)


class TestCuts:
    """Where a request was cut decides whether it may be sent again."""

    @pytest.mark.parametrize("size", [4 * MB, 8 * MB, LARGEST])
    @pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
    async def test_an_upload_that_is_cut_at_half_is_sent_again(self, size, tls):
        """An upload that is cut at half was not billed and is sent again."""
        fault = Fault(cut="reset", place="upload", byte=0.5)

        async with Emulator(tls=tls, faults=[fault]) as emulator, client_of(emulator) as client:
            result = await client.edit(png(pad=size), "a beret", **SMALL)

        assert [attempt.phase for attempt in result.history] == [errors.Phase.BODY, errors.Phase.COMPLETE]
        assert (len(emulator.ledger.requests), emulator.ledger.billed_requests) == (2, 1)

    @pytest.mark.parametrize("size", [1 * KB, 300 * KB, 4 * MB])
    @pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
    async def test_an_upload_that_is_cut_at_its_end_is_held(self, size, tls):
        """An upload that is cut at its end may have been billed and is not sent again."""
        fault = Fault(cut="reset", billed=True)

        async with Emulator(tls=tls, faults=[fault]) as emulator, client_of(emulator) as client:
            with pytest.raises(errors.OutcomeUnknownError) as caught:
                await client.edit(png(pad=size), "a beret", **SMALL)

        assert caught.value.phase is errors.Phase.FINAL_RELEASED
        assert (len(emulator.ledger.requests), emulator.ledger.billed_requests) == (1, 1)

    @pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
    @pytest.mark.parametrize("kind", ["bytes", "path"])
    async def test_a_cut_is_noticed_while_nothing_waits(self, kind, tls, certificates, tmp_path, caplog):
        """A cut is noticed even if no write has to wait."""
        image = png(pad=32 * MB)
        path = tmp_path / "photo.png"
        path.write_bytes(image)
        source = image if kind == "bytes" else path
        retry, network = RetryPolicy(attempts=1), Network(ca=certificates.client)

        with resetting(8 * MB, certificates.server if tls else None) as port:
            url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
            async with AsyncImagesClient("sk", url, retry=retry, network=network, clock=FakeClock(1)) as client:
                with pytest.raises((errors.ConnectionFailedError, errors.OutcomeUnknownError)) as caught:
                    await client.edit(source, "a beret", **SMALL)

        # uvloop has no way to what lies below TLS, so there a cut may count as later than it was.
        if not (tls and is_uvloop()):
            assert isinstance(caught.value, errors.ConnectionFailedError)
            assert caught.value.phase is errors.Phase.BODY
            assert caught.value.history[0].sent < len(image)
        assert [record.message for record in caplog.records if record.name == "asyncio"] == []


def is_uvloop() -> bool:
    return type(asyncio.get_running_loop()).__module__.startswith("uvloop")


@contextlib.contextmanager
def resetting(size: int, context: ssl.SSLContext | None) -> Iterator[int]:
    """Serve one connection in a thread: read *size* bytes and reset it; give the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with context.wrap_socket(connection, server_side=True) if context else connection as reading:
            left = size
            while left > 0:
                left -= len(reading.recv(65_536))
            reading.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join()
        listener.close()


# --- the end of a connection -----------------------------------------------------------------------------------------

ANSWER = json.dumps({"created": 1, "data": [{"b64_json": base64.b64encode(png()).decode()}]}).encode()


@contextlib.contextmanager
def taciturn(server: ssl.SSLContext) -> Iterator[tuple[int, threading.Event]]:
    """Serve one answer, hear a goodbye and say none; yield the port, and what tells that it was heard."""
    heard, ended = threading.Event(), threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with server.wrap_socket(connection, server_side=True) as encrypted:
            received = b""
            while b"\r\n\r\n{" not in received:
                received += encrypted.recv(65536)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(ANSWER)}\r\n\r\n"
            encrypted.sendall(head.encode() + ANSWER)
            if not encrypted.recv(1):
                heard.set()
            ended.wait()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1], heard
        finally:
            ended.set()
            thread.join()


async def test_no_socket_outlives_the_client():
    """A server that does not answer the goodbye of an idle connection keeps no socket open."""
    authority = trustme.CA()
    server, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(trusting)
    with taciturn(server) as (port, heard):
        before = open_descriptors()
        async with AsyncImagesClient("k", f"https://127.0.0.1:{port}/v1", network=Network(ca=trusting)) as client:
            await client.generate("an otter", **SMALL)
            mine = open_descriptors().keys() - before.keys()
            await until(heard.is_set)
        left = open_descriptors().keys() & mine

    assert 2 == len(mine)  # and the one that the server accepted
    assert 1 == len(left)
