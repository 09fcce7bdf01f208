"""Settings of a client: timeouts, size limits and the network."""

from __future__ import annotations

import ipaddress
import os
import re
import warnings
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlencode

import attrs

from burncloud_images.errors import ConfigurationError, ImagesWarning
from burncloud_images.results import Attempt
from burncloud_images.retry import RetryPolicy, to_names

if TYPE_CHECKING:
    import ssl

    from burncloud_images.wire.dialects import Dialect

VERSION = "0.1.0"
"""As in pyproject.toml; to ask the installed package for it takes as long as a small request."""

Validation: TypeAlias = Literal["warn", "strict", "off"]
OnAttempt: TypeAlias = Callable[[Attempt], object]

MIB = 1024 * 1024


def positive(_options: object, attribute: attrs.Attribute[Any], value: float) -> None:
    """Refuse a value that is not a limit."""
    if not value > 0:  # nan is not
        raise ValueError(f"{attribute.name} has to be more than 0, not {value}")


# What the client or aiohttp decides, or what belongs to a connection.
OWN_HEADERS = frozenset(
    {
        *("accept", "content-encoding", "content-length", "content-type", "expect", "host", "idempotency-key"),
        *("connection", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CREDENTIALS = frozenset({"authorization", "api-key", "x-api-key", "x-goog-api-key", "ocp-apim-subscription-key"})
"""Headers by which gateways know their users."""


def sendable(_options: object, _attribute: attrs.Attribute[Any], headers: Mapping[str, str]) -> None:
    """Refuse headers that cannot be sent, without showing their values."""
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"Network.headers: {name!r} is not a valid name.")
        if name.lower() in OWN_HEADERS:
            raise ConfigurationError(f"Network.headers: {name} is set by the client.")
        if not value.isprintable() or max(map(ord, value), default=0) > 255:
            raise ConfigurationError(f"Network.headers: {name} holds a character that a header cannot have.")


SECRET_NAME = re.compile(r"auth|code|credential|key|pass|secret|sig|token", re.IGNORECASE)


def show_names(values: Mapping[str, str]) -> str:
    """Return a repr that shows no value: they may be secret."""
    return f"{{{', '.join(f'{name!r}: …' for name in values)}}}"


def known_proxy(_options: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    """Refuse a proxy that is not asked by HTTP."""
    if value is not None:
        to_proxy(value, f"Network.{attribute.name}")


@attrs.frozen(kw_only=True)
class Timeouts:
    """
    Maximum seconds for each stage of an attempt. Waiting for a free connection does not count.

    Attributes:
        connect: Name resolution, TCP and TLS together.
        send_stall: Until more of the body leaves.
        first_byte: From the end of the request to the beginning of the answer. Images take minutes, and an answer that
            is not awaited may still be billed: do not shorten it to be quick.
        idle: Until more of the answer comes: a KiB, or some of a stream.
        download_first_byte: The same for result URLs.
        download_idle: The same for result URLs.
    """

    connect: float = attrs.field(default=10.0, validator=positive)
    send_stall: float = attrs.field(default=30.0, validator=positive)
    first_byte: float = attrs.field(default=600.0, validator=positive)
    idle: float = attrs.field(default=60.0, validator=positive)
    download_first_byte: float = attrs.field(default=30.0, validator=positive)
    download_idle: float = attrs.field(default=20.0, validator=positive)


@attrs.frozen(kw_only=True)
class Limits:
    """
    Maximum sizes in bytes. `TooLargeError` names the one that was exceeded.

    Attributes:
        image: One image.
        response: One answer.
        event: One server-sent event.
        error_body: An error answer; the rest is not read.
        upload: One image to upload; larger ones are refused before anything is sent.
        spool: A source that can be read once, such as an async iterator. It is kept for another attempt, up to 8 MiB in
            memory and beyond that in an unnamed temporary file. 0 refuses such sources.
    """

    image: int = attrs.field(default=64 * MIB, validator=positive)
    response: int = attrs.field(default=1024 * MIB, validator=positive)
    event: int = attrs.field(default=96 * MIB, validator=positive)
    error_body: int = attrs.field(default=1 * MIB, validator=positive)
    upload: int = attrs.field(default=50 * MIB, validator=positive)
    spool: int = attrs.field(default=1024 * MIB, validator=attrs.validators.ge(0))


@attrs.frozen(kw_only=True)
class Network:
    """
    How to reach the network.

    Attributes:
        proxy: URL of an HTTP or HTTPS proxy. SOCKS is refused: the key would be sent to it unencrypted.
        ca: A PEM file of further certificate authorities, or an `ssl.SSLContext`.
        allow_http: Whether the API may be unencrypted on hosts other than loopback, and result URLs on public ones.
        allowed_result_hosts: Hosts, or `host:port`, whose result URLs may lie on private addresses, be unencrypted and
            name any port: a gateway of your own. The API's own host and port are always allowed.
        trust_env: Whether the proxy variables of the environment count. `.netrc` is never read.
        headers: Sent with each request to the API, and never to the hosts of results: a tenant, or a gateway's own
            key. No repr shows their values.
        query: Added to the URL of each request to the API. A base URL's own query is added as well.
    """

    proxy: str | None = attrs.field(
        default=None, validator=known_proxy, repr=lambda proxy: repr(proxy and proxy.rpartition("@")[2])
    )
    ca: str | os.PathLike[str] | ssl.SSLContext | None = None
    allow_http: bool = False
    allowed_result_hosts: tuple[str, ...] = attrs.field(default=(), converter=to_names)
    trust_env: bool = False
    headers: Mapping[str, str] = attrs.field(factory=dict, validator=sendable, repr=show_names)
    query: Mapping[str, str] = attrs.field(factory=dict, repr=show_names)

    @property
    def brings_credentials(self) -> bool:
        """Whether a header of its own says who the user is."""
        return any(name.lower() in CREDENTIALS for name in self.headers)


@attrs.frozen(kw_only=True, slots=False)
class Settings:
    """
    All settings of calls, of one client or of a copy made by `with_options`.

    Attributes:
        base_url: With scheme and path and without a final slash or query.
        key: Asked for every attempt.
        model: For requests that name none.
        retry: What is sent again, and when.
        timeouts: Of each stage.
        limits: The caps.
        network: How to reach the network.
        validation: What to do about requests that the API's documentation does not allow.
        on_attempt: Sees each attempt as it ends.
        base_url_source: Where the base URL was set, as a sentence; empty if that is not known.
        dialect: What is known of the server; None if nothing is.
        query: Of the base URL.
    """

    base_url: str
    key: Callable[[], Awaitable[str]] = attrs.field(repr=False)
    model: str | None = None
    retry: RetryPolicy = attrs.field(factory=RetryPolicy)
    timeouts: Timeouts = attrs.field(factory=Timeouts)
    limits: Limits = attrs.field(factory=Limits)
    network: Network = attrs.field(factory=Network)
    validation: Validation = attrs.field(default="warn", validator=attrs.validators.in_(("warn", "strict", "off")))
    on_attempt: OnAttempt | None = None
    base_url_source: str = ""
    dialect: Dialect | None = None
    query: Mapping[str, str] = attrs.field(factory=dict, repr=show_names)

    @property
    def key_header(self) -> str:
        """The header of the key."""
        return self.dialect.key_header if self.dialect is not None else "Authorization"

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """The values of further headers and of queries that are as secret as the key, by their names."""
        sent = (*self.network.headers.items(), *self.network.query.items(), *self.query.items())
        values = [value for name, value in sent if SECRET_NAME.search(name)]
        return tuple(part for value in values for part in (value, *value.split()[1:]))

    def url(self, path: str) -> str:
        """Return the URL of an endpoint of the API."""
        return self.with_query(self.base_url + path)

    def with_query(self, url: str) -> str:
        """Return a URL of the API with what is added to each, unless it has a query of its own."""
        query = {**self.query, **self.network.query}
        return f"{url}?{urlencode(query)}" if query and "?" not in url else url


def to_ssl(network: Network) -> ssl.SSLContext | bool:
    """
    Return what aiohttp takes as `ssl`, with a warning where others could read along.

    Raises:
        ConfigurationError: The file of authorities cannot be used.
    """
    import ssl

    if os.environ.get("SSLKEYLOGFILE"):
        warnings.warn(
            "SSLKEYLOGFILE is set: anyone who can read that file can read the key.", ImagesWarning, stacklevel=2
        )
    if network.ca is None:
        return True
    if isinstance(network.ca, ssl.SSLContext):
        if network.ca.verify_mode == ssl.CERT_NONE:
            message = "Network(ca=…) does not verify certificates: anybody on the way can read the key."
            warnings.warn(message, ImagesWarning, stacklevel=2)
        return network.ca
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=os.fspath(network.ca))
    except ssl.SSLError:
        raise ConfigurationError(f"The file {network.ca}, given as Network.ca, holds no PEM certificate.") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise ConfigurationError(f"The file {network.ca}, given as Network.ca, cannot be read: {reason}.") from None
    return context


def proxy_for(network: Network, scheme: str, host: str) -> str | None:
    """
    Return the proxy for an address, if there is one.

    Raises:
        ConfigurationError: The environment names a proxy that does not use HTTP.
    """
    found = find_proxy(network, scheme, host)
    return found[0] if found is not None else None


def find_proxy(network: Network, scheme: str, host: str) -> tuple[str, str] | None:
    """
    Return the proxy for an address, if there is one, and where it was set.

    Raises:
        ConfigurationError: The environment names a proxy that does not use HTTP.
    """
    if network.proxy is not None:
        return to_proxy(network.proxy, "Network.proxy"), "Network.proxy"
    if not network.trust_env:
        return None
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    found = next((kind for kind in (scheme, "all") if proxies.get(kind)), None)
    if found is None or proxy_bypass(host) or is_in_networks(host, proxies.get("no", "")):
        return None
    source = f"the variable {found.upper()}_PROXY"
    return to_proxy(proxies[found], source), source


def is_in_networks(host: str, no_proxy: str) -> bool:
    """Say whether *host* is an address in one of the networks of a NO_PROXY variable, such as `10.0.0.0/8`."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    for entry in no_proxy.split(","):
        with suppress(ValueError):
            if address in ipaddress.ip_network(entry.strip(), strict=False):
                return True
    return False


def to_proxy(spelling: str, source: str) -> str:
    """
    Return the URL of a proxy; without a scheme it is an HTTP proxy, as for curl.

    Raises:
        ConfigurationError: It is of another kind. aiohttp would send it requests as they are, with the key.
    """
    from urllib.parse import urlsplit

    url = spelling if "://" in spelling else f"http://{spelling}"
    try:
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
    except ValueError:
        scheme, host = "http", None
    if scheme not in {"http", "https"}:
        raise ConfigurationError(f"The proxy in {source} is asked by {scheme}; only http:// and https:// can be used.")
    if not host:
        raise ConfigurationError(f"The proxy in {source} has no host; it is a URL as http://host:port.")
    return url
