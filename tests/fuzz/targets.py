"""
What is fuzzed: each target takes any bytes and raises only if something is wrong.

Whatever an answer holds, it comes to a value or to an error of the package's own, and how it was cut makes no
difference.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from math import inf, isfinite
from pathlib import Path

from fuzz import preservation
from fuzz.preservation import calls, shapes

from burncloud_images.bulk.inputs.columns import UnusableRow
from burncloud_images.bulk.inputs.encodings import open_text
from burncloud_images.bulk.inputs.formats import read_text
from burncloud_images.bulk.inputs.row_images import ImageFileInspector
from burncloud_images.bulk.inputs.rows import RowDefaults, RowParser
from burncloud_images.bulk.inputs.tables import TableOptions
from burncloud_images.bulk.records import BadRow, NewRequest
from burncloud_images.bulk.request_json import to_document, to_key, to_request
from burncloud_images.errors import ImagesError, InvalidRequestError, Phase
from burncloud_images.model.media import examine, examine_bytes
from burncloud_images.wire.body_text import BodyTextDecoder
from burncloud_images.wire.decompression import BodyDecompressor
from burncloud_images.wire.download_headers import find_content_range, find_remote_file
from burncloud_images.wire.events import CompletedEnded, IgnoredEvent, PartialEnded, PartialStarted, StreamDecoder
from burncloud_images.wire.failures import ErrorResponse, to_error
from burncloud_images.wire.headers import find_request_id, find_retry_after, find_should_retry
from burncloud_images.wire.image_json import (
    AnswerDecoder,
    ImageBodyDecoder,
    ImageChunk,
    ImageEnded,
    ImageFailed,
    ImageStarted,
    OpaqueDecoder,
    PausePoint,
    SurplusText,
    UndecodedText,
)

MOST_EVENT = 4096
MOST_ITEMS = 2
DOWNLOAD_HEADERS = (
    *("content-length", "etag", "content-range", "content-md5", "x-ms-blob-content-md5", "x-goog-hash"),
    *("content-digest", "repr-digest"),
)
STATUSES = (200, 302, 400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 522, 524, 599, 999)
PHASES = tuple(Phase)


def cut(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


class Listener:
    """Writes down what a decoder tells, each image joined; one that is damaged may be so found early or late."""

    def __init__(self) -> None:
        self.story: list[object] = []
        self.started: object = None
        self.image = b""
        self.surplus = b""

    def listen(self, told: Iterable[object]) -> None:
        for event in told:
            match event:
                case ImageStarted() | PartialStarted():
                    self.started, self.image = event, b""
                case ImageChunk(_, data):
                    self.image += data
                case ImageEnded(index):
                    self.story.append((self.started, index, self.image))
                case SurplusText(text):
                    self.surplus += text
                case ImageFailed() | UndecodedText() | PausePoint():
                    pass
                case PartialEnded():
                    self.story.append((self.started, event, self.image))
                case CompletedEnded() | IgnoredEvent():
                    self.story.append(event)
                case _:
                    raise AssertionError(event)


def tell_answer(chunks: Iterable[bytes], listener: Listener) -> object:
    decoder = AnswerDecoder()
    for chunk in chunks:
        listener.listen(decoder.feed(chunk))
    return decoder.close()


def tell_events(chunks: Iterable[bytes], listener: Listener) -> object:
    decoder = StreamDecoder(MOST_EVENT)
    for chunk in chunks:
        listener.listen(decoder.feed(chunk))
        if decoder.done:
            break
    listener.listen(decoder.flush())
    return decoder.close()


def tell_body(chunks: Iterable[bytes], listener: Listener) -> object:
    body = BodyTextDecoder()
    pieces = [*map(body.feed, chunks)]
    pieces.append(body.close())
    if body.shape == "events":
        return tell_events(pieces, listener)
    if body.shape == "image":
        return tell_image(pieces, listener)
    decoder = AnswerDecoder(MOST_ITEMS) if body.shape == "answer" else OpaqueDecoder()
    for piece in pieces:
        listener.listen(decoder.feed(piece))
    return decoder.close()


def tell_image(chunks: Iterable[bytes], listener: Listener) -> object:
    decoder = ImageBodyDecoder()
    for chunk in filter(None, chunks):
        listener.listen(decoder.feed(chunk))
    listener.listen(decoder.finish())
    return decoder.close()


Telling = Callable[[Iterable[bytes], Listener], object]


def hear(tell: Telling, chunks: Iterable[bytes]) -> list[object]:
    """Return all that is told, and the value or the error that it comes to."""
    listener = Listener()
    try:
        end = tell(chunks, listener)
    except ImagesError as error:
        end = (type(error), str(error))
    return [*listener.story, listener.surplus, end]


def compare(tell: Telling, data: bytes) -> None:
    """Cut a text, whose pieces' length is the first byte, and compare with what comes of it whole."""
    body, size = data[1:], data[0] % 64 + 1 if data else 1
    assert hear(tell, [body]) == hear(tell, cut(body, size)), (size, body)


def answer(data: bytes) -> None:
    """The body of an answer."""
    compare(tell_answer, data)


def events(data: bytes) -> None:
    """A stream of events."""
    compare(tell_events, data)


def body(data: bytes) -> None:
    """A body of any shape, in any encoding."""
    compare(tell_body, data)


def compression(data: bytes) -> None:
    """A body that its header calls compressed: nothing is lost of one that is not."""
    chosen, packed = data[:1] or b"\0", data[1:]
    inflater = BodyDecompressor(("gzip", "deflate", "br")[chosen[0] % 3])
    try:
        came = b"".join(piece for chunk in cut(packed, chosen[0] % 64 + 1) for piece in inflater.feed(chunk))
    except ValueError:
        return
    came += b"".join(inflater.close())
    assert not inflater.is_plain or packed == came


def failures(data: bytes) -> None:
    """An answer that is none of success."""
    chosen, body = data[:2].ljust(2, b"\0"), data[2:]
    status, phase = STATUSES[chosen[0] % len(STATUSES)], PHASES[chosen[1] % len(PHASES)]
    reply = ErrorResponse(status=status, headers={}, body=body, phase=phase, operation="generations")
    error = to_error(reply)
    assert isinstance(error, ImagesError)
    assert str(error)
    repr(error)


def headers(data: bytes) -> None:
    """Headers that a server makes up."""
    lines = data.decode("latin-1").split("\n")
    names = ("retry-after", "retry-after-ms", "date", "x-should-retry", "x-request-id", "x-oneapi-request-id")
    made: Mapping[str, str] = dict(zip(names, lines, strict=False))
    wait = find_retry_after(made)
    assert wait is None or (isfinite(wait) and 0 <= wait < inf), wait
    find_should_retry(made)
    find_request_id(made, lines[-1])


def downloads(data: bytes) -> None:
    """Headers of a file that is fetched."""
    lines = data.decode("latin-1").split("\n")
    made = dict(zip((*DOWNLOAD_HEADERS, "date", "last-modified"), lines, strict=False))
    found = find_remote_file(made)
    assert found.length is None or 0 <= found.length < 10**18
    assert found.validator is None or found.validator.isprintable()
    for checksum in found.checksums:
        assert len(checksum.digest) == hashlib.new(checksum.algorithm, usedforsecurity=False).digest_size
    part = find_content_range(made)
    assert part is None or part.start is None or part.start >= 0


def media(data: bytes) -> None:
    """A file that says it is an image."""
    found = examine_bytes(data)
    for number in found.dimensions or ():
        assert number >= 0
    assert found.media_type or not found.complete
    assert found == probed(data)


def probed(data: bytes) -> object:
    """Return what is found by reading no more than is asked for."""
    probe = examine(len(data))
    try:
        offset, length = next(probe)
        for _ in range(len(data) + 16):
            assert 0 <= offset <= len(data)
            assert length >= 0
            offset, length = probe.send(data[offset : offset + length])
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it reads for ever")


FORMATS = ("txt", "csv", "tsv", "jsonl", "json", None)
NOWHERE = Path("/no-such-folder")


def make_rows(name: str | None, data: bytes) -> list[object]:
    """Return all rows of a list, what is said about them, and the reason if it cannot be read at all."""
    parser = RowParser(source="list", defaults=RowDefaults.of({"seed": 1}), files=ImageFileInspector.below(NOWHERE))
    told: list[object] = []
    try:
        with open_text("list", io.BytesIO(data)) as text:
            told.extend(parser.to_row(parsed) for parsed in read_text(text, name, TableOptions()))
    except (UnusableRow, InvalidRequestError) as problem:
        told.append(str(problem))
    return [*told, *parser.row_warnings.take()]


def rows(data: bytes) -> None:
    """A list of rows, and its format."""
    chosen, body = data[:2].ljust(2, b"\0"), data[2:]
    name = FORMATS[chosen[0] % len(FORMATS)]
    told = make_rows(name, body)
    last = 0
    for row in told:
        if isinstance(row, (NewRequest, BadRow)):
            assert last <= row.line
            last = row.line
        if isinstance(row, NewRequest):
            document = json.loads(json.dumps(row.document, allow_nan=False))
            assert document == to_document(to_request(document), {})
            assert row.key == to_key(document, row.repeat)
        elif isinstance(row, BadRow):
            assert 0 < len(row.reason) <= 200
            assert row.reason.isprintable()


Target = Callable[[bytes], None]
TARGETS: Mapping[str, Target] = {
    target.__name__: target
    for target in (answer, events, body, shapes, calls, compression, failures, headers, downloads, media, rows)
}

IMAGE = "iVBORw0KGgo="
EVENT = json.dumps({"type": "image_generation.completed", "b64_json": IMAGE, "usage": {"total_tokens": 1}})
PARTIAL = json.dumps({"type": "image_edit.partial_image", "partial_image_index": 0, "b64_json": IMAGE})
BODY = {"prompt": "x", "images": [{"image_url": "https://x/a.png"}, {"file_id": "f"}], "mask": {"file_id": "g"}}
ONE = json.dumps({"data": [{"b64_json": IMAGE}]})
MANY = json.dumps({"data": [{"b64_json": IMAGE}, {"url": "x"}, {"b64_json": IMAGE, "x": {}}, [], '\\"'], "error": {}})
SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "answer": (
        b"\x03" + json.dumps({"created": 1, "data": [{"b64_json": IMAGE, "revised_prompt": "x"}]}).encode(),
        b"\x09"
        + json.dumps({"data": [{"url": f"data:image/png;base64,{IMAGE}"}, {"url": "https://x/?se=1"}]}).encode(),
        b'\x01{"data":[{"b64_json":"iVBO\\/\\u0052w=="},{"b64_json":"!"}],"error":null}',
        b'\x05{"error":{"message":"x","code":"billing_hard_limit_reached"}}',
    ),
    "events": (
        b"\x07: PING\n\ndata: " + PARTIAL.encode() + b"\n\ndata: " + EVENT.encode() + b"\n\ndata: [DONE]\n\n",
        b"\x02\xef\xbb\xbfevent: image_generation.completed\r\ndata: {\r\ndata: " + EVENT.encode()[1:] + b"\r\n\r\n",
        b'\x02event: error\rdata: {"type":"error","error":{"code":"x"}}\r\r',
    ),
    "body": (
        b"\x03: wait\n\n" + MANY.encode(),
        b"\x05" + ONE.encode("utf-16"),
        b"\x04" + f"\ndata: {MANY}\n\n".encode("utf-32-be"),
        b"\x01\xef\xbb\xbf\r\nretry: 1\ndata: " + EVENT.encode() + b"\n\n",
        b"\x07\x89PNG",
    ),
    "shapes": preservation.SEEDS,
    "calls": preservation.SEEDS,
    "compression": (
        b"\x03" + gzip.compress(b"{}") + gzip.compress(b"[]") + bytes(9),
        b"\x04" + zlib.compress(b"{}", wbits=-15),
        b"\x05{}",
    ),
    "failures": (
        b"\x0a\x05" + '{"error":{"message":"当前分组上游负载已饱和","type":"new_api_error","code":null}}'.encode(),
        b'\x02\x05{"error":{"code":"moderation_blocked","param":"prompt"}}',
        b"\x0c\x05<html>502</html>",
        b'\x0b\x05{"message":"x","success":false}',
    ),
    "headers": (b"2\n1500\nTue, 24 Nov 2026 08:00:00 GMT\ntrue\nreq_1", b"Tue, 24 Nov 2026 08:00:05 GMT\n\nx"),
    "downloads": (
        b'5\n"one"\nbytes 0-4/5\n1B2M2Y8AsgTpgAmY7PhCfg==\n\nmd5=1B2M2Y8AsgTpgAmY7PhCfg==',
        b'0\nW/"x"\nbytes */7\n\n\ncrc32c=AAAA\nsha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:',
        b"\n\n\n\n\n\n\n\nTue, 24 Nov 2026 08:10:00 GMT\nTue, 24 Nov 2026 08:00:00 GMT",
    ),
    "media": (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10\x08\x06\0\0\0\0\0\0\0\0\0\0\0IEND\xaeB`\x82",
        b"GIF89a\x10\0\x10\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x10\0\x10\0\0\x02\x02D\x01\0;",
        b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xc0\0\x0b\x08\0\x10\0\x10\x01\x01\x11\0\xff\xd9",
        b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\x0f\xc0\x03\x10\0\0\0\0\0\0\0\0\0",
        b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\x0f\0\0\x0f\0\0",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16"></svg>',
    ),
    "rows": (
        "\0\5\ufeffan otter\r\n\n水獭\n".encode(),
        b'\1\3prompt,n,extra,image,note\na,2,"{""x"": 1}",,\n"b\n""c""",,,https://x/a.png,y\n,,,,\nd,x\n"e,1',
        b"\2\7id\tprompt\tby_reference\none\ta\tfalse\ntwo\t\xff\tno\n",
        b'\3\2{"id":"a","prompt":"x","n":1,"svg":{"model":"m"}}\n[1]\n{"a":1,"a":2}\n{"prompt":"y","promt":1}',
        b"\3\7" + json.dumps({"custom_id": "a", "url": "/v1/images/edits", "body": BODY}).encode(),
        b'\3\1{"image":"a.png"}\n{"prompt":"x","image":"data:;base64,AAAA"}\n{"prompt":"x","extra":{"size":1},"n":1e9}',
    ),
}
WORDS: Mapping[str, tuple[str, ...]] = {
    "answer": (
        '"data"',
        '"b64_json"',
        '"url"',
        '"data:',
        ";base64,",
        "\\\\",
        "\\/",
        "\\u00",
        '"created"',
        '"error"',
        "[{",
    ),
    "events": (
        "data: ",
        "event: ",
        "\n\n",
        "\r\n",
        ": ",
        '"b64_json"',
        '"type"',
        "[DONE]",
        '"output_index"',
        ".completed",
    ),
    "body": ('"data"', '"b64_json"', "data: ", ": ", "\n\n", "event", "\0", "\ufeff", "[{", "},{", '"error"'),
    "shapes": preservation.WORDS,
    "calls": preservation.WORDS,
    "compression": ("\x1f", "\x78", "{", "data:"),
    "failures": ('"error"', '"code"', '"type"', '"message"', '"param"', "null", "insufficient_quota", "rate_limit"),
    "headers": ("GMT", "Tue, 24 Nov 2026", "nan", "inf", "1e9", "-1", "\n"),
    "downloads": ("bytes ", "*/", "md5=", "sha-256=:", "sha-512=:", "crc32c=", "W/", "GMT", "\n"),
    "rows": (
        *('"prompt"', '"image"', '"extra"', '"operation"', '"repeat"', '"custom_id"', '"body"', '"url"', '"file_id"'),
        *("prompt", "image", "https://", "data:;base64,", "/v1/images/generations", "variations", '""', "\n", "\r\n"),
        *("\ufeff", "\\ud800", "NaN", "1e999", "[[", "{}", "null", "true"),
    ),
    "media": ("PNG", "IHDR", "IDAT", "IEND", "tRNS", "GIF89a", "RIFF", "WEBP", "VP8 ", "VP8L", "VP8X", "<svg"),
}
"""What a mutation may put in, beside single bytes."""
