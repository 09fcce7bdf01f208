"""The store of a job: a table of contents; each method orders what it says of the thread that owns the file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from burncloud_images.bulk.database import queries
from burncloud_images.bulk.database import transitions as changes
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
from burncloud_images.bulk.database.writer import Promise, Scribe
from burncloud_images.bulk.records import Added, Failure, Link, Record, State, StoredImage, Totals
from burncloud_images.bulk.rows import BadRow, Row


class View:
    """What is known of a job's requests, to be read while a run goes on; see `Store` for the methods."""

    def __init__(self, scribe: Scribe) -> None:
        """Read through *scribe*."""
        self.scribe = scribe

    @classmethod
    async def begin(cls, scribe: Scribe) -> Self:
        try:
            await scribe.opened
        except BaseException:
            await scribe.aclose()
            raise
        return cls(scribe)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def get(self, key: str) -> Awaitable[Record | None]:
        return self.scribe.read(partial(queries.find, name=key))

    async def records(self, states: Collection[State] | None = None) -> AsyncIterator[Record]:
        wanted = frozenset(states) if states is not None else None
        after = 0
        while page := await self.scribe.read(partial(queries.read_records, states=wanted, after=after)):
            for record in page:
                yield record
            after = page[-1].number

    async def images(self) -> AsyncIterator[Sequence[tuple[str, tuple[StoredImage, ...]]]]:
        after = 0
        while page := await self.scribe.read(partial(queries.read_images, after=after)):
            yield [(key, images) for _, key, images in page]
            after = page[-1][0]

    async def problems(self) -> AsyncIterator[BadRow]:
        after = 0
        while page := await self.scribe.read(partial(queries.read_problems, after=after)):
            for _, problem in page:
                yield problem
            after = page[-1][0]

    def has_problems(self, source: str) -> Awaitable[bool]:
        return self.scribe.read(partial(queries.has_problems, source=source))

    def totals(self) -> Awaitable[Totals]:
        return self.scribe.read(queries.sum_up)

    def unsent(self, keys: Collection[str]) -> Awaitable[Sequence[Record]]:
        return self.scribe.read(partial(queries.read_unsent, keys=tuple(keys)))

    def recent(self, since: float) -> Awaitable[Sequence[tuple[float, Mapping[str, object]]]]:
        return self.scribe.read(partial(queries.recent, since=since))

    def recall(self, name: str) -> Awaitable[object | None]:
        return self.scribe.read(partial(queries.recall, name=name))

    async def aclose(self) -> None:
        await self.scribe.aclose()


class Database(View):
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
        return await cls.begin(Scribe(partial(connect, Path(path)), disconnect, on_full))

    def return_to(self, find_home: Callable[[], Path | None]) -> None:
        """Let the file be written again where *find_home* says at the end, if it was removed; called in a thread."""
        self.scribe.disconnect = partial(disconnect, find_home=find_home)

    @staticmethod
    async def view(path: Path) -> View:
        """
        Open the store at *path* for reading, also while another process writes.

        Raises:
            JobError: There is none, or it is damaged or of a later format.
            StorageError: It cannot be read.
        """
        return await View.begin(Scribe(partial(connect_for_reading, Path(path))))

    # --- what begins something ---------------------------------------------------------------------------------------

    def add(self, rows: Sequence[Row | BadRow]) -> Awaitable[Added]:
        return self.scribe.begin(partial(changes.add, rows=tuple(rows)))

    def lease(self, most: int) -> Awaitable[Sequence[Record]]:
        return self.scribe.begin(partial(changes.lease, most=most))

    def intend(self, key: str, *, reserved: int, at: float) -> Awaitable[None]:
        values: dict[str, Text | float | None] = {"key": key, "reserved": reserved, "at": at}
        return self.scribe.begin(partial(changes.move, transition=changes.INTEND, values=values))

    def intend_again(self, key: str, *, reserved: int, at: float) -> Awaitable[None]:
        return self.move(changes.INTEND_AGAIN, key, reserved=reserved, at=at)

    def ask_again(self, key: str, *, at: float) -> Awaitable[None]:
        return self.move(changes.ASK_AGAIN, key, at=at)

    def reopen(self, states: Collection[State]) -> Awaitable[int]:
        return self.scribe.begin(partial(changes.reopen, states=frozenset(states)))

    def remember(self, name: str, value: object) -> Awaitable[None]:
        return self.scribe.begin(partial(changes.remember, name=name, value=encode_json(value)))

    def forget_problems(self, source: str) -> Awaitable[None]:
        return self.scribe.begin(partial(changes.forget_problems, source=source))

    # --- what comes of it --------------------------------------------------------------------------------------------

    def give_back(self, key: str, failure: Failure | None = None) -> Awaitable[None]:
        return self.move(changes.GIVE_BACK, key, failure=encode_failure(failure))

    def withdraw(self, key: str) -> Awaitable[None]:
        return self.move(changes.WITHDRAW, key)

    def receive(
        self, key: str, links: Sequence[Link], *, about: Mapping[str, object], request_id: str | None
    ) -> Awaitable[None]:
        return self.move(
            changes.RECEIVE,
            key,
            links=encode_links(links),
            about=encode_about(about),
            request_id=encode_id(request_id),
        )

    def keep(self, key: str, image: StoredImage) -> Awaitable[None]:
        return self.scribe.change(partial(changes.keep, key=key, image=image))

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
            changes.FINISH,
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
            changes.FAIL,
            key,
            failure=encode_failure(failure),
            may_be_billed=may_be_billed,
            request_id=encode_id(request_id),
            at=at,
        )

    def doubt(self, key: str, failure: Failure, *, request_id: str | None, at: float) -> Awaitable[None]:
        return self.move(changes.DOUBT, key, failure=encode_failure(failure), request_id=encode_id(request_id), at=at)

    def lose(self, key: str, images: Sequence[StoredImage], failure: Failure, *, at: float) -> Awaitable[None]:
        return self.move(
            changes.LOSE,
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
            changes.ADOPT,
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

    def relocate(self, key: str, images: Sequence[StoredImage]) -> Awaitable[None]:
        return self.move(changes.RELOCATE, key, images=encode_images(images))

    async def aclose(self) -> None:
        await super().aclose()
        self.scribe.tell()

    def release_leases(self) -> Awaitable[int]:
        return self.scribe.change(changes.release_leases)

    def move(self, transition: Transition, key: str, **values: Text | float | None) -> Promise[None]:
        return self.scribe.change(partial(changes.move, transition=transition, values={"key": key, **values}))


def encode_about(about: Mapping[str, object]) -> Text | None:
    """Return None for what says nothing: it does not take the place of what is known."""
    return encode_json(dict(about)) if about else None


def encode_id(request_id: str | None) -> Text | None:
    return encode_text(request_id) if request_id is not None else None
