"""Several images in one object of an answer: each is an image, a copy is none, and what is left out is kept."""

from __future__ import annotations

import base64
import json
import warnings

import pytest
from pictures import png
from raw import serve

from burncloud_images import AsyncImagesClient, Directory, GenerationRequest, Memory

pytestmark = pytest.mark.ways("tls")

PAD = 80_000
"""Bytes that make an answer too large to be decoded in one step."""
SMALL = {"red": png(64, 64), "blue": png(65, 64), "green": png(66, 64)}
LARGE = {name: png(70 + index, 64, pad=PAD) for index, name in enumerate(SMALL)}
NAMES = {data: name for images in (SMALL, LARGE) for name, data in images.items()}

DOCUMENTS = {
    "two names": ([{"b64_json": "red", "image_base64": "blue"}], ["red", "blue"]),
    "two names, changed": ([{"image_base64": "blue", "b64_json": "red"}], ["blue", "red"]),
    "a copy": ([{"b64_json": "red", "image_base64": "red"}], ["red"]),
    "copies in each": ([{"b64_json": "red", "b64": "red"}, {"b64_json": "blue", "b64": "blue"}], ["red", "blue"]),
    "three names": ([{"b64_json": "red", "b64": "blue", "base64": "green"}], ["red", "blue", "green"]),
    "a copy of the second": ([{"b64_json": "red", "b64": "blue", "base64": "red"}], ["red", "blue"]),
    "two copies of the second": ([{"b64_json": "red", "b64": "blue", "base64": "blue"}], ["red", "blue"]),
    "another behind it": ([{"b64_json": "red", "b64": "blue"}, {"b64_json": "green"}], ["red", "blue", "green"]),
    "in the last": ([{"b64_json": "red"}, {"b64_json": "blue", "b64": "green"}], ["red", "blue", "green"]),
    "a data URL": ([{"b64_json": "red", "url": "data:blue"}], ["red", "blue"]),
    "a data URL that is a copy": ([{"b64_json": "red", "url": "data:red"}, {"b64_json": "blue"}], ["red", "blue"]),
    "a list of texts": ([{"b64_json": ["red", "blue"]}], ["red", "blue"]),
    "lists of texts": ([{"image_base64": ["red"]}, {"image_base64": ["blue", "green"]}], ["red", "blue", "green"]),
    "a list of objects": ([{"images": [{"b64_json": "red"}, {"b64_json": "blue"}]}], ["red", "blue"]),
    "a list with copies": ([{"images": ["red", "red", "blue", "red"]}], ["red", "blue"]),
    "an object": ([{"b64_json": "red", "image": {"b64_json": "blue"}}], ["red", "blue"]),
    "an empty one": ([{"b64_json": "", "image_base64": "blue"}], ["blue"]),
    "a preview": ([{"b64_json": "red", "partial_image_b64": "blue"}], ["red"]),
}


def encode(value, images):
    """Return *value* with base64 in place of the names of images."""
    if isinstance(value, list):
        return [encode(item, images) for item in value]
    if isinstance(value, dict):
        return {name: encode(item, images) for name, item in value.items()}
    scheme, _, name = value.rpartition(":")
    text = base64.b64encode(images[name]).decode() if name else ""
    return f"data:image/png;base64,{text}" if scheme else text


async def run(document, into, *, piece=1 << 20):
    body = json.dumps(document).encode()

    async def answer(_reader, writer, _request):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body))
        for start in range(0, len(body), piece):
            writer.write(body[start : start + piece])
            await writer.drain()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        async with serve(answer) as raw, AsyncImagesClient("sk-canary", raw.url) as client:
            return await client.send(GenerationRequest("x", model="m"), into=into)


@pytest.mark.parametrize("place", ["data", "images", "output"])
@pytest.mark.parametrize("images", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("name", DOCUMENTS)
async def test_each_image_of_an_object_is_one(name, images, place, tmp_path):
    """Images of one object are images of their own, in their order, and the same bytes are one image."""
    items, expected = DOCUMENTS[name]
    in_memory = await run({place: encode(items, images)}, Memory(), piece=1000 if images is SMALL else 9000)
    in_files = await run({place: encode(items, images)}, Directory(tmp_path))

    assert expected == [NAMES[image.data] for image in in_memory.images]
    assert expected == [NAMES[image.path.read_bytes()] for image in in_files.images]
    assert sorted(expected) == sorted(NAMES[path.read_bytes()] for path in tmp_path.iterdir())
    assert [*range(len(expected))] == [image.index for image in in_memory.images]


async def test_what_is_said_of_an_object_is_said_of_its_images():
    """The revised prompt of an object is that of each image in it."""
    items = [{**encode({"b64_json": "red", "b64": "blue"}, SMALL), "revised_prompt": "an otter"}]
    last = {**encode({"b64_json": "green"}, SMALL), "revised_prompt": "a fox"}
    result = await run({"data": [*items, last]}, Memory())

    assert ["an otter", "an otter", "a fox"] == [image.revised_prompt for image in result.images]


@pytest.mark.parametrize("second", ["A===", "A" * 200, "data:image/png;base64,A===", "x" * 4000])
async def test_a_second_that_is_no_image_costs_nothing(second):
    """What stands beside a whole image in its object, and is not one, does not make the answer a damaged one."""
    item = encode({"b64_json": "red"}, SMALL)
    result = await run({"data": [{**item, "image_base64": second}, encode({"b64_json": "blue"}, SMALL)]}, Memory())

    assert ["red", "blue"] == [NAMES[image.data] for image in result.images]


async def test_images_that_were_left_out_are_kept():
    """Base64 of the API's own place, behind an image at another one, is in the answer that the result keeps."""
    result = await run({"image_base64": encode("blue", SMALL), "data": [encode({"b64_json": "red"}, SMALL)]}, Memory())

    assert SMALL["blue"] == result.images[0].data
    assert encode("red", SMALL).encode() in result.kept.data
