"""The store of a job: a table of contents; each method orders what it says of the thread that owns the file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from burncloud_images.bulk.database import queries, transitions
from burncloud_images.bulk.database.codec import (
    Text,
    encode_failure,
    encode_images,
    encode_json,
    encode_links,
    encode_text,
)
from burncloud_images.bulk.database.file import connect, connect_for_reading, disconnect
from burncloud_images.bulk.database.transitions import Transition
from burncloud_images.bulk.database.writer import Promise, Writer
from burncloud_images.bulk.records import Added, BadRow, Failure, Link, Record, Row, State, StoredImage, Totals


class View:
    """What is known of a job's requests, to be read while a run goes on; see `Store` for the methods."""

    def __init__(self, writer: Writer) -> None:
        """Read through *writer*."""
        self.writer = writer

    @classmethod
    async def begin(cls, writer: Writer) -> Self:
        try:
            await writer.opened
        except BaseException:
            await writer.aclose()
            raise
        return cls(writer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def get(self, key: str) -> Awaitable[Record | None]:
        return self.writer.read(partial(queries.get, name=key))

    async def records(self, states: Collection[State] | None = None) -> AsyncIterator[Record]:
        wanted = frozenset(states) if states is not None else None
        after = 0
        while page := await self.writer.read(partial(queries.read_records, states=wanted, after=after)):
            for record in page:
                yield record
            after = page[-1].number

    async def images(self) -> AsyncIterator[Sequence[tuple[str, tuple[StoredImage, ...]]]]:
        after = 0
        while page := await self.writer.read(partial(queries.read_images, after=after)):
            yield [(key, images) for _, key, images in page]
            after = page[-1][0]

    async def problems(self) -> AsyncIterator[BadRow]:
        after = 0
        while page := await self.writer.read(partial(queries.read_problems, after=after)):
            for _, problem in page:
                yield problem
            after = page[-1][0]

    def has_problems(self, source: str) -> Awaitable[bool]:
        return self.writer.read(partial(queries.has_problems, source=source))

    def totals(self) -> Awaitable[Totals]:
        return self.writer.read(queries.read_totals)

    def unsent(self, keys: Collection[str]) -> Awaitable[Sequence[Record]]:
        return self.writer.read(partial(queries.read_unsent, keys=tuple(keys)))

    def recent(self, since: float) -> Awaitable[Sequence[tuple[float, Mapping[str, object]]]]:
        return self.writer.read(partial(queries.read_recent, since=since))

    def get_metadata(self, name: str) -> Awaitable[object | None]:
        return self.writer.read(partial(queries.get_metadata, name=name))

    async def aclose(self) -> None:
        await self.writer.aclose()


class JobStore(View):
    """
    The requests of a job, in one SQLite file; see `Store` for the methods.

    A change that fails, and that nobody waits for, is not lost sight of: from then on the store takes down what comes
    of what was begun, and begins nothing any more (`add`, `lease`, `intend`, `reopen` and `remember` raise).
    """

    @classmethod
    async def open(cls, path: Path, on_full: Callable[[], bool] | None = None) -> Self:
        """
        Open the store at *path*; it is made, for its owner alone, if it is not there.

        Args:
            path: The file; SQLite keeps two others beside it.
            on_full: Gives the disk some room, and says whether it could; called in a thread. What failed is then tried
                once more.

        Raises:
            JobError: It is no store, damaged, or of a later format.
            StorageError: It cannot be made, read or written.
        """
        return await cls.begin(Writer(partial(connect, Path(path)), disconnect, on_full))

    def return_to(self, find_home: Callable[[], Path | None]) -> None:
        """Let the file be written again where *find_home* says at the end, if it was removed; called in a thread."""
        self.writer.disconnect = partial(disconnect, find_home=find_home)

    @staticmethod
    async def open_for_reading(path: Path) -> View:
        """
        Open the store at *path* for reading, also while another process writes.

        Raises:
            JobError: There is none, or it is damaged or of a later format.
            StorageError: It cannot be read.
        """
        return await View.begin(Writer(partial(connect_for_reading, Path(path))))

    # --- what begins something ---------------------------------------------------------------------------------------

    def add(self, rows: Sequence[Row | BadRow]) -> Awaitable[Added]:
        return self.writer.begin(partial(transitions.add, rows=tuple(rows)))

    def lease(self, most: int) -> Awaitable[Sequence[Record]]:
        return self.writer.begin(partial(transitions.lease, most=most))

    def mark_sent(self, key: str, *, reserved: int, at: float) -> Awaitable[None]:
        values: dict[str, Text | float | None] = {"key": key, "reserved": reserved, "at": at}
        return self.writer.begin(partial(transitions.move, transition=transitions.MARK_SENT, values=values))

    def mark_resent(self, key: str, *, reserved: int, at: float) -> Awaitable[None]:
        return self.move(transitions.MARK_RESENT, key, reserved=reserved, at=at)

    def mark_polled(self, key: str, *, at: float) -> Awaitable[None]:
        return self.move(transitions.MARK_POLLED, key, at=at)

    def retry(self, states: Collection[State]) -> Awaitable[int]:
        return self.writer.begin(partial(transitions.retry, states=frozenset(states)))

    def set_metadata(self, name: str, value: object) -> Awaitable[None]:
        return self.writer.begin(partial(transitions.set_metadata, name=name, value=encode_json(value)))

    def clear_problems(self, source: str) -> Awaitable[None]:
        return self.writer.begin(partial(transitions.clear_problems, source=source))

    # --- what comes of it --------------------------------------------------------------------------------------------

    def requeue(self, key: str, failure: Failure | None = None) -> Awaitable[None]:
        return self.move(transitions.REQUEUE, key, failure=encode_failure(failure))

    def release(self, key: str) -> Awaitable[None]:
        return self.move(transitions.RELEASE, key)

    def mark_received(
        self, key: str, links: Sequence[Link], *, about: Mapping[str, object], request_id: str | None
    ) -> Awaitable[None]:
        return self.move(
            transitions.MARK_RECEIVED,
            key,
            links=encode_links(links),
            about=encode_about(about),
            request_id=encode_id(request_id),
        )

    def add_image(self, key: str, image: StoredImage) -> Awaitable[None]:
        return self.writer.change(partial(transitions.add_image, key=key, image=image))

    def finish(
        self,
        key: str,
        images: Sequence[StoredImage],
        *,
        cost: int | None,
        about: Mapping[str, object],
        request_id: str | None,
        at: float,
    ) -> Awaitable[None]:
        return self.move(
            transitions.FINISH,
            key,
            images=encode_images(images),
            stored=len(images),
            bytes=sum(image.size for image in images),
            cost=cost,
            about=encode_about(about),
            request_id=encode_id(request_id),
            at=at,
        )

    def fail(
        self, key: str, failure: Failure, *, may_be_billed: bool, request_id: str | None, at: float
    ) -> Awaitable[None]:
        return self.move(
            transitions.FAIL,
            key,
            failure=encode_failure(failure),
            may_be_billed=may_be_billed,
            request_id=encode_id(request_id),
            at=at,
        )

    def mark_in_doubt(self, key: str, failure: Failure, *, request_id: str | None, at: float) -> Awaitable[None]:
        return self.move(
            transitions.MARK_IN_DOUBT, key, failure=encode_failure(failure), request_id=encode_id(request_id), at=at
        )

    def mark_lost(self, key: str, images: Sequence[StoredImage], failure: Failure, *, at: float) -> Awaitable[None]:
        return self.move(
            transitions.MARK_LOST,
            key,
            images=encode_images(images),
            stored=len(images),
            bytes=sum(image.size for image in images),
            failure=encode_failure(failure),
            at=at,
        )

    def adopt(
        self, key: str, images: Sequence[StoredImage], *, failure: Failure | None, reserved: int, at: float
    ) -> Awaitable[None]:
        return self.move(
            transitions.ADOPT,
            key,
            state=State.DONE if failure is None else State.IN_DOUBT,
            images=encode_images(images),
            stored=len(images),
            bytes=sum(image.size for image in images),
            failure=encode_failure(failure),
            reserved=reserved,
            about=encode_json({"adopted": True}),
            at=at,
        )

    def set_paths(self, key: str, images: Sequence[StoredImage]) -> Awaitable[None]:
        return self.move(transitions.SET_PATHS, key, images=encode_images(images))

    async def aclose(self) -> None:
        await super().aclose()
        self.writer.tell()

    def release_leases(self) -> Awaitable[int]:
        return self.writer.change(transitions.release_leases)

    def move(self, transition: Transition, key: str, **values: Text | float | None) -> Promise[None]:
        return self.writer.change(partial(transitions.move, transition=transition, values={"key": key, **values}))


def encode_about(about: Mapping[str, object]) -> Text | None:
    """Return None for what says nothing: it does not take the place of what is known."""
    return encode_json(dict(about)) if about else None


def encode_id(request_id: str | None) -> Text | None:
    return encode_text(request_id) if request_id is not None else None
