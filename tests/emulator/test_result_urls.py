"""Result URLs: who may read them, until when, and in which pieces."""

import base64
import hashlib
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from burncloud_images.emulator import Emulator, Fault
from burncloud_images.emulator.result_urls import MAX_RESULTS, ResultCache
from burncloud_images.model.media import examine_bytes


class Clock:
    def __init__(self):
        self.now = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def __call__(self):
        return self.now


async def url_of(emulator, caller):
    return (await caller.generate(emulator)).json["data"][0]["url"]


async def test_a_url_is_good_for_sixty_minutes(caller):
    """A URL is valid until its `se` and expires then."""
    clock = Clock()
    async with Emulator(clock=clock) as emulator:
        made = await caller.generate(emulator)
        url = made.json["data"][0]["url"]
        assert made.json["created"] == int(clock.now.timestamp())
        assert parse_qs(urlsplit(url).query)["se"] == ["2026-11-24T13:00:00Z"]
        clock.now += timedelta(seconds=3599)
        assert (await caller.call(emulator, "GET", url)).status == 200
        clock.now += timedelta(seconds=1)
        reply = await caller.call(emulator, "GET", url)
    assert (reply.status, reply.headers["Content-Type"]) == (403, "application/xml")
    assert b"<Code>AuthenticationFailed</Code>" in reply.body
    assert b"Signature not valid in the specified time frame" in reply.body


async def test_the_lifetime_can_be_set(caller):
    """The lifetime of URLs can be set in seconds."""
    now = [1_000_000.0]
    async with Emulator(url_lifetime=5, clock=lambda: now[0]) as emulator:
        url = await url_of(emulator, caller)
        assert (await caller.call(emulator, "GET", url)).status == 200
        now[0] += 5
        assert (await caller.call(emulator, "GET", url)).status == 403


@pytest.mark.parametrize("old", ["sig=", "se=2", ".png"])
async def test_a_changed_url_is_refused(emulator, caller, old):
    """A URL with a changed path, expiry or signature is refused."""
    url = await url_of(emulator, caller)
    new = {"sig=": "sig=x", "se=2": "se=3", ".png": ".jpg"}[old]
    assert (await caller.call(emulator, "GET", url.replace(old, new))).status == 403
    assert (await caller.call(emulator, "GET", url.partition("?")[0])).status == 403


async def test_the_ledger_tells_who_sent_the_key_to_a_result(emulator, caller):
    """The ledger shows whether a download carried the API key."""
    url = await url_of(emulator, caller)
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Range": "bytes=0-"}) as response:
        assert response.status == 206
    await caller.call(emulator, "GET", url)
    polite, rude = emulator.ledger.downloads
    assert (polite.authorization, polite.status, polite.range) == (False, 206, "bytes=0-")
    assert (rude.authorization, rude.status, rude.range) == (True, 200, None)
    assert "sig=" not in repr(emulator.ledger)


async def test_a_whole_result_says_what_it_is(emulator, caller):
    """A whole result has its length, checksums and `Accept-Ranges`."""
    reply = await caller.call(emulator, "GET", await url_of(emulator, caller))
    assert int(reply.headers["Content-Length"]) == len(reply.body)
    digest = hashlib.md5(reply.body, usedforsecurity=False).digest()
    assert base64.b64decode(reply.headers["Content-MD5"]) == digest
    assert reply.headers["Accept-Ranges"] == "bytes"
    sha256 = base64.b64encode(hashlib.sha256(reply.body).digest()).decode()
    assert reply.headers["Repr-Digest"] == f"sha-256=:{sha256}:"


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [("bytes=0-9", 0, 10), ("bytes=100-", 100, None), ("bytes=-20", -20, None), ("bytes=5-99999999", 5, None)],
)
async def test_a_part_of_a_result_can_be_fetched(emulator, caller, wanted, start, stop):
    """A range of a result can be downloaded."""
    url = await url_of(emulator, caller)
    whole = await caller.call(emulator, "GET", url)
    headers = {"Range": wanted, "If-Range": whole.headers["ETag"]}
    part = await caller.call(emulator, "GET", url, headers=headers)
    assert (part.status, part.body) == (206, whole.body[start:stop])
    first = start % len(whole.body)
    assert part.headers["Content-Range"] == f"bytes {first}-{first + len(part.body) - 1}/{len(whole.body)}"


async def test_another_entity_tag_gives_the_whole(emulator, caller):
    """A range request with another entity tag gets the whole file."""
    url = await url_of(emulator, caller)
    reply = await caller.call(emulator, "GET", url, headers={"Range": "bytes=5-", "If-Range": '"other"'})
    assert reply.status == 200


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=5-2", "lines=1-2", "bytes=a-b", "bytes=-", "bytes=1"])
async def test_a_range_that_is_not_there_is_refused(emulator, caller, wanted):
    """A range that does not exist is refused with 416 and the file's size."""
    reply = await caller.call(emulator, "GET", await url_of(emulator, caller), headers={"Range": wanted})
    assert reply.status == 416
    assert reply.headers["Content-Range"].startswith("bytes */")


async def test_a_head_request_has_no_body(emulator, caller):
    """A HEAD request gets the length and no body."""
    reply = await caller.call(emulator, "HEAD", await url_of(emulator, caller))
    assert (reply.status, reply.body) == (200, b"")
    assert int(reply.headers["Content-Length"]) > 0


def test_only_the_newest_results_are_kept():
    """The oldest result is dropped, and its URL then gives 404."""
    result_cache = ResultCache(lambda: 0.0, 60.0)
    urls = [result_cache.put(b"x%d" % number, "image/png", "png") for number in range(MAX_RESULTS + 1)]
    assert result_cache.find(urls[0]) is None
    assert result_cache.find(urls[1]) == ("image/png", b"x1")
    path, _, query = urls[0].partition("?")
    assert result_cache.answer(path, query, {}).status == 404


async def test_every_answer_has_the_date_of_the_emulators_clock(caller):
    """Every answer has the date of the emulator's clock."""
    clock = Clock()
    async with Emulator(clock=clock) as emulator:
        made = await caller.generate(emulator)
        reply = await caller.call(emulator, "GET", made.json["data"][0]["url"])
    assert {made.headers["Date"], reply.headers["Date"]} == {"Tue, 24 Nov 2026 12:00:00 GMT"}


@pytest.mark.parametrize(("seconds", "status"), [(59, 200), (60, 206)])
async def test_a_date_tells_files_apart_after_a_minute(caller, seconds, status):
    """`If-Range` with a date works once the file is a minute old."""
    clock = Clock()
    async with Emulator(clock=clock) as emulator:
        url = await url_of(emulator, caller)
        modified = (await caller.call(emulator, "GET", url)).headers["Last-Modified"]
        clock.now += timedelta(seconds=seconds)
        reply = await caller.call(emulator, "GET", url, headers={"Range": "bytes=5-", "If-Range": modified})
    assert reply.status == status
    assert emulator.ledger.downloads[-1].if_range == modified


class TestErrors:
    """What stores do wrong, on purpose."""

    def faulty(self, store):
        return Emulator(faults=[Fault(operation="downloads", store=store)])

    async def get(self, emulator, caller, url, **headers):
        return await caller.call(emulator, "GET", url, headers=headers)

    async def test_a_part_can_be_ignored(self, caller):
        """`ignores-range` sends the whole file."""
        async with self.faulty("ignores-range") as emulator:
            reply = await self.get(emulator, caller, await url_of(emulator, caller), Range="bytes=5-")
            assert reply.status == 200
            assert emulator.ledger.downloads[0].sent == len(reply.body)

    async def test_a_part_can_be_another_one(self, caller):
        """`wrong-range` sends another range and says so in `Content-Range`."""
        async with self.faulty("wrong-range") as emulator:
            reply = await self.get(emulator, caller, await url_of(emulator, caller), Range="bytes=5-")
            assert reply.status == 206
            size = len(reply.body)
            assert reply.headers["Content-Range"] == f"bytes 0-{size - 1}/{size}"

    async def test_a_part_can_be_nameless(self, caller):
        """`no-range` sends a part without `Content-Range`."""
        async with self.faulty("no-range") as emulator:
            url = await url_of(emulator, caller)
            reply = await self.get(emulator, caller, url, Range="bytes=5-")
            whole = await self.get(emulator, caller, url)
            assert (reply.status, reply.body) == (206, whole.body[5:])
            assert "Content-Range" not in reply.headers

    async def test_a_file_can_be_replaced(self, caller):
        """`replaced` serves another complete image with another tag from then on."""
        faults = [Fault(operation="downloads", delay=0.001), Fault(operation="downloads", store="replaced")]
        async with Emulator(faults=faults) as emulator:
            url = await url_of(emulator, caller)
            old, new, again = [await self.get(emulator, caller, url) for _ in range(3)]
        assert old.body[:33] == new.body[:33]
        assert old.body[33:] == new.body[-len(old.body) + 33 :]
        assert len(old.body) < len(new.body)
        assert (examine_bytes(new.body).complete, new.headers["ETag"]) == (True, again.headers["ETag"])
        assert old.headers["ETag"] != new.headers["ETag"]

    async def test_a_file_can_lack_its_end(self, caller):
        """`truncated` sends an incomplete image with the right length and checksum."""
        async with self.faulty("truncated") as emulator:
            reply = await self.get(emulator, caller, await url_of(emulator, caller))
        digest = hashlib.md5(reply.body, usedforsecurity=False).digest()
        assert int(reply.headers["Content-Length"]) == len(reply.body)
        assert base64.b64decode(reply.headers["Content-MD5"]) == digest
        assert not examine_bytes(reply.body).complete

    async def test_an_answer_can_drip(self, caller):
        """`rate` limits the bytes per second."""
        async with Emulator(faults=[Fault(operation="downloads", body=b"x" * 8, rate=200)]) as emulator:
            url = await url_of(emulator, caller)
            before = time.monotonic()
            reply = await self.get(emulator, caller, url)
        assert (reply.status, reply.body) == (200, b"x" * 8)
        assert time.monotonic() - before >= 0.03

    async def test_a_length_can_be_wrong(self, caller):
        """A fault can announce more bytes than it sends."""
        fault = Fault(operation="downloads", headers={"Content-Length": "999999"})
        async with Emulator(faults=[fault]) as emulator:
            url = await url_of(emulator, caller)
            with pytest.raises(aiohttp.ClientPayloadError):
                await self.get(emulator, caller, url)

    def test_only_downloads_come_from_a_store(self):
        """`store` is refused for anything but downloads."""
        with pytest.raises(ValueError, match="only downloads"):
            Fault(store="replaced")
