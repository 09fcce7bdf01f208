"""Changes that wait are made durable together, and only then do their callers go on."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import threading
from functools import partial

import attrs
import pytest
from blockbuster import BlockBuster, BlockingError
from stored import advance, copy_files, image, key, link, listed, row

from burncloud_images import errors
from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.database.file import connect
from burncloud_images.bulk.database.writer import DatabaseWriter
from burncloud_images.bulk.records import AddedRows, RequestState

CALLERS = 64
SYNCED = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


class Gate(sqlite3.Connection):
    """A connection whose commits wait to be let through, one by one, once it is shut."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.shut = False
        self.commits = 0
        self.reached = threading.Semaphore(0)
        self.passed = threading.Semaphore(0)

    def execute(self, sql: str, parameters=()) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.shut:
            self.commits += 1
            self.reached.release()
            assert self.passed.acquire(timeout=20)
        return super().execute(sql, parameters)

    async def at_commit(self) -> None:
        """Wait until all that is done is to be committed."""
        assert await asyncio.to_thread(self.reached.acquire, timeout=20)

    async def through(self) -> None:
        """Let the next commit through."""
        await self.at_commit()
        self.passed.release()


@attrs.define
class Gated:
    """A store behind a gate."""

    store: JobStore
    gate: Gate


@pytest.fixture
async def gated(path, monkeypatch):
    """Return a store of three requests behind a gate."""
    gates: list[Gate] = []

    def build(*args, **kwargs) -> Gate:
        gates.append(Gate(*args, **kwargs))
        return gates[-1]

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=build))
    async with await JobStore.open(path) as store:
        await store.add([row(number) for number in (1, 2, 3)])
        gates[-1].shut = True
        yield Gated(store, gates[-1])
        gates[-1].shut = False


async def pragma(store: JobStore, name: str) -> object:
    return (await store.writer.read(lambda connection: connection.execute(f"PRAGMA {name}").fetchone()))[0]


def is_durable(settings: dict[str, object]) -> bool:
    """Say whether a commit is on the disk when it returns; https://sqlite.org/pragma.html#pragma_synchronous."""
    return settings["journal_mode"] == "wal" and int(str(settings["synchronous"])) >= 2


class TestDurability:
    """Nobody goes on before what was said is on the disk."""

    async def test_callers_wait_for_the_commit(self, gated):
        """A caller resumes when the commit has returned, and not before."""
        leased = gated.store.lease(1)
        await gated.gate.at_commit()
        assert not leased.done()

        gated.gate.passed.release()
        assert [key(1)] == [record.key for record in await leased]

    async def test_what_is_read_meanwhile_waits_as_well(self, gated):
        """A read waits for the commit before it, since it sees changes that are not durable yet."""
        gated.store.lease(1)
        found = gated.store.get(key(1))
        await gated.gate.at_commit()
        assert not found.done()

        gated.gate.passed.release()
        assert RequestState.LEASED is (await found).state

    async def test_callers_share_a_commit(self, gated):
        """Changes that queue up during a commit share the next one."""
        gated.store.lease(1)
        await gated.gate.at_commit()
        waiting = [gated.store.set_metadata(str(number), number) for number in range(CALLERS)]
        gated.gate.passed.release()
        await gated.gate.at_commit()
        assert [False] * CALLERS == [promise.done() for promise in waiting]
        gated.gate.passed.release()
        await asyncio.gather(*waiting)

        assert 2 == gated.gate.commits

    async def test_reading_alone_commits_nothing(self, gated):
        """Reads alone cause no commit."""
        await gated.store.totals()
        await listed(gated.store.records())

        assert 0 == gated.gate.commits

    async def test_commits_are_synced(self, store):
        """The connection has the settings with which commits are synced."""
        settings = {name: await pragma(store, name) for name in SYNCED}

        assert settings == SYNCED
        assert is_durable(settings)

    async def test_a_store_that_does_not_sync_would_be_noticed(self, store):
        """The check of the settings fails for a connection that does not sync."""
        await store.writer.read(lambda connection: connection.execute("PRAGMA synchronous = OFF"))

        assert not is_durable({name: await pragma(store, name) for name in SYNCED})

    async def test_what_was_committed_is_in_the_files(self, store, path, tmp_path):
        """A change is in the files when its caller resumes, before the store is closed."""
        await store.add([row(1), row(2)])
        sent = await advance(store, RequestState.SENT)

        async with await JobStore.open(copy_files(path, tmp_path / "killed")) as other:
            assert sent == await other.get(sent.key)


class TestFailures:
    """What fails leaves nothing behind, and takes nothing with it."""

    async def test_one_change_of_many(self, gated):
        """A change that fails does not undo the others of its commit."""
        gated.store.lease(3)
        await gated.gate.at_commit()
        said = [
            gated.store.mark_sent(key(1), reserved=1, at=1.0),
            gated.store.mark_sent(key(9), reserved=1, at=1.0),
            gated.store.add([row(4), attrs.evolve(row(5), line=2**70)]),
            gated.store.mark_sent(key(2), reserved=2**70, at=1.0),
            gated.store.mark_sent(key(3), reserved=1, at=1.0),
        ]
        gated.gate.passed.release()
        await gated.gate.through()
        found = await asyncio.gather(*said, return_exceptions=True)

        assert 2 == gated.gate.commits
        assert [type(None), RuntimeError, OverflowError, OverflowError, type(None)] == [type(one) for one in found]
        records = await listed(gated.store.records())
        assert [RequestState.SENT, RequestState.LEASED, RequestState.SENT] == [record.state for record in records]

    async def test_a_transaction_that_sqlite_has_undone(self, gated):
        """If SQLite rolls a transaction back, all of its changes fail."""

        def lose(connection: sqlite3.Connection) -> None:
            connection.execute("ROLLBACK")
            raise MemoryError

        gated.store.lease(1)
        await gated.gate.at_commit()
        said = [
            gated.store.set_metadata("before", 1),
            gated.store.writer.change(lose),
            gated.store.set_metadata("after", 1),
            gated.store.get_metadata("before"),
        ]
        gated.gate.passed.release()
        found = await asyncio.gather(*said, return_exceptions=True)

        assert [MemoryError] * 3 == [type(one) for one in found[:3]]
        assert [None] * 3 == [
            found[3],
            await gated.store.get_metadata("before"),
            await gated.store.get_metadata("after"),
        ]

    async def test_a_connection_that_cannot_be_closed(self, path):
        """An error of closing the connection is raised by aclose."""

        def refuse(connection: sqlite3.Connection) -> None:
            connection.close()
            raise sqlite3.OperationalError("unable to close due to unfinalized statements")

        writer = DatabaseWriter(partial(connect, path), refuse)
        await writer.opened
        with pytest.raises(errors.JobError, match="unable to close"):
            await writer.aclose()

    async def test_a_statement_that_is_none(self, store):
        """A wrong use of SQLite raises SQLite's own error."""
        with pytest.raises(sqlite3.ProgrammingError):
            await store.writer.read(lambda connection: connection.execute("SELECT ?", ()))

    async def test_the_loop_may_be_gone(self, path):
        """Queued changes are written even if the event loop ended before the store was closed."""

        async def say() -> threading.Thread:
            store = await JobStore.open(path)
            store.add([row(1)])
            store.writer.close()
            return store.writer.thread

        thread = await asyncio.to_thread(asyncio.run, say())
        await asyncio.to_thread(thread.join, 10)

        async with await JobStore.open(path) as store:
            assert 1 == (await store.totals()).requests

    async def test_opening_may_be_cancelled(self, path):
        """Cancelling the opening of a store leaves no open file."""
        opening = asyncio.ensure_future(JobStore.open(path))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

        async with await JobStore.open(path) as store:
            assert 0 == (await store.totals()).requests

    async def test_closing_may_be_cancelled(self, path):
        """Closing finishes even if it is cancelled."""
        store = await JobStore.open(path)
        store.add([row(1)])
        closing = asyncio.ensure_future(store.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        await store.aclose()

        assert ["job.sqlite3"] == [file.name for file in path.parent.iterdir()]

    async def test_a_thread_says_what_it_cannot_open(self):
        """An error of opening the connection is raised, and the thread ends."""

        def refuse() -> sqlite3.Connection:
            raise ZeroDivisionError

        writer = DatabaseWriter(refuse)
        with pytest.raises(ZeroDivisionError):
            await writer.opened
        await writer.aclose()


async def fill(store: JobStore) -> None:
    """Let the disk be full for *store*, but for a page."""

    def limit(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 1}").fetchone()

    await store.writer.read(limit)


def clear(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count = 1000000").fetchone()


MANY = [row(number) for number in range(1000, 3000)]


class TestFullDisk:
    """Whoever changes something hears of it, and once there is room the store goes on."""

    async def test_every_caller_hears_of_it(self, store):
        """On a full disk every change fails and leaves nothing, and reads go on."""
        await store.add([row(1)])
        before = await advance(store, RequestState.SENT)
        await fill(store)
        ready = threading.Event()
        store.writer.read(lambda _connection: ready.wait())  # so that what follows is one transaction
        said = [store.add_image(key(1), image(0)), store.add(MANY), store.get(key(1)), store.release(key(1))]
        ready.set()
        found = await asyncio.gather(*said, return_exceptions=True)

        kinds = [type(one) for one in found]
        assert [errors.StorageError] * 3 == [kinds[0], kinds[1], kinds[3]]
        assert before == found[2]
        assert "The job's store cannot be read or written: database or disk is full." == str(found[1])
        assert before == await store.get(key(1))
        assert 1 == (await store.totals()).requests

    async def test_it_goes_on_when_there_is_room(self, store):
        """Changes succeed again as soon as there is room."""
        await fill(store)
        with pytest.raises(errors.StorageError):
            await store.add(MANY)
        await store.writer.read(clear)

        assert AddedRows(new=len(MANY)) == await store.add(MANY)

    @pytest.mark.parametrize("helps", [True, False])
    async def test_room_is_made_once(self, path, helps):
        """Room is made once, in the thread; if that helps, no caller sees an error."""
        asked = []

        def make_room() -> bool:
            asked.append(threading.current_thread().name)
            if helps:
                clear(kept[0])
            return True

        async with await JobStore.open(path, on_full=make_room) as store:
            kept: list[sqlite3.Connection] = []
            await store.writer.read(kept.append)
            await fill(store)
            (added,) = await asyncio.gather(store.add(MANY), return_exceptions=True)

        assert ["burncloud-store"] == asked
        assert helps is (added == AddedRows(new=len(MANY)))
        assert helps is not isinstance(added, errors.StorageError)

    @pytest.mark.parametrize("way", ["there is none", "it fails"])
    async def test_no_room_can_be_made(self, path, way):
        """If no room can be made, the callers get the error of the full disk."""

        def make_room() -> bool:
            if way == "it fails":
                raise OSError
            return False

        async with await JobStore.open(path, on_full=make_room) as store:
            await fill(store)
            with pytest.raises(errors.StorageError, match="disk is full"):
                await store.add(MANY)
            assert () == tuple(await store.lease(1))

    async def test_a_disk_that_fails(self, store, path):
        """A disk that fails is reported like a full one, here by a limit on the size of files."""
        await store.add([row(1)])
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name("job.sqlite3-wal").stat().st_size, limits[1]))
        try:
            (found,) = await asyncio.gather(store.add(MANY), return_exceptions=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

        assert isinstance(found, errors.StorageError)
        assert "disk I/O error" in str(found)
        assert AddedRows(new=len(MANY)) == await store.add(MANY)


class TestLoop:
    """The event loop is never kept waiting."""

    @pytest.fixture
    def guard(self):
        """Catch whatever blocks the event loop."""
        guard = BlockBuster()
        guard.activate()
        yield
        guard.deactivate()

    async def test_nothing_of_sqlite_runs_in_it(self, path, guard):
        """Nothing that blocks runs in the event loop."""
        async with await JobStore.open(path) as store:
            await store.add([row(number) for number in range(8)])
            for state in set(RequestState) - {RequestState.PENDING}:
                await advance(store, state)
            await store.retry({RequestState.FAILED})
            await listed(store.records())
            await listed(store.bad_rows())
            async with await JobStore.open_for_reading(path) as view:
                await view.totals()

    async def test_the_guard_would_notice(self, path, guard):
        """The guard of the event loop notices a blocking call."""
        with pytest.raises(BlockingError):
            connect(path)

    async def test_callers_share_commits_by_themselves(self, store):
        """Many callers that await their changes share a few commits."""
        statements: list[str] = []
        await store.writer.read(lambda connection: connection.set_trace_callback(statements.append))
        await store.add([row(number) for number in range(CALLERS)])
        await store.lease(CALLERS)

        async def live(number: int) -> None:
            await store.mark_sent(key(number), reserved=1, at=1.0)
            await store.mark_received(key(number), [link(0)], about={}, request_id=None)
            await store.add_image(key(number), image(0))
            await store.finish(key(number), [image(0)], cost=1, about={}, request_id=None, at=2.0)

        await asyncio.gather(*(live(number) for number in range(CALLERS)))
        await store.writer.read(lambda connection: connection.set_trace_callback(None))

        assert statements.count("COMMIT") < CALLERS  # of 4 * CALLERS changes
        assert CALLERS == (await store.totals()).counts[RequestState.DONE]
