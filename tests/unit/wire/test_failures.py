"""Answers that are not results: which error each becomes, and what is on it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statuses import ROWS

from burncloud_images.errors import (
    SENTENCES,
    APIError,
    BadRequestError,
    Billing,
    ConnectionFailedError,
    ModerationError,
    OutcomeUnknownError,
    PermissionDeniedError,
    Phase,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    UnsupportedError,
)
from burncloud_images.retry import RetryPolicy
from burncloud_images.wire.error_codes import BY_TEXT, CODES_OF, TYPES
from burncloud_images.wire.failures import ErrorResponse, to_error

NO, MAYBE, YES = Billing


def said(message="no", **fields):
    return json.dumps({"error": {"message": message, "type": "", "param": "", "code": "", **fields}}).encode()


def reply(status, body=b"", headers=None, *, phase=Phase.STATUS, operation="generations", **about):
    return ErrorResponse(status=status, headers=headers or {}, body=body, phase=phase, operation=operation, **about)


PAGE = b"<html>"
FAILED = said(type="server_error")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_an_answer_has_an_error_and_a_bill(row):
    """Phase, code, type, text and status decide, in this order, and the error's text says what its bill is."""
    error = to_error(row.reply)

    assert (row.means.error, row.means.billed) == (type(error), error.billed)
    assert row.attributes == {name: getattr(error, name) for name in row.attributes}
    assert row.reply.phase == error.phase
    assert SENTENCES[error.billed] in str(error) or isinstance(error, ModerationError)


class TestWords:
    """What is on an error."""

    @pytest.mark.parametrize("status", [408, 409, 429, 503, 504, 521])
    def test_every_error_has_what_the_server_says_about_trying_again(self, status):
        """Every error has the server's word about retries, whatever its class."""
        body = said(code="idempotency_in_flight") if status == 409 else PAGE
        error = to_error(reply(status, body, {"retry-after": "7", "x-should-retry": "true"}))
        assert 7 == error.retry_after
        assert error.retryable is True
        assert to_error(reply(status, body)).retry_after is None

    @pytest.mark.parametrize(("status", "expected"), [(429, 360.0), (500, None), (503, None), (504, None)])
    def test_the_reset_of_a_limit_counts_for_that_limit_only(self, status, expected):
        """It comes with every answer."""
        headers = {"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "0"}
        assert expected == to_error(reply(status, said(), headers)).retry_after

    @pytest.mark.parametrize(
        ("status", "fields", "expected"),
        [
            (422, {"code": "idempotency_key_reuse"}, True),
            (422, {"message": "This Idempotency-Key was already used"}, True),
            (422, {"type": "idempotency_error", "message": "a different body"}, True),
            (409, {"code": "idempotency_key_already_used"}, True),
            (409, {"message": "duplicate of an idempotent request"}, True),
            (422, {"message": "the Idempotency-Key is too long"}, False),
            (422, {"message": "the size is already known"}, False),
            (400, {"code": "idempotency_key_reuse"}, False),
        ],
    )
    def test_a_key_that_is_taken_is_told_apart(self, status, fields, expected):
        """An earlier attempt had arrived, then, so this says nothing of the bill."""
        error = to_error(reply(status, said(**fields)))
        assert expected == error.key_already_used
        assert (MAYBE if expected else NO) is error.billed
        assert not to_error(reply(status, said(**fields), operation=None)).key_already_used

    @pytest.mark.parametrize(
        "words",
        [
            "in flight",
            "in_flight",
            "in-progress",
            "in use",
            "inuse",
            "is processing",
            "being processed",
            "concurrent",
            "PENDING",
        ],
    )
    def test_a_request_in_flight_is_told_in_many_words(self, words):
        """Servers have their own."""
        error = to_error(reply(409, said(f"Idempotency-Key {words}", code="c-1"), {"x-request-id": "r-1"}))
        assert isinstance(error, OutcomeUnknownError)
        assert error.in_flight
        assert ("c-1", "r-1", 409) == (error.code, error.request_id, error.status)
        assert b"Idempotency" in error.raw
        assert "The API answered 409 Conflict: Idempotency-Key" in error.message
        assert error.message.endswith("It is still working on an earlier attempt.")

    def test_a_request_in_flight_may_be_told_without_a_message(self):
        """The code is enough."""
        error = to_error(reply(409, said("", code="idempotency_in_flight")))
        assert "409 Conflict: no message." in error.message

    def test_codes_of_the_caller_are_unknown(self):
        """They come after the work."""
        error = to_error(reply(500, said(code="task_timeout"), unknown_codes=("task_timeout",)))
        assert isinstance(error, OutcomeUnknownError)
        assert "task_timeout" == error.code
        assert b"task_timeout" in error.raw
        named = {"unknown_codes": ("task_timeout",), "trust_errors": True}
        assert isinstance(to_error(reply(500, said(code="task"), **named)), ServerError)
        assert isinstance(to_error(reply(500, said(code="task_timeout"), **named)), OutcomeUnknownError)

    def test_an_unknown_outcome_says_what_is_known(self):
        """Status, text, id and the beginning of the answer."""
        error = to_error(reply(504, said("upstream timed out.", code="t"), {"x-request-id": "r-1"}))
        expected = "The gateway answered 504 Gateway Timeout: upstream timed out, which does not say whether"
        assert error.message.startswith(expected)
        assert (504, "r-1", "t") == (error.status, error.request_id, error.code)
        bare = to_error(reply(599, PAGE * 1_000_000))
        assert "The gateway answered 599, which does not say whether the images were made." == bare.message
        assert 1024 * 1024 == len(bare.raw)

    def test_an_early_timeout_is_a_failed_connection(self):
        """Half a request cannot be executed."""
        error = to_error(reply(408, b"", phase=Phase.BODY))
        assert "The gateway answered 408 Request Timeout while the request was being sent." == error.message
        assert error.retryable is None

    def test_a_proxy_that_did_not_reach_the_gateway_says_so(self):
        """Nothing can have been billed."""
        error = to_error(reply(523, PAGE))
        assert "The gateway's proxy answered 523: it could not reach the gateway." == error.message
        assert [None, False] == [to_error(reply(status)).retryable for status in (521, 526)]

    @pytest.mark.parametrize(
        ("location", "where"),
        [
            ("https://u:p@evil.example/x?sig=canary", ", a redirect to https://evil.example;"),
            ("/v2", ", a redirect;"),
            ("", ", a redirect;"),
            ("http://[", ", a redirect;"),
        ],
    )
    def test_a_redirect_shows_a_host_and_no_secret(self, location, where):
        """Signed addresses are keys."""
        error = to_error(reply(307, PAGE, {"location": location, "x-request-id": "r-1"}))
        assert f"The gateway answered 307 Temporary Redirect{where} is the base URL right?" == error.message
        assert "canary" not in str(error)
        assert (PAGE, 307, "r-1") == (error.raw, error.status, error.request_id)

    def test_an_api_error_says_all_that_the_api_said(self):
        """An API error has every field of the API's error object."""
        body = said("Bad size.", type="invalid_request_error", param="size", code="invalid_value")
        error = to_error(reply(400, body, {"x-request-id": "r-1"}))
        assert "The API answered 400 Bad Request: Bad size." == error.message
        assert ("invalid_value", "invalid_request_error", "size") == (error.code, error.type, error.param)
        assert (400, "r-1", json.loads(body)) == (error.status, error.request_id, error.body)

    def test_an_answer_without_an_envelope_is_kept_as_text(self):
        """Bounded, and with what is no text escaped."""
        error = to_error(reply(404, b"\xff" + b"x\0" * 1_000_000))
        assert "The API answered 404 Not Found: no message." == error.message
        assert error.body.startswith("\\xffx\0")
        assert 1024 * 1024 + 3 == len(error.body)

    def test_a_request_id_is_found_in_the_message(self):
        """Where gateways write it."""
        assert "2025-1" == to_error(reply(400, said("no (request id: 2025-1)"))).request_id
        assert "2025-1" == to_error(reply(504, said("no (request id: 2025-1)"))).request_id
        in_flight = said("in flight (request id: 2025-1)", code="idempotency")
        assert "2025-1" == to_error(reply(409, in_flight)).request_id

    def test_a_long_message_is_cut(self):
        """An error is a sentence."""
        assert len(to_error(reply(400, said("x" * 100_000))).message) < 2100


class TestEnvelopes:
    """Gateways have several forms of an error."""

    @pytest.mark.parametrize(
        ("body", "code", "message"),
        [
            (b'{"error": {"code": 429, "message": "m"}}', "429", "m"),
            (b'{"error": {"code": null, "message": "m"}}', None, "m"),
            (b'{"error": {"code": "", "message": "m"}}', None, "m"),
            (b'{"error": {"code": true, "message": "m"}}', None, "m"),
            (b'{"error": {"code": [1], "message": "m"}}', None, "m"),
            (b'{"error": "m"}', None, "m"),
            (b'{"code": "c", "message": "m"}', "c", "m"),
            (b'{"error": {"code": "c"}}', "c", "no message"),
            (b'{"error": {"type": "t"}}', None, "no message"),
            (b'{"error": null, "message": "m"}', None, "m"),
            (b'{"detail": "m"}', None, "m"),
            (b'{"type": "https://x.example/1", "title": "m", "status": 400}', None, "m"),
            (b'{"type": "https://x.example/1", "title": "t", "detail": "m"}', None, "m"),
        ],
    )
    def test_are_read(self, body, code, message):
        """Whoever wrote them: to tell what was said is one thing, to believe it another."""
        error = to_error(reply(400, body))
        assert BadRequestError is type(error)
        assert code == error.code
        assert f"The API answered 400 Bad Request: {message}." == error.message
        assert json.loads(body) == error.body

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"null", b'{"error": ""}', b'{"error": {}}', b'{"error": []}', b"[" * 100_000, b"\xff"]
    )
    def test_are_not_read_into_anything(self, body):
        """What is none says nothing, so the outcome is unknown."""
        assert OutcomeUnknownError is type(to_error(reply(500, body)))

    @pytest.mark.sampled(4)
    @pytest.mark.parametrize(
        ("kind", "code"), [(kind, code) for kind, codes in CODES_OF.items() for code in codes if ":" not in code]
    )
    def test_a_code_counts_before_type_text_and_status(self, kind, code):
        """At any status but a gateway's own timeout."""
        body = said("额度不足。", type="rate_limit_error", code=code)
        for status in (200, 400, 429, 500, 503):
            error = to_error(reply(status, body))
            assert kind is type(error)
            assert error.message.endswith(": 额度不足 (the account is out of money).")

    @pytest.mark.parametrize("kind", sorted(TYPES))
    def test_a_type_counts_before_text_and_status(self, kind):
        """Where the code says nothing."""
        assert TYPES[kind] is type(to_error(reply(400, said("无效的请求", type=kind, code="?"))))

    @pytest.mark.parametrize(("text", "kind", "meaning"), BY_TEXT, ids=[meaning for _, _, meaning in BY_TEXT])
    def test_a_text_counts_before_the_status(self, text, kind, meaning):
        """The text counts before the status, and the message says it in English as well."""
        error = to_error(reply(418, said(f"…{text}…")))
        assert kind is type(error)
        assert error.message.endswith(f" ({meaning}).")

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(200, ServerError), (399, ProtocolError), (400, BadRequestError), (498, BadRequestError), (599, ServerError)],
    )
    def test_a_status_that_nobody_knows_has_the_class_of_its_hundred(self, status, kind):
        """There is always one."""
        assert kind is type(to_error(reply(status, FAILED, trust_errors=True)))

    @pytest.mark.parametrize("row", [row for row in ROWS if row.operation == "variations"], ids=lambda row: row.id)
    def test_variations_are_served_by_hardly_anyone(self, row):
        """An error that looks like the caller's mistake is an unsupported endpoint for variations."""
        error = to_error(row.reply)
        is_unsupported = isinstance(error, UnsupportedError)
        assert is_unsupported == ("(no server known today answers variations)" in error.message)


class TestOwnCodes:
    """What the caller knows of a gateway's codes."""

    @pytest.mark.parametrize(
        ("status", "body", "codes"),
        [
            (429, said(code="1113"), {"1113": QuotaExceededError}),
            (429, said(code=1113), {1113: QuotaExceededError}),
            (400, b'{"code": 77, "msg": "x"}', {"77": RateLimitError}),
            (200, b'{"base_resp": {"status_code": 1008, "status_msg": "x"}}', {"1008": PermissionDeniedError}),
            (400, said(code="x", type="no_funds"), {"no_funds": QuotaExceededError}),
            (400, said(code="insufficient_quota"), {"insufficient_quota": RateLimitError}),
            (500, said(code="E1"), {"E1": ModerationError}),
            (503, b'{"code": "E1", "message": "x"}', {"E1": RateLimitError}),
        ],
    )
    def test_decide_the_class(self, status, body, codes):
        """They come before what this package knows, and say that the work was refused."""
        error = to_error(reply(status, body, codes=RetryPolicy(codes=codes).codes))
        assert next(iter(codes.values())) is type(error)

    def test_leave_open_what_they_do_not_tell(self):
        """A server error may come after the work, and a timeout ends what is at work."""
        codes = {"E1": ServerError, "E2": RateLimitError}
        assert isinstance(to_error(reply(500, said(code="E1"), codes=codes)), OutcomeUnknownError)
        assert isinstance(to_error(reply(504, said(code="E2"), codes=codes)), OutcomeUnknownError)
        assert isinstance(to_error(reply(500, said(code="E3"), codes=codes)), OutcomeUnknownError)


@pytest.mark.parametrize(
    "body",
    [
        said(code="OutputImageSensitiveContentDetected"),
        said(code="moderation_blocked", moderation_details={"moderation_stage": "output"}),
        said(code="moderation_blocked", moderation_stage="output"),
        b'{"base_resp": {"status_code": 1027, "status_msg": "x"}}',
    ],
)
def test_a_refused_result_says_that_it_was_made(body):
    """It may be billed."""
    error = to_error(reply(400, body))
    assert ModerationError is type(error)
    assert MAYBE is error.billed
    assert "the images were made and then refused" in error.message


@pytest.mark.parametrize(
    ("body", "billed"),
    [
        (b'{"id": "r", "base_resp": {"status_code": 1008, "status_msg": "x"}}', NO),
        (b'{"Response": {"Error": {"Code": "RequestLimitExceeded", "Message": "x"}}}', NO),
        (b'{"error_code": 17, "error_msg": "x"}', NO),
        (b'{"base_resp": {"status_code": 1000, "status_msg": "x"}}', MAYBE),
        (b'{"base_resp": {"status_code": 1027, "status_msg": "x"}}', MAYBE),
        (b'{"code": 402, "msg": "x"}', MAYBE),
        (said(code="insufficient_quota"), MAYBE),
    ],
)
def test_a_server_that_answers_all_errors_with_success_is_believed(body, billed):
    """Its status says nothing of the work; where it is another server's, the answer of success had begun."""
    assert billed is to_error(reply(200, body, billed=MAYBE)).billed
    assert YES is to_error(reply(200, body, billed=YES)).billed


class TestWaits:
    """Waits that the body alone names."""

    def test_are_honoured(self):
        """A wait in the body is kept as a header's is."""
        assert 20 == to_error(reply(429, said("Please try again in 20s."))).retry_after
        assert 30 == to_error(reply(503, b'{"retry_after": 30}')).retry_after

    def test_come_after_the_header(self):
        """A header is the server's own word."""
        assert 7 == to_error(reply(429, said("Please try again in 20s."), {"retry-after": "7"})).retry_after

    def test_say_nothing_of_what_is_refused_for_good(self):
        """The words of a bad request may be the prompt's."""
        assert to_error(reply(400, said("a sign: try again in 20s"))).retry_after is None


@given(
    status=st.integers(200, 999),
    body=st.binary(max_size=200) | st.builds(said, st.text(), code=st.text(), type=st.text()),
    headers=st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date", "location"]), st.text()),
    phase=st.sampled_from(Phase),
)
def test_any_answer_becomes_an_error_of_ours(status, body, headers, phase):
    """Any answer becomes an error with a verdict and finite waits."""
    error = to_error(reply(status, body, headers, phase=phase))
    assert isinstance(error, APIError | OutcomeUnknownError | ConnectionFailedError | ProtocolError)
    wait = RetryPolicy(on_unknown="retry").wait(error, attempt=1, elapsed=0, jitter=0.5)
    assert wait is None or 0 <= wait <= 126
