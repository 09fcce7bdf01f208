"""Outcomes of a map that nobody took: `on_unclaimed` receives them, or else a warning sums up what was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

import attrs

from burncloud_images.errors import ImagesError, show_warning
from burncloud_images.log_records import log_warning
from burncloud_images.results import Done, Failed, Image, ImageDetails

R = TypeVar("R")
T = TypeVar("T", bound=ImageDetails)

Outcome: TypeAlias = Done[R, T] | Failed[R, ImagesError]
OnUnclaimed: TypeAlias = Callable[[Outcome[R, T]], object]

MAX_KEYS = 100
"""Number of keys of each kind that a sum names; the log names the others."""


@attrs.define
class PossibleLoss:
    """
    Something that was paid for, or may have been.

    Attributes:
        count: Number of images, or of requests.
        requests: Number of requests that they belong to.
        keys: Idempotency keys of those requests, or the first of them.
    """

    count: int = 0
    requests: int = 0
    keys: list[str] = attrs.field(factory=list)

    def add(self, count: int, key: str | None) -> None:
        """Add *count* of them, of one request."""
        if count:
            self.merge(PossibleLoss(count, 1, [key] if key else []))

    def merge(self, other: PossibleLoss, *, max_keys: int | None = None) -> None:
        """Add another loss, and keep at most *max_keys* keys."""
        self.count += other.count
        self.requests += other.requests
        self.keys = [*self.keys, *other.keys][:max_keys]

    @property
    def named(self) -> str:
        """The keys, as words."""
        left = self.requests - len(self.keys)
        return ", ".join(self.keys) + (f" and {left} more" if left else "")


@attrs.define
class UnclaimedLosses:
    """
    The contents of outcomes that nobody took.

    Attributes:
        paid: Whole images that were in memory only.
        unfetched: Images that were not fetched from their URLs.
        doubtful: Requests that may have been billed and returned nothing.
        saved: Number of images that are in files.
    """

    paid: PossibleLoss = attrs.field(factory=PossibleLoss)
    unfetched: PossibleLoss = attrs.field(factory=PossibleLoss)
    doubtful: PossibleLoss = attrs.field(factory=PossibleLoss)
    saved: int = 0

    def __bool__(self) -> bool:
        """Return whether anything was lost; images in files are not."""
        return any(loss.count for loss in (self.paid, self.unfetched, self.doubtful))

    def __str__(self) -> str:
        """Return what was lost, with the keys, and what was kept."""
        lost = [
            f"{loss.count} {what} ({loss.named})"
            for loss, what in (
                (self.paid, "paid images were in memory only"),
                (self.unfetched, "paid images were not fetched"),
                (self.doubtful, "requests may have been billed"),
            )
            if loss.count
        ]
        kept = f" {self.saved} images are in their files." if self.saved else ""
        advice = "Pass on_unclaimed=… to receive them, or into=Directory(…) to have the images in files."
        return f"Outcomes of client.map were not taken: {', '.join(lost)}.{kept} {advice}"

    def count(self, outcome: Outcome[R, T]) -> None:
        """Count the content of *outcome*."""
        if isinstance(outcome, Done):
            self.add_images(outcome.result.images, outcome.result.idempotency_key)
            return
        error = outcome.error
        self.add_images(error.images, error.idempotency_key)
        self.unfetched.add(len(error.unfetched), error.idempotency_key)
        if error.billed and not error.images and not error.unfetched:
            self.doubtful.add(1, error.idempotency_key)

    def add_images(self, images: Sequence[ImageDetails], key: str | None) -> None:
        paid = sum(isinstance(image, Image) for image in images)
        self.paid.add(paid, key)
        self.saved += len(images) - paid

    def add(self, others: UnclaimedLosses) -> None:
        """Add other losses. A client may live for years, so the sum names only the first requests."""
        self.paid.merge(others.paid, max_keys=MAX_KEYS)
        self.unfetched.merge(others.unfetched, max_keys=MAX_KEYS)
        self.doubtful.merge(others.doubtful, max_keys=MAX_KEYS)
        self.saved += others.saved


@attrs.define(kw_only=True)
class UnclaimedOutcomes(Generic[R, T]):
    """
    Receives the outcomes that nobody takes.

    Attributes:
        show: Called with each outcome; None to sum them up.
        losses: The sum so far.
    """

    show: OnUnclaimed[R, T] | None
    losses: UnclaimedLosses = attrs.field(factory=UnclaimedLosses)

    def add(self, outcome: Outcome[R, T]) -> None:
        """Receive one outcome."""
        if self.show is None:
            self.losses.count(outcome)
            return
        try:
            self.show(outcome)
        except Exception as error:  # noqa: BLE001 (it must not cost the other outcomes)
            context = {"message": "on_unclaimed raised an exception", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def withdraw(self) -> UnclaimedLosses:
        """Return the losses since the last call."""
        losses, self.losses = self.losses, UnclaimedLosses()
        return losses

    def warn(self) -> None:
        """Warn the code that leaves the map about losses, if there are any; once."""
        if losses := self.withdraw():
            show_warning(str(losses), stacklevel=5)

    def pass_on(self, total: UnclaimedLosses) -> None:
        """Log what was lost and add it to *total*, about which the client warns when it closes; once."""
        if losses := self.withdraw():
            keys = [key for loss in (losses.paid, losses.unfetched, losses.doubtful) for key in loss.keys]
            log_warning(str(losses), idempotency_keys=keys)
            total.add(losses)
