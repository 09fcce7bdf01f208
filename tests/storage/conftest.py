"""An S3 server that others wrote, moto's, over TLS, and a proxy before it that refuses and cuts."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import trustme
from aiohttp import ClientSession, TCPConnector, web
from programs import wait_until

pytest.importorskip("moto", reason="moto is not installed; nox -s cloud installs it")
obstore = pytest.importorskip("obstore")
stores = pytest.importorskip("obstore.store")

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
QUICK = timedelta(milliseconds=5)


@attrs.frozen
class ObjectServer:
    """A server, and how it is reached."""

    endpoint: str
    certificates: ssl.SSLContext

    def options(self, endpoint=None, **config):
        """Return the options of a bucket."""
        named = {"endpoint": endpoint or self.endpoint, "region": "us-east-1"}
        keys = {"access_key_id": KEY, "secret_access_key": SECRET}
        backoff = {"init_backoff": QUICK, "max_backoff": QUICK, "base": 2}
        return {"config": {**named, **keys, **config}, "retry_config": {"max_retries": 2, "backoff": backoff}}

    async def ask(self, method, path, data=None):
        """Send a request past every client of object storage; return the status, the headers and the body."""
        connector = TCPConnector(ssl=self.certificates)
        async with (
            ClientSession(connector=connector) as session,
            session.request(method, f"{self.endpoint}/{path}", data=data) as response,
        ):
            return response.status, response.headers, await response.read()

    async def get(self, uri):
        """Return the bytes and the attributes of an object."""
        bucket, _, name = uri.removeprefix("s3://").partition("/")
        found = await obstore.get_async(stores.S3Store(bucket, **self.options()), name)
        return bytes(await found.bytes_async()), found.attributes

    async def names(self, bucket="pictures"):
        """Return the names of the objects."""
        _, _, body = await self.ask("GET", bucket)
        return [part.partition(b"<")[0].decode() for part in body.split(b"<Key>")[1:]]


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Return a certificate authority, with the certificate of this machine in files."""
    folder = tmp_path_factory.mktemp("authority")
    issuer = trustme.CA()
    issued = issuer.issue_cert("127.0.0.1", "localhost")
    issuer.cert_pem.write_to_path(folder / "authority.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for certificate in issued.cert_chain_pems:
        certificate.write_to_path(folder / "certificate.pem", append=True)
    return folder


@pytest.fixture(scope="session")
def process(authority):
    """Start moto's server over TLS; return its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("moto_server")
    files = ["-c", authority / "certificate.pem", "-k", authority / "key.pem"]
    words = [program, "-H", "127.0.0.1", "-p", str(port), *files]
    # What obstore opens once for all stores is not to be taken for something that a test leaves over.
    obstore.put(stores.MemoryStore(), "x", b"")
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        wait_until(lambda: is_open(port))
        yield f"https://127.0.0.1:{port}"
        server.terminate()


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
async def server(process, authority, monkeypatch):
    """Return the server with one empty bucket, `pictures`."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "authority.pem"))
    found = ObjectServer(process, ssl.create_default_context(cafile=authority / "authority.pem"))
    await found.ask("POST", "moto-api/reset")
    await found.ask("PUT", "pictures")
    return found


@attrs.define
class Proxy:
    """
    Passes requests on, but for those that are to fail.

    Attributes:
        faults: What happens to the next objects: a status; `cut` after the store has the object; `drop` before.
        puts: The names of the objects that came, and what became of each.
    """

    server: ObjectServer
    faults: list[object] = attrs.field(factory=list)
    puts: list[tuple[str, object]] = attrs.field(factory=list)
    endpoint: str = ""

    async def handle(self, request):
        """Answer one request."""
        body = await request.read()
        is_image = request.method == "PUT" and "burncloud-images-probe" not in request.path
        fault = self.faults.pop(0) if is_image and self.faults else None
        if is_image:
            self.puts.append((request.path.rpartition("/")[2], fault))
        if isinstance(fault, int):
            code = {403: "ExpiredToken", 503: "SlowDown"}[fault]
            said = f"<Error><Code>{code}</Code></Error>"
            return web.Response(status=fault, text=said, content_type="application/xml")
        if fault != "drop":
            answer = await self.forward(request, body)
            if fault is None:
                return answer
        request.transport.abort()
        raise asyncio.CancelledError

    async def forward(self, request, body):
        url = f"{self.server.endpoint}{request.path_qs}"
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        async with (
            ClientSession(connector=TCPConnector(ssl=self.server.certificates)) as session,
            session.request(request.method, url, data=io.BytesIO(body), headers=headers) as response,
        ):
            skipped = {"transfer-encoding", "content-length", "content-encoding", "connection", "server", "date"}
            if request.method == "HEAD":
                skipped -= {"content-length"}
            kept = {name: value for name, value in response.headers.items() if name.lower() not in skipped}
            return web.Response(status=response.status, body=await response.read(), headers=kept)


@pytest.fixture
async def proxy(server, authority):
    """Return a proxy before the server, over TLS."""
    found = Proxy(server)
    application = web.Application(client_max_size=2**30)
    application.router.add_route("*", "/{path:.*}", found.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority / "certificate.pem", authority / "key.pem")
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    found.endpoint = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()
