"""
Where a case plays: a world that goes wrong, a client in it, and everything that both have said.

Each case plays twice, with its fault and without. What is looked at is the same for all: the server's ledger, what the
caller was told, the secrets in all output, and what is left over.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
import traceback
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import attrs
from fakes import FakeClock
from faults.gateway import Gateway, Step
from faults.proxy import Proxy, Toxic
from pictures import png
from ways import here

from burncloud_images import AsyncImagesClient, errors
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.errors import Billing, ImagesError, OutcomeUnknownError, find_billing

T = TypeVar("T")

CANARY = "sk-canary-3b1f7c"
SMALL: Mapping[str, Any] = {"model": "gpt-image-2", "size": "1024x640"}
MIB = 1024 * 1024
BIG = png(pad=8 * MIB)
OWN_FRAMES = "burncloud_images"


class Clock(FakeClock):
    """
    A clock whose waits cost nothing and can be used to change the world.

    Attributes:
        on_sleep: Called with the number of waits so far, this one included.
    """

    on_sleep: Callable[[int], Awaitable[None]] | None = None

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if self.on_sleep is not None:
            await self.on_sleep(len(self.slept))


# --- worlds ----------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class World:
    """
    A server to talk to.

    Attributes:
        base_url: Where it is.
        count: Returns POSTs that arrived and how many of them were billed.
        fired: Whether everything that was to go wrong did.
        emulator: Behind it, if there is one.
        proxy: Before it, if there is one.
        gateway: In its place, if there is one.
        store: Where its result URLs lead, if it gives any.
        options: What a client needs to reach it.
    """

    base_url: str
    count: Callable[[], tuple[int, int]]
    fired: Callable[[], bool]
    emulator: Emulator | None = None
    proxy: Proxy | None = None
    gateway: Gateway | None = None
    store: Any = None
    options: Mapping[str, Any] = attrs.field(factory=dict)


Setting = Callable[[bool], AbstractAsyncContextManager[World]]
"""Makes a world, in which something goes wrong or not."""


def scripted(*faults: Fault, **options: Any) -> Setting:
    """Return a setting in which the emulator goes wrong as *faults* say."""

    @asynccontextmanager
    async def setting(faulty: bool) -> AsyncIterator[World]:
        async with Emulator(faults=faults if faulty else (), api_key=CANARY, **options) as emulator:
            yield emulated(emulator, emulator.base_url, fired=lambda: not emulator.unfired)

    return setting


def proxied(*toxics: Toxic, faults: tuple[Fault, ...] = ()) -> Setting:
    """Return a setting in which the way to the emulator goes wrong as *toxics* say."""

    @asynccontextmanager
    async def setting(faulty: bool) -> AsyncIterator[World]:
        async with (
            Emulator(faults=faults if faulty else (), api_key=CANARY) as emulator,
            Proxy(emulator.port, *(toxics if faulty else ())) as proxy,
        ):
            url = f"{here().url(proxy.port)}/v1"
            world = emulated(emulator, url, fired=lambda: {*toxics} <= {*proxy.fired} and not emulator.unfired)
            yield attrs.evolve(world, proxy=proxy)

    return setting


def written(*script: Step, **options: Any) -> Setting:
    """Return a setting in which each request is answered as *script* says."""

    @asynccontextmanager
    async def setting(faulty: bool) -> AsyncIterator[World]:
        async with Gateway(*(script if faulty else ()), **options) as gateway:
            yield World(
                base_url=gateway.base_url,
                count=lambda: (gateway.posts, gateway.billed),
                fired=lambda: gateway.fired,
                gateway=gateway,
            )

    return setting


def emulated(emulator: Emulator, url: str, *, fired: Callable[[], bool], **options: Any) -> World:
    """Return the world of an emulator that is reached by *url*."""

    def count() -> tuple[int, int]:
        ledger = emulator.ledger
        return len(ledger.requests), ledger.billed_requests

    return World(base_url=url, count=count, fired=fired, emulator=emulator, options=options)


# --- what is expected ------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Expected:
    """
    How a call is to end.

    Attributes:
        kind: The error; None if it succeeds.
        posts: Requests that reach the server; None if that is the case's own business.
        billed: How many of them are billed; None likewise.
        attempts: Tries that the history shows; None likewise.
    """

    kind: type[ImagesError] | None = None
    posts: int | None = 1
    billed: int | None = 1
    attempts: int | None = None

    def __str__(self) -> str:
        """Return it for the table."""
        end = "succeeds" if self.kind is None else self.kind.__name__
        counts = [
            f"{count} {name}" for count, name in ((self.posts, "POST"), (self.billed, "billed")) if count is not None
        ]
        return ", ".join([end, *counts])


PLAINLY = Expected()


def succeeds(posts: int | None = 1, billed: int | None = 1, attempts: int | None = None) -> Expected:
    """Expect images."""
    return Expected(posts=posts, billed=billed, attempts=attempts)


def retried(posts: int = 2) -> Expected:
    """Expect images after one more try, and one bill."""
    return Expected(posts=posts, billed=1)


def held(billed: int | None = 1) -> Expected:
    """Expect to be told that it may have been billed, and no second try."""
    return Expected(kind=OutcomeUnknownError, posts=1, billed=billed, attempts=1)


def fails(
    kind: type[ImagesError], posts: int | None = 1, billed: int | None = 0, attempts: int | None = None
) -> Expected:
    """Expect an error that says what is wrong."""
    return Expected(kind=kind, posts=posts, billed=billed, attempts=attempts)


# --- the stage -------------------------------------------------------------------------------------------------------


class Call(Protocol):
    """What a caller does."""

    def __call__(self, client: AsyncImagesClient, /) -> Awaitable[object]:
        """Return what comes of it."""


async def generate(client: AsyncImagesClient) -> object:
    """Ask for one image."""
    return await client.generate("a sea otter", **SMALL)


async def edit(client: AsyncImagesClient) -> object:
    """Upload 8 MiB."""
    return await client.edit(BIG, "a beret", **SMALL)


@attrs.define(kw_only=True)
class Outcome:
    """
    What a caller gets.

    Attributes:
        result: If it succeeds.
        error: If it does not.
        elapsed: Real seconds.
    """

    result: Any = None
    error: Any = None
    elapsed: float = 0.0

    def __str__(self) -> str:
        """Return it for the table."""
        return "succeeds" if self.error is None else type(self.error).__name__


@attrs.define(kw_only=True)
class Stage:
    """
    One play of one case.

    Attributes:
        faulty: Whether anything is to go wrong.
        folder: For files.
        stack: What is closed at the end.
        seen: How calls ended, for the table.
        posts: Requests that reached the server.
        billed: Those that were billed.
        double: Images that were bought again without consent.
        lost: Paid images that the caller was not told of.
        output: Everything that was logged, warned of or raised.
        expected_words: What has to be among the output.
        scale: Real seconds of a stage's time per second.
    """

    faulty: bool
    folder: Path
    monkeypatch: Any = None
    stack: AsyncExitStack = attrs.field(factory=AsyncExitStack)
    seen: list[str] = attrs.field(factory=list)
    posts: int = 0
    billed: int = 0
    double: int = 0
    lost: int = 0
    output: list[str] = attrs.field(factory=list)
    expected_words: list[str] = attrs.field(factory=list)
    scale: float = 0.01
    worlds: list[World] = attrs.field(factory=list)
    clock: Clock = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock = Clock(self.scale)

    async def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        """Open something until the case ends."""
        return await self.stack.enter_async_context(context)

    async def world(self, setting: Setting) -> World:
        """Open a world."""
        world = await self.enter(setting(self.faulty))
        self.worlds.append(world)
        return world

    async def client(self, base_url: str, **options: Any) -> AsyncImagesClient:
        """Open a client."""
        given = {"api_key": CANARY, "clock": self.clock, **options}
        return await self.enter(AsyncImagesClient(base_url=base_url, **given))

    async def call(self, awaitable: Awaitable[object]) -> Outcome:
        """Wait for a call and listen to what it says."""
        started = time.monotonic()
        outcome = Outcome()
        try:
            outcome.result = await awaitable
            self.output.append(repr(outcome.result))
        except Exception as error:  # noqa: BLE001 (an outcome, whatever it is)
            outcome.error = error
            self.output.extend(words_of(error))
        outcome.elapsed = time.monotonic() - started
        self.seen.append(str(outcome))
        return outcome

    def count(self, calls: int = 1) -> None:
        """Read the ledgers; *calls* images were asked for."""
        for world in self.worlds:
            posts, billed = world.count()
            self.posts += posts
            self.billed += billed
        self.double = max(0, self.billed - calls)

    def judge(self, outcome: Outcome, expected: Expected) -> None:
        """Compare what a call came to with what was expected, the ledger above all."""
        if not self.posts:
            self.count()
        if outcome.error is not None and self.billed and not owns_up(outcome.error):
            self.lost += 1
        if expected.kind is None and outcome.error is not None:
            raise AssertionError(f"it should have succeeded: {outcome.error!r}") from outcome.error
        if expected.kind is not None:
            assert isinstance(outcome.error, expected.kind), (
                f"{expected.kind.__name__} expected, not {outcome}: {outcome.error!r}"
            )
        if expected.posts is not None:
            assert expected.posts == self.posts, f"{expected.posts} POSTs expected, not {self.posts}"
        if expected.billed is not None:
            assert expected.billed == self.billed, f"{expected.billed} billed expected, not {self.billed}"
        if expected.attempts is not None:
            history = (outcome.result if outcome.error is None else outcome.error).history
            assert expected.attempts == len(history), f"{expected.attempts} attempts expected, not {len(history)}"
        assert not self.lost, f"an image was paid for and the error does not say so: {outcome.error}"


def owns_up(error: BaseException) -> bool:
    """Say whether an error tells that money may have been spent."""
    return find_billing(error) > Billing.NO


def words_of(error: BaseException) -> list[str]:
    """Return everything that an error shows of itself, as a crash reporter would see it."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    strip(shown)
    texts = [repr(error), str(error), repr(error.args), "".join(shown.format()), repr(getattr(error, "history", ()))]
    if isinstance(error, ImagesError):
        texts.append(pickle.dumps(error).decode("latin-1"))
    return texts


def strip(shown: traceback.TracebackException | None) -> None:
    """Leave only frames of the package, whose locals are ours to answer for."""
    while shown is not None:
        shown.stack = traceback.StackSummary.from_list(
            [frame for frame in shown.stack if f"/{OWN_FRAMES}/" in frame.filename]
        )
        shown = shown.__cause__ or shown.__context__


class Listener(logging.Handler):
    """Keeps whatever any logger says."""

    def __init__(self, output: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self.output = output

    def emit(self, record: logging.LogRecord) -> None:
        self.output.append(f"{record.name}: {record.getMessage()} {record.args!r} {record.exc_text or ''}")
        if record.exc_info and record.exc_info[1] is not None:
            self.output.extend(words_of(record.exc_info[1]))


@asynccontextmanager
async def listening(output: list[str]) -> AsyncIterator[list[str]]:
    """Keep what is logged, at any level, and what is warned of; give the warnings that are not this package's own."""
    root = logging.getLogger()
    level, listener = root.level, Listener(output)
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            unexpected: list[str] = []
            yield unexpected
            output.extend(str(warning.message) for warning in caught)
            unexpected.extend(str(one.message) for one in caught if not issubclass(one.category, errors.ImagesWarning))
    finally:
        root.removeHandler(listener)
        root.setLevel(level)


async def others() -> set[asyncio.Task[Any]]:
    """Return the tasks that still run besides this one."""
    for _ in range(3):
        await asyncio.sleep(0)
    return {task for task in asyncio.all_tasks() if not task.done()} - {asyncio.current_task()}
