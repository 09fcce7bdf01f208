"""Each dialect sends what its server documents: paths, fields, images and the header of the key."""

from __future__ import annotations

import base64
import json

import pytest
from pictures import png
from raw import answering, serve

from burncloud_images import AsyncImagesClient, FileID, ImageURL, RetryPolicy, errors

BODY = json.dumps({"created": 1, "data": [{"b64_json": base64.b64encode(png()).decode()}]}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
ONCE = RetryPolicy(attempts=1)
BEARER = ("authorization", "Bearer sk-otter")
ONE, TWO = "https://images.example/a.png", "data:image/png;base64,AAAA"
OBJECT = {"type": "image_url", "image_url": {"url": ONE}}
OTHER = {"type": "image_url", "image_url": {"url": TWO}}


async def ask(dialect, call):
    """Make one call, and return path, headers and body of what was sent."""
    async with serve(answering(ANSWER)) as raw:
        url = raw.url.removesuffix("/v1")
        async with AsyncImagesClient("sk-otter", url, dialect=dialect, model="m", retry=ONCE) as client:
            await call(client)
    head, _, body = raw.requests[0].partition(b"\r\n\r\n")
    line, *rest = head.decode().split("\r\n")
    pairs = (text.partition(": ") for text in rest)
    return line.split(" ")[1], {name.lower(): value for name, _, value in pairs}, body


GENERATIONS = {
    "openai": ("/v1/images/generations", BEARER, {"size": "1024x768", "n": 1}),
    "newapi": ("/v1/images/generations", BEARER, {"size": "1024x768", "n": 1}),
    "azure": ("/openai/v1/images/generations", ("api-key", "sk-otter"), {"size": "1024x768", "n": 1}),
    "openrouter": ("/api/v1/images", BEARER, {"size": "1024x768", "n": 1}),
    "ark": ("/api/v3/images/generations", BEARER, {"size": "1024x768", "n": 1}),
    "together": ("/v1/images/generations", BEARER, {"width": 1024, "height": 768, "n": 1}),
    "siliconflow": ("/v1/images/generations", BEARER, {"image_size": "1024x768", "batch_size": 1}),
}


@pytest.mark.parametrize("dialect", GENERATIONS)
async def test_generations_are_sent_as_the_server_documents(dialect):
    """The path, the key and the fields are the server's own."""
    path, (header, value), fields = GENERATIONS[dialect]

    sent = await ask(dialect, lambda client: client.send(request(), into=None))

    assert path == sent[0]
    assert value == sent[1][header]
    assert {"authorization", "api-key"} & sent[1].keys() == {header}
    assert {"model": "m", "prompt": "otter", "seed": 7, **fields} == json.loads(sent[2])


def request():
    from burncloud_images import GenerationRequest

    return GenerationRequest("otter", size="1024x768", n=1, extra={"seed": 7})


EDITS = {
    "openrouter": ("/api/v1/images", {"input_references": [OBJECT]}, {"input_references": [OBJECT, OTHER]}),
    "ark": ("/api/v3/images/generations", {"image": ONE}, {"image": [ONE, TWO]}),
    "together": ("/v1/images/generations", {"image_url": ONE}, {"reference_images": [ONE, TWO]}),
    "siliconflow": ("/v1/images/generations", {"image": ONE}, None),
}


@pytest.mark.parametrize("dialect", EDITS)
async def test_edits_are_generations_with_references(dialect):
    """Servers without edits get the images in a field of a generation."""
    path, one, two = EDITS[dialect]

    sent = await ask(dialect, lambda client: client.edit(ImageURL(ONE), "hat", by_reference=True))
    assert (path, {"model": "m", "prompt": "hat", **one}) == (sent[0], json.loads(sent[2]))
    if two is not None:
        images = [ImageURL(ONE), ImageURL(TWO)]
        sent = await ask(dialect, lambda client: client.edit(images, "hat", by_reference=True))
        assert (path, {"model": "m", "prompt": "hat", **two}) == (sent[0], json.loads(sent[2]))


@pytest.mark.parametrize("dialect", EDITS)
async def test_files_become_data_urls_where_there_are_no_uploads(dialect, tmp_path):
    """A path and bytes are sent in the same field, as the images that they are."""
    path = tmp_path / "otter.png"
    path.write_bytes(png())
    url = f"data:image/png;base64,{base64.b64encode(png()).decode()}"

    for source in (path, png()):
        _, headers, body = await ask(dialect, lambda client, source=source: client.edit(source, "hat"))
        assert "application/json" == headers["content-type"]
        assert url in json.dumps(json.loads(body))


@pytest.mark.parametrize("dialect", ["openai", "newapi", "azure"])
async def test_edits_stay_edits_where_there_are_some(dialect):
    """Uploads go as a form."""
    path, headers, _ = await ask(dialect, lambda client: client.edit(png(), "hat"))

    assert path.endswith("/v1/images/edits")
    assert headers["content-type"].startswith("multipart/form-data")


@pytest.mark.parametrize("dialect", EDITS)
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda client: client.edit(FileID("a"), "hat", by_reference=True), "takes no FileID"),
        (lambda client: client.edit(png(), "hat", mask=png()), "takes no mask"),
        (lambda client: client.edit(ImageURL(ONE), "hat", mask=ImageURL(TWO), by_reference=True), "takes no mask"),
        (lambda client: client.create_variation(png()), "makes no variations"),
    ],
    ids=range(4),
)
async def test_images_that_a_server_cannot_take_are_refused(dialect, call, said):
    """One sentence says what it takes, before anything is sent."""
    async with AsyncImagesClient("sk-otter", "https://h.example", dialect=dialect, model="m") as client:
        with pytest.raises(errors.InvalidRequestError, match=said) as caught:
            await call(client)

    assert "Nothing was sent" in str(caught.value)


async def test_a_second_image_has_no_place():
    """A server that numbers its fields takes one image here."""
    images = [ImageURL(ONE), ImageURL(TWO)]
    async with AsyncImagesClient("sk-otter", "https://api.siliconflow.cn", model="m") as client:
        with pytest.raises(errors.InvalidRequestError, match="takes one image"):
            await client.edit(images, "hat", by_reference=True)


@pytest.mark.parametrize(
    ("base_url", "where"),
    [
        ("otter.openai.azure.com", "https://otter.openai.azure.com/openai/v1"),
        ("https://openrouter.ai", "https://openrouter.ai/api/v1"),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1"),
        ("ark.cn-beijing.volces.com", "https://ark.cn-beijing.volces.com/api/v3"),
        ("api.together.xyz", "https://api.together.xyz/v1"),
        ("https://openai.azure.com.evil.example", "https://openai.azure.com.evil.example/v1"),
    ],
)
def test_host_tells_the_base_path(base_url, where):
    """A URL without a path gets the one that the server documents."""
    assert where == AsyncImagesClient("sk-otter", base_url).base_url
