"""
What `help()`, editors and the command line show of the requests' parameters.

The descriptions stand once, in the `Args` of the class that declares a field; this module collects those of a class
and of its bases.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from typing import TypeVar

T = TypeVar("T")

ENTRY = re.compile(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)
"""A parameter and its description, in the `Args` of a docstring without indentation."""
ARGS = re.compile(r"\n*^Args:\n(?: {4}.*\n?|\n(?= {4}))+", re.MULTILINE)


class PlainAnnotation(str):
    """The text of an annotation, shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the text."""
        return str(self)


def describe_parameters(owner: type) -> dict[str, str]:
    """Return the description of each parameter of *owner*, from the `Args` of its docstring and of its bases'."""
    texts: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        _, _, entries = inspect.cleandoc(base.__doc__ or "").partition("Args:\n")
        texts |= ENTRY.findall(entries)
    return texts


def with_parameters(docstring: str | None, owner: type) -> str | None:
    """Return *docstring* with *owner*'s parameters as its `Args`, before `Raises`; None under `python -OO`."""
    if docstring is None:
        return None
    descriptions = describe_parameters(owner)
    entries = [f"    {name}: {descriptions[name]}" for name in inspect.signature(owner).parameters]
    text = ARGS.sub("\n", inspect.cleandoc(docstring))
    head, raises, tail = text.partition("\n\nRaises:\n")
    return "\n".join([f"{head.rstrip()}\n", "Args:", *entries]) + raises + tail


def documented(texts: Collection[str]) -> Callable[[type[T]], type[T]]:
    """
    Let a request class describe all of its parameters, and show their types plainly.

    Args:
        texts: Names of types that are text and literals, shown as `str`.
    """
    names = re.compile(rf"\b(?:{'|'.join(texts)})\b")

    def document(owner: type[T]) -> type[T]:
        owner.__doc__ = with_parameters(owner.__doc__, owner)
        constructor = vars(owner)["__init__"]
        constructor.__annotations__ = {
            name: PlainAnnotation(names.sub("str", annotation)) if isinstance(annotation, str) else annotation
            for name, annotation in constructor.__annotations__.items()
        }
        return owner

    return document
