"""
What an answer with an error means: its class, its bill, whether it is sent again, a job's verdict, an exit code.

All levels read this one table, and each checks its column: `wire.failures` the class and the bill, `retry` the verdicts
on another attempt, `bulk.error_outcomes` that of a job, `cli.exit_codes` the exit code. Client and emulator play the
rows over a connection. What intermediaries answer after the work has a table of its own, `intermediaries`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import attrs
import pytest

from burncloud_images import errors
from burncloud_images.bulk.error_outcomes import Verdict as JobVerdict
from burncloud_images.emulator import Fault
from burncloud_images.emulator.errors import fault_body
from burncloud_images.errors import Billing, Phase
from burncloud_images.model.operations import Operation
from burncloud_images.retry import RetryPolicy, Verdict
from burncloud_images.wire.dialects import find_dialect
from burncloud_images.wire.failures import ErrorResponse

__all__ = ["ROWS", "Meaning", "Row", "by_id", "to_parameters"]

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

T = TypeVar("T")

GATEWAY = "https://ai.burncloud.com/v1"


@attrs.frozen(kw_only=True)
class Meaning:
    """
    What a failure comes to on each level.

    Attributes:
        error: Class of the error.
        billed: What the error says about money.
        verdict: Whether the request is sent again.
        replayed: The same, if the server is known to recognise keys.
        job: What becomes of a job's request.
        exit: Exit code of the command line.
    """

    error: type[errors.ImagesError]
    billed: Billing = Billing.NO
    verdict: Verdict = "stop"
    replayed: Verdict = attrs.field(default=attrs.Factory(lambda meaning: meaning.verdict, takes_self=True))
    job: JobVerdict
    exit: int


UNKNOWN = Meaning(error=errors.OutcomeUnknownError, billed=Billing.MAYBE, replayed="retry", job="doubt", exit=10)
UNKNOWN_FOR_GOOD = attrs.evolve(UNKNOWN, replayed="stop")
IN_FLIGHT = attrs.evolve(UNKNOWN, verdict="throttled", replayed="throttled")
KEY_USED = Meaning(error=errors.BadRequestError, billed=Billing.MAYBE, job="doubt", exit=10)
REFUSED_CONTENT = Meaning(error=errors.ModerationError, billed=Billing.MAYBE, job="fail_billed", exit=9)
BAD_REQUEST = Meaning(error=errors.BadRequestError, job="fail", exit=1)
NOT_FOUND = Meaning(error=errors.NotFoundError, job="fail", exit=1)
UNSUPPORTED = Meaning(error=errors.UnsupportedError, job="fail", exit=1)
NO_KEY = Meaning(error=errors.AuthenticationError, job="authentication", exit=4)
NOT_ALLOWED = Meaning(error=errors.PermissionDeniedError, job="fail", exit=4)
NO_MONEY = Meaning(error=errors.QuotaExceededError, job="quota", exit=5)
THROTTLED = Meaning(error=errors.RateLimitError, verdict="throttled", job="later", exit=6)
FAILED = Meaning(error=errors.ServerError, verdict="retry", job="again", exit=1)
UNREACHED = Meaning(error=errors.ConnectionFailedError, verdict="retry", job="later", exit=6)
UNREACHABLE = Meaning(error=errors.ConnectionFailedError, job="gave_up", exit=6)
REDIRECTED = Meaning(error=errors.ProtocolError, job="fail", exit=1)
# An error in an answer of success: the images may have been made before it.
BEGUN = {"billed": Billing.MAYBE, "job": "doubt", "exit": 10}
FAILED_LATE = Meaning(error=errors.ServerError, replayed="retry", **BEGUN)
THROTTLED_LATE = Meaning(error=errors.RateLimitError, replayed="retry", **BEGUN)
NO_MONEY_LATE = Meaning(error=errors.QuotaExceededError, **BEGUN)

Body = str | bytes | Mapping[str, object] | None


@attrs.frozen
class Row:
    """
    One answer, and what it means.

    Attributes:
        id: In words.
        status: HTTP status.
        body: What it says; None for the error that the API writes with this status.
        means: What follows.
        source: Where the rule comes from.
        headers: Of the answer.
        early: Whether it comes before the whole request was sent.
        dialect: What the server is known as.
        trust_errors: Whether the caller vouches for its errors.
        operation: What was requested; None for what costs nothing.
        began: What an answer of success had said about money before.
        attributes: What else is on the error.
    """

    id: str
    status: int
    body: Body
    means: Meaning
    source: str = attrs.field(kw_only=True)
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    early: bool = attrs.field(default=False, kw_only=True)
    dialect: str | None = attrs.field(default=None, kw_only=True)
    trust_errors: bool = attrs.field(default=False, kw_only=True)
    operation: Operation | None = attrs.field(default="generations", kw_only=True)
    began: Billing = attrs.field(default=Billing.NO, kw_only=True)
    attributes: Mapping[str, object] = attrs.field(factory=dict, kw_only=True)

    @property
    def data(self) -> bytes:
        """The body's bytes."""
        if self.body is None:
            return fault_body(self.status)
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()

    @property
    def reply(self) -> ErrorResponse:
        """The answer as the client reads it."""
        return ErrorResponse(
            status=self.status,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.data,
            phase=Phase.BODY if self.early else Phase.STATUS,
            operation=self.operation,
            dialect=find_dialect(GATEWAY, self.dialect) if self.dialect else None,
            trust_errors=self.trust_errors,
            billed=self.began,
        )

    @property
    def is_playable(self) -> bool:
        """Whether a server can give it to a call: one that is billed, and whose answer of success has begun."""
        return self.operation is not None and (self.status >= 300 or self.began is not Billing.NO)

    @property
    def billings(self) -> tuple[bool, ...]:
        """Whether a server that gives this answer has billed the request; both may be if the answer does not tell."""
        if self.status < 300:
            return (True,)
        return (True, False) if self.means.error is errors.OutcomeUnknownError and not self.is_in_flight else (False,)

    @property
    def is_in_flight(self) -> bool:
        """Whether the server is still working on an earlier attempt."""
        return self.means is IN_FLIGHT

    def fault(self, **options: object) -> Fault:
        """Return what makes an emulator give this answer once."""
        place = {"place": "before-body"} if self.early else {}
        return Fault(**{"status": self.status, "body": self.body, "headers": self.headers, **place, **options})

    def policy(self, **options: object) -> RetryPolicy:
        """Return a retry policy that trusts errors as the row says."""
        return RetryPolicy(trust_errors=self.trust_errors, **options)


def said(message: str = "no", **fields: object) -> Mapping[str, object]:
    """Return an error object with all of the API's fields."""
    return {"error": {"message": message, "type": "", "param": "", "code": "", **fields}}


def coded(code: str) -> Mapping[str, object]:
    """Return an error object as gateways write it, with a code alone."""
    return {"error": {"message": "m", "code": code}}


def each(statuses: Sequence[int], name: str, body: Body, means: Meaning, **about: object) -> list[Row]:
    """Return a row for each status."""
    return [Row(f"{status} {name}".rstrip(), status, body, means, **about) for status in statuses]


def gemini(code: int, status: str, message: str = "m", *, reason: str = "", violations: Sequence[object] = ()) -> str:
    """Return an error as Gemini's OpenAI-compatible endpoint writes it: in a list."""
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "violations": violations}]
    return json.dumps([{"error": {"code": code, "message": message, "status": status, "details": details}}])


def tencent(code: str) -> Mapping[str, object]:
    """Return an error as Tencent writes it, in an answer of success."""
    return {"Response": {"Error": {"Code": code, "Message": "m"}, "RequestId": "r"}}


PAGE = "<html>"
SPENT = "Your team has either used all available credits or reached its monthly spending limit."
PER_DAY = ({"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"},)
ON_OUTPUT = {"moderation_stage": "output", "categories": ["violence"]}
OVERLOADED = said(type="service_unavailable_error", code="server_is_overloaded")
UPSTREAM = said(type="server_error")
FALSE, TRUE = {"x-should-retry": "false"}, {"x-should-retry": "true"}
KNOWN, TRUSTED = {"dialect": "burncloud"}, {"trust_errors": True}

CODES = "platform.openai.com/docs/guides/error-codes: API errors"
RETRIES = "openai-python 3.54.0, _base_client.py: _should_retry reads x-should-retry first"
NEW_API = "QuantumNous/new-api: types/error.go, middleware/auth.go, middleware/model-rate-limit.go"
DISTRIBUTOR = "QuantumNous/new-api: middleware/distributor.go chooses a channel before anything is sent"
UNDO = "QuantumNous/new-api: controller/relay.go gives back what it reserved, whatever the error was"
ROUTER = "burncloud: crates/router/src/lib.rs rejects with these before it chooses an upstream"
KEYS = "draft-ietf-httpapi-idempotency-key-header-07 §2.7"
HTTP = "RFC 9110 §15.5, §15.6"
REDIRECTS = "RFC 9110 §15.4; a redirect is not followed, since body and key would travel along"
EARLY_DATA = "RFC 8470 §5.2: the request was not processed"
ORIGIN = "developers.cloudflare.com: Cloudflare 5xx errors"
NGINX = "nginx: 499 is a client that closed; AIP-193: 499 is a cancelled call"
ENGINES = "docs.coreweave.com: API error code 503, the engine cannot process the request"
LITELLM = "docs.litellm.ai/docs/proxy/error_reference: The error payload"
PROBLEM = "RFC 9457: problem details are written by what stands between"
PROVIDERS = "the error reference of the provider, November 2026"
UNSURE = "nobody says that nothing was billed: proxies answer so after the work as well"
RETIRED = "platform.openai.com/docs/deprecations: dall-e-2, and with it variations"
HUNDREDS = "RFC 9110 §15: an unknown status counts as the x00 of its class"

ROWS: tuple[Row, ...] = (
    # --- the request, its content, the key and the account -----------------------------------------------------------
    Row("moderation", 400, said(code="moderation_blocked"), REFUSED_CONTENT, source=CODES),
    Row("moderation by a code alone", 400, coded("moderation_blocked"), REFUSED_CONTENT, source=CODES),
    Row("content policy", 400, said(code="content_policy_violation"), REFUSED_CONTENT, source=CODES),
    Row("sensitive words", 500, said(code="sensitive_words_detected"), REFUSED_CONTENT, source=NEW_API),
    *each((400, 405, 413, 415, 422), "", said(), BAD_REQUEST, source=HTTP),
    *each((400, 405, 413, 415, 422), "of the API", None, BAD_REQUEST, source=CODES),
    Row(
        "wrong size",
        400,
        said(code="invalid_value", param="size"),
        BAD_REQUEST,
        source=CODES,
        attributes={"param": "size"},
    ),
    Row("498 unknown", 498, UPSTREAM, BAD_REQUEST, source=HUNDREDS),
    Row("418 in words", 418, said("无效的请求"), BAD_REQUEST, source=NEW_API),
    Row("404", 404, said(), NOT_FOUND, source=HTTP),
    Row("404 of the API", 404, None, NOT_FOUND, source=CODES),
    Row("404 unknown model", 404, said(code="model_not_found"), NOT_FOUND, source=CODES),
    Row("410", 410, "", UNSUPPORTED, source=HTTP, attributes={"code": None}),
    Row("410 of the API", 410, None, UNSUPPORTED, source=CODES),
    Row("401", 401, said(), NO_KEY, source=HTTP),
    Row("401 of the API", 401, None, NO_KEY, source=CODES),
    Row("401 in words", 401, said("无效的令牌"), NO_KEY, source=NEW_API),
    Row("403", 403, said(), NOT_ALLOWED, source=HTTP),
    Row("403 of the API", 403, None, NOT_ALLOWED, source=CODES),
    Row("403 in words", 403, said("用户已被封禁"), NOT_ALLOWED, source=NEW_API),
    Row("402 page", 402, PAGE, NO_MONEY, source=HTTP),
    Row("402 of the API", 402, None, NO_MONEY, source=CODES),
    Row("402 type", 402, said(type="insufficient_quota_error"), NO_MONEY, source=ROUTER),
    Row("429 quota", 429, said(code="insufficient_quota"), NO_MONEY, source=CODES, headers={"retry-after": "1"}),
    Row("429 quota by a code alone", 429, coded("insufficient_quota"), NO_MONEY, source=CODES),
    Row("429 quota by type", 429, said(type="insufficient_quota"), NO_MONEY, source=CODES),
    Row("429 quota exceeded", 429, said(code="quota_exceeded"), NO_MONEY, source=CODES),
    Row("400 hard limit", 400, said(code="billing_hard_limit_reached"), NO_MONEY, source=CODES),
    Row("400 hard limit by a code alone", 400, coded("billing_hard_limit_reached"), NO_MONEY, source=CODES),
    Row("403 quota of a user", 403, said(code="insufficient_user_quota"), NO_MONEY, source=NEW_API),
    Row("403 quota in words", 403, said("用户额度不足", code="insufficient_user_quota"), NO_MONEY, source=NEW_API),
    Row("403 quota of a token", 403, said(code="pre_consume_token_quota_failed"), NO_MONEY, source=NEW_API),
    Row("401 quota in words", 401, said("该令牌额度已用尽"), NO_MONEY, source=NEW_API),
    # --- providers behind gateways -----------------------------------------------------------------------------------
    *[
        Row(f"{name} ({status})", status, body, means, source=PROVIDERS)
        for means, answers in (
            (
                NO_MONEY,
                (
                    ("Zhipu arrears", 429, {"error": {"code": "1113", "message": "您的账户已欠费"}}),
                    ("Zhipu arrears as a number", 429, {"error": {"code": 1113, "message": "x"}}),
                    ("Zhipu limit of a plan", 429, coded("1308")),
                    ("xAI spent", 429, {"code": "Some resource has been exhausted", "error": SPENT}),
                    ("xAI without credits", 403, {"code": "no", "error": "Your team doesn't have any credits yet."}),
                    ("Ark limit", 429, said(code="SetLimitExceeded", type="TooManyRequests")),
                    ("Ark overdue", 403, said(code="AccountOverdueError", type="Forbidden")),
                    ("SiliconFlow balance", 403, {"code": 30001, "message": "balance is insufficient", "data": None}),
                    ("balance in words", 403, {"code": 1, "message": "Sorry, your account balance is insufficient"}),
                    ("new-api balance", 403, said("用户余额不足, 请充值", type="new_api_error")),
                    ("DashScope arrears", 400, {"code": "Arrearage", "message": "Access denied", "request_id": "r"}),
                    ("DashScope free tier", 403, {"code": "AllocationQuota.FreeTierOnly", "message": "exhausted"}),
                    ("LiteLLM budget", 400, said("Budget has been exceeded!", type="budget_exceeded", code="400")),
                    ("LiteLLM budget in words", 400, said("ExceededBudget: User=x over budget.", code="400")),
                    ("Gemini quota of a day", 429, gemini(429, "RESOURCE_EXHAUSTED", violations=PER_DAY)),
                    ("OpenRouter credits", 402, said("Insufficient credits", code=402)),
                    ("fal balance", 403, {"detail": "User is locked. Reason: Exhausted balance. Top up your balance."}),
                    ("Together credit", 402, said("Credit limit exceeded", type="credit_limit")),
                    ("Fireworks suspended", 412, said("suspended, possibly due to reaching the spending limit")),
                    ("Stability credits", 402, {"name": "payment_required", "errors": ["You lack credits."]}),
                    (
                        "Replicate credit",
                        402,
                        {"title": "Insufficient credit", "detail": "You have insufficient credit"},
                    ),
                    ("Groq spend limit", 403, coded("blocked_api_access")),
                    ("Moonshot quota", 429, said(type="exceeded_current_quota_error")),
                    ("DeepSeek balance", 402, said("Insufficient Balance", code="invalid_request_error")),
                    ("Hugging Face", 429, {"error": "You have exceeded your monthly included credits."}),
                    ("Cloudflare neurons", 429, {"success": False, "errors": [{"code": 3036, "message": "used"}]}),
                    ("Recraft credits", 400, {"code": "not_enough_credits", "message": "no"}),
                    ("balance in GBK", 403, "账户余额不足".encode("gbk")),
                    ("balance in Big5", 403, "帳戶餘額不足, 請儲值後再試".encode("big5")),
                    ("MiniMax balance", 200, {"base_resp": {"status_code": 1008, "status_msg": "insufficient"}}),
                    ("Baidu limit of a day", 200, {"error_code": 17, "error_msg": "daily request limit reached"}),
                    ("Tencent arrears", 200, tencent("ResourceUnavailable.InArrears")),
                    ("payment asked for within", 200, {"code": 402, "msg": "pay first", "data": None}),
                ),
            ),
            (
                REFUSED_CONTENT,
                (
                    ("Zhipu unsafe", 400, coded("1301")),
                    ("Ark prompt", 400, said(code="InputTextSensitiveContentDetected")),
                    ("Ark prompt by policy", 400, said(code="InputTextSensitiveContentDetected.PolicyViolation")),
                    ("Ark result", 400, said(code="OutputImageSensitiveContentDetected")),
                    (
                        "Volcengine risk",
                        400,
                        {"ResponseMetadata": {"Error": {"Code": "RiskDetection", "Message": "x"}}},
                    ),
                    ("DashScope inspection", 400, {"code": "DataInspectionFailed", "message": "x"}),
                    ("DashScope as OpenAI", 400, said(code="data_inspection_failed")),
                    (
                        "xAI refused",
                        400,
                        {"code": "invalid", "error": "Generated image rejected by content moderation."},
                    ),
                    ("xAI safety", 403, {"code": "x", "error": "Failed check: SAFETY_CHECK_TYPE_BIO"}),
                    ("xAI fee", 403, said(code="violation_fee.grok.other")),
                    ("Azure filter", 400, coded("contentFilter")),
                    ("Azure filter, other spelling", 400, coded("content_filter")),
                    ("Azure policy within", 400, said(code="x", innererror={"code": "ResponsibleAIPolicyViolation"})),
                    ("Azure policy, older", 400, said(inner_error={"code": "ResponsibleAIPolicyViolation"})),
                    ("OpenAI in words", 400, said("rejected as a result of our safety system")),
                    ("OpenAI result", 400, said(code="moderation_blocked", moderation_details=ON_OUTPUT)),
                    ("OpenRouter flagged", 403, said(code=403, metadata={"reasons": ["violence"]})),
                    (
                        "fal policy",
                        422,
                        {"detail": [{"loc": ["body"], "msg": "x", "type": "content_policy_violation"}]},
                    ),
                    ("Together", 422, coded("nsfw_content")),
                    ("Stability", 403, {"name": "content_moderation", "errors": ["flagged"]}),
                    ("Moonshot", 400, said(type="content_filter")),
                    ("StepFun", 451, said(type="censorship_blocked")),
                    ("Replicate", 400, {"detail": "The input or output was flagged as sensitive. (E005)"}),
                    ("MiniMax prompt", 200, {"base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}}),
                    ("MiniMax result", 200, {"base_resp": {"status_code": 1027, "status_msg": "output new_sensitive"}}),
                    ("Tencent", 200, tencent("OperationDenied.TextIllegalDetected")),
                ),
            ),
            (
                THROTTLED,
                (
                    ("Zhipu at once", 429, coded("1302")),
                    ("Ark requests a minute", 429, said(code="RateLimitExceeded.EndpointRPMExceeded")),
                    ("DashScope tokens a minute", 429, {"code": "Throttling.AllocationQuota", "message": "exceeded"}),
                    ("Azure rate", 429, said("have exceeded call rate limit of your current tier.", code="429")),
                    ("Gemini quota of a minute", 429, gemini(429, "RESOURCE_EXHAUSTED")),
                    ("OpenRouter free models", 429, said("Rate limit exceeded: free-models-per-min.", code=429)),
                    ("Replicate throttled", 429, {"detail": "Request was throttled."}),
                    (
                        "Mistral rate",
                        429,
                        {"object": "error", "message": "exceeded", "type": "rate_limited", "code": "1300"},
                    ),
                    ("Groq tokens", 429, said(code="rate_limit_exceeded", type="tokens")),
                    ("Moonshot rate", 429, said(type="rate_limit_reached_error")),
                    ("Moonshot engine", 429, said(type="engine_overloaded_error")),
                    ("a rate limit called a bad request", 400, {"message": "rate limit reached"}),
                    ("MiniMax rate", 200, {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}),
                    ("Baidu rate", 200, {"error_code": 18, "error_msg": "qps request limit reached"}),
                    ("Tencent rate", 200, tencent("RequestLimitExceeded.JobNumExceed")),
                    ("a status within", 200, {"code": 429, "msg": "slow down", "data": None}),
                ),
            ),
            (
                NO_KEY,
                (
                    ("Gemini key", 400, gemini(400, "INVALID_ARGUMENT", reason="API_KEY_INVALID")),
                    ("Gemini key in words", 400, gemini(400, "INVALID_ARGUMENT", "API key not valid.")),
                    ("OAuth", 401, {"error": "invalid_token", "error_description": "The token has expired"}),
                    ("MiniMax key", 200, {"base_resp": {"status_code": 1004, "status_msg": "login fail"}}),
                    ("Baidu key", 200, {"error_code": 110, "error_msg": "Access token invalid"}),
                    ("Tencent key", 200, tencent("AuthFailure.SignatureFailure")),
                ),
            ),
            (
                NOT_ALLOWED,
                (
                    ("Zhipu locked", 429, coded("1112")),
                    ("Gemini permission", 403, gemini(403, "PERMISSION_DENIED")),
                    ("Ark model not open", 404, said(code="ModelNotOpen")),
                    ("DashScope access", 403, {"code": "AccessDenied.Unpurchased", "message": "x"}),
                    ("Groq restricted", 400, coded("organization_restricted")),
                ),
            ),
            (
                NOT_FOUND,
                (
                    ("Azure deployment", 404, coded("DeploymentNotFound")),
                    ("SiliconFlow model", 400, {"code": 20012, "message": "Model does not exist.", "data": None}),
                    ("Ark endpoint", 404, said(code="InvalidEndpointOrModel.NotFound")),
                ),
            ),
            (
                BAD_REQUEST,
                (
                    ("Gemini argument", 400, gemini(400, "INVALID_ARGUMENT")),
                    ("FastAPI", 422, {"detail": [{"loc": ["body", "size"], "msg": "wrong", "type": "value_error"}]}),
                    ("a prompt that speaks of money", 422, {"detail": "prompt: 'insufficient balance' is too long"}),
                    ("MiniMax parameter", 200, {"base_resp": {"status_code": 2013, "status_msg": "invalid params"}}),
                    ("Baidu parameter", 200, {"error_code": "336003", "error_msg": "the prompt is too long"}),
                ),
            ),
            (
                UNKNOWN,
                (
                    ("Gemini internal", 500, gemini(500, "INTERNAL")),
                    ("xAI overloaded", 503, {"code": "unavailable", "error": "The service is out of capacity"}),
                    ("balance without an envelope", 502, {"message": "insufficient balance"}),
                    ("a page about a rate limit", 503, "<title>rate limit</title>"),
                ),
            ),
            (
                FAILED_LATE,
                (
                    ("MiniMax unknown", 200, {"base_resp": {"status_code": 1000, "status_msg": "unknown error"}}),
                    ("Baidu internal", 200, {"error_code": 336000, "error_msg": "Internal error"}),
                ),
            ),
        )
        for name, status, body in answers
    ],
    # --- too many requests -------------------------------------------------------------------------------------------
    Row("429", 429, said(), THROTTLED, source=HTTP),
    Row("429 of the API", 429, None, THROTTLED, source=CODES),
    Row(
        "429 empty",
        429,
        "",
        THROTTLED,
        source=NEW_API,
        headers={"retry-after": "7"},
        attributes={"retry_after": 7.0},
    ),
    Row("429 empty without a wait", 429, "", THROTTLED, source=NEW_API),
    Row(
        "429 a number as code",
        429,
        said(code=429),
        THROTTLED,
        source=NEW_API,
        headers={"retry-after-ms": "1500"},
        attributes={"retry_after": 1.5, "code": "429"},
    ),
    Row("429 no image", 429, b'{"data": [1, {"url": ""}], "error": {}}', THROTTLED, source=UNSURE),
    Row("503 slow_down", 503, said(code="slow_down"), THROTTLED, source=CODES),
    Row("503 slow_down by a code alone", 503, coded("slow_down"), THROTTLED, source=CODES),
    Row(
        "429 not to be retried",
        429,
        said(),
        attrs.evolve(THROTTLED, verdict="stop", replayed="stop"),
        source=RETRIES,
        headers=FALSE,
    ),
    # --- nobody waits any more, or it is still being worked on -------------------------------------------------------
    Row("408 before the body", 408, PAGE, UNREACHED, source=HTTP, early=True),
    Row("408", 408, said(), UNKNOWN, source=UNSURE),
    Row("408 page", 408, PAGE, UNKNOWN, source=UNSURE),
    *[
        Row(f"{status} beside {name}", status, body, UNKNOWN, source=UNSURE, **KNOWN)
        for status in (400, 429, 500)
        for name, body in (
            ("an address", {"data": [{"url": "https://x"}]}),
            ("an image", {**UPSTREAM, "data": [{}, {"b64_json": "iVBO"}]}),
        )
    ],
    Row("499 cancelled", 499, said(), UNKNOWN, source=NGINX, **KNOWN),
    Row("409 key in use", 409, said(code="idempotency_key_in_use"), IN_FLIGHT, source=KEYS),
    Row("409 key in use by a code alone", 409, coded("idempotency_key_in_use"), IN_FLIGHT, source=KEYS),
    Row("409 key in use in words", 409, said("Idempotency: still in progress"), IN_FLIGHT, source=KEYS),
    Row("409 of a download", 409, said(code="idempotency_in_flight"), BAD_REQUEST, source=KEYS, operation=None),
    Row("409 otherwise", 409, said(code="conflict"), BAD_REQUEST, source=HTTP),
    Row("409 otherwise by a code alone", 409, coded("conflict"), BAD_REQUEST, source=HTTP),
    Row(
        "409 not to be retried",
        409,
        said(code="idempotency_key_in_use"),
        UNKNOWN_FOR_GOOD,
        source=RETRIES,
        headers=FALSE,
    ),
    Row("422 key reused", 422, said(code="idempotency_key_reuse"), KEY_USED, source=KEYS),
    Row("422 key reused by a code alone", 422, coded("idempotency_key_reuse"), KEY_USED, source=KEYS),
    Row("425 page", 425, PAGE, FAILED, source=EARLY_DATA),
    # --- the work was refused before it began ------------------------------------------------------------------------
    *[
        Row(f"503 {code}", 503, said(code=code), FAILED, source=source)
        for code, source in (
            ("server_is_overloaded", CODES),
            ("engine_overloaded", ENGINES),
            ("no_available_channels", ROUTER),
            ("get_channel_failed", DISTRIBUTOR),
        )
    ],
    *[
        Row(f"503 {code} by a code alone", 503, coded(code), FAILED, source=source)
        for code, source in (
            ("server_is_overloaded", CODES),
            ("engine_overloaded", ENGINES),
            ("no_available_channels", ROUTER),
            ("get_channel_failed", DISTRIBUTOR),
        )
    ],
    Row("503 of the API", 503, None, FAILED, source=CODES, attributes={"code": "server_is_overloaded"}),
    Row("503 engine by type", 503, said(type="engine_overloaded_error"), FAILED, source=ENGINES),
    Row("500 overloaded", 500, OVERLOADED, FAILED, source=CODES),
    Row("500 overloaded by a code alone", 500, coded("server_is_overloaded"), FAILED, source=CODES),
    Row("503 unknown model", 503, said(code="model_not_found"), NOT_FOUND, source=DISTRIBUTOR),
    Row("503 unknown model in words", 503, said("无可用渠道", code="model_not_found"), NOT_FOUND, source=DISTRIBUTOR),
    Row("500 invalid request", 500, said(code="invalid_request"), BAD_REQUEST, source=NEW_API),
    Row("500 invalid request by a code alone", 500, coded("invalid_request"), BAD_REQUEST, source=NEW_API),
    Row("500 conversion", 500, said(code="convert_request_failed"), BAD_REQUEST, source=NEW_API),
    # --- servers that fail -------------------------------------------------------------------------------------------
    Row("503 page", 503, PAGE, UNKNOWN, source=UNSURE),
    Row("503 empty", 503, "", UNKNOWN, source=UNSURE),
    Row("503 page with Retry-After", 503, PAGE, UNKNOWN, source=UNSURE, headers={"retry-after": "2"}),
    Row("503 page before the body", 503, PAGE, UNREACHED, source=HTTP, early=True),
    *each((500, 502, 503, 529, 599), "as JSON", UPSTREAM, UNKNOWN, source=UNSURE),
    *each((500, 502, 529), "of the API", None, UNKNOWN, source=UNSURE),
    *[
        row
        for name, about, source in (("known", KNOWN, UNDO), ("trusted", TRUSTED, "the caller's word"))
        for row in each((500, 502, 503, 529, 599), f"as JSON, {name}", UPSTREAM, FAILED, source=source, **about)
    ],
    *[
        Row(f"502 {form}, {name}", 502, body, UNKNOWN, source=source, headers=headers, **about)
        for name, about in (("known", KNOWN), ("trusted", TRUSTED))
        for form, body, headers, source in (
            ("page", PAGE, {}, UNSURE),
            ("of LiteLLM", said("litellm.APIError: x", type="server_error"), {}, LITELLM),
            ("of Cloudflare", said(type="cf_bad_gateway"), {}, ORIGIN),
            ("problem details", UPSTREAM, {"content-type": "Application/Problem+JSON; charset=utf-8"}, PROBLEM),
            ("without a message", said("", type="server_error"), {}, UNSURE),
            ("without type and code", said(), {}, UNSURE),
            ("with zero as code", said(code=0), {}, UNSURE),
            ("as text", {"error": "upstream failed"}, {}, UNSURE),
            ("without an envelope", {"message": "no", "type": "t", "param": "", "code": "c"}, {}, UNSURE),
            ("of FastAPI", {"detail": "no"}, {}, UNSURE),
        )
    ],
    Row(
        "500 known by other fields",
        500,
        {"error": {"message": "no", "type": "server_error"}},
        UNKNOWN,
        source=UNDO,
        **KNOWN,
    ),
    Row("500 as text", 500, {"error": "out of order"}, UNKNOWN, source=UNSURE),
    *[
        Row(f"500 {code}, known", 500, said(code=code), UNKNOWN, source=NEW_API, **KNOWN)
        for code in ("bad_response_body", "do_request_failed")
    ],
    *[
        Row(f"500 {code}", 500, said(code=code), UNKNOWN, source=NEW_API)
        for code in (
            "bad_response_body",
            "close_response_body_failed",
            "do_request_failed",
            "read_response_body_failed",
            "unmarshal_response_body_failed",
        )
    ],
    Row("500 bad_response_body by a code alone", 500, coded("bad_response_body"), UNKNOWN, source=NEW_API),
    *[
        row
        for form, body, about in (
            ("page", PAGE, {}),
            ("as JSON", UPSTREAM, {}),
            ("overloaded", OVERLOADED, {}),
            ("as JSON, known", UPSTREAM, KNOWN),
            ("as JSON, trusted", UPSTREAM, TRUSTED),
        )
        for row in each((504, 520, 522, 524), form, body, UNKNOWN, source=ORIGIN, **about)
    ],
    *each((504, 524), "of the API", None, UNKNOWN, source=UNSURE),
    Row("504 without type and code", 504, said(), UNKNOWN, source=UNSURE),
    *each((500, 502, 529), "page", PAGE, UNKNOWN, source=UNSURE),
    *[
        row
        for form, body in (("empty", ""), ("other JSON", {"ok": False}), ("number", "5"))
        for row in each((500, 502, 520, 524, 529), form, body, UNKNOWN, source=UNSURE)
    ],
    *each((521, 523, 525), "page", PAGE, UNREACHED, source=ORIGIN, attributes={"retryable": None}),
    *each((521, 523, 525, 526), "as JSON", UPSTREAM, UNKNOWN, source=UNSURE),
    Row("521 empty", 521, "", UNREACHED, source=ORIGIN),
    Row("526 page", 526, PAGE, UNREACHABLE, source=ORIGIN, attributes={"retryable": False}),
    Row("526 empty", 526, "", UNREACHABLE, source=ORIGIN),
    *each((501, 505), "page", PAGE, UNSUPPORTED, source=HTTP),
    Row("501 of the API", 501, None, UNSUPPORTED, source=HTTP),
    Row("501 as JSON", 501, said(code="api_not_implemented"), UNSUPPORTED, source=NEW_API),
    # --- what the server says about another attempt ------------------------------------------------------------------
    Row(
        "503 not to be retried",
        503,
        OVERLOADED,
        attrs.evolve(FAILED, verdict="stop", replayed="stop"),
        source=RETRIES,
        headers=FALSE,
    ),
    Row("521 not to be retried", 521, PAGE, UNREACHABLE, source=RETRIES, headers=FALSE),
    Row("504 not to be retried", 504, PAGE, UNKNOWN_FOR_GOOD, source=RETRIES, headers=FALSE),
    Row(
        "400 to be retried",
        400,
        said(),
        attrs.evolve(BAD_REQUEST, verdict="retry", replayed="retry"),
        source=RETRIES,
        headers=TRUE,
    ),
    Row("500 to be retried", 500, said(), UNKNOWN, source=RETRIES, headers=TRUE),
    Row("503 to be retried", 503, UPSTREAM, UNKNOWN, source=RETRIES, headers=TRUE),
    Row("504 to be retried", 504, PAGE, UNKNOWN, source=RETRIES, headers=TRUE),
    # --- redirects ---------------------------------------------------------------------------------------------------
    *each((300, 301, 302, 307, 308), "redirect", PAGE, REDIRECTED, source=REDIRECTS),
    Row("303 redirect", 303, PAGE, attrs.evolve(REDIRECTED, billed=Billing.MAYBE, job="fail_billed"), source=REDIRECTS),
    *[
        Row(
            f"{status} redirect elsewhere",
            status,
            "",
            REDIRECTED,
            source=REDIRECTS,
            headers={"location": "http://127.0.0.1:9/x?sig=canary"},
            attributes={"status": status},
        )
        for status in (301, 302, 307, 308)
    ],
    # --- errors in answers of success --------------------------------------------------------------------------------
    Row("200 failed", 200, UPSTREAM, FAILED_LATE, source=UNSURE),
    Row("200 failed, begun", 200, UPSTREAM, FAILED_LATE, source=UNSURE, began=Billing.MAYBE),
    Row("200 overloaded", 200, OVERLOADED, FAILED, source=CODES),
    Row("200 overloaded, begun", 200, OVERLOADED, FAILED_LATE, source=UNSURE, began=Billing.MAYBE),
    Row("200 moderation", 200, said(code="moderation_blocked"), REFUSED_CONTENT, source=CODES),
    Row(
        "200 moderation, begun",
        200,
        said(code="moderation_blocked"),
        REFUSED_CONTENT,
        source=CODES,
        began=Billing.MAYBE,
    ),
    Row("200 throttled", 200, said(code="rate_limit_exceeded"), THROTTLED, source=CODES),
    Row(
        "200 throttled, begun",
        200,
        said(code="rate_limit_exceeded"),
        THROTTLED_LATE,
        source=UNSURE,
        began=Billing.MAYBE,
    ),
    Row("200 quota, begun", 200, said(code="insufficient_quota"), NO_MONEY_LATE, source=UNSURE, began=Billing.MAYBE),
    # --- variations --------------------------------------------------------------------------------------------------
    Row("variation without a model", 400, said("未指定模型名称"), UNSUPPORTED, source=NEW_API, operation="variations"),
    *[
        Row(f"variation {status}", status, PAGE, UNSUPPORTED, source=RETIRED, operation="variations")
        for status in (404, 410, 501)
    ],
    Row("variation unknown model", 404, said(code="model_not_found"), NOT_FOUND, source=CODES, operation="variations"),
    Row("variation 400", 400, said(), BAD_REQUEST, source=HTTP, operation="variations"),
    Row("variation 403", 403, said(), NOT_ALLOWED, source=HTTP, operation="variations"),
)

by_id: Mapping[str, Row] = {row.id: row for row in ROWS}


def to_parameters(cases: Iterable[T], alike: Callable[[T], Hashable], name: Callable[[T], str]) -> list[ParameterSet]:
    """Return *cases* for tests over a connection; those that are alike to one before are slow."""
    seen: set[Hashable] = set()
    found = []
    for case in cases:
        marks = [pytest.mark.slow] if alike(case) in seen else []
        seen.add(alike(case))
        values = case if isinstance(case, tuple) else (case,)
        found.append(pytest.param(*values, id=name(case), marks=marks))
    return found
