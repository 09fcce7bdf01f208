"""Measures, prints, and keeps what was found; `nox -s bench` runs this."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Results
from benchmarks.jobs import JOBS, SCALES
from benchmarks.page import RESULTS, ROOT, draw_beside, read, show, write
from benchmarks.report import as_text, figure_rows, goal_rows, scale_rows, summary
from benchmarks.rounds import CheatedError, Reading, open_bench
from benchmarks.server import NoServerError
from benchmarks.surroundings import idleness, machine, package_versions, program_versions

ROUNDS = 5
PACKAGES = ("burncloud-images", "openai", "aiohttp", "httpx2", "httpx", "pybase64")
PARTIAL = ROOT / "out" / "benchmarks"
"""For results that are not of everything; git does not see them."""
NAMES = [*(job.name for job in JOBS), *(scale.name for scale in SCALES)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code."""
    options = parse(arguments)
    if options.page:
        show(read(options.page))
        return 0
    try:
        results = measure(options.job or NAMES, quick=options.quick, rounds=options.rounds)
    except (NoServerError, CheatedError) as error:
        print(error, file=sys.stderr)
        return 1
    print_tables(results)
    whole = not options.quick and not options.job
    path = write(results, RESULTS if whole else PARTIAL)
    picture = show(results) if whole else draw_beside(results, path)
    print(f"\n{path}\n{picture}")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller work, one round, under a minute")
    parser.add_argument("--job", action="append", choices=NAMES, metavar="NAME", help=f"only this: {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS} unless quick")
    parser.add_argument("--page", type=Path, metavar="RESULTS", help="bring docs/performance.md up to date; no run")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else ROUNDS)
    return options


def measure(names: Iterable[str], *, quick: bool, rounds: int) -> Results:
    """Return the results of the jobs and scales that are named."""
    wanted = set(names)
    load = idleness()
    jobs: dict[str, dict[str, dict[str, list[float]] | str]] = {}
    scales: dict[str, dict[str, dict[str, list[float]]]] = {}
    with open_bench() as bench:
        for job in (job for job in JOBS if job.name in wanted):
            found = gather(bench.run_job(job, quick=quick, rounds=rounds), job.name)
            jobs[job.name] = {name: found[name] for name in job.contenders}
        for scale in (scale for scale in SCALES if scale.name in wanted):
            found = gather(bench.run_scale(scale, quick=quick, rounds=rounds), scale.name)
            scales[scale.name] = {point: taken for point, taken in found.items() if not isinstance(taken, str)}
    return Results(
        date=datetime.now(UTC).date().isoformat(),
        quick=quick,
        rounds=rounds,
        versions={**package_versions(PACKAGES), **program_versions()},
        machine={**machine(), "load": load},
        jobs=jobs,
        scales=scales,
    )


def gather(found: Iterable[tuple[str, Reading | str]], title: str) -> dict[str, dict[str, list[float]] | str]:
    """Return readings by who and measure, and say on the way how it goes."""
    gathered: dict[str, dict[str, list[float]] | str] = {}
    for who, reading in found:
        if isinstance(reading, str):
            gathered[who] = reading
            print(f"{title:>14} {who}: {reading}", file=sys.stderr)
            continue
        taken = gathered.setdefault(who, {})
        assert not isinstance(taken, str)
        for measure_name, figure in reading.items():
            taken.setdefault(measure_name, []).append(round(figure, 6))
        print(f"{title:>14} {who}: {reading['cpu'] * 1000:,.0f} ms CPU", file=sys.stderr)
    return gathered


def print_tables(results: Results) -> None:
    print(summary(results))
    for rows in (goal_rows(results), figure_rows(results), scale_rows(results)):
        if len(rows) > 1:
            print(f"\n{as_text(rows)}")


if __name__ == "__main__":
    sys.exit(main())
