"""
Requests as bytes: what a client really sends, and the golden files beside it.

A form is taken apart by `email`, which neither this package nor the emulator uses, so that a mistake of theirs has
nobody to agree with.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib
from collections.abc import Mapping
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Self

import attrs

HERE = Path(__file__).parent


def png(red: int, *, side: int = 2, alpha: int | None = None) -> bytes:
    """Return a square PNG of one colour; the same bytes everywhere, as its pixels are stored, not compressed."""
    pixel = bytes((red, 90, 160)) if alpha is None else bytes((red, 90, 160, alpha))
    rows = (b"\0" + pixel * side) * side
    stored = b"\x78\x01\x01" + struct.pack("<HH", len(rows), len(rows) ^ 0xFFFF) + rows
    header = struct.pack(">IIBBBBB", side, side, 8, 2 if alpha is None else 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", stored + struct.pack(">I", zlib.adler32(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


FILES: Mapping[str, bytes] = {
    "otter.png": png(10),
    "mask.png": png(20, alpha=0),
    "body-lotion.png": png(30),
    "bath-bomb.png": png(40),
    "incense-kit.png": png(50),
    "soap.png": png(60),
}
"""Files that golden requests name."""


@attrs.frozen
class Part:
    """One part of a form; the content type is None where none is sent, the file name where it is no file."""

    name: str
    content_type: str | None
    content: bytes
    filename: str | None = attrs.field(default=None, eq=False)


@attrs.frozen(kw_only=True)
class RawRequest:
    """
    A request, byte for byte.

    Attributes:
        line: The first line, without its end.
        headers: In the order sent, names in lower case.
        body: What came after the empty line, as much as Content-Length says.
        rest: What came after the body; nothing may.
    """

    line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    rest: bytes = b""

    def header(self, name: str) -> str:
        """Return the header that has to be there once."""
        (value,) = [value for own, value in self.headers if own == name]
        return value

    @property
    def json(self) -> object:
        """The body's value."""
        return json.loads(self.body)

    @property
    def parts(self) -> list[Part]:
        """The form's parts in one fixed order, so that two forms are equal if they hold the same parts."""
        return form_parts(self.header("content-type"), self.body)


def form_parts(content_type: str, body: bytes) -> list[Part]:
    """Return the parts of a form, sorted by name and content."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    assert message.get_content_type() == "multipart/form-data"
    assert not message.defects
    assert not message.preamble
    assert not message.epilogue
    return sorted(map(to_part, message.iter_parts()), key=lambda part: (part.name, part.content))


def to_part(part: EmailMessage) -> Part:
    assert not part.defects
    assert part.get_content_disposition() == "form-data"
    assert "Content-Transfer-Encoding" not in part
    return Part(
        name=part.get_param("name", header="content-disposition"),
        content_type=part["Content-Type"],
        content=part.get_payload(decode=True),
        filename=part.get_filename(),
    )


def to_head(head: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the request line and the headers."""
    line, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    pairs = (text.split(":", 1) for text in lines)
    return line, tuple((name.lower(), value.strip()) for name, value in pairs)


def golden_bytes(name: str) -> bytes:
    """
    Return a golden request as it travels.

    Its file is text that can be read: lines end as they do here, and `<otter.png>` alone on a line stands for the
    file's bytes.
    """
    head, body = (HERE / name).read_text(encoding="utf-8").split("\n\n", 1)
    if "application/json" in head:
        content = body.removesuffix("\n").encode()
    else:
        content = body.replace("\n", "\r\n").encode()
        for filename, data in FILES.items():
            content = content.replace(f"\r\n<{filename}>\r\n".encode(), b"\r\n" + data + b"\r\n")
    return f"{head}\n\n".replace("\n", "\r\n").encode() + content


def golden(name: str) -> RawRequest:
    """Return a golden request."""
    head, body = golden_bytes(name).split(b"\r\n\r\n", 1)
    line, headers = to_head(head)
    return RawRequest(line=line, headers=headers, body=body)


class Recorder:
    """
    A server that keeps one request per connection as it came, and answers each with the same few images.

    Attributes:
        images: How many images the answer holds.
    """

    def __init__(self) -> None:
        self.images = 1
        self.requests: asyncio.Queue[RawRequest] = asyncio.Queue()
        self.server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.record, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self.server is not None
        self.server.close()
        await self.server.wait_closed()

    @property
    def base_url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v1"

    async def request(self) -> RawRequest:
        """Return the next request, once its connection has ended."""
        return await self.requests.get()

    async def record(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, headers = to_head(await reader.readuntil(b"\r\n\r\n"))
        body = await reader.readexactly(int(dict(headers).get("content-length", 0)))
        writer.write(self.answer())
        writer.write_eof()
        rest = await reader.read()
        self.requests.put_nowait(RawRequest(line=line, headers=headers, body=body, rest=rest))
        writer.close()
        await writer.wait_closed()

    def answer(self) -> bytes:
        images = [{"b64_json": base64.b64encode(png(200)).decode()}] * self.images
        body = json.dumps({"created": 1589478378, "data": images}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return f"{head}Connection: close\r\n\r\n".encode() + body
