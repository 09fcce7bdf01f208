"""Errors become exit codes and sentences: what happened, whether it was billed, what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from burncloud_images import errors

FAILED = 1
USAGE = 2
SOME_FAILED = 3
INTERRUPTED = 7
STORAGE = 11
UNFETCHED = 12
ABANDONED = 130

WEIGHTIEST = (ABANDONED, INTERRUPTED, STORAGE, UNFETCHED, 8, 5, 4, 10)
"""Codes that describe the whole work; they take precedence over those of its parts."""


class UsageError(Exception):
    """An argument or a setting cannot be used; the message is one sentence. Nothing was sent."""


LOOK = "It was not sent again: look at the account's log before you repeat the command."
AGAIN = "then type the same command again."

# The first matching class counts. None as advice means the error's own, which makes sense outside Python.
TABLE: tuple[tuple[type[errors.ImagesError], int, str | None], ...] = (
    (errors.ConfigurationError, 2, "See `burncloud-images doctor`."),
    (errors.InvalidRequestError, 2, ""),
    (errors.JobLockedError, 11, None),
    (errors.JobError, 2, ""),
    (errors.AuthenticationError, 4, "Check the key with `burncloud-images doctor`."),
    (errors.PermissionDeniedError, 4, "`burncloud-images models` lists what the key may use."),
    (errors.QuotaExceededError, 5, f"Top up the account or raise the key's limit, {AGAIN}"),
    (errors.RateLimitError, 6, f"Wait a while, {AGAIN}"),
    (errors.ConnectionFailedError, 6, f"Check the connection with `burncloud-images doctor`, {AGAIN}"),
    (errors.ModerationError, 9, None),
    (errors.OutcomeUnknownError, 10, LOOK),
    (errors.StorageError, 11, ""),
    (errors.TooLargeError, 1, ""),
    (errors.ProtocolError, 1, "Check the base URL with `burncloud-images doctor`."),
    (errors.ResultExpiredError, 1, None),
    (errors.DownloadRefusedError, 1, ""),
    (errors.DownloadError, 1, ""),
    (errors.ImagesError, 1, None),
)

VOCABULARY: Mapping[str, str] = {
    "Network(allow_http=True)": "--allow-http",
    "in Network(allowed_result_hosts=…)": "with --result-host",
    "the key is given as api_key": "the key is given by BURNCLOUD_API_KEY or --api-key-file",
    "give api_key, or set BURNCLOUD_API_KEY": "set BURNCLOUD_API_KEY or use --api-key-file",
    "Network.headers": "--header",
    "(Timeouts.first_byte)": "(--timeout)",
    "(RetryPolicy.deadline)": "(--deadline)",
    "use max_images in place of max_cost": "use --max-images in place of --budget",
}
"""Python names in the library's messages, and the options that users type instead."""


def to_exit(error: errors.ImagesError) -> int:
    """Return the exit code for *error*."""
    if isinstance(error, errors.DownloadRefusedError) and not error.billed:
        return USAGE  # a URL given by the user
    if is_doubtful(error):
        return next(code for kind, code, _ in TABLE if kind is errors.OutcomeUnknownError)
    return next(code for kind, code, _ in TABLE if isinstance(error, kind))


def is_doubtful(error: errors.ImagesError) -> bool:
    """Return whether the API refused a request that may have been billed; moderation has a code of its own."""
    return isinstance(error, errors.APIError) and not isinstance(error, errors.ModerationError) and bool(error.billed)


def combine(codes: Sequence[int]) -> int:
    """Return the exit code of work whose parts have *codes*."""
    failed = sorted({code for code in codes if code})
    for code in WEIGHTIEST:
        if code in failed:
            return code
    if not failed:
        return 0
    if not all(codes):
        return SOME_FAILED
    return failed[0] if len(failed) == 1 else FAILED


def describe(error: errors.ImagesError) -> str:
    """Return what happened, whether it was billed, what to type next, and the ids to quote to support."""
    message = translate(error.message)
    ids = []
    if error.request_id and error.request_id not in message:
        ids.append(f"request id: {error.request_id}")
    unclear = isinstance(error, (errors.OutcomeUnknownError, errors.ProtocolError)) or is_doubtful(error)
    if error.idempotency_key and unclear:
        ids.append(f"idempotency key: {error.idempotency_key}")
    parts = (message, errors.describe_billing(error), advice(error), f"({', '.join(ids)})" if ids else "")
    return " ".join(part for part in parts if part)


def translate(message: str) -> str:
    """Return a message of the library with Python names replaced by options."""
    for python, words in VOCABULARY.items():
        message = message.replace(python, words)
    return message


def advice(error: errors.ImagesError) -> str:
    if error.task is not None and not error.task.is_ended:
        task = shlex.quote(error.task.id)
        return f"The gateway works on it; `burncloud-images fetch --task {task}` gets its images and buys nothing."
    if isinstance(error, errors.InvalidRequestError) and all(violation.source for violation in error.violations):
        return "If the gateway accepts it anyway, add --validation off."
    if isinstance(error, errors.DownloadRefusedError) and error.host:
        return f"If you trust the host, add --result-host {shlex.quote(error.host)}."
    if is_doubtful(error):
        return LOOK
    found = next(text for kind, _, text in TABLE if isinstance(error, kind))
    return error.advice if found is None else found
