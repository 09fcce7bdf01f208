"""What is to be said once about an input, however many of its rows give cause."""

from __future__ import annotations

import attrs

from burncloud_images.bulk.inputs.columns import nearest
from burncloud_images.bulk.inputs.entries import clip
from burncloud_images.errors import Violation

MOST = 100
"""Causes that are told apart; an input can name a new column in each of a million rows."""
LONGEST_NAME = 40


@attrs.define
class Remarks:
    """
    Collects warnings, each cause with the line where it first stands.

    Attributes:
        source: Name of the input.
    """

    source: str
    seen: set[tuple[str, ...]] = attrs.field(factory=set, repr=False)
    waiting: list[str] = attrs.field(factory=list, repr=False)

    def note_column(self, name: str, line: int) -> None:
        """Note a column that is not sent."""
        if self.is_new("column", name[:LONGEST_NAME]):
            slip = nearest(name)
            advice = f"Did you mean {slip}?" if slip else "What the API is to get goes into extra."
            shown = f"Column {clip(name, LONGEST_NAME)!r}" if name.strip() else "A column without a name"
            self.waiting.append(
                f"{self.source}, line {line}: {shown} is no field of this version and is not sent. {advice}"
            )

    def note_violation(self, violation: Violation, model: object, line: int) -> None:
        """Note a documented limit that a row passes over."""
        if self.is_new("limit", violation.field, str(model)[:LONGEST_NAME]):
            self.waiting.append(f"{self.source}, line {line}: {clip(str(violation))} ({violation.source}).")

    def is_new(self, *cause: str) -> bool:
        if cause in self.seen:
            return False
        if len(self.seen) == MOST:
            self.waiting.append(f"{self.source}: There is more of the kind, which is not told.")
        if len(self.seen) <= MOST:
            self.seen.add(cause)
        return len(self.seen) <= MOST

    def take(self) -> list[str]:
        """Return what has not been said yet."""
        taken, self.waiting = self.waiting, []
        return taken
