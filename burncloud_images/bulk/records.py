"""What a job knows of its requests."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime

import attrs

from burncloud_images.errors import hide_query


class State(enum.StrEnum):
    """
    How far a request is.

    `leased` and `sent` are two states because only what was sent can have been billed.
    """

    PENDING = "pending"
    LEASED = "leased"
    """A worker has it and waits for its turn."""
    SENT = "sent"
    """Written down durably before the connection opens; from here on it may be billed."""
    RECEIVED = "received"
    """Paid, and its images are at addresses from which they are to be fetched."""
    DONE = "done"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    """It was sent and nothing usable came. It may have been billed, and is never bought again without consent."""


UNFINISHED = frozenset({State.PENDING, State.LEASED, State.SENT, State.RECEIVED})


@attrs.frozen(kw_only=True)
class Link:
    """
    A paid image that is still where the server put it.

    Attributes:
        index: Place in the server's answer, from 0.
        url: Where it is. It is a secret while it is valid, and is erased once the image is there.
        expires_at: When that ends, aware UTC.
    """

    index: int
    url: str = attrs.field(repr=hide_query)
    expires_at: datetime | None = None


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
class Failure:
    """
    Why a request did not come to its end.

    Attributes:
        error: Name of the error's class.
        message: What happened, as one or more sentences; neither key nor signed address nor base64.
        code: The API's error code.
        status: HTTP status.
    """

    error: str
    message: str
    code: str | None = None
    status: int | None = None


@attrs.frozen(kw_only=True)
class Record:
    """
    A request of a job.

    Attributes:
        key: See `Row`.
        number: Place in the order of the inputs, from 1.
        document: See `Row`.
        source: See `Row`.
        line: See `Row`.
        label: See `Row`.
        state: How far it is.
        attempts: How often it was given to a worker.
        reserved: Nano-dollars that it may have cost beside `cost`: the worst case while it is under way or in doubt.
        cost: Nano-dollars that it cost, as far as is known; None without a price.
        images: The images that are there.
        links: Where others are.
        failure: Why it failed, is in doubt or was given back.
        request_id: The server's id, for its support.
        sent_at: When it was last sent, in seconds since 1970.
        ended_at: When it came to its end, in seconds since 1970.
        about: What the answer says beside its images: `created`, `usage`, `size`, `quality` and others, as JSON.
    """

    key: str
    number: int
    document: Mapping[str, object] = attrs.field(repr=False)
    source: str
    line: int
    label: str = ""
    state: State = State.PENDING
    attempts: int = 0
    reserved: int = 0
    cost: int | None = None
    images: tuple[StoredImage, ...] = ()
    links: tuple[Link, ...] = ()
    failure: Failure | None = None
    request_id: str | None = None
    sent_at: float | None = None
    ended_at: float | None = None
    about: Mapping[str, object] = attrs.field(factory=dict, repr=False)

    @property
    def wanted(self) -> int:
        """How many images it asks for."""
        n = self.document.get("n")
        return n if isinstance(n, int) else 1


@attrs.frozen(kw_only=True)
class Added:
    """
    What came of adding rows.

    Attributes:
        new: How many are new.
        known: How many were there already: equal to one of this or an earlier input.
        refused: Those whose `id` another request has.
    """

    new: int = 0
    known: int = 0
    refused: int = 0


@attrs.frozen(kw_only=True)
class Totals:
    """
    Sums over a job.

    Attributes:
        counts: Requests by state; all states are there.
        problems: Lines of the inputs that are no requests.
        images: Images that are there.
        bytes: Of these.
        committed: Images that are there, or may have been bought: what `max_images` counts.
        cost: Nano-dollars that are known to have been spent.
        reserved: Nano-dollars that may have been spent besides: under way, in doubt, and paid without a known price.
    """

    counts: Mapping[State, int]
    problems: int = 0
    images: int = 0
    bytes: int = 0
    committed: int = 0
    cost: int = 0
    reserved: int = 0

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    @property
    def left(self) -> int:
        """Those that are not at their end."""
        return sum(self.counts[state] for state in UNFINISHED)

    @property
    def waiting(self) -> int:
        """Those that have cost nothing yet."""
        return self.counts[State.PENDING] + self.counts[State.LEASED]
