"""Answers before they are sent, and the API's error envelope."""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs


@attrs.frozen(kw_only=True)
class HTTPAnswer:
    """
    An HTTP answer that has not been sent yet.

    Attributes:
        body: Bytes, whole.
        pieces: Pieces of a stream, which has no body; None if the answer is not a stream.
        headers: Without the length.
    """

    status: int = 200
    body: bytes = b""
    pieces: tuple[bytes, ...] | None = None
    headers: Mapping[str, str] = attrs.field(factory=lambda: {"Content-Type": "application/json"})


class RefusedRequest(Exception):  # noqa: N818 (an answer on its way, not a defect)
    """The request is not served; the arguments become the API's error envelope."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int = 400,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.answer = HTTPAnswer(status=status, body=envelope(message, kind, param, code))


def envelope(message: str, kind: str, param: str | None = None, code: str | None = None) -> bytes:
    """Return an error in the API's form."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return json.dumps({"error": error}, ensure_ascii=False).encode()


USUAL_ERRORS: Mapping[int, tuple[str, str, str | None]] = {
    400: ("The request is not valid.", "invalid_request_error", "invalid_value"),
    401: ("The API key is not valid.", "invalid_request_error", "invalid_api_key"),
    402: ("The account has no credit left.", "insufficient_quota_error", "insufficient_quota"),
    403: ("The key may not use this model.", "invalid_request_error", None),
    404: ("The model does not exist.", "invalid_request_error", "model_not_found"),
    410: ("The model has been retired.", "invalid_request_error", None),
    429: ("Rate limit reached; wait and try again.", "rate_limit_error", "rate_limit_exceeded"),
    500: ("Something went wrong here.", "server_error", None),
    503: ("The server is overloaded; try again later.", "service_unavailable_error", "server_is_overloaded"),
}
"""Message, type and code for each status, as far as documented; used when a fault gives no body."""


def fault_body(status: int, *, billed: bool = False) -> bytes:
    """Return the API's error body for *status*. A billed request never gets a capacity error such as 503's."""
    if status < 400:
        return b""
    nearest = 500 if status > 500 else 400
    usual = USUAL_ERRORS.get(status) if not (billed and status > 500) else None
    message, kind, code = usual or USUAL_ERRORS[nearest]
    return envelope(message, kind, None, code)
