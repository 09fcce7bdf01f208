"""Stages, their times, and answers that no server should give."""

from __future__ import annotations

import asyncio
import base64
import copy
import errno
import gzip
import json
import os
import socket
import ssl
import time
import warnings
import zlib
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol
from fakes import FakeClock, until
from leaks import open_descriptors
from multidict import CIMultiDict
from pictures import png
from raw import answering, hang, read_request, serve

from burncloud_images import AsyncImagesClient, Limits, Network, RetryPolicy, Timeouts, errors
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.errors import Phase
from burncloud_images.settings import proxy_for, to_ssl
from burncloud_images.transport.clock import SystemClock
from burncloud_images.transport.connection_errors import meaning
from burncloud_images.transport.http import KEEP_ALIVE, AiohttpResponse
from burncloud_images.transport.interface import AttemptState

pytestmark = pytest.mark.ways("tls")

ONCE = RetryPolicy(attempts=1)
IMAGE = png(64, 64)
BODY = json.dumps({"created": 1, "data": [{"b64_json": base64.b64encode(IMAGE).decode()}]}).encode()


def client_of(raw, **options):
    options = {"retry": ONCE, "clock": FakeClock(), **options}
    return AsyncImagesClient("sk-canary", raw if isinstance(raw, str) else raw.url, **options)


def answer(body=BODY, *headers, status="200 OK"):
    return b"\r\n".join([f"HTTP/1.1 {status}".encode(), *headers, b"Content-Length: %d" % len(body), b"", body])


class TestStages:
    """Each stage has its own time; waiting for a connection has none."""

    async def test_a_handshake_that_never_comes_is_a_failed_connection(self):
        """A TLS handshake that never ends is a failed connection."""
        async with (
            serve(hang, read=False, plain=True) as raw,
            client_of(raw.url.replace("http:", "https:"), timeouts=Timeouts(connect=0.05)) as client,
        ):
            with pytest.raises(errors.ConnectionFailedError, match="while connecting") as caught:
                await client.generate("otter", model="m")

        assert Phase.CONNECTING == caught.value.phase
        assert caught.value.retryable is None
        assert caught.value.timed_out
        assert f"Nothing moved for 0.05 s (Timeouts.connect) while connecting, with 127.0.0.1:{raw.port}." in str(
            caught.value
        )

    async def test_tls_that_cannot_be_is_not_tried_again(self):
        """A failed TLS verification is not retried, because the next attempt would meet the same server."""
        async with (
            Emulator(tls=False) as emulator,
            client_of(emulator.base_url.replace("http:", "https:"), retry=RetryPolicy()) as client,
        ):
            with pytest.raises(errors.ConnectionFailedError, match="TLS") as caught:
                await client.generate("otter", model="m")

        assert caught.value.retryable is False
        assert 1 == len(caught.value.history)

    async def test_a_late_first_byte_is_waited_for(self):
        """A late first byte is waited for, even if the phases before have shorter timeouts."""
        async with (
            Emulator(faults=[Fault(delay=1.2)]) as emulator,
            AsyncImagesClient(
                emulator.api_key,
                emulator.base_url,
                clock=FakeClock(),
                timeouts=Timeouts(connect=1, send_stall=1, idle=30, first_byte=30),
            ) as client,
        ):
            result = await client.generate("otter", model="gpt-image-2", size="1024x640")

        assert Phase.COMPLETE == result.history[0].phase

    async def test_waiting_for_a_connection_has_no_time(self):
        """A second call may wait for the only connection for longer than any timeout of a phase."""
        stage = 1.0
        async with (
            Emulator(faults=[Fault(delay=1.2 * stage)]) as emulator,
            AsyncImagesClient(
                emulator.api_key, emulator.base_url, clock=FakeClock(), retry=ONCE, max_connections=1
            ) as client,
        ):
            short = client.with_options(
                timeouts=Timeouts(connect=stage, send_stall=stage, first_byte=stage, idle=stage)
            )
            first = asyncio.create_task(client.generate("1", model="gpt-image-2", size="1024x640"))
            await until(lambda: emulator.ledger.requests)
            started = time.monotonic()
            await short.generate("2", model="gpt-image-2", size="1024x640")

            assert time.monotonic() - started > stage
            assert first.done()


class TestConnections:
    """One that was idle may be closing, and what is sent into it may be paid for or not."""

    @pytest.mark.parametrize(("idle", "connections"), [(0.0, 1), (1.5 * KEEP_ALIVE, 3)], ids=["at once", "later"])
    async def test_a_connection_is_used_again_at_once_or_not_at_all(self, idle, connections):
        """Quick calls share a connection, and an idle one is closed before any server would close it."""
        opened = []

        async def keep_open(reader, writer, _request):
            opened.append(writer)
            while True:
                writer.write(answer())
                await writer.drain()
                await read_request(reader)

        async with serve(keep_open) as raw, client_of(raw) as client:
            for _ in range(3):
                await client.generate("otter", model="m")
                ended = time.monotonic()
                await until(lambda ended=ended: time.monotonic() - ended >= idle)

        assert connections == len(opened)


class TestAnswers:
    """Answers that are broken at every place are unknown, never a bad request."""

    @pytest.mark.parametrize(
        "parts",
        [
            (b"HTTP/1.1 2",),
            (b"HTTP/1.1 200 OK\r\nContent-Le",),
            (b"SSH-2.0-OpenSSH_9.2\r\n\r\n",),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",),
            (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 10\r\n\r\n",),
            (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"cre\r\n',),
            (answer(gzip.compress(BODY)[:40] + b"\xff" * 90, b"Content-Encoding: gzip"),),
        ],
        ids=["status line", "headers", "garbage", "chunk size", "large header", "two lengths", "chunk", "gzip"],
    )
    async def test_a_broken_answer_is_unknown(self, parts):
        """A broken answer is sent once and raises an error that may have been billed."""
        async with serve(answering(*parts)) as raw, client_of(raw, retry=RetryPolicy()) as client:
            with pytest.raises(errors.OutcomeUnknownError) as caught:
                await client.generate("otter", model="m")

        assert 1 == len(raw.requests)
        assert "canary" not in str(caught.value)

    @pytest.mark.parametrize("size", [1, 7, 1000])
    async def test_an_answer_in_pieces_is_whole(self, size):
        """An answer is read whole, however its bytes are cut."""
        whole = answer()
        parts = [whole[start : start + size] for start in range(0, len(whole), size)]
        async with serve(answering(*parts)) as raw, client_of(raw) as client:
            result = await client.generate("otter", model="m")

        assert IMAGE == result.image.data

    @pytest.mark.parametrize(
        ("encoding", "compress"),
        [
            (b"gzip", gzip.compress),
            (b"gzip", lambda body: gzip.compress(body[:50]) + gzip.compress(body[50:])),
            (b"gzip", lambda body: gzip.compress(body) + bytes(512)),
            (b"gzip", zlib.compress),
            (b"deflate", zlib.compress),
            (b"deflate", lambda body: zlib.compress(body, wbits=-15)),
            (b"deflate", gzip.compress),
            (b"br", gzip.compress),
            (b"identity", bytes),
            (b"gzip", bytes),
            (b"deflate", bytes),
            (b"br", bytes),
        ],
        ids=[
            *("gzip", "two members", "padding", "zlib as gzip", "zlib", "raw deflate", "gzip as deflate", "gzip as br"),
            *("identity", "plain as gzip", "plain as deflate", "plain as br"),
        ],
    )
    async def test_a_compressed_answer_is_read_although_none_was_asked_for(self, encoding, compress):
        """A compressed answer is read, although none was asked for."""
        body = compress(BODY)
        async with serve(answering(answer(body, b"Content-Encoding: " + encoding))) as raw, client_of(raw) as client:
            result = await client.generate("otter", model="m")

        assert IMAGE == result.image.data

    async def test_an_unknown_compression_is_a_protocol_error(self):
        """The error names the encoding and holds the answer as it came."""
        body = b"\x1b\x03" + BODY[::-1]
        async with serve(answering(answer(body, b"Content-Encoding: br"))) as raw, client_of(raw) as client:
            with pytest.raises(errors.ProtocolError, match="encoded as br") as caught:
                await client.generate("otter", model="m")

        assert body == caught.value.raw

    async def test_an_interim_answer_is_passed_over(self):
        """An interim answer 103 before the 200 is skipped."""
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        async with serve(answering(interim, answer())) as raw, client_of(raw) as client:
            result = await client.generate("otter", model="m")

        assert IMAGE == result.image.data


class TestLimits:
    """Past a cap the error names it, and what was not asked for is not read."""

    async def test_an_answer_that_announces_too_much_is_not_read(self):
        """An answer that announces ten terabytes is not read."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000000\r\n\r\n"
        async with serve(answering(head)) as raw, client_of(raw) as client:
            with pytest.raises(errors.TooLargeError, match=r"Limits\.response"):
                await client.generate("otter", model="m")

    @pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"])
    async def test_an_endless_answer_ends_at_the_cap(self, head):
        """An endless answer ends at the cap, even if it is small when compressed."""
        body = b'{"data":[{"b64_json":"' + b"A" * 3_000_000
        sent = gzip.compress(body) if b"gzip" in head else body
        limits = Limits(response=2_000_000)
        async with serve(answering(head, sent)) as raw, client_of(raw, limits=limits) as client:
            with pytest.raises(errors.TooLargeError, match=r"Limits\.response"):
                await client.generate("otter", model="m")

    async def test_an_image_beyond_its_cap_is_not_taken(self):
        """An image above the cap is refused, whatever else the answer holds."""
        async with serve(answering(answer())) as raw, client_of(raw, limits=Limits(image=50)) as client:
            with pytest.raises(errors.TooLargeError, match=r"Limits\.image"):
                await client.generate("otter", model="m")

    async def test_a_long_error_is_cut(self):
        """A long error body is truncated, as the status says enough."""
        body = b"x" * 300_000
        async with (
            serve(answering(answer(body, status="400 Bad Request"))) as raw,
            client_of(raw, limits=Limits(error_body=1000)) as client,
        ):
            with pytest.raises(errors.BadRequestError) as caught:
                await client.generate("otter", model="m")

        assert 1000 == len(caught.value.body)

    @pytest.mark.parametrize("value", [0, -1, float("nan")])
    def test_a_limit_that_is_none_is_refused(self, value):
        """A limit or timeout that is not a positive number is refused."""
        with pytest.raises(ValueError, match="more than 0"):
            Limits(image=value)
        with pytest.raises(ValueError, match="more than 0"):
            Timeouts(idle=value)


class TestWords:
    """What failed, in words for people and without addresses."""

    async def test_a_refused_connection(self):
        """The error names the host and port and is not a tuple."""
        async with client_of("http://127.0.0.1:9") as client:
            with pytest.raises(errors.ConnectionFailedError) as caught:
                await client.generate("otter", model="m")

        said = "The connection to 127.0.0.1:9 failed while connecting: connection refused. "
        assert f"{said}The base URL was given as base_url." == caught.value.message
        assert not caught.value.timed_out

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (OSError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 9)"), "connection refused"),
            (OSError(errno.EHOSTUNREACH, "[Errno 113] ('10.0.0.1', 9)"), "it cannot be reached"),
            (OSError(errno.EMFILE, "x"), "too many open files"),
            (OSError(errno.ECONNREFUSED, "Multiple exceptions: ('10.0.0.1', 9), ('::1', 9)"), "connection refused"),
            (OSError("Multiple exceptions: ('10.0.0.1', 9)"), "OSError"),
            (OSError(98765, "('10.0.0.1', 9)"), "OSError"),
            (aiohttp.ServerDisconnectedError(), "the other side closed the connection"),
            (ValueError("http://10.0.0.1/?sig=1"), "ValueError"),
        ],
    )
    def test_an_error_of_the_system(self, error, words):
        """An error of the system is classified by its number."""
        assert words == meaning(error)


class TestAuthorities:
    """A file of certificate authorities that cannot be used is a mistake of the caller's."""

    @pytest.mark.parametrize(
        ("content", "words"), [(None, "No such file"), (b"", "no PEM certificate"), (b"otter", "no PEM certificate")]
    )
    async def test_a_bad_file_is_a_configuration_error(self, tmp_path, content, words):
        """A bad file of authorities is a `ConfigurationError` that names the file, and nothing is sent."""
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_bytes(content)
        async with client_of("https://127.0.0.1:9", network=Network(ca=path)) as client:
            with pytest.raises(errors.ConfigurationError, match=words) as caught:
                await client.generate("otter", model="m")

        assert str(path) in str(caught.value)
        assert "Nothing was sent." in str(caught.value)

    def test_a_folder_or_a_name_that_cannot_be_is_one_too(self, tmp_path):
        """A folder or an impossible name is a `ConfigurationError`, whatever Python raises."""
        for path in (tmp_path, "a\0b"):
            with pytest.raises(errors.ConfigurationError, match=r"Network\.ca, cannot be read"):
                to_ssl(Network(ca=path))

    def test_a_context_of_ones_own_is_taken_as_it_is(self):
        """A TLS context of the caller is used as it is, and the system's authorities without one."""
        context = ssl.create_default_context()

        assert context is to_ssl(Network(ca=context))
        assert to_ssl(Network()) is True


class TestSecrets:
    """The key goes to the API and nowhere else."""

    async def test_an_error_that_echoes_the_key_is_redacted(self):
        """The key is removed from an error in which a gateway echoes it."""
        body = json.dumps({"error": {"message": "bad key sk-canary", "code": "invalid_api_key"}}).encode()
        async with serve(answering(answer(body, status="401 Unauthorized"))) as raw, client_of(raw) as client:
            with pytest.raises(errors.AuthenticationError) as caught:
                await client.generate("otter", model="m")

        assert "canary" not in str(caught.value) + repr(caught.value.body)
        assert "sk-canary" in raw.requests[0].decode()

    async def test_a_redirect_is_not_followed(self):
        """A redirect is not followed, because the body and the key would go with it."""
        async with serve(answering(answer(b""))) as other:
            location = f"Location: {other.url}/x?sig=canary".encode()
            redirect = answer(b"", location, status="307 Temporary Redirect")
            async with serve(answering(redirect)) as raw, client_of(raw) as client:
                with pytest.raises(errors.ProtocolError) as caught:
                    await client.generate("otter", model="m")

        assert [] == other.requests
        assert "canary" not in str(caught.value)

    def test_proxies_of_the_environment_count_only_if_asked(self, monkeypatch):
        """Proxies of the environment are used only with `trust_env`, and hosts can be excluded."""
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "inside.example")

        assert proxy_for(Network(), "https", "gateway.example") is None
        assert "http://127.0.0.1:9" == proxy_for(Network(trust_env=True), "https", "gateway.example")
        assert proxy_for(Network(trust_env=True), "https", "inside.example") is None
        assert "http://p:1" == proxy_for(Network(proxy="http://p:1"), "https", "gateway.example")
        assert "canary" not in repr(Network(proxy="http://me:canary@p:1"))
        assert "http://p:1" == proxy_for(Network(proxy="p:1"), "https", "gateway.example")

    @pytest.mark.parametrize(
        "proxy", ["socks5://{}", "SOCKS5H://{}", "socks4://me:canary@{}", "ftp://{}", "http://", "//"]
    )
    @pytest.mark.parametrize("given", ["option", "environment", "environment later", "session of the caller's"])
    async def test_a_proxy_of_another_kind_gets_nothing(self, proxy, given, monkeypatch):
        """A SOCKS proxy is refused, as it would receive the request and the key in plain text."""
        connections = []

        async def accept(_reader, _writer, _request):
            connections.append(1)

        async def call():
            network = Network(
                proxy=proxy.format(place) if given == "option" else None, trust_env="environment" in given
            )
            options = {"network": network, "session": session, "retry": ONCE}
            async with AsyncImagesClient("sk-canary", "http://127.0.0.1:9", **options) as client:
                monkeypatch.setenv("http_proxy", proxy.format(place))
                await client.generate("otter", model="m")

        async with serve(accept, read=False) as raw, aiohttp.ClientSession(trust_env=True) as own:
            place = raw.url.partition("://")[2]
            session = own if given.startswith("session") else None
            monkeypatch.setenv("no_proxy", "")
            if given == "environment":
                monkeypatch.setenv("http_proxy", proxy.format(place))
            with pytest.raises(errors.ConfigurationError, match=r"The proxy in .* (is asked by|has no host)") as caught:
                await call()

        assert [] == connections
        assert "canary" not in str(caught.value)


def dripping(slow, rest=b""):
    """Return a handler that writes *slow* byte by byte, and then the *rest*."""

    async def handle(_reader, writer, _request):
        for byte in slow:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.002)
        writer.write(rest)

    return handle


SPACES = b" " * 100
SPACED = answer(SPACES + BODY)[: -len(BODY)]


class TestSlowAnswers:
    """An answer has to move, and not only by a byte at a time."""

    async def test_a_byte_now_and_then_is_not_waited_for(self):
        """An answer with less than a KiB within the idle time is given up."""
        started = time.monotonic()
        async with serve(dripping(answer())) as raw, client_of(raw, timeouts=Timeouts(idle=0.05)) as client:
            with pytest.raises(errors.OutcomeUnknownError, match="Nothing moved"):
                await client.generate("otter", model="m")

        assert time.monotonic() - started < 0.002 * len(answer())

    async def test_a_kib_now_and_then_is(self):
        """An answer with a KiB within each idle time is waited for, however long it takes."""
        data = base64.b64encode(png(pad=20_000))
        text = answer(b'{"data": [{"b64_json": "' + data + b'"}]}')

        async def handle(_reader, writer, _request):
            for start in range(0, len(text), 1500):
                writer.write(text[start : start + 1500])
                await asyncio.sleep(0.04)

        started = time.monotonic()
        async with serve(handle) as raw, client_of(raw, timeouts=Timeouts(idle=0.5)) as client:
            result = await client.generate("otter", model="m")

        assert time.monotonic() - started > 0.5
        assert 1 == len(result.images)

    async def test_white_space_before_an_answer_is_a_sign_of_life(self):
        """White space before an answer counts as waiting for the first byte."""
        async with serve(dripping(SPACED, BODY)) as raw, client_of(raw, timeouts=Timeouts(idle=0.2)) as client:
            result = await client.generate("otter", model="m")

        assert 1 == len(result.images)

    async def test_white_space_is_waited_for_as_long_as_a_first_byte(self):
        """White space is waited for as long as a first byte, and no longer."""
        timeouts = Timeouts(idle=0.05, first_byte=0.1)
        async with serve(dripping(SPACED, BODY)) as raw, client_of(raw, timeouts=timeouts) as client:
            with pytest.raises(errors.OutcomeUnknownError, match="Nothing moved"):
                await client.generate("otter", model="m")

    async def test_compression_that_ends_too_early_is_noticed(self):
        """A compressed body that ends too early is an error, even if its document looks whole."""
        body = gzip.compress(BODY)[:-9]
        async with serve(answering(answer(body, b"Content-Encoding: gzip"))) as raw, client_of(raw) as client:
            with pytest.raises(errors.OutcomeUnknownError, match="compressed answer ended too early") as caught:
                await client.generate("otter", model="m")

        assert caught.value.images or caught.value.raw


async def test_what_came_before_a_failure_is_given_out():
    """Bytes that arrived before a failure are delivered, even if the sink was busy meanwhile."""
    loop = asyncio.get_running_loop()
    content = aiohttp.StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    state = AttemptState(clock=SystemClock())
    state.enter(Phase.FINAL_RELEASED)
    answer = SimpleNamespace(content=content, headers=CIMultiDict(), status=200)
    response = AiohttpResponse(answer, state, Timeouts(), inflated=False)
    chunks = response.chunks()

    content.feed_data(b"the beginning")
    assert b"the beginning" == await anext(chunks)
    content.feed_data(b"what came ")
    content.feed_data(b"meanwhile")
    content.set_exception(aiohttp.ClientPayloadError("cut"))
    assert b"what came meanwhile" == await anext(chunks)
    with pytest.raises(errors.OutcomeUnknownError):
        await anext(chunks)


class TestUnsentRests:
    """What a peer never reads must not keep a connection open, as closing waits until all was sent."""

    async def upload(self, raw, **options):
        async with client_of(raw, **options) as client:
            await client.edit(png(pad=8_000_000), "a beret", model="gpt-image-2", size="1024x640")

    async def test_an_early_answer_ends_the_connection(self):
        """After an early answer the connection is closed, because the server no longer reads the upload."""
        refusal = answer(b'{"error": {"message": "Too large.", "type": "x"}}', status="413 Content Too Large")
        over = asyncio.Event()

        async def refuse(reader, writer, _request):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(refusal)
            await over.wait()

        async with serve(refuse, read=False) as raw:
            with pytest.raises(errors.BadRequestError):
                await self.upload(raw)
            left = await count_own_ends(raw.port)
            over.set()

        assert 0 == left

    async def test_a_stalled_upload_ends_the_connection(self):
        """A stalled upload closes the connection when the server neither reads nor answers."""
        over = asyncio.Event()

        async def stall(reader, _writer, _request):
            await reader.readuntil(b"\r\n\r\n")
            await over.wait()

        async with serve(stall, read=False) as raw:
            with pytest.raises(errors.ConnectionFailedError):
                await self.upload(raw, clock=FakeClock(0.01))
            left = await count_own_ends(raw.port)
            over.set()

        assert 0 == left

    async def test_a_cancelled_upload_ends_the_connection(self):
        """A cancelled upload closes its connection, although the server no longer reads."""
        over, begun = asyncio.Event(), asyncio.Event()

        async def stall(reader, _writer, _request):
            await reader.readuntil(b"\r\n\r\n")
            begun.set()
            await over.wait()

        async with serve(stall, read=False) as raw:
            task = asyncio.create_task(self.upload(raw, clock=SystemClock()))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            left = await count_own_ends(raw.port)
            over.set()

        assert 0 == left


async def count_own_ends(port):
    """Return how many sockets of this process are connected to *port*, once transports have had their turn."""
    for _ in range(5):
        await asyncio.sleep(0.01)
    return sum(peer_of(number) == port for number, name in open_descriptors().items() if name.startswith("socket:"))


def peer_of(number):
    with socket.socket(fileno=os.dup(int(number))) as end:
        try:
            return end.getpeername()[1]
        except (OSError, IndexError):
            return None


class TestBorrowedSessions:
    """Each kind of session works, or is refused in one sentence before anything is sent."""

    @pytest.mark.sampled(4)
    @pytest.mark.parametrize(
        "options",
        [
            {"raise_for_status": True},
            {"base_url": "http://127.0.0.1:1/other/"},
            {"headers": {"Authorization": "Basic x", "X-Own": "1"}},
            {"timeout": aiohttp.ClientTimeout(total=30)},
            {"cookies": {"a": "b"}},
            {"json_serialize": repr},
            {"version": aiohttp.HttpVersion10},
            {"skip_auto_headers": ["Content-Type", "User-Agent"]},
            {"auto_decompress": False},
            {"trace_configs": [aiohttp.TraceConfig()]},
            {"middlewares": (aiohttp.DigestAuthMiddleware("login", "password"),)},
        ],
        ids=lambda options: next(iter(options)),
    )
    @pytest.mark.parametrize("operation", ["generations", "edits"])
    async def test_options_of_a_session(self, options, operation):
        """The options of a session change nothing about the call."""
        async with Emulator() as emulator, aiohttp.ClientSession(**options) as session:
            async with AsyncImagesClient(emulator.api_key, emulator.base_url, session=session) as client:
                image = await call(client, operation)

            assert image.media_type == "image/png"
            assert 1 == emulator.ledger.billed_requests

    @pytest.mark.parametrize("operation", ["generations", "edits"])
    async def test_a_middleware_that_reads_the_body(self, operation):
        """A middleware that signs or records requests reads all bytes that are sent."""
        read = []

        async def sign(request, handler):
            read.append(await request.body.as_bytes())
            return await handler(request)

        async with Emulator() as emulator, aiohttp.ClientSession(middlewares=(sign,)) as session:
            async with AsyncImagesClient(emulator.api_key, emulator.base_url, session=session) as client:
                await call(client, operation)

            (body,) = read
            assert (PICTURE in body) is (operation == "edits")
            assert 1 == emulator.ledger.billed_requests

    @pytest.mark.parametrize("operation", ["generations", "edits"])
    async def test_a_recorder(self, operation, monkeypatch):
        """What records requests by a copy gets bytes without files, and no key."""
        copies = []

        async def record(self, method, url, *, plain=aiohttp.ClientSession._request, **options):
            copies.append(copy.deepcopy((options["data"], options["headers"], options["data"].decode())))
            return await plain(self, method, url, **options)

        monkeypatch.setattr(aiohttp.ClientSession, "_request", record)
        async with Emulator() as emulator, AsyncImagesClient(emulator.api_key, emulator.base_url) as client:
            await call(client, operation)

            assert emulator.api_key not in repr(copies)
        ((body, headers, text),) = copies
        assert isinstance(body, bytes)
        assert b"an otter" in body
        assert "an otter" in text
        assert (f"({len(PICTURE):,} bytes)" in text) is (operation == "edits")
        assert type(headers["Authorization"]) is str

    @pytest.mark.parametrize(
        "session", [object(), "session", 1, aiohttp.ClientSession, SimpleNamespace(request=None), aiohttp]
    )
    def test_what_is_not_a_session_is_refused(self, session):
        """Clients of other libraries, and what wraps a session to send requests again, are refused by name."""
        with pytest.raises(errors.ConfigurationError, match=r"has to be an aiohttp\.ClientSession"):
            AsyncImagesClient("sk-x", session=session)

    async def test_credentials_of_its_own_are_refused_beside_a_key(self):
        """They would take the key's place; without a key they are sent."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            borrowed = aiohttp.ClientSession(auth=aiohttp.BasicAuth("login", "password"))
        async with Emulator() as emulator, borrowed as session:
            with pytest.raises(errors.ConfigurationError, match="auth="):
                AsyncImagesClient(emulator.api_key, emulator.base_url, session=session)
            async with AsyncImagesClient(api_key=False, base_url=emulator.base_url, session=session) as client:
                with pytest.raises(errors.AuthenticationError):
                    await call(client, "generations")

    async def test_credentials_of_a_file_are_refused(self, tmp_path, monkeypatch):
        """A session that trusts the environment reads .netrc; aiohttp refuses both, and nothing is sent."""
        file = tmp_path / "netrc"
        file.write_text("machine 127.0.0.1 login a password b\n")
        monkeypatch.setenv("NETRC", str(file))
        async with Emulator() as emulator, aiohttp.ClientSession(trust_env=True) as session:
            async with AsyncImagesClient(emulator.api_key, emulator.base_url, session=session) as client:
                with pytest.raises(errors.ConfigurationError, match="The session that was given raised ValueError"):
                    await call(client, "generations")

            assert () == tuple(emulator.ledger.requests)

    async def test_a_closed_session(self):
        """The error says whose session is closed."""
        session = aiohttp.ClientSession()
        await session.close()
        async with AsyncImagesClient("sk-x", "http://127.0.0.1:1", session=session) as client:
            with pytest.raises(errors.ClientClosedError, match="session that was given is closed"):
                await call(client, "generations")

    @pytest.mark.parametrize("failure", [ValueError("no"), KeyError("no"), RuntimeError("no"), TypeError("no")])
    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_a_middleware_that_fails(self, failure, when):
        """Before the request is sent it is a mistake in the set-up, and afterwards nobody knows what was billed."""

        async def fail(request, handler):
            if when == "after":
                await handler(request)
            raise failure

        async with Emulator() as emulator, aiohttp.ClientSession(middlewares=(fail,)) as session:
            async with AsyncImagesClient(emulator.api_key, emulator.base_url, session=session) as client:
                with pytest.raises(errors.ImagesError, match=f"raised {type(failure).__name__}") as caught:
                    await call(client, "generations")

            assert (when == "after") is isinstance(caught.value, errors.OutcomeUnknownError)
            assert (when == "before") is isinstance(caught.value, errors.ConfigurationError)
            assert (when == "after") == emulator.ledger.billed_requests


PICTURE = png()


async def call(client, operation):
    if operation == "edits":
        return (await client.edit(PICTURE, "an otter", model="gpt-image-2", size="1024x1024")).image
    return (await client.generate("an otter", model="gpt-image-2", size="1024x1024")).image
