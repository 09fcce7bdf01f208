"""A request takes the place of another with its id: no cost is forgotten, and nothing is bought twice."""

from __future__ import annotations

import attrs
import pytest
from stored import FAILURE, advance, key, listed, row

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.records import AddedRows, BadRow, RequestState

OLD, NEW = row(1, label="fox"), row(2, label="fox")


async def test_a_row_that_was_never_sent_is_forgotten(store, path):
    """It would be bought for nothing."""
    await store.add([attrs.evolve(OLD, columns={"a": 1})])
    assert AddedRows(new=1, replaced=1) == await store.add([NEW], replace=True)

    assert [key(2)] == [found.key for found in await listed(store.records())]
    assert {"a": 1} == (await store.get(key(2))).notes.columns
    assert 1 == (await store.totals()).requests
    await store.aclose()
    async with await JobStore.open(path):  # its sums are those of its requests
        pass


async def test_a_row_that_is_done_keeps_its_cost(store, path):
    """Its images stay where they are, under no id."""
    await store.add([OLD])
    before = await advance(store, RequestState.DONE)
    totals = await store.totals()
    await store.add([NEW], replace=True)
    old, new = await listed(store.records())

    assert ("", True, before.images, before.cost) == (old.label, old.notes.is_replaced, old.images, old.cost)
    assert ("fox", False, RequestState.PENDING) == (new.label, new.notes.is_replaced, new.state)
    after = await store.totals()
    assert (totals.cost, totals.committed, totals.images) == (after.cost, after.committed, after.images)
    assert [(key(1), ())] == [pair async for page in store.images() for pair in page]  # its file may be removed
    await store.aclose()
    async with await JobStore.open(path) as again:
        assert [key(2)] == [found.key for found in await again.find("fox")]


@pytest.mark.parametrize("may_be_billed", [True, False])
async def test_a_row_that_failed_is_not_sent_again(store, may_be_billed):
    """What may have been billed for it stays set aside; else it is forgotten."""
    await store.add([OLD])
    await advance(store, RequestState.SENT)
    await store.fail(key(1), FAILURE, may_be_billed=may_be_billed, request_id=None, at=2.0)
    reserved = (await store.totals()).reserved
    await store.add([NEW], replace=True)

    assert [key(1), key(2)][not may_be_billed :] == [found.key for found in await listed(store.records())]
    assert reserved == (await store.totals()).reserved
    assert 0 == (await store.totals()).counts[RequestState.FAILED]
    assert 0 == await store.retry({RequestState.FAILED})


@pytest.mark.parametrize("state", [RequestState.SENT, RequestState.RECEIVED, RequestState.IN_DOUBT])
async def test_a_row_that_may_be_billed_is_not_replaced(store, state):
    """First it has to be known what came of it."""
    await store.add([OLD])
    await advance(store, state)

    assert AddedRows(refused=1) == await store.add([NEW], replace=True)
    reason = "another request has the id 'fox', and may still be billed"
    assert [BadRow(source=NEW.source, line=NEW.line, label="fox", reason=reason)] == await listed(store.bad_rows())
    assert state is (await store.get(key(1))).state


async def test_a_row_that_is_put_back_is_not_bought_again(store):
    """The request that was replaced takes its id back, and its images are those that were paid for."""
    await store.add([OLD])
    done = await advance(store, RequestState.DONE)
    await store.add([NEW], replace=True)
    assert AddedRows(known=1, replaced=1) == await store.add([OLD], replace=True)

    assert [done] == await listed(store.records())


async def test_reading_a_list_again_replaces_nothing(store):
    """Neither a row that is as it was, nor one whose image was made again."""
    await store.add([OLD])
    await advance(store, RequestState.DONE)
    again = attrs.evolve(OLD, key=key(7), repeat=1)
    await store.put_in_place(key(1), again)

    assert AddedRows(known=1) == await store.add([OLD], replace=True)
    assert [key(7)] == [found.key for found in await store.find("fox")]
    assert AddedRows(known=1) == await store.add([OLD])
