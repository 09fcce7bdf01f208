"""Jobs that are there already: requests in every state, and a store that holds them in memory."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from pathlib import Path

import attrs
from pictures import png

from burncloud_images.bulk.records import BadRow, JobTotals, RequestFailure, RequestRecord, RequestState, StoredImage


def to_key(number: int) -> str:
    """Return the key of a request."""
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def to_record(number: int, **fields: object) -> RequestRecord:
    """Return a request; by default one that waits."""
    document = {"operation": "generations", "prompt": f"otter {number}", "model": "gpt-image-2"}
    values = {"key": to_key(number), "number": number, "document": document, "source": "prompts.jsonl", "line": number}
    return RequestRecord(**{**values, **fields})


def to_image(key: str, index: int = 0, *, of: int = 1, **fields: object) -> StoredImage:
    """Return an image that no file need hold."""
    name = f"{key}-{index + 1}.png" if of > 1 else f"{key}.png"
    values = {
        "index": index,
        "path": f"images/{key[:2]}/{name}",
        "size": 1000 + index,
        "sha256": hashlib.sha256(name.encode()).hexdigest(),
        "media_type": "image/png",
        "width": 64,
        "height": 48,
    }
    return StoredImage(**{**values, **fields})


def done(number: int, *, images: int | tuple[StoredImage, ...] = 1, **fields: object) -> RequestRecord:
    """Return a request that is done, with these images, or as many as that."""
    record = to_record(number)
    stored = images
    if isinstance(images, int):
        stored = tuple(to_image(record.key, index, of=images) for index in range(images))
    values = {
        "state": RequestState.DONE,
        "images": stored,
        "cost": 40_000_000,
        "request_id": f"req_{number}",
        "attempts": 1,
    }
    return attrs.evolve(record, **{"ended_at": 1_700_000_000.0 + number, **values, **fields})


def failed(number: int, *, message: str = "The prompt was refused.", **fields: object) -> RequestRecord:
    """Return a request that failed."""
    failure = RequestFailure(error="ModerationError", message=message, code="moderation_blocked", status=400)
    values = {"state": RequestState.FAILED, "failure": failure, "request_id": f"req_{number}", "attempts": 1}
    return attrs.evolve(to_record(number), **{"ended_at": 1_700_000_000.0 + number, **values, **fields})


def in_doubt(number: int, **fields: object) -> RequestRecord:
    """Return a request that may have been billed."""
    failure = RequestFailure(error="OutcomeUnknownError", message="The connection was cut after the request was sent.")
    values = {
        "state": RequestState.IN_DOUBT,
        "failure": failure,
        "reserved": 190_000_000,
        "request_id": f"req_{number}",
    }
    return attrs.evolve(to_record(number), **{"sent_at": 1_700_000_000.0 + number, **values, **fields})


def put(folder: Path, record: RequestRecord, draw: Callable[[int], bytes] | None = None) -> RequestRecord:
    """Write the images of *record* to where it says, and return it with their real sizes and digests."""
    images = []
    for image in record.images:
        data = draw(image.index) if draw is not None else png(8 + record.number % 200, 8 + image.index)
        path = folder / image.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        images.append(attrs.evolve(image, size=len(data), sha256=hashlib.sha256(data).hexdigest()))
    return attrs.evolve(record, images=tuple(images))


class MemoryStore:
    """
    The part of a store that outputs use.

    Attributes:
        rows: Requests in their order, an iterable that is walked through anew each time.
        bad: Lines that are no requests.
    """

    def __init__(self, rows: Iterable[RequestRecord] = (), bad: Sequence[BadRow] = ()) -> None:
        self.rows = rows
        self.bad = bad

    async def records(self, states: Collection[RequestState] | None = None) -> AsyncIterator[RequestRecord]:
        for record in self.rows:
            if states is None or record.state in states:
                yield record

    async def bad_rows(self) -> AsyncIterator[BadRow]:
        for problem in self.bad:
            yield problem

    async def totals(self) -> JobTotals:
        counts = dict.fromkeys(RequestState, 0)
        images = size = cost = reserved = 0
        for record in self.rows:
            counts[record.state] += 1
            images += len(record.images)
            size += sum(image.size for image in record.images)
            cost += record.cost or 0
            reserved += record.reserved
        return JobTotals(counts=counts, bad_rows=len(self.bad), images=images, bytes=size, cost=cost, reserved=reserved)

    async def set_paths(self, key: str, images: Sequence[StoredImage]) -> None:
        assert isinstance(self.rows, list)
        place = next(place for place, row in enumerate(self.rows) if row.key == key)
        self.rows[place] = attrs.evolve(self.rows[place], images=tuple(images))
