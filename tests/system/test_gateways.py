"""How gateways are reached that differ from the API: paths and queries of their own, further headers, no key."""

from __future__ import annotations

import base64
import json
from contextlib import AsyncExitStack

import pytest
from pictures import png
from raw import answering, serve

from burncloud_images import AsyncImagesClient, Network, RetryPolicy, errors

ONCE = RetryPolicy(attempts=1)
CANARY = "canary-7d0f3a91"
BODY = json.dumps({"created": 1, "data": [{"b64_json": base64.b64encode(png()).decode()}]}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def split(request):
    """Return the target and the headers of a request."""
    head = request.partition(b"\r\n\r\n")[0].decode("latin-1")
    line, *rest = head.split("\r\n")
    return line.split(" ")[1], {
        name.lower(): value.strip() for name, _, value in (text.partition(":") for text in rest)
    }


async def ask(base_path, key="sk-test", **network):
    """Send one request, and return its target and headers."""
    async with serve(answering(ANSWER)) as raw:
        url = raw.url.removesuffix("/v1") + base_path
        async with AsyncImagesClient(key, url, network=Network(**network), retry=ONCE) as client:
            await client.generate("otter", model="m")
    return split(raw.requests[0])


TARGETS = {
    "": "/v1/images/generations",
    "/": "/v1/images/generations",
    "/v1/images/generations": "/v1/images/generations",
    "/api/v3": "/api/v3/images/generations",
    "/api/paas/v4/": "/api/paas/v4/images/generations",
    "/v1beta/openai/": "/v1beta/openai/images/generations",
    "/openai/deployments/otter?api-version=2026-01-01": (
        "/openai/deployments/otter/images/generations?api-version=2026-01-01"
    ),
    "?code=a%2Fb": "/v1/images/generations?code=a%2Fb",
}


@pytest.mark.parametrize(("base_path", "target"), TARGETS.items())
async def test_a_base_url_is_taken_as_the_gateway_documents_it(base_path, target):
    """A path of the gateway's own gets no version, and its query is sent behind the endpoint."""
    assert target == (await ask(base_path))[0]


async def test_further_headers_and_a_query_are_sent():
    """Each request carries what the gateway wants beside the key."""
    target, headers = await ask("/v1", headers={"X-Tenant": "otters"}, query={"api-version": "2026-01-01"})

    assert "/v1/images/generations?api-version=2026-01-01" == target
    assert ("otters", "Bearer sk-test") == (headers["x-tenant"], headers["authorization"])


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
async def test_credentials_of_the_users_own_take_the_place_of_the_key(name):
    """A gateway that knows its users otherwise gets no second set of credentials."""
    _, headers = await ask("/v1", headers={name: "Basic b3R0ZXI6"})

    assert "Basic b3R0ZXI6" == headers["authorization"]


@pytest.mark.parametrize("key", [None, False])
async def test_this_machine_needs_no_key(key):
    """Local servers know no keys, so none has to be made up."""
    _, headers = await ask("/v1", key=key)

    assert "authorization" not in headers


async def test_another_machine_needs_a_key_or_a_word():
    """Elsewhere a missing key is a mistake, unless a header says who the user is or the caller wants none."""
    with pytest.raises(errors.ConfigurationError, match="There is no API key"):
        AsyncImagesClient(base_url="https://api.example")
    with pytest.raises(errors.ConfigurationError, match="There is no API key"):
        AsyncImagesClient(base_url="https://api.example", network=Network(headers={"X-Tenant": "otters"}))

    for options in ({"api_key": False}, {"network": Network(headers={"api-key": CANARY})}):
        assert "https://api.example/v1" == AsyncImagesClient(base_url="https://api.example", **options).base_url


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": CANARY},
        {"Content-Length": CANARY},
        {"Idempotency-Key": CANARY},
        {"X Tenant": CANARY},
        {"X-Tenant": f"{CANARY}\r\nX-Evil: 1"},
        {"X-Tenant": f"{CANARY}\u5bc6"},
    ],
)
def test_headers_that_cannot_be_sent_are_refused(headers):
    """The client's own headers, and what no header can carry, are refused without showing a value."""
    with pytest.raises(errors.ConfigurationError, match=r"Network\.headers") as caught:
        Network(headers=headers)

    assert CANARY not in str(caught.value)


async def test_no_value_is_shown():
    """What a gateway wants beside the key may be as secret as the key."""
    network = Network(headers={"api-key": CANARY}, query={"code": CANARY})
    client = AsyncImagesClient(False, f"https://api.example/v1?sig={CANARY}", network=network)

    assert CANARY not in f"{network!r} {client!r} {client._settings!r} {client.base_url}"


SPELLINGS = {
    "relative": "/files/otter.png",
    "without a scheme": "//{host}/files/otter.png",
    "with a space": "{root}/files/my otter.png",
    "with a line end": "{root}/files/otter.png\n",
    "localhost": "http://localhost:{port}/files/otter.png",
    "127.0.0.1": "http://127.0.0.1:{port}/files/otter.png",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_result_url_may_be_spelled_in_many_ways(host, spelling):
    """A result lies where a browser would find it, and this machine has many names."""

    async def handle(_reader, writer, request):
        if request.startswith(b"POST"):
            url = SPELLINGS[spelling].format(root=f"http://{host}:{raw.port}", host=f"{host}:{raw.port}", port=raw.port)
            body, kind = json.dumps({"data": [{"url": url}]}).encode(), "application/json"
        else:
            body, kind = png(), "image/png"
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    async with AsyncExitStack() as stack:
        raw = await stack.enter_async_context(serve(handle, plain=True))
        client = await stack.enter_async_context(AsyncImagesClient("sk-test", f"http://{host}:{raw.port}", retry=ONCE))
        result = await client.generate("otter", model="m")

    assert png() == result.image.data
    assert "/files/" in result.image.url


@pytest.mark.parametrize(
    "network",
    [
        {"headers": {"api-key": CANARY}},
        {"headers": {"Authorization": f"Basic {CANARY}"}},
        {"query": {"code": CANARY}},
    ],
)
@pytest.mark.parametrize("status", [200, 401, 500])
async def test_what_a_server_echoes_of_them_is_masked(network, status):
    """Credentials beside the key are masked like it, whatever answer a server writes them into."""
    told = json.dumps({"error": {"message": f"bad key {CANARY}", "type": "t", "code": CANARY}}).encode()
    head = f"HTTP/1.1 {status} X\r\nX-Echo: {CANARY}\r\nContent-Length: {len(told)}\r\n\r\n".encode()
    async with AsyncExitStack() as stack:
        raw = await stack.enter_async_context(serve(answering(head + told)))
        client = AsyncImagesClient(False, raw.url, network=Network(**network), retry=ONCE)
        await stack.enter_async_context(client)
        with pytest.raises(errors.ImagesError) as caught:
            await client.generate("otter", model="m")

    error = caught.value
    assert CANARY.encode() in raw.requests[0]
    assert CANARY not in f"{error} {error!r} {vars(error)} {error.history}"


async def test_a_tenant_is_not_a_secret():
    """Values that are not credentials by their name are words, and words of an answer stay."""
    body = BODY.replace(b'"created": 1', b'"created": 1, "background": "production"')
    async with serve(
        answering(ANSWER.partition(b"Content-Length")[0] + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    ) as raw:
        network = Network(headers={"X-Tenant": "production"})
        async with AsyncImagesClient("sk-test", raw.url, network=network, retry=ONCE) as client:
            result = await client.generate("otter", model="m")

    assert "production" == result.background


async def test_results_of_other_hosts_get_none_of_them():
    """A result is fetched without the API's headers and query, wherever it lies."""
    image = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n%s" % (len(png()), png())
    async with serve(answering(image)) as store:
        made = json.dumps({"data": [{"url": f"{store.url.removesuffix('/v1')}/otter.png"}]}).encode()
        async with serve(
            answering(ANSWER.partition(b"Content-Length")[0] + b"Content-Length: %d\r\n\r\n" % len(made) + made)
        ) as raw:
            network = Network(headers={"api-key": CANARY}, query={"code": CANARY}, allowed_result_hosts=("127.0.0.1",))
            async with AsyncImagesClient("sk-test", raw.url, network=network, retry=ONCE) as client:
                await client.generate("otter", model="m")

    assert CANARY.encode() in raw.requests[0]
    assert CANARY.encode() not in store.requests[0]
