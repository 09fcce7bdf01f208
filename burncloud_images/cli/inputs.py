"""Words become request values: prompts from arguments, files and stdin; images; fields that have no option."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import attrs

from burncloud_images.cli.exits import UsageError
from burncloud_images.cli.options import kind_of, option_name
from burncloud_images.model.inputs import ImageLike, ImageURL
from burncloud_images.model.operations import IMAGE_FIELDS, ImagesRequest
from burncloud_images.wire.base_url import is_loopback

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@attrs.define
class Stdin:
    """Standard input, which can be read for one thing only."""

    reader: str | None = None

    def open(self, reader: str) -> BinaryIO:
        """
        Return stdin for *reader*.

        Raises:
            UsageError: Something else reads it, or it is closed.
        """
        if sys.stdin is None:
            raise UsageError(f"Standard input is closed, so it cannot be {reader}.")
        if self.reader is not None:
            raise UsageError(f"Standard input cannot be both {self.reader} and {reader}.")
        self.reader = reader
        return sys.stdin.buffer


def read_file(path: str, what: str) -> bytes:
    """
    Return the bytes of a small file.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"The {what} {path} cannot be read: {error.strerror or error}.") from None


def read_prompt(word: str, stdin: Stdin) -> str:
    """Return the prompt: the word itself, `@file`, or `-` for stdin."""
    if word == "-":
        content = stdin.open("the prompt").read()
    elif word.startswith("@"):
        content = read_file(word[1:], "prompt file")
    else:
        return word
    try:
        return content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError("The prompt is no UTF-8 text.") from None


def to_image(word: str, stdin: Stdin, *, allow_http: bool) -> ImageLike:
    """Return where the image is that *word* names: a file, a URL, or `-` for stdin."""
    if word == "-":
        return stdin.open("an image")
    scheme = URL.match(word)
    if scheme is None:
        return word
    if scheme[1].lower() not in {"http", "https"}:
        raise UsageError(f"{scheme[0]} is no address that an image can be fetched from; use https://.")
    if scheme[1].lower() == "http" and not allow_http and not is_loopback(urlsplit(word).hostname or ""):
        raise UsageError("An image would be fetched unencrypted; use https:// or --allow-http.")
    return ImageURL(word)


def to_request(
    kind: type[ImagesRequest], values: Mapping[str, Any], stdin: Stdin, *, allow_http: bool
) -> ImagesRequest:
    """
    Return the request that *values* describe.

    Args:
        kind: Its class.
        values: What was given, by field.
        stdin: For `-`.
        allow_http: Whether images may come from unencrypted addresses.

    Raises:
        UsageError: A value cannot be read.
        InvalidRequestError: No server could take it.
    """
    names = {field.name for field in attrs.fields(kind)}
    fields: dict[str, Any] = {
        name: parse(kind, name, value) for name, value in values.items() if name in names and value is not None
    }
    for name, value in free_fields(kind, values.get("field") or ()):
        target = fields if name in names else fields.setdefault("extra", {})
        if name in target:
            raise UsageError(f"{name} is given twice, by {option_name(name)} and by -O.")
        target[name] = value
    if "prompt" in fields:
        fields["prompt"] = read_prompt(fields["prompt"], stdin)
    for name in IMAGE_FIELDS:
        if name in fields:
            fields[name] = to_images(fields[name], stdin, allow_http=allow_http)
    return kind(**fields)


def to_images(words: str | Iterable[str], stdin: Stdin, *, allow_http: bool) -> object:
    if isinstance(words, str):
        return to_image(words, stdin, allow_http=allow_http)
    return [to_image(word, stdin, allow_http=allow_http) for word in words]


def parse(kind: type[ImagesRequest], name: str, value: object) -> object:
    """Return *value*, from JSON where the field is an object."""
    if isinstance(value, str) and kind_of(kind, name)[0] is dict:
        return from_json(option_name(name), value)
    return value


def from_json(name: str, text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"What {name} is given is no JSON.") from None


def free_fields(kind: type[ImagesRequest], words: Iterable[str]) -> Iterable[tuple[str, object]]:
    """Yield the fields of `-O key=value`: JSON where it is JSON, else text; text always for fields that are text."""
    names = {field.name for field in attrs.fields(kind)}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UsageError(f"-O takes key=value, not {word!r}.")
        if name in {*IMAGE_FIELDS, "prompt", "extra"}:
            raise UsageError(f"{name} is no field for -O; give it by its own argument.")
        if name in names and kind_of(kind, name)[0] is str and not text.startswith('"'):
            yield name, text
        elif name in names:
            yield name, from_json(f"-O {name}", text)
        else:
            yield name, json_or_text(text)


def json_or_text(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
