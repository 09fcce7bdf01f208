"""Hooks of a call that raise: the call ends, and what is paid is not lost with it."""

import pytest

from burncloud_images import CallHooks, GenerationRequest
from burncloud_images.errors import Billing, find_billing
from burncloud_images.model.media import examine_bytes

FIELDS = {"base64": {"model": "gpt-image-2", "size": "64x64"}, "URL": {"model": "dall-e-2", "size": "256x256"}}


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
