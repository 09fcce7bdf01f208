"""Every kind of failure against the emulator: what is sent again and what is not, judged by its ledger."""

from __future__ import annotations

import asyncio
import base64
import heapq
import itertools
import json
import socket
from contextlib import suppress
from datetime import UTC, datetime

import attrs
import pytest
import statuses
from fakes import FakeClock, until
from pictures import png
from raw import answering, serve

from burncloud_images import AsyncImagesClient, Directory, GenerationRequest, Network, RetryPolicy, Timeouts, errors
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.errors import Phase

pytestmark = pytest.mark.ways("tls")

SMALL = {"model": "gpt-image-2", "size": "1024x640"}
BIG = png(pad=8 * 1024 * 1024)
REPLAY = RetryPolicy(server_idempotency="replay")


def coded(status, code, **options):
    return Fault(status=status, body={"error": {"message": "m", "code": code}}, **options)


def page(status, **options):
    return Fault(status=status, body="<html>", **options)


@attrs.frozen
class Row:
    """
    A failure that strikes once, and what it comes to.

    Attributes:
        id: What goes wrong, in words.
        fault: What goes wrong with the first request.
        posts: Requests that arrive.
        kind: What is raised; None if an image comes of it.
        replayed: Whether a server that recognises keys makes it a success.
        upload: Whether 8 MiB are sent.
        timeouts: Of the stages.
    """

    id: str
    fault: Fault
    posts: int
    kind: type[errors.ImagesError] | None = None
    replayed: bool = False
    upload: bool = False
    timeouts: Timeouts = Timeouts()  # noqa: RUF009 (a value)


UNKNOWN = errors.OutcomeUnknownError
ROWS = [
    Row("upload closed", Fault(cut="close", place="upload", byte=0.5), 2, upload=True),
    Row("upload reset", Fault(cut="reset", place="upload", byte=0.5), 2, upload=True),
    Row(
        "upload stalled", Fault(cut="stall", place="upload", byte=0.5), 2, upload=True, timeouts=Timeouts(send_stall=2)
    ),
    Row("closed after the body", Fault(cut="close"), 1, UNKNOWN, replayed=True),
    Row("closed after the work", Fault(cut="close", billed=True), 1, UNKNOWN, replayed=True),
    Row("reset after the work", Fault(cut="reset", billed=True), 1, UNKNOWN, replayed=True),
    Row("reset after a large upload", Fault(cut="reset", billed=True), 1, UNKNOWN, replayed=True, upload=True),
    Row("no first byte", Fault(cut="stall", billed=True), 1, UNKNOWN, replayed=True, timeouts=Timeouts(first_byte=5)),
    Row("garbage", Fault(raw=b"\x16\x03\x01\x02\x00", billed=True), 1, UNKNOWN, replayed=True),
    Row("half a status line", Fault(raw=b"HTTP/1.1 20", billed=True), 1, UNKNOWN, replayed=True),
    Row("answer cut", Fault(cut="close", place="answer", byte=0.5), 1, UNKNOWN, replayed=True),
    Row(
        "chunked answer cut", Fault(cut="close", place="answer", byte=0.5, framing="chunked"), 1, UNKNOWN, replayed=True
    ),
    Row("answer reset", Fault(cut="reset", place="answer", byte=0.5), 1, UNKNOWN, replayed=True),
    Row(
        "answer stalled",
        Fault(cut="stall", place="answer", byte=0.5),
        1,
        UNKNOWN,
        replayed=True,
        timeouts=Timeouts(idle=5),
    ),
    Row(
        "answer without a length cut",
        Fault(cut="close", place="answer", byte=0.5, framing="eof"),
        1,
        UNKNOWN,
        replayed=True,
    ),
    Row("page with 200", Fault(body="<html>", billed=True), 1, errors.ProtocolError),
    Row("no images", Fault(body={"created": 1, "data": []}, billed=True), 1, errors.ProtocolError),
    Row("bad base64", Fault(body={"data": [{"b64_json": "no!!"}]}, billed=True), 1, errors.ProtocolError),
    Row("bytes of no image", Fault(body={"data": [{"b64_json": "bm8="}]}, billed=True), 1, errors.ProtocolError),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
class TestRows:
    """A failure strikes once; without it, each of these calls succeeds with one request."""

    async def test_is_sent_again_or_not(self, set_up, row):
        """With default settings nothing is ever billed twice."""
        bench = await set_up(row.fault, timeouts=row.timeouts)
        error = await self.run(bench, row)

        assert row.kind is (type(error) if error else None)
        assert row.posts == bench.posts
        assert (row.kind is None or row.fault.billed or row.fault.place == "answer") == (1 == bench.billed)
        assert bench.billed <= 1
        bench.assert_fired()

    @pytest.mark.sampled(4)
    async def test_is_sent_again_to_a_server_that_replays(self, set_up, row):
        """A server that replays answers is asked again with the same key and bills once."""
        bench = await set_up(row.fault, timeouts=row.timeouts, retry=REPLAY, emulator={"idempotency": "replay"})
        error = await self.run(bench, row)

        assert (None if row.replayed else row.kind) is (type(error) if error else None)
        assert row.posts + row.replayed == bench.posts
        assert bench.billed <= 1
        assert 1 == len({request.idempotency_key for request in bench.emulator.ledger.requests})
        bench.assert_fired()

    async def run(self, bench, row):
        call = bench.client.edit(BIG, "a hat", **SMALL) if row.upload else bench.client.generate("otter", **SMALL)
        (error,) = await asyncio.gather(call, return_exceptions=True)
        if not isinstance(error, BaseException):
            return None
        assert bench.emulator.ledger.requests[0].idempotency_key == error.idempotency_key
        assert row.posts <= len(error.history)
        return error


ANSWERS = [(row, billed) for row in statuses.ROWS if row.is_playable for billed in row.billings]


@pytest.mark.parametrize(
    ("row", "billed"),
    statuses.to_parameters(
        ANSWERS,
        alike=lambda case: (case[0].status, case[0].means, case[0].dialect, case[0].early, case[1]),
        name=lambda case: f"{case[0].id}{', billed' * case[1]}",
    ),
)
class TestAnswers:
    """An answer with an error comes once; without it, each of these calls succeeds with one request."""

    @pytest.mark.sampled(3)
    async def test_is_asked_for_again_or_not(self, set_up, row, billed):
        """With default settings nothing is ever billed twice."""
        bench = await set_up(row.fault(billed=billed), retry=row.policy(), dialect=row.dialect)
        error = await self.run(bench, row)

        is_final = row.means.verdict == "stop"
        assert (row.means.error if is_final else None) is (type(error) if error else None)
        assert (1 if is_final else 2) == bench.posts
        assert int(billed or not is_final) == bench.billed
        if error is not None:
            assert (row.means.billed, Phase.COMPLETE) == (error.billed, error.phase)
            assert row.attributes == {name: getattr(error, name) for name in row.attributes}
        bench.assert_fired()

    @pytest.mark.sampled(5)
    async def test_is_asked_for_again_of_a_server_that_replays(self, set_up, row, billed):
        """A server that replays answers is asked again with the same key and bills once."""
        policy = row.policy(server_idempotency="replay")
        emulator = {"idempotency": "replay"}
        bench = await set_up(row.fault(billed=billed), retry=policy, dialect=row.dialect, emulator=emulator)
        error = await self.run(bench, row)

        is_final = row.means.replayed == "stop"
        assert (row.means.error if is_final else None) is (type(error) if error else None)
        assert (1 if is_final else 2) == bench.posts
        assert bench.billed <= 1
        assert 1 == len({request.idempotency_key for request in bench.emulator.ledger.requests})
        bench.assert_fired()

    async def run(self, bench, row):
        match row.operation:
            case "variations":
                call = bench.client.create_variation(png(), size="256x256")
            case _ if row.early:
                call = bench.client.edit(BIG, "a hat", **SMALL)
            case _:
                call = bench.client.generate("otter", **SMALL)
        (error,) = await asyncio.gather(call, return_exceptions=True)
        return error if isinstance(error, BaseException) else None


class TestOtherRows:
    """Failures that no answer of a server makes."""

    async def test_waits_for_a_free_connection_without_end(self, set_up):
        """Waiting for a free connection has no timeout."""
        bench = await set_up(emulator={"latency": 0.05}, max_connections=2, timeouts=Timeouts(connect=2))
        results = await asyncio.gather(*(bench.client.generate("otter", **SMALL) for _ in range(12)))
        assert [1] * 12 == [len(result.history) for result in results]

    async def test_tries_a_host_where_nobody_listens_four_times(self):
        """A host that refuses connections is tried four times, and nothing is billed."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{free.getsockname()[1]}"
        clock = FakeClock()
        async with AsyncImagesClient("sk-x", address, clock=clock) as client:
            with pytest.raises(errors.ConnectionFailedError) as caught:
                await client.generate("otter", **SMALL)
        assert 4 == len(caught.value.history)
        assert [Phase.CONNECTING] * 4 == [attempt.phase for attempt in caught.value.history]
        assert 3 == len(clock.slept)
        assert all(0.1 <= wait <= most for wait, most in zip(clock.slept, (0.5, 1, 2), strict=True))

    @pytest.mark.parametrize(("status", "attempts"), [(b"407 Proxy Authentication Required", 1), (b"502 Bad", 4)])
    async def test_obeys_a_proxy_that_refuses(self, status, attempts):
        """A proxy that wants a key is asked once, and a broken one again."""
        async with serve(answering(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")) as proxy:
            network = Network(proxy=proxy.url)
            async with AsyncImagesClient(
                "sk-x", "https://gateway.example", network=network, clock=FakeClock()
            ) as client:
                with pytest.raises(errors.ConnectionFailedError) as caught:
                    await client.generate("otter", **SMALL)
        assert attempts == len(caught.value.history)
        assert all(request.startswith(b"CONNECT gateway.example:443") for request in proxy.requests)
        assert not any(b"sk-x" in request for request in proxy.requests)

    async def test_says_that_the_connection_had_been_used(self, set_up):
        """The error says that the connection had been used before, and the outcome is unknown."""
        bench = await set_up(Fault(delay=0.001, status=503), Fault(cut="close"))
        with pytest.raises(UNKNOWN) as caught:
            await bench.client.generate("otter", **SMALL)
        assert [False, True] == [attempt.reused for attempt in caught.value.history]

    async def test_returns_what_came_of_too_few(self, set_up):
        """Fewer images than asked for are returned with a warning and not asked for again."""
        image = base64.b64encode(png()).decode()
        bench = await set_up(Fault(body={"created": 1, "data": [{"b64_json": image}]}, billed=True))
        with pytest.warns(errors.ImagesWarning, match="3 images were asked for and 1 came"):
            result = await bench.client.generate("otter", n=3, **SMALL)
        assert 1 == len(result.images)
        assert 1 == bench.posts

    async def test_asks_for_the_key_again(self):
        """A key callable is asked again after a 401."""
        keys = iter(["sk-old", "sk-emulator", "sk-emulator"])
        async with (
            Emulator() as emulator,
            AsyncImagesClient(lambda: next(keys), emulator.base_url, clock=FakeClock()) as client,
        ):
            result = await client.generate("otter", **SMALL)
        assert [401, 200] == [attempt.status for attempt in result.history]
        assert 1 == emulator.ledger.billed_requests

    @pytest.mark.parametrize(("keys", "posts"), [(["sk-1"], 1), (["sk-1", "sk-2"], 2), (["sk-1", "sk-2", "sk-3"], 2)])
    async def test_asks_once(self, keys, posts):
        """The call ends if the new key is the same or is refused as well."""
        given = itertools.chain(keys, itertools.repeat(keys[-1]))
        async with (
            Emulator() as emulator,
            AsyncImagesClient(lambda: next(given), emulator.base_url, clock=FakeClock()) as client,
        ):
            with pytest.raises(errors.AuthenticationError):
                await client.generate("otter", **SMALL)
        assert posts == len(emulator.ledger.requests)

    async def test_waits_until_the_first_attempt_is_done(self, set_up):
        """A request that the server works on is asked for every five seconds with the same key."""
        bench = await set_up(Fault(status=503), coded(409, "idempotency_key_in_use", times=9))
        await bench.client.generate("otter", **SMALL)
        assert (11, 1) == (bench.posts, bench.billed)
        assert all(5 <= wait <= 5.5 for wait in bench.clock.slept[1:])
        assert 1 == len({request.idempotency_key for request in bench.emulator.ledger.requests})

    async def test_ends_at_the_deadline_unknown(self, set_up):
        """The outcome is unknown if the server still works at the deadline."""
        bench = await set_up(coded(409, "idempotency_key_in_use", times=None), retry=RetryPolicy(deadline=20))
        with pytest.raises(UNKNOWN, match="still working on an earlier attempt"):
            await bench.client.generate("otter", **SMALL)
        assert sum(bench.clock.slept) <= 20

    async def test_raises_the_first_error(self, set_up):
        """If the server says that the key was used, the error of the earlier attempt is raised."""
        bench = await set_up(
            Fault(cut="reset", billed=True),
            retry=RetryPolicy(server_idempotency="reject"),
            emulator={"idempotency": "reject"},
        )
        with pytest.raises(UNKNOWN) as caught:
            await bench.client.generate("otter", **SMALL)
        assert (2, 1) == (bench.posts, bench.billed)
        assert "idempotency_key_already_used" == caught.value.__cause__.code
        assert "may have been billed" in caught.value.__notes__[0]
        assert 2 == len(caught.value.history)

    @pytest.mark.parametrize(
        "options", [{"dialect": "newapi"}, {"dialect": "burncloud"}, {"retry": RetryPolicy(trust_errors=True)}]
    )
    async def test_believes_whom_it_was_told_to(self, set_up, options):
        """A named server or `trust_errors` makes an error in the API's form free, but not a page."""
        error = {"message": "m", "type": "upstream_error", "param": "", "code": "bad_response_status_code"}
        bench = await set_up(Fault(status=502, body={"error": error}), page(502, billed=True), **options)
        with pytest.raises(UNKNOWN):
            await bench.client.generate("otter", **SMALL)
        assert (2, 1) == (bench.posts, bench.billed)

    async def test_raises_the_last_error_with_a_note(self, set_up):
        """At the deadline the last error is raised with a note."""
        bench = await set_up(Fault(status=429, retry_after=10, times=None), retry=RetryPolicy(deadline=35))
        with pytest.raises(errors.RateLimitError) as caught:
            await bench.client.generate("otter", **SMALL)
        assert 4 == bench.posts
        assert "deadline of 35 s" in caught.value.__notes__[0]

    async def test_lets_an_attempt_run_beyond_the_deadline(self, set_up):
        """An attempt that has started may run beyond the deadline."""
        bench = await set_up(Fault(delay=0.05), retry=RetryPolicy(deadline=0.01))
        assert 1 == len((await bench.client.generate("otter", **SMALL)).images)

    async def test_buys_nothing_again_for_a_full_disk(self, set_up, tmp_path):
        """A full disk raises an error with the image, and nothing is bought again."""
        bench = await set_up()
        sink = Directory(tmp_path / "out", name="otter.png")

        class Vanishing(Directory):
            def open(self, placement):
                (tmp_path / "out" / "otter.png").touch()
                return super().open(placement)

        with pytest.raises(errors.StorageError) as caught:
            await bench.client.send(GenerationRequest("otter", **SMALL), into=Vanishing(sink.path, name=sink.name))
        assert (1, 1) == (bench.posts, bench.billed)
        assert 1 == len(caught.value.unsaved)


class TestWaits:
    """How the server's wishes are read from real headers."""

    @pytest.mark.parametrize(
        ("headers", "least", "most"),
        [
            ({"Retry-After": "2"}, 2, 2.2),
            ({"Retry-After-Ms": "1500"}, 1.5, 1.65),
            ({"X-Ms-Retry-After-Ms": "1500", "Retry-After": "9"}, 1.5, 1.65),
            ({"Retry-After": "Wed, 21 Oct 2015 07:28:05 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 5, 5.5),
            ({"Retry-After": "Wed, 21 Oct 2015 07:27:00 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.1, 1),
            ({"X-RateLimit-Reset-Requests": "1m2.5s", "X-RateLimit-Remaining-Requests": "0"}, 62.5, 67.5),
            ({"X-RateLimit-Reset-Requests": "1m2.5s", "X-RateLimit-Remaining-Requests": "7"}, 0.1, 1),
            ({"X-RateLimit-Reset-Requests": "1m2.5s"}, 0.1, 1),
            *[
                ({"Retry-After": text}, 0.1, 1)
                for text in (
                    "0",
                    "nan",
                    "inf",
                    "-1",
                    "1e9",
                    "1_000",
                    "",
                    "soon",
                    "99999999999",
                    "3601",
                    "0x10",
                    "1.2345",
                )
            ],
        ],
    )
    async def test_a_wait_is_honoured_or_ignored(self, set_up, headers, least, most):
        """A sensible wait is honoured, and nonsense is ignored."""
        bench = await set_up(Fault(status=429, headers=headers))
        await bench.client.generate("otter", **SMALL)
        (wait,) = bench.clock.slept
        assert least <= wait <= most

    @pytest.mark.parametrize(("first", "second", "least"), [(b"3", b"3", 3), (b"3", b"5", 5), (b"5", b"3", 5)])
    async def test_of_two_waits_the_longer_counts(self, first, second, least):
        """The longer of two waits counts, because a proxy may have added its own."""
        head = (
            b"HTTP/1.1 429 Slow\r\nRetry-After: %b\r\nretry-after: %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        clock = FakeClock()
        async with (
            serve(answering(head % (first, second))) as raw,
            AsyncImagesClient("sk", raw.url, clock=clock) as client,
        ):
            with pytest.raises(errors.RateLimitError) as caught:
                await client.with_options(retry=RetryPolicy(deadline=7)).generate("otter", model="m")
        assert least == caught.value.retry_after
        assert least <= clock.slept[0] <= 1.1 * least


class VirtualClock(FakeClock):
    """A clock for many calls at once: it jumps to the next sleeper's time whenever real time passes without one."""

    def __init__(self):
        super().__init__(scale=1)
        self.time = 0.0
        self.sleepers = []
        self.order = itertools.count()
        self.pump = None

    def now(self):
        return datetime.now(UTC)

    def monotonic(self):
        return self.time

    async def sleep(self, seconds):
        self.slept.append(seconds)
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self.sleepers, (self.time + seconds, next(self.order), wake))
        if self.pump is None:
            self.pump = asyncio.create_task(self.run())
        await wake

    async def run(self):
        while self.sleepers:
            await asyncio.sleep(0.001)
            self.time = max(self.time, self.sleepers[0][0])
            while self.sleepers and self.sleepers[0][0] <= self.time:
                wake = heapq.heappop(self.sleepers)[2]
                if not wake.done():
                    wake.set_result(None)
        self.pump = None


async def call_many(client, count, at_once):
    """Return the errors of *count* calls."""
    places, failed = asyncio.Semaphore(at_once), []

    async def call():
        async with places:
            try:
                await client.generate("otter", **SMALL)
            except errors.ImagesError as error:
                failed.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(call())
    return failed


async def answer_each(reader, writer, decide):
    """Serve one connection: each request gets what *decide* says."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.partition(b":")[2]))
            writer.write(decide())
    writer.close()


NOON = "Wed, 21 Oct 2015 12:00:00 GMT"
RESET = {"x-ratelimit-reset-requests": "6ms"}
THROTTLED = {
    "no header": {},
    "half a second": {"retry-after": "0.5"},
    "none": {"retry-after": "0"},
    "a date that is now": {"retry-after": NOON, "date": NOON},
    "a millisecond": {"retry-after-ms": "1"},
    "a reset": RESET,
    "a reset, none left": {**RESET, "x-ratelimit-remaining-requests": "0"},
    "a reset, some left": {**RESET, "x-ratelimit-remaining-requests": "59"},
}
"""What a server that refuses for its pace says of the time."""


SERVED = [
    pytest.param("no header", 1000, marks=pytest.mark.slow),
    ("half a second", 200),
    pytest.param("none", 200, marks=pytest.mark.slow),
]


class TestManyCalls:
    """What calls of one client know of each other."""

    @pytest.mark.parametrize(
        ("fault", "calls"),
        [
            pytest.param(Fault(status=503, times=None), 1000, marks=pytest.mark.slow),
            (coded(500, "get_channel_failed", times=None), 100),
            (page(521, times=None), 100),
        ],
        ids=["overloaded", "failing", "unreachable"],
    )
    async def test_a_dead_gateway_is_left_alone(self, set_up, fault, calls):
        """A dead gateway gets 35 retries, however many calls there are."""
        bench = await set_up(fault, clock=VirtualClock())
        failed = await call_many(bench.client, calls, 64)
        assert calls == len(failed)
        assert calls + 35 == bench.posts
        assert sum(len(error.history) for error in failed) == bench.posts
        assert 0 == bench.billed

    async def test_without_a_budget_it_would_be_asked_four_times_as_often(self, set_up, monkeypatch):
        """Without the budget it is asked four times as often: the control."""
        monkeypatch.setattr("burncloud_images.retry.RetryBudget.take", lambda _: True)
        bench = await set_up(Fault(status=503, times=None), clock=VirtualClock())
        await call_many(bench.client, 50, 64)
        assert 200 == bench.posts

    @pytest.mark.slow
    async def test_copies_share_the_budget(self, set_up):
        """Copies of a client share one retry budget."""
        bench = await set_up(Fault(status=503, times=None), clock=VirtualClock())
        copies = [bench.client.with_options(retry=RetryPolicy(attempts=count)) for count in (2, 3, 4)]
        for copy in copies:
            await call_many(copy, 100, 64)
        assert 335 == bench.posts

    @pytest.mark.sampled(4)
    @pytest.mark.parametrize("headers", THROTTLED.values(), ids=THROTTLED)
    async def test_a_gateway_that_throttles_is_not_hammered(self, set_up, headers):
        """Sixteen calls at once send at most 200 requests in ten seconds."""
        clock = VirtualClock()
        bench = await set_up(
            Fault(status=429, headers=headers, times=None), clock=clock, retry=RetryPolicy(deadline=10)
        )
        failed = await call_many(bench.client, 16, 16)
        assert 16 == len(failed)
        assert 5 <= clock.time <= 10  # the last waits are chance; one that would end later is not begun
        assert 16 * 3 <= bench.posts <= 200
        assert 0 == bench.billed

    @pytest.mark.parametrize(("name", "calls"), SERVED)
    async def test_a_gateway_that_rejects_a_random_half_serves_everybody(self, set_up, name, calls):
        """A 429 is pace: 1,000 calls at 64 at once all finish, billed once each."""
        fault = Fault(status=429, headers=THROTTLED[name], times=None, probability=0.5)
        bench = await set_up(fault, clock=VirtualClock())
        failed = await call_many(bench.client, calls, 64)
        assert [] == failed
        assert calls == bench.billed
        assert abs(bench.posts - 2 * calls) < 5 * (2 * calls) ** 0.5  # five standard deviations

    async def test_as_a_failure_the_same_half_would_not_be_survived(self, set_up):
        """Counted as failures, the same 429s would fail one call in sixteen: the control."""
        fault = Fault(status=503, times=None, probability=0.5)
        bench = await set_up(fault, clock=VirtualClock())
        assert await call_many(bench.client, 200, 64)

    async def test_one_call_that_is_told_to_wait_holds_all_back(self):
        """Twenty workers, one 429 that asks for 3 s: none probes within them; S27."""
        clock, arrivals = VirtualClock(), []
        body = json.dumps({"created": 1, "data": [{"b64_json": base64.b64encode(png()).decode()}]}).encode()
        good = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        slow = b"HTTP/1.1 429 Slow\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"

        def decide():
            arrivals.append(clock.monotonic())
            return slow if len(arrivals) == 1 else good

        server = await asyncio.start_server(lambda *peers: answer_each(*peers, decide), "127.0.0.1", 0)
        async with (
            server,
            AsyncImagesClient("sk", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", clock=clock) as client,
        ):
            first = asyncio.create_task(client.generate("otter", **SMALL))
            await until(lambda: clock.slept)
            results = await asyncio.gather(first, *(client.generate("otter", **SMALL) for _ in range(19)))
        assert 21 == len(arrivals)
        assert 0 == arrivals[0]
        assert all(3 <= arrival <= 3.4 for arrival in arrivals[1:])
        assert [2, *[1] * 19] == [len(result.history) for result in results]


class TestObservation:
    """What logs and metrics are shown."""

    async def test_every_attempt_names_its_call(self, set_up):
        """Every attempt has the idempotency key of its call."""
        seen = []
        bench = await set_up(Fault(status=503), on_attempt=seen.append)
        results = await asyncio.gather(*(bench.client.generate("otter", **SMALL) for _ in range(3)))
        assert 4 == len(seen)
        assert {result.idempotency_key for result in results} == {attempt.idempotency_key for attempt in seen}


class TestCodes:
    """The caller's own codes."""

    @pytest.mark.parametrize(
        ("options", "fault", "kind", "posts"),
        [
            ({"retry_codes": "upstream_busy"}, coded(400, "upstream_busy"), None, 2),
            ({"fail_codes": "slow_down"}, coded(503, "slow_down"), errors.RateLimitError, 1),
            ({"unknown_codes": "task_timeout"}, coded(500, "task_timeout", billed=True), UNKNOWN, 1),
        ],
    )
    async def test_decide(self, set_up, options, fault, kind, posts):
        """A single code may be given as text."""
        bench = await set_up(fault, retry=RetryPolicy(**options))
        if kind is None:
            await bench.client.generate("otter", **SMALL)
        else:
            with pytest.raises(kind):
                await bench.client.generate("otter", **SMALL)
        assert posts == bench.posts

    def test_a_single_host_is_one_host(self):
        """A single host given as text is one host and not its letters."""
        assert ("images.internal",) == Network(allowed_result_hosts="images.internal").allowed_result_hosts
