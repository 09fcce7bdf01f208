"""
Removes the API key from what a server says, in all the spellings in which servers echo one.

Rule 1: a key may be spelled letter by letter in several ways at once, so each letter has its own alternatives: plain,
escaped as in JSON, percent-encoded any number of times, an HTML entity.
Rule 2: a text in base64 may hold the key at any place, so the three ways in which it can lie there are looked for.
Rule 3: images and addresses are what was paid for and are left as they are; their reprs do not show them.

Source: RFC 8259 §7, RFC 3986 §2.1, RFC 4648 §4 and §5, HTML's named character references.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Self, TypeVar, cast

import attrs

from burncloud_images.errors import ImagesError, KeptAnswer

T = TypeVar("T")

MASK = "***"
SHORT = 8
"""Characters below which a key may be an ordinary word, as in `EMPTY`; such a one is masked where it stands alone."""
MOST_DEPTH = 50
"""Nesting of a JSON document that is searched."""
ESCAPE = re.compile(r"[\\%&]")
"""With what every other spelling of a letter begins."""
LEFT_ALONE = frozenset({"data", "rest", "url", "path", "unfetched"})
"""Images, parts of images, and their URLs and paths."""


@attrs.define(slots=False, eq=False)
class KeyRedactor:
    """
    Masks a key, and other secrets that are sent along.

    Attributes:
        key: The key.
        others: What masks each of the others.
    """

    key: str = attrs.field(repr=False)
    others: tuple[KeyRedactor, ...] = ()

    @classmethod
    def of(cls, key: str, secrets: Iterable[str]) -> Self:
        """Return what masks *key* and *secrets*; short ones of those are words, and are not masked."""
        return cls(key, tuple(cls(secret) for secret in secrets if len(secret) >= SHORT and secret != key))

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The key, each letter in any spelling."""
        spelled = "".join(spellings(letter) for letter in self.key)
        if len(self.key) < SHORT:
            return re.compile(rf"(?<![\w-]){spelled}(?![\w-])")
        return re.compile(spelled)

    @cached_property
    def cores(self) -> tuple[str, ...]:
        """What base64 makes of the key, for each of the places at which it can lie in three bytes."""
        return tuple(to_cores(self.key.encode("latin-1", errors="replace")) if len(self.key) >= SHORT else ())

    @cached_property
    def anchors(self) -> tuple[str, ...]:
        """A piece of each core that looks the same in every spelling."""
        return tuple(max(re.split("[+/]", core), key=len) for core in self.cores)

    @cached_property
    def encoded(self) -> re.Pattern[str]:
        """The cores, with the letters around them in which some bits of the key are."""
        around = "".join(("(?:", "[A-Za-z0-9_-]|", spellings("+"), "|", spellings("/"), "){0,2}"))
        cores = "|".join("".join(base64_spellings(letter) for letter in core) for core in self.cores)
        return re.compile(f"{around}(?:{cores}){around}=*")

    def text(self, text: str) -> str:
        """Return *text* without the key; few texts contain it, so looking is cheap."""
        if self.key and (self.key.lower() in text.lower() or ESCAPE.search(text)):
            text = self.pattern.sub(MASK, text)
        if any(anchor in text for anchor in self.anchors):
            text = self.encoded.sub(MASK, text)
        for other in self.others:
            text = other.text(text)
        return text

    def body(self, body: bytes) -> bytes:
        """Return *body* without the key; it stays the JSON that it is."""
        text = body.decode("latin-1")
        clean = self.text(text)
        return body if clean is text else clean.encode("latin-1")

    def is_clean(self, document: bytes) -> bool:
        """Whether no value of *document* can hold the key: True is certain, as one look at the whole is cheap."""
        # Without a backslash the texts of a JSON document are what they stand for.
        is_ascii = self.key.isascii() and all(other.key.isascii() for other in self.others)
        return b"\\" not in document and is_ascii and self.body(document) is document

    def headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return *headers* without the key."""
        together = "\n".join(headers.values())
        if self.text(together) is together:
            return headers
        return {name: self.text(value) for name, value in headers.items()}

    def value(self, value: T, depth: int = 0) -> T:
        """
        Return *value* without the key, wherever in it texts are; it is the same object if nothing was masked.

        Args:
            value: Text, bytes, parsed JSON, or a value of this package.
            depth: How deep it lies in another.
        """
        return cast("T", self.clean(value, depth))

    def clean(self, value: object, depth: int) -> object:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.body(value)
        if isinstance(value, (Mapping, list, tuple)):
            return self.container(value, depth) if depth <= MOST_DEPTH else MASK
        if isinstance(value, KeptAnswer) and value.data:  # a small one, which people print
            data = self.body(value.data)
            return value if data is value.data else attrs.evolve(value, data=data, size=len(data))
        if attrs.has(type(value)):
            changes = dict(self.changes(value, depth))
            return attrs.evolve(value, **changes) if changes else value  # type: ignore[misc] # it is of attrs
        return value

    def container(self, value: Mapping[object, object] | Sequence[object], depth: int) -> object:
        if isinstance(value, Mapping):
            pairs = {self.value(name, depth + 1): self.value(item, depth + 1) for name, item in value.items()}
            return value if same(pairs.keys(), value.keys()) and same(pairs.values(), value.values()) else pairs
        items = type(value)(self.value(item, depth + 1) for item in value)  # type: ignore[call-arg] # a list or tuple
        return value if same(items, value) else items

    def changes(self, value: object, depth: int) -> Iterator[tuple[str, object]]:
        for field in attrs.fields(type(value)):  # type: ignore[arg-type] # likewise
            if field.name not in LEFT_ALONE:
                before = getattr(value, field.name)
                after = self.value(before, depth + 1)
                if after is not before:
                    yield field.name, after

    def error(self, error: ImagesError) -> None:
        """Remove the key from *error*: its message, its notes and everything it holds."""
        error.args = self.value(error.args)
        for name, value in [*vars(error).items()]:
            if name not in LEFT_ALONE:
                vars(error)[name] = self.value(value)


def same(items: object, others: object) -> bool:
    """Say whether the two hold the same objects."""
    return all(one is other for one, other in zip(items, others, strict=True))  # type: ignore[call-overload]


@cache
def spellings(letter: str) -> str:
    """Return a pattern of the ways in which *letter* is written; each begins with one character, found quickly."""
    from html.entities import html5

    number = ord(letter)
    code = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{number:02x}")
    ways = [re.escape(way) for way in sorted({letter, letter.lower(), letter.upper()})]
    if not letter.isalnum():
        ways += [rf"\\\\{{0,7}}{re.escape(letter)}"]
    ways += [
        rf"\\\\{{0,7}}(?:u00|x){code}",
        rf"%(?:25){{0,4}}{code}",
        rf"&(?:amp;){{0,4}}#(?:0{{0,4}}{number}|[xX]0{{0,4}}{code});",
    ]
    names = [name[:-1] for name, text in html5.items() if text == letter and name.endswith(";")]
    if names and not letter.isalnum():
        ways.append(rf"&(?:amp;){{0,4}}(?:{'|'.join(map(re.escape, names))});")
    return f"(?:{'|'.join(ways)})"


def base64_spellings(letter: str) -> str:
    """Return a pattern of the ways in which a letter of base64 is written, in both of its alphabets."""
    return {"+": f"(?:{spellings('+')}|-)", "/": f"(?:{spellings('/')}|_)"}.get(letter, letter)


def to_cores(key: bytes) -> Iterator[str]:
    """Yield the letters of base64 that the key alone decides, when it begins at a first, second or third byte."""
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + key).decode()
        yield encoded[-(-offset * 8 // 6) : (offset + len(key)) * 8 // 6]
