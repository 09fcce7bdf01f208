"""Each documented limit, asked for over HTTP: what is refused, how, and what just passes."""

import io

import pytest
from PIL import Image

from burncloud_images.emulator.model_limits import MODELS, ROWS, UPLOADS, family

MINI, FIDELITY = "gpt-image-1-mini", "invalid_input_fidelity_model"
D2, D3, G1, G2, G25, G26 = (
    "dall-e-2",
    "dall-e-3",
    "gpt-image-1",
    "gpt-image-2",
    "gpt-image-2.5-flare",
    "gpt-image-2.6-sunburst",
)
DEFAULT_SIZES = {D2: "256x256", D3: "1024x1024"}


def png(size=(64, 64), mode="RGB", file_format="png"):
    file = io.BytesIO()
    Image.new(mode, size).save(file, file_format)
    return file.getvalue()


REFUSED = [
    ({"model": D2, "prompt": "x" * 1_001}, "prompt", "string_above_max_length"),
    ({"model": D3, "prompt": "x" * 4_001}, "prompt", "string_above_max_length"),
    ({"model": G1, "prompt": "x" * 32_001}, "prompt", "string_above_max_length"),
    ({"model": G1, "prompt": ""}, "prompt", "empty_string"),
    ({"model": G1, "prompt": 5}, "prompt", "invalid_type"),
    ({"model": G1, "prompt": None}, "prompt", "missing_required_parameter"),
    ({"model": D2, "n": 0}, "n", "integer_below_min_value"),
    ({"model": G1, "n": 11}, "n", "integer_above_max_value"),
    ({"model": D3, "n": 2}, "n", "integer_above_max_value"),
    ({"model": G1, "n": "2"}, "n", "invalid_type"),
    ({"model": G1, "n": True}, "n", "invalid_type"),
    ({"model": D2, "size": "1792x1024"}, "size", "invalid_value"),
    ({"model": D3, "size": "512x512"}, "size", "invalid_value"),
    ({"model": G1, "size": "512x512"}, "size", "invalid_value"),
    *(
        ({"model": model, "size": size}, "size", "invalid_value")
        for model in (G2, G25, G26)
        for size in ("64x64", "512x512", "768x512", "1040x624", "1792x936")
    ),
    ({"model": G2, "size": "1000x1000"}, "size", "invalid_value"),
    ({"model": G2, "size": "1600x512"}, "size", "invalid_value"),
    ({"model": G2, "size": "3856x2160"}, "size", "invalid_value"),
    ({"model": G2, "size": "2896x2880"}, "size", "invalid_value"),
    ({"model": G2, "size": "1024×1024"}, "size", "invalid_value"),  # noqa: RUF001
    ({"model": G2, "size": "0x16"}, "size", "invalid_value"),
    ({"model": D2, "quality": "hd"}, "quality", "invalid_value"),
    ({"model": D3, "quality": "high"}, "quality", "invalid_value"),
    ({"model": G1, "quality": "standard"}, "quality", "invalid_value"),
    ({"model": G2, "quality": "max"}, "quality", "invalid_value"),
    ({"model": G1, "response_format": "url"}, "response_format", "unknown_parameter"),
    ({"model": D2, "response_format": "png"}, "response_format", "invalid_value"),
    ({"model": D2, "style": "vivid"}, "style", "unknown_parameter"),
    ({"model": D3, "style": "loud"}, "style", "invalid_value"),
    ({"model": D3, "background": "opaque"}, "background", "unknown_parameter"),
    ({"model": G1, "background": "red"}, "background", "invalid_value"),
    ({"model": G1, "background": "transparent", "output_format": "jpeg"}, "background", "invalid_value"),
    ({"model": G1, "moderation": "high"}, "moderation", "invalid_value"),
    ({"model": D2, "moderation": "low"}, "moderation", "unknown_parameter"),
    ({"model": G25, "output_format": "gif"}, "output_format", "invalid_value"),
    ({"model": D2, "output_format": "png"}, "output_format", "unknown_parameter"),
    ({"model": G1, "output_compression": 50}, "output_compression", "invalid_value"),
    (
        {"model": G1, "output_compression": 101, "output_format": "webp"},
        "output_compression",
        "integer_above_max_value",
    ),
    ({"model": G1, "partial_images": 4}, "partial_images", "integer_above_max_value"),
    ({"model": G25, "complexity": "low"}, "complexity", "unknown_parameter"),
    ({"model": G26, "complexity": "auto"}, "complexity", "invalid_value"),
    ({"model": G26, "frame_count": 4}, "frame_count", "invalid_value"),
    ({"model": G26, "frame_count": 17, "output_format": "gif"}, "frame_count", "integer_above_max_value"),
    ({"model": G26, "frame_duration_ms": 19, "output_format": "gif"}, "frame_duration_ms", "integer_below_min_value"),
    ({"model": G26, "svg": {"model": "m"}}, "svg", "invalid_value"),
    ({"model": G26, "svg": {"model": "m"}, "output_format": "svg", "n": 2}, "svg", "invalid_value"),
    ({"model": G26, "svg": {}, "output_format": "svg"}, "svg.model", "missing_required_parameter"),
    ({"model": G26, "svg": "m", "output_format": "svg"}, "svg", "invalid_type"),
    (
        {"model": G26, "svg": {"model": "m", "reasoning": 5}, "output_format": "svg"},
        "svg.reasoning.effort",
        "invalid_value",
    ),
    ({"model": G26, "safety_identifier": "x" * 129}, "safety_identifier", "string_above_max_length"),
    ({"model": G1, "user": 5}, "user", "invalid_type"),
    ({"model": "midjourney"}, "model", "model_not_found"),
    ({"model": 5}, "model", "invalid_type"),
]


@pytest.mark.parametrize(("fields", "param", "code"), REFUSED)
async def test_what_is_not_documented_is_refused(emulator, caller, fields, param, code):
    """An undocumented value is refused with its field's name, and nothing is billed."""
    fields = {"size": DEFAULT_SIZES.get(fields["model"]), **fields}
    reply = await caller.generate(emulator, **fields)
    status = 404 if code == "model_not_found" else 400
    assert (reply.status, reply.error["param"], reply.error["code"]) == (status, param, code)
    assert reply.error["type"] == "invalid_request_error"
    assert emulator.ledger.billed_requests == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"model": D2, "prompt": "x" * 1_000, "n": 10},
        {"model": D3, "quality": "hd", "style": "natural", "size": "1792x1024", "response_format": "b64_json"},
        {"model": G1, "prompt": "图" * 32_000, "quality": "low", "moderation": "low", "size": "auto"},
        {"model": "gpt-image-2-2026-04-21", "size": "1408x480"},
        {"model": G2, "size": "480x1408", "background": "transparent", "output_format": "webp"},
        {"model": G25, "size": "1024x640", "quality": "xhigh", "partial_images": 3},
        {"model": G26, "size": "1024x640", "quality": "max", "complexity": "high", "user": "me"},
        {"model": G26, "size": "1024x640", "output_format": "jpeg", "output_compression": 0},
    ],
)
async def test_what_is_documented_passes(emulator, caller, fields):
    """The last value of each documented range is accepted."""
    reply = await caller.generate(emulator, **fields)
    assert reply.status == 200, reply.json
    assert emulator.ledger.billed_images == fields.get("n", 1)


async def test_the_largest_size_passes_in_both_orientations(emulator, caller):
    """3840x2160 and 2160x3840 are accepted."""
    for size in ("3840x2160", "2160x3840"):
        reply = await caller.generate(emulator, model=G2, size=size, output_format="jpeg")
        assert reply.json["size"] == size


def image(content, name="image", content_type="image/png", filename="a.png"):
    return name, filename, content_type, content


GOOD = png()
HOLE = png(mode="RGBA")
JPEG = png(file_format="jpeg")
BIG = HOLE[:-12] + bytes(4 * 1024 * 1024) + HOLE[-12:]

REFUSED_UPLOADS = [
    ([], {}, "image", "missing_required_parameter"),
    ([image(GOOD, content_type="application/octet-stream")], {}, "image", "unsupported_file_mimetype"),
    ([image(GOOD, content_type="image/jpeg")], {}, "image", "invalid_image_file"),
    ([image(b"no image")], {}, "image", "invalid_image_file"),
    ([image(GOOD[:-8])], {}, "image", "invalid_image_file"),
    ([image(GOOD), image(GOOD)], {}, "image", "duplicate_parameter"),
    ([image(GOOD), image(GOOD, "image[]")], {}, "image", "duplicate_parameter"),
    ([image(GOOD, "image[0]")], {}, "image", None),
    ([image(GOOD, "image[]")] * 17, {}, "image", "too_many_images"),
    ([image(HOLE, "image[]")] * 2, {"model": D2}, "image", "too_many_images"),
    ([image(JPEG, content_type="image/jpeg")], {"model": D2}, "image", "unsupported_file_mimetype"),
    ([image(png((64, 32), "RGBA"))], {"model": D2}, "image", "invalid_image_file"),
    ([image(BIG)], {"model": D2}, "image", "invalid_image_file"),
    ([image(GOOD)], {"model": D2}, "image", "invalid_image_file"),
    ([image(GOOD), image(JPEG, "mask", "image/jpeg")], {}, "mask", "unsupported_file_mimetype"),
    ([image(GOOD), image(BIG, "mask")], {}, "mask", "invalid_image_file"),
    ([image(GOOD), image(GOOD, "mask")], {}, "mask", "invalid_image_file"),
    ([image(GOOD), image(png((32, 32), "RGBA"), "mask")], {}, "mask", "invalid_image_file"),
    ([image(GOOD), image(HOLE, "markup")], {}, "markup", "unknown_parameter"),
    ([image(GOOD), image(HOLE, "markup"), image(HOLE, "mask")], {"model": G25}, "markup", "invalid_value"),
    ([image(GOOD), image(GOOD, "markup")], {"model": G25}, "markup", "invalid_image_file"),
    ([image(GOOD)], {"mask": "text"}, "mask", "invalid_type"),
    ([image(GOOD)], {"model": D3}, "model", "invalid_value"),
    ([image(GOOD)], {"model": G2, "input_fidelity": "low"}, "input_fidelity", FIDELITY),
    ([image(GOOD)], {"model": MINI, "input_fidelity": "high"}, "input_fidelity", "invalid_value"),
    ([image(HOLE)], {"model": D2, "input_fidelity": "low"}, "input_fidelity", "unknown_parameter"),
    ([image(GOOD)], {"n": "two"}, "n", "invalid_type"),
    ([image(GOOD)], {"response_format": "b64_json"}, "response_format", "unknown_parameter"),
    (
        [image(GOOD), image(HOLE, "mask")],
        {"model": G26, "output_format": "gif", "frame_count": 2},
        "frame_count",
        "invalid_value",
    ),
]


@pytest.mark.parametrize(("files", "fields", "param", "code"), REFUSED_UPLOADS)
async def test_uploads_that_are_not_documented_are_refused(emulator, caller, files, fields, param, code):
    """An undocumented upload is read completely, refused with its part's name, and not billed."""
    reply = await caller.edit(emulator, *files, **fields)
    assert reply.status == 400
    assert (reply.error["param"].removesuffix("[]"), reply.error["code"]) == (param, code)
    entry = emulator.ledger.requests[0]
    assert (entry.complete, entry.billed, len(entry.parts)) == (True, False, len(files))


async def test_octet_stream_is_refused_in_the_words_that_people_search_for(emulator, caller):
    """`application/octet-stream` is refused with the upstream API's message."""
    reply = await caller.edit(emulator, image(GOOD, content_type="application/octet-stream"))
    assert "unsupported mimetype ('application/octet-stream')" in reply.error["message"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("files", "fields"),
    [
        ([image(GOOD, "image[]")], {"input_fidelity": "high"}),
        ([image(GOOD, "image[]")] * 16, {"quality": "low"}),
        ([image(JPEG, content_type="image/jpg", filename="a.jpg")], {"model": MINI, "input_fidelity": "low"}),
        ([image(png(file_format="webp"), content_type="image/webp")], {"n": 2}),
        ([image(HOLE)], {"model": D2, "size": "256x256"}),
        ([image(GOOD), image(HOLE, "mask")], {"model": D2, "size": "256x256", "n": 2}),
        ([image(GOOD), image(HOLE, "markup")], {"model": G26, "size": "1024x640"}),
    ],
)
async def test_documented_uploads_pass(emulator, caller, files, fields):
    """Documented uploads are accepted: one or several, in each format, with mask and markup."""
    reply = await caller.edit(emulator, *files, **fields)
    assert reply.status == 200, reply.json


@pytest.mark.parametrize(
    ("content", "fields", "param"),
    [
        (png((64, 32)), {}, "image"),
        (JPEG, {}, "image"),
        (GOOD, {"model": G1}, "model"),
        (GOOD, {"n": 11}, "n"),
        (GOOD, {"size": "1536x1024"}, "size"),
        (GOOD, {"response_format": "gif"}, "response_format"),
    ],
)
async def test_variations_have_limits_of_their_own(emulator, caller, content, fields, param):
    """Variations accept only square PNGs, dall-e-2 and its sizes."""
    reply = await caller.upload(emulator, "variations", [image(content)], **fields)
    assert (reply.status, reply.error["param"]) == (400, param)


async def test_a_file_over_50_mb_is_hashed_and_refused(emulator, caller):
    """A file over 50 MB is refused, and the ledger has its full size."""
    content = GOOD[:-12] + bytes(50 * 1024 * 1024) + GOOD[-12:]
    reply = await caller.edit(emulator, image(content))
    assert (reply.status, reply.error["param"]) == (400, "image")
    assert emulator.ledger.requests[0].parts[0].size == len(content)


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("application/json", b"{", "invalid_json"),
        ("application/json", b"[1]", "invalid_json"),
        ("application/json", b"[" * 100_000, "invalid_json"),
        ("text/plain", b"prompt", "unsupported_content_type"),
        ("multipart/form-data; boundary=b", b"--x\r\n\r\n--x--", "invalid_form"),
        ("multipart/form-data", b"--x--", "invalid_form"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n", "invalid_form"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(emulator, caller, content_type, body, code):
    """A body that cannot be parsed is refused with an error envelope."""
    headers = {"Content-Type": content_type}
    reply = await caller.call(emulator, "POST", "/v1/images/edits", data=body, headers=headers)
    assert (reply.status, reply.error["code"]) == (400, code)
    assert emulator.ledger.requests[0].complete


async def test_each_endpoint_takes_its_own_kind_of_body(emulator, caller):
    """Generations refuse forms, and variations refuse JSON."""
    reply = await caller.upload(emulator, "generations", [], prompt="x", model=G1)
    assert reply.error["code"] == "unsupported_content_type"
    reply = await caller.call(emulator, "POST", "/v1/images/variations", json={})
    assert reply.error["code"] == "unsupported_content_type"


def test_each_row_names_known_models_and_its_source():
    """Each row of the tables names known models and a known source."""
    cached = {family(model) for model in MODELS}
    for row in (*ROWS, *UPLOADS):
        assert row.models <= cached
        assert row.source in {"page", "openapi", "reference", "threads"}
