"""
What an image file is, read from its own bytes: type, size, alpha channel, and whether its end is there.

Nothing is decoded and nothing is read whole: each reader is a generator that yields the spans it needs and is sent
their bytes, so the same code serves bytes in memory, a file read by another thread, and a file far larger than memory.

Sources: PNG third edition (W3C, §5 and §11); ITU-T T.81 annex B (JPEG); RFC 9649 (WebP); GIF89a specification.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator

import attrs

__all__ = ["EXTENSIONS", "Media", "Probe", "Span", "examine", "examine_bytes"]

Span = tuple[int, int]
"""An offset and a number of bytes."""

EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/svg+xml": "svg",
}

HEAD = 64
TAIL = 1024
MOST_BLOCKS = 4096
"""Chunks, segments or blocks that a reader passes over before it gives up: hostile files may hold millions."""


@attrs.frozen(kw_only=True)
class Media:
    """
    What the bytes say.

    Attributes:
        media_type: None if the bytes are no image that the API knows.
        width: Pixels; None if the format or the file does not say.
        height: Pixels; None if the format or the file does not say.
        alpha: Whether a pixel can be transparent.
        complete: Whether the end marker is where it belongs.
    """

    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    alpha: bool = False
    complete: bool = False

    @property
    def extension(self) -> str:
        """The file name extension, without a dot; `bin` for no image."""
        return EXTENSIONS.get(self.media_type or "", "bin")

    @property
    def dimensions(self) -> tuple[int, int] | None:
        """Width and height, if both are known."""
        return None if self.width is None or self.height is None else (self.width, self.height)


Probe = Generator[Span, bytes, Media]
"""Yields the spans it needs, is sent their bytes (fewer at the end of the file), returns what the file is."""

Reader = Callable[[int], Probe]


def examine(size: int) -> Probe:
    """
    Return a probe for an image file of *size* bytes.

    Every span it asks for lies within the file and is at most 1 KiB long.
    """
    head = yield 0, min(HEAD, size)
    for signature, offset, reader in READERS:
        if head[offset : offset + len(signature)] == signature:
            return (yield from reader(size))
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<svg", b"<?xml")):
        return (yield from read_svg(size))
    return Media()


def examine_bytes(data: bytes | bytearray | memoryview) -> Media:
    """Return what *data*, a whole image file, is."""
    view = memoryview(data)
    probe = examine(len(view))
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
    return (yield size - length, length)


def read_png(size: int) -> Probe:
    header = yield 0, min(33, size)
    if len(header) < 33 or header[12:16] != b"IHDR":
        return Media(media_type="image/png")
    width, height, _, colour = struct.unpack(">IIBB", header[16:26])
    alpha = colour in {4, 6} or (yield from png_has_transparency(size))
    tail = yield from read_tail(size)
    complete = b"\0\0\0\0IEND\xae\x42\x60\x82" in tail
    return Media(media_type="image/png", width=width, height=height, alpha=alpha, complete=complete)


def png_has_transparency(size: int) -> Generator[Span, bytes, bool]:
    # §5.6: a tRNS chunk stands before the first IDAT.
    offset = 33
    for _ in range(MOST_BLOCKS):
        if offset + 8 > size:
            return False
        length, kind = struct.unpack(">I4s", (yield offset, 8))
        if kind == b"tRNS":
            return True
        if kind == b"IDAT":
            return False
        offset += 12 + length
    return False


# T.81 table B.1: SOF0-SOF15 without DHT (C4), JPG (C8) and DAC (CC).
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}
FILL = 0xFF
START_OF_SCAN = 0xDA


def read_jpeg(size: int) -> Probe:
    dimensions = yield from jpeg_dimensions(size)
    tail = yield from read_tail(size)
    width, height = dimensions or (None, None)
    # Cameras append data of their own, so the marker need not be the very last bytes.
    return Media(media_type="image/jpeg", width=width, height=height, complete=size > 4 and b"\xff\xd9" in tail)


def jpeg_dimensions(size: int) -> Generator[Span, bytes, tuple[int, int] | None]:
    offset = 2
    for _ in range(MOST_BLOCKS):
        if offset + 9 > size:
            return None
        segment = yield offset, 9
        mark, marker, length = struct.unpack(">BBH", segment[:4])
        if mark != FILL or marker == START_OF_SCAN:
            return None
        if marker in START_OF_FRAME:
            height, width = struct.unpack(">HH", segment[5:9])
            return width, height
        if marker == FILL:
            offset += 1
        elif marker in WITHOUT_LENGTH:
            offset += 2
        else:
            offset += 2 + length
    return None


def read_webp(size: int) -> Probe:
    header = yield 0, min(30, size)
    if len(header) < 30:
        return Media(media_type="image/webp")
    (riff_size,) = struct.unpack("<I", header[4:8])
    width, height, alpha = webp_canvas(header)
    return Media(
        media_type="image/webp",
        width=width,
        height=height,
        alpha=alpha,
        complete=riff_size >= 22 and riff_size + 8 <= size,
    )


def webp_canvas(header: bytes) -> tuple[int | None, int | None, bool]:
    kind = header[12:16]
    if kind == b"VP8X":  # RFC 9649 §2.7: 24-bit sizes, less one
        width = int.from_bytes(header[24:27], "little") + 1
        height = int.from_bytes(header[27:30], "little") + 1
        return width, height, bool(header[20] & 0x10)
    if kind == b"VP8L" and header[20] == 0x2F:  # RFC 9649 §3.4: 14 bits each, less one, then the alpha bit
        (bits,) = struct.unpack("<I", header[21:25])
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1, bool(bits >> 28 & 1)
    if kind == b"VP8 " and header[23:26] == b"\x9d\x01\x2a":  # RFC 6386 §9.1
        width, height = struct.unpack("<HH", header[26:30])
        return width & 0x3FFF, height & 0x3FFF, False
    return None, None, False


def read_gif(size: int) -> Probe:
    header = yield 0, min(13, size)
    if len(header) < 13:
        return Media(media_type="image/gif")
    width, height, flags = struct.unpack("<HHB", header[6:11])
    alpha = yield from gif_has_transparency(size, 13 + color_table(flags))
    tail = yield from read_tail(size)
    complete = tail.rstrip(b"\0").endswith(b"\x3b")
    return Media(media_type="image/gif", width=width, height=height, alpha=alpha, complete=complete)


def color_table(flags: int) -> int:
    return 3 * 2 ** ((flags & 0x07) + 1) if flags & 0x80 else 0


def gif_has_transparency(size: int, offset: int) -> Generator[Span, bytes, bool]:
    # §23: the graphic control extension stands before the image it is for; bit 0 is the transparency flag.
    for _ in range(MOST_BLOCKS):
        if offset + 4 > size:
            return False
        introducer, label, length, flags = yield offset, 4
        if introducer != 0x21:
            return False
        if label == 0xF9:
            return bool(flags & 0x01)
        offset += 2
        while length:  # sub-blocks, ended by an empty one
            offset += 1 + length
            if offset >= size:
                return False
            (length,) = yield offset, 1
        offset += 1
    return False


def read_svg(size: int) -> Probe:
    head = yield 0, min(TAIL, size)
    tail = yield from read_tail(size)
    if b"<svg" not in head:
        return Media()
    return Media(media_type="image/svg+xml", alpha=True, complete=tail.rstrip().endswith(b"</svg>"))


READERS: tuple[tuple[bytes, int, Reader], ...] = (
    (b"\x89PNG\r\n\x1a\n", 0, read_png),
    (b"\xff\xd8\xff", 0, read_jpeg),
    (b"WEBP", 8, read_webp),
    (b"GIF87a", 0, read_gif),
    (b"GIF89a", 0, read_gif),
)
