"""Calls that are never billed: every error of theirs says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from burncloud_images.errors import Billing


@contextmanager
def free_of_charge(sentence: str) -> Iterator[None]:
    """Mark every exception that leaves the block as not billed, which its text says with *sentence*."""
    try:
        yield
    except BaseException as error:
        if getattr(error, "billed", None) is not Billing.NO:
            error.__dict__.update(billed=Billing.NO, unbilled=sentence)
        raise
