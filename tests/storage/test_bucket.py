"""Images in a bucket of an S3 server that others wrote: whole, once, and never lost when the server fails."""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from benchmarks.site import noise
from burncloud_images import AsyncImagesClient, Done, GenerationRequest, errors
from burncloud_images.disk import find_folders
from burncloud_images.emulator import Emulator
from burncloud_images.files.sinks import DirectoryWriter, ImageContext
from burncloud_images.storage import Bucket

from .conftest import KEY, SECRET

PROMPT = "a sea otter"


@pytest.fixture
async def paint():
    """Return an emulator and a client of it."""
    async with (
        Emulator() as emulator,
        AsyncImagesClient(emulator.api_key, emulator.base_url, model="gpt-image-2") as client,
    ):
        yield emulator, client


@pytest.fixture
def bucket(server, tmp_path):
    """Return what makes a bucket."""

    def make(url="s3://pictures/run", **options):
        given = {"scratch": tmp_path / "scratch", "options": server.options(), **options}
        return Bucket(url, **given)

    return make


def left(tmp_path):
    return sorted(path.name for path in (tmp_path / "scratch").iterdir())


async def test_an_image_is_put_whole(paint, server, bucket, tmp_path):
    """The object has the bytes, their type and their digest; nothing is left on this machine."""
    _, client = paint
    result = await client.send(GenerationRequest(PROMPT), into=bucket())

    image = result.image
    body, attributes = await server.get(image.uri)
    assert (len(body), hashlib.sha256(body).hexdigest()) == (image.size, image.sha256)
    assert {"Content-Type": "image/png", "sha256": image.sha256} == attributes
    assert image.etag
    assert [image.uri.removeprefix("s3://pictures/")] == await server.names()
    assert (1024, 1024) == (image.width, image.height)
    assert [] == left(tmp_path)


async def test_several_images_have_objects_of_their_own(paint, server, bucket):
    """Each image of a request is one object."""
    _, client = paint
    result = await client.send(GenerationRequest(PROMPT, n=3), into=bucket(name="{slug}-{index}.{ext}"))

    assert [f"run/a-sea-otter-{number}.png" for number in (1, 2, 3)] == await server.names()
    assert [0, 1, 2] == [image.index for image in result.images]


async def test_many_requests_are_put_into_one_bucket(paint, server, bucket):
    """A map looks at the bucket once, and puts an object for each request."""
    _, client = paint
    requests = [GenerationRequest(f"{PROMPT} {number}") for number in range(12)]
    async with client.map(requests, into=bucket(), concurrency=4) as outcomes:
        found = [outcome async for outcome in outcomes]

    assert all(isinstance(outcome, Done) for outcome in found)
    assert 12 == len(await server.names())


@pytest.mark.parametrize("fault", [503, "cut", "drop"])
async def test_a_failure_that_strikes_once_costs_nothing(paint, server, proxy, bucket, tmp_path, fault):
    """The object is put again; where the first was stored after all, it is known by its digest."""
    emulator, client = paint
    proxy.faults.append(fault)
    result = await client.send(GenerationRequest(PROMPT), into=bucket(options=server.options(proxy.endpoint)))

    assert 1 == emulator.ledger.billed_images
    assert [result.image.uri.removeprefix("s3://pictures/")] == await server.names()
    assert 2 == len(proxy.puts)
    assert [] == left(tmp_path)


@pytest.mark.parametrize("fault", [403, 503, "drop"])
async def test_an_image_that_cannot_be_put_is_kept_here(paint, server, proxy, bucket, tmp_path, fault):
    """The error has the image and names its file; the next request is refused before it is sent."""
    emulator, client = paint
    into = bucket(options=server.options(proxy.endpoint))
    proxy.faults.extend([fault] * 9)
    with pytest.raises(errors.StorageError, match="was saved as") as caught:
        await client.send(GenerationRequest(PROMPT), into=into)

    error = caught.value
    (path,) = error.elsewhere.values()
    assert path.read_bytes() == error.unsaved[0].data
    assert str(path) in error.message
    assert 1 == emulator.ledger.billed_images
    assert errors.Billing.YES is error.billed
    assert [] == await server.names()
    assert SECRET not in f"{error!r} {error} {error.__notes__ if hasattr(error, '__notes__') else ''}"
    assert [path.name] == left(tmp_path)


async def test_a_full_disk_is_no_reason_to_lose_an_image(paint, server, bucket, tmp_path, monkeypatch):
    """What this machine's disk does not take goes into the bucket from memory."""
    _, client = paint

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DirectoryWriter, "write_batch", fail)
    result = await client.send(GenerationRequest(PROMPT), into=bucket())

    body, _ = await server.get(result.image.uri)
    assert result.image.sha256 == hashlib.sha256(body).hexdigest()
    assert not any(folder.exists() and list(folder.glob("*burncloud*.png")) for folder in find_folders())


# --- large images ----------------------------------------------------------------------------------------------------


@pytest.fixture
def placement():
    """Return the context of one image."""
    with ThreadPoolExecutor(1) as executor:
        yield ImageContext(
            id="0123456789ab", index=0, prompt=PROMPT, model="m", date=datetime.now(UTC), executor=executor
        )


async def receive(bucket, placement, image):
    await bucket.prepare(placement, 1)
    writer = bucket.open(placement)
    for start in range(0, len(image), 65536):
        await writer.write(image[start : start + 65536])
    return await writer.keep(await writer.finish())


async def test_a_large_image_is_put_in_parts(server, proxy, bucket, placement, tmp_path):
    """It is one object in the end, whose bytes and digest are right."""
    image = noise(40_000_000)
    saved = await receive(bucket(options=server.options(proxy.endpoint)), placement, image)

    body, attributes = await server.get(saved.uri)
    assert hashlib.sha256(image).hexdigest() == hashlib.sha256(body).hexdigest() == attributes["sha256"] == saved.sha256
    assert 5 == len(proxy.puts)
    assert [] == left(tmp_path)


async def test_a_large_image_whose_parts_do_not_all_arrive_is_no_object(server, proxy, bucket, placement, tmp_path):
    """The bucket shows nothing, and the whole image is in a file."""
    image = noise(40_000_000)
    proxy.faults.extend([None, None, *[403] * 9])
    with pytest.raises(errors.StorageError, match="ExpiredToken") as caught:
        await receive(bucket(options=server.options(proxy.endpoint)), placement, image)

    assert [] == await server.names()
    assert image == caught.value.elsewhere[0].read_bytes()


# --- names that are taken --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "taken"), [("otter.png", "otter.png"), ("otter", "otter.webp"), ("otter.v2", "otter.v2.png")]
)
async def test_a_name_that_is_taken_is_refused_before_anything_is_sent(paint, server, bucket, name, taken):
    """With `exists="error"`, the request is not sent, and the object stays."""
    emulator, client = paint
    await server.ask("PUT", f"pictures/run/{taken}", b"theirs")
    with pytest.raises(errors.StorageError, match=rf"{re.escape(taken)} exists already, so nothing was sent"):
        await client.send(GenerationRequest(PROMPT), into=bucket(name=name))

    assert () == tuple(emulator.ledger.requests)


async def test_a_name_that_is_taken_gets_a_number(paint, server, bucket):
    """With `exists="rename"`, no object is written over."""
    _, client = paint
    await server.ask("PUT", "pictures/run/otter.png", b"theirs")
    result = await client.send(GenerationRequest(PROMPT), into=bucket(name="otter.png", exists="rename"))

    assert "s3://pictures/run/otter-2.png" == result.image.uri
    assert b"theirs" == (await server.get("s3://pictures/run/otter.png"))[0]


async def test_an_object_may_be_written_over(paint, server, bucket):
    """With `exists="overwrite"`, the new image takes the place of the object."""
    _, client = paint
    await server.ask("PUT", "pictures/run/otter.png", b"theirs")
    result = await client.send(GenerationRequest(PROMPT), into=bucket(name="otter.png", exists="overwrite"))

    assert result.image.size == len((await server.get("s3://pictures/run/otter.png"))[0])


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        pytest.param("s3://missing/run", {}, "there is no such bucket", id="no bucket"),
        pytest.param("s3://pictures", {"endpoint": "https://127.0.0.1:1"}, "cannot be written", id="no server"),
    ],
)
async def test_a_bucket_that_cannot_be_written_costs_nothing(paint, server, bucket, url, options, said):
    """It is found out before the request is sent."""
    emulator, client = paint
    with pytest.raises(errors.StorageError, match=said) as caught:
        await client.send(GenerationRequest(PROMPT), into=bucket(url, options=server.options(**options)))

    assert () == tuple(emulator.ledger.requests)
    assert errors.Billing.NO is caught.value.billed
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/x", "begins with s3://, gs:// or az://"),
        ("/tmp/pictures", "use Directory"),
        ("file:///tmp/pictures", "use Directory"),
        ("s3://", "names no bucket"),
        ("s3://pictures?x=1", "takes no"),
        (f"s3://{KEY}:{SECRET}@pictures/run", "holds no credentials"),
        ("s3://[pictures", "cannot be read"),
    ],
    ids=["scheme", "path", "file", "empty", "query", "credentials", "brackets"],
)
def test_an_address_that_is_not_valid_is_refused(url, said):
    """One sentence says what to write; credentials are not repeated."""
    with pytest.raises(errors.ConfigurationError, match=said) as caught:
        Bucket(url)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("options", [{"config": {"colour": "red"}}, {"config": 7}, {"colour": "red"}], ids=str)
def test_an_option_that_is_not_valid_is_refused(options):
    """It is found when the bucket is made."""
    with pytest.raises(errors.ConfigurationError):
        Bucket("s3://pictures", options=options)


def test_a_bucket_shows_no_secret(server):
    """Neither its repr nor that of what it makes shows the options."""
    assert "Bucket(url='s3://pictures'" in repr(made := Bucket("s3://pictures", options=server.options()))
    assert SECRET not in repr(made)
