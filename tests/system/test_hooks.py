"""Hooks of a call that raise: the call ends, and what is paid is not lost with it."""

import pytest

from burncloud_images import CallHooks, GenerationRequest
from burncloud_images.emulator import Fault
from burncloud_images.errors import Billing, OutcomeUnknownError, find_billing
from burncloud_images.model.media import examine_bytes

FIELDS = {"base64": {"model": "gpt-image-2", "size": "1024x640"}, "URL": {"model": "dall-e-2", "size": "256x256"}}


class Mistake(Exception):  # noqa: N818
    """Raised by a hook."""


class Raising(CallHooks):
    """Raises in one of its methods."""

    def __init__(self, name):
        async def fail(*_args):
            raise Mistake

        setattr(self, name, fail)


@pytest.mark.parametrize(("kind", "name"), [("base64", "after_attempt"), ("URL", "after_attempt"), ("URL", "on_links")])
async def test_images_outlive_a_hook_that_raises(set_up, kind, name):
    """A paid image is kept on the exception of a hook that is called after it came."""
    bench = await set_up()
    with pytest.raises(Mistake) as caught:
        await bench.client.send(GenerationRequest("otter", **FIELDS[kind]), hooks=Raising(name))

    assert (1, 1) == (bench.posts, bench.billed)
    assert examine_bytes(caught.value.result.image.data).complete
    assert Billing.YES == find_billing(caught.value)
    assert ["The call itself succeeded: its result, which is paid for, is this exception's .result."] == (
        caught.value.__notes__
    )


async def test_a_hook_that_raises_before_an_attempt_costs_nothing(set_up):
    """Nothing is sent after a hook refused an attempt."""
    bench = await set_up()
    with pytest.raises(Mistake):
        await bench.client.send(GenerationRequest("otter", **FIELDS["base64"]), hooks=Raising("before_attempt"))

    assert 0 == bench.posts


async def test_images_of_a_failed_attempt_outlive_a_hook_that_raises(set_up):
    """What an attempt brought before it failed is on the cause of what its hook raised."""
    bench = await set_up(Fault(cut="reset", place="answer", byte=0.75))
    with pytest.raises(Mistake) as caught:
        await bench.client.send(
            GenerationRequest("otter", n=2, **FIELDS["base64"]), hooks=Raising("after_attempt"), idempotency_key="mine"
        )
    cause = caught.value.__cause__

    assert (1, 1) == (bench.posts, bench.billed)
    assert (Billing.YES, OutcomeUnknownError) == (find_billing(caught.value), type(cause))
    assert ("mine", 1) == (cause.idempotency_key, len(cause.history))
    assert examine_bytes(cause.images[0].data).complete


async def test_a_hook_that_raises_as_an_answer_begins_says_that_it_may_be_billed(set_up):
    """The request was sent, and no image has come yet."""
    bench = await set_up()
    with pytest.raises(Mistake) as caught:
        await bench.client.send(GenerationRequest("otter", **FIELDS["base64"]), hooks=Raising("on_response"))

    assert (1, Billing.MAYBE) == (bench.billed, find_billing(caught.value))
