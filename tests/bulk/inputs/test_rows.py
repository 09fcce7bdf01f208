"""Parsed rows become requests or bad rows, and warnings are given once."""

from __future__ import annotations

import base64
import json

import pytest
from pictures import png

from burncloud_images.bulk.inputs.rows import RowDefaults
from burncloud_images.bulk.records import BadRow, NewRequest
from burncloud_images.bulk.request_json import to_key, to_request
from burncloud_images.errors import ImagesWarning, InvalidRequestError
from burncloud_images.model.inputs import FileID, ImageURL, PathSource
from burncloud_images.model.operations import EditRequest, GenerationRequest, VariationRequest

URL = "https://images.example/a.png"
DATA = f"data:image/png;base64,{base64.b64encode(png(1, 1)).decode()}"
HINT = "it has to be a path, a URL, or an object with image_url or file_id"


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
        ({"prompt": "x", "stream": True}, "stream: rows cannot ask for streams"),
    ],
)
async def test_what_an_operation_does_not_take_is_refused(make, columns, reason):
    """Rather than left away: it would be another picture than was meant, and be paid."""
    assert reason == await make(columns)


async def test_all_that_is_wrong_comes_at_once(make):
    """A bad row gives all its reasons at once."""
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
        RowDefaults.of({"extra": [1]})


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
        ("", "it is not a file name"),
        (["a.png"] * 101, "no model takes more than 100 images"),
        ("ftp://images.example/a.png", "its URL is neither https nor http"),
        ("file:///etc/passwd", "its URL is neither https nor http"),
        ("http://images.example/a.png", "it would be fetched unencrypted; use https://"),
        ("https://[x/a.png", "its URL cannot be read"),
        ("https://images.example:x/", "its URL cannot be read"),
        ("https:///a.png", "its URL is too long, has no host, or has characters that a URL cannot have"),
        (
            "https://me:secret@images.example/",
            "its URL is too long, has no host, or has characters that a URL cannot have",
        ),
        ("https://images.example/a b", "its URL is too long, has no host, or has characters that a URL cannot have"),
        (f"{URL}?{'x' * 9000}", "its URL is too long, has no host, or has characters that a URL cannot have"),
        ("data:image/png,x", "a data: URL has to hold base64"),
        ("data:;base64,!", "the data: URL holds characters that are not base64"),
        ("data:;base64,AAAA", "the data: URL does not hold a PNG, JPEG, WebP or GIF image"),
    ],
)
async def test_what_is_no_image_is_refused(make, image, reason):
    """The reason shows no address: it may be signed."""
    assert f"image: {reason}" == await make({"prompt": "x", "image": image})


async def test_unencrypted_addresses_have_to_be_allowed(make):
    """Unencrypted URLs are refused unless allowed or of this machine."""
    for url, options in [("http://images.example/a.png", {"allow_http": True}), ("http://127.0.0.1:8080/a.png", {})]:
        assert ImageURL(url) == (await make({"image": url}, **options)).image


async def test_a_variation_takes_one_image(make):
    """Neither a list nor an id."""
    assert f"image: {HINT}" == await make({"image": ["a.png"]})
    assert "image: variations take an upload, not a FileID" in await make({"image": {"file_id": "f"}})


async def test_files_and_references_do_not_mix(make):
    """A row cannot have both files and references."""
    reason = await make({"prompt": "x", "image": "a.png", "by_reference": True})

    assert "image: by_reference sends addresses, so it takes ImageURL and FileID only" == reason


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.png", "/dev/zero", "/proc/self/environ"])
async def test_a_row_names_no_file_outside_its_folder(make, name, tmp_path):
    """A row names files below the list's folder, or the folder that was given."""
    assert "image: it lies outside the folder that rows may name images in" == await make({"image": name})
    allowed = await make({"image": "../secret.png"}, input_root=tmp_path / "list" / "..")
    assert "image: it lies outside the folder that rows may name images in" == allowed
    assert PathSource(tmp_path / "secret.png") == (await make({"image": "secret.png"}, input_root=tmp_path)).image


async def test_the_document_says_what_the_file_was(read, folder):
    """The document has the file's name and digest, and the key depends on the bytes alone."""
    (one,) = await read(json.dumps({"image": "a.png"}))
    (folder / "c.png").write_bytes((folder / "a.png").read_bytes())
    (two,) = await read(json.dumps({"image": "c.png"}))

    assert isinstance(one, NewRequest)
    assert {"path", "sha256", "size", "mtime_ns"} == set(one.document["image"])
    assert one.document != two.document
    assert one.key == two.key


@pytest.fixture
def one(read):
    async def go(**columns):
        (row,) = await read(json.dumps({"prompt": "x", **columns}))
        return row

    return go


async def test_a_row_says_where_it_stands(read, folder):
    """Its source as it was named, its line, its name, and a key of what is asked for."""
    rows = await read('{"prompt": "x", "id": "a"}\n\n{"prompt": "x"}\n{}')

    assert [(str(folder / "rows.jsonl"), line, label) for line, label in [(1, "a"), (3, ""), (4, "")]] == [
        (row.source, row.line, row.label) for row in rows
    ]
    assert rows[0].key == rows[1].key == to_key(rows[0].document, 0)
    assert isinstance(rows[2], BadRow)


@pytest.mark.parametrize(
    ("columns", "label"),
    [
        ({"id": "a"}, "a"),
        ({"id": 7}, "7"),
        ({"id": 0}, "0"),
        ({"custom_id": "a"}, "a"),
        ({"id": "  "}, ""),
        ({"id": "../../etc/x"}, "../../etc/x"),
        ({"id": "=cmd|'/c calc'!A1"}, "=cmd|'/c calc'!A1"),
        ({"id": "水獭 1"}, "水獭 1"),
        ({"id": "x" * 200}, "x" * 200),
    ],
)
async def test_a_row_has_the_name_that_it_is_given(one, columns, label):
    """It is a text to be shown, not one to be used; who shows it escapes it."""
    row = await one(**columns)

    assert isinstance(row, NewRequest)
    assert label == row.label


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"id": "a", "custom_id": "b"}, "id: a row has either id or custom_id"),
        ({"id": True}, "id: it has to be text or a whole number"),
        ({"id": 1.5}, "id: it has to be text or a whole number"),
        ({"id": ["a"]}, "id: it has to be text or a whole number"),
        *(
            ({"id": bad}, "id: it is longer than 200 characters, or has some that cannot be printed")
            for bad in ("x" * 201, "a\x1b[2J", "a\nb", "\u202egnp", "\ud83d")
        ),
    ],
)
async def test_a_name_that_cannot_be_shown_is_refused(one, columns, reason):
    """It would be in every list of the job."""
    row = await one(**columns)

    assert (reason, "") == (row.reason, row.label)


async def test_repeats_of_a_request_have_keys_of_their_own(one):
    """The same one twice is one request; another repeat is another."""
    rows = [await one(), await one(repeat=0), await one(repeat=1), await one(repeat=2)]

    assert rows[0].key == rows[1].key
    assert 3 == len({row.key for row in rows})
    assert [0, 0, 1, 2] == [row.repeat for row in rows]
    assert 1 == len({json.dumps(row.document) for row in rows})


@pytest.mark.parametrize("repeat", [-1, 1.0, True, "1", 10**10])
async def test_a_repeat_is_a_whole_number(one, repeat):
    """A repeat is a whole number from 0."""
    row = await one(repeat=repeat, id="a")

    assert "repeat: it has to be a whole number from 0 that tells equal requests apart" == row.reason
    assert "a" == row.label


@pytest.mark.parametrize(
    "columns",
    [
        {"extra": {"\x1b[31m" + "x" * 1000: {}, "size": 1}},
        {"extra": {"secret" * 100: float("inf")}},
        {"size": 1, "id": "a"},
    ],
)
async def test_a_reason_is_one_short_line(read, columns):
    """It is printed and kept, however long and odd what it tells of is."""
    text = json.dumps({"n": 0, **columns}).replace("Infinity", "1e999")
    (row,) = await read(text)

    assert isinstance(row, BadRow)
    assert len(row.reason) <= 200
    assert row.reason.isprintable()
    assert columns.get("id", "") == row.label


async def test_what_a_job_cannot_keep_is_refused(one):
    """As of requests that a program makes."""
    row = await one(n=10_001)

    assert "n: a job takes at most 10,000 images of one request" == row.reason


def lines(*columns):
    return "\n".join(json.dumps({"prompt": "x", **given}) for given in columns)


async def test_a_column_that_is_not_sent_is_told_of_once(warned, folder):
    """With the one that it may be a slip of; the row is made without it."""
    rows, row_warnings = await warned(lines({}, {"promt": "y", "seed": 1}, {"seed": 2}, {"promt": "z"}))
    name = folder / "rows.jsonl"

    slip, unknown = (f"{name}, line 2: Column {column!r} is not a known field" for column in ("promt", "seed"))
    assert [
        f"{slip} and is not sent; the metadata keep it. Did you mean prompt?",
        f"{unknown} and is not sent; the metadata keep it. Put further API fields into extra.",
    ] == row_warnings
    assert [{"operation": "generations", "prompt": "x"}] * 4 == [row.document for row in rows]


async def test_columns_of_a_table_are_told_of_where_they_are_filled(warned):
    """Unknown columns are warned of where a row fills them, also unnamed ones."""
    rows, row_warnings = await warned(",prompt,note\n0,a,\n1,b,seen\n", "list.csv")

    assert 2 == len(rows)
    assert "line 2: A column without a name" in row_warnings[0]
    assert "line 3: Column 'note'" in row_warnings[1]
    assert 2 == len(row_warnings)


async def test_what_is_in_extra_is_sent(warned):
    """Nobody is warned of what was asked for by name."""
    rows, row_warnings = await warned(lines({"extra": {"seed": 1}}))

    assert {"seed": 1} == rows[0].document["extra"]
    assert [] == row_warnings


async def test_documented_limits_warn_once_per_model(warned):
    """An unknown model has none; the row goes on: who sends it decides."""
    many = {"model": "gpt-image-2", "n": 11}
    rows, row_warnings = await warned(lines(many, many, {"model": "dall-e-2", "n": 11}, {"model": "new", "n": 11}))

    assert 4 == len([row for row in rows if row.document["n"] == 11])
    assert ["1", "3"] == [remark.split("line ")[1][0] for remark in row_warnings]
    assert all(", line " in remark and ": n: " in remark for remark in row_warnings)


async def test_limits_of_uploads_warn_too(warned):
    """As far as the files are here: a mask of another size, a large count."""
    edit = {"prompt": "x", "image": "a.png", "mask": "b.png", "model": "gpt-image-2"}
    _, row_warnings = await warned(lines(edit, {**edit, "image": "https://images.example/a.png"}))

    assert 1 == len(row_warnings)
    assert "line 1: mask: " in row_warnings[0]


async def test_a_million_odd_columns_are_not_told_of(warned):
    """A million unknown columns are neither all named nor kept in memory."""
    rows, row_warnings = await warned(lines(*({f"{'x' * 1000}{number}": 1} for number in range(3))))
    _, many = await warned(lines(*({f"x{number}": 1} for number in range(300))))

    assert 3 == len(rows)
    assert 1 == len(row_warnings)
    assert len(row_warnings[0]) < 400
    assert 101 == len(many)
    assert many[-1].endswith("Further warnings of this kind are not shown.")


async def test_a_warning_that_is_an_error_ends_the_reading(read):
    """A warning that is raised as an error ends the reading and leaves nothing open."""
    with pytest.raises(ImagesWarning, match="seed"):
        await read(lines({"seed": 1}))


# --- shapes ----------------------------------------------------------------------------------------------------------


async def test_a_shape_becomes_the_size_that_each_model_takes(read):
    """A size that a row or the defaults give stays, and pixels are about as many as are wanted."""
    text = "prompt,model,size\na,gpt-image-2,\nb,dall-e-3,\nc,gpt-image-2,1024x640\nd,someone's,\n"
    rows = await read(text, "list.csv", aspect="16:9", pixels=2_000_000)
    given = await read("prompt\na\n", "list.csv", aspect="16:9", defaults={"size": "1024x1024"})

    assert ["1888x1056", "1792x1024", "1024x640", "1888x1056"] == [row.document["size"] for row in rows]
    assert ["1024x1024"] == [row.document["size"] for row in given]


@pytest.mark.parametrize(
    ("aspect", "reason"),
    [("2:1", "size: dall-e-3 has no size of 2:1"), ("wide", "size: 'wide' is not a ratio"), ("4:1", "has no size")],
)
async def test_a_row_whose_model_lacks_the_shape_is_bad(read, aspect, reason):
    """No other shape takes its place."""
    (row,) = await read('{"prompt": "a", "model": "dall-e-3"}', aspect=aspect)

    assert reason in row.reason


async def test_a_shape_for_no_model_is_refused(read):
    """Nothing is taken, since most rows of such a list name none."""
    text = '{"prompt": "a", "model": "dall-e-3"}\n{"prompt": "b"}\n'
    with pytest.raises(InvalidRequestError, match="line 2 names no model, and the size for 16:9 depends on it"):
        await read(text, aspect="16:9")

    assert 2 == len(await read(text, aspect="16:9", models=("gpt-image-2",)))
