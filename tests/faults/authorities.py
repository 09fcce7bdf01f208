"""Certificates: good ones, and each way in which one can be bad."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import attrs
import trustme
from ways import here


@attrs.frozen(kw_only=True)
class Authority:
    """
    What a server shows and what a client trusts.

    Attributes:
        server: For the server.
        client: For the client.
    """

    server: ssl.SSLContext
    client: ssl.SSLContext


def good() -> Authority:
    """Return a certificate that holds: on a way over TLS the one that other servers show as well."""
    way = here()
    if way.server is not None and way.client is not None:
        return Authority(server=way.server, client=way.client)
    return issue(trustme.CA(), "127.0.0.1")


def wrong_host() -> Authority:
    """Return a certificate of another host."""
    return issue(trustme.CA(), "images.example")


def expired() -> Authority:
    """Return a certificate that has ended."""
    return issue(trustme.CA(), "127.0.0.1", ends=datetime.now(UTC) - timedelta(days=1))


def self_signed() -> Authority:
    """Return a certificate of an authority that the client does not know."""
    known, unknown = trustme.CA(), trustme.CA()
    return attrs.evolve(issue(known, "127.0.0.1"), server=issue(unknown, "127.0.0.1").server)


def issue(authority: trustme.CA, name: str, ends: datetime | None = None) -> Authority:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_after=ends).configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return Authority(server=server, client=client)
