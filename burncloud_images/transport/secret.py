"""Secrets that only the connection can read: exceptions, logs and tracebacks print headers and local variables."""

from __future__ import annotations

import traceback
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import attrs

from burncloud_images.errors import hide_query

if TYPE_CHECKING:
    from burncloud_images.transport.interface import Response
    from burncloud_images.wire.redaction import KeyRedactor

OWN = frozenset({"aiohttp", "burncloud_images"})
"""Packages whose stack frames hold keys, URLs and parts of bodies."""

T = TypeVar("T")


class Secret(str):
    """A text that is masked wherever it is printed; what is made of it by `+` is plain."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return no secret."""
        return "'***'"

    def __format__(self, spec: str) -> str:
        return "***"

    def __deepcopy__(self, memo: dict[int, object]) -> str:
        """Return what a recorder may write down, as it does with a copy."""
        return "***"


def bearer(key: str) -> Secret:
    """Return the `Authorization` header for *key*."""
    return Secret("Bearer " + key)  # an f-string would mask it


AUTHORIZATION = "Authorization"


def to_headers(key: str, further: Mapping[str, str], key_header: str = AUTHORIZATION) -> dict[str, str]:
    """
    Return the headers that say who asks.

    Args:
        key: The key; none if it is empty.
        further: The user's own headers, of which one may take the place of the key.
        key_header: The header of the key.
    """
    own: dict[str, str] = {name: Secret(value) for name, value in further.items()}
    if not key or any(name.lower() in {"authorization", key_header.lower()} for name in own):
        return own
    return {key_header: bearer(key) if key_header == AUTHORIZATION else Secret(key), **own}


def hide(value: T) -> T | Secret:
    """Return *value*, masked if it is text."""
    return Secret(value) if isinstance(value, str) else value


class RedactedURL(str):
    """A URL that is printed without its query, which may be a signature."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return no signature."""
        return hide_query(str(self))


@attrs.frozen
class RedactedResponse:
    """An answer whose headers do not show the key; its body is another matter, since images are in it."""

    response: Response
    redaction: KeyRedactor
    headers: Mapping[str, str] = attrs.field(
        init=False, default=attrs.Factory(lambda self: self.redaction.headers(self.response.headers), takes_self=True)
    )

    @property
    def status(self) -> int:
        return self.response.status

    def chunks(self) -> AsyncGenerator[bytes, None]:
        return self.response.chunks()


@contextmanager
def forgetting_locals() -> Iterator[None]:
    """
    Clear the variables of our stack frames when an exception leaves the block.

    Crash reporters write them down: addresses with their signatures, and images in base64. The lines stay.
    """
    try:
        yield
    except BaseException as error:
        forget_locals(error)
        raise


def forget_locals(error: BaseException) -> None:
    seen: set[BaseException] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or current in seen:
            continue
        seen.add(current)
        if current.__suppress_context__:  # it is not printed, and its frames are the standard library's
            current.__context__ = None
        pending += [current.__cause__, current.__context__]
        for frame, _ in traceback.walk_tb(current.__traceback__):
            if frame.f_globals.get("__name__", "").partition(".")[0] in OWN:
                with suppress(RuntimeError):  # it runs: the exception has not left it yet
                    frame.clear()
