"""The kinds of limit: each is a value that refuses a field's value, in the API's own form."""

# ruff: noqa: ARG002 (every kind is asked in the same way, and most look at the value alone)
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

import attrs

from burncloud_images.emulator.answers import Refusal


class Check(Protocol):
    """Refuses a value, or lets it pass."""

    def __call__(self, name: str, value: Any, fields: Mapping[str, Any]) -> None:  # noqa: ANN401 (anything arrives)
        """Raise `Refusal` if *value* is not allowed."""


def invalid(name: str, value: object, wanted: str, code: str = "invalid_value") -> Refusal:
    return Refusal(f"{name} is {value!r}; it has to be {wanted}.", param=name, code=code)


@attrs.frozen
class Text:
    """A string."""

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if not isinstance(value, str):
            raise invalid(name, value, "a string", "invalid_type")


@attrs.frozen
class Switch:
    """True or false; true only where the model can do it."""

    possible: bool = True

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if not isinstance(value, bool):
            raise invalid(name, value, "true or false", "invalid_type")
        if value and not self.possible:
            raise Refusal(f"{fields['model']} does not {name}.", param=name, code="unsupported_parameter")


@attrs.frozen
class Choice:
    """One of a closed list."""

    values: tuple[str, ...]

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if value not in self.values:
            raise invalid(name, value, f"one of {', '.join(self.values)}")


@attrs.frozen
class Range:
    """A whole number within bounds, both included."""

    low: int
    high: int

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise invalid(name, value, "a whole number", "invalid_type")
        if not self.low <= value <= self.high:
            code = "integer_below_min_value" if value < self.low else "integer_above_max_value"
            raise invalid(name, value, f"from {self.low} to {self.high}", code)


@attrs.frozen
class Length:
    """A string of so many characters, at least one."""

    most: int
    least: int = 1

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if not isinstance(value, str):
            raise invalid(name, value, "a string", "invalid_type")
        if not self.least <= len(value) <= self.most:
            code = "string_above_max_length" if value else "empty_string"
            wanted = f"{self.least} to {self.most} characters long"
            raise Refusal(f"{name} is {len(value)} characters long; it has to be {wanted}.", param=name, code=code)


@attrs.frozen
class Absent:
    """A field that the model does not have."""

    code: str = "unknown_parameter"

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        raise Refusal(f"{fields['model']} has no parameter {name!r}.", param=name, code=self.code)


@attrs.frozen
class OnlyWith:
    """A value that goes only with another field's value; None among them says that the other may be left out."""

    other: str
    values: tuple[object, ...]
    only_for: object = None

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if self.only_for is not None and value != self.only_for:
            return
        if fields.get(self.other) not in self.values:
            wanted = " or ".join("left out" if value is None else str(value) for value in self.values)
            raise Refusal(f"{name} {value!r} needs {self.other} to be {wanted}.", param=name, code="invalid_value")


@attrs.frozen
class AnySize:
    """`auto` or WIDTHxHEIGHT in steps of 16, at most 3:1 or 1:3, at most 3840x2160 in either orientation."""

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if value == "auto":
            return
        match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", str(value), re.ASCII)
        if match is None:
            raise invalid(name, value, "auto or WIDTHxHEIGHT")
        short, long = sorted(map(int, match.groups()))
        problems = {
            "in multiples of 16": short % 16 or long % 16,
            "from 1:3 to 3:1": long > 3 * short,
            "at most 3840x2160 or 2160x3840": long > 3840 or short > 2160,
        }
        for wanted, problem in problems.items():
            if problem:
                raise invalid(name, value, wanted)


@attrs.frozen
class Object:
    """The `svg` field: `{"model": …, "reasoning": {"effort": …}}`."""

    efforts = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

    def __call__(self, name: str, value: object, fields: Mapping[str, Any]) -> None:
        if not isinstance(value, dict):
            raise invalid(name, value, "an object", "invalid_type")
        if not isinstance(value.get("model"), str):
            raise Refusal(f"{name}.model is missing.", param=f"{name}.model", code="missing_required_parameter")
        reasoning = value.get("reasoning") or {}
        effort = reasoning.get("effort") if isinstance(reasoning, dict) else reasoning
        if effort is not None and effort not in self.efforts:
            raise invalid(f"{name}.reasoning.effort", effort, f"one of {', '.join(self.efforts)}")
