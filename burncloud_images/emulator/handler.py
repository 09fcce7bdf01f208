"""One request to an endpoint that bills, from its head to the answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
from aiohttp import web

from burncloud_images.emulator.delivery import GONE, Delivery, cut, deliver, merge, pause, stand_in
from burncloud_images.emulator.errors import Answer, Refusal
from burncloud_images.emulator.faults import STREAMED, Fault, Script
from burncloud_images.emulator.ledger import Book, Keys
from burncloud_images.emulator.request_body import Submission, drain, take
from burncloud_images.emulator.responses import EVENT_STREAM, to_events, to_fabricated, to_reply, write_stream
from burncloud_images.emulator.results import Shelf, to_http_date
from burncloud_images.emulator.specs import Order, to_order
from burncloud_images.errors import Phase
from burncloud_images.results import EXTENSIONS

if TYPE_CHECKING:
    from burncloud_images.emulator.renderer import Made, Studio

FAULT_HEADER = "X-Emulator-Fault"
SMALL_BUFFER = 64 * 1024


@attrs.frozen(kw_only=True)
class Desk:
    """
    What all requests share.

    Attributes:
        api_key: The only one that is accepted.
        latency: Seconds before each answer.
        clock: Tells seconds since 1970.
        book: Where requests are entered.
        script: Deals out faults.
        keys: Idempotency keys that were seen.
        shelf: Keeps results.
        studio: Draws.
        closing: Set when the server stops.
    """

    api_key: str = attrs.field(repr=False)
    latency: float
    clock: Callable[[], float]
    book: Book
    script: Script
    keys: Keys
    shelf: Shelf
    studio: Studio
    closing: asyncio.Event


def check_key(request: web.BaseRequest, api_key: str) -> None:
    """
    Compare the bearer key.

    Raises:
        Refusal: There is none, or another.
    """
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or key.strip() != api_key:
        missing = not request.headers.get("Authorization")
        message = "No API key was sent; it goes into the Authorization header." if missing else "The API key is wrong."
        raise Refusal(message, code="invalid_api_key", status=401)


def to_partials(order: Order, fault: Fault) -> int:
    """Return how many early states *fault* leaves of each image."""
    if fault.plain or fault.fabricated:
        return 0
    return order.partials if fault.partials is None else min(order.partials, fault.partials)


@attrs.define(kw_only=True)
class Exchange:
    """
    One request and what becomes of it.

    Attributes:
        desk: What all requests share.
        request: What arrived.
        operation: The endpoint.
        request_id: Given back in `x-request-id`.
        number: Of its entry in the book.
        fault: What is to go wrong.
        submission: What has been read.
        phase: How far it got.
    """

    desk: Desk
    request: web.BaseRequest
    operation: str
    request_id: str
    number: int = 0
    fault: Fault | None = None
    submission: Submission = attrs.field(factory=Submission)

    async def run(self) -> web.StreamResponse:
        """Serve the request and enter in the book what became of it."""
        self.number = self.desk.book.open(self.operation, self.request.headers, self.request_id)
        try:
            return (await self.serve()).response
        except ConnectionError:
            # The peer left in the middle of its upload; the book knows how much had arrived.
            return GONE.response
        finally:
            self.submission.close()

    def note(self, **changes: object) -> None:
        self.desk.book.note(self.number, **changes)

    async def serve(self) -> Delivery:
        try:
            check_key(self.request, self.desk.api_key)
            self.fault = self.draw()
        except Refusal as refusal:
            await self.read(drain(self.request))
            return await self.answer(refusal.answer)
        if self.fault is not None and self.fault.place in {"before-body", "upload"}:
            return await self.strike_early(self.fault)
        try:
            await self.read(take(self.request, self.submission))
            return await self.work()
        except Refusal as refusal:
            self.spare()
            return await self.answer(refusal.answer)

    def spare(self) -> None:
        """Leave the fault for another request: it has nothing to strike here."""
        if self.fault is not None:
            self.desk.script.put_back(self.fault)
            self.fault = None
            self.note(fault=None)

    @property
    def is_stream(self) -> bool:
        """Whether events are asked for, where there are any."""
        return self.operation in STREAMED and self.submission.fields.get("stream") is True

    def draw(self) -> Fault | None:
        wanted = self.request.headers.get(FAULT_HEADER)
        try:
            fault = Fault.from_json(wanted) if wanted else self.desk.script.draw(self.operation)
        except ValueError as error:
            raise Refusal(f"{FAULT_HEADER} asks for no fault: {error}.", code="invalid_fault") from error
        self.note(fault=fault)
        return fault

    async def read(self, reading: Awaitable[object]) -> None:
        """Wait for the whole body."""
        self.note(phase=Phase.BODY)
        try:
            await reading
        finally:
            # Before the answer: whoever has that may look into the book.
            self.note(fields=tuple(self.submission.texts), parts=self.submission.parts)
            if self.request.content.is_eof() and self.request.content.exception() is None:
                self.note(complete=True, phase=Phase.FINAL_RELEASED)

    async def strike_early(self, fault: Fault) -> Delivery:
        """Strike before the whole body was read."""
        if fault.place == "upload":
            await self.read_until(fault)
        if not fault.answers:
            return await self.fall_silent(fault)
        delivery = await self.answer(stand_in(fault))
        with suppress(ConnectionError):  # closing now would reset the connection before the answer is read
            await drain(self.request)
        return delivery

    async def read_until(self, fault: Fault) -> None:
        # A large receive buffer would take in the rest behind the server's back.
        peer = self.request.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        content = self.request.content
        wanted = fault.offset(self.request.content_length or 0)
        self.note(phase=Phase.BODY)
        while content.total_bytes < wanted and not content.at_eof():
            await content.readany()

    async def fall_silent(self, fault: Fault) -> Delivery:
        await pause(self.desk.latency + fault.delay, self.desk.closing)
        await cut(self.request, fault.cut or "close", self.desk.closing)
        return GONE

    async def work(self) -> Delivery:
        """Strike before the images are made, or make them."""
        if self.fault is not None and self.fault.in_stream and not self.is_stream:
            self.spare()
        fault = self.fault
        if fault is None:
            return await self.answer(await self.make())
        answer = stand_in(fault) if fault.answers else None
        if not fault.spares_the_work:
            made = await self.make()
            answer = answer or attrs.evolve(made, headers=merge(made.headers, self.fault or Fault()))
        if answer is None or fault.silent:
            return await self.fall_silent(fault)
        return await self.answer(answer)

    async def make(self) -> Answer:
        """Return the API's answer: made now and billed, or as it was given before."""
        key = self.request.headers.get("Idempotency-Key")
        keys = self.desk.keys
        known = keys.take(key, (self.operation, tuple(self.submission.texts), self.submission.parts))
        if known is not None:
            return known
        try:
            answer = await self.make_anew()
        except Refusal:
            keys.forget(key)
            raise
        keys.keep(key, answer)
        return answer

    async def make_anew(self) -> Answer:
        """Make the images, bill them, and return the API's answer."""
        try:
            order = to_order(self.operation, self.submission, self.desk.shelf.find)
        finally:
            self.note(parts=self.submission.parts)  # images by reference are read only now
        if order.stream:
            order = self.limit(order)
        made = await self.desk.studio.make(order)
        self.note(billed=True, images=len(made.images))
        created = int(self.desk.clock())
        if order.stream:
            return await self.tell(order, made, created)
        urls = self.shelve(made) if order.urls else ()
        return Answer(body=await self.desk.studio.run(to_reply, order, made.images, urls, created))

    def limit(self, order: Order) -> Order:
        """Return what is to be made for a stream with this fault, or spare the stream if that makes no difference."""
        fault = self.fault
        if fault is None:
            return order
        limited = attrs.evolve(order, stream=not fault.plain, partials=to_partials(order, fault))
        if fault.reaches(order.partials, order.n * (limited.partials + 1)):
            return limited
        self.spare()
        return order

    async def tell(self, order: Order, made: Made, created: int) -> Answer:
        """Return the stream that shows *made*; all of it has been billed, whatever becomes of the stream."""
        fault = self.fault
        run = self.desk.studio.run
        if fault is not None and fault.fabricated:
            urls = self.shelve(made) if fault.fabricated == "url" else ()
            events = await run(to_fabricated, order, made, urls, created)
        else:
            events = await run(to_events, order, made, created)
        return Answer(pieces=await run(write_stream, events, fault), headers={"Content-Type": EVENT_STREAM})

    def shelve(self, made: Made) -> tuple[str, ...]:
        """Put the images where their URLs find them."""
        place = f"{self.request.scheme}://{self.request.host}"
        expired = self.fault is not None and self.fault.expired
        extension = EXTENSIONS[made.media_type]
        put = self.desk.shelf.put
        return tuple(place + put(image, made.media_type, extension, expired=expired) for image in made.images)

    async def answer(self, answer: Answer) -> Delivery:
        fault = self.fault
        await pause(self.desk.latency + (fault.delay if fault else 0), self.desk.closing)
        about = {"Date": to_http_date(self.desk.clock()), "x-request-id": self.request_id}
        answer = attrs.evolve(answer, headers={**about, **answer.headers})
        status = None if fault is not None and fault.raw is not None else answer.status
        # Entered before it is sent: whoever has read the answer finds it in the book.
        self.note(status=status, phase=Phase.COMPLETE)
        delivery = await deliver(self.request, answer, fault, self.desk.closing)
        if not delivery.whole:
            self.note(phase=Phase.BODY_IN)
        return delivery
