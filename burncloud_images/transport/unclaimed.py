"""Outcomes that nobody took: they are shown to whoever asked for them, or else a warning says what they were worth."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

import attrs

from burncloud_images.errors import ImagesError, ImagesWarning
from burncloud_images.results import Done, Failed, Image, ImageDetails

__all__ = ["OnUnclaimed", "Outcome", "Unclaimed"]

R = TypeVar("R")
T = TypeVar("T", bound=ImageDetails)

Outcome: TypeAlias = Done[R, T] | Failed[R, ImagesError]
OnUnclaimed: TypeAlias = Callable[[Outcome[R, T]], object]


@attrs.define(kw_only=True)
class Unclaimed(Generic[R, T]):
    """
    Takes what nobody else does.

    Attributes:
        show: Is given each outcome; None for a warning about all of them.
        paid: Whole images that were in memory only.
        doubtful: Requests that may have been billed.
        keys: Their idempotency keys.
    """

    show: OnUnclaimed[R, T] | None
    paid: int = 0
    doubtful: int = 0
    keys: list[str] = attrs.field(factory=list)

    def add(self, outcome: Outcome[R, T]) -> None:
        """Take one outcome."""
        if self.show is None:
            self.count(outcome)
            return
        try:
            self.show(outcome)
        except Exception as error:  # noqa: BLE001 (it must not cost the other outcomes)
            context = {"message": "on_unclaimed raised an exception", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def count(self, outcome: Outcome[R, T]) -> None:
        """Note what the outcome was worth."""
        if isinstance(outcome, Done):
            self.paid += sum(isinstance(image, Image) for image in outcome.result.images)
            return
        error = outcome.error
        self.paid += sum(isinstance(image, Image) for image in getattr(error, "images", ()))
        if error.billed:
            self.doubtful += 1
            self.keys += [error.idempotency_key] if error.idempotency_key else []

    def warn(self) -> None:
        """Say what was lost, if anything was; once."""
        paid, doubtful, keys = self.paid, self.doubtful, ", ".join(self.keys)
        if not paid and not doubtful:
            return
        self.paid = self.doubtful = 0
        self.keys.clear()
        told = [f"{paid} paid images were in memory only"] if paid else []
        told += [f"{doubtful} requests may have been billed ({keys})"] if doubtful else []
        advice = "Take them by on_unclaimed=…, or have the images as files by into=Directory(…)."
        warnings.warn(
            f"Nobody took what a client.map brought: {' and '.join(told)}. {advice}", ImagesWarning, stacklevel=4
        )
