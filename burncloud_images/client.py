"""`AsyncImagesClient`: the verbs and options of the client; each method delegates."""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Self,
    TypeAlias,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

import attrs

from burncloud_images.errors import Billing, ConfigurationError, InvalidRequestError, Violation
from burncloud_images.files.sinks import Memory, Sink
from burncloud_images.model.operations import EditRequest, GenerationRequest, ImagesRequest, VariationRequest
from burncloud_images.model.parameter_docs import PlainAnnotation, with_parameters
from burncloud_images.results import CompletedImage, Image, ImageDetails, ImagesResult, ModelInfo, PartialImage, Task
from burncloud_images.retry import RetryPolicy
from burncloud_images.settings import Limits, Network, OnAttempt, Settings, Timeouts, Validation

if TYPE_CHECKING:
    from datetime import datetime

    import typing_extensions  # of the type checkers themselves

    from burncloud_images.calls.attempt import Tasks
    from burncloud_images.calls.background import BackgroundTasks, OnExit
    from burncloud_images.calls.hooks import CallHooks
    from burncloud_images.calls.map_outcomes import Outcomes
    from burncloud_images.calls.unclaimed_outcomes import OnUnclaimed
    from burncloud_images.retry import Clock
    from burncloud_images.transport.http import Session

    # With a default, so that a map without a sink needs no overload; Python itself knows them from 3.13 on.
    M = typing_extensions.TypeVar("M", bound=ImageDetails, default=Image)

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=ImageDetails)
Q = TypeVar("Q", bound=ImagesRequest)

Key: TypeAlias = str | Callable[[], str | Awaitable[str]]

KEY_VARIABLES = ("BURNCLOUD_API_KEY", "Burncloud_API_KEY")
BASE_URL_VARIABLES = ("BURNCLOUD_API_BASE_URL", "Burncloud_API_BaseUrl")
MODEL_VARIABLES = ("BURNCLOUD_MODEL",)
DIALECT_VARIABLES = ("BURNCLOUD_DIALECT",)
DEFAULT_BASE_URL = "https://ai.burncloud.com/v1"


class ClientOptions(TypedDict, total=False):
    """The options that `AsyncImagesClient.with_options` can change, as in the constructor."""

    model: str | None
    retry: RetryPolicy
    timeouts: Timeouts
    limits: Limits
    validation: Validation
    on_attempt: OnAttempt | None


def accepts(request: Callable[P, object]) -> Callable[[Callable[..., R]], Callable[Concatenate[Any, P], R]]:
    """Declare that a method takes what *request*'s constructor takes, to type checkers and to `help`."""

    def declare(method: Callable[..., R]) -> Callable[Concatenate[Any, P], R]:
        own = inspect.signature(method)
        first, *_ = own.parameters.values()
        fields = inspect.signature(request).parameters
        shown = own.replace(
            parameters=[first, *fields.values()], return_annotation=PlainAnnotation(own.return_annotation)
        )
        setattr(method, "__signature__", shown)  # noqa: B010 (no attribute of its type)
        method.__doc__ = with_parameters(method.__doc__, cast("type", request))
        return method

    return declare


class AsyncImagesClient:
    """
    Burncloud's images API, for asyncio.

    One client serves many tasks of one event loop. Connections are made on first use, so making a client is cheap;
    close it with `async with` or `aclose`.

    Args:
        api_key: The key, or a callable (sync or async) that returns one and is asked for every attempt. By default
            `BURNCLOUD_API_KEY` of the environment. False sends none, which is also what happens without a key if the
            API is on this machine or `Network(headers=…)` says who you are.
        base_url: Where the API is: a host, or a URL as the gateway documents it. Without a path it gets `/v1`; its
            query is sent with each request. By default `BURNCLOUD_API_BASE_URL` of the environment, else
            `https://ai.burncloud.com/v1`.
        model: For requests that name none. By default `BURNCLOUD_MODEL` of the environment.
        retry: What is sent again, and when.
        timeouts: Of each stage, in seconds.
        limits: Largest sizes, in bytes.
        network: Proxy, certificates, further headers, result hosts.
        validation: What to do about requests that the API's documentation does not allow: `warn`, `strict` (raise)
            or `off`.
        max_connections: To the API at once; further requests wait. A few hundred are enough: ten thousand that connect
            at once hold the event loop for half a minute, and most of them time out.
        on_attempt: A callable that sees each `Attempt` as it ends.
        dialect: Which server it is, where the base URL does not tell: `burncloud`, `newapi`, `openai`, `azure`,
            `openrouter`, `ark`, `together`, `siliconflow` and others. It decides paths, fields, the header of the key,
            and what errors say about money. By default `BURNCLOUD_DIALECT` of the environment.
        session: An aiohttp session for the API's requests; it is borrowed and never closed. Result URLs are fetched by
            another, without the key.
        clock: Where time comes from; for tests.

    Raises:
        ConfigurationError: The key, the base URL, the dialect or the session cannot be used.
    """

    def __init__(  # noqa: PLR0913 (a client's options)
        self,
        api_key: Key | Literal[False] | None = None,
        base_url: str | None = None,
        *,
        model: str | None = None,
        retry: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        network: Network | None = None,
        validation: Validation = "warn",
        max_connections: int = 100,
        on_attempt: OnAttempt | None = None,
        dialect: str | None = None,
        session: Session | None = None,
        clock: Clock | None = None,
    ) -> None:
        from burncloud_images.calls.resources import ClientResources
        from burncloud_images.transport.secret import hide
        from burncloud_images.wire.base_url import find_query, is_loopback, origin, to_base_url
        from burncloud_images.wire.dialects import find_dialect

        if api_key is not False:  # before anything can be raised, whose traceback may print local variables
            api_key = hide(from_environment(KEY_VARIABLES) if api_key is None else api_key)
        network = network or Network()
        address, source = find_base_url(base_url)
        where = to_base_url(address, allow_http=network.allow_http)
        server = find_dialect(where, dialect or from_environment(DIALECT_VARIABLES))
        if server is not None:
            where = to_base_url(address, allow_http=network.allow_http, base_path=server.base_path)
        host = origin(where)[1]
        if api_key is None and (is_loopback(host) or network.brings_credentials):
            api_key = False
        self._settings = Settings(
            base_url=where,
            key=to_asker(api_key),
            model=model or from_environment(MODEL_VARIABLES),
            retry=retry or RetryPolicy(),
            timeouts=timeouts or Timeouts(),
            limits=limits or Limits(),
            network=network,
            validation=validation,
            on_attempt=on_attempt,
            base_url_source=source,
            dialect=server,
            query=find_query(address),
        )
        if session is not None:
            from burncloud_images.transport.http import check_session  # whoever has a session has loaded aiohttp

            check_session(session, sends_key=api_key is not False)
        self._lifecycle = ClientResources(
            network=network, max_connections=max_connections, session=session, clock=clock
        )
        self._is_copy = False

    def __repr__(self) -> str:
        """Return where requests go; the key is not shown."""
        # Tracebacks with local variables print a client whose constructor has just failed.
        return f"<AsyncImagesClient {self._settings.base_url if hasattr(self, '_settings') else 'not set up'}>"

    @property
    def base_url(self) -> str:
        """Where requests go, with scheme and path."""
        return self._settings.base_url

    @property
    def model(self) -> str | None:
        """The model of requests that name none; None if the server decides."""
        return self._settings.model

    @property
    def retry(self) -> RetryPolicy:
        """What is sent again, and when."""
        return self._settings.retry

    @property
    def background(self) -> BackgroundTasks:
        """
        What goes on behind callers that have left, until it has ended or the client closes. Bulk jobs are built on it.

        Raises:
            ClientClosedError: It is closed, or belongs to another event loop.
        """
        return self._lifecycle.open().background

    @accepts(GenerationRequest)
    async def generate(self, *args: Any, **kwargs: Any) -> ImagesResult[Image]:  # noqa: ANN401 (typed by `accepts`)
        """
        Make images from a prompt and return them in memory. Takes the parameters of `GenerationRequest`.

        Raises:
            ImagesError: See `send`.
        """
        return await self.send(GenerationRequest(*args, **kwargs))

    @accepts(EditRequest)
    async def edit(self, *args: Any, **kwargs: Any) -> ImagesResult[Image]:  # noqa: ANN401 (typed by `accepts`)
        """
        Change images as a prompt says and return the new ones in memory. Takes the parameters of `EditRequest`.

        Raises:
            ImagesError: See `send`.
        """
        request = EditRequest(*args, **kwargs)
        del args, kwargs  # crash reporters print them whole: files, and images in base64
        return await self.send(request)

    @accepts(VariationRequest)
    async def create_variation(self, *args: Any, **kwargs: Any) -> ImagesResult[Image]:  # noqa: ANN401 (typed by `accepts`)
        """
        Make variations of an image and return them in memory. Takes the parameters of `VariationRequest`.

        Raises:
            ImagesError: See `send`.
        """
        request = VariationRequest(*args, **kwargs)
        del args, kwargs  # crash reporters print them whole: files, and images in base64
        return await self.send(request)

    @overload
    async def send(
        self,
        request: ImagesRequest,
        *,
        via_stream: bool = False,
        idempotency_key: str | None = None,
        hooks: CallHooks | None = None,
        tasks: Tasks = "auto",
    ) -> ImagesResult[Image]: ...

    @overload
    async def send(
        self,
        request: ImagesRequest,
        *,
        into: Sink[T],
        via_stream: bool = False,
        idempotency_key: str | None = None,
        hooks: CallHooks | None = None,
        tasks: Tasks = "auto",
    ) -> ImagesResult[T]: ...

    async def send(
        self,
        request: ImagesRequest,
        *,
        into: Sink[Any] | None = None,
        via_stream: bool = False,
        idempotency_key: str | None = None,
        hooks: CallHooks | None = None,
        tasks: Tasks = "auto",
    ) -> ImagesResult[Any]:
        """
        Send a request and return its images, in memory or as *into* keeps them.

        Args:
            request: Any of the three.
            into: `Directory` writes each image to a file as it arrives, in constant memory.
            via_stream: Stream inside, for gateways that cut connections on which nothing moves for a minute or two. The
                result is the same; previews that the request asks for keep the connection busy and are dropped.
            idempotency_key: A key of your own, the same for the same purchase; by default a new one for every call. It
                is printable ASCII.
            hooks: Called around each attempt, for example to limit the pace or to record what is about to be bought.
            tasks: What happens where the gateway makes a task of the request, whose images are asked for later. `auto`
                follows it, `ask` asks the gateway for one and follows it, and `off` raises an error that names it.
                Asking for a task is free; `RetryPolicy.deadline` says for how long, from the moment that it is known.

        Raises:
            InvalidRequestError: Nothing was sent.
            ConnectionFailedError: Nothing was billed; all attempts failed before the request was whole.
            OutcomeUnknownError: It may have been billed; it was not sent again.
            APIError: What the API answered, by class.
            ProtocolError: An answer that the API does not document.
            DownloadError: An image is paid for and could not be fetched from its URL.
            StorageError: An image is paid for and could not be stored; the error holds it.

        Cancellation leaves at once, closes the connection and removes partial files; the gateway may still finish and
        bill. If so, the `CancelledError` has a note, `.idempotency_key` and `.phase`. As frameworks replace that error
        by their own, a warning of the logger `burncloud_images` says it too, and `on_attempt` sees the attempt.
        """
        from burncloud_images.calls.call import send

        sink = into if into is not None else Memory()
        if idempotency_key is not None:
            check_idempotency_key(idempotency_key)
        resources = self._lifecycle.open()
        return await resources.background.call(
            send(
                request,
                sink,
                self._settings,
                resources,
                via_stream=via_stream,
                idempotency_key=idempotency_key,
                hooks=hooks,
                tasks=tasks,
            )
        )

    @overload
    async def resume(
        self, task: Task | str, *, request: ImagesRequest | None = None, hooks: CallHooks | None = None
    ) -> ImagesResult[Image]: ...

    @overload
    async def resume(
        self,
        task: Task | str,
        *,
        into: Sink[T],
        request: ImagesRequest | None = None,
        hooks: CallHooks | None = None,
    ) -> ImagesResult[T]: ...

    async def resume(
        self,
        task: Task | str,
        *,
        into: Sink[Any] | None = None,
        request: ImagesRequest | None = None,
        hooks: CallHooks | None = None,
    ) -> ImagesResult[Any]:
        """
        Return the images of a task, as the `task` of an error names it; nothing is bought, and asking is free.

        A task can be resumed in another process, and again after it failed to be found.

        Args:
            task: The task, or its id.
            into: Takes the images, as for `send`; by default they are in memory.
            request: What was asked for, if it is known: it gives files their names, and says how many images to expect.
            hooks: `on_links` is called if the images come as URLs.

        Raises:
            APIError: The task failed, or the gateway does not let it be asked for.
            OutcomeUnknownError: It was still running at the deadline, or could not be found.
            ImagesError: As from `send`, after images have come.

        Cancellation leaves at once; the task goes on.
        """
        from burncloud_images.calls.call import resume

        sink = into if into is not None else Memory()
        found = Task(id=task) if isinstance(task, str) else task
        check_task(found)
        resources = self._lifecycle.open()
        return await resources.background.call(
            resume(found, sink, self._settings, resources, request=request, hooks=hooks)
        )

    async def fetch(self, url: str, *, into: Sink[T], index: int = 0, expires_at: datetime | None = None) -> T:
        """
        Fetch the image at a result URL, as an error's `unfetched` names it; nothing is billed.

        It is downloaded like any result: with the same address checks, without the key, and resumed if it is cut off.

        Args:
            url: Where the image is. It is a secret while it is valid.
            into: Takes the image: `Memory()`, or a `Directory`.
            index: Place of the image in its answer, from 0.
            expires_at: When the URL expires, aware UTC; by default what its own signature says. One that has expired is
                tried once.

        Raises:
            DownloadError: It could not be fetched; ResultExpiredError or DownloadRefusedError if that is why.
            StorageError: It could not be stored; the error holds it.

        Cancellation closes the connection and leaves no partial file.
        """
        from burncloud_images.calls.result_urls import fetch
        from burncloud_images.transport.secret import RedactedURL

        url = RedactedURL(url)
        resources = self._lifecycle.open()
        work = fetch(url, into, self._settings, resources, index=index, expires_at=expires_at)
        return await resources.background.call(work, worst=Billing.NO)

    def stream(
        self, request: GenerationRequest | EditRequest
    ) -> AbstractAsyncContextManager[AsyncIterator[PartialImage | CompletedImage]]:
        """
        Send a request and receive its previews and images as they are made.

        Use it with `async with`, and iterate over it: it yields up to `partial_images` times a `PartialImage`, and one
        `CompletedImage` for each image. Leaving the block closes the connection, also early. A gateway that does not
        stream and answers plainly gives completed images only. If waiting for an image times out, you can wait for it
        again.

        Raises:
            OutcomeUnknownError: The stream ended without its images; those that came are in its `images` and
                `partials`. The request is not sent again, even if the retry policy allows it.
            ImagesError: As from `send`; an error that the API tells midway by its class. All of them are raised by the
                iterator.

        Cancellation closes the connection; the gateway may still finish and bill, which is told as by `send`.
        """
        from burncloud_images.calls.stream import stream

        return stream(request, self._settings, self._lifecycle.open())

    def map(
        self,
        requests: Iterable[Q] | AsyncIterable[Q],
        *,
        into: Sink[M] | None = None,
        concurrency: int = 32,
        ordered: bool = False,
        via_stream: bool = False,
        max_bytes: int = 256 * 1024 * 1024,
        on_exit: OnExit = "drain",
        on_unclaimed: OnUnclaimed[Q, M] | None = None,
    ) -> Outcomes[Q, M]:
        """
        Send many requests, a few at a time, and iterate over the outcome of each: a `Done` or a `Failed`.

        If the loop may be left early, use a block::

            async with client.map(requests, into=Directory("out")) as outcomes:
                async for outcome in outcomes:
                    match outcome:
                        case Done(result=result): ...
                        case Failed(request=request, error=error): ...

        Requests are pulled when there is room for them, so their number is not limited, and outcomes that are not taken
        slow the calls down.

        Args:
            requests: An iterable or an async iterable. An async generator is closed at the end.
            into: Takes the images, as for `send`; by default they are in memory.
            concurrency: Calls at once. Twice as many may be in flight: running, or ended and not yet taken. More than
                the client's `max_connections` wait for a connection.
            ordered: Whether outcomes come in the order of the requests, rather than as they end. One slow call then
                holds up those behind it, within the same limits.
            via_stream: As for `send`.
            max_bytes: Maximum bytes of images in memory: those of outcomes that are not yet taken, and an estimate for
                the running calls. One call is always let through. Images in files do not count.
            on_exit: What happens to running calls when the loop is left early. With `drain` requests that were sent
                finish, and calls that wait to be sent or retried are cancelled; `cancel` cancels them all, and requests
                that were sent may be billed.
            on_unclaimed: Called with every outcome that nobody took: those that were waiting, and those of the calls
                that `on_exit` ends. Without it they are lost, except images in files, and an `ImagesWarning` says so if
                something that was paid for is among them: at the end of the block, or when the client closes. Outcomes
                that come after the block was left are also logged.

        Every request that is pulled has one outcome, which is taken or unclaimed. A cancelled call has `Failed`: with
        an `OutcomeUnknownError` and its key if it may have been billed, with a `DownloadError` and the URLs if its
        images were being downloaded, and otherwise with an error that says that nothing was billed.

        Leaving the `async with` block waits until nothing runs any more. Without it, `async for` alone works too: after
        a `break` the calls end in the background, and `aclose` of the client waits for them.

        Raises:
            Exception: What *requests* raises, or a mistake in the program such as a sink that fails with no
                `ImagesError`: from the iterator, after the calls that run have ended and their outcomes were taken.
            ClientClosedError: Now, if the client is closed; from the iterator if it is closed later and there were
                requests left.

        Cancellation of a task that waits for an outcome ends only the waiting; nothing is started until a task waits
        again. It leaves the block, as any exception does, but without waiting: calls that may be billed go on in tasks
        of the client, however often the caller is cancelled, and `aclose` of the client waits for them. With
        `on_exit="cancel"` the block ends them first, and the `CancelledError` carries a note for each that may have
        been billed.
        """
        from burncloud_images.calls.call import send
        from burncloud_images.calls.map import MapRun
        from burncloud_images.calls.map_limits import InFlightLimit
        from burncloud_images.calls.map_outcomes import Outcomes
        from burncloud_images.calls.unclaimed_outcomes import UnclaimedOutcomes

        sink = cast("Sink[M]", into if into is not None else Memory())
        settings, resources = self._settings, self._lifecycle.open()
        run = MapRun(
            requests=requests,
            send=lambda request, key, hooks: send(
                request, sink, settings, resources, via_stream=via_stream, idempotency_key=key, hooks=hooks
            ),
            limit=InFlightLimit(concurrency=concurrency, max_bytes=max_bytes, ordered=ordered),
            on_exit=on_exit,
            unclaimed=UnclaimedOutcomes(show=on_unclaimed),
            background=resources.background,
        )
        return Outcomes(run)

    async def models(self) -> tuple[ModelInfo, ...]:
        """
        Return the models that the gateway lists, in its order; nothing is billed.

        Raises:
            ImagesError: As for any request.
        """
        from burncloud_images.calls.models import list_models

        return await list_models(self._settings, self._lifecycle.open())

    def with_options(self, **changes: Unpack[ClientOptions]) -> Self:
        """Return a copy that differs in what is given and shares the connections; only the original closes them."""
        copy = object.__new__(type(self))
        copy._settings = attrs.evolve(self._settings, **changes)
        copy._lifecycle = self._lifecycle
        copy._is_copy = True
        return copy

    async def aclose(self, *, on_exit: OnExit | None = None) -> None:
        """
        Close the connections, once all work in the background has ended.

        A copy made by `with_options` leaves them open.

        Args:
            on_exit: What to do with calls that may be billed. By default what `map` was told: they are waited for, as
                is a job that was cancelled. With `cancel` they are cancelled, and may be billed all the same.

        Cancellation leaves at once; what goes on ends as long as the event loop runs, and then the connections close.
        """
        if not self._is_copy:
            await self._lifecycle.aclose(on_exit)

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the connections."""
        await self.aclose()


def find_base_url(given: str | None) -> tuple[str, str]:
    """Return the base URL, and where it was set as a sentence."""
    if given:
        return given, "The base URL was given as base_url."
    for name in BASE_URL_VARIABLES:
        if value := os.environ.get(name):
            return value, f"The base URL is set by the variable {name}."
    return DEFAULT_BASE_URL, "The base URL is the default."


def from_environment(names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)


def to_asker(key: Key | Literal[False] | None) -> Callable[[], Awaitable[str]]:
    """Return what asks for the key; a key that is there is checked at once."""
    if key is None:
        raise ConfigurationError(f"There is no API key: give api_key, or set {KEY_VARIABLES[0]}.")
    if isinstance(key, str):
        check_key(key)
    elif key is False:
        key = ""
    elif not callable(key):
        raise ConfigurationError(f"The API key has to be text or a callable, not {type(key).__name__}.")

    async def ask() -> str:
        from burncloud_images.transport.secret import hide

        if isinstance(key, str):
            return key
        answer = hide(key())
        text = hide(await answer) if inspect.isawaitable(answer) else answer
        check_key(text)
        return text

    return ask


def check_idempotency_key(key: str) -> None:
    if not (key and key.isascii() and key.isprintable() and " " not in key):
        raise InvalidRequestError([Violation("idempotency_key", "it has to be printable ASCII without spaces")])


def check_task(task: Task) -> None:
    if not (task.id.strip() and task.id.isprintable()) or set(task.id) <= {"."}:
        raise InvalidRequestError([Violation("task", "it has to be the id of a task, printable and not empty")])


QUOTES = frozenset("\"'`")


def check_key(key: object) -> None:
    # Keys travel in a header; what is wrong with one is said without showing it.
    if not isinstance(key, str):
        raise ConfigurationError(f"The API key has to be text, not {type(key).__name__}.")
    if not key:
        raise ConfigurationError("The API key is empty.")
    if key[0] == key[-1] and key[0] in QUOTES:
        raise ConfigurationError("The API key is in quotes; leave them out.")
    if any(character.isspace() or not character.isprintable() or ord(character) > 255 for character in key):
        message = "The API key holds a line break, white space or another character that a header cannot carry."
        raise ConfigurationError(message)
