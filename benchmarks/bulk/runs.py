"""Runs lists against an emulator, each in a fresh process, and holds what was done against the emulator's ledger."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

import attrs

from benchmarks.bulk.task import Task, Way, write_list
from benchmarks.rounds import ROOT, CheatedError, Reading, environment, time_command

__all__ = ["Lists", "open_lists"]

PATIENCE = 1800.0
"""Seconds that one process may take."""
AGAIN = 3
"""How often a job that is done is begun again."""
ADDRESS = re.compile(r"BURNCLOUD_API_BASE_URL=(\S+)")
KEY = {"BURNCLOUD_API_KEY": "sk-emulator"}
PLAIN = {"BURNCLOUD_EMULATOR_PLAIN": "1"}
"""Small files, so that the list is measured and not the disk."""


@contextmanager
def open_lists(folder: Path) -> Iterator[Lists]:
    """Give an emulator in a process of its own, and a folder on a disk; both are gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {**environment(), **PLAIN}
    command = [sys.executable, "-m", "burncloud_images", "emulator", "--port", "0", "--quiet"]
    with (
        tempfile.TemporaryDirectory(prefix="lists-", dir=folder) as name,
        subprocess.Popen(command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, text=True) as process,  # noqa: S603
    ):
        try:
            assert process.stdout is not None
            found = ADDRESS.search(process.stdout.readline())
            if found is None:
                raise CheatedError("the emulator did not start")
            yield Lists(base_url=found[1], folder=Path(name))
        finally:
            process.terminate()


@attrs.frozen(kw_only=True)
class Lists:
    """
    An emulator, and processes that send it lists.

    Attributes:
        base_url: Of the emulator.
        folder: For what they write.
    """

    base_url: str
    folder: Path

    def run(self, way: Way, rows: int, at_once: int) -> Reading:
        """
        Send a list, and return the reading.

        Raises:
            CheatedError: It failed, or not every row was bought once.
        """
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            return self.measure(way, rows, at_once, Path(name))

    def run_twice(self, rows: int, at_once: int) -> Reading:
        """Run a job, and again when all of it is done: `resume` is what the whole command takes then."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            folder = Path(name)
            reading = self.measure("job", rows, at_once, folder)
            before = self.billed()
            words = [str(folder / "list.jsonl"), "--into", str(folder / "job"), "--base-url", self.base_url]
            command = [sys.executable, "-m", "burncloud_images", "batch", *words, "--quiet"]
            again = [time_command(command, KEY)["wall"] for _ in range(AGAIN)]
            if self.billed() != before:
                raise CheatedError("a job that was done bought something")
            return {**reading, "resume": median(again)}

    def measure(self, way: Way, rows: int, at_once: int, folder: Path) -> Reading:
        task = Task(way=way, rows=rows, at_once=at_once, base_url=self.base_url, folder=str(folder))
        write_list(task.list, rows)
        before = self.billed()
        reading = run_worker(task)
        bought, files = self.billed() - before - 1, sum(1 for _ in images_in(folder))  # one warmed up
        if not rows == reading.pop("done") == bought == files:
            raise CheatedError(f"{way}: of {rows:,} rows {bought:,} were bought and {files:,} are files")
        return reading

    def billed(self) -> int:
        """Return how many images the emulator has billed."""
        with urlopen(self.base_url.removesuffix("/v1") + "/emulator/ledger") as answer:  # noqa: S310 (our own server)
            ledger: dict[str, Any] = json.load(answer)
        return int(ledger["billed_images"])


def images_in(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the images of either way; of a job, those on its shelves."""
    for parent in (folder / "images", *(folder / "job" / "images").glob("*")):
        if parent.exists():
            with os.scandir(parent) as entries:
                yield from (entry for entry in entries if entry.name.endswith(".png"))


def run_worker(task: Task) -> Reading:
    done = subprocess.run(  # noqa: S603 (our own module)
        [sys.executable, "-m", "benchmarks.bulk.worker", task.to_json()],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    if done.returncode:
        raise CheatedError(f"a list failed:\n{done.stderr}")
    said: Reading = json.loads(done.stdout)
    return said
