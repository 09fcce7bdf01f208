"""
One attempt of a call: sends the request and receives its answer, or raises the error with all that arrived.

Each attempt is a new object; what stays the same over the attempts of a call is in its `CallSpec`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import cached_property, partial
from typing import Generic, Literal, TypeAlias, TypeVar

import attrs

from burncloud_images.calls.answer_buffer import AnswerBuffer, find_place
from burncloud_images.calls.hooks import CallHooks
from burncloud_images.calls.receiving import Decoder, Receiver
from burncloud_images.calls.resources import Resources
from burncloud_images.calls.response_body import ResponseBody, too_large
from burncloud_images.calls.sent_images import SentImages
from burncloud_images.calls.stream_monitor import StreamedImage, StreamMonitor, StreamObserver, check_life
from burncloud_images.calls.url_expiry import Expiry, ReceivedAt, find_expiry
from burncloud_images.errors import (
    Billing,
    ConnectionFailedError,
    ImagesError,
    OutcomeUnknownError,
    Phase,
    ProtocolError,
    completed,
)
from burncloud_images.files.sinks import ImageContext, Sink, to_id
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.results import Attempt, ImageDetails, Task
from burncloud_images.settings import Settings
from burncloud_images.transport.interface import AttemptState, ReplayableUpload, Response
from burncloud_images.transport.secret import RedactedResponse, to_headers
from burncloud_images.wire.answer import ImagesAnswer
from burncloud_images.wire.body_text import BodyTextDecoder
from burncloud_images.wire.costs import find_cost
from burncloud_images.wire.dialects import asking
from burncloud_images.wire.encoded_request import EncodedRequest
from burncloud_images.wire.events import StreamDecoder
from burncloud_images.wire.failures import ErrorResponse, to_error
from burncloud_images.wire.headers import find_date, find_request_id, find_retry_after
from burncloud_images.wire.image_json import AnswerDecoder, ImageBodyDecoder, OpaqueDecoder
from burncloud_images.wire.redaction import KeyRedactor
from burncloud_images.wire.result_url import resolve_url
from burncloud_images.wire.tasks import TaskState, find_task

T = TypeVar("T", bound=ImageDetails)
Tasks: TypeAlias = Literal["auto", "ask", "off"]
"""Follow a task if the server makes one of a request; ask it for one; or raise an error that names it."""

MOST_ITEMS_EACH = 4
"""Maximum images that are taken of an answer, for each that was asked for; thousands would be a mistake."""
LEAST_ITEMS = 100


@attrs.frozen(kw_only=True)
class CallSpec(Generic[T]):
    """
    What one call sends and how.

    Attributes:
        request: Any of the three.
        fields: What is sent of it beside its images, with the client's model if it names none.
        sink: Takes the images.
        settings: Of the client.
        resources: Of the client.
        idempotency_key: The same for all attempts.
        via_stream: Whether to ask for a stream. What comes is taken as what it is.
        observer: Called with the previews and images of a stream as they come.
        hooks: Called around each attempt.
        image_count: How many images are asked for.
        tasks: Whether a task is followed that the server makes of the request, and whether to ask for one.
        sent: The images of the request.
    """

    request: ImagesRequest
    fields: Mapping[str, object]
    sink: Sink[T]
    settings: Settings
    resources: Resources
    idempotency_key: str
    via_stream: bool = False
    observer: StreamObserver | None = None
    hooks: CallHooks | None = None
    tasks: Tasks = "auto"
    sent: SentImages = attrs.field(factory=SentImages, repr=False)
    image_count: int = attrs.field(init=False, default=attrs.Factory(lambda spec: spec.request.n or 1, takes_self=True))

    @cached_property
    def context(self) -> ImageContext:
        """The sink's context for the first image."""
        return ImageContext(
            id=to_id(self.idempotency_key),
            index=0,
            prompt=str(getattr(self.request, "prompt", "")),
            model=self.request.model or self.settings.model or "",
            date=self.resources.clock.now(),
            executor=self.resources.executor,
        )


@attrs.frozen(kw_only=True)
class ReceivedAnswer(Generic[T]):
    """
    A whole answer.

    Attributes:
        answer: What it says beside its images.
        receiver: Holds its images.
        at: When it came.
        request_id: The server's id for it.
        task: What the server works on, if the images are still to come.
        wait: Seconds that the server asks to wait before the images are requested.
        wanted: How many images were asked for.
    """

    answer: ImagesAnswer
    receiver: Receiver[T] = attrs.field(repr=False)
    at: ReceivedAt
    request_id: str | None
    task: Task | None = None
    wait: float | None = None
    wanted: int = 1

    @property
    def has_all(self) -> bool:
        """Whether it has as many images as were asked for, whole or at their addresses."""
        kept, damaged = self.receiver.kept, self.receiver.damaged
        there = [item for item in self.answer.items if item.index in kept or item.url]
        return not damaged and len(there) >= self.wanted

    @property
    def is_about_work(self) -> bool:
        """Whether it says no more than that a task is at work, so that it can hold no image in any form."""
        report = self.answer.task
        is_told = report is not None and report.state in {TaskState.RUNNING, TaskState.FAILED}
        return is_told and not self.receiver.has_dropped

    @cached_property
    def expiries(self) -> Mapping[int, Expiry]:
        """When the URL of each image expires, by the image's place in the answer."""
        created, items = self.answer.created, self.answer.items
        return {item.index: find_expiry(item.url, created, self.at) for item in items if item.url}


def resolve_urls(answer: ImagesAnswer, spec: CallSpec[T]) -> ImagesAnswer:
    """Return *answer* with the URLs of its images as they can be requested, read as relative to the endpoint."""
    if not any(item.url for item in answer.items):
        return answer
    base = spec.settings.url(f"/images/{spec.request.operation}")
    items = tuple(attrs.evolve(item, url=resolve_url(item.url, base)) if item.url else item for item in answer.items)
    return attrs.evolve(answer, items=items)


def make_state(attempt: RequestAttempt[T]) -> AttemptState:
    return AttemptState(clock=attempt.spec.resources.clock, source=attempt.spec.settings.base_url_source)


def make_context(attempt: RequestAttempt[T]) -> ImageContext:
    """Return the sink's context for the first image; images of a later attempt get names of their own."""
    context, retries = attempt.spec.context, attempt.number - 1
    if not retries:
        return context
    return attrs.evolve(context, id=f"{context.id}-r{retries}", date=attempt.spec.resources.clock.now())


def make_redactor(attempt: RequestAttempt[T]) -> KeyRedactor:
    return attempt.spec.resources.redactors(attempt.key, attempt.spec.settings.secrets)


def make_buffer(attempt: RequestAttempt[T]) -> AnswerBuffer:
    find_path = partial(find_place, attempt.spec.sink, attempt.context)
    return AnswerBuffer(executor=attempt.spec.resources.executor, find_path=find_path)


@attrs.define(kw_only=True)
class RequestAttempt(Generic[T]):
    """
    One attempt to send the request and to receive its answer.

    Attributes:
        spec: What is sent.
        key: The API key.
        number: From 1.
        state: How far the attempt is.
        started: When it began, on the steady clock.
        redaction: Masks the key in everything that the server sends.
        context: For the first image.
        buffer: Holds the answer until it is understood.
        request_id: The server's id, once an answer has begun.
        received_at: When an answer of success began.
        receiver: Takes it.
        task: What the server has made of the request, if its answer says so.
        wait: Seconds that it asks to wait before it is asked for that.
        is_refunded: Whether the server says that it charges nothing for what failed.
    """

    spec: CallSpec[T]
    key: str = attrs.field(repr=False)
    number: int
    state: AttemptState = attrs.field(default=attrs.Factory(make_state, takes_self=True))
    started: float = attrs.field(default=attrs.Factory(lambda self: self.state.clock.monotonic(), takes_self=True))
    redaction: KeyRedactor = attrs.field(default=attrs.Factory(make_redactor, takes_self=True))
    context: ImageContext = attrs.field(default=attrs.Factory(make_context, takes_self=True))
    buffer: AnswerBuffer = attrs.field(default=attrs.Factory(make_buffer, takes_self=True))
    request_id: str | None = None
    received_at: ReceivedAt | None = None
    receiver: Receiver[T] | None = attrs.field(default=None, repr=False)  # it holds images
    task: Task | None = None
    wait: float | None = None
    is_refunded: bool = False

    async def run(self, encoded: EncodedRequest, uploads: Sequence[ReplayableUpload]) -> ReceivedAnswer[T]:
        """
        Send the request and receive its answer.

        Raises:
            ImagesError: With all that arrived.
        """
        try:
            try:
                answer: ImagesAnswer | ImagesError = await self.send(encoded, uploads)
            except ImagesError as error:
                answer = error
            if isinstance(answer, ImagesError):
                answer = await self.salvage(answer)
        except ImagesError:
            raise
        except BaseException:
            await self.abandon()
            raise
        return self.received(answer)

    def received(self, answer: ImagesAnswer) -> ReceivedAnswer[T]:
        assert self.receiver is not None
        assert self.received_at is not None
        return ReceivedAnswer(
            answer=resolve_urls(answer, self.spec),
            receiver=self.receiver,
            at=self.received_at,
            request_id=self.request_id,
            task=self.task,
            wait=self.wait,
            wanted=self.spec.image_count,
        )

    async def send(self, encoded: EncodedRequest, uploads: Sequence[ReplayableUpload]) -> ImagesAnswer:
        spec = self.spec
        url, body = spec.settings.url(encoded.path), (encoded.plan, uploads)
        headers = {
            **to_headers(self.key, spec.settings.network.headers, spec.settings.key_header),
            "Idempotency-Key": spec.idempotency_key,
        }
        if spec.tasks == "ask":
            headers |= asking(spec.settings.dialect).headers
        if spec.via_stream:
            headers["Accept"] = "text/event-stream"
        async with spec.resources.transport.post(url, headers, body, self.state, spec.settings.timeouts) as answered:
            response = RedactedResponse(answered, self.redaction)
            self.request_id = find_request_id(response.headers)
            if spec.hooks is not None:
                await spec.hooks.on_response(response.status, response.headers)
            if not 200 <= response.status < 300:
                raise await self.refusal(response)
            lost: ImagesError | None = None
            try:
                answer = await self.receive(response)
            except (OutcomeUnknownError, ProtocolError) as error:
                lost, answer = error, ImagesAnswer()
                self.receiver = self.receiver or self.open_receiver(AnswerDecoder())
            if answer.task is not None or not answer.items:
                self.note_task(response, answer, url)
            if self.task is None and lost is not None:
                raise lost
            if self.task is not None:
                self.state.phase = Phase.ACCEPTED
                return answer
            if answer.error is not None:  # some gateways answer errors with 200
                raise self.to_failure(response, answer, Phase.BODY_IN)
            self.state.enter(Phase.COMPLETE)  # a stream may go on after its last image
            return answer

    def note_task(self, response: Response, answer: ImagesAnswer, url: str) -> None:
        """Note the task that an answer names as at work, or without images; headers are enough if its body is lost."""
        assert self.receiver is not None
        is_empty = not self.receiver.has_images and not answer.has_images
        if answer.error is not None or not (answer.is_running or is_empty):
            return
        self.task = find_task(
            answer.task,
            response.status,
            response.headers,
            request_url=url,
            idempotency_key=self.spec.idempotency_key,
        )
        said = answer.task.wait if answer.task is not None else None
        self.wait = find_retry_after(response.headers, resets=False, now=self.state.clock.now()) or said

    # --- an answer of success ----------------------------------------------------------------------------------------

    async def receive(self, response: Response) -> ImagesAnswer:
        """Take an answer as what it is by how it begins, not as what was asked for or by its label."""
        now = self.state.clock.monotonic()
        self.received_at = ReceivedAt(
            date=find_date(response.headers),
            local=self.spec.resources.clock.now(),
            steady=now,
            elapsed=now - self.started,
        )
        async with aclosing(response.chunks()) as chunks:
            body = self.open_body(response, chunks)
            self.receiver = await self.choose_receiver(response, body)
            answer = await self.receiver.take(body)
            # Of a stream not all of the text is held, so its values themselves are looked through.
            is_clean = self.receiver.watch is None and self.redaction.is_clean(answer.raw)
            cost = find_cost(None, {}, response.headers)
            answer = answer if cost is None else attrs.evolve(answer, cost=cost)
            return answer if is_clean else self.redaction.value(answer)

    def open_body(self, response: Response, chunks: AsyncIterator[bytes]) -> ResponseBody:
        """
        Return the body of an answer, to be read.

        Raises:
            TooLargeError: Its headers say that it is larger than `Limits.response`.
        """
        most = self.spec.settings.limits.response
        announced = response.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced) > most:
            raise too_large("answer", "response", most)
        label = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        text = BodyTextDecoder(is_events=label == "text/event-stream")
        return ResponseBody(chunks=chunks, text=text, buffer=self.buffer, most=most)

    async def choose_receiver(self, response: Response, body: ResponseBody) -> Receiver[T]:
        spec = self.spec
        most_items = max(MOST_ITEMS_EACH * spec.image_count, LEAST_ITEMS)
        patience = spec.settings.timeouts.first_byte
        watch = None
        decoder: Decoder
        match await body.begin(partial(check_life, self.state, 0.0, patience)):
            case "events":
                decoder = StreamDecoder(spec.settings.limits.event, most_items, spec.image_count)
                watch = StreamMonitor(
                    state=self.state,
                    patience=patience,
                    observer=discreet(spec.observer, self.redaction) if spec.observer is not None else None,
                    request_id=self.request_id,
                    idempotency_key=spec.idempotency_key,
                    most_items=most_items,
                )
            case "answer":
                decoder = AnswerDecoder(most_items, spec.sent.addresses)
            case "image":
                decoder = ImageBodyDecoder()
            case _:
                decoder = OpaqueDecoder(response.headers.get("content-encoding", ""))
        if watch is None:
            self.state.take_answer()
        return self.open_receiver(decoder, watch)

    def open_receiver(self, decoder: Decoder, watch: StreamMonitor | None = None) -> Receiver[T]:
        return Receiver(
            decoder=decoder,
            sink=self.spec.sink,
            placement=self.context,
            limits=self.spec.settings.limits,
            buffer=self.buffer,
            watch=watch,
            sent=self.spec.sent,
        )

    # --- how else it can end -----------------------------------------------------------------------------------------

    async def refusal(self, response: Response) -> ImagesError:
        """Return the error of a status that is not of success, after reading as much of its body as is allowed."""
        phase = self.state.phase  # before reading, which cannot make half a request whole
        body = await read_error(response, self.spec.settings.limits.error_body)
        return self.to_error(response, self.redaction.body(body), phase)

    def to_failure(self, response: Response, answer: ImagesAnswer, phase: Phase, *, task_id: str = "") -> ImagesError:
        """Return the error that an answer holds; one that ended a task may say that nothing is charged."""
        if answer.refused and not (answer.task is not None and answer.task.error is not None):
            error = self.to_error(response, json.dumps(answer.error).encode(), phase, task_id)
            error.billed = max(error.billed, Billing.MAYBE)  # they may have been made
            return error
        if answer.task is None or answer.task.state is not TaskState.FAILED:
            error = self.to_error(response, answer.raw, phase)
            self.is_refunded = error.billed is Billing.NO
            return error
        task_id = task_id or answer.task.id or ""
        error = self.to_error(response, json.dumps(answer.error).encode(), phase, task_id)
        self.is_refunded = answer.task.refunded
        error.task = Task(id=task_id, is_ended=True) if task_id else None
        error.billed = Billing.NO if self.is_refunded else max(error.billed, Billing.MAYBE if task_id else Billing.NO)
        return error

    def to_error(self, response: Response, body: bytes, phase: Phase, task_id: str = "") -> ImagesError:
        settings = self.spec.settings
        return to_error(
            ErrorResponse(
                status=200 if task_id else response.status,  # of the question, which says nothing of the task
                headers=response.headers,
                body=body,
                phase=phase,
                operation=self.spec.request.operation,
                unknown_codes=settings.retry.unknown_codes,
                dialect=settings.dialect,
                trust_errors=settings.retry.trust_errors,
                codes=settings.retry.codes,
                billed=self.receiver.billed if self.receiver is not None else Billing.NO,
                received_at=self.state.clock.now(),
                task_id=task_id,
            )
        )

    async def salvage(self, error: ImagesError) -> ImagesAnswer:
        """
        Return the answer if all of it came before *error*, as over a stream that broke after its last image.

        Raises:
            ImagesError: Not all of it came; *error* has what did.
        """
        answer = await self.receiver.salvage(error) if self.receiver is not None else None
        if answer is not None:
            return self.redaction.value(answer)
        await self.buffer.drop()  # unless the error has it
        self.redaction.error(error)
        if self.is_refunded:
            error.billed = Billing.NO
        raise completed(error, phase=self.state.phase, request_id=self.request_id)

    async def abandon(self) -> None:
        """Remove what has arrived."""
        if self.receiver is not None:
            await self.receiver.abandon()
            await self.receiver.drop_held()
        await self.buffer.drop()

    # --- what can be told of it --------------------------------------------------------------------------------------

    @property
    def billed(self) -> Billing:
        """What the attempt may have cost if it is cancelled now."""
        by_phase = Billing.MAYBE if self.state.phase.may_be_billed else Billing.NO
        return max(by_phase, self.receiver.billed if self.receiver is not None else Billing.NO)

    def describe(self, failure: BaseException | None, wait: float | None = None) -> Attempt:
        """Return the attempt for the call's history: what ended it, and how long until the next."""
        return Attempt(
            number=self.number,
            phase=self.state.phase,
            elapsed=self.state.clock.monotonic() - self.started,
            status=self.state.status,
            request_id=self.request_id,
            sent=self.state.sent,
            failure=type(failure).__name__ if failure is not None else None,
            wait=wait,
            idempotency_key=self.spec.idempotency_key,
            reused=self.state.reused,
        )


def discreet(observer: StreamObserver, redaction: KeyRedactor) -> StreamObserver:
    """Return an observer that is called without the key, which some gateways echo."""

    async def show_without_key(image: StreamedImage) -> None:
        await observer(redaction.value(image))

    return show_without_key


async def read_error(response: Response, most: int) -> bytes:
    """Return the beginning of a body; if the rest does not come, the status alone says enough."""
    body = bytearray()
    with suppress(ConnectionFailedError, OutcomeUnknownError, ProtocolError):
        await read_into(body, response, most)
    return bytes(body)


async def read_into(body: bytearray, response: Response, most: int) -> None:
    """Add a body to *body*, or its beginning if it is larger."""
    async with aclosing(response.chunks()) as chunks:
        async for chunk in chunks:
            body += chunk[: most - len(body)]
            if len(body) >= most:
                break
