"""Result URLs: fetched without the key, past the guard, before they expire."""

from __future__ import annotations

import asyncio
import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest
from fakes import FakeClock
from pictures import png
from raw import serve

from burncloud_images import AsyncImagesClient, Directory, GenerationRequest, Limits, Network, errors
from burncloud_images.transport.expiry import Arrival, find_expiry

IMAGE = png(64, 64)
REQUEST = GenerationRequest("otter", model="m")


class Gateway:
    """Answers POST with URLs of its own, and GET by a table."""

    def __init__(self, **pages):
        self.pages = pages
        self.gets = []
        self.urls = []
        self.url = ""

    async def __call__(self, _reader, writer, request):
        method, path, _ = request.split(b" ", 2)
        if method == b"POST":
            items = [{"url": url if "://" in url else f"{self.url}{url}"} for url in self.urls]
            self.reply(writer, 200, json.dumps({"created": 1_700_000_000, "data": items}).encode())
            return
        self.gets.append(request)
        page = self.pages[path.decode().strip("/").partition("?")[0]]
        answers = page if isinstance(page, list) else [page]
        status, body, *headers = answers.pop(0) if len(answers) > 1 else answers[0]
        self.reply(writer, status, body, *headers)

    def reply(self, writer, status, body, *headers):
        lines = [f"HTTP/1.1 {status} X".encode(), *headers, b"Content-Length: %d" % len(body), b"Connection: close"]
        writer.write(b"\r\n".join([*lines, b"", body]))


async def fetch(gateway, *urls, into=None, **options):
    gateway.urls = urls
    clock = options.pop("clock", None) or FakeClock()
    async with serve(gateway) as raw:
        gateway.url = f"{raw.url}/"
        async with AsyncImagesClient("sk-canary", raw.url, clock=clock, **options) as client:
            return await (client.send(REQUEST, into=into) if into else client.send(REQUEST))


class TestFetching:
    """An image exists and is paid for."""

    async def test_without_the_key_and_with_the_query_as_it_was(self):
        """Encoding it again would break its signature."""
        gateway = Gateway(a=(200, IMAGE))
        result = await fetch(gateway, "a?sig=%2b%2F%3d&x=a+b%20c")

        assert IMAGE == result.image.data
        (request,) = gateway.gets
        assert b"GET /a?sig=%2b%2F%3d&x=a+b%20c HTTP/1.1" in request
        assert b"canary" not in request
        assert b"uthorization" not in request
        assert b"Accept-Encoding: identity" in request
        assert "sig=" not in repr(result)

    async def test_into_files(self, tmp_path):
        """The sink is the same."""
        gateway = Gateway(a=(200, IMAGE), b=(200, IMAGE))
        result = await fetch(gateway, "a", "b", into=Directory(tmp_path / "out"))

        assert [IMAGE, IMAGE] == [image.path.read_bytes() for image in result.images]

    @pytest.mark.parametrize("status", [500, 503, 429, 404, 403])
    async def test_again_what_may_pass(self, status):
        """A GET is free; stores answer 404 for a moment after the image was made."""
        gateway = Gateway(a=[(status, b""), (200, IMAGE)])
        created = FakeClock()
        created.ahead = (datetime.fromtimestamp(1_700_000_000, UTC) - datetime.now(UTC)).total_seconds()
        result = await fetch(gateway, "a", clock=created)

        assert IMAGE == result.image.data
        assert 2 == len(gateway.gets)

    async def test_again_what_came_without_its_end(self):
        """A truncated image is not an image."""
        gateway = Gateway(a=[(200, IMAGE[:-20]), (200, IMAGE)])
        result = await fetch(gateway, "a")

        assert IMAGE == result.image.data

    async def test_not_again_what_cannot_help(self, tmp_path):
        """And leaves no file."""
        gateway = Gateway(a=(400, b""))
        with pytest.raises(errors.DownloadError, match="answered 400") as caught:
            await fetch(gateway, "a?sig=canary", into=Directory(tmp_path / "out"))

        assert 1 == len(gateway.gets)
        assert "canary" in caught.value.url
        assert "canary" not in str(caught.value)
        assert "was billed" in str(caught.value)
        assert [] == list((tmp_path / "out").iterdir())

    async def test_the_others_when_one_fails(self):
        """They are on the error."""
        gateway = Gateway(a=(200, IMAGE), b=(400, b""), c=(200, IMAGE), d=(400, b""))
        with pytest.raises(errors.DownloadError) as caught:
            await fetch(gateway, "a", "b", "c", "d")

        assert [0, 2] == [image.index for image in caught.value.images]
        assert 1 == len(caught.value.__notes__)

    async def test_not_what_is_larger_than_the_cap(self):
        """Counted while reading."""
        gateway = Gateway(a=(200, png(pad=100_000)))
        with pytest.raises(errors.DownloadError, match=r"Limits\.image"):
            await fetch(gateway, "a", limits=Limits(image=50_000))

    async def test_not_what_comes_compressed(self):
        """It was not asked for, and can be made to grow without end."""
        gateway = Gateway(a=(200, gzip.compress(IMAGE), b"Content-Encoding: gzip"))
        with pytest.raises(errors.DownloadError, match="compressed"):
            await fetch(gateway, "a")

    async def test_cancelled_leaves_no_file(self, tmp_path):
        """Nor a connection."""

        class Slow(Gateway):
            async def __call__(self, reader, writer, request):
                if request.startswith(b"GET"):
                    self.gets.append(request)
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + IMAGE[:9])
                    await asyncio.Event().wait()
                await super().__call__(reader, writer, request)

        gateway = Slow()
        call = asyncio.create_task(fetch(gateway, "a", into=Directory(tmp_path / "out")))
        while not gateway.gets:  # noqa: ASYNC110 (the server is the test's own)
            await asyncio.sleep(0.002)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

        assert [] == list((tmp_path / "out").iterdir())


class TestExpiry:
    """60 minutes from creation, or what the signature says."""

    created = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("", created + timedelta(minutes=60)),
            ("?se=2026-11-23T12%3A30%3A00Z", created + timedelta(minutes=30)),
            ("?se=2026-11-24T12:00:00", created + timedelta(days=1)),
            ("?se=nonsense", created + timedelta(minutes=60)),
            ("?X-Amz-Date=20261123T120000Z&X-Amz-Expires=900", created + timedelta(minutes=15)),
            ("?X-Amz-Date=20261123T120000Z&X-Amz-Expires=" + "9" * 30, created + timedelta(minutes=60)),
        ],
    )
    def test_is_read_from_the_url_or_counted_from_creation(self, query, expected):
        """In aware UTC."""
        assert expected == find_expiry(f"https://store.example/a.png{query}", self.created)

    @pytest.mark.parametrize("status", [403, 404, 410])
    async def test_an_expired_url_is_tried_once_and_says_when_it_ended(self, status):
        """A GET is free, so the clock alone does not decide."""
        gateway = Gateway(a=(status, b"<AuthenticationFailed>"))
        with pytest.raises(errors.ResultExpiredError) as caught:
            await fetch(gateway, "a")

        assert datetime.fromtimestamp(1_700_000_000 + 3600, UTC) == caught.value.expired_at
        assert 1 == len(gateway.gets)

    async def test_an_expired_url_that_still_works_is_taken(self):
        """The store is the judge."""
        result = await fetch(Gateway(a=(200, IMAGE)), "a")

        assert IMAGE == result.image.data
        assert result.image.expires_at < datetime.now(UTC)


class TestGuard:
    """A result URL comes from a server and is fetched from inside our network."""

    @pytest.mark.parametrize(
        "url",
        [
            "https://127.0.0.1:9/x",
            "https://127.1:9/x",
            "https://0x7f000001:9/x",
            "https://2130706433:9/x",
            "https://localhost:9/x",
            "https://LOCALHOST.:9/x",
            "https://[::1]:9/x",
            "https://[::ffff:127.0.0.1]:9/x",
            "https://[64:ff9b::7f00:1]:9/x",
            "https://[2002:7f00:1::]:9/x",
            "https://[::127.0.0.1]:9/x",
            "https://169.254.169.254/latest",
            "https://10.0.0.1/x",
            "https://①②⑦.⓪.⓪.①:9/x",
            "http://93.184.215.14/x",
            "ftp://93.184.215.14/x",
            "file:///etc/passwd",
            "https://user@93.184.215.14/x",
            "https://93.184.215.14/" + "x" * 9000,
        ],
    )
    async def test_refuses_what_is_not_public(self, url):
        """In any spelling, and without a connection."""
        gateway = Gateway()
        with pytest.raises(errors.DownloadError) as caught:
            await fetch(gateway, url)

        assert [] == gateway.gets
        assert isinstance(caught.value, errors.DownloadRefusedError) or "cannot be resolved" in str(caught.value)

    async def test_refuses_another_port_of_this_machine(self):
        """Only the API's own address is exempt."""
        async with serve(Gateway(a=(200, IMAGE))) as other:
            with pytest.raises(errors.DownloadRefusedError):
                await fetch(Gateway(), f"{other.url}/a")

        assert [] == other.requests

    async def test_lets_through_what_the_operator_vouches_for(self):
        """By host, or by host and port."""
        async with serve(Gateway(a=(200, IMAGE))) as other:
            network = Network(allowed_result_hosts=(f"127.0.0.1:{other.port}",))
            result = await fetch(Gateway(), f"{other.url}/a", network=network)

        assert IMAGE == result.image.data

    async def test_follows_redirects_one_by_one(self):
        """Without headers of the first."""
        gateway = Gateway(a=(302, b"", b"Location: /b"), b=(307, b"", b"Location: c?x=1"), c=(200, IMAGE))
        result = await fetch(gateway, "a")

        assert IMAGE == result.image.data
        assert 3 == len(gateway.gets)

    @pytest.mark.parametrize(
        "location", [b"https://127.0.0.1:9/x", b"file:///etc/passwd", b"data:image/png;base64,AAAA", b"//10.0.0.1/x"]
    )
    async def test_refuses_a_redirect_to_what_is_not_public(self, location):
        """Each hop is checked."""
        gateway = Gateway(a=(302, b"", b"Location: " + location))
        with pytest.raises(errors.DownloadRefusedError):
            await fetch(gateway, "a")

        assert 1 == len(gateway.gets)

    async def test_refuses_endless_redirects(self):
        """Five are enough."""
        gateway = Gateway(a=(302, b"", b"Location: /a"))
        with pytest.raises(errors.DownloadRefusedError, match="more than 5"):
            await fetch(gateway, "a")

        assert 6 == len(gateway.gets)
