"""The bar that shows on a terminal how far a job is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task
from rich.progress import Progress as Bar
from rich.table import Column
from rich.text import Text

from burncloud_images.bulk.prices.cost import show_money
from burncloud_images.bulk.records import Progress
from burncloud_images.cli.figures import to_duration
from burncloud_images.cli.reporting import Reporter


class News(ProgressColumn):
    """What a bar itself does not say."""

    def render(self, task: Task) -> Text:
        """Return it, as the task carries it."""
        progress: Progress | None = task.fields["progress"]
        return to_text(progress) if progress is not None else Text()


def to_text(progress: Progress) -> Text:
    left = f", {to_duration(progress.seconds_left)} left" if progress.seconds_left is not None else ""
    return Text.assemble(
        (f"{progress.done:,}", "green"),
        f" of {progress.requests:,} done, ",
        (f"{progress.failed:,} failed", "red" if progress.failed else ""),
        ", ",
        (f"{progress.in_doubt:,} in doubt", "yellow" if progress.in_doubt else ""),
        f", {progress.images_per_second:.1f} images/s, {show_money(progress.cost)} spent{left}",
    )


@contextmanager
def draw_bar(reporter: Reporter) -> Iterator[Callable[[Progress | None], None]]:
    """Give a function that draws the bar; while there is one, the reporter writes above it."""
    reporter.live = Console(file=reporter.stream)
    bar = Bar(
        BarColumn(bar_width=12),
        News(table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=reporter.live,
        transient=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = bar.add_task("", total=None, progress=None)

    def draw(progress: Progress | None) -> None:
        if progress is not None:
            ended = progress.requests - progress.left
            bar.update(task, total=progress.requests, completed=ended, progress=progress, refresh=True)

    try:
        with bar:
            yield draw
    finally:
        reporter.live = None
