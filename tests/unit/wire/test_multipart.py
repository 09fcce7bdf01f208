"""The plan of a body: exact to the byte before a file is opened, readable by others, and useless without its end."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import texts
from unit.wire.forms import read_form

from burncloud_images.wire.multipart import HELD_BACK, FilePart, FilePlaceholder, plan_json, plan_multipart

BOUNDARY = "otter-7MA4YWxkTrZu0gW"
HOSTILE = ['a"b', "a\r\nX-Evil: 1", "\r", "\n", "a;b=c", "水獭[]", "x" * 70_000, "%22", "a\\b", "a: b", "🦦"]
plain = st.characters(exclude_categories=["Cs"], exclude_characters="%")
names = st.text(plain, min_size=1, max_size=20) | st.sampled_from([name for name in HOSTILE if "%" not in name])
contents = st.binary(max_size=200) | st.sampled_from([b"\r\n", b"\r", b"\n--otter\r\n", b"--", b"\0\xff\r\n\r\n"])
files = st.lists(st.tuples(names, names, contents), max_size=4)


def parts_of(named) -> list[FilePart]:
    return [
        FilePart(name=name, filename=filename, content_type="image/webp", slot=FilePlaceholder(index, len(content)))
        for index, (name, filename, content) in enumerate(named)
    ]


def written(plan, contents=()) -> bytes:
    pieces = [contents[piece.index] if isinstance(piece, FilePlaceholder) else piece for piece in plan.segments]
    return b"".join(pieces) + plan.final


@given(st.lists(st.tuples(names, texts), max_size=5), files)
def test_another_parser_reads_the_form_back(fields, named):
    """Names, file names, types and bytes, hostile ones too; and the length is known before a file is opened."""
    plan = plan_multipart(fields, parts_of(named), BOUNDARY)
    body = written(plan, [content for _, _, content in named])

    assert len(body) == plan.length
    assert f"multipart/form-data; boundary={BOUNDARY}" == plan.content_type
    if not fields and not named:
        assert f"--{BOUNDARY}--\r\n".encode() == body
        return
    form = read_form(body, BOUNDARY)
    assert fields == form.fields
    assert [(name, filename, "image/webp", content) for name, filename, content in named] == [
        (file.name, file.filename, file.content_type, file.content) for file in form.files
    ]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])
def test_a_name_never_adds_a_header(name):
    """WHATWG: line ends and quotes are percent-encoded, all else stands; each head has its own lines alone."""
    plan = plan_multipart([(name, "1")], parts_of([(name, name, b"")]), BOUNDARY)
    written_name = name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22").encode()
    text, head = (section.partition(b"\r\n\r\n")[0] for section in written(plan, [b""]).split(BOUNDARY.encode())[1:3])

    assert [b"", b'Content-Disposition: form-data; name="%s"' % written_name] == text.split(b"\r\n")
    assert [
        b"",
        b'Content-Disposition: form-data; name="%s"; filename="%s"' % (written_name, written_name),
        b"Content-Type: image/webp",
    ] == head.split(b"\r\n")


@given(st.lists(st.tuples(names, texts), max_size=3), files)
def test_neighbours_are_one_write(fields, named):
    """Between two files there is one run of bytes, and none is empty."""
    kinds = [type(piece) for piece in plan_multipart(fields, parts_of(named), BOUNDARY).segments]

    assert not any(one is two is bytes for one, two in itertools.pairwise(kinds))
    assert all(piece for piece in plan_multipart(fields, parts_of(named), BOUNDARY).segments)


@given(st.lists(st.tuples(names, texts), min_size=1, max_size=3), files)
def test_without_its_last_piece_a_form_has_no_end(fields, named):
    """The closing boundary is held back whole, so nothing that left before can be executed."""
    plan = plan_multipart(fields, parts_of(named), BOUNDARY)
    body = written(plan, [content for _, _, content in named])

    assert f"--{BOUNDARY}--\r\n".encode() == plan.final
    assert f"--{BOUNDARY}--".encode() not in body[: -len(plan.final)]


@pytest.mark.parametrize("size", [0, 1, HELD_BACK - 1, HELD_BACK, HELD_BACK + 1, 5 * HELD_BACK])
def test_json_without_its_last_piece_is_no_json(size):
    """The end is held back, at most 16 KiB of it."""
    body = json.dumps("x" * size).encode()
    plan = plan_json(body)

    assert (body, len(body), "application/json") == (written(plan), plan.length, plan.content_type)
    assert min(len(body), HELD_BACK) == len(plan.final)
    with pytest.raises(ValueError, match=r"Expecting value|Unterminated"):
        json.loads(b"".join(plan.segments))


def test_an_empty_body_is_planned_too():
    """Nothing leaves before the end, which is empty."""
    assert (0, (), b"") == ((plan := plan_json(b"")).length, plan.segments, plan.final)


def test_a_plan_shows_no_final_bytes():
    """They may be of the prompt."""
    assert "<15 bytes>" in repr(plan_json(b'{"prompt":"hi"}'))
    assert "prompt" not in repr(plan_json(b'{"prompt":"hi"}'))
