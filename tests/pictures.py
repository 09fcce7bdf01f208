"""Small image files, made by hand."""

from __future__ import annotations

import os
import struct
import zlib


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int = 16, height: int = 16, *, alpha: bool = True, pad: int = 0) -> bytes:
    """Return a PNG of one colour, with *pad* random bytes in a chunk that readers pass over."""
    pixel = bytes([200, 100, 50, 0]) if alpha else bytes([200, 100, 50])
    rows = b"".join(b"\0" + pixel * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 6 if alpha else 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows))]
    if pad:
        parts.append(chunk(b"paDd", os.urandom(pad)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")
