"""Text that shows itself to the connection only: exceptions, logs and tracebacks print headers and local variables."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["Secret", "bearer", "hide"]

T = TypeVar("T")


class Secret(str):
    """A text that is masked wherever it is printed; what is made of it by `+` is plain."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return no secret."""
        return "'***'"

    def __format__(self, spec: str) -> str:
        return "***"


def bearer(key: str) -> Secret:
    """Return the `Authorization` header for *key*."""
    return Secret("Bearer " + key)  # an f-string would mask it


def hide(value: T) -> T | Secret:
    """Return *value*, masked if it is text."""
    return Secret(value) if isinstance(value, str) else value
