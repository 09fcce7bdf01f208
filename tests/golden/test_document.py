"""
The API document's own examples against what the client sends.

The golden files are the document's curl commands as curl writes them to the wire, typed in by hand.
"""

from __future__ import annotations

import asyncio
import json

import attrs
import pytest
from golden.raw_http import FILES, RawRequest, Recorder, golden, golden_bytes

from burncloud_images import AsyncImagesClient, EditRequest, GenerationRequest, VariationRequest
from burncloud_images.emulator import Emulator

pytestmark = pytest.mark.golden

OTTER, MASK = FILES["otter.png"], FILES["mask.png"]
BASKET = [FILES[f"{name}.png"] for name in ("body-lotion", "bath-bomb", "incense-kit", "soap")]

EXAMPLES = {
    "generate": GenerationRequest("一只可爱的小海獭", model="dall-e-3", n=1, size="1024x1024"),
    "generate-hd": GenerationRequest(
        "一只可爱的小海獭", model="dall-e-3", quality="hd", style="vivid", size="1024x1024"
    ),
    "generate-base64": GenerationRequest("一只可爱的小海獭", model="dall-e-3", response_format="b64_json"),
    "edit-dall-e-2": EditRequest(OTTER, "一只戴着贝雷帽的可爱小海獭", mask=MASK, n=2, size="1024x1024"),
    "edit-gpt-image-1": EditRequest(BASKET, "创建一个包含这四个物品的精美礼品篮", model="gpt-image-1", quality="high"),
    "variation": VariationRequest(OTTER, n=2, size="1024x1024"),
}
FORMS = [name for name in EXAMPLES if not name.startswith("generate")]

# What may differ from curl; everything else is equal.
ALLOWED_IN_BODIES = ("white space of JSON", "boundary", "file names", "order of fields and of parts")
ALLOWED_IN_HEADERS = {
    "host": "the address of the server at hand",
    "user-agent": "each names itself",
    "accept": "curl takes anything, the client takes JSON",
    "accept-encoding": "the client's alone: images do not become smaller",
    "idempotency-key": "the client's alone: one for each logical call",
    "content-type": "the boundary of forms; compared apart",
    "content-length": "follows from the body; compared apart",
}
COMPARED_APART = {"authorization": "Bearer sk-golden"}


async def sent(recorder: Recorder, name: str) -> RawRequest:
    """Return what the client sends for an example."""
    request = EXAMPLES[name]
    recorder.images = request.n or 1
    async with AsyncImagesClient(api_key="sk-golden", base_url=recorder.base_url) as client:
        await client.send(request)
    return await recorder.request()


def body(request: RawRequest) -> object:
    """Return what has to be equal about a body, see `ALLOWED_IN_BODIES`; parts are equal whatever their file names."""
    return request.parts if request.header("content-type").startswith("multipart/") else request.json


@pytest.mark.parametrize("name", EXAMPLES)
async def test_the_client_sends_what_the_document_shows(recorder, name):
    """Method, path and version are the same; JSON has the same value, and a form the same parts."""
    expected, actual = golden(f"document/{name}.http"), await sent(recorder, name)
    assert expected.line == actual.line
    assert body(expected) == body(actual)


@pytest.mark.parametrize("name", EXAMPLES)
async def test_headers_differ_only_where_they_may(recorder, name):
    """The key travels as the document says, and no header is on one side alone unless the list above has it."""
    expected, actual = golden(f"document/{name}.http"), await sent(recorder, name)
    ours, theirs = dict(actual.headers), dict(expected.headers)
    assert len(ours) == len(actual.headers)
    assert set(ours) ^ set(theirs) <= set(ALLOWED_IN_HEADERS)
    assert set(ours) & set(theirs) <= set(ALLOWED_IN_HEADERS) | set(COMPARED_APART)
    assert {key: ours[key] for key in COMPARED_APART} == COMPARED_APART
    assert theirs["authorization"] == "Bearer $Burncloud_API_KEY"
    assert theirs["content-type"].partition(";")[0] == ours["content-type"].partition(";")[0]
    assert ours["accept"] == "application/json"


@pytest.mark.parametrize("name", EXAMPLES)
async def test_the_length_is_exact_and_nothing_is_chunked(recorder, name):
    """The body ends where Content-Length says, and it is whole there."""
    actual = await sent(recorder, name)
    assert "transfer-encoding" not in dict(actual.headers)
    assert "content-encoding" not in dict(actual.headers)
    assert int(actual.header("content-length")) == len(actual.body)
    assert actual.rest == b""
    assert body(actual)


async def test_every_call_has_an_idempotency_key_of_its_own(recorder):
    """Two calls for the same request are two purchases."""
    first, second = [(await sent(recorder, "generate")).header("idempotency-key") for _ in range(2)]
    assert first
    assert first != second


async def test_no_model_is_made_up(recorder):
    """The document's edit with dall-e-2 names no model, so the client sends none."""
    names = [part.name for part in (await sent(recorder, "edit-dall-e-2")).parts]
    assert ["image", "mask", "n", "prompt", "size"] == names


async def test_nothing_that_is_unset_is_sent(recorder):
    """A JSON body holds what was asked for and no nulls."""
    fields = (await sent(recorder, "generate-base64")).json
    assert {"model", "prompt", "response_format"} == set(fields)


@pytest.mark.parametrize("name", FORMS)
async def test_file_names_are_plain_and_true(recorder, name):
    """Gateways put file names into headers unescaped and derive the type from them."""
    filenames = [part.filename for part in (await sent(recorder, name)).parts if part.content_type]
    assert filenames
    assert all(filename.isascii() and filename.endswith(".png") for filename in filenames)
    assert len(set(filenames)) == len(filenames)


# --- the comparison itself -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("generate", b'"n": 1', b'"n": "1"'),
        ("generate", b"dall-e-3", b"dall-e-2"),
        ("edit-gpt-image-1", b'name="image[]"', b'name="image"'),
        ("edit-gpt-image-1", b"Content-Type: image/png", b"Content-Type: image/jpeg"),
        ("edit-gpt-image-1", b"IDAT", b"IDAt"),
        ("edit-dall-e-2", b'name="mask"', b'name="markup"'),
        ("edit-dall-e-2", b"\r\n2\r\n", b"\r\n2 \r\n"),
    ],
)
async def test_another_example_would_be_noticed(recorder, name, old, new):
    """A request with one thing changed differs from what the client sends."""
    expected = golden(f"document/{name}.http")
    assert old in expected.body
    changed = attrs.evolve(expected, body=expected.body.replace(old, new, 1))
    actual = await sent(recorder, name)
    assert body(expected) == body(actual)
    assert body(changed) != body(actual)


# --- the emulator ----------------------------------------------------------------------------------------------------

ANSWERS = {
    "generate": (1, {"url", "revised_prompt"}, False),
    "generate-hd": (1, {"url", "revised_prompt"}, False),
    "generate-base64": (1, {"b64_json", "revised_prompt"}, False),
    "edit-dall-e-2": (2, {"url"}, False),
    "edit-gpt-image-1": (1, {"b64_json"}, True),
    "variation": (2, {"url"}, False),
}
"""How many images the document's answer has, what is in each, and whether tokens are counted."""


async def ask(emulator: Emulator, name: str) -> tuple[int, dict]:
    """Write a golden request to a bare connection."""
    request = golden_bytes(f"document/{name}.http").replace(b"$Burncloud_API_KEY", emulator.api_key.encode())
    head, content = request.split(b"\r\n\r\n", 1)
    lengths = f"\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection(emulator.host, emulator.port)
    writer.write(head + lengths + content)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, content = answer.split(b"\r\n\r\n", 1)
    return int(head.split()[1]), json.loads(content)


@pytest.mark.parametrize("name", EXAMPLES)
async def test_the_emulator_answers_the_examples_as_the_document_does(emulator, name):
    """The bytes that curl sends get the documented kind of answer."""
    images, keys, counted = ANSWERS[name]
    status, answer = await ask(emulator, name)
    assert status == 200
    assert [keys] * images == [set(image) for image in answer["data"]]
    assert isinstance(answer["created"], int)
    assert counted == ("usage" in answer)
    assert images == emulator.ledger.billed_images


@pytest.mark.parametrize("name", FORMS)
async def test_the_emulator_reads_the_parts_that_are_in_the_examples(emulator, name):
    """Its ledger lists each part of curl's form, under its name and with its size."""
    await ask(emulator, name)
    (entry,) = emulator.ledger.requests
    read = [
        *((part.name, part.size) for part in entry.parts),
        *((key, len(text.encode())) for key, text in entry.fields),
    ]
    assert sorted((part.name, len(part.content)) for part in golden(f"document/{name}.http").parts) == sorted(read)
