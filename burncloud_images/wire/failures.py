"""
Converts status, headers and body of an answer to an exception.

Decided by the error's code, then its type, then the text of gateways that send neither, then the status: gateways
answer a caller's mistake with 500, an empty purse with 401, and an unknown model with 503.

The other question is whether an image can have been made. Once the whole request was sent, an error 5xx does not tell:
proxies and gateways write JSON as well as pages after the work was done. Only three things do: a code that means
that the work was refused, a known server that bills nothing for its errors, or the caller's word. Everything else is an
`OutcomeUnknownError`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

import attrs

from burncloud_images.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    Billing,
    ConnectionFailedError,
    ImagesError,
    ModerationError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    Phase,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    UnsupportedError,
)
from burncloud_images.model.operations import Operation
from burncloud_images.wire.dialects import REFUSALS, Dialect
from burncloud_images.wire.headers import find_request_id, find_retry_after, find_should_retry

MOST_RAW = 1024 * 1024
MOST_MESSAGE = 2000

E = TypeVar("E", bound=APIError | ConnectionFailedError | OutcomeUnknownError)
Kind: TypeAlias = type[APIError]

BY_CODE: Mapping[str, Kind] = {
    **dict.fromkeys(
        (
            "insufficient_quota",
            "insufficient_user_quota",
            "pre_consume_token_quota_failed",
            "credit_balance_exhausted",
            "billing_hard_limit_reached",
            "quota_exceeded",
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
            "project_usage_limit_exceeded",
        ),
        QuotaExceededError,
    ),
    **dict.fromkeys(
        (
            "moderation_blocked",
            "content_policy_violation",
            "sensitive_words_detected",
            "prompt_blocked",
            "contentFilter",
            "violation_fee.grok.csam",
        ),
        ModerationError,
    ),
    **dict.fromkeys(
        ("invalid_api_key", "missing_token", "invalid_token", "token_expired"),
        AuthenticationError,
    ),
    **dict.fromkeys(("rate_limit_exceeded", "slow_down"), RateLimitError),
    **dict.fromkeys(("server_is_overloaded", "no_available_channels", "rate_budget_exhausted"), ServerError),
    "model_not_found": NotFoundError,
    **dict.fromkeys(("api_not_implemented", "no_available_channel", "model_price_error"), UnsupportedError),
    **dict.fromkeys(
        ("invalid_request", "convert_request_failed", "invalid_value", "read_request_body_failed", "body_read_error"),
        BadRequestError,
    ),
}

BY_TYPE: Mapping[str, Kind] = {
    "insufficient_quota": QuotaExceededError,
    "insufficient_quota_error": QuotaExceededError,
    "billing_limit_user_error": QuotaExceededError,
    "authentication_error": AuthenticationError,
    "permission_error": PermissionDeniedError,
    "rate_limit_error": RateLimitError,
    "service_unavailable_error": ServerError,
}

BY_STATUS: Mapping[int, Kind] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: QuotaExceededError,
    403: PermissionDeniedError,
    404: NotFoundError,
    410: UnsupportedError,
    425: ServerError,
    429: RateLimitError,
    501: UnsupportedError,
    505: UnsupportedError,
}

# new-api answers in Chinese, mostly with an empty code: what it says, what that is, and what it means.
BY_TEXT: tuple[tuple[str, Kind, str], ...] = (
    ("额度已用尽", QuotaExceededError, "the key's quota is used up"),
    ("额度不足", QuotaExceededError, "the account is out of money"),
    ("未提供令牌", AuthenticationError, "no key was sent"),
    ("无效的令牌", AuthenticationError, "the key is unknown"),
    ("令牌已过期", AuthenticationError, "the key has expired"),
    ("令牌状态不可用", AuthenticationError, "the key is disabled"),
    ("IP 不在令牌允许", PermissionDeniedError, "this address is not allowed for the key"),
    ("用户已被封禁", PermissionDeniedError, "the user is banned"),
    ("无权访问", PermissionDeniedError, "the key may not use this model or group"),
    ("不支持指定渠道", PermissionDeniedError, "the key holds a dash, which is for administrators"),
    ("无可用渠道", NotFoundError, "the gateway does not serve this model"),
    ("未指定模型名称", BadRequestError, "no model was named"),
    ("请求数限制", RateLimitError, "too many requests"),
    ("无效的请求", BadRequestError, "the request is invalid"),
)

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

# What writes errors in the API's form and is not the API: Cloudflare in front of OpenAI, by its types, and LiteLLM.
# LiteLLM writes Python's None as a text where an error has no type (ProxyException in litellm/proxy).
OF_A_PROXY = re.compile(r"cf_[a-z_]+|None")
WORDS_OF_A_PROXY = ("litellm.",)
PROBLEM = "application/problem+json"
# Where error objects have their words; the last two are those of RFC 9457 and of FastAPI.
MESSAGES = ("message", "detail", "title")
SAYING = (*MESSAGES, "code", "type")

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
    billed: Billing = Billing.NO
    received_at: datetime | None = None
    task_id: str = ""


@attrs.frozen(kw_only=True)
class ErrorObject:
    """
    An error object, as far as it is there.

    Attributes:
        message: What it says.
        type: Its kind.
        code: What went wrong.
        param: The field that it objects to.
        found: Whether there is one.
        own: What is in it, if it is of the API's form and no proxy's.
        document: The whole answer.
    """

    message: str = ""
    type: str | None = None
    code: str | None = None
    param: str | None = None
    found: bool = False
    own: Mapping[str, object] | None = None
    document: object = None


def to_error(response: ErrorResponse) -> ImagesError:
    """Return the exception for *response*."""
    envelope = parse_error(response)
    if 300 <= response.status < 400:
        return to_redirect_error(response)
    if response.status in NOT_REACHED and envelope.own is None:
        message = f"The gateway's proxy answered {response.status}: it could not reach the gateway."
        return with_retry_headers(
            ConnectionFailedError(message, phase=response.phase, retryable=NOT_REACHED[response.status]), response
        )
    if is_in_flight(response, envelope):
        return to_in_flight_error(response, envelope)
    if is_unknown(response, envelope):
        return with_retry_headers(to_unknown_error(response, envelope), response)
    return to_api_error(response, envelope)


def with_retry_headers(error: E, response: ErrorResponse) -> E:
    """Return *error* with what the server says about trying again."""
    resets = response.status == HTTPStatus.TOO_MANY_REQUESTS
    error.retry_after = find_retry_after(response.headers, resets=resets, now=response.received_at)
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
    return with_retry_headers(error, response)


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
    if envelope.own is None or response.status in TIMEOUTS:
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
    return with_retry_headers(error, response)


def decide_billing(error: APIError, response: ErrorResponse, envelope: ErrorObject) -> Billing:
    """Return whether an error was billed that the API told."""
    if response.operation is None or not response.phase.may_be_billed:
        return Billing.NO
    # An answer of success had begun, so only words tell that nothing was made.
    is_open = response.status < 300 and isinstance(error, ServerError) and not {envelope.code, envelope.type} & REFUSALS
    # A key that the server knows has been sent before, by an earlier attempt or by another program.
    return max(response.billed, error.billed, Billing.MAYBE if is_open or error.key_already_used else Billing.NO)


def classify(response: ErrorResponse, envelope: ErrorObject) -> tuple[Kind, str]:
    """Return the class and what a gateway's own text means in English."""
    by_text = next(((kind, meaning) for text, kind, meaning in BY_TEXT if text in envelope.message), None)
    meaning = by_text[1] if by_text else ""
    if response.operation == "variations" and is_variations_unserved(response, envelope):
        return UnsupportedError, "no server known today answers variations"
    kind = BY_CODE.get(envelope.code or "") or BY_TYPE.get(envelope.type or "")
    if kind:
        return kind, meaning
    if by_text:
        return by_text
    default: Kind = ServerError if response.status >= 500 or response.status < 400 else BadRequestError
    return BY_STATUS.get(response.status, default), meaning


def is_variations_unserved(response: ErrorResponse, envelope: ErrorObject) -> bool:
    # new-api reads `model` from forms only for edits, so it misses it here whatever the form holds.
    no_model = response.status == 400 and "未指定模型名称" in envelope.message
    return no_model or (response.status in {404, 410, 501} and envelope.code != "model_not_found")


def message_of(envelope: ErrorObject) -> str:
    return envelope.message.strip()[:MOST_MESSAGE].rstrip(".。")


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


def parse_error(response: ErrorResponse) -> ErrorObject:
    """Return the error object of a body; forms seen: an object, a text, an object without the `error` around it."""
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        return ErrorObject()
    error = document.get("error") if isinstance(document, Mapping) else None
    if isinstance(error, str) and error:
        return ErrorObject(message=error, found=True, document=document)
    wrapped = isinstance(error, Mapping)
    if not wrapped:
        error = document
    if not isinstance(error, Mapping) or not any(to_word(error.get(name)) for name in SAYING):
        return ErrorObject(document=document)
    envelope = to_error_object(error, document)
    # In an event of a stream, which no proxy writes, the object may stand alone.
    is_own = (wrapped or response.status < 300) and is_of_api(envelope) and not is_of_proxy(envelope, response.headers)
    return attrs.evolve(envelope, own=error if is_own else None)


def to_error_object(error: Mapping[str, object], document: object) -> ErrorObject:
    return ErrorObject(
        message=next((text for name in MESSAGES if (text := to_word(error.get(name)))), ""),
        type=to_word(error.get("type")),
        code=to_word(error.get("code")),
        param=to_word(error.get("param")),
        found=True,
        document=document,
    )


def is_of_api(envelope: ErrorObject) -> bool:
    """Whether an error object has the fields of the API's own."""
    return bool(envelope.message.strip()) and (envelope.type is not None or envelope.code is not None)


def is_of_proxy(envelope: ErrorObject, headers: Mapping[str, str]) -> bool:
    """Whether an error object in the API's form is known to come from a proxy."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() == PROBLEM:
        return True
    if OF_A_PROXY.fullmatch(envelope.type or ""):
        return True
    return any(words in envelope.message for words in WORDS_OF_A_PROXY)


def to_word(value: object) -> str | None:
    """Return a text; gateways write numbers for codes, and an empty text or zero for what is absent."""
    is_word = isinstance(value, (str, int)) and not isinstance(value, bool) and value not in {"", 0}
    return str(value) if is_word else None
