"""Measures jobs beside `client.map`, and as they grow; `nox -s bench_bulk` runs this."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.bulk.figures import BulkResults, beside_rows, growth_rows, sections
from benchmarks.bulk.runs import Lists, open_lists
from benchmarks.bulk.task import Way
from benchmarks.page import RESULTS, ROOT, show_sections, write
from benchmarks.report import as_text, summary
from benchmarks.rounds import CheatedError
from benchmarks.surroundings import idleness, machine, package_versions

ROUNDS = 5
ROWS = 5000
AT_ONCE = 64
LENGTHS = (1000, 10_000, 100_000)
QUICK_ROWS = 500
QUICK_LENGTHS = (500, 2000)
WAYS: tuple[Way, ...] = ("map", "job")
PARTIAL = ROOT / "out" / "benchmarks"
KEPT = RESULTS / "bulk"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="nox -s bench_bulk --", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter lists, one round, under a minute")
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS} unless quick")
    parser.add_argument("--disk", type=Path, default=PARTIAL, metavar="DIR", help="where jobs are written")
    options = parser.parse_args(arguments)
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    try:
        results = measure(options.disk, quick=options.quick, rounds=rounds)
    except CheatedError as error:
        print(error, file=sys.stderr)
        return 1
    print(summary(results), as_text(beside_rows(results)), as_text(growth_rows(results)), sep="\n\n")
    print(f"\n{write(results, PARTIAL / 'bulk' if options.quick else KEPT)}")
    if not options.quick:
        show_sections(sections(results))
    return 0


def measure(disk: Path, *, quick: bool, rounds: int) -> BulkResults:
    """Return the results."""
    load = idleness()
    rows = QUICK_ROWS if quick else ROWS
    with open_lists(disk) as lists:
        beside = compare(lists, rows, rounds)
        growth = {str(length): grow(lists, length) for length in (QUICK_LENGTHS if quick else LENGTHS)}
    return BulkResults(
        date=datetime.now(UTC).date().isoformat(),
        quick=quick,
        rounds=rounds,
        versions=package_versions(("burncloud-images", "aiohttp")),
        machine={**machine(), "load": load},
        rows=rows,
        at_once=AT_ONCE,
        beside=beside,
        growth=growth,
    )


def compare(lists: Lists, rows: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Send the same list in each way, in turn; the first is another each round."""
    lists.run("map", rows, AT_ONCE)  # so that the pictures are known
    taken: dict[str, dict[str, list[float]]] = {way: {} for way in WAYS}
    for turn in range(rounds):
        for way in WAYS if turn % 2 == 0 else reversed(WAYS):
            reading = lists.run(way, rows, AT_ONCE)
            for name, figure in reading.items():
                taken[way].setdefault(name, []).append(round(figure, 6))
            print(f"{way}: {reading['wall']:.2f} s, {reading['cpu']:.2f} s CPU", file=sys.stderr)
    return taken


def grow(lists: Lists, length: int) -> dict[str, float]:
    reading = lists.run_twice(length, AT_ONCE)
    print(f"{length:,} rows: {length / reading['wall']:,.0f} rows/s", file=sys.stderr)
    return {name: round(reading[name], 6) for name in ("wall", "cpu", "memory", "resume")}


if __name__ == "__main__":
    sys.exit(main())
