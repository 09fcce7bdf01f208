"""One request to an endpoint that bills, from its head to the answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
from aiohttp import web

from burncloud_images.emulator.delivery import GONE, AnswerDelivery, cut, deliver, merge_headers, pause, to_replacement
from burncloud_images.emulator.errors import HTTPAnswer, RefusedRequest
from burncloud_images.emulator.faults import STREAMED, Fault, FaultPlan
from burncloud_images.emulator.image_specs import ImageSpec, to_spec
from burncloud_images.emulator.ledger import IdempotencyKeys, LedgerWriter
from burncloud_images.emulator.request_body import RequestBody, drain, read_body
from burncloud_images.emulator.responses import (
    EVENT_STREAM,
    encode_events,
    to_events,
    to_gateway_events,
    to_response_body,
)
from burncloud_images.emulator.result_urls import ResultCache, to_http_date
from burncloud_images.emulator.tasks import TaskList
from burncloud_images.errors import Phase
from burncloud_images.results import EXTENSIONS

if TYPE_CHECKING:
    from burncloud_images.emulator.renderer import RenderedImages, Renderer

FAULT_HEADER = "X-Emulator-Fault"
SMALL_BUFFER = 64 * 1024


@attrs.frozen(kw_only=True)
class ServerState:
    """
    What all requests share.

    Attributes:
        api_key: The only one that is accepted.
        latency: Seconds before each answer.
        clock: Tells seconds since 1970.
        tasks: Keeps tasks; None if requests are answered with their images.
    """

    api_key: str = attrs.field(repr=False)
    latency: float
    clock: Callable[[], float]
    ledger_writer: LedgerWriter
    fault_plan: FaultPlan
    idempotency_keys: IdempotencyKeys
    result_cache: ResultCache
    renderer: Renderer
    closing: asyncio.Event
    tasks: TaskList | None = None


def check_key(request: web.BaseRequest, api_key: str) -> None:
    """
    Compare the bearer key.

    Raises:
        RefusedRequest: The key is missing or wrong.
    """
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or key.strip() != api_key:
        missing = not request.headers.get("Authorization")
        message = "No API key was sent; it goes into the Authorization header." if missing else "The API key is wrong."
        raise RefusedRequest(message, code="invalid_api_key", status=401)


def to_partials(spec: ImageSpec, fault: Fault) -> int:
    """Return how many early states of each image are sent with *fault*."""
    if fault.plain or fault.fabricated:
        return 0
    return spec.partials if fault.partials is None else min(spec.partials, fault.partials)


@attrs.define(kw_only=True)
class RequestHandler:
    """
    One request and its answer.

    Attributes:
        request_id: Sent in `x-request-id`.
    """

    state: ServerState
    request: web.BaseRequest
    operation: str
    request_id: str
    number: int = 0
    fault: Fault | None = None
    body: RequestBody = attrs.field(factory=RequestBody)

    async def run(self) -> web.StreamResponse:
        """Serve the request and record it in the ledger."""
        self.number = self.state.ledger_writer.open(self.operation, self.request.headers, self.request_id)
        try:
            return (await self.serve()).response
        except ConnectionError:
            # The peer left in the middle of its upload; the ledger says how much had arrived.
            return GONE.response
        finally:
            self.body.close()

    def update(self, **changes: object) -> None:
        self.state.ledger_writer.update(self.number, **changes)

    async def serve(self) -> AnswerDelivery:
        try:
            check_key(self.request, self.state.api_key)
            self.fault = self.next_fault()
        except RefusedRequest as refusal:
            await self.read(drain(self.request))
            return await self.answer(refusal.answer)
        if self.fault is not None and self.fault.place in {"before-body", "upload"}:
            return await self.answer_early(self.fault)
        try:
            await self.read(read_body(self.request, self.body))
            return await self.work()
        except RefusedRequest as refusal:
            self.release_fault()
            return await self.answer(refusal.answer)

    def release_fault(self) -> None:
        """Return the fault to the plan, since it does not apply to this request."""
        if self.fault is not None:
            self.state.fault_plan.put_back(self.fault)
            self.fault = None
            self.update(fault=None)

    @property
    def is_stream(self) -> bool:
        """Whether the request asks an endpoint that streams for a stream."""
        return self.operation in STREAMED and self.body.fields.get("stream") is True

    def next_fault(self) -> Fault | None:
        wanted = self.request.headers.get(FAULT_HEADER)
        try:
            fault = Fault.from_json(wanted) if wanted else self.state.fault_plan.next(self.operation)
        except ValueError as error:
            raise RefusedRequest(f"{FAULT_HEADER} is not a valid fault: {error}.", code="invalid_fault") from error
        self.update(fault=fault)
        return fault

    async def read(self, reading: Awaitable[object]) -> None:
        """Read the whole body and record it."""
        self.update(phase=Phase.BODY)
        try:
            await reading
        finally:
            # Before the answer is sent: a client that has it may read the ledger.
            self.update(fields=tuple(self.body.texts), parts=self.body.parts)
            if self.request.content.is_eof() and self.request.content.exception() is None:
                self.update(complete=True, phase=Phase.FINAL_RELEASED)

    async def answer_early(self, fault: Fault) -> AnswerDelivery:
        """Strike before the whole body has been read."""
        if fault.place == "upload":
            await self.read_until(fault)
        if not fault.answers:
            return await self.cut_silently(fault)
        delivery = await self.answer(to_replacement(fault))
        with suppress(ConnectionError):  # closing now would reset the connection before the answer is read
            await drain(self.request)
        return delivery

    async def read_until(self, fault: Fault) -> None:
        # A large receive buffer would take in the rest behind the server's back.
        peer = self.request.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        content = self.request.content
        wanted = fault.offset(self.request.content_length or 0)
        self.update(phase=Phase.BODY)
        while content.total_bytes < wanted and not content.at_eof():
            await content.readany()

    async def cut_silently(self, fault: Fault) -> AnswerDelivery:
        await pause(self.state.latency + fault.delay, self.state.closing)
        await cut(self.request, fault.cut or "close", self.state.closing)
        return GONE

    async def work(self) -> AnswerDelivery:
        """Make the images, unless the fault prevents it, and answer."""
        if self.fault is not None and self.fault.in_stream and not self.is_stream:
            self.release_fault()
        if self.fault is not None and self.fault.task is not None and (self.state.tasks is None or self.is_stream):
            self.release_fault()
        fault = self.fault
        if fault is None:
            return await self.answer(await self.make())
        answer = to_replacement(fault) if fault.answers else None
        if not fault.prevents_images:
            made = await self.make()
            answer = answer or attrs.evolve(made, headers=merge_headers(made.headers, self.fault or Fault()))
        if answer is None or fault.silent:
            return await self.cut_silently(fault)
        return await self.answer(answer)

    async def make(self) -> HTTPAnswer:
        """Return the API's answer: a new one, which is billed, or the one given before to the same key."""
        key = self.request.headers.get("Idempotency-Key")
        keys = self.state.idempotency_keys
        cached = keys.claim(key, (self.operation, tuple(self.body.texts), self.body.parts))
        if cached is not None:
            return cached
        try:
            answer = await self.make_anew()
        except RefusedRequest:
            keys.release(key)
            raise
        keys.store(key, answer)
        return answer

    async def make_anew(self) -> HTTPAnswer:
        """Make the images, bill them, and return the API's answer."""
        try:
            spec = to_spec(self.operation, self.body, self.state.result_cache.find)
        finally:
            self.update(parts=self.body.parts)  # images by reference are read only now
        if spec.stream:
            spec = self.limit_partials(spec)
        made = await self.state.renderer.render(spec)
        self.update(billed=True, images=len(made.images))
        created = int(self.state.clock())
        if spec.stream:
            return await self.to_stream(spec, made, created)
        urls = self.store_results(made) if spec.urls else ()
        answer = HTTPAnswer(body=await self.state.renderer.run(to_response_body, spec, made.images, urls, created))
        return self.to_task(answer, self.state.tasks) if self.state.tasks is not None else answer

    def to_task(self, answer: HTTPAnswer, tasks: TaskList) -> HTTPAnswer:
        """Return the answer that names a task, whose images are in *answer*."""
        task, accepted = tasks.accept(self.number, answer, self.fault.task if self.fault is not None else None)
        self.update(task=task.id)
        return accepted

    def limit_partials(self, spec: ImageSpec) -> ImageSpec:
        """Return *spec* as the fault limits it; if that changes nothing, release the fault."""
        fault = self.fault
        if fault is None:
            return spec
        limited = attrs.evolve(spec, stream=not fault.plain, partials=to_partials(spec, fault))
        if fault.reaches(spec.partials, spec.n * (limited.partials + 1)):
            return limited
        self.release_fault()
        return spec

    async def to_stream(self, spec: ImageSpec, made: RenderedImages, created: int) -> HTTPAnswer:
        """Return the stream of *made*, all of which has been billed."""
        fault = self.fault
        run = self.state.renderer.run
        if fault is not None and fault.fabricated:
            urls = self.store_results(made) if fault.fabricated == "url" else ()
            events = await run(to_gateway_events, spec, made, urls, created)
        else:
            events = await run(to_events, spec, made, created)
        return HTTPAnswer(pieces=await run(encode_events, events, fault), headers={"Content-Type": EVENT_STREAM})

    def store_results(self, made: RenderedImages) -> tuple[str, ...]:
        """Store the images and return their URLs."""
        place = f"{self.request.scheme}://{self.request.host}"
        expired = self.fault is not None and self.fault.expired
        extension = EXTENSIONS[made.media_type]
        put = self.state.result_cache.put
        return tuple(place + put(image, made.media_type, extension, expired=expired) for image in made.images)

    async def answer(self, answer: HTTPAnswer) -> AnswerDelivery:
        fault = self.fault
        await pause(self.state.latency + (fault.delay if fault else 0), self.state.closing)
        about = {"Date": to_http_date(self.state.clock()), "x-request-id": self.request_id}
        answer = attrs.evolve(answer, headers={**about, **answer.headers})
        status = None if fault is not None and fault.raw is not None else answer.status
        # Recorded before it is sent: a client that has read the answer finds it in the ledger.
        self.update(status=status, phase=Phase.COMPLETE)
        delivery = await deliver(self.request, answer, fault, self.state.closing)
        if not delivery.whole:
            self.update(phase=Phase.BODY_IN)
        return delivery
