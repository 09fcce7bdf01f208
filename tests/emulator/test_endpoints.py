"""The three endpoints, asked by the official client and by hand."""

import asyncio
import base64
import io

import jsonschema
import pytest
from PIL import Image

from burncloud_images.emulator import Emulator
from burncloud_images.errors import Phase


@pytest.fixture
def capture_errors(caplog):
    caplog.set_level("INFO")
    return caplog


@pytest.fixture
async def official(emulator):
    import openai  # takes long, which only this file's process shall pay

    async with openai.AsyncOpenAI(base_url=emulator.base_url, api_key=emulator.api_key, max_retries=0) as client:
        yield client


def opened(image):
    return Image.open(io.BytesIO(base64.b64decode(image.b64_json)))


async def test_the_official_client_generates_base64(official, emulator):
    """A GPT image model answers with base64, token counts and what it decided."""
    result = await official.images.generate(model="gpt-image-1", prompt="a sea otter", size="1536x1024", quality="low")
    assert opened(result.data[0]).size == (1536, 1024)
    assert (result.size, result.quality, result.output_format, result.background) == (
        "1536x1024",
        "low",
        "png",
        "opaque",
    )
    assert result.usage.total_tokens == result.usage.input_tokens + result.usage.output_tokens
    assert emulator.ledger.billed_images == 1


async def test_the_official_client_generates_urls(official, caller, emulator):
    """A DALL-E model answers with URLs that lead to the images."""
    result = await official.images.generate(model="dall-e-2", prompt="a sea otter", n=2, size="256x256")
    assert len({image.url for image in result.data}) == 2
    reply = await caller.call(emulator, "GET", result.data[0].url)
    assert Image.open(io.BytesIO(reply.body)).size == (256, 256)
    assert reply.headers["Content-Type"] == "image/png"
    assert result.usage is None


async def test_the_official_client_generates_base64_with_dall_e(official):
    """`response_format` decides, and dall-e-3 says which prompt it used."""
    result = await official.images.generate(model="dall-e-3", prompt="an otter", response_format="b64_json")
    assert opened(result.data[0]).size == (1024, 1024)
    assert "an otter" in result.data[0].revised_prompt


async def test_the_official_client_edits_one_image(official, emulator, photo):
    """The official client sends one file as `image`, and its bytes arrive unchanged."""
    result = await official.images.edit(image=("a.png", photo, "image/png"), prompt="a hat", model="gpt-image-1")
    assert opened(result.data[0]).size == (1024, 1024)
    entry = emulator.ledger.requests[0]
    assert [(part.name, part.filename, part.content_type, part.size) for part in entry.parts] == [
        ("image", "a.png", "image/png", len(photo))
    ]
    assert ("prompt", "a hat") in entry.fields


async def test_the_official_client_edits_several_images_with_a_mask(official, emulator, photo, hole):
    """The official client sends several files as `image[]`, with the mask beside them."""
    result = await official.images.edit(
        image=[("a.png", photo, "image/png"), ("b.png", hole, "image/png")],
        mask=("mask.png", hole, "image/png"),
        prompt="a gift basket",
        model="gpt-image-1",
        n=2,
    )
    assert len(result.data) == 2
    assert [part.name for part in emulator.ledger.requests[0].parts] == ["image[]", "image[]", "mask"]
    assert result.usage.input_tokens_details.image_tokens > 0


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
@pytest.mark.parametrize("response_format", ["url", "b64_json"])
async def test_the_official_client_varies_an_image(official, emulator, photo, response_format):
    """The official client gets variations from dall-e-2 as base64 and as URLs."""
    result = await official.images.create_variation(
        image=("a.png", photo, "image/png"), n=2, size="256x256", response_format=response_format
    )
    kind = "url" if response_format == "url" else "b64_json"
    assert len({getattr(image, kind) for image in result.data}) == 2
    assert emulator.ledger.requests[0].operation == "variations"


async def test_the_official_client_lists_the_models(official):
    """The official client lists the documented models, with their shutdown dates."""
    models = [model async for model in official.models.list()]
    assert {"dall-e-2", "gpt-image-1", "gpt-image-2.6-flare"} <= {model.id for model in models}
    assert next(model for model in models if model.id == "dall-e-3").shutdown_date == "2026-05-12"


async def test_models_need_the_key(emulator, caller):
    """The list of models needs the API key."""
    reply = await caller.call(emulator, "GET", "/v1/models", headers={"Authorization": "Bearer sk-other"})
    assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Authorization": "Bearer sk-other"}, "The API key is wrong."),
        ({"Authorization": "Basic sk-emulator"}, "The API key is wrong."),
        ({"Authorization": ""}, "No API key was sent; it goes into the Authorization header."),
    ],
)
async def test_a_wrong_key_is_refused(emulator, caller, headers, message):
    """A wrong key is refused and not billed, and does not appear in the ledger."""
    reply = await caller.generate(emulator, headers)
    assert (reply.status, reply.error["code"], reply.error["message"]) == (401, "invalid_api_key", message)
    entry = emulator.ledger.requests[0]
    assert (entry.status, entry.complete, entry.billed, entry.images) == (401, True, False, 0)
    assert "sk-" not in repr(emulator.ledger)


async def test_every_answer_has_a_request_id(emulator, caller):
    """Every answer has its own request id, and the ledger has it too."""
    replies = [await caller.generate(emulator), await caller.generate(emulator, n=99)]
    replies.append(await caller.call(emulator, "GET", "/nowhere"))
    ids = [reply.headers["x-request-id"] for reply in replies]
    assert len(set(ids)) == 3
    assert [entry.request_id for entry in emulator.ledger.requests] == ids[:2]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/v1/images/edits"), ("GET", "/v1/images/edits"), ("PUT", "/")]
)
async def test_a_wrong_path_is_said_to_be_invalid(emulator, caller, method, path):
    """The error for an unknown path names the method and the path."""
    reply = await caller.call(emulator, method, path)
    assert (reply.status, reply.error["message"]) == (404, f"Invalid URL ({method} {path})")


async def test_unknown_fields_and_nulls_are_ignored(emulator, caller):
    """Unknown fields and nulls change nothing."""
    reply = await caller.generate(
        emulator, model="gpt-image-1", size=None, quality=None, stream=None, watermark=[1], n=None
    )
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json["size"] == "1024x1024"
    assert ("watermark", "[1]") in emulator.ledger.requests[0].fields


async def test_without_a_model_dall_e_2_is_asked(emulator, caller):
    """Generations without a model use dall-e-2."""
    reply = await caller.generate(emulator, model=...)
    assert "url" in reply.json["data"][0]


async def test_the_ledger_tells_what_was_received(emulator, caller):
    """The ledger over HTTP has the agreed form."""
    await caller.generate(emulator, {"Idempotency-Key": "k1", "User-Agent": "me"}, user="张三")
    reply = await caller.call(emulator, "GET", "/emulator/ledger")
    ledger = reply.json
    assert (ledger["billed_requests"], ledger["billed_images"], ledger["downloads"]) == (1, 1, [])
    entry = ledger["requests"][0]
    expected = {
        "number": 1,
        "operation": "generations",
        "status": 200,
        "complete": True,
        "billed": True,
        "images": 1,
        "idempotency_key": "k1",
        "phase": "complete",
        "fault": None,
        "parts": [],
        "user_agent": "me",
        "content_type": "application/json",
    }
    assert {name: entry[name] for name in expected} == expected
    assert ["user", '"张三"'] in entry["fields"]
    assert entry["content_length"] == int(entry["headers"]["content-length"])
    assert "authorization" not in entry["headers"]


async def test_a_json_body_may_come_in_chunks(emulator, caller):
    """A chunked JSON body is read, and its ledger entry has no length."""

    async def pieces():
        yield b'{"prompt": "an otter",'
        yield b'"size": "256x256"}'

    headers = {"Content-Type": "application/json"}
    reply = await caller.call(emulator, "POST", "/v1/images/generations", data=pieces(), headers=headers)
    assert reply.status == 200
    assert emulator.ledger.requests[0].content_length is None


async def test_an_edit_by_reference_takes_data_urls_and_results(emulator, caller, photo):
    """JSON edits read `data:` URLs and this server's own results, and fetch nothing else."""
    made = await caller.generate(emulator)
    data_url = "data:image/png;base64," + base64.b64encode(photo).decode()
    images = [{"image_url": made.json["data"][0]["url"]}, {"image_url": data_url}]
    fields = {"images": images, "prompt": "both", "moderation": "low", "mask": None}
    reply = await caller.call(emulator, "POST", "/v1/images/edits", json=fields)
    assert (reply.status, reply.json["quality"]) == (200, "medium")
    parts = emulator.ledger.requests[1].parts
    assert [(part.name, part.content_type, part.filename) for part in parts] == [
        ("images[0].image_url", "image/png", None),
        ("images[1].image_url", "image/png", None),
    ]
    assert parts[1].size == len(photo)


def reference(**changes):
    return {"prompt": "x", "model": "gpt-image-1", "images": [{"image_url": "http://example.com/a.png"}], **changes}


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        (reference(), 400, "images[0].image_url"),
        (reference(images=[{"file_id": "file-1"}]), 404, "images[0]"),
        (reference(images=[{"image_url": "data:image/png;base64,AA=A"}]), 400, "images[0].image_url"),
        (reference(images=[{"image_url": 5}]), 400, "images[0].image_url"),
        (reference(images=[{"image_url": "x", "file_id": "y"}]), 400, "images[0]"),
        (reference(images=["x"]), 400, "images[0]"),
        (reference(images=[{"url": "x"}]), 400, "images[0]"),
        (reference(images=[]), 400, "images"),
        (reference(images=[{}] * 17), 400, "images"),
        (reference(images=None), 400, "images"),
        (reference(model="dall-e-2"), 400, "model"),
    ],
)
async def test_a_bad_reference_is_refused(emulator, caller, fields, status, param):
    """A bad image reference is refused with its place, and nothing is billed."""
    reply = await caller.call(emulator, "POST", "/v1/images/edits", json=fields)
    assert (reply.status, reply.error["param"]) == (status, param)
    assert emulator.ledger.billed_requests == 0


async def test_moderation_by_reference_is_checked(emulator, caller, photo):
    """Edits check `moderation` in JSON and ignore it in a form."""
    url = "data:image/png;base64," + base64.b64encode(photo).decode()
    fields = reference(images=[{"image_url": url}], moderation="none")
    reply = await caller.call(emulator, "POST", "/v1/images/edits", json=fields)
    assert (reply.status, reply.error["param"]) == (400, "moderation")
    reply = await caller.edit(emulator, ("image", "a.png", "image/png", photo), moderation="none")
    assert reply.status == 200


async def test_nested_form_fields_are_read(emulator, caller, photo):
    """`svg[reasoning][effort]` in a form means the same as the nested object in JSON."""
    fields = {"model": "gpt-image-2.6-flare", "output_format": "svg", "size": "1024x640"}
    image = ("image", "a.png", "image/png", photo)
    good = {"svg[model]": "gpt-5", "svg[reasoning][effort]": "low"}
    bad = {**good, "svg[reasoning][effort]": "huge"}
    reply = await caller.upload(emulator, "edits", [image], prompt="x", **fields, **good)
    assert reply.json["svg_usage"]["model"] == "gpt-5"
    reply = await caller.upload(emulator, "edits", [image], prompt="x", **fields, **bad)
    assert (reply.status, reply.error["param"]) == (400, "svg.reasoning.effort")


async def test_the_safety_identifier_comes_back(emulator, caller):
    """The safety identifier is returned unchanged."""
    reply = await caller.generate(emulator, safety_identifier="abc")
    assert reply.json["safety_identifier"] == "abc"


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "gpt-image-1", "quality": "high", "size": "1024x1536"},
        {"model": "gpt-image-2", "background": "transparent", "output_format": "webp", "size": "1024x1024"},
        {"model": "dall-e-3", "size": "1024x1024"},
        {"model": "dall-e-2", "response_format": "b64_json", "n": 2},
    ],
)
async def test_answers_fit_the_published_schema(emulator, caller, contract, fields):
    """Each answer is an `ImagesResponse` of the API document."""
    reply = await caller.generate(emulator, **fields)
    schema = {"$ref": "#/components/schemas/ImagesResponse", "components": contract["components"]}
    jsonschema.Draft202012Validator(schema).validate(reply.json)


async def test_requests_are_entered_in_order_of_arrival(emulator, caller):
    """The ledger lists requests in order of arrival, refused ones included."""
    await caller.generate(emulator, prompt="first")
    await caller.generate(emulator, prompt="")
    await caller.generate(emulator, prompt="third")
    entries = emulator.ledger.requests
    assert [entry.number for entry in entries] == [1, 2, 3]
    assert [entry.status for entry in entries] == [200, 400, 200]
    assert [entry.phase for entry in entries] == [Phase.COMPLETE] * 3


async def test_an_upload_that_breaks_off_is_incomplete(emulator, capture_errors):
    """An upload that breaks off is recorded as incomplete and not billed, and logs nothing."""
    _, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
    writer.write(
        b"POST /v1/images/edits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-emulator\r\nContent-Length: 900000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nan otter\r\n--b\r\n'
        b'Content-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + bytes(100_000)
    )
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await writer.wait_closed()
    entry = await settled(emulator)
    assert (entry.complete, entry.billed, entry.status, entry.phase) == (False, False, None, Phase.BODY)
    assert entry.fields == (("prompt", "an otter"),)
    assert capture_errors.messages == []


async def settled(emulator: Emulator):
    """Return the last entry once its request has ended."""
    for _ in range(1_000):
        entries = emulator.ledger.requests
        if entries and (entries[-1].fields or entries[-1].status):
            break
        await asyncio.sleep(0.005)
    return emulator.ledger.requests[-1]
