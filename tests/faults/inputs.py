"""Group X: hostile inputs, and where the key must not be seen."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import ssl
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from faults import authorities, jobs
from faults.gateway import Step, document, header, http
from faults.proxy import Proxy
from faults.stage import CANARY, SMALL, Stage, fails, generate, held, scripted, succeeds, written
from faults.table import Play, case, one_call, variants
from leaks import resident
from pictures import png
from workshop import write_rows

from burncloud_images import AsyncImagesClient, Directory, GenerationRequest, Network, errors
from burncloud_images.bulk import RequestState
from burncloud_images.emulator import Fault

# --- names and templates ---------------------------------------------------------------------------------------------

PROMPTS = (
    *("../../etc/x", "/etc/x", "C:\\x\\y", "nul\0byte", "CON", "图" * 300, "\u202egnp.exe", "-rf", "end. ", "."),
    *("..", "a\r\nb", "{prompt.__class__}", "~/.ssh/id", "a" * 5000, "🦦" * 100, "%2e%2e%2f", "$(id)"),
)


@case(
    "X01",
    "prompts that are paths, devices, too long, in other scripts, as file names",
    "inside the folder, ≤ 255 bytes",
)
async def file_names(stage: Stage) -> None:
    """Whatever the prompt, the file lies in its folder and can be stored, of a call and of a job."""
    await variants(stage, {"calls": names_of_calls, "job": names_of_jobs})


async def names_of_jobs(stage: Stage) -> None:
    """Files of a job are named after nothing that a list says."""
    prompts = [prompt for prompt in (PROMPTS if stage.faulty else PROMPTS[-1:]) if prompt.strip()]
    ids = [one[:200] if one[:200].isprintable() else f"row-{number}" for number, one in enumerate(prompts)]
    wanted = [{"id": name, "prompt": one, **SMALL} for name, one in zip(ids, prompts, strict=True)]
    source = write_rows(stage.folder / "rows.jsonl", wanted)
    world = await stage.world(scripted())
    client = await stage.client(world.base_url, validation="off")
    out = stage.folder / "deep" / "out"
    await jobs.run_job(stage, client, source, folder=out)
    assert {RequestState.DONE: len(prompts)} == await jobs.judge(stage, out), await jobs.problems(stage, out)
    images = [path.relative_to(out / "images").as_posix() for path in (out / "images").rglob("*.*")]
    assert len(prompts) == len([name for name in images if re.fullmatch(r"[0-9a-f]{2}/[0-9a-f]{32}\.png", name)])
    assert [out] == [*out.parent.iterdir()]
    assert {"deep", "rows.jsonl"} == {path.name for path in stage.folder.iterdir()}


async def names_of_calls(stage: Stage) -> None:
    out = stage.folder / "deep" / "out"
    world = await stage.world(scripted())
    client = await stage.client(world.base_url, validation="off")
    prompts = PROMPTS if stage.faulty else PROMPTS[-1:]
    for prompt in prompts:
        request = GenerationRequest(prompt, **SMALL)
        outcome = await stage.call(client.send(request, into=Directory(out, name="{slug}", exists="rename")))
        assert outcome.error is None, f"{prompt[:20]!r}: {outcome.error!r}"
        path = outcome.result.image.path
        assert out == path.parent
        assert path.resolve().is_relative_to(out.resolve())
        assert len(path.name.encode()) <= 255
        assert not set(path.name) & set("/\\\0\r\n\u202e{}")
        assert not path.name.startswith(("-", "."))
    stage.count(len(prompts))
    assert len(prompts) == stage.billed == len([*out.iterdir()])
    assert [out] == [*out.parent.iterdir()]


TEMPLATES = (
    "{prompt.__class__}",
    "{0}",
    "{slug!r}",
    "{slug:>9}",
    "{__init__.__globals__}",
    "{",
    "../{id}",
    "/etc/{id}",
    "",
)


@case("X02", "templates that reach into objects or out of the folder", errors.ConfigurationError.__name__)
async def templates(stage: Stage) -> None:
    """Only the listed fields are filled in, and by no formatting machinery."""
    for template in TEMPLATES if stage.faulty else ("{id}-{index}.{ext}",):
        outcome = await stage.call(make(lambda template=template: Directory(stage.folder, name=template)))
        assert isinstance(outcome.error, errors.ConfigurationError) == stage.faulty, template


async def make(maker: Callable[[], object]) -> object:
    """Return what *maker* makes."""
    return maker()


# --- lists of jobs ---------------------------------------------------------------------------------------------------


@case("X03", "images of a job that are other files of this machine", "refused, 0 POSTs")
async def other_files(stage: Stage) -> None:
    """A list may only name pictures below its own folder."""
    root = stage.folder / "root"
    (root / "inside").mkdir(parents=True)
    (root / "inside" / "good.png").write_bytes(png())
    (stage.folder / "outside.png").write_bytes(png())
    (root / "link.png").symlink_to(stage.folder / "outside.png")
    (root / "folder").symlink_to(stage.folder)
    (root / "notes.png").write_text("these are no pixels", encoding="utf-8")
    bad = (
        *("/etc/passwd", "~/.ssh/id_rsa", "/dev/zero", "/proc/self/environ", "../outside.png", "link.png"),
        *("folder/outside.png", str(stage.folder / "outside.png"), "notes.png", "inside", "missing.png", "a\0b.png"),
        *("http://169.254.169.254/x.png", "file:///etc/passwd", "ftp://example.com/x.png", "inside/../../outside.png"),
    )
    images = bad if stage.faulty else ("inside/good.png",)
    source = write_rows(
        root / "rows.jsonl", [{"prompt": f"snow {image!r}", "image": image, **SMALL} for image in images]
    )
    world = await stage.world(scripted())
    client = await stage.client(world.base_url)
    await jobs.run_job(stage, client, source)
    told = await jobs.problems(stage)
    stage.seen.append(f"{len(told)} of {len(images)} lines refused")
    counts = await jobs.judge(stage)
    assert (len(bad) if stage.faulty else 0) == len(told), {*range(1, len(bad) + 1)} - {one.line for one in told}
    assert ({} if stage.faulty else {RequestState.DONE: 1}) == counts
    assert (0 if stage.faulty else 1) == stage.posts
    assert not any("root:x:" in one.reason for one in told)


LONG = 100 * 1024 * 1024
MARKUP = "<script>alert(1)</script>"
FORMULA = "=HYPERLINK('http://x','y')"


@case(
    "X04",
    "job files in bad UTF-8, with long lines, twice the same id, formulas",
    "bad UTF-8 refused as a whole; each other told, the others sent",
    bound=40,
)
async def bad_lists(stage: Stage) -> None:
    """Every bad line is told with its number, and costs neither the others nor the memory."""
    good = [{"id": f"row-{number}", "prompt": prompt, **SMALL} for number, prompt in enumerate((MARKUP, FORMULA, "ok"))]
    lines = [json.dumps(row).encode() for row in good]
    if stage.faulty:
        lines[1:1] = [
            b'{"prompt": "' + b"a" * LONG + b'"}',
            json.dumps({"id": "row-0", "prompt": "the same id", **SMALL}).encode(),
            b"{" * 5000,
            b"[1, 2]",
            b'{"prompt": 7}',
            b'{"prompt": "x", "n": 0}',
        ]
    source = stage.folder / "rows.jsonl"
    source.write_bytes(b"\n".join(lines) + b"\n")
    world = await stage.world(scripted())
    client = await stage.client(world.base_url)
    if stage.faulty:
        mixed = stage.folder / "mixed.jsonl"
        mixed.write_bytes(lines[0] + b'\n{"prompt": "\xff\xfe", "model": "gpt-image-2"}\n')
        refused = await stage.call(jobs.run_job(stage, client, mixed, folder=stage.folder / "mixed"))
        assert isinstance(refused.error, errors.InvalidRequestError)
        assert ": line 2 is not UTF-8" in str(refused.error)
    bad = len(lines) - len(good)
    del lines
    before = resident()
    await jobs.run_job(stage, client, source)
    grown = resident() - before
    told = await jobs.problems(stage)
    stage.seen.append(f"{len(told)} of {bad} bad lines told")
    assert [*range(2, 2 + bad)] == sorted(one.line for one in told), told
    assert {RequestState.DONE: 3} == await jobs.judge(stage)
    assert grown < LONG // 2, f"{grown:,} bytes for one line"
    page = (stage.folder / "out" / "gallery.html").read_text(encoding="utf-8")
    data = "".join(path.read_text(encoding="utf-8") for path in (stage.folder / "out" / "gallery").rglob("*.js"))
    assert MARKUP not in page + data


# --- the key ---------------------------------------------------------------------------------------------------------


@case(
    "X05", "key in repr, str, pickle, args, tracebacks with locals, logs, files, /proc/PID/cmdline", "0 seen", bound=60
)
async def nowhere(stage: Stage) -> None:
    """Through a success and through failures of each kind; what is shown is looked at by every case as well."""
    faults = (
        Fault(cut="reset", billed=True),
        Fault(status=401),
        Fault(status=400, body="sk-canary"),
        Fault(status=500),
    )
    await variants(
        stage,
        {
            "calls": lambda part: in_calls(part, faults),
            "job": lambda part: in_a_job(part, faults),
            "program": in_the_program,
            "configuration": in_bad_configuration,
        },
    )


async def in_calls(stage: Stage, faults: tuple[Fault, ...]) -> None:
    world = await stage.world(scripted(*faults))
    client = await stage.client(world.base_url)
    for _ in range(4):
        await stage.call(client.send(GenerationRequest("otter", **SMALL), into=Directory(stage.folder / "out")))
    rooms = client._lifecycle.open()
    objects = [client, client._settings, client._lifecycle, rooms, rooms.transport, *rooms.transport.sessions.values()]
    stage.output.extend(repr(one) for one in objects)
    for path in stage.folder.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes()
    stage.count(4)
    assert not stage.faulty or world.fired()
    assert "canary" not in Path("/proc/self/cmdline").read_text(encoding="latin-1")


async def in_a_job(stage: Stage, faults: tuple[Fault, ...]) -> None:
    """Neither the key nor an address that is still good is in a file of the job, once it has its images."""
    world = await stage.world(scripted(*faults))
    client = await stage.client(world.base_url)
    wanted = [{"id": f"row-{number}", "prompt": f"otter {number}", "model": "dall-e-2"} for number in range(6)]
    source = write_rows(stage.folder / "rows.jsonl", wanted)
    for _ in range(2):  # the second after the key was refused
        await jobs.run_job(stage, client, source)
    await jobs.judge(stage)
    assert not stage.faulty or world.fired()
    texts = {path: path.read_bytes() for path in stage.folder.rglob("*") if path.is_file()}
    assert [] == [path for path, text in texts.items() if CANARY.encode() in text]
    assert [] == [path for path, text in texts.items() if b"sig=" in text]
    private = [path for path in texts if path.name.startswith("job.") or path.parent.name == "rescue"]
    assert [] == [path for path in private if path.stat().st_mode & 0o077]


async def in_the_program(stage: Stage) -> None:
    """The program is given its key by the environment, and shows it neither to `ps` nor on the terminal."""
    world = await stage.world(scripted(Fault(status=401)))
    environment = {**os.environ, "BURNCLOUD_API_KEY": CANARY, "BURNCLOUD_API_BASE_URL": world.base_url}
    command = [sys.executable, "-m", "burncloud_images", "generate", "otter", "-o", str(stage.folder / "a.png")]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    output = await process.communicate()
    stage.output.extend(text.decode() for text in (shown, *output))
    stage.count()
    assert 1 == stage.posts, output
    assert (0 == process.returncode) == (not stage.faulty), output
    # The loop's watcher of the child ends a moment after the child.
    gc.collect()


async def in_bad_configuration(stage: Stage) -> None:
    for bad in (f"{CANARY}\n", f"{CANARY} x") if stage.faulty else ():
        outcome = await stage.call(make(lambda bad=bad: AsyncImagesClient(bad)))
        assert isinstance(outcome.error, errors.ConfigurationError)


BAD_KEYS = ("sk\r\nX-Injected: yes", "sk\0", "sk sk", " sk", "sk\u2028", "sk\t", "図", "", "sk\x7f", "sk\u00a0x")


@case("X06", "key with line breaks, NUL, spaces, U+2028, other scripts, empty", errors.ConfigurationError.__name__)
async def bad_keys(stage: Stage) -> None:
    """Refused at construction, or when it is asked for; never sent."""
    world = await stage.world(scripted())
    for key in BAD_KEYS if stage.faulty else (CANARY,):
        outcome = await stage.call(make(lambda key=key: AsyncImagesClient(key, world.base_url)))
        assert isinstance(outcome.error, errors.ConfigurationError) == stage.faulty, repr(key)
        client = await stage.client(world.base_url, api_key=lambda key=key: key)
        outcome = await stage.call(generate(client))
        assert isinstance(outcome.error, errors.ConfigurationError) == stage.faulty, repr(key)
    stage.count()
    assert (0 if stage.faulty else 1) == stage.posts


@case("X07", "~/.netrc names the host", "unused")
async def netrc(stage: Stage) -> None:
    """The key that was given is the one that is sent."""
    world = await stage.world(lambda _faulty: written()(True))
    if stage.faulty:
        path = stage.folder / ".netrc"
        path.write_text("machine 127.0.0.1 login other password other\ndefault login x password y\n", encoding="ascii")
        path.chmod(0o600)
        stage.monkeypatch.setenv("NETRC", str(path))
        stage.monkeypatch.setenv("HOME", str(stage.folder))
    for trust in (False, True):
        client = await stage.client(world.base_url, network=Network(trust_env=trust))
        outcome = await stage.call(generate(client))
        assert outcome.error is None
    stage.count(2)
    assert (2, 2) == (stage.posts, stage.billed)
    assert {f"Bearer {CANARY}".encode()} == {header(head, b"authorization") for head in world.gateway.heads}


@case("X08", "HTTP_PROXY set", "unused; used and its password hidden where the environment is trusted")
async def proxies(stage: Stage) -> None:
    """The environment counts only where the caller says so."""
    world = await stage.world(lambda _faulty: written(plain=True)(True))
    proxy = await stage.enter(Proxy(world.gateway.port))
    if stage.faulty:
        stage.monkeypatch.delenv("no_proxy", raising=False)
        stage.monkeypatch.delenv("NO_PROXY", raising=False)
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            stage.monkeypatch.setenv(name, f"http://user:{CANARY}-pw@127.0.0.1:{proxy.port}")
    for trust, used in ((False, 0), (True, 1 if stage.faulty else 0)):
        client = await stage.client(world.base_url, network=Network(trust_env=trust))
        outcome = await stage.call(generate(client))
        assert outcome.error is None
        assert used == proxy.connections
    stage.output.append(repr(Network(proxy=f"http://user:{CANARY}-pw@127.0.0.1:1")))
    stage.count(2)
    assert (2, 2) == (stage.posts, stage.billed)


@case("X09", "SSLKEYLOGFILE set; certificates not verified", "a warning for each")
async def loose_tls(stage: Stage) -> None:
    """Whoever loosens TLS hears of it."""
    authority = authorities.good()
    proxy_to = await stage.world(scripted(tls=False))
    front = await stage.enter(Proxy(proxy_to.emulator.port, front=authority.server))
    loose = ssl.create_default_context()
    loose.check_hostname, loose.verify_mode = False, ssl.CERT_NONE
    if stage.faulty:
        stage.monkeypatch.setenv("SSLKEYLOGFILE", str(stage.folder / "keys"))
        stage.expected_words += ["SSLKEYLOGFILE is set", "does not verify certificates"]
    network = Network(ca=loose if stage.faulty else authority.client)
    client = await stage.client(f"https://127.0.0.1:{front.port}/v1", network=network)
    outcome = await stage.call(generate(client))
    stage.judge(outcome, succeeds())


@case("X10", "server echoes the key in an error and in the revised prompt", "never in a message or a log")
async def echoed(stage: Stage) -> None:
    """What is logged or raised does not hold it."""
    body = {"error": {"message": f"Incorrect API key provided: {CANARY}", "code": "invalid_api_key"}}
    answer = http(document().replace(b'"b64_json"', f'"revised_prompt": "{CANARY}", "b64_json"'.encode()))

    async def prompt(stage: Stage) -> None:
        world = await stage.world(written(Step(answer=answer)))
        client = await stage.client(world.base_url)
        result: Any = await generate(client)
        stage.count()
        stage.seen.append("succeeds")
        assert CANARY not in (result.image.revised_prompt or "")
        assert stage.faulty == (result.image.revised_prompt is not None)

    refused = fails(errors.AuthenticationError, attempts=1)
    page = fails(errors.AuthenticationError, attempts=1)
    await variants(
        stage,
        {
            "error": one_call(scripted(Fault(status=401, body=body)), refused),
            "page": one_call(scripted(Fault(status=401, body=f"<html>{CANARY}</html>")), page),
            "unknown": one_call(scripted(Fault(status=502, body=f"<html>{CANARY}</html>", billed=True)), held()),
            "prompt": prompt,
        },
    )


def refused_address(addresses: tuple[str, ...]) -> Play:
    """Return a play that tries to make clients of *addresses*."""

    async def play(stage: Stage) -> None:
        world = await stage.world(scripted())
        for address in addresses if stage.faulty else (world.base_url,):
            outcome = await stage.call(make(lambda address=address: AsyncImagesClient(CANARY, address)))
            assert isinstance(outcome.error, errors.ConfigurationError) == stage.faulty, address

    return play


case("X11", "unencrypted base URL beyond this machine", errors.ConfigurationError.__name__)(
    refused_address(("http://images.example/v1", "http://10.0.0.1", "http://169.254.169.254", "http://[fd00::1]/v1"))
)
case("X12", "base URL with a password, a fragment, another scheme", errors.ConfigurationError.__name__)(
    refused_address(
        (
            "https://user:pw@images.example/v1",
            "https://images.example/v1#x",
            "ftp://images.example/v1",
            "file:///etc/passwd",
            "https://",
        )
    )
)


@case("X13", "key as an option of the program", "refused; no option takes it")
async def key_option(stage: Stage) -> None:
    """Options are seen by every user of the machine."""
    options: Mapping[bool, list[str]] = {True: ["--api-key", CANARY], False: []}
    world = await stage.world(scripted())
    environment = {**os.environ, "BURNCLOUD_API_BASE_URL": world.base_url}
    if not stage.faulty:
        environment["BURNCLOUD_API_KEY"] = CANARY
    command = [sys.executable, "-m", "burncloud_images", "generate", "otter", "-o", str(stage.folder / "a.png")]
    process = await asyncio.create_subprocess_exec(
        *command,
        *options[stage.faulty],
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output = await process.communicate()
    stage.seen.append(f"exit code {process.returncode}")
    stage.count()
    assert (2 if stage.faulty else 0) == process.returncode, output
    assert (0 if stage.faulty else 1) == stage.posts
