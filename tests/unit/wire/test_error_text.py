"""Bodies that are pages or plain text: their encoding, and their words."""

import pytest

from burncloud_images.wire.error_text import MOST_PLAIN, decode_text, find_words, to_line

CHINESE = "账户余额不足，请联系客服"  # noqa: RUF001 (as it is written)
TRADITIONAL = "帳戶餘額不足，請聯絡客服"  # noqa: RUF001 (likewise)


class TestEncodings:
    """Which encoding a body has."""

    @pytest.mark.parametrize(
        ("body", "content_type", "text"),
        [
            (CHINESE.encode(), "", CHINESE),
            (CHINESE.encode(), "text/plain; charset=gbk", CHINESE),
            (b"\xef\xbb\xbfno", "", "no"),
            ("no".encode("utf-16"), "", "no"),
            ('{"a": "é"}'.encode("utf-16-be"), "", '{"a": "é"}'),
            ("[1, 2]".encode("utf-32"), "", "[1, 2]"),
            (CHINESE.encode("gbk"), "", CHINESE),
            (CHINESE.encode("gbk"), "text/html; charset=GB2312", CHINESE),
            (CHINESE.encode("gbk"), 'text/html; charset="x-gbk"', CHINESE),
            (f"error: {CHINESE} (402)".encode("gb18030"), "", f"error: {CHINESE} (402)"),
            (TRADITIONAL.encode("big5"), "", TRADITIONAL),
            (TRADITIONAL.encode("big5"), "text/plain;charset=big5", TRADITIONAL),
            ("キーが無効です".encode("shift_jis"), "text/plain; charset=Shift_JIS", "キーが無効です"),
            ("키가 없습니다".encode("euc-kr"), "text/plain; charset=euc-kr", "키가 없습니다"),
            ("ключ".encode("koi8-r"), "text/plain; charset=koi8-r", "ключ"),
            ("Clé refusée: trop longue".encode("latin-1"), "", "Clé refusée: trop longue"),
            ("Schlüssel ungültig – gesperrt".encode("cp1252"), "", "Schlüssel ungültig – gesperrt"),  # noqa: RUF001
            (b"caf\xe9", "text/plain; charset=rot13", "café"),
            (b"caf\xe9", "text/plain; charset=no-such-thing", "café"),
            (b"\x81\x8d", "", "\x81\x8d"),
        ],
    )
    def test_is_told_by_the_bytes_and_the_label(self, body, content_type, text):
        """UTF-8 is tried first, then the charset that is named, then what the bytes look like."""
        assert text == decode_text(body, content_type)

    def test_of_a_page_may_stand_in_it(self):
        """Pages name their charset in a meta element."""
        body = '<meta charset="gb2312"><title>禁止访问</title>'.encode("gbk")
        assert "禁止访问" == find_words(decode_text(body))


class TestWords:
    """What is shown of a body that is not JSON."""

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("the key was disabled", "the key was disabled"),
            ("  two\r\nlines\t here ", "two lines here"),
            ("<html>", ""),
            (
                "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body>",
                "502 Bad Gateway",
            ),
            ("<!DOCTYPE html><TITLE>Denied</TITLE>\n<H1 class='x'>Over <b>quota</b></H1>", "Denied: Over quota"),
            ("<title>A &amp; B &mdash; C</title>", "A & B — C"),
            ("<body><script>evil()</script><style>p{}</style><p>Too many</p><p>requests</p>", "Too many requests"),
            ("<!-- a comment --><html><body>closed</body></html>", "closed"),
            ("<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>No</Message></Error>", "AccessDenied No"),
            ("<p>cut <b", "cut"),
            ("\x89PNG\r\n\x1a\n\0\0", ""),
            ("PK\x03\x04", ""),
        ],
    )
    def test_are_those_that_people_see(self, text, words):
        """Of a page the title and heading, or else its text without tags; of bytes nothing."""
        assert words == find_words(text)

    def test_are_cut_to_a_readable_length(self):
        """A page of any length is one line."""
        assert MOST_PLAIN == len(find_words("word " * 100_000))
        assert find_words("x" * 1000).endswith("x…")

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("a \x1b[31mred\x1b[0m b", "a red b"),
            ("\x1b]0;title\x07x", "x"),
            ("\x1b]8;;https://x\x1b\\y", "y"),
            ("a\x9b1mb", "ab"),
            ("a\x1bcb", "ab"),
            ("bell\x07 back\x08 null\0", "bell back null"),
            ("right\u202eto left", "right to left"),
            ("no\u2028break", "no break"),
            ("你好, ünïcode 🙂", "你好, ünïcode 🙂"),
        ],
    )
    def test_have_nothing_that_a_terminal_obeys(self, text, line):
        """Escape sequences and other controls are left out."""
        assert line == to_line(text, 100)
