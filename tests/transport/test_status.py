"""Statuses, headers and exceptions become this package's errors; then the same answers over a real socket."""

from __future__ import annotations

import json
import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from canned import canned_answers
from fakes import FakeClock

from burncloud_images import AsyncImagesClient, RetryPolicy, errors
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.errors import Phase

pytestmark = pytest.mark.ways("tls")

ONCE = RetryPolicy(attempts=1)


def envelope(message="m", **fields):
    return {"error": {"message": message, "type": "", "param": "", "code": "", **fields}}


# status, JSON or text, headers, expected class, what to look for
ANSWERS = [
    (400, envelope(code="invalid_value", param="size"), {}, errors.BadRequestError, {"param": "size"}),
    (400, envelope(code="moderation_blocked"), {}, errors.ModerationError, {"code": "moderation_blocked"}),
    (400, envelope(code="billing_hard_limit_reached"), {}, errors.QuotaExceededError, {}),
    (401, envelope("无效的令牌"), {}, errors.AuthenticationError, {}),
    (401, envelope("该令牌额度已用尽"), {}, errors.QuotaExceededError, {}),
    (403, envelope("用户额度不足", code="insufficient_user_quota"), {}, errors.QuotaExceededError, {}),
    (403, envelope("用户已被封禁"), {}, errors.PermissionDeniedError, {}),
    (402, envelope(type="insufficient_quota_error"), {}, errors.QuotaExceededError, {}),
    (404, envelope(code="model_not_found"), {}, errors.NotFoundError, {}),
    (410, "", {}, errors.UnsupportedError, {"code": None}),
    (429, "", {"Retry-After": "7"}, errors.RateLimitError, {"retry_after": 7.0}),
    (429, envelope(code=429), {"retry-after-ms": "1500"}, errors.RateLimitError, {"retry_after": 1.5, "code": "429"}),
    (429, envelope(type="insufficient_quota"), {}, errors.QuotaExceededError, {}),
    (500, envelope("model is required", code="invalid_request"), {}, errors.BadRequestError, {}),
    (500, envelope(type="server_error"), {}, errors.OutcomeUnknownError, {"status": 500}),
    (500, envelope(code="bad_response_body"), {}, errors.OutcomeUnknownError, {"status": 500}),
    (500, {"error": "out of order"}, {}, errors.OutcomeUnknownError, {"status": 500}),
    (502, "<html>", {}, errors.OutcomeUnknownError, {"raw": b"<html>"}),
    (503, envelope("无可用渠道", code="model_not_found"), {}, errors.NotFoundError, {}),
    (503, "<html>", {}, errors.OutcomeUnknownError, {}),
    (503, envelope(code="server_is_overloaded"), {}, errors.ServerError, {"code": "server_is_overloaded"}),
    (504, envelope(), {}, errors.OutcomeUnknownError, {}),
    (521, "", {}, errors.ConnectionFailedError, {"retryable": None}),
    (526, "", {}, errors.ConnectionFailedError, {"retryable": False}),
    (501, envelope(code="api_not_implemented"), {}, errors.UnsupportedError, {}),
    (307, "", {"Location": "http://127.0.0.1:9/x?sig=canary"}, errors.ProtocolError, {"status": 307}),
]


@pytest.fixture
def canned():
    with canned_answers() as answers:
        yield answers


@pytest.mark.parametrize(("status", "body", "headers", "kind", "attributes"), ANSWERS)
async def test_an_answer_becomes_its_error(canned, status, body, headers, kind, attributes):
    """The error class follows from the code, then the type, then the text, then the status."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    canned.answer(status, body=data, headers={"x-request-id": "r-1", **headers})
    async with AsyncImagesClient("sk-canary", "https://gateway.example", retry=ONCE) as client:
        with pytest.raises(kind) as caught:
            await client.generate("otter", model="m")

    assert kind is type(caught.value)
    assert attributes == {name: getattr(caught.value, name) for name in attributes}
    assert "r-1" in (caught.value.request_id, *(a.request_id for a in caught.value.history))
    assert "canary" not in str(caught.value)
    assert 1 == len(canned.requests)


@pytest.mark.parametrize(("status", "body", "headers", "kind", "attributes"), ANSWERS)
async def test_the_same_answer_over_a_socket(status, body, headers, kind, attributes):
    """Over a socket the same answer has the same class, with the phase of the connection."""
    fault = Fault(status=status, body=body or b"", headers={"x-request-id": "r-1", **headers})
    async with (
        Emulator(faults=[fault]) as emulator,
        AsyncImagesClient(emulator.api_key, emulator.base_url, retry=ONCE) as client,
    ):
        with pytest.raises(kind) as caught:
            await client.generate("otter", model="gpt-image-2")

    assert kind is type(caught.value)
    assert attributes == {name: getattr(caught.value, name) for name in attributes}
    assert Phase.COMPLETE == caught.value.phase
    assert 1 == len(emulator.ledger.requests)


KEY = ConnectionKey("gateway.example", 443, True, True, None, None, None)

# exception, whether the body was written, expected class, whether another attempt is pointless
EXCEPTIONS = [
    (aiohttp.ClientConnectorDNSError(KEY, OSError(-3, "Temporary failure in name resolution")), False, False),
    (aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "Connection refused")), False, False),
    (aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError(1, "self-signed")), False, True),
    (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "wrong version number")), False, True),
    (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLEOFError(8, "eof")), False, False),
    (aiohttp.ClientHttpProxyError(None, (), status=407), False, True),
    (aiohttp.ClientHttpProxyError(None, (), status=502), False, False),
    (aiohttp.ServerDisconnectedError(), False, False),
    (aiohttp.ClientOSError(104, "Connection reset by peer"), False, False),
    (aiohttp.ServerDisconnectedError(), True, None),
    (aiohttp.ClientOSError(104, "Connection reset by peer"), True, None),
    (aiohttp.ClientResponseError(None, (), status=400, message="Bad status line"), True, None),
    (aiohttp.ClientPayloadError("cut"), True, None),
    (TimeoutError(), True, None),
]


@pytest.mark.parametrize(("exception", "sent", "permanent"), EXCEPTIONS)
async def test_an_exception_is_judged_by_how_far_the_request_got(canned, exception, sent, permanent):
    """The phase decides what an exception means, because its class cannot."""
    canned.fail(exception, body_sent=sent)
    async with AsyncImagesClient("sk-canary", "https://gateway.example", clock=FakeClock()) as client:
        with pytest.raises(errors.ImagesError) as caught:
            await client.generate("otter", model="m")

    if sent:
        assert isinstance(caught.value, errors.OutcomeUnknownError)
        assert 1 == len(canned.requests)
    else:
        assert isinstance(caught.value, errors.ConnectionFailedError)
        assert permanent is (caught.value.retryable is False)
        assert (1 if permanent else 4) == len(canned.requests)
    assert "sk-canary" not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_name_that_nobody_knows_is_tried_once_more(canned):
    """A host name that does not resolve is tried once more, unless the host was reached before."""
    nameless = aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "Name or service not known"))
    canned.fail(nameless, body_sent=False, times=2)
    canned.answer(503, json=envelope(code="server_is_overloaded"), times=1)
    canned.fail(nameless, body_sent=False)
    async with AsyncImagesClient("sk-x", "https://gateway.example", clock=FakeClock()) as client:
        with pytest.raises(errors.ConnectionFailedError):
            await client.generate("otter", model="m")
        assert 2 == len(canned.requests)
        with pytest.raises(errors.ConnectionFailedError):
            await client.generate("otter", model="m")
        assert 6 == len(canned.requests)


async def test_only_answers_of_this_package_are_repeated(canned):
    """An exception of another kind is raised after one attempt."""
    canned.fail(MemoryError(), body_sent=False)
    async with AsyncImagesClient("sk-x", "https://gateway.example", clock=FakeClock()) as client:
        with pytest.raises(MemoryError):
            await client.generate("otter", model="m")

    assert 1 == len(canned.requests)


async def test_what_is_sent_with_every_request(canned):
    """Every request has the key and the idempotency key, and invites neither compression nor redirects."""
    canned.answer(503, json=envelope(code="server_is_overloaded"))
    async with AsyncImagesClient("sk-canary", "gateway.example/", clock=FakeClock()) as client:
        with pytest.raises(errors.ServerError):
            await client.generate("otter", model="m")

    assert 4 == len(canned.requests)
    assert 1 == len({request.headers["Idempotency-Key"] for request in canned.requests})
    for request in canned.requests:
        assert "https://gateway.example/v1/images/generations" == str(request.url)
        assert "Bearer sk-canary" == str(request.headers["Authorization"])
        assert "identity" == request.headers["Accept-Encoding"]
        assert request.headers["User-Agent"].startswith("burncloud-images")
        assert request.options["allow_redirects"] is False
        assert {"model": "m", "prompt": "otter"} == json.loads(request.body)
