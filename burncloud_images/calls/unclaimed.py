"""Outcomes that nobody took: they are shown to whoever asked for them, or else it is told what they were worth."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

import attrs

from burncloud_images.errors import ImagesError, ImagesWarning
from burncloud_images.results import Done, Failed, Image, ImageDetails
from burncloud_images.telemetry import log_warning

R = TypeVar("R")
T = TypeVar("T", bound=ImageDetails)

Outcome: TypeAlias = Done[R, T] | Failed[R, ImagesError]
OnUnclaimed: TypeAlias = Callable[[Outcome[R, T]], object]

MOST_KEYS = 100
"""How many keys of each kind a sum names; the log has named the others."""


@attrs.define
class Loss:
    """
    Something that was paid for, or may have been.

    Attributes:
        count: How much of it.
        requests: Of how many requests.
        keys: Their idempotency keys, or the first of them.
    """

    count: int = 0
    requests: int = 0
    keys: list[str] = attrs.field(factory=list)

    def add(self, count: int, key: str | None) -> None:
        """Add as much of it, if it is anything."""
        if count:
            self.merge(Loss(count, 1, [key] if key else []))

    def merge(self, other: Loss, *, most_keys: int | None = None) -> None:
        """Add another loss, and keep at most so many keys."""
        self.count += other.count
        self.requests += other.requests
        self.keys = [*self.keys, *other.keys][:most_keys]

    @property
    def named(self) -> str:
        """The keys, as words."""
        left = self.requests - len(self.keys)
        return ", ".join(self.keys) + (f" and {left} more" if left else "")


@attrs.define
class Losses:
    """
    What outcomes were worth that nobody took.

    Attributes:
        paid: Whole images that were in memory only.
        unfetched: Images that were not fetched from their addresses.
        doubtful: Requests that may have been billed and brought nothing.
        saved: Images that are in files.
    """

    paid: Loss = attrs.field(factory=Loss)
    unfetched: Loss = attrs.field(factory=Loss)
    doubtful: Loss = attrs.field(factory=Loss)
    saved: int = 0

    def __bool__(self) -> bool:
        """Say whether anything was lost; files are not."""
        return any(loss.count for loss in (self.paid, self.unfetched, self.doubtful))

    def __str__(self) -> str:
        """Return what was lost, with its keys, and what was kept."""
        told = [
            f"{loss.count} {what} ({loss.named})"
            for loss, what in (
                (self.paid, "paid images were in memory only"),
                (self.unfetched, "paid images were not fetched"),
                (self.doubtful, "requests may have been billed"),
            )
            if loss.count
        ]
        kept = f" {self.saved} images are in their files." if self.saved else ""
        advice = "Take them by on_unclaimed=…, or have the images as files by into=Directory(…)."
        return f"Nobody took what a client.map brought: {', '.join(told)}.{kept} {advice}"

    def count(self, outcome: Outcome[R, T]) -> None:
        """Note what *outcome* was worth."""
        if isinstance(outcome, Done):
            self.add_images(outcome.result.images, outcome.result.idempotency_key)
            return
        error = outcome.error
        images: Sequence[ImageDetails] = getattr(error, "images", ())
        unfetched: Sequence[object] = getattr(error, "unfetched", ())
        self.add_images(images, error.idempotency_key)
        self.unfetched.add(len(unfetched), error.idempotency_key)
        if error.billed and not images and not unfetched:
            self.doubtful.add(1, error.idempotency_key)

    def add_images(self, images: Sequence[ImageDetails], key: str | None) -> None:
        paid = sum(isinstance(image, Image) for image in images)
        self.paid.add(paid, key)
        self.saved += len(images) - paid

    def add(self, others: Losses) -> None:
        """Add what others lost. A client may live for years, so the sum names only the first requests."""
        self.paid.merge(others.paid, most_keys=MOST_KEYS)
        self.unfetched.merge(others.unfetched, most_keys=MOST_KEYS)
        self.doubtful.merge(others.doubtful, most_keys=MOST_KEYS)
        self.saved += others.saved


@attrs.define(kw_only=True)
class Unclaimed(Generic[R, T]):
    """
    Takes what nobody else does.

    Attributes:
        show: Is given each outcome; None for a sum of all of them.
        losses: The sum so far.
    """

    show: OnUnclaimed[R, T] | None
    losses: Losses = attrs.field(factory=Losses)

    def add(self, outcome: Outcome[R, T]) -> None:
        """Take one outcome."""
        if self.show is None:
            self.losses.count(outcome)
            return
        try:
            self.show(outcome)
        except Exception as error:  # noqa: BLE001 (it must not cost the other outcomes)
            context = {"message": "on_unclaimed raised an exception", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def withdraw(self) -> Losses:
        """Return what was lost since this was last asked."""
        losses, self.losses = self.losses, Losses()
        return losses

    def warn(self) -> None:
        """Warn whoever leaves the map of what was lost, if anything was; once."""
        if losses := self.withdraw():
            warnings.warn(str(losses), ImagesWarning, stacklevel=4)

    def pass_on(self, total: Losses) -> None:
        """Log what was lost, since nobody waits for the end, and add it to what the client will warn of; once."""
        if losses := self.withdraw():
            keys = [key for loss in (losses.paid, losses.unfetched, losses.doubtful) for key in loss.keys]
            log_warning(str(losses), idempotency_keys=keys)
            total.add(losses)
