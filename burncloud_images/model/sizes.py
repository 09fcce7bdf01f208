"""Sizes that a model takes, from the shape of a picture and its number of pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

from burncloud_images.errors import InvalidRequestError, Violation

PIXELS = 1_000_000
STEP = 16
MAX_EDGE = 100_000
CLOSE = 0.02
"""How much a size that a model has may differ from the shape that is wanted: 1792x1024 counts as 16:9."""


def fit(ratio: str | float, *, pixels: int = PIXELS, model: str | None = "gpt-image-2") -> str:
    """
    Return the size whose shape and number of pixels are nearest to what is wanted: `fit("16:9")` is `1328x752`.

    Args:
        ratio: Width to height, as `16:9`, `3:2` or 1.5.
        pixels: About how many there shall be. A model that has fixed sizes decides it.
        model: What the size is for. For one whose limits are not known, the edges are multiples of 16.

    Raises:
        InvalidRequestError: The ratio cannot be read, or the model takes no such size.
    """
    shape = to_number(ratio)
    if isinstance(pixels, bool) or not 1 <= pixels <= MAX_EDGE**2:
        raise refusal(f"{pixels} is not a number of pixels")
    fixed = find_fixed(model)
    candidates = fixed or list(sizes_near(shape, pixels, model))
    if fixed:
        near = [size for size in fixed if abs(math.log(size[0] / size[1] / shape)) <= CLOSE]
        if not near:
            raise refusal(f"{model} has no size of {ratio}; it takes {', '.join(map(to_size, fixed))}")
        candidates = near
    if not candidates:
        raise refusal(f"{model} takes no size of {ratio} and about {pixels:,} pixels")
    return to_size(min(candidates, key=lambda size: distance(size, shape, pixels)))


def to_number(ratio: str | float) -> float:
    """Return width divided by height."""
    width, _, height = str(ratio).partition(":")
    try:
        shape = float(width) / float(height or 1)
    except (ValueError, ZeroDivisionError):
        shape = math.nan
    if isinstance(ratio, bool) or not 1 / MAX_EDGE < shape < MAX_EDGE:
        raise refusal(f"{ratio!r} is not a ratio; write it as 16:9 or 1.5")
    return shape


def find_fixed(model: str | None) -> list[tuple[int, int]]:
    """Return the sizes of a model that takes a few; none for one that takes any."""
    from burncloud_images.model.rule_kinds import OneOf
    from burncloud_images.model.rules import find_rules, without_date

    rows = find_rules("generations", without_date(model)).get("size", ())
    names = [name for row in rows if isinstance(row.limit, OneOf) for name in row.limit.values if name != "auto"]
    return [(int(width), int(height)) for width, _, height in (name.partition("x") for name in names)]


def sizes_near(shape: float, pixels: int, model: str | None) -> Iterator[tuple[int, int]]:
    """Yield the sizes about the wanted one that the model takes."""
    from burncloud_images.model.rules import field_violations

    width, height = math.sqrt(pixels * shape), math.sqrt(pixels / shape)
    for size in product(steps_near(width), steps_near(height)):
        violations = field_violations("generations", {"model": model, "size": to_size(size)})
        if not any(violation.field == "size" for violation in violations):
            yield size


def steps_near(edge: float) -> Iterator[int]:
    middle = int(edge // STEP)
    return (STEP * step for step in range(max(1, middle - 1), middle + 3))


def distance(size: tuple[int, int], shape: float, pixels: int) -> float:
    width, height = size
    return abs(math.log(width / height / shape)) + abs(math.log(width * height / pixels))


def to_size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def refusal(message: str) -> InvalidRequestError:
    return InvalidRequestError([Violation("size", message)])
