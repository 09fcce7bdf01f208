"""A Pillow image is sent as the PNG that shows what the image shows."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageCms, ImageOps

from burncloud_images.files.pictures import UnusablePicture, encode_png

SHOWN = (
    *("CMYK", "HSV", "I;16", "I;16B", "I;16L", "I;16N", "L", "LA"),
    *("La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr"),
)


def sent(image: Image.Image) -> Image.Image:
    """Return what a server reads."""
    other = Image.open(io.BytesIO(encode_png(image)))
    other.load()
    return other


def reopened(image: Image.Image, kind: str, **options: object) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(io.BytesIO(buffer.getvalue()))


def corners(size: tuple[int, int] = (64, 32)) -> Image.Image:
    """Return a picture of four colours, in which each corner is known."""
    image = Image.new("RGB", size, "red")
    image.paste("blue", (0, 0, size[0] // 2, size[1] // 2))
    image.paste("green", (size[0] // 2, 0, size[0], size[1] // 2))
    return image


@pytest.mark.parametrize("mode", SHOWN)
def test_any_mode_is_sent_as_what_it_shows(mode):
    """Modes that PNG lacks are converted to one that it has, and no colour changes by more than rounding."""
    grey = mode.startswith("I;")
    image = Image.new(mode, (8, 8), 30_000) if grey else corners((8, 8)).convert("L").convert(mode.replace("a", "A"))
    image = image.convert(mode) if not grey else image

    found = sent(image)

    assert (8, 8) == found.size
    if grey:
        assert (30_000, 30_000) == found.getextrema()
    else:
        wanted = image.convert("RGBA" if mode == "RGBa" else "LA" if mode == "La" else "RGB").convert("RGB")
        pairs = zip(wanted.tobytes(), found.convert("RGB").tobytes(), strict=True)
        assert max(abs(one - other) for one, other in pairs) <= 2


def test_black_and_white_stay_so():
    """The mode of one bit is one of PNG's."""
    assert "1" == sent(Image.new("1", (8, 8), 1)).mode


def test_lab_colours_are_converted():
    """Pillow converts them by a profile alone."""
    lab = ImageCms.profileToProfile(
        corners(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )

    red, green, blue = sent(lab).getpixel((60, 30))

    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize(("value", "mode"), [(200, "L"), (256, "I;16"), (65_535, "I;16")])
def test_numbers_of_32_bits_are_grey_levels(value, mode):
    """They keep their values."""
    found = sent(Image.new("I", (4, 4), value))

    assert (mode, value) == (found.mode, found.getpixel((1, 1)))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image.new("F", (4, 4), 0.5), "convert it to L"),
        (Image.new("I", (4, 4), -1), "convert it to L"),
        (Image.new("I", (4, 4), 70_000), "convert it to L"),
        (Image.new("RGB", (0, 0)), "cannot be written as PNG"),
    ],
)
def test_what_is_not_a_picture_is_refused(image, said):
    """The refusal says what to do."""
    with pytest.raises(UnusablePicture, match=said):
        encode_png(image)


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_sent_upright(mode, orientation):
    """Width, height and corners are those that one sees, and nothing turns the picture a second time."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = reopened(corners().convert(mode), "JPEG", exif=exif, quality=95)
    wanted = ImageOps.exif_transpose(photo)

    found = sent(photo)

    assert wanted.size == found.size == ImageOps.exif_transpose(found).size
    for place in ((2, 2), (found.width - 3, 2), (2, found.height - 3), (found.width - 3, found.height - 3)):
        pairs = zip(wanted.convert("RGB").getpixel(place), found.convert("RGB").getpixel(place), strict=True)
        assert max(abs(one - other) for one, other in pairs) <= 2, place


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0otter otter", b"Exif\0\0MM\0*\0\0\0\x08\0\x09", b"Exif\0\0"])
def test_damaged_exif_data_does_not_cost_the_picture(exif):
    """The picture is sent as it lies in the file."""
    assert (64, 32) == sent(reopened(corners(), "JPEG", exif=exif)).size


def test_transparent_palettes_stay_transparent():
    """A colour or a level for each colour."""
    for transparency in (0, b"\0\x80"):
        image = Image.new("P", (4, 4))
        image.info["transparency"] = transparency
        assert 0 == sent(image).convert("RGBA").getpixel((0, 0))[3]


def test_profiles_of_other_channels_are_left_out():
    """A profile of CMYK is wrong for the colours that were made of it."""
    image = Image.new("CMYK", (4, 4))
    image.info["icc_profile"] = b"not a profile"

    assert "icc_profile" not in sent(image).info


def test_frame_that_is_shown_is_sent():
    """An animation is sent as the frame that it is at."""
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    animation = reopened(frames[0], "GIF", save_all=True, append_images=frames[1:])
    animation.seek(1)

    assert (0, 0, 255) == sent(animation).convert("RGB").getpixel((1, 1))


def test_pictures_of_closed_files_say_what_to_do(tmp_path):
    """Pillow reads pixels late."""
    path = tmp_path / "otter.png"
    corners().save(path)
    with path.open("rb") as file:
        lazy = Image.open(file)
    with Image.open(path) as closed:
        pass
    with Image.open(path) as loaded:
        loaded.load()

    for image in (lazy, closed):
        with pytest.raises(UnusablePicture, match=r"load\(\)"):
            encode_png(image)
    assert (64, 32) == sent(loaded).size


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_pictures_that_are_cut_off_are_refused(kind):
    """What is missing would be sent as grey."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(buffer, kind)
    with pytest.raises((UnusablePicture, OSError)):
        encode_png(Image.open(io.BytesIO(buffer.getvalue()[: len(buffer.getvalue()) * 3 // 4])))
