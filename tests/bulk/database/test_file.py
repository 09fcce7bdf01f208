"""A store is made whole or not at all, and one that is damaged is refused, never a traceback and never replaced."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from stored import advance, copy_files, key, listed, row

from burncloud_images import errors
from burncloud_images.bulk.database import JobStore, transitions
from burncloud_images.bulk.database.file import connect, disconnect
from burncloud_images.bulk.database.schema import FORMAT
from burncloud_images.bulk.records import BadRow, RequestRecord, RequestState

DONE, WAITING = 40, 8
FLIPS = 150
PAGE = 4096


async def write(store: JobStore) -> None:
    """Write a little of everything."""
    await store.add([row(number, label=f"l{number}") for number in range(1, DONE + WAITING)])
    await store.add([BadRow(source="prompts.jsonl", line=99, reason="it is empty")])
    for number in range(DONE):
        await advance(
            store, [RequestState.DONE, RequestState.FAILED, RequestState.IN_DOUBT, RequestState.RECEIVED][number % 4]
        )
    await store.set_metadata("running", True)


async def read(path: Path) -> list[RequestRecord]:
    """Open the store and read all of it."""
    async with await JobStore.open(path) as store:
        records = await listed(store.records())
        await store.totals()
        await listed(store.bad_rows())
        await store.get_metadata("running")
        await store.recent(0)
        return records


@pytest.fixture
async def written(path):
    """Return the path of a store that is closed, and what is in it."""
    async with await JobStore.open(path) as store:
        await write(store)
        return path, await listed(store.records())


def asked(records: list[RequestRecord]) -> list[tuple[object, ...]]:
    """Return what of a store nothing may change silently: what is asked for, how far it is, and money."""
    return [
        (one.key, one.document, one.source, one.line, one.label, one.state, one.cost, one.reserved) for one in records
    ]


class TestMaking:
    """A new store."""

    async def test_it_appears_whole(self, path, monkeypatch):
        """A run that is killed while it creates the store leaves none, and the next one creates it."""
        monkeypatch.setattr("burncloud_images.bulk.database.file.place", stop)
        with pytest.raises(ZeroDivisionError):
            connect(path)
        assert [".job.sqlite3.part"] == [file.name for file in path.parent.iterdir()]

        monkeypatch.undo()
        (path.parent / ".job.sqlite3.part").write_bytes(b"half")
        assert [] == await read(path)
        assert ["job.sqlite3"] == [file.name for file in path.parent.iterdir()]

    async def test_of_two_one_is_made(self, path, monkeypatch):
        """Of two stores that are created at once, the second does not replace the first."""

        def make(part: Path, final: Path, *, overwrite: bool) -> None:
            final.write_bytes(b"taken")
            raise FileExistsError(17, "File exists")

        monkeypatch.setattr("burncloud_images.bulk.database.file.place", make)
        with pytest.raises(errors.StorageError, match="File exists"):
            await JobStore.open(path)
        assert b"taken" == path.read_bytes()

    async def test_not_where_one_was_removed(self, written):
        """No store is created beside the log of a removed one, which SQLite would apply to it."""
        path, _ = written
        path.with_name("job.sqlite3-wal").write_bytes(b"log")
        path.unlink()

        with pytest.raises(errors.JobError, match=r"job\.sqlite3-wal is there and job\.sqlite3 is not; put"):
            await JobStore.open(path)

    async def test_where_nothing_can_be_made(self, path):
        """A missing directory raises an error that names the file."""
        with pytest.raises(errors.StorageError, match="cannot be opened: No such file or directory"):
            await JobStore.open(path.parent / "nowhere" / "job.sqlite3")

    async def test_what_lies_in_a_file(self, path):
        """A path below a file raises an error like any other disk error."""
        path.write_bytes(b"a file")
        with pytest.raises(errors.StorageError, match="cannot be opened: Not a directory"):
            await JobStore.open_for_reading(path / "job.sqlite3")

    @pytest.mark.parametrize("name", ["a b?mode=ro#x%41.sqlite3", "水獺.sqlite3", os.fsdecode(b"\xff.sqlite3")])
    async def test_names_of_any_kind(self, path, name):
        """A path with characters that mean something in a URI is a path."""
        path = path.with_name(name)
        async with await JobStore.open(path) as store:
            await store.add([row(1)])
        async with await JobStore.open_for_reading(path) as view:
            assert 1 == (await view.totals()).requests

        assert {name, f"{name}-wal", f"{name}-shm"} >= {file.name for file in path.parent.iterdir()}


def stop(*_: object, **__: object) -> None:
    raise ZeroDivisionError


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("Dear diary,\n" * 100)


def short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE requests (a)")


def later(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")


def earlier(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 0")


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def page_less(path: Path) -> None:
    os.truncate(path, path.stat().st_size - PAGE)


def other_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER request_changed")


def other_sums(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE sums SET cost = cost - 1 WHERE state = 'done'")
        connection.commit()


def other_prompt(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"Otter 7", b"Otter 8"))


def other_key(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(key(7).encode(), key(7)[::-1].encode(), 1))


MOVE = "move it away, or use another directory"
RESTORE = r"Restore job\.sqlite3 from a copy, or begin in another directory"
DAMAGES = {
    nothing: f"The job's store is damaged: it is empty. {RESTORE}",
    text: rf"/job\.sqlite3 is not the store of a job, or its header is damaged; {MOVE}",
    short: rf"/job\.sqlite3 is not the store of a job, or its header is damaged; {MOVE}",
    zeros: rf"/job\.sqlite3 is not the store of a job, or its header is damaged; {MOVE}",
    directory: rf"/job\.sqlite3 is a directory, where a job has its store; {MOVE}",
    foreign: rf"/job\.sqlite3 belongs to another program, or its header is damaged; {MOVE}",
    later: f"has format {FORMAT + 1}, and this version reads formats up to {FORMAT}; use a later version",
    earlier: f"damaged: it says that it has format 0. {RESTORE}",
    half: f"The job's store is damaged: .*{RESTORE}",
    page_less: f"The job's store is damaged: .*{RESTORE}",
    other_tables: f"damaged: its tables are not those of a job. {RESTORE}",
    other_sums: f"damaged: its sums are not those of its requests. {RESTORE}",
    other_prompt: f"damaged: what request 7 asks for is not as it was written. {RESTORE}",
    other_key: f"The job's store is damaged: .*{RESTORE}",
}


class TestDamage:
    """What is no store, or not as it was written, is refused in a sentence that says what to do."""

    @pytest.mark.sampled(4)
    @pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
    async def test_it_is_refused(self, written, damage):
        """A damaged store raises an error that says what to do, and stays as it is."""
        path, _ = written
        damage(path)
        before = path.read_bytes() if path.is_file() else None

        with pytest.raises(errors.JobError, match=DAMAGES[damage]) as caught:
            await read(path)
        assert "Nothing was sent." in str(caught.value)
        assert before == (path.read_bytes() if path.is_file() else None)

    @pytest.mark.sampled(4)
    @pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
    async def test_whoever_only_looks_is_told_as_well(self, written, damage):
        """Readers report the damage that they meet; only writers check the sums."""
        path, _ = written
        damage(path)
        try:
            async with await JobStore.open_for_reading(path) as view:
                await view.totals()
                await listed(view.records())
        except errors.JobError as error:
            assert str(error)  # noqa: PT017 (or nothing is raised)

    @pytest.mark.slow
    async def test_bits_that_flip(self, written, tmp_path):
        """A store with a flipped bit is refused, or its requests are as they were."""
        path, before = written
        chance = random.Random(20261124)
        data = path.read_bytes()
        refused = 0
        for number in range(FLIPS):
            place, bit = chance.randrange(len(data)), chance.randrange(8)
            folder = tmp_path / str(number)
            folder.mkdir()
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            (folder / path.name).write_bytes(changed)
            try:
                assert asked(before) == asked(await read(folder / path.name)), f"bit {bit} of byte {place}"
            except errors.JobError:
                refused += 1
            shutil.rmtree(folder)

        assert refused > FLIPS // 8  # much of a file is empty


class TestLog:
    """What was committed and not yet brought into the file proper."""

    @pytest.fixture
    async def killed(self, path, tmp_path):
        """Return a store as a kill leaves it: eight commits are in its log alone."""
        async with await JobStore.open(path) as store:
            await store.add([row(number) for number in range(WAITING)])
        async with await JobStore.open(path) as store:
            for _ in range(WAITING):
                await store.lease(1)
            return copy_files(path, tmp_path / "killed")

    def leased(self, records: list[RequestRecord]) -> int:
        return [record.state for record in records].count(RequestState.LEASED)

    async def test_nothing_is_lost(self, killed):
        """Everything that was committed is there after a kill."""
        assert WAITING == self.leased(await read(killed))

    async def test_a_torn_end_is_dropped(self, killed, tmp_path):
        """A log that is cut anywhere has the commits before the cut."""
        log = killed.with_name("job.sqlite3-wal")
        data = log.read_bytes()
        found = set()
        for size in range(0, len(data), 997):
            path = copy_files(killed, tmp_path / f"cut{size}")
            path.with_name(log.name).write_bytes(data[:size])
            found.add(self.leased(await read(path)))

        assert set(range(WAITING)) == found

    async def test_a_commit_that_was_not_finished_is_dropped(self, killed):
        """A damaged last commit is dropped: nobody was told that it was durable."""
        log = killed.with_name("job.sqlite3-wal")
        data = bytearray(log.read_bytes())
        data[-PAGE - 10] ^= 1
        log.write_bytes(data)

        assert WAITING - 1 == self.leased(await read(killed))

    @pytest.mark.parametrize("content", [b"", bytes(10), bytes(32), bytes(9000)])
    async def test_one_that_was_only_begun(self, written, content):
        """A log without a commit changes nothing."""
        path, before = written
        path.with_name("job.sqlite3-wal").write_bytes(content)

        assert before == await read(path)


async def test_sums_that_are_gone_are_not_taken_for_nothing(written):
    """A store whose sums disappear while it is open raises instead of counting from zero."""
    path, _ = written
    async with await JobStore.open(path) as store:
        await store.writer.change(lambda connection: connection.execute("DELETE FROM sums WHERE state = 'in_doubt'"))
        with pytest.raises(errors.JobError, match="its sums are not complete"):
            await store.totals()


class TestOthers:
    """Other programs may use the files."""

    async def test_one_that_holds_the_store(self, written, monkeypatch):
        """Another program that locks the store is waited for, and then reported."""
        path, _ = written
        monkeypatch.setattr("burncloud_images.bulk.database.file.PATIENCE", 0.01)
        async with await JobStore.open(path) as store:
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(errors.StorageError, match="database is locked"):
                    await store.lease(1)
                other.execute("ROLLBACK")
            assert 1 == len(await store.lease(1))

    async def test_one_that_reads_does_not_prevent_closing(self, written, monkeypatch):
        """The store closes while another program reads, and empties its log later."""
        path, before = written
        monkeypatch.setattr("burncloud_images.bulk.database.file.PATIENCE", 0.01)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            async with await JobStore.open(path) as store:
                await store.lease(1)
                other.execute("BEGIN")
                other.execute("SELECT * FROM requests").fetchone()
                await store.lease(1)
        records = await read(path)

        assert len(before) == len(records)
        assert ["job.sqlite3"] == [file.name for file in path.parent.iterdir()]

    def test_a_file_system_without_shared_memory(self, path, monkeypatch):
        """A file system without shared memory is refused with what to do instead."""
        monkeypatch.setattr(sqlite3, "connect", connect_dotfile(sqlite3.connect))

        with pytest.raises(errors.JobError, match="is on a file system without shared memory; put the job on a local"):
            connect(path)


def connect_dotfile(input_file):
    def connect(database, **options):
        return input_file(f"{database}&vfs=unix-dotfile", **options)

    return connect


def test_a_store_is_small(path):
    """A request with an ordinary prompt takes half a kilobyte at most."""
    connection = connect(path)
    connection.execute("BEGIN")
    rows = [row(number, label=f"label-{number}") for number in range(5000)]
    transitions.add(connection, rows)
    connection.execute("COMMIT")
    disconnect(connection)

    assert path.stat().st_size / 5000 < 500
