"""A server is recognised by its own host over TLS, or by the name that the caller gives."""

from __future__ import annotations

import pytest

from burncloud_images.errors import ConfigurationError
from burncloud_images.wire.dialects import DIALECTS, REFUSALS, find_dialect


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://ai.burncloud.com/v1", "burncloud"),
        ("https://api.burncloud.com/v1", "burncloud"),
        ("https://AI.Burncloud.com:443/v1", "burncloud"),
        ("https://ai.burncloud.com./v1", "burncloud"),
        ("https://api.openai.com/v1", "openai"),
        ("http://ai.burncloud.com/v1", None),
        ("https://ai.burncloud.com.evil.example/v1", None),
        ("https://evil.example/ai.burncloud.com/v1", None),
        ("http://127.0.0.1:8080/v1", None),
    ],
)
def test_the_host_tells(base_url, name):
    """Without TLS anybody on the way may answer for it."""
    found = find_dialect(base_url)

    assert name == (found and found.name)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_name_tells_more_than_the_host(dialect):
    """The caller knows what stands behind a name of its own."""
    assert dialect is find_dialect("https://ai.burncloud.com/v1", dialect.name)


def test_a_name_that_is_not_known_is_refused():
    """A misspelt one would be a setting that silently does not hold."""
    with pytest.raises(ConfigurationError, match=r"There is no dialect 'new-api'; known are openai, newapi, burncloud"):
        find_dialect("https://x.example/v1", "new-api")


def test_names_and_hosts_are_of_one_row_each():
    """Otherwise the first would hide the second."""
    hosts = [host for dialect in DIALECTS for host in dialect.hosts]

    assert len({dialect.name for dialect in DIALECTS}) == len(DIALECTS)
    assert len(set(hosts)) == len(hosts)


def test_refusals_are_those_of_all():
    """A code means the same whoever says it."""
    assert {"server_is_overloaded", "get_channel_failed", "no_available_channels"} < REFUSALS


def test_only_a_server_that_is_known_to_refund_vouches_for_its_errors():
    """Only the errors of a server that is known to refund are free, and only in its own form."""
    error = {"message": "x", "type": "new_api_error", "param": "", "code": "c"}
    vouching = {dialect.name for dialect in DIALECTS if dialect.vouches(error)}

    assert {"newapi", "burncloud"} == vouching
    assert not any(dialect.vouches({"message": "x", "type": "t"}) for dialect in DIALECTS)
