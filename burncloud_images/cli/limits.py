"""Numbers that options of a job can have, the same for `batch` and `plan`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from burncloud_images.cli.exits import UsageError
from burncloud_images.cli.options import option_name

AT_LEAST: Mapping[str, float] = {"concurrency": 1, "limit": 1, "max_images": 0, "deadline": 0}
MORE_THAN_NOTHING = ("rpm", "ipm", "tpm")
TINY = 1e-9
"""What is as good as 0: a job at such a pace takes longer than a float can say."""


def check_numbers(values: Mapping[str, Any]) -> None:
    """
    Refuse numbers that a job cannot be run with.

    Args:
        values: What was given, by field.

    Raises:
        UsageError: A value is none that its option can have.
    """
    for name, least in AT_LEAST.items():
        if (value := values.get(name)) is not None and not value >= least:  # so written, it refuses nan too
            raise UsageError(f"{option_name(name)} has to be at least {least:g}.")
    for name in (*MORE_THAN_NOTHING, *AT_LEAST):
        if (value := values.get(name)) is None:
            continue
        if name in MORE_THAN_NOTHING and not value > TINY:
            raise UsageError(f"{option_name(name)} has to be more than 0.")
        if math.isinf(value):
            raise UsageError(f"{option_name(name)} cannot be infinite; leave it out for no limit.")
