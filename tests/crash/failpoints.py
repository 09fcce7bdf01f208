"""
Points at which a job can be killed, put around it from outside: the product knows nothing of them.

One counter runs over all of them. With `die_at=k` the process kills itself at point k, so a sweep over every k visits
each point of a run; with 0 they are only counted.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

STORE_METHODS = (
    *(
        "add",
        "lease",
        "requeue",
        "mark_sent",
        "release",
        "mark_accepted",
        "mark_received",
        "add_image",
        "finish",
        "fail",
        "mark_in_doubt",
        "retry",
    ),
    *("release_leases", "set_metadata"),
)
TWO_SIDED = ("replace", "rename", "link", "unlink", "mkdir")
"""Calls of `os` before and after which a process can die."""


@attrs.define
class Failpoints:
    """
    Counts points, and kills the process at one of them.

    Attributes:
        die_at: At which, from 1; 0 for none.
        ending: How the names end of the points that `die_at` counts; it is the order of all that differs between runs.
        told: Where the name of the point goes at which the process dies.
        stage: What the job is doing; part of each point's name.
        names: Those that were passed, in order.
        passed: How many of those that count.
    """

    die_at: int = 0
    ending: str = ""
    told: Path | None = None
    stage: str = ""
    names: list[str] = attrs.field(factory=list)
    passed: int = 0
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def reach(self, name: str) -> None:
        """Be at a point; there may be no way back."""
        with self.lock:
            self.names.append(f"{self.stage}: {name}")
            self.passed += self.names[-1].endswith(self.ending)
            if self.passed == self.die_at and self.names[-1].endswith(self.ending):
                self.die(self.names[-1])

    def die(self, name: str) -> None:
        if self.told is not None:
            self.told.write_text(name, encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()  # until the signal is there

    # --- where they are ----------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Put a point around everything that lasts, and along the way of every request."""
        self.watch_files()
        self.watch_parts()
        self.watch_store()
        self.watch_requests()

    def watch_files(self) -> None:
        for name in TWO_SIDED:
            setattr(os, name, self.around(getattr(os, name), lambda *_args, name=name: name))
        os.fsync = self.around(os.fsync, describe_sync)
        opened = os.open

        def open_file(path: Any, flags: int, *args: Any, **options: Any) -> int:
            descriptor = opened(path, flags, *args, **options)
            if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                self.reach(f"opened {kind_of(path)}")
            return descriptor

        os.open = open_file

    def watch_parts(self) -> None:
        """Unfinished images are written in two halves, with a point between them."""
        from burncloud_images.files import sinks

        reach, write_pieces = self.reach, sinks.write_pieces

        def write_halves(descriptor: int, pieces: Sequence[bytes | bytearray]) -> None:
            whole = b"".join(pieces)
            half = len(whole) // 2
            reach("part begins")
            write_pieces(descriptor, [whole[:half]])
            reach("part half")
            write_pieces(descriptor, [whole[half:]])
            reach("part written")

        sinks.write_pieces = write_halves  # type: ignore[attr-defined]

    def watch_store(self) -> None:
        """Each change is asked for, written, committed and told of."""
        from burncloud_images.bulk.database import JobStore

        for name in STORE_METHODS:
            setattr(JobStore, name, self.told_of(name, getattr(JobStore, name)))
        reach, connect = self.reach, sqlite3.connect

        class Connection(sqlite3.Connection):
            def execute(self, statement: str, *args: Any) -> sqlite3.Cursor:
                word = statement.split(None, 1)[0].upper()
                if word in {"COMMIT", "END"}:
                    reach("store: written")
                found = super().execute(statement, *args)
                if word in {"COMMIT", "END"}:
                    reach("store: synced")
                elif word in {"INSERT", "UPDATE", "DELETE", "REPLACE"}:
                    reach(f"store: {word.lower()}")
                return found

            def commit(self) -> None:
                reach("store: written")
                super().commit()
                reach("store: synced")

        def connect_counted(*args: Any, **options: Any) -> sqlite3.Connection:
            return connect(*args, **{"factory": Connection, **options})

        sqlite3.connect = connect_counted  # type: ignore[assignment]

    def told_of(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.reach(f"{name} asked for")
            result = method(*args, **options)
            if asyncio.isfuture(result):
                # The base class's own: the store's promises note who listens to them.
                asyncio.Future.add_done_callback(result, lambda _: self.reach(f"{name} known"))
            return result

        return call

    def watch_requests(self) -> None:
        from burncloud_images.calls.download import Download
        from burncloud_images.calls.tasks import TaskFollower
        from burncloud_images.transport.interface import AttemptState
        from burncloud_images.transport.upload_body import UploadBody

        enter, write, write_slices, fetch = (
            AttemptState.enter,
            UploadBody.write,
            UploadBody.write_slices,
            Download.run,
        )

        def enter_counted(state: Any, phase: Any, *args: Any, **options: Any) -> None:
            self.reach(phase.name.lower().replace("_", " "))
            enter(state, phase, *args, **options)

        async def write_counted(*args: Any) -> None:
            await write(*args)
            self.reach("request sent")

        async def write_slices_counted(*args: Any) -> None:
            await write_slices(*args)
            self.reach("body half")

        async def fetch_counted(*args: Any, **options: Any) -> Any:
            self.reach("download begins")
            result = await fetch(*args, **options)
            self.reach("downloaded")
            return result

        ask = TaskFollower.ask

        async def ask_counted(follower: Any) -> Any:
            self.reach(f"task {follower.word or 'queued'}: asked for")
            try:
                return await ask(follower)
            finally:
                self.reach(f"task {follower.word or 'queued'}: answered")

        TaskFollower.ask = ask_counted  # type: ignore[method-assign]
        AttemptState.enter = enter_counted  # type: ignore[method-assign]
        UploadBody.write = write_counted  # type: ignore[method-assign]
        UploadBody.write_slices = write_slices_counted  # type: ignore[method-assign]
        Download.run = fetch_counted  # type: ignore[method-assign]

    def around(self, function: Callable[..., Any], describe: Callable[..., str]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            name = describe(*args)
            self.reach(f"before {name}")
            result = function(*args, **options)
            self.reach(f"after {name}")
            return result

        return call


def describe_sync(descriptor: int) -> str:
    return "sync of folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync of file"


def kind_of(path: Any) -> str:
    name = Path(os.fsdecode(path)).name
    return "part" if name.endswith(".part") else name if name.startswith("job.") else "file"


def count(names: Iterable[str]) -> dict[str, int]:
    """Return how often each name is there."""
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found
