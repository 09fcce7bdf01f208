"""Columns become requests: which operation, with which defaults, from which images."""

from __future__ import annotations

import base64
import json

import pytest
from pictures import png

from burncloud_images.bulk.documents import to_request
from burncloud_images.bulk.inputs.requests import Defaults
from burncloud_images.bulk.rows import BadRow, Row
from burncloud_images.errors import InvalidRequestError
from burncloud_images.model.inputs import FileID, ImageURL, PathSource
from burncloud_images.model.operations import EditRequest, GenerationRequest, VariationRequest

URL = "https://images.example/a.png"
DATA = f"data:image/png;base64,{base64.b64encode(png(1, 1)).decode()}"
HINT = "it has to be a path, an address, or an object with image_url or file_id"


@pytest.fixture
def make(read):
    """Return what makes a request of columns, or tells why not."""

    async def go(columns, **options):
        (row,) = await read(json.dumps(columns), **options)
        return row.reason if isinstance(row, BadRow) else to_request(row.document)

    return go


# --- operations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"prompt": "x"}, GenerationRequest),
        ({"prompt": "x", "image": "a.png"}, EditRequest),
        ({"image": "a.png"}, VariationRequest),
        ({"prompt": "x", "operation": "generations"}, GenerationRequest),
        ({"prompt": "x", "image": "a.png", "operation": "edits"}, EditRequest),
        ({"image": "a.png", "operation": "variations"}, VariationRequest),
        ({"prompt": "x", "operation": "generate"}, GenerationRequest),
        ({"prompt": "x", "image": "a.png", "operation": "edit"}, EditRequest),
        ({"image": "a.png", "operation": "variation"}, VariationRequest),
        ({"prompt": "x", "by_reference": False}, GenerationRequest),
    ],
)
async def test_the_operation_is_as_it_is_said_or_seen(make, columns, kind):
    """A prompt makes an image, with an image it changes it, and an image alone is varied."""
    assert kind is type(await make(columns))


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"prompt": "x", "operation": "draw"}, "operation: it has to be one of generations, edits, variations"),
        ({"prompt": "x", "operation": 7}, "operation: it has to be one of generations, edits, variations"),
        ({"n": 1}, "prompt: it has to be given"),
        ({"operation": "edits"}, "prompt: it has to be given; image: at least one image has to be given"),
        ({"operation": "variations"}, "image: it has to be given"),
        ({"prompt": "x", "mask": "a.png"}, "mask: generations do not take it"),
        ({"prompt": "x", "image": "a.png", "style": "vivid"}, "style: edits do not take it"),
        ({"prompt": "x", "image": "a.png", "operation": "variations"}, "prompt: variations do not take it"),
        ({"prompt": "x", "stream": True}, "stream: streams are asked for by another method"),
    ],
)
async def test_what_an_operation_does_not_take_is_refused(make, columns, reason):
    """Rather than left away: it would be another picture than was meant, and be paid."""
    assert reason == await make(columns)


async def test_all_that_is_wrong_comes_at_once(make):
    """So that it is mended in one go."""
    images = await make({"prompt": "", "image": ["no.png", "a.png", "../x"], "style": "vivid"})
    fields = await make({"prompt": "", "n": 0, "size": 7})

    assert [
        "style: edits do not take it",
        "image: number 1 of 3: it cannot be read: there is no such file",
        "image: number 3 of 3: it lies outside the folder that rows may name images in",
        "prompt: it is empty",
    ] == images.split("; ")
    assert {
        "n: at least 1 image has to be asked for, not 0",
        "size: it has to be text, not int",
        "prompt: it is empty",
    } == set(fields.split("; "))


# --- defaults --------------------------------------------------------------------------------------------------------


async def test_defaults_fill_what_a_row_lacks(make):
    """Each only where the operation has that field; what a row says holds."""
    defaults = {"model": "m", "style": "vivid", "input_fidelity": "high", "n": 3, "size": None}

    assert GenerationRequest("x", model="m", style="vivid", n=1) == await make(
        {"prompt": "x", "n": 1}, defaults=defaults
    )
    edit = await make({"prompt": "x", "image": URL}, defaults=defaults)
    assert EditRequest(ImageURL(URL), "x", model="m", input_fidelity="high", n=3) == edit
    variation = await make({"image": URL}, defaults=defaults)
    assert VariationRequest(ImageURL(URL), model="m", n=3) == variation


async def test_a_default_may_be_what_makes_the_operation(make):
    """A prompt for all images, an image for all prompts, or its name."""
    assert EditRequest(ImageURL(URL), "x") == await make({"image": URL}, defaults={"prompt": "x"})
    assert EditRequest(ImageURL(URL), "x") == await make({"prompt": "x"}, defaults={"image": URL})
    assert VariationRequest(ImageURL(URL)) == await make(
        {"image": URL}, defaults={"prompt": "x", "operation": "variations"}
    )


async def test_defaults_that_no_request_has_are_extra(make):
    """Those of the row are added, and win."""
    defaults = {"seed": 1, "watermark": False, "extra": {"steps": 2}}

    assert {"seed": 1, "watermark": False, "steps": 2} == (await make({"prompt": "x"}, defaults=defaults)).extra
    own = await make({"prompt": "x", "extra": {"seed": 7}}, defaults=defaults)
    assert {"seed": 7, "watermark": False, "steps": 2} == own.extra
    assert "extra: it has to be a mapping, not list" == await make({"prompt": "x", "extra": []}, defaults=defaults)


def test_defaults_that_are_none_are_refused():
    """Before anything is read."""
    with pytest.raises(InvalidRequestError, match="extra: it has to be a mapping"):
        Defaults.of({"extra": [1]})


# --- images ----------------------------------------------------------------------------------------------------------


async def test_images_are_files_addresses_and_ids(make, folder):
    """Several in their order; a file's id can only be sent by reference."""
    edit = await make({"prompt": "x", "image": ["b.png", URL, "a.png"], "mask": "a.png", "markup": DATA})

    a, b = PathSource(folder / "a.png"), PathSource(folder / "b.png")
    assert (b, ImageURL(URL), a) == edit.image
    assert (a, ImageURL(DATA)) == (edit.mask, edit.markup)
    assert not edit.by_reference
    ids = await make({"prompt": "x", "image": [{"file_id": "f"}, {"image_url": URL}]})
    assert EditRequest([FileID("f"), ImageURL(URL)], "x", by_reference=True) == ids
    assert ImageURL(DATA) == (await make({"image": "DATA" + DATA[4:]})).image


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (7, HINT),
        ([], "at least one image has to be given"),
        ([["a.png"]], HINT),
        ({"path": "a.png"}, HINT),
        ({"file_id": "f", "image_url": URL}, HINT),
        ({"file_id": ""}, HINT),
        ("", "it is no name of a file"),
        (["a.png"] * 101, "no model takes more than 100 images"),
        ("ftp://images.example/a.png", "its address is neither https nor http"),
        ("file:///etc/passwd", "its address is neither https nor http"),
        ("http://images.example/a.png", "it would be fetched unencrypted; use https://"),
        ("https://[x/a.png", "its address cannot be read"),
        ("https://images.example:x/", "its address cannot be read"),
        ("https:///a.png", "its address is too long, names no host, or holds what no address has"),
        ("https://me:secret@images.example/", "its address is too long, names no host, or holds what no address has"),
        ("https://images.example/a b", "its address is too long, names no host, or holds what no address has"),
        (f"{URL}?{'x' * 9000}", "its address is too long, names no host, or holds what no address has"),
        ("data:image/png,x", "a data: URL has to hold base64"),
        ("data:;base64,!", "the data: URL holds characters that are not base64"),
        ("data:;base64,AAAA", "the data: URL holds no PNG, JPEG, WebP or GIF image"),
    ],
)
async def test_what_is_no_image_is_refused(make, image, reason):
    """The reason shows no address: it may be signed."""
    assert f"image: {reason}" == await make({"prompt": "x", "image": image})


async def test_unencrypted_addresses_have_to_be_allowed(make):
    """But for those of this machine."""
    for url, options in [("http://images.example/a.png", {"allow_http": True}), ("http://127.0.0.1:8080/a.png", {})]:
        assert ImageURL(url) == (await make({"image": url}, **options)).image


async def test_a_variation_takes_one_image(make):
    """Neither a list nor an id."""
    assert f"image: {HINT}" == await make({"image": ["a.png"]})
    assert "image: variations take an upload, not a FileID" in await make({"image": {"file_id": "f"}})


async def test_files_and_references_do_not_mix(make):
    """As everywhere."""
    reason = await make({"prompt": "x", "image": "a.png", "by_reference": True})

    assert "image: by_reference sends addresses, so it takes ImageURL and FileID only" == reason


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.png", "/dev/zero", "/proc/self/environ"])
async def test_a_row_names_no_file_outside_its_folder(make, name, tmp_path):
    """Which is that of the list, or the one that is said."""
    assert "image: it lies outside the folder that rows may name images in" == await make({"image": name})
    allowed = await make({"image": "../secret.png"}, input_root=tmp_path / "list" / "..")
    assert "image: it lies outside the folder that rows may name images in" == allowed
    assert PathSource(tmp_path / "secret.png") == (await make({"image": "secret.png"}, input_root=tmp_path)).image


async def test_the_document_says_what_the_file_was(read, folder):
    """And the key depends on its bytes alone."""
    (one,) = await read(json.dumps({"image": "a.png"}))
    (folder / "c.png").write_bytes((folder / "a.png").read_bytes())
    (two,) = await read(json.dumps({"image": "c.png"}))

    assert isinstance(one, Row)
    assert {"path", "sha256", "size", "mtime_ns"} == set(one.document["image"])
    assert one.document != two.document
    assert one.key == two.key
