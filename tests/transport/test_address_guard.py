"""A result URL may not make this machine ask its neighbours; with the guard off, it does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import pytest
from fakes import FakeClock
from pictures import png
from raw import serve
from ways import here

from burncloud_images import AsyncImagesClient, GenerationRequest, Network, RetryPolicy, errors
from burncloud_images.transport import http
from burncloud_images.transport.address_guard import AddressPolicy, is_public

pytestmark = pytest.mark.ways("tls")

IMAGE = png()
REQUEST = GenerationRequest("otter", model="m")
OPEN = Network(allow_http=True)

NOT_PUBLIC = [
    *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.255", "169.254.169.254", "172.16.0.1"),
    *("192.0.0.9", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "203.0.113.1", "224.0.0.1", "240.0.0.1"),
    *("255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::7f00:1", "100::1", "2001::1", "2001:1::1", "2001:db8::1"),
    *("2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1"),
    *("", "localhost", "127.1", "1.2.3.4.5"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_is_not_public(address):
    """Addresses that are private, reserved or multicast, or carry such an address, are not public."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "::ffff:8.8.8.8", "2606:4700::1111", "2a00:1450::1"])
def test_an_address_is_public(address):
    """Global unicast addresses of both families are public."""
    assert is_public(address)


class TestRules:
    """What an address may look like."""

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("https://store.example/" + "x" * 8171, "too long"),
            ("https://store.example/a b", "characters"),
            ("https://store.example/a\\b", "characters"),
            ("https://allowed.example\\.evil.example/", "characters"),
            ("https://store.example/\x00", "characters"),
            ("https://store.example/\u2028", "characters"),
            (" https://store.example/", "characters"),
            ("https://store.example:x/", "cannot be read"),
            ("https://[::1/", "cannot be read"),
            ("https://store.example:99999/", "cannot be read"),
            ("ftp://store.example/", "ftp is neither"),
            ("data:image/png;base64,AAAA", "data is neither"),
            ("/a.png", "no scheme is neither"),
            ("https://user@store.example/", "user name"),
            ("https://:pw@store.example/", "user name"),
            ("https://@store.example/", "user name"),
            ("https:///a.png", "neither a name"),
            ("https://store.example:/", "neither a name"),
            ("https://" + "x" * 254 + "/", "neither a name"),
            ("https://st\u00f6re.example/", "neither a name"),
            ("https://\u2460\u2461\u2466.0.0.1/", "neither a name"),
            ("https://store%2eexample/", "neither a name"),
            ("https://[fe80::1%25eth0]/", "neither a name"),
            ("https://0x7f.1/", "neither a host name"),
            ("https://store.0x7f/", "neither a host name"),
            ("https://2130706433/", "neither a host name"),
            ("https://127.1./", "neither a host name"),
            ("https://127.0.0.1/", "127.0.0.1 is not a public"),
            ("https://[64:ff9b::7f00:1]/", "is not a public"),
            ("http://store.example/", "unencrypted"),
            ("https://store.example:8443/", "port 8443"),
            ("https://store.example:80/", "port 80"),
            ("https://store.example:0/", "port 0"),
        ],
    )
    def test_refuse(self, url, why):
        """The error says why the URL is refused and does not show its query."""
        with pytest.raises(errors.DownloadRefusedError, match=why) as caught:
            AddressPolicy().check(f"{url}?sig=canary" if "]" in url else url)

        assert "canary" not in str(caught.value)

    @pytest.mark.parametrize(
        "url",
        [
            "https://store.example/" + "x" * 8170,
            "https://" + "x" * 253 + "/",
            "https://Store_1.example.:443/a%20b?x=+%2b#f",
            "https://93.184.215.14/",
            "https://[2606:4700::1111]:443/",
            "HTTPS://store.example",
            "https://store.example/\u00f6",
        ],
    )
    def test_allow(self, url):
        """A public URL on a usual port is allowed, whatever its query holds."""
        AddressPolicy().check(url)

    @pytest.mark.parametrize(
        ("scheme", "allow_http", "expected"),
        [("https", False, [443]), ("http", False, []), ("https", True, [80, 443]), ("http", True, [80, 443])],
    )
    def test_refuse_all_other_ports(self, scheme, allow_http, expected):
        """Of all ports only 443 may be asked, and 80 as well if unencrypted URLs are allowed."""
        guard = AddressPolicy(allow_http=allow_http)
        allowed = []
        for port in (0, 1, 22, 79, 80, 81, 441, 442, 443, 444, 8080, 8443, 65535):
            with contextlib.suppress(errors.DownloadRefusedError):
                guard.check(f"{scheme}://store.example:{port}/")
                allowed.append(port)

        assert expected == allowed

    @pytest.mark.parametrize("port", ["", ":80", ":443"])
    def test_allow_unencrypted_ones_if_told(self, port):
        """Unencrypted URLs are allowed on the usual ports if the option says so."""
        guard = AddressPolicy(allow_http=True)
        guard.check(f"http://store.example{port}/")
        with pytest.raises(errors.DownloadRefusedError, match="port 8080"):
            guard.check("http://store.example:8080/")
        with pytest.raises(errors.DownloadRefusedError, match="unencrypted after a redirect"):
            guard.check(f"http://store.example{port}/", previous="HTTPS://store.example/")
        guard.check(f"http://store.example{port}/", previous="http://store.example/")
        guard.check("https://store.example/", previous="https://store.example/")

    @pytest.mark.parametrize(
        ("url", "allowed"),
        [
            ("http://localhost:8000/a", True),
            ("http://LOCALHOST.:8000/a", True),
            ("http://127.0.0.1:8000/a", True),
            ("http://127.1.2.3:8000/a", True),
            ("http://[::1]:8000/a", True),
            ("http://0.0.0.0:8000/a", True),
            ("http://otterbox:8000/a", True),
            ("http://localhost:8001/a", False),
            ("http://localhost/a", False),
            ("http://10.0.0.8:8000/a", False),
            ("http://localhost.example:8000/a", False),
        ],
    )
    def test_this_machine_has_many_names(self, url, allowed):
        """Results of an API on this machine may lie on its own port under any of the machine's names."""
        guard = AddressPolicy(own_port=8000, own_name="otterbox")

        assert allowed == (guard.problem(url, None) is None)
        assert not AddressPolicy().is_exempt(url)

    @pytest.mark.parametrize(
        ("exempt", "url", "allowed"),
        [
            ("minio.internal", "http://minio.internal:9000/a", True),
            ("minio.internal", "https://MINIO.internal/a", True),
            ("minio.internal:9000", "http://minio.internal:9000/a", True),
            ("minio.internal:9000", "http://minio.internal:9001/a", False),
            ("minio.internal:80", "http://minio.internal/a", True),
            ("minio.internal:443", "https://minio.internal/a", True),
            ("minio.internal:443", "http://minio.internal/a", False),
            ("10.0.0.8", "http://10.0.0.8/a", True),
            ("10.0.0.8", "http://10.0.0.80/a", False),
            ("10.0.0.8:443", "https://10.0.0.8/a", True),
            ("10.0.0.8:442", "https://10.0.0.8/a", False),
            ("10.0.0.8:444", "https://10.0.0.8/a", False),
            ("[::1]:9000", "http://[::1]:9000/a", True),
            ("::1", "https://[::1]/a", True),
            ("minio.internal", "http://user@minio.internal/a", False),
            ("minio.internal", "ftp://minio.internal/a", False),
            ("minio.internal", "http://x.minio.internal/a", False),
        ],
    )
    def test_let_through_whom_the_operator_vouches_for(self, exempt, url, allowed):
        """A vouched host may be unencrypted and private, but its URL has to be well-formed."""
        guard = AddressPolicy(exempt=frozenset({exempt}))
        if allowed:
            guard.check(url)
            with pytest.raises(errors.DownloadRefusedError, match=r"after a redirect|is refused"):
                guard.check(url.replace("https:", "http:"), previous="https://store.example/")
        else:
            with pytest.raises(errors.DownloadRefusedError):
                guard.check(url)


class Gateway:
    """Answers POST with one address; as a canary, any GET with an image."""

    def __init__(self, url=""):
        self.url = url
        self.gets = []

    async def __call__(self, _reader, writer, request):
        body = json.dumps({"data": [{"url": self.url}]}).encode()
        if not request.startswith(b"POST"):
            self.gets.append(request)
            body = IMAGE
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)


async def fetch(url, network=OPEN):
    async with serve(Gateway(url)) as raw:
        options = {"clock": FakeClock(), "network": network, "retry": RetryPolicy(attempts=1)}
        async with AsyncImagesClient("sk-canary", raw.url, **options) as client:
            return (await client.send(REQUEST)).image.data


@pytest.fixture
def names(monkeypatch):
    """Return a table of names: each look-up takes the next of its addresses, with the port that it says."""
    table = {}
    loop_type = asyncio.SelectorEventLoop
    look_up = loop_type.getaddrinfo

    async def resolve(loop, host, port, **options):
        if host not in table:
            return await look_up(loop, host, port, **options)
        found = table[host].pop(0) if len(table[host]) > 1 else table[host][0]
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address, port in found
        ]

    monkeypatch.setattr(loop_type, "getaddrinfo", resolve)
    return table


def turn_off(monkeypatch):
    """Take the guard away: what a client without one would do."""
    monkeypatch.setattr(AddressPolicy, "problem", lambda *_: None)
    monkeypatch.setattr(http, "refuse_private", lambda _: None)


HOSTS = ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]", "0.0.0.0"]


class TestCanary:
    """A server on this machine that no result URL may reach, tried with and without the guard."""

    @pytest.mark.parametrize("host", HOSTS)
    async def test_no_spelling_reaches_it(self, host, monkeypatch):
        """No spelling of a private address gets a socket, even past the checks of the URL."""
        async with serve(Gateway()) as canary:
            with pytest.raises(errors.DownloadRefusedError):
                await fetch(f"{here().scheme}://{host}:{canary.port}/x")
            monkeypatch.setattr(AddressPolicy, "problem", lambda *_: None)
            with pytest.raises(errors.DownloadError):
                await fetch(f"{here().scheme}://{host}:{canary.port}/x")

        assert [] == canary.requests

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])  # the suite itself lets no other one out
    async def test_without_the_guard_it_is_reached(self, host, monkeypatch):
        """Without the guard the private server is reached: the control of the test above."""
        turn_off(monkeypatch)
        async with serve(Gateway()) as canary:
            assert IMAGE == await fetch(f"{here().scheme}://{host}:{canary.port}/x")

        assert 1 == len(canary.requests)

    @pytest.mark.parametrize("guarded", [True, False])
    async def test_no_name_leads_to_it(self, names, monkeypatch, guarded):
        """A public name that resolves to a private address is refused."""
        if not guarded:
            turn_off(monkeypatch)
        async with serve(Gateway()) as canary:
            names["store.example"] = [[("127.0.0.1", canary.port)]]
            if guarded:
                with pytest.raises(errors.DownloadRefusedError, match=r"127\.0\.0\.1, which is not a public"):
                    await fetch(f"{here().scheme}://store.example/x")
            else:
                assert IMAGE == await fetch(f"{here().scheme}://store.example/x")

        assert (0 if guarded else 1) == len(canary.requests)

    @pytest.mark.parametrize("guarded", [True, False])
    async def test_no_name_that_changes_leads_to_it(self, names, monkeypatch, guarded):
        """A name that is public at the first lookup and private at the next is refused when connecting."""
        if not guarded:
            turn_off(monkeypatch)
        async with serve(Gateway()) as canary:
            names["store.example"] = [[("93.184.215.14", 80)], [("127.0.0.1", canary.port)]]
            await asyncio.get_running_loop().getaddrinfo("store.example", 80)  # whoever looked before
            if guarded:
                with pytest.raises(errors.DownloadRefusedError):
                    await fetch(f"{here().scheme}://store.example/x")
            else:
                assert IMAGE == await fetch(f"{here().scheme}://store.example/x")

        assert (0 if guarded else 1) == len(canary.requests)

    @pytest.mark.parametrize("guarded", [True, False])
    async def test_no_redirect_leads_to_it(self, monkeypatch, guarded):
        """A redirect of an allowed host to a private address is refused."""
        if not guarded:
            turn_off(monkeypatch)

        async def redirect(_reader, writer, _request):
            writer.write(f"HTTP/1.1 302 X\r\nLocation: {canary.url}/x\r\nContent-Length: 0\r\n\r\n".encode())

        async with serve(Gateway()) as canary, serve(redirect) as store:
            network = Network(allow_http=True, allowed_result_hosts=(f"127.0.0.1:{store.port}",))
            if guarded:
                with pytest.raises(errors.DownloadRefusedError):
                    await fetch(f"{store.url}/x", network)
            else:
                assert IMAGE == await fetch(f"{store.url}/x", network)

        assert (0 if guarded else 1) == len(canary.requests)

    async def test_the_operator_can_allow_it(self):
        """A private result host is reached if the operator allows it."""
        async with serve(Gateway()) as canary:
            network = Network(allowed_result_hosts=("127.0.0.1",))
            assert IMAGE == await fetch(f"{canary.url}/x", network)

        (request,) = canary.requests
        assert b"sk-canary" not in request


@pytest.mark.only("plain", reason="the proxy of these tests sees addresses, as one does that is asked for no tunnel")
class TestProxy:
    """Behind a proxy the socket leads to the proxy, so names are looked up here as well."""

    async def through(self, url, **network):
        async with serve(Gateway(url)) as proxy:
            network = Network(proxy=proxy.url, allow_http=True, **network)
            try:
                return await fetch(url, network), proxy.requests
            except errors.DownloadError as error:
                return error, proxy.requests

    async def test_a_public_name_is_asked_for(self, names):
        """The proxy is asked for a public name unchanged."""
        names["store.example"] = [[("93.184.215.14", 80)]]
        data, requests = await self.through("http://store.example/x?sig=1")

        assert IMAGE == data
        assert requests[-1].startswith(b"GET http://store.example/x?sig=1 HTTP/1.1")

    async def test_a_private_name_is_not(self, names, monkeypatch):
        """The proxy is not asked for a name of which any address is private."""
        names["store.example"] = [[("93.184.215.14", 80), ("10.0.0.1", 80)]]
        error, requests = await self.through("http://store.example/x")
        assert isinstance(error, errors.DownloadRefusedError)
        assert [] == [request for request in requests if request.startswith(b"GET")]

        turn_off(monkeypatch)
        data, requests = await self.through("http://store.example/x")
        assert IMAGE == data

    async def test_a_name_that_only_the_proxy_knows_is_asked_for(self, names):
        """The proxy is asked for a name that does not resolve here."""

        class Unknown(list):
            def __len__(self):
                raise socket.gaierror(-2, "Name or service not known")

        names["store.example"] = Unknown()
        data, _ = await self.through("http://store.example/x")

        assert IMAGE == data
