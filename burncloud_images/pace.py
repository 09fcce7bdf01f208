"""How fast requests may start; the clock is an argument."""

from __future__ import annotations

import attrs

__all__ = ["PacingGate"]


@attrs.define
class PacingGate:
    """
    Closed while a server has asked for patience; one for all calls that it concerns.

    Attributes:
        opens_at: On the clock of those who ask; in the past, it is open.
    """

    opens_at: float = float("-inf")

    def remaining(self, now: float) -> float:
        """Return the seconds until it opens; 0 if it is open."""
        return max(0.0, self.opens_at - now)

    def close(self, until: float) -> None:
        """Keep it closed until then; never opens it earlier."""
        self.opens_at = max(self.opens_at, until)
