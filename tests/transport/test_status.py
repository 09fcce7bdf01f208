"""Statuses, headers and exceptions become this package's errors."""

from __future__ import annotations

import json
import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from canned import canned_answers
from fakes import FakeClock
from statuses import ROWS

from burncloud_images import AsyncImagesClient, RetryPolicy, errors

pytestmark = pytest.mark.ways("tls")

ONCE = RetryPolicy(attempts=1)


def envelope(message="m", **fields):
    return {"error": {"message": message, "type": "", "param": "", "code": "", **fields}}


@pytest.fixture
def canned():
    with canned_answers() as answers:
        yield answers


# Uploads need a connection.
ANSWERS = [row for row in ROWS if row.is_playable and not row.early and row.operation != "variations"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row.id)
async def test_an_answer_becomes_its_error(canned, row):
    """A call raises the error that the answer means, with the server's id and without a secret."""
    canned.answer(row.status, body=row.data, headers={"x-request-id": "r-1", **row.headers})
    options = {"retry": row.policy(attempts=1), "dialect": row.dialect}
    async with AsyncImagesClient("sk-canary", "https://gateway.example", **options) as client:
        with pytest.raises(row.means.error) as caught:
            await client.generate("otter", model="m")

    assert (row.means.error, row.means.billed) == (type(caught.value), caught.value.billed)
    assert row.attributes == {name: getattr(caught.value, name) for name in row.attributes}
    assert "r-1" in (caught.value.request_id, *(a.request_id for a in caught.value.history))
    assert "canary" not in str(caught.value)
    assert 1 == len(canned.requests)


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
