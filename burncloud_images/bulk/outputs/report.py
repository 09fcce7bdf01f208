"""`report.json`: counts, costs, rates and the most frequent errors of a job."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs

from burncloud_images.bulk.outputs.metadata import dollars
from burncloud_images.bulk.outputs.output_files import plain, to_pretty, write_whole
from burncloud_images.bulk.records import BOUGHT, JobTotals, RequestFailure, RequestRecord, RequestState

MAX_ERRORS = 20
"""Kinds of errors in the report."""
MAX_KINDS = 1_000
"""Kinds of errors that are counted one by one, so that messages that never repeat do not fill the memory."""

REQUEST_ID = re.compile(r"\s*\(request id: [^)]*\)")
ID = re.compile(r"\b(?=[\w-]*\d)[\w-]{16,}\b")
"""Long and with a digit: keys, request ids, UUIDs, digests; ordinary words have no digit."""
DIGITS = re.compile(r"\d+")

TIMES = ("started", "ended")
TROUBLED = frozenset({RequestState.FAILED, RequestState.IN_DOUBT, *BOUGHT})
"""States that have an error; a received request has one if its images could not be fetched."""


@attrs.frozen(kw_only=True)
class ErrorCount:
    """
    An error that some requests have in common.

    Attributes:
        message: Of the first such error, without ids.
        key: Of the first request that has it.
    """

    error: str
    code: str | None
    status: int | None
    message: str
    count: int
    key: str


@attrs.define
class ReportContents:
    """
    Counts the requests of a job for its report.

    Attributes:
        facts: About the run, see `write_outputs`; requests that ended before `started` are of earlier runs.
        uncounted: Requests whose error is not among `kinds`.
        in_doubt: All requests in doubt, as JSON objects.
        refused: Requests of which the server refused single images, as JSON objects.
        refused_images: How many images it refused in these.
        ended: Requests that ended in this run.
        made: Images that came in this run.
        adopted: Requests whose images were found when the store was lost; their cost is unknown.
    """

    facts: Mapping[str, object]
    kinds: dict[tuple[object, ...], ErrorCount] = attrs.field(factory=dict)
    uncounted: int = 0
    in_doubt: list[Mapping[str, object]] = attrs.field(factory=list)
    refused: list[Mapping[str, object]] = attrs.field(factory=list)
    refused_images: int = 0
    ended: int = 0
    made: int = 0
    adopted: int = 0

    @property
    def seconds(self) -> float | None:
        """Duration of the run."""
        started, ended = (moment(self.facts.get(name)) for name in TIMES)
        return None if started is None or ended is None else max(0.0, ended - started)

    @property
    def errors(self) -> list[ErrorCount]:
        """The most frequent errors; of equals, the first stays first."""
        return sorted(self.kinds.values(), key=lambda kind: -kind.count)[:MAX_ERRORS]

    @property
    def other_errors(self) -> int:
        """Requests whose error is not listed."""
        counted = sum(kind.count for kind in self.kinds.values())
        return self.uncounted + counted - sum(kind.count for kind in self.errors)

    def add(self, records: Sequence[RequestRecord]) -> None:
        """Count *records*."""
        started = moment(self.facts.get("started"))
        for record in records:
            self.adopted += record.about.get("adopted") is True
            if record.state in TROUBLED and record.failure is not None:
                self.count(record, record.failure)
            if record.state is RequestState.IN_DOUBT:
                self.in_doubt.append(describe_doubt(record))
            if record.refused:
                self.refused_images += len(record.refused)
                self.refused.append(describe_refused(record))
            if record.ended_at is not None and (started is None or record.ended_at >= started):
                self.ended += 1
                self.made += len(record.images)

    def commit(self) -> None:
        """Do nothing: `write_report` writes the counts."""

    def discard(self) -> None:
        """Do nothing: no file was written."""

    def count(self, record: RequestRecord, failure: RequestFailure) -> None:
        message = anonymous(failure.message, record)
        kind = (failure.error, failure.code, failure.status, DIGITS.sub("0", message))
        known = self.kinds.get(kind)
        if known is not None:
            self.kinds[kind] = attrs.evolve(known, count=known.count + 1)
        elif len(self.kinds) < MAX_KINDS:
            self.kinds[kind] = ErrorCount(
                error=failure.error,
                code=failure.code,
                status=failure.status,
                message=message,
                count=1,
                key=record.key,
            )
        else:
            self.uncounted += 1


def anonymous(message: str, record: RequestRecord) -> str:
    """Return *message* without ids, as other requests have it too."""
    text = REQUEST_ID.sub("", message).replace(record.key, "…")
    if record.request_id:
        text = text.replace(record.request_id, "…")
    return ID.sub("…", text)


def write_report(path: Path, summary: ReportContents, totals: JobTotals) -> None:
    """Write the report, whole and durably; blocks."""
    write_whole(path, to_pretty(to_document(summary, totals)))


def to_document(summary: ReportContents, totals: JobTotals) -> dict[str, object]:
    """Return the report as a JSON object: money in dollars, times in UTC as in RFC 3339."""
    others = {name: plain(value) for name, value in summary.facts.items() if name not in {*TIMES, "stopped"}}
    return {
        "format": 1,
        "requests": {"all": totals.requests, **{str(state): totals.counts.get(state, 0) for state in RequestState}},
        "adopted": summary.adopted,
        **sums_to_json(totals),
        "run": describe_run(summary),
        "errors": [attrs.asdict(error) for error in summary.errors],
        "other_errors": summary.other_errors,
        "in_doubt": summary.in_doubt,
        "refused_images": summary.refused_images,
        "refused": summary.refused,
        **others,
    }


def sums_to_json(totals: JobTotals) -> dict[str, object]:
    """Return the sums of a job as JSON, money in dollars; without the requests by state."""
    return {
        "bad_rows": totals.bad_rows,
        "images": totals.images,
        "bytes": totals.bytes,
        "cost": dollars(totals.cost),
        "reserved": dollars(totals.reserved),
    }


def describe_run(summary: ReportContents) -> dict[str, object]:
    seconds = summary.seconds
    return {
        **{name: to_date(moment(summary.facts.get(name))) for name in TIMES},
        "stopped": plain(summary.facts.get("stopped")),
        "seconds": None if seconds is None else round(seconds, 3),
        "requests": summary.ended,
        "images": summary.made,
        "requests_per_second": round(summary.ended / seconds, 3) if seconds else None,
        "images_per_second": round(summary.made / seconds, 3) if seconds else None,
    }


def describe_doubt(record: RequestRecord) -> dict[str, object]:
    """Return what to ask the provider by, and why the request is in doubt."""
    return {
        **record.identity,
        "request_id": record.request_id,
        "reserved": dollars(record.reserved),
        "sent": to_date(record.sent_at),
        "message": record.failure.message if record.failure is not None else "",
    }


def describe_refused(record: RequestRecord) -> dict[str, object]:
    """Return which images of a request the server refused, and why."""
    return {
        **record.identity,
        "request_id": record.request_id,
        "images": [attrs.asdict(image) for image in record.refused],
    }


def moment(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def to_date(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(round(seconds, 3), UTC)
