"""What a job's store remembers: rows, states, money, and everything in the order in which it was said."""

from __future__ import annotations

import asyncio
import os
import stat
from datetime import UTC, datetime

import attrs
import pytest
from stored import BOUGHT, FAILURE, advance, copy_files, image, key, link, listed, row, steps

from burncloud_images import errors
from burncloud_images.bulk.database import JobStore, queries
from burncloud_images.bulk.database.queries import PAGE
from burncloud_images.bulk.records import (
    AddedRows,
    BadRow,
    JobTotals,
    NewRequest,
    RequestRecord,
    RequestState,
    StoredImage,
    UnfetchedLink,
)
from burncloud_images.results import RefusedImage, Task

BAD = BadRow(source="prompts.jsonl", line=9, label="x", reason="it is not JSON")


def counts(**found: int) -> dict[RequestState, int]:
    return {state: found.get(state, 0) for state in RequestState}


class TestAdding:
    """Rows become requests."""

    async def test_they_are_numbered_in_their_order(self, store):
        """Requests are numbered from 1 over all calls, and are pending."""
        await store.add([row(5), row(3)])
        await store.add([row(4, label="four")])

        expected = [
            RequestRecord(
                key=key(number), number=place, document=row(number).document, source="prompts.jsonl", line=number
            )
            for place, number in enumerate([5, 3], start=1)
        ]
        assert [*expected, await store.get(key(4))] == await listed(store.records())
        assert "four" == (await store.get(key(4))).label

    async def test_equal_rows_are_one_request(self, store):
        """Rows with one key are one request, within a call and over calls."""
        assert AddedRows(new=1, known=1, same=(("b", "a"),)) == await store.add([row(1, label="a"), row(1, label="b")])
        done = await advance(store, RequestState.DONE)

        assert AddedRows(known=1, new=1) == await store.add([row(1), row(2)])
        assert done == await store.get(key(1))

    async def test_a_label_is_taken_once(self, store):
        """A row whose label is taken becomes a bad row, again each time its input is read."""
        rows = [row(1, label="a"), row(2, label="a"), row(3)]

        assert AddedRows(new=2, refused=1) == await store.add(rows)
        assert AddedRows(known=2, refused=1) == await store.add(rows)
        problem = BadRow(source="prompts.jsonl", line=2, label="a", reason="another request has the id 'a'")
        assert [problem] == await listed(store.bad_rows())

    async def test_problems_are_known_by_their_place_and_reason(self, store):
        """Bad rows are known by source, line and reason, so reading an input again adds none."""
        other = attrs.evolve(BAD, source="other.txt", line=1)
        empty = attrs.evolve(BAD, reason="it is empty")
        assert AddedRows() == await store.add([BAD, other])
        assert AddedRows() == await store.add([BAD, empty])

        assert [BAD, other, empty] == await listed(store.bad_rows())
        assert 3 == (await store.totals()).bad_rows

    async def test_problems_of_an_input_can_be_forgotten(self, store):
        """The bad rows of one input can be deleted, and those of others stay."""
        other = attrs.evolve(BAD, source="other.txt")
        await store.add([BAD, other])
        assert await store.has_bad_rows(BAD.source)
        await store.clear_bad_rows(BAD.source)

        assert not await store.has_bad_rows(BAD.source)
        assert [other] == await listed(store.bad_rows())

    @pytest.mark.parametrize(
        "text", ["水獺", "a\x00b", "\udce9t\udce9", "'; DROP TABLE requests; --", "\U0001f9a6" * 300, "\ud83e", ""]
    )
    async def test_texts_come_back_as_they_were(self, store, text):
        """File names and prompts come back unchanged, even if they are not valid Unicode."""
        document = {"prompt": text, "extra": {text: [text, None, 1.5, 2**70, True]}}
        await store.add(
            [
                NewRequest(key=key(1), document=document, source=f"s{text}", line=1, label=f"l{text}"),
                BadRow(source=text, line=2, label=text, reason=text),
            ]
        )

        record = await store.get(key(1))
        assert (document, f"s{text}", f"l{text}") == (record.document, record.source, record.label)
        assert [BadRow(source=text, line=2, label=text, reason=text)] == await listed(store.bad_rows())

    async def test_a_batch_comes_whole_or_not_at_all(self, store):
        """A row that cannot be written undoes its own batch, and nothing else."""
        before = store.add([row(1), BAD])
        with pytest.raises(OverflowError):
            await store.add([row(2), attrs.evolve(row(3), line=2**70)])
        assert AddedRows(new=1) == await store.add([row(3)])

        assert AddedRows(new=1) == await before
        assert [key(1), key(3)] == [record.key for record in await listed(store.records())]


class TestLeasing:
    """Requests are handed out once."""

    async def test_in_their_order(self, store):
        """Requests are leased in order, as many as asked for or as there are."""
        await store.add([row(number) for number in (3, 1, 2)])

        first = await store.lease(2)
        assert [(key(3), RequestState.LEASED, 1), (key(1), RequestState.LEASED, 1)] == [
            (record.key, record.state, record.attempts) for record in first
        ]
        assert list(first) == [await store.get(record.key) for record in first]
        assert [key(2)] == [record.key for record in await store.lease(9)]
        assert () == tuple(await store.lease(9))

    async def test_what_is_given_back_comes_first_again(self, store):
        """A requeued request keeps its place, and every lease counts as an attempt."""
        await store.add([row(1), row(2)])
        await store.lease(2)
        await store.requeue(key(1), FAILURE)

        ((again),) = await store.lease(5)
        assert (key(1), 2, FAILURE) == (again.key, again.attempts, again.failure)

    async def test_leases_are_released(self, store):
        """The leases of a killed run are released, but no request that was sent."""
        await store.add([row(number) for number in range(1, 8)])
        for state in (
            RequestState.LEASED,
            RequestState.SENT,
            RequestState.RECEIVED,
            RequestState.DONE,
            RequestState.FAILED,
            RequestState.IN_DOUBT,
        ):
            await advance(store, state)

        assert 1 == await store.release_leases()
        assert counts(pending=2, sent=1, received=1, done=1, failed=1, in_doubt=1) == (await store.totals()).counts


SAID = {
    "requeue": lambda store, key: store.requeue(key),
    "mark_sent": lambda store, key: store.mark_sent(key, reserved=5, at=300.0),
    "release": lambda store, key: store.release(key),
    "mark_accepted": lambda store, key: store.mark_accepted(key, Task(id="t-1"), request_id="r"),
    "mark_received": lambda store, key: store.mark_received(key, [link(0)], about={}, request_id="r"),
    "add_image": lambda store, key: store.add_image(key, image(0)),
    "finish": lambda store, key: store.finish(key, [image(0)], cost=1, about={}, request_id="r", at=300.0),
    "fail": lambda store, key: store.fail(key, FAILURE, may_be_billed=True, request_id="r", at=300.0),
    "mark_in_doubt": lambda store, key: store.mark_in_doubt(key, FAILURE, request_id="r", at=300.0),
    "set_paths": lambda store, key: store.set_paths(key, [image(0), image(1)]),
}
ALLOWED = {
    ("requeue", RequestState.LEASED): RequestState.PENDING,
    ("requeue", RequestState.SENT): RequestState.PENDING,
    ("requeue", RequestState.ACCEPTED): RequestState.ACCEPTED,
    ("requeue", RequestState.RECEIVED): RequestState.RECEIVED,
    ("mark_sent", RequestState.LEASED): RequestState.SENT,
    ("release", RequestState.SENT): RequestState.LEASED,
    ("release", RequestState.ACCEPTED): RequestState.LEASED,
    ("mark_accepted", RequestState.SENT): RequestState.ACCEPTED,
    ("mark_received", RequestState.SENT): RequestState.RECEIVED,
    ("mark_received", RequestState.ACCEPTED): RequestState.RECEIVED,
    ("add_image", RequestState.ACCEPTED): RequestState.ACCEPTED,
    ("finish", RequestState.ACCEPTED): RequestState.DONE,
    ("fail", RequestState.ACCEPTED): RequestState.FAILED,
    ("mark_in_doubt", RequestState.ACCEPTED): RequestState.IN_DOUBT,
    ("add_image", RequestState.SENT): RequestState.SENT,
    ("add_image", RequestState.RECEIVED): RequestState.RECEIVED,
    ("add_image", RequestState.IN_DOUBT): RequestState.IN_DOUBT,
    ("finish", RequestState.SENT): RequestState.DONE,
    ("finish", RequestState.RECEIVED): RequestState.DONE,
    ("finish", RequestState.IN_DOUBT): RequestState.DONE,
    ("fail", RequestState.LEASED): RequestState.FAILED,
    ("fail", RequestState.SENT): RequestState.FAILED,
    ("fail", RequestState.RECEIVED): RequestState.FAILED,
    ("fail", RequestState.IN_DOUBT): RequestState.FAILED,
    ("fail", RequestState.DONE): RequestState.FAILED,
    ("mark_in_doubt", RequestState.SENT): RequestState.IN_DOUBT,
    ("set_paths", RequestState.DONE): RequestState.DONE,
}


class TestStates:
    """Requests go from state to state as they may, and no other way."""

    @pytest.mark.sampled(3)
    @pytest.mark.parametrize("state", list(RequestState))
    @pytest.mark.parametrize("change", list(SAID))
    async def test_a_change_is_made_where_it_may_be(self, store, change, state):
        """A transition that the state does not allow raises and changes nothing."""
        await store.add([row(1)])
        before = await advance(store, state)
        sums = await store.totals()
        expected = ALLOWED.get((change, state))

        if expected is None:
            with pytest.raises(RuntimeError, match=f"^Request {key(1)} is {state}, so it cannot be "):
                await SAID[change](store, key(1))
            assert (before, sums) == (await store.get(key(1)), await store.totals())
        else:
            assert await SAID[change](store, key(1)) is None
            assert expected is (await store.get(key(1))).state

    @pytest.mark.parametrize("change", list(SAID))
    async def test_nobody_knows_another_request(self, store, change):
        """A transition of an unknown request raises an error."""
        with pytest.raises(RuntimeError, match=f"^There is no request {key(1)} that could be "):
            await SAID[change](store, key(1))

    @pytest.mark.parametrize("state", sorted({*RequestState} - {RequestState.FAILED, RequestState.IN_DOUBT}))
    async def test_only_what_is_at_an_end_is_reopened(self, store, state):
        """Only failed and in-doubt requests can be retried."""
        await store.add([row(1)])
        before = await advance(store, state)

        with pytest.raises(RuntimeError, match=f"^Requests that are {state} cannot be retried"):
            await store.retry({state, RequestState.FAILED})
        assert before == await store.get(key(1))

    async def test_reopening_takes_all_in_these_states(self, store):
        """Retrying takes all requests in the states and returns their number."""
        await store.add([row(number) for number in range(1, 6)])
        for state in (RequestState.FAILED, RequestState.IN_DOUBT, RequestState.FAILED, RequestState.DONE):
            await advance(store, state)

        assert 0 == await store.retry([])
        assert 2 == await store.retry({RequestState.FAILED})
        assert 1 == await store.retry({RequestState.IN_DOUBT, RequestState.FAILED})
        assert counts(pending=4, done=1) == (await store.totals()).counts


class TestImages:
    """What came of a request."""

    async def test_an_image_takes_the_place_of_its_link(self, store):
        """An added image replaces the link and the image of its index; images stay in order."""
        expires = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
        links = [UnfetchedLink(index=1, url="https://a.example/1?s=1", expires_at=expires), link(2), link(0)]
        await store.add([row(1, n=3)])
        await advance(store, RequestState.SENT)
        await store.mark_received(key(1), links, about={"created": 7, "usage": {"input": 1}}, request_id="req_2")
        assert tuple(links) == (await store.get(key(1))).links

        await store.add_image(key(1), image(2))
        await store.add_image(key(1), image(0, size=1))
        await store.add_image(key(1), attrs.evolve(image(0), revised_prompt="水", media_type="image/png"))

        found = await store.get(key(1))
        kept = (attrs.evolve(image(0), revised_prompt="水", media_type="image/png"), image(2))
        assert (kept, (links[0],)) == (found.images, found.links)
        assert ({"created": 7, "usage": {"input": 1}}, "req_2") == (found.about, found.request_id)
        totals = await store.totals()
        assert (2, 2000, 3) == (totals.images, totals.bytes, totals.committed)

    async def test_a_request_is_done_with_what_came(self, store):
        """A finished request has no links and no failure, and keeps what is known of the answer."""
        await store.add([row(1)])
        await advance(store, RequestState.RECEIVED)
        await store.requeue(key(1), FAILURE)
        await store.finish(key(1), [image(0)], cost=7, about={}, request_id=None, at=250.0)

        found = await store.get(key(1))
        assert ((image(0),), (), None) == (found.images, found.links, found.failure)
        assert ({"created": 7}, "req_1", 100.0, 250.0) == (
            found.about,
            found.request_id,
            found.sent_at,
            found.ended_at,
        )

    async def test_images_are_moved(self, store):
        """Setting paths changes the images' paths and nothing else."""
        await store.add([row(1)])
        before = await advance(store, RequestState.DONE)
        sums = await store.totals()
        moved = tuple(attrs.evolve(one, path=f"00000.tar/{one.index}.png") for one in before.images)
        await store.set_paths(key(1), moved)

        assert attrs.evolve(before, images=moved) == await store.get(key(1))
        assert sums == await store.totals()

    async def test_an_attempt_begins_without_what_is_known_of_the_last(self, store):
        """Sending a request again clears the failure and the request id of the last attempt."""
        await store.add([row(1)])
        await advance(store, RequestState.FAILED)
        await store.retry({RequestState.FAILED})
        assert FAILURE == (await store.get(key(1))).failure
        await advance(store, RequestState.SENT)
        await store.mark_in_doubt(key(1), attrs.evolve(FAILURE, code=None), request_id=None, at=400.0)

        found = await store.get(key(1))
        assert (attrs.evolve(FAILURE, code=None), None, 400.0) == (found.failure, found.request_id, found.ended_at)


class TestMoney:
    """What may have been billed is never let go of, unless somebody knows that it was not."""

    async def sums(self, store: JobStore) -> tuple[int, int, int]:
        totals = await store.totals()
        record = await store.get(key(1))
        assert (totals.cost, totals.reserved) == (record.cost or 0, record.reserved)
        return totals.cost, totals.reserved, totals.committed

    @pytest.mark.parametrize(
        ("state", "expected"),
        [
            (RequestState.PENDING, (0, 0, 0)),
            (RequestState.LEASED, (0, 0, 0)),
            (RequestState.SENT, (0, BOUGHT, 2)),
            (RequestState.RECEIVED, (0, BOUGHT, 2)),
            (RequestState.DONE, (BOUGHT // 2, 0, 2)),
            (RequestState.FAILED, (0, 0, 0)),
            (RequestState.IN_DOUBT, (0, BOUGHT, 2)),
        ],
    )
    async def test_of_every_state(self, store, state, expected):
        """Each state has the expected cost, reservation and committed images."""
        await store.add([row(1)])
        await advance(store, state)

        assert expected == await self.sums(store)

    @pytest.mark.parametrize("change", ["release", "requeue"])
    async def test_what_was_not_billed_is_free_again(self, store, change):
        """Releasing or requeueing a sent request frees its reservation and its images."""
        await store.add([row(1)])
        await advance(store, RequestState.SENT)
        await SAID[change](store, key(1))

        assert (0, 0, 0) == await self.sums(store)

    async def test_what_is_received_stays_reserved(self, store):
        """A received request that is requeued keeps its reservation, since it is paid for."""
        await store.add([row(1)])
        before = await advance(store, RequestState.RECEIVED)
        await store.requeue(key(1))

        assert before == await store.get(key(1))
        assert (0, BOUGHT, 2) == await self.sums(store)

    @pytest.mark.parametrize("state", [RequestState.SENT, RequestState.RECEIVED, RequestState.IN_DOUBT])
    @pytest.mark.parametrize(("may_be_billed", "expected"), [(True, (0, BOUGHT, 2)), (False, (0, 0, 0))])
    async def test_a_failure_may_be_billed(self, store, state, may_be_billed, expected):
        """A failed request keeps its reservation only if it may be billed."""
        await store.add([row(1)])
        await advance(store, state)
        await store.fail(key(1), FAILURE, may_be_billed=may_be_billed, request_id=None, at=300.0)

        assert expected == await self.sums(store)
        assert (FAILURE, 300.0) == ((await store.get(key(1))).failure, (await store.get(key(1))).ended_at)

    async def test_a_lost_image_is_still_paid(self, store):
        """A done request whose image is lost keeps its cost."""
        await store.add([row(1)])
        await advance(store, RequestState.DONE)
        await store.fail(key(1), FAILURE, may_be_billed=True, request_id=None, at=300.0)
        assert (BOUGHT // 2, 0, 2) == await self.sums(store)

        await store.retry({RequestState.FAILED})
        assert (BOUGHT // 2, 0, 2) == await self.sums(store)
        await advance(store, RequestState.DONE)
        assert (BOUGHT, 0, 4) == await self.sums(store)

    async def test_without_a_known_cost_the_worst_case_stays(self, store):
        """Without a known cost the worst case stays reserved until the request is bought again."""
        await store.add([row(1)])
        await advance(store, RequestState.SENT)
        await store.finish(key(1), [image(0)], cost=None, about={}, request_id=None, at=300.0)

        assert None is (await store.get(key(1))).cost
        assert (0, BOUGHT, 1) == await self.sums(store)

    async def test_what_is_bought_again_counts_twice(self, store):
        """Each attempt that was in doubt stays in the cost and in the committed images."""
        await store.add([row(1)])
        for attempt in (1, 2):
            await advance(store, RequestState.IN_DOUBT)
            await store.add_image(key(1), image(0))
            await store.retry({RequestState.IN_DOUBT})
            assert ((attempt - 1) * BOUGHT, BOUGHT, attempt * 2) == await self.sums(store)
            await advance(store, RequestState.SENT)
            assert (attempt * BOUGHT, BOUGHT, attempt * 2 + 2) == await self.sums(store)
            assert ((), ()) == ((await store.get(key(1))).images, (await store.get(key(1))).links)
            await store.release(key(1))
            await store.requeue(key(1))
        await advance(store, RequestState.DONE)

        assert (2 * BOUGHT + BOUGHT // 2, 0, 6) == await self.sums(store)
        assert 2 == (await store.totals()).images

    async def test_an_image_that_is_there_was_bought(self, store):
        """A stored image stays committed, even if its request is requeued."""
        await store.add([row(1)])
        await advance(store, RequestState.SENT)
        await store.add_image(key(1), image(0))
        await store.requeue(key(1))

        assert (0, 0, 1) == await self.sums(store)

    async def test_fewer_images_than_asked_for(self, store):
        """A done request counts the images that came, whether fewer or more than it asked for."""
        await store.add([row(1, n=4), row(2, n=1)])
        await advance(store, RequestState.SENT)
        await store.finish(key(1), [image(0)], cost=1, about={}, request_id=None, at=300.0)
        assert 1 == (await store.totals()).committed
        await advance(store, RequestState.DONE)
        assert (
            JobTotals(counts=counts(done=2), images=3, bytes=3000, committed=3, cost=1 + BOUGHT // 2, reserved=0)
            == await store.totals()
        )


class TestReading:
    """What is known can be asked for at any time."""

    async def test_one_request(self, store):
        """A request is found by its whole key only."""
        await store.add([row(1), row(2, label="abc")])

        assert (key(1), key(2)) == ((await store.get(key(1))).key, (await store.get(key(2))).key)
        assert [None] * 4 == [await store.get(name) for name in (key(3), key(1)[:8], "abc", "")]

    async def test_many_in_pages(self, store):
        """Pages give every request once and in order while others change."""
        numbers = range(1, 3 * PAGE + 2)
        await store.add([row(number) for number in numbers])
        found = []
        async for record in store.records():
            found.append(record.line)
            if len(found) == PAGE // 2:
                await store.lease(2 * PAGE)

        assert list(numbers) == found
        assert list(numbers[: 2 * PAGE]) == [one.line for one in await listed(store.records({RequestState.LEASED}))]
        assert [] == await listed(store.records(set()))

    async def test_in_some_states(self, store):
        """Requests in several states come in the order of the inputs."""
        await store.add([row(number) for number in range(1, 5)])
        for state in (RequestState.SENT, RequestState.DONE, RequestState.FAILED):
            await advance(store, state)

        assert [1, 3] == [one.line for one in await listed(store.records([RequestState.FAILED, RequestState.SENT]))]
        assert [2] == [one.line for one in await listed(store.records({RequestState.DONE}))]
        assert [4] == [one.line for one in await listed(store.records({RequestState.PENDING}))]

    async def test_those_of_which_images_were_refused(self, store, monkeypatch):
        """Done requests with refused images are read in pages and in order; damaged refusals are left out."""
        monkeypatch.setattr(queries, "PAGE", 2)
        kept = {"index": 1, "code": "blocked", "message": "No."}
        found = [[kept], None, [], "no", [{"index": "1"}, "no"], [{"index": 0, "code": 5, "message": None}], [kept]]
        await store.add([row(number) for number in range(1, 10)])
        for number, refused in enumerate(found, start=1):
            await store.lease(1)
            await store.mark_sent(key(number), reserved=1, at=1.0)
            about = {"refused": refused}
            await store.finish(key(number), [image(0)], cost=1, about=about, request_id=None, at=2.0)
        await advance(store, RequestState.DONE)

        no = RefusedImage(index=1, code="blocked", message="No.")
        assert [(key(1), (no,)), (key(6), (RefusedImage(index=0),)), (key(7), (no,))] == [
            (record.key, record.refused) for record in await listed(store.refused())
        ]

    async def test_images_alone(self, store, monkeypatch):
        """Images of done requests are read in pages without the prompts."""
        monkeypatch.setattr(queries, "IMAGE_PAGE", 2)
        await store.add([row(number) for number in range(1, 8)])
        for state in (
            RequestState.DONE,
            RequestState.IN_DOUBT,
            RequestState.DONE,
            RequestState.RECEIVED,
            RequestState.DONE,
        ):
            await advance(store, state)

        pages = await listed(store.images())
        one, three, five = ((key(number), (image(0), image(1))) for number in (1, 3, 5))
        assert [[one, three], [five]] == pages

    async def test_problems_in_pages(self, store):
        """Pages give every bad row once."""
        bad_rows = [attrs.evolve(BAD, line=line) for line in range(1, 2 * PAGE + 2)]
        await store.add(bad_rows)

        assert bad_rows == await listed(store.bad_rows())

    async def test_what_was_sent_lately(self, store):
        """Recent sends include earlier attempts and released requests."""
        await store.add([row(number) for number in range(1, 6)])
        await store.lease(4)
        for number, at in ((1, 1000.0), (2, 50.0), (3, 86_400.0), (4, 999.0)):
            await store.mark_sent(key(number), reserved=0, at=at)
        await store.release(key(4))

        assert [(999.0, row(4).document), (1000.0, row(1).document), (86_400.0, row(3).document)] == list(
            await store.recent(999.0)
        )

    async def test_things_about_the_job(self, store):
        """Metadata is stored as JSON, and the last value counts."""
        assert await store.get_metadata("running") is None
        await store.set_metadata("running", True)
        await store.set_metadata("inputs", {"水.txt": {"rows": None, "mtime": 2**60}})
        await store.set_metadata("running", False)

        assert await store.get_metadata("running") is False
        assert {"水.txt": {"rows": None, "mtime": 2**60}} == await store.get_metadata("inputs")


class TestOrder:
    """What is said first is so first, whether or not anybody waits for it."""

    async def test_reading_sees_what_was_said_before(self, store):
        """A read sees every change that was queued before it, awaited or not."""
        await store.add([row(1)])
        await advance(store, RequestState.SENT)
        store.add_image(key(1), image(0))
        found = store.get(key(1))
        store.add_image(key(1), image(1))
        both = store.get(key(1))

        assert [1, 2] == [len((await found).images), len((await both).images)]

    async def test_a_whole_life_without_waiting(self, store):
        """Changes that are not awaited take effect in the order of the calls."""
        store.add([row(1)])
        store.lease(1)
        store.mark_sent(key(1), reserved=1, at=1.0)
        store.release(key(1))
        store.mark_sent(key(1), reserved=2, at=2.0)
        store.mark_received(key(1), [link(0)], about={}, request_id=None)
        store.finish(key(1), [image(0)], cost=2, about={}, request_id=None, at=3.0)

        assert RequestState.DONE is (await store.get(key(1))).state

    async def test_whoever_waits_may_be_cancelled(self, store):
        """A change takes effect even if its caller is cancelled."""
        await store.add([row(1), row(2)])
        await store.lease(2)
        waiting = [asyncio.ensure_future(store.mark_sent(key(number), reserved=5, at=1.0)) for number in (1, 2)]
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)

        assert [True, True] == [task.cancelled() for task in waiting]
        assert counts(sent=2) == (await store.totals()).counts

    async def test_closing_carries_out_what_was_said(self, path):
        """Closing executes all queued changes, and closing twice does nothing more."""
        store = await JobStore.open(path)
        store.add([row(1)])
        await store.aclose()
        await store.aclose()

        async with await JobStore.open(path) as store:
            assert 1 == (await store.totals()).requests

    async def test_nothing_is_said_to_a_closed_store(self, path):
        """A change of a closed store raises an error."""
        store = await JobStore.open(path)
        await store.aclose()

        with pytest.raises(RuntimeError, match="The job's store is closed"):
            store.add([])


class TestFailures:
    """A change that fails raises where it is awaited, and the store goes on."""

    async def test_it_raises_where_it_is_awaited(self, store):
        """A failed change raises where it is awaited, and the next change is made."""
        with pytest.raises(RuntimeError, match="There is no request"):
            await store.release(key(1))

        assert () == tuple(await store.lease(1))

    async def test_it_raises_when_it_is_awaited_later(self, store):
        """The future of a failed change keeps the error until it is awaited."""
        future = store.release(key(1))
        await store.totals()

        with pytest.raises(RuntimeError, match="There is no request"):
            await future

    async def test_its_caller_may_be_cancelled(self, store):
        """A cancelled caller does not hear of a failure, and the store goes on."""
        task = asyncio.ensure_future(store.release(key(1)))
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()
        assert () == tuple(await store.lease(1))


class TestView:
    """Another process may look while a run goes on."""

    async def test_it_sees_what_is_so(self, store, path):
        """A reader sees every change that another process commits."""
        await store.add([row(1), row(2, label="two"), BAD])
        async with await JobStore.open_for_reading(path) as view:
            assert counts(pending=2) == (await view.totals()).counts
            sent = await advance(store, RequestState.SENT)
            await store.set_metadata("running", True)

            assert counts(pending=1, sent=1) == (await view.totals()).counts
            assert [sent, await store.get(key(2))] == await listed(view.records())
            assert [BAD] == await listed(view.bad_rows())
            assert sent == await view.get(key(1))
            assert [(100.0, row(1).document)] == list(await view.recent(0))
            assert await view.get_metadata("running") is True

    async def test_it_cannot_change_anything(self, store, path):
        """A change through a reader raises and leaves the store as it was."""
        async with await JobStore.open_for_reading(path) as view:
            with pytest.raises(errors.StorageError, match="readonly database"):
                await view.add([row(1)])
            with pytest.raises(errors.StorageError, match="readonly database"):
                await view.writer.read(lambda connection: connection.execute("DELETE FROM requests"))

    async def test_of_a_run_that_was_killed(self, store, path, tmp_path):
        """A reader sees what a killed run had written."""
        await store.add([row(1)])
        async with await JobStore.open_for_reading(copy_files(path, tmp_path / "killed")) as view:
            assert 1 == (await view.totals()).requests

    async def test_of_a_job_at_its_end(self, path):
        """A reader sees a store that was closed."""
        async with await JobStore.open(path) as store:
            await store.add([row(1)])
        async with await JobStore.open_for_reading(path) as view:
            assert 1 == (await view.totals()).requests

    async def test_where_nothing_can_be_written(self, path, monkeypatch):
        """A store in a read-only directory can be read, and nothing is created beside it."""
        async with await JobStore.open(path) as store:
            await store.add([row(1)])
        path.parent.chmod(0o500)
        if os.geteuid() == 0:  # whom no permission stops
            monkeypatch.setattr(os, "access", lambda *_, **__: False)
        async with await JobStore.open_for_reading(path) as view:
            assert 1 == (await view.totals()).requests
            assert [path] == list(path.parent.iterdir())
        path.parent.chmod(0o700)

    async def test_of_no_job(self, path):
        """Reading a store that does not exist raises and creates nothing."""
        with pytest.raises(errors.JobError, match=f"^There is no job: {path} does not exist"):
            await JobStore.open_for_reading(path)

        assert [] == list(path.parent.iterdir())


class TestSecrets:
    """Signed addresses are for nobody else, and for no longer than they are needed."""

    async def test_only_the_owner_reads_the_files(self, path):
        """All three files of a store are readable by their owner only."""
        before = os.umask(0)
        try:
            async with await JobStore.open(path) as store:
                await store.add([row(1)])
                modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        finally:
            os.umask(before)

        assert {f"job.sqlite3{suffix}": 0o600 for suffix in ("", "-wal", "-shm")} == modes

    async def test_addresses_are_erased(self, path):
        """URLs are erased once their image is stored, and from all files once the store is closed."""
        secret = b"signature="
        async with await JobStore.open(path) as store:
            await store.add([row(number) for number in range(1, 60)])
            for number in range(1, 60):
                await advance(store, RequestState.SENT)
                long = [attrs.evolve(link(index), url=link(index).url + "x" * number * 40) for index in (0, 1)]
                await store.mark_received(key(number), long, about={}, request_id=None)
            await asyncio.gather(*(store.add_image(key(number), image(0)) for number in range(1, 60, 2)))
            for number in range(1, 60):
                store.finish(key(number), [image(0), image(1)], cost=1, about={}, request_id=None, at=1.0)
            await store.totals()
            written = path.with_name("job.sqlite3-wal").read_bytes().count(secret)

        assert written > 50  # else they were never there
        assert {} == {
            file.name: file.read_bytes().count(secret) for file in path.parent.iterdir() if secret in file.read_bytes()
        }

    async def test_no_value_shows_them(self, store):
        """Neither the repr of a value nor an error shows a URL's secrets."""
        await store.add([row(1)])
        record = await advance(store, RequestState.RECEIVED)

        assert "very-secret" not in repr(record)
        with pytest.raises(RuntimeError) as caught:
            await store.mark_received(key(1), [link(0)], about={}, request_id=None)
        assert "very-secret" not in str(caught.value)


async def test_large_values_come_back(store):
    """A prompt of a hundred thousand characters and 500 images come back unchanged."""
    images = tuple(StoredImage(index=index, path="p" * 200, size=2**40, sha256="0" * 64) for index in range(500))
    await store.add([NewRequest(key=key(1), document={"prompt": "獺" * 100_000, "n": 500}, source="s", line=1)])
    await advance(store, RequestState.SENT)
    await store.finish(key(1), images, cost=2**60, about={}, request_id=None, at=1.0)

    found = await store.get(key(1))
    assert (images, 2**60) == (found.images, found.cost)
    assert 500 * 2**40 == (await store.totals()).bytes
    assert steps(RequestState.DONE) == (RequestState.LEASED, RequestState.SENT, RequestState.DONE)
