"""A base URL in any of its spellings becomes one form, and one that would give the key away is refused."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.errors import ConfigurationError
from burncloud_images.wire.base_url import find_query, is_loopback, origin, to_base_url

SECRET = "hunter2"

SPELLINGS = {
    "https://api.example/v1": [
        "api.example",
        "api.example/",
        "api.example/v1",
        "api.example/v1/",
        "https://api.example",
        "https://api.example/",
        "HTTPS://api.example/v1//",
        "https://api.example/v1/images/generations",
        "https://api.example/v1/chat/completions",
        "https://api.example/v1/responses/",
        "https://api.example/images/variations",
        "https://api.example?key=1",
        "https://api.example/v1?",
        " https://api.example/v1\n",
    ],
    "https://api.example:8443/v1": ["api.example:8443", "https://api.example:8443/v1"],
    "https://api.example/images": ["api.example/images", "https://api.example/images/"],
    "https://api.example/v10": ["api.example/v10"],
    "https://api.example/api/v3": ["api.example/api/v3", "https://api.example/api/v3/images/generations"],
    "https://api.example/api/paas/v4": ["api.example/api/paas/v4/", "https://api.example/api/paas/v4/images/edits/"],
    "https://api.example/v1beta/openai": ["api.example/v1beta/openai/", "https://api.example/v1beta/openai"],
    "https://api.example/v1/openai": ["https://api.example/v1/openai"],
    "https://api.example/openai/deployments/otter": [
        "https://api.example/openai/deployments/otter/images/generations?api-version=2026-01-01"
    ],
    "http://localhost:8000/v1": ["localhost:8000", "http://localhost:8000"],
    "http://127.0.0.1:8000/v1": ["127.0.0.1:8000", "http://127.0.0.1:8000/v1/"],
    "http://[::1]:8000/v1": ["[::1]:8000", "http://[::1]:8000/"],
    "https://localhost/v1": ["https://localhost"],
}


@pytest.mark.parametrize(
    ("spelling", "expected"), [(spelling, expected) for expected, group in SPELLINGS.items() for spelling in group]
)
def test_a_base_url_has_one_form(spelling, expected):
    """With scheme and version, without a final slash; the form is its own form."""
    assert expected == to_base_url(spelling)
    assert expected == to_base_url(expected)


REFUSED = {
    "": "is empty or holds white space",
    "  ": "is empty or holds white space",
    "api .example": "white space or control characters",
    "api.example\r\nX-Evil: 1": "white space or control characters",
    "api.example\\v1": "white space or control characters",
    "https://": "names no host",
    "https:///v1": "names no host",
    "https://api.example:0": "names no host",
    "https://api.example:99999": "cannot be read",
    "https://api.example:port": "cannot be read",
    "https://[::1": "cannot be read",
    "ftp://api.example": "is neither http nor https",
    "https://me:hunter2@api.example": "holds a user name or password",
    "https://api.example/v1#x": "holds a fragment",
    "http://api.example": "would send the key unencrypted",
    "http://127.0.0.1.example": "would send the key unencrypted",
}


@pytest.mark.parametrize(("spelling", "reason"), REFUSED.items())
def test_what_is_no_base_url_is_refused(spelling, reason):
    """The reason says what is wrong with it."""
    with pytest.raises(ConfigurationError, match=reason):
        to_base_url(spelling)


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("api.example", {}),
        ("https://api.example/v1?", {}),
        ("https://api.example/openai?api-version=2026-01-01&x=", {"api-version": "2026-01-01", "x": ""}),
        ("api.example?key=a%2Bb", {"key": "a+b"}),
    ],
)
def test_a_query_is_kept_apart(spelling, expected):
    """A base URL's query is added to each request behind the path."""
    assert expected == find_query(spelling)


def test_an_unencrypted_host_may_be_allowed():
    """Only that is allowed by it, and a bare host still means https."""
    assert "http://api.example/v1" == to_base_url("http://api.example", allow_http=True)
    assert "https://api.example/v1" == to_base_url("api.example", allow_http=True)
    with pytest.raises(ConfigurationError):
        to_base_url("ftp://api.example", allow_http=True)


@pytest.mark.parametrize(
    "spelling",
    [
        f"https://me:{SECRET}@api.example",
        f"https://me:{SECRET}@api.example:99999",
        f"ftp://me:{SECRET}@api.example",
        f"http://me:{SECRET}@api.example",
        f"me:{SECRET}@api.example",
        f"https://me:{SECRET} x@api.example",
        f"https://me:{SECRET}/x@api.example",
        f"https://me:{SECRET}?x@api.example",
        f"https://me:{SECRET}@",
        f"ftp://api.example?key={SECRET}",
        f"https://api.example?key={SECRET} x\n{SECRET}",
        f"https://?key={SECRET}",
        f"http://api.example:99999#{SECRET}",
    ],
)
def test_a_refusal_shows_no_password_and_no_query(spelling):
    """People paste addresses with keys in them, and errors end in logs."""
    with pytest.raises(ConfigurationError) as caught:
        to_base_url(spelling)

    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"


pieces = st.sampled_from(
    ["https://", "http://", "api.example", "[::1]", "localhost", ":", "8000", "/", "/v1", "@", "?"]
)


@given(st.text() | st.lists(pieces | st.text(max_size=3), max_size=6).map("".join), st.booleans())
def test_any_text_is_a_base_url_or_a_configuration_error(spelling, allow_http):
    """Nothing else is raised; the result is its own form, has a path, and is encrypted unless that was allowed."""
    try:
        base = to_base_url(spelling, allow_http=allow_http)
    except ConfigurationError:
        return
    scheme, host, _ = origin(base)

    assert base == to_base_url(base, allow_http=allow_http)
    assert urlsplit(base).path.strip("/")
    assert not urlsplit(base).query
    assert scheme == "https" or allow_http or is_loopback(host)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("127.1", False),
        ("", False),
    ],
)
def test_loopback_is_known_by_name_and_address(host, expected):
    """Loopback is recognised by name and address without resolving anything."""
    assert expected is is_loopback(host)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://API.example/v1", ("https", "api.example", 443)),
        ("HTTP://api.example", ("http", "api.example", 80)),
        ("https://api.example:80/x?y", ("https", "api.example", 80)),
        ("http://[::1]:8000", ("http", "::1", 8000)),
        ("https:", ("https", "", 443)),
    ],
)
def test_an_origin_is_scheme_host_and_port(url, expected):
    """The default port is the same as none, and case does not matter."""
    assert expected == origin(url)
