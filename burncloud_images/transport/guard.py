"""
Which addresses and redirects a download may touch.

A result URL comes from a server and is fetched by our machine, which may stand inside a network that the server cannot
see. So names, literals and redirects are all checked where no spelling can hide an address: at the socket.

Source: RFC 6890 and its IANA registries (special-purpose addresses), RFC 6052 (NAT64), RFC 3056 (6to4).
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import attrs

from burncloud_images.errors import DownloadRefusedError

__all__ = ["Guard", "is_public"]

LONGEST_URL = 8192

# `ipaddress` counts these as global although an IPv4 address of any kind is inside, or nobody in particular is meant.
CARRIERS = tuple(
    ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "::/96", "2001::/32")
)


def is_public(address: str) -> bool:
    """Say whether *address*, an IP address, belongs to the public internet."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in network for network in CARRIERS):
            return False
    return ip.is_global and not ip.is_multicast


@attrs.frozen(kw_only=True)
class Guard:
    """
    What may be fetched.

    Attributes:
        allow_http: Whether unencrypted addresses are allowed.
        exempt: Hosts, or `host:port`, that the operator vouches for, wherever they are.
    """

    allow_http: bool = False
    exempt: frozenset[str] = frozenset()

    def is_exempt(self, url: str) -> bool:
        """Say whether the operator vouches for the host of *url*."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        port = parts.port or (443 if parts.scheme == "https" else 80)
        shown = f"[{host}]" if ":" in host else host
        return bool({host, f"{shown}:{port}"} & self.exempt)

    def check(self, url: str, *, previous: str | None = None) -> None:
        """
        Refuse an address that no download may touch.

        Args:
            url: Where to go next.
            previous: Where the redirect to it came from.

        Raises:
            DownloadRefusedError: Its message does not show the query.
        """
        problem = self.problem(url, previous)
        if problem:
            raise DownloadRefusedError(f"The image's address is refused: {problem}.", url=url)

    def problem(self, url: str, previous: str | None) -> str | None:  # noqa: PLR0911 (one per rule)
        if len(url) > LONGEST_URL or not url.isprintable():
            return "it is too long or holds control characters"
        try:
            parts = urlsplit(url)
            exempt = self.is_exempt(url)
        except ValueError:
            return "it cannot be read"
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            return f"{parts.scheme or 'no scheme'} is neither https nor http"
        if parts.username is not None or parts.password is not None:
            return "it holds a user name"
        if parts.scheme == "http" and previous is not None and previous.startswith("https:"):
            return f"{parts.hostname} would be reached unencrypted after a redirect"
        if parts.scheme == "http" and not self.allow_http and not exempt:
            return f"{parts.hostname} would be reached unencrypted"
        return None if exempt else self.literal_problem(parts.hostname)

    def literal_problem(self, host: str) -> str | None:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            # A name, whose addresses are checked at the socket; but not a number in disguise.
            last = host.rstrip(".").rpartition(".")[2]
            disguised = not host.isascii() or last.isdigit() or last.startswith("0x")
            return f"{host} is neither a host name nor a plain address" if disguised else None
        return None if is_public(host) else f"{host} is no public address"
