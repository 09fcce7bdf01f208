"""What intermediaries answer after the work is never taken for the API's word, and what the API itself says is."""

from __future__ import annotations

import json

import pytest
from intermediaries import AFTER_THE_WORK, REFUSALS

from burncloud_images.errors import Billing, OutcomeUnknownError, Phase
from burncloud_images.retry import RetryPolicy
from burncloud_images.wire.dialects import DIALECTS, find_dialect
from burncloud_images.wire.failures import ErrorResponse, to_error

LEAST = 25
"""Answers of intermediaries that have to be among the rows."""
NEW_API = "new-api 500, under a name that nobody has recognised"


def reply(status, body, headers, **about):
    return ErrorResponse(
        status=status, headers=headers, body=body.encode(), phase=Phase.STATUS, operation="generations", **about
    )


@pytest.mark.parametrize("answer", AFTER_THE_WORK, ids=lambda answer: answer.vendor)
class TestAfterTheWork:
    """Each row is an answer that came although the image was made."""

    def test_it_is_unknown(self, answer):
        """It is not sent again, and nobody is told that it cost nothing."""
        error = to_error(reply(answer.status, answer.body, answer.headers))

        assert isinstance(error, OutcomeUnknownError)
        assert Billing.MAYBE is error.billed
        assert "stop" == RetryPolicy().judge(error)

    @pytest.mark.sampled(5)
    @pytest.mark.parametrize("dialect", [None, *(dialect.name for dialect in DIALECTS)])
    def test_what_is_known_of_the_server_does_not_excuse_it(self, answer, dialect):
        """Neither the host nor the caller's word makes such an answer free, except new-api's own error."""
        about = {"dialect": find_dialect("https://x.example/v1", dialect) if dialect else None, "trust_errors": True}
        if dialect in {"newapi", "burncloud"}:
            about["trust_errors"] = False
        error = to_error(reply(answer.status, answer.body, answer.headers, **about))

        believed = answer.vendor == NEW_API and (about["trust_errors"] or dialect in {"newapi", "burncloud"})
        assert (Billing.NO if believed else Billing.MAYBE) is error.billed

    def test_a_promise_of_the_server_does_not_lift_it(self, answer):
        """`x-should-retry` passes through whatever stands in between."""
        error = to_error(reply(answer.status, answer.body, {**answer.headers, "x-should-retry": "true"}))

        assert "stop" == RetryPolicy().judge(error)

    def test_it_is_free_where_nothing_is_bought(self, answer):
        """A list of models costs nothing, whatever was answered."""
        listing = ErrorResponse(
            status=answer.status, headers=answer.headers, body=answer.body.encode(), phase=Phase.STATUS, operation=None
        )

        assert Billing.NO is to_error(listing).billed


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
class TestRefusals:
    """Each row is an error of which its source says that nothing is billed."""

    def test_it_costs_nothing(self, refusal):
        """It is worth another attempt where that may help."""
        dialect = find_dialect("https://x.example/v1", refusal.dialect) if refusal.dialect else None
        error = to_error(reply(refusal.status, json.dumps({"error": refusal.error}), {}, dialect=dialect))

        assert Billing.NO is error.billed
        assert refusal.again == (RetryPolicy().judge(error) != "stop")

    def test_it_is_not_believed_of_anybody(self, refusal):
        """What only the server's own rules make free is unknown where the server is not known."""
        error = to_error(reply(refusal.status, json.dumps({"error": refusal.error}), {}))

        assert (Billing.MAYBE if refusal.dialect else Billing.NO) is error.billed


def test_there_are_enough_of_them():
    """Each of another vendor or event, with its source."""
    assert LEAST <= len({answer.vendor for answer in AFTER_THE_WORK}) == len(AFTER_THE_WORK)
    assert all(row.source for row in (*AFTER_THE_WORK, *REFUSALS))
    assert {Billing.MAYBE, Billing.YES} == {answer.billed for answer in AFTER_THE_WORK}
