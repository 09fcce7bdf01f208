"""One request's way as the job writes it down: what is durable before it is sent, and what is known to be unpaid."""

from __future__ import annotations

import attrs
import pytest

from burncloud_images import errors
from burncloud_images.bulk.passage import Passage
from burncloud_images.bulk.queue import JobStopped
from burncloud_images.bulk.records import RequestFailure, RequestRecord
from burncloud_images.errors import Phase
from burncloud_images.results import Attempt, Unfetched
from burncloud_images.wire.answer import ImagesAnswer


@attrs.define
class Diary:
    """A store, an admission and a purse that write down what they are asked."""

    entries: list[str] = attrs.field(factory=list)
    trouble: Exception | None = None

    async def mark_sent(self, key, *, reserved, at):
        self.entries.append(f"mark_sent {reserved}")
        if self.trouble is not None:
            raise self.trouble

    async def mark_resent(self, key, *, reserved, at):
        self.entries.append(f"mark_resent {reserved}")

    async def mark_polled(self, key, *, at):
        self.entries.append("mark_polled")

    async def make_way(self):
        self.entries.append("make way")

    async def release(self, key):
        self.entries.append("release")

    async def mark_received(self, key, links, *, about, request_id):
        self.entries.append(f"mark_received {len(links)}")
        if self.trouble is not None:
            raise self.trouble

    async def enter(self, weights):
        self.entries.append("enter")
        return "permit"

    def cancel(self):
        self.entries.append("cancel")

    def leave(self, permit, attempt, error):
        self.entries.append("leave")

    def observe(self, permit, headers):
        self.entries.append("observe")

    async def reserve(self, record):
        self.entries.append("reserve")
        return 7

    def free(self, record):
        self.entries.append("free")

    def keep(self, record):
        self.entries.append("keep")


@pytest.fixture
def diary():
    return Diary()


@pytest.fixture
def passage(diary):
    record = RequestRecord(key="ab" * 16, number=1, document={"operation": "generations"}, source="x", line=1)
    return Passage(
        record=record,
        weights={},
        store=diary,
        admission=diary,
        purse=diary,
        make_way=diary.make_way,
        halted=lambda: False,
        now=lambda: 1.0,
    )


def attempt(wait: float | None = None) -> Attempt:
    return Attempt(number=1, phase=Phase.STATUS, elapsed=0.1, wait=wait)


def refusal() -> errors.APIError:
    return errors.ServerError("x", status=503)


class TestPassage:
    """Permits are asked for at the moment of sending, and the intent is durable before it."""

    async def test_money_then_permit_then_intent(self, passage, diary):
        """Money is reserved first, then a permit is taken, then the intent is written."""
        await passage.before_attempt()

        assert ["reserve", "enter", "mark_sent 7"] == diary.entries
        assert passage.may_be_billed

    async def test_a_refused_attempt_that_is_repeated_is_as_if_it_was_never_sent(self, passage, diary):
        """A refused attempt that is retried leaves no trace of having been sent."""
        await passage.before_attempt()
        await passage.after_attempt(attempt(wait=1.0), refusal())

        assert ["leave", "free", "release"] == diary.entries[3:]
        assert not passage.may_be_billed

    async def test_an_attempt_after_one_that_may_be_billed_is_paid_for_besides(self, passage, diary):
        """An attempt after one that may be billed reserves its cost in addition."""
        await passage.before_attempt()
        await passage.after_attempt(attempt(wait=1.0), errors.OutcomeUnknownError("x"))
        await passage.before_attempt()

        assert ["leave", "keep", "reserve", "enter", "mark_resent 7"] == diary.entries[3:]
        assert passage.may_be_billed

    async def test_where_the_server_knows_the_key_it_buys_nothing_more(self, passage, diary):
        """An attempt with a key that the server knows reserves nothing more."""
        passage.pays_again = False
        await passage.before_attempt()
        await passage.after_attempt(attempt(wait=1.0), errors.OutcomeUnknownError("x"))
        await passage.before_attempt()

        assert ["leave", "enter", "mark_polled"] == diary.entries[3:]
        assert passage.may_be_billed

    async def test_a_server_that_is_at_work_on_it_is_asked_at_no_price(self, passage, diary):
        """Only while it says so: an attempt after another kind of failure may buy anew."""
        await passage.before_attempt()
        for in_flight in (True, False):
            error = errors.OutcomeUnknownError("x")
            error.in_flight = in_flight
            await passage.after_attempt(attempt(wait=1.0), error)
            await passage.before_attempt()

        assert ["leave", "enter", "mark_polled", "leave", "keep", "reserve", "enter", "mark_resent 7"] == diary.entries[
            3:
        ]

    async def test_old_files_are_put_aside_before_it_is_sent_anew(self, passage, diary):
        """Just before: what is not sent keeps them."""
        passage.record = attrs.evolve(passage.record, failure=RequestFailure(error="X", message="x"))
        await passage.before_attempt()

        assert ["reserve", "enter", "make way", "mark_sent 7"] == diary.entries

    async def test_a_client_that_was_closed_has_sent_nothing(self, passage):
        """A request of a closed client was not sent."""
        await passage.before_attempt()
        await passage.after_attempt(attempt(), errors.ClientClosedError("x"))

        assert not passage.may_be_billed

    @pytest.mark.parametrize(
        "error",
        [
            errors.OutcomeUnknownError("x"),
            errors.ProtocolError("x", status=200),
            errors.ModerationError("x", status=400),
        ],
        ids=lambda error: type(error).__name__,
    )
    async def test_a_last_attempt_that_may_be_billed_is_not_let_go(self, passage, error):
        """Stopping the job drops what is known to be unpaid, and nothing else."""
        await passage.before_attempt()
        await passage.after_attempt(attempt(), error)

        assert passage.may_be_billed

    async def test_one_that_cost_nothing_may_be(self, passage):
        """An attempt that was refused cannot have been billed."""
        await passage.before_attempt()
        await passage.after_attempt(attempt(), refusal())

        assert not passage.may_be_billed

    async def test_a_job_that_stops_sends_nothing_more(self, passage, diary):
        """A job that stops sends no further requests."""
        passage.halted = lambda: bool(diary.entries)  # from the moment on at which it waits for a permit
        with pytest.raises(JobStopped):
            await passage.before_attempt()

        assert ["reserve", "enter", "cancel"] == diary.entries

    async def test_what_cannot_be_written_down_is_not_sent(self, passage, diary):
        """A request whose intent cannot be written is not sent."""
        diary.trouble = errors.StorageError("disk full")
        with pytest.raises(errors.StorageError):
            await passage.before_attempt()

        assert "cancel" == diary.entries[-1]
        assert not passage.may_be_billed

    async def test_addresses_that_cannot_be_kept_are_fetched_all_the_same(self, passage, diary):
        """URLs that cannot be stored are downloaded all the same."""
        diary.trouble = errors.StorageError("disk full")
        await passage.on_links([Unfetched(index=0, url="https://x/y")], ImagesAnswer())

        assert ["mark_received 1"] == diary.entries
