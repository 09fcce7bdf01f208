"""What a job knows of its requests, and what it says while it runs."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal, Self, TypeAlias
from urllib.parse import urlsplit

import attrs

from burncloud_images.errors import DownloadRefusedError, hide_query
from burncloud_images.results import RefusedImage, Task, Unfetched


@attrs.frozen(kw_only=True)
class InputFile:
    """
    An image that a row names, as it was when the row was read.

    Attributes:
        path: Where it is, absolute.
        sha256: Hex digest of its bytes.
        size: Bytes.
        mtime_ns: Time of its last change, in nanoseconds since 1970.
    """

    path: Path
    sha256: str
    size: int
    mtime_ns: int


@attrs.frozen(kw_only=True)
class NewRequest:
    """
    A request that an input asks for.

    Attributes:
        key: 32 hex digits that tell it from every other request: a digest of what is asked for, of the bytes of its
            images and of `repeat`. It is also the Idempotency-Key of all its attempts in all runs.
        document: The request as JSON, from which it is made again. Images are `{"path", "sha256", "size", "mtime_ns"}`
            or `{"url"}`.
        source: Name of the input; `-` for stdin.
        line: Where it stands, from 1; of a Parquet file the row.
        label: Its `id`, if it has one.
        repeat: Which of several equal requests it is, from 0.
        columns: The user's own columns of the row, which are not sent.
    """

    key: str
    document: Mapping[str, object] = attrs.field(repr=False)
    source: str
    line: int
    label: str = ""
    repeat: int = 0
    columns: Mapping[str, object] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class RowNotes:
    """
    What a job knows of a request beside its state.

    Attributes:
        columns: The user's own columns of the row.
        other_ids: The ids of further rows that ask for the same, and got the same images.
        is_replaced: Whether another request has taken its place: what it has cost stays, and its images are not shown.
    """

    columns: Mapping[str, object] = attrs.field(factory=dict)
    other_ids: tuple[str, ...] = ()
    is_replaced: bool = False


@attrs.frozen(kw_only=True)
class BadRow:
    """
    A line that is not a valid request.

    Attributes:
        source: Name of the input; `-` for stdin.
        line: Where it stands, from 1.
        label: Its `id`, if it has one that could be read.
        reason: What is wrong with it, as one sentence without its own place.
    """

    source: str
    line: int
    label: str = ""
    reason: str


def count_images(document: Mapping[str, object]) -> int:
    """Return how many images a request asks for."""
    n = document.get("n")
    return n if isinstance(n, int) else 1


class RequestState(enum.StrEnum):
    """
    The state of a request.

    `leased` and `sent` are two states because only what was sent can have been billed.
    """

    PENDING = "pending"
    LEASED = "leased"
    """A worker has it and waits for a permit to send it."""
    SENT = "sent"
    """Written down durably before the connection opens; from here on it may be billed."""
    ACCEPTED = "accepted"
    """The API works on it as a task, whose images are asked for without cost."""
    RECEIVED = "received"
    """Paid, and its images are at URLs from which they are to be fetched."""
    DONE = "done"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    """It was sent and brought nothing usable. It may have been billed, so it is never sent again without consent."""


BOUGHT = frozenset({RequestState.ACCEPTED, RequestState.RECEIVED})
"""States of requests that are bought, and whose images are to be had for nothing."""
UNFINISHED = frozenset({RequestState.PENDING, RequestState.LEASED, RequestState.SENT}) | BOUGHT


@attrs.frozen(kw_only=True)
class UnfetchedLink:
    """
    A paid image that was not downloaded.

    Attributes:
        index: Place in the server's answer, from 0.
        url: A secret while it is valid; erased once the image is in the job's directory.
        expires_at: When it expires, aware UTC.
    """

    index: int
    url: str = attrs.field(repr=hide_query)
    expires_at: datetime | None = None

    @classmethod
    def of(cls, image: Unfetched) -> Self:
        """Return what the store keeps of an image that the client has not downloaded."""
        return cls(index=image.index, url=image.url, expires_at=image.expires_at)


@attrs.frozen(kw_only=True)
class StoredImage:
    """
    A whole image in the job's directory.

    Attributes:
        index: Place in the server's answer, from 0.
        path: Relative to the job's directory, with `/`; within a tar file `00000.tar/key.png`.
        size: Bytes.
        sha256: Hex digest.
        media_type: As its bytes say.
        width: Pixels.
        height: Pixels.
        revised_prompt: The prompt that was really used, where the model changed it.
    """

    index: int
    path: str
    size: int
    sha256: str
    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    revised_prompt: str | None = None


@attrs.frozen(kw_only=True)
class RequestFailure:
    """
    Why a request failed, is in doubt or was not fetched.

    Attributes:
        error: Name of the error's class.
        message: What happened, as one or more sentences, without keys, signed URLs or base64.
        code: The API's error code.
        status: HTTP status.
    """

    error: str
    message: str
    code: str | None = None
    status: int | None = None


@attrs.frozen(kw_only=True)
class RequestRecord:
    """
    A request of a job. `key`, `document`, `source`, `line` and `label` are as in `NewRequest`.

    Attributes:
        number: Place in the order of the inputs, from 1.
        attempts: How often it was given to a worker.
        reserved: Nano-dollars that it may have cost in addition to `cost`: the worst case while it is sent or in doubt.
        cost: Nano-dollars that it cost, as far as is known; None without a price.
        images: Images in the job's directory.
        links: URLs of images that are not fetched yet.
        task: What the API works on, once it has accepted the request as a task.
        failure: Why it failed, is in doubt or waits again.
        request_id: The server's id, to quote to the provider's support.
        sent_at: When it was last sent, in seconds since 1970.
        ended_at: When it was done, failed or put in doubt, in seconds since 1970.
        about: What the answer says in addition to its images (`created`, `usage`, `size` and others), as JSON.
        notes: The user's own columns, and what became of the row.
    """

    key: str
    number: int
    document: Mapping[str, object] = attrs.field(repr=False)
    source: str
    line: int
    label: str = ""
    state: RequestState = RequestState.PENDING
    attempts: int = 0
    reserved: int = 0
    cost: int | None = None
    images: tuple[StoredImage, ...] = ()
    links: tuple[UnfetchedLink, ...] = ()
    task: Task | None = None
    failure: RequestFailure | None = None
    request_id: str | None = None
    sent_at: float | None = None
    ended_at: float | None = None
    about: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    notes: RowNotes = attrs.field(factory=RowNotes, repr=False)

    @property
    def wanted(self) -> int:
        """How many images it asks for."""
        return count_images(self.document)

    @property
    def refused(self) -> tuple[RefusedImage, ...]:
        """Images of its answer that the server refused, while others came."""
        found = self.about.get("refused")
        items = [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []
        return tuple(image for item in items if (image := to_refused(item)) is not None)

    @property
    def identity(self) -> dict[str, object]:
        """What tells it from others, as JSON."""
        return {"id": self.label, "key": self.key, "source": self.source, "line": self.line}


def to_refused(item: Mapping[str, object]) -> RefusedImage | None:
    """Return a refused image from what the store keeps of it; None if that is damaged."""
    index, code, message = item.get("index"), item.get("code"), item.get("message")
    if not isinstance(index, int):
        return None
    return RefusedImage(
        index=index,
        code=code if isinstance(code, str) else None,
        message=message if isinstance(message, str) else "",
    )


@attrs.frozen(kw_only=True)
class AddedRows:
    """
    How many rows were added.

    Attributes:
        new: How many are new.
        known: How many were there already: equal to one of this or an earlier input.
        refused: Those whose `id` another request has.
        replaced: Requests whose place new ones took.
        same: Of the first rows that ask for the same as another one: their id, and the other's.
    """

    new: int = 0
    known: int = 0
    refused: int = 0
    replaced: int = 0
    same: tuple[tuple[str, str], ...] = ()

    def plus(self, other: AddedRows) -> AddedRows:
        """Return the sum of both."""
        return AddedRows(
            new=self.new + other.new,
            known=self.known + other.known,
            refused=self.refused + other.refused,
            replaced=self.replaced + other.replaced,
            same=(self.same + other.same)[:MOST_SAME],
        )


MOST_SAME = 5
"""Equal rows that are told apart."""


@attrs.frozen(kw_only=True)
class JobTotals:
    """
    Sums over a job.

    Attributes:
        counts: Requests by state; all states are there.
        bad_rows: Lines of the inputs that are not valid requests.
        images: Images in the job's directory.
        bytes: Their total size.
        committed: Images that were or may have been bought: what `max_images` counts.
        cost: Nano-dollars that are known to have been spent.
        reserved: Nano-dollars that may have been spent in addition: sent, in doubt, or paid at an unknown price.
    """

    counts: Mapping[RequestState, int]
    bad_rows: int = 0
    images: int = 0
    bytes: int = 0
    committed: int = 0
    cost: int = 0
    reserved: int = 0

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    def plus(self, other: JobTotals) -> JobTotals:
        """Return the sums over two jobs."""
        numbers = {name: getattr(self, name) + getattr(other, name) for name in SUMMED}
        return JobTotals(counts={state: self.counts[state] + other.counts[state] for state in self.counts}, **numbers)

    @property
    def left(self) -> int:
        """Those that are not done, failed or in doubt."""
        return sum(self.counts[state] for state in UNFINISHED)

    @property
    def waiting(self) -> int:
        """Those that have cost nothing yet."""
        return self.counts[RequestState.PENDING] + self.counts[RequestState.LEASED]


SUMMED = ("bad_rows", "images", "bytes", "committed", "cost", "reserved")

StopCause: TypeAlias = Literal[
    "finished",
    "interrupted",
    "abandoned",
    "budget",
    "limit",
    "quota",
    "authentication",
    "gave_up",
    "disk",
    "failed",
]
"""
Why a run ended. `finished`: nothing is left to start. `interrupted` and `abandoned`: as `drain` and `abandon`
asked. `budget`: what is left would pass `max_cost` or `max_images`. `limit`: as many requests as were asked for were
started. `quota`, `authentication`: the account or the key. `gave_up`: the API was not there, or asked for patience, for
too long. `disk`: images cannot be written. `failed`: a request failed and `fail_fast` was set, or the first ones all
failed for the same reason.
"""
STOP_PRECEDENCE: tuple[StopCause, ...] = (
    "abandoned",
    "interrupted",
    "disk",
    "budget",
    "quota",
    "authentication",
    "gave_up",
    "failed",
    "limit",
    "finished",
)
"""Where a run stopped for several reasons, the first of these is reported."""


@attrs.frozen(kw_only=True)
class JobProgress:
    """
    The progress of a job.

    Attributes:
        requests: All of the job.
        done: Requests that are done, of all runs.
        failed: Requests that failed, of all runs.
        in_doubt: Requests that are in doubt, of all runs.
        unfetched: Requests that are paid and whose images could not be fetched in this run.
        running: Requests that workers have now.
        images: Images in the job's directory, of all runs.
        cost: Nano-dollars that are known to have been spent, by all runs.
        reserved: Nano-dollars that may have been spent in addition.
        elapsed: Seconds since this run began.
        ended: Requests that were done, failed or put in doubt in this run.
        made: Images that came in this run.
    """

    requests: int
    done: int
    failed: int
    in_doubt: int
    running: int
    images: int
    cost: int
    reserved: int
    elapsed: float
    ended: int
    made: int
    unfetched: int = 0

    @property
    def left(self) -> int:
        """Requests that this run has not settled yet."""
        return self.requests - self.done - self.failed - self.in_doubt - self.unfetched

    @property
    def images_per_second(self) -> float:
        """Of this run."""
        return self.made / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes if it goes on like this; None while that is not known."""
        return self.left * self.elapsed / self.ended if self.ended and self.elapsed > 0 else None


@attrs.frozen(kw_only=True)
class JobEvent:
    """
    Something that happened in a job.

    Attributes:
        kind: What happened to a request: `done`, `failed`, `in_doubt`, or `unfetched`, which is paid and left for
            another run to fetch. Or a `note` about the run.
        progress: How far the job is.
        record: The request as it was when it was sent; None for a note.
        images: Its images.
        failure: Why it failed, is in doubt or could not be fetched.
        message: Of a note, one or more sentences.
    """

    kind: Literal["done", "failed", "in_doubt", "unfetched", "note"]
    progress: JobProgress
    record: RequestRecord | None = None
    images: tuple[StoredImage, ...] = ()
    failure: RequestFailure | None = None
    message: str = ""


OnEvent: TypeAlias = Callable[[JobEvent], object]


def find_host(url: str) -> str:
    """Return the host of *url*; empty if it cannot be read."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


@attrs.frozen(kw_only=True)
class UnfetchedSummary:
    """
    Counts of paid requests that were not fetched.

    Attributes:
        requests: How many.
        expires_at: When the first of their URLs expires, aware UTC; None if no server said.
        refused: How many have a URL that the SSRF guard refuses.
        hosts: Those of such URLs.
        reason: Why the first of them was not fetched.
    """

    requests: int = 0
    expires_at: datetime | None = None
    refused: int = 0
    hosts: frozenset[str] = frozenset()
    reason: str = ""

    def plus(self, record: RequestRecord) -> UnfetchedSummary:
        """Return it with one request more."""
        ends = [link.expires_at for link in record.links] + [self.expires_at]
        failure = record.failure
        is_refused = failure is not None and failure.error == DownloadRefusedError.__name__
        hosts = {find_host(link.url) for link in record.links} if is_refused else set()
        return attrs.evolve(
            self,
            requests=self.requests + 1,
            expires_at=min((end for end in ends if end is not None), default=None),
            refused=self.refused + is_refused,
            hosts=self.hosts | (hosts - {""}),
            reason=self.reason or (failure.message if failure is not None else ""),
        )


@attrs.frozen(kw_only=True)
class RunReport:
    """
    The result of a run.

    Attributes:
        stopped: Why it ended; of several reasons the first of `STOP_PRECEDENCE`.
        totals: Sums over the whole job.
        ended: Requests that were done, failed or put in doubt in this run.
        made: Images that came in this run.
        elapsed: Seconds that it took.
        message: More about why it stopped; empty if it finished.
        error: Name of the error's class that stopped it, if one did.
        outstanding: What is paid and was not fetched; None if there is nothing.
    """

    stopped: StopCause
    totals: JobTotals
    ended: int = 0
    made: int = 0
    elapsed: float = 0.0
    message: str = ""
    error: str | None = None
    outstanding: UnfetchedSummary | None = None
