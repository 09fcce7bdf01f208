"""
The exception tree: what happened, whether it may have been billed, the request id, and what to do next.

Every error of this package is an `ImagesError`. The classes say what a caller can do about it; the attributes say the
rest. All of them pickle, without the images, raw bytes and signed addresses that some of them hold.
"""

from __future__ import annotations

import enum
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

import attrs

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from burncloud_images.results import Attempt, DamagedImage, Image, ImageDetails, PartialImage, Task, Unfetched

__all__ = [
    "APIError",
    "AuthenticationError",
    "BadRequestError",
    "Billing",
    "ClientClosedError",
    "ConfigurationError",
    "ConnectionFailedError",
    "DownloadError",
    "DownloadRefusedError",
    "ImageCountError",
    "ImagesError",
    "ImagesWarning",
    "InputChangedError",
    "InvalidRequestError",
    "JobError",
    "JobLockedError",
    "KeptAnswer",
    "ModerationError",
    "NotFoundError",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "Phase",
    "ProtocolError",
    "QuotaExceededError",
    "RateLimitError",
    "ResultExpiredError",
    "ServerError",
    "StorageError",
    "TooLargeError",
    "UnsupportedError",
    "Violation",
    "find_billing",
    "hide_query",
    "mark",
]

E = TypeVar("E", bound="ImagesError")

UNEXECUTED = frozenset({300, 301, 302, 307, 308})
"""
Redirects that say where to ask instead; they are not followed, so nothing was executed. 303 is not among them: it says
where to find the result of a request that was. Source: RFC 9110 §15.4.
"""
NOT_BILLED = "Nothing was billed."
NOT_SENT = "Nothing was sent."
ASK_FIRST = "Ask the provider by the request id or the idempotency key before sending it again."


class Phase(enum.IntEnum):
    """
    The phases of an attempt, in order.

    Before `FINAL_RELEASED` the server cannot have had the whole request, so nothing can have been billed. From there on
    only a complete answer tells.
    """

    QUEUED = 0
    RESOLVING = 1
    CONNECTING = 2
    HEADERS = 3
    BODY = 4
    FINAL_RELEASED = 5
    STATUS = 6
    BODY_IN = 7
    ACCEPTED = 8
    """The answer names a task, whose images are still to be asked for."""
    COMPLETE = 9

    @property
    def may_be_billed(self) -> bool:
        """Whether a request that ended here can have been executed."""
        return self >= Phase.FINAL_RELEASED


class Billing(enum.IntEnum):
    """
    Whether a call cost money, as far as is known; the larger of two is the one to reckon with.

    Every `ImagesError` has one as `billed`, and so has a `CancelledError` that leaves the client.
    """

    NO = 0
    """It is known that nothing was billed."""
    MAYBE = 1
    """The images may have been made, and nothing tells whether they were."""
    YES = 2
    """Something of the images came, or the tokens that they cost."""


SENTENCES: Mapping[Billing, str] = {
    Billing.NO: NOT_BILLED,
    Billing.MAYBE: "This request may have been billed.",
    Billing.YES: "This request was billed.",
}


def mark(error: BaseException, billed: Billing) -> None:
    """Set `billed` on *error*, which may be a `CancelledError`; it is never lowered."""
    error.__dict__["billed"] = max(billed, find_billing(error))


def completed(  # noqa: PLR0913 (what a call knows)
    error: E,
    *,
    images: Sequence[ImageDetails] = (),
    partials: Sequence[PartialImage] = (),
    damaged: Sequence[DamagedImage] = (),
    unfetched: Sequence[Unfetched] = (),
    request_id: str | None = None,
    phase: Phase | None = None,
    idempotency_key: str | None = None,
    history: Sequence[Attempt] = (),
    billed: Billing = Billing.NO,
) -> E:
    """Add to *error* what only the attempt or call knows, and return it; omitted arguments change nothing."""
    error.images = error.images or tuple(images)
    error.partials = tuple(partials) or error.partials
    error.damaged = tuple(damaged) or error.damaged
    error.unfetched = tuple(unfetched) or error.unfetched
    error.request_id = error.request_id or request_id
    error.phase = phase if phase is not None else error.phase
    error.idempotency_key = idempotency_key or error.idempotency_key
    error.history = tuple(history) or error.history
    mark(error, billed)
    return error


def find_billing(error: BaseException) -> Billing:
    """Return whether *error*'s call was billed; `NO` for an exception that does not say."""
    billed: Billing = getattr(error, "billed", Billing.NO)
    return billed


def hide_query(url: str | None) -> str:
    """Return the repr of *url* without its query: a signed URL is a key to the image, a `data:` URL is the image."""
    if url is None:
        return "None"
    address, mark, _ = url.partition("," if url[:5].lower() == "data:" else "?")
    return repr(f"{address}{mark}…" if mark else address)


class ImagesWarning(UserWarning):
    """A call that succeeded needs attention: it ignored a documented limit, or returned fewer images than asked for."""


def show_warning(message: str, stacklevel: int = 3) -> None:
    """Warn; where warnings are errors it is only shown, as raising would cost a paid result or a good request."""
    try:
        warnings.warn(message, ImagesWarning, stacklevel=stacklevel)
    except ImagesWarning:
        with warnings.catch_warnings():
            warnings.simplefilter("always", ImagesWarning)
            warnings.warn(message, ImagesWarning, stacklevel=stacklevel)


@attrs.frozen(kw_only=True, eq=False)
class KeptAnswer:
    """
    The bytes of an answer that was not, or not completely, understood, as the server sent them.

    It may contain signed URLs, and in a file also your key if the server echoes it: keep it secret.

    Attributes:
        size: Bytes.
        path: The file that holds them, readable by its owner only; None if they are in memory or in an unnamed file.
        data: The bytes, if they are in memory.
        file: An unnamed temporary file that holds them; it goes with this object.
    """

    size: int
    path: Path | None = None
    data: bytes = attrs.field(default=b"", repr=False)
    file: IO[bytes] | None = attrs.field(default=None, repr=False)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle where the bytes are, and none of them."""
        return restore_kept, (self.size, self.path)

    def read(self) -> bytes:
        """Return all bytes; none if the file that held them is gone."""
        if self.path is not None:
            try:
                return self.path.read_bytes()
            except OSError:
                return b""
        if self.file is not None:
            self.file.seek(0)
            return self.file.read()
        return self.data

    @property
    def whereabouts(self) -> str:
        """Where the bytes are, in one sentence; empty if they are in memory."""
        if self.path is not None:
            return f"The answer is kept in {self.path}."
        if self.file is not None:
            return f"The answer, {self.size:,} bytes, is kept in an unnamed temporary file; .kept reads it."
        return ""


def restore_kept(size: int, path: Path | None) -> KeptAnswer:
    """Return what was pickled."""
    return KeptAnswer(size=size, path=path)


@attrs.frozen
class Violation:
    """
    One reason why a request is refused or doubtful.

    Attributes:
        field: The field's API name.
        message: One sentence.
        source: Where the rule is documented; None for what no server could take.
    """

    field: str
    message: str
    source: str | None = None

    def __str__(self) -> str:
        """Return the sentence, led by the field."""
        return f"{self.field}: {self.message}"


class ImagesError(Exception):
    """
    The base class of all errors of this package.

    Attributes:
        billed: Whether the call was billed.
        images: Paid images that had arrived whole, or had been stored or fetched.
        partials: Previews that had arrived over a stream; of many large ones the later.
        damaged: What had arrived of other images.
        unfetched: Paid images of the answer that were not downloaded, in its order, with their URLs.
        retry_after: Seconds the server asks to wait.
        request_id: The server's id, to quote to the provider's support.
        history: Every attempt that was made.
        idempotency_key: Our key for the call, the same for all its attempts.
        phase: How far the last attempt got.
        retryable: What the server (`x-should-retry`) or the kind of failure says about another attempt: True if it may
            succeed, False if it cannot, as with a certificate that does not verify; None if nothing is said.
        task: The gateway's task for the call, if it accepted one: asking for its images again is free.
        kept: An answer that was not understood, as the server sent it, or as far as it came; else None.
        answer_path: The file that it is kept in, where images go to files.
    """

    usual_advice: ClassVar[str] = ""
    advice_if_billed: ClassVar[str | None] = None
    sentences: ClassVar[Mapping[Billing, str]] = SENTENCES
    not_pickled: ClassVar[frozenset[str]] = frozenset({"images", "partials", "damaged", "kept", "unfetched", "url"})

    billed: Billing = Billing.NO
    unbilled: str = NOT_BILLED
    images: tuple[ImageDetails, ...] = ()
    partials: tuple[PartialImage, ...] = ()
    damaged: tuple[DamagedImage, ...] = ()
    unfetched: tuple[Unfetched, ...] = ()
    retry_after: float | None = None
    request_id: str | None = None
    history: tuple[Attempt, ...] = ()
    idempotency_key: str | None = None
    phase: Phase | None = None
    retryable: bool | None = None
    task: Task | None = None
    kept: KeptAnswer | None = None
    answer_path: Path | None = None

    def __init__(self, message: str, *, request_id: str | None = None, phase: Phase | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id
        self.phase = phase

    @property
    def message(self) -> str:
        """What happened, in one sentence."""
        return str(self.args[0])

    @property
    def advice(self) -> str:
        """What to do next."""
        return self.usual_advice if self.advice_if_billed is None or not self.billed else self.advice_if_billed

    @property
    def raw(self) -> bytes:
        """The bytes of `kept`; none without it, as after pickling."""
        return self.kept.read() if self.kept is not None else b""

    @property
    def whereabouts(self) -> str:
        """Where the answer is kept, in one sentence; empty if it is in memory, or was not kept."""
        if self.kept is not None:
            return self.kept.whereabouts
        return f"The answer is kept in {self.answer_path}." if self.answer_path is not None else ""

    def take_images(self, images: Sequence[ImageDetails]) -> None:
        """Hold images that had arrived: they were billed."""
        self.images = tuple(images)
        if images:
            self.billed = Billing.YES

    def keep(self, answer: KeptAnswer | None) -> None:
        """Hold the bytes of an answer."""
        self.kept = answer
        self.answer_path = answer.path if answer is not None else None

    def __str__(self) -> str:
        """Return what happened, whether it may have been billed, what to do next, and the request id."""
        sentences = [self.message, describe_billing(self), self.whereabouts, describe_task(self.task) or self.advice]
        if self.request_id and self.request_id not in self.message:
            sentences.append(f"(request id: {self.request_id})")
        return " ".join(sentence for sentence in sentences if sentence)

    def __reduce__(self) -> tuple[Callable[..., ImagesError], tuple[object, ...]]:
        """Pickle everything but image bytes, raw answers and signed addresses."""
        state = {name: value for name, value in self.__dict__.items() if name not in self.not_pickled}
        return revive, (type(self), self.args, state)


def describe_billing(error: ImagesError) -> str:
    """Return whether *error*'s call was billed, in one sentence."""
    return error.sentences[error.billed] if error.billed else error.unbilled


def describe_task(task: Task | None) -> str:
    """Return how the images of *task* can still be had, in one sentence; empty if they cannot."""
    if task is None or task.is_ended:
        return ""
    name = task.id if task.id.replace("-", "").replace("_", "").isalnum() else repr(task.id)
    return (
        f"The gateway works on it as task {task.id}: asking for it again is free, with client.resume or "
        f"`burncloud-images fetch --task {name}`."
    )


def revive(kind: type[E], args: tuple[object, ...], state: dict[str, object]) -> E:
    """Return the error that was pickled."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(ImagesError, ValueError):
    """The client cannot be used as it was set up: no key, a bad base URL."""

    unbilled = NOT_SENT


class InvalidRequestError(ImagesError, ValueError):
    """
    The request is refused before anything is sent.

    Attributes:
        violations: All reasons.
    """

    unbilled = NOT_SENT

    violations: tuple[Violation, ...] = ()

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("; ".join(str(violation) for violation in violations) + ".")
        self.violations = tuple(violations)


class ImageCountError(ImagesError, ValueError):
    """
    `ImagesResult.image` was asked for, and there is not exactly one image.

    Attributes:
        images: All images of the result.
    """

    unbilled = ""

    def __init__(self, images: Sequence[ImageDetails]) -> None:
        super().__init__(f"This result holds {len(images)} images, not one; take them from .images.")
        self.take_images(images)


class ClientClosedError(ImagesError, RuntimeError):
    """The client was used after `aclose`, or in another event loop than the first."""

    unbilled = NOT_SENT
    usual_advice = "Make one client per event loop and close it last."


class InputChangedError(ImagesError):
    """An input changed, shrank or cannot be read again for another attempt."""

    usual_advice = "Send the request again once its inputs stay as they are."


class JobError(ImagesError):
    """The directory of a bulk job cannot be used as asked; what it holds is as it was."""

    unbilled = NOT_SENT


class JobLockedError(JobError):
    """
    Another run of the job is alive.

    Attributes:
        pid: Its process; None if it does not say.
    """

    usual_advice = "Wait for it, or stop it with Ctrl-C; then run this again."

    pid: int | None = None

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class ConnectionFailedError(ImagesError):
    """
    The request never reached the API whole, so nothing can have been billed.

    Attributes:
        timed_out: Whether it took too long; the message names the seconds and the option.
        most_attempts: How many attempts it is worth, if fewer than usual, as with a host name that does not resolve.
    """

    timed_out: bool = False
    most_attempts: int | None = None

    def __init__(
        self,
        message: str,
        *,
        phase: Phase | None = None,
        retryable: bool | None = None,
        timed_out: bool = False,
        most_attempts: int | None = None,
    ) -> None:
        super().__init__(message, phase=phase)
        self.retryable = retryable
        self.timed_out = timed_out
        self.most_attempts = most_attempts

    @property
    def advice(self) -> str:
        """What to do next."""
        return "Check the base URL and the certificates." if self.retryable is False else "It is safe to try again."


class OutcomeUnknownError(ImagesError):
    """
    The request was sent and no usable answer came: it may have been billed.

    Attributes:
        raw: The answer as far as it arrived, without the images that were extracted.
        status: HTTP status, if an answer began.
        timed_out: Whether it took too long; the message names the seconds and the option.
        code: The API's error code, if it answered with one.
        in_flight: Whether the server says that it is still working on an earlier attempt.
    """

    billed = Billing.MAYBE
    usual_advice = (
        "Ask the provider by its id or the idempotency key before sending it again; "
        "RetryPolicy(on_unknown='retry') accepts to pay twice."
    )

    status: int | None = None
    timed_out: bool = False
    code: str | None = None
    in_flight: bool = False

    def __init__(
        self,
        message: str,
        *,
        images: Sequence[ImageDetails] = (),
        raw: bytes = b"",
        status: int | None = None,
        timed_out: bool = False,
        request_id: str | None = None,
        phase: Phase | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id, phase=phase)
        self.kept = KeptAnswer(size=len(raw), data=raw) if raw else None
        self.status = status
        self.timed_out = timed_out
        self.take_images(images)


class APIError(ImagesError):
    """
    The API answered with an error.

    Attributes:
        status: HTTP status.
        code: The API's error code; numbers as text.
        type: The API's error type.
        param: The field the API objects to.
        body: The answer: parsed JSON, or text.
        key_already_used: Whether the API refuses the request because it knows the idempotency key from an earlier one.
    """

    key_already_used: bool = False
    status: int = 0
    code: str | None = None
    type: str | None = None
    param: str | None = None
    body: object = None

    def __init__(  # noqa: PLR0913 (a value's constructor)
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        type: str | None = None,  # noqa: A002 (the API's own field name)
        param: str | None = None,
        body: object = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
        request_id: str | None = None,
        phase: Phase | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id, phase=phase)
        self.status = status
        self.code = code
        self.type = type
        self.param = param
        self.body = body
        self.retry_after = retry_after
        self.retryable = retryable


class AuthenticationError(APIError):
    """
    The key is missing, unknown, expired or disabled.

    Attributes:
        key_changed: Whether the callable that gives the key has given another since.
    """

    key_changed: bool = False

    usual_advice = "Check the API key."


class PermissionDeniedError(APIError):
    """The key is valid and may not do this: model, group, address or region."""

    usual_advice = "Ask the operator of the gateway for access."


class NotFoundError(APIError):
    """No such model or path."""

    usual_advice = "Check the model's name and the base URL; `burncloud-images models` lists the models."


class RateLimitError(APIError):
    """Too many requests; retry later."""

    usual_advice = "Send fewer requests at once, or try again later."
    advice_if_billed = ASK_FIRST


class QuotaExceededError(APIError):
    """The account or the key has run out of credit."""

    usual_advice = "Top up the account or raise its limit; trying again does not help."
    advice_if_billed = ASK_FIRST


class ModerationError(APIError):
    """The prompt or the result was refused by a content filter."""

    billed = Billing.MAYBE
    usual_advice = "Change the prompt or the input images."
    sentences: ClassVar[Mapping[Billing, str]] = {
        **SENTENCES,
        Billing.MAYBE: "Refused results are billed by some providers.",
    }


class UnsupportedError(APIError):
    """The endpoint or model is retired, or this gateway does not serve it."""

    usual_advice = "Use another model or endpoint."


class BadRequestError(APIError):
    """The API refuses the request as it is."""

    usual_advice = "Change the request; trying again does not help."


class ServerError(APIError):
    """The API reports an error of its own."""

    usual_advice = "Try again later."
    advice_if_billed = ASK_FIRST


class ProtocolError(ImagesError):
    """
    An answer that the API does not document: a redirect, no JSON, bad base64, no image.

    Attributes:
        raw: The whole answer, without images that were taken.
        status: HTTP status.
    """

    billed = Billing.MAYBE
    usual_advice = "The answer is kept in .raw."
    advice_if_billed: ClassVar[str | None] = (
        "The answer is kept in .raw, its whole images in .images and what is left of others in .damaged."
    )

    status: int | None = None

    def __init__(
        self,
        message: str,
        *,
        images: Sequence[ImageDetails] = (),
        raw: bytes = b"",
        status: int | None = None,
        request_id: str | None = None,
        phase: Phase | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id, phase=phase)
        self.kept = KeptAnswer(size=len(raw), data=raw) if raw else None
        self.status = status
        if status in UNEXECUTED:
            self.billed = Billing.NO
        self.take_images(images)


class TooLargeError(ProtocolError):
    """The answer passes a cap of `Limits`; the message names it."""

    usual_advice = "Raise the cap that is named, if such an answer is expected."
    advice_if_billed = None


class StorageError(ImagesError, OSError):
    """
    A file could not be written.

    Attributes:
        images: The paid images: those that could not be stored as `Image`, with their bytes.
        elsewhere: The files that these images were written to instead, by the images' `index`. The message names them.
    """

    unbilled = ""

    def __init__(
        self,
        message: str,
        *,
        images: Sequence[ImageDetails] = (),
        phase: Phase | None = None,
        elsewhere: Mapping[int, Path] | None = None,
    ) -> None:
        super().__init__(message, phase=phase)
        self.take_images(images)
        self.elsewhere: Mapping[int, Path] = dict(elsewhere or {})

    @property
    def advice(self) -> str:
        """Where the images are."""
        whole = ["The images are in .images."] if self.images else []
        others = ["The addresses of others are in .unfetched."] if self.unfetched else []
        return " ".join([*whole, *others])

    @property
    def unsaved(self) -> tuple[Image, ...]:
        """The images that are in memory only."""
        return tuple(cast("Image", image) for image in self.images if hasattr(image, "data"))


class DownloadError(ImagesError):
    """
    Fetching images from their URLs failed. The images of an answer exist and are paid for.

    Attributes:
        url: The URL of the image. It is a secret while it is valid.
    """

    usual_advice = "Fetch .url again before it expires; .unfetched lists all images that are missing."

    billed = Billing.YES
    url: str | None = None

    def __init__(
        self,
        message: str,
        *,
        url: str | None = None,
        images: Sequence[ImageDetails] = (),
        retry_after: float | None = None,
        retryable: bool | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.url = url
        self.take_images(images)
        self.retry_after = retry_after
        self.retryable = retryable


class ResultExpiredError(DownloadError):
    """
    The URL of a paid image has expired.

    Attributes:
        expired_at: Aware UTC.
    """

    usual_advice = "Only the provider can still have the image; quote the request id to its support."

    expired_at: datetime | None = None

    def __init__(
        self,
        message: str,
        *,
        url: str | None = None,
        expired_at: datetime | None = None,
        images: Sequence[ImageDetails] = (),
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, url=url, images=images, request_id=request_id)
        self.expired_at = expired_at


class DownloadRefusedError(DownloadError):
    """
    The address of an image, or a redirect on the way to it, is not one that a download may touch.

    Attributes:
        host: What to name in `Network(allowed_result_hosts=…)` to let the download pass; None if that does not help.
    """

    def __init__(self, message: str, *, url: str | None = None, host: str | None = None) -> None:
        super().__init__(message, url=url)
        self.host = host

    @property
    def advice(self) -> str:
        """What to do next."""
        return f"If the host is yours, name it: Network(allowed_result_hosts=[{self.host!r}])." if self.host else ""
