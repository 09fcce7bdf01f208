"""Where a job remembers its requests: a small protocol, so that several machines can share one some day."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from typing import Protocol

from burncloud_images.bulk.records import Added, BadRow, Failure, Link, Record, Row, State, StoredImage, Totals


class Store(Protocol):
    """
    The requests of a job and how far each is.

    Everything that is awaited is durable when it returns: it survives a power cut. Changes take effect in the order in
    which the methods are called, not in which their results are awaited, and also if nobody awaits them; a change that
    fails leaves nothing behind.
    A change of a request whose state does not allow it raises `RuntimeError`: that is a mistake in the program.
    Any method raises `StorageError` if the disk is full or fails.
    """

    def add(self, rows: Sequence[Row | BadRow]) -> Awaitable[Added]:
        """
        Take rows in; those that are known by their key are left as they are.

        A row whose label another key has becomes a problem. Problems are known by source and line.
        """

    def lease(self, most: int) -> Awaitable[Sequence[Record]]:
        """Return up to *most* pending requests in their order, and hold them as leased."""

    def mark_polled(self, key: str, *, at: float) -> Awaitable[None]:
        """Note that a sent request is sent once more to a server that will not make its images anew."""

    def requeue(self, key: str, failure: Failure | None = None) -> Awaitable[None]:
        """
        Let a leased, sent or received request wait again. What was reserved is free: nothing was billed.

        A received one keeps its links, its reservation and its state: it is only no longer held.
        """

    def mark_sent(self, key: str, *, reserved: int, at: float) -> Awaitable[None]:
        """Write down that a leased request is sent now; durable before the connection opens."""

    def mark_resent(self, key: str, *, reserved: int, at: float) -> Awaitable[None]:
        """
        Write down that a sent request is sent once more, though it may have been billed; durable as well.

        What was reserved for it is added to its cost, and its images are committed once more.
        """

    def release(self, key: str) -> Awaitable[None]:
        """Note that an attempt billed nothing and another may follow: sent becomes leased."""

    def mark_received(
        self, key: str, links: Sequence[Link], *, about: Mapping[str, object], request_id: str | None
    ) -> Awaitable[None]:
        """Keep the addresses of paid images, before the first is fetched: sent becomes received."""

    def add_image(self, key: str, image: StoredImage) -> Awaitable[None]:
        """Note that one image of a sent, received or in-doubt request is there; its link is erased."""

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
        Note that a sent, received or in-doubt request has all its images; its links are erased.

        Its cost takes the place of what was reserved; where it is None, the worst case stays reserved.
        """

    def fail(
        self, key: str, failure: Failure, *, may_be_billed: bool, request_id: str | None, at: float
    ) -> Awaitable[None]:
        """Note that a request will not come to its end; what is reserved for it stays so if it may be billed."""

    def mark_in_doubt(self, key: str, failure: Failure, *, request_id: str | None, at: float) -> Awaitable[None]:
        """Note that a sent request may have been billed; what is reserved for it stays so."""

    def mark_lost(self, key: str, images: Sequence[StoredImage], failure: Failure, *, at: float) -> Awaitable[None]:
        """Note that of the images of a done request only these are left: it has failed, and was paid."""

    def set_paths(self, key: str, images: Sequence[StoredImage]) -> Awaitable[None]:
        """Note that all images of a done request are elsewhere now; the images are the same."""

    def unsent(self, keys: Collection[str]) -> Awaitable[Sequence[Record]]:
        """Return those of the requests with these keys that wait and were never sent."""

    def adopt(
        self, key: str, images: Sequence[StoredImage], *, failure: Failure | None, reserved: int, at: float
    ) -> Awaitable[None]:
        """
        Note that a pending request was bought before, by a run that the store knows nothing of.

        It is done; with a *failure* it is in doubt. What it may have cost is reserved.
        """

    def retry(self, states: Collection[State]) -> Awaitable[int]:
        """
        Let all failed or in-doubt requests wait again, and return how many.

        All that is known of one stays as it is until it is sent: then what was reserved is added to its cost, and its
        images stay committed, since it may have been paid already.
        """

    def release_leases(self) -> Awaitable[int]:
        """
        Let whatever a run had leased wait again, and return how much.

        What was in doubt, and was reopened and neither sent nor refused for good, is in doubt again.
        """

    def get(self, key: str) -> Awaitable[Record | None]:
        """Return one request, by its key, or by a beginning of it or a label that only one has."""

    def records(self, states: Collection[State] | None = None) -> AsyncIterator[Record]:
        """Yield the requests in these states, or all, in their order; the job may go on meanwhile."""

    def images(self) -> AsyncIterator[Sequence[tuple[str, tuple[StoredImage, ...]]]]:
        """Yield the key and the images of every done request, in their order, in pages; prompts are not read."""

    def problems(self) -> AsyncIterator[BadRow]:
        """Yield the lines that are no requests, in their order."""

    def has_problems(self, source: str) -> Awaitable[bool]:
        """Return whether an input has lines that are no requests."""

    def clear_problems(self, source: str) -> Awaitable[None]:
        """Forget those of an input, which is about to be read anew."""

    def totals(self) -> Awaitable[Totals]:
        """Return the sums."""

    def recent(self, since: float) -> Awaitable[Sequence[tuple[float, Mapping[str, object]]]]:
        """Return when requests were sent from *since* on and what they ask for, the first first."""

    def set_metadata(self, name: str, value: object) -> Awaitable[None]:
        """Keep something about the job, as JSON."""

    def get_metadata(self, name: str) -> Awaitable[object | None]:
        """Return what is kept under *name*."""

    def aclose(self) -> Awaitable[None]:
        """Finish what was begun, and close."""
