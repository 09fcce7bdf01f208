"""The programs and their configurations, each as short as works."""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import trustme
from middleboxes.boxes import Kind, Place, printed
from middleboxes.provisions import Program, from_debian, from_npm, from_pypi

__all__ = ["KINDS", "TIMEOUT"]

TIMEOUT = 2
"""Seconds after which a program gives up on the server behind it."""
MIB = 1024 * 1024
ROOMY = 64 * MIB
NARROW = 1 * MIB

# Whatever is newest would be looked for among many, for minutes, and could change under a figure.
LITELLM = "litellm[proxy]==1.108.7"
MITMPROXY = "mitmproxy==11.0.2"
PORTKEY = "@portkey-ai/gateway@1.15.2"
STATUSES = (413, 500, 502, 503, 504)


# --- nginx -----------------------------------------------------------------------------------------------------------

NGINX = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream emulator {{
    {servers}
  }}
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size {most_upload};
    proxy_http_version 1.1;
    proxy_read_timeout {timeout}s;
    proxy_set_header Host $http_host;
    {directives}
    location / {{ proxy_pass http://emulator; }}
    {locations}
  }}
}}
"""


def nginx(
    place: Place, *, servers: int = 1, most_upload: int = ROOMY, directives: str = "", locations: str = ""
) -> Sequence[str]:
    """Return the command of nginx."""
    configuration = NGINX.format(
        user="user root;" if os.geteuid() == 0 else "",  # whose workers could not read the folder as somebody else
        folder=place.folder,
        servers="\n    ".join([f"server 127.0.0.1:{place.upstream} max_fails=0;"] * servers),
        port=place.port,
        most_upload=most_upload,
        timeout=TIMEOUT,
        directives=directives,
        locations=locations,
    )
    path = place.write("nginx.conf", configuration)
    return [place.program.path, "-p", str(place.folder), "-e", str(place.folder / "error.log"), "-c", str(path)]


def error_pages() -> Mapping[str, str]:
    """Return the directives of error pages as many write them for an API: JSON of the API's own form."""
    pages, locations = [], []
    for status in STATUSES:
        error = {"error": {"message": f"The upstream failed with {status}.", "type": "server_error", "code": None}}
        pages.append(f"error_page {status} @error_{status};")
        locations.append(
            f"location @error_{status} {{ default_type application/json; return {status} '{json.dumps(error)}'; }}"
        )
    return {"directives": " ".join(pages), "locations": "\n    ".join(locations)}


NEXT_UPSTREAM = "proxy_next_upstream error timeout http_500 http_502 http_503 http_504 non_idempotent;"
UNBUFFERED = "proxy_buffering off; proxy_request_buffering off;"


# --- other servers ---------------------------------------------------------------------------------------------------


def haproxy(place: Place, *, retries: str = "") -> Sequence[str]:
    """Return the command of HAProxy."""
    path = place.write(
        "haproxy.cfg",
        f"""\
defaults
  mode http
  timeout connect {TIMEOUT}s
  timeout client 30s
  timeout server {TIMEOUT}s
  {retries}
frontend front
  bind 127.0.0.1:{place.port}
  default_backend emulator
backend emulator
  server emulator 127.0.0.1:{place.upstream}
""",
    )
    return [place.program.path, "-db", "-f", str(path)]


def caddy(place: Place) -> Sequence[str]:
    """Return the command of Caddy."""
    path = place.write(
        "Caddyfile",
        f"""\
{{
  admin off
  auto_https off
}}
http://:{place.port} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{place.upstream} {{
    transport http {{
      response_header_timeout {TIMEOUT}s
    }}
  }}
}}
""",
    )
    return [place.program.path, "run", "--config", str(path), "--adapter", "caddyfile"]


APACHE_MODULES = ("mpm_event", "authz_core", "proxy", "proxy_http")


def apache(place: Place) -> Sequence[str]:
    """Return the command of Apache httpd."""
    modules = place.program.file("/usr/lib/apache2/modules")
    path = place.write(
        "apache.conf",
        "\n".join(
            [
                *(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in APACHE_MODULES),
                f"ServerRoot {place.folder}",
                f"DefaultRuntimeDir {place.folder}",
                f"PidFile {place.folder}/apache.pid",
                f"ErrorLog {place.folder}/error.log",
                f"User {unprivileged()}",
                f"Listen 127.0.0.1:{place.port}",
                "ServerName 127.0.0.1",
                "ProxyPreserveHost On",
                f"ProxyPass / http://127.0.0.1:{place.upstream}/ timeout={TIMEOUT}",
                "",
            ]
        ),
    )
    return [place.program.path, "-DFOREGROUND", "-f", str(path)]


def varnish(place: Place) -> Sequence[str]:
    """Return the command of Varnish, which compiles its configuration with the C compiler."""
    path = place.write(
        "emulator.vcl",
        f"""\
vcl 4.1;
backend default {{
  .host = "127.0.0.1";
  .port = "{place.upstream}";
  .first_byte_timeout = {TIMEOUT}s;
  .between_bytes_timeout = {TIMEOUT}s;
}}
""",
    )
    listen, store = f"127.0.0.1:{place.port}", "malloc,64m"
    work = place.folder / "varnish"
    return [place.program.path, "-F", "-j", "none", "-n", str(work), "-a", listen, "-f", str(path), "-s", store]


def squid(place: Place) -> Sequence[str]:
    """Return the command of squid as a forward proxy."""
    path = place.write(
        "squid.conf",
        f"""\
http_port 127.0.0.1:{place.port}
acl emulator port {place.upstream}
acl CONNECT method CONNECT
http_access allow emulator
http_access deny all
cache deny all
cache_effective_user {unprivileged()}
visible_hostname middlebox
pid_filename none
access_log none
cache_store_log none
cache_log {place.folder}/cache.log
coredump_dir {place.folder}
pinger_enable off
unlinkd_program {place.program.file("/usr/lib/squid/unlinkd")}
shutdown_lifetime 1 seconds
read_timeout {TIMEOUT} seconds
mime_table {place.program.file("/usr/share/squid/mime.conf")}
icon_directory {place.program.file("/usr/share/squid/icons")}
error_directory {place.program.file("/usr/share/squid/errors/en")}
""",
    )
    if os.geteuid() == 0:
        account = pwd.getpwnam(unprivileged())
        os.chown(place.folder, account.pw_uid, account.pw_gid)
    return [place.program.path, "-N", "-f", str(path)]


def stunnel(place: Place) -> Sequence[str]:
    """Return the command of stunnel: TLS from the client, and again to the emulator, so that addresses hold."""
    if not (place.folder / "server.pem").exists():  # it starts again with the certificate that clients trust
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(place.folder / "authority.pem"))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(place.folder / "server.pem"))
    path = place.write(
        "stunnel.conf",
        f"""\
foreground = yes
syslog = no
pid =
[front]
accept = 127.0.0.1:{place.port}
connect = 127.0.0.1:{place.further}
cert = {place.folder}/server.pem
[back]
client = yes
accept = 127.0.0.1:{place.further}
connect = 127.0.0.1:{place.upstream}
""",
    )
    return [place.program.path, str(path)]


def mitmproxy(place: Place) -> Sequence[str]:
    """Return the command of mitmproxy as a forward proxy that reads along."""
    settings = {"confdir": place.folder, "ssl_insecure": "true", "connection_strategy": "lazy"}
    options = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    return [place.program.path, "--listen-host", "127.0.0.1", "--listen-port", str(place.port), "--quiet", *options]


def unprivileged() -> str:
    """Return who serves; root may not."""
    return "nobody" if os.geteuid() == 0 else getpass.getuser()


# --- gateways --------------------------------------------------------------------------------------------------------

MODELS = ("gpt-image-2", "dall-e-2")


def litellm(place: Place, *, settings: Mapping[str, object]) -> Sequence[str]:
    """Return the command of LiteLLM's proxy."""
    models = [
        {
            "model_name": name,
            "litellm_params": {
                "model": f"openai/{name}",
                "api_base": f"http://127.0.0.1:{place.upstream}/v1",
                "api_key": "sk-emulator",
            },
        }
        for name in MODELS
    ]
    # JSON is YAML as well.
    path = place.write("litellm.yaml", json.dumps({"model_list": models, **settings}))
    options = {"host": "127.0.0.1", "port": place.port, "config": path}
    return [place.program.path, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]


LITELLM_ENVIRONMENT = {
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
}
NO_RETRIES = {
    "litellm_settings": {"num_retries": 0, "request_timeout": TIMEOUT},
    "router_settings": {"num_retries": 0, "timeout": TIMEOUT, "max_retries": 0},
}
OWN_RETRIES = {"litellm_settings": {"request_timeout": TIMEOUT}}


def portkey(place: Place) -> Sequence[str]:
    """Return the command of Portkey's gateway, which is told with each request where to go."""
    return ["node", place.program.path, f"--port={place.port}", "--headless"]


def portkey_headers(place: Place) -> Mapping[str, str]:
    """Return what Portkey's gateway reads."""
    return {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{place.upstream}/v1",
        "x-portkey-request-timeout": str(1000 * TIMEOUT),
    }


def packaged(program: Program) -> str:
    """Return the version of an npm package."""
    folder = next(parent for parent in Path(program.path).parents if (parent / "package.json").exists())
    return str(json.loads((folder / "package.json").read_text(encoding="utf-8"))["version"])


def distributed(name: str) -> Callable[[Program], str]:
    """Return what reads the version of a Python package; programs that print it take half a minute."""

    def read(program: Program) -> str:
        places = map(str, Path(program.path).parents[1].glob("lib/python*/site-packages"))
        (found,) = importlib.metadata.distributions(name=name, path=list(places))
        return found.version

    return read


# --- all -------------------------------------------------------------------------------------------------------------

Configure = Callable[[Place], Sequence[str]]


def nginx_kind(key: str, about: str, configure: Configure, *, quick: bool = False) -> Kind:
    return Kind(
        id=key,
        name="nginx",
        about=about,
        find=partial(from_debian, "nginx", "nginx"),
        version=printed("-v"),
        configure=configure,
        quick=quick,
    )


def haproxy_kind(key: str, about: str, configure: Configure, *, quick: bool = False) -> Kind:
    return Kind(
        id=key,
        name="HAProxy",
        about=about,
        find=partial(from_debian, "haproxy", "haproxy"),
        version=printed("-v"),
        configure=configure,
        quick=quick,
    )


def litellm_kind(key: str, about: str, settings: Mapping[str, object], *, quick: bool = False) -> Kind:
    return Kind(
        id=key,
        name="LiteLLM",
        about=about,
        find=partial(from_pypi, LITELLM, "litellm"),
        version=distributed("litellm"),
        configure=partial(litellm, settings=settings),
        quick=quick,
        starts_slowly=True,
        is_gateway=True,
        environment=LITELLM_ENVIRONMENT,
    )


def squid_kind(key: str, about: str, *, tunnel: bool) -> Kind:
    return Kind(
        id=key,
        name="squid",
        about=about,
        find=partial(from_debian, "squid", "squid"),
        version=printed("-v"),
        configure=squid,
        way="tunnel" if tunnel else "proxy",
        quick=True,
        times_out=not tunnel,
    )


KINDS = (
    nginx_kind("nginx", "", nginx, quick=True),
    nginx_kind("nginx-json", "error pages in JSON", partial(nginx, **error_pages()), quick=True),
    nginx_kind("nginx-unbuffered", "proxy_buffering off", partial(nginx, directives=UNBUFFERED)),
    nginx_kind("nginx-next", "proxy_next_upstream", partial(nginx, servers=2, directives=NEXT_UPSTREAM)),
    nginx_kind("nginx-narrow", "1 MiB a request", partial(nginx, most_upload=NARROW)),
    haproxy_kind("haproxy", "", haproxy, quick=True),
    haproxy_kind("haproxy-retry", "retry-on all", partial(haproxy, retries="retry-on all-retryable-errors")),
    Kind(
        id="caddy",
        name="Caddy",
        find=partial(from_debian, "caddy", "caddy"),
        version=printed("version"),
        configure=caddy,
    ),
    Kind(
        id="apache",
        name="Apache httpd",
        find=partial(from_debian, "apache2-bin", "apache2"),
        version=printed("-v"),
        configure=apache,
    ),
    Kind(
        id="varnish",
        name="Varnish",
        find=partial(from_debian, "varnish", "varnishd"),
        version=printed("-V"),
        configure=varnish,
    ),
    squid_kind("squid", "plain", tunnel=False),
    squid_kind("squid-connect", "CONNECT", tunnel=True),
    Kind(
        id="stunnel",
        name="stunnel",
        find=partial(from_debian, "stunnel4", "stunnel4"),
        version=printed("-version"),
        configure=stunnel,
        way="tls",
        times_out=False,
    ),
    Kind(
        id="mitmproxy",
        name="mitmproxy",
        find=partial(from_pypi, MITMPROXY, "mitmdump"),
        version=distributed("mitmproxy"),
        configure=mitmproxy,
        way="decrypting",
        times_out=False,
    ),
    litellm_kind("litellm", "num_retries 0", NO_RETRIES, quick=True),
    litellm_kind("litellm-retry", "own retries", OWN_RETRIES),
    Kind(
        id="portkey",
        name="Portkey",
        find=partial(from_npm, PORTKEY, "build/start-server.js"),
        version=packaged,
        configure=portkey,
        is_gateway=True,
        headers=portkey_headers,
    ),
)
