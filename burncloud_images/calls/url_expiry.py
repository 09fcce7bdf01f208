"""
When a result URL expires: by the server's clock, counted on a monotonic clock.

A computer's date may be wrong by hours. So the time of an answer is taken from its own `Date`, and the seconds that are
left from then on are counted on a monotonic clock, which nobody can set.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import attrs

LIFETIME = timedelta(minutes=60)
MARGIN = timedelta(seconds=60)
"""Treat a URL as expired this long before it is: downloading takes time, and so did the answer."""
SLACK = timedelta(seconds=5)
"""How much the clocks of a server's machines may differ."""


@attrs.frozen(kw_only=True)
class ReceivedAt:
    """
    When an answer was received.

    Attributes:
        date: By the server's clock, aware UTC; None if it did not say.
        local: By the computer's clock, aware UTC; only shown, never compared.
        steady: On the steady clock, in seconds.
        elapsed: Seconds since the request began.
    """

    date: datetime | None
    local: datetime
    steady: float
    elapsed: float


@attrs.frozen(kw_only=True)
class Expiry:
    """
    When a URL expires.

    Attributes:
        at: Aware UTC, by the server's clock if that is known.
        deadline: On the steady clock, in seconds, with a margin.
    """

    at: datetime
    deadline: float


def find_expiry(url: str, created: datetime | None, arrival: ReceivedAt) -> Expiry:
    """
    Return when *url* expires.

    Args:
        url: A result URL.
        created: When the image was made, by the answer; it counts only as far as it is possible.
        arrival: When the answer was received.

    Source:
        The API document: 60 minutes from creation. Stores sign the time as well: `st` and `se` (Azure), `X-Amz-Date`
        and `X-Amz-Expires` (S3). The earlier one counts.
    """
    left = min([LIFETIME - age(created, arrival), *time_left(url, arrival)])
    return Expiry(at=expires_at(arrival, left), deadline=arrival.steady + (left - MARGIN).total_seconds())


def expires_at(arrival: ReceivedAt, left: timedelta) -> datetime:
    try:
        return (arrival.date or arrival.local) + left
    except OverflowError:  # a server whose date is in the year 9999
        return arrival.local


def age(created: datetime | None, arrival: ReceivedAt) -> timedelta:
    """Return how old the image was when the answer was received: never older than its request."""
    elapsed = timedelta(seconds=arrival.elapsed)
    if created is None or arrival.date is None:
        return elapsed
    return min(max(arrival.date - created, timedelta()), elapsed + SLACK)


def find_signed_expiry(url: str) -> datetime | None:
    """Return when the signature of *url* expires, by the server's clock; None if it does not say."""
    signature = find_signature(url)
    return signature[1] if signature else None


def time_left(url: str, arrival: ReceivedAt) -> list[timedelta]:
    """Return the time left by the signature of *url*: one value, or none if it does not say."""
    signature = find_signature(url)
    if signature is None:
        return []
    start, end = signature
    if arrival.date is not None:
        return [end - arrival.date]
    # Without the server's date the start of the signature counts, which is not older than the request.
    return [end - start - timedelta(seconds=arrival.elapsed)] if start is not None else []


def find_signature(url: str) -> tuple[datetime | None, datetime] | None:
    """Return when the signature of *url* becomes valid, if it says, and when it expires."""
    try:
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        if "se" in query:
            start, end = to_time(query.get("st")), to_time(query["se"])
            return (start, end) if end is not None else None
        if {"X-Amz-Date", "X-Amz-Expires"} <= query.keys():
            start = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return start, start + timedelta(seconds=int(query["X-Amz-Expires"]))
    except (ValueError, OverflowError):
        return None
    return None


def to_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
