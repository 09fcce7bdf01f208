"""What the rows of parametrized tests are called: by their values, where pytest would number them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import attrs

__all__ = ["name_parameter"]

LONGEST = 80
LONG = 1000
EMPTY = ((), [], {})
CONTAINERS = (list, tuple, Mapping, AbstractSet)
ADDRESS = " at 0x"
"""Stands in texts that differ between processes, which pytest-xdist cannot match."""


def name_parameter(value: object) -> str | None:
    """Return a short name for *value* in ASCII; None where pytest's own name is as good or none can be told."""
    text = describe(value)
    if text is None or ADDRESS in text:
        return None
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... {zlib.crc32(text.encode()):08x}"


def describe(value: object) -> str | None:
    """Return what a container, an exception or a value object holds."""
    if isinstance(value, BaseException):
        known = {name: item for name, item in vars(value).items() if item}
        return f"{value!a} {describe(known)}" if known else ascii(value)
    if isinstance(value, Mapping):
        said = " ".join(f"{key}={shorten(item)}" for key, item in value.items() if item != "")
        return said or f"empty {type(value).__name__}"
    if isinstance(value, CONTAINERS):
        items = sorted(value, key=ascii) if isinstance(value, AbstractSet) else value
        return " ".join(shorten(item) for item in items) or f"empty {type(value).__name__}"
    if attrs.has(type(value)):
        changed = changed_fields(value)
        return describe(changed) if changed else None
    return None


def shorten(value: object) -> str:
    """Return an item of a container: text without its quotes, classes by their names, what is within in brackets."""
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, CONTAINERS):
        return f"({describe(value)})"
    if isinstance(value, str | bytes) and len(value) > LONG:
        return f"{len(value)} of {type(value).__name__}"
    return ascii(value).strip("'\"") or "empty"


def changed_fields(value: attrs.AttrsInstance) -> dict[str, object]:
    """Return the fields of *value* that differ from their defaults and are not empty."""
    fields = ((field, getattr(value, field.name)) for field in attrs.fields(type(value)))
    return {field.name: item for field, item in fields if item != field.default and item not in EMPTY}
