"""What came of a job: its exit code, figures for people, and interrupts that are counted."""

from __future__ import annotations

import asyncio
import io
import itertools
from datetime import UTC, datetime

import attrs
import pytest

from burncloud_images.bulk import (
    JobEvent,
    JobProgress,
    JobTotals,
    RequestFailure,
    RequestRecord,
    RequestState,
    RunReport,
    UnfetchedSummary,
)
from burncloud_images.bulk.records import STOP_PRECEDENCE
from burncloud_images.cli.interrupts import Interrupted, JobInterrupts
from burncloud_images.cli.job_exit import advise, summarise, to_exit
from burncloud_images.cli.options import ReportingOptions
from burncloud_images.cli.reporting import (
    JobProgressReporter,
    Reporter,
    draw_bar,
    format_count,
    format_duration,
    format_request,
    format_size,
)

ALL_STOPS = {
    "finished": 0,
    "interrupted": 7,
    "abandoned": 130,
    "budget": 8,
    "limit": 0,
    "quota": 5,
    "authentication": 4,
    "gave_up": 6,
    "disk": 11,
    "failed": 3,
}
PROGRESS = JobProgress(
    requests=1200, done=600, failed=2, in_doubt=1, running=4, images=700, cost=1_500_000_000, reserved=0, elapsed=60.0,
    ended=603, made=700,
)  # fmt: skip


def totals(*, bad_rows=0, **counts):
    """Return sums with these counts."""
    return JobTotals(counts={state: counts.get(state.value, 0) for state in RequestState}, bad_rows=bad_rows)


# --- exit codes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stopped", "code"), ALL_STOPS.items())
def test_every_reason_to_stop_has_a_code(stopped, code):
    """With nothing failed and nothing in doubt, the reason alone counts; what was to be started and was not is left."""
    assert code == to_exit(stopped, totals(done=3))
    assert (code if stopped != "finished" else 7) == to_exit(stopped, totals(done=3, pending=2))


@pytest.mark.parametrize(
    ("stopped", "found", "code"),
    [
        ("finished", {"done": 1, "failed": 1}, 3),
        ("finished", {"failed": 2}, 1),
        ("finished", {"done": 1, "bad_rows": 1}, 3),
        ("finished", {"bad_rows": 1}, 1),
        ("finished", {"done": 1, "in_doubt": 1, "failed": 1}, 10),
        ("abandoned", {"in_doubt": 1}, 130),
        ("interrupted", {"in_doubt": 1, "failed": 1}, 7),
        ("disk", {"in_doubt": 1}, 11),
        ("budget", {"in_doubt": 1, "failed": 1}, 8),
        ("quota", {"in_doubt": 1}, 5),
        ("authentication", {"in_doubt": 1}, 4),
        ("gave_up", {"in_doubt": 1}, 10),
        ("gave_up", {"done": 1, "failed": 1}, 6),
        ("failed", {"done": 1, "failed": 1}, 3),
        ("failed", {"failed": 1, "pending": 1}, 1),
        ("limit", {"done": 1, "failed": 1}, 3),
        ("finished", {"done": 1, "received": 1}, 12),
        ("finished", {"received": 2, "failed": 1, "in_doubt": 1}, 12),
        ("limit", {"received": 1}, 12),
        ("finished", {"done": 1, "accepted": 1}, 12),
        ("quota", {"received": 1}, 12),
        ("budget", {"received": 1}, 12),
        ("disk", {"received": 1}, 11),
        ("interrupted", {"received": 1}, 7),
        ("abandoned", {"received": 1}, 130),
        ("disk", {"sent": 1}, 11),
        ("finished", {"sent": 1}, 10),
        ("finished", {"leased": 1}, 7),
    ],
)
def test_the_weightiest_code_counts(stopped, found, code):
    """Of several that apply: what ended the run, then what is in doubt, then what failed."""
    assert code == to_exit(stopped, totals(**found))


ORDER = (130, 7, 11, 12, 8, 5, 4, 10, 6, 3, 1, 0)
LEFT = {"sent": 10, "in_doubt": 10, "accepted": 12, "received": 12}
MIXTURES = [
    dict.fromkeys(states, 1)
    for many in range(len(RequestState) + 1)
    for states in itertools.combinations(map(str, RequestState), many)
]


def expected(stopped, found):
    """Return the code of a mixture, by the documented order."""
    failed = {3 if "done" in found else 1} if "failed" in found or stopped == "failed" else set()
    waits = {7} if stopped == "finished" and {"pending", "leased"} & set(found) else set()
    ended = set() if stopped == "failed" else {ALL_STOPS[stopped]}
    return min({0, *ended, *failed, *waits, *(LEFT[state] for state in found if state in LEFT)}, key=ORDER.index)


@pytest.mark.parametrize("stopped", ALL_STOPS)
def test_every_mixture_of_states_has_the_first_code_that_applies(stopped):
    """Nothing that is unknown, unfetched, failed or left to start ends with 0, whatever else there is."""
    codes = [(expected(stopped, found), to_exit(stopped, totals(**found)), found) for found in MIXTURES]

    assert 256 == len(codes)
    assert [] == [case for case in codes if case[0] != case[1]]


def test_of_several_reasons_to_stop_the_first_code_counts():
    """A job reports its reasons in the order of the exit codes."""
    codes = [ALL_STOPS[reason] for reason in STOP_PRECEDENCE]

    assert set(ALL_STOPS) == set(STOP_PRECEDENCE)
    assert codes == sorted(codes, key=ORDER.index)


def test_what_is_paid_and_not_fetched_is_told():
    """Paid images that are not downloaded are reported, with the reason, the expiry and the command."""
    ends = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
    hosts = frozenset({"b.lan", "a.lan"})
    outstanding = UnfetchedSummary(requests=2, refused=2, hosts=hosts, expires_at=ends, reason="It is refused.")
    report = RunReport(stopped="finished", totals=totals(done=1, received=2), outstanding=outstanding)

    said = " ".join(advise(report, "out"))
    assert "1 of 3 requests done, 0 failed, 0 in doubt, 2 paid and not fetched; " in summarise(report)
    assert "not started" not in summarise(report)
    assert (
        "2 requests are paid but not all of their images are downloaded. It is refused. The same command downloads"
        in said
    )
    assert "the first URL expires at 2030-01-02 03:04 UTC" in said
    assert "add --result-host a.lan --result-host b.lan." in said


# --- figures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (format_count(1, "image"), "1 image"),
        (format_count(1200, "image"), "1,200 images"),
        (format_duration(0.4), "0 s"),
        (format_duration(59.6), "1 min 0 s"),
        (format_duration(3 * 3600 + 125), "3 h 2 min"),
        (format_duration(26 * 3600), "1 d 2 h"),
        (format_size(0), "0 bytes"),
        (format_size(999), "999 bytes"),
        (format_size(1_500), "1.5 kB"),
        (format_size(250_000_000), "250 MB"),
        (format_size(4_200_000_000_000), "4.2 TB"),
    ],
)
def test_figures(shown, text):
    """Numbers are formatted with a readable unit."""
    assert text == shown


@pytest.mark.parametrize(
    ("label", "source", "name"),
    [
        ("fox", "rows.jsonl", "fox (rows.jsonl:3)"),
        ("", "{here}/lists/rows.jsonl", "lists/rows.jsonl:3"),
        ("", "/elsewhere/rows.jsonl", "/elsewhere/rows.jsonl:3"),
        ("fox", "", "fox (abcdef012345)"),
    ],
)
def test_names_of_requests(monkeypatch, tmp_path, label, source, name):
    """A request goes by its id and its place, as short as it can be from the current folder."""
    monkeypatch.chdir(tmp_path)
    record = RequestRecord(
        key="abcdef012345" + "0" * 20, number=1, document={}, source=source.format(here=tmp_path), line=3, label=label
    )

    assert name == format_request(record)


# --- the bar ---------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A terminal of 100 columns."""

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    return Reporter(options=ReportingOptions(), stream=Terminal())


def test_the_bar_says_how_far_it_is(terminal):
    """Done, failed, in doubt, images a second, what was spent and how long it takes, on one line."""
    with draw_bar(terminal) as draw:
        draw(None)
        draw(PROGRESS)

    text = "600 of 1,200 done, 2 failed, 1 in doubt, 11.7 images/s, $1.50 spent, 59 s left"
    assert text in terminal.stream.getvalue()
    assert terminal.live is None


async def test_notes_stand_above_the_bar(terminal):
    """Notes are written above the bar, and the bar disappears at the end."""
    shown = JobProgressReporter(reporter=terminal, ask=lambda: PROGRESS)
    record = RequestRecord(key="ab" * 16, number=1, document={}, source="rows.jsonl", line=7, label="fox")
    with shown.showing():
        shown.see(JobEvent(kind="note", progress=PROGRESS, message="a note"))
        failure = RequestFailure(error="BadRequestError", message="It is refused.")
        shown.see(JobEvent(kind="failed", progress=PROGRESS, record=record, failure=failure))

    assert "note: a note\n" in terminal.stream.getvalue()
    assert "failed: fox (rows.jsonl:7): It is refused.\n" in terminal.stream.getvalue()


# --- interrupts ------------------------------------------------------------------------------------------------------


@attrs.define
class Work:
    """Notes how it is asked to end."""

    asked: list[str] = attrs.field(factory=list)

    def drain(self):
        self.asked.append("drain")

    def abandon(self):
        self.asked.append("abandon")


@pytest.fixture
def patience():
    return JobInterrupts(job=Work(), reporter=Reporter(options=ReportingOptions(quiet=True), stream=io.StringIO()))


@pytest.mark.parametrize(
    ("signals", "asked"),
    [
        (["interrupt"], ["drain"]),
        (["interrupt", "interrupt"], ["drain", "abandon"]),
        (["terminate", "terminate"], ["drain"]),
        (["terminate", "interrupt"], ["drain", "abandon"]),
        (["interrupt", "terminate"], ["drain"]),
    ],
)
def test_interrupts_are_counted(patience, signals, asked):
    """Only a second Ctrl-C abandons paid requests; SIGTERM never does."""
    for name in signals:
        getattr(patience, name)()

    assert asked == patience.job.asked


async def test_reading_is_ended_at_once(patience):
    """Ctrl-C while lists are read ends at once, as nothing was sent."""
    reading = asyncio.ensure_future(patience.read(asyncio.Event().wait()))
    await asyncio.sleep(0)
    patience.interrupt()

    with pytest.raises(Interrupted, match="before anything was sent"):
        await reading
    assert [] == patience.job.asked


async def test_reading_that_is_cancelled_is_no_interrupt(patience):
    """A cancellation from outside is not mistaken for Ctrl-C."""
    reading = asyncio.ensure_future(patience.read(asyncio.Event().wait()))
    await asyncio.sleep(0)
    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading


def test_the_help_names_all_exit_codes(cli):
    """The help lists every exit code of a job."""
    shown = " ".join(cli("--help").out.decode().split())

    assert [] == [code for code in {*ALL_STOPS.values(), 1, 2, 9, 10, 12} if f" {code} " not in shown]
