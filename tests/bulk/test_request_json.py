"""Documents bring requests back as they were, and keys tell apart what is sent and nothing else."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import edit_requests, generation_requests, variation_requests

from burncloud_images.bulk.records import InputFile
from burncloud_images.bulk.request_json import to_document, to_key, to_request
from burncloud_images.errors import InvalidRequestError
from burncloud_images.model.inputs import BytesSource, FileID, ImageURL, PathSource
from burncloud_images.model.operations import EditRequest, GenerationRequest, ImagesRequest, VariationRequest

Files = dict[Path, InputFile]


def on_disk(request: ImagesRequest) -> tuple[ImagesRequest, Files]:
    """Return the request with a file for each of its images, and these files."""
    files: Files = {}

    def moved(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(moved(item) for item in value)
        if not isinstance(value, BytesSource):
            return value
        digest = hashlib.sha256(value.data).hexdigest()
        path = Path("/pictures") / digest
        files[path] = InputFile(path=path, sha256=digest, size=len(value.data), mtime_ns=1)
        return PathSource(path)

    names = [name for name in ("image", "mask", "markup") if hasattr(request, name)]
    return attrs.evolve(request, **{name: moved(getattr(request, name)) for name in names}), files


def document_of(request: ImagesRequest, *files: InputFile) -> dict[str, object]:
    return to_document(request, {file.path: file for file in files})


def key_of(request: ImagesRequest, *files: InputFile, repeat: int = 0) -> str:
    return to_key(document_of(request, *files), repeat)


def a_file(name: str = "/a.png", **changes: object) -> InputFile:
    return attrs.evolve(InputFile(path=Path(name), sha256="0" * 64, size=7, mtime_ns=1), **changes)


# --- back and forth --------------------------------------------------------------------------------------------------


@given(generation_requests | edit_requests | variation_requests)
def test_a_document_brings_its_request_back(request):
    """A document gives back its request, also through JSON text, and the same document again."""
    request, files = on_disk(request)
    document = to_document(request, files)
    again = json.loads(json.dumps(document))

    assert document == again
    assert request == to_request(again)
    assert document == to_document(to_request(again), files)


@pytest.mark.parametrize(
    "request_",
    [
        EditRequest([ImageURL("https://images.example/a.png"), FileID("file-1")], "x", by_reference=True),
        EditRequest(ImageURL("https://images.example/a.png"), "x", mask=ImageURL("https://images.example/b.png")),
        VariationRequest(ImageURL("https://images.example/a.png"), n=2),
    ],
)
def test_images_elsewhere_come_back_by_their_address(request_):
    """Neither a URL nor a file of the provider is looked at."""
    assert request_ == to_request(json.loads(json.dumps(document_of(request_))))


def test_a_document_of_something_else_is_refused():
    """It was not made here."""
    with pytest.raises(ValueError, match="names no image"):
        to_request({"operation": "variations", "image": {"bytes": "x"}})


def test_a_document_says_what_the_file_was():
    """Path, digest, size and time, so that a change is noticed; several images keep their order."""
    first, second = a_file(), a_file("/b.png", sha256="1" * 64)
    document = document_of(EditRequest([first.path, second.path], "x", n=2, extra={"seed": (1,)}), first, second)

    assert {
        "operation": "edits",
        "n": 2,
        "extra": {"seed": [1]},
        "image": [
            {"path": "/a.png", "sha256": "0" * 64, "size": 7, "mtime_ns": 1},
            {"path": "/b.png", "sha256": "1" * 64, "size": 7, "mtime_ns": 1},
        ],
        "prompt": "x",
    } == document


async def chunks():
    yield b"x"


@pytest.mark.parametrize(
    ("image", "advice"),
    [
        (b"x", "image: bytes are gone with the process; write them to a file and give its path"),
        (io.BytesIO(b"x"), "image: an open file is gone with the process; give its path"),
        (chunks(), "image: a stream can be read once only; write it to a file and give its path"),
        (lambda: io.BytesIO(b"x"), "image: an opener is gone with the process; give a path or an ImageURL"),
        (Path("/\udcff.png"), "image: the file name is not UTF-8 text; rename the file"),
    ],
)
def test_what_another_process_cannot_open_is_refused(image, advice):
    """The reason says what to give instead."""
    path = image if isinstance(image, Path) else Path("/a.png")
    with pytest.raises(InvalidRequestError) as caught:
        to_document(EditRequest(image, "x"), {path: a_file(str(path))})

    assert [advice] == [str(violation) for violation in caught.value.violations]


def test_a_picture_in_memory_is_refused():
    """It would have to be saved."""
    pillow = pytest.importorskip("PIL.Image")
    with pytest.raises(InvalidRequestError, match="save it to a file"):
        document_of(VariationRequest(pillow.new("RGB", (1, 1))))


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_what_is_too_large_to_be_kept_is_refused():
    """All reasons at once; what is just small enough is kept."""
    request = GenerationRequest("x", n=10_001, svg={"a": nested(100)}, extra={"a": 2**256})
    with pytest.raises(InvalidRequestError) as caught:
        document_of(request)

    assert {"n", "svg", "extra"} == {violation.field for violation in caught.value.violations}
    document_of(GenerationRequest("x", n=10_000, svg={"a": nested(99)}, extra={"a": 2**256 - 1}))


# --- keys ------------------------------------------------------------------------------------------------------------


@given(generation_requests | edit_requests | variation_requests, st.integers(0, 3))
def test_a_key_is_32_hex_digits_of_the_document(request, repeat):
    """It does not depend on the order of names, and another repeat has another."""
    document = to_document(*on_disk(request))
    turned = json.loads(json.dumps(dict(reversed(document.items()))))

    assert to_key(document, repeat) == to_key(turned, repeat)
    assert 32 == len(bytes.fromhex(to_key(document, repeat)).hex())
    assert to_key(document, repeat) != to_key(document, repeat + 1)


@given(generation_requests | edit_requests | variation_requests, generation_requests | edit_requests)
def test_keys_are_equal_if_the_same_is_sent(one, other):
    """Two keys are equal if and only if the same is sent."""
    documents = [to_document(*on_disk(request)) for request in (one, other)]
    sent = [
        json.dumps([request.operation, request.fields(), list(map(repr, on_disk(request)[0].images()))], sort_keys=True)
        for request in (one, other)
    ]

    assert (sent[0] == sent[1]) == (to_key(documents[0], 0) == to_key(documents[1], 0))


def test_keys_stay_as_they_are():
    """They are the Idempotency-Keys of jobs that are on disk; a change would buy everything again."""
    edit = EditRequest(Path("/a.png"), "x", extra={"seed": 1})

    assert "355eff1c02b779ada440a131e85a2e79" == key_of(GenerationRequest("a", model="gpt-image-2"))
    assert "24880ffa0a03159d79b508eaeae54ef4" == key_of(edit, a_file(), repeat=2)


def test_only_the_bytes_of_an_image_count():
    """Neither where the file lies nor when it was changed; and a file is the same as its data: URL."""
    file = a_file(sha256=hashlib.sha256(b"x").hexdigest())
    moved = attrs.evolve(file, path=Path("/elsewhere.png"), mtime_ns=2)
    url = ImageURL(f"data:image/png;base64,{base64.b64encode(b'x').decode()}")
    key = key_of(VariationRequest(file.path), file)

    assert key == key_of(VariationRequest(moved.path), moved) == key_of(VariationRequest(url))
    assert key != key_of(VariationRequest(file.path), attrs.evolve(file, sha256="1" * 64))
    assert key != key_of(VariationRequest(ImageURL("https://images.example/a.png")))


def test_the_place_of_an_image_counts():
    """The same two files in another order, or as image and mask, are another request."""
    files = a_file(), a_file("/b.png", sha256="1" * 64)
    requests = [
        EditRequest(["/a.png", "/b.png"], "x"),
        EditRequest(["/b.png", "/a.png"], "x"),
        EditRequest("/a.png", "x", mask="/b.png"),
        EditRequest("/a.png", "x", markup="/b.png"),
    ]

    assert 4 == len({key_of(request, *files) for request in requests})


def test_defaults_are_not_filled_in():
    """A field that is not sent is not the field with its documented default; an unset extra field is not sent."""
    keys = {key_of(GenerationRequest("x")), key_of(GenerationRequest("x", n=1)), key_of(GenerationRequest("x", n=2))}

    assert 3 == len(keys)
    assert key_of(GenerationRequest("x")) == key_of(GenerationRequest("x", extra={"seed": None}))
    assert key_of(GenerationRequest("x")) != key_of(GenerationRequest("x", extra={"seed": 1}))
