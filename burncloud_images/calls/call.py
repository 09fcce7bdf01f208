"""
One call, from a request to its result: the page to read first.

The request is checked, its inputs are opened and measured, and it is encoded; attempts are made as the retry policy
says; images that came as URLs are downloaded; and the result, or the error, is put together.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import uuid
import warnings
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

from burncloud_images.calls.attempt import CallSpec, ReceivedAnswer, RequestAttempt, Tasks
from burncloud_images.calls.hooks import CallHooks
from burncloud_images.calls.resources import Resources
from burncloud_images.calls.result_assembly import (
    describe_images,
    find_billed,
    find_warnings,
    to_error,
    to_result,
)
from burncloud_images.calls.result_urls import download, find_result_urls, make_download
from burncloud_images.calls.sent_images import SentImages, find_sent
from burncloud_images.calls.stream_monitor import StreamObserver
from burncloud_images.calls.task_images import TaskImages
from burncloud_images.calls.tasks import TaskFollower
from burncloud_images.calls.unbilled import free_of_charge
from burncloud_images.errors import (
    NOT_SENT,
    SENTENCES,
    APIError,
    AuthenticationError,
    Billing,
    ImagesError,
    ImagesWarning,
    InvalidRequestError,
    OutcomeUnknownError,
    Phase,
    ProtocolError,
    Violation,
    completed,
    describe_task,
    find_billing,
    mark,
    show_warning,
)
from burncloud_images.files.sinks import Memory, Sink
from burncloud_images.model.operations import GenerationRequest, ImagesRequest, field_problems
from burncloud_images.model.rule_kinds import MeasuredImage
from burncloud_images.model.rules import field_violations, upload_violations
from burncloud_images.results import Attempt, Image, ImageDetails, ImagesResult, Task
from burncloud_images.retry import choose_error
from burncloud_images.retry_loop import repeat
from burncloud_images.settings import OnAttempt, Settings
from burncloud_images.transport.interface import ReplayableUpload
from burncloud_images.transport.secret import forgetting_locals
from burncloud_images.wire.dialects import asking
from burncloud_images.wire.encoded_request import EncodedRequest, encode, find_dialect_problem, to_data_url

if TYPE_CHECKING:
    from burncloud_images.model.inputs import ImageSource

T = TypeVar("T", bound=ImageDetails)


async def send(  # noqa: PLR0913 (the options of a call)
    request: ImagesRequest,
    sink: Sink[T],
    settings: Settings,
    resources: Resources,
    *,
    via_stream: bool = False,
    observer: StreamObserver | None = None,
    idempotency_key: str | None = None,
    hooks: CallHooks | None = None,
    tasks: Tasks = "auto",
) -> ImagesResult[T]:
    """
    Return the result of *request*, its images in *sink*.

    Args:
        request: Any of the three.
        sink: Takes the images.
        settings: Of the client.
        resources: Of the client.
        via_stream: Whether to ask for a stream. What comes is taken as what it is.
        observer: Called with the previews and images of a stream as they come.
        idempotency_key: The call's; by default a new one.
        hooks: Called around each attempt.
        tasks: Whether a task is followed that the server makes of the request, and whether to ask for one.

    Raises:
        ImagesError: With the call's history and idempotency key.

    Cancellation closes the connection and removes partial files. A `CancelledError` that may have been billed carries a
    note with the key and the phase, and both as attributes. `on_attempt` sees the attempt that it ended.
    """
    spec = CallSpec(
        request=request,
        fields=find_fields(request, settings.model),
        sink=sink,
        settings=settings,
        resources=resources,
        via_stream=via_stream,
        observer=observer,
        idempotency_key=idempotency_key or str(uuid.uuid4()),
        hooks=hooks,
        tasks=tasks,
    )
    call = Call(spec)
    return await call.told(call.run())


async def resume(
    task: Task,
    sink: Sink[T],
    settings: Settings,
    resources: Resources,
    *,
    request: ImagesRequest | None = None,
    hooks: CallHooks | None = None,
) -> ImagesResult[T]:
    """
    Return the images of a task that an earlier call was given, also one of another process; nothing is bought.

    Args:
        task: The task.
        sink: Takes the images.
        settings: Of the client.
        resources: Of the client.
        request: What was asked for, if it is known; it gives files their names.
        hooks: Told the URLs of the images.

    Raises:
        ImagesError: With the task.
    """
    spec = CallSpec(
        request=request or GenerationRequest(task.id),  # stands in for one that nobody has any more
        fields={},  # nothing is sent
        sink=sink,
        settings=settings,
        resources=resources,
        sent=find_sent(request) if request is not None else SentImages(),
        idempotency_key=task.idempotency_key or hashlib.sha256(task.id.encode(errors="replace")).hexdigest()[:32],
        hooks=hooks,
    )
    call = Call(spec, task=task)
    return await call.told(call.resume(task, spec.image_count if request is not None else None))


@attrs.define
class Call(Generic[T]):
    """
    One call over all its attempts.

    Attributes:
        spec: What is sent.
        attempt: The last one.
        running: The same, while it is not in the history yet.
        history: Those that ended by themselves.
        billed: What they cost.
        is_key_changed: Whether the callable that gives the key was asked for another.
        hook_error: What a hook raised after images had come.
        failures: What its attempts raised.
        task: What the server works on, once it has said so.
        task_images: What its answers have brought.
    """

    spec: CallSpec[T]
    attempt: RequestAttempt[T] | None = attrs.field(default=None, repr=False)  # it holds images
    running: RequestAttempt[T] | None = attrs.field(default=None, repr=False)
    history: list[Attempt] = attrs.field(factory=list)
    billed: Billing = Billing.NO
    is_key_changed: bool = False
    hook_error: Exception | None = None
    failures: list[ImagesError] = attrs.field(factory=list, repr=False)
    task: Task | None = None
    task_images: TaskImages[T] = attrs.field(factory=TaskImages, repr=False)  # pyright: ignore[reportAssignmentType]

    async def told(self, work: Awaitable[ImagesResult[T]]) -> ImagesResult[T]:
        """Return what *work* of this call returns; add to its exception what only the call knows."""
        try:
            with forgetting_locals():
                return await work
        except ImagesError as error:
            self.complete(error)
            raise
        except asyncio.CancelledError as error:
            self.note_cancellation(error)
            raise
        except Exception as error:
            self.note_mistake(error)
            raise

    async def run(self) -> ImagesResult[T]:
        spec = self.spec
        refuse_wrong_way(spec)
        images = () if getattr(spec.request, "by_reference", False) else spec.request.images()
        async with open_images(images, spec) as (uploads, measured):
            check(spec, measured)
            spec.resources.retirements.warn(spec.fields.get("model"), spec.resources.clock.now().date())
            if (sent := find_sent(spec.request, uploads)).addresses is not None:
                self.spec = spec = attrs.evolve(spec, sent=sent)
            await spec.sink.prepare(spec.context, spec.image_count)
            # One boundary for all attempts, so that they are the same to the byte.
            boundary = uuid.uuid4().hex if measured else ""
            task = asking(spec.settings.dialect) if spec.tasks == "ask" else None
            encoded = encode(
                spec.request,
                measured,
                fields=spec.fields,
                boundary=boundary,
                stream=spec.via_stream,
                task=task,
                dialect=spec.settings.dialect,
                urls=(urls := await find_data_urls(spec, uploads)),
            )
            received = await repeat(
                lambda: self.send_once(encoded, () if urls else uploads),
                spec.settings.retry,
                clock=spec.resources.clock,
                jitter=random.random,
                on_failure=self.record,
                budget=spec.resources.budget,
                gate=spec.resources.gate,
            )
            if received.task is not None:
                await spec.sent.read()
        if received.task is not None:
            received = await self.follow(received, received.task)
        return await self.conclude(received)

    async def resume(self, task: Task, wanted: int | None) -> ImagesResult[T]:
        """Return the images of *task*, which makes *wanted* of them."""
        await self.spec.sink.prepare(self.spec.context, self.spec.image_count)
        follower = TaskFollower(spec=self.spec, task=task, wanted=wanted, wait=0.0, images=self.task_images)
        return await self.conclude(await follower.run())

    async def follow(self, accepted: ReceivedAnswer[T], task: Task) -> ReceivedAnswer[T]:
        """Return the answer that has the images of *task*, which the server has made of the request."""
        self.task = task
        try:
            received = await self.wait_for(task, accepted)
        except (OutcomeUnknownError, ProtocolError, APIError) as error:
            # An answer that is not about a task at work may itself hold the images, in a form that is not known.
            if error.kept is None and (accepted.receiver.has_more or not accepted.is_about_work):
                await accepted.receiver.retain(error)
            raise
        finally:
            await accepted.receiver.release()
        return attrs.evolve(received, request_id=accepted.request_id or received.request_id)

    async def wait_for(self, task: Task, accepted: ReceivedAnswer[T]) -> ReceivedAnswer[T]:
        """Tell of *task*, and return the answer that has its images."""
        spec = self.spec
        if spec.hooks is not None:
            await self.call_hook(spec.hooks.on_accepted(task))
        await self.call_hook(self.record(None, None))
        if spec.tasks == "off":
            error = ProtocolError(f"The API made task {task.id} of the request, and tasks='off' follows none.")
            await self.task_images.add(accepted)
            self.task_images.put_on(error)
            raise error
        assert self.attempt is not None
        follower = TaskFollower(
            spec=spec,
            task=task,
            wanted=spec.image_count,
            accepted=accepted,
            number=self.attempt.number,
            wait=accepted.wait,
            images=self.task_images,
        )
        received = await follower.run()
        if received is accepted:
            show_warning(
                f"The answer says that task {task.id} is at work, but the gateway does not know it; "
                "the images are those of that answer."
            )
        return received

    async def conclude(self, received: ReceivedAnswer[T]) -> ImagesResult[T]:
        """Return the result of an answer that is whole, or raise the error of images that are missing."""
        self.billed = max(self.billed, find_billed(received))
        try:
            await self.call_hook(self.record(None, None))
            result = await self.finish(received)
        except ImagesError as failure:
            self.task_images.put_images_on(failure)
            raise
        finally:
            await received.receiver.release()
        if (error := self.hook_error) is not None:
            error.__dict__["result"] = result
            error.add_note("The call itself succeeded: its result, which is paid for, is this exception's .result.")
            raise error
        return result

    # --- attempts ----------------------------------------------------------------------------------------------------

    async def send_once(self, encoded: EncodedRequest, uploads: Sequence[ReplayableUpload]) -> ReceivedAnswer[T]:
        key = await self.spec.settings.key()
        if self.spec.hooks is not None:
            await self.spec.hooks.before_attempt()
        self.attempt = self.running = attempt = RequestAttempt(spec=self.spec, key=key, number=len(self.history) + 1)
        try:
            return await attempt.run(encoded, uploads)
        except AuthenticationError as error:
            if error.status == 401 and not self.is_key_changed:
                self.is_key_changed = error.key_changed = await self.spec.settings.key() != key
            raise

    async def record(self, error: ImagesError | None, wait: float | None) -> None:
        """Add the attempt that has just ended to the history."""
        attempt, self.running = self.running, None
        if attempt is None:
            return  # what ended came before it: the callable that gives the key, or a hook
        if error is not None:
            self.billed = max(self.billed, error.billed)
            self.failures.append(error)
        ended = attempt.describe(error, wait)
        self.history.append(ended)
        if self.spec.settings.on_attempt is not None:
            show(self.spec.settings.on_attempt, ended)
        if self.spec.hooks is not None:
            await self.spec.hooks.after_attempt(ended, error)

    async def call_hook(self, called: Awaitable[None]) -> None:
        """Await a hook once images have come. What it raises waits until they are where the caller can have them."""
        try:
            await called
        except Exception as error:  # noqa: BLE001 (raised when the images are there)
            self.hook_error = self.hook_error or error

    # --- the end -----------------------------------------------------------------------------------------------------

    async def finish(self, received: ReceivedAnswer[T]) -> ImagesResult[T]:
        """Download images that came as URLs, and return the result, or raise an error if images are missing."""
        spec, receiver, answer = self.spec, received.receiver, received.answer
        urls = find_result_urls(received)
        if urls and spec.hooks is not None:
            await self.call_hook(spec.hooks.on_links([url.unfetched() for url in urls], answer))
        failures = await download(urls, received, spec) if urls else {}
        if failures or receiver.unstored or receiver.damaged or not receiver.kept:
            error = to_error(received, failures)
            if isinstance(error, ProtocolError) or receiver.has_more:
                await receiver.retain(error)
            raise error
        images = tuple(describe_images(received))
        is_odd = receiver.is_odd(answer, lacks_images=len(images) < spec.image_count)
        kept = await receiver.keep_rest() if is_odd else None
        for warning in find_warnings(received, kept, wanted=spec.image_count, came=len(images)):
            show_warning(warning)
        return to_result(received, images, spec, self.history, kept)

    def complete(self, error: ImagesError) -> None:
        """Add to *error* what only the call knows, and mask the key in it."""
        if self.attempt is not None:
            self.attempt.redaction.error(error)
        error.task = error.task or self.task
        completed(error, idempotency_key=self.spec.idempotency_key, history=self.history, billed=self.billed)

    def note_cancellation(self, error: asyncio.CancelledError) -> None:
        """Let *error* say what may have been billed, and how to ask for it; show the attempt that it ended."""
        key = error.__dict__["idempotency_key"] = self.spec.idempotency_key
        self.mark(error)
        if self.running is not None and self.spec.settings.on_attempt is not None:
            show(self.spec.settings.on_attempt, self.running.describe(error))
        if self.attempt is None and self.task is None:
            return
        phase = error.__dict__["phase"] = self.attempt.state.phase if self.attempt is not None else Phase.ACCEPTED
        error.__dict__["task"] = self.task
        if billed := find_billing(error):
            about = f"Cancelled at phase {phase.name}, idempotency key {key}. {SENTENCES[billed]}"
            error.add_note(f"{about} {describe_task(self.task)}".rstrip())

    def note_mistake(self, error: Exception) -> None:
        """
        Add what may have been billed to an exception of a hook, or of what returns the key.

        What an attempt had received is on its cause, and the task that goes on is named.
        """
        self.mark(error)
        if self.task is not None:
            error.__dict__["task"] = self.task
            error.add_note(describe_task(self.task))
        if not self.failures or error.__cause__ is not None:
            return
        failure = choose_error(self.failures)
        if failure.billed:
            self.complete(failure)
            error.__cause__ = failure

    def mark(self, error: BaseException) -> None:
        accepted = Billing.MAYBE if self.task is not None else Billing.NO
        mark(error, max(self.billed, accepted, self.running.billed if self.running is not None else Billing.NO))


# --- before anything is sent -----------------------------------------------------------------------------------------


def refuse_wrong_way(spec: CallSpec[T]) -> None:
    """
    Refuse a request whose images cannot come the way that was asked for.

    Raises:
        InvalidRequestError: It cannot be streamed, asks for previews without a stream, or has images that the server
            cannot be sent.
    """
    request = spec.request
    if spec.via_stream and not hasattr(request, "partial_images"):
        raise InvalidRequestError([Violation("stream", f"{request.operation} cannot be streamed")])
    if not spec.via_stream and getattr(request, "partial_images", None) is not None:
        problem = "partial images come over a stream; this call returns whole images only"
        raise InvalidRequestError([Violation("partial_images", problem)])
    if found := find_dialect_problem(request, spec.settings.dialect):
        raise InvalidRequestError([Violation(*found)])


async def find_data_urls(spec: CallSpec[T], uploads: Sequence[ReplayableUpload]) -> list[str]:
    """Return the uploads as `data:` URLs, if the server takes no files; none if it does."""
    dialect = spec.settings.dialect
    if dialect is None or dialect.references is None:
        return []
    return [to_data_url(b"".join([piece async for piece in one.pieces()]), one.media.media_type) for one in uploads]


def find_fields(request: ImagesRequest, default_model: str | None) -> Mapping[str, object]:
    """
    Return the fields to send, with the client's model if *request* names none.

    Raises:
        InvalidRequestError: The client's model is not one that any server could take.
    """
    fields = request.fields()
    if request.model is not None or default_model is None:
        return fields
    if violations := tuple(field_problems("model", default_model)):
        raise InvalidRequestError(violations)
    return {"model": default_model, **fields}


def check(spec: CallSpec[T], measured: Sequence[MeasuredImage]) -> None:
    """
    Check the request against the rules that the API documents.

    Raises:
        InvalidRequestError: It breaks one that is certain; or any, if they are strict or warnings are errors.
    """
    request, validation = spec.request, spec.settings.validation
    if validation == "off":
        return
    fields = {
        **spec.fields,
        **{name: True for name, _ in request.images()},
        "by_reference": getattr(request, "by_reference", None),
        "stream": spec.via_stream or None,
    }
    most_bytes = spec.settings.limits.upload
    certain, advisory = upload_violations(request.operation, fields, measured, most_bytes=most_bytes)
    advisory = (*field_violations(request.operation, fields), *advisory)
    if certain or (advisory and validation == "strict"):
        raise InvalidRequestError([*certain, *(advisory if validation == "strict" else ())])
    for violation in advisory:
        try:
            warnings.warn(f"{violation} ({violation.source}).", ImagesWarning, stacklevel=2)
        except ImagesWarning:  # raised as it is, it would end a map or job, whose other requests may be paid for
            raise InvalidRequestError([violation]) from None


def most_input_bytes(settings: Settings) -> int:
    # A source without a length has to end somewhere, whatever the rules.
    limits = settings.limits
    return min(limits.spool, limits.upload if settings.validation != "off" else limits.response)


def open_images(
    images: Sequence[tuple[str, ImageSource]], spec: CallSpec[T]
) -> AbstractAsyncContextManager[tuple[tuple[ReplayableUpload, ...], tuple[MeasuredImage, ...]]]:
    """Give the uploads and their measures; most requests have none, and need not load what reads them."""
    if not images:
        return nullcontext(((), ()))
    from burncloud_images.files.uploads import open_uploads

    fetch = partial(fetch_input, spec)
    return open_uploads(images, spec.resources.executor, fetch, most_input_bytes(spec.settings))


async def fetch_input(spec: CallSpec[T], url: str) -> bytes:
    with free_of_charge(NOT_SENT):
        open_writer = partial(Memory().open, spec.context)
        image: Image = await make_download(url, open_writer, spec.settings, spec.resources).run()
    return image.data


def show(observer: OnAttempt, attempt: Attempt) -> None:
    """Call the caller's observer; what it raises must not cost an image, so it goes where lost exceptions go."""
    try:
        observer(attempt)
    except Exception as error:  # noqa: BLE001
        context = {"message": "on_attempt raised an exception", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
