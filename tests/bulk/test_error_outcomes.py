"""What becomes of a request, error by error."""

from __future__ import annotations

import pytest
from statuses import ROWS

from burncloud_images import errors
from burncloud_images.bulk.error_outcomes import TABLE, judge
from burncloud_images.errors import Billing, ImagesError
from burncloud_images.results import Task
from burncloud_images.wire.failures import to_error


def api(kind: type[errors.APIError], status: int, billed: Billing) -> errors.APIError:
    error = kind("x", status=status)
    error.billed = billed
    return error


def download(billed: Billing) -> errors.DownloadError:
    error = errors.DownloadError("x")
    error.billed = billed
    return error


def accepted(error: ImagesError, *, ended: bool = False, billed: Billing = Billing.MAYBE, running: bool = False):
    error.task = Task(id="t-1", is_ended=ended)
    error.billed = billed
    if running:
        error.in_flight = True
    return error


# Errors that no answer of an API makes, or that an answer makes of what came before it.
CASES = [
    (errors.OutcomeUnknownError("x"), "doubt"),
    (api(errors.ModerationError, 400, Billing.YES), "doubt"),
    (api(errors.ModerationError, 400, Billing.NO), "fail"),
    (errors.StorageError("x"), "save"),
    (download(Billing.YES), "fetch"),
    (download(Billing.NO), "fail"),
    (errors.ProtocolError("x", status=200), "fail_billed"),
    (errors.InputChangedError("x"), "fail"),
    (errors.InvalidRequestError([errors.Violation("n", "x")]), "fail"),
    (errors.ConfigurationError("x"), "crash"),
    (errors.ClientClosedError("x"), "crash"),
    (accepted(errors.OutcomeUnknownError("x"), running=True), "follow"),
    (accepted(errors.OutcomeUnknownError("x")), "doubt"),
    (accepted(errors.AuthenticationError("x", status=401)), "follow"),
    (accepted(errors.ClientClosedError("x")), "follow"),
    (accepted(errors.ConfigurationError("x")), "follow"),
    (accepted(errors.PermissionDeniedError("x", status=403)), "doubt"),
    (accepted(errors.ProtocolError("x", status=200)), "fail_billed"),
    (accepted(errors.StorageError("x")), "save"),
    (accepted(errors.DownloadError("x"), billed=Billing.YES), "fetch"),
    (accepted(errors.ServerError("x", status=200), ended=True), "fail_billed"),
    (accepted(errors.QuotaExceededError("x", status=200), ended=True), "fail_billed"),
    (accepted(errors.ServerError("x", status=200), ended=True, billed=Billing.NO), "again"),
    (accepted(errors.ModerationError("x", status=200), ended=True, billed=Billing.NO), "fail"),
    (accepted(errors.QuotaExceededError("x", status=200), ended=True, billed=Billing.NO), "quota"),
    *[(to_error(row.reply), row.means.job) for row in ROWS],
]
NAMES = [
    f"{type(error).__name__}{'-task' * (error.task is not None)}-{verdict}" for error, verdict in CASES[: -len(ROWS)]
] + [row.id for row in ROWS]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("error", "verdict"), CASES, ids=NAMES)
def test_an_error_has_its_verdict(error, verdict):
    """Each error has its verdict in the table."""
    assert verdict == judge(error)


def test_every_error_has_one():
    """The last line of the table takes whatever is new."""
    assert ImagesError is TABLE[-1][0]


@pytest.mark.sampled(5)
@pytest.mark.parametrize("error", [error for error, _ in CASES], ids=NAMES)
def test_what_an_earlier_attempt_may_have_billed_is_never_forgotten(error):
    """After an unknown outcome no refusal makes a request free again; what is known to be paid stays so."""
    assert judge(error, doubtful=True) in {"doubt", "fetch", "follow", "save", "fail_billed"}
