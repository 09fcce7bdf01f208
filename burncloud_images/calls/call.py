"""
One request, one result: check, measure, encode, send with retries, decode into the sink, fetch what came as URLs.

This is the page to read first; every step is one call into the room that does it.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import uuid
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import aclosing, suppress
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar

import attrs

from burncloud_images.calls.background import Background
from burncloud_images.calls.charge import free_of_charge
from burncloud_images.calls.download import Downloader
from burncloud_images.calls.expiry import Expiry, ReceivedAt, find_end, find_expiry
from burncloud_images.calls.hooks import CallHooks
from burncloud_images.calls.incoming import Incoming, too_large
from burncloud_images.calls.receiving import AnswerReceiver, OpaqueReceiver, Receiver
from burncloud_images.calls.retention import Retention, find_place
from burncloud_images.calls.streaming import Observer, StreamedImage, StreamReceiver, check_life
from burncloud_images.errors import (
    NOT_SENT,
    SENTENCES,
    AuthenticationError,
    Billing,
    ConnectionFailedError,
    DownloadError,
    ImagesError,
    ImagesWarning,
    InvalidRequestError,
    KeptAnswer,
    OutcomeUnknownError,
    Phase,
    ProtocolError,
    ResultExpiredError,
    StorageError,
    Violation,
    find_billing,
    mark,
)
from burncloud_images.files.sinks import ImageContext, Memory, Sink
from burncloud_images.files.uploads import open_uploads
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.model.rule_kinds import MeasuredImage
from burncloud_images.model.rules import field_violations, upload_violations
from burncloud_images.results import Attempt, Image, ImageDetails, ImagesResult, Unfetched
from burncloud_images.retry import Clock, PacingGate, RetryBudget, repeat
from burncloud_images.settings import OnAttempt, Settings
from burncloud_images.transport.address_guard import AddressPolicy
from burncloud_images.transport.port import AttemptState, Response, Transport, Upload
from burncloud_images.transport.secret import Address, DiscreetResponse, bearer, forgetting_locals
from burncloud_images.wire.answer import Answer, AnswerItem
from burncloud_images.wire.base_url import is_loopback, origin
from burncloud_images.wire.body import BodyText
from burncloud_images.wire.encode import EncodedRequest, encode
from burncloud_images.wire.failures import ErrorResponse, to_error
from burncloud_images.wire.headers import find_date, find_request_id
from burncloud_images.wire.image_json import AnswerDecoder, OpaqueDecoder
from burncloud_images.wire.redaction import Redaction

T = TypeVar("T", bound=ImageDetails)

FETCHING_IS_FREE = "Fetching an image costs nothing."
MOST_ITEMS_EACH = 4
"""Images that are taken of an answer, for each that was asked for; thousands would be somebody's mistake."""
LEAST_ITEMS = 100
MOST_WORDS = 500
MOST_DOWNLOADS = 8
"""Result URLs of one answer that are fetched at once."""


@attrs.frozen(kw_only=True)
class Resources:
    """What all copies of a client share."""

    transport: Transport
    executor: Executor
    clock: Clock
    budget: RetryBudget
    gate: PacingGate
    background: Background = attrs.field(factory=Background)

    def downloader(self, settings: Settings) -> Downloader:
        """Return what fetches result URLs."""
        return Downloader(
            transport=self.transport,
            guard=guard_for(settings),
            clock=self.clock,
            jitter=random.random,
            retry=settings.retry,
            timeouts=settings.timeouts,
            limits=settings.limits,
        )


def guard_for(settings: Settings) -> AddressPolicy:
    _, host, port = origin(settings.base_url)
    shown = f"[{host}]" if ":" in host else host
    own = {f"{shown}:{port}"} if is_loopback(host) else set()
    exempt = own | {name.lower() for name in settings.network.allowed_result_hosts}
    return AddressPolicy(allow_http=settings.network.allow_http, exempt=frozenset(exempt))


async def exchange(
    request: ImagesRequest,
    sink: Sink[T],
    settings: Settings,
    resources: Resources,
    *,
    streams: bool = False,
    observer: Observer | None = None,
    key: str | None = None,
    hooks: CallHooks | None = None,
) -> ImagesResult[T]:
    """
    Return the result of *request*, its images in *sink*.

    Args:
        request: Any of the three.
        sink: Takes the images.
        settings: Of the client.
        resources: Of the client.
        streams: Whether to ask for a stream. What comes is taken as what it is.
        observer: Is shown the previews and images of a stream as they come.
        key: The call's idempotency key; by default a new one.
        hooks: Accompanies the call.

    Raises:
        ImagesError: With the call's history and idempotency key.

    Cancellation closes the connection and removes partial files. A `CancelledError` that may have been billed carries a
    note with the key and the phase, and both as attributes. `on_attempt` sees the attempt that it ended.
    """
    if request.model is None and settings.model is not None:
        request = attrs.evolve(request, model=settings.model)
    call = Call(
        request=request,
        sink=sink,
        settings=settings,
        resources=resources,
        streams=streams,
        observer=observer,
        key=key or str(uuid.uuid4()),
        hooks=hooks or CallHooks(),
    )
    try:
        with forgetting_locals():
            return await call.run()
    except ImagesError as error:
        call.redaction.error(error)
        error.idempotency_key = call.key
        error.history = tuple(call.history)
        mark(error, call.billed)
        raise
    except asyncio.CancelledError as error:
        call.note_cancellation(error)
        raise


async def fetch(
    url: str, sink: Sink[T], settings: Settings, resources: Resources, *, index: int, expires_at: datetime | None
) -> T:
    """
    Return the image at *url*, in *sink*.

    Args:
        url: Where it is.
        sink: Takes it.
        settings: Of the client.
        resources: Of the client.
        index: Place of the image in its answer.
        expires_at: When the address ends, by the server's clock; ours is all there is to compare it with. By default
            as the address says by its signature.

    Raises:
        DownloadError: It could not be fetched.
        StorageError: It could not be stored.
    """
    url = Address(url)
    expires_at = expires_at or find_end(url)
    placement = ImageContext(
        id=hashlib.blake2b(url.encode(errors="replace"), digest_size=6).hexdigest(),
        index=index,
        prompt="",
        model="",
        date=resources.clock.now(),
        executor=resources.executor,
    )
    left = (expires_at - resources.clock.now()).total_seconds() if expires_at is not None else 0.0
    expiry = Expiry(at=expires_at, deadline=resources.clock.monotonic() + left) if expires_at is not None else None
    with free_of_charge(FETCHING_IS_FREE), forgetting_locals():
        await sink.prepare(placement, 1)
        image = await resources.downloader(settings).fetch(url, lambda: sink.open(placement), expiry)
    return attrs.evolve(image, url=str(url), expires_at=expires_at)


@attrs.define(kw_only=True)
class Call(Generic[T]):
    """One logical call: what stays the same over its attempts, and what they leave behind."""

    request: ImagesRequest
    sink: Sink[T]
    settings: Settings
    resources: Resources
    streams: bool = False
    observer: Observer | None = None
    key: str
    hooks: CallHooks = attrs.field(factory=CallHooks)
    history: list[Attempt] = attrs.field(factory=list)
    redaction: Redaction = attrs.field(factory=lambda: Redaction(""))
    state: AttemptState | None = None
    recorded: AttemptState | None = None
    doubtful: bool = False
    started: float = 0.0
    request_id: str | None = None
    arrival: ReceivedAt | None = None
    key_changed: bool = False
    billed: Billing = Billing.NO
    """By what has ended so far."""

    async def run(self) -> ImagesResult[T]:
        refuse_unstreamable(self.request) if self.streams else refuse_partial_images(self.request)
        images = () if getattr(self.request, "by_reference", False) else self.request.images()
        fetch = self.fetch_input
        async with open_uploads(images, self.resources.executor, fetch, self.most_bytes()) as (uploads, measured):
            self.check(measured)
            await self.sink.prepare(self.placement(), self.request.n or 1)
            # One boundary for all attempts, so that they are the same to the byte.
            boundary = uuid.uuid4().hex if measured else ""
            encoded = encode(self.request, measured, boundary=boundary, stream=self.streams)
            receiver, answer = await repeat(
                lambda: self.attempt(encoded, uploads),
                self.settings.retry,
                clock=self.resources.clock,
                jitter=random.random,
                on_failure=self.record,
                budget=self.resources.budget,
                gate=self.resources.gate,
            )
        self.billed = max(self.billed, prove(receiver, answer))
        try:
            await self.record(None, None)
            return await self.complete(receiver, answer)
        finally:
            await receiver.release()

    def most_bytes(self) -> int:
        # A source without a length has to end somewhere, whatever the rules.
        limits = self.settings.limits
        return min(limits.spool, limits.upload if self.settings.validation != "off" else limits.response)

    async def fetch_input(self, url: str) -> bytes:
        placement = self.placement()
        with free_of_charge(NOT_SENT):
            image: Image = await self.resources.downloader(self.settings).fetch(url, lambda: Memory().open(placement))
        return image.data

    def check(self, measured: Sequence[MeasuredImage]) -> None:
        """Hold the request against what the API documents."""
        if self.settings.validation == "off":
            return
        operation = self.request.operation
        fields = {**self.request.fields(), **{name: True for name, _ in self.request.images()}}
        fields["by_reference"] = getattr(self.request, "by_reference", None)
        fields["stream"] = self.streams or None
        certain, advisory = upload_violations(operation, fields, measured, most_bytes=self.settings.limits.upload)
        advisory = (*field_violations(operation, fields), *advisory)
        if certain or (advisory and self.settings.validation == "strict"):
            raise InvalidRequestError([*certain, *(advisory if self.settings.validation == "strict" else ())])
        for violation in advisory:
            warnings.warn(f"{violation} ({violation.source}).", ImagesWarning, stacklevel=2)

    def placement(self) -> ImageContext:
        attempts = len(self.history)
        return ImageContext(
            id=self.key.replace("-", "")[:12] + (f"-r{attempts}" if attempts else ""),
            index=0,
            prompt=str(getattr(self.request, "prompt", "")),
            model=self.request.model or "",
            date=self.resources.clock.now(),
            executor=self.resources.executor,
        )

    async def attempt(self, encoded: EncodedRequest, uploads: Sequence[Upload]) -> tuple[Receiver[T], Answer]:
        """Send the request once and take its answer."""
        key = await self.settings.key()
        self.redaction = redaction = Redaction(key)
        await self.hooks.before_attempt()
        url = f"{self.settings.base_url}{encoded.path}"
        self.state = state = AttemptState(clock=self.resources.clock)
        self.started, self.request_id = self.resources.clock.monotonic(), None
        receiver: Receiver[T] | None = None
        retention = Retention(
            executor=self.resources.executor, find_path=partial(find_place, self.sink, self.placement())
        )
        try:
            async with self.resources.transport.post(
                url, self.headers(key), (encoded.plan, uploads), state, self.settings.timeouts
            ) as answered:
                response = DiscreetResponse(answered, redaction)
                self.request_id = find_request_id(response.headers)
                await self.hooks.on_response(response.status, response.headers)
                await self.refuse(response, state)
                self.arrival = self.note_arrival(response.headers)
                async with aclosing(response.chunks()) as chunks:
                    body = self.open_body(response, chunks, retention)
                    receiver = await self.receive(body, response, state)
                    answer = await self.take(response, receiver, body)
                state.enter(Phase.COMPLETE)  # a stream may go on after its last image
        except ImagesError as error:
            whole = await receiver.salvage(error) if receiver is not None else None
            if receiver is not None and whole is not None:
                return receiver, redaction.value(whole)
            await retention.drop()  # unless the error has it
            redaction.error(error)
            error.phase = state.phase
            error.request_id = error.request_id or self.request_id
            if isinstance(error, AuthenticationError) and error.status == 401 and not self.key_changed:
                self.key_changed = error.key_changed = await self.settings.key() != key
            raise
        except BaseException:
            if receiver is not None:
                await receiver.abandon()
                self.billed = max(self.billed, receiver.billed)
            await retention.drop()
            raise
        return receiver, answer

    def headers(self, key: str) -> dict[str, str]:
        own = {"Authorization": bearer(key), "Idempotency-Key": self.key}
        return {**own, "Accept": "text/event-stream"} if self.streams else own

    def open_body(self, response: Response, chunks: AsyncIterator[bytes], retention: Retention) -> Incoming:
        """
        Return the body of an answer, to be read.

        Raises:
            TooLargeError: It says that it is larger than what is taken.
        """
        most = self.settings.limits.response
        announced = response.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced) > most:
            raise too_large("answer", "response", most)
        label = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        text = BodyText(is_events=label == "text/event-stream")
        return Incoming(chunks=chunks, text=text, retention=retention, most=most)

    async def receive(self, body: Incoming, response: Response, state: AttemptState) -> Receiver[T]:
        """Return what takes an answer, by how it begins and not by what was asked for or by its label."""
        most_items = max(MOST_ITEMS_EACH * (self.request.n or 1), LEAST_ITEMS)
        about: dict[str, Any] = {
            "sink": self.sink,
            "placement": self.placement(),
            "limits": self.settings.limits,
            "retention": body.retention,
        }
        patience = self.settings.timeouts.first_byte
        match await body.begin(partial(check_life, state, 0.0, patience)):
            case "events":
                return StreamReceiver(
                    **about,
                    wanted=self.request.n or 1,
                    state=state,
                    patience=patience,
                    observer=discreet(self.observer, self.redaction) if self.observer is not None else None,
                    request_id=self.request_id,
                    idempotency_key=self.key,
                    most_items=most_items,
                )
            case "answer":
                state.take_answer()
                return AnswerReceiver(**about, decoder=AnswerDecoder(most_items))
            case _:
                state.take_answer()
                return OpaqueReceiver(**about, decoder=OpaqueDecoder(response.headers.get("content-encoding", "")))

    def note_arrival(self, headers: Mapping[str, str]) -> ReceivedAt:
        clock = self.resources.clock
        steady = clock.monotonic()
        return ReceivedAt(date=find_date(headers), local=clock.now(), steady=steady, elapsed=steady - self.started)

    async def take(self, response: Response, receiver: Receiver[T], body: Incoming) -> Answer:
        answer = self.redaction.value(await receiver.take(body))
        if answer.error is not None:  # some gateways answer errors with 200
            raise to_error(self.reply(response, answer.raw, Phase.BODY_IN, billed=receiver.billed))
        return answer

    async def refuse(self, response: Response, state: AttemptState) -> None:
        """Raise the error of an answer that is none of success, after reading as much of it as is allowed."""
        if 200 <= response.status < 300:
            return
        phase = state.phase  # before reading, which cannot make half a request whole
        body = self.redaction.body(await read_error(response, self.settings.limits.error_body))
        raise to_error(self.reply(response, body, phase))

    def reply(self, response: Response, body: bytes, phase: Phase, *, billed: Billing = Billing.NO) -> ErrorResponse:
        return ErrorResponse(
            status=response.status,
            headers=response.headers,
            body=body,
            phase=phase,
            operation=self.request.operation,
            unknown_codes=self.settings.retry.unknown_codes,
            dialect=self.settings.dialect,
            trust_errors=self.settings.retry.trust_errors,
            billed=billed,
        )

    async def record(self, error: ImagesError | None, wait: float | None) -> None:
        """Add the attempt that has just ended to the history, and show it to whoever wants to see."""
        if self.state is None or self.state is self.recorded:
            return  # it ended before anything was tried
        self.recorded = self.state
        self.billed = max(self.billed, error.billed if error is not None else Billing.MAYBE)
        attempt = self.describe(self.state, type(error).__name__ if error else None, wait)
        self.history.append(attempt)
        if self.settings.on_attempt is not None:
            show(self.settings.on_attempt, attempt)
        await self.hooks.after_attempt(attempt, error)

    def note_cancellation(self, error: asyncio.CancelledError) -> None:
        """Let *error* say what may have been billed, and how to ask for it; show the attempt that it ended."""
        error.__dict__["idempotency_key"] = self.key
        if self.state is None:
            mark(error, Billing.NO)
            return
        error.__dict__["phase"] = self.state.phase
        is_under_way = self.state is not self.recorded
        may_be_billed = is_under_way and self.state.phase.may_be_billed
        mark(error, max(self.billed, Billing.MAYBE if may_be_billed else Billing.NO))
        if billed := find_billing(error):
            where = f"at phase {self.state.phase.name}, idempotency key {self.key}"
            error.add_note(f"Cancelled {where}. {SENTENCES[billed]}")
        if is_under_way and self.settings.on_attempt is not None:
            show(self.settings.on_attempt, self.describe(self.state, type(error).__name__, None))

    def describe(self, state: AttemptState, failure: str | None, wait: float | None) -> Attempt:
        return Attempt(
            number=len(self.history) + 1,
            phase=state.phase,
            elapsed=self.resources.clock.monotonic() - self.started,
            status=state.status,
            request_id=self.request_id,
            sent=state.sent,
            failure=failure,
            wait=wait,
            idempotency_key=self.key,
            reused=state.reused,
        )

    async def complete(self, receiver: Receiver[T], answer: Answer) -> ImagesResult[T]:
        """Fetch what came as URLs and put the result together."""
        links = [item for item in answer.items if item.url and not item.decoded and not item.failure]
        if links:
            await self.hooks.on_links(tuple(self.link(item, answer) for item in links), answer)
        problems = await self.download(receiver, links, answer) if links else []
        await self.raise_problems(receiver, answer, problems)
        images = tuple(
            describe(receiver.kept[item.index], item, self.expiry(item, answer))
            for item in answer.items
            if item.index in receiver.kept
        )
        wanted = self.request.n or 1
        kept = await receiver.keep_rest() if answer.has_surplus or len(images) < wanted else None
        for remark in remarks(answer, kept, wanted=wanted, came=len(images)):
            warnings.warn(remark, ImagesWarning, stacklevel=2)
        return ImagesResult(
            images=images,
            created=answer.created,
            usage=answer.usage,
            background=answer.background,
            output_format=answer.output_format,
            quality=answer.quality,
            size=answer.size,
            request_id=self.request_id,
            idempotency_key=self.key,
            history=tuple(self.history),
            extra=answer.extra,
            kept=kept,
        )

    def expiry(self, item: AnswerItem, answer: Answer) -> Expiry | None:
        return find_expiry(item.url, answer.created, self.arrival) if item.url and self.arrival else None

    def link(self, item: AnswerItem, answer: Answer) -> Unfetched:
        expiry = self.expiry(item, answer)
        return Unfetched(index=item.index, url=item.url or "", expires_at=expiry.at if expiry else None)

    async def download(self, receiver: Receiver[T], items: Sequence[AnswerItem], answer: Answer) -> list[DownloadError]:
        """Fetch images, the one that expires first first; a failure of one does not stop the others."""
        downloader = self.resources.downloader(self.settings)
        places = asyncio.Semaphore(MOST_DOWNLOADS)
        problems: list[DownloadError] = []

        async def fetch(item: AnswerItem, url: str, expiry: Expiry | None) -> None:
            placement = attrs.evolve(receiver.placement, index=item.index)
            async with places:
                try:
                    kept = await downloader.fetch(url, lambda: self.sink.open(placement), expiry)
                except StorageError as error:
                    receiver.unstored.append(error)
                except DownloadError as error:
                    error.unfetched = (unfetched(item.index, url, expiry, error),)
                    problems.append(error)
                else:
                    receiver.kept[item.index] = kept

        timed = [(self.expiry(item, answer), item) for item in items]
        async with asyncio.TaskGroup() as group:
            for expiry, item in sorted(timed, key=lambda pair: (pair[0].deadline if pair[0] else 0.0, pair[1].index)):
                group.create_task(fetch(item, item.url or "", expiry))
        return sorted(problems, key=lambda error: error.unfetched[0].index)

    async def raise_problems(self, receiver: Receiver[T], answer: Answer, problems: Sequence[DownloadError]) -> None:
        """Raise what keeps images from the caller; whatever is whole goes with the error."""
        error: DownloadError | ProtocolError | StorageError | None = None
        lost = tuple(image for problem in problems for image in problem.unfetched)
        if receiver.unstored:
            error = StorageError(" ".join(error.message for error in receiver.unstored), images=receiver.whole)
            error.unfetched = lost
        elif problems:
            # One that can still be fetched tells more than one that cannot.
            error = next((one for one in problems if not one.unfetched[0].expired), problems[0])
            error.images, error.unfetched = receiver.whole, lost
        elif receiver.damaged or not receiver.kept:
            what = "; ".join(f"image {index + 1}: {why}" for index, why in sorted(receiver.damaged.items()))
            message = f"The answer is damaged: {what}." if what else "The answer holds no image."
            error = unusable = ProtocolError(message, images=receiver.whole)
            await receiver.retain(unusable)
        if error is not None:
            error.damaged = receiver.fragments
            mark(error, prove(receiver, answer))
            note_others(error, lost, receiver.damaged)
            error.request_id, error.phase = self.request_id, Phase.COMPLETE
            raise error


def remarks(answer: Answer, kept: KeptAnswer | None, *, wanted: int, came: int) -> Iterator[str]:
    """Yield what is to be known about an answer whose images are there."""
    place = kept.whereabouts if kept is not None else ""
    if came < wanted:
        yield f"{wanted} images were asked for and {came} came. {place}".rstrip()
    if answer.has_surplus:
        where = place or "The answer is in .kept of the result."
        yield f"The answer names more images than are taken; {came} of them are here. {where}"
    if "error" in answer.extra:
        yield f"The answer holds an error beside its images: {found_words(answer.extra['error'])}."


def found_words(error: object) -> str:
    """Return what an error says, in short."""
    found = [error.get(name) for name in ("message", "code", "type")] if isinstance(error, Mapping) else [error]
    return next((str(word) for word in found if word), "it does not say which")[:MOST_WORDS].rstrip(". ")


def prove(receiver: Receiver[T], answer: Answer) -> Billing:
    """Return whether a whole answer of success was billed: by its images, their addresses, or the tokens they cost."""
    named = answer.usage is not None or any(item.url or item.decoded for item in answer.items)
    return Billing.YES if named else max(Billing.MAYBE, receiver.billed)


def show(observer: OnAttempt, attempt: Attempt) -> None:
    """Call the caller's observer; what it raises must not cost an image, so it goes where lost exceptions go."""
    try:
        observer(attempt)
    except Exception as error:  # noqa: BLE001
        context = {"message": "on_attempt raised an exception", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)


def unfetched(index: int, url: str, expiry: Expiry | None, error: DownloadError) -> Unfetched:
    return Unfetched(
        index=index,
        url=url,
        expires_at=expiry.at if expiry else None,
        expired=isinstance(error, ResultExpiredError),
        reason=error.message,
    )


def note_others(error: ImagesError, lost: Sequence[Unfetched], damaged: Mapping[int, str]) -> None:
    """Add what the message of *error* does not tell of."""
    for image in lost:
        if image.url != getattr(error, "url", None):
            error.add_note(f"Image {image.index + 1} was not fetched: {image.reason}")
    for index, why in sorted(damaged.items()) if not isinstance(error, ProtocolError) else ():
        error.add_note(f"Image {index + 1} is damaged: {why}.")


def describe(image: T, item: AnswerItem, expiry: Expiry | None) -> T:
    """Return *image* with what the answer says about it."""
    return attrs.evolve(
        image,
        revised_prompt=item.revised_prompt,
        url=item.url,
        expires_at=expiry.at if expiry else None,
        extra=item.extra,
    )


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


def refuse_partial_images(request: ImagesRequest) -> None:
    if getattr(request, "partial_images", None) is not None:
        problem = "partial images come over a stream; this call returns whole images only"
        raise InvalidRequestError([Violation("partial_images", problem)])


def refuse_unstreamable(request: ImagesRequest) -> None:
    if not hasattr(request, "partial_images"):
        raise InvalidRequestError([Violation("stream", f"{request.operation} cannot be streamed")])


def discreet(observer: Observer, redaction: Redaction) -> Observer:
    """Return an observer that is shown no key, which some gateways echo."""

    async def show_without_key(image: StreamedImage) -> None:
        await observer(redaction.value(image))

    return show_without_key
