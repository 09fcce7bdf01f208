"""Callbacks around one call: rate limiting and bookkeeping before and after each attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from burncloud_images.errors import ImagesError
from burncloud_images.results import Attempt, Task, Unfetched

if TYPE_CHECKING:
    from burncloud_images.wire.answer import ImagesAnswer


class CallHooks:
    """
    Callbacks around the attempts of one call, each of which does nothing here. Bulk jobs are built on them.

    An exception that one of them raises ends the call. Images that have come are not lost with it: it is raised once
    they are stored, and has the call's result as `result`. After a failed attempt, its `__cause__` is the error of that
    attempt, which holds what came. It has `billed`, as other errors have.
    """

    async def before_attempt(self) -> None:
        """Called before each attempt, which starts when this returns; nothing has been sent yet."""

    async def on_response(self, status: int, headers: Mapping[str, str]) -> None:
        """Called when the status and headers of an answer have arrived; names of headers are in lower case."""

    async def after_attempt(self, attempt: Attempt, error: ImagesError | None) -> None:
        """Called after each attempt; *error* is None if it brought a whole answer."""

    async def on_accepted(self, task: Task) -> None:
        """Called with the task that the gateway has made of the request, before it is asked for the first time."""

    async def on_links(self, links: Sequence[Unfetched], answer: ImagesAnswer) -> None:
        """Called with the URLs of paid images, before the first is downloaded."""
