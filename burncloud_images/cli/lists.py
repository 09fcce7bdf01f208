"""Lists of rows, as they are named on the command line, and the fields that rows take from there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

from burncloud_images.bulk.inputs import InputOptions, open_input
from burncloud_images.bulk.records import BadRow, Row
from burncloud_images.cli.arguments import Rows
from burncloud_images.cli.exits import UsageError
from burncloud_images.cli.inputs import URL, Stdin, free_fields, parse, read_prompt
from burncloud_images.cli.options import option_name, take
from burncloud_images.client import MODEL_VARIABLES, from_environment
from burncloud_images.model.operations import (
    IMAGE_FIELDS,
    EditRequest,
    GenerationRequest,
    ImagesRequest,
    VariationRequest,
)

FIELDS: Mapping[str, type[ImagesRequest]] = {
    field.name: kind for kind in (VariationRequest, EditRequest, GenerationRequest) for field in attrs.fields(kind)
}
"""A class that has it, for each field of any request."""

CONTAINERS = ("files", "webdataset")
"""What --format says about how images are kept, and not about the images."""


@attrs.frozen(kw_only=True)
class Lists:
    """
    What a job is to be made of.

    Attributes:
        names: Files, and `-` for stdin.
        defaults: Fields for rows that do not have them.
        rows: How they are read.
        allow_http: Whether rows may name images at unencrypted addresses.
    """

    names: tuple[str, ...]
    defaults: Mapping[str, object]
    rows: Rows
    allow_http: bool = False

    async def read(self) -> AsyncIterator[Row | BadRow]:
        """
        Yield what the lists ask for, one list after the other.

        Raises:
            InvalidRequestError: One of them cannot be read.
        """
        options = InputOptions(
            defaults=self.defaults,
            input_root=Path(self.rows.input_root) if self.rows.input_root is not None else None,
            format=self.rows.input_format,
            allow_http=self.allow_http,
        )
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="burncloud-lists") as executor:
            for name in self.names:
                async for row in open_input(name, options, executor):
                    yield row


def to_lists(values: Mapping[str, Any], stdin: Stdin) -> Lists:
    """
    Return the lists that *values* name.

    Raises:
        UsageError: A field cannot be read, a list is not there, or stdin is named twice.
    """
    names = tuple(values.get("inputs") or ())
    for name in names:
        if name == "-":
            stdin.open("a list")
        elif not Path(name).exists():
            raise UsageError(f"There is no list {name}.")
    return Lists(
        names=names,
        defaults={**find_model(), **dict(find_defaults(values, stdin))},
        rows=take(Rows, values),
        allow_http=bool(values.get("allow_http")),
    )


def find_model() -> Mapping[str, object]:
    """Return the model that the environment names; as a field it is part of what a row asks for, and of its key."""
    model = from_environment(MODEL_VARIABLES)
    return {"model": model} if model else {}


def find_defaults(values: Mapping[str, Any], stdin: Stdin) -> Iterator[tuple[str, object]]:
    """Yield the fields of the API that are given."""
    given = {name: value for name, value in values.items() if name in FIELDS and value is not None}
    if given.get("output_format") in CONTAINERS:
        del given["output_format"]
    for name, value in given.items():
        if name == "prompt":
            yield name, read_prompt(value, stdin)
        elif name in IMAGE_FIELDS:
            yield name, to_places(value)
        else:
            yield name, parse(FIELDS[name], name, value)
    for word in values.get("field") or ():
        kind = FIELDS.get(word.partition("=")[0], GenerationRequest)
        for name, value in free_fields(kind, [word]):
            if name in given:
                raise UsageError(f"{name} is given twice, by {option_name(name)} and by -O.")
            yield name, value


def to_places(words: str | tuple[str, ...]) -> object:
    """Return where images are, for rows, whose paths begin elsewhere."""
    places = [word if URL.match(word) else str(Path(word).absolute()) for word in to_words(words)]
    return places[0] if len(places) == 1 else places


def to_words(words: str | tuple[str, ...]) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else words
