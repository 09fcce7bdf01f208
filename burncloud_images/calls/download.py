"""
Downloads images from their URLs into sinks, and verifies them.

A download passes the SSRF guard, does not send the API key, and is not retried after its URL has expired.

The image exists and is paid for, and downloading it is free, so a download is retried more often than a request. Bytes
that have arrived are kept over the attempts if the host can send the rest, and a URL that should have expired is still
tried once.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Generic, TypeVar
from urllib.parse import urljoin, urlsplit

import attrs

from burncloud_images.calls.url_expiry import Expiry
from burncloud_images.calls.whole_images import NOT_AN_IMAGE, IncompleteImage, keep_image, read_back
from burncloud_images.errors import (
    ConnectionFailedError,
    DownloadError,
    DownloadRefusedError,
    ImagesError,
    OutcomeUnknownError,
    ResultExpiredError,
    StorageError,
    hide_query,
)
from burncloud_images.files.sinks import ImageWriter
from burncloud_images.results import ImageDetails
from burncloud_images.retry import Clock, RetryPolicy
from burncloud_images.retry_loop import repeat
from burncloud_images.settings import Limits, Timeouts
from burncloud_images.transport.address_guard import AddressPolicy
from burncloud_images.transport.interface import AttemptState, Response, SessionKind, Transport
from burncloud_images.wire.download_headers import ExpectedChecksum, RemoteFile, find_content_range, find_remote_file
from burncloud_images.wire.headers import find_retry_after

T = TypeVar("T", bound=ImageDetails)

MIN_ATTEMPTS = 8
"""Attempts at least, unless the caller wants no retries at all."""
PROGRESS = 64 * 1024
"""An attempt that received at least this many bytes does not count as a failure."""
MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
GONE = frozenset({403, 404, 410})
"""Statuses with which stores answer for a URL that has expired, and for a moment for one that is new."""
GONE_WAITS = (1.0, 3.0, 6.0)
"""Seconds after which to look again for a file that may be new."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

MIN_RATE = 1024
"""Bytes a second below which a connection is given up."""
RATE_WINDOW = 30.0
"""Seconds over which the rate is measured."""
LONGEST_ATTEMPT = 300.0
"""Seconds after which an attempt ends if the next one can resume; otherwise it may run while bytes arrive."""

TEXT_BEGINS = b"<{["
"""How pages and errors begin, which may give way to the image."""
EXPIRES_FIRST = "It was not tried again: its URL would have expired."


@attrs.define(kw_only=True)
class PartialDownload(Generic[T]):
    """
    The bytes of one download that have arrived, over all its attempts.

    They are in the sink's own writer, so nothing is kept twice. A writer cannot go back: if the file turns out to be
    another one, the writer is discarded and a new one opened.

    Attributes:
        open_writer: Opens a writer for the image.
        file: What the host says about the file.
        writer: Has the bytes; None before any came.
        size: Number of bytes in it.
        reached: The largest `size` so far.
        distrusted: Whether the host answered a range request with another range or file.
        digests: The checksums that the host announced, and the digests so far.
        most: How many bytes of a file that is not an image are held.
        rejected: The last whole file that was not an image, and why.
        repeats: Whether it was the same as the one before, and no text that may be about something else.
    """

    open_writer: Callable[[], ImageWriter[T]]
    file: RemoteFile = attrs.field(factory=RemoteFile)
    writer: ImageWriter[T] | None = None
    size: int = 0
    reached: int = 0
    distrusted: bool = False
    digests: list[tuple[ExpectedChecksum, hashlib._Hash]] = attrs.field(factory=list)
    most: int = 0
    rejected: tuple[bytes, str] = (b"", "")
    repeats: bool = False

    @property
    def resumable(self) -> bool:
        """Whether there is a validator that shows that later bytes belong to the same file."""
        return self.file.validator is not None and not self.distrusted

    def headers(self) -> Mapping[str, str]:
        """Return headers that ask for the rest; none if the whole file is needed."""
        if not self.size or not self.resumable:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.file.validator or ""}

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Start again with a whole file, which the headers of its answer describe."""
        await self.discard()
        self.file = find_remote_file(headers)
        self.digests = [(one, hashlib.new(one.algorithm, usedforsecurity=False)) for one in self.file.checksums]
        self.writer = self.open_writer()

    def is_continued_by(self, headers: Mapping[str, str]) -> bool:
        """Return whether an answer 206 starts where the bytes end, and is of the same file."""
        part = find_content_range(headers)
        if not self.size or part is None or part.start != self.size:
            return False
        same_length = None in {part.total, self.file.length} or part.total == self.file.length
        # A file that was identified by its date had no tag; a part with a tag is of another file.
        return same_length and headers.get("etag", self.file.validator) == self.file.validator

    def is_ended_by(self, headers: Mapping[str, str]) -> bool:
        """Return whether an answer 416 means that all bytes have arrived."""
        part = find_content_range(headers)
        return self.size > 0 and part is not None and part.total == self.size

    async def write(self, data: bytes) -> None:
        assert self.writer is not None
        for _, digest in self.digests:
            digest.update(data)
        await self.writer.write(data)
        self.size += len(data)
        self.reached = max(self.reached, self.size)

    def forget_headers(self) -> None:
        """Forget what the headers say of the file: it came compressed, and they are about what came."""
        self.file, self.digests = RemoteFile(), []

    async def keep(self) -> T:
        """
        Keep the image if it is whole and its checksums are right; else discard it.

        Raises:
            IncompleteImage: It is not.
            StorageError: It cannot be stored.
        """
        try:
            writer = self.checked()
            try:
                kept = await keep_image(writer)
            except IncompleteImage as problem:
                await self.reject(writer, str(problem))
                raise
        except IncompleteImage:
            await self.discard()
            raise
        self.forget()
        return kept

    async def reject(self, writer: ImageWriter[T], reason: str) -> None:
        """Hold the bytes of a file that came whole and is not an image: they are what was paid for."""
        data = await read_back(writer, self.most)
        # One that only lacks its end may have been cut on its way twice.
        self.repeats = (data, NOT_AN_IMAGE) == self.rejected and data[:1] not in TEXT_BEGINS
        self.rejected = (data, reason)

    def checked(self) -> ImageWriter[T]:
        """Return the writer of bytes that have the length and the checksums that the headers named."""
        if self.file.length is not None and self.size != self.file.length:
            raise IncompleteImage(f"it has {self.size:,} bytes instead of {self.file.length:,}")
        for checksum, digest in self.digests:
            if digest.digest() != checksum.digest:
                raise IncompleteImage(f"its checksum is not the one in {checksum.header}")
        if self.writer is None:
            raise IncompleteImage("nothing came")
        return self.writer

    async def discard(self) -> None:
        """Remove the bytes."""
        writer = self.writer
        self.forget()
        if writer is not None:
            await writer.discard()

    def forget(self) -> None:
        self.writer, self.size, self.digests = None, 0, []
        self.file = RemoteFile()


@attrs.define(kw_only=True)
class Download(Generic[T]):
    """
    Downloads one image.

    Attributes:
        transport: For GET, without the API key.
        guard: Which addresses may be reached.
        clock: Time.
        jitter: Random numbers in [0, 1).
        retry: The caller's policy.
        timeouts: Of each phase.
        limits: Size limits.
        url: Where the image is.
        open_writer: Called whenever the image starts again.
        expiry: When the URL expires; None if that is not known.
        partial: The bytes that have arrived.
        start: Maximum number of bytes that had arrived before the current attempt.
        absences: Number of answers that said the file does not exist.
    """

    transport: Transport
    guard: AddressPolicy
    clock: Clock
    jitter: Callable[[], float]
    retry: RetryPolicy
    timeouts: Timeouts
    limits: Limits
    url: str = attrs.field(repr=hide_query)
    open_writer: Callable[[], ImageWriter[T]]
    expiry: Expiry | None = None
    partial: PartialDownload[T] = attrs.field(init=False)
    start: int = attrs.field(init=False, default=0)
    absences: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.partial = PartialDownload(open_writer=self.open_writer, most=self.limits.image)

    async def run(self) -> T:
        """
        Return the image as the writer keeps it.

        Raises:
            DownloadError: It could not be downloaded; ResultExpiredError or DownloadRefusedError if that is why.
            StorageError: It could not be stored.

        Cancellation closes the connection and leaves no partial file.
        """
        left = None if self.expiry is None else max(0.0, self.expiry.deadline - self.clock.monotonic())
        policy = self.make_policy(left)
        try:
            return await repeat(
                self.attempt,
                policy,
                clock=self.clock,
                jitter=self.jitter,
                made_progress=lambda: self.partial.reached - self.start >= PROGRESS,
                too_late=EXPIRES_FIRST if left is not None and policy.deadline == left else None,
            )
        except DownloadError as error:
            error.url = self.url  # not that of a redirect
            raise
        finally:
            await self.partial.discard()

    def make_policy(self, left: float | None) -> RetryPolicy:
        """Return when to try again a URL that expires in *left* seconds."""
        if self.retry.attempts == 1:
            return self.retry
        limits = [seconds for seconds in (self.retry.deadline, left) if seconds is not None]
        return attrs.evolve(
            self.retry, attempts=max(MIN_ATTEMPTS, self.retry.attempts), deadline=min(limits, default=None)
        )

    async def attempt(self) -> T:
        self.start = self.partial.reached
        try:
            await self.follow()
            return await self.partial.keep()
        except (DownloadError, StorageError):
            raise
        except IncompleteImage as problem:
            raise DownloadError(f"The image was fetched, but {problem}.", retryable=not self.partial.repeats) from None
        except ImagesError as error:
            passing = isinstance(error, ConnectionFailedError | OutcomeUnknownError) and error.retryable is not False
            raise DownloadError(f"The image was not fetched. {error.message}", retryable=passing) from None

    async def follow(self) -> None:
        """Follow redirects, check the address of each, and download the file that they lead to."""
        here: str = self.url
        trail: list[str | None] = [None]
        while len(trail) <= MAX_REDIRECTS + 1:
            self.guard.check(here, previous=trail[-1])
            state = AttemptState(clock=self.clock)
            kind: SessionKind = "exempt" if self.guard.is_exempt(here) else "guarded"
            headers = {"Accept": "image/*", **self.partial.headers()}
            try:
                async with self.transport.get(here, headers, state, self.timeouts, kind=kind) as response:
                    if response.status not in REDIRECTS:
                        await self.take(response, state)
                        return
                    trail.append(here)
                    here = next_address(here, response)
            except DownloadRefusedError as error:
                if error.host is not None:  # the socket knows the address alone
                    error.host = urlsplit(here).hostname
                raise
            if here in trail:
                raise DownloadRefusedError("The image's address redirects in a circle.")
        raise DownloadRefusedError(f"The image's address redirects more than {MAX_REDIRECTS} times.")

    async def take(self, response: Response, state: AttemptState) -> None:
        """Take a whole file, or the rest of one."""
        match response.status:
            case 200:
                await self.partial.begin(response.headers)
            case 206 if self.partial.is_continued_by(response.headers):
                pass
            case 416 if self.partial.is_ended_by(response.headers):
                return
            case 206 | 416 if self.partial.size:
                self.partial.distrusted = True
                message = "The part of the image that came is not the one that was asked for."
                raise DownloadError(message, retryable=True)
            case _:
                raise self.to_error(response)
        await self.read(response, state)

    async def read(self, response: Response, state: AttemptState) -> None:
        most = self.limits.image
        announced = find_remote_file(response.headers).length or 0
        if self.partial.size + announced > most:
            raise too_large(most)
        async with aclosing(self.in_time(response, state)) as chunks:
            async for chunk in chunks:
                if self.partial.size + len(chunk) > most:
                    raise too_large(most)
                if state.inflated:
                    self.partial.forget_headers()
                await self.partial.write(chunk)

    async def in_time(self, response: Response, state: AttemptState) -> AsyncGenerator[bytes, None]:
        """Yield chunks while they come fast enough; the time that the sink takes does not count."""
        window, longest = (self.clock.loop_seconds(time) for time in (RATE_WINDOW, LONGEST_ATTEMPT))
        began = 0.0
        received = 0
        async with aclosing(response.chunks()) as chunks:
            async for chunk in chunks:
                received += len(chunk)
                if state.waited - began >= window:
                    if received < MIN_RATE * RATE_WINDOW:
                        raise DownloadError(f"The image came slower than {MIN_RATE:,} bytes a second.", retryable=True)
                    began, received = state.waited, 0
                yield chunk
                if state.waited >= longest and self.partial.resumable:
                    raise DownloadError("The image took too long to come on one connection.", retryable=True)

    def to_error(self, response: Response) -> DownloadError:
        """Return the error of an answer without an image."""
        status = response.status
        wait = find_retry_after(response.headers, now=self.clock.now())
        if status not in GONE:
            message = f"The image's host answered {status}."
            return DownloadError(message, retry_after=wait, retryable=status in PASSING)
        if self.expiry is not None and self.clock.monotonic() >= self.expiry.deadline:
            message = f"The image's address expired at {self.expiry.at:%Y-%m-%d %H:%M:%S} UTC."
            return ResultExpiredError(message, expired_at=self.expiry.at)
        return self.to_absence(status, wait)

    def to_absence(self, status: int, wait: float | None) -> DownloadError:
        """Return the error of a file that is missing before its URL expires: it may be too new to be everywhere."""
        waits = GONE_WAITS[self.absences :]
        self.absences += 1
        if status == 410 and not waits:
            return ResultExpiredError("The image's host says that the image is gone.")
        retry_after = wait if wait is not None else next(iter(waits), None)
        return DownloadError(f"The image's host answered {status}.", retry_after=retry_after, retryable=bool(waits))


def next_address(here: str, response: Response) -> str:
    """Return where a redirect leads; the guard checks it later."""
    try:
        return urljoin(here, response.headers.get("location", ""))
    except ValueError:
        raise DownloadRefusedError("The image's address redirects to what is not a valid URL.") from None


def too_large(most: int) -> DownloadError:
    return DownloadError(f"The image is larger than Limits.image, {most:,} bytes.")
