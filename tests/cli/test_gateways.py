"""What gateways want besides a key is given by options, the environment and the file, and never shown."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import threading
from base64 import b64encode

import pytest
from pictures import png
from raw import answering, serve

CANARY = "canary-61d0"
BODY = json.dumps({"created": 1, "data": [{"b64_json": b64encode(png()).decode()}]}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


@contextlib.contextmanager
def gateway(answer=ANSWER):
    """Serve one answer in a thread of its own."""
    ready, found, stop = threading.Event(), [], asyncio.Event()

    async def run():
        async with serve(answering(answer)) as raw:
            found.extend([raw, asyncio.get_running_loop()])
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    ready.wait()
    try:
        yield found[0]
    finally:
        found[1].call_soon_threadsafe(stop.set)
        thread.join()


@pytest.fixture
def asked(cli, monkeypatch):
    """Return a function that sends one request to a gateway, and returns how it ended and what was asked."""

    def ask(*words, variables=None, path="/v1", answer=ANSWER):
        for name, value in (variables or {}).items():
            monkeypatch.setenv(name, value)
        with gateway(answer) as raw:
            base_url = raw.url.removesuffix("/v1") + path
            ran = cli("generate", "otter", "-m", "m", "--base-url", base_url, "-o", "otter.png", "-vv", *words)
            return ran, b"".join(raw.requests).decode("latin-1").partition("\r\n\r\n")[0]

    return ask


WAYS = {
    "options": (["--header", f"X-Tenant: {CANARY}", "--header", "X-Other:b", "--query", f"code={CANARY}"], {}),
    "file": (["--header", "x-tenant: @secret", "--header", "X-Other: b", "--query", f"code={CANARY}"], {}),
    "environment": ([], {"BURNCLOUD_HEADERS": f"X-Tenant: {CANARY}\nX-Other: b", "BURNCLOUD_QUERY": f"code={CANARY}"}),
    "both": (
        ["--header", f"X-Tenant: {CANARY}"],
        {"BURNCLOUD_HEADERS": "X-Tenant: old\nX-Other: b", "BURNCLOUD_QUERY": f"code={CANARY}"},
    ),
    "configuration": (["--config", "mine.toml"], {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_headers_and_query_are_sent_and_not_shown(asked, here, way):
    """Each way of giving them sends the same, and nothing that the command prints shows a value."""
    (here / "secret").write_text(f"{CANARY}\n")
    (here / "mine.toml").write_text(
        f'header = ["X-Tenant: {CANARY}", "X-Other: b"]\nquery = ["code={CANARY}"]\nno-key = true\n'
    )
    words, variables = WAYS[way]

    ran, sent = asked(*words, variables=variables)

    lines = sent.lower().split("\r\n")
    assert 0 == ran.code
    assert f"post /v1/images/generations?code={CANARY} http/1.1" == lines[0]
    assert {f"x-tenant: {CANARY}", "x-other: b"} <= set(lines)
    assert CANARY not in ran.err + ran.out.decode()


def test_query_of_a_base_url_is_sent(asked):
    """It stands where gateways document it."""
    _, sent = asked(path="/openai/deployments/otter?api-version=2026-01-01")

    assert sent.startswith("POST /openai/deployments/otter/images/generations?api-version=2026-01-01 ")


@pytest.mark.parametrize(
    ("words", "key", "is_sent"),
    [((), None, False), ((), "sk-otter", True), (("--no-key",), "sk-otter", False)],
)
def test_key_is_optional_on_this_machine(asked, monkeypatch, words, key, is_sent):
    """Without a key none is sent, and an option leaves out the one that there is."""
    monkeypatch.delenv("BURNCLOUD_API_KEY", raising=False)

    ran, sent = asked(*words, variables={"BURNCLOUD_API_KEY": key} if key else {})

    assert 0 == ran.code
    assert is_sent == ("authorization" in sent.lower())


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        (["--header", CANARY], {}, "--header number 1 has to be 'NAME: VALUE'"),
        (["--header", f": {CANARY}"], {}, "--header number 1"),
        (["--header", "X-Otter: @nowhere"], {}, "nowhere cannot be read"),
        (["--header", f"Host: {CANARY}"], {}, "Host is set by the client"),
        (["--header", f"X Otter: {CANARY}"], {}, "is not a valid name"),
        (["--header", f"X-Otter: {CANARY}\r\nX-Fox: b"], {}, "a character that a header cannot have"),
        (["--query", CANARY], {}, "--query number 1 has to be NAME=VALUE"),
        (["--no-key", "--api-key-file", "key"], {}, "cannot be combined"),
        ([], {"BURNCLOUD_ALLOW_HTTP": "maybe"}, "BURNCLOUD_ALLOW_HTTP has to be 1 or 0"),
    ],
)
def test_bad_values_are_refused_without_being_shown(asked, words, variables, said):
    """One sentence says what is wrong, and nothing is sent."""
    ran, sent = asked(*words, variables=variables)

    assert (2, "") == (ran.code, sent)
    assert said in ran.err
    assert CANARY not in ran.err


def test_dry_run_masks_values(cli):
    """What is printed can be passed on."""
    words = ("--header", f"api-key: {CANARY}", "--query", f"code={CANARY}", "--base-url", f"h.example/v1?sig={CANARY}")

    for more in ((), ("--json",)):
        ran = cli("generate", "otter", "--dry-run", *words, *more)
        assert 0 == ran.code
        assert CANARY not in ran.out.decode() + ran.err
        assert "***" in ran.out.decode()


def test_environment_allows_hosts(cli, monkeypatch):
    """A base URL without TLS and the hosts of results are allowed by variables as by options."""
    words = ("generate", "otter", "--dry-run", "--base-url", "http://gateway.example")

    refused = cli(*words)
    monkeypatch.setenv("BURNCLOUD_ALLOW_HTTP", "1")
    allowed = cli(*words)

    assert (2, 0) == (refused.code, allowed.code)
    assert "--allow-http" in refused.err


@pytest.mark.parametrize("variable", [True, False])
def test_advice_of_a_refused_result_works(cli, asked, monkeypatch, serve, here, variable):
    """The command that is printed fetches the image, letter for letter; so does the option, and the variable."""
    server = serve()
    monkeypatch.setenv("BURNCLOUD_API_BASE_URL", server.base_url)
    import urllib.request

    order = urllib.request.Request(
        f"{server.base_url}/images/generations",
        json.dumps({"prompt": "x", "model": "dall-e-2", "size": "256x256"}).encode(),
        {"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(order) as answer:
        url = json.load(answer)["data"][0]["url"]
    body = json.dumps({"created": 1, "data": [{"url": url}]}).encode()
    link = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    variables = {"BURNCLOUD_RESULT_HOSTS": "a.lan, 127.0.0.1"} if variable else {}

    ran, _ = asked(variables=variables, answer=link)
    if variable:
        assert 0 == ran.code
        return

    assert "add --result-host 127.0.0.1." in ran.err
    (command,) = [line.partition("fetch it with: ")[2] for line in ran.err.splitlines() if "fetch it with" in line]
    assert 0 == cli(*shlex.split(command)[1:]).code
    assert 0 == asked("--result-host", "127.0.0.1", "--exists", "rename", answer=link)[0].code
