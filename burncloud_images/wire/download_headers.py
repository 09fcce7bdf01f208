"""
What the headers of a download say about the file behind it.

The file's length and checksums, and whether it is still the same file when a download resumes.

Source: RFC 9110 §8.6 (length), §8.8 (validators), §13.1.5 (If-Range), §14 (ranges); RFC 9530 (digests); RFC 1864
(Content-MD5); the stores' own names for the same checksum.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta

import attrs

from burncloud_images.wire.headers import find_date

NUMBER = r"[0-9]{1,18}"
LENGTH = re.compile(NUMBER, re.ASCII)
STRONG_TAG = re.compile(r'"[!\x23-\x7e]*"', re.ASCII)
CONTENT_RANGE = re.compile(rf"bytes (?:({NUMBER})-({NUMBER})|\*)/({NUMBER}|\*)", re.ASCII | re.IGNORECASE)
PLAIN_MD5 = re.compile(r"()([A-Za-z0-9+/=]+)", re.ASCII)
DIGEST = re.compile(r"(sha-256|sha-512)=:([A-Za-z0-9+/=]+):", re.ASCII)
STORED_HASH = re.compile(r"(md5)=([A-Za-z0-9+/=]+)", re.ASCII)
SETTLED = timedelta(seconds=60)
"""A file can change twice within a second, which its date then does not show; a minute later it is past that."""

ALGORITHMS = {"": "md5", "md5": "md5", "sha-256": "sha256", "sha-512": "sha512"}
CHECKSUM_HEADERS = {
    "content-md5": PLAIN_MD5,
    "x-ms-blob-content-md5": PLAIN_MD5,
    "x-goog-hash": STORED_HASH,
    "content-digest": DIGEST,
    "repr-digest": DIGEST,
}


@attrs.frozen(kw_only=True)
class ExpectedChecksum:
    """
    What the whole file's checksum has to be.

    Attributes:
        header: Which header says so.
        algorithm: As hashlib calls it.
        digest: Bytes.
    """

    header: str
    algorithm: str
    digest: bytes


@attrs.frozen(kw_only=True)
class RemoteFile:
    """
    What an answer with a whole file says about it.

    Attributes:
        length: Bytes, if it says.
        validator: For `If-Range`; None if the rest cannot be asked for without risk of getting that of another file.
        checksums: Those that it names and that can be computed here.
    """

    length: int | None = None
    validator: str | None = None
    checksums: tuple[ExpectedChecksum, ...] = ()


@attrs.frozen(kw_only=True)
class ContentRange:
    """
    Which part of a file came.

    Attributes:
        start: Of its first byte; None if none came.
        stop: Past its last byte; None if none came.
        total: Length of the file, if it is told.
    """

    start: int | None
    stop: int | None
    total: int | None


def find_remote_file(headers: Mapping[str, str]) -> RemoteFile:
    """
    Return what an answer 200 says about its file.

    Args:
        headers: With lower-case names.
    """
    length = headers.get("content-length", "").strip()
    return RemoteFile(
        length=int(length) if LENGTH.fullmatch(length) else None,
        validator=find_validator(headers),
        checksums=tuple(checksums(headers)),
    )


def find_validator(headers: Mapping[str, str]) -> str | None:
    if headers.get("accept-ranges", "").strip().lower() == "none":
        return None
    if "etag" in headers:  # §13.1.5: a date is for files without a tag, and a weak tag is for none
        tag = headers["etag"].strip()
        return tag if STRONG_TAG.fullmatch(tag) else None
    modified, now = find_date(headers, "last-modified"), find_date(headers)
    settled = modified is not None and now is not None and now - modified >= SETTLED
    return headers["last-modified"].strip() if settled else None


def checksums(headers: Mapping[str, str]) -> Iterator[ExpectedChecksum]:
    for header, pattern in CHECKSUM_HEADERS.items():
        for name, text in pattern.findall(headers.get(header, "")):
            algorithm = ALGORITHMS[name]
            digest = from_base64(text)
            if len(digest) == hashlib.new(algorithm, usedforsecurity=False).digest_size:
                yield ExpectedChecksum(header=header, algorithm=algorithm, digest=digest)


def from_base64(text: str) -> bytes:
    """Return what *text* encodes; nothing if it is not valid base64, so that a broken header is ignored."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def find_content_range(headers: Mapping[str, str]) -> ContentRange | None:
    """
    Return what `Content-Range` says; None if it says nothing that makes sense.

    Args:
        headers: With lower-case names.
    """
    match = CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if match is None:
        return None
    first, last, total = (int(text) if text and text != "*" else None for text in match.groups())
    if first is None or last is None:
        return ContentRange(start=None, stop=None, total=total)
    backwards = last < first or (total is not None and last >= total)
    return None if backwards else ContentRange(start=first, stop=last + 1, total=total)
