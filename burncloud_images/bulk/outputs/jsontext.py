"""
JSON text that every reader takes, whatever a prompt holds.

Rule 1: half a surrogate pair, which UTF-8 cannot hold and strict parsers refuse, becomes U+FFFD.
Rule 2: a line has no character at which some reader splits lines, so one value is one line for all of them.
Rule 3: a script holds nothing that ends a `<script>` element or begins a comment.

Source: RFC 8259 §8; HTML §4.12.1.3, restrictions for contents of script elements.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime

SPLITTING = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"})
"""Control characters, at which lines are split as well, are escaped in JSON anyhow."""
MARKUP = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "<>&"})


def to_line(value: object) -> bytes:
    """Return *value* as one line with its end."""
    return encode(f"{dump(value)}\n")


def to_pretty(value: object) -> bytes:
    """Return *value* as an indented document."""
    return encode(f"{dump(value, indent=2)}\n")


def to_script(value: object) -> str:
    """Return *value* as text that may stand in JavaScript, also within HTML."""
    return well_formed(dump(value).translate(MARKUP))


def dump(value: object, indent: int | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, default=to_text)
    return text.translate(SPLITTING) if not text.isascii() else text


def to_text(value: object) -> str:
    """Return what stands for a value that JSON does not know; a time is written as RFC 3339 has it."""
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)


def encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return well_formed(text).encode()


def well_formed(text: str) -> str:
    """Return *text* as UTF-8 can hold it."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def plain(value: object) -> object:
    """Return what others handed over as values that JSON knows; a number that is none, and all else, as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping():
            return {str(name): plain(part) for name, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(part) for part in value]
    return to_text(value)
