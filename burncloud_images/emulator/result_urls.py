"""Result URLs: signed, valid for a limited time, and served without the API key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import parse_qs, urlencode, urlsplit

import attrs

from burncloud_images.emulator.errors import HTTPAnswer

PREFIX = "/emulator/results/"
MAX_RESULTS = 1_000
MAX_BYTES = 512 * 1024 * 1024

SETTLED = 60.0
"""Seconds after which a modification date is a strong validator (RFC 9110 §8.8.2.2)."""
PNG_HEADER = 33
"""Bytes of a PNG file up to the end of its first chunk."""
PNG_END = 12

NOT_FOUND = "BlobNotFound", "The specified blob does not exist."
FORBIDDEN = (
    "AuthenticationFailed",
    "Server failed to authenticate the request. Make sure the signature of the URL is correct and not expired.",
)


def to_epoch(now: float | datetime) -> float:
    """Return seconds since 1970."""
    return now.timestamp() if isinstance(now, datetime) else float(now)


@attrs.frozen(kw_only=True)
class StoredResult:
    """
    An image behind a URL.

    Attributes:
        made: Seconds since 1970.
    """

    content: bytes = attrs.field(repr=False)
    media_type: str
    made: float


class ResultCache:
    """Keeps the newest results, signs their URLs and verifies them."""

    def __init__(self, clock: Callable[[], float], lifetime: float) -> None:
        self.clock = clock
        self.lifetime = lifetime
        self.results: OrderedDict[str, StoredResult] = OrderedDict()
        self.size = 0
        self.count = 0
        # Not a secret: it only signs URLs of images that this server drew.
        self.secret = b"burncloud-images emulator"

    def put(self, content: bytes, media_type: str, extension: str, *, expired: bool = False) -> str:
        """Store *content* and return its path with a signed query."""
        self.count += 1
        made = self.clock()
        digest = hashlib.sha256(content).hexdigest()
        path = f"{PREFIX}{self.count:06d}-{digest[:16]}.{extension}"
        self.results[path] = StoredResult(content=content, media_type=media_type, made=made)
        self.size += len(content)
        while len(self.results) > MAX_RESULTS or (self.size > MAX_BYTES and len(self.results) > 1):
            _, oldest = self.results.popitem(last=False)
            self.size -= len(oldest.content)
        start, end = to_time(made), to_time(made - 1 if expired else made + self.lifetime)
        query = {"st": start, "se": end, "sp": "r", "sr": "b", "rsct": media_type, "sig": self.sign(path, end)}
        return f"{path}?{urlencode(query)}"

    def sign(self, path: str, end: str) -> str:
        digest = hmac.digest(self.secret, f"{path}\n{end}".encode(), "sha256")
        return base64.b64encode(digest).decode()

    def find(self, url: str) -> tuple[str, bytes] | None:
        """Return the media type and bytes behind a URL of this server; None if it is not valid."""
        parts = urlsplit(url)
        answer = self.look_up(parts.path, parts.query)
        return None if isinstance(answer, HTTPAnswer) else (answer.media_type, answer.content)

    def look_up(self, path: str, query: str) -> StoredResult | HTTPAnswer:
        values = parse_qs(query)
        end, signature = values.get("se", [""])[0], values.get("sig", [""])[0]
        if not hmac.compare_digest(signature.encode(), self.sign(path, end).encode()):
            return storage_error(403, *FORBIDDEN, detail="Signature did not match.")
        now = self.clock()
        if now >= datetime.fromisoformat(end).timestamp():
            detail = f"Signature not valid in the specified time frame: Expiry [{end}] - Current [{to_time(now)}]"
            return storage_error(403, *FORBIDDEN, detail=detail)
        return self.results.get(path) or storage_error(404, *NOT_FOUND)

    def answer(self, path: str, query: str, headers: Mapping[str, str], *, store: str | None = None) -> HTTPAnswer:
        """Return the answer to a download of *path*: the image, the requested range of it, or an error."""
        found = self.look_up(path, query)
        if isinstance(found, HTTPAnswer):
            return found
        if store == "replaced":
            found = self.results[path] = attrs.evolve(found, content=retouch(found.content), made=self.clock())
        if store == "truncated":
            found = attrs.evolve(found, content=found.content[:-PNG_END])
        answer = to_answer(found, {} if store == "ignores-range" else headers, self.clock())
        return misplace(answer, found, store) if answer.status == 206 else answer


def to_time(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_http_date(epoch: float) -> str:
    """Return a time in the format of HTTP headers."""
    return format_datetime(datetime.fromtimestamp(int(epoch), UTC), usegmt=True)


def retouch(content: bytes) -> bytes:
    """Return another PNG file that looks like *content*; it differs near the beginning."""
    if not content.startswith(b"\x89PNG"):
        return content
    update = b"tEXtComment\0drawn anew"
    encode_chunk = struct.pack(">I", len(update) - 4) + update + struct.pack(">I", zlib.crc32(update))
    return content[:PNG_HEADER] + encode_chunk + content[PNG_HEADER:]


def misplace(answer: HTTPAnswer, result: StoredResult, store: str | None) -> HTTPAnswer:
    """Return another range, or one without `Content-Range`, if *store* says so."""
    size = len(result.content)
    if store == "wrong-range":
        about = {**answer.headers, "Content-Range": f"bytes 0-{size - 1}/{size}"}
        return attrs.evolve(answer, body=result.content, headers=about)
    if store == "no-range":
        about = {name: value for name, value in answer.headers.items() if name != "Content-Range"}
        return attrs.evolve(answer, headers=about)
    return answer


def to_answer(result: StoredResult, headers: Mapping[str, str], now: float) -> HTTPAnswer:
    digest = hashlib.md5(result.content, usedforsecurity=False).digest()
    tag = f'"0x{hashlib.sha256(digest + to_http_date(result.made).encode()).hexdigest()[:15].upper()}"'
    modified = to_http_date(result.made)
    checksum = base64.b64encode(hashlib.sha256(result.content).digest()).decode()
    about = {
        "Content-Type": result.media_type,
        "ETag": tag,
        "Last-Modified": modified,
        "Accept-Ranges": "bytes",
        "Repr-Digest": f"sha-256=:{checksum}:",
    }
    wanted = headers.get("Range")
    same = {tag, modified} if now - result.made >= SETTLED else {tag}
    if wanted is None or headers.get("If-Range", tag) not in same:
        return HTTPAnswer(body=result.content, headers={**about, "Content-MD5": base64.b64encode(digest).decode()})
    size = len(result.content)
    span = to_span(wanted, size)
    if span is None:
        error = storage_error(416, "InvalidRange", "The range specified is invalid for the current size.")
        return attrs.evolve(error, headers={**error.headers, "Content-Range": f"bytes */{size}"})
    about["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    return HTTPAnswer(status=206, body=result.content[span], headers=about)


def to_span(header: str, size: int) -> slice | None:
    """Return the single range that *header* asks for, if *size* bytes have it (RFC 9110 §14.1.2)."""
    unit, _, text = header.partition("=")
    first, dash, last = text.strip().partition("-")
    if unit.strip() != "bytes" or not dash or not (first or last) or not (first + last).isdecimal():
        return None
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    return slice(start, stop) if start < stop else None


def storage_error(status: int, code: str, message: str, *, detail: str = "") -> HTTPAnswer:
    more = f"<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail>" if detail else ""
    text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>'
    return HTTPAnswer(
        status=status, body=text.encode(), headers={"Content-Type": "application/xml", "x-ms-error-code": code}
    )
