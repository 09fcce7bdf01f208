"""
Whole calls, answered with any body: no image in it is lost.

An input is how the answer is sent, and a body in which single control characters stand for images. So mutations change
everything around an image, its place and its form, and never its bytes. What the body holds is judged by `fuzz.judge`.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
import struct
import warnings
import zlib
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace

import attrs
from fakes import FakeClock
from fuzz.judge import find_images, is_json, is_kept

from burncloud_images.calls.background import BackgroundTasks
from burncloud_images.calls.call import send
from burncloud_images.calls.resources import Resources
from burncloud_images.calls.stream import PartialMemory
from burncloud_images.errors import ConnectionFailedError, ImagesError, KeptAnswer, Phase
from burncloud_images.model.operations import GenerationRequest
from burncloud_images.results import DamagedImage
from burncloud_images.retry import PacingGate, RetryBudget, RetryPolicy
from burncloud_images.settings import Settings
from burncloud_images.transport.http import AiohttpResponse
from burncloud_images.wire.body_text import BodyTextDecoder
from burncloud_images.wire.decompression import LayeredDecompressor
from burncloud_images.wire.events import PartialStarted, StreamDecoder
from burncloud_images.wire.image_json import (
    AnswerDecoder,
    ImageBodyDecoder,
    ImageChunk,
    ImageStarted,
    SurplusText,
    UndecodedText,
)

LABELS = ("application/json", "text/event-stream", "image/png", "text/html", "application/x-ndjson", "")
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be")
PACKED = ("", "", "", "gzip", "gzip twice", "deflate", "raw", "not gzip", "unsaid")
STATUSES = (200, 200, 200, 201, 202)
COUNTS = (1, 2, 10)
MANY = 50
"""More images than any input has: a stream is not read on when all have come that were asked for."""
SETTINGS_BYTES = 4
MOST_EVENT = 10**6
WHOLE = 192
"""From this value of the first byte on, a body comes in one piece."""


# --- images ----------------------------------------------------------------------------------------------------------


def make_png(pixel: int, pad: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes([0, pixel])))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"tEXt", b"a\0\xfb\xff\xbe\xff" + pad) + chunk(b"IEND", b"")


IMAGES = (make_png(0), make_png(100, b"b"), make_png(200, b"cc"))
"""Of each length of padding; all of them hold both characters in which the alphabets differ."""


def text(image: bytes) -> bytes:
    return base64.b64encode(image)


def lines(image: bytes, end: bytes) -> bytes:
    return re.sub(rb".{64}", lambda line: line[0] + end, text(image))


FORMS = (
    text,
    lambda image: b"data:image/png;base64," + text(image),
    base64.urlsafe_b64encode,
    lambda image: text(image).rstrip(b"="),
    lambda image: text(image).replace(b"/", rb"\/"),
    lambda image: text(image).replace(b"/", rb"\u002f").replace(b"+", rb"\u002B").replace(b"A", rb"\u0041"),
    lambda image: lines(image, rb"\n"),
    lambda image: b"data:image/png;charset=utf-8;base64, " + lines(image, rb"\r\n"),
    lambda image: image,
)
MARKS = bytes([*range(1, 8), 11, *range(14, 32), 127])
"""What stands for an image in a form."""
INSERTS: Mapping[bytes, bytes] = {
    bytes([mark]): FORMS[number // len(IMAGES)](IMAGES[number % len(IMAGES)]) for number, mark in enumerate(MARKS)
}
MARK = re.compile(b"[" + re.escape(MARKS) + b"]")


def mark(form: int = 0, image: int = 0) -> str:
    """Return what stands for an image in a form."""
    return chr(MARKS[form * len(IMAGES) + image])


# --- an answer -------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Answer:
    """
    What a server answers, and how it is asked.

    Attributes:
        body: As it is sent.
        size: Of its pieces.
        status: Of success.
        label: Its Content-Type.
        encoding: Its Content-Encoding.
        count: How many images are asked for.
        streams: Whether a stream is asked for, and previews are shown.
        reaches: Whether what is asked for later, as a task or the file at an address, is answered.
        polled: Whether the answer is that about a task.
    """

    body: bytes
    size: int
    status: int
    label: str
    encoding: str
    count: int
    streams: bool
    reaches: bool
    polled: bool

    @property
    def headers(self) -> Mapping[str, str]:
        named = {"content-type": self.label, "content-encoding": self.encoding}
        return {name: value for name, value in named.items() if value}


def to_answer(data: bytes) -> Answer:
    """Return the answer that an input stands for."""
    first, second, third, fourth = data[:SETTINGS_BYTES].ljust(SETTINGS_BYTES, b"\0")
    body = MARK.sub(lambda found: INSERTS[found[0]], data[SETTINGS_BYTES:])
    encoding = ENCODINGS[third % len(ENCODINGS)]
    if encoding != "utf-8":
        body = body.decode(errors="replace").encode(encoding)
    body, said = pack(body, PACKED[second // len(LABELS) % len(PACKED)])
    return Answer(
        body=body,
        size=len(body) or 1 if first >= WHOLE else first + 1,
        status=STATUSES[third // len(ENCODINGS) % len(STATUSES)],
        label=LABELS[second % len(LABELS)],
        encoding=said,
        count=COUNTS[fourth % len(COUNTS)],
        streams=bool(fourth & 64),
        reaches=bool(fourth & 128),
        polled=bool(fourth & 32),
    )


def cut(answer: Answer) -> Iterator[bytes]:
    return (answer.body[start : start + answer.size] for start in range(0, len(answer.body), answer.size))


def pack(body: bytes, how: str) -> tuple[bytes, str]:
    """Return *body* compressed, and what is said about it."""
    packers = {
        "gzip": (zip_once, "gzip"),
        "gzip twice": (lambda plain: zip_once(zip_once(plain)), "gzip, gzip"),
        "deflate": (partial(zlib.compress, level=1), "deflate"),
        "raw": (partial(zlib.compress, level=1, wbits=-15), "deflate"),
        "not gzip": (bytes, "gzip"),
        "unsaid": (zip_once, ""),
        "": (bytes, ""),
    }
    packer, said = packers[how]
    return packer(body), said


def zip_once(plain: bytes) -> bytes:
    return gzip.compress(plain, 1, mtime=0)


# --- a call ----------------------------------------------------------------------------------------------------------


class Immediate(Executor):
    """Does what it is given at once: a thread would only cost time."""

    def submit(self, function, /, *args, **options):
        done = Future()
        try:
            done.set_result(function(*args, **options))
        except BaseException as error:  # noqa: BLE001 (the future has it)
            done.set_exception(error)
        return done


@attrs.frozen
class OneBody(AiohttpResponse):
    """An answer whose body is there, in pieces; what inflates it is the package's."""

    pieces: Iterator[bytes] = attrs.field(kw_only=True)

    @property
    def status(self) -> int:
        """HTTP status."""
        return self.response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """With lower-case names."""
        return self.response.headers

    async def received(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives."""
        for piece in self.pieces:
            self.state.enter(Phase.BODY_IN)
            yield piece
        self.state.enter(Phase.COMPLETE)


@attrs.define
class Transport:
    """A server that has one answer to what is bought, and to everything else that it has nothing or has failed."""

    answer: Answer

    @asynccontextmanager
    async def post(self, url, headers, body, state, timeouts):
        state.enter(Phase.FINAL_RELEASED)
        yield self.accept(state, timeouts) if self.answer.polled else self.respond(state, timeouts)

    @asynccontextmanager
    async def get(self, url, headers, state, timeouts, *, kind):
        if self.answer.polled and kind == "api":
            yield self.respond(state, timeouts)
        elif not self.answer.reaches:
            raise ConnectionFailedError("It cannot be reached.", phase=Phase.CONNECTING)
        elif kind == "api":
            yield self.tell(200, {}, b'{"status": "failed", "error": {"code": "x"}}', state, timeouts)
        else:
            yield self.tell(200, {}, make_png(50), state, timeouts)

    def respond(self, state, timeouts):
        return self.tell(self.answer.status, self.answer.headers, self.answer.body, state, timeouts)

    def accept(self, state, timeouts):
        return self.tell(202, {}, b'{"task_id": "task_1", "status": "queued"}', state, timeouts)

    def tell(self, status, headers, body, state, timeouts):
        state.status = status
        state.enter(Phase.STATUS)
        pieces = cut(attrs.evolve(self.answer, body=body))
        told = SimpleNamespace(status=status, headers=headers)
        return OneBody(told, state, timeouts, False, pieces=pieces)


async def give_key() -> str:
    return "key"


LOOP = asyncio.new_event_loop()
SETTINGS = Settings(
    base_url="https://gateway.example/v1",
    key=give_key,
    validation="off",
    retry=RetryPolicy(attempts=1, deadline=10.0, task_deadline=10.0),
)


async def call(answer: Answer) -> list[object]:
    """Return the result of a call, or its error, and what was shown meanwhile."""
    shown: list[object] = []

    async def show(image: object) -> None:
        shown.append(image)

    resources = Resources(
        transport=Transport(answer),
        executor=Immediate(),
        clock=FakeClock(),
        budget=RetryBudget(),
        gate=PacingGate(),
        background=BackgroundTasks(),
    )
    asked = {"via_stream": True, "observer": show} if answer.streams else {}
    request = GenerationRequest("an otter", n=answer.count)
    try:
        return [await send(request, PartialMemory(), SETTINGS, resources, **asked), *shown]
    except ImagesError as error:
        return [error, *shown]


def collect(value: object) -> Iterator[bytes]:
    """Yield all bytes and texts that a caller finds in a result, in an error, or in what was shown."""
    match value:
        case bytes() | bytearray():
            yield bytes(value)
        case str():
            yield value.encode(errors="surrogatepass")
        case KeptAnswer():
            yield value.read()
        case DamagedImage():
            yield value.data + finish(value.rest)
        case _:
            for member in members(value):
                yield from collect(member)


def members(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return [*value, *value.values()]
    if isinstance(value, BaseException):
        return [vars(value), value.__cause__]
    if attrs.has(type(value)):
        return attrs.asdict(value, recurse=False).values()
    return value if isinstance(value, (list, tuple)) else ()


def finish(rest: bytes) -> bytes:
    """Return what the text of an image is that was not read to its end."""
    bare = re.sub(rb"\\[rn]|\s", b"", rest).replace(b"\\/", b"/").rstrip(b"=")
    try:
        return base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
    except ValueError:
        return b""


# --- what is looked for ----------------------------------------------------------------------------------------------


def shapes(data: bytes) -> None:
    """A body of any shape: each image in it is cut out, or is in the text that is left."""
    answer = to_answer(data)
    images = find_images(answer.body, answer.encoding)
    held = list(decode(answer)) if images else []
    lost = [image for image in images if not is_kept(image, held)] if answer.body not in held else []
    assert not lost, (answer, held)


def decode(answer: Answer) -> Iterator[bytes]:
    """Yield what the decoders make of a body, without a call around them."""
    pieces = list(inflate(answer))
    text = BodyTextDecoder(is_events=answer.label == "text/event-stream")
    texts = [*map(text.feed, pieces)]
    texts.append(text.close())
    makers = {"events": partial(StreamDecoder, MOST_EVENT), "answer": AnswerDecoder, "image": ImageBodyDecoder}
    if text.shape not in makers:
        yield b"".join(pieces)
        return
    decoder = makers[text.shape]()
    images: list[bytes] = []
    surplus = bytearray()
    read = 0
    try:
        for read, piece in enumerate(texts, 1):  # noqa: B007 (where reading ended)
            yield from listen(decoder.feed(piece), images, surplus)
        yield from listen(decoder.flush(), images, surplus)
        decoder.close()
    except ImagesError:
        yield b"".join(texts[read:])  # calls hold the rest of what is not understood
    yield from (*images, bytes(surplus), decoder.raw)
    if not images:
        yield b"".join(pieces)  # calls hold an answer until an image begins


def inflate(answer: Answer) -> Iterator[bytes]:
    decompressor = LayeredDecompressor(answer.encoding)
    for piece in cut(answer):
        yield from decompressor.feed(piece)
    yield from decompressor.close()


def listen(told: Iterable[object], images: list[bytes], surplus: bytearray) -> Iterator[bytes]:
    """Add the bytes of images to *images* and other text to *surplus*; yield what is left of damaged images."""
    for event in told:
        match event:
            case ImageStarted() | PartialStarted():
                images.append(b"")
            case ImageChunk(_, data):
                images[-1] += data
            case SurplusText(text):
                surplus += text
            case UndecodedText(_, text):
                yield images[-1] + finish(text)


def calls(data: bytes) -> None:
    """An answer of success: each image in it is found, or its bytes are kept."""
    answer = to_answer(data)
    images = find_images(answer.body, answer.encoding, previews=answer.streams)
    if not images:
        return
    if not is_json(answer.body, answer.encoding):
        answer = attrs.evolve(answer, count=MANY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        came = LOOP.run_until_complete(call(answer))
    held = [*collect(came)]
    lost = [image for image in images if not is_kept(image, held)] if answer.body not in held else []
    assert not lost, (answer, came)


# --- where it begins -------------------------------------------------------------------------------------------------

FIRST = [mark(form) for form in range(len(FORMS))]
OTHER = [mark(form, 1) for form in range(len(FORMS))]
ONE, TWO = FIRST[0], OTHER[0]


def how(size: int = 255, label: int = 0, packed: int = 0, encoding: int = 0, status: int = 0, asked: int = 2) -> bytes:
    """Return the beginning of an input: the places in the tables above, and bits for the rest."""
    return bytes([size, packed * len(LABELS) + label, status * len(ENCODINGS) + encoding, asked])


def write(document: object) -> bytes:
    # Marks stand as they are: what they stand for needs no escapes.
    body = json.dumps(document, ensure_ascii=False).encode()
    return re.sub(rb"\\u00([01][0-9a-f])", lambda found: bytes.fromhex(found[1].decode()), body)


def events(*documents: object, end: bytes = b"\n") -> bytes:
    texts = [document if isinstance(document, bytes) else write(document) for document in documents]
    return b"".join(b"data: " + text + end * 2 for text in texts)


SEEDS = (
    how() + write({"created": 1, "data": [{"b64_json": ONE}, {"b64_json": TWO, "x": {}}]}),
    *(
        how(form) + write({"data": [{"b64_json": one}, {"url": two}]})
        for form, (one, two) in enumerate(zip(FIRST, OTHER, strict=True))
    ),
    how(7, asked=0) + write({"data": [{"b64_json": ONE}] * 3, "thumbnail": TWO}),
    how(asked=128) + write({"images": [{"url": "https://x/a.png"}], "input": {"image": ONE}}),
    how(30) + write({"output": {"choices": [{"message": {"content": [{"image": ONE}, {"text": TWO}]}}]}}),
    how() + write({"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": ONE}}]}}]}),
    how() + write({"result": [ONE, TWO], "error": {}}),
    how() + write({"a": [[{"b": ONE}]], "error": {"code": "x"}}),
    how() + write([{"b64_json": ONE}, TWO]),
    how() + write(ONE),
    how(status=4) + write({"task_id": "t", "status": "running", "preview": ONE}),
    how(status=4, asked=128) + write({"id": "t", "status": "SUCCESS", "data": {"pic": ONE}}),
    how(asked=32) + write({"id": "task_1", "status": "succeeded", "data": {"pic": ONE}}),
    how(9, 1, asked=64)
    + events(
        {"type": "image_generation.partial_image", "b64_json": ONE, "partial_image_index": 0},
        {"type": "image_generation.completed", "b64_json": TWO},
        b"[DONE]",
    ),
    how(9, 0, asked=1)
    + b": wait\n\nevent: x\n"
    + events(
        {"type": "image_generation.partial_succeeded", "b64_json": ONE},
        {"type": "image_generation.completed"},
    ),
    how(3, 1) + events({"data": [{"b64_json": ONE}]}, {"thumbnail": TWO}, end=b"\r\n"),
    how(3, 1) + events({"error": {"code": "x"}, "image_index": 1}, {"item": {"result": ONE}}, end=b"\r"),
    how(2, 1) + b'data: {"b64_json":\ndata: "' + ONE.encode() + b'"}\n\n',
    *(how(200, packed=packed) + write({"data": [{"b64_json": ONE}]}) for packed in range(len(PACKED))),
    *(
        how(5, encoding=encoding) + write({"data": [{"b64_json": ONE, "revised_prompt": "水獭"}]})
        for encoding in range(len(ENCODINGS))
    ),
    how(4, 2) + FIRST[-1].encode(),
    how(4, 0, 3) + FIRST[-1].encode(),
)
WORDS = (
    *('"data"', '"images"', '"b64_json"', '"url"', '"image"', '"result"', '"output"', '"error"', '"type"', '"usage"'),
    *('"task_id"', '"status"', '"input"', '"choices"', '"message"', '"content"', '"item"', '"image_url"', '"id"'),
    *("data: ", "event: ", "\n\n", "\r\n\r\n", ": ", "[DONE]", ".completed", ".partial_image", "image_generation"),
    *("[{", "}]", "},{", "\\u00", "\\/", "data:image/png;base64,", "null", "NaN", "https://", "\ufeff"),
    *('"index"', '"queued"', '"succeeded"', '"failed"', '"code"', '"b64"', '"results"', '"data":[', *FIRST, *OTHER),
)
