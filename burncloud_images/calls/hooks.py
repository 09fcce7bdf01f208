"""What accompanies one call along its way: keeps a pace, writes down what is about to be bought, and what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

from burncloud_images.errors import ImagesError
from burncloud_images.results import Attempt, Unfetched
from burncloud_images.wire.answer import Answer


class CallHooks(Protocol):
    """Accompanies one call over its attempts. Bulk jobs are built on it."""

    async def before_attempt(self) -> None:
        """Wait until an attempt may start; nothing has been sent yet. What this raises ends the call."""

    def on_response(self, status: int, headers: Mapping[str, str]) -> None:
        """See that an answer begins; names of headers are in lower case."""

    def after_attempt(self, attempt: Attempt, error: ImagesError | None) -> None:
        """See how an attempt ended: *error* is None if it brought a whole answer."""

    async def on_links(self, links: Sequence[Unfetched], answer: Answer) -> None:
        """Take down where the paid images of an answer are, before the first is fetched."""


@attrs.frozen
class NoHooks:
    """Lets every call go its way."""

    async def before_attempt(self) -> None:
        """Wait for nothing."""

    def on_response(self, status: int, headers: Mapping[str, str]) -> None:
        """See nothing."""

    def after_attempt(self, attempt: Attempt, error: ImagesError | None) -> None:
        """See nothing."""

    async def on_links(self, links: Sequence[Unfetched], answer: Answer) -> None:
        """Take nothing down."""
