"""
Which images a body holds, by the standard library alone: nothing of the package is imported here.

A body is JSON, events of JSON, or an image itself. It may be compressed, in any encoding of Unicode that `json` knows,
and cut anywhere; a text counts if it is a whole PNG in base64, in either alphabet, with or without padding, with white
space in it, and as a `data:` URL.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterable, Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = b"\0\0\0\0IEND\xaeB\x60\x82"
SPACE = re.compile(r"[ \t\r\n]+")
DATA_URL = re.compile(r"[ \t\r\n]*data:[^,]{0,200};base64,", re.IGNORECASE)
LINE_END = re.compile(r"\r\n|\r|\n")
ESCAPE = re.compile(r"\\u00([0-7][0-9a-fA-F])")
STANDARD = str.maketrans("-_", "+/")
GZIP_OR_ZLIB, RAW = 47, -15
MOST_LAYERS = 3
PREVIEWS = ("partial_image", "preview", "thumbnail", "progress")
"""Words in the names of events that say of an image that it is not the one that was asked for."""


def find_images(body: bytes, encoding: str = "", *, previews: bool = True) -> set[bytes]:
    """
    Return all whole PNGs in *body*.

    Args:
        body: As it is sent.
        encoding: Its Content-Encoding.
        previews: Whether those of events that say that they are previews count.
    """
    plain = inflate(body, encoding)
    if is_png(plain):
        return {plain}
    documents = to_documents(to_text(plain))
    if documents is None:
        documents = to_events(to_text(plain), previews=previews)
    return {image for document in documents for word in to_texts(document) if (image := to_png(word)) is not None}


def is_json(body: bytes, encoding: str = "") -> bool:
    """Whether *body* is one document, and neither events nor an image."""
    return to_documents(to_text(inflate(body, encoding))) is not None


def to_text(plain: bytes) -> str:
    return plain.decode(json.detect_encoding(plain), "replace").removeprefix("\ufeff")


def inflate(body: bytes, encoding: str) -> bytes:
    """Return *body* uncompressed, which it may be more than once, or as it is."""
    for _ in range(MOST_LAYERS):
        for bits in (GZIP_OR_ZLIB, *([RAW] if encoding == "deflate" else [])):
            inflater = zlib.decompressobj(bits)
            try:
                plain = inflater.decompress(body) + inflater.flush()
            except zlib.error:
                continue
            if inflater.eof:
                body = plain
                break
        else:
            return body
    return body


def to_documents(text: str) -> list[object] | None:
    """Return the JSON that *text* is; None if it is something else."""
    try:
        return [json.loads(text)]
    except (ValueError, RecursionError):
        return None


def to_events(text: str, *, previews: bool) -> Iterator[object]:
    """Yield the JSON of each event of *text* that a blank line ends, up to the one that is said to be the last."""
    name, data = "", []
    for line in LINE_END.split(text):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line:
            name = value if field == "event" else name
            data += [value] if field == "data" else []
            continue
        joined = "\n".join(data)
        if joined.strip() == "[DONE]":
            return
        for document in to_documents(joined) or ():
            if previews or not is_preview(name, document):
                yield document
            if isinstance(document, dict) and document.get("error"):
                return
        name, data = "", []


def is_preview(name: str, document: object) -> bool:
    kind = document.get("type") if isinstance(document, dict) else None
    return any(word in told for told in (name, str(kind)) for word in PREVIEWS)


def to_texts(document: object) -> Iterator[str]:
    """Yield all texts of *document* but its names."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def to_png(text: str) -> bytes | None:
    """Return the whole PNG that *text* is in base64; None if it is something else."""
    bare = SPACE.sub("", DATA_URL.sub("", text, count=1)).translate(STANDARD).rstrip("=")
    try:
        found = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if is_png(found) else None


def is_png(data: bytes) -> bool:
    return data.startswith(SIGNATURE) and data.endswith(END)


def is_kept(image: bytes, held: Iterable[bytes]) -> bool:
    """Whether *image* is one of what was *held*, or is in it: as it is, or in base64 with any escapes."""
    text = base64.b64encode(image).decode().rstrip("=")
    return any(image in one or (len(one) >= len(image) and text in to_bare(one)) for one in held)


def to_bare(data: bytes) -> str:
    """Return the text of a body, whole or not, in which all base64 is written in one way."""
    plain = inflate(data, "")
    text = f"{to_text(plain)} {plain.decode('latin-1')}"  # zeros at the beginning say nothing certain of the encoding
    text = ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    return SPACE.sub("", text.replace("\\/", "/").replace("\\n", "").replace("\\r", "")).translate(STANDARD)
