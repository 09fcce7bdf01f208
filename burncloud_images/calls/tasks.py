"""
Following a task: the gateway is asked for it until its images come, it fails, or the deadline passes.

Asking is free and counts as no attempt. Whatever goes wrong with it says nothing about the task, so it is asked for
again, and nothing is bought again.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Generic, TypeVar

import attrs

from burncloud_images.calls.attempt import CallSpec, ReceivedAnswer, RequestAttempt, read_error
from burncloud_images.calls.task_images import TaskImages, TaskSink
from burncloud_images.errors import (
    APIError,
    Billing,
    ConnectionFailedError,
    ImagesError,
    OutcomeUnknownError,
    Phase,
    ProtocolError,
    TooLargeError,
    completed,
)
from burncloud_images.results import ImageDetails, Task
from burncloud_images.transport.interface import Response
from burncloud_images.transport.secret import RedactedResponse, to_headers
from burncloud_images.wire.answer import ImagesAnswer, to_answer
from burncloud_images.wire.dialects import asking
from burncloud_images.wire.headers import find_retry_after
from burncloud_images.wire.tasks import LONGEST_WAIT, TaskReport, TaskState, find_poll_urls, own_url

T = TypeVar("T", bound=ImageDetails)

FIRST_WAIT = 1.0
GROWTH = 1.5
MOST_WAIT = 10.0
"""Seconds between two questions, if the gateway names none: the first, and no more than the last."""
PASSING = frozenset({404, 405, 408, 409, 421, 423, 425, 429})
"""Statuses below 500 that may change soon: not all of a gateway's servers know a new task at once."""
MOST_REFUSALS = 3
"""How many questions may be refused for good until that is believed; the key may have changed meanwhile."""
EMPTY_RESULTS = 3
"""How often a task may succeed without images before that is taken for its result."""


class StillRunning(Exception):  # noqa: N818 (never leaves the package)
    """The task has not ended."""


@attrs.define(kw_only=True)
class TaskFollower(Generic[T]):
    """
    One task, asked for until it ends.

    Attributes:
        spec: The call that it belongs to.
        task: What is asked for.
        wanted: How many images it makes; None if that is not known.
        accepted: The answer that made it of a request; its images are enough if they are all and nobody knows the task.
        number: Of the attempt that it was made by.
        wait: Seconds that the gateway asked to wait before the next question; None if it did not.
        urls: Where the task can be asked for; the first of them is used.
        began: When following began, on the steady clock.
        asked: How often it was asked for.
        refused: How many questions were refused for good since one was answered.
        empty: How often it had succeeded without images.
        word: Its state, as the gateway last called it.
        last: The last question that brought no state, with what it raised: it may hold images that are not understood.
        missing: How many questions in a row found that nobody knows it.
        images: What all answers about it have brought.
    """

    spec: CallSpec[T]
    task: Task
    wanted: int | None
    accepted: ReceivedAnswer[T] | None = None
    number: int = 1
    wait: float | None = None
    urls: list[str] = attrs.field(init=False)
    began: float = attrs.field(init=False)
    asked: int = 0
    refused: int = 0
    empty: int = 0
    word: str = ""
    last: tuple[RequestAttempt[T], ImagesError] | None = attrs.field(default=None, repr=False)
    missing: int = 0
    images: TaskImages[T] = attrs.field(factory=TaskImages, repr=False)  # pyright: ignore[reportAssignmentType]

    def __attrs_post_init__(self) -> None:
        """Begin now."""
        settings = self.spec.settings
        self.spec = attrs.evolve(self.spec, sink=TaskSink(sink=self.spec.sink, images=self.images))
        found = find_poll_urls(self.task, settings.base_url, asking(settings.dialect).poll_path)
        self.urls = [settings.with_query(url) for url in found]
        self.began = self.spec.resources.clock.monotonic()

    async def run(self) -> ReceivedAnswer[T]:
        """
        Return the answer that has the images.

        Raises:
            ImagesError: The task failed; or the deadline passed, and it can be asked for again for nothing.
        """
        try:
            if self.accepted is not None:
                await self.images.add(self.accepted)
            while await self.pause():
                with suppress(StillRunning):
                    return self.images.complete(await self.ask(), self.wanted)
                if self.accepted is not None and self.accepted.has_all and self.missing >= len(self.urls):
                    return self.accepted
            raise await self.give_up()
        except ImagesError as error:
            error.task = error.task or self.task
            if not error.task.is_ended:
                completed(error, billed=Billing.MAYBE)
            completed(error, phase=error.phase or Phase.ACCEPTED)
            self.images.put_on(error)
            raise
        finally:
            await self.forget()

    @property
    def elapsed(self) -> float:
        """Seconds since following began."""
        return self.spec.resources.clock.monotonic() - self.began

    # --- when ---------------------------------------------------------------------------------------------------------

    async def pause(self) -> bool:
        """Wait until the task is to be asked for, the last time at the deadline; False after it."""
        policy = self.spec.settings.retry
        deadline = policy.deadline if policy.task_deadline is None else policy.task_deadline
        left = float("inf") if deadline is None else deadline - self.elapsed
        if left <= 0 and self.asked:
            return False
        usual = min(MOST_WAIT, FIRST_WAIT * GROWTH ** min(self.asked, 20))
        await self.spec.resources.clock.sleep(
            max(0.0, min(usual if self.wait is None else self.wait, LONGEST_WAIT, left))
        )
        self.asked += 1
        return True

    # --- one question -------------------------------------------------------------------------------------------------

    async def ask(self) -> ReceivedAnswer[T]:
        """
        Ask once.

        Raises:
            StillRunning: It has no result yet, or the question failed.
            ImagesError: The task failed, or cannot be asked for.
        """
        settings = self.spec.settings
        attempt = RequestAttempt(spec=self.spec, key=await settings.key(), number=self.number)
        headers = {
            **to_headers(attempt.key, settings.network.headers, settings.key_header),
            **asking(settings.dialect).poll_headers,
        }
        self.wait = None
        try:
            async with self.spec.resources.transport.get(
                self.urls[0], headers, attempt.state, settings.timeouts, kind="api"
            ) as answered:
                response = RedactedResponse(answered, attempt.redaction)
                self.wait = find_retry_after(response.headers, resets=False, now=attempt.state.clock.now())
                if not 200 <= response.status < 300:
                    await self.take_refusal(attempt, response)
                answer = await attempt.receive(response)
                received = attempt.received(answer)
                await self.take(attempt, response, received)
                return received
        except (ConnectionFailedError, OutcomeUnknownError, ProtocolError) as fault:
            if isinstance(fault, TooLargeError) or fault.task is not None:
                raise await salvage(attempt, fault) from None
            await self.put_off(attempt, fault)
            raise StillRunning from None
        except StillRunning:
            await self.put_off(attempt)
            raise
        except ImagesError as error:
            raise await salvage(attempt, error) from None
        except BaseException:
            await attempt.abandon()
            raise

    async def put_off(self, attempt: RequestAttempt[T], fault: ImagesError | None = None) -> None:
        """Drop what earlier questions brought; what this one brought is held if it is not understood."""
        if fault is None and self.last is not None and self.last[0] is attempt:
            return
        await self.forget()
        if fault is None:
            await attempt.abandon()
        else:
            self.last = (attempt, fault)

    async def take(self, attempt: RequestAttempt[T], response: Response, received: ReceivedAnswer[T]) -> None:
        """Say by an exception that an answer is not the result; images that it brings already are noted."""
        answer = received.answer
        report = answer.task or TaskReport()
        self.note(report)
        if answer.error is not None:
            self.judge_error(attempt, response, answer)
        if answer.is_running:
            await self.images.add(received)
            raise StillRunning
        if answer.has_images:
            return
        message = f"The gateway's answer about task {self.task.id} holds no image"
        if report.state is TaskState.SUCCEEDED:
            self.empty += 1
            error = ProtocolError(f"{message}, although it is {report.word}.", status=response.status)
            if self.empty >= EMPTY_RESULTS and self.images.has_any:
                return  # they are those that came while it was at work
            if self.empty >= EMPTY_RESULTS:
                error.task = self.task
            raise error
        raise ProtocolError(f"{message} and no state.", status=response.status)

    def note(self, report: TaskReport) -> None:
        """Take note of what is said about the task."""
        self.refused = self.missing = 0
        self.word = report.word or self.word
        self.wait = self.wait or report.wait

    def judge_error(self, attempt: RequestAttempt[T], response: Response, answer: ImagesAnswer) -> None:
        """Raise why the task failed; an error that does not say that it did is one of the question."""
        error = attempt.to_failure(response, answer, Phase.ACCEPTED, task_id=self.task.id)
        if answer.task is not None and answer.task.says_failed(self.task.id):
            error.task = attrs.evolve(self.task, is_ended=True)  # with where it was asked for
            raise error
        raise ProtocolError(error.message, status=response.status)

    async def take_refusal(self, attempt: RequestAttempt[T], response: Response) -> None:
        """
        Take an answer that is not of success: one that says that the task failed, or that the question was refused.

        Raises:
            StillRunning: A later request may have another answer.
            ImagesError: The task failed, or no place knows it.
        """
        body = attempt.redaction.body(await read_error(response, self.spec.settings.limits.error_body))
        answer = to_failed_answer(body)
        # An error of any kind may say `failed` of the question; only with the task's id is it about the task.
        report = answer.task if answer is not None else None
        if answer is not None and report is not None and report.id == self.task.id and report.says_failed(self.task.id):
            self.judge_error(attempt, response, answer)
        error = attempt.to_error(response, body, Phase.ACCEPTED)
        is_final = 400 <= response.status < 500 and response.status not in PASSING
        self.refused += is_final
        self.missing = self.missing + 1 if response.status in {404, 405, 410} else 0
        moved = own_url(response.headers.get("location", ""), self.urls[0]) if 300 <= response.status < 400 else None
        if moved is not None and moved not in self.urls:
            self.urls.insert(0, moved)
        elif response.status in {404, 405} or is_final or moved is not None:
            self.urls.append(self.urls.pop(0))
        if is_final and isinstance(error, APIError) and self.refused >= MOST_REFUSALS:
            raise error
        await self.forget()
        self.last = (attempt, error)
        raise StillRunning

    # --- the end ------------------------------------------------------------------------------------------------------

    async def give_up(self) -> ImagesError:
        """Return the error for the deadline, with what the last question brought."""
        seconds = self.elapsed
        state = f"was still {self.word}" if self.word else "had not been found"
        message = f"Task {self.task.id} {state} after {seconds:.0f} s (RetryPolicy.deadline)."
        last, self.last = self.last, None
        error = OutcomeUnknownError(message, phase=Phase.ACCEPTED)
        error.in_flight = bool(self.word)
        if last is None:
            return error
        cause = await salvage(*last)
        error.add_note(f"The last answer: {cause.message}")
        error.keep(cause.kept)
        error.__cause__ = cause
        return completed(error, images=cause.images, damaged=cause.damaged, billed=cause.billed)

    async def forget(self) -> None:
        """Drop what an earlier question brought."""
        last, self.last = self.last, None
        if last is not None:
            await last[0].abandon()


async def salvage(attempt: RequestAttempt[T], error: ImagesError) -> ImagesError:
    """Return *error* with what came in the answer that it is about."""
    try:
        await attempt.salvage(error)
    except ImagesError as salvaged:
        return salvaged
    return error


def to_failed_answer(body: bytes) -> ImagesAnswer | None:
    """Return what an error says, as an answer; None if it says nothing."""
    try:
        return to_answer(json.loads(body), frozenset(), {}, body)
    except (ValueError, RecursionError, ProtocolError):
        return None
