"""
Converts status, headers and body of an answer to an exception.

Decided by the error's codes, then its type, then the text of gateways that send neither, then the status: gateways
answer a caller's mistake with 500, an empty purse with 401, and an unknown model with 503. The caller's own word about
a code comes before all of them.

The other question is whether an image can have been made. Once the whole request was sent, an error 5xx does not tell:
proxies and gateways write JSON as well as pages after the work was done. Only three things do: a code that means
that the work was refused, a known server that bills nothing for its errors, or the caller's word. Everything else is an
`OutcomeUnknownError`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlsplit

import attrs

from burncloud_images.errors import (
    APIError,
    Billing,
    ConnectionFailedError,
    ImagesError,
    ModerationError,
    OutcomeUnknownError,
    Phase,
    ProtocolError,
    RateLimitError,
    ServerError,
    UnsupportedError,
)
from burncloud_images.model.operations import Operation
from burncloud_images.wire.dialects import REFUSALS, Dialect
from burncloud_images.wire.error_body import ErrorObject, is_answered_with_success, is_of_result, parse_error, to_word
from burncloud_images.wire.error_codes import INNER_STATUS, Kind, find_by_code, find_by_status, find_by_text
from burncloud_images.wire.error_waits import find_body_wait
from burncloud_images.wire.headers import find_request_id, find_retry_after, find_should_retry

MOST_RAW = 1024 * 1024

E = TypeVar("E", bound=APIError | ConnectionFailedError | OutcomeUnknownError)

# The gateway failed after upstream had answered, so upstream may have made and billed the images.
AFTER_THE_WORK = frozenset(
    {
        "bad_response_body",
        "close_response_body_failed",
        "do_request_failed",
        "read_response_body_failed",
        "unmarshal_response_body_failed",
    }
)

# What servers that honour idempotency keys say of one that they know: still processing, or the key was already used.
KEY_IN_FLIGHT = re.compile(
    r"in[ _-]?(flight|progress|use\b|process)|process(ing|ed\b)|concurrent|pending", re.IGNORECASE
)
KEY_ALREADY_USED = re.compile(r"re-?use|already|used|different|mismatch|conflict|duplicate", re.IGNORECASE)

# Statuses of proxies that say that the origin was not reached; 526 is about its certificate. 522 is not among them: it
# is also said where the origin did not acknowledge a request that was sent. Source: Cloudflare's connection limits.
NOT_REACHED: Mapping[int, bool | None] = {521: None, 523: None, 525: None, 526: False}
NEVER_SERVED = {501, 505}
GIVEN_UP = {408, 499}
"""A party stopped waiting; nginx and Google's APIs answer 499 for a cancelled call."""
WAITED_FOR = {200, 403, 408, 409, 425, 429, 500, 502, 503, 529}
"""Where a wait that stands in the body alone is honoured."""
TIMEOUTS = {504, 520, 522, 524}
"""A timeout while the request was being worked on, in any form and from any proxy."""


@attrs.frozen(kw_only=True)
class ErrorResponse:
    """
    An answer that is not a result.

    Attributes:
        status: HTTP status.
        headers: With lower-case names.
        body: As far as it was read.
        phase: How far the request had got when the answer came.
        operation: What was asked; None for what is not billed.
        unknown_codes: Error codes that may come after the images were made, besides those that are known.
        dialect: The server, if it is known.
        trust_errors: Whether the caller vouches that errors in the API's form are not billed.
        codes: What error codes mean, as the caller knows of the server.
        billed: What is already known about billing, because parts of images came before.
        received_at: When it came by the local clock, aware UTC.
        task_id: The task whose failure it tells; empty if it tells of a request.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    phase: Phase
    operation: Operation | None
    unknown_codes: Collection[str] = ()
    dialect: Dialect | None = None
    trust_errors: bool = False
    codes: Mapping[str, Kind] = attrs.field(factory=dict)
    billed: Billing = Billing.NO
    received_at: datetime | None = None
    task_id: str = ""


def to_error(response: ErrorResponse) -> ImagesError:
    """Return the exception for *response*."""
    envelope = parse_error(response.body, response.headers, is_event=response.status < 300)
    if 300 <= response.status < 400:
        return to_redirect_error(response)
    if response.status in NOT_REACHED and envelope.own is None:
        message = f"The gateway's proxy answered {response.status}: it could not reach the gateway."
        unreached = ConnectionFailedError(message, phase=response.phase, retryable=NOT_REACHED[response.status])
        return with_retry_advice(unreached, response, envelope)
    if is_in_flight(response, envelope):
        return to_in_flight_error(response, envelope)
    if is_unknown(response, envelope):
        return with_retry_advice(to_unknown_error(response, envelope), response, envelope)
    return to_api_error(response, envelope)


def with_retry_advice(error: E, response: ErrorResponse, envelope: ErrorObject) -> E:
    """Return *error* with what the server says about trying again, in its headers or in its body."""
    resets = response.status == HTTPStatus.TOO_MANY_REQUESTS
    now = response.received_at
    error.retry_after = find_retry_after(response.headers, resets=resets, now=now)
    if error.retry_after is None and (response.status in WAITED_FOR or isinstance(error, RateLimitError)):
        error.retry_after = find_body_wait(envelope.document, envelope.message, now)
    if error.retryable is None:
        error.retryable = find_should_retry(response.headers)
    return error


def is_in_flight(response: ErrorResponse, envelope: ErrorObject) -> bool:
    """Whether the server says that it is still working on an earlier attempt of the same call."""
    return response.status == 409 and response.operation is not None and speaks_of_key(envelope, KEY_IN_FLIGHT)


def is_key_already_used(response: ErrorResponse, envelope: ErrorObject) -> bool:
    """Whether the server refuses because the key was used before."""
    return (
        response.status in {409, 422} and response.operation is not None and speaks_of_key(envelope, KEY_ALREADY_USED)
    )


def speaks_of_key(envelope: ErrorObject, of: re.Pattern[str]) -> bool:
    text = f"{envelope.code} {envelope.type} {envelope.message}"
    return "idempoten" in text.lower() and of.search(text) is not None


def to_in_flight_error(response: ErrorResponse, envelope: ErrorObject) -> OutcomeUnknownError:
    message = f"The API answered {describe_status(response.status)}: {message_of(envelope) or 'no message'}."
    error = to_outcome_unknown_error(f"{message} It is still working on an earlier attempt.", response, envelope)
    error.in_flight = True
    return with_retry_advice(error, response, envelope)


def is_unknown(response: ErrorResponse, envelope: ErrorObject) -> bool:
    """Whether an image may have been made although the answer has none."""
    if response.operation is None:
        return False
    if envelope.code in AFTER_THE_WORK or envelope.code in response.unknown_codes or response.status in GIVEN_UP:
        return True
    if response.status >= 400 and holds_image(envelope.document):
        return True
    return response.status >= 500 and response.status not in NEVER_SERVED and not is_refused(response, envelope)


def holds_image(document: object) -> bool:
    """Whether an answer has an image or its URL, even if its status is an error."""
    items = document.get("data") if isinstance(document, Mapping) else None
    found = [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
    return any(to_word(item.get(name)) for item in found for name in ("b64_json", "url"))


def is_refused(response: ErrorResponse, envelope: ErrorObject) -> bool:
    """Whether it is known of an error 5xx that nothing was billed."""
    if response.status in TIMEOUTS:
        return False
    if find_own_kind(response, envelope) not in {None, ServerError}:
        return True
    if envelope.own is None:
        return False
    if {envelope.code, envelope.type} & REFUSALS or classify(response, envelope)[0] is not ServerError:
        return True
    return response.trust_errors or (response.dialect is not None and response.dialect.vouches(envelope.own))


def to_unknown_error(response: ErrorResponse, envelope: ErrorObject) -> ConnectionFailedError | OutcomeUnknownError:
    said = f": {message_of(envelope)}" if envelope.message else ""
    message = f"The gateway answered {describe_status(response.status)}{said}"
    if not response.phase.may_be_billed:
        return ConnectionFailedError(f"{message} while the request was being sent.", phase=response.phase)
    return to_outcome_unknown_error(f"{message}, which does not say whether the images were made.", response, envelope)


def to_outcome_unknown_error(message: str, response: ErrorResponse, envelope: ErrorObject) -> OutcomeUnknownError:
    error = OutcomeUnknownError(
        message,
        raw=response.body[:MOST_RAW],
        status=response.status,
        request_id=find_request_id(response.headers, envelope.message),
        phase=response.phase,
    )
    error.code = envelope.code
    return error


def to_redirect_error(response: ErrorResponse) -> ProtocolError:
    # Never followed: the body and the keys would travel along.
    status, where = describe_status(response.status), describe_target(response)
    return ProtocolError(
        f"The gateway answered {status}, a redirect{where}; is the base URL right?",
        raw=response.body[:MOST_RAW],
        status=response.status,
        request_id=find_request_id(response.headers),
        phase=response.phase,
    )


def describe_target(response: ErrorResponse) -> str:
    """Return where a redirect leads, without anything secret."""
    try:
        address = urlsplit(response.headers.get("location", ""))
    except ValueError:
        return ""
    return f" to {address.scheme}://{address.hostname}" if address.hostname else ""


def to_api_error(response: ErrorResponse, envelope: ErrorObject) -> APIError:
    kind, meaning = classify(response, envelope)
    error = kind(
        describe_error(response, envelope, meaning),
        status=response.status,
        code=envelope.code,
        type=envelope.type,
        param=envelope.param,
        body=envelope.document if envelope.found else response.body[:MOST_RAW].decode(errors="backslashreplace"),
        request_id=find_request_id(response.headers, envelope.message),
        phase=response.phase,
    )
    error.key_already_used = is_key_already_used(response, envelope)
    error.billed = decide_billing(error, response, envelope)
    return with_retry_advice(error, response, envelope)


def decide_billing(error: APIError, response: ErrorResponse, envelope: ErrorObject) -> Billing:
    """Return whether an error was billed that the API told."""
    if response.operation is None or not response.phase.may_be_billed:
        return Billing.NO
    # An answer of success had begun, so only words tell that nothing was made.
    is_open = response.status < 300 and isinstance(error, ServerError) and not {envelope.code, envelope.type} & REFUSALS
    began = response.billed
    if began is Billing.MAYBE and is_answered_with_success(envelope.document):
        began = Billing.NO  # the status says nothing, and the error has its usual form
    # A key that the server knows has been sent before, by an earlier attempt or by another program.
    return max(began, error.billed, Billing.MAYBE if is_open or error.key_already_used else Billing.NO)


def classify(response: ErrorResponse, envelope: ErrorObject) -> tuple[Kind, str]:
    """Return the class and what a gateway's own text means in English."""
    by_text = find_by_text(envelope.message, response.status)
    meaning = by_text[1] if by_text else ""
    if response.operation == "variations" and is_variations_unserved(response, envelope):
        return UnsupportedError, "no server known today answers variations"
    kind = find_own_kind(response, envelope) or find_by_code(envelope.codes, [envelope.type or ""])
    if kind is ModerationError and is_of_result(envelope):
        return kind, meaning or "the images were made and then refused"
    if kind:
        return kind, meaning
    if by_text:
        return by_text
    inner = INNER_STATUS.get(envelope.code or "") if response.status < 300 else None
    return inner or find_by_status(response.status), meaning


def find_own_kind(response: ErrorResponse, envelope: ErrorObject) -> Kind | None:
    """Return the class that the caller has named for one of the codes of an error."""
    named = (envelope.code, *envelope.codes, envelope.type)
    return next((response.codes[code] for code in named if code is not None and code in response.codes), None)


def is_variations_unserved(response: ErrorResponse, envelope: ErrorObject) -> bool:
    # new-api reads `model` from forms only for edits, so it misses it here whatever the form holds.
    no_model = response.status == 400 and "未指定模型名称" in envelope.message
    return no_model or (response.status in {404, 410, 501} and envelope.code != "model_not_found")


def message_of(envelope: ErrorObject) -> str:
    return envelope.message.rstrip(".。 ")


def describe_error(response: ErrorResponse, envelope: ErrorObject, meaning: str) -> str:
    text = message_of(envelope) or "no message"
    answered = f"The API answered {describe_status(response.status)}"
    lead = f"Task {response.task_id} failed" if response.task_id else answered
    return f"{lead}: {text}{f' ({meaning})' if meaning else ''}."


def describe_status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
