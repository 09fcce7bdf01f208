"""
When the provider of the models shuts them down, and what it recommends in their place.

A gateway may go on serving a model, or end it earlier; what its own list of models says comes first.

Source: OpenAI's page of deprecations, as read on 2026-11-30.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta

import attrs

SOON = timedelta(days=60)
SNAPSHOT = re.compile(r"-20\d\d-\d\d-\d\d$")
RECOMMENDED = "gpt-image-2.6-sunburst or gpt-image-2.6-flare"


@attrs.frozen
class Retirement:
    """
    The end of a model.

    Attributes:
        model: Its name.
        ends_on: From when on it is not served.
        successor: What is recommended in its place; empty if nothing is.
    """

    model: str
    ends_on: date
    successor: str = ""

    def describe(self, today: date) -> str:
        """Return one clause that says when it ends, and what to use."""
        days = (self.ends_on - today).days
        when = f"in {days:,} day{'s' if days != 1 else ''}, on {self.ends_on}" if days > 0 else f"since {self.ends_on}"
        verb = "is shut down by its provider" if days > 0 else "has been shut down by its provider"
        return f"{self.model} {verb} {when}{f'; use {self.successor}' if self.successor else ''}"


SHUTDOWNS: Mapping[str, date] = {
    **dict.fromkeys(("dall-e-2", "dall-e-3"), date(2026, 5, 12)),
    "gpt-image-1": date(2026, 10, 23),
    **dict.fromkeys(("gpt-image-1-mini", "gpt-image-1.5", "chatgpt-image-latest"), date(2026, 12, 1)),
}


def find_retirement(model: str, today: date, shutdown_date: str | None = None) -> Retirement | None:
    """
    Return the end of a model if it has come or comes soon; None for others.

    Args:
        model: Its name, with or without a snapshot date.
        today: The date.
        shutdown_date: What the server's list of models says of it.
    """
    known = SHUTDOWNS.get(model) or SHUTDOWNS.get(SNAPSHOT.sub("", model))
    end = to_date(shutdown_date) or known
    if end is None or end - today > SOON:
        return None
    return Retirement(model, end, "" if SNAPSHOT.sub("", model) in RECOMMENDED.split(" or ") else RECOMMENDED)


def to_date(text: str | None) -> date | None:
    try:
        return date.fromisoformat((text or "")[:10])
    except ValueError:
        return None
