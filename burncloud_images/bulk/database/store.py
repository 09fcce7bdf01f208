"""The requests of a job and their states, in one SQLite file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from burncloud_images.bulk.database import queries, transitions
from burncloud_images.bulk.database.codec import (
    Text,
    encode_all,
    encode_failure,
    encode_json,
    encode_task,
    encode_text,
)
from burncloud_images.bulk.database.file import connect, connect_for_reading, disconnect
from burncloud_images.bulk.database.transitions import Transition
from burncloud_images.bulk.database.writer import DatabaseWriter
from burncloud_images.bulk.records import (
    AddedRows,
    BadRow,
    JobTotals,
    NewRequest,
    RequestFailure,
    RequestRecord,
    RequestState,
    StoredImage,
    UnfetchedLink,
)
from burncloud_images.results import Task


class JobStore:
    """
    The requests of a job and the state of each.

    A change is durable when its result is awaited: it survives a power cut. Changes take effect in the order of the
    calls, even if they are not awaited; a change that fails leaves nothing behind.

    Every method raises `StorageError` if the disk is full or fails. Changing a request whose state does not allow it
    raises `RuntimeError`, since that is a mistake in the program.
    """

    def __init__(self, writer: DatabaseWriter) -> None:
        """Read and write through *writer*."""
        self.writer = writer

    @classmethod
    async def open(cls, path: Path, on_full: Callable[[], bool] | None = None) -> Self:
        """
        Open the store at *path*, which is created with access for its owner only if it does not exist.

        Args:
            path: The file; SQLite keeps two others beside it.
            on_full: Frees some room on the disk and returns whether it could; called in a thread. Then what failed is
                retried once.

        Raises:
            JobError: The file is not a store, is damaged, or has a later format.
            StorageError: The file cannot be created, read or written.
        """
        return await cls.start(DatabaseWriter(partial(connect, Path(path)), disconnect, on_full))

    @classmethod
    async def open_for_reading(cls, path: Path) -> Self:
        """
        Open the store at *path* for reading, also while another process writes. Changes raise `StorageError`.

        Raises:
            JobError: The file does not exist, is not a store, is damaged, or has a later format.
            StorageError: The file cannot be read.
        """
        return await cls.start(DatabaseWriter(partial(connect_for_reading, Path(path))))

    @classmethod
    async def start(cls, writer: DatabaseWriter) -> Self:
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

    async def aclose(self) -> None:
        """Finish the changes that were asked for, and close the file."""
        await self.writer.aclose()

    def set_home(self, find_home: Callable[[], Path | None]) -> None:
        """If the file was removed when the store closes, write it again where *find_home*, called in a thread, says."""
        self.writer.disconnect = partial(disconnect, find_home=find_home)

    # --- reading -----------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Awaitable[RequestRecord | None]:
        """Return the request with this key."""
        return self.writer.read(partial(queries.get, key=key))

    def find(self, name: str) -> Awaitable[Sequence[RequestRecord]]:
        """Return the request with this id, or with this key or the beginning of it; several if that is not clear."""
        return self.writer.read(partial(queries.find, name=name))

    async def records(self, states: Collection[RequestState] | None = None) -> AsyncIterator[RequestRecord]:
        """Yield the requests in these states, or all, in order; the job may run meanwhile."""
        wanted = frozenset(states) if states is not None else None
        after = 0
        while page := await self.writer.read(partial(queries.read_records, states=wanted, after=after)):
            for record in page:
                yield record
            after = page[-1].number

    async def refused(self) -> AsyncIterator[RequestRecord]:
        """Yield the done requests of which the server refused single images, in order."""
        after = 0
        while page := await self.writer.read(partial(queries.read_short, after=after)):
            for record in page:
                if record.refused:
                    yield record
            after = page[-1].number

    async def images(self) -> AsyncIterator[Sequence[tuple[str, tuple[StoredImage, ...]]]]:
        """Yield the key and the images of every done request, in order and in pages; prompts are not read."""
        after = 0
        while page := await self.writer.read(partial(queries.read_images, after=after)):
            yield [(key, images) for _, key, images in page]
            after = page[-1][0]

    async def bad_rows(self) -> AsyncIterator[BadRow]:
        """Yield the input lines that are not requests, in order."""
        after = 0
        while page := await self.writer.read(partial(queries.read_bad_rows, after=after)):
            for _, bad_row in page:
                yield bad_row
            after = page[-1][0]

    def has_bad_rows(self, source: str) -> Awaitable[bool]:
        """Return whether an input has lines that are not requests."""
        return self.writer.read(partial(queries.has_bad_rows, source=source))

    def totals(self) -> Awaitable[JobTotals]:
        """Return the sums over all requests."""
        return self.writer.read(queries.read_totals)

    def models(self) -> Awaitable[Sequence[str | None]]:
        """Return the models of the requests that wait; None stands for those that name none."""
        return self.writer.read(queries.read_models)

    def unsent(self, keys: Collection[str]) -> Awaitable[Sequence[RequestRecord]]:
        """Return those of the requests with these keys that are pending and were never sent."""
        return self.writer.read(partial(queries.read_unsent, keys=tuple(keys)))

    def recent(self, since: float) -> Awaitable[Sequence[tuple[float, Mapping[str, object]]]]:
        """Return the times at which requests were sent from *since* on, and their documents, the earliest first."""
        return self.writer.read(partial(queries.read_recent, since=since))

    def get_metadata(self, name: str) -> Awaitable[object | None]:
        """Return the value that `set_metadata` stored under *name*."""
        return self.writer.read(partial(queries.get_metadata, name=name))

    # --- the job -----------------------------------------------------------------------------------------------------

    def add(self, rows: Sequence[NewRequest | BadRow], *, replace: bool = False) -> Awaitable[AddedRows]:
        """
        Add requests; those whose key is known stay as they are.

        A row whose label belongs to another key becomes a bad row; with *replace*, it takes the place of that request,
        unless it may still be billed. Bad rows are known by source and line.
        """
        return self.writer.change(partial(transitions.add, rows=tuple(rows), replace=replace))

    def put_in_place(self, key: str, row: NewRequest) -> Awaitable[None]:
        """Put a new request in the place of the one with *key*, which is done, failed or pending."""
        return self.writer.change(partial(transitions.put_in_place, key=key, row=row))

    def clear_bad_rows(self, source: str) -> Awaitable[None]:
        """Delete the bad_rows of an input that is about to be read again."""
        return self.writer.change(partial(transitions.clear_bad_rows, source=source))

    def set_metadata(self, name: str, value: object) -> Awaitable[None]:
        """Store a value about the job, as JSON."""
        return self.writer.change(partial(transitions.set_metadata, name=name, value=encode_json(value)))

    def lease(self, most: int) -> Awaitable[Sequence[RequestRecord]]:
        """Lease up to *most* pending requests, in order, and return them."""
        return self.writer.change(partial(transitions.lease, most=most))

    def release_leases(self) -> Awaitable[int]:
        """
        Return all leased requests to pending, and return how many there were.

        Requests that were in doubt, and that `retry` let wait and no run sent, go back to in doubt.
        """
        return self.writer.change(transitions.release_leases)

    def retry(self, states: Collection[RequestState]) -> Awaitable[int]:
        """
        Return all failed or in-doubt requests to pending, and return how many.

        All that is known of one stays until it is sent: then its reservation is added to its cost, and its images stay
        committed, since they may be paid for.
        """
        return self.writer.change(partial(transitions.retry, states=frozenset(states)))

    # --- one request -------------------------------------------------------------------------------------------------

    def mark_sent(self, key: str, *, reserved: int, at: float) -> Awaitable[None]:
        """Record that a leased request is about to be sent; to be awaited before a connection opens."""
        return self.move(transitions.MARK_SENT, key, reserved=reserved, at=at)

    def mark_resent(self, key: str, *, reserved: int, at: float) -> Awaitable[None]:
        """
        Record that a sent request is about to be sent again, though it may have been billed; to be awaited as well.

        Its earlier reservation is added to its cost, and its images are committed once more.
        """
        return self.move(transitions.MARK_RESENT, key, reserved=reserved, at=at)

    def reserve(self, key: str, reserved: int) -> Awaitable[None]:
        """Reserve the worst case of a request that was or may have been bought at a price that was not known."""
        return self.move(transitions.RESERVE, key, reserved=reserved)

    def mark_polled(self, key: str, *, at: float) -> Awaitable[None]:
        """Record that a sent request is sent again to a server that will not generate its images a second time."""
        return self.move(transitions.MARK_POLLED, key, at=at)

    def release(self, key: str) -> Awaitable[None]:
        """Record that an attempt was not billed and that another may follow: sent or accepted becomes leased."""
        return self.move(transitions.RELEASE, key)

    def requeue(self, key: str, failure: RequestFailure | None = None) -> Awaitable[None]:
        """
        Return a leased or sent request that was not billed to pending; its reservation is released.

        An accepted or received request keeps its task or its links, its reservation and its state.
        """
        return self.move(transitions.REQUEUE, key, failure=encode_failure(failure))

    def mark_accepted(self, key: str, task: Task, *, request_id: str | None) -> Awaitable[None]:
        """Record the task that the API makes of a sent request; to be awaited before it is asked for."""
        return self.move(transitions.MARK_ACCEPTED, key, task=encode_task(task), request_id=encode_id(request_id))

    def mark_received(
        self, key: str, links: Sequence[UnfetchedLink], *, about: Mapping[str, object], request_id: str | None
    ) -> Awaitable[None]:
        """Store the URLs of paid images before the first is fetched: sent or accepted becomes received."""
        return self.move(
            transitions.MARK_RECEIVED,
            key,
            links=encode_all(links),
            about=encode_about(about),
            request_id=encode_id(request_id),
        )

    def add_image(self, key: str, image: StoredImage) -> Awaitable[None]:
        """Add one image to a sent, accepted, received or in-doubt request, and delete its link."""
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
        """
        Record that a sent, accepted, received or in-doubt request is done, and delete its links.

        Its cost replaces its reservation; if the cost is None, the worst case stays reserved.
        """
        return self.move(
            transitions.FINISH,
            key,
            **encode_image_columns(images),
            cost=cost,
            about=encode_about(about),
            request_id=encode_id(request_id),
            at=at,
        )

    def fail(
        self, key: str, failure: RequestFailure, *, may_be_billed: bool, request_id: str | None, at: float
    ) -> Awaitable[None]:
        """Record that a request failed; it keeps its reservation if it may be billed."""
        return self.move(
            transitions.FAIL,
            key,
            failure=encode_failure(failure),
            may_be_billed=may_be_billed,
            request_id=encode_id(request_id),
            at=at,
        )

    def mark_in_doubt(self, key: str, failure: RequestFailure, *, request_id: str | None, at: float) -> Awaitable[None]:
        """Record that a sent or accepted request may have been billed; it keeps its reservation."""
        return self.move(
            transitions.MARK_IN_DOUBT,
            key,
            failure=encode_failure(failure),
            request_id=encode_id(request_id),
            at=at,
        )

    def mark_lost(
        self, key: str, images: Sequence[StoredImage], failure: RequestFailure, *, at: float
    ) -> Awaitable[None]:
        """Record that a done request has only these images left: it was paid for, and has failed."""
        return self.move(
            transitions.MARK_LOST, key, **encode_image_columns(images), failure=encode_failure(failure), at=at
        )

    def adopt(
        self, key: str, images: Sequence[StoredImage], *, failure: RequestFailure | None, reserved: int, at: float
    ) -> Awaitable[None]:
        """
        Record that a pending request was bought by a run that this store does not know.

        It is done, or in doubt if there is a *failure*. What it may have cost is reserved.
        """
        return self.move(
            transitions.ADOPT,
            key,
            state=RequestState.DONE if failure is None else RequestState.IN_DOUBT,
            **encode_image_columns(images),
            failure=encode_failure(failure),
            reserved=reserved,
            about=encode_json({"adopted": True}),
            at=at,
        )

    def set_paths(self, key: str, images: Sequence[StoredImage]) -> Awaitable[None]:
        """Record new paths for all images of a done request; the images themselves are unchanged."""
        return self.move(transitions.SET_PATHS, key, images=encode_all(images))

    def move(self, transition: Transition, key: str, **values: Text | float | None) -> Awaitable[None]:
        return self.writer.change(partial(transitions.move, transition=transition, values={"key": key, **values}))


def encode_image_columns(images: Sequence[StoredImage]) -> dict[str, Text | int | None]:
    return {"images": encode_all(images), "stored": len(images), "bytes": sum(image.size for image in images)}


def encode_about(about: Mapping[str, object]) -> Text | None:
    """Return None for an empty mapping, which does not replace what is known."""
    return encode_json(dict(about)) if about else None


def encode_id(request_id: str | None) -> Text | None:
    return encode_text(request_id) if request_id is not None else None
