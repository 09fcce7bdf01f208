"""Words become request values: prompts from arguments, files and stdin; images; lists of rows; checked numbers."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

import attrs

from burncloud_images.cli.exit_codes import UsageError
from burncloud_images.cli.options import ListOptions, build_options, kind_of, option_name
from burncloud_images.client import MODEL_VARIABLES, from_environment
from burncloud_images.model.inputs import SCHEME, ImageLike, ImageURL
from burncloud_images.model.operations import (
    IMAGE_FIELDS,
    EditRequest,
    GenerationRequest,
    ImagesRequest,
    VariationRequest,
)
from burncloud_images.wire.base_url import is_loopback

if TYPE_CHECKING:
    from burncloud_images.bulk.inputs import InputOptions
    from burncloud_images.bulk.job_shard import JobShard
    from burncloud_images.bulk.records import BadRow, NewRequest


@attrs.define
class StandardInput:
    """Standard input, which can only be read once."""

    reader: str | None = None

    def open(self, reader: str) -> BinaryIO:
        """
        Return stdin for *reader*.

        Raises:
            UsageError: It is read for something else, or it is closed.
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


def read_prompt(word: str, stdin: StandardInput) -> str:
    """Return the prompt: the word itself, `@file`, or `-` for stdin."""
    if word == "-":
        content = stdin.open("the prompt").read()
    elif word.startswith("@"):
        content = read_file(word[1:], "prompt file")
    elif is_text(word):
        return word
    else:  # in a locale of ASCII, Python escapes all other bytes of an argument
        content = word.encode(errors="surrogateescape")
    try:
        return content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError("The prompt is not valid UTF-8.") from None


def is_text(word: str) -> bool:
    """Return whether UTF-8 can carry a word, or else it holds something that no byte stands behind."""
    escaped = {code for code in map(ord, word) if 0xD800 <= code <= 0xDFFF}
    return not escaped or not escaped <= {*range(0xDC80, 0xDD00)}


def to_image(word: str, stdin: StandardInput, *, allow_http: bool) -> ImageLike:
    """Return the image that *word* names: a file, a URL, or `-` for stdin."""
    if word == "-":
        return stdin.open("an image")
    scheme = SCHEME.match(word)
    if scheme is None:
        return word
    if scheme[1].lower() not in {"http", "https"}:
        raise UsageError(f"Images cannot be downloaded from {scheme[0]} URLs; use https://.")
    if scheme[1].lower() == "http" and not allow_http and not is_loopback(urlsplit(word).hostname or ""):
        raise UsageError("The image would be downloaded unencrypted; use https:// or --allow-http.")
    return ImageURL(word)


def to_request(
    kind: type[ImagesRequest], values: Mapping[str, Any], stdin: StandardInput, *, allow_http: bool
) -> ImagesRequest:
    """
    Return the request that *values* describe.

    Raises:
        UsageError: A value cannot be read.
        InvalidRequestError: No server could accept it.
    """
    names = {field.name for field in attrs.fields(kind)}
    fields: dict[str, Any] = {
        name: parse(kind, name, value) for name, value in values.items() if name in names and value is not None
    }
    for name, value in extra_fields(kind, values.get("field") or ()):
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


def to_images(words: str | Iterable[str], stdin: StandardInput, *, allow_http: bool) -> object:
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
        raise UsageError(f"The value of {name} is not valid JSON.") from None


def extra_fields(kind: type[ImagesRequest], words: Iterable[str]) -> Iterable[tuple[str, object]]:
    """Yield the fields of `-O key=value`: as JSON if it is valid JSON, else as text; known text fields as text."""
    names = {field.name for field in attrs.fields(kind)}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UsageError(f"-O takes key=value, not {word!r}.")
        if name in {*IMAGE_FIELDS, "prompt", "extra"}:
            raise UsageError(f"-O cannot set {name}; use its own argument.")
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


FIELDS: Mapping[str, type[ImagesRequest]] = {
    field.name: kind for kind in (VariationRequest, EditRequest, GenerationRequest) for field in attrs.fields(kind)
}
"""For each field of any request, a class that has it."""

CONTAINERS = ("files", "webdataset")
"""Values of --format that name a layout instead of an image format."""


@attrs.frozen(kw_only=True)
class JobInputs:
    """
    The lists of prompts and requests that a job is made from.

    Attributes:
        names: Files, or `-` for stdin.
        defaults: Fields for rows without them.
        allow_http: Whether rows may name unencrypted URLs.
        models: Several models, each for every row that names none.
        shard: The part of the rows that is taken; None for all.
        shape: Of images whose size no row gives.
    """

    names: tuple[str, ...]
    defaults: Mapping[str, object]
    rows: ListOptions
    allow_http: bool = False
    models: tuple[str, ...] = ()
    shard: JobShard | None = None
    shape: Shape | None = None

    @property
    def options(self) -> InputOptions:
        """How they are read."""
        from burncloud_images.bulk.inputs import InputOptions

        return InputOptions(
            defaults=self.defaults,
            input_root=self.rows.input_root,
            format=self.rows.input_format,
            encoding=self.rows.encoding,
            delimiter=self.rows.delimiter,
            sheet=self.rows.sheet,
            template=self.rows.template,
            models=self.models,
            aspect=None if self.shape is None else self.shape.aspect,
            pixels=None if self.shape is None else self.shape.pixels,
            columns=to_columns(self.rows.column),
            allow_http=self.allow_http,
            shard=self.shard,
        )

    async def read(self) -> AsyncIterator[NewRequest | BadRow]:
        """
        Yield the rows of the lists, one list after the other.

        Raises:
            InvalidRequestError: One of them cannot be read.
        """
        from burncloud_images.bulk.inputs import open_input

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="burncloud-lists") as executor:
            for name in self.names:
                async for row in open_input(name, self.options, executor):
                    yield row


def to_lists(values: Mapping[str, Any], stdin: StandardInput, note: Callable[[str], object]) -> JobInputs:
    """
    Return the lists that *values* name.

    Raises:
        UsageError: A field cannot be read, a list does not exist, or stdin is named twice.
        InvalidRequestError: A model has no size of the shape that is asked for.
    """
    names = tuple(values.get("inputs") or ())
    for name in names:
        if name == "-":
            stdin.open("a list")
        elif not Path(name).exists():
            raise UsageError(f"There is no list {name}.")
    defaults = {**find_model(), **dict(find_defaults(values, stdin))}
    models = to_models(defaults.get("model"))
    shape = find_shape(values, defaults.get("size"))
    if shape is not None:
        for model in models or filter(None, (defaults.get("model"),)):
            note(f"--aspect {shape.aspect} is the size {shape.fit(str(model))} for {model}")
    return JobInputs(
        names=names,
        defaults={name: value for name, value in defaults.items() if name != "model" or not models},
        models=models,
        rows=build_options(ListOptions, values),
        shape=shape,
        allow_http=bool(values.get("allow_http")),
    )


def with_size(values: Mapping[str, Any], note: Callable[[str], object]) -> dict[str, Any]:
    """
    Return *values* with the size that --aspect and --megapixels ask for.

    Raises:
        UsageError: They contradict other options, or no model is named.
        InvalidRequestError: The model has no such size.
    """
    words = [word for word in values.get("field") or () if word.startswith(("model=", "size="))]
    given = {**values, **dict(extra_fields(GenerationRequest, words))}
    shape = find_shape(values, given.get("size"))
    if shape is None:
        return dict(values)
    model = given.get("model") or from_environment(MODEL_VARIABLES)
    if model is None:
        size = shape.fit(None)
        raise UsageError(f"--aspect needs a model, because sizes depend on it: add --model, or give --size {size}.")
    size = shape.fit(model)
    note(f"--aspect {shape.aspect} is the size {size}")
    return {**values, "size": size}


@attrs.frozen(kw_only=True)
class Shape:
    """What --aspect and --megapixels ask for."""

    aspect: str
    pixels: int | None = None

    def fit(self, model: str | None) -> str:
        """
        Return the size for *model*.

        Raises:
            InvalidRequestError: It has none.
        """
        from burncloud_images.model.sizes import PIXELS, fit

        return fit(self.aspect, pixels=self.pixels or PIXELS, model=model)


MOST_MEGAPIXELS = 1000


def find_shape(values: Mapping[str, Any], size: object) -> Shape | None:
    """
    Return the shape that is asked for instead of a *size*; None if none is.

    Raises:
        UsageError: The options contradict one another.
    """
    aspect, megapixels = values.get("aspect"), values.get("megapixels")
    if aspect is None and megapixels is None:
        return None
    if aspect is None or size is not None:
        wrong = "--megapixels needs --aspect" if aspect is None else "--aspect cannot be combined with --size"
        raise UsageError(f"{wrong}.")
    if megapixels is not None and not 0 < megapixels < MOST_MEGAPIXELS:
        raise UsageError(f"--megapixels has to be between 0 and {MOST_MEGAPIXELS}.")
    return Shape(aspect=aspect, pixels=None if megapixels is None else max(1, round(megapixels * 1_000_000)))


def to_models(word: object) -> tuple[str, ...]:
    """
    Return the models of `-m a,b`; none for a single one, which is a default like any other.

    Raises:
        UsageError: One is empty, or named twice.
    """
    names = tuple(part.strip() for part in word.split(",")) if isinstance(word, str) else ()
    if len(names) > 1 and (not all(names) or len(set(names)) < len(names)):
        raise UsageError(f"-m {word!r} has to name different models between commas.")
    return names if len(names) > 1 else ()


def to_columns(words: Iterable[str]) -> Mapping[str, str]:
    """Return what a list calls its columns, by the column."""
    columns: dict[str, str] = {}
    for word in words:
        column, equals, name = word.partition("=")
        if not equals or not column.strip() or not name.strip():
            raise UsageError(f'--column takes a column and the list\'s name of it, as in prompt="Text", not {word!r}.')
        if column.strip() in columns:
            raise UsageError(f"--column names {column.strip()} twice.")
        columns[column.strip()] = name.strip()
    return columns


def find_model() -> Mapping[str, object]:
    """Return the environment's model as a field, so that it becomes part of each row's key."""
    model = from_environment(MODEL_VARIABLES)
    return {"model": model} if model else {}


def find_defaults(values: Mapping[str, Any], stdin: StandardInput) -> Iterator[tuple[str, object]]:
    """Yield the fields of the API that are given."""
    given = {name: value for name, value in values.items() if name in FIELDS and value is not None}
    if given.get("output_format") in CONTAINERS:
        del given["output_format"]
    for name, value in given.items():
        if name == "prompt":
            yield name, read_prompt(value, stdin)
        elif name in IMAGE_FIELDS:
            yield name, to_sources(value)
        else:
            yield name, parse(FIELDS[name], name, value)
    for word in values.get("field") or ():
        kind = FIELDS.get(word.partition("=")[0], GenerationRequest)
        for name, value in extra_fields(kind, [word]):
            if name in given:
                raise UsageError(f"{name} is given twice, by {option_name(name)} and by -O.")
            yield name, value


def to_sources(words: str | tuple[str, ...]) -> object:
    """Return images as rows name them, with absolute paths: rows resolve relative ones against another folder."""
    places = [word if SCHEME.match(word) else str(Path(word).absolute()) for word in to_words(words)]
    return places[0] if len(places) == 1 else places


def to_words(words: str | tuple[str, ...]) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else words


AT_LEAST: Mapping[str, float] = {
    "concurrency": 1,
    "limit": 1,
    "measure": 1,
    "max_images": 0,
    "deadline": 0,
}
MORE_THAN_NOTHING = ("rpm", "ipm", "tpm")
TINY = 1e-9
"""Rates up to this count as 0: the duration of the job would exceed a float."""


def validate_numbers(values: Mapping[str, Any]) -> None:
    """
    Check the numbers of a job's options.

    Raises:
        UsageError: An option does not accept its value.
    """
    for name, least in AT_LEAST.items():
        if (value := values.get(name)) is not None and not value >= least:  # refuses nan too
            raise UsageError(f"{option_name(name)} has to be at least {least:g}.")
    for name in (*MORE_THAN_NOTHING, *AT_LEAST):
        if (value := values.get(name)) is None:
            continue
        if name in MORE_THAN_NOTHING and not value > TINY:
            raise UsageError(f"{option_name(name)} has to be more than 0.")
        if math.isinf(value):
            raise UsageError(f"{option_name(name)} cannot be infinite; leave it out for no limit.")
