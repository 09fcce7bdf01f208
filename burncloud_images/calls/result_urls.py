"""Images that come as URLs: all of an answer's, or one that the caller names. Downloading them is never billed."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import attrs

from burncloud_images.calls.attempt import CallSpec, ReceivedAnswer
from burncloud_images.calls.resources import Resources
from burncloud_images.calls.unbilled import free_of_charge
from burncloud_images.calls.url_expiry import Expiry, find_signed_expiry
from burncloud_images.errors import DownloadError, ResultExpiredError, StorageError
from burncloud_images.files.sinks import ImageContext, ImageWriter, Sink
from burncloud_images.results import DamagedImage, ImageDetails, Unfetched
from burncloud_images.settings import Settings
from burncloud_images.transport.address_guard import AddressPolicy
from burncloud_images.transport.secret import RedactedURL, forgetting_locals
from burncloud_images.wire.base_url import is_this_machine, origin
from burncloud_images.wire.result_url import resolve_url

if TYPE_CHECKING:
    from burncloud_images.calls.download import Download

T = TypeVar("T", bound=ImageDetails)

FETCHING_IS_FREE = "Fetching an image costs nothing."
MOST_DOWNLOADS = 8
"""Result URLs of one answer that are fetched at once."""


@attrs.frozen(kw_only=True)
class ResultURL:
    """Where one image of an answer is, and until when."""

    index: int
    url: str = attrs.field(repr=False)
    expiry: Expiry

    def unfetched(self, error: DownloadError | None = None) -> Unfetched:
        """Return the image as one that was not downloaded: not yet, or because of *error*."""
        return Unfetched(
            index=self.index,
            url=self.url,
            expires_at=self.expiry.at,
            expired=isinstance(error, ResultExpiredError),
            reason=error.message if error is not None else "",
        )


def find_result_urls(received: ReceivedAnswer[T]) -> tuple[ResultURL, ...]:
    """Return the URLs of the images that did not come with the answer itself."""
    return tuple(
        ResultURL(index=item.index, url=item.url, expiry=received.expiries[item.index])
        for item in received.answer.items
        if item.url and not item.decoded and not item.failure
    )


async def download(
    urls: Sequence[ResultURL], received: ReceivedAnswer[T], spec: CallSpec[T]
) -> Mapping[ResultURL, DownloadError]:
    """
    Add the images at *urls* to the receiver of the answer; those that expire first are downloaded first.

    Returns:
        Why others could not be downloaded; a failure of one does not stop the others.
    """
    receiver = received.receiver
    places = asyncio.Semaphore(MOST_DOWNLOADS)
    failures: dict[ResultURL, DownloadError] = {}

    async def fetch_one(link: ResultURL) -> None:
        context = attrs.evolve(receiver.placement, index=link.index)
        async with places:
            open_writer = partial(receiver.sink.open, context)
            one = make_download(link.url, open_writer, spec.settings, spec.resources, link.expiry)
            try:
                receiver.kept[link.index] = await one.run()
            except StorageError as error:
                receiver.unstored.append(error)
            except DownloadError as error:
                failures[link] = error
                receiver.keep_rejected(link.index, *one.partial.rejected)

    async with asyncio.TaskGroup() as group:
        for link in sorted(urls, key=lambda link: (link.expiry.deadline, link.index)):
            group.create_task(fetch_one(link))
    return failures


async def fetch(
    url: str, sink: Sink[T], settings: Settings, resources: Resources, *, index: int, expires_at: datetime | None
) -> T:
    """
    Return the image at *url*, in *sink*.

    Args:
        url: Where it is.
        sink: Takes it.
        settings: Of the client.
        resources: Of the client.
        index: Place of the image in its answer.
        expires_at: When the URL expires, by the server's clock; it can only be compared with ours. By default as the
            URL says by its signature.

    Raises:
        DownloadError: It could not be downloaded.
        StorageError: It could not be stored.
    """
    url = RedactedURL(resolve_url(url, ""))
    clock = resources.clock
    expires_at = expires_at or find_signed_expiry(url)
    context = ImageContext(
        id=hashlib.blake2b(url.encode(errors="replace"), digest_size=6).hexdigest(),
        index=index,
        prompt="",
        model="",
        date=clock.now(),
        executor=resources.executor,
    )
    left = (expires_at - clock.now()).total_seconds() if expires_at is not None else 0.0
    expiry = Expiry(at=expires_at, deadline=clock.monotonic() + left) if expires_at is not None else None
    with free_of_charge(FETCHING_IS_FREE), forgetting_locals():
        await sink.prepare(context, 1)
        one = make_download(url, lambda: sink.open(context), settings, resources, expiry)
        try:
            image = await one.run()
        except DownloadError as error:
            data, reason = one.partial.rejected
            error.damaged = (DamagedImage(index=index, reason=reason, data=data),) if data else ()
            raise
    return attrs.evolve(image, url=str(url), expires_at=expires_at)


def make_download(
    url: str,
    open_writer: Callable[[], ImageWriter[T]],
    settings: Settings,
    resources: Resources,
    expiry: Expiry | None = None,
) -> Download[T]:
    from burncloud_images.calls.download import Download  # most answers have no URLs

    return Download(
        url=url,
        open_writer=open_writer,
        expiry=expiry,
        transport=resources.transport,
        guard=address_policy(settings),
        clock=resources.clock,
        jitter=random.random,
        retry=settings.retry,
        timeouts=settings.timeouts,
        limits=settings.limits,
    )


def address_policy(settings: Settings) -> AddressPolicy:
    """Return which addresses a download may touch; an API on this machine may call it by any of its names."""
    _, host, port = origin(settings.base_url)
    name = socket.gethostname()
    own = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return AddressPolicy(
        allow_http=settings.network.allow_http,
        exempt=frozenset({own, *(name.lower() for name in settings.network.allowed_result_hosts)}),
        own_port=port if is_this_machine(host, name) else None,
        own_name=name,
    )
