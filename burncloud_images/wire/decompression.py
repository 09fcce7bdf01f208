"""
Decompresses a body, chunk by chunk.

What a header says about compression is a hint: the first bytes tell what it is, and a body that cannot be decompressed
is taken as it came. A small body can hold gigabytes, so it is decompressed in pieces.

Source: RFC 1952 §2.2, of a gzip file's members; RFC 1950 §2.2; RFC 1951, of deflate without either around it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

PIECE = 64 * 1024
"""Bytes that come out at once."""
GZIP = b"\x1f\x8b"
GZIP_BITS, ZLIB_BITS, RAW_BITS = 31, 15, -15
LONGEST_MARK = 2
MOST_LAYERS = 3
"""How often a body may have been compressed."""
PLAIN = b"{[ \t\r\n:"
"""What a body in JSON, or a stream, begins with, and no compressed one."""


class BodyDecompressor:
    """
    Inflates one body.

    Feed it chunks and hand on its pieces; `is_cut`, when no more comes, says that some is missing.

    Args:
        encoding: What the header says, in lower case.
    """

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        # What was fed before anything came out; None from then on.
        self.unproven: bytes | None = b""
        self.inflater: zlib._Decompress | None = None
        self.is_plain = False
        # What follows a member may be another, or padding, of which nothing is taken.
        self.pending = b""
        self.has_padding = False

    @property
    def is_cut(self) -> bool:
        """Whether a compressed body is incomplete."""
        return self.inflater is not None and not self.inflater.eof

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """
        Yield what *chunk* holds.

        Raises:
            ValueError: A compressed body goes on with something else.
        """
        if self.unproven is not None:
            chunk, self.unproven = self.unproven + chunk, None
            if len(chunk) < LONGEST_MARK:
                self.unproven = chunk
                return
            bits = find_bits(chunk, self.encoding)
            if bits is None:
                self.is_plain = True
            else:
                yield from self.prove(zlib.decompressobj(bits), chunk)
                return
        if self.is_plain:
            yield chunk
        else:
            yield from self.inflate(chunk)

    def prove(self, inflater: zlib._Decompress, chunk: bytes) -> Iterator[bytes]:
        """Inflate the beginning; nothing of it is lost if it turns out that it is not compressed."""
        self.inflater = inflater
        try:
            piece = inflater.decompress(chunk, PIECE)
        except zlib.error:
            self.is_plain, self.inflater = True, None
            yield chunk
            return
        if piece or len(chunk) > PIECE:
            yield piece
            yield from self.inflate(inflater.unconsumed_tail or inflater.unused_data)
        elif not inflater.eof:
            self.unproven = chunk

    def inflate(self, chunk: bytes) -> Iterator[bytes]:
        chunk, self.pending = self.pending + chunk, b""
        while chunk and self.inflater is not None:
            if self.inflater.eof:
                if self.has_padding or not GZIP.startswith(chunk[:LONGEST_MARK]):
                    self.has_padding = True
                    return
                if len(chunk) < LONGEST_MARK:
                    self.pending = chunk
                    return
                self.inflater = zlib.decompressobj(GZIP_BITS)
            try:
                piece = self.inflater.decompress(chunk, PIECE)
            except zlib.error:
                raise ValueError("its compression is broken") from None
            if piece:
                yield piece
            chunk = self.inflater.unconsumed_tail or self.inflater.unused_data

    def close(self) -> Iterator[bytes]:
        """Yield what was held back of a body of which nothing could be inflated."""
        if self.unproven:
            self.is_plain, self.inflater = True, None
            yield self.unproven


class LayeredDecompressor:
    """
    Inflates one body that may have been compressed more than once, as by a server and a proxy in front of it.

    Attributes:
        layers: The decompressor of the body, and those of what it holds.

    Args:
        encoding: What the header says, in lower case.
    """

    def __init__(self, encoding: str) -> None:
        self.layers = [BodyDecompressor(encoding)]

    @property
    def is_plain(self) -> bool:
        """Whether the body is not compressed, so that chunks can be taken as they are from now on."""
        return self.layers[0].is_plain

    @property
    def is_cut(self) -> bool:
        """Whether a compressed body is incomplete."""
        return any(layer.is_cut for layer in self.layers)

    def feed(self, chunk: bytes, depth: int = 0) -> Iterator[bytes]:
        """
        Yield what *chunk* holds.

        Raises:
            ValueError: A compressed body goes on with something else.
        """
        if depth == len(self.layers):
            self.layers.append(BodyDecompressor(""))
        layer = self.layers[depth]
        for piece in layer.feed(chunk):
            if layer.is_plain or depth == MOST_LAYERS - 1:
                yield piece
            else:
                yield from self.feed(piece, depth + 1)

    def close(self) -> Iterator[bytes]:
        """Yield what was held back of a body of which nothing could be inflated."""
        for depth, layer in enumerate([*self.layers]):
            for piece in layer.close():
                yield from self.feed(piece, depth + 1) if not layer.is_plain else (piece,)


def find_bits(beginning: bytes, encoding: str) -> int | None:
    """Return zlib's `wbits` for a body that begins so; None if it is not compressed."""
    first, second = beginning[:LONGEST_MARK]
    if beginning.startswith(GZIP):
        return GZIP_BITS
    if first & 0x0F == zlib.DEFLATED and (first << 8 | second) % 31 == 0:
        return ZLIB_BITS
    return RAW_BITS if encoding == "deflate" and first not in PLAIN else None
