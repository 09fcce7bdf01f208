"""What becomes of a request, error by error."""

from __future__ import annotations

import pytest

from burncloud_images import errors
from burncloud_images.bulk.verdicts import TABLE, judge
from burncloud_images.errors import Billing, ImagesError


def api(kind: type[errors.APIError], status: int, billed: Billing | None = None) -> errors.APIError:
    error = kind("x", status=status)
    error.billed = error.billed if billed is None else billed
    return error


def download(billed: Billing) -> errors.DownloadError:
    error = errors.DownloadError("x")
    error.billed = billed
    return error


CASES = [
    (errors.OutcomeUnknownError("x"), "doubt"),
    (api(errors.ServerError, 500, Billing.MAYBE), "doubt"),
    (api(errors.RateLimitError, 200, Billing.MAYBE), "doubt"),
    (api(errors.QuotaExceededError, 200, Billing.MAYBE), "doubt"),
    (api(errors.BadRequestError, 200, Billing.MAYBE), "doubt"),
    (api(errors.ModerationError, 400, Billing.YES), "doubt"),
    (errors.StorageError("x"), "save"),
    (download(Billing.YES), "fetch"),
    (download(Billing.NO), "fail"),
    (errors.ProtocolError("x", status=200), "fail_billed"),
    (errors.ProtocolError("x", status=302), "fail"),
    (api(errors.QuotaExceededError, 429), "quota"),
    (api(errors.AuthenticationError, 401), "authentication"),
    (api(errors.PermissionDeniedError, 403), "fail"),
    (api(errors.RateLimitError, 429), "later"),
    (api(errors.ServerError, 503), "again"),
    (api(errors.ModerationError, 400), "fail_billed"),
    (api(errors.ModerationError, 400, Billing.NO), "fail"),
    (api(errors.NotFoundError, 404), "fail"),
    (api(errors.UnsupportedError, 410), "fail"),
    (api(errors.BadRequestError, 400), "fail"),
    (errors.ConnectionFailedError("x"), "later"),
    (errors.ConnectionFailedError("x", retryable=False), "gave_up"),
    (errors.InputChangedError("x"), "fail"),
    (errors.InvalidRequestError([errors.Violation("n", "x")]), "fail"),
    (errors.ConfigurationError("x"), "crash"),
    (errors.ClientClosedError("x"), "crash"),
]
NAMES = [f"{number}-{type(error).__name__}-{verdict}" for number, (error, verdict) in enumerate(CASES)]


@pytest.mark.parametrize(("error", "verdict"), CASES, ids=NAMES)
def test_an_error_has_its_verdict(error, verdict):
    """Each class of error has its verdict in the table."""
    assert verdict == judge(error)


def test_every_error_has_one():
    """The last line of the table takes whatever is new."""
    assert ImagesError is TABLE[-1][0]


@pytest.mark.parametrize("error", [error for error, _ in CASES], ids=NAMES)
def test_what_an_earlier_attempt_may_have_billed_is_never_forgotten(error):
    """After an unknown outcome no refusal makes a request free again; what is known to be paid stays so."""
    assert judge(error, doubtful=True) in {"doubt", "fetch", "save", "fail_billed"}
