"""Stores with values that nobody wrote: what reads them says that they are damaged, or reads them; nothing else."""

from __future__ import annotations

import asyncio
import io
import shutil
import sqlite3

import pytest
from stored import advance, row

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.records import RequestState
from burncloud_images.cli.job_views import print_usage, show, take_snapshot
from burncloud_images.cli.options import JsonOptions, ReportingOptions
from burncloud_images.cli.reporting import Reporter
from burncloud_images.errors import JobError

pytestmark = pytest.mark.slow
VALUES = (
    *("text", b"\xff\x00", 2**63 - 1, -5, 1e300, "[" * 5000 + "]" * 5000),
    '{"error": 5, "usage": {"input_tokens": "x", "output_tokens": 1e300}, "created": 5, "revised_prompts": [1]}',
    '[{"index": "x", "path": "../../x", "size": 1e300, "sha256": 1}, {"index": 0, "url": 5, "expires_at": "9999"}]',
)
TABLES = {
    "requests": "number key document source line label seal wanted state attempts reserved cost committed stored bytes "
    "images links failure about request_id sent_at ended_at doubtful",
    "bad_rows": "number source line label reason",
    "memories": "name value",
    "sums": "state requests images bytes committed cost reserved",
}
COLUMNS = [(table, column) for table, columns in TABLES.items() for column in columns.split()]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Return a job with a request in every state."""
    folder = tmp_path_factory.mktemp("good") / "out"
    folder.mkdir()

    async def make():
        store = await JobStore.open(folder / "job.sqlite3")
        await store.add([row(number) for number in range(1, len(RequestState) + 1)])
        for state in RequestState:
            await advance(store, state)
        await store.set_metadata("written", ["x"])
        await store.aclose()

    asyncio.run(make())
    return folder


def edit(path, table, column, value):
    """Put a value into a column of all rows, past what the store takes care of; say whether SQLite took it."""
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))
        for _, sql in triggers:
            connection.execute(sql)
        connection.commit()
    except sqlite3.Error:
        return False
    finally:
        connection.close()
    return True


async def read(folder):
    """Look at all of a job."""
    found = await take_snapshot(str(folder), None)
    for as_json in (False, True):
        show([found], JsonOptions(json=as_json))
    reporter = Reporter(options=ReportingOptions(quiet=True), stream=io.StringIO())
    await print_usage((str(folder),), JsonOptions(), reporter)
    async with await JobStore.open_for_reading(folder / "job.sqlite3") as store:
        await store.get_metadata("written")
        async for _ in store.images():
            pass


@pytest.mark.usefixtures("capsysbinary")
@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[".".join(names) for names in COLUMNS])
async def test_a_value_that_nobody_wrote(good, tmp_path, table, column):
    """Text, bytes, nothing, and numbers beyond all bounds, in the place of what is there."""
    taken, said = 0, []
    for number, value in enumerate(VALUES):
        folder = tmp_path / str(number)
        shutil.copytree(good, folder)
        taken += edit(folder / "job.sqlite3", table, column, value)
        try:
            await read(folder)
        except JobError as error:
            said.append(error.message)

    assert taken
    assert all("damaged" in message for message in said)
