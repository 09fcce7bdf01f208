"""What the headers of an answer say, and nothing where what they say makes no sense."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.wire.headers import (
    RateLimit,
    find_rate_limits,
    find_request_id,
    find_retry_after,
    find_should_retry,
    fold_headers,
)

NOW = datetime(2026, 11, 24, 11, 0, tzinfo=UTC)
DATE = "Tue, 24 Nov 2026 11:00:00 GMT"
LATER = "Tue, 24 Nov 2026 11:00:30 GMT"


# --- request ids -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "message", "expected"),
    [
        ({"x-oneapi-request-id": "gate-1", "x-request-id": "up-1"}, "(request id: text-1)", "gate-1"),
        ({"x-request-id": " up-1 "}, "(request id: text-1)", "up-1"),
        ({"x-oneapi-request-id": "  ", "x-request-id": "up-1"}, "", "up-1"),
        ({"x-oneapi-request-id": "a\x1b[2J", "x-request-id": "up-1"}, "", "up-1"),
        ({}, "no channel (request id: 2025-x_1)", "2025-x_1"),
        ({}, "(request id: first) and (request id: second)", "first"),
        ({"x-request-id": "é" * 300}, "", "é" * 200),
        ({}, f"(request id: {'x' * 201})", None),
        ({}, "(request id: two words)", None),
        ({}, "(request id: )", None),
        ({}, "", None),
    ],
)
def test_the_gateways_own_id_comes_first(headers, message, expected):
    """Then upstream's, then the one within the message; what cannot be printed is passed over."""
    assert expected == find_request_id(headers, message)


@given(st.dictionaries(st.sampled_from(["x-oneapi-request-id", "x-request-id"]), st.text()), st.text())
def test_an_id_can_be_printed_and_is_short(headers, message):
    """Whatever a server sends."""
    found = find_request_id(headers, message + "(request id: x)")

    assert found
    assert found.isprintable()
    assert len(found) <= 200


# --- waits -----------------------------------------------------------------------------------------------------------


def used_up(reset):
    """Return what a server says whose limit of requests is used up."""
    return {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset}


WAITS = [
    ({}, None),
    ({"retry-after": "3"}, 3.0),
    ({"retry-after": " 0 "}, None),
    ({"retry-after": "0.0"}, None),
    ({"retry-after": "0\n3"}, 3.0),
    ({"retry-after-ms": "0", "retry-after": "3"}, 3.0),
    ({"retry-after": DATE, "date": DATE}, None),
    ({"retry-after": "1.5"}, 1.5),
    ({"retry-after": "2s"}, 2.0),
    ({"retry-after": "1m30s"}, 90.0),
    ({"retry-after-ms": "2s"}, None),
    ({"retry-after": "2026-11-24T11:00:30Z", "date": DATE}, 30.0),
    ({"retry-after": "2026-11-24T11:00:30+00:00", "date": DATE}, 30.0),
    ({"retry-after-ms": "250"}, 0.25),
    ({"x-ms-retry-after-ms": "250"}, 0.25),
    ({"retry-after-ms": "250", "x-ms-retry-after-ms": "9", "retry-after": "3"}, 0.25),
    ({"retry-after-ms": "soon", "retry-after": "3"}, 3.0),
    ({"retry-after-ms": LATER, "date": DATE}, None),
    ({"retry-after": "3\n5"}, 5.0),
    ({"retry-after": "5\n 3 "}, 5.0),
    ({"retry-after": f"3\n{LATER}\nsoon", "date": DATE}, 30.0),
    ({"retry-after-ms": "250\n500"}, 0.5),
    ({"retry-after": "3", **used_up("9s")}, 3.0),
    ({"retry-after": "later", **used_up("9s")}, 9.0),
    ({"retry-after": "0", **used_up("9s")}, 9.0),
    (used_up("6ms"), 0.006),
    (used_up("0s"), None),
    ({**used_up("9s"), "x-ratelimit-remaining-requests": "1"}, None),
    ({**used_up("9s"), "x-ratelimit-remaining-requests": "none"}, None),
    ({"x-ratelimit-reset-requests": "9s"}, None),
    ({"x-ratelimit-reset-tokens": "9s", "x-ratelimit-remaining-tokens": "0"}, None),
    ({"retry-after": LATER, "date": DATE}, 30.0),
    ({"retry-after": DATE, "date": LATER}, None),
    ({"retry-after": "Tue, 24 Nov 2026 11:00:30 -0000", "date": DATE}, 30.0),
    ({"retry-after": "Tuesday, 24-Nov-26 11:00:30 GMT", "date": DATE}, 30.0),
    ({"retry-after": "Tue Nov 24 11:00:30 2026", "date": DATE}, 30.0),
    ({"retry-after": "Tue, 24 Nov 2026 12:00:30 +0100", "date": DATE}, 30.0),
    ({"retry-after": LATER}, None),
    ({"retry-after": LATER, "date": "yesterday"}, None),
    ({"retry-after": "Tue, 99 Nov 2026 11:00:30 GMT", "date": DATE}, None),
    ({"retry-after": "Tue, 24 Nov 2026 11:00:30 +9999", "date": DATE}, None),
    *(({"retry-after": text}, None) for text in ("-1", "nan", "inf", "1e3", "0x10", "٣", "3,4", "3 s", "12345678901")),
    (used_up("1s"), 1.0),
    (used_up("6m0s"), 360.0),
    (used_up("1h2m3.5s"), 3723.5),
    (used_up("20ms"), 0.02),
    (used_up("1m20ms"), 60.02),
    (used_up("1m"), 60.0),
    *((used_up(text), None) for text in ("", "1", "s", "1d", "1s2m", "-1s", "1 s", "٣s")),
]


@pytest.mark.parametrize(("headers", "expected"), WAITS)
def test_a_wait_is_told_in_many_ways(headers, expected):
    """The most exact one counts; those that make no sense are passed over."""
    assert expected == find_retry_after(headers)


def test_a_date_without_a_date_of_the_answer_is_compared_with_the_local_clock():
    """A server that does not say what time it thinks it is may still name the end of a wait as a date."""
    now = datetime(2026, 11, 24, 11, 0, 10, tzinfo=UTC)

    assert 20.0 == find_retry_after({"retry-after": LATER}, now=now)
    assert 30.0 == find_retry_after({"retry-after": LATER, "date": DATE}, now=now)
    assert find_retry_after({"retry-after": LATER}, now=now + timedelta(days=1)) is None


@pytest.mark.parametrize(("resets", "expected"), [(True, 9.0), (False, None)])
def test_the_reset_of_a_limit_is_a_wait_only_where_it_is_about_that(resets, expected):
    """Servers send it with every answer."""
    assert expected == find_retry_after(used_up("9s"), resets=resets)


def test_of_a_header_that_stands_twice_the_first_counts():
    """The first of two equal headers counts, but all waits are kept."""
    pairs = [
        ("Retry-After", "3"),
        ("X-A", "1"),
        ("retry-after", "5"),
        ("x-a", "2"),
        ("Date", DATE),
        ("RETRY-AFTER", "4"),
    ]
    assert {"retry-after": "3\n5\n4", "x-a": "1", "date": DATE} == fold_headers(pairs)
    assert 5 == find_retry_after(fold_headers(pairs))
    assert {"x-goog-hash": "a=1, b=2"} == fold_headers([("x-goog-hash", "a=1"), ("X-Goog-Hash", "b=2")])


@given(st.timedeltas(timedelta(days=-400), timedelta(days=400)), st.timedeltas(timedelta(-9_999), timedelta(9_999)))
def test_the_local_clock_does_not_matter(wait, off):
    """A date is compared with that of the answer, whenever the server thinks it is."""
    wait, now = timedelta(seconds=int(wait.total_seconds())), (NOW + off).replace(microsecond=0)
    headers = {"retry-after": format_datetime(now + wait, usegmt=True), "date": format_datetime(now, usegmt=True)}

    assert (max(0.0, wait.total_seconds()) or None) == find_retry_after(headers)


header_texts = st.text() | st.text("0123456789.hms -+eE") | st.sampled_from([DATE, LATER, "1" * 40, "Mon, 1 Jan 1"])


@given(
    st.dictionaries(
        st.sampled_from(["retry-after", "date", "retry-after-ms", "x-ms-retry-after-ms", *used_up("")]),
        header_texts,
    )
)
def test_a_wait_is_finite_and_more_than_none(headers):
    """Whatever a server sends, nothing raises."""
    found = find_retry_after(headers)

    assert found is None or (math.isfinite(found) and found > 0)


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), (" False ", False), ("TRUE", True), ("1", None), ("", None), ("maybe", None)]
)
def test_should_retry_is_yes_no_or_silence(text, expected):
    """Only the two words count."""
    assert expected is find_should_retry({"x-should-retry": text})
    assert None is find_should_retry({})


# --- rate limits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remaining", "reset", "expected"),
    [
        ("0", "12s", (0, 12)),
        (" 59 ", " 6m0s ", (59, 360)),
        ("1499.5", "1m2.5s", (1499.5, 62.5)),
        ("3", "500ms", (3, 0.5)),
        ("3", "1h0m1s", (3, 3601)),
        ("3", "", None),
        ("", "12s", None),
        ("3", "soon", None),
        ("3", "12", None),
        ("-1", "12s", None),
        ("nan", "12s", None),
        ("1e9", "12s", None),
        ("\u0663", "12s", None),
    ],
)
def test_what_is_left_of_a_limit_is_told_with_its_reset(remaining, reset, expected):
    """One without the other says nothing to go by."""
    headers = {"x-ratelimit-remaining-images": remaining, "x-ratelimit-reset-images": reset}
    wanted = {"images": RateLimit(remaining=expected[0], reset=expected[1])} if expected else {}

    assert wanted == find_rate_limits(headers)


def test_each_limit_is_told_by_its_name():
    """Others than the three are passed over."""
    headers = {
        f"x-ratelimit-{what}-{name}": value
        for name in ("requests", "images", "tokens", "minutes")
        for what, value in (("limit", "60"), ("remaining", "7"), ("reset", "1s"))
    }
    limit = RateLimit(remaining=7, reset=1)

    assert {"requests": limit, "images": limit, "tokens": limit} == find_rate_limits(headers)
    assert {} == find_rate_limits({})


@given(header_texts, header_texts)
def test_what_is_told_of_a_limit_is_finite_and_not_negative(remaining, reset):
    """Whatever a server sends, nothing raises."""
    headers = {"x-ratelimit-remaining-tokens": remaining, "x-ratelimit-reset-tokens": reset}

    for limit in find_rate_limits(headers).values():
        assert math.isfinite(limit.remaining + limit.reset)
        assert min(limit.remaining, limit.reset) >= 0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-reset": "1795518030", "date": DATE}, 30),
        ({"x-ratelimit-reset": "1795518030"}, 30),
        ({"x-ratelimit-reset": "1795518030500", "x-ratelimit-remaining": "0"}, 30.5),
        ({"x-ratelimit-reset": "1795518030.25"}, 30.25),
        ({"x-ratelimit-reset": "45"}, 45),
        ({"x-ratelimit-reset": "1m30s"}, 90),
        ({"x-ratelimit-reset-after": "2.5", "x-ratelimit-reset": "1795518030"}, 2.5),
        ({"x-rate-limit-reset": "1795518010"}, 10),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "12"}, 12),
        ({"retry-after": "3", "x-ratelimit-reset": "1795518030"}, 3),
        ({"x-ratelimit-reset": "1795518030", "x-ratelimit-remaining": "4"}, None),
        ({"x-ratelimit-reset": "1795517000"}, None),
        ({"x-ratelimit-reset": "0"}, None),
        ({"x-ratelimit-reset": "soon"}, None),
        ({"x-ratelimit-reset": "-5"}, None),
    ],
)
def test_a_reset_without_a_name_is_a_wait(headers, seconds):
    """A Unix time, in seconds or milliseconds, or a duration; it counts if nothing is left."""
    assert seconds == find_retry_after(headers, now=NOW)
    assert find_retry_after({name: headers[name] for name in headers if "reset" in name}, resets=False) is None
