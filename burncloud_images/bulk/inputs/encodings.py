"""
The encoding of a list: one for all of it, or a refusal.

Rule 1: a list is decoded in one encoding from its first byte to its last; no row is decoded by itself.
Rule 2: text that is UTF-8 throughout is UTF-8, unless its words are of no language and another encoding reads it well.
Rule 3: another encoding is taken if it reads all of the text, well, and no other one does; else all are named.
Rule 4: a list of which some lines are UTF-8 and others are not is refused.

A list is read once for this and once for its rows, so its length does not matter.
"""

from __future__ import annotations

import codecs
import io
import itertools
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, BinaryIO, cast

import attrs

from burncloud_images.bulk.inputs.languages import (
    Judge,
    Reading,
    is_usual_word,
    judge_cyrillic,
    judge_eastern,
    judge_greek,
    judge_japanese,
    judge_korean,
    judge_simplified,
    judge_traditional,
    judge_western,
    words_of,
)
from burncloud_images.bulk.inputs.sources import NO_TEXT, RawLine, read_lines
from burncloud_images.errors import InputChangedError, InvalidRequestError, StorageError, Violation

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 256 * 1024
SAMPLE = 64 * 1024
"""Bytes of lines that are judged."""
MAX_WORDS = 300
"""Different words after which UTF-8 is certain: bytes of another encoding would not have passed for so long."""
PLAIN = re.compile(rb"[\x00\t\r\n\x20-\x7e]*")
THREE_BYTES = re.compile("[\u0800-\U0010ffff]")
"""Characters of three and four bytes in UTF-8, which bytes of another encoding hardly ever are."""
SPOOL = 16 * 1024 * 1024
"""Bytes of standard input that are held in memory; more go to a temporary file."""
CERTAIN: Mapping[str, tuple[float, int]] = {
    "gb18030": (0.25, 4),
    "cp950": (0.25, 4),
    "cp949": (0.4, 4),
    "cp932": (0.25, 4),
    "cp1252": (0.9, 1),
}
"""Encodings that need not be named, each with the least share of common letters, and of different ones among them."""
CLEARER = 4
"""How much larger the share of common letters has to be than in any other encoding."""
SHOWN = 24
"""Characters of a sample in a message."""

MARKS: Sequence[tuple[bytes, str]] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
"""What text may begin with, and the encoding that it names."""

LABELS: Mapping[str, str] = {
    "utf-8": "UTF-8",
    "utf-16-le": "UTF-16LE",
    "utf-16-be": "UTF-16BE",
    "gb18030": "GB18030",
    "cp950": "Big5",
    "cp949": "EUC-KR",
    "cp932": "Shift_JIS",
    "euc_jp": "EUC-JP",
    "cp1252": "windows-1252",
    "cp1250": "windows-1250",
    "cp1251": "windows-1251",
    "cp1253": "windows-1253",
    "cp1254": "windows-1254",
    "mac_roman": "macintosh",
    "cp850": "cp850",
    "koi8_r": "KOI8-R",
}
"""Encodings by Python's names, and as users know and type them."""
ALIASES: Mapping[str, str] = {
    "ascii": "utf-8",
    "big5": "cp950",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859-1": "cp1252",
    "macintosh": "mac_roman",
    "mac-roman": "mac_roman",
    "shift_jis": "cp932",
    "utf-8-sig": "utf-8",
}
"""Encodings that others contain; programs that write the first often mean the second."""
UNICODE = ("utf-16-le", "utf-16-be")
JUDGES: Mapping[str, Judge] = {
    "gb18030": judge_simplified,
    "cp950": judge_traditional,
    "cp949": judge_korean,
    "cp932": judge_japanese,
    "euc_jp": judge_japanese,
    "cp1252": judge_western,
    "cp1250": judge_eastern,
    "cp1254": judge_western,
    "mac_roman": judge_western,
    "cp850": judge_western,
    "cp1251": judge_cyrillic,
    "koi8_r": judge_cyrillic,
    "cp1253": judge_greek,
}
"""What is tried, the likelier of two that give the same text first."""
ONE_BYTE = frozenset({"cp1252", "cp1250", "cp1254", "mac_roman", "cp850", "cp1251", "koi8_r", "cp1253"})
LEAST_ASCII = 0.05
"""The share of ASCII characters by which UTF-16 is known: line ends, and what stands between cells."""
NOT_TEXT = frozenset({"Cc", "Cn", "Co", "Cs"})
"""Categories of characters: controls, and those that are not assigned."""


class WrongEncoding(Exception):  # noqa: N818 (never leaves this module)
    """Why a list cannot be decoded, as one clause."""


@contextmanager
def open_text(name: str, handle: BinaryIO, wanted: str | None = None) -> Iterator[DecodedText]:
    """
    Give the text of a list; blocks.

    Args:
        name: The list.
        handle: Its bytes; read from its position. A pipe is read to its end first.
        wanted: The encoding, if it is known.

    Raises:
        InvalidRequestError: It is not text in one encoding, or not certain in which.
        InputChangedError: It cannot be read to its end.
    """
    with ExitStack() as stack:
        try:
            whole = handle if handle.seekable() else stack.enter_context(spool(handle))
            start = whole.tell()
            encoding, skipped = find_encoding(whole, start, wanted)
        except WrongEncoding as problem:
            raise InvalidRequestError([Violation(name, str(problem))]) from None
        except OSError as error:
            raise InputChangedError(f"{name} cannot be read to its end: {error.strerror or error}.") from None
        yield DecodedText(name, whole, encoding, start + skipped)


@attrs.frozen
class DecodedText:
    """
    The text of a list, which can be read several times, one after the other.

    Attributes:
        name: The list.
        handle: Its bytes.
        encoding: Their encoding.
        start: Where text begins in them.
    """

    name: str
    handle: BinaryIO = attrs.field(repr=False)
    encoding: str
    start: int

    def open(self) -> BinaryIO:
        """Return the text in UTF-8, without a mark, from its beginning."""
        self.handle.seek(self.start)
        if self.encoding == "utf-8":
            return self.handle
        return io.BufferedReader(Transcoded(self.name, self.handle, self.encoding))

    def lines(self) -> Iterator[RawLine]:
        """Return the lines from the first on."""
        return read_lines(self.name, self.open())


def spool(handle: BinaryIO) -> BinaryIO:
    """
    Return the bytes of a pipe as a file that can be read twice.

    Raises:
        StorageError: It does not fit into the folder for temporary files.
    """
    file = SpooledTemporaryFile(max_size=SPOOL)  # noqa: SIM115 (its user closes it)
    try:
        while data := handle.read(CHUNK):
            keep(file, data)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return cast("BinaryIO", file)


def keep(file: IO[bytes], data: bytes) -> None:
    try:
        file.write(data)
    except OSError as error:
        message = f"Standard input cannot be kept in a temporary file: {error.strerror or error}."
        raise StorageError(message) from None


class Transcoded(io.RawIOBase):
    """The bytes of a list in UTF-8."""

    def __init__(self, name: str, handle: IO[bytes], encoding: str) -> None:
        """Read *handle* from its position."""
        self.name, self.handle = name, handle
        self.decoder = codecs.getincrementaldecoder(encoding)()
        self.waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill *buffer*, and return how many bytes; 0 at the end."""
        view = memoryview(buffer)
        while not self.waiting:
            data = self.handle.read(CHUNK)
            try:
                self.waiting = self.decoder.decode(data, final=not data).encode()
            except UnicodeError:
                raise InputChangedError(f"{self.name} has changed while it was read.") from None
            if not data:
                break
        size = min(len(view), len(self.waiting))
        view[:size], self.waiting = self.waiting[:size], self.waiting[size:]
        return size


# --- what encoding it is ---------------------------------------------------------------------------------------------


def find_encoding(handle: BinaryIO, start: int, wanted: str | None) -> tuple[str, int]:
    """
    Return Python's name of the encoding, and how many bytes of a mark text begins with.

    Raises:
        WrongEncoding: There is none, or no certain one.
    """
    head = handle.read(4)
    mark, marked = next(((mark, name) for mark, name in MARKS if head.startswith(mark)), (b"", None))
    asked = to_codec(wanted) if wanted is not None else None
    if marked is not None:
        if asked is not None and asked.partition("-le")[0].partition("-be")[0] not in {marked, marked[:6]}:
            raise WrongEncoding(f"it begins with the mark of {label(marked)}, so it is not {wanted}")
        check(handle, start, marked)
        return marked, len(mark)
    if asked is not None:
        check(handle, start, asked)
        return asked, 0
    for begin, problem in NO_TEXT.items():
        if head.startswith(begin):
            raise WrongEncoding(problem)
    handle.seek(start)
    if wide := find_wide(handle.read(SAMPLE)):
        check(handle, start, wide)
        return wide, 0
    return find_unmarked(handle, start), 0


def to_codec(wanted: str) -> str:
    """
    Return Python's name of an encoding.

    Raises:
        WrongEncoding: It is not one of text.
    """
    try:
        b"x".decode(wanted, "replace")
        name = codecs.lookup(wanted).name
    except (LookupError, UnicodeError, ValueError):
        known = ", ".join(value.lower() for value in LABELS.values())
        raise WrongEncoding(f"{wanted!r} is not a known encoding; known are {known}") from None
    return ALIASES.get(name, name)


def label(encoding: str) -> str:
    return LABELS.get(encoding, encoding)


def chunks(handle: BinaryIO, start: int) -> Iterator[bytes]:
    """Yield all bytes, and an empty piece behind the last."""
    handle.seek(start)
    while data := handle.read(CHUNK):
        yield data
    yield b""


def check(handle: BinaryIO, start: int, encoding: str) -> None:
    """
    Decode all of a list.

    Raises:
        WrongEncoding: A line is not in *encoding*.
    """
    for _ in decoded(handle, start, encoding):
        pass


def decoded(handle: BinaryIO, start: int, encoding: str) -> Iterator[str]:
    """
    Yield the text of a list in pieces.

    Raises:
        WrongEncoding: A line is not in *encoding*.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    for data in chunks(handle, start):
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeError as error:
            raise WrongEncoding(f"line {line + lines_before(error, encoding)} is not {label(encoding)}") from None
        line += text.count("\n")
        yield text


def lines_before(error: UnicodeError, encoding: str) -> int:
    if not isinstance(error, UnicodeDecodeError):
        return 0
    return error.object[: error.start].decode(encoding, "ignore").count("\n")


def find_wide(sample: bytes) -> str | None:
    """Return UTF-16 in one byte order if text has ASCII characters in it, and nothing that is not text."""
    if b"\0" not in sample or len(sample) % 2:
        return None
    if sample.count(0) * 4 < len(sample) and PLAIN.fullmatch(sample):  # ASCII with some NUL bytes
        return None
    low, high = (count_ascii(sample.decode(encoding, "replace")) for encoding in UNICODE)
    least = LEAST_ASCII * len(sample) / 2
    if max(low, high) < least or min(low, high) * CLEARER > max(low, high):
        return None
    return UNICODE[0] if low > high else UNICODE[1]


def count_ascii(text: str) -> int:
    """Return how many characters are ASCII; 0 if some cannot be in text."""
    if any(unicodedata.category(character) in NOT_TEXT and character not in "\t\r\n" for character in text):
        return 0
    return sum(character.isascii() for character in text)


def find_unmarked(handle: BinaryIO, start: int) -> str:
    """
    Return the encoding of text without a mark: UTF-8, or the only other one that reads it well.

    Raises:
        WrongEncoding: There is none, or several.
    """
    words: set[str] = set()
    is_certain = False
    try:
        for text in decoded(handle, start, "utf-8"):
            is_certain = is_certain or THREE_BYTES.search(text) is not None
            if not (is_certain or text.isascii()):
                words.update(itertools.islice(words_of(text), MAX_WORDS))
                is_certain = len(words) >= MAX_WORDS
    except WrongEncoding as problem:
        return find_legacy(handle, start, str(problem))
    if not is_certain and not all(map(is_usual_word, words)):
        others = [found for found in candidates(survey(handle, start)) if found.reading.is_clean]
        if others:
            utf_8 = Candidate("utf-8", " ".join(sorted(words)), Reading(1, 0, 0, 0))
            raise WrongEncoding(f"its encoding is not certain: {describe([utf_8, *others])}")
    return "utf-8"


@attrs.define
class Survey:
    """
    What a list holds that is not ASCII.

    Attributes:
        encodings: Those that can decode all of it.
        high: Its bytes that are not ASCII.
        sample: Lines with such bytes.
        utf_8: Lines of several that are UTF-8 by themselves, with their numbers.
        has_nul: Whether it holds NUL bytes, as text of these encodings does not.
    """

    encodings: list[str]
    high: set[int] = attrs.field(factory=set)
    sample: dict[bytes, None] = attrs.field(factory=dict)
    sampled: int = 0
    utf_8: list[tuple[int, bytes]] = attrs.field(factory=list)
    has_nul: bool = False


@attrs.frozen
class Candidate:
    """An encoding that a list may have, what it makes of the sample, and how that reads."""

    encoding: str
    text: str
    reading: Reading


ASCII = bytes(range(128))
MAX_SUSPECTS = 1000


def survey(handle: BinaryIO, start: int) -> Survey:
    """Read a list whose encoding is not UTF-8."""
    found = Survey(encodings=[])
    decoders = {name: codecs.getincrementaldecoder(name)() for name in JUDGES}
    number, rest = 1, b""
    for data in chunks(handle, start):
        for name in list(decoders):
            try:
                decoders[name].decode(data, final=not data)
            except UnicodeError:
                del decoders[name]
        found.has_nul = found.has_nul or b"\0" in data
        found.high.update(data.translate(None, ASCII))
        *lines, rest = (rest + data).split(b"\n") if data else [rest, b""]
        for count, line in enumerate(lines):
            look_at_line(found, line, number + count)
        number += len(lines)
        rest = rest[-SAMPLE:]
    found.encodings = [] if found.has_nul else list(decoders)
    return found


def look_at_line(found: Survey, line: bytes, number: int) -> None:
    if line.isascii():
        return
    if found.sampled < SAMPLE and line not in found.sample:
        found.sample[line[:SAMPLE]] = None
        found.sampled += len(line)
    if len(found.utf_8) < MAX_SUSPECTS:
        try:
            line.decode()
        except UnicodeDecodeError:
            return
        found.utf_8.append((number, line[:SAMPLE]))


def candidates(found: Survey) -> list[Candidate]:
    """Return the encodings that read the sample well; of those that give the same text the first."""
    data = b"\n".join(found.sample)
    several: dict[str, Candidate] = {}
    for name in found.encodings:
        text = data.decode(name, "ignore")  # a line that was cut may end in half a character
        # Bytes tell whether encodings of one byte agree also on what the sample does not show.
        same = bytes(sorted(found.high)).decode(name) if name in ONE_BYTE else f"{name} {text}"
        candidate = Candidate(name, text, JUDGES[name](text))
        if candidate.reading.is_possible:
            several.setdefault(same, candidate)
    return list(several.values())


def find_legacy(handle: BinaryIO, start: int, problem: str) -> str:
    """
    Return the one encoding that reads well what is not UTF-8.

    Raises:
        WrongEncoding: There is none, or several; *problem* says where it is not UTF-8.
    """
    found = survey(handle, start)
    several = sorted(candidates(found), key=lambda candidate: -candidate.reading.share)
    if not several:
        data = b"\n".join(found.sample)
        shown = "; ".join(show(name, data.decode(name, "ignore")) for name in found.encodings[:MOST_SHOWN])
        raise WrongEncoding(f"{problem}, and no other encoding reads it well{shown and ': '}{shown}. {ADVICE}")
    best, *others = several
    least, different = CERTAIN.get(best.encoding, (2.0, 0))
    is_clear = best.reading.share >= least and best.reading.different >= different
    if not is_clear or any(other.reading.share * CLEARER > best.reading.share for other in others):
        raise WrongEncoding(f"{problem}, and its encoding is not certain: {describe(several)}")
    refuse_mixture(found, best.encoding)
    return best.encoding


ADVICE = "Name its encoding, as in --encoding gb18030, or save it as UTF-8"
MOST_SHOWN = 4


def describe(several: Sequence[Candidate]) -> str:
    shown = "; ".join(show(candidate.encoding, candidate.text) for candidate in several[:MOST_SHOWN])
    return f"{shown}. Add --encoding {label(several[0].encoding).lower()} or another of these, or save it as UTF-8"


def show(encoding: str, text: str) -> str:
    """Return a sample of *text* as an encoding reads it."""
    first = next(words_of(text), "")
    begin = max(text.index(first) - SHOWN // 4, 0)
    line = text[begin:].partition("\n")[0].strip()[:SHOWN]
    clean = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
    return f"as {label(encoding)} it reads '{clean}'"


def refuse_mixture(found: Survey, encoding: str) -> None:
    """
    Refuse a list of which some lines read well in UTF-8, and not in *encoding*.

    Raises:
        WrongEncoding: There is such a line.
    """
    for number, line in found.utf_8:
        text = line.decode(errors="ignore")
        is_likely = max(text) >= "\u0800" or all(map(is_usual_word, words_of(text)))
        if is_likely and not JUDGES[encoding](line.decode(encoding, "ignore")).is_clean:
            message = f"line {number:,} is UTF-8, and other lines are {label(encoding)}; save all of it as UTF-8"
            raise WrongEncoding(message)
