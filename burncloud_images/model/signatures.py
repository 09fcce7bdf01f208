"""
Formats of images that are recognised by their first bytes and not read any further.

A gateway or a store may answer in any of them. Where such a file ends is not known, so it is whole if its transfer is.

Sources: ISO/IEC 14496-12 §4.3 (ftyp), AV1 Image File Format §6, ISO/IEC 23008-12 §10 (AVIF, HEIF); ISO/IEC 18181-2
(JPEG XL); ISO/IEC 15444-1 annex I (JPEG 2000); TIFF 6.0 §2; Microsoft's BITMAPFILEHEADER and icon headers; the formats'
own pages for the rest.
"""

from __future__ import annotations

import re

GENERAL = frozenset({b"mif1", b"msf1", b"mif2", b"miaf"})
BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "image/heic"),
    **dict.fromkeys(GENERAL, "image/heif"),
    b"jp2 ": "image/jp2",
    b"jpx ": "image/jpx",
}
"""What an ISO base media file is of, by its brands; films have others."""
FTYP = slice(4, 8)
FIRST_BRAND, OTHER_BRANDS = 8, 16

SIGNATURES: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), media_type)
    for pattern, media_type in (
        (rb"\x00\x00\x00\x0cJXL \r\n\x87\n|\xff\x0a", "image/jxl"),
        (rb"\x00\x00\x00\x0cjP(?:  |\x1a\x1a)\r\n\x87\n|\xff\x4f\xff\x51", "image/jp2"),
        (rb"II\xbc[\x00\x01]", "image/vnd.ms-photo"),
        (rb"II[*+]\x00|MM\x00[*+]", "image/tiff"),
        # Four bytes of length, four that are 0 in nearly all, the pixels' offset, and the header's length.
        (rb"BM.{4}.{4}.{2}\x00\x00(?:\x0c|\x10|\x28|\x34|\x38|\x40|\x6c|\x7c)\x00\x00\x00", "image/bmp"),
        # The number of pictures, and of the first its edges, its colours, and a byte that is 0.
        (rb"\x00\x00\x01\x00[^\x00]\x00.{3}\x00", "image/vnd.microsoft.icon"),
        (rb"\x00\x00\x02\x00[^\x00]\x00.{3}\x00", "image/x-win-cursor"),
        (rb"8BPS\x00[\x01\x02]", "image/vnd.adobe.photoshop"),
        (rb"qoif", "image/qoi"),
        (rb"v/1\x01", "image/x-exr"),
        (rb"#\?(?:RADIANCE|RGBE)", "image/vnd.radiance"),
        (rb"DDS \x7c\x00\x00\x00", "image/vnd-ms.dds"),
        (rb"\xabKTX [12][10]\xbb\r\n\x1a\n", "image/ktx"),
        (rb"\x8aMNG\r\n\x1a\n", "video/x-mng"),
        (rb"\x8bJNG\r\n\x1a\n", "image/x-jng"),
        (rb"gimp xcf ", "image/x-xcf"),
        (rb"icns", "image/icns"),
        (rb"FLIF[1-9A-]", "image/flif"),
        (rb"BPG\xfb", "image/bpg"),
        (rb"farbfeld", "image/x-farbfeld"),
        (rb"P[1-6][ \t\r\n]+[#0-9]|P7\n", "image/x-portable-anymap"),
        (rb"\x59\xa6\x6a\x95", "image/x-sun-raster"),
        (rb"\x01\xda[\x00\x01][\x01\x02]\x00[\x01-\x03]", "image/x-sgi"),
        (rb"/\* XPM \*/", "image/x-xpixmap"),
        (rb"\x0a[\x00-\x05]\x01[\x01\x02\x04\x08]", "image/x-pcx"),
        (rb"\xc5\xd0\xd3\xc6", "image/x-eps"),
    )
)


def find_media_type(head: bytes) -> str | None:
    """Return the media type of a file that begins with *head*; None if it is not a format that is known."""
    if head[FTYP] == b"ftyp":
        return find_brand(head)
    return next((media_type for pattern, media_type in SIGNATURES if pattern.match(head)), None)


def find_brand(head: bytes) -> str | None:
    """Return the type of an ISO base media file: by its own brand, or by those that it is compatible with."""
    end = min(int.from_bytes(head[:4]), len(head))
    brands = [head[FIRST_BRAND : FIRST_BRAND + 4], *(head[at : at + 4] for at in range(OTHER_BRANDS, end, 4))]
    # A general brand says less than the others beside it.
    return next((BRANDS[brand] for brand in sorted(brands, key=GENERAL.__contains__) if brand in BRANDS), None)
