"""The orientation is found in EXIF data of any byte order, and damaged data says nothing."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.model.exif import find_orientation

ORDERS = {"<": b"II*\0", ">": b"MM\0*"}


def tiff(order, *entries, start=8):
    """Return EXIF data whose first directory has *entries*: tag, type, and the bytes of the value."""
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(
        struct.pack(f"{order}HHI", tag, kind, 1) + value.ljust(4, b"\0") for tag, kind, value in entries
    )
    return ORDERS[order] + struct.pack(f"{order}I", start) + bytes(start - 8) + directory + bytes(4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "code"), [(1, "B"), (3, "H"), (4, "I")])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0", b"Exif\0\0Exif\0\0"])
def test_orientation_is_found_in_both_byte_orders(order, orientation, kind, code, prefix):
    """Other entries, a directory farther on, and types that only some programs write do not hide it."""
    entry = (0x0112, kind, struct.pack(order + code, orientation))
    camera = (0x010F, 2, b"otte")

    assert orientation == find_orientation(prefix + tiff(order, camera, entry, start=20))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Exif\0\0",
        b"II*\0",
        b"XX*\0\x08\0\0\0",
        tiff("<"),
        tiff("<", (0x010F, 3, b"\x06")),
        tiff("<", (0x0112, 3, b"\x00")),
        tiff("<", (0x0112, 3, b"\x09")),
        tiff("<", (0x0112, 2, b"6")),
        tiff(">", (0x0112, 3, b"\0\x06"))[:-8],
        b"MM\0*\xff\xff\xff\xff" + bytes(40),
        b"MM\0*\0\0\0\x08\xff\xff" + bytes(40),
    ],
)
def test_damaged_data_is_upright(data):
    """A value out of range, another type, or an end that is missing says nothing."""
    assert 1 == find_orientation(data)


@given(st.sampled_from([b"II*\0", b"MM\0*", b""]), st.binary(max_size=60))
def test_any_bytes_give_an_orientation(head, rest):
    """Whatever the bytes are, nothing raises."""
    assert find_orientation(head + rest) in range(1, 9)
