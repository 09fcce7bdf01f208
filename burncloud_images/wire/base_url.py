"""Where the API is: a base URL in any of its spellings becomes one form, and its query is kept apart."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, parse_qsl, urlsplit

from burncloud_images.errors import ConfigurationError
from burncloud_images.model.inputs import SCHEME

VERSION = "/v1"
ENDPOINTS = re.compile(r"/(?:images/(?:generations|edits|variations)|chat/completions|responses)$")
"""What is pasted along with a base URL."""


def to_base_url(spelling: str, *, allow_http: bool = False, base_path: str = VERSION) -> str:
    """
    Return the base URL, with scheme and path and without a final slash, an endpoint or a query.

    Args:
        spelling: A host, a host with a slash, or a URL. Without a path it gets `/v1`; a path is taken as it is, since
            gateways have versions of their own: `/api/v3`, `/v1beta/openai`. A bare host means https, but for
            loopback, where nothing listens with a certificate.
        base_path: What a URL without a path gets.
        allow_http: Whether the key may travel unencrypted to hosts other than loopback.

    Raises:
        ConfigurationError: It is not a base URL, or it would send the key unencrypted.
    """
    parts, scheme = parse(spelling)
    host = parts.hostname or ""
    if scheme == "http" and not allow_http and not is_loopback(host):
        message = (
            f"The base URL {shown(spelling)} would send the key unencrypted; use https, or Network(allow_http=True)."
        )
        raise ConfigurationError(message)
    path = ENDPOINTS.sub("", parts.path.rstrip("/")).rstrip("/")
    return f"{scheme}://{parts.netloc}{path or base_path}"


def find_query(spelling: str) -> dict[str, str]:
    """
    Return the query of a base URL, which each request to the API gets: `api-version=2026-01-01`.

    Raises:
        ConfigurationError: It is not a base URL.
    """
    parts, _ = parse(spelling)
    return dict(parse_qsl(parts.query, keep_blank_values=True))


def parse(spelling: str) -> tuple[SplitResult, str]:
    text = spelling.strip()
    if not text or re.search(r"[\s\x00-\x1f\x7f\\]", text):
        message = f"The base URL {shown(spelling)} is empty or holds white space or control characters."
        raise ConfigurationError(message)
    parts = split(text if SCHEME.match(text) else f"//{text}", spelling)
    scheme = parts.scheme.lower() or ("http" if is_loopback(parts.hostname or "") else "https")
    check(parts, scheme, spelling)
    return parts, scheme


def split(text: str, spelling: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"The base URL {shown(spelling)} cannot be read.") from None
    if not parts.hostname or port == 0:
        raise ConfigurationError(f"The base URL {shown(spelling)} names no host.")
    return parts


def shown(spelling: str) -> str:
    """Return the repr of *spelling* without a password and without a query, which may hold a key."""
    return "'…'" if "@" in spelling else repr(re.sub(r"[?#].*", "…", spelling, flags=re.DOTALL))


def check(parts: SplitResult, scheme: str, spelling: str) -> None:
    if scheme not in {"http", "https"}:
        raise ConfigurationError(f"The base URL {shown(spelling)} is neither http nor https.")
    if "@" in parts.netloc:
        raise ConfigurationError("The base URL holds a user name or password; the key is given as api_key.")
    if parts.fragment:
        raise ConfigurationError("The base URL holds a fragment, which is never sent.")


def is_loopback(host: str) -> bool:
    """Say whether *host* is this machine, by its name or address."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_this_machine(host: str, name: str) -> bool:
    """Say whether *host* is this machine by any of its names: as `is_loopback`, as all its addresses, or its *name*."""
    if is_loopback(host) or host.lower().rstrip(".") == name.lower():
        return True
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def origin(url: str) -> tuple[str, str, int]:
    """
    Return scheme, host and port of *url*.

    Source:
        RFC 6454 §4.
    """
    parts = urlsplit(url)
    return parts.scheme.lower(), (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)
