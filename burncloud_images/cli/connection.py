"""The client made from the connection options."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import attrs

from burncloud_images import errors
from burncloud_images.cli.exit_codes import UsageError
from burncloud_images.cli.inputs import StandardInput, read_file
from burncloud_images.cli.options import ConnectionOptions
from burncloud_images.cli.reporting import Reporter
from burncloud_images.client import (
    BASE_URL_VARIABLES,
    DEFAULT_BASE_URL,
    KEY_VARIABLES,
    AsyncImagesClient,
    check_key,
    from_environment,
)
from burncloud_images.results import Attempt
from burncloud_images.retry import RetryPolicy
from burncloud_images.settings import Network, Timeouts
from burncloud_images.wire.base_url import is_loopback, to_base_url

if TYPE_CHECKING:
    import ssl

    from burncloud_images.emulator import Emulator

MOST_CONNECTIONS = 100
MEANINGS: Mapping[str, type[errors.APIError]] = {
    "authentication": errors.AuthenticationError,
    "bad-request": errors.BadRequestError,
    "moderation": errors.ModerationError,
    "not-found": errors.NotFoundError,
    "permission": errors.PermissionDeniedError,
    "quota": errors.QuotaExceededError,
    "rate-limit": errors.RateLimitError,
    "server": errors.ServerError,
    "unsupported": errors.UnsupportedError,
}
"""What `--error-code` can call an error."""


@attrs.frozen(kw_only=True)
class Endpoint:
    """
    The base URL and the key, which is never shown.

    Attributes:
        chosen: The base URL as an option or the configuration spells it; None if the client finds it itself.
        api_key: False sends none.
    """

    base_url: str
    api_key: str | Literal[False] = attrs.field(repr=False)
    chosen: str | None = attrs.field(default=None, repr=False)


def find_key(connection: ConnectionOptions, stdin: StandardInput) -> tuple[str, str] | None:
    """
    Return the key and its origin; None if there is none.

    Raises:
        UsageError: Its file cannot be read.
        ConfigurationError: It is not a valid key.
    """
    if connection.no_key:
        if connection.api_key_file is not None:
            raise UsageError("--no-key sends no key, so it cannot be combined with --api-key-file.")
        return None
    if connection.api_key_file is not None:
        path = connection.api_key_file
        content = stdin.open("the key").read() if path == "-" else read_file(path, "key file")
        # Editors end files with a line break; one in the middle is a mistake, which the check finds.
        key = content.decode("latin-1").removesuffix("\n").removesuffix("\r")
        check_key(key)
        return key, "standard input" if path == "-" else path
    for name in KEY_VARIABLES:
        if value := os.environ.get(name):
            check_key(value)
            return value, name
    return None


def to_endpoint(connection: ConnectionOptions, stdin: StandardInput) -> Endpoint:
    """
    Return the base URL and the key.

    Raises:
        UsageError: There is no key.
        ConfigurationError: The base URL or the key cannot be used.
    """
    address = connection.base_url or from_environment(BASE_URL_VARIABLES) or DEFAULT_BASE_URL
    base_url = to_base_url(address, allow_http=connection.allow_http)
    found = find_key(connection, stdin)
    if found is None and not needs_no_key(connection, base_url):
        message = (
            "There is no API key: set BURNCLOUD_API_KEY or use --api-key-file; --no-key sends none, and --emulator "
            "needs none."
        )
        raise UsageError(message)
    return Endpoint(base_url=base_url, api_key=found[0] if found else False, chosen=connection.base_url)


def needs_no_key(connection: ConnectionOptions, base_url: str) -> bool:
    """Say whether requests may go without a key: if the user says so, on this machine, or with another header."""
    if connection.no_key or is_loopback(urlsplit(base_url).hostname or ""):
        return True
    return Network(headers=read_headers(connection.header)).brings_credentials


def read_headers(words: Sequence[str]) -> dict[str, str]:
    """
    Return the headers that *words* spell as `NAME: VALUE` or `NAME: @FILE`; later ones win.

    Raises:
        UsageError: One of them is not spelled so, or its file cannot be read. No message shows a value.
    """
    headers: dict[str, tuple[str, str]] = {}
    for number, word in enumerate(words, start=1):
        name, colon, value = (part.strip() for part in word.partition(":"))
        if not (name and colon):
            raise UsageError(f"--header number {number} has to be 'NAME: VALUE' or 'NAME: @FILE'.")
        if value.startswith("@"):
            value = read_file(value[1:], f"file of the header {name},").decode("latin-1").strip()
        headers[name.lower()] = (name, value)
    return dict(headers.values())


def read_query(words: Sequence[str]) -> dict[str, str]:
    """
    Return the parameters that *words* spell as `NAME=VALUE`.

    Raises:
        UsageError: One of them is not spelled so.
    """
    pairs = [word.partition("=") for word in words]
    for number, (name, mark, _) in enumerate(pairs, start=1):
        if not (name and mark):
            raise UsageError(f"--query number {number} has to be NAME=VALUE.")
    return {name: value for name, _, value in pairs}


@asynccontextmanager
async def open_client(
    connection: ConnectionOptions,
    reporter: Reporter,
    stdin: StandardInput,
    on_attempt: Callable[[Attempt], object] | None = None,
    *,
    max_connections: int = MOST_CONNECTIONS,
) -> AsyncIterator[AsyncImagesClient]:
    """
    Open a client, and start the emulator if asked for.

    Raises:
        UsageError: An option cannot be used.
        ConfigurationError: The base URL or the key cannot be used.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(without_log())
        if connection.emulator:
            server = await stack.enter_async_context(start_emulator(connection))
            reporter.note(f"using an emulator at {server.base_url}: nothing is sent to Burncloud or billed")
            endpoint = Endpoint(base_url=server.base_url, api_key=server.api_key, chosen=server.base_url)
        else:
            endpoint = to_endpoint(connection, stdin)
            reporter.detail(f"sending to {endpoint.base_url}")
        yield await stack.enter_async_context(make_client(connection, endpoint, on_attempt, max_connections))


@contextmanager
def without_log() -> Iterator[None]:
    """Keep the package's log off the terminal, where the reporter writes the same."""
    import logging

    logger, handler = logging.getLogger("burncloud_images"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def make_fetcher(connection: ConnectionOptions) -> AsyncImagesClient:
    """
    Return a client for downloads, which need no key.

    Raises:
        UsageError: An option cannot be used.
        ConfigurationError: The base URL cannot be used.
    """
    address = connection.base_url or from_environment(BASE_URL_VARIABLES) or DEFAULT_BASE_URL
    base_url = to_base_url(address, allow_http=connection.allow_http)
    endpoint = Endpoint(base_url=base_url, api_key=False, chosen=address)
    return make_client(connection, endpoint, None, MOST_CONNECTIONS)


def to_codes(words: Iterable[str]) -> Mapping[str, type[errors.APIError]]:
    """
    Return the classes of errors by the codes that `--error-code` names.

    Raises:
        UsageError: One has another form, or another meaning.
    """
    codes: dict[str, type[errors.APIError]] = {}
    for word in words:
        code, _, meaning = word.rpartition("=")
        if not code.strip() or meaning.strip() not in MEANINGS:
            known = ", ".join(MEANINGS)
            raise UsageError(f"--error-code takes a code and one of {known}, as in 1113=quota, not {word!r}.")
        codes[code.strip()] = MEANINGS[meaning.strip()]
    return codes


def make_client(
    connection: ConnectionOptions,
    endpoint: Endpoint,
    on_attempt: Callable[[Attempt], object] | None,
    max_connections: int,
) -> AsyncImagesClient:
    try:
        codes = to_codes(connection.error_code)
        retry = RetryPolicy(attempts=connection.retries, deadline=connection.deadline, codes=codes)
        timeouts = Timeouts(first_byte=connection.timeout)
    except ValueError:
        raise UsageError("--retries has to be at least 1, --timeout greater than 0, --deadline not negative.") from None
    return AsyncImagesClient(
        api_key=endpoint.api_key,
        base_url=endpoint.chosen,
        retry=retry,
        timeouts=timeouts,
        validation=connection.validation,
        network=to_network(connection, endpoint.base_url),
        max_connections=max_connections,
        on_attempt=on_attempt,
        dialect=connection.dialect,
    )


def to_network(connection: ConnectionOptions, base_url: str) -> Network:
    if connection.proxy is not None:
        parts = urlsplit(connection.proxy)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError("The proxy has to be a URL such as http://host:port; SOCKS proxies are not supported.")
    return Network(
        proxy=connection.proxy,
        ca=load_authorities(connection.cacert) if connection.cacert is not None else None,
        allow_http=connection.allow_http,
        allowed_result_hosts=connection.result_host,
        headers=read_headers(connection.header),
        query=read_query(connection.query),
        # As curl does; but an unencrypted key goes to the named host only, never to a proxy.
        trust_env=base_url.startswith("https:"),
    )


def load_authorities(path: str) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=path)
    except OSError as error:  # SSLError is one
        reason = "it is not a PEM file" if isinstance(error, ssl.SSLError) else error.strerror
        raise UsageError(f"The certificates in {path} cannot be read: {reason}.") from None
    return context


@asynccontextmanager
async def start_emulator(connection: ConnectionOptions) -> AsyncIterator[Emulator]:
    if connection.base_url is not None or connection.api_key_file is not None:
        raise UsageError("--emulator has its own URL and key; leave out --base-url and --api-key-file.")
    from burncloud_images.emulator import Emulator

    server = Emulator()
    try:
        await server.start()
    except ModuleNotFoundError as error:
        raise UsageError(f"{error}.") from None
    try:
        yield server
    finally:
        await server.stop()
