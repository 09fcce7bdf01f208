"""A row per image, as lines of JSON or as Parquet."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import MemoryStore, done, failed, in_doubt, to_image, to_key, to_record

from burncloud_images.bulk.outputs.metadata import COLUMNS, Format, open_metadata, remove_other, require, share, to_row
from burncloud_images.bulk.outputs.output_files import storage_errors, write_rows
from burncloud_images.bulk.records import RequestRecord
from burncloud_images.errors import ConfigurationError, StorageError

ABOUT = {"created": "2026-11-24T14:44:00+00:00", "size": "64x48", "quality": "high", "usage": {"total_tokens": 7}}


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


async def write_metadata(store: MemoryStore, folder: Path, format: Format, *, executor: ThreadPoolExecutor) -> Path:  # noqa: A002
    require(format)
    path = folder / f"metadata.{format}"
    with storage_errors(folder):
        await write_rows(store.records(), [open_metadata(path)], executor)
        remove_other(path)
    return path


async def test_every_image_has_a_row_with_all_columns(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """Every stored image has a row with all columns."""
    store = MemoryStore([done(1, images=3), to_record(2), failed(3), done(4)])
    path = await write_metadata(store, tmp_path, "jsonl", executor=executor)
    rows = read(path)

    assert tmp_path / "metadata.jsonl" == path
    key = to_key(1)
    assert [f"images/{key[:2]}/{key}-{number}.png" for number in (1, 2, 3)] == [row["file_name"] for row in rows[:3]]
    assert 4 == len(rows)
    always = [name for name in COLUMNS if COLUMNS[name] != "json"]
    assert [always] * 4 == [list(row) for row in rows]


async def test_a_row_says_what_is_known_of_the_image(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """A row contains the known facts of its image."""
    record = done(1, about=ABOUT, label="otter-1")
    record = attrs.evolve(record, images=(attrs.evolve(record.images[0], revised_prompt="an otter, wet"),))
    (row,) = read(await write_metadata(MemoryStore([record]), tmp_path, "jsonl", executor=executor))
    image = record.images[0]

    assert {
        "file_name": image.path,
        "key": record.key,
        "id": "otter-1",
        "index": 0,
        "prompt": "otter 1",
        "revised_prompt": "an otter, wet",
        "model": "gpt-image-2",
        "operation": "generations",
        "size": "64x48",
        "quality": "high",
        "width": 64,
        "height": 48,
        "media_type": "image/png",
        "bytes": 1000,
        "sha256": image.sha256,
        "cost": 0.04,
        "request_id": "req_1",
        "created": "2026-11-24T14:44:00Z",
        "state": "done",
    } == row


def test_without_a_date_in_the_answer_the_end_of_the_request_counts() -> None:
    """Without a valid date in the answer, the end of the request is the creation time."""
    for about in ({}, {"created": "yesterday"}, {"created": 5}):
        record = done(1, about=about)

        assert datetime.fromtimestamp(1_700_000_001, UTC) == to_row(record, record.images[0], 0)["created"]
    record = done(1, ended_at=None)
    assert to_row(record, record.images[0], 0)["created"] is None


def test_an_image_of_a_request_in_doubt_is_listed_too() -> None:
    """An image of a request in doubt has a row."""
    record = in_doubt(1, images=(to_image(to_key(1)),))

    assert "in_doubt" == to_row(record, record.images[0], 0)["state"]


@given(st.integers(0, 10**12), st.integers(1, 10))
def test_the_shares_of_a_cost_add_up_to_it(cost: int, count: int) -> None:
    """The shares of the images add up exactly to the cost of the request."""
    shares = [share(cost, place, count) for place in range(count)]

    assert cost == sum(shares)
    assert max(shares) - min(shares) <= 1


def test_without_a_price_there_is_no_cost() -> None:
    """An image of unknown price has no cost."""
    record = done(1, cost=None)

    assert to_row(record, record.images[0], 0)["cost"] is None


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
async def test_odd_prompts_and_missing_values_are_written_whole(
    tmp_path: Path, executor: ThreadPoolExecutor, kind: str
) -> None:
    """Odd prompts and missing values are written and read back."""
    prompts = ["half \ud83d", "two\u2028lines\x85", "=1+1", "<script>", "", "\0", "狐" * 30_000]
    records = [done(number, document={"prompt": prompt}) for number, prompt in enumerate(prompts)]
    path = await write_metadata(MemoryStore(records), tmp_path, kind, executor=executor)
    if kind == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(path).to_pylist()
    else:
        rows = read(path)

    assert ["half �", *prompts[1:]] == [row["prompt"] for row in rows]
    assert {("", "", "")} == {(row["model"], row["size"], row["revised_prompt"]) for row in rows}


@pytest.mark.slow
async def test_parquet_holds_what_lines_hold(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """Parquet and JSON Lines have the same rows."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    store = MemoryStore([done(number, images=2, about=ABOUT) for number in range(6_000)])
    rows = read(await write_metadata(store, tmp_path, "jsonl", executor=executor))
    path = await write_metadata(store, tmp_path, "parquet", executor=executor)
    table = parquet.read_table(path)

    assert 3 == parquet.ParquetFile(path).num_row_groups  # 12,000 rows
    found = table.drop_columns(["columns", "other_ids", "refused"]).to_pylist()
    assert rows == [{**row, "created": f"{row['created']:%Y-%m-%dT%H:%M:%SZ}"} for row in found]


async def test_a_job_without_images_has_metadata_without_rows(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """A job without images has metadata with columns and no rows."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    assert [] == read(await write_metadata(MemoryStore(), tmp_path, "jsonl", executor=executor))
    path = await write_metadata(MemoryStore(), tmp_path, "parquet", executor=executor)

    assert list(COLUMNS) == parquet.read_table(path).column_names


async def test_only_one_format_is_there_at_a_time(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """Writing one format removes the file of the other."""
    pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    for kind in ("jsonl", "parquet", "jsonl"):
        await write_metadata(MemoryStore([done(1)]), tmp_path, kind, executor=executor)

        assert [f"metadata.{kind}"] == [path.name for path in tmp_path.iterdir() if path.name != "tmp"]


async def test_without_pyarrow_parquet_is_refused_with_what_to_install(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pyarrow, Parquet raises an error that says what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)

    with pytest.raises(ConfigurationError, match=r"burncloud-images\[data\]"):
        await write_metadata(MemoryStore(), tmp_path, "parquet", executor=executor)


async def test_an_error_on_the_way_leaves_the_earlier_file_and_no_other(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    """An error leaves the earlier file, and no unfinished one."""

    class Broken:
        def __iter__(self) -> Iterator[RequestRecord]:
            yield from (done(number) for number in range(1_200))
            raise OSError(28, "No space left on device")

    (tmp_path / "metadata.jsonl").write_bytes(b"earlier")
    with pytest.raises(StorageError, match="No space left on device"):
        await write_metadata(MemoryStore(Broken()), tmp_path, "jsonl", executor=executor)

    assert b"earlier" == (tmp_path / "metadata.jsonl").read_bytes()
    assert ["metadata.jsonl"] == [path.name for path in tmp_path.iterdir() if path.name != "tmp"]
