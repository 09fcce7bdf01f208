"""What a job says while it runs, and at its end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal, TypeAlias

import attrs

from burncloud_images.bulk.records import Failure, Record, StoredImage, Totals
from burncloud_images.errors import DownloadRefusedError

Stop: TypeAlias = Literal[
    "finished",
    "interrupted",
    "abandoned",
    "budget",
    "limit",
    "quota",
    "authentication",
    "gave_up",
    "disk",
    "failed",
]
"""
Why a run came to its end. `finished`: nothing is left to start. `interrupted` and `abandoned`: as `drain` and `abandon`
asked. `budget`: what is left would pass `max_cost` or `max_images`. `limit`: as many requests as were asked for were
started. `quota`, `authentication`: the account or the key. `gave_up`: the API was not there, or asked for patience, for
too long. `disk`: images cannot be written. `failed`: a request failed and `fail_fast` was set, or the first ones all
failed for the same reason.
"""


@attrs.frozen(kw_only=True)
class Progress:
    """
    How far a job is.

    Attributes:
        requests: All of the job.
        done: Requests at their end, of all runs.
        failed: Likewise.
        in_doubt: Likewise.
        unfetched: Requests that are paid and whose images could not be fetched in this run.
        running: Requests under way.
        images: Images that are there, of all runs.
        cost: Nano-dollars that are known to have been spent, by all runs.
        reserved: Nano-dollars that may have been spent besides.
        elapsed: Seconds since this run began.
        ended: Requests that came to their end in this run.
        made: Images that came in this run.
    """

    requests: int
    done: int
    failed: int
    in_doubt: int
    running: int
    images: int
    cost: int
    reserved: int
    elapsed: float
    ended: int
    made: int
    unfetched: int = 0

    @property
    def left(self) -> int:
        """Requests that this run has not settled yet."""
        return self.requests - self.done - self.failed - self.in_doubt - self.unfetched

    @property
    def images_per_second(self) -> float:
        """Of this run."""
        return self.made / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes if it goes on like this; None while that is not known."""
        return self.left * self.elapsed / self.ended if self.ended and self.elapsed > 0 else None


@attrs.frozen(kw_only=True)
class Event:
    """
    Something that happened.

    Attributes:
        kind: A request came to its end as `done`, `failed` or `in_doubt`; it is `unfetched`, paid and left for another
            run to fetch; or a `note` on how the job goes.
        progress: How far the job is.
        record: The request as it was when it was sent; None for a note.
        images: Its images.
        failure: Why it failed, is in doubt or could not be fetched.
        message: Of a note, one or more sentences.
    """

    kind: Literal["done", "failed", "in_doubt", "unfetched", "note"]
    progress: Progress
    record: Record | None = None
    images: tuple[StoredImage, ...] = ()
    failure: Failure | None = None
    message: str = ""


Watch: TypeAlias = Callable[[Event], object]


@attrs.frozen(kw_only=True)
class Outstanding:
    """
    What is paid and was not fetched.

    Attributes:
        requests: How many.
        expires_at: When the first of their addresses ends, aware UTC; None if no server said.
        refused: How many have an address that no download may touch.
        reason: Why the first of them was not fetched.
    """

    requests: int = 0
    expires_at: datetime | None = None
    refused: int = 0
    reason: str = ""

    def plus(self, record: Record) -> Outstanding:
        """Return it with one request more."""
        ends = [link.expires_at for link in record.links] + [self.expires_at]
        failure = record.failure
        return attrs.evolve(
            self,
            requests=self.requests + 1,
            expires_at=min((end for end in ends if end is not None), default=None),
            refused=self.refused + (failure is not None and failure.error == DownloadRefusedError.__name__),
            reason=self.reason or (failure.message if failure is not None else ""),
        )


@attrs.frozen(kw_only=True)
class Report:
    """
    What came of a run.

    Attributes:
        stopped: Why it came to its end.
        totals: Sums over the whole job.
        ended: Requests that came to their end in this run.
        made: Images that came in this run.
        elapsed: Seconds that it took.
        message: More about why it stopped; empty if it finished.
        error: Name of the error's class that stopped it, if one did.
        outstanding: What is paid and was not fetched; None if there is nothing.
    """

    stopped: Stop
    totals: Totals
    ended: int = 0
    made: int = 0
    elapsed: float = 0.0
    message: str = ""
    error: str | None = None
    outstanding: Outstanding | None = None
