"""When a result URL expires: by the server's clock, in seconds that nobody can set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.calls.url_expiry import LIFETIME, MARGIN, ReceivedAt, find_expiry, find_signed_expiry

pytestmark = pytest.mark.ways("tls")

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PLAIN = "https://store.example/a.png"


def arrival(*, date=NOW, local=NOW, elapsed=20.0):
    return ReceivedAt(date=date, local=local, steady=1000.0, elapsed=elapsed)


def left(url=PLAIN, created=None, **known):
    """Return the seconds after which an address ends, by both of its forms."""
    came = arrival(**known)
    expiry = find_expiry(url, created, came)
    shown = (expiry.at - (came.date or came.local)).total_seconds()
    assert shown == pytest.approx(expiry.deadline - came.steady + MARGIN.total_seconds())
    return shown


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("created", "age"),
    [(None, 20), (NOW, 0), (ago(12), 12), (ago(25), 25), (ago(26), 25), (ago(90_000), 25), (ago(-90), 0)],
)
def test_an_image_is_as_old_as_the_answer_says_within_reason(created, age):
    """An image is not from the future and not older than its request, but for differing clocks."""
    assert 3600 - age == left(created=created)


@pytest.mark.parametrize("created", [None, NOW, ago(90_000)])
def test_an_image_is_as_old_as_its_request_if_the_server_tells_no_time(created):
    """Without the server's date, the creation time cannot be compared with anything."""
    assert 3600 - 20 == left(created=created, date=None)


@pytest.mark.parametrize("date", [NOW, None])
@given(wrong=st.timedeltas(-timedelta(days=900), timedelta(days=900)), created=st.sampled_from([None, NOW, ago(9)]))
def test_the_local_date_decides_nothing(date, wrong, created):
    """The deadline is the same whatever the computer's date is."""
    url = f"{PLAIN}?st=2026-11-24T11:50:00Z&se=2026-11-24T12:30:00Z"
    right = find_expiry(url, created, arrival(date=date))

    assert right.deadline == find_expiry(url, created, arrival(date=date, local=NOW + wrong)).deadline


@pytest.mark.parametrize(
    ("query", "with_date", "without"),
    [
        ("se=2026-11-24T12%3A30%3A00Z", 1800, 3580),
        ("se=2026-11-24T12:30:00", 1800, 3580),
        ("se=2026-11-24T14:30:00%2B02:00", 1800, 3580),
        ("st=2026-11-24T12:00:00Z&se=2026-11-24T12%3A30%3A00Z", 1800, 1780),
        ("st=2026-11-24T12:00:00Z&se=2026-11-24T11:59:59Z", -1, -21),
        ("se=2026-11-25T12:00:00Z", 3580, 3580),
        ("X-Amz-Date=20261124T115500Z&X-Amz-Expires=900", 600, 880),
        ("X-Amz-Date=20261124T120000Z", 3580, 3580),
        ("X-Amz-Expires=900", 3580, 3580),
    ],
)
def test_a_signature_can_end_it_earlier(query, with_date, without):
    """Signatures of Azure and S3 count, without the server's date by the time between their two dates."""
    assert with_date == left(f"{PLAIN}?{query}")
    assert without == left(f"{PLAIN}?{query}", date=None)


@pytest.mark.parametrize(
    "query",
    [
        "se=nonsense",
        "se=",
        "st=nonsense&se=2026-11-24T12:30:00Z",
        "se=0001-01-01T00:00:00%2B14:00",
        "X-Amz-Date=nonsense&X-Amz-Expires=900",
        "X-Amz-Date=20261124T120000Z&X-Amz-Expires=soon",
        "X-Amz-Date=20261124T120000Z&X-Amz-Expires=" + "9" * 30,
    ],
)
def test_a_signature_that_makes_no_sense_says_nothing(query):
    """A signature that cannot be read raises nothing, since the image is paid for."""
    assert 3580 == left(f"{PLAIN}?{query}")


def test_a_server_in_the_year_9999_is_no_trouble():
    """If the expiry is later than a date can be, the local date is shown instead."""
    end_of_time = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    expiry = find_expiry(PLAIN, end_of_time, arrival(date=end_of_time))

    assert NOW == expiry.at
    assert 1000 + (LIFETIME - MARGIN).total_seconds() == expiry.deadline


@pytest.mark.parametrize(
    ("query", "end"),
    [
        ("?se=2026-11-24T13:00:00Z", datetime(2026, 11, 24, 13, tzinfo=UTC)),
        ("?st=2026-11-24T12:00:00Z&se=2026-11-24T15:00:00%2B02:00", datetime(2026, 11, 24, 13, tzinfo=UTC)),
        ("?X-Amz-Date=20261124T120000Z&X-Amz-Expires=600", datetime(2026, 11, 24, 12, 10, tzinfo=UTC)),
        ("", None),
        ("?se=", None),
        ("?se=soon", None),
        ("?X-Amz-Date=20261124T120000Z", None),
        ("?X-Amz-Date=20261124T120000Z&X-Amz-Expires=9" + "9" * 20, None),
    ],
)
def test_an_address_alone_may_tell_its_end(query, end):
    """A URL alone says by its signature when it expires."""
    assert end == find_signed_expiry(PLAIN + query)


def test_what_is_no_address_has_no_end():
    """Text that is not a URL has no expiry, and raises nothing."""
    assert find_signed_expiry("https://[x?se=2026-11-24T13:00:00Z") is None
