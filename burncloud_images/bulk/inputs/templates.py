"""Templates of prompts over the columns of a row: `{animal} in the style of {style}`; braces themselves are doubled."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from burncloud_images.bulk.inputs.columns import ColumnNames, UnusableRow, clip, simplify

PART = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|[{}]|[^{}]+")


@attrs.frozen
class Template:
    """
    A prompt with places for the columns of a row.

    Attributes:
        parts: Text, and names of columns.
    """

    parts: tuple[tuple[str, bool], ...]

    @classmethod
    def of(cls, text: str) -> Template:
        """
        Return the template that *text* is.

        Raises:
            UnusableRow: A brace stands alone, or around nothing.
        """
        parts: list[tuple[str, bool]] = []
        for found in PART.finditer(text):
            name, part = found["name"], found[0]
            if name is not None and name.strip():
                parts.append((name.strip(), True))
            elif name is not None or part in {"{", "}"}:
                place = f"{part} at character {found.start() + 1} of the template"
                raise UnusableRow(f"{place} names no column; write {{{{ and }}}} for braces")
            else:
                parts.append((part[0] if part in {"{{", "}}"} else part, False))
        if not any(is_name for _, is_name in parts):
            raise UnusableRow("the template names no column, as {animal} would")
        return cls(tuple(parts))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it names."""
        return tuple(part for part, is_name in self.parts if is_name)

    def under(self, names: ColumnNames) -> Template:
        """Return it with the columns that the list calls something else under their own names."""
        return Template(tuple((names.to_column(part) if is_name else part, is_name) for part, is_name in self.parts))

    def fill(self, values: Mapping[str, object]) -> str:
        """
        Return the prompt of a row.

        Raises:
            UnusableRow: A column is missing or empty, or is neither text nor a number.
        """
        given = {simplify(name): value for name, value in values.items()}
        return "".join(to_text(part, given) if is_name else part for part, is_name in self.parts)


def to_text(name: str, given: Mapping[str, object]) -> str:
    value = given.get(simplify(name))
    if value is None or (isinstance(value, str) and not value.strip()):
        raise UnusableRow(f"template: the column {clip(name, 40)!r} is missing or empty")
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        raise UnusableRow(f"template: the column {clip(name, 40)!r} is neither text nor a number")
    return str(value).strip()
