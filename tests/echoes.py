"""A key in the spellings in which servers echo it."""

from __future__ import annotations

import base64
import html
import json
import re
from urllib.parse import quote, unquote

KEY = "sk-Can/ary+5d_1c.E=0123456789abcdefXYZ"


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def spellings_of(key: str) -> dict[str, str]:
    """Return texts, as they stand on a page or in a value of JSON."""

    def each(form: str) -> str:
        return "".join(form.format(ord(letter)) for letter in key)

    last = key[-1]
    return {
        "plain": key,
        "lower case": key.lower(),
        "escaped slashes": key.replace("/", "\\/"),
        "escaped in JSON": each("\\u{:04x}"),
        "escaped in JSON, upper case": each("\\u{:04X}"),
        "escaped in JSON twice": each("\\\\u{:04x}"),
        "some letters escaped": f"{key[:-1]}%{ord(last):02X}".replace("a", "\\u0061").replace("+", "\\u002B"),
        "escaped as in Python": each("\\x{:02x}"),
        "encoded for a URL": quote(key, safe=""),
        "encoded for a URL, lower case": quote(key, safe="").lower(),
        "encoded for a URL twice": quote(quote(key, safe=""), safe=""),
        "every letter encoded for a URL": each("%{:02x}"),
        "every letter encoded for a URL twice": each("%25{:02X}"),
        "HTML": html.escape(key),
        "HTML, by number": each("&#{:d};"),
        "HTML, by hexadecimal number": each("&#x{:X};"),
        "HTML, by number twice": each("&amp;#{:05d};"),
        "HTML, by name": key.replace("/", "&sol;").replace("+", "&plus;").replace("_", "&lowbar;"),
        "base64": in_base64(key),
        "base64 of the header": in_base64(f"Bearer {key}"),
        "base64 of a name and the key": in_base64(f"ab:{key}"),
        "base64 for URLs": base64.urlsafe_b64encode(f"Bearer {key}>>>".encode()).decode(),
        "base64 encoded for a URL": quote(in_base64(f"Bearer {key}"), safe=""),
        "base64 with escaped slashes": in_base64(f"?{key}???").replace("/", "\\/"),
    }


SPELLINGS = spellings_of(KEY)


def decoded(text: str) -> str:
    """Return *text* followed by what it says once all its escapes are undone, in every order that matters."""
    seen = [text]
    for _ in range(3):
        text = unquote(html.unescape(text))
        text = re.sub(r"\\+(?:u00|x)([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), text)
        text = re.sub(r"\\+([^A-Za-z0-9])", r"\1", text)
        seen.append(text)
    for run in set(re.findall(r"[A-Za-z0-9+/_-]{12,}", " ".join(seen))):
        for start in range(4):
            piece = run[start:].replace("-", "+").replace("_", "/")
            seen.append(base64.b64decode(piece[: len(piece) // 4 * 4] + "", validate=False).decode("latin-1"))
    return "\n".join(seen)


def holds_key(text: str, key: str = KEY) -> bool:
    """Say whether *text* shows the key, or half of it, to somebody who undoes escapes."""
    shown = decoded(text).lower()
    half = len(key) // 2
    return any(part.lower() in shown for part in (key[:half], key[half:]))


def as_json(text: str) -> str:
    """Return the JSON in which *text* stands as it is, escapes and all, as servers write it that escape more."""
    quoted = json.dumps(text)
    return quoted if "\\x" in text else quoted.replace("\\\\", "\\")
