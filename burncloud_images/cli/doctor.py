"""`doctor`: checks of the installation, the settings and the connection, with advice; nothing is billed."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import attrs

from burncloud_images.cli.configuration import is_visible, user_file
from burncloud_images.cli.connection import find_key, needs_no_key, open_client, read_headers, read_query
from burncloud_images.cli.exit_codes import USAGE, UsageError, describe, to_exit
from burncloud_images.cli.inputs import StandardInput
from burncloud_images.cli.options import ConnectionOptions, JsonOptions
from burncloud_images.cli.outputs import print_json, print_lines
from burncloud_images.cli.reporting import Reporter
from burncloud_images.cli.retired_models import find_endings
from burncloud_images.client import BASE_URL_VARIABLES, DEFAULT_BASE_URL, MODEL_VARIABLES, from_environment
from burncloud_images.errors import ConfigurationError, ImagesError
from burncloud_images.results import ModelInfo
from burncloud_images.wire.base_url import to_base_url

PACKAGES = ("burncloud-images", "aiohttp", "attrs", "tenacity", "cyclopts", "rich")
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")


@attrs.frozen
class DoctorCheck:
    """
    One check.

    Attributes:
        finding: The result, with advice if there is a problem.
        code: The exit code if there is a problem, else 0.
    """

    what: str
    finding: str
    code: int = 0


async def examine(connection: ConnectionOptions, output: JsonOptions, reporter: Reporter) -> int:
    """Print all checks and return the code of the first problem, or 0."""
    found: list[DoctorCheck] = []
    async for check in checks(connection, reporter):
        found.append(check)
        if not output.json:
            print_lines([f"{'problem' if check.code else 'ok':8}{check.what}: {check.finding}"])
    if output.json:
        print_json({"checks": [attrs.asdict(check) for check in found]})
    return next((check.code for check in found if check.code), 0)


async def checks(connection: ConnectionOptions, reporter: Reporter) -> AsyncIterator[DoctorCheck]:
    for check in (*installation(), *surroundings()):
        yield check
    stdin = StandardInput()
    address = check_address(connection)
    key, connection = check_key(connection, stdin)
    yield address
    yield key
    additions = check_additions(connection)
    yield additions
    if address.code or key.code or additions.code:
        yield DoctorCheck("API", "not checked, because the base URL or the key cannot be used")
    else:
        yield await check_api(connection, stdin, reporter)


def installation() -> Iterator[DoctorCheck]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield DoctorCheck("Python", f"{python} at {sys.executable}")
    yield DoctorCheck("packages", ", ".join(f"{name} {installed(name)}" for name in PACKAGES))
    pillow = find_spec("PIL") is not None
    advice = "missing; the emulator needs it: pip install 'burncloud-images[emulator]'"
    yield DoctorCheck("Pillow", installed("pillow") if pillow else advice)


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "from a checkout"


def surroundings() -> Iterator[DoctorCheck]:
    path = user_file()
    if path is None:
        yield DoctorCheck("configuration", "no home folder, so no file (optional); --config names one")
    else:
        yield DoctorCheck("configuration", f"{path}" if is_visible(path) else f"no file {path} (optional)")
    proxies = [name for name in PROXIES if os.environ.get(name)]
    yield DoctorCheck("proxy", f"{', '.join(proxies)} set in the environment" if proxies else "none in the environment")
    yield current_folder()


def current_folder() -> DoctorCheck:
    try:
        folder = Path.cwd()
    except OSError:
        return DoctorCheck("current folder", "it was removed; change to another", USAGE)
    if os.access(folder, os.W_OK | os.X_OK):
        return DoctorCheck("current folder", f"{folder} can be written")
    return DoctorCheck("current folder", f"{folder} cannot be written; use --into with another", USAGE)


def check_address(connection: ConnectionOptions) -> DoctorCheck:
    if connection.emulator:
        return DoctorCheck("base URL", "the emulator's")
    found = ((os.environ[name], name) for name in BASE_URL_VARIABLES if os.environ.get(name))
    address, origin = next(found, (DEFAULT_BASE_URL, "the default"))
    if connection.base_url is not None:
        address, origin = connection.base_url, "as given"
    try:
        return DoctorCheck("base URL", f"{to_base_url(address, allow_http=connection.allow_http)} ({origin})")
    except ConfigurationError as error:
        return DoctorCheck("base URL", describe(error), to_exit(error))


def check_key(connection: ConnectionOptions, stdin: StandardInput) -> tuple[DoctorCheck, ConnectionOptions]:
    if connection.emulator:
        return DoctorCheck("API key", "the emulator's"), connection
    try:
        found = find_key(connection, stdin)
    except ConfigurationError as error:
        return DoctorCheck("API key", describe(error), to_exit(error)), connection
    except UsageError as error:
        return DoctorCheck("API key", str(error), USAGE), connection
    if found is None:
        return no_key(connection), connection
    return DoctorCheck("API key", f"found in {found[1]}"), connection


def no_key(connection: ConnectionOptions) -> DoctorCheck:
    address = connection.base_url or from_environment(BASE_URL_VARIABLES) or DEFAULT_BASE_URL
    try:
        is_fine = needs_no_key(connection, to_base_url(address, allow_http=True))
    except ConfigurationError as error:
        return DoctorCheck("API key", describe(error), to_exit(error))
    except UsageError as error:
        return DoctorCheck("API key", str(error), USAGE)
    if is_fine:
        return DoctorCheck("API key", "none is sent")
    return DoctorCheck("API key", "none: set BURNCLOUD_API_KEY or use --api-key-file, or --no-key", USAGE)


def check_additions(connection: ConnectionOptions) -> DoctorCheck:
    """Return the names of further headers and parameters; their values may be secret."""
    try:
        names = [*read_headers(connection.header), *read_query(connection.query)]
    except UsageError as error:
        return DoctorCheck("headers and query", str(error), USAGE)
    return DoctorCheck("headers and query", ", ".join(names) or "none of your own")


async def check_api(connection: ConnectionOptions, stdin: StandardInput, reporter: Reporter) -> DoctorCheck:
    """Request the list of models, which needs the key and costs nothing."""
    try:
        async with open_client(attrs.evolve(connection, retries=1), reporter, stdin) as client:
            models = await client.models()
    except ImagesError as error:
        # `describe` would advise to run this command.
        return DoctorCheck("API", f"{error.message} {error.advice}", to_exit(error))
    except UsageError as error:
        return DoctorCheck("API", str(error), USAGE)
    default = from_environment(MODEL_VARIABLES)
    others = [ModelInfo(id=default)] if default and default not in {model.id for model in models} else []
    endings = [f"; {ending}" for ending in find_endings([*models, *others])]
    return DoctorCheck("API", f"reachable, accepts the key and lists {len(models)} models{''.join(endings)}")
