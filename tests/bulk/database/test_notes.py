"""What a store knows of rows beside their state: own columns, and the ids of equal ones."""

from __future__ import annotations

import attrs
from stored import advance, key, listed, row

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.records import RequestState, RowNotes


async def test_own_columns_are_kept(store):
    """Values of any kind come back with the request, in whatever state it is."""
    columns = {"category": "zoo", "n\udce4": [1, None, {"a": "水"}], "": 2.5}
    await store.add([attrs.evolve(row(1), columns=columns), row(2)])
    assert [RowNotes(columns=columns), RowNotes()] == [found.notes for found in await listed(store.records())]

    await advance(store, RequestState.DONE)
    assert columns == (await store.get(key(1))).notes.columns


async def test_ids_of_equal_rows_are_kept_once(store):
    """Reading the list again adds none, and a row without an id has none to keep."""
    rows = [row(1, label="a"), row(1, label="b"), row(1), row(1, label="c"), row(1, label="b")]
    added = await store.add(rows)
    again = await store.add(rows)

    assert (("b", "a"), ("c", "a")) == added.same
    assert () == again.same
    assert ("b", "c") == (await store.get(key(1))).notes.other_ids
    assert [key(1)] == [found.key for found in await store.find("c")]


async def test_columns_of_an_equal_row_complete_those_of_the_first(store):
    """None that is known is changed."""
    await store.add([attrs.evolve(row(1), columns={"a": 1}), attrs.evolve(row(1), columns={"a": 2, "b": 3})])

    assert {"a": 1, "b": 3} == (await store.get(key(1))).notes.columns


async def test_notes_are_there_when_the_store_is_opened_again(store, path):
    """Notes come back from a store that is opened again, also for those who only read it."""
    await store.add([attrs.evolve(row(1, label="a"), columns={"a": 1}), row(1, label="b")])
    await store.aclose()
    async with await JobStore.open_for_reading(path) as again:
        assert RowNotes(columns={"a": 1}, other_ids=("b",)) == (await again.get(key(1))).notes
    async with await JobStore.open(path) as again:
        assert ("b",) == (await again.get(key(1))).notes.other_ids


async def test_a_request_is_found_by_what_users_call_it(store):
    """By its id, its key, or the beginning of a key; an id comes first."""
    await store.add([row(1, label="fox"), row(2), row(3, label=key(2)[:8])])

    assert [key(1)] == [found.key for found in await store.find("fox")]
    assert [key(2)] == [found.key for found in await store.find(key(2))]
    assert [key(3)] == [found.key for found in await store.find(key(2)[:8])]
    assert [] == await store.find("owl")
    assert [] == await store.find("")
    assert [] == await store.find("*")
