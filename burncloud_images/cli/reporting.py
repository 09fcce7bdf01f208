"""Everything that goes to stderr: notes, progress and errors; as lines, above a bar, or as JSON."""

from __future__ import annotations

import json
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import attrs

from burncloud_images.cli.exit_codes import UsageError, describe
from burncloud_images.cli.options import ReportingOptions
from burncloud_images.cli.standard_streams import escaped, unfailing
from burncloud_images.errors import ImagesError, ImagesWarning
from burncloud_images.results import Attempt, SavedImage

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import ProgressColumn

    from burncloud_images.bulk.records import BadRow, JobEvent, JobProgress, NewRequest, RequestRecord

INTERVAL = 10.0
"""Seconds between two lines of progress."""
MOST_WARNINGS = 100


def to_one_line(text: str) -> str:
    """Return *text* as one line without control characters, which could come from a server."""
    return "".join(character if character.isprintable() else " " for character in text)


@attrs.define(kw_only=True)
class Reporter:
    """
    Writes to stderr.

    Attributes:
        stream: Receives the text; once it cannot be written, output is discarded.
        live: The console of the bar, while there is one.
        describe: Changes the description of the bar.
    """

    options: ReportingOptions
    stream: TextIO = attrs.field(factory=lambda: sys.stderr, converter=unfailing)
    live: Console | None = None
    describe: Callable[[str], None] | None = None

    @property
    def mode(self) -> str:
        """How progress is shown."""
        if self.options.progress != "auto":
            return self.options.progress
        if self.options.quiet:
            return "none"
        return "bar" if self.stream.isatty() else "lines"

    def note(self, text: str) -> None:
        """Write a note, unless quiet."""
        if not self.options.quiet:
            self.say("note", text)

    def detail(self, text: str) -> None:
        """Write a note if verbose."""
        if self.options.verbose:
            self.note(text)

    def fail(self, error: UsageError | ImagesError, where: str = "") -> None:
        """Write an error; *where* names its input if there are several."""
        if isinstance(error, ImagesError):
            kind = type(error).__name__
            facts = {"error": kind, "request_id": error.request_id, "idempotency_key": error.idempotency_key}
            if error.task is not None:
                facts["task"] = error.task.id
            self.say("error", where + describe(error), **facts)
        else:
            self.say("error", where + str(error), error="UsageError")
        if self.options.verbose > 1:
            # Messages and source lines hold no values, so this shows no secrets.
            self.stream.write(escaped("".join(traceback.format_exception(error))))

    def say(self, event: str, text: str, **facts: object) -> None:
        """Write one line, even if quiet."""
        if self.mode == "json":
            self.emit(event, message=to_one_line(text), **facts)
        elif self.live is not None:
            self.live.print(f"{event}: {to_one_line(text)}", markup=False, highlight=False, soft_wrap=True)
        else:
            self.stream.write(f"{event}: {to_one_line(text)}\n")
            self.stream.flush()

    def emit(self, event: str, **facts: object) -> None:
        """Write one event with `--progress json`."""
        if self.mode == "json":
            self.stream.write(escaped(json.dumps({"event": event, **facts})) + "\n")
            self.stream.flush()

    def attempted(self, attempt: Attempt) -> None:
        """Report the end of an attempt if another follows; otherwise only if verbose."""
        self.emit("attempt", **attrs.asdict(attempt, filter=lambda field, _: field.name != "phase"))
        if self.mode == "json":
            return
        outcome = f"{attempt.failure}, status {attempt.status}" if attempt.status else str(attempt.failure)
        if attempt.wait is not None:
            self.note(f"attempt {attempt.number} failed ({outcome}); the next one starts in {attempt.wait:.1f} s")
        else:
            ended = f"failed ({outcome})" if attempt.failure else "succeeded"
            self.detail(
                f"attempt {attempt.number} {ended} after {attempt.elapsed:.1f} s, request id {attempt.request_id}"
            )

    def show_partial(self, what: str, saved: SavedImage) -> None:
        """Report a preview, in the bar or as a line."""
        if self.mode == "json":
            self.emit("partial", message=what, path=str(saved.path))
        elif self.describe is not None:
            self.describe(f"{what} is {to_one_line(str(saved.path))}")
        else:
            self.note(f"{what} is {saved.path}")

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show that *what* is in progress; needs a running event loop."""
        self.emit("started", message=what)
        with self.bar(what) if self.mode == "bar" else self.lines(what):
            yield

    @contextmanager
    def bar(self, what: str) -> Iterator[None]:
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        with self.drawing(*columns) as bar:
            task = bar.add_task(what, total=None)
            self.describe = lambda news: bar.update(task, description=f"{what}, {news}", refresh=True)
            yield

    @contextmanager
    def drawing(self, *columns: ProgressColumn, auto_refresh: bool = True) -> Iterator[Bar]:
        """Draw a bar until the block ends; what is said meanwhile stands above it."""
        from rich.console import Console
        from rich.progress import Progress as Bar

        self.live = Console(file=self.stream)
        try:
            # Redirect nothing: stdout may carry the bytes of an image.
            with Bar(
                *columns,
                console=self.live,
                transient=True,
                auto_refresh=auto_refresh,
                redirect_stdout=False,
                redirect_stderr=False,
            ) as bar:
                yield bar
        finally:
            self.live = self.describe = None

    @contextmanager
    def lines(self, what: str) -> Iterator[None]:
        began = time.monotonic()

        def tell() -> None:
            elapsed = time.monotonic() - began
            if self.mode == "lines" and not self.options.quiet:
                self.say("waiting", f"{what}, {elapsed:.0f} s")
            self.emit("waiting", message=what, elapsed=round(elapsed, 1))

        with call_every(INTERVAL, tell):
            yield

    @contextmanager
    def showing_warnings(self) -> Iterator[None]:
        """Write each different warning of the library once."""
        said: set[str] = set()

        def show(message: Warning | str, *_: object, **__: object) -> None:
            text = str(message)
            if self.options.quiet or text in said or len(said) > MOST_WARNINGS:
                return
            said.add(text)
            self.say("warning", text if len(said) <= MOST_WARNINGS else "Further warnings are not shown.")

        with warnings.catch_warnings():
            warnings.simplefilter("always", ImagesWarning)
            warnings.showwarning = show
            yield


@contextmanager
def call_every(seconds: float, work: Callable[[], None]) -> Iterator[None]:
    """Call *work* at intervals; needs a running event loop."""
    import asyncio

    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def wait() -> None:
        timers[:] = [loop.call_later(seconds, tick)]

    def tick() -> None:
        wait()
        work()

    wait()
    try:
        yield
    finally:
        timers[0].cancel()


FRAME = 0.2
"""Seconds between two updates of the bar."""
MOST_ALIKE = 5
"""Failures of one kind that are printed; `status` lists all."""


def describe_progress(progress: JobProgress) -> Iterator[tuple[str, str]]:
    """Yield the progress of a job as parts of one line, with their colours."""
    from burncloud_images.prices.cost import show_money

    yield f"{progress.done:,}", "green"
    yield f" of {progress.requests:,} done, ", ""
    yield f"{progress.failed:,} failed", "red" if progress.failed else ""
    yield ", ", ""
    yield f"{progress.in_doubt:,} in doubt", "yellow" if progress.in_doubt else ""
    left = f", {format_duration(progress.seconds_left)} left" if progress.seconds_left is not None else ""
    perhaps = f" and perhaps {show_money(progress.reserved)} more" if progress.reserved else ""
    yield f", {progress.images_per_second:.1f} images/s, {show_money(progress.cost)} spent{perhaps}{left}", ""


@attrs.define(kw_only=True)
class JobProgressReporter:
    """
    Shows a job's events on stderr.

    Attributes:
        ask: Returns the current progress; None between runs.
        alike: Number of failures of each kind.
    """

    reporter: Reporter
    ask: Callable[[], JobProgress | None]
    latest: JobProgress | None = None
    alike: Counter[str] = attrs.field(factory=Counter)

    def see(self, event: JobEvent) -> None:
        """Report one event."""
        self.latest = event.progress
        if event.record is None:
            self.reporter.note(event.message)
        elif event.kind == "done":
            self.reporter.emit("done", **event.record.identity)
        else:
            self.complain(event, event.record)

    def complain(self, event: JobEvent, record: RequestRecord) -> None:
        """Report a request that failed or is in doubt; of many failures of a kind only the first."""
        failure = event.failure
        message = failure.message if failure else "The reason is unknown."
        kind = f"{event.kind} {failure.error if failure else ''}"
        self.alike[kind] += 1
        if self.reporter.mode == "json":
            name = failure.error if failure else None
            self.reporter.emit(event.kind, **record.identity, error=name, message=message)
        elif not self.reporter.options.quiet and self.alike[kind] <= MOST_ALIKE:
            more = "; further failures of this kind are only counted" if self.alike[kind] == MOST_ALIKE else ""
            self.reporter.say(event.kind.replace("_", " "), f"{format_request(record)}: {message}{more}")

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show the progress at intervals; needs a running event loop."""
        if self.reporter.mode == "bar":
            with draw_bar(self.reporter) as draw, call_every(FRAME, lambda: draw(self.look())):
                yield
        else:
            with call_every(INTERVAL, self.tell):
                yield

    def look(self) -> JobProgress | None:
        self.latest = self.ask() or self.latest
        return self.latest

    def tell(self) -> None:
        """Report the progress, as a line or an event."""
        progress = self.look()
        if progress is None:
            return
        if self.reporter.mode == "lines" and not self.reporter.options.quiet:
            self.reporter.say("progress", "".join(text for text, _ in describe_progress(progress)))
        self.reporter.emit(
            "progress",
            **attrs.asdict(attrs.evolve(progress, elapsed=round(progress.elapsed, 3))),
            images_per_second=round(progress.images_per_second, 3),
            seconds_left=progress.seconds_left,
        )


@contextmanager
def draw_bar(reporter: Reporter) -> Iterator[Callable[[JobProgress | None], None]]:
    """Provide a function that updates the bar; meanwhile the reporter writes above it."""
    from rich.progress import BarColumn, TextColumn
    from rich.table import Column

    text = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis"))
    with reporter.drawing(BarColumn(bar_width=12), text, auto_refresh=False) as bar:
        task = bar.add_task("", total=None)

        def draw(progress: JobProgress | None) -> None:
            if progress is not None:
                text = "".join(f"[{style}]{part}[/]" if style else part for part, style in describe_progress(progress))
                ended = progress.requests - progress.left
                bar.update(task, total=progress.requests, completed=ended, description=text, refresh=True)

        yield draw


def format_count(number: int, noun: str) -> str:
    """Return `1 image`, `1,200 images`."""
    return f"{number:,} {noun}{'s' if number != 1 else ''}"


def format_duration(seconds: float) -> str:
    """Return seconds in their two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def format_size(number: int) -> str:
    """Return bytes in the largest fitting unit."""
    amount = float(number)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


def format_request(record: RequestRecord) -> str:
    """Return a name of a request for people: its id and its location."""
    place = format_location(record) if record.source else record.key[:12]
    return f"{record.label} ({place})" if record.label else place


def format_location(row: RequestRecord | NewRequest | BadRow) -> str:
    """Return the list and the line, relative to the current folder if below it."""
    path = Path(row.source)
    with suppress(ValueError, OSError):  # it is not below it, or there is none any more
        path = path.relative_to(Path.cwd())
    return f"{path}:{row.line}"
