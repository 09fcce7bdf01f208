"""How a job goes, while it does: a bar on a terminal, a line now and then elsewhere, or events for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from burncloud_images.bulk.prices.cost import show_money
from burncloud_images.bulk.records import Event, Progress, Record
from burncloud_images.cli.figures import to_duration
from burncloud_images.cli.places import name_of
from burncloud_images.cli.reporting import INTERVAL, Reporter, every

FRAME = 0.2
"""Seconds between two pictures of the bar."""
MOST_ALIKE = 5
"""Failures of one kind that are told singly; `status` lists all."""


def describe(progress: Progress) -> str:
    """Return how far a job is, as one line."""
    parts = [
        f"{progress.done:,} of {progress.requests:,} done",
        f"{progress.failed:,} failed",
        f"{progress.in_doubt:,} in doubt",
        f"{progress.images_per_second:.1f} images/s",
        f"{show_money(progress.cost)} spent",
    ]
    if progress.seconds_left is not None:
        parts.append(f"{to_duration(progress.seconds_left)} left")
    return ", ".join(parts)


@attrs.define(kw_only=True)
class JobProgress:
    """
    Shows a job's events on stderr.

    Attributes:
        reporter: Writes.
        ask: Gives how far the job is now; None between runs.
        latest: How far it was when last looked at.
        alike: How many failures of each kind were told.
    """

    reporter: Reporter
    ask: Callable[[], Progress | None]
    latest: Progress | None = None
    alike: Counter[str] = attrs.field(factory=Counter)

    def see(self, event: Event) -> None:
        """Take one event."""
        self.latest = event.progress
        if event.record is None:
            self.reporter.note(event.message)
        elif event.kind == "done":
            self.reporter.emit("done", **self.facts(event.record))
        else:
            self.complain(event, event.record)

    def facts(self, record: Record) -> dict[str, object]:
        return {"id": record.label, "key": record.key, "source": record.source, "line": record.line}

    def complain(self, event: Event, record: Record) -> None:
        """Tell of a request that failed or is in doubt; of many alike only the first."""
        failure = event.failure
        message = failure.message if failure else "It is not known why."
        kind = f"{event.kind} {failure.error if failure else ''}"
        self.alike[kind] += 1
        if self.reporter.mode == "json":
            name = failure.error if failure else None
            self.reporter.emit(event.kind, **self.facts(record), error=name, message=message)
        elif not self.reporter.options.quiet and self.alike[kind] <= MOST_ALIKE:
            more = "; more of the kind are counted only" if self.alike[kind] == MOST_ALIKE else ""
            self.reporter.say(event.kind.replace("_", " "), f"{name_of(record)}: {message}{more}")

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show how far the job is, again and again, within a running event loop."""
        if self.reporter.mode == "bar":
            from burncloud_images.cli.bar import draw_bar

            with draw_bar(self.reporter) as draw, every(FRAME, lambda: draw(self.look())):
                yield
        else:
            with every(INTERVAL, self.tell):
                yield

    def look(self) -> Progress | None:
        self.latest = self.ask() or self.latest
        return self.latest

    def tell(self) -> None:
        """Say how far the job is, as a line or an event."""
        progress = self.look()
        if progress is None:
            return
        if self.reporter.mode == "lines" and not self.reporter.options.quiet:
            self.reporter.say("progress", describe(progress))
        self.reporter.emit(
            "progress",
            **attrs.asdict(attrs.evolve(progress, elapsed=round(progress.elapsed, 3))),
            images_per_second=round(progress.images_per_second, 3),
            seconds_left=progress.seconds_left,
        )
