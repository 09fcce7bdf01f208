"""What came of a job, in one document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import attrs
from jobs import MemoryStore, done, failed, in_doubt, to_key, to_record

from burncloud_images.bulk.outputs.report import (
    MAX_ERRORS,
    MAX_KINDS,
    ReportContents,
    to_document,
    write_report,
)
from burncloud_images.bulk.records import BadRow, RequestFailure, RequestRecord

BAD = BadRow(source="prompts.jsonl", line=9, reason="it is not JSON")
FACTS = {"started": 1_700_000_000.0, "ended": 1_700_000_010.0, "stopped": "finished"}


async def summarise(records: Sequence[RequestRecord], facts: dict[str, object] | None = None) -> ReportContents:
    store = MemoryStore(records, [BAD])
    summary = ReportContents(facts or {})
    async for record in store.records():
        summary.add([record])
    return summary


async def report(records: Sequence[RequestRecord], facts: dict[str, object] | None = None) -> dict[str, object]:
    return to_document(await summarise(records, facts), await MemoryStore(records, [BAD]).totals())


async def test_the_report_counts_requests_images_bytes_and_money() -> None:
    """The report counts requests, images, bytes and money."""
    records = [done(1, images=2), done(2), failed(3), in_doubt(4), to_record(5)]
    document = await report(records, FACTS)
    counts = {"pending": 1, "leased": 0, "sent": 0, "accepted": 0, "received": 0, "done": 2, "failed": 1, "in_doubt": 1}

    assert {"all": 5, **counts} == document["requests"]
    assert (1, 3, 3001) == (document["bad_rows"], document["images"], document["bytes"])
    assert (0.08, 0.19) == (document["cost"], document["reserved"])


async def test_the_rates_are_those_of_this_run() -> None:
    """The rates count only what ended in this run."""
    records = [done(-5, images=4), done(1, images=2), done(2), failed(3)]
    run = (await report(records, FACTS))["run"]

    assert {
        "started": "2023-11-14T22:13:20Z",
        "ended": "2023-11-14T22:13:30Z",
        "stopped": "finished",
        "seconds": 10.0,
        "requests": 3,
        "images": 3,
        "requests_per_second": 0.3,
        "images_per_second": 0.3,
    } == json.loads(json.dumps(run, default=lambda date: date.isoformat().replace("+00:00", "Z")))


async def test_a_run_without_times_has_no_rates() -> None:
    """A run without times has no rates."""
    run = (await report([done(1)]))["run"]

    assert (None, None, 1) == (run["seconds"], run["images_per_second"], run["images"])


async def test_equal_errors_are_one_whatever_ids_and_numbers_they_name() -> None:
    """Errors that differ only in ids and numbers are counted as one."""
    records = [
        failed(
            number, message=f"Refused after {number} s: key {to_key(number)}, req_{number}. (request id: req_{number})"
        )
        for number in range(1, 8)
    ]
    summary = await summarise([*records, in_doubt(8)])
    refused, doubtful = summary.errors

    assert ("ModerationError", "moderation_blocked", 400, 7, to_key(1)) == (
        refused.error,
        refused.code,
        refused.status,
        refused.count,
        refused.key,
    )
    assert "Refused after 1 s: key …, …." == refused.message
    assert ("OutcomeUnknownError", 1) == (doubtful.error, doubtful.count)


async def test_only_the_most_frequent_errors_are_listed_and_the_others_counted() -> None:
    """The most frequent errors are listed, and the others are counted."""
    words = [f"word{'x' * number}" for number in range(30)]
    records = [failed(1_000 + number, message=words[number % 30]) for number in range(60)]
    records += [failed(number, message=words[-1]) for number in range(5)]
    summary = await summarise(records)

    assert MAX_ERRORS == len(summary.errors)
    assert (words[-1], 7) == (summary.errors[0].message, summary.errors[0].count)
    assert 65 - 7 - 19 * 2 == summary.other_errors


async def test_messages_that_never_repeat_do_not_fill_the_memory() -> None:
    """The number of errors that are told apart is limited."""
    letters = str.maketrans("0123456789", "abcdefghij")
    summary = ReportContents({})
    summary.add([failed(number, message=str(number).translate(letters)) for number in range(MAX_KINDS + 50)])

    assert MAX_KINDS == len(summary.kinds)
    assert MAX_KINDS + 50 - MAX_ERRORS == summary.other_errors


async def test_all_requests_in_doubt_are_listed_with_what_a_support_asks_for() -> None:
    """All requests in doubt are listed with the ids that a provider's support asks for."""
    records = [in_doubt(number, label=f"row-{number}") for number in range(300)]
    doubts = (await report(records))["in_doubt"]

    assert [(to_key(number), f"req_{number}") for number in range(300)] == [
        (doubt["key"], doubt["request_id"]) for doubt in doubts
    ]
    assert ("row-7", "prompts.jsonl", 7, 0.19) == tuple(
        doubts[7][name] for name in ("id", "source", "line", "reserved")
    )


async def test_facts_about_the_run_are_taken_as_they_are(tmp_path: Path) -> None:
    """Facts about the run are written as they are."""
    facts = {**FACTS, "settings": {"concurrency": 16, "into": tmp_path, "rpm": float("inf")}, "versions": {"a": "1"}}
    path = tmp_path / "report.json"
    write_report(path, await summarise([done(1)], facts), await MemoryStore().totals())
    document = json.loads(path.read_bytes())

    assert {"concurrency": 16, "into": str(tmp_path), "rpm": "inf"} == document["settings"]
    assert {"a": "1"} == document["versions"]
    assert 1 == document["format"]


async def test_a_failure_that_let_a_request_wait_again_is_no_error_of_the_job() -> None:
    """A failure of a request that is pending again is not counted."""
    failure = RequestFailure(error="QuotaExceededError", message="Out of money.")
    summary = await summarise([attrs.evolve(to_record(1), failure=failure)])

    assert [] == summary.errors
