"""What a server says is shown to a terminal, never obeyed by it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.cli.outputs import encode
from burncloud_images.cli.standard_streams import escaped
from burncloud_images.emulator import Fault

HOSTILE = "a\x1b]0;title\x07b\x9b2Jc\u202ed\u2066e\u2028f\u2029g\x85h\x7fi\rj\x00k\U000e0001l"
"""ESC, BEL, CSI as one byte, overrides of direction, ends of lines, DEL, CR, NUL, a tag."""


def unsafe(text):
    return [character for character in text if not character.isprintable() and character != "\n"]


@given(st.text(st.characters()))
def test_json_is_one_line_and_says_the_same(text):
    """Escaped JSON stays on one line and keeps its meaning, whatever characters it contains."""
    line = encode({"text": text}).decode()

    assert unsafe(line) == []
    assert len(line.splitlines()) == 1
    assert json.loads(line) == {"text": text}


def test_a_text_without_such_characters_is_the_same():
    """Text without control characters is unchanged, in any script."""
    assert escaped("水獭\n\tô 🦦") == "水獭\n\\u0009ô 🦦"


@pytest.mark.parametrize(
    "options", [(), ("-vv",), ("--json",), ("-vv", "--json"), ("--progress", "json")], ids=" ".join
)
def test_an_error_of_the_server_reaches_no_terminal_raw(cli, serve, options):
    """A server's error is escaped, in tracebacks too."""
    body = json.dumps({"error": {"message": HOSTILE, "code": HOSTILE}})
    serve(Fault(status=400, body=body, times=None))

    ran = cli("generate", "otter", "--model", "gpt-image-2", *options)

    assert ran.code != 0
    assert unsafe(ran.err + ran.out.decode()) == []
    assert "g h" in ran.err


def test_what_was_typed_reaches_no_terminal_raw(cli):
    """Arguments in error messages are escaped, as they may be pasted."""
    ran = cli("generate", "otter", f"--no-such-option{HOSTILE.replace(chr(0), '')}")

    assert ran.code != 0
    assert unsafe(ran.err) == []
