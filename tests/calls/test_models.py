"""Listing the models: free, so an answer that was cut is requested again, and never said to have been billed."""

from __future__ import annotations

import json

import pytest
from fakes import FakeClock
from raw import serve

from burncloud_images import AsyncImagesClient, errors
from burncloud_images.calls.models import MAX_BYTES

LIST = json.dumps({"object": "list", "data": [{"id": "gpt-image-2"}, {"id": "dall-e-2"}]}).encode()


class Gateway:
    """Answers each request with the next body, and keeps the last one; the end of a connection ends a body."""

    def __init__(self, *bodies, length=None):
        self.bodies = list(bodies)
        self.length = length
        self.requests = 0

    async def __call__(self, _reader, writer, _request):
        self.requests += 1
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        length = b"" if self.length is None else b"Content-Length: %d\r\n" % self.length
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sConnection: close\r\n\r\n" % length + body
        )
        await writer.drain()
        writer.close()


async def list_models(gateway):
    async with serve(gateway) as raw, AsyncImagesClient("sk-canary", raw.url, clock=FakeClock()) as client:
        return [model.id for model in await client.models()]


@pytest.mark.parametrize("length", [None, len(LIST)], ids=["no length", "length"])
async def test_a_list_that_was_cut_is_requested_again(length):
    """Half a list is requested again, whether or not the answer announced its length."""
    gateway = Gateway(LIST[: len(LIST) // 2], LIST, length=length)

    assert ["gpt-image-2", "dall-e-2"] == await list_models(gateway)
    assert 2 == gateway.requests


@pytest.mark.parametrize("length", [None, len(LIST)], ids=["no length", "length"])
async def test_a_list_that_is_always_cut_was_not_billed(length):
    """After four attempts the error says that the list did not arrive, and that nothing was billed."""
    gateway = Gateway(LIST[: len(LIST) // 2], length=length)
    with pytest.raises(errors.ConnectionFailedError) as caught:
        await list_models(gateway)

    assert 4 == gateway.requests
    assert errors.Billing.NO is caught.value.billed
    assert "Nothing was billed." in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        [{"id": "gpt-image-2"}, {"id": "dall-e-2"}],
        ["gpt-image-2", "dall-e-2"],
        {"models": [{"name": "gpt-image-2"}, {"name": "dall-e-2"}]},
        {"success": True, "data": {"models": ["gpt-image-2", "dall-e-2"]}},
        {"data": {"gpt-image-2": {"owned_by": "x"}, "dall-e-2": {}}},
        [{"model": "gpt-image-2"}, None, 3, {"id": ""}, {"id": "dall-e-2"}],
    ],
)
async def test_a_list_of_another_form_is_read(document):
    """A list of models has names in it, wherever the server puts them."""
    assert ["gpt-image-2", "dall-e-2"] == await list_models(Gateway(json.dumps(document).encode()))


async def test_a_bare_list_that_was_cut_is_requested_again():
    """A list without an object around it may be cut, too."""
    gateway = Gateway(b'[{"id": "gpt-image-2"}, {"id"', b'["gpt-image-2"]')
    assert ["gpt-image-2"] == await list_models(gateway)
    assert 2 == gateway.requests


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"data": 1}', b"3", b""])
async def test_another_document_is_not_requested_again(body):
    """An answer that is whole and not a list of models is raised at once, with its bytes and without talk of images."""
    gateway = Gateway(body)
    with pytest.raises(errors.ProtocolError) as caught:
        await list_models(gateway)

    assert (1, body) == (gateway.requests, caught.value.raw)
    assert str(caught.value).startswith("The answer does not hold a list of models. Nothing was billed.")
    assert ".images" not in str(caught.value)


async def test_a_list_that_is_too_large_is_refused():
    """A list of 16 MiB and more is not read to its end."""
    with pytest.raises(errors.ProtocolError, match="larger than 16,777,216 bytes"):
        await list_models(Gateway(b'{"data": [' + b" " * MAX_BYTES))
