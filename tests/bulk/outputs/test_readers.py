"""
The programs that outputs are made for read them.

They run in processes of their own: they take seconds to load and look for a network, which is forbidden to them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import attrs
import pytest
from jobs import MemoryStore, done, failed, put

from burncloud_images.bulk.outputs.export import write_outputs
from burncloud_images.bulk.outputs.shards import ShardLimits, pack

IMAGEFOLDER = """
import datasets, json, sys
rows = datasets.load_dataset("imagefolder", data_dir=sys.argv[1], split="train")
print(json.dumps([{**row, "image": row["image"].size, "created": str(row["created"])} for row in rows]))
"""
TAR_FILES = """
import datasets, json, sys
rows = datasets.load_dataset("webdataset", data_dir=sys.argv[1], data_files={"train": "*.tar"}, split="train")
print(json.dumps([[row["__key__"], row["png"].size, row["json"]["prompt"], row["txt"]] for row in rows]))
"""
WEBDATASET = """
import json, sys, webdataset
rows = webdataset.WebDataset(sys.argv[1] + "/{00000..00002}.tar", shardshuffle=False).decode("pil")
print(json.dumps([[row["__key__"], row["png"].size, row["json"]["prompt"], row["txt"]] for row in rows]))
"""


def read(program: str, folder: Path, scratch: Path) -> list:
    """Return what *program* prints about the job in *folder*."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(scratch)}
    done = subprocess.run(
        [sys.executable, "-c", program, folder],
        env={**os.environ, **offline, "PYTHONDEVMODE": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr[-2000:]
    return json.loads(done.stdout)


def need(*names: str) -> None:
    for name in names:
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install {name}")


def make(folder: Path) -> MemoryStore:
    (folder / "rescue").mkdir(parents=True)
    (folder / "rescue" / "odd.damaged").write_bytes(b"half an image")
    records = [put(folder, done(number, images=1 + number % 2)) for number in range(1, 9)]
    odd = {"prompt": '狐 "=1+1"\n</script>', "operation": "generations"}
    return MemoryStore([attrs.evolve(records[0], document=odd), *records[1:], failed(9)])


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
async def test_the_directory_of_a_job_is_an_image_folder(
    tmp_path: Path, executor: ThreadPoolExecutor, kind: str
) -> None:
    """Hugging Face's imagefolder loads the directory of a job."""
    need("datasets", "pyarrow")
    folder = tmp_path / "out"
    store = make(folder)
    await write_outputs(store, folder, format=kind, facts={}, executor=executor)
    rows = read(IMAGEFOLDER, folder, tmp_path)
    expected = [(record, image) for record in store.rows for image in record.images]

    assert [image.sha256 for _, image in expected] == [row["sha256"] for row in rows]
    assert [record.document["prompt"] for record, _ in expected] == [row["prompt"] for row in rows]
    assert [[8 + record.number, 8 + image.index] for record, image in expected] == [row["image"] for row in rows]
    assert rows[0]["created"].startswith("2023-11-14 22:13:21")


@pytest.mark.parametrize(("program", "needed"), [(TAR_FILES, "datasets"), (WEBDATASET, "webdataset")])
async def test_shards_are_read_by_those_they_are_made_for(
    tmp_path: Path, executor: ThreadPoolExecutor, program: str, needed: str
) -> None:
    """The webdataset and datasets libraries read the shards."""
    need(needed)
    folder = tmp_path / "out"
    store = make(folder)
    before = list(store.rows)
    packed = await pack(store, folder, executor=executor, limits=ShardLimits(samples=5))
    rows = read(program, folder, tmp_path)
    expected = [
        [Path(image.path).stem, [8 + record.number, 8 + image.index], *[record.document["prompt"]] * 2]
        for record in before
        for image in record.images
    ]

    assert 3 == len(packed.shards)
    assert expected == rows
