"""
Negative controls: each breaks one promise on purpose, and the harness has to find out.

`late intent` writes an intent down only with what becomes of it. `unsynced intent` sends without waiting for it.
`torn images` writes images under their final names. `not durable` leaves out the syncs. `forgetful` takes requests in
doubt for failed ones that cost nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import attrs

CHANGES = ("give_back", "withdraw", "receive", "keep", "finish", "fail", "doubt")


def install(control: str) -> None:
    """Break what *control* names; nothing if it is empty."""
    if control:
        CONTROLS[control]()


def done() -> asyncio.Future[None]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


def late_intent() -> None:
    from burncloud_images.bulk.database import Database

    intend = Database.intend
    kept: dict[str, Callable[[], object]] = {}

    def intend_later(store: Any, key: str, **options: Any) -> asyncio.Future[None]:
        kept[key] = lambda: intend(store, key, **options)
        return done()

    def after(method: Callable[..., Any]) -> Callable[..., Any]:
        def change(store: Any, key: str, *args: Any, **options: Any) -> Any:
            kept.pop(key, lambda: None)()
            return method(store, key, *args, **options)

        return change

    Database.intend = intend_later  # type: ignore[method-assign, assignment]
    for name in CHANGES:
        setattr(Database, name, after(getattr(Database, name)))


def unsynced_intent() -> None:
    from burncloud_images.bulk.database import Database

    intend = Database.intend

    def intend_meanwhile(*args: Any, **options: Any) -> asyncio.Future[None]:
        intend(*args, **options)
        return done()

    Database.intend = intend_meanwhile  # type: ignore[method-assign, assignment]


def torn_images() -> None:
    from burncloud_images.bulk import sink

    opened = sink.JobSink.open

    def open_final(place: Any, placement: Any) -> Any:
        writer = opened(place, placement)
        number = f"-{placement.index + 1}" if place.several else ""
        return attrs.evolve(writer, part=place.folder.path / f"{place.key}{number}.png")

    sink.JobSink.open = open_final  # type: ignore[method-assign]
    sink.JobWriter.choose = lambda _writer, wanted: wanted  # type: ignore[method-assign]


def not_durable() -> None:
    from burncloud_images.bulk import sink

    folder = sink.JobSink.folder.fget  # type: ignore[attr-defined]
    sink.JobSink.folder = property(lambda place: attrs.evolve(folder(place), durable=False))  # type: ignore[assignment]


def forgetful() -> None:
    from burncloud_images.bulk.database import Database

    def fail(store: Any, key: str, failure: Any, **options: Any) -> Any:
        return Database.fail(store, key, failure, may_be_billed=False, **options)

    Database.doubt = fail  # type: ignore[method-assign]


CONTROLS: dict[str, Callable[[], None]] = {
    "late intent": late_intent,
    "unsynced intent": unsynced_intent,
    "torn images": torn_images,
    "not durable": not_durable,
    "forgetful": forgetful,
}
