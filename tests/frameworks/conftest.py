"""Web applications under uvicorn, in the loop of the test, and visitors who come over the network and leave again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from burncloud_images import AsyncImagesClient, GenerationRequest
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.results import Attempt, Done

uvicorn = pytest.importorskip("uvicorn")

SMALL = {"model": "gpt-image-2", "size": "1024x640"}
WORK = 0.05
"""Seconds that the API takes for an image, here."""


@pytest.fixture
def no_long_sleep() -> None:
    """Let uvicorn sleep as it does, a tenth of a second at a time; the tests themselves wait for events."""


class Told(logging.Handler):
    """Collects what the log tells."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def keys(self) -> set[str]:
        """The idempotency keys in it."""
        single = {getattr(record, "idempotency_key", None) for record in self.records}
        return {key for key in single if key}.union(
            *(getattr(record, "idempotency_keys", ()) for record in self.records)
        )


@attrs.define(kw_only=True)
class Studio:
    """
    An emulator, a client of it, and all that is known about what was bought.

    Attributes:
        kept: Outcomes that somebody took, or that came to `keep`.
        attempts: All, as `on_attempt` saw them.
        told: What the log said.
    """

    emulator: Emulator
    client: AsyncImagesClient
    told: Told
    kept: list[Any] = attrs.field(factory=list)
    attempts: list[Attempt] = attrs.field(factory=list)

    def requests(self, count: int) -> Iterator[GenerationRequest]:
        """Yield requests, and count how many were pulled."""
        for number in range(count):
            yield GenerationRequest(f"otter {number}", **SMALL)

    def keep(self, outcome: object) -> None:
        """Take what nobody else does."""
        self.kept.append(outcome)

    @property
    def posts(self) -> int:
        return len(self.emulator.ledger.requests)

    @property
    def billed(self) -> int:
        return self.emulator.ledger.billed_requests

    @property
    def billed_keys(self) -> Counter[str | None]:
        """How often each key was billed."""
        return Counter(request.idempotency_key for request in self.emulator.ledger.requests if request.billed)

    @property
    def done_keys(self) -> set[str | None]:
        """The keys of what came whole and was kept."""
        return {outcome.result.idempotency_key for outcome in self.kept if isinstance(outcome, Done)}

    @property
    def observed_keys(self) -> set[str | None]:
        """The keys of attempts that a cancellation ended when they could have been billed."""
        return {
            attempt.idempotency_key
            for attempt in self.attempts
            if attempt.failure == "CancelledError" and attempt.phase.may_be_billed
        }


@pytest.fixture
def told() -> Iterator[Told]:
    """Listen to the log."""
    handler, logger = Told(), logging.getLogger("burncloud_images")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
async def open_studio(told: Told) -> AsyncIterator[Callable[..., Any]]:
    """Return what opens an emulator that takes its time, and a client."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*faults: Fault, **options: Any) -> Studio:
            emulator = await stack.enter_async_context(Emulator(faults=faults, latency=WORK))
            attempts: list[Attempt] = []
            client = AsyncImagesClient(emulator.api_key, emulator.base_url, on_attempt=attempts.append, **options)
            await stack.enter_async_context(client)
            return Studio(emulator=emulator, client=client, told=told, attempts=attempts)

        yield start


@asynccontextmanager
async def serve(app: object, **options: Any) -> AsyncIterator[int]:
    """Serve *app* by uvicorn within the running loop, and give its port."""
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, **options)
    server = Quiet(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        if running.done():
            running.result()
        await asyncio.sleep(0.002)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


class Quiet(uvicorn.Server):
    """A server that leaves signals to the tests."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:
        """Take none."""
        return contextlib.nullcontext()


@attrs.define
class Visitor:
    """Somebody who asks for a page, and may leave at any time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def lines(self, count: int) -> list[bytes]:
        """Read lines of a body that comes in chunks."""
        found: list[bytes] = []
        while len(found) < count:
            line = await self.reader.readline()
            assert line, "the application hung up"
            if line.startswith(b"{"):
                found.append(line)
        return found

    async def read(self) -> bytes:
        """Read to the end."""
        return await self.reader.read()

    async def leave(self) -> None:
        """Close the connection."""
        self.writer.close()
        await self.writer.wait_closed()


@asynccontextmanager
async def visit(port: int, path: str) -> AsyncIterator[Visitor]:
    """Ask for *path*."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode())
    visitor = Visitor(reader, writer)
    try:
        yield visitor
    finally:
        await visitor.leave()


@pytest.fixture
def make_app() -> Callable[..., object]:
    """Return what makes an application of one view; Django is set up once in a process."""
    django = pytest.importorskip("django")
    from django import urls
    from django.conf import settings
    from django.core.handlers.asgi import ASGIHandler

    if not settings.configured:
        settings.configure(DEBUG=False, ALLOWED_HOSTS=["*"], ROOT_URLCONF=Routes, SECRET_KEY="of no use")
        django.setup()

    def make(view: object, place: str = "") -> object:
        Routes.urlpatterns = [urls.path(place, view)]
        urls.clear_url_caches()
        return ASGIHandler()

    return make


class Routes:
    """Where Django looks for its views."""

    urlpatterns: Sequence[object] = ()
