"""Answers of intermediaries after the work, over a socket: one request, one bill, and nobody is told otherwise."""

from __future__ import annotations

import pytest
from intermediaries import AFTER_THE_WORK, REFUSALS

from burncloud_images import GenerationRequest, errors
from burncloud_images.emulator import Fault
from burncloud_images.errors import SENTENCES, Billing

SMALL = {"model": "gpt-image-2", "size": "1024x640"}


def after_the_work(answer):
    return Fault(status=answer.status, headers=answer.headers, body=answer.body, billed=True, times=None)


async def receive(client):
    async with client.stream(GenerationRequest("otter", **SMALL)) as images:
        return [image async for image in images]


CALLS = {
    "generate": lambda client: client.generate("otter", **SMALL),
    "keep alive": lambda client: client.send(GenerationRequest("otter", **SMALL), via_stream=True),
    "stream": receive,
}


@pytest.mark.sampled(5)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("answer", AFTER_THE_WORK, ids=lambda answer: answer.vendor)
async def test_what_was_paid_for_is_not_bought_again(set_up, answer, call):
    """An answer after the work leads to one request, whose error says that it may have been billed."""
    bench = await set_up(after_the_work(answer))
    with pytest.raises(errors.OutcomeUnknownError) as caught:
        await call(bench.client)

    assert (1, 1) == (bench.posts, bench.billed)
    assert Billing.MAYBE is caught.value.billed
    assert SENTENCES[Billing.MAYBE] in str(caught.value)


@pytest.mark.parametrize("refusal", [row for row in REFUSALS if row.again], ids=lambda refusal: refusal.name)
async def test_what_was_refused_before_the_work_is_sent_again(set_up, refusal):
    """A refusal before the work is retried, and billed once."""
    bench = await set_up(Fault(status=refusal.status, body={"error": refusal.error}), dialect=refusal.dialect)
    await bench.client.generate("otter", **SMALL)

    assert (2, 1) == (bench.posts, bench.billed)
