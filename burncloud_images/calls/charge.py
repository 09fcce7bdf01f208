"""What ends a call that is never billed says so, whatever the same failure means elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from burncloud_images.errors import Billing


@contextmanager
def free_of_charge(sentence: str) -> Iterator[None]:
    """Let whatever ends the block, a cancellation too, say with *sentence* that it cost nothing."""
    try:
        yield
    except BaseException as error:
        if getattr(error, "billed", None) is not Billing.NO:
            error.__dict__.update(billed=Billing.NO, unbilled=sentence)
        raise
