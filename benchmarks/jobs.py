"""The table of what is measured: work, contenders, goals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

from benchmarks.work import MB, Work

__all__ = ["JOBS", "SCALES", "CpuLine", "Goal", "Job", "Measure", "Scale"]

Measure: TypeAlias = Literal["wall", "cpu", "memory", "stall", "rate", "net"]
"""Seconds, seconds, bytes, seconds, requests a second, seconds more than bare Python."""

MS = 0.001
MODULES = ("ours", "openai", "handwritten")


@attrs.frozen(kw_only=True)
class Goal:
    """
    What we want to hold; either bound is inclusive.

    Attributes:
        measure: Of what.
        against: A contender, whose figure is 1; None for the figure itself.
        most: Upper bound.
        least: Lower bound.
    """

    measure: Measure
    against: str | None = None
    most: float | None = None
    least: float | None = None

    def is_met(self, figure: float) -> bool:
        """Say whether *figure* is within the bounds."""
        return (self.most is None or figure <= self.most) and (self.least is None or figure >= self.least)


@attrs.frozen(kw_only=True)
class Job:
    """
    One row.

    Attributes:
        name: For the command line.
        title: For readers; `{work}` and `{every}`, all images together, are filled in.
        work: What is done; None for starting Python with an import.
        quick: The same, smaller.
        contenders: Who does it, in this order first.
        goals: What we want to hold.
    """

    name: str
    title: str
    work: Work | None = None
    quick: Work | None = None
    contenders: tuple[str, ...] = MODULES
    goals: tuple[Goal, ...] = ()

    def work_of(self, *, quick: bool) -> Work | None:
        """Return what is done."""
        return self.quick if quick else self.work


def cpu(*, openai: float, handwritten: float | None = None) -> tuple[Goal, ...]:
    goals = (Goal(measure="cpu", against="openai", most=openai),)
    return goals if handwritten is None else (*goals, Goal(measure="cpu", against="handwritten", most=handwritten))


def memory(most: float) -> Goal:
    return Goal(measure="memory", most=most)


def stall(most: float) -> Goal:
    return Goal(measure="stall", most=most)


EIGHT = Work(verb="to_files", images=10, size=8 * MB)
FEWER = Work(verb="to_files", images=4, size=8 * MB)
SMALL = Work(verb="small", ticks=False)
LINKS = Work(verb="download", size=50_000, at_once=64, ticks=False)

UPLOAD = Work(verb="upload", images=16, size=25 * MB)
FEWER_UPLOADS = attrs.evolve(UPLOAD, images=4)
DOWNLOADS = Work(verb="download", images=10, size=4 * MB, requests=10, at_once=8)
FEWER_DOWNLOADS = attrs.evolve(DOWNLOADS, requests=4, at_once=4)

JOBS: tuple[Job, ...] = (
    Job(
        name="files",
        title="{work.images} images of 8 MB as base64 → files",
        work=EIGHT,
        quick=FEWER,
        goals=(*cpu(openai=0.15, handwritten=0.20), memory(6 * MB), stall(5 * MS)),
    ),
    Job(
        name="durable-files",
        title="the same, hashed and synced",
        work=attrs.evolve(EIGHT, thorough=True),
        quick=attrs.evolve(FEWER, thorough=True),
        contenders=("ours", "openai"),
        goals=cpu(openai=0.22),
    ),
    Job(
        name="memory",
        title="{work.images} images of 8 MB as base64 → memory",
        work=attrs.evolve(EIGHT, verb="to_memory"),
        quick=attrs.evolve(FEWER, verb="to_memory"),
        goals=(*cpu(openai=0.15, handwritten=0.20), memory(86 * MB), stall(5 * MS)),
    ),
    Job(
        name="stream",
        title="stream of {work.images} events of 8 MB",
        work=Work(verb="stream", images=4, size=8 * MB),
        quick=Work(verb="stream", images=2, size=8 * MB),
        goals=(*cpu(openai=0.15, handwritten=0.20), memory(14 * MB), stall(5 * MS)),
    ),
    Job(
        name="upload",
        title="upload of {work.images} files of 25 MB",
        work=UPLOAD,
        quick=FEWER_UPLOADS,
        contenders=("ours", "openai", "openai-aiohttp", "handwritten"),
        goals=(
            *cpu(openai=0.50, handwritten=0.70),
            Goal(measure="cpu", against="openai-aiohttp", most=1.0),
            memory(8 * MB),
            stall(10 * MS),
        ),
    ),
    Job(
        name="downloads",
        title="{every} URLs of 4 MB → files, {work.at_once} x 8 at once",
        work=DOWNLOADS,
        quick=FEWER_DOWNLOADS,
        contenders=("ours", "openai", "handwritten", "curl"),
        goals=(
            *cpu(openai=0.45, handwritten=0.95),
            Goal(measure="cpu", against="curl", most=1.1),
            memory(64 * 1.5 * MB),
            stall(10 * MS),
        ),
    ),
    Job(
        name="upload-tls",
        title="upload of {work.images} files of 25 MB over TLS",
        work=attrs.evolve(UPLOAD, tls=True),
        quick=attrs.evolve(FEWER_UPLOADS, tls=True),
        contenders=("ours", "openai", "openai-aiohttp", "handwritten"),
        goals=(*cpu(openai=1.0), memory(8 * MB), stall(10 * MS)),
    ),
    Job(
        name="downloads-tls",
        title="{every} URLs of 4 MB over TLS → files, {work.at_once} x 8 at once",
        work=attrs.evolve(DOWNLOADS, tls=True),
        quick=attrs.evolve(FEWER_DOWNLOADS, tls=True),
        contenders=("ours", "openai", "handwritten", "curl"),
        goals=(*cpu(openai=1.0), memory(64 * 1.5 * MB), stall(10 * MS)),
    ),
    Job(
        name="many-files",
        title="{work.requests} answers at once, {work.images} x 4 MB each → files",
        work=Work(verb="to_files", images=4, size=4 * MB, requests=16, at_once=16),
        quick=Work(verb="to_files", images=2, size=4 * MB, requests=8, at_once=8),
        goals=(*cpu(openai=0.17, handwritten=0.22), memory(24 * MB), stall(15 * MS)),
    ),
    Job(
        name="large-files",
        title="{work.requests} answers at once, 16 MB each → files",
        work=Work(verb="to_files", size=16 * MB, requests=16, at_once=16),
        quick=Work(verb="to_files", size=16 * MB, requests=8, at_once=8),
        contenders=("ours",),
        goals=(memory(24 * MB),),
    ),
    Job(
        name="small",
        title="small requests, one at a time",
        work=attrs.evolve(SMALL, requests=1000),
        quick=attrs.evolve(SMALL, requests=200),
    ),
    *(
        Job(
            name=f"{name}-{at_once}",
            title=f"{title}, {at_once} at once",
            work=attrs.evolve(work, requests=3000, at_once=at_once),
            quick=attrs.evolve(work, requests=500 if at_once == 64 else 1000, at_once=at_once),
            goals=(
                Goal(measure="rate", against="openai", least=openai),
                Goal(measure="rate", against="handwritten", least=handwritten),
            ),
        )
        for name, title, work in (
            ("small", "small requests", SMALL),
            ("thumbnails", "the same, answered with 48 kB", attrs.evolve(SMALL, size=48_000)),
        )
        for at_once, openai, handwritten in ((64, 8.0, 1.0), (512, 11.0, 0.95))
    ),
    Job(
        name="links-64",
        title="answers with the URL of 50 kB → files, {work.at_once} at once",
        work=attrs.evolve(LINKS, requests=1000),
        quick=attrs.evolve(LINKS, requests=300),
        goals=(
            Goal(measure="rate", against="openai", least=2.0),
            Goal(measure="rate", against="handwritten", least=0.9),
        ),
    ),
    Job(
        name="import",
        title="import",
        contenders=("ours", "openai", "handwritten", "python"),
        goals=(Goal(measure="net", against="openai", most=0.10),),
    ),
    Job(
        name="first-answer",
        title="import, first client, first answer",
        contenders=("ours", "openai", "handwritten", "python"),
        goals=(Goal(measure="net", against="openai", most=0.33),),
    ),
)


@attrs.frozen
class CpuLine:
    """
    How straight the CPU has to grow.

    Attributes:
        within: The largest part by which a point may be off the line.
    """

    within: float = 0.10


@attrs.frozen(kw_only=True)
class Scale:
    """
    The same work, more and more of it; ours alone.

    Attributes:
        name: For the command line.
        title: For readers.
        points: How much.
        quick: Fewer points.
        work: What is done at a point.
        most_memory: Bytes that may be added, at every point.
        line: How straight the CPU has to grow; None if it is not looked at.
        rounds: At most so many.
    """

    name: str
    title: str
    points: tuple[int, ...]
    quick: tuple[int, ...]
    work: Callable[[int], Work]
    most_memory: float = 6.0 * MB
    line: CpuLine | None = CpuLine()
    rounds: int = 5


SCALES: tuple[Scale, ...] = (
    Scale(
        name="images",
        title="images of 8 MB in one answer",
        points=(1, 2, 5, 10),
        quick=(1, 5),
        work=lambda count: attrs.evolve(EIGHT, images=count),
    ),
    Scale(
        name="size",
        title="MB of one image",
        points=(1, 5, 10, 25, 50),
        quick=(1, 25),
        work=lambda size: Work(verb="to_files", size=size * MB),
    ),
    Scale(
        name="requests",
        title="small requests, one at a time",
        points=(1, 10, 100, 1000, 10_000),
        quick=(1, 500),
        work=lambda count: attrs.evolve(SMALL, requests=count),
    ),
    Scale(
        name="answers",
        title="answers of 80 MB, one after the other",
        points=(1, 10, 100),
        quick=(1, 4),
        work=lambda count: attrs.evolve(EIGHT, requests=count, overwrite=True),
        rounds=2,
    ),
)
