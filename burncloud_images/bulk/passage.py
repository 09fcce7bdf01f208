"""
The client hooks of one job request: budget, rate limits and state around each attempt.

It asks for permits at the moment of sending, and records durably what is about to be bought before a connection is
opened. A request that was sent may be billed; one that waits, also after a refusal, is not.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from decimal import ROUND_CEILING

import attrs

from burncloud_images.bulk.admission import Admission
from burncloud_images.bulk.budget import JobPurse
from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.pace import Permit
from burncloud_images.bulk.queue import JobStopped
from burncloud_images.bulk.records import RequestRecord, UnfetchedLink
from burncloud_images.calls.hooks import CallHooks
from burncloud_images.errors import Billing, ImagesError, OutcomeUnknownError, StorageError
from burncloud_images.results import (
    MOST_WORDS,
    Attempt,
    Cost,
    ImagesResult,
    RefusedImage,
    SavedImage,
    Task,
    Unfetched,
)
from burncloud_images.wire.answer import ImagesAnswer
from burncloud_images.wire.costs import find_cost

MAX_USAGE_TOKENS = 10**12
"""An answer that names more for one request says nothing."""


@attrs.define(kw_only=True)
class Passage(CallHooks):
    """
    The hooks of one request's call.

    Attributes:
        weights: What it counts for in each limit of the pace.
        store: Takes down how far it is.
        make_way: Moves files of an earlier attempt to `rescue/`.
        halted: Says whether the job starts nothing more.
        pays_again: Whether another attempt buys anew after one that may have been billed.
        now: The date, in seconds since 1970.
        permit: The permit of the attempt that is under way.
        doubtful: Whether an attempt may have been billed that brought nothing.
        failures: What the attempts raised.
        known: Whether the server answered "in flight" for this key, so that asking again buys nothing.
        paid: Whether a whole answer has come.
        holds: Whether money is reserved.
        sent: Whether the store has it as sent.
        dropped: Whether the job has given it up.
        request_id: The server's id for its last answer.
    """

    record: RequestRecord
    weights: Mapping[str, float]
    store: JobStore
    admission: Admission
    purse: JobPurse
    make_way: Callable[[], Awaitable[None]]
    halted: Callable[[], bool]
    pays_again: bool = True
    now: Callable[[], float] = time.time
    permit: Permit | None = None
    doubtful: bool = False
    failures: list[ImagesError] = attrs.field(factory=list, repr=False)
    known: bool = False
    paid: bool = False
    holds: bool = False
    sent: bool = False
    dropped: bool = False
    request_id: str | None = None

    @property
    def may_be_billed(self) -> bool:
        """Whether it may have been billed by now."""
        return self.permit is not None or self.doubtful or self.paid

    @property
    def buys_again(self) -> bool:
        """Whether the next attempt may buy images that an earlier attempt may have bought."""
        return self.doubtful and self.pays_again and not self.known

    async def before_attempt(self) -> None:
        """
        Wait for a permit, and write down that it is sent.

        Raises:
            JobStopped: The job starts nothing more.
            StorageError: It cannot be written down, so it is not sent.
        """
        self.check()
        reserved = await self.reserve()
        permit = await self.admission.enter(self.weights)
        try:
            self.check()
            await self.mark_sent(reserved)
        except BaseException:
            self.admission.cancel()
            raise
        self.permit = permit

    def check(self) -> None:
        if self.halted():
            raise JobStopped

    async def reserve(self) -> int:
        """Reserve the worst case for each attempt that may buy; what was reserved before may be spent by then."""
        if self.buys_again:
            self.purse.keep(self.record)
            self.holds = False
        if self.holds:
            return 0
        reserved = await self.purse.reserve(self.record)
        self.holds = True
        return reserved

    async def mark_sent(self, reserved: int) -> None:
        """Write down that it is sent. A request in doubt stays sent over its further attempts."""
        if not self.doubtful:
            if self.record.failure is not None:
                await self.make_way()
            await self.store.mark_sent(self.record.key, reserved=reserved, at=self.now())
            self.sent = True
        elif self.buys_again:
            await self.store.mark_resent(self.record.key, reserved=reserved, at=self.now())
        else:
            await self.store.mark_polled(self.record.key, at=self.now())

    async def on_response(self, status: int, headers: Mapping[str, str]) -> None:  # noqa: ARG002 (a hook)
        """Let the pace follow what the API says is left."""
        if self.permit is not None:
            self.admission.observe(self.permit, headers)

    async def after_attempt(self, attempt: Attempt, error: ImagesError | None) -> None:
        """Give the permit back; a request that was refused and waits for another attempt is as if it was never sent."""
        permit, self.permit = self.permit, None
        if permit is not None:
            self.admission.leave(permit, attempt, error)
        self.request_id = attempt.request_id or self.request_id
        self.paid = error is None
        if error is not None:
            self.failures.append(error)
            self.doubtful = self.doubtful or error.billed > Billing.NO
        self.known = isinstance(error, OutcomeUnknownError) and error.in_flight
        if error is not None and attempt.wait is not None and not self.doubtful:
            self.release_budget()
            await self.release()

    async def release(self) -> None:
        """Note that nothing was billed, and that another attempt follows."""
        if self.sent:
            self.sent = False
            await self.store.release(self.record.key)

    def release_budget(self) -> None:
        """Release what was reserved."""
        if self.holds:
            self.holds = False
            self.purse.free(self.record)

    async def on_accepted(self, task: Task) -> None:
        """Write down the task before it is asked for. If the disk is full, its images are fetched all the same."""
        with suppress(StorageError):
            await self.store.mark_accepted(self.record.key, task, request_id=self.request_id)

    async def on_links(self, links: Sequence[Unfetched], answer: ImagesAnswer) -> None:
        """Keep the addresses of what is paid. If the disk is full, the images are fetched all the same."""
        kept = [UnfetchedLink.of(link) for link in links]
        with suppress(StorageError):
            await self.store.mark_received(self.record.key, kept, about=describe(answer), request_id=self.request_id)


def is_countable(usage: Mapping[str, object]) -> bool:
    """Say whether the tokens that an answer names are numbers that can be added up."""
    return all(
        is_countable(value) if isinstance(value, Mapping) else isinstance(value, int) and 0 <= value <= MAX_USAGE_TOKENS
        for value in usage.values()
        if value is not None
    )


def find_stated_cost(answer: ImagesAnswer) -> Cost | None:
    return find_cost(answer.usage, answer.extra) or answer.cost


def to_nano_dollars(cost: Cost | None) -> int | None:
    """Return a cost in nano-dollars, rounded up; None for other currencies, whose rates are not known."""
    if cost is None or cost.currency != "USD":
        return None
    return int(cost.amount.scaleb(9).to_integral_value(ROUND_CEILING))


def describe(answer: ImagesAnswer | ImagesResult[SavedImage]) -> dict[str, object]:
    """Return what an answer says in addition to its images, as JSON."""
    usage = (
        attrs.asdict(answer.usage, filter=lambda field, _: field.name != "extra") if answer.usage is not None else {}
    )
    stated = answer.stated_cost if isinstance(answer, ImagesResult) else find_stated_cost(answer)
    about: dict[str, object] = {
        "created": answer.created.isoformat() if answer.created is not None else None,
        "usage": usage if is_countable(usage) else None,
        "cost": to_nano_dollars(stated),
        **{name: getattr(answer, name) for name in ("background", "output_format", "quality", "size")},
    }
    items = answer.items if isinstance(answer, ImagesAnswer) else answer.images
    revised = {str(item.index): item.revised_prompt for item in items if item.revised_prompt}
    found = {**about, "revised_prompts": revised, "refused": [describe_refusal(image) for image in answer.refused]}
    return {name: value for name, value in found.items() if value}


def describe_refusal(image: RefusedImage) -> dict[str, object]:
    """Return what the store keeps of an image that the server refused."""
    return {"index": image.index, "code": image.code, "message": image.message[:MOST_WORDS]}
