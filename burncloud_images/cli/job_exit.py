"""The result of a job as an exit code, a summary and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from burncloud_images.bulk.outputs.report import sums_to_json
from burncloud_images.bulk.records import JobTotals, RequestState, RunReport, StopCause, UnfetchedSummary
from burncloud_images.cli.exit_codes import (
    ABANDONED,
    FAILED,
    INTERRUPTED,
    SOME_FAILED,
    STORAGE,
    UNFETCHED,
    WEIGHTIEST,
    translate,
)
from burncloud_images.cli.reporting import format_count, format_duration, format_size
from burncloud_images.prices.cost import show_money

IN_DOUBT, GAVE_UP = 10, 6
CODES: Mapping[StopCause, int] = {
    "abandoned": ABANDONED,
    "interrupted": INTERRUPTED,
    "disk": STORAGE,
    "budget": 8,
    "quota": 5,
    "authentication": 4,
    "gave_up": GAVE_UP,
    "failed": FAILED,
}
STATES: Mapping[RequestState, int] = {
    RequestState.SENT: IN_DOUBT,  # the run could not record the outcome
    RequestState.IN_DOUBT: IN_DOUBT,
    RequestState.ACCEPTED: UNFETCHED,
    RequestState.RECEIVED: UNFETCHED,
}
"""Codes for requests that are neither done, failed nor waiting after a run."""
PRECEDENCE = (*WEIGHTIEST, GAVE_UP, SOME_FAILED, FAILED)
"""If several codes apply, the first one counts."""

AGAIN = "the same command resumes the job."
ONLY_AGAIN = f"{AGAIN[0].upper()}{AGAIN[1:]}"
RETRY_FAILED = "--retry-failed sends failed requests again and buys those again that may have been billed"
NEXT: Mapping[StopCause, str] = {
    "interrupted": ONLY_AGAIN,
    "abandoned": ONLY_AGAIN,
    "limit": ONLY_AGAIN,
    "budget": f"Raise --budget or --max-images; then {AGAIN}",
    "quota": f"Top up the account or raise the key's limit; then {AGAIN}",
    "authentication": f"Check the key with `burncloud-images doctor`; then {AGAIN}",
    "gave_up": f"Check the connection with `burncloud-images doctor`; then {AGAIN}",
    "disk": f"Free disk space or repair the folder; then {AGAIN}",
}


def to_exit(stopped: StopCause, totals: JobTotals) -> int:
    """Return the exit code of the most important problem."""
    found = {code for state, code in STATES.items() if totals.counts[state]}
    if stopped in CODES:
        found.add(CODES[stopped])
    if stopped == "finished" and totals.waiting:
        found.add(INTERRUPTED)
    if totals.counts[RequestState.FAILED] or totals.bad_rows or stopped == "failed":
        found.discard(FAILED)
        found.add(SOME_FAILED if totals.counts[RequestState.DONE] else FAILED)
    return next((code for code in PRECEDENCE if code in found), 0)


def summarise(report: RunReport) -> str:
    """Return a summary of the job as one sentence."""
    totals = report.totals
    counts = totals.counts
    parts = [
        f"{counts[RequestState.DONE]:,} of {format_count(totals.requests, 'request')} done",
        f"{counts[RequestState.FAILED]:,} failed",
        f"{counts[RequestState.IN_DOUBT] + counts[RequestState.SENT]:,} in doubt",
    ]
    if counts[RequestState.ACCEPTED]:
        parts.append(f"{counts[RequestState.ACCEPTED]:,} accepted and not fetched")
    if counts[RequestState.RECEIVED]:
        parts.append(f"{counts[RequestState.RECEIVED]:,} paid and not fetched")
    if totals.waiting:
        parts.append(f"{totals.waiting:,} not started")
    if totals.bad_rows:
        parts.append(f"{format_count(totals.bad_rows, 'bad row')}")
    return f"{', '.join(parts)}; {format_images(totals)}; this run took {format_duration(report.elapsed)}"


def format_images(totals: JobTotals) -> str:
    """Return how many images there are, their size and what they cost."""
    images = f"{format_count(totals.images, 'image')}, {format_size(totals.bytes)}"
    return f"{images}; {format_spending(totals.cost, totals.reserved)}"


def format_spending(cost: int, reserved: int) -> str:
    """Return what was spent, and what may have been spent in addition."""
    return f"{show_money(cost)} spent" + (
        f", up to {show_money(reserved)} more in flight, in doubt or at an unknown price" if reserved else ""
    )


def advise(report: RunReport, directory: str) -> Iterator[str]:
    """Yield what to type next, a sentence each."""
    counts = report.totals.counts
    if report.stopped in NEXT:
        yield NEXT[report.stopped]
    if report.outstanding is not None:
        yield from advise_on_addresses(report.outstanding)
    if counts[RequestState.FAILED] or report.totals.bad_rows:
        again = f"; {RETRY_FAILED}" if counts[RequestState.FAILED] else ""
        yield f"`burncloud-images status {directory}` shows what failed and why{again}."
    if counts[RequestState.IN_DOUBT]:
        yield (
            "Requests in doubt may have been billed and are not resent: "
            f"`burncloud-images status {directory}` lists them with request ids for the provider; "
            "--on-unknown retry resends them and may pay twice."
        )


MOST_HOSTS = 5
"""Hosts of refused URLs that are named."""


def advise_on_addresses(outstanding: UnfetchedSummary) -> Iterator[str]:
    """Yield how to download the paid images, and until when that is possible."""
    until = f"; the first URL expires at {outstanding.expires_at:%Y-%m-%d %H:%M} UTC" if outstanding.expires_at else ""
    reason = f" {translate(outstanding.reason)}" if outstanding.reason else ""
    number = outstanding.requests
    what = "1 request is paid" if number == 1 else f"{number:,} requests are paid"
    yield f"{what} but not all of their images are downloaded.{reason}"
    yield f"The same command downloads them without buying anything again{until}."
    if outstanding.refused:
        hosts = sorted(outstanding.hosts)[:MOST_HOSTS] or ["HOST"]
        options = " ".join(f"--result-host {shlex.quote(host)}" for host in hosts)
        yield f"A refused URL stays refused: if its host is yours or your gateway's, add {options}."


def to_json(totals: JobTotals) -> dict[str, object]:
    """Return the totals as JSON, with amounts in dollars."""
    return {
        "requests": totals.requests,
        **{str(state): number for state, number in totals.counts.items()},
        **sums_to_json(totals),
    }
