"""Waits that stand in the body of an error alone."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.wire.error_waits import find_body_wait

NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached. Please try again in 20s. Visit https://x", 20),
        ("Please try again in 1m3s.", 63),
        ("Please try again in 500ms", 0.5),
        ("Please try again in 7.66s.", 7.66),
        ("Please try again in 6m0s.", 360),
        ("Please try again in 1h2m3.5s", 3723.5),
        ("Limit: 5 / 1min. Current: 6 / 1min. Please try again in 12s.", 12),
        ("Please retry after 26 seconds.", 26),
        ("Please retry in 33.5s.", 33.5),
        ("Retry your request after 1 minute", 60),
        ("Request was throttled. Expected available in 9 seconds.", 9),
        ("Your rate limit resets in ~30s.", 30),
        ("Too many requests; wait 2 minutes and 5 seconds before you retry", 125),
        ("try again in about 3 hours", 10800),
        ("请在 30 秒后重试", 30),
        ("请 2 分钟后再试", 120),
        ("500 毫秒后再次请求", 0.5),
        ("Limit 20 requests per 1 minute, retry later", None),
        ("try again later", None),
        ("The prompt has 300 seconds in it", None),
        ("", None),
    ],
)
def test_a_wait_in_words_is_found(message, seconds):
    """As OpenAI, Azure, Google, Replicate and Chinese gateways write it."""
    assert seconds == pytest.approx(find_body_wait(None, message)) if seconds else find_body_wait(None, message) is None


@pytest.mark.parametrize(
    ("document", "seconds"),
    [
        ({"error": {"retry_after": 12}}, 12),
        ({"retry_after": "1.5"}, 1.5),
        ({"retryAfter": 3}, 3),
        ({"error": {"retry_after_seconds": 20}}, 20),
        ({"parameters": {"retry_after_ms": 1500}}, 1.5),
        ({"retry_after": "30s"}, 30),
        ({"retry_after": "2 minutes"}, 120),
        ([{"error": {"details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "30s"}]}}], 30),
        ({"error": {"details": [{"retryDelay": {"seconds": "5", "nanos": 500000000}}]}}, 5.5),
        ({"error": {"details": [{"retryDelay": "0.250s"}]}}, 0.25),
        (
            {"error": {"metadata": {"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1796040045000"}}}},
            45,
        ),
        ({"error": {"metadata": {"headers": {"Retry-After": "7"}}}}, 7),
        ({"retry_after": 4, "error": {"retry_after": 9}}, 9),
        ({"retry_after": None}, None),
        ({"retry_after": True}, None),
        ({"retry_after": -1}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": float("inf")}, None),
        ({"retry": 5}, None),
        ("no", None),
    ],
)
def test_a_wait_in_a_field_is_found(document, seconds):
    """At any depth; the longest counts."""
    assert seconds == find_body_wait(document, "", NOW)


@given(st.text() | st.from_regex(r"try again in [0-9a-z. ]{0,20}"))
def test_any_text_is_read_without_an_error(message):
    """A wait is finite and positive."""
    wait = find_body_wait({"retry_after": message}, message)
    assert wait is None or 0 < wait < 1e14
