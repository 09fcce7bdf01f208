"""Everything that is said on stderr: notes, progress, errors; as lines, under a bar, or as JSON for programs."""

from __future__ import annotations

import json
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import attrs

from burncloud_images.cli.arguments import Reporting
from burncloud_images.cli.exits import UsageError, describe
from burncloud_images.cli.streams import escaped, unfailing
from burncloud_images.errors import ImagesError, ImagesWarning
from burncloud_images.results import Attempt, SavedImage

if TYPE_CHECKING:
    from rich.console import Console

INTERVAL = 10.0
"""Seconds between two lines that say that the request is still on its way."""
MOST_WARNINGS = 100


def plain(text: str) -> str:
    """Return *text* as one line without control characters, which a server could aim at the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


@attrs.define(kw_only=True)
class Reporter:
    """
    Writes to stderr.

    Attributes:
        options: What is wanted.
        stream: Where to; once it cannot be written, nothing is said any more, and nothing ends by that.
        live: What draws the bar, while there is one.
        describe: Changes what the bar says.
    """

    options: Reporting
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
        """Say something that is good to know."""
        if not self.options.quiet:
            self.say("note", text)

    def detail(self, text: str) -> None:
        """Say something that only those want to know who ask for more."""
        if self.options.verbose:
            self.note(text)

    def fail(self, error: UsageError | ImagesError, where: str = "") -> None:
        """Say what went wrong, and with what if there are several."""
        if isinstance(error, ImagesError):
            kind = type(error).__name__
            facts = {"error": kind, "request_id": error.request_id, "idempotency_key": error.idempotency_key}
            self.say("error", where + describe(error), **facts)
        else:
            self.say("error", where + str(error), error="UsageError")
        if self.options.verbose > 1:
            # Neither messages nor frames' source lines hold values, so nothing secret is in here.
            self.stream.write(escaped("".join(traceback.format_exception(error))))

    def say(self, event: str, text: str, **facts: object) -> None:
        """Write one line, whatever the options."""
        if self.mode == "json":
            self.emit(event, message=plain(text), **facts)
        elif self.live is not None:
            self.live.print(f"{event}: {plain(text)}", markup=False, highlight=False, soft_wrap=True)
        else:
            self.stream.write(f"{event}: {plain(text)}\n")
            self.stream.flush()

    def emit(self, event: str, **facts: object) -> None:
        """Write one event, if programs read along."""
        if self.mode == "json":
            self.stream.write(escaped(json.dumps({"event": event, **facts})) + "\n")
            self.stream.flush()

    def attempted(self, attempt: Attempt) -> None:
        """Say how an attempt ended, if another follows or if details are wanted."""
        self.emit("attempt", **attrs.asdict(attempt, filter=lambda field, _: field.name != "phase"))
        if self.mode == "json":
            return
        outcome = f"{attempt.failure}, status {attempt.status}" if attempt.status else str(attempt.failure)
        if attempt.wait is not None:
            self.note(f"attempt {attempt.number} failed ({outcome}); the next follows in {attempt.wait:.1f} s")
        else:
            ended = f"failed ({outcome})" if attempt.failure else "succeeded"
            self.detail(
                f"attempt {attempt.number} {ended} after {attempt.elapsed:.1f} s, request id {attempt.request_id}"
            )

    def show_partial(self, what: str, saved: SavedImage) -> None:
        """Say that a preview is there: in the bar, or as a line."""
        if self.mode == "json":
            self.emit("partial", message=what, path=str(saved.path))
        elif self.describe is not None:
            self.describe(f"{what} is {plain(str(saved.path))}")
        else:
            self.note(f"{what} is {saved.path}")

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show that *what* takes its time, within a running event loop."""
        self.emit("started", message=what)
        with self.bar(what) if self.mode == "bar" else self.lines(what):
            yield

    @contextmanager
    def bar(self, what: str) -> Iterator[None]:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self.live = Console(file=self.stream)
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        try:
            # Streams stay as they are: stdout may be carrying the bytes of an image.
            with Progress(
                *columns, console=self.live, transient=True, redirect_stdout=False, redirect_stderr=False
            ) as bar:
                task = bar.add_task(what, total=None)
                self.describe = lambda news: bar.update(task, description=f"{what}, {news}", refresh=True)
                yield
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

        with every(INTERVAL, tell):
            yield

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Turn the library's warnings into notes, each once however many requests give cause."""
        said: set[str] = set()

        def show(message: Warning | str, *_: object, **__: object) -> None:
            text = str(message)
            if self.options.quiet or text in said or len(said) > MOST_WARNINGS:
                return
            said.add(text)
            self.say("warning", text if len(said) <= MOST_WARNINGS else "There are more, which are not shown.")

        with warnings.catch_warnings():
            warnings.simplefilter("always", ImagesWarning)
            warnings.showwarning = show
            yield


@contextmanager
def every(seconds: float, work: Callable[[], None]) -> Iterator[None]:
    """Do *work* at intervals, within a running event loop."""
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
