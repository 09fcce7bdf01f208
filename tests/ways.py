"""
The ways by which a test's client reaches its server: plain sockets, TLS, and TLS through an HTTP CONNECT proxy.

Each is a column of the same tests. `@pytest.mark.ways("tls", "connect")` says which columns a test has beside the plain
one, and `@pytest.mark.only("plain", reason=…)` that it cannot exist in another; it is then skipped there with its
reason and counted. `--ways` says which columns are played: without it the plain one, and TLS for tests that have all
three, as they are those that upload, download and stream.

On a way other than the plain one every emulator serves TLS unless told otherwise, and every client trusts the authority
of these tests and goes through the proxy. Servers that a test writes itself ask `here()`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trustme
from tunnels import Tunnels

from burncloud_images import AsyncImagesClient, Network, Timeouts
from burncloud_images.emulator import Emulator

__all__ = ["TITLES", "WAYS", "Certificates", "Way", "chosen_ways", "here", "tunnelled"]

WAYS = ("plain", "tls", "connect")
"""In the order of columns."""
NAMES = ("store.example", "images.test", "gateway.test")
"""Hosts that tests make up, and look up themselves."""
HANDSHAKE = 100.0
"""Seconds for a connection: the clock of a test scales times, but not what TLS takes."""
TITLES: Mapping[str, str] = {"plain": "plain", "tls": "TLS", "connect": "CONNECT"}


@attrs.frozen(kw_only=True)
class Certificates:
    """
    One authority for all tests of a process.

    Attributes:
        server: What a server on loopback shows.
        client: What trusts the authority, and nobody else.
        authority: Its PEM file.
        chain: A PEM file of a server's key and certificate, for servers in other processes.
    """

    server: ssl.SSLContext
    client: ssl.SSLContext
    authority: Path
    chain: Path


@attrs.define(kw_only=True)
class Way:
    """
    One way, while a test is on it.

    Attributes:
        name: One of `WAYS`.
        certificates: None on plain sockets.
        proxy: The proxy's URL, where there is one.
    """

    name: str
    certificates: Certificates | None = None
    proxy: str | None = None

    @property
    def server(self) -> ssl.SSLContext | None:
        """What a server hands to asyncio as `ssl`."""
        return self.certificates and self.certificates.server

    @property
    def client(self) -> ssl.SSLContext | None:
        """What a client trusts."""
        return self.certificates and self.certificates.client

    @property
    def chain(self) -> tuple[str, ...]:
        """What a server in another process is handed: a file with a key and certificate, if any."""
        return (str(self.certificates.chain),) if self.certificates else ()

    @property
    def scheme(self) -> str:
        """Of the addresses of servers."""
        return "https" if self.certificates else "http"

    def url(self, port: int) -> str:
        """Return the address of a server on this machine."""
        return f"{self.scheme}://127.0.0.1:{port}"

    def network(self, network: Network | None = None) -> Network:
        """Return how a client reaches the server, what *network* says for itself included."""
        network = network or Network()
        return attrs.evolve(network, ca=network.ca or self.client, proxy=network.proxy or self.proxy)

    def timeouts(self, timeouts: Timeouts | None = None) -> Timeouts:
        """Return *timeouts* with time enough for a handshake, unless they say how much connecting has."""
        timeouts = timeouts or Timeouts()
        unsaid = timeouts.connect == Timeouts().connect
        return attrs.evolve(timeouts, connect=HANDSHAKE) if unsaid and self.certificates else timeouts


CURRENT = Way(name="plain")
"""Replaced for the time of a test."""


def here() -> Way:
    """Return the way of the test that runs."""
    return CURRENT


@asynccontextmanager
async def tunnelled() -> AsyncIterator[Tunnels | None]:
    """Run the proxy that the current way goes through, if it goes through one."""
    if CURRENT.name != "connect":
        yield None
        return
    async with Tunnels() as tunnels:
        CURRENT.proxy = tunnels.url
        try:
            yield tunnels
        finally:
            CURRENT.proxy = None


# --- fixtures --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return an authority, and what it vouches for."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = authority.issue_cert("127.0.0.1", "::1", "localhost", *NAMES)
    issued.configure_cert(server)
    authority.cert_pem.write_to_path(folder / "authority.pem")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "chain.pem")
    client = ssl.create_default_context(cafile=str(folder / "authority.pem"))
    return Certificates(server=server, client=client, authority=folder / "authority.pem", chain=folder / "chain.pem")


@pytest.fixture(autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    """Put a test on its way."""
    name = getattr(request, "param", "plain")
    request.node.user_properties.append(("way", name))
    for mark in request.node.iter_markers("only"):
        if name not in mark.args:
            pytest.skip(f"not over {TITLES[name]}: {mark.kwargs['reason']}")
    if name == "plain":
        yield CURRENT
        return
    chosen = Way(name=name, certificates=request.getfixturevalue("certificates"))
    monkeypatch.setattr("ways.CURRENT", chosen)
    open_doors(monkeypatch, chosen)
    if inspect.iscoroutinefunction(request.function) and "own_tunnels" not in request.keywords:
        request.getfixturevalue("tunnels")
    yield chosen


@pytest.fixture
async def tunnels(leaks: None) -> AsyncIterator[Tunnels | None]:
    """Return the proxy that the test goes through, if there is one."""
    async with tunnelled() as running:
        yield running


def open_doors(monkeypatch: pytest.MonkeyPatch, way: Way) -> None:
    """Have emulators, clients and programs that a test starts go by *way*."""
    assert way.certificates is not None
    serve, make = Emulator.__init__, AsyncImagesClient.__init__

    @functools.wraps(serve)
    def serve_by(emulator: Emulator, **options: Any) -> None:
        serve(emulator, **{"tls": way.server, **options})

    @functools.wraps(make)
    def make_for(client: AsyncImagesClient, *given: Any, **options: Any) -> None:
        fitted = {"network": way.network(options.get("network")), "timeouts": way.timeouts(options.get("timeouts"))}
        make(client, *given, **{**options, **fitted})

    monkeypatch.setattr(Emulator, "__init__", serve_by)
    monkeypatch.setattr(AsyncImagesClient, "__init__", make_for)
    monkeypatch.setenv("SSL_CERT_FILE", str(way.certificates.authority))  # for programs


# --- columns ---------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run choose its columns."""
    parser.addoption("--uvloop", action="store_true", help="run async tests in uvloop's event loop")
    parser.addoption("--ways", help=f"comma-separated columns to play, of {', '.join(WAYS)}")


def pytest_configure(config: pytest.Config) -> None:
    """Check the columns and register the marks."""
    unknown = {*asked_for(config)} - {*WAYS}
    if unknown:
        raise pytest.UsageError(f"--ways: {', '.join(sorted(unknown))} is not one of {', '.join(WAYS)}")
    if config.getoption("--uvloop"):
        config.pluginmanager.register(OtherLoop())
    config.addinivalue_line("markers", "ways(*names): columns that a test has beside the plain one")
    config.addinivalue_line("markers", "only(*names, reason): the only columns in which a test can exist")
    config.addinivalue_line("markers", "own_tunnels: a test starts the proxy itself")


class OtherLoop:
    """Registered where async tests are to run in uvloop's event loop."""

    def pytest_asyncio_loop_factories(self) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
        """Say whose event loops async tests run in."""
        import uvloop

        return {"uvloop": uvloop.new_event_loop}


def asked_for(config: pytest.Config) -> list[str]:
    return [name.strip() for name in (config.getoption("--ways") or "").split(",") if name.strip()]


def chosen_ways(config: pytest.Config, columns: tuple[str, ...]) -> list[str]:
    """Return those of *columns*, and the plain one, that this run plays."""
    asked = asked_for(config) or ["plain", *(["tls"] if "connect" in columns else [])]
    return [name for name in WAYS if name in asked and name in {"plain", *columns}]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Play a test in each of its columns."""
    marks = list(metafunc.definition.iter_markers("ways"))
    if not marks:
        return
    names = chosen_ways(metafunc.config, marks[0].args)
    if names != ["plain"]:
        metafunc.parametrize("way", names or ["none"], indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has no column among those that were asked for."""
    if asked := asked_for(config):
        items[:] = [item for item in items if way_of(item) in asked]


def way_of(item: pytest.Item) -> str:
    """Return the column of a test."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("way", "plain")) if callspec is not None else "plain"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cases each column had, and which could not exist there."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in WAYS}
    reasons: Counter[str] = Counter()
    for outcome in ("passed", "failed", "skipped", "xfailed", "xpassed"):
        for report in terminalreporter.getreports(outcome):
            name = dict(getattr(report, "user_properties", ())).get("way")  # a skipped module has none
            if name is None or report.when not in {"setup", "call"} or (report.when == "setup" and report.passed):
                continue
            reason = str(report.longrepr[2]) if report.skipped and isinstance(report.longrepr, tuple) else ""
            excused = "not over " in reason
            counts[name]["excused" if excused else outcome] += 1
            reasons[reason.partition("Skipped: ")[2] or reason] += excused
    if not counts["tls"] and not counts["connect"]:
        return
    for name, found in ((name, found) for name, found in counts.items() if found):
        ends = ", ".join(f"{number} {outcome}" for outcome, number in found.items() if outcome != "excused")
        terminalreporter.write_line(
            f"{TITLES[name]}: {found.total()} cases: {ends or 'none played'}; {found['excused']} cannot exist there"
        )
    for reason, number in sorted((+reasons).items()):
        terminalreporter.write_line(f"  {number} {reason}")
