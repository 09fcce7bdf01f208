"""
What the codes and texts of errors mean, as tables: each row names the class, which says what the caller can do.

Codes are compared without case and punctuation, since `content_filter`, `contentFilter` and `ContentFilter` are one.
A code with a dot, such as `Throttling.RateQuota`, is looked up as a whole and then by what stands before the dot.
Numbers mean something else on each server: those of MiniMax and Baidu are named by the field that they stand in.

Source: the error references of the providers that are named beside the rows, as published in November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeAlias

import attrs

from burncloud_images.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ModerationError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    UnsupportedError,
)

Kind: TypeAlias = type[APIError]

BASE_RESP = "base_resp:"
"""Before the codes of MiniMax, which stand in `base_resp.status_code`."""
ERROR_CODE = "error_code:"
"""Before the codes of Baidu, which stand in `error_code`."""

# Of each class, the codes by server.
CODES_OF: Mapping[Kind, tuple[str, ...]] = {
    QuotaExceededError: (
        # OpenAI and Azure
        *("insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached", "quota_exceeded"),
        *("organization_spend_limit_exceeded", "project_spend_limit_exceeded"),
        *("organization_usage_limit_exceeded", "project_usage_limit_exceeded", "billing_not_active"),
        # new-api
        *("insufficient_user_quota", "pre_consume_token_quota_failed"),
        # Zhipu: arrears, the limits of a day, of a plan, of a week or month, and a plan that has ended
        *("1113", "1304", "1308", "1309", "1310"),
        # Volcengine Ark
        *("AccountOverdueError", "SetLimitExceeded", "QuotaExceeded", "OperationDenied.ServiceOverdue"),
        # DashScope
        *("Arrearage", "AllocationQuota", "CommodityNotPurchased", "PrepaidBillOverdue", "PostpaidBillOverdue"),
        # Tencent
        *("ResourceUnavailable.InArrears", "ResourceUnavailable.LowBalance", "ResourcesSoldOut.ChargeStatusException"),
        # LiteLLM, Moonshot, Groq, SiliconFlow, Together, Stability, Recraft, Cloudflare, Google
        *("budget_exceeded", "exceeded_current_quota_error", "blocked_api_access", "30001", "credit_limit"),
        *("insufficient_balance", "payment_required", "not_enough_credits", "insufficient_credits", "3036"),
        *("BILLING_DISABLED", "billing_error", "insufficient_funds", "balance_insufficient"),
        # MiniMax: balance, and the limit of a plan; Baidu: the limits of a day and of all requests
        *("base_resp:1008", "base_resp:2056", "error_code:17", "error_code:19"),
    ),
    ModerationError: (
        # OpenAI, Azure, new-api, xAI
        *("moderation_blocked", "content_policy_violation", "sensitive_words_detected", "prompt_blocked"),
        *("content_filter", "ResponsibleAIPolicyViolation", "violation_fee", "content_filtered"),
        # Zhipu
        "1301",
        # Volcengine Ark, of the prompt and of the result
        *("SensitiveContentDetected", "InputTextSensitiveContentDetected", "InputImageSensitiveContentDetected"),
        *("InputVideoSensitiveContentDetected", "InputAudioSensitiveContentDetected", "RiskDetection"),
        *("OutputTextSensitiveContentDetected", "OutputImageSensitiveContentDetected"),
        *("OutputVideoSensitiveContentDetected", "OutputAudioSensitiveContentDetected"),
        *("ContentSecurityDetectionError", "content_security"),
        # DashScope
        *("DataInspectionFailed", "IPInfringementSuspect", "FaqRuleBlocked", "CustomRoleBlocked"),
        # Tencent
        *("OperationDenied.TextIllegalDetected", "OperationDenied.ImageIllegalDetected"),
        *("FailedOperation.TextIllegalDetected", "FailedOperation.ImageIllegalDetected"),
        *("FailedOperation.ModerationFailed", "FailedOperation.ModerationNoImage"),
        # Google, Stability, StepFun, Together, Cloudflare
        *("SAFETY", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "content_moderation", "invalid_prompts"),
        *("censorship_blocked", "nsfw_content", "nsfw_detected", "nsfw", "3030", "content_moderated"),
        *("request_moderated", "moderation_error", "flagged_input", "safety_violation"),
        # MiniMax and Baidu
        *("base_resp:1026", "base_resp:1027", "error_code:282004", "error_code:216303", "error_code:336104"),
    ),
    AuthenticationError: (
        *("invalid_api_key", "missing_token", "invalid_token", "token_expired", "incorrect_api_key"),
        *("authentication_error", "invalid_authentication_error", "incorrect_api_key_error", "unauthorized"),
        *("API_KEY_INVALID", "UNAUTHENTICATED", "invalid_iam_token", "InvalidApiKey", "AuthFailure"),
        *("base_resp:1004", "base_resp:2049", "error_code:110", "error_code:111"),
    ),
    PermissionDeniedError: (
        *("permission_error", "permission_denied", "permission_denied_error", "access_denied"),
        *("1110", "1111", "1112", "1120", "1220", "1311", "1313"),  # Zhipu: the account or the plan
        *("OperationDenied", "ModelNotOpen", "InvalidAccountStatus", "UnauthorizedOperation"),
        *("Model.AccessDenied", "Workspace.AccessDenied", "App.AccessDenied", "SERVICE_DISABLED"),
        *("API_KEY_SERVICE_BLOCKED", "organization_restricted", "unsupported_country_region_territory"),
        *("base_resp:2061", "error_code:6"),
    ),
    RateLimitError: (
        *("rate_limit_exceeded", "slow_down", "rate_limit_error", "rate_limited", "rate_limit_reached_error"),
        *("RESOURCE_EXHAUSTED", "dynamic_request_limited", "too_many_requests"),
        *("1302", "1303", "1305", "1312"),  # Zhipu
        *("AccountRateLimitExceeded", "RequestBurstTooFast", "ModelAccountRpmRateLimitExceeded"),
        *("ModelAccountTpmRateLimitExceeded", "ModelAccountIpmRateLimitExceeded", "APIAccountRpmRateLimitExceeded"),
        "InflightBatchsizeExceeded",
        *("Throttling", "LimitRequests", "limit_burst_rate", "LimitBurstRate", "RequestLimitExceeded"),
        *("LimitExceeded", "rpm_rate_limit_exceeded", "tpm_rate_limit_exceeded", "user_rate_limit_exceeded"),
        *("base_resp:1002", "base_resp:1039", "base_resp:1041", "base_resp:2045", "error_code:4", "error_code:18"),
    ),
    ServerError: (
        *("server_is_overloaded", "no_available_channels", "rate_budget_exhausted"),
        *("base_resp:1000", "base_resp:1001", "base_resp:1013", "base_resp:1033"),
        *("error_code:336000", "error_code:336100", "error_code:282000"),
    ),
    NotFoundError: (
        *("model_not_found", "DeploymentNotFound", "ModelNotFound", "resource_not_found_error", "model_not_available"),
        *("1211", "1222", "20012", "InvalidEndpointOrModel", "NOT_FOUND", "invalid_model"),
    ),
    UnsupportedError: (
        *("api_not_implemented", "no_available_channel", "model_price_error", "UnsupportedModel"),
        *("1212", "1221", "OperationNotSupported", "model_not_supported", "UnsupportedOperation"),
    ),
    BadRequestError: (
        *("invalid_request", "convert_request_failed", "invalid_value", "read_request_body_failed", "body_read_error"),
        *("base_resp:2013", "error_code:100", "error_code:336002", "error_code:336003", "error_code:336103"),
    ),
}


@lru_cache(maxsize=256)
def normalize(code: str) -> str:
    """Return *code* as codes are compared."""
    prefix, colon, _ = code.partition(":")
    if colon and f"{prefix}:" in {BASE_RESP, ERROR_CODE}:
        return code
    return re.sub(r"[^a-z0-9.]", "", code.casefold())


CODES: Mapping[str, Kind] = {normalize(code): kind for kind, codes in CODES_OF.items() for code in codes}
# Types of an error say less than its code, which is looked up first.
TYPES: Mapping[str, Kind] = {
    normalize(name): kind
    for name, kind in {
        "insufficient_quota_error": QuotaExceededError,
        "billing_limit_user_error": QuotaExceededError,
        "service_unavailable_error": ServerError,
    }.items()
}

# The classes that the status of an error within an answer of success may stand for, in words or as `code`.
INNER_STATUS: Mapping[str, Kind] = {
    "401": AuthenticationError,
    "402": QuotaExceededError,
    "403": PermissionDeniedError,
    "404": NotFoundError,
    "429": RateLimitError,
}

# new-api and other Chinese gateways, mostly with an empty code: what it says, what that is, and what it means.
BY_TEXT: tuple[tuple[str, Kind, str], ...] = (
    ("额度已用尽", QuotaExceededError, "the key's quota is used up"),
    ("额度不足", QuotaExceededError, "the account is out of money"),
    ("余额不足", QuotaExceededError, "the balance is too low"),
    ("余额已用", QuotaExceededError, "the balance is used up"),
    ("欠费", QuotaExceededError, "the account is in arrears"),
    ("积分不足", QuotaExceededError, "there are too few credits"),
    ("点数不足", QuotaExceededError, "there are too few points"),
    ("请充值", QuotaExceededError, "the account needs a top-up"),
    ("餘額不足", QuotaExceededError, "the balance is too low, in traditional characters"),
    ("未提供令牌", AuthenticationError, "no key was sent"),
    ("无效的令牌", AuthenticationError, "the key is unknown"),
    ("令牌已过期", AuthenticationError, "the key has expired"),
    ("令牌状态不可用", AuthenticationError, "the key is disabled"),
    ("身份验证失败", AuthenticationError, "authentication failed"),
    ("IP 不在令牌允许", PermissionDeniedError, "this address is not allowed for the key"),
    ("用户已被封禁", PermissionDeniedError, "the user is banned"),
    ("账户已被锁定", PermissionDeniedError, "the account is locked"),
    ("账户被禁用", PermissionDeniedError, "the account is disabled"),
    ("无权访问", PermissionDeniedError, "the key may not use this model or group"),
    ("不支持指定渠道", PermissionDeniedError, "the key holds a dash, which is for administrators"),
    ("无可用渠道", NotFoundError, "the gateway does not serve this model"),
    ("模型不存在", NotFoundError, "there is no such model"),
    ("未指定模型名称", BadRequestError, "no model was named"),
    ("请求数限制", RateLimitError, "too many requests"),
    ("请求频率", RateLimitError, "requests come too often"),
    ("速率限制", RateLimitError, "the rate of requests is limited"),
    ("请求过于频繁", RateLimitError, "requests come too often; send fewer"),
    ("并发数", RateLimitError, "too many requests at once"),
    ("敏感", ModerationError, "the content is sensitive"),
    ("违规", ModerationError, "the content breaks the rules"),
    ("不安全", ModerationError, "the content is unsafe"),
    ("审核未通过", ModerationError, "the content was refused by a review"),
    ("内容安全", ModerationError, "the content was refused by a safety check"),
    ("无效的请求", BadRequestError, "the request is invalid"),
)


@attrs.frozen
class Phrase:
    """
    What an English text means that comes without a code.

    Attributes:
        kind: The class.
        pattern: Found anywhere in the text.
        statuses: Where it is looked for: a text may echo a prompt, so the status has to agree.
    """

    kind: Kind
    pattern: re.Pattern[str]
    statuses: frozenset[int]


def phrase(kind: Kind, statuses: Iterable[int], *patterns: str) -> Phrase:
    return Phrase(kind, re.compile("|".join(patterns), re.IGNORECASE), frozenset(statuses))


MONEY = r"(?:balance|credits?|funds?|quota|tokens? quota)"
# The first that fits counts: an account may be suspended because it has not paid.
PHRASES = (
    phrase(
        QuotaExceededError,
        (200, 400, 401, 402, 403, 412, 429, 500, 503),
        rf"insufficient[^.]{{0,40}}\b{MONEY}\b",
        rf"\b{MONEY}\b[^.]{{0,30}}(?:insufficient|exhausted|not enough|used up|depleted|(?:too|is) low|r[ua]n out)",
        rf"\b(?:not enough|exhausted|out of|no|zero|any|used all available)\b (?:available |account |your )?{MONEY}\b",
        r"\b(?:spend(?:ing)?|credit|billing(?: hard)?) limit\b",
        r"budget has been exceeded|exceeded ?budget|\bover budget\b|budget (?:is )?exceeded",
        r"exceeded your (?:current quota|monthly included credits)",
        r"\boverdue\b|\bin arrears\b|\barrearage\b|unpaid (?:bill|invoice|balance)|past[- ]due",
        r"(?:top[- ]up|recharge) (?:your|the) (?:account|balance|credits?|wallet)|payment (?:is )?required",
        r"purchase (?:more )?credits|used up your daily free",
    ),
    phrase(
        PermissionDeniedError,
        (200, 400, 401, 403),
        r"\b(?:account|organi[sz]ation|user|team)\b[^.]{0,40}\b(?:suspended|banned|disabled|deactivated|locked)\b",
    ),
    phrase(
        AuthenticationError,
        (200, 400, 403),
        r"\b(?:invalid|incorrect|expired|missing|wrong|unknown)\b[^.]{0,20}\b(?:api|access)?[ _-]?(?:key|token)\b",
        r"\bapi[ _-]?key\b[^.]{0,20}\b(?:invalid|not valid|expired|missing|incorrect)\b",
    ),
    phrase(
        ModerationError,
        (200, 400, 403, 406, 422, 451, 500),
        r"\bcontent[ _-](?:moderation|filter(?:ing)?|polic(?:y|ies)|checker|safety)\b",
        r"\b(?:rejected|flagged|blocked|refused|denied)\b[^.]{0,60}\b(?:safety|moderation|sensitive|polic(?:y|ies))\b",
        r"\bsafety (?:system|filters?|checks?|checker|polic(?:y|ies)|guidelines?)\b|\bnsfw\b|SAFETY_CHECK_TYPE",
        r"\b(?:inappropriate|prohibited|sensitive|unsafe|harmful) (?:content|words?|images?|material)\b",
        r"\bviolat\w*\b[^.]{0,60}\b(?:polic(?:y|ies)|guidelines?|terms)\b|responsible ai|flagged as sensitive",
    ),
    phrase(
        RateLimitError,
        (200, 400, 403, 420),
        r"\brate[ _-]?limit(?:ed|s)?\b|\btoo many requests\b|\bthrottl(?:ed|ing)\b",
    ),
    phrase(
        NotFoundError,
        (200, 400),
        r"\bmodel\b[^.]{0,80}\b(?:does not exist|doesn't exist|not found|unknown)\b|\b(?:no such|unknown) model\b",
    ),
)

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


def find_by_code(codes: Iterable[str], types: Iterable[str] = ()) -> Kind | None:
    """Return the class of the first of *codes* that is known, or else of *types*; None if none is."""
    for code in codes:
        if kind := look_up(normalize(code), CODES):
            return kind
    for name in types:
        if kind := look_up(normalize(name), CODES) or look_up(normalize(name), TYPES):
            return kind
    return None


def look_up(code: str, table: Mapping[str, Kind]) -> Kind | None:
    return table.get(code) or table.get(code.partition(".")[0])


def find_by_text(text: str, status: int) -> tuple[Kind, str] | None:
    """Return the class that a text tells, and what it means in English if it is not; None if it tells none."""
    for words, kind, meaning in BY_TEXT:
        if words in text:
            return kind, meaning
    status = 200 if status < 300 else status
    found = next((one for one in PHRASES if status in one.statuses and one.pattern.search(text)), None)
    return (found.kind, "") if found is not None else None


def find_by_status(status: int) -> Kind:
    """Return the class of a status, which every error has."""
    default: Kind = ServerError if status >= 500 or status < 400 else BadRequestError
    return BY_STATUS.get(status, default)
