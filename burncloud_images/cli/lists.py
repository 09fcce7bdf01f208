"""Lists of rows, as they are named on the command line, and the fields that rows take from there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

from burncloud_images.bulk.inputs import InputOptions, open_input
from burncloud_images.bulk.rows import BadRow, Row
from burncloud_images.cli.arguments import Rows
from burncloud_images.cli.exits import UsageError
from burncloud_images.cli.inputs import Stdin, free_fields, parse
from burncloud_images.cli.options import option_name, take
from burncloud_images.model.operations import EditRequest, GenerationRequest, ImagesRequest, VariationRequest

__all__ = ["CONTAINERS", "Lists", "to_lists"]

KINDS: tuple[type[ImagesRequest], ...] = (GenerationRequest, EditRequest, VariationRequest)
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
        UsageError: A field cannot be read, or stdin is named twice.
    """
    names = tuple(values.get("inputs") or ())
    for name in names:
        if name == "-":
            stdin.open("a list")
    return Lists(
        names=names,
        defaults=dict(find_defaults(values)),
        rows=take(Rows, values),
        allow_http=bool(values.get("allow_http")),
    )


def find_defaults(values: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield the fields of the API that are given."""
    given: set[str] = set()
    for kind in KINDS:
        for field in attrs.fields(kind):
            value = values.get(field.name)
            if value is None or field.name in given or is_container(field.name, value):
                continue
            given.add(field.name)
            yield field.name, parse(kind, field.name, value)
    for word in values.get("field") or ():
        for name, value in free_fields(owner_of(word.partition("=")[0]), [word]):
            if name in given:
                raise UsageError(f"{name} is given twice, by {option_name(name)} or -O.")
            given.add(name)
            yield name, value


def owner_of(name: str) -> type[ImagesRequest]:
    return next((kind for kind in KINDS if name in attrs.fields_dict(kind)), GenerationRequest)


def is_container(name: str, value: object) -> bool:
    return name == "output_format" and value in CONTAINERS
