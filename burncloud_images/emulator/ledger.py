"""What arrived and what was billed, and the idempotency keys that were seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs

from burncloud_images.emulator.errors import HTTPAnswer, RefusedRequest
from burncloud_images.emulator.faults import Fault
from burncloud_images.errors import Phase


@attrs.frozen(kw_only=True)
class ReceivedFile:
    """
    One file as it arrived.

    Attributes:
        name: The form field's name, or the place in a JSON body, as `images[0].image_url`.
        filename: As sent; None in a JSON body.
        content_type: As sent.
        size: Bytes.
        sha256: Hex digest of the bytes.
    """

    name: str
    filename: str | None
    content_type: str | None
    size: int
    sha256: str


@attrs.frozen(kw_only=True)
class LedgerEntry:
    """
    One request to an endpoint that bills.

    Attributes:
        number: From 1, in order of arrival.
        operation: `generations`, `edits` or `variations`.
        status: HTTP status that was answered; None if none was sent.
        complete: Whether the whole body arrived.
        billed: Whether images were made.
        images: How many images were made.
        idempotency_key: The `Idempotency-Key` header.
        request_id: The `x-request-id` that was answered.
        fields: Name and text of each field, in the order sent; JSON values as their JSON text.
        parts: The files.
        phase: How far the request got.
        fault: The fault that struck.
        headers: As received, names in lower case, without credentials.
        task: The id of the task that it was made into; None if it was answered with its images.
        refunded: Whether it was billed, and the money given back since; then `billed` is false again.
    """

    number: int
    operation: str
    status: int | None = None
    complete: bool = False
    billed: bool = False
    images: int = 0
    idempotency_key: str | None = None
    request_id: str
    fields: tuple[tuple[str, str], ...] = ()
    parts: tuple[ReceivedFile, ...] = ()
    phase: Phase = Phase.HEADERS
    fault: Fault | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    task: str | None = None
    refunded: bool = False

    @property
    def content_type(self) -> str | None:
        """The `Content-Type` header."""
        return self.headers.get("content-type")

    @property
    def content_length(self) -> int | None:
        """The `Content-Length` header; None for a chunked body."""
        length = self.headers.get("content-length")
        return None if length is None else int(length)

    @property
    def user_agent(self) -> str | None:
        """The `User-Agent` header."""
        return self.headers.get("user-agent")

    def to_json(self) -> dict[str, Any]:
        """Return what `GET /emulator/ledger` gives."""
        return {
            **attrs.asdict(self, recurse=False),
            "fields": [list(pair) for pair in self.fields],
            "parts": [attrs.asdict(part) for part in self.parts],
            "phase": self.phase.name.lower(),
            "fault": self.fault.to_json() if self.fault else None,
            "headers": dict(self.headers),
            "content_type": self.content_type,
            "content_length": self.content_length,
            "user_agent": self.user_agent,
        }


@attrs.frozen(kw_only=True)
class ResultDownload:
    """
    One request for a result.

    Attributes:
        path: The URL's path, without the query, which gives access to the image.
        status: HTTP status that was answered; None if none was sent.
        authorization: Whether an `Authorization` header came with it, which a good client never sends there.
        range: The `Range` header.
        if_range: The `If-Range` header.
        sent: Bytes of the answer's body up to where it was cut, including those that the peer did not read.
    """

    path: str
    status: int | None = None
    authorization: bool = False
    range: str | None = None
    if_range: str | None = None
    sent: int = 0


@attrs.frozen(kw_only=True)
class TaskPoll:
    """
    One question about a task. It costs nothing.

    Attributes:
        task: The id that was asked for.
        status: HTTP status that was answered; None if none was sent.
        state: The state of the task that was answered; None if it was not found.
    """

    task: str
    status: int | None = None
    state: str | None = None


@attrs.frozen(kw_only=True)
class Ledger:
    """
    Everything that has arrived so far.

    Attributes:
        requests: Requests to the endpoints that bill, in order of arrival.
        downloads: Requests for results, in order of arrival.
        polls: Questions about tasks, in order of arrival.
    """

    requests: tuple[LedgerEntry, ...] = ()
    downloads: tuple[ResultDownload, ...] = ()
    polls: tuple[TaskPoll, ...] = ()

    @property
    def billed_requests(self) -> int:
        """How many requests made images."""
        return sum(entry.billed for entry in self.requests)

    @property
    def billed_images(self) -> int:
        """How many images were made."""
        return sum(entry.images for entry in self.requests)

    def to_json(self) -> dict[str, Any]:
        """Return what `GET /emulator/ledger` gives."""
        return {
            "requests": [entry.to_json() for entry in self.requests],
            "billed_requests": self.billed_requests,
            "billed_images": self.billed_images,
            "downloads": [attrs.asdict(download) for download in self.downloads],
            "polls": [attrs.asdict(poll) for poll in self.polls],
        }


CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie"})


class LedgerWriter:
    """Records what arrives; `to_ledger` returns it as a value."""

    def __init__(self) -> None:
        self.entries: list[LedgerEntry] = []
        self.downloads: list[ResultDownload] = []
        self.polls: list[TaskPoll] = []

    def open(self, operation: str, headers: Mapping[str, str], request_id: str) -> int:
        """Record a request whose head has arrived, and return its number."""
        number = len(self.entries) + 1
        kept = {name.lower(): value for name, value in headers.items() if name.lower() not in CREDENTIALS}
        key = headers.get("Idempotency-Key")
        self.entries.append(
            LedgerEntry(number=number, operation=operation, idempotency_key=key, request_id=request_id, headers=kept)
        )
        return number

    def update(self, number: int, **changes: Any) -> None:  # noqa: ANN401 (attributes of LedgerEntry)
        """Change attributes of a request's entry."""
        self.entries[number - 1] = attrs.evolve(self.entries[number - 1], **changes)

    def open_download(self, download: ResultDownload) -> int:
        """Record a request for a result, and return its index."""
        self.downloads.append(download)
        return len(self.downloads) - 1

    def update_download(self, index: int, status: int, sent: int) -> None:
        """Record the answer to a request for a result."""
        self.downloads[index] = attrs.evolve(self.downloads[index], status=status, sent=sent)

    def add_poll(self, poll: TaskPoll) -> None:
        """Record a question about a task, and its answer."""
        self.polls.append(poll)

    def to_ledger(self) -> Ledger:
        """Return what has been recorded so far."""
        return Ledger(requests=tuple(self.entries), downloads=tuple(self.downloads), polls=tuple(self.polls))


Idempotency: TypeAlias = Literal["none", "replay", "reject"]


@attrs.define
class IdempotencyKeys:
    """
    Keys that were seen, with what was asked for and answered.

    Attributes:
        idempotency: `none` ignores them, `replay` answers as before, `reject` refuses.
    """

    idempotency: Idempotency = attrs.field(validator=attrs.validators.in_(("none", "replay", "reject")))
    asked: dict[str, object] = attrs.field(factory=dict)
    answers: dict[str, HTTPAnswer] = attrs.field(factory=dict)

    def claim(self, key: str | None, wanted: object) -> HTTPAnswer | None:
        """
        Return what was answered to *key*, or record that work for it begins.

        Raises:
            RefusedRequest: The key belongs to another request or to one in progress, or was already used.
        """
        if key is None or self.idempotency == "none":
            return None
        if key not in self.asked:
            self.asked[key] = wanted
            return None
        if self.asked[key] != wanted:
            raise RefusedRequest(
                "The idempotency key belongs to another request.", code="idempotency_key_reuse", status=422
            )
        if key not in self.answers:
            message = "A request with this idempotency key is being worked on."
            raise RefusedRequest(message, code="idempotency_key_in_use", status=409)
        if self.idempotency == "reject":
            message = "A request with this idempotency key has already been answered."
            raise RefusedRequest(message, code="idempotency_key_already_used", status=409)
        return self.answers[key]

    def store(self, key: str | None, answer: HTTPAnswer) -> None:
        """Store what is answered to *key*."""
        if key in self.asked:
            self.answers[key] = answer

    def release(self, key: str | None) -> None:
        """Forget a key whose request was refused."""
        self.asked.pop(key or "", None)
