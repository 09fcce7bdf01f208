"""
Which addresses and redirects a download may touch.

A result URL comes from a server and is fetched by our machine, which may stand inside a network that the server cannot
see. So names, literals and redirects are all checked where no spelling can hide an address: at the socket.

Source: RFC 6890 and its IANA registries (special-purpose addresses), RFC 4291 §2.4 (what of IPv6 is global), RFC 6052
(NAT64), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 9637 (documentation).
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

import attrs

from burncloud_images.errors import DownloadRefusedError
from burncloud_images.wire.base_url import is_this_machine

LONGEST_URL = 8192
HOST = re.compile(r"[0-9a-z._-]{1,253}|\[[0-9a-f:.]+\]", re.ASCII | re.IGNORECASE)
"""A name or an address that every reader of URLs reads alike."""
FORBIDDEN = re.compile(r"[\s\\]")
PORTS = {"https": 443, "http": 80}

# `ipaddress` calls everything global that its own list does not name: so also what nobody has assigned, the old
# site-local addresses, and most forms that carry an IPv4 address of any kind: NAT64, compatible, translated.
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Within it, 6to4 and Teredo carry IPv4 addresses too. Others lead to whatever box of the own network answers to them,
# or are for documents, which older Pythons do not know.
NOT_GLOBAL = tuple(
    ipaddress.ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20")
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
        if ip not in GLOBAL_UNICAST:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in NOT_GLOBAL)


@attrs.frozen(kw_only=True)
class AddressPolicy:
    """
    What may be fetched.

    Only the usual ports may be asked: 443, and 80 if unencrypted addresses are allowed.

    Attributes:
        allow_http: Whether unencrypted addresses are allowed.
        exempt: Hosts, or `host:port`, that the operator vouches for, wherever they are.
        own_port: Of an API on this machine, whose results may be fetched from it under any of the machine's names.
        own_name: This machine's name.
    """

    allow_http: bool = False
    exempt: frozenset[str] = frozenset()
    own_port: int | None = None
    own_name: str = ""

    def is_exempt(self, url: str) -> bool:
        """Say whether the operator vouches for the host of *url*."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or PORTS.get(parts.scheme)
        shown = f"[{host}]" if ":" in host else host
        own = self.own_port is not None and port == self.own_port and is_this_machine(host, self.own_name)
        return own or bool({host, f"{shown}:{port}"} & self.exempt)

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
            # No operator can vouch for a URL that is wrong in itself.
            host = urlsplit(url).hostname if url_problem(url, previous) is None else None
            raise DownloadRefusedError(f"The image's address is refused: {problem}.", url=url, host=host)

    def problem(self, url: str, previous: str | None) -> str | None:
        problem = url_problem(url, previous)
        if problem or self.is_exempt(url):
            return problem
        parts = urlsplit(url)
        return self.public_problem(parts.scheme, parts.hostname or "", parts.port)

    def public_problem(self, scheme: str, host: str, port: int | None) -> str | None:
        if scheme == "http" and not self.allow_http:
            return f"{host} would be reached unencrypted"
        if port not in {None, 443, 80 if self.allow_http else 443}:
            return f"it names port {port} of {host}"
        return literal_problem(host)


def url_problem(url: str, previous: str | None) -> str | None:
    """Return what is wrong with a URL whoever vouches for its host."""
    if len(url) > LONGEST_URL or not url.isprintable() or FORBIDDEN.search(url):
        return "it is too long or has characters that an address cannot have"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "it cannot be read"
    problem = form_problem(parts, port)
    if problem is None and parts.scheme == "http" and previous is not None and urlsplit(previous).scheme == "https":
        problem = f"{parts.hostname} would be reached unencrypted after a redirect"
    return problem


def form_problem(parts: SplitResult, port: int | None) -> str | None:
    if parts.scheme not in PORTS:
        return f"{parts.scheme or 'no scheme'} is neither https nor http"
    if "@" in parts.netloc:
        return "it holds a user name"
    if not HOST.fullmatch(parts.netloc.removesuffix(f":{port}")):
        return "its host is neither a name nor a plain address"
    return None


def literal_problem(host: str) -> str | None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # A name, whose addresses are checked at the socket; but not a number in disguise.
        last = host.rstrip(".").rpartition(".")[2]
        disguised = last.isdigit() or last.startswith("0x")
        return f"{host} is neither a host name nor a plain address" if disguised else None
    return None if is_public(host) else f"{host} is not a public address"
