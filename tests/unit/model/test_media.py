"""An image file is known by its bytes: what Pillow writes is read as Pillow reads it, and no part of it is whole."""

from __future__ import annotations

import base64
import io
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import chunk, png
from PIL import Image, ImageOps, ImageSequence
from strategies import examples

from burncloud_images.model.media import LONGEST_SPAN, MOST_BLOCKS, MOST_GIF_BLOCKS, Media, examine, examine_bytes
from burncloud_images.results import EXTENSIONS

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("1", "L", "P", "RGB", "RGBA"),
}
OPTIONS = {
    "PNG": {"optimize": st.booleans(), "compress_level": st.integers(0, 9), "dpi": st.just((72, 72))},
    "JPEG": {
        "quality": st.integers(1, 95),
        "progressive": st.booleans(),
        "optimize": st.booleans(),
        "restart_marker_blocks": st.integers(1, 3),
        "comment": st.just(b"\xff\xd9 by hand"),
        "icc_profile": st.just(b"\xff\xd9" * 400),
    },
    "WEBP": {
        "lossless": st.booleans(),
        "quality": st.integers(0, 100),
        "exact": st.booleans(),
        "icc_profile": st.just(b"profile"),
        "xmp": st.just(b"<x/>"),
    },
    "GIF": {"interlace": st.booleans(), "comment": st.just(b"; by hand;"), "optimize": st.booleans()},
}
HEADS = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x20\0\0\0WEBP", b"GIF89a\1\0\1\0\0\0\0", b"<svg", b"<?xml", b""]
WORDS = [
    b"IHDR",
    b"tRNS",
    b"VP8 ",
    b"VP8L\x05\0\0\0\x2f",
    b"VP8X",
    b"\x21\xf9\x04\x01",
    b"\xff\xc0",
    b"\xff\xda",
    b"\xff",
]


def picture(mode: str, size: tuple[int, int], seed: int = 0, *, flat: bool = False) -> Image.Image:
    """Return noise, or one colour that can be seen through where *mode* has it."""
    bands = {"LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "I;16": 2}.get(mode, 1)
    count = size[0] * size[1] * bands
    content = bytes([7]) * count if flat else random.Random(seed).randbytes(count)
    if mode in {"1", "P"}:
        return Image.frombytes("L", size, content).convert(mode)
    return Image.frombytes(mode, size, content)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@st.composite
def files(draw, kinds=tuple(FORMATS)) -> tuple[str, bytes]:
    """Draw a file that Pillow writes, and its format."""
    kind = draw(st.sampled_from(kinds))
    mode = draw(st.sampled_from(MODES[kind]))
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    image = picture(mode, size, draw(st.integers(0, 2**16)), flat=draw(st.booleans()))
    options = draw(st.fixed_dictionaries({}, optional=OPTIONS[kind]))
    if kind == "PNG" and mode in {"P", "L", "RGB"} and draw(st.booleans()):
        options["transparency"] = {"P": 0, "L": 7, "RGB": (7, 7, 7)}[mode]
    if kind == "JPEG" and draw(st.booleans()):
        options["exif"] = exif_with_thumbnail()
    frames = draw(st.integers(1, 3)) if kind in {"WEBP", "GIF", "PNG"} else 1
    if frames > 1:
        others = [picture(mode, size, seed) for seed in range(1, frames)]
        options |= {"save_all": True, "append_images": others, "duration": 40}
    return kind, saved(image, kind, **options)


def exif_with_thumbnail() -> bytes:
    """Return the body of an EXIF segment that holds a whole JPEG, as cameras write it."""
    thumbnail = saved(picture("RGB", (8, 8)), "JPEG", quality=10)
    first = struct.pack("<HI", 0, 14)  # no entries, and where the next directory is
    entries = struct.pack("<HHHIIHHII", 2, 0x0201, 4, 1, 44, 0x0202, 4, 1, len(thumbnail))
    return b"Exif\0\0II*\0\x08\0\0\0" + first + entries + b"\0\0\0\0" + thumbnail


def probe_of(data: bytes, size: int | None = None) -> tuple[Media, list[tuple[int, int]]]:
    """Return what *data* is and the spans that were read to know it."""
    spans: list[tuple[int, int]] = []
    probe = examine(len(data) if size is None else size)
    try:
        offset, length = next(probe)
        while True:
            spans.append((offset, length))
            offset, length = probe.send(data[offset : offset + length])
    except StopIteration as stop:
        return stop.value, spans


def check_spans(spans: list[tuple[int, int]], size: int) -> None:
    assert [] == [span for span in spans if span[0] < 0 or not 0 <= span[1] <= LONGEST_SPAN or sum(span) > size]
    assert len(spans) <= 2 * MOST_BLOCKS + 4


# --- whole files -----------------------------------------------------------------------------------------------------


@given(files())
@settings(max_examples=examples(300))
def test_a_file_is_what_pillow_says_it_is(file):
    """Type, width, height and transparency are those that another reader finds, and the end is found."""
    kind, data = file
    with Image.open(io.BytesIO(data)) as other:
        expected = Media(
            media_type=FORMATS[other.format],
            width=other.width,
            height=other.height,
            alpha=other.has_transparency_data,
            complete=True,
        )

    found, spans = probe_of(data)

    assert kind == other.format
    assert expected == found
    assert found == examine_bytes(data) == examine_bytes(bytearray(data))
    check_spans(spans, len(data))


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_is_as_large_as_its_canvas(kind):
    """It is one image to the reader, however many frames it has, and what its first frame shows through is alpha."""
    frames = [picture("RGBA", (30, 20), seed) for seed in range(5)]
    frames[0].putalpha(0)
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)

    with Image.open(io.BytesIO(data)) as animation:
        assert len(list(ImageSequence.Iterator(animation))) > 1

    assert Media(media_type=FORMATS[kind], width=30, height=20, alpha=True, complete=True) == examine_bytes(data)


def test_a_thumbnail_is_not_the_picture():
    """The size is that of the outer JPEG, and the thumbnail's end is not the picture's."""
    data = saved(picture("RGB", (40, 24)), "JPEG", progressive=True, exif=exif_with_thumbnail())
    end_of_thumbnail = data.index(b"\xff\xd9") + 2

    assert (40, 24) == examine_bytes(data).dimensions
    assert end_of_thumbnail < len(data)
    assert not examine_bytes(data[: end_of_thumbnail + 20]).complete
    assert not examine_bytes(data[:end_of_thumbnail]).complete


def test_what_cameras_append_is_passed_over():
    """A file may go on behind its end, for any length, and is cut where that would be the end of a cut one."""
    junk = [
        b"\0maker's notes" * 20,
        b"\0\0\0\x18ftypmp42" + bytes(4000),
        random.Random(1).randbytes(300_000),
        b"\0" * 70_000,
    ]
    for kind in ("JPEG", "PNG", "GIF", "WEBP"):
        for edge in (9, 300):
            data = saved(picture("RGB", (edge, edge)), kind)
            for rest in junk:
                assert examine_bytes(data + rest).complete, (kind, edge, len(rest))
            if kind != "WEBP":  # its length is in its header
                assert not examine_bytes(data[:-2] + bytes(100_000)).complete, (kind, edge)


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_blocks": 1}, {"quality": 1}], ids=str)
def test_the_end_of_a_jpeg_is_found_before_a_film(options):
    """Its scans, with tables and restarts between them, are followed over all windows of reading."""
    data = saved(picture("RGB", (700, 500)), "JPEG", **options)
    film = b"\0\0\0\x18ftypmp42" + bytes(LONGEST_SPAN)
    for shift in range(0, 40, 3):
        assert examine_bytes(data + bytes(shift) + film).complete
    assert [] == [end for end in range(2, len(data), 997) if examine_bytes(data[:end] + film).complete]


def test_the_end_of_a_png_of_many_chunks_is_found_before_other_bytes():
    """The chunks are followed to the end, and a chunk that is cut does not lead there."""
    data = png(alpha=False)
    rest = b"".join(chunk(b"teXt", b"x" * 30) for _ in range(300))

    assert examine_bytes(data + rest + bytes(5000)).complete
    assert not examine_bytes(data[:33] + rest + bytes(5000)).complete


def exif(orientation: int, order: str = "<") -> bytes:
    """Return EXIF data with an orientation, and a thumbnail that has another."""
    first = struct.pack(f"{order}HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 26)
    thumbnail = struct.pack(f"{order}HHHIHHI", 1, 0x0112, 3, 1, 3, 0, 0)
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(f"{order}I", 8) + first + thumbnail


def behind(data: bytes, content: bytes) -> bytes:
    """Return a PNG with an EXIF chunk between its pixels and its end."""
    return data[:-12] + chunk(b"eXIf", content) + data[-12:]


TURNED = {
    "JPEG": lambda image, content: saved(image, "JPEG", exif=b"Exif\0\0" + content),
    "JPEG, progressive": lambda image, content: saved(image, "JPEG", exif=b"Exif\0\0" + content, progressive=True),
    "PNG": lambda image, content: saved(image, "PNG", exif=content),
    "PNG, behind": lambda image, content: behind(saved(image, "PNG"), content),
    "WEBP": lambda image, content: saved(image, "WEBP", exif=content, lossless=True),
    "WEBP, prefix": lambda image, content: saved(image, "WEBP", exif=b"Exif\0\0" + content),
}


@pytest.mark.parametrize("kind", TURNED)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", "<>")
def test_size_is_the_one_that_one_sees(kind, orientation, order):
    """Width and height are those of the picture that viewers show, and the stored ones are known as well."""
    data = TURNED[kind](picture("RGB", (40, 24)), exif(orientation, order))
    with Image.open(io.BytesIO(data)) as other:
        other.load()
        seen = ImageOps.exif_transpose(other).size

    media = examine_bytes(data)

    assert (orientation, seen, (40, 24), True) == (
        media.orientation,
        media.dimensions,
        media.stored_dimensions,
        media.complete,
    )


@pytest.mark.parametrize("kind", TURNED)
@pytest.mark.parametrize("content", [b"", b"MM\0*", b"MM\0*\0\0\0\x08\0\x09", exif(0), exif(9), b"otter" * 9])
def test_damaged_exif_data_is_passed_over(kind, content):
    """The picture is as it lies in the file."""
    media = examine_bytes(TURNED[kind](picture("RGB", (40, 24)), content))

    assert (1, (40, 24), True) == (media.orientation, media.dimensions, media.complete)


def test_letters_among_the_pixels_are_not_exif_data():
    """A chunk has a checksum."""
    data = bytearray(behind(saved(picture("RGB", (40, 24)), "PNG"), exif(6)))
    data[-13] ^= 1

    assert (40, 24) == examine_bytes(data).dimensions


def test_fill_bytes_before_a_marker_are_passed_over():
    """T.81 B.1.1.2: any marker may be led by bytes of 255."""
    data = saved(picture("L", (12, 34)), "JPEG")
    filled = data[:2] + b"\xff" * 5 + data[2:]

    assert examine_bytes(data) == examine_bytes(filled)


def test_markers_without_a_length_are_passed_over():
    """T.81 B.1.1.3: RST and TEM stand alone."""
    data = saved(picture("L", (12, 34)), "JPEG")

    assert examine_bytes(data) == examine_bytes(data[:2] + b"\xff\x01\xff\xd0" + data[2:])


def test_rows_that_are_counted_later_are_not_known():
    """T.81 B.2.5: a frame of 0 rows says that a later segment counts them."""
    data = bytearray(saved(picture("L", (12, 34)), "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 7] = b"\0\0"

    assert Media(media_type="image/jpeg", complete=True) == examine_bytes(data)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("UklGRhIAAABXRUJQVlA4TAYAAAAvQWxvAGs=", 26),  # the smallest there is
        ("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==", 34),
    ],
)
def test_the_smallest_webp_files_are_known(text, size):
    """They are shorter than the headers of other kinds, and any cut of them is noticed."""
    data = base64.b64decode(text)
    with Image.open(io.BytesIO(data)) as other:
        expected = other.size, other.has_transparency_data

    media = examine_bytes(data)

    assert (size, *expected, True) == (len(data), media.dimensions, media.alpha, media.complete)
    assert not any(examine_bytes(data[:end]).complete for end in range(size))


DOCTYPE = (
    b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" '
    b'[<!ENTITY ns "http://www.w3.org/2000/svg"> <!-- ]> -->]>'
)


@pytest.mark.parametrize(
    "lead",
    [
        b"",
        b"\xef\xbb\xbf",
        b" \r\n\t",
        b"\n" * 200,
        b'<?xml version="1.0"?>\n<!-- by hand -->',
        b"<!-- Generator: a drawing program, <svg> -->\n",
        b"<!-- " + b"long " * 5000 + b"-->",
        b"\xef\xbb\xbf\n<?xml version='1.0'?>" + DOCTYPE,
        DOCTYPE + b"<?xml-stylesheet href='a.css'?>",
        b"<!doctype svg>",
    ],
    ids=range(10),
)
@pytest.mark.parametrize(
    "end",
    [
        b"</svg>",
        b"</svg>\n \n",
        b"</svg ><!-- made > by hand -->\n",
        b"</svg><?odd pi?>",
        b"</svg>\0\0",
        b"</svg>\n```",
    ],
)
def test_svg_is_known_by_its_first_element(lead, end):
    """It can be seen through, and says its size in units that are no pixels."""
    data = lead + b'<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/>' + end
    expected = Media(media_type="image/svg+xml", alpha=True, complete=True)

    assert expected == examine_bytes(data)
    assert expected == examine_bytes(data.replace(b"<svg ", b"<svg:svg ").replace(b"</svg", b"</svg:svg"))
    assert expected == examine_bytes(data.removeprefix(b"\xef\xbb\xbf").decode().encode("utf-16"))
    assert not examine_bytes(data[: -len(end)]).complete
    assert not examine_bytes(data + b"<g>").complete


@pytest.mark.parametrize(
    "data",
    [
        b"<!-- <svg></svg> --><html></html>",
        b"<svgs></svgs>",
        b"<!DOCTYPE html><html><svg></svg></html>",
        b"<" * 70_000,
        b"<!--" * 20_000,
        b"<!DOCTYPE [" + b"<" * 60_000,
        b"<?xml" + b"<?" * 30_000,
    ],
    ids=range(7),
)
def test_markup_of_another_kind_is_not_an_svg(data):
    """The root decides, and odd markup is read in no time."""
    assert Media() == examine_bytes(data)


SIGNED = {
    b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf": "avif",
    b"\0\0\0\x1cftypavis\0\0\0\0avismsf1": "avif",
    b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif": "avif",
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic": "heic",
    b"\0\0\0\x18ftypmif1\0\0\0\0mif1heix": "heic",
    b"\0\0\0\x14ftypmif1\0\0\0\0mif1": "heif",
    b"\xff\x0a\xfa\x1f": "jxl",
    b"\0\0\0\x0cJXL \r\n\x87\n": "jxl",
    b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ": "jp2",
    b"\xffO\xffQ\0": "jp2",
    b"II\xbc\x01 \0": "jxr",
    b"II*\0\x08\0\0\0": "tiff",
    b"MM\0*\0\0\0\x08": "tiff",
    b"II+\0\x08\0": "tiff",
    b"8BPS\0\1" + bytes(6): "psd",
    b"\0\0\1\0\1\0\x10\x10\0\0": "ico",
    b"\0\0\2\0\1\0\x20\x20\0\0": "cur",
    b"qoif\0\0\0\x08": "qoi",
    b"v/1\1\2\0\0\0": "exr",
    b"#?RADIANCE\n": "hdr",
    b"DDS \x7c\0\0\0": "dds",
    b"P6\n8 8\n255\n": "pnm",
}


@pytest.mark.parametrize(("head", "extension"), SIGNED.items(), ids=range(len(SIGNED)))
def test_formats_without_a_reader_are_recognised(head, extension):
    """A file is of its type, and where it ends is not known."""
    media = examine_bytes(head + b"pixels" * 40)

    assert (extension, None, None) == (media.extension, media.dimensions, media.complete)


@pytest.mark.parametrize("kind", ["AVIF", "BMP", "DIB", "ICO", "JPEG2000", "PCX", "PPM", "SGI", "TIFF", "DDS", "QOI"])
def test_other_formats_that_pillow_writes_are_recognised(kind):
    """What another library writes has the signature that is looked for."""
    try:
        data = saved(picture("RGB", (16, 16)), kind)
    except (KeyError, OSError):
        pytest.skip("this Pillow does not write it")
    media = examine_bytes(data)

    assert kind == "DIB" or (media.media_type is not None and None is media.complete)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b'<?xml version="1.0"?><rss/>',
        b"%PDF-1.7",
        b"\x89PNG",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"oftenestWEBP",
        b"BM" + bytes(60),
        b'{"error":{}}',
    ],
)
def test_anything_else_is_no_image(data):
    """Its type is not known, and nothing else is."""
    assert Media() == examine_bytes(data)


# --- parts of files --------------------------------------------------------------------------------------------------


@given(files(), st.data())
@settings(max_examples=examples(150))
def test_no_part_of_a_file_is_whole(file, data):
    """Wherever it is cut, the end is missed; type and size are right as far as they are known."""
    _, content = file
    whole = examine_bytes(content)
    for end in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=20, max_size=20)):
        part = examine_bytes(content[:end])
        assert not part.complete, end
        assert part.media_type in {None, whole.media_type}
        assert part.dimensions in {None, whole.dimensions}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_no_place_to_cut_goes_unnoticed(kind, mode):
    """Each of the places is tried, with all that looks like an end among the pixels."""
    data = saved(picture(mode if kind != "WEBP" else "RGB", (48, 48), 5), kind)

    assert [] == [end for end in range(len(data)) if examine_bytes(data[:end]).complete]


def test_a_long_gif_is_known_by_its_tail():
    """Past the blocks that are read, the end of a block and the trailer have to be the last bytes."""
    header = b"GIF89a\1\0\1\0\0\0\0\x2c" + bytes(9) + b"\2"
    data = header + b"\1;" * (MOST_GIF_BLOCKS + 1) + b"\0;"

    assert [True, True, False] == [examine_bytes(part).complete for part in (data, data + b"\0\0", data[:-2])]


def test_a_file_that_shrinks_while_it_is_read_is_no_image():
    """A span that is answered with fewer bytes ends the reading, for each format and at each span."""
    for kind in FORMATS:
        data = saved(picture("L" if kind != "WEBP" else "RGB", (20, 20)), kind)
        *_, last = probe_of(data)[1]
        for left in (sum(last) - 1, 20, 0):
            assert Media() == probe_of(data[:left], len(data))[0], kind


def test_a_png_that_ends_before_its_pixels_is_cut():
    """Its size is known, its end is not there."""
    data = saved(picture("RGB", (3, 4)), "PNG")

    assert Media(media_type="image/png", width=3, height=4) == examine_bytes(data[:36])


def test_a_jpeg_with_something_else_between_its_segments_is_damaged():
    """What is no marker ends the reading: neither a size nor an end is made up."""
    data = saved(picture("L", (3, 4)), "JPEG")

    assert Media(media_type="image/jpeg") == examine_bytes(data[:20] + b"junk" + data[20:])


# --- hostile files ---------------------------------------------------------------------------------------------------


pieces = st.sampled_from(WORDS) | st.binary(max_size=12) | st.sampled_from([b"\0", b"\1a", b"\xff\xd9", b"\x3b"])
hostile = st.builds(lambda head, rest: head + b"".join(rest), st.sampled_from(HEADS), st.lists(pieces, max_size=40))


@given(hostile | st.binary(max_size=200))
@settings(max_examples=examples(500))
def test_any_bytes_are_read_within_bounds(data):
    """Nothing raises, nothing is asked for beyond the end, and no more than 64 KiB at a time."""
    media, spans = probe_of(data)

    check_spans(spans, len(data))
    assert media.media_type in {None, *EXTENSIONS}


@given(files(), st.data())
@settings(max_examples=examples(150))
def test_a_damaged_file_is_read_within_bounds(file, data):
    """Whatever bytes of a real file are turned over."""
    content = bytearray(file[1])
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, min(len(content), 900) - 1), st.integers(0, 255)), min_size=1, max_size=6)
    ):
        content[place] = value

    _, spans = probe_of(bytes(content))

    check_spans(spans, len(content))


ENDLESS = {
    "PNG of empty chunks": png(alpha=False)[:33] + chunk(b"teXt", b"") * 20_000,
    "JPEG of fill bytes": b"\xff\xd8" + b"\xff" * 20_000,
    "JPEG of empty segments": b"\xff\xd8" + b"\xff\xe0\0\2" * 20_000,
    "GIF of empty extensions": b"GIF89a\1\0\1\0\0\0\0" + b"\x21\xfe\0" * 20_000,
    "GIF of one endless extension": b"GIF89a\1\0\1\0\0\0\0\x21\xfe" + b"\1a" * 20_000,
    "GIF of one endless image": b"GIF89a\1\0\1\0\0\0\0\x2c" + bytes(9) + b"\2" + b"\1a" * 20_000,
}


@pytest.mark.parametrize("data", ENDLESS.values(), ids=ENDLESS)
def test_a_file_of_very_many_blocks_is_given_up(data):
    """The number of reads does not grow with the file, and no end is made up."""
    media, spans = probe_of(data)

    check_spans(spans, len(data))
    assert not media.complete


@pytest.mark.parametrize("head", [png()[:20], b"GIF89a\1\0", b"\x89PNG\r\n\x1a\n" + bytes(40), b"\xff\xd8\xff\xe0\0"])
def test_a_header_that_says_nothing_is_of_the_type_alone(head):
    """No size is made up."""
    media = examine_bytes(head)

    assert media.media_type is not None
    assert Media(media_type=media.media_type) == media


@pytest.mark.parametrize("kind", [b"VP8 ", b"VP8L", b"VP9 "])
def test_a_webp_that_is_none_inside_has_no_size(kind):
    """The signature of the bit stream is looked for, and a chunk of another kind is not known."""
    data = b"RIFF\x2c\0\0\0WEBP" + kind + b"\x20\0\0\0" + bytes(32)

    assert Media(media_type="image/webp", complete=True) == examine_bytes(data)


# --- the value -------------------------------------------------------------------------------------------------------


def test_an_extension_is_given_for_each_type():
    """No image has `bin`."""
    assert ["bin", "png", "jpg"] == [Media(media_type=kind).extension for kind in (None, "image/png", "image/jpeg")]


def test_dimensions_need_both_edges():
    """One edge alone is no size."""
    assert (3, 4) == Media(width=3, height=4).dimensions
    assert None is Media(width=3).dimensions is Media(height=4).dimensions
