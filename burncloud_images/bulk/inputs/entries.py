"""What a record says, before it is known whether it asks for anything that can be sent."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TypeAlias

import attrs

LONGEST_REASON = 200


@attrs.frozen(kw_only=True)
class Entry:
    """
    A record that is not blank.

    Attributes:
        line: Where it begins, from 1.
        size: Bytes that it takes, about.
        values: What it gives, by column.
        problem: Why nothing can be made of it, if so.
    """

    line: int
    size: int = 0
    values: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    problem: str | None = None


Entries: TypeAlias = Generator[Entry | None, None, None]
"""The entries of an input; None where the next may take a while."""


class Unusable(Exception):  # noqa: N818 (stays within this package)
    """Something that a row cannot be made of, as one clause; it becomes the reason of a bad row."""


def clip(text: str, most: int = LONGEST_REASON) -> str:
    """Return *text* fit for a terminal and a list: one line of at most *most* characters, all printable."""
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:most])
    return shown if len(text) <= most else f"{shown[: most - 1]}…"
