"""What is sent again and what is not, judged by the emulator's ledger."""

from __future__ import annotations

import asyncio
import hashlib
import io

import aiofiles
import pytest
from fakes import until
from pictures import png

from burncloud_images import GenerationRequest, RetryPolicy, Timeouts, errors
from burncloud_images.emulator import Fault
from burncloud_images.errors import Phase

pytestmark = pytest.mark.ways("tls")

SMALL = {"model": "gpt-image-2", "size": "1024x640"}
EIGHT_MIB = 8 * 1024 * 1024
BIG = png(pad=EIGHT_MIB)


async def one_shot(data: bytes):
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


class TestUploadsAreSentAgain:
    """A retried upload arrives as it was, whatever it is read from."""

    data = png(pad=3_000_000)

    @pytest.mark.parametrize("kind", ["path", "text path", "bytes", "open file", "bytes io", "opener", "async opener"])
    async def test_from_what_can_be_opened_or_rewound(self, set_up, tmp_path, kind):
        """After a 503 the second attempt sends the same bytes."""
        path = tmp_path / "photo.png"
        path.write_bytes(self.data)

        async def open_async():
            return path.open("rb")

        with path.open("rb") as handle:
            source = {
                "path": path,
                "text path": str(path),
                "bytes": self.data,
                "open file": handle,
                "bytes io": io.BytesIO(self.data),
                "opener": lambda: path.open("rb"),
                "async opener": open_async,
            }[kind]
            await self.assert_identical(set_up, source)
            assert not handle.closed

    async def test_from_an_aiofiles_handle(self, set_up, tmp_path):
        """The handle is rewound, not read by line, and left open."""
        path = tmp_path / "photo.png"
        path.write_bytes(self.data)
        async with aiofiles.open(path, "rb") as handle:
            await self.assert_identical(set_up, handle)
            assert not handle.closed

    async def test_from_a_one_shot_iterator(self, set_up):
        """A source that can be read once is kept while it is first read."""
        await self.assert_identical(set_up, one_shot(self.data))

    async def test_from_an_opener_of_one_shot_iterators(self, set_up):
        """An opener may open what has no length."""
        await self.assert_identical(set_up, lambda: one_shot(self.data))

    async def test_from_a_handle_that_stands_in_the_middle(self, set_up):
        """A file object is read from its current position at every attempt."""
        handle = io.BytesIO(b"a header of the caller's own" + self.data)
        handle.seek(28)
        await self.assert_identical(set_up, handle)

    async def assert_identical(self, set_up, source):
        bench = await set_up(Fault(status=503))
        await bench.client.edit(source, "a beret", **SMALL)

        first, second = bench.emulator.ledger.requests
        expected = hashlib.sha256(self.data).hexdigest()
        assert [expected] == [part.sha256 for part in first.parts]
        assert [expected] == [part.sha256 for part in second.parts]
        assert first.complete
        assert (503, 200) == (first.status, second.status)
        assert first.idempotency_key == second.idempotency_key
        bench.assert_fired()

    async def test_as_four_images_and_a_mask_in_order(self, set_up):
        """Several files are sent in order with their names."""
        images = [png(pad=size) for size in (10, 70_000, 2_000_000, 5)]
        bench = await set_up(Fault(status=503))
        await bench.client.edit(images, "a gift basket", mask=png(), **SMALL)

        first, second = bench.emulator.ledger.requests
        assert first.parts == second.parts
        assert ["image[]"] * 4 + ["mask"] == [part.name for part in second.parts]
        assert [hashlib.sha256(data).hexdigest() for data in images] == [part.sha256 for part in second.parts[:4]]


class TestCutsWhileSending:
    """Half a request cannot be executed, so it is sent again."""

    @pytest.mark.sampled(4)
    @pytest.mark.parametrize("cut", ["close", "reset", "stall"])
    @pytest.mark.parametrize(("place", "byte"), [("before-body", 0), ("upload", 0.5)])
    async def test_is_retried_and_billed_once(self, set_up, cut, place, byte):
        """An upload of 8 MiB that is cut at half is sent again and billed once."""
        bench = await set_up(Fault(cut=cut, place=place, byte=byte), timeouts=Timeouts(send_stall=5))
        result = await bench.client.edit(BIG, "a beret", **SMALL)

        first, second = bench.emulator.ledger.requests
        assert not first.complete
        assert not first.billed
        assert second.billed
        assert (2, 1) == (bench.posts, bench.billed)
        assert ["ConnectionFailedError", None] == [attempt.failure for attempt in result.history]
        assert result.history[0].phase < Phase.FINAL_RELEASED
        assert result.history[0].sent < len(BIG)
        bench.assert_fired()

    async def test_gives_up_after_four_attempts(self, set_up):
        """An upload that never succeeds raises an error that says that nothing was billed."""
        bench = await set_up(Fault(cut="reset", place="upload", byte=0.5, times=4))
        with pytest.raises(errors.ConnectionFailedError) as caught:
            await bench.client.edit(BIG, "a beret", **SMALL)

        assert (4, 0) == (bench.posts, bench.billed)
        assert 4 == len(caught.value.history)
        assert "Nothing was billed" in str(caught.value)
        bench.assert_fired()


class TestCutsAfterSending:
    """From the last byte on only a complete answer tells."""

    @pytest.mark.sampled(4)
    @pytest.mark.parametrize("cut", ["close", "reset", "stall"])
    @pytest.mark.parametrize("billed", [False, True])
    @pytest.mark.parametrize("upload", [False, True], ids=["prompt", "upload"])
    async def test_is_unknown_and_never_sent_again(self, set_up, cut, billed, upload):
        """A cut after the upload leads to one POST and an error with its key and phase."""
        bench = await set_up(Fault(cut=cut, billed=billed), timeouts=Timeouts(first_byte=5) if cut == "stall" else None)
        call = bench.client.edit(BIG, "otter", **SMALL) if upload else bench.client.generate("otter", **SMALL)
        with pytest.raises(errors.OutcomeUnknownError) as caught:
            await call

        # The client may leave while the picture is still being drawn.
        await until(lambda: billed == bench.emulator.ledger.requests[0].billed)
        (request,) = bench.emulator.ledger.requests
        assert request.complete
        assert Phase.FINAL_RELEASED == caught.value.phase
        assert request.idempotency_key == caught.value.idempotency_key
        assert "may have been billed" in str(caught.value)
        assert [] == bench.clock.slept
        bench.assert_fired()

    @pytest.mark.parametrize("cut", ["close", "reset", "stall"])
    async def test_in_the_answer_is_unknown(self, set_up, cut):
        """A truncated answer is not asked for again: that would buy it again."""
        fault = Fault(cut=cut, place="answer", byte=0.5)
        bench = await set_up(fault, timeouts=Timeouts(idle=5))
        with pytest.raises(errors.OutcomeUnknownError):
            await bench.client.generate("otter", **SMALL)

        assert (1, 1) == (bench.posts, bench.billed)
        bench.assert_fired()

    async def test_of_an_answer_without_length_is_noticed(self, set_up):
        """Half a JSON document without a length is noticed."""
        bench = await set_up(Fault(cut="close", place="answer", byte=0.5, framing="eof"))
        with pytest.raises(errors.OutcomeUnknownError, match="ends in the middle"):
            await bench.client.generate("otter", **SMALL)

        assert (1, 1) == (bench.posts, bench.billed)

    @pytest.mark.usefixtures("landscapes")  # which are large
    async def test_keeps_the_images_that_were_whole(self, set_up):
        """The error holds the two of three images that had arrived."""
        bench = await set_up(Fault(cut="close", place="answer", byte=-3000))
        with pytest.raises(errors.OutcomeUnknownError) as caught:
            await bench.client.generate("otter", n=3, **SMALL)

        assert [0, 1] == [image.index for image in caught.value.images]
        assert all(image.data.endswith(b"IEND\xaeB`\x82") for image in caught.value.images)

    async def test_is_repeated_if_the_caller_accepts_to_pay_twice(self, set_up):
        """The negative control: with `on_unknown="retry"` the ledger shows a double bill."""
        bench = await set_up(Fault(cut="reset", billed=True), retry=RetryPolicy(on_unknown="retry"))
        await bench.client.generate("otter", **SMALL)

        assert (2, 2) == (bench.posts, bench.billed)
        bench.assert_fired()


class TestAnswers:
    """What the API says decides."""

    async def test_throttling_waits_as_asked(self, set_up):
        """A 429 is waited for at least as long as its Retry-After says."""
        bench = await set_up(Fault(status=429, retry_after=2))
        await bench.client.generate("otter", **SMALL)

        assert (2, 1) == (bench.posts, bench.billed)
        (wait,) = bench.clock.slept
        assert 2 <= wait <= 2.2

    async def test_throttling_is_pace_and_not_failure(self, set_up):
        """A dozen 429 are passed, though only four attempts may fail."""
        bench = await set_up(Fault(status=429, retry_after=1, times=12))
        await bench.client.generate("otter", **SMALL)

        assert (13, 1) == (bench.posts, bench.billed)

    async def test_throttling_ends_at_the_deadline(self, set_up):
        """No attempt starts after the deadline."""
        bench = await set_up(Fault(status=429, retry_after=10, times=None), retry=RetryPolicy(deadline=35))
        with pytest.raises(errors.RateLimitError):
            await bench.client.generate("otter", **SMALL)

        assert 4 == bench.posts
        assert sum(bench.clock.slept) <= 35

    @pytest.mark.parametrize("status", [500, 503])
    async def test_an_api_that_is_overloaded_is_tried_again(self, set_up, status):
        """An overload error is retried, because its code says that the work was refused."""
        error = {"message": "m", "type": "service_unavailable_error", "code": "server_is_overloaded"}
        bench = await set_up(Fault(status=status, body={"error": error}))
        await bench.client.generate("otter", **SMALL)

        assert (2, 1) == (bench.posts, bench.billed)

    @pytest.mark.parametrize("status", [500, 502, 503, 529])
    async def test_an_error_in_the_apis_form_is_unknown(self, set_up, status):
        """An error in the API's form is unknown, because gateways write them after the work too."""
        bench = await set_up(Fault(status=status, billed=True))
        with pytest.raises(errors.OutcomeUnknownError):
            await bench.client.generate("otter", **SMALL)

        assert (1, 1) == (bench.posts, bench.billed)

    @pytest.mark.parametrize("status", [500, 502, 503, 520, 522, 524, 529])
    async def test_a_proxys_page_is_unknown(self, set_up, status):
        """The outcome is unknown after a proxy's error page."""
        bench = await set_up(Fault(status=status, body="<html>", billed=True))
        with pytest.raises(errors.OutcomeUnknownError) as caught:
            await bench.client.generate("otter", **SMALL)

        assert (1, 1) == (bench.posts, bench.billed)
        assert b"<html>" == caught.value.raw

    @pytest.mark.parametrize("body", [None, "<html>"])
    async def test_a_gateway_timeout_is_unknown_in_any_form(self, set_up, body):
        """The outcome is unknown after a 504 in any form."""
        bench = await set_up(Fault(status=504, body=body, billed=True))
        with pytest.raises(errors.OutcomeUnknownError):
            await bench.client.generate("otter", **SMALL)

        assert 1 == bench.posts

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (Fault(status=401), errors.AuthenticationError),
            (Fault(status=403), errors.PermissionDeniedError),
            (Fault(status=402), errors.QuotaExceededError),
            (Fault(status=410), errors.UnsupportedError),
            (
                Fault(status=429, body={"error": {"code": "insufficient_quota", "message": "m"}}),
                errors.QuotaExceededError,
            ),
            (Fault(status=400, body={"error": {"code": "moderation_blocked", "message": "m"}}), errors.ModerationError),
            (Fault(status=500, body={"error": {"code": "invalid_request", "message": "m"}}), errors.BadRequestError),
            (Fault(status=503, headers={"x-should-retry": "false"}), errors.ServerError),
            (Fault(status=429, retry_after=121), errors.RateLimitError),
            (Fault(status=302, headers={"location": "http://127.0.0.1:9/"}), errors.ProtocolError),
            (Fault(status=200, body="<html>"), errors.ProtocolError),
            (Fault(status=200, body={"created": 1, "data": []}), errors.ProtocolError),
            (Fault(status=200, body={"created": 1, "data": [{"b64_json": "no!!"}]}), errors.ProtocolError),
            (
                Fault(status=200, body={"error": {"message": "m", "code": "insufficient_user_quota"}}),
                errors.QuotaExceededError,
            ),
        ],
    )
    async def test_what_cannot_help_is_not_repeated(self, set_up, fault, kind):
        """An error that a retry cannot mend is raised after one POST, in its own class."""
        bench = await set_up(fault)
        with pytest.raises(kind) as caught:
            await bench.client.generate("otter", **SMALL)

        assert 1 == bench.posts
        assert [] == bench.clock.slept
        assert caught.value.request_id
        assert 1 == len(caught.value.history)
        bench.assert_fired()

    async def test_an_early_refusal_stops_the_upload(self, set_up):
        """An early 413 ends the upload, and the rest is not sent."""
        bench = await set_up(Fault(status=413, place="before-body"))
        with pytest.raises(errors.BadRequestError) as caught:
            await bench.client.edit(BIG, "a beret", **SMALL)

        assert (1, 0) == (bench.posts, bench.billed)
        assert caught.value.history[0].sent < len(BIG)


class TestCancellation:
    """A caller that leaves leaves nothing behind, and is told what it may owe."""

    async def test_after_the_request_was_sent_carries_a_note(self, set_up):
        """A cancellation after the request was sent has a note with the key and the phase."""
        bench = await set_up(Fault(cut="stall", billed=True))
        call = asyncio.create_task(bench.client.generate("otter", **SMALL))
        await until(lambda: bench.posts and bench.emulator.ledger.requests[0].billed)
        call.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await call

        (note,) = caught.value.__notes__
        assert bench.emulator.ledger.requests[0].idempotency_key in note
        assert "may have been billed" in note

    async def test_while_sending_carries_none(self, set_up):
        """A cancellation while sending has no note."""
        bench = await set_up(Fault(cut="stall", place="upload", byte=0.5))
        call = asyncio.create_task(bench.client.edit(BIG, "otter", **SMALL))
        await until(lambda: bench.posts)
        call.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await call

        assert not hasattr(caught.value, "__notes__")
        assert 0 == bench.billed

    async def test_is_never_repeated(self, set_up):
        """A call that `asyncio.timeout` cancels is not repeated."""
        bench = await set_up(Fault(cut="stall"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await bench.client.generate("otter", **SMALL)

        assert 1 == bench.posts


async def test_each_call_has_a_key_of_its_own(set_up):
    """Each call has its own idempotency key."""
    bench = await set_up()
    requests = [GenerationRequest("otter", **SMALL)] * 2
    results = await asyncio.gather(*(bench.client.send(request) for request in requests))

    keys = {request.idempotency_key for request in bench.emulator.ledger.requests}
    assert 2 == len(keys)
    assert keys == {result.idempotency_key for result in results}


async def test_every_attempt_is_shown(set_up):
    """`on_attempt` sees each attempt as it ends, with the wait before the next."""
    seen = []
    bench = await set_up(Fault(status=503), Fault(status=429, retry_after=1), on_attempt=seen.append)
    result = await bench.client.generate("otter", **SMALL)

    assert tuple(seen) == result.history
    assert [1, 2, 3] == [attempt.number for attempt in seen]
    assert ["ServerError", "RateLimitError", None] == [attempt.failure for attempt in seen]
    assert bench.clock.slept == [attempt.wait for attempt in seen if attempt.wait is not None]
