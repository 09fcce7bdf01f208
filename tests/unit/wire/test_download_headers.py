"""What the headers of a download say: nothing is read from a header that is broken."""

from __future__ import annotations

import base64
import hashlib

import pytest

from burncloud_images.wire.download_headers import ContentRange, find_content_range, find_remote_file

DATE = "Tue, 24 Nov 2026 12:00:00 GMT"
DATA = b"an otter"


def b64(algorithm, data=DATA):
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode()


class TestLength:
    @pytest.mark.parametrize(("text", "expected"), [("0", 0), (" 12 ", 12), ("9" * 18, 10**18 - 1)])
    def test_is_read(self, text, expected):
        """The length is read as bytes."""
        assert expected == find_remote_file({"content-length": text}).length

    @pytest.mark.parametrize("text", ["", "-1", "1.5", "1e3", "\u0663", "1_000", "9" * 19, "5, 5"])
    def test_is_unknown_if_it_is_no_number(self, text):
        """A length that is not a plain number is unknown, even if Python would parse it."""
        assert find_remote_file({"content-length": text}).length is None


class TestValidator:
    """What may be sent as If-Range."""

    @pytest.mark.parametrize("tag", ['"a"', '""', '"0x8D\'~!#"', ' "a" '])
    def test_a_strong_tag(self, tag):
        """A strong tag is kept as it came."""
        assert tag.strip() == find_remote_file({"etag": tag}).validator

    @pytest.mark.parametrize("tag", ['W/"a"', "a", '"a', '"a"b"', '"a b"', '"ä"', '"a\r\nX: y"', ""])
    def test_not_another_tag(self, tag):
        """A weak one says that files look alike; and beside a tag, a date is none either."""
        headers = {"etag": tag, "last-modified": "Tue, 24 Nov 2026 11:00:00 GMT", "date": DATE}

        assert find_remote_file(headers).validator is None

    @pytest.mark.parametrize(("modified", "strong"), [("11:59:00", True), ("11:59:01", False), ("12:30:00", False)])
    def test_a_date_that_is_a_minute_old(self, modified, strong):
        """By the host's own clock."""
        modified = f"Tue, 24 Nov 2026 {modified} GMT"
        validator = find_remote_file({"last-modified": modified, "date": DATE}).validator

        assert (modified if strong else None) == validator

    @pytest.mark.parametrize(
        "headers", [{}, {"last-modified": DATE}, {"date": DATE}, {"last-modified": "yesterday", "date": DATE}]
    )
    def test_not_half_of_it(self, headers):
        """Without a date there is nothing to compare with."""
        assert find_remote_file(headers).validator is None

    def test_nothing_of_a_host_that_has_no_parts(self):
        """It says so itself."""
        assert find_remote_file({"etag": '"a"', "accept-ranges": "None"}).validator is None
        assert '"a"' == find_remote_file({"etag": '"a"', "accept-ranges": "bytes"}).validator


class TestChecksums:
    @pytest.mark.parametrize(
        ("header", "value", "algorithm"),
        [
            ("content-md5", b64("md5"), "md5"),
            ("x-ms-blob-content-md5", b64("md5"), "md5"),
            ("x-goog-hash", f"crc32c=AAAAAA==, md5={b64('md5')}", "md5"),
            ("content-digest", f"sha-256=:{b64('sha256')}:", "sha256"),
            ("repr-digest", f"unixsum=:AA==:, sha-512=:{b64('sha512')}:", "sha512"),
        ],
    )
    def test_are_read_from_every_header_that_stores_send(self, header, value, algorithm):
        """The algorithm as hashlib calls it."""
        (checksum,) = find_remote_file({header: value}).checksums

        assert (header, algorithm) == (checksum.header, checksum.algorithm)
        assert hashlib.new(algorithm, DATA).digest() == checksum.digest

    def test_all_of_them_count(self):
        """A header may have several."""
        value = f"sha-256=:{b64('sha256')}:, sha-512=:{b64('sha512')}:"
        found = find_remote_file({"repr-digest": value, "content-md5": b64("md5")}).checksums

        assert ["md5", "sha256", "sha512"] == [checksum.algorithm for checksum in found]

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("content-md5", ""),
            ("content-md5", "AAAA"),
            ("content-md5", "?" + b64("md5")[1:]),
            ("content-md5", b64("md5").rstrip("=")),
            ("x-goog-hash", "crc32c=AAAAAA=="),
            ("content-digest", f"sha-256={b64('sha256')}"),
            ("repr-digest", f"sha-256=:{b64('md5')}:"),
            ("etag", '"d41d8cd98f00b204e9800998ecf8427e"'),
        ],
    )
    def test_what_is_broken_or_unknown_says_nothing(self, header, value):
        """An image must not be lost to a bad header; and not every tag that looks like a checksum is one."""
        assert () == find_remote_file({header: value}).checksums


class TestPart:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("bytes 5-9/10", ContentRange(start=5, stop=10, total=10)),
            ("Bytes 0-0/1", ContentRange(start=0, stop=1, total=1)),
            ("bytes 5-9/*", ContentRange(start=5, stop=10, total=None)),
            ("bytes */10", ContentRange(start=None, stop=None, total=10)),
        ],
    )
    def test_is_read(self, text, expected):
        """The end is past the last byte."""
        assert expected == find_content_range({"content-range": text})

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "bytes",
            "bytes 5-4/10",
            "bytes 5-10/10",
            "bytes=5-9/10",
            "lines 5-9/10",
            "bytes 5-9",
            "bytes \u0665-9/10",
        ],
    )
    def test_is_unknown_if_it_makes_no_sense(self, text):
        """Then nothing says where the bytes belong."""
        assert find_content_range({"content-range": text}) is None
