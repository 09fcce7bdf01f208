"""What is in a row is a value again, or the store is damaged: no other error comes of it."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored import FAILURE, image, key, link, row

from burncloud_images.bulk.database.codec import (
    RECORD,
    REQUEST,
    DamagedStore,
    decode_bad_row,
    decode_image_lists,
    decode_json,
    decode_record,
    encode_all,
    encode_failure,
    encode_json,
    encode_request,
    encode_task,
    encode_text,
    translate_error,
)
from burncloud_images.bulk.records import BadRow, RequestRecord, RequestState
from burncloud_images.errors import JobError
from burncloud_images.results import Task

EXPIRES = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
LINKS = (attrs.evolve(link(0), expires_at=EXPIRES), link(1))


def columns(**changed: object) -> tuple[object, ...]:
    """Return the columns of a request, some of them changed."""
    asked = dict(zip(REQUEST, encode_request(row(1)), strict=True))
    found = {
        **asked,
        "number": 1,
        "state": "received",
        "attempts": 2,
        "reserved": 3,
        "cost": 4,
        "images": encode_all([image(2)]),
        "links": encode_all(LINKS),
        "failure": encode_failure(FAILURE),
        "request_id": "req_1",
        "sent_at": 1.5,
        "ended_at": 2.5,
        "task": encode_task(Task(id="t-1", url="/t/1", idempotency_key=key(1))),
        "about": encode_json({"created": 7}),
        **changed,
    }
    return tuple(found[name] for name in RECORD)


def test_all_of_a_request_comes_back():
    """Every column of a request is decoded to the value that was encoded."""
    expected = RequestRecord(
        key=key(1),
        number=1,
        document=row(1).document,
        source="prompts.jsonl",
        line=1,
        state=RequestState.RECEIVED,
        attempts=2,
        reserved=3,
        cost=4,
        images=(image(2),),
        links=LINKS,
        task=Task(id="t-1", url="/t/1"),
        failure=FAILURE,
        request_id="req_1",
        sent_at=1.5,
        ended_at=2.5,
        about={"created": 7},
    )

    assert expected == decode_record(columns())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("key", key(2)),
        ("document", '{"n":2,"prompt":"Otter 2"}'),
        ("document", None),
        ("source", "other.jsonl"),
        ("line", 2),
        ("label", "other"),
        ("wanted", 3),
        ("seal", 0),
        ("state", "don"),
        ("state", None),
        ("images", "["),
        ("images", "{}"),
        ("images", "[1]"),
        ("images", '[{"index":0}]'),
        ("images", "[" * 100_000),
        ("images", 5),
        ("links", '[{"index":0,"url":"u","expires_at":"yesterday"}]'),
        ("links", '[{"index":0,"url":"u","expires_at":5}]'),
        ("links", '[{"index":0,"u":"u"}]'),
        ("failure", "[]"),
        ("failure", '{"message":"m"}'),
        ("about", "7"),
        ("about", b"\xff"),
        ("request_id", b"\xff"),
        ("request_id", 7),
    ],
)
def test_a_column_that_is_damaged(column, value):
    """A damaged column raises DamagedStore and no other error."""
    with pytest.raises(DamagedStore):
        decode_record(columns(**{column: value}))


@given(st.text(st.characters()))
def test_any_text_comes_back(text):
    """Text is decoded as it was encoded, with lone surrogates too."""
    problem = BadRow(source=text, line=1, label=text, reason=text)

    assert problem == decode_bad_row((encode_text(text), 1, encode_text(text), encode_text(text)))
    assert {text: [text]} == decode_json(encode_json({text: [text]}))


def test_damage_is_told_with_what_to_do():
    """The error for a damaged store says what to do."""
    error = translate_error(DamagedStore("its sums are not complete"))

    assert isinstance(error, JobError)
    assert (
        "The job's store is damaged: its sums are not complete. Restore job.sqlite3 from a copy, or begin in another "
        "directory; its images are as they were. Nothing was sent." == str(error)
    )


def test_images_of_many_requests_come_back():
    """Each request gets its own images, and none if it has none."""
    lists = [(image(0), image(1)), (), (image(2),)]

    assert lists == decode_image_lists([encode_all(images) for images in lists])
    assert [] == decode_image_lists([])


@pytest.mark.parametrize("value", ["[],[]", "", "{}", "null", "[", "[1]", '[{"path": 1}]', b"\xff"])
def test_a_damaged_list_of_images_is_found_among_others(value):
    """A damaged list is found among others, even one that would parse as two lists."""
    whole = encode_all([image(0)])

    with pytest.raises(DamagedStore):
        decode_image_lists([whole, value, whole])
