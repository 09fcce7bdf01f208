"""Each gateway's answer over a real socket: its images, what it cost, and what is known of money."""

from __future__ import annotations

import base64
import warnings

import pytest
from gateway_answers import ANSWERS
from pictures import png
from raw import serve

from burncloud_images import AsyncImagesClient, GenerationRequest, RetryPolicy, errors

PICTURE = png()
TEXT = base64.b64encode(PICTURE)


def write(status, content_type, body):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


async def ask(said, *, via_stream):
    """Return the result of a request that is answered with *said*, or its error."""
    body = said.body.replace(b"PNG", PICTURE if said.body == b"PNG" else TEXT)

    async def reply(_reader, writer, request):
        if request.startswith(b"GET"):
            writer.write(write("200 OK", "image/png", PICTURE))
        else:
            writer.write(write("200 OK", said.content_type, body))
        await writer.drain()

    async with serve(reply) as raw, AsyncImagesClient("sk", raw.url, retry=RetryPolicy(attempts=1)) as client:
        try:
            return await client.send(GenerationRequest("otter", model="m", n=said.wanted), via_stream=via_stream)
        except errors.ImagesError as error:
            return error


@pytest.mark.sampled(3)
@pytest.mark.parametrize("via_stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_of_a_gateway_is_understood(name, via_stream):
    """Images, refusals and costs are found in each form, whatever was asked for."""
    said = ANSWERS[name]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        outcome = await ask(said, via_stream=via_stream)

    if said.error is not None:
        assert (said.error, said.billed) == (type(outcome).__name__, outcome.billed.name)
        return
    assert [PICTURE] * said.images == [image.data for image in outcome.images]
    assert said.refused == tuple(refusal.index for refusal in outcome.refused)
    assert len(said.refused) == sum("was refused" in str(warning.message) for warning in seen)
    assert said.cost == (outcome.cost.amount if outcome.cost is not None else None)
