"""
A result URL becomes verified bytes in a sink: past the guard, without the key, before it expires.

The image exists and is paid for, and fetching it is free: failures that may pass are repeated, and an address that
should have expired is still tried once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import parse_qs, urljoin, urlsplit

import attrs

from burncloud_images.errors import (
    ConnectionFailedError,
    DownloadError,
    DownloadRefusedError,
    ImagesError,
    ProtocolError,
    ResultExpiredError,
)
from burncloud_images.results import ImageDetails
from burncloud_images.retry import RetryPolicy, repeat
from burncloud_images.transport.clock import Clock
from burncloud_images.transport.guard import Guard
from burncloud_images.transport.http import Door, Progress, Response, Transport
from burncloud_images.transport.options import Limits, Timeouts
from burncloud_images.transport.reception import Damaged, keep_image
from burncloud_images.transport.sinks import ImageWriter
from burncloud_images.wire.headers import find_retry_after

__all__ = ["Downloader", "find_expiry"]

T = TypeVar("T", bound=ImageDetails)

LIFETIME = timedelta(minutes=60)
MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
GONE = frozenset({403, 404, 410})
"""What stores answer for an address that has expired, and for a moment for one that is new."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


def find_expiry(url: str, created: datetime) -> datetime:
    """
    Return when *url* ends, aware UTC.

    Args:
        url: A result URL.
        created: When its image was made.

    Source:
        The API document: 60 minutes from creation. Stores sign the exact time: `se` (Azure), `X-Amz-Date` and
        `X-Amz-Expires` (S3).
    """
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    try:
        if "se" in query:
            end = datetime.fromisoformat(query["se"])
            return end.astimezone(UTC) if end.tzinfo else end.replace(tzinfo=UTC)
        if {"X-Amz-Date", "X-Amz-Expires"} <= query.keys():
            signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return signed + timedelta(seconds=int(query["X-Amz-Expires"]))
    except (ValueError, OverflowError):
        pass
    return created + LIFETIME


@attrs.frozen(kw_only=True)
class Downloader:
    """
    Fetches images.

    Attributes:
        transport: For GET, without the key.
        guard: What may be fetched.
        clock: Time.
        jitter: Random numbers in [0, 1).
        retry: When to try again.
        timeouts: Of each stage.
        limits: The caps.
    """

    transport: Transport
    guard: Guard
    clock: Clock
    jitter: Callable[[], float]
    retry: RetryPolicy
    timeouts: Timeouts
    limits: Limits

    async def fetch(self, url: str, open_writer: Callable[[], ImageWriter[T]], expires_at: datetime | None = None) -> T:
        """
        Return the image at *url* as the writer keeps it.

        Args:
            url: Where it is.
            open_writer: Called for every attempt.
            expires_at: When the address ends, aware UTC.

        Raises:
            DownloadError: It could not be fetched; ResultExpiredError or DownloadRefusedError if that is why.
            StorageError: It could not be stored.
        """

        async def attempt() -> T:
            writer = open_writer()
            try:
                await self.stream(url, writer, expires_at)
                return await keep_image(writer)
            except Damaged as problem:
                raise DownloadError(f"The image was fetched, but {problem}.", url=url, transient=True) from None
            except BaseException:
                await writer.discard()
                raise

        return await repeat(
            attempt,
            self.retry,
            sleep=self.clock.sleep,
            monotonic=self.clock.monotonic,
            jitter=self.jitter,
            on_failure=lambda _error, _wait: None,
        )

    async def stream(self, url: str, writer: ImageWriter[T], expires_at: datetime | None) -> None:
        """Follow redirects by hand, each past the guard, and write what is found."""
        here, previous = url, None
        for _ in range(MOST_REDIRECTS + 1):
            self.guard.check(here, previous=previous)
            progress = Progress(clock=self.clock)
            door: Door = "exempt" if self.guard.is_exempt(here) else "guarded"
            try:
                async with self.transport.get(
                    here, {"Accept": "image/*"}, progress, self.timeouts, door=door
                ) as response:
                    if response.status not in REDIRECTS:
                        await self.read(url, response, writer, expires_at)
                        return
                    previous, here = here, urljoin(here, response.headers.get("location", ""))
            except (ConnectionFailedError, ProtocolError) as error:
                passing = isinstance(error, ConnectionFailedError) and not error.permanent
                raise DownloadError(f"The image was not fetched. {error.message}", url=url, transient=passing) from None
        raise DownloadRefusedError(f"The image's address redirects more than {MOST_REDIRECTS} times.", url=url)

    async def read(self, url: str, response: Response, writer: ImageWriter[T], expires_at: datetime | None) -> None:
        if response.status != 200:
            raise self.refusal(url, response, expires_at)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise DownloadError("The image came compressed, which was not asked for.", url=url)
        size = 0
        async for chunk in response.chunks():
            size += len(chunk)
            if size > self.limits.image:
                raise DownloadError(f"The image is larger than Limits.image, {self.limits.image:,} bytes.", url=url)
            await writer.write(chunk)

    def refusal(self, url: str, response: Response, expires_at: datetime | None) -> ImagesError:
        expired = expires_at is not None and self.clock.now() >= expires_at
        if expired and response.status in GONE:
            message = f"The image's address expired at {expires_at:%Y-%m-%d %H:%M:%S} UTC."
            return ResultExpiredError(message, url=url, expired_at=expires_at)
        return DownloadError(
            f"The image's host answered {response.status}.",
            url=url,
            retry_after=find_retry_after(response.headers),
            transient=response.status in PASSING | GONE,
        )
