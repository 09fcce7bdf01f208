"""What tests of a job's store are written with: rows, images, and requests that are as far as a test wants them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterable, Sequence
from pathlib import Path
from typing import TypeVar

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.records import (
    NewRequest,
    RequestFailure,
    RequestRecord,
    RequestState,
    StoredImage,
    UnfetchedLink,
)
from burncloud_images.results import Task

__all__ = ["BOUGHT", "FAILURE", "advance", "copy_files", "image", "key", "link", "listed", "row", "steps"]

T = TypeVar("T")

FAILURE = RequestFailure(error="OutcomeUnknownError", message="No answer came.", code="gateway_timeout", status=504)
BOUGHT = 3_000_000
"""Nano-dollars that are set aside for a request."""


def key(number: int) -> str:
    """Return the key of the request with this number; no two begin alike."""
    return f"{number:08x}"[::-1] * 4


def row(number: int, n: int = 2, label: str = "") -> NewRequest:
    """Return the request with this number."""
    document = {"operation": "generations", "prompt": f"Otter {number}", "model": "m", "n": n}
    return NewRequest(key=key(number), document=document, source="prompts.jsonl", line=number, label=label)


def image(index: int, size: int = 1000) -> StoredImage:
    """Return an image that is there."""
    return StoredImage(
        index=index, path=f"images/ab/{index}.png", size=size, sha256=f"{index:064x}", width=16, height=9
    )


def link(index: int) -> UnfetchedLink:
    """Return where an image is."""
    return UnfetchedLink(index=index, url=f"https://images.example/{index}.png?signature=very-secret")


async def listed(found: AsyncIterable[T]) -> list[T]:
    """Return all of *found*."""
    return [one async for one in found]


def steps(state: RequestState) -> Sequence[RequestState]:
    """Return the states that a pending request goes through to *state*."""
    ways = {
        RequestState.PENDING: (),
        RequestState.LEASED: (RequestState.LEASED,),
        RequestState.SENT: (RequestState.LEASED, RequestState.SENT),
        RequestState.ACCEPTED: (RequestState.LEASED, RequestState.SENT, RequestState.ACCEPTED),
        RequestState.RECEIVED: (RequestState.LEASED, RequestState.SENT, RequestState.RECEIVED),
    }
    return ways.get(state, (RequestState.LEASED, RequestState.SENT, state))


async def advance(store: JobStore, state: RequestState) -> RequestRecord:
    """Bring the next pending request, one of two images, to *state*, and return it."""
    key = ""
    for step in steps(state):
        match step:
            case RequestState.LEASED:
                ((record),) = await store.lease(1)
                key = record.key
            case RequestState.SENT:
                await store.mark_sent(key, reserved=BOUGHT, at=100.0)
            case RequestState.ACCEPTED:
                await store.mark_accepted(key, Task(id="t-1", url="/v1/tasks/t-1"), request_id="req_1")
            case RequestState.RECEIVED:
                await store.mark_received(key, [link(0), link(1)], about={"created": 7}, request_id="req_1")
            case RequestState.DONE:
                await store.finish(key, [image(0), image(1)], cost=BOUGHT // 2, about={}, request_id="req_1", at=200.0)
            case RequestState.FAILED:
                await store.fail(key, FAILURE, may_be_billed=False, request_id="req_1", at=200.0)
            case RequestState.IN_DOUBT:
                await store.mark_in_doubt(key, FAILURE, request_id="req_1", at=200.0)
    found = await store.get(key) if key else (await listed(store.records({RequestState.PENDING})))[0]
    assert found is not None
    return found


def copy_files(path: Path, folder: Path) -> Path:
    """Return a copy of a store that is open, as a kill would leave it."""
    folder.mkdir()
    for suffix in ("", "-wal"):  # the third file is made from them
        source = path.with_name(path.name + suffix)
        if source.exists():
            shutil.copy(source, folder / source.name)
    return folder / path.name
