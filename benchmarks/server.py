"""
nginx, private to one run: a server that none of the contenders' authors wrote and that is never the slowest part.

It runs from a folder of its own, listens on a free loopback port, and ends with the block that started it.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import trustme

__all__ = ["MISSING", "Nginx", "NoServerError", "find_nginx", "serve", "version_of"]

MISSING = "nginx is not installed. On Debian and Ubuntu: apt-get install nginx-light"
PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin")
"""Where packages put it, outside an ordinary user's PATH."""
PATIENCE = 10.0
"""Seconds until it has to listen."""

# A static file answers POST with 405, which is made 200 with the file itself; what is left of the request's body is
# read and dropped. An upload has to have come whole before it is answered, so there `mirror` reads all of it first, and
# the log says how long it was.
CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  map $request_uri $is_upload {{ ~^/taken- 1; default 0; }}
  log_format uploads '$status $request_length';
  access_log {folder}/uploads.log uploads if=$is_upload;
  sendfile on;
  tcp_nodelay on;
  keepalive_timeout 300s;
  keepalive_requests 1000000;
  client_max_body_size 0;
  client_body_buffer_size 1m;
  client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    listen 127.0.0.1:{tls_port} ssl backlog=4096;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.pem;
    ssl_session_cache shared:tls:1m;
    root {folder};
    location /pictures/ {{ default_type image/png; }}
    location /answers/ {{ internal; default_type application/json; }}
    location /answers/events {{ internal; default_type text/event-stream; }}
    location = /ready {{ return 204; }}
    location = /drop {{ internal; return 204; }}
    location ~ ^/taken-[^/]+/v1/images/ {{
      mirror /drop;
      rewrite ^/([^/]+)/ /answers/$1 break;
      error_page 405 =200 $uri;
    }}
    location ~ ^/[^/]+/v1/images/ {{
      rewrite ^/([^/]+)/ /answers/$1 break;
      error_page 405 =200 $uri;
    }}
  }}
}}
"""


class NoServerError(Exception):
    """There is no nginx, or it does not start."""


@attrs.frozen(kw_only=True)
class Nginx:
    """
    A running server.

    Attributes:
        folder: What it shows: `answers`, `pictures`.
        address: Without a path.
        tls_address: The same over TLS.
    """

    folder: Path
    address: str
    tls_address: str

    @property
    def authority(self) -> Path:
        """A PEM file of whoever vouches for its certificate."""
        return self.folder / "authority.pem"

    def address_of(self, *, tls: bool) -> str:
        """Return one of its addresses."""
        return self.tls_address if tls else self.address

    def uploads(self) -> list[tuple[int, int]]:
        """Return status and length in bytes of each upload so far, its headers included."""
        log = self.folder / "uploads.log"
        lines = log.read_text(encoding="ascii").splitlines() if log.exists() else []
        return [(int(status), int(length)) for status, length in (line.split() for line in lines)]


def find_nginx() -> str:
    """
    Return the program.

    Raises:
        NoServerError: It is not there; says how to install it.
    """
    found = shutil.which("nginx") or next((path for place in PLACES if (path := shutil.which("nginx", path=place))), "")
    if not found:
        raise NoServerError(MISSING)
    return found


def version_of(program: str) -> str:
    """Return nginx's version."""
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr  # noqa: S603
    return re.sub(r".*nginx/(\S+).*", r"\1", said, flags=re.DOTALL)


@contextmanager
def serve(folder: Path) -> Iterator[Nginx]:
    """
    Give a server that shows *folder*.

    Raises:
        NoServerError: There is none, or it does not start.
    """
    program, port, tls_port = find_nginx(), free_port(), free_port()
    issue_certificate(folder)
    configuration = folder / "nginx.conf"
    # Only root's workers become another user, who could not read the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    configuration.write_text(
        CONFIGURATION.format(folder=folder, port=port, tls_port=tls_port, user=user), encoding="utf-8"
    )
    log = folder / "error.log"
    command = [program, "-p", str(folder), "-e", str(log), "-c", str(configuration)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(address, process, log)
        yield Nginx(folder=folder, address=address, tls_address=f"https://127.0.0.1:{tls_port}")
    finally:
        process.terminate()
        process.wait()


def issue_certificate(folder: Path) -> None:
    """Write what the server shows over TLS, and what clients have to trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"{address}/ready"):  # noqa: S310
            return
        time.sleep(0.02)
    said = log.read_text(encoding="utf-8", errors="replace").strip() if log.exists() else ""
    raise NoServerError(f"nginx does not start: {said or 'it says nothing'}")
