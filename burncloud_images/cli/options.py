"""
Options are read off classes: the request classes for the API's fields, the command line's own for the rest.

Names, types and defaults come from the attrs fields, help from the `Args` of the docstrings, and the values that are
known from the annotations' literals. cyclopts would flatten an attrs class by itself (`Parameter(name="*")`), but the
request classes take images and mappings that are no words, and a value left at its default could not be told from one
that was not given, which the configuration file has to know. So each command gets a signature of its own, built here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
from cyclopts import Group, Parameter

from burncloud_images.model.parameters import describe_parameters

T = TypeVar("T")

NAMES: Mapping[str, tuple[str, ...]] = {
    "model": ("--model", "-m"),
    "n": ("-n",),
    "prompt": ("--prompt", "-p"),
    "output_format": ("--format",),
    "output_compression": ("--compression",),
    "output": ("--output", "-o"),
    "directory": ("--into",),
    "concurrency": ("--concurrency", "-j"),
    "quiet": ("--quiet", "-q"),
    "verbose": ("--verbose", "-v"),
    "field": ("--field", "-O"),
}
"""Names that are not the field's own with dashes."""

STDIN = "\0-"
"""
What cyclopts sees in place of a lone dash, which it would take for an option. No argument of a process holds a NUL.
"""

METAVARS: Mapping[type, str] = {int: "N", float: "SECONDS", str: "TEXT", dict: "JSON"}


def option_name(field: str) -> str:
    """Return what users type for *field*."""
    return NAMES.get(field, (f"--{field.replace('_', '-')}",))[0]


def derive(
    owner: type, group: Group, *, without: AbstractSet[str] = frozenset(), needed: bool = True
) -> Iterator[inspect.Parameter]:
    """
    Yield a keyword parameter for each field of an attrs class.

    Args:
        owner: The class.
        group: Panel of the help.
        without: Fields that are no options.
        needed: Whether a field without a default is required.
    """
    texts = help_of(owner)
    for field in attrs.fields(owner):
        if field.name in without:
            continue
        kind, choices = kind_of(owner, field.name)
        option = Parameter(
            name=NAMES.get(field.name, (f"--{field.name.replace('_', '-')}",)),
            help=with_choices(texts[field.name], choices),
            group=group,
            negative=(),
            count=field.name == "verbose",
            show_default=False,
            # Choices are offered and not enforced: the server may know more.
            completer=offer(choices) if choices else None,
            metavar=field.metadata.get("metavar") or METAVARS.get(kind),
        )
        required = needed and field.default is attrs.NOTHING
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if required else None,
            annotation=Annotated[text_for(kind) if required else text_for(kind) | None, option],
        )


def text_for(kind: Any) -> Any:  # noqa: ANN401 (annotations have no type of their own)
    # JSON is parsed where its errors can be told in a sentence.
    return str if kind is dict else kind


def offer(choices: tuple[str, ...]) -> Callable[[object], tuple[str, ...]]:
    return lambda _context: choices


def with_choices(text: str, choices: tuple[str, ...]) -> str:
    """Return *text* with the values that are known, unless it names them all itself."""
    said = all(choice in text for choice in choices)
    return text if said else f"{text} Known: {', '.join(choices)}."


def kind_of(owner: type, name: str) -> tuple[Any, tuple[str, ...]]:
    """Return the type of the words for a field, and the values that its literals offer beside any text."""
    members = tuple(flatten(hints(owner)[name]))
    choices = tuple(choice for member in members if get_origin(member) is Literal for choice in get_args(member))
    for kind in (bool, int, float):
        if kind in members:
            return kind, ()
    if any(isinstance(origin, type) and issubclass(origin, Mapping) for origin in map(get_origin, members)):
        return dict, ()
    if choices and str not in members:
        return Literal[choices], ()
    if any(get_origin(member) is tuple for member in members):
        return tuple[str, ...], ()
    return str, choices


@cache
def hints(owner: type) -> dict[str, Any]:
    return get_type_hints(owner)


def flatten(hint: Any) -> Iterator[Any]:  # noqa: ANN401 (as above)
    if get_origin(hint) in {Union, UnionType}:
        for member in get_args(hint):
            yield from flatten(member)
    elif hint is not type(None):
        yield hint


def help_of(owner: type) -> dict[str, str]:
    """Return the description of each field as plain text."""
    return {name: " ".join(text.replace("`", "").split()) for name, text in describe_parameters(owner).items()}


def take(owner: type[T], values: Mapping[str, Any]) -> T:
    """Return an instance of the option class *owner* made of those of *values* that are given and its own."""
    names = {field.name for field in attrs.fields(owner)}  # type: ignore[arg-type]
    return owner(**{name: value for name, value in values.items() if name in names and value is not None})


def with_dashes(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(with_dashes, value))
    return "-" if value == STDIN else value


def as_command(name: str, parameters: list[inspect.Parameter], work: Callable[..., int]) -> Any:  # noqa: ANN401 (cyclopts reads its attributes)
    """
    Return a function that cyclopts sees with *parameters*, and that hands what was given to *work* as one mapping.

    Args:
        name: Of the command.
        parameters: Its options.
        work: Returns the exit code.
    """
    ordered = sorted(parameters, key=lambda parameter: parameter.kind)
    signature = inspect.Signature(ordered)

    def command(*words: object, **values: object) -> int:
        return work({name: with_dashes(value) for name, value in signature.bind(*words, **values).arguments.items()})

    command.__name__ = name
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in ordered}
    command.__signature__ = signature  # type: ignore[attr-defined]
    return command
