"""
What the copies of a client share: connections, threads, the clock, the retry budget and the gate.

All of it is made on first use and closed once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

from burncloud_images.calls.retirement_warnings import RetirementWarnings
from burncloud_images.errors import ClientClosedError
from burncloud_images.settings import Network

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Executor

    from burncloud_images.calls.background import BackgroundTasks, OnExit
    from burncloud_images.retry import Clock, PacingGate, RetryBudget
    from burncloud_images.transport.http import Session
    from burncloud_images.transport.interface import Transport
    from burncloud_images.wire.redaction import KeyRedactor

FILE_THREADS = 4


@attrs.frozen(kw_only=True)
class Resources:
    """
    What all copies of a client share.

    Attributes:
        transport: Makes connections.
        executor: Threads for files.
        clock: Where time comes from.
        budget: Pays for the retries of all calls.
        gate: Holds all calls back while the server asks for patience.
        background: What goes on behind callers that have left.
        redactors: Returns what masks a key and other secrets; for the last few keys it is made once.
        retirements: Warns of models that end.
    """

    transport: Transport
    executor: Executor
    clock: Clock
    budget: RetryBudget
    gate: PacingGate
    background: BackgroundTasks
    redactors: Callable[[str, tuple[str, ...]], KeyRedactor] = attrs.field(
        factory=lambda: lru_cache(maxsize=4)(make_redactor)
    )
    retirements: RetirementWarnings = attrs.field(factory=RetirementWarnings)


def make_redactor(key: str, secrets: tuple[str, ...]) -> KeyRedactor:
    from burncloud_images.wire.redaction import KeyRedactor

    return KeyRedactor.of(key, secrets)


@attrs.define(kw_only=True, eq=False)
class ClientResources:
    """
    Opens on first use, in the event loop that uses it first, and closes once.

    Attributes:
        network: How to reach the network.
        max_connections: To the API at once.
        session: A borrowed session for the API.
        clock: Where time comes from; None for the computer's own.
        closing: What closes it.
    """

    network: Network
    max_connections: int
    session: Session | None
    clock: Clock | None
    resources: Resources | None = None
    loop: asyncio.AbstractEventLoop | None = None
    closed: bool = False
    closing: asyncio.Task[None] | None = None

    def open(self) -> Resources:
        """
        Return the resources, made if this is the first use.

        Raises:
            ClientClosedError: It is closed, or belongs to another event loop.
        """
        import asyncio

        if self.closed:
            raise ClientClosedError("The client is closed.")
        loop = asyncio.get_running_loop()
        if self.resources is None:
            self.resources, self.loop = self.build(), loop
        if self.loop is not loop:
            raise ClientClosedError("The client belongs to another event loop.")
        return self.resources

    def build(self) -> Resources:
        from concurrent.futures import ThreadPoolExecutor

        from burncloud_images.calls.background import BackgroundTasks
        from burncloud_images.retry import PacingGate, RetryBudget
        from burncloud_images.transport.clock import SystemClock
        from burncloud_images.transport.http import AiohttpTransport

        clock = self.clock or SystemClock()
        transport = AiohttpTransport(
            clock=clock, network=self.network, max_connections=self.max_connections, borrowed=self.session
        )
        # Threads of our own: asyncio's few resolve host names too, and a slow disk would stop the network.
        executor = ThreadPoolExecutor(max_workers=FILE_THREADS, thread_name_prefix="burncloud-images")
        return Resources(
            transport=transport,
            executor=executor,
            clock=clock,
            budget=RetryBudget(),
            gate=PacingGate(),
            background=BackgroundTasks(),
        )

    async def aclose(self, on_exit: OnExit | None = None) -> None:
        """
        Close, after the running calls have ended as *on_exit* says; a second time does nothing.

        Cancellation leaves at once; the calls end in the background, and are logged.
        """
        import asyncio

        self.closed = True
        resources = self.resources
        if resources is None:
            return
        if self.closing is None:
            self.closing = asyncio.create_task(self.close(resources, on_exit))
        elif self.closing.done():
            return
        elif on_exit == "cancel":
            resources.background.cancel()
        try:
            await asyncio.wait((self.closing,))
        except asyncio.CancelledError:
            self.closing.add_done_callback(lambda _: resources.background.warn())
            raise
        try:
            self.closing.result()
        finally:
            resources.background.warn()

    async def close(self, resources: Resources, on_exit: OnExit | None) -> None:
        try:
            await resources.background.end(on_exit)
        finally:
            await resources.transport.aclose()
            resources.executor.shutdown()
