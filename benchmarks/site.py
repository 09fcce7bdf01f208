"""What the server has ready: pictures of noise, answers that hold them, and files to upload."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import attrs

from benchmarks.process import fingerprint
from benchmarks.work import TINY, Work

__all__ = ["Site", "noise"]

CREATED = 1_700_000_000
SIDE = 2048
"""Pixels that each picture says it is wide and high."""


def noise(size: int) -> bytes:
    """Return a PNG file of *size* bytes whose pixels are noise: nothing in it can be made smaller or guessed."""
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    frame = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"IEND", b"")]
    room = size - sum(map(len, frame)) - 12
    if room < 0:
        raise ValueError(f"a picture has at least {size - room} bytes")
    return b"".join((*frame[:2], chunk(b"IDAT", os.urandom(room)), frame[2]))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@attrs.define(kw_only=True)
class Site:
    """
    A folder that a server shows.

    Attributes:
        folder: Holds `answers`, `pictures` and `inputs`.
        address: The server's, for answers that are URLs.
        tls_address: The same over TLS.
        marks: Of each answer, the fingerprints of its images.
        hashes: Of each answer, the SHA-256 of its images.
    """

    folder: Path
    address: str
    tls_address: str = ""
    marks: dict[str, list[str]] = attrs.field(factory=dict)
    hashes: dict[str, list[str]] = attrs.field(factory=dict)

    @property
    def inputs(self) -> Path:
        """Files to upload."""
        return self.folder / "inputs"

    def prepare(self, work: Work) -> None:
        """Make what *work* and its warm-up ask for, once."""
        for wanted in (work, work.smallest):
            if wanted.answer not in self.marks:
                self.make(wanted)

    def make(self, work: Work) -> None:
        kind = work.answer.partition("-")[0]
        size = TINY if kind == "taken" else work.size
        pictures = [noise(size) for _ in range(1 if kind == "taken" else work.images)]
        self.marks[work.answer] = [fingerprint(picture) for picture in pictures]
        self.hashes[work.answer] = [hashlib.sha256(picture).hexdigest() for picture in pictures]
        for name in ("answers", "pictures"):
            (self.folder / name).mkdir(exist_ok=True)
        with (self.folder / "answers" / work.answer).open("wb") as file:
            file.writelines(MAKERS[kind](self, work, pictures))
        if kind == "taken":
            self.make_inputs(work)

    def url(self, work: Work, name: str) -> str:
        """Return the address of a picture."""
        return f"{self.tls_address if work.tls else self.address}/pictures/{name}"

    def make_inputs(self, work: Work) -> None:
        folder = self.inputs / work.answer
        folder.mkdir(parents=True)
        for number in range(work.images):
            (folder / f"{number}.png").write_bytes(noise(work.size))

    def base64(self, _work: Work, pictures: list[bytes]) -> Iterable[bytes]:
        """Yield an answer that holds the pictures."""
        yield b'{"created":%d,"data":[' % CREATED
        for number, picture in enumerate(pictures):
            yield b'%b{"b64_json":"%b"}' % (b"," if number else b"", base64.b64encode(picture))
        yield b'],"output_format":"png","quality":"high","size":"2048x2048"}\n'

    def events(self, _work: Work, pictures: list[bytes]) -> Iterable[bytes]:
        """Yield a stream: previews, and the picture at last."""
        for number, picture in enumerate(pictures):
            last = number == len(pictures) - 1
            kind = "image_generation.completed" if last else "image_generation.partial_image"
            fields: Mapping[str, object] = {
                "type": kind,
                "b64_json": base64.b64encode(picture).decode(),
                "created_at": CREATED,
                "size": "2048x2048",
                "quality": "high",
                "background": "opaque",
                "output_format": "png",
                **({"usage": {"total_tokens": 3, "input_tokens": 1, "output_tokens": 2}} if last else {}),
                **({} if last else {"partial_image_index": number}),
            }
            yield f"event: {kind}\ndata: {json.dumps(fields)}\n\n".encode()

    def links(self, work: Work, pictures: list[bytes]) -> Iterable[bytes]:
        """Yield an answer that says where the pictures are."""
        urls = []
        for number, picture in enumerate(pictures):
            name = f"{work.answer}-{number}.png"
            (self.folder / "pictures" / name).write_bytes(picture)
            urls.append({"url": self.url(work, name)})
        yield json.dumps({"created": CREATED, "data": urls}).encode()


MAKERS: dict[str, Callable[[Site, Work, list[bytes]], Iterable[bytes]]] = {
    "base64": Site.base64,
    "taken": Site.base64,
    "events": Site.events,
    "links": Site.links,
}
