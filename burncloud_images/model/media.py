"""
What an image file is, read from its own bytes: type, size, orientation, alpha channel, and whether its end is there.

Nothing is decoded and nothing is read whole: each reader is a generator that yields the spans it needs and is sent
their bytes, so the same code serves bytes in memory, a file read by another thread, and a file far larger than memory.

Whatever stands behind the end of a file, such as a film or a camera's notes, makes no difference. It is mostly short,
so the last bytes are looked at first, and the file is read from its beginning only if the end is not among them.

Sources: PNG third edition (W3C, §5 and §11); ITU-T T.81 annex B (JPEG); RFC 9649 (WebP); GIF89a specification; XML 1.0
§2.8, of what may stand around the root of an SVG.
"""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Callable, Generator

import attrs

from burncloud_images.model.exif import ON_ITS_SIDE, PREFIX, UPRIGHT, find_orientation
from burncloud_images.results import EXTENSIONS

Span = tuple[int, int]
"""An offset and a number of bytes."""

HEAD = 64
TAIL = 1024
LONGEST_SPAN = 64 * 1024
MOST_BLOCKS = 4096
"""Maximum chunks or segments that a reader skips: hostile files may have millions."""
MOST_GIF_BLOCKS = 100_000
"""The same for blocks of a GIF, which have at most 255 bytes."""


@attrs.frozen(kw_only=True)
class Media:
    """
    What the first bytes of an image say: its format, size and whether it is whole.

    Attributes:
        media_type: None if the bytes are not an image of any format that is known.
        width: Pixels, as one sees the picture; None if the format or the file does not say.
        height: Pixels, as one sees the picture; None if the format or the file does not say.
        alpha: Whether a pixel can be transparent.
        complete: Whether the end is there; None for formats whose end is not known.
        orientation: How the pixels are turned to be seen, from 1 to 8 as in EXIF.
    """

    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    alpha: bool = False
    complete: bool | None = False
    orientation: int = UPRIGHT

    @property
    def extension(self) -> str:
        """The file name extension, without a dot; `bin` if it is not an image."""
        return EXTENSIONS.get(self.media_type or "", "bin")

    @property
    def dimensions(self) -> tuple[int, int] | None:
        """Width and height, if both are known."""
        return None if self.width is None or self.height is None else (self.width, self.height)

    @property
    def stored_dimensions(self) -> tuple[int, int] | None:
        """Width and height of the pixels before they are turned, if both are known."""
        return swap(self.dimensions, self.orientation)


def swap(dimensions: tuple[int, int] | None, orientation: int) -> tuple[int, int] | None:
    """Return width and height, in the other order for an orientation that lays a picture on its side."""
    return dimensions[::-1] if dimensions is not None and orientation >= ON_ITS_SIDE else dimensions


Probe = Generator[Span, bytes, Media]
"""Yields the spans it needs, is sent their bytes, returns what the file is."""

Reader = Callable[[int], Probe]


def examine(size: int) -> Probe:
    """
    Return a probe for an image file of *size* bytes.

    Every span it asks for lies within the file and is at most 64 KiB long. A file that has fewer bytes than *size* when
    it is read is not an image.
    """
    try:
        return (yield from read_image(size))
    except ShortRead:
        return Media()


class ShortRead(Exception):  # noqa: N818 (an event in a file's life, handled here)
    """A span was answered with fewer bytes."""


def read(offset: int, length: int) -> Generator[Span, bytes, bytes]:
    piece = yield offset, length
    if len(piece) < length:
        raise ShortRead
    return piece


def read_image(size: int) -> Probe:
    head = yield from read(0, min(HEAD, size))
    for signature, reader in READERS:
        if head.startswith(signature):
            return (yield from reader(size))
    if head.lstrip(BLANK)[:1] in b"<":
        return (yield from read_svg(size))
    from burncloud_images.model.signatures import find_media_type  # hardly any file needs them

    media_type = find_media_type(head)
    return Media(media_type=media_type, complete=None) if media_type else Media()


def examine_bytes(data: bytes | bytearray | memoryview) -> Media:
    """Return what *data*, a whole image file, is."""
    view = memoryview(data)
    probe = read_image(len(view))  # no read of it can be short
    try:
        span = next(probe)
        while True:
            offset, length = span
            span = probe.send(bytes(view[offset : offset + length]))
    except StopIteration as stop:
        media: Media = stop.value
        return media


def read_tail(size: int) -> Generator[Span, bytes, bytes]:
    length = min(TAIL, size)
    return (yield from read(size - length, length))


def read_exif(offset: int, length: int, size: int) -> Generator[Span, bytes, int]:
    """Return the orientation in *length* bytes of EXIF data, of which a cut file may have fewer."""
    return find_orientation((yield from read(offset, max(0, min(length, size - offset, LONGEST_SPAN)))))


END_OF_PNG = b"\0\0\0\0IEND\xae\x42\x60\x82"


def read_png(size: int) -> Probe:
    header = yield from read(0, min(33, size))
    if len(header) < 33 or header[12:16] != b"IHDR":
        return Media(media_type="image/png")
    stored = struct.unpack(">II", header[16:24])
    transparent, orientation = yield from png_chunks(size)
    width, height = swap(stored, orientation) or stored
    tail = yield from read_tail(size)
    return Media(
        media_type="image/png",
        width=width,
        height=height,
        alpha=header[25] in {4, 6} or transparent,
        complete=END_OF_PNG in tail or (yield from png_ends(size)),
        orientation=orientation,
    )


def png_chunks(size: int) -> Generator[Span, bytes, tuple[bool, int]]:
    """Return whether a colour is transparent, and the orientation."""
    transparent = False  # §5.6: a tRNS chunk stands before the first IDAT
    exif: Span | None = None
    offset = 33
    for _ in range(MOST_BLOCKS):
        if offset + 8 > size:
            break
        length, kind = struct.unpack(">I4s", (yield from read(offset, 8)))
        if kind == b"IDAT":
            orientation = (yield from read_exif(*exif, size)) if exif else (yield from png_exif_behind(size))
            return transparent, orientation
        transparent = transparent or kind == b"tRNS"
        exif = (offset + 8, length) if kind == b"eXIf" else exif
        offset += 12 + length
    return transparent, UPRIGHT


def png_exif_behind(size: int) -> Generator[Span, bytes, int]:
    """Return the orientation in a chunk that stands behind the pixels, where some programs write it."""
    length = min(LONGEST_SPAN, size)
    tail = yield from read(size - length, length)
    kind = tail.rfind(b"eXIf")
    if kind < 4:
        return UPRIGHT
    end = kind + 4 + int.from_bytes(tail[kind - 4 : kind], "big")
    # Among the pixels these letters are chance, and no checksum follows.
    is_chunk = binascii.crc32(tail[kind:end]).to_bytes(4, "big") == tail[end : end + 4]
    return find_orientation(tail[kind + 4 : end]) if is_chunk else UPRIGHT


def png_ends(size: int) -> Generator[Span, bytes, bool]:
    """Whether the chunks lead to the one that ends them."""
    offset = 8
    for _ in range(MOST_BLOCKS):
        if offset + 12 > size:
            return False
        block = yield from read(offset, 12)
        if block == END_OF_PNG:
            return True
        length = int.from_bytes(block[:4])
        offset += 12 + length
    return False


# T.81 table B.1: SOF0-SOF15 without DHT (C4), JPG (C8) and DAC (CC).
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}
FILL = 0xFF
START_OF_SCAN = 0xDA
APP1 = 0xE1


def read_jpeg(size: int) -> Probe:
    stored, scan, orientation = yield from jpeg_frame(size)
    width, height = swap(stored, orientation) or (None, None)
    # One that stands before the pixels is of a thumbnail; among the pixels none can stand (B.1.1.5).
    start = max(scan, size - TAIL)
    tail = yield from read(start, size - start)
    return Media(
        media_type="image/jpeg",
        width=width,
        height=height,
        complete=b"\xff\xd9" in tail or (yield from jpeg_ends(size, scan)),
        orientation=orientation,
    )


MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""Among the pixels: neither a stuffed byte, a restart, nor a fill byte."""


def jpeg_ends(size: int, offset: int) -> Generator[Span, bytes, bool]:
    """Whether the scans from *offset* on lead to the marker that ends them."""
    segments = 0
    while offset < size:
        piece = yield from read(offset, min(LONGEST_SPAN, size - offset))
        position = 0
        while match := MARKER.search(piece, position):
            segments += 1
            if match[0] == b"\xff\xd9" or segments == MOST_BLOCKS:
                return segments < MOST_BLOCKS
            length = piece[match.end() : match.end() + 2]
            if len(length) < 2:
                position = match.start()
                break
            position = match.end() + int.from_bytes(length)
        else:
            position = max(position, len(piece) - 1)  # a marker may be cut in two
        if not position:
            return False
        offset += position
    return False


def jpeg_frame(size: int) -> Generator[Span, bytes, tuple[tuple[int, int] | None, int, int]]:
    """Return width and height, where the first scan begins, *size* if there is none, and the orientation."""
    dimensions = None
    orientation = UPRIGHT
    offset = 2
    for _ in range(MOST_BLOCKS):
        if offset + 9 > size:
            break
        segment = yield from read(offset, 9)
        mark, marker, length = struct.unpack(">BBH", segment[:4])
        if mark != FILL:
            break
        if marker == START_OF_SCAN:
            return dimensions, offset, orientation
        if marker in START_OF_FRAME:
            height, width = struct.unpack(">HH", segment[5:9])
            dimensions = (width, height) if height else None  # B.2.5: 0 rows say that the number comes later
        if marker == APP1 and segment[4:] == PREFIX[:5] and orientation == UPRIGHT:
            orientation = yield from read_exif(offset + 4, length - 2, size)
        offset += jpeg_step(marker, length)
    return dimensions, size, orientation


def jpeg_step(marker: int, length: int) -> int:
    """Return how far the next marker is from this one."""
    if marker == FILL:
        return 1
    return 2 if marker in WITHOUT_LENGTH else 2 + length


SMALLEST_RIFF = 18
"""`WEBP`, a chunk's header, and six bytes: a lossless picture of one pixel."""


WEBP_EXIF = 0x08
"""The flag of a chunk with EXIF data."""


def read_riff(size: int) -> Probe:
    header = yield from read(0, min(30, size))
    if header[8:12] != b"WEBP":
        return Media()
    riff_size = int.from_bytes(header[4:8], "little")
    stored_width, stored_height, alpha = webp_canvas(header)
    has_exif = header[12:16] == b"VP8X" and len(header) == 30 and header[20] & WEBP_EXIF
    orientation = (yield from webp_orientation(size)) if has_exif else UPRIGHT
    edges = (stored_width, stored_height)
    width, height = edges[::-1] if orientation >= ON_ITS_SIDE else edges
    return Media(
        media_type="image/webp",
        width=width,
        height=height,
        alpha=alpha,
        complete=SMALLEST_RIFF <= riff_size <= size - 8,
        orientation=orientation,
    )


def webp_orientation(size: int) -> Generator[Span, bytes, int]:
    """Return the orientation in the EXIF chunk, which stands behind the pixels."""
    offset = 12
    for _ in range(MOST_BLOCKS):
        if offset + 8 > size:
            break
        kind, length = struct.unpack("<4sI", (yield from read(offset, 8)))
        if kind == b"EXIF":
            return (yield from read_exif(offset + 8, length, size))
        offset += 8 + length + length % 2
    return UPRIGHT


def webp_canvas(header: bytes) -> tuple[int | None, int | None, bool]:
    kind = header[12:16]
    if kind == b"VP8X" and len(header) == 30:  # RFC 9649 §2.7: 24-bit sizes, less one
        width = int.from_bytes(header[24:27], "little") + 1
        height = int.from_bytes(header[27:30], "little") + 1
        return width, height, bool(header[20] & 0x10)
    if kind == b"VP8L" and header[20:21] == b"\x2f" and len(header) >= 25:
        # RFC 9649 §3.4: 14 bits each, less one, then the alpha bit
        (bits,) = struct.unpack("<I", header[21:25])
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1, bool(bits >> 28 & 1)
    if kind == b"VP8 " and header[23:26] == b"\x9d\x01\x2a" and len(header) == 30:  # RFC 6386 §9.1
        width, height = struct.unpack("<HH", header[26:30])
        return width & 0x3FFF, height & 0x3FFF, False
    return None, None, False


EXTENSION, IMAGE_DESCRIPTOR, TRAILER = 0x21, 0x2C, 0x3B
GRAPHIC_CONTROL = 0xF9


def read_gif(size: int) -> Probe:
    header = yield from read(0, min(13, size))
    if len(header) < 13:
        return Media(media_type="image/gif")
    width, height, flags = struct.unpack("<HHB", header[6:11])
    alpha, complete = yield from read_gif_blocks(size, 13 + color_table(flags))
    return Media(media_type="image/gif", width=width, height=height, alpha=alpha, complete=complete)


def color_table(flags: int) -> int:
    return 3 * 2 ** ((flags & 0x07) + 1) if flags & 0x80 else 0


def read_gif_blocks(size: int, offset: int) -> Generator[Span, bytes, tuple[bool, bool]]:
    """Return whether the first image is transparent, and whether the trailer is there."""
    alpha = None
    inside = False
    window, start = b"", 0
    for _ in range(MOST_GIF_BLOCKS):
        if offset >= size:
            return bool(alpha), False
        if not start <= offset < start + len(window) - 10:
            start, window = offset, (yield from read(offset, min(LONGEST_SPAN, size - offset)))
        block = window[offset - start : offset - start + 10].ljust(10, b"\0")
        if inside:  # §15: sub-blocks, ended by an empty one
            inside = block[0] > 0
            offset += 1 + block[0]
        elif block[0] == TRAILER:
            return bool(alpha), True
        elif block[0] == EXTENSION:
            if block[1] == GRAPHIC_CONTROL and alpha is None:
                alpha = bool(block[3] & 0x01)  # §23: it stands before the image it is for
            inside = True
            offset += 2
        elif block[0] == IMAGE_DESCRIPTOR:
            alpha = bool(alpha)
            inside = True
            offset += 11 + color_table(block[9])
        else:
            return bool(alpha), False
    # A trailer alone is any byte of the pixels; with the end of a block before it, it is one place of 65,536.
    tail = yield from read_tail(size)
    return bool(alpha), tail.rstrip(b"\0").endswith(b"\0\x3b")


BLANK = b"\xef\xbb\xbf\xfe\xff\0 \t\r\n"
"""What may stand before the first `<`: white space, and marks of an encoding."""
PROLOG = re.compile(
    rb"(?:\s++|<\?.*?\?>|<!--.*?-->"
    rb"|<!DOCTYPE(?:[^][>\"']++|\"[^\"]*\"|'[^']*'|\[(?:[^]\"'<]++|\"[^\"]*\"|'[^']*'|<!--.*?-->|<)*+\])*+>)*+",
    re.DOTALL | re.IGNORECASE,
)
ROOT = re.compile(rb"<(?:[\w.-]+:)?svg[\s/>]")
END_OF_SVG = re.compile(rb"</(?:[\w.-]+:)?svg\s*+>(?:[^<]++|<!--.*?-->|<\?.*?\?>)*+\Z", re.DOTALL)


def read_svg(size: int) -> Probe:
    head = yield from read(0, min(LONGEST_SPAN, size))
    head = to_ascii(head).lstrip(BLANK)
    prolog = PROLOG.match(head)
    if prolog is None or not ROOT.match(head, prolog.end()):
        return Media()
    start = max(0, size - LONGEST_SPAN)
    tail = to_ascii((yield from read(start, size - start)))
    return Media(media_type="image/svg+xml", alpha=True, complete=END_OF_SVG.search(tail) is not None)


def to_ascii(text: bytes) -> bytes:
    """Return markup without the zeros that UTF-16 and UTF-32 put beside each of its characters."""
    return text.replace(b"\0", b"")


READERS: tuple[tuple[bytes, Reader], ...] = (
    (b"\x89PNG\r\n\x1a\n", read_png),
    (b"\xff\xd8\xff", read_jpeg),
    (b"RIFF", read_riff),
    (b"GIF87a", read_gif),
    (b"GIF89a", read_gif),
)
