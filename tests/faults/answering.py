"""Group R: the answer is cut, broken, slow, too large, or no answer of the images API."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import zlib
from collections.abc import Mapping

from faults.gateway import Step, Talk, document, http
from faults.proxy import pause
from faults.stage import MIB, SMALL, Outcome, Stage, World, fails, generate, held, scripted, succeeds, written
from faults.table import answer, case, script, variants
from leaks import resident
from pictures import chunk, png

from burncloud_images import Limits, errors
from burncloud_images.emulator import Fault

UNKNOWN = errors.OutcomeUnknownError

# --- cut or broken ---------------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def not_a_bad_request(_world: World, outcome: Outcome) -> None:
    """A broken answer is not taken for one that refuses."""
    assert not isinstance(outcome.error, errors.APIError)
    assert "may have been billed" in str(outcome.error)


answer("R01", "closed after the whole request", b"", held(), check=not_a_bad_request)
answer("R02", "reset after the whole request", Step(reset=True), held())
for number, fault, text in (
    ("R03", "half a status line", b"HTTP/1.1 20"),
    ("R04", "half of the headers", HEAD + b"X-Half: th"),
    ("R05", "garbage in place of HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 garbage\r\n\r\n"),
    ("R06", "chunk size that is no number", HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n"),
    ("R07", "header of 20 KB", HEAD + b"X-Large: " + b"x" * 20_000 + b"\r\n\r\n{}"),
):
    answer(number, fault, text, held(), check=not_a_bad_request)

MANY = b"".join(b"X-%d: y\r\n" % number for number in range(500))


def whole_or_held(_world: World, outcome: Outcome) -> None:
    """An image that came is never thrown away for its headers."""
    assert outcome.error is None or isinstance(outcome.error, UNKNOWN)


@case("R08", "500 headers", "succeeds or OutcomeUnknownError, 1 POST, 1 billed")
async def many_headers(stage: Stage) -> None:
    """If the library passes them on, the image is taken; if not, the outcome is unknown."""
    body = document()
    text = HEAD + MANY + b"Content-Length: %d\r\n\r\n" % len(body) + body
    world = await stage.world(written(Step(answer=text)))
    client = await stage.client(world.base_url)
    outcome = await stage.call(generate(client))
    stage.count()
    assert (1, 1) == (stage.posts, stage.billed)
    whole_or_held(world, outcome)
    assert stage.faulty or outcome.error is None


answer(
    "R09",
    "two lengths that differ",
    HEAD + b"Content-Length: 10\r\nContent-Length: 20\r\n\r\n" + b"x" * 20,
    held(),
    check=not_a_bad_request,
)


def prefix_is_kept(_world: World, outcome: Outcome) -> None:
    """What came of the answer is on the error."""
    assert outcome.error.raw.startswith(b"{")


HALF = {"cut": "close", "place": "answer", "byte": 0.5}
script("R10", "cut at half of its length", Fault(**HALF), held(), check=prefix_is_kept)
script("R11", "cut in a chunk", Fault(**HALF, framing="chunked"), held(), check=prefix_is_kept)
script(
    "R12", "cut where the connection's end is the answer's", Fault(**HALF, framing="eof"), held(), check=prefix_is_kept
)
script("R13", "stalls in the middle", Fault(cut="stall", place="answer", byte=0.5), held(), rival=False)


def dripping(text: bytes, seconds: float) -> Talk:
    """Return a server that says one byte every *seconds*."""

    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in text:
            writer.write(bytes([byte]))
            await writer.drain()
            await pause(seconds)

    return drip


answer("R14", "one byte a second", Step(answer=dripping(http(document(png(pad=60_000))), 0.01)), held(), rival=False)


@case("R15", "three images, cut in the third", held())
async def cut_in_the_third(stage: Stage) -> None:
    """The two that came whole are on the error."""
    stage.monkeypatch.delenv("BURNCLOUD_EMULATOR_PLAIN", raising=False)  # plain pictures are shorter than the cut
    world = await stage.world(scripted(Fault(cut="close", place="answer", byte=-3000)))
    client = await stage.client(world.base_url)
    outcome = await stage.call(client.generate("a sea otter", n=3, **SMALL))
    stage.judge(outcome, held() if stage.faulty else succeeds())
    images = outcome.error.images if stage.faulty else outcome.result.images
    assert (2 if stage.faulty else 3) == len(images)
    assert all(image.data.endswith(b"IEND\xaeB`\x82") for image in images)


script("R16", "first byte after 180 s", Fault(delay=0.18), succeeds(), scale=0.001)
script("R17", "no first byte within 600 s", Fault(cut="stall", billed=True), held(), scale=0.001, rival=False)
answer("R18", "103 before 200", b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" + http(document()), succeeds())
answer(
    "R19",
    "broken gzip",
    http(b"\x1f\x8b\x08\x00broken", "Content-Encoding: gzip"),
    fails(errors.ProtocolError, billed=1, attempts=1),
)

# --- too large -------------------------------------------------------------------------------------------------------


def bomb(size: int) -> bytes:
    """Return a gzip of *size* spaces around a document."""
    packer = zlib.compressobj(9, wbits=31)
    blank = b" " * MIB
    return b"".join([*(packer.compress(blank) for _ in range(size // MIB)), packer.flush()])


@case("R20", "gzip that holds 256 MiB", fails(errors.TooLargeError, billed=1), bound=60)
async def gzip_bomb(stage: Stage) -> None:
    """Given up at the cap, with next to no memory."""
    text = bomb(256 * MIB) if stage.faulty else gzip.compress(document())
    script = Step(answer=http(text, "Content-Encoding: gzip"))
    world = await stage.world(lambda _faulty: written(script)(True))
    client = await stage.client(world.base_url, limits=Limits(response=128 * MIB))
    before = resident()
    outcome = await stage.call(generate(client))
    grown = resident() - before
    stage.judge(outcome, fails(errors.TooLargeError, billed=1, attempts=1) if stage.faulty else succeeds())
    assert grown < 64 * MIB, f"{grown / MIB:.0f} MiB more"


async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say chunks until the client has enough."""
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
    piece = b"%x\r\n%b\r\n" % (65_536, b" " * 65_536)
    while True:
        writer.write(piece)
        await writer.drain()


answer(
    "R21",
    "chunks without end",
    Step(answer=endless),
    fails(errors.TooLargeError, billed=1, attempts=1),
    client={"limits": Limits(response=8 * MIB)},
    rival=False,
)
answer(
    "R22",
    "length of 10 TB",
    http(b"{", length=10**13),
    fails(errors.TooLargeError, billed=1, attempts=1),
)

# --- JSON that is no answer ------------------------------------------------------------------------------------------

DAMAGED = fails(errors.ProtocolError, billed=1, attempts=1)
answer(
    "R23",
    "JSON 100,000 levels deep",
    http(b'{"data": ' + b"[" * 100_000),
    fails(errors.ImagesError, billed=1, attempts=1),
)


def image_text(image: bytes = b"") -> str:
    return base64.b64encode(image or png()).decode()


@case("R24", "number of 10,000 digits, NaN, the same key twice", "succeeds or ImagesError, 1 POST, 1 billed each")
async def odd_values(stage: Stage) -> None:
    """Whatever can be read is taken; the image is never lost to a number."""
    item = f'"data": [{{"b64_json": "{image_text()}"}}]'
    forms = {
        "digits": f'{{"created": {"9" * 10_000}, {item}}}',
        "NaN": f'{{"created": NaN, {item}}}',
        "twice": f'{{"created": 1, "created": 2, {item}}}',
    }

    def play_of(text: str):
        async def play(stage: Stage) -> None:
            world = await stage.world(written(Step(answer=http(text.encode()))))
            client = await stage.client(world.base_url)
            outcome = await stage.call(generate(client))
            stage.count()
            assert (1, 1) == (stage.posts, stage.billed)
            assert outcome.error is None or isinstance(outcome.error, errors.ImagesError), repr(outcome.error)
            images = outcome.result.images if outcome.error is None else outcome.error.images
            assert 1 == len(images), "the image is lost"

        return play

    await variants(stage, {name: play_of(text) for name, text in forms.items()})


def raw_is_kept(_world: World, outcome: Outcome) -> None:
    assert outcome.error.raw


PAGE = http(b"<html>welcome</html>").replace(b"application/json", b"text/html")
answer("R25", "200 with HTML", PAGE, DAMAGED, check=raw_is_kept)
answer("R26", "200 without images", http(b'{"created": 1, "data": []}'), DAMAGED)


@case("R27", "fewer images than asked for", succeeds())
async def fewer(stage: Stage) -> None:
    """Those that came are returned, with a warning."""
    short = Fault(raw=http(document()), billed=True)
    world = await stage.world(scripted(short))
    client = await stage.client(world.base_url)
    outcome = await stage.call(client.generate("a sea otter", n=3, **SMALL))
    stage.judge(outcome, succeeds())
    assert (1 if stage.faulty else 3) == len(outcome.result.images)
    # The warning itself is caught with all other output, at the end of the play.
    if stage.faulty:
        stage.expected_words.append("3 images were asked for and 1 came")


@case(
    "R28",
    "base64 that is bad, spaced, URL-safe, padded in the middle",
    "ProtocolError or succeeds; never another image",
)
async def bad_base64(stage: Stage) -> None:
    """Either the very bytes or an error that keeps the text; base64 is never guessed at."""
    text = image_text()
    safe = image_text(png(width=31, height=17, pad=99)).replace("+", "-").replace("/", "_")
    forms = {
        "bad": text[:40] + "!!" + text[42:],
        "spaced": text[:40] + "\\n " + text[40:],
        "URL-safe": safe if set("-_") & set(safe) else safe[:40] + "-_" + safe[42:],
        "padded": text[:40] + "==" + text[42:],
        "short": text[:-3],
    }

    def play_of(form: str):
        async def play(stage: Stage) -> None:
            body = f'{{"created": 1, "data": [{{"b64_json": "{form}"}}]}}'.encode()
            world = await stage.world(written(Step(answer=http(body))))
            client = await stage.client(world.base_url)
            outcome = await stage.call(generate(client))
            stage.count()
            assert (1, 1) == (stage.posts, stage.billed)
            if outcome.error is None:
                assert outcome.result.image.data.endswith(b"IEND\xaeB`\x82")
            else:
                assert isinstance(outcome.error, errors.ProtocolError), repr(outcome.error)
                assert outcome.error.raw

        return play

    await variants(stage, {name: play_of(form) for name, form in forms.items()})


@case("R29", "bytes that are no image, and a PNG without its end", "ProtocolError, the bytes kept")
async def no_image(stage: Stage) -> None:
    """What was paid for is kept, whatever it is."""
    forms = {"text": b"no image at all, but paid for", "no end": png(pad=100)[: -len(chunk(b"IEND", b""))]}

    def play_of(data: bytes):
        async def play(stage: Stage) -> None:
            world = await stage.world(written(Step(answer=http(document(data)))))
            client = await stage.client(world.base_url)
            outcome = await stage.call(generate(client))
            stage.judge(outcome, DAMAGED if stage.faulty else succeeds())
            if stage.faulty:
                assert outcome.error.raw, "nothing of the answer is kept"

        return play

    await variants(stage, {name: play_of(data) for name, data in forms.items()})


@case("R30", "JSON in UTF-16, with a BOM, in Latin-1", "succeeds or ProtocolError; the text kept")
async def encodings(stage: Stage) -> None:
    """A byte order mark is passed over; other encodings are told of."""
    text = document().decode()
    named = json.dumps(
        {"created": 1, "data": [{"b64_json": image_text(), "revised_prompt": "Pel\xe9"}]}, ensure_ascii=False
    )
    forms: Mapping[str, bytes] = {
        "UTF-16": text.encode("utf-16"),
        "BOM": text.encode("utf-8-sig"),
        "Latin-1": named.encode("latin-1"),
    }

    def play_of(name: str, body: bytes):
        async def play(stage: Stage) -> None:
            world = await stage.world(written(Step(answer=http(body))))
            client = await stage.client(world.base_url)
            outcome = await stage.call(generate(client))
            stage.count()
            assert (1, 1) == (stage.posts, stage.billed)
            if outcome.error is not None:
                assert isinstance(outcome.error, errors.ProtocolError | UNKNOWN), repr(outcome.error)
                assert outcome.error.raw or outcome.error.images
            assert outcome.error is None or name != "BOM", repr(outcome.error)

        return play

    await variants(stage, {name: play_of(name, body) for name, body in forms.items()})


@case("R31", "more bytes after the answer", succeeds())
async def twice(stage: Stage) -> None:
    """The answer is taken, and its connection is not used again."""
    text = http(document())
    world = await stage.world(written(Step(answer=text + text, closes=False)))
    client = await stage.client(world.base_url)
    first = await stage.call(generate(client))
    second = await stage.call(generate(client))
    stage.count(2)
    assert first.error is None
    assert second.error is None
    assert (2, 2) == (stage.posts, stage.billed)
    assert (2 if stage.faulty else 1) == world.gateway.connections


answer(
    "R32",
    "headers without end, slowly",
    Step(answer=dripping(HEAD + b"X-Slow: " + b"z" * 5000, 0.002)),
    held(),
    scale=0.001,
    rival=False,
)
