"""What to do with a request whose call ended with an error: a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from burncloud_images import errors

Verdict: TypeAlias = Literal[
    "doubt",
    "fail",
    "fail_billed",
    "later",
    "again",
    "fetch",
    "follow",
    "save",
    "crash",
    "quota",
    "authentication",
    "gave_up",
]
"""
`doubt`: it may have been billed. `fail`: it will never succeed, and cost nothing; `fail_billed`: it may have cost.
`later`: the API had no time; the pace and the circuit say when. `again`: the API failed; a few rounds are tried.
`fetch`: it is paid, and images are still where the server put them. `follow`: the API still works on it as a task.
`save`: the disk is full. `crash`: the client can not be used. The others stop the run, and the request waits for
another one.
"""

Choice: TypeAlias = Verdict | Callable[[errors.ImagesError], Verdict]


def by_payment(error: errors.ImagesError) -> Verdict:
    return "fetch" if error.billed else "fail"


def by_billing(error: errors.ImagesError) -> Verdict:
    return "fail_billed" if error.billed else "fail"


def by_refusal(error: errors.ImagesError) -> Verdict:
    return "doubt" if error.billed is errors.Billing.YES else by_billing(error)


def by_permanence(error: errors.ImagesError) -> Verdict:
    return "gave_up" if error.retryable is False else "later"


# The first class that fits counts.
TABLE: tuple[tuple[type[errors.ImagesError], Choice], ...] = (
    (errors.OutcomeUnknownError, "doubt"),
    (errors.StorageError, "save"),
    (errors.DownloadError, by_payment),
    (errors.ProtocolError, by_billing),
    (errors.QuotaExceededError, "quota"),
    (errors.AuthenticationError, "authentication"),
    (errors.RateLimitError, "later"),
    (errors.ServerError, "again"),
    (errors.ModerationError, by_refusal),
    (errors.ConnectionFailedError, by_permanence),
    (errors.ConfigurationError, "crash"),
    (errors.ClientClosedError, "crash"),
    (errors.ImagesError, "fail"),
)

# Of a task that has not ended, before the table above.
ACCEPTED: tuple[tuple[type[errors.ImagesError], Choice], ...] = (
    (errors.OutcomeUnknownError, lambda error: "follow" if getattr(error, "in_flight", False) else "doubt"),
    (errors.AuthenticationError, "follow"),
    (errors.ConfigurationError, "follow"),
    (errors.ClientClosedError, "follow"),
)

KEEP_THE_MONEY: frozenset[Verdict] = frozenset({"doubt", "fail_billed", "fetch", "follow", "save"})
"""After them the worst case of what may have been billed stays reserved."""


def judge(error: errors.ImagesError, *, doubtful: bool = False) -> Verdict:
    """Return what to do with a request; *doubtful* says that an earlier attempt may have been billed."""
    task = error.task
    if task is not None and task.is_ended and error.billed:
        return by_refusal(error)  # it says itself that it has failed
    table = (*ACCEPTED, *TABLE) if task is not None and not task.is_ended else TABLE
    choice = next(choice for kind, choice in table if isinstance(error, kind))
    verdict = choice if isinstance(choice, str) else choice(error)
    return "doubt" if (doubtful or error.billed) and verdict not in KEEP_THE_MONEY else verdict
