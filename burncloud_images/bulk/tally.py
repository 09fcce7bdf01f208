"""Counts what a run has done so far, and reports it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import attrs

from burncloud_images.bulk.budget import Budget
from burncloud_images.bulk.records import (
    JobEvent,
    JobProgress,
    JobTotals,
    OnEvent,
    RequestFailure,
    RequestRecord,
    RequestState,
    StoredImage,
)
from burncloud_images.retry import Clock

End: TypeAlias = Literal["done", "failed", "in_doubt", "unfetched"]

SAME_FAILURES = 10
"""Requests that fail first and alike, after which a run stops: the next thousands would too."""


@attrs.define(kw_only=True, eq=False)
class RunStatistics:
    """
    Counts.

    Attributes:
        totals: Sums over the job when the run began.
        running: Says how many requests are under way.
        began: When the run began, on the clock.
        counts: Requests that ended in this run, by how they ended, and those left for another run to fetch.
        made: Images that came in this run.
    """

    totals: JobTotals
    budget: Budget
    watch: OnEvent | None
    clock: Clock
    running: Callable[[], int]
    began: float = attrs.field(default=attrs.Factory(lambda tally: tally.clock.monotonic(), takes_self=True))
    counts: dict[End, int] = attrs.field(factory=lambda: dict.fromkeys(get_args(End), 0))
    made: int = 0
    alike: tuple[object, int] | None = (None, 0)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.clock.monotonic() - self.began

    @property
    def ended(self) -> int:
        """Requests that were done, failed or put in doubt in this run."""
        return sum(number for end, number in self.counts.items() if end != "unfetched")

    def tell(
        self,
        kind: End,
        record: RequestRecord,
        *,
        images: tuple[StoredImage, ...] = (),
        failure: RequestFailure | None = None,
    ) -> None:
        """Count how a request ended, and tell the observer."""
        self.counts[kind] += 1
        self.made += len(images)
        if kind == "done":
            self.alike = None
        if self.watch is not None:
            self.watch(JobEvent(kind=kind, progress=self.progress(), record=record, images=images, failure=failure))

    def note(self, message: str) -> None:
        """Say something about the run."""
        if self.watch is not None:
            self.watch(JobEvent(kind="note", progress=self.progress(), message=message))

    def is_hopeless(self, failure: RequestFailure) -> bool:
        """Say whether nothing has come of the run but one and the same failure."""
        if self.alike is None:
            return False
        kind = (failure.error, failure.status, failure.code)
        seen, count = self.alike
        self.alike = (kind, count + 1) if seen in {None, kind} else None
        return self.alike is not None and self.alike[1] >= SAME_FAILURES

    def progress(self) -> JobProgress:
        """Return how far the job is."""
        before = self.totals.counts
        return JobProgress(
            requests=self.totals.requests,
            done=before[RequestState.DONE] + self.counts["done"],
            failed=before[RequestState.FAILED] + self.counts["failed"],
            in_doubt=before[RequestState.IN_DOUBT] + self.counts["in_doubt"],
            unfetched=self.counts["unfetched"],
            running=self.running(),
            images=self.totals.images + self.made,
            cost=self.budget.cost,
            reserved=self.budget.reserved,
            elapsed=self.elapsed,
            ended=self.ended,
            made=self.made,
        )
