"""Each error says what happened, whether it may have been billed and what to do next, and shows no secret."""

from __future__ import annotations

import asyncio
import copy
import pickle
import traceback
from datetime import UTC, datetime

import pytest

from burncloud_images import errors
from burncloud_images.errors import (
    NOT_SENT,
    SENTENCES,
    APIError,
    Billing,
    ConnectionFailedError,
    DownloadError,
    ImagesError,
    InputChangedError,
    InvalidRequestError,
    OutcomeUnknownError,
    Phase,
    ProtocolError,
    ResultExpiredError,
    StorageError,
    TooLargeError,
    Violation,
    describe_billing,
    find_billing,
    mark,
)
from burncloud_images.results import Attempt, Image, SavedImage

SECRET = "c2VjcmV0IGJ5dGVz"
URL = f"https://images.example/otter.png?signature={SECRET}"
IMAGE = Image(data=SECRET.encode(), url=URL)

NOT_BILLED, MAY_BE, BILLED = "Nothing was billed.", "This request may have been billed.", "This request was billed."
TOLD = [
    (errors.ConfigurationError("no key"), "no key Nothing was sent."),
    (
        errors.ClientClosedError("closed."),
        "closed. Nothing was sent. Make one client per event loop and close it last.",
    ),
    (ConnectionFailedError("no route."), f"no route. {NOT_BILLED} It is safe to try again."),
    (
        ConnectionFailedError("bad certificate.", retryable=False),
        f"bad certificate. {NOT_BILLED} Check the base URL and the certificates.",
    ),
    (
        InputChangedError("it shrank."),
        f"it shrank. {NOT_BILLED} Send the request again once its inputs stay as they are.",
    ),
    (
        errors.RateLimitError("slow.", status=429, request_id="req-1"),
        f"slow. {NOT_BILLED} Send fewer requests at once, or try again later. (request id: req-1)",
    ),
    (
        errors.ServerError("oops (request id: req-1)", status=500, request_id="req-1"),
        f"oops (request id: req-1) {NOT_BILLED} Try again later.",
    ),
    (
        errors.ModerationError("no.", status=400),
        "no. Refused results are billed by some providers. Change the prompt or the input images.",
    ),
    (
        ResultExpiredError("gone."),
        f"gone. {BILLED} Only the provider can still have the image; quote the request id to its support.",
    ),
    (
        TooLargeError("32 MiB."),
        f"32 MiB. {MAY_BE} Raise the cap that is named, if such an answer is expected.",
    ),
    (StorageError("disk full.", images=[IMAGE]), f"disk full. {BILLED} The images are in .images."),
    (StorageError("it exists."), "it exists."),
]


@pytest.mark.parametrize(("error", "sentence"), TOLD, ids=[error.message for error, _ in TOLD])
def test_an_error_says_what_happened_what_it_cost_and_what_to_do(error, sentence):
    """In this order, and a request id that is in the message is not told twice."""
    assert sentence == str(error)


@pytest.mark.parametrize(
    ("status", "billing"),
    [(None, MAY_BE), (200, MAY_BE), (299, MAY_BE), (300, NOT_BILLED), (308, NOT_BILLED), (303, MAY_BE), (502, MAY_BE)],
)
def test_a_redirect_is_not_followed_so_not_billed(status, billing):
    """Any other answer that is not understood may have been; 303 says where the outcome of what was done is."""
    assert billing == describe_billing(ProtocolError("odd.", status=status))


def test_a_download_of_an_input_cost_nothing():
    """The image of an answer is paid for; an image to upload is fetched before anything is sent."""
    error = DownloadError("refused.")
    assert BILLED == describe_billing(error)

    error.billed, error.unbilled = Billing.NO, NOT_SENT
    assert "Nothing was sent." == describe_billing(error)


@pytest.mark.parametrize("billed", Billing)
@pytest.mark.parametrize("kind", [ImagesError, errors.RateLimitError, OutcomeUnknownError, DownloadError, StorageError])
def test_the_sentence_is_made_from_what_is_billed(kind, billed):
    """Whatever the class is."""
    error = kind("x", status=429) if issubclass(kind, APIError) else kind("x")
    error.billed = billed

    assert (SENTENCES[billed] if billed else error.unbilled) == describe_billing(error)
    assert billed is pickle.loads(pickle.dumps(error)).billed


@pytest.mark.parametrize("kind", [errors.RateLimitError, errors.QuotaExceededError, errors.ServerError])
def test_what_may_have_been_billed_is_not_to_be_sent_again_blindly(kind):
    """The class says to try later or to top up only where nothing was billed."""
    error = kind("x.", status=429)
    usual = error.advice
    error.billed = Billing.MAYBE

    assert kind.usual_advice == usual
    assert "Ask the provider by the request id or the idempotency key before sending it again." == error.advice


@pytest.mark.parametrize("kind", [ImagesError, errors.JobError, InputChangedError])
def test_every_error_says_what_arrived(kind):
    """Whoever keeps what is paid for need not know which errors can hold it."""
    error = kind("x")

    assert ((), (), (), ()) == (error.images, error.partials, error.damaged, error.unfetched)


def test_what_was_marked_is_never_less():
    """Of an error and of a cancellation; what says nothing cost nothing."""
    for error in (OutcomeUnknownError("x"), asyncio.CancelledError()):
        mark(error, Billing.YES)
        mark(error, Billing.NO)
        assert Billing.YES is find_billing(error)

    assert Billing.NO is find_billing(asyncio.CancelledError())


def test_an_unknown_outcome_names_both_ways_on():
    """Ask the provider, or accept to pay twice."""
    text = str(OutcomeUnknownError("cut.", phase=Phase.BODY_IN))

    assert MAY_BE in text
    assert "idempotency key" in text
    assert "on_unknown='retry'" in text


def test_all_violations_are_one_sentence():
    """The message joins all violations, and each is kept."""
    violations = [Violation("n", "too many"), Violation("size", "too large", "openapi")]
    error = InvalidRequestError(violations)

    assert "n: too many; size: too large. Nothing was sent." == str(error)
    assert tuple(violations) == error.violations
    assert isinstance(error, ValueError)


def test_unsaved_images_are_those_in_memory():
    """What is in a file already is no longer in danger."""
    saved = SavedImage(path="otter.png", size=3)

    assert (IMAGE,) == StorageError("disk full.", images=[saved, IMAGE]).unsaved
    assert (saved, IMAGE) == StorageError("disk full.", images=[saved, IMAGE]).images


def test_an_error_is_also_what_the_language_calls_it():
    """Code that knows nothing of this package catches it."""
    kinds = {
        errors.ConfigurationError: ValueError,
        InvalidRequestError: ValueError,
        errors.ClientClosedError: RuntimeError,
        StorageError: OSError,
        errors.ImagesWarning: UserWarning,
    }

    assert [] == [kind for kind, builtin in kinds.items() if not issubclass(kind, builtin)]
    assert not issubclass(errors.ImagesWarning, ImagesError)


FULL = [
    OutcomeUnknownError("cut.", images=[IMAGE], raw=SECRET.encode(), status=200, request_id="r", phase=Phase.BODY_IN),
    ProtocolError("odd.", images=[IMAGE], raw=SECRET.encode(), status=302),
    TooLargeError("large.", images=[IMAGE], raw=SECRET.encode()),
    StorageError("disk full.", images=[IMAGE], phase=Phase.COMPLETE),
    DownloadError("refused.", url=URL, images=[IMAGE], retry_after=2.0, retryable=True, request_id="r"),
    ResultExpiredError("gone.", url=URL, expired_at=datetime(2026, 1, 2, tzinfo=UTC)),
    APIError("no.", status=418, code="1", type="t", param="p", body={"error": SECRET}, retryable=False),
]


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_an_error_crosses_processes(error):
    """Everything but image bytes and raw answers is there again, with the attempts; copies are made in the same way."""
    error.history = (Attempt(number=1, phase=Phase.BODY_IN, elapsed=1.5, failure="ServerError", wait=2.0),)
    error.idempotency_key = "key-1"
    left_out = {"images", "kept", "url"}
    expected = {name: value for name, value in vars(error).items() if name not in left_out}

    for twin in (*(pickle.loads(pickle.dumps(error, protocol)) for protocol in (2, 5)), copy.copy(error)):
        assert (type(error), error.args, expected) == (type(twin), twin.args, vars(twin))
        assert ((), b"") == (getattr(twin, "images", ()), getattr(twin, "raw", b""))
        assert twin.message in str(twin)


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_no_error_shows_what_is_secret(error):
    """Neither an error's text, its traceback nor the repr of its values shows a secret."""
    shown = [repr(error), str(error), *traceback.format_exception(error), repr(error.images)]

    assert [] == [text for text in shown if SECRET in text]


def test_what_was_never_set_has_a_value():
    """An error that was made by hand can be looked at like any other."""
    error = ImagesError("odd.")

    assert (None, (), None, None, "odd. Nothing was billed.") == (
        error.request_id,
        error.history,
        error.idempotency_key,
        error.phase,
        str(error),
    )
