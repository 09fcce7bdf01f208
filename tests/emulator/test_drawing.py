"""The pictures: real files of the right kind and size, the same each time, and made of what was sent."""

import base64
import io
import os
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest
from PIL import Image, ImageChops

from burncloud_images.emulator import Emulator
from burncloud_images.emulator.captions import has_glyph, lay_out, write_caption
from burncloud_images.emulator.drawing import draw_landscape
from burncloud_images.model.media import examine_bytes

pytestmark = pytest.mark.usefixtures("landscapes")

NEW = "gpt-image-2.6-flare"


async def content_of(caller, emulator, **fields):
    reply = await caller.generate(emulator, **{"model": "gpt-image-2", "size": "1024x640", **fields})
    assert reply.status == 200, reply.json
    return [base64.b64decode(image["b64_json"]) for image in reply.json["data"]]


async def edited(caller, emulator, *files, **fields):
    reply = await caller.edit(emulator, *files, **{"model": "gpt-image-2", "size": "1024x640", **fields})
    assert reply.status == 200, reply.json
    return Image.open(io.BytesIO(base64.b64decode(reply.json["data"][0]["b64_json"])))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("size", ["1024x640", "1408x480", "480x1408", "816x816"])
async def test_a_picture_has_the_format_and_size_that_were_asked_for(emulator, caller, output_format, size):
    """A picture has the requested format and size, by Pillow and by the header reader."""
    (content,) = await content_of(caller, emulator, output_format=output_format, size=size)
    picture = Image.open(io.BytesIO(content))
    picture.load()
    assert (picture.format.lower(), f"{picture.width}x{picture.height}") == (output_format, size)
    assert examine_bytes(content).complete


@pytest.mark.parametrize("output_format", ["png", "webp"])
async def test_a_transparent_background_is_transparent(emulator, caller, output_format):
    """A transparent picture can be seen through at its corner, not in the middle."""
    (content,) = await content_of(caller, emulator, output_format=output_format, background="transparent")
    picture = Image.open(io.BytesIO(content))
    assert picture.mode == "RGBA"
    assert (picture.getpixel((0, 0))[3], picture.getpixel((512, 250))[3]) == (0, 255)


async def test_compression_makes_a_file_smaller(emulator, caller):
    """A lower `output_compression` gives a smaller file."""
    sizes = []
    for compression in (100, 50, 0):
        (content,) = await content_of(caller, emulator, output_format="webp", output_compression=compression)
        sizes.append(len(content))
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3


@pytest.mark.parametrize(("frames", "duration"), [(None, None), (2, 50), (16, 20)])
async def test_a_gif_moves(emulator, caller, frames, duration):
    """A GIF has the requested number of frames, all different, with the requested duration."""
    fields = {"model": NEW, "output_format": "gif", "frame_count": frames, "frame_duration_ms": duration}
    (content,) = await content_of(caller, emulator, **fields)
    picture = Image.open(io.BytesIO(content))
    assert (picture.format, picture.n_frames, picture.size) == ("GIF", frames or 9, (1024, 640))
    assert picture.info["duration"] == (duration or 200)


async def test_an_svg_is_one_and_holds_the_prompt(emulator, caller):
    """An SVG is valid XML and contains the escaped prompt."""
    prompt = "<海獭> & \x00 otter"
    svg = {"model": "gpt-5", "reasoning": None}
    (content,) = await content_of(caller, emulator, model=NEW, output_format="svg", prompt=prompt, svg=svg)
    root = ET.fromstring(content)
    assert root.attrib["width"] == "1024"
    assert root.findtext(".//{*}text") == "<海獭> & \ufffd otter"


async def test_the_same_prompt_gives_the_same_bytes(emulator, caller):
    """The same prompt and index give the same bytes; another prompt or index gives others."""
    one, two = await content_of(caller, emulator, n=2)
    (again,) = await content_of(caller, emulator)
    (other,) = await content_of(caller, emulator, prompt="a lighthouse")
    assert one == again
    assert len({one, two, other}) == 3


@pytest.mark.parametrize("size", ["1024x640", "480x1408", "2880x2880"])
@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
async def test_plain_pictures_are_small_files_of_the_same_size(emulator, caller, monkeypatch, output_format, size):
    """Plain pictures differ from one another, come again, and are as large as the drawn ones in far fewer bytes."""
    fields = {"output_format": output_format, "size": size}
    (drawn,) = await content_of(caller, emulator, **fields)
    monkeypatch.setenv("BURNCLOUD_EMULATOR_PLAIN", "1")
    async with Emulator() as plain:
        one, two = await content_of(caller, plain, n=2, **fields)
        (again,) = await content_of(caller, plain, **fields)

    assert one == again != two
    assert Image.open(io.BytesIO(drawn)).size == Image.open(io.BytesIO(one)).size
    assert len(one) < len(drawn) / 2
    assert examine_bytes(one).complete


def test_a_drawing_is_the_same_in_another_process():
    """A drawing does not depend on the hash seed, the clock or chance."""
    fault_plan = (
        "import sys; from burncloud_images.emulator.drawing import draw_landscape;"
        "sys.stdout.buffer.write(draw_landscape('a sea otter', 1, (64, 64)).tobytes())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", fault_plan], check=True, capture_output=True, env=environment)
    assert done.stdout == draw_landscape("a sea otter", 1, (64, 64)).tobytes()


@pytest.mark.sampled(4)
@pytest.mark.parametrize("index", range(12))
def test_a_landscape_can_be_drawn_in_each_shape(index):
    """A landscape of any shape has the requested size and many colours."""
    for size in ((192, 64), (64, 192), (100, 100)):
        picture = draw_landscape("scenes", index, size, detail=3 + index % 5)
        assert picture.size == size
        assert len(picture.getcolors(100_000)) > 50


async def test_an_edit_repaints_what_the_mask_leaves_open(emulator, caller, darkroom):
    """An edit repaints where the mask is transparent and keeps the upload elsewhere."""
    picture = Image.new("RGB", (64, 64), (255, 0, 0))
    mask = ("mask", "m.png", "image/png", darkroom.develop(darkroom.with_hole()))
    result = await edited(caller, emulator, ("image", "a.png", "image/png", darkroom.develop(picture)), mask)
    assert result.getpixel((80, 75)) == (255, 0, 0)
    assert result.getpixel((800, 75)) != (255, 0, 0)


async def test_a_transparent_upload_is_its_own_mask(emulator, caller, darkroom):
    """Without a mask, the first upload's transparent pixels are edited, and a second upload appears as a print."""
    first = ("image[]", "a.png", "image/png", darkroom.develop(darkroom.with_hole()))
    second = ("image[]", "b.png", "image/png", darkroom.develop(Image.new("RGB", (64, 64), (255, 0, 255))))
    result = await edited(caller, emulator, first, second)
    colours = {colour for _, colour in result.getcolors(1024 * 640)}
    assert result.getpixel((120, 375)) == (40, 120, 200)
    assert (255, 0, 255) in colours


async def test_opaque_uploads_are_shown_in_the_picture(emulator, caller, darkroom):
    """The colour of each opaque upload appears in the picture."""
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
    files = [
        ("image[]", f"{index}.png", "image/png", darkroom.develop(Image.new("RGB", (64, 64), colour)))
        for index, colour in enumerate(colours)
    ]
    result = await edited(caller, emulator, *files)
    assert set(colours) <= {colour for _, colour in result.getcolors(1024 * 640)}


async def test_markup_is_laid_over_the_first_image(emulator, caller, darkroom):
    """Markup is drawn over the first image."""
    picture = darkroom.develop(Image.new("RGB", (64, 64), (255, 0, 0)))
    markup = Image.new("RGBA", (64, 64))
    markup.paste((0, 0, 255, 255), (16, 16, 48, 48))
    files = [("image", "a.png", "image/png", picture), ("markup", "m.png", "image/png", darkroom.develop(markup))]
    result = await edited(caller, emulator, *files, model=NEW)
    assert (0, 0, 255) in {colour for _, colour in result.getcolors(1024 * 640)}


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
async def test_each_upload_format_is_decoded(emulator, caller, darkroom, file_format):
    """Large uploads in each format are decoded."""
    content = darkroom.develop(darkroom.photograph((3000, 100)), file_format)
    media_type = f"image/{file_format}"
    result = await edited(caller, emulator, ("image", f"a.{file_format}", media_type, content), size="auto")
    assert result.size == (1536, 1024)


async def test_a_damaged_upload_is_refused_and_not_billed(emulator, caller, darkroom):
    """An upload with a damaged middle is refused and not billed."""
    content = darkroom.develop(Image.effect_noise((64, 64), 50))
    damaged = content[:60] + bytes(len(content) - 80) + content[-20:]
    reply = await caller.edit(emulator, ("image", "a.png", "image/png", damaged))
    assert (reply.status, reply.error["code"]) == (400, "invalid_image_file")
    assert emulator.ledger.billed_requests == 0


async def test_a_variation_shows_its_input_in_other_colours(emulator, caller, darkroom):
    """Variations show the upload in colours that differ from one to the next."""
    content = darkroom.develop(darkroom.photograph((200, 200)))
    reply = await caller.upload(
        emulator,
        "variations",
        [("image", "a.png", "image/png", content)],
        n=3,
        size="256x256",
        response_format="b64_json",
    )
    pictures = [base64.b64decode(image["b64_json"]) for image in reply.json["data"]]
    assert len(set(pictures)) == 3
    picture = Image.open(io.BytesIO(pictures[0])).convert("RGB")
    assert picture.getpixel((64, 64)) != picture.getpixel((220, 60))


async def test_style_and_quality_change_the_picture(emulator, caller):
    """Another style or quality gives another picture."""
    replies = [
        await caller.generate(emulator, model="dall-e-3", size="1024x1024", response_format="b64_json", **fields)
        for fields in ({"style": "natural"}, {"style": "vivid"}, {"quality": "hd"})
    ]
    assert len({reply.json["data"][0]["b64_json"] for reply in replies}) == 3


def test_the_font_has_latin_letters_and_no_chinese():
    """The built-in font has Latin letters and no Chinese ones."""
    assert all(map(has_glyph, "Az9,?"))
    assert not any(map(has_glyph, "é海獭🦦"))


@pytest.mark.parametrize(
    "prompt", ["otter", "一只可爱的小海獭", "word " * 200, "x" * 500, "a\n\tb\u200bc", "獭" * 300, "𠜎🦦", "\ud800"]
)
@pytest.mark.parametrize("size", [(256, 256), (16, 48), (600, 200)])
def test_any_prompt_can_be_written(prompt, size):
    """A prompt in any script and of any length can be written."""
    blank = Image.new("RGB", size, (90, 90, 90))
    written = write_caption(blank.copy(), prompt)
    assert written.size == size
    assert ImageChops.difference(blank, written).getbbox() is not None


def test_a_long_caption_ends_in_an_ellipsis():
    """A long caption ends in an ellipsis after three lines."""
    lines = lay_out("word " * 200, 16, 300)
    assert len(lines) == 3
    assert lines[-1][-1].text == "..."
    assert all(sum(token.width for token in line) <= 300 for line in lines)


def test_an_empty_caption_changes_nothing():
    """A prompt of blanks alone has no caption."""
    blank = Image.new("RGB", (64, 64))
    assert write_caption(blank.copy(), "  \n").tobytes() == blank.tobytes()
