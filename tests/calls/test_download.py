"""Result URLs: fetched without the key, past the guard, before they expire."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import pickle
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from fakes import FakeClock
from pictures import png
from raw import serve

from burncloud_images import AsyncImagesClient, Directory, GenerationRequest, Limits, Memory, Network, errors

pytestmark = pytest.mark.ways("tls", "connect")

IMAGE = png(64, 64)
REQUEST = GenerationRequest("otter", model="m")


class Gateway:
    """Answers POST with URLs of its own, and GET by a table."""

    def __init__(self, **pages):
        self.pages = pages
        self.gets = []
        self.urls = []
        self.more = []
        self.url = ""
        self.date = None

    async def __call__(self, _reader, writer, request):
        method, path, _ = request.split(b" ", 2)
        if method == b"POST":
            items = [{"url": url if "://" in url else f"{self.url}{url}"} for url in self.urls]
            items += self.more
            self.reply(writer, 200, json.dumps({"created": 1_700_000_000, "data": items}).encode())
            return
        self.gets.append(request)
        page = self.pages[path.decode().strip("/").partition("?")[0]]
        answers = page if isinstance(page, list) else [page]
        status, body, *headers = answers.pop(0) if len(answers) > 1 else answers[0]
        self.reply(writer, status, body, *headers)

    def reply(self, writer, status, body, *headers):
        date = [f"Date: {format_datetime(self.date, usegmt=True)}".encode()] if self.date else []
        lines = [
            f"HTTP/1.1 {status} X".encode(),
            *date,
            *headers,
            b"Content-Length: %d" % len(body),
            b"Connection: close",
        ]
        writer.write(b"\r\n".join([*lines, b"", body]))


async def fetch(gateway, *urls, into=None, **options):
    gateway.urls = urls
    clock = options.pop("clock", None) or FakeClock()
    async with serve(gateway) as raw:
        gateway.url = f"{raw.url}/"
        async with AsyncImagesClient("sk-canary", raw.url, clock=clock, **options) as client:
            return await (client.send(REQUEST, into=into) if into else client.send(REQUEST))


def shifted(seconds):
    """Return a clock whose date is wrong."""

    class Wrong(FakeClock):
        def now(self):
            return super().now() + timedelta(seconds=seconds)

    return Wrong()


class TestFetching:
    """An image of an answer exists and is paid for, so its download is retried."""

    async def test_without_the_key_and_with_the_query_as_it_was(self):
        """The request has no API key, and a query that is not encoded again, as that breaks signatures."""
        gateway = Gateway(a=(200, IMAGE))
        result = await fetch(gateway, "a?sig=%2b%2F%3d&x=a+b%20c")

        assert IMAGE == result.image.data
        (request,) = gateway.gets
        assert b"GET /a?sig=%2b%2F%3d&x=a+b%20c HTTP/1.1" in request
        assert b"canary" not in request
        assert b"uthorization" not in request
        assert b"Accept: image/*" in request
        assert b"Accept-Encoding: identity" in request
        assert "sig=" not in repr(result)

    async def test_into_files(self, tmp_path):
        """Images that came as URLs are stored by the same sink."""
        gateway = Gateway(a=(200, IMAGE), b=(200, IMAGE))
        result = await fetch(gateway, "a", "b", into=Directory(tmp_path / "out"))

        assert [IMAGE, IMAGE] == [image.path.read_bytes() for image in result.images]

    @pytest.mark.parametrize("status", [403, 404, 408, 410, 425, 429, 500, 502, 503, 504])
    async def test_again_what_may_pass(self, status):
        """Statuses that may pass are retried, since a GET is free."""
        gateway = Gateway(a=[(status, b""), (200, IMAGE)])
        result = await fetch(gateway, "a")

        assert IMAGE == result.image.data
        assert 2 == len(gateway.gets)

    async def test_again_what_came_without_its_end(self):
        """An image that was cut is downloaded again."""
        gateway = Gateway(a=[(200, IMAGE[:-20]), (200, IMAGE)])
        result = await fetch(gateway, "a")

        assert IMAGE == result.image.data

    async def test_not_again_what_cannot_help(self, tmp_path):
        """A status that cannot pass is raised at once, and leaves no file."""
        gateway = Gateway(a=(400, b""))
        with pytest.raises(errors.DownloadError, match="answered 400") as caught:
            await fetch(gateway, "a?sig=canary", into=Directory(tmp_path / "out"))

        assert 1 == len(gateway.gets)
        assert "canary" in caught.value.url
        assert "canary" not in str(caught.value)
        assert "was billed" in str(caught.value)
        assert [] == list((tmp_path / "out").iterdir())

    async def test_the_others_when_one_fails(self):
        """The images that were downloaded are on the error of the one that was not."""
        gateway = Gateway(a=(200, IMAGE), b=(400, b""), c=(200, IMAGE), d=(400, b""))
        with pytest.raises(errors.DownloadError) as caught:
            await fetch(gateway, "a", "b", "c", "d")

        assert [0, 2] == [image.index for image in caught.value.images]
        assert 1 == len(caught.value.__notes__)

    @pytest.mark.parametrize("body", [b"%PDF-1.7 paid for", b"\0\0\0\x18ftypmp42" + bytes(900)])
    async def test_not_for_ever_what_is_no_image(self, body, tmp_path):
        """A file that comes twice the same is not asked for again, and its bytes are on the error."""
        gateway = Gateway(a=(200, body))
        for options in ({}, {"into": Directory(tmp_path / "out")}):
            gateway.gets.clear()
            with pytest.raises(errors.DownloadError, match="was fetched, but") as caught:
                await fetch(gateway, "a", **options)

            assert 2 == len(gateway.gets)
            assert [body] == [part.data for part in caught.value.damaged]
            assert 1 == len(caught.value.unfetched)

    async def test_again_what_may_give_way_to_the_image(self):
        """A page in place of an image may be one of a store that does not have it yet."""
        page = (200, b"<html>not yet</html>")
        gateway = Gateway(a=[page, page, page, (200, IMAGE)])
        result = await fetch(gateway, "a")

        assert IMAGE == result.image.data

    async def test_not_what_is_larger_than_the_cap(self):
        """An image larger than the limit is refused, also without a length."""
        gateway = Gateway(a=(200, png(pad=100_000)))
        with pytest.raises(errors.DownloadError, match=r"Limits\.image"):
            await fetch(gateway, "a", limits=Limits(image=50_000))

    @pytest.mark.parametrize(
        "label", ["", "identity", "aws-chunked", "base64", "utf-8", "binary", "gzip", "br", "zstd", "deflate"]
    )
    async def test_whatever_its_label_says_about_compression(self, label):
        """Stores keep labels that are not true of the file, and the first bytes decide."""
        gateway = Gateway(a=(200, IMAGE, b"Content-Encoding: " + label.encode()))
        result = await fetch(gateway, "a")

        assert IMAGE == result.image.data
        assert 1 == len(gateway.gets)

    @pytest.mark.parametrize("label", ["gzip", "aws-chunked,gzip", "x-gzip", ""])
    @pytest.mark.parametrize("times", [1, 2])
    async def test_compressed(self, label, times):
        """A file that was stored compressed is inflated, and its length and checksum are about what was stored."""
        body = IMAGE
        for _ in range(times):
            body = gzip.compress(body)
        checksum = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest())
        headers = b"Content-Encoding: " + label.encode() + b"\r\nContent-MD5: " + checksum
        gateway = Gateway(a=(200, body, headers))
        result = await fetch(gateway, "a")

        assert IMAGE == result.image.data
        assert 1 == len(gateway.gets)

    async def test_cancelled_leaves_no_file(self, tmp_path):
        """A cancelled download leaves no file and no connection."""

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
    """The host decides; the expiry only tells how to read its refusals, and which download starts first."""

    ended = "a?st=2026-11-23T12:00:00Z&se=2026-11-23T12:00:01Z"

    @pytest.mark.parametrize("ahead", [-7200, 0, 7200])
    @pytest.mark.parametrize("status", [403, 404, 410])
    async def test_an_expired_url_is_tried_once_and_says_when_it_ended(self, status, ahead):
        """A URL that should have expired is still tried once, by the server's clock."""
        gateway = Gateway(a=(status, b"<AuthenticationFailed>"))
        gateway.date = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
        with pytest.raises(errors.ResultExpiredError) as caught:
            await fetch(gateway, self.ended, clock=shifted(ahead))

        assert datetime(2026, 11, 23, 12, 0, 1, tzinfo=UTC) == caught.value.expired_at
        assert 1 == len(gateway.gets)
        (missing,) = caught.value.unfetched
        assert missing.expired

    async def test_an_expired_url_that_still_works_is_taken(self):
        """A URL that should have expired is taken if the host still serves it."""
        gateway = Gateway(a=(200, IMAGE))
        gateway.date = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
        result = await fetch(gateway, self.ended)

        assert IMAGE == result.image.data
        assert datetime(2026, 11, 23, 12, 0, 1, tzinfo=UTC) == result.image.expires_at

    @pytest.mark.parametrize("ahead", [-7200, 0, 7200])
    @pytest.mark.parametrize("status", [403, 404, 410])
    async def test_a_url_that_should_be_good_is_tried_for_ten_seconds(self, status, ahead):
        """A file that is missing at first is looked for during ten seconds; then 410 says that it is gone."""
        gateway = Gateway(a=(status, b""))
        clock = shifted(ahead)
        with pytest.raises(errors.DownloadError) as caught:
            await fetch(gateway, "a", clock=clock)

        assert 4 == len(gateway.gets)
        assert [1, 3, 6] == [int(second) for second in clock.slept]
        assert 10 <= sum(clock.slept) < 12
        assert (status == 410) == isinstance(caught.value, errors.ResultExpiredError)
        assert (status == 410) == caught.value.unfetched[0].expired

    async def test_a_url_that_ends_meanwhile_is_not_waited_for(self):
        """Once a URL has expired nothing is retried."""
        gateway = Gateway(a=(503, b"", b"Retry-After: 100"))
        gateway.date = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
        clock = FakeClock()
        with pytest.raises(errors.DownloadError, match="answered 503"):
            await fetch(gateway, "a?se=2026-11-23T12:05:00Z", clock=clock)

        assert 3 == len(gateway.gets)
        assert 200 <= sum(clock.slept) <= 240

    async def test_the_one_that_ends_first_is_fetched_first(self, monkeypatch):
        """The URL that expires first is downloaded first, whatever its place in the answer."""
        monkeypatch.setattr("burncloud_images.calls.result_urls.MOST_DOWNLOADS", 1)
        gateway = Gateway(a=(200, IMAGE), b=(200, IMAGE), c=(200, IMAGE))
        gateway.date = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
        ends = [f"{name}?se=2026-11-23T12:{minute}:00Z" for name, minute in (("a", 40), ("b", 20), ("c", 30))]
        result = await fetch(gateway, *ends)

        assert ["/b", "/c", "/a"] == [get.split()[1].decode().partition("?")[0] for get in gateway.gets]
        assert [0, 1, 2] == [image.index for image in result.images]


class TestErrors:
    """Every image that is paid for is on the error: its bytes, its path or its URL."""

    async def test_all_addresses_are_on_it(self, tmp_path):
        """All URLs are on the error in the answer's order, with expiry and reason, and no text shows them."""
        addresses = "a?sig=canary", "b", "c?sig=canary&se=2026-11-23T12:30:00Z"
        gateway = Gateway(a=(400, b""), b=(200, IMAGE), c=(418, b""))
        gateway.date = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
        with pytest.raises(errors.DownloadError) as caught:
            await fetch(gateway, *addresses, into=Directory(tmp_path))

        error = caught.value
        first, second = error.unfetched
        assert (0, 2) == (first.index, second.index)
        assert first.url == error.url == f"{gateway.url}a?sig=canary"
        assert second.url.startswith(f"{gateway.url}c?sig=canary")
        assert datetime(2026, 11, 23, 12, 30, tzinfo=UTC) == second.expires_at
        assert ("The image's host answered 400.", "The image's host answered 418.") == (first.reason, second.reason)
        assert ["Image 3 was not fetched: The image's host answered 418."] == error.__notes__
        assert [1] == [image.index for image in error.images]
        shown = repr(error) + str(error) + repr(error.unfetched) + "".join(traceback.format_exception(error))
        assert "canary" not in shown
        assert b"canary" not in pickle.dumps(error)

    async def test_an_address_that_is_good_comes_before_one_that_ended(self):
        """The error of a URL that still works is raised before that of one that has expired."""
        gateway = Gateway(a=(403, b""), b=(400, b""))
        gateway.date = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
        with pytest.raises(errors.DownloadError) as caught:
            await fetch(gateway, TestExpiry.ended, "b")

        assert not isinstance(caught.value, errors.ResultExpiredError)
        assert [True, False] == [image.expired for image in caught.value.unfetched]
        assert 1 == len(caught.value.__notes__)

    async def test_they_are_on_it_too_if_others_cannot_be_stored(self):
        """A failed download and a failed write are both on the error."""

        class Full(Memory):
            def open(self, placement):
                writer = super().open(placement)
                keep = writer.keep

                async def fail(media):
                    raise errors.StorageError("No room.", images=[await keep(media)])

                return Keeper(writer, fail)

        class Keeper:
            def __init__(self, writer, keep):
                self.write, self.finish, self.discard, self.keep = writer.write, writer.finish, writer.discard, keep

        gateway = Gateway(a=(200, IMAGE), b=(400, b""))
        with pytest.raises(errors.StorageError, match="No room") as caught:
            await fetch(gateway, "a", "b?sig=canary", into=Full())

        assert [IMAGE] == [image.data for image in caught.value.unsaved]
        (missing,) = caught.value.unfetched
        assert (1, f"{gateway.url}b?sig=canary") == (missing.index, missing.url)
        assert ".unfetched" in str(caught.value)
        assert "canary" not in str(caught.value)

    async def test_a_damaged_image_is_told_beside_them(self):
        """A damaged image and one that was not downloaded are both on the error."""
        gateway = Gateway(a=(400, b""))
        gateway.more = [{"b64_json": "AAAA"}]
        with pytest.raises(errors.DownloadError) as caught:
            await fetch(gateway, "a")

        assert ["Image 2 is damaged: its bytes are not an image."] == caught.value.__notes__

    async def test_a_client_that_is_closed_meanwhile_leaves_the_address(self):
        """A client that is closed during a download raises one of its own errors, with the URL."""

        class Closing(Gateway):
            async def __call__(self, reader, writer, request):
                if request.startswith(b"GET"):
                    await self.client.aclose()
                await super().__call__(reader, writer, request)

        gateway = Closing(a=(503, b""))
        gateway.urls = ["a"]
        async with serve(gateway) as raw:
            gateway.url = f"{raw.url}/"
            gateway.client = AsyncImagesClient("sk-canary", raw.url, clock=FakeClock())
            with pytest.raises(errors.DownloadError) as caught:
                await gateway.client.send(REQUEST)

        assert f"{raw.url}/a" == caught.value.unfetched[0].url

    @pytest.mark.parametrize("location", [b"Location: //10.0.0.1/x?sig=hop", b"Location: http://[::1", b""])
    async def test_the_address_is_the_images_own_and_not_a_redirects(self, location):
        """The URL on the error is the image's own and not that of a redirect."""
        gateway = Gateway(a=(302, b"", *([location] if location else [])))
        with pytest.raises(errors.DownloadRefusedError) as caught:
            await fetch(gateway, "a?sig=canary")

        assert f"{gateway.url}a?sig=canary" == caught.value.url == caught.value.unfetched[0].url
        assert "sig" not in str(caught.value)


class TestGuard:
    """A result URL comes from a server and is downloaded from inside the caller's network."""

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
        """Addresses that are not public are refused in any spelling, without a connection."""
        gateway = Gateway()
        with pytest.raises(errors.DownloadError) as caught:
            await fetch(gateway, url)

        assert [] == gateway.gets
        assert isinstance(caught.value, errors.DownloadRefusedError) or "cannot be resolved" in str(caught.value)

    async def test_refuses_another_port_of_this_machine(self):
        """Only the API's own host and port are exempt from the guard."""
        async with serve(Gateway(a=(200, IMAGE))) as other:
            with pytest.raises(errors.DownloadRefusedError):
                await fetch(Gateway(), f"{other.url}/a")

        assert [] == other.requests

    async def test_lets_through_what_the_operator_vouches_for(self):
        """Hosts that the operator allows are reached, by host or by host and port."""
        async with serve(Gateway(a=(200, IMAGE))) as other:
            network = Network(allowed_result_hosts=(f"127.0.0.1:{other.port}",))
            result = await fetch(Gateway(), f"{other.url}/a", network=network)

        assert IMAGE == result.image.data

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_follows_redirects_one_by_one(self, status):
        """Redirects of every kind are followed."""
        gateway = Gateway(a=(status, b"", b"Location: /b"), b=(307, b"", b"Location: c?x=1"), c=(200, IMAGE))
        result = await fetch(gateway, "a")

        assert IMAGE == result.image.data
        assert 3 == len(gateway.gets)

    @pytest.mark.parametrize(
        "location", [b"https://127.0.0.1:9/x", b"file:///etc/passwd", b"data:image/png;base64,AAAA", b"//10.0.0.1/x"]
    )
    async def test_refuses_a_redirect_to_what_is_not_public(self, location):
        """The guard checks every hop of a redirect."""
        gateway = Gateway(a=(302, b"", b"Location: " + location))
        with pytest.raises(errors.DownloadRefusedError):
            await fetch(gateway, "a")

        assert 1 == len(gateway.gets)

    async def test_refuses_endless_redirects(self):
        """Five redirects are followed and a sixth is refused."""
        hops = {f"h{n}": (302, b"", b"Location: /h%d" % (n + 1)) for n in range(9)}
        gateway = Gateway(**hops)
        with pytest.raises(errors.DownloadRefusedError, match="more than 5"):
            await fetch(gateway, "h0")
        assert 6 == len(gateway.gets)

        gateway = Gateway(**{**hops, "h5": (200, IMAGE)})
        assert IMAGE == (await fetch(gateway, "h0")).image.data

    @pytest.mark.parametrize("location", [b"/a", b"/b", b"#x", b""])
    async def test_refuses_redirects_in_a_circle(self, location):
        """A redirect to an address that was visited is refused at once."""
        gateway = Gateway(a=(302, b"", b"Location: " + location), b=(302, b"", b"Location: /a"))
        with pytest.raises(errors.DownloadRefusedError, match="in a circle"):
            await fetch(gateway, "a")

        assert len(gateway.gets) <= 2

    async def test_carries_no_cookie_from_hop_to_hop(self):
        """No cookie is carried to the next hop or to the next image."""
        gateway = Gateway(a=(302, b"", b"Location: /b", b"Set-Cookie: sid=1; Path=/"), b=(200, IMAGE), c=(200, IMAGE))
        await fetch(gateway, "a", "c")

        assert 3 == len(gateway.gets)
        assert b"ookie" not in b"".join(gateway.gets)
