"""
A result URL becomes verified bytes in a sink: past the guard, without the key, before it expires.

The image exists and is paid for, and fetching it is free: failures that may pass are repeated, what has arrived is kept
over them where the host lets it, and an address that should have expired is still tried once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, TypeVar
from urllib.parse import urljoin

import attrs

from burncloud_images.calls.expiry import Expiry
from burncloud_images.calls.receiving import Damaged
from burncloud_images.calls.transfer import PartialDownload
from burncloud_images.errors import (
    ConnectionFailedError,
    DownloadError,
    DownloadRefusedError,
    ImagesError,
    ResultExpiredError,
    StorageError,
    hide_query,
)
from burncloud_images.files.sinks import ImageWriter
from burncloud_images.results import ImageDetails
from burncloud_images.retry import Clock, RetryPolicy
from burncloud_images.settings import Limits, Timeouts
from burncloud_images.transport.address_guard import AddressPolicy
from burncloud_images.transport.port import AttemptState, Response, SessionKind, Transport
from burncloud_images.wire.download_headers import find_representation
from burncloud_images.wire.headers import find_retry_after

T = TypeVar("T", bound=ImageDetails)

ATTEMPTS = 8
PROGRESS = 64 * 1024
"""Bytes; an attempt that got further by as much is no failed one."""
MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
GONE = frozenset({403, 404, 410})
"""What stores answer for an address that has expired, and for a moment for one that is new."""
GONE_WAITS = (1.0, 3.0, 6.0)
"""Seconds in which a new file appears everywhere."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

SLOWEST = 1024
"""Bytes a second, below which a connection is given up."""
RATE_WINDOW = 30.0
"""Seconds over which that is measured."""
LONGEST_ATTEMPT = 300.0
"""Seconds after which one that can be resumed is; one that cannot be is left alone while it moves."""


@attrs.frozen(kw_only=True)
class Downloader:
    """
    Fetches images.

    Attributes:
        transport: For GET, without the key.
        guard: What may be fetched.
        clock: Time.
        jitter: Random numbers in [0, 1).
        retry: When to try again; more often than a request, as it costs nothing, unless nothing is to be repeated.
        timeouts: Of each stage.
        limits: The caps.
    """

    transport: Transport
    guard: AddressPolicy
    clock: Clock
    jitter: Callable[[], float]
    retry: RetryPolicy
    timeouts: Timeouts
    limits: Limits

    async def fetch(self, url: str, open_writer: Callable[[], ImageWriter[T]], expiry: Expiry | None = None) -> T:
        """
        Return the image at *url* as the writer keeps it.

        Args:
            url: Where it is.
            open_writer: Called whenever the image begins anew.
            expiry: When the address ends.

        Raises:
            DownloadError: It could not be fetched; ResultExpiredError or DownloadRefusedError if that is why.
            StorageError: It could not be stored.

        Cancellation closes the connection and leaves no partial file.
        """
        fetch = Fetch(downloader=self, url=url, expiry=expiry, transfer=PartialDownload(open_writer=open_writer))
        try:
            return await fetch.run()
        except DownloadError as error:
            error.url = url  # not that of a redirect
            raise
        finally:
            await fetch.transfer.discard()

    def policy(self, expiry: Expiry | None) -> RetryPolicy:
        """Return when to try again an address that ends then."""
        if self.retry.attempts == 1:
            return self.retry
        ends = [self.retry.deadline] if self.retry.deadline is not None else []
        if expiry is not None:
            ends.append(max(0.0, expiry.deadline - self.clock.monotonic()))
        return attrs.evolve(
            self.retry, attempts=max(ATTEMPTS, self.retry.attempts), deadline=min(ends) if ends else None
        )


@attrs.define(kw_only=True)
class Fetch(Generic[T]):
    """
    One image being fetched.

    Attributes:
        downloader: Has what all of them share.
        url: Where the image is.
        expiry: When that ends.
        transfer: What has arrived.
        absences: How often the host said that there is no such file.
    """

    downloader: Downloader
    url: str = attrs.field(repr=hide_query)
    expiry: Expiry | None
    transfer: PartialDownload[T]
    absences: int = 0

    async def run(self) -> T:
        """Try until the image is there, or until trying does not help."""
        clock, policy = self.downloader.clock, self.downloader.policy(self.expiry)
        started, failures = clock.monotonic(), 0
        while True:
            reached = self.transfer.reached
            try:
                return await self.attempt()
            except DownloadError as error:
                failures = 1 if self.transfer.reached - reached >= PROGRESS else failures + 1
                elapsed = clock.monotonic() - started
                wait = policy.wait(error, attempt=failures, elapsed=elapsed, jitter=self.downloader.jitter())
                if wait is None:
                    raise
            await clock.sleep(wait)

    async def attempt(self) -> T:
        try:
            await self.follow()
            return await self.transfer.keep()
        except (DownloadError, StorageError):
            raise
        except Damaged as problem:
            raise DownloadError(f"The image was fetched, but {problem}.", retryable=True) from None
        except ImagesError as error:
            passing = isinstance(error, ConnectionFailedError) and error.retryable is not False
            raise DownloadError(f"The image was not fetched. {error.message}", retryable=passing) from None

    async def follow(self) -> None:
        """Follow redirects by hand, each past the guard, and take what is found."""
        guard, timeouts = self.downloader.guard, self.downloader.timeouts
        here: str = self.url
        trail: list[str | None] = [None]
        while len(trail) <= MOST_REDIRECTS + 1:
            guard.check(here, previous=trail[-1])
            state = AttemptState(clock=self.downloader.clock)
            door: SessionKind = "exempt" if guard.is_exempt(here) else "guarded"
            headers = {"Accept": "image/*", **self.transfer.headers()}
            async with self.downloader.transport.get(here, headers, state, timeouts, door=door) as response:
                if response.status not in REDIRECTS:
                    await self.take(response, state)
                    return
                trail.append(here)
                here = next_address(here, response)
            if here in trail:
                raise DownloadRefusedError("The image's address redirects in a circle.")
        raise DownloadRefusedError(f"The image's address redirects more than {MOST_REDIRECTS} times.")

    async def take(self, response: Response, state: AttemptState) -> None:
        """Take a file, or the rest of one."""
        if response.status == 416 and self.transfer.size and self.transfer.ends(response.headers):
            return
        if response.status in {206, 416} and self.transfer.size:
            if response.status == 416 or not self.transfer.continues(response.headers):
                self.transfer.distrusted = True
                raise DownloadError(
                    "The part of the image that came is not the one that was asked for.", retryable=True
                )
        elif response.status != 200:
            raise self.refusal(response)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise DownloadError("The image came compressed, which was not asked for.")
        if response.status == 200:
            await self.transfer.begin(response.headers)
        await self.read(response, state)

    async def read(self, response: Response, state: AttemptState) -> None:
        most = self.downloader.limits.image
        announced = find_representation(response.headers).length or 0
        if self.transfer.size + announced > most:
            raise too_large(most)
        async with aclosing(self.in_time(response, state)) as chunks:
            async for chunk in chunks:
                if self.transfer.size + len(chunk) > most:
                    raise too_large(most)
                await self.transfer.write(chunk)

    async def in_time(self, response: Response, state: AttemptState) -> AsyncGenerator[bytes, None]:
        """Yield what comes while it comes fast enough; the time that the sink takes does not count."""
        window, longest = (self.downloader.clock.loop_seconds(time) for time in (RATE_WINDOW, LONGEST_ATTEMPT))
        began = 0.0
        received = 0
        async with aclosing(response.chunks()) as chunks:
            async for chunk in chunks:
                received += len(chunk)
                if state.waited - began >= window:
                    if received < SLOWEST * RATE_WINDOW:
                        raise DownloadError(f"The image came slower than {SLOWEST:,} bytes a second.", retryable=True)
                    began, received = state.waited, 0
                yield chunk
                if state.waited >= longest and self.transfer.resumable:
                    raise DownloadError("The image took too long to come on one connection.", retryable=True)

    def refusal(self, response: Response) -> DownloadError:
        """Return what an answer without an image means."""
        status = response.status
        wait = find_retry_after(response.headers)
        if status not in GONE:
            message = f"The image's host answered {status}."
            return DownloadError(message, retry_after=wait, retryable=status in PASSING)
        if self.expiry is not None and self.downloader.clock.monotonic() >= self.expiry.deadline:
            message = f"The image's address expired at {self.expiry.at:%Y-%m-%d %H:%M:%S} UTC."
            return ResultExpiredError(message, expired_at=self.expiry.at)
        return self.absence(status, wait)

    def absence(self, status: int, wait: float | None) -> DownloadError:
        """Return that a file is not there although its address should be good: perhaps it is not there yet."""
        waits = GONE_WAITS[self.absences :]
        self.absences += 1
        if status == 410 and not waits:
            return ResultExpiredError("The image's host says that the image is gone.")
        retry_after = wait if wait is not None else next(iter(waits), None)
        return DownloadError(f"The image's host answered {status}.", retry_after=retry_after, retryable=bool(waits))


def next_address(here: str, response: Response) -> str:
    """Return where a redirect leads; the guard looks at it later."""
    try:
        return urljoin(here, response.headers.get("location", ""))
    except ValueError:
        raise DownloadRefusedError("The image's address redirects to what is no address.") from None


def too_large(most: int) -> DownloadError:
    return DownloadError(f"The image is larger than Limits.image, {most:,} bytes.")
