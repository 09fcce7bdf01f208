"""The names of parametrized rows."""

from __future__ import annotations

import pytest
from parameters import name_parameter

from burncloud_images.emulator import Fault


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"n": 2, "user": ""}, "n=2"),
        ({"error": {"code": "slow", "kind": int}}, "error=(code=slow kind=int)"),
        ({"b", "a"}, "a b"),
        ([b"\x00" * 5000], "5000 of bytes"),
        ((), "empty tuple"),
        (OSError(5, "no"), "OSError(5, 'no')"),
        ("text", None),
        ([object()], None),
    ],
    ids=["mapping", "nested mapping", "set", "long bytes", "empty", "exception", "text", "no stable name"],
)
def test_a_row_is_named_by_its_value(value, name):
    """A row has the name of what it holds, unless pytest's own name is as good or differs between processes."""
    assert name == name_parameter(value)


def test_a_value_object_is_named_by_what_was_given():
    """Fields that have their defaults are left out of the name."""
    assert "status=429 retry_after=2" == name_parameter(Fault(status=429, retry_after=2))


def test_long_names_stay_apart():
    """A name that is cut keeps a checksum of the whole."""
    one, other = (name_parameter(["x" * 200 + end]) for end in "ab")

    assert one != other
    assert len(one) == len(other) < 100
