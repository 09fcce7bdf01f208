"""`doctor`: checks of the installation, the settings and the connection, with advice; nothing is billed."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import attrs

from burncloud_images.cli.configuration import user_file
from burncloud_images.cli.connection import find_key, open_client
from burncloud_images.cli.exits import USAGE, UsageError, describe, to_exit
from burncloud_images.cli.inputs import Stdin
from burncloud_images.cli.options import Connection, JsonOutput
from burncloud_images.cli.outputs import print_json, print_lines
from burncloud_images.cli.reporting import Reporter
from burncloud_images.client import BASE_URL_VARIABLES, DEFAULT_BASE_URL
from burncloud_images.errors import ConfigurationError, ImagesError
from burncloud_images.wire.base_url import to_base_url

PACKAGES = ("burncloud-images", "aiohttp", "attrs", "tenacity", "cyclopts", "rich")
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")


@attrs.frozen
class Check:
    """
    One check.

    Attributes:
        what: What was checked.
        finding: The result, with advice if there is a problem.
        code: The exit code if there is a problem, else 0.
    """

    what: str
    finding: str
    code: int = 0


async def examine(connection: Connection, output: JsonOutput, reporter: Reporter) -> int:
    """Print all checks and return the code of the first problem, or 0."""
    found: list[Check] = []
    async for check in checks(connection, reporter):
        found.append(check)
        if not output.json:
            print_lines([f"{'problem' if check.code else 'ok':8}{check.what}: {check.finding}"])
    if output.json:
        print_json({"checks": [attrs.asdict(check) for check in found]})
    return next((check.code for check in found if check.code), 0)


async def checks(connection: Connection, reporter: Reporter) -> AsyncIterator[Check]:
    for check in (*installation(), *surroundings()):
        yield check
    stdin = Stdin()
    address = check_address(connection)
    key, connection = check_key(connection, stdin)
    yield address
    yield key
    if address.code or key.code:
        yield Check("API", "not checked, because the base URL or the key cannot be used")
    else:
        yield await check_api(connection, stdin, reporter)


def installation() -> Iterator[Check]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Check("Python", f"{python} at {sys.executable}")
    yield Check("packages", ", ".join(f"{name} {installed(name)}" for name in PACKAGES))
    pillow = find_spec("PIL") is not None
    advice = "missing; the emulator needs it: pip install 'burncloud-images[emulator]'"
    yield Check("Pillow", installed("pillow") if pillow else advice)


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "from a checkout"


def surroundings() -> Iterator[Check]:
    path = user_file()
    yield Check("configuration", f"{path}" if path.is_file() else f"no file {path} (optional)")
    proxies = [name for name in PROXIES if os.environ.get(name)]
    yield Check("proxy", f"{', '.join(proxies)} set in the environment" if proxies else "none in the environment")
    folder = Path.cwd()
    if os.access(folder, os.W_OK | os.X_OK):
        yield Check("current folder", f"{folder} can be written")
    else:
        yield Check("current folder", f"{folder} cannot be written; use --into with another", USAGE)


def check_address(connection: Connection) -> Check:
    if connection.emulator:
        return Check("base URL", "the emulator's")
    found = ((os.environ[name], name) for name in BASE_URL_VARIABLES if os.environ.get(name))
    address, origin = next(found, (DEFAULT_BASE_URL, "the default"))
    if connection.base_url is not None:
        address, origin = connection.base_url, "as given"
    try:
        return Check("base URL", f"{to_base_url(address, allow_http=connection.allow_http)} ({origin})")
    except ConfigurationError as error:
        return Check("base URL", describe(error), to_exit(error))


def check_key(connection: Connection, stdin: Stdin) -> tuple[Check, Connection]:
    if connection.emulator:
        return Check("API key", "the emulator's"), connection
    try:
        found = find_key(connection, stdin)
    except ConfigurationError as error:
        return Check("API key", describe(error), to_exit(error)), connection
    except UsageError as error:
        return Check("API key", str(error), USAGE), connection
    if found is None:
        return Check("API key", "none: set BURNCLOUD_API_KEY or use --api-key-file", USAGE), connection
    return Check("API key", f"found in {found[1]}"), connection


async def check_api(connection: Connection, stdin: Stdin, reporter: Reporter) -> Check:
    """Request the list of models, which needs the key and costs nothing."""
    try:
        async with open_client(attrs.evolve(connection, retries=1), reporter, stdin) as client:
            models = await client.models()
    except ImagesError as error:
        # `describe` would advise to run this command.
        return Check("API", f"{error.message} {error.advice}", to_exit(error))
    except UsageError as error:
        return Check("API", str(error), USAGE)
    return Check("API", f"reachable, accepts the key and lists {len(models)} models")
