"""
The orientation in EXIF data: how viewers turn a picture before they show it.

Source:
    CIPA DC-008 (Exif 2.32) §4.5 and §4.6.4 A; TIFF 6.0 §2.
"""

from __future__ import annotations

import struct

UPRIGHT = 1
ORIENTATION = 0x0112
ORIENTATIONS = range(1, 9)
ON_ITS_SIDE = 5
"""From here on, width and height change places."""

PREFIX = b"Exif\0\0"
"""What stands before the data in a JPEG segment; some programs write it in other files as well."""
BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
NUMBERS = {1: "B", 3: "H", 4: "I"}
"""The TIFF types that programs have written an orientation in; SHORT is right."""
ENTRY = 12


def find_orientation(exif: bytes) -> int:
    """Return the orientation of the picture that *exif* describes: 1 if it does not say, or is damaged."""
    data = exif
    while data.startswith(PREFIX):
        data = data[len(PREFIX) :]
    order = BYTE_ORDERS.get(data[:4])
    if order is None:
        return UPRIGHT
    try:
        value = read_directory(data, order)
    except struct.error:
        return UPRIGHT
    return value if value in ORIENTATIONS else UPRIGHT


def read_directory(data: bytes, order: str) -> int:
    """Return the orientation in the first directory, that of the picture; those behind it are of thumbnails."""
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for place in range(start + 2, start + 2 + ENTRY * count, ENTRY):
        tag, kind = struct.unpack_from(f"{order}HH", data, place)
        if tag == ORIENTATION and kind in NUMBERS:
            (value,) = struct.unpack_from(order + NUMBERS[kind], data, place + 8)
            return int(value)
    return UPRIGHT
