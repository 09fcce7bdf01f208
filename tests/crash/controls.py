"""
Negative controls: each breaks one promise on purpose, and the harness has to find out.

`late intent` writes an intent down only with what becomes of it. `unsynced intent` sends without waiting for it.
`torn images` writes images under their final names. `not durable` leaves out the syncs. `forgetful` takes requests in
doubt for failed ones that cost nothing. `forgets the id` does not write tasks down. `sends again` buys anew what was
accepted as a task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import attrs

CHANGES = ("requeue", "release", "mark_received", "add_image", "finish", "fail", "mark_in_doubt")


def install(control: str) -> None:
    """Break what *control* names; nothing if it is empty."""
    if control:
        CONTROLS[control]()


def done() -> asyncio.Future[None]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


def late_intent() -> None:
    from burncloud_images.bulk.database import JobStore

    mark_sent = JobStore.mark_sent
    kept: dict[str, Callable[[], object]] = {}

    def mark_sent_later(store: Any, key: str, **options: Any) -> asyncio.Future[None]:
        kept[key] = lambda: mark_sent(store, key, **options)
        return done()

    def after(method: Callable[..., Any]) -> Callable[..., Any]:
        def change(store: Any, key: str, *args: Any, **options: Any) -> Any:
            kept.pop(key, lambda: None)()
            return method(store, key, *args, **options)

        return change

    JobStore.mark_sent = mark_sent_later  # type: ignore[method-assign, assignment]
    for name in CHANGES:
        setattr(JobStore, name, after(getattr(JobStore, name)))


def unsynced_intent() -> None:
    from burncloud_images.bulk.database import JobStore

    mark_sent = JobStore.mark_sent

    def mark_sent_meanwhile(*args: Any, **options: Any) -> asyncio.Future[None]:
        mark_sent(*args, **options)
        return done()

    JobStore.mark_sent = mark_sent_meanwhile  # type: ignore[method-assign, assignment]


def torn_images() -> None:
    from burncloud_images.bulk import image_store

    opened = image_store.JobImageSink.open

    def open_final(place: Any, placement: Any) -> Any:
        writer = opened(place, placement)
        number = f"-{placement.index + 1}" if place.several else ""
        return attrs.evolve(writer, part=place.folder.path / f"{place.key}{number}.png")

    image_store.JobImageSink.open = open_final  # type: ignore[method-assign]
    image_store.JobImageWriter.choose = lambda _writer, wanted: wanted  # type: ignore[method-assign]


def not_durable() -> None:
    from burncloud_images.bulk import image_store

    folder = image_store.JobImageSink.folder.fget  # type: ignore[attr-defined]
    image_store.JobImageSink.folder = property(lambda place: attrs.evolve(folder(place), durable=False))  # type: ignore[assignment]


def forgetful() -> None:
    from burncloud_images.bulk.database import JobStore

    def fail(store: Any, key: str, failure: Any, **options: Any) -> Any:
        return JobStore.fail(store, key, failure, may_be_billed=False, **options)

    JobStore.mark_in_doubt = fail  # type: ignore[method-assign]


def forgets_the_id() -> None:
    from burncloud_images.bulk.database import JobStore

    JobStore.mark_accepted = lambda *_args, **_options: done()  # type: ignore[method-assign, assignment]


def sends_again() -> None:
    from burncloud_images.bulk.run import Run

    async def buy_anew(run: Any, record: Any, passage: Any) -> None:
        run.budget.release(record.key)
        await run.store.release(record.key)
        await run.purchase(record, passage)

    Run.follow = buy_anew  # type: ignore[method-assign, assignment]


CONTROLS: dict[str, Callable[[], None]] = {
    "late intent": late_intent,
    "unsynced intent": unsynced_intent,
    "torn images": torn_images,
    "not durable": not_durable,
    "forgetful": forgetful,
    "forgets the id": forgets_the_id,
    "sends again": sends_again,
}
