"""
The body of an answer, chunk by chunk, becomes image bytes and the rest of its JSON.

Rule 1: a base64 string never meets a JSON parser, and is never whole anywhere; it is cut out as its chunks pass.
Rule 2: what is cut out is decided by where a string stands (`data[i].b64_json` of an answer, `b64_json` of an event,
`url` beside it if it is a `data:` URL, and the other places of `wire.places`), so a prompt may hold any JSON it likes.
All images of an answer stand in the list, or the object, in which the first one stands.
Rule 3: everything else is collected and parsed once, at the end, by the standard parser, which is the judge of what is
JSON. What this module tracks is only where it stands.
Rule 4: how the body was cut into chunks makes no difference.

Source: RFC 8259; the images API's answer as its document and its gateways write it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeAlias

import attrs

from burncloud_images.errors import Billing, OutcomeUnknownError, ProtocolError, TooLargeError
from burncloud_images.wire.answer import AnswerItem, ImagesAnswer, parse_beginning, parse_json, to_answer
from burncloud_images.wire.base64text import NOT_BASE64, QUANTUM, Base64Decoder
from burncloud_images.wire.places import (
    ANY,
    BASE64,
    EITHER,
    LISTS,
    URLS,
    Form,
    ImagePlace,
    Path,
    find_items,
    find_place,
    has_image,
    rank_doubt,
)
from burncloud_images.wire.small_answer import SmallAnswer, decode_whole


@attrs.frozen
class ImageStarted:
    """The bytes of image *index* begin; it may be a copy of *second_of*, which stands in the same object."""

    index: int
    second_of: int | None = None


@attrs.frozen
class ImageChunk:
    """More bytes of image *index*."""

    index: int
    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")


@attrs.frozen
class ImageEnded:
    """The bytes of image *index* are all there."""

    index: int


@attrs.frozen
class ImageFailed:
    """The rest of image *index* cannot be decoded."""

    index: int
    reason: str


@attrs.frozen
class UndecodedText:
    """More text of image *index*, after it failed: paid for, and not to be decoded."""

    index: int
    text: bytes = attrs.field(repr=lambda text: f"<{len(text)} bytes>")


@attrs.frozen
class ImagesDropped:
    """All images so far are those of the request: what has begun stands where only a result does."""


@attrs.frozen
class SurplusText:
    """Text of items beyond the maximum, or of one more image of an item."""

    text: bytes = attrs.field(repr=lambda text: f"<{len(text)} bytes>")


@attrs.frozen
class PausePoint:
    """A good moment to let other tasks run: a chunk of many small values takes long."""


DecoderEvent: TypeAlias = (
    ImageStarted | ImageChunk | ImageEnded | ImageFailed | ImagesDropped | UndecodedText | SurplusText | PausePoint
)

MOST_TEXT = 16 * 1024 * 1024
"""Bytes of an answer beside its images; real ones are a few KiB."""
MOST_VALUES = 200_000
"""Values, names and brackets of an answer; the parser takes 20 ms for so many, and holds up everything else."""
AT_ONCE = 2000
"""Values between two pauses."""
PAUSE_POINT = PausePoint()
MOST_DEPTH = 900
"""Maximum nesting; the standard parser would exhaust its stack soon after that."""
ITEMS = 2
"""Levels around the items of an answer: the object, and `data`."""
LEAD = 256
"""Bytes in which a `data:` URL has to have its comma."""

SPACE = rb"[ \t\r\n]*"
SHORT = rb'[^"\\]{0,64}"'
"""The rest of a string without escapes."""
PREVIEWS = frozenset({"partial_image_b64", "preview"})
"""Names of an earlier state of the image beside them."""
IMAGE_KEYS = frozenset({*BASE64, *URLS, *EITHER, "data"})
"""Names of what may be an image."""
NAMES = "|".join(sorted(IMAGE_KEYS)).encode()
TOKEN = re.compile(
    # Whole members of an object with short values, up to the next that may be something else, in one step;
    rb'((?:"(?!(?:%(NAMES)b)")%(SHORT)b%(SPACE)b:%(SPACE)b(?:[-+.\w]{1,64}|"%(SHORT)b)%(SPACE)b,%(SPACE)b)+)'
    # a string, and the colon of a key; the beginning of a string; a mark.
    rb'|"(%(SHORT)b)(%(SPACE)b:)?|["{}\[\],:]' % {b"SPACE": SPACE, b"SHORT": SHORT, b"NAMES": NAMES}
)
FLAT = re.compile(rb'(?:[^][{}"\\]++|"[^"\\]*+"|\{(?:[^][{}"\\]++|"[^"\\]*+")*+\})*+')
"""Items of an array that hold neither others nor escapes."""
SHORTEST_MEMBER = 8
MEMBERS, STRING, KEY = 1, 2, 3
"""What `TOKEN` found, by its last group."""
END_OR_ESCAPE = re.compile(rb'["\\]')
# After an even number of backslashes, which are whole escapes, one that is not.
OPEN_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)\Z")
WHITE_SPACE = b" \t\r\n"
STANDARD = bytes.maketrans(b"-_", b"+/")
"""From the alphabet for URLs, RFC 4648 §5."""
LEAST_BASE64 = 64
"""Characters by which base64 is told from an address where either may stand; the smallest images have more."""
BASE64_BEGINS = re.compile(rb"(?:[A-Za-z0-9+/]|\\/|\\n){%d}" % LEAST_BASE64)
ABSOLUTE = re.compile(rb"https?:|\\?/", re.IGNORECASE)
JPEG = re.compile(rb"\\?/9j\\?/")
"""How the base64 of a JPEG begins, which looks like a path."""


@attrs.define
class OpenContainer:
    """An object or array that is open, and where in it the decoder stands."""

    is_object: bool
    key: str | None = None
    index: int = 0
    wants_key: bool = True


class ImageExtractor:
    """
    Cuts the images out of one JSON document; a subclass says where in it they stand.

    Feed it chunks and hand on its events; `parse` returns the rest. After an error only its `raw` can be used.
    """

    what = "answer"

    def __init__(self) -> None:
        self.text = bytearray()
        self.surplus = bytearray()
        # Where text goes: to one of the two.
        self.into = self.text
        self.passed = self.values = 0
        self.levels: list[OpenContainer] = []
        # Not bound: a decoder that refers to itself, and to all that it holds, would wait for the garbage collector.
        self.state: Callable[[ImageExtractor, bytes, int], int] = ImageExtractor.outside_strings
        self.events: list[DecoderEvent] = []
        self.pending = b""
        self.escaped = False
        self.string_offset = 0
        self.base64: Base64Decoder | None = None
        self.is_odd = False
        self.place: ImagePlace | None = None
        self.home: Path | None = None
        self.item_numbers: dict[tuple[str | int | None, ...], int] = {}
        # Of images that stand in an object with another: their index, and which item of the list that is.
        self.seconds: dict[int, int] = {}
        self.second_of: int | None = None
        # Whether base64 of `data` was left in the text, as an image had begun elsewhere.
        self.has_others = False
        self.image_index = 0
        self.most_items = sys.maxsize
        # Addresses of images that the request sent; None if it had no images, so that none can be repeated.
        self.inputs: AbstractSet[str] | None = None
        self.doubt = 0
        self.is_surplus = False
        self.ended: set[int] = set()
        self.failures: dict[int, str] = {}

    @property
    def is_done(self) -> bool:
        """Whether to stop reading, although more may come."""
        return False

    @property
    def is_certain(self) -> bool:
        """Whether what comes is an image."""
        return True

    @property
    def is_doubtful(self) -> bool:
        """Whether the current image may be one of the request, which the server repeats."""
        return self.doubt > 0

    @property
    def ended_image(self) -> int | None:
        """Index of an image whose bytes are all there, and of which it is not yet certain what it is."""
        return None

    @property
    def billed(self) -> Billing:
        """What the answer says about money, beside its images: one of success has begun."""
        return Billing.MAYBE

    def flush(self) -> Iterator[DecoderEvent]:
        """Yield what is left at the end."""
        return iter(())

    def finish(self) -> Iterator[DecoderEvent]:
        """Yield what the end of a whole body brings."""
        return iter(())

    @property
    def raw(self) -> bytes:
        """The document so far without its images."""
        return bytes(self.text)

    def feed(self, chunk: bytes) -> Iterator[DecoderEvent]:
        """
        Yield what *chunk* brings.

        Raises:
            ProtocolError: The document is nested too deeply.
            TooLargeError: It holds too much text, or too many values.
        """
        chunk = self.pending + chunk if self.pending else chunk
        self.pending = b""
        position = 0
        since = self.passed
        while position < len(chunk):
            position = self.state(self, chunk, position)
            self.count(1)
            yield from self.events
            self.events.clear()
            if self.passed - since > AT_ONCE:
                since = self.passed
                yield PAUSE_POINT
        if self.surplus:
            yield SurplusText(bytes(self.surplus))
            self.surplus.clear()
        if len(self.text) > MOST_TEXT:
            raise self.too_large(f"{MOST_TEXT:,} bytes")
        if self.values > MOST_VALUES:
            raise self.too_large(f"{MOST_VALUES:,} values")

    def count(self, values: int) -> None:
        """Count values that were passed."""
        self.passed += values
        if not self.is_surplus:
            self.values += values

    def too_large(self, most: str) -> TooLargeError:
        return TooLargeError(f"The {self.what} holds more than {most} beside its images.", raw=self.raw)

    @property
    def is_open(self) -> bool:
        """Whether something has begun and is not yet closed."""
        return bool(self.levels) or self.state is not ImageExtractor.outside_strings

    def parse(self) -> object:
        """
        Return the document, with empty strings where images were.

        Raises:
            OutcomeUnknownError: It ends in the middle.
            ProtocolError: It is not JSON.
        """
        if self.is_open:
            raise OutcomeUnknownError(f"The {self.what} ends in the middle.", raw=self.raw)
        try:
            return parse_json(self.text)
        except (ValueError, RecursionError):  # RecursionError is not a ValueError
            what = "is empty" if not self.text.strip() else "is not JSON"
            raise ProtocolError(f"The {self.what} {what}.", raw=self.raw) from None

    def locate(self) -> ImagePlace | None:
        """Return the place whose value begins here; None if an image cannot stand here."""
        raise NotImplementedError

    def number(self, place: ImagePlace) -> int | None:
        """Return the index of the image that begins at *place*; None if it is not taken."""
        doubt = rank_doubt(to_path(self.levels)) if self.inputs is not None else 0
        if self.home is not None and doubt < self.doubt:
            self.drop_images()
        if self.home not in {None, place.home} or (self.home is not None and doubt > self.doubt):
            self.has_others = self.has_others or place.home[:1] == ("data",)
            return None
        levels = self.levels[: place.levels]
        if len(levels) == len(place.home) + 1 and not levels[-1].is_object:
            index = levels[-1].index + sum(item < levels[-1].index for item in self.seconds.values())
        else:
            item = tuple(level.key if level.is_object else level.index for level in levels)
            index = self.item_numbers.setdefault(item, len(self.item_numbers) + len(self.seconds))
        if index >= self.most_items:
            return None
        self.home, self.doubt = place.home, doubt
        return index

    def takes_seconds(self) -> bool:
        """Whether another image in the object of one that is whole is an image too, unless it is a copy of it."""
        return False

    def add_second(self, index: int) -> int:
        """Return the index of another image in the object of image *index*: the next, or the last if that is taken."""
        taken = {*self.ended, *self.failures}
        place = self.place
        assert place is not None
        level = self.levels[place.levels - 1]
        if place.levels == len(place.home) + 1 and not level.is_object:
            found = index + 1 + sum(item == level.index for item in self.seconds.values())
            if found not in taken:
                self.seconds[found] = level.index
                return found
        return max(taken) + 1

    def drop_second(self, index: int) -> None:
        """Take back an image that is a copy of another in its object, or damaged."""
        self.ended.discard(index)
        self.seconds.pop(index, None)

    def drop_images(self) -> None:
        """Begin again: what has come so far stands where servers repeat the images of the request."""
        self.home = None
        self.item_numbers.clear()
        self.seconds.clear()
        self.ended.clear()
        self.failures.clear()
        self.events.append(ImagesDropped())

    def outside_strings(self, chunk: bytes, position: int) -> int:
        """Pass over everything outside strings, and over short strings where no image can stand."""
        if self.is_surplus and (end := self.skip_flat(chunk, position)):
            return end
        left = AT_ONCE
        for match in TOKEN.finditer(chunk, position):
            left -= 1
            if not left:
                self.count(AT_ONCE)
                self.into += chunk[position : match.start()]
                return match.start()
            if match.lastindex and self.skip_member(match.lastindex, match[2]):
                if match.lastindex == MEMBERS:
                    self.count((match.end() - match.start()) // SHORTEST_MEMBER)
                continue
            mark = match[0][:1]
            if mark in b'"{[':  # errors about what begins here show the text up to it
                end = match.start() + 1
                self.into += chunk[position:end]
                position = end
            if mark == b'"':
                self.open_string()
                break
            self.step(mark)
            if self.is_surplus or self.into is self.surplus:
                self.into += chunk[position : match.start()]
                position = max(position, match.start())
                self.into = self.surplus if self.is_surplus else self.text
                if len(self.levels) == ITEMS and mark != b"]":  # many items can be passed over at once
                    self.into += mark
                    position += 1
                    break
        else:
            self.into += chunk[position:]
            position = len(chunk)
        self.count(AT_ONCE - left)
        return position

    def skip_flat(self, chunk: bytes, position: int) -> int:
        """Pass over all surplus items that are flat in one step, and return where they end; 0 if there are none."""
        match = FLAT.match(chunk, position) if len(self.levels) == ITEMS else None
        if match is None or not match[0]:
            return 0
        self.into += match[0]
        self.count(1)
        return match.end()

    def skip_member(self, found: int, text: bytes) -> bool:
        """Take what `TOKEN` found as it stands; say no if it may not stand here, or may be an image."""
        level = self.levels[-1] if self.levels else None
        if level is not None and level.is_object and level.wants_key:
            if found != MEMBERS:
                level.key = text[:-1].decode(errors="replace")
                level.wants_key = found != KEY
            else:
                level.key = None
            return True
        return found == STRING and not (level is not None and self.may_be_image(level))

    def may_be_image(self, level: OpenContainer) -> bool:
        """Whether a string in *level*, the innermost, may be an image: of a list, its name tells."""
        if level.is_object:
            return level.key in IMAGE_KEYS
        around = self.levels[-2] if len(self.levels) > 1 else level
        return around.is_object and (around.key in LISTS or around.key == "content")

    def step(self, mark: bytes) -> None:
        level = self.levels[-1] if self.levels else None
        if mark in b"{[":
            if len(self.levels) == MOST_DEPTH:
                message = f"The {self.what} is nested more than {MOST_DEPTH} levels deep."
                raise ProtocolError(message, raw=self.raw)
            self.levels.append(OpenContainer(is_object=mark == b"{"))
        elif level is None:
            return  # a stray mark; the parser will refuse it
        elif mark in b"}]":
            self.levels.pop()
            self.is_surplus = self.is_surplus and len(self.levels) >= ITEMS
        elif mark == b",":
            level.index += 1
            level.key = None
            level.wants_key = True
            if len(self.levels) == ITEMS and level.index >= self.most_items:
                self.find_surplus()
        else:
            level.wants_key = False

    def find_surplus(self) -> None:
        """Mark the item that begins here as surplus, if it counts as an item."""

    def open_string(self) -> None:
        self.string_offset = len(self.into) - 1
        level = self.levels[-1] if self.levels else None
        may_be_image = level is not None and not (level.is_object and level.wants_key) and self.may_be_image(level)
        self.place = self.locate() if may_be_image else None
        self.state = ImageExtractor.string if self.place is None else ImageExtractor.string_start

    def string(self, chunk: bytes, position: int) -> int:
        """Collect a string up to its closing quote."""
        if self.escaped:
            self.escaped = False
            self.into += chunk[position : position + 1]
            return position + 1
        match = END_OR_ESCAPE.search(chunk, position)
        if match is None:
            self.into += chunk[position:]
            return len(chunk)
        self.into += chunk[position : match.end()]
        if match[0] == b"\\":
            self.escaped = True
        else:
            self.close_string()
        return match.end()

    def close_string(self) -> None:
        level = self.levels[-1] if self.levels else None
        if level is not None and level.is_object and level.wants_key:
            level.key = read_key(self.into[self.string_offset :])
        self.state = ImageExtractor.outside_strings

    def string_start(self, chunk: bytes, position: int) -> int:
        """Look at the beginning of a string where an image can stand, and decide what it is."""
        window = chunk[position : position + LEAD]
        assert self.place is not None
        skip = base64_begins(window, self.place.form)
        if skip is None:
            self.pending = window
            return len(chunk)
        index = self.number(self.place) if skip >= 0 else None
        if index is None:
            self.state = ImageExtractor.string
            return position
        self.second_of = index if index in self.ended and self.takes_seconds() else None
        index = index if self.second_of is None else self.add_second(index)
        self.image_index, self.is_odd = index, False
        self.state = ImageExtractor.image
        if self.image_index in self.ended:
            self.base64 = None  # the first whole image of an item counts
        else:
            self.base64 = Base64Decoder()
            self.failures.pop(self.image_index, None)
            self.events.append(ImageStarted(self.image_index, self.second_of))
        return position + skip

    def image(self, chunk: bytes, position: int) -> int:
        """Decode a base64 string up to its closing quote."""
        end = chunk.find(b'"', position)
        piece = chunk[position:] if end < 0 else chunk[position:end]
        if b"\\" in piece:
            piece = self.unescape(piece, is_last=end >= 0)
        self.decode(piece)
        if end < 0:
            return len(chunk)
        if ends_escaped(chunk[position:end]):  # the quote is part of a string that is not base64
            self.fail(NOT_BASE64, self.base64.carry if self.base64 else b"")
            self.keep_rest(b'"')
        else:
            self.end_image()
            self.text += b'"'
            self.state = ImageExtractor.outside_strings
        return end + 1

    def unescape(self, piece: bytes, *, is_last: bool) -> bytes:
        r"""Return *piece* without JSON escapes (`\/` is common); an escape that is cut waits for its rest."""
        cut = None if is_last else OPEN_ESCAPE.search(piece)
        if cut:
            self.pending = piece[cut.start(1) :]
            piece = piece[: cut.start(1)]
        if b"\\\\" not in piece:
            piece = piece.replace(b"\\/", b"/")
        try:
            return json.loads(b'"%b"' % piece).encode("latin-1") if b"\\" in piece else piece
        except ValueError:
            return piece  # the base64 decoder will refuse it

    def decode(self, piece: bytes) -> None:
        if self.base64 is None:
            self.keep_rest(piece)
            return
        before, padded = self.base64.carry, self.base64.padded
        try:
            try:
                pieces = list(self.base64.feed(to_standard(piece) if self.is_odd else piece))
            except ValueError:
                if self.is_odd:
                    raise
                self.is_odd, self.base64.carry, self.base64.padded = True, b"", padded
                pieces = list(self.base64.feed(to_standard(before + piece)))
        except ValueError as error:
            self.fail(str(error), before + piece)
            return
        self.events.extend(ImageChunk(self.image_index, data) for data in pieces)

    def end_image(self) -> None:
        if self.base64 is None:
            return
        # The end of the string is there, so padding says nothing that is not known.
        carry = to_standard(self.base64.carry)
        try:
            self.base64.carry = b""
            if carry:
                padding = b"=" * (-len(carry) % QUANTUM) if len(carry) > 1 else b""
                self.events.extend(ImageChunk(self.image_index, data) for data in self.base64.feed(carry + padding))
            self.base64.close()
        except ValueError as error:
            self.fail(str(error), carry)
        else:
            self.ended.add(self.image_index)
            self.events.append(ImageEnded(self.image_index))

    def fail(self, reason: str, rest: bytes) -> None:
        if self.base64 is None:
            return
        self.base64 = None
        if self.second_of is None:
            self.failures[self.image_index] = reason
        else:
            self.drop_second(self.image_index)  # the first one counts
        self.events.append(ImageFailed(self.image_index, reason))
        self.keep_rest(rest)

    def keep_rest(self, text: bytes) -> None:
        if text and self.image_index in self.failures:
            self.events.append(UndecodedText(self.image_index, text))
        elif text and self.levels[-1].key not in PREVIEWS:  # it stands beside an image that is whole
            self.events.append(SurplusText(text))


class AnswerDecoder(ImageExtractor):
    """
    Cuts the images out of one answer, and returns the rest as a value.

    Args:
        most_items: How many items are taken; the text of others is told of as surplus.
        inputs: Addresses of images that the request sent; None if it had no images.
    """

    def __init__(self, most_items: int = sys.maxsize, inputs: AbstractSet[str] | None = None) -> None:
        super().__init__()
        self.most_items = most_items
        self.inputs = inputs
        self.has_surplus = self.is_damaged = False
        self.whole: SmallAnswer | None = None

    def feed(self, chunk: bytes) -> Iterator[DecoderEvent]:
        """Yield what *chunk* brings; a small answer that is whole in it is decoded in one step."""
        if self.passed:
            return super().feed(chunk)
        self.whole = decode_whole(chunk, self.most_items)
        return super().feed(chunk) if self.whole is None else self.take_whole(self.whole)

    def take_whole(self, whole: SmallAnswer) -> Iterator[DecoderEvent]:
        """Yield the images of *whole*, and stand where the decoder would after it."""
        self.count(1)
        self.text += whole.text
        for index, data in whole.images:
            self.ended.add(index)
            yield from (ImageStarted(index), ImageChunk(index, data), ImageEnded(index))

    def takes_seconds(self) -> bool:
        """Whether another image in the object of one that is whole is an image too, unless it is a preview of it."""
        return self.levels[-1].key not in PREVIEWS

    def find_surplus(self) -> None:
        """Take no more items of `data`."""
        if self.levels[0].is_object and self.levels[0].key == "data" and not self.levels[1].is_object:
            self.is_surplus = self.has_surplus = True

    def locate(self) -> ImagePlace | None:
        """Find the images wherever an answer has them."""
        return None if self.is_surplus else find_place(to_path(self.levels))

    def close(self) -> ImagesAnswer:
        """
        Return the rest of the answer.

        Raises:
            OutcomeUnknownError: The answer ends in the middle.
            ProtocolError: It is not the JSON that the API documents.
        """
        return self.to_answer(self.parse())

    def parse(self) -> object:
        """Return the document, without what stands behind it; if it is damaged, images that came whole are enough."""
        if self.whole is not None and len(self.whole.text) == len(self.text):
            return self.whole.document
        try:
            return super().parse()
        except ProtocolError:
            document, self.is_damaged = parse_beginning(self.text), True
            if not self.ended and not (isinstance(document, dict) and any(map(has_image, find_items(document)))):
                raise
            return document

    def to_answer(self, document: object) -> ImagesAnswer:
        answer = to_answer(
            document,
            self.ended,
            self.failures,
            self.raw,
            self.home,
            self.inputs,
            is_doubtful=self.is_doubtful,
            seconds=[*self.seconds.values()],
        )
        if self.has_surplus or self.has_others or self.is_damaged:
            has_surplus = self.has_surplus or self.has_others
            answer = attrs.evolve(answer, has_surplus=has_surplus, is_damaged=self.is_damaged)
        return answer


class OpaqueDecoder(ImageExtractor):
    """
    Takes a body that is neither JSON nor a stream, in which no image can be found.

    Args:
        encoding: How its header says that it is compressed; empty if it does not say so.
    """

    def __init__(self, encoding: str = "") -> None:
        super().__init__()
        self.encoding = encoding

    def feed(self, chunk: bytes) -> Iterator[DecoderEvent]:
        """Pass over *chunk*."""
        self.passed += len(chunk)
        return iter(())

    def close(self) -> ImagesAnswer:
        """
        Raise that this is not an answer.

        Raises:
            ProtocolError: Always.
        """
        label = f"; its header says that it is encoded as {self.encoding}" if self.encoding else ""
        raise ProtocolError(f"The answer is not JSON{label}." if self.passed else "The answer is empty.")


class ImageBodyDecoder(ImageExtractor):
    """Takes a body that is an image itself."""

    def feed(self, chunk: bytes) -> Iterator[DecoderEvent]:
        """Yield *chunk* as bytes of the image."""
        if not self.passed:
            yield ImageStarted(0)
        self.passed += len(chunk)
        yield ImageChunk(0, chunk)

    def finish(self) -> Iterator[DecoderEvent]:
        """Yield the end of the image, which is that of the body."""
        self.ended.add(0)
        yield ImageEnded(0)

    def close(self) -> ImagesAnswer:
        """Return an answer that says nothing beside its image."""
        return ImagesAnswer(items=(AnswerItem(index=0, decoded=True),))


def to_path(levels: Sequence[OpenContainer]) -> Path:
    return tuple(level.key if level.is_object else ANY for level in levels)


def to_standard(text: bytes) -> bytes:
    """Return base64 without white space and in the usual alphabet."""
    return text.translate(STANDARD, WHITE_SPACE)


def ends_escaped(piece: bytes) -> bool:
    return (len(piece) - len(piece.rstrip(b"\\"))) % 2 == 1


def base64_begins(window: bytes, form: Form) -> int | None:
    """
    Say where base64 begins in *window*, the beginning of a string.

    Returns:
        An offset; -1 if the string holds none; None if more of the string is needed to tell.
    """
    scheme = b"data:"
    if window[:1] == b'"':
        return -1
    begin = window[: len(scheme)].lower()  # RFC 3986 §3.1
    if len(begin) < len(scheme) and scheme.startswith(begin):
        return None
    if begin != scheme:
        return begin_without_scheme(window, form)
    comma, quote = window.find(b","), window.find(b'"')
    if comma < 0 and quote < 0 and len(window) < LEAD:
        return None
    is_base64 = comma >= 0 and not 0 <= quote < comma and window[:comma].lower().endswith(b";base64")
    return comma + 1 if is_base64 else -1


def begin_without_scheme(window: bytes, form: Form) -> int | None:
    """The same, of a string that is not a `data:` URL."""
    if form != "either":
        return 0 if form == "base64" else -1
    if len(window) < 2 * LEAST_BASE64 and b'"' not in window:
        return None
    is_path = ABSOLUTE.match(window) and not JPEG.match(window)
    return -1 if is_path or not BASE64_BEGINS.match(window) else 0


def read_key(literal: bytes | bytearray) -> str | None:
    try:
        return str(json.loads(literal))
    except ValueError:
        return None  # the parser will refuse it at the end
