"""`report.json`: what came of a job, in one page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs

from burncloud_images.bulk.outputs.files import plain, to_pretty, write_whole
from burncloud_images.bulk.outputs.metadata import dollars
from burncloud_images.bulk.records import Failure, Record, State, Totals

MOST_ERRORS = 20
"""Kinds of errors that are listed."""
MOST_KINDS = 1_000
"""Kinds of errors that are told apart; messages that never repeat would fill the memory."""

REQUEST_ID = re.compile(r"\s*\(request id: [^)]*\)")
ID = re.compile(r"\b(?=[\w-]*\d)[\w-]{16,}\b")
"""Long and with a digit: keys, request ids, UUIDs, digests; no word of a sentence is like that."""
DIGITS = re.compile(r"\d+")

TIMES = ("started", "ended")
TROUBLED = frozenset({State.FAILED, State.IN_DOUBT, State.RECEIVED})
"""States that an error tells of; what is received has one if its images could not be fetched."""


@attrs.frozen(kw_only=True)
class ErrorCount:
    """
    An error that some requests have in common.

    Attributes:
        error: Name of its class.
        code: The API's error code.
        status: HTTP status.
        message: What the first one says, without ids.
        count: How many have it.
        key: The first request that has it.
    """

    error: str
    code: str | None
    status: int | None
    message: str
    count: int
    key: str


@attrs.frozen(kw_only=True)
class Doubt:
    """
    A request that may have been billed and brought nothing.

    Attributes:
        key: Its idempotency key, to ask the provider by.
        label: Its `id` in the input.
        source: Name of the input.
        line: Where it stands there.
        request_id: The server's id, to ask the provider by.
        reserved: Nano-dollars that it may have cost.
        sent_at: When it was last sent, in seconds since 1970.
        message: Why it is in doubt.
    """

    key: str
    label: str
    source: str
    line: int
    request_id: str | None
    reserved: int
    sent_at: float | None
    message: str


@attrs.frozen(kw_only=True)
class Summary:
    """
    What came of a job.

    Attributes:
        totals: Sums over all runs.
        errors: The most frequent, the first first.
        other_errors: Requests whose error is not among them.
        in_doubt: All of them.
        ended: Requests that came to their end in this run.
        made: Images that came in this run.
        adopted: Requests whose images were there under their keys when the store was lost; their cost is not known.
        facts: What is said about the run; see `write_outputs`.
    """

    totals: Totals
    errors: tuple[ErrorCount, ...] = ()
    other_errors: int = 0
    in_doubt: tuple[Doubt, ...] = ()
    ended: int = 0
    made: int = 0
    adopted: int = 0
    facts: Mapping[str, object] = attrs.field(factory=dict)

    @property
    def seconds(self) -> float | None:
        """How long the run took."""
        started, ended = (moment(self.facts.get(name)) for name in TIMES)
        return None if started is None or ended is None else max(0.0, ended - started)


@attrs.define
class ReportBuilder:
    """
    Counts while requests pass by.

    Attributes:
        facts: What is said about the run; requests that ended before `started` are of earlier runs.
    """

    facts: Mapping[str, object]
    kinds: dict[tuple[object, ...], ErrorCount] = attrs.field(factory=dict)
    uncounted: int = 0
    doubts: list[Doubt] = attrs.field(factory=list)
    ended: int = 0
    made: int = 0
    adopted: int = 0

    def take(self, records: Sequence[Record]) -> None:
        """Count *records*."""
        started = moment(self.facts.get("started"))
        for record in records:
            self.adopted += record.about.get("adopted") is True
            if record.state in TROUBLED and record.failure is not None:
                self.count(record, record.failure)
            if record.state is State.IN_DOUBT:
                self.doubts.append(to_doubt(record))
            if record.ended_at is not None and (started is None or record.ended_at >= started):
                self.ended += 1
                self.made += len(record.images)

    def finish(self) -> None:
        """Have nothing to show; `summarise` says it."""

    def discard(self) -> None:
        """Have nothing to take back."""

    def count(self, record: Record, failure: Failure) -> None:
        message = anonymous(failure.message, record)
        kind = (failure.error, failure.code, failure.status, DIGITS.sub("0", message))
        known = self.kinds.get(kind)
        if known is not None:
            self.kinds[kind] = attrs.evolve(known, count=known.count + 1)
        elif len(self.kinds) < MOST_KINDS:
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

    def build(self, totals: Totals) -> Summary:
        """Return what was counted."""
        frequent = sorted(self.kinds.values(), key=lambda kind: -kind.count)  # stable: the first of equals stays first
        others = self.uncounted + sum(kind.count for kind in frequent[MOST_ERRORS:])
        return Summary(
            totals=totals,
            errors=tuple(frequent[:MOST_ERRORS]),
            other_errors=others,
            in_doubt=tuple(self.doubts),
            ended=self.ended,
            made=self.made,
            adopted=self.adopted,
            facts=self.facts,
        )


def anonymous(message: str, record: Record) -> str:
    """Return *message* as other requests would have it too: without ids."""
    text = REQUEST_ID.sub("", message).replace(record.key, "…")
    if record.request_id:
        text = text.replace(record.request_id, "…")
    return ID.sub("…", text)


def to_doubt(record: Record) -> Doubt:
    return Doubt(
        key=record.key,
        label=record.label,
        source=record.source,
        line=record.line,
        request_id=record.request_id,
        reserved=record.reserved,
        sent_at=record.sent_at,
        message=record.failure.message if record.failure is not None else "",
    )


def write_report(path: Path, summary: Summary) -> None:
    """Write *summary*, whole and durably; blocks."""
    write_whole(path, to_pretty(to_document(summary)))


def to_document(summary: Summary) -> dict[str, object]:
    """Return *summary* as JSON has it: money in dollars, times as RFC 3339 has them, in UTC."""
    totals = summary.totals
    others = {name: plain(value) for name, value in summary.facts.items() if name not in {*TIMES, "stopped"}}
    return {
        "format": 1,
        "requests": {"all": totals.requests, **{str(state): totals.counts.get(state, 0) for state in State}},
        "adopted": summary.adopted,
        "bad_rows": totals.bad_rows,
        "images": totals.images,
        "bytes": totals.bytes,
        "cost": dollars(totals.cost),
        "reserved": dollars(totals.reserved),
        "run": describe_run(summary),
        "errors": [attrs.asdict(error) for error in summary.errors],
        "other_errors": summary.other_errors,
        "in_doubt": [describe_doubt(doubt) for doubt in summary.in_doubt],
        **others,
    }


def describe_run(summary: Summary) -> dict[str, object]:
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


def describe_doubt(doubt: Doubt) -> dict[str, object]:
    return {
        "key": doubt.key,
        "id": doubt.label,
        "request_id": doubt.request_id,
        "source": doubt.source,
        "line": doubt.line,
        "reserved": dollars(doubt.reserved),
        "sent": to_date(doubt.sent_at),
        "message": doubt.message,
    }


def moment(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def to_date(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(round(seconds, 3), UTC)
