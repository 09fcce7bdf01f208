"""
For the same arguments the official `openai` client and this one send the same bodies.

And it reads the emulator's event streams, so that these are such as a client which nobody here wrote expects.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator

import openai
import pytest
from golden.raw_http import FILES, RawRequest, Recorder
from PIL import Image
from streams import PREVIEWED, odd_stream

from burncloud_images import AsyncImagesClient

pytestmark = pytest.mark.golden

OTTER, MASK, SOAP = FILES["otter.png"], FILES["mask.png"], FILES["soap.png"]

# What may differ; everything else is equal.
ALLOWED = {
    "file names": "theirs are the caller's, ours follow the bytes; so theirs are given as (name, bytes, type)",
    "order": "of fields and of parts",
    "boundary": "and so the length of a form",
    "escapes in JSON": "the value is the same",
    "headers": "other than the content type: theirs tell about the platform, and have no idempotency key",
    "a list of one image": "theirs is image[], ours is image, which every gateway reads; tested below",
    "partial_images": "theirs takes it without a stream, ours refuses it; not among the arguments",
    "None": "theirs sends null, ours nothing; not among the arguments",
}

OPTIONS = {
    "n": 2,
    "size": "1536x864",
    "quality": "xhigh",
    "background": "opaque",
    "output_format": "webp",
    "output_compression": 80,
    "complexity": "high",
    "frame_count": 4,
    "frame_duration_ms": 120,
    "svg": {"model": "gpt-7", "reasoning": {"effort": "low"}},
    "response_format": "b64_json",
    "safety_identifier": "5994471abb01112a",
    "user": "user-7",
}
"""All that a prompt can go with, whether or not a model would take it together."""

GENERATIONS = {
    "the least": {"prompt": "a sea otter"},
    "the document's": {"prompt": "一只可爱的小海獭", "model": "dall-e-3", "n": 1, "size": "1024x1024"},
    "everything": {
        "prompt": 'a "sea"\r\notter 🦦\\ \x7f',
        "model": "gpt-image-2.6-sunburst",
        "style": "natural",
        "moderation": "low",
        **OPTIONS,
    },
}

EDITS = {
    "one image": {"image": OTTER, "prompt": "a hat", "model": "gpt-image-2"},
    "no model": {"image": OTTER, "prompt": "a hat"},
    "several images": {"image": [OTTER, SOAP], "prompt": "礼品篮", "model": "gpt-image-1", "quality": "high"},
    "a mask": {"image": OTTER, "mask": MASK, "prompt": "a hat", "model": "dall-e-2", "n": 2, "size": "256x256"},
    "several images and a mask": {"image": [SOAP, OTTER, SOAP], "mask": MASK, "prompt": "a hat"},
    "everything": {
        "image": [OTTER, SOAP],
        "mask": MASK,
        "markup": MASK,
        "prompt": 'a "hat"\r\n🎩\\',
        "model": "gpt-image-2.6-flare",
        "input_fidelity": "high",
        **OPTIONS,
    },
}

VARIATIONS = {
    "the least": {"image": OTTER},
    "everything": {
        "image": OTTER,
        "model": "dall-e-2",
        "n": 3,
        "size": "512x512",
        "response_format": "url",
        "user": "user-7",
    },
}


@pytest.fixture
async def theirs(recorder) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=recorder.base_url, api_key="sk-golden", max_retries=0) as client:
        yield client


@pytest.fixture
async def ours(recorder) -> AsyncIterator[AsyncImagesClient]:
    async with AsyncImagesClient(api_key="sk-golden", base_url=recorder.base_url, validation="off") as client:
        yield client


def named(arguments: dict[str, object]) -> dict[str, object]:
    """Return *arguments* with each image as the official client wants it."""

    def name(value: object) -> object:
        if isinstance(value, list):
            return [name(item) for item in value]
        return ("picture.png", value, "image/png") if isinstance(value, bytes) else value

    return {key: name(value) for key, value in arguments.items()}


async def both(recorder: Recorder, theirs, ours, arguments: dict[str, object]) -> tuple[RawRequest, RawRequest]:
    """Call both methods and return what each sent."""
    recorder.images = arguments.get("n", 1)
    await theirs(**named(arguments))
    expected = await recorder.request()
    await ours(**arguments)
    return expected, await recorder.request()


@pytest.mark.parametrize("arguments", GENERATIONS.values(), ids=GENERATIONS)
async def test_generations_are_equal(recorder, theirs, ours, arguments):
    """Both send the same JSON to the same address."""
    expected, actual = await both(recorder, theirs.images.generate, ours.generate, arguments)
    assert (expected.line, expected.header("content-type")) == (actual.line, actual.header("content-type"))
    assert expected.json == actual.json == arguments


@pytest.mark.parametrize("arguments", EDITS.values(), ids=EDITS)
async def test_edits_are_equal(recorder, theirs, ours, arguments):
    """Both send the same fields and files, one image as `image` and several as `image[]`."""
    expected, actual = await both(recorder, theirs.images.edit, ours.edit, arguments)
    assert expected.line == actual.line
    assert expected.parts == actual.parts
    assert {"image[]" if isinstance(arguments["image"], list) else "image"} <= {part.name for part in actual.parts}


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # theirs: the endpoint is retired upstream
@pytest.mark.parametrize("arguments", VARIATIONS.values(), ids=VARIATIONS)
async def test_variations_are_equal(recorder, theirs, ours, arguments):
    """Both send the same fields and the file."""
    expected, actual = await both(recorder, theirs.images.create_variation, ours.create_variation, arguments)
    assert expected.line == actual.line
    assert expected.parts == actual.parts


async def test_the_only_image_of_a_list_is_called_image(recorder, theirs, ours):
    """The official client calls it `image[]`; but for the name both send the same."""
    arguments = {"image": [OTTER], "prompt": "a hat"}
    expected, actual = await both(recorder, theirs.images.edit, ours.edit, arguments)
    assert ["image[]", "prompt"] == [part.name for part in expected.parts]
    assert ["image", "prompt"] == [part.name for part in actual.parts]
    assert [part.content for part in expected.parts] == [part.content for part in actual.parts]


def test_no_argument_that_the_official_client_takes_is_left_out():
    """The cross-check uses every field that both have; see the list of differences for the rest."""
    from openai.types import image_create_variation_params, image_edit_params, image_generate_params

    left_out = {"partial_images", "stream"}
    for table, params in (
        (GENERATIONS, image_generate_params.ImageGenerateParamsBase),
        (EDITS, image_edit_params.ImageEditParamsBase),
        (VARIATIONS, image_create_variation_params.ImageCreateVariationParams),
    ):
        assert set(params.__annotations__) - left_out == set(table["everything"])


# --- streams, from the emulator --------------------------------------------------------------------------------------


@pytest.fixture
async def streaming(emulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=emulator.base_url, api_key=emulator.api_key, max_retries=0) as client:
        yield client


def picture_of(event) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(event.b64_json)))


async def test_it_streams_a_generation(emulator, streaming):
    """The official client's types hold everything the emulator streams, partial images included."""
    stream = await streaming.images.generate(
        prompt="a sea otter", model="gpt-image-2", size="1280x640", stream=True, partial_images=2, n=2
    )
    events = [event async for event in stream]
    partial, completed = openai.types.ImageGenPartialImageEvent, openai.types.ImageGenCompletedEvent
    assert [partial, partial, completed] * 2 == [type(event) for event in events]
    assert [0, 1] == [event.partial_image_index for event in events[:2]]
    assert {(1280, 640)} == {picture_of(event).size for event in events}
    assert "1280x640" == events[-1].size
    assert events[-1].usage.total_tokens == events[-1].usage.input_tokens + events[-1].usage.output_tokens
    assert all(type(event).model_validate(event.model_dump()) == event for event in events)
    assert (True, 2) == (emulator.ledger.requests[0].billed, emulator.ledger.billed_images)


async def test_it_streams_an_edit(emulator, streaming):
    """The official client streams an edit that was sent as a form."""
    image = ("otter.png", OTTER, "image/png")
    stream = await streaming.images.edit(
        image=image, prompt="a hat", model="gpt-image-2", size="1024x640", stream=True, partial_images=1
    )
    events = [event async for event in stream]
    expected = [openai.types.ImageEditPartialImageEvent, openai.types.ImageEditCompletedEvent]
    assert expected == [type(event) for event in events]
    assert all(type(event).model_validate(event.model_dump()) == event for event in events)
    assert ("stream", "true") in emulator.ledger.requests[0].fields


async def test_it_reads_an_odd_stream(streaming):
    """The official client reads CRLF, data on many lines and `[DONE]`."""
    odd = odd_stream(PREVIEWED[-1:], done=True, line_end="\r\n", spread=True)
    stream = await streaming.images.generate(
        prompt="a sea otter",
        model="gpt-image-2",
        size="1024x640",
        stream=True,
        extra_headers={"X-Emulator-Fault": json.dumps(odd.to_json())},
    )
    assert ["image_generation.completed"] == [event.type async for event in stream]


async def test_it_raises_what_a_stream_says_went_wrong(emulator, streaming):
    """The official client raises an error event that comes after a good status."""
    fault = {"after": 1, "error": {"type": "error", "error": {"message": "the upstream broke", "code": None}}}
    stream = await streaming.images.generate(
        prompt="a sea otter",
        model="gpt-image-2",
        size="1024x640",
        stream=True,
        partial_images=1,
        extra_headers={"X-Emulator-Fault": json.dumps(fault)},
    )
    with pytest.raises(openai.APIError, match="the upstream broke"):
        _ = [event async for event in stream]
    assert emulator.ledger.requests[0].billed
