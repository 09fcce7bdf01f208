"""The program as a whole: its help, its imports, its other commands, and what only a process of its own shows."""

import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from programs import PROGRAM, read_until, start, wait_until

import burncloud_images
from burncloud_images.cli.commands import GROUPS, KNOWN, NO_OPTIONS
from burncloud_images.cli.options import derive, help_of, option_name
from burncloud_images.emulator import Fault
from burncloud_images.model.media import examine_bytes
from burncloud_images.model.operations import EditRequest, GenerationRequest, VariationRequest

HEAVY = ("aiohttp", "aiofiles", "asyncio", "ssl", "PIL", "sqlite3", "tenacity", "logging")


# --- help ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [GenerationRequest, EditRequest, VariationRequest])
def test_every_field_is_an_option(cli, kind):
    """The help of a command names every field of its request, and what it is for."""
    name = {"generations": "generate", "edits": "edit", "variations": "variation"}[kind.operation]

    ran = cli(name, "--help")

    first, *others = [field.name for field in attrs.fields(kind) if field.name not in NO_OPTIONS]
    positional = "image" if kind is not GenerationRequest else "prompt"
    shown = ran.out.decode()
    assert ran.code == 0
    assert positional.upper() in shown
    assert [] == [field for field in (first, *others) if field != positional and option_name(field) not in shown]
    for panel in ("API fields", "Output", "Connection", "Reporting"):
        assert f"─ {panel} ─" in shown


@pytest.mark.parametrize("owner", KNOWN)
def test_every_option_has_help(owner):
    """The `Args` of the classes that options come from say something about each field."""
    assert {field.name for field in attrs.fields(owner)} <= help_of(owner).keys()


@pytest.mark.parametrize("owner", KNOWN)
def test_help_is_written_for_a_shell(owner):
    """The help, which is the classes' own documentation, names no class or field as only Python would."""
    fields = {field.name for kind in KNOWN for field in attrs.fields(kind)}
    of_python = {name for name in {*fields, *burncloud_images.__all__} if name != name.title() and not name.islower()}
    of_python |= {name for name in fields if "_" in name} | {"client", "constructor", "None"}

    said = {name: set(re.findall(r"\w+", text)) for name, text in help_of(owner).items() if name not in NO_OPTIONS}

    assert {} == {name: words & of_python for name, words in said.items() if words & of_python}


def test_choices_are_offered():
    """Values that a field's annotation knows are offered for completion."""
    (size,) = [each for each in derive(GenerationRequest, GROUPS[KNOWN[-1]]) if each.name == "size"]
    option = size.annotation.__metadata__[0]

    assert "1536x1024" in option.completer(None)
    assert size.default is None
    assert inspect.Parameter.KEYWORD_ONLY is size.kind


def test_the_help_of_all(cli):
    """The help lists the commands and the exit codes."""
    ran = cli("--help")

    for word in ("generate", "edit", "variation", "models", "emulator", "doctor", "10 outcome unknown"):
        assert word in ran.out.decode()
    assert cli().out == ran.out


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "words",
    [["--help"], ["generate", "--help"], ["edit", "--help"], ["batch", "--help"], ["status", "--help"], ["--version"]],
)
def test_help_loads_nothing_heavy(words):
    """Help is quick because it imports nothing that the network needs."""
    # What is there before belongs to whoever measures coverage.
    code = (
        "import sys; before = set(sys.modules); from burncloud_images.__main__ import main; code = main(sys.argv[1:]);"
        f"print(sorted(({set(HEAVY)} & set(sys.modules)) - before), file=sys.stderr); sys.exit(code)"
    )
    ran = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True)

    assert ran.stderr.decode().strip().splitlines()[-1] == "[]"


def test_version(cli):
    """--version prints the version alone."""
    from importlib.metadata import version

    assert cli("--version").out.decode().strip() == version("burncloud-images")


def test_without_the_extra(cli, monkeypatch):
    """Where the command line is not installed, the program says how to install it."""
    import burncloud_images.__main__ as program

    monkeypatch.setattr(program, "find_spec", lambda _: None)

    ran = cli("--help")

    assert ran.code == 2
    assert ran.err == "error: the command line is an extra: pip install 'burncloud-images[cli]'\n"


def test_without_pillow(cli, monkeypatch):
    """The emulator without Pillow says how to install it."""
    monkeypatch.setitem(sys.modules, "PIL", None)

    for words in (["models", "--emulator"], ["emulator"], ["doctor", "--emulator"]):
        ran = cli(*words)

        assert ran.code == 2
        assert "pip install 'burncloud-images[emulator]'" in ran.err + ran.out.decode()


def test_an_interrupt_outside_a_request(cli, monkeypatch):
    """Ctrl-C where nothing is paid for ends the program with 130."""
    from burncloud_images.cli import models

    async def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "print_models", interrupt)

    assert cli("models").code == 130


# --- models, doctor, emulator ----------------------------------------------------------------------------------------


def test_models(cli, serve):
    """Models are printed one a line, or as JSON."""
    serve()

    lines = cli("models")
    document = cli("models", "--json")

    assert b"gpt-image-2\n" in lines.out
    assert {"gpt-image-2", "dall-e-3"} <= {model["id"] for model in document.json["models"]}


def test_models_with_a_wrong_key(cli, serve, monkeypatch):
    """A key that is refused is code 4."""
    serve()
    monkeypatch.setenv("BURNCLOUD_API_KEY", "sk-wrong")

    assert cli("models", "--retries", "1").code == 4


def test_doctor_is_content(cli, serve, monkeypatch):
    """Where all is well every line is ok; proxies are named and the key is not shown."""
    serve()
    monkeypatch.setenv("NO_PROXY", "localhost")

    ran = cli("doctor")

    assert ran.code == 0
    assert all(line.startswith("ok ") for line in ran.out.decode().splitlines())
    assert b"API key: found in BURNCLOUD_API_KEY" in ran.out
    assert b"NO_PROXY set in the environment" in ran.out
    assert b"reachable, accepts the key" in ran.out


@pytest.mark.parametrize(
    ("words", "variables", "code", "finding"),
    [
        ([], {"BURNCLOUD_API_KEY": "", "BURNCLOUD_API_BASE_URL": "https://h.example"}, 2, "API key: none"),
        (["--no-key", "--api-key-file", "key"], {}, 2, "cannot be combined"),
        (["--header", "X-Otter"], {}, 2, "--header number 1"),
        (["--header", "X-Otter: canary"], {}, 0, "X-Otter"),
        ([], {"BURNCLOUD_API_KEY": "a\nb"}, 2, "line break"),
        (["--api-key-file", "nowhere"], {}, 2, "The key file nowhere cannot be read"),
        (["--base-url", "https://h.example/#a"], {}, 2, "holds a fragment"),
        ([], {"BURNCLOUD_API_BASE_URL": "ftp://h.example"}, 2, "neither http nor https"),
        (["--base-url", "127.0.0.1:9"], {}, 6, "API: The connection to 127.0.0.1:9 failed"),
        ([], {"BURNCLOUD_API_KEY": "sk-wrong"}, 4, "Check the API key"),
        (["--timeout", "0"], {}, 2, "--timeout greater than 0"),
        (["--emulator"], {}, 0, "the emulator's"),
    ],
)
def test_doctor_finds(cli, serve, monkeypatch, words, variables, code, finding):
    """The code is that of the first problem, and its line says what to do."""
    serve()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    ran = cli("doctor", *words)

    assert ran.code == code
    (line,) = [line for line in ran.out.decode().splitlines() if finding in line][:1]
    assert line.startswith("problem" if code else "ok")


def test_doctor_from_a_strange_place(cli, serve, monkeypatch):
    """A folder that cannot be written, a missing Pillow and packages from a checkout are told, in JSON too."""
    from importlib.metadata import PackageNotFoundError

    from burncloud_images.cli import doctor

    def no_version(name):
        raise PackageNotFoundError(name)

    serve()
    monkeypatch.setattr(doctor, "version", no_version)
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    monkeypatch.setattr(os, "access", lambda *_: False)

    ran = cli("doctor", "--json")

    findings = {check["what"]: check["finding"] for check in ran.json["checks"]}
    assert ran.code == 2
    assert "use --into with another" in findings["current folder"]
    assert "pip install" in findings["Pillow"]
    assert "from a checkout" in findings["packages"]


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_the_emulator_command(cli, number, tmp_path):
    """The emulator prints what a shell needs, serves until a signal, says what it was asked for, and succeeds."""
    with start("emulator", "--fault", "429") as process:
        lines = [process.stdout.readline(), process.stdout.readline()]
        values = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines)
        ran = cli("generate", "x", "-m", "gpt-image-2", "--base-url", values["BURNCLOUD_API_BASE_URL"],
                  "--api-key-file", "-", "--retries", "1", stdin=values["BURNCLOUD_API_KEY"].encode())  # fmt: skip
        process.send_signal(number)
        _, err = process.communicate()

    assert ran.code == 6
    assert process.returncode == 0
    assert err.splitlines()[-1] == "ledger: 1 requests, 0 of them billed, 0 images, 0 downloads"


@pytest.mark.slow
def test_the_emulator_command_over_tls(cli, photo, tmp_path):
    """The emulator serves HTTPS and prints the file by which clients trust it, for as long as it serves."""
    with start("emulator", "--tls") as process:
        lines = [process.stdout.readline() for _ in range(3)]
        values = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines)
        authority = Path(values["SSL_CERT_FILE"])
        kept = authority.is_file()
        words = (
            "edit",
            photo,
            "-p",
            "add snow",
            "-m",
            "gpt-image-2",
            "-o",
            tmp_path / "snow.png",
            "--api-key-file",
            "-",
        )
        at = ("--base-url", values["BURNCLOUD_API_BASE_URL"])
        key = values["BURNCLOUD_API_KEY"].encode()
        distrusted = cli(*words, *at, stdin=key)
        trusted = cli(*words, *at, "--cacert", authority, stdin=key)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()

    assert values["BURNCLOUD_API_BASE_URL"].startswith("https://127.0.0.1:")
    assert (6, 0) == (distrusted.code, trusted.code)
    assert "does not verify" in distrusted.err
    assert "ledger: 1 requests, 1 of them billed" in err
    assert kept
    assert not authority.exists()


# --- a process of its own --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_bytes_through_a_pipe(photo):
    """An image comes by standard input, and an image goes to standard output."""
    ran = subprocess.run(
        [*PROGRAM, "edit", "-", "-p", "add snow", "-m", "gpt-image-2", "--emulator", "-o", "-"],
        input=photo.read_bytes(),
        capture_output=True,
        check=True,
    )

    assert examine_bytes(ran.stdout).complete


def test_the_installed_script(tmp_path):
    """`burncloud-images` is the same program."""
    script = Path(sys.executable).with_name("burncloud-images")
    if not script.exists():
        pytest.skip("run from a checkout that is not installed")

    ran = subprocess.run([script, "--version"], capture_output=True, check=True)

    assert ran.stdout.strip()


@pytest.mark.slow
def test_a_reader_that_leaves(tmp_path):
    """A closed pipe behind stdout is no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [*PROGRAM, "models", "--emulator"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)

    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr


def shell(words, redirection):
    """Run the program with its streams as a shell says."""
    line = f"{shlex.join([*PROGRAM, *map(str, words)])} {redirection}"
    return subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, text=True, check=False)


FULL = "standard output cannot be written: No space left on device."


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--help"], marks=pytest.mark.slow),
        pytest.param(["--version"], marks=pytest.mark.slow),
        pytest.param(["batch", "--help"], marks=pytest.mark.slow),
        pytest.param(["models", "--emulator"], marks=pytest.mark.slow),
        pytest.param(["plan", "rows.txt", "-m", "gpt-image-2"], marks=pytest.mark.slow),
        pytest.param(
            ["batch", "rows.txt", "-m", "gpt-image-2", "--size", "1024x640", "--emulator", "--into", "other"],
            marks=pytest.mark.slow,
        ),
        ["status", "out"],
        pytest.param(["usage", "out", "--json"], marks=pytest.mark.slow),
        pytest.param(["verify", "out"], marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_behind_stdout(cli, serve, here, words):
    """It is one sentence and exit code 11, whatever is printed."""
    serve()
    (here / "rows.txt").write_text("a fox\n")
    cli("batch", "rows.txt", "-m", "gpt-image-2", "--size", "1024x640", "--into", "out")

    ran = shell(words, ">/dev/full")

    assert 11 == ran.returncode, ran.stderr
    assert [f"error: {FULL}"] == [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("output", ["-", "fox.png"])
def test_an_image_that_cannot_be_printed_is_told(serve, here, monkeypatch, output):
    """Neither bytes nor a path that stdout does not take are lost: it is said where the image is."""
    monkeypatch.setenv("TMPDIR", str(here))
    serve()

    ran = shell(["generate", "a fox", "-m", "gpt-image-2", "-o", output], ">/dev/full")

    (image,) = here.glob("*.png")
    assert 11 == ran.returncode
    assert f"error: {FULL}" in ran.stderr
    assert image.name in ran.stderr


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("words", "redirection", "sentence"),
    [
        (["generate", "-", "--emulator"], "<&-", "Standard input is closed, so it cannot be the prompt."),
        (["batch", "-", "--into", "out", "--emulator"], "<&-", "Standard input is closed, so it cannot be a list."),
        (["plan", "-"], "<&-", "Standard input is closed, so it cannot be a list."),
        (["batch", "-", "--into", "out", "--emulator"], ">&-", "standard output is closed; "),
        (["generate", "a fox", "--emulator"], ">&-", "standard output is closed; "),
    ],
)
def test_a_closed_stream(here, words, redirection, sentence):
    """Nothing is begun without a stream that is needed: one sentence, and exit code 2."""
    ran = shell(words, redirection)

    assert 2 == ran.returncode
    assert f"error: {sentence}" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert [] == list(here.iterdir())


def generate(tmp_path):
    return start("generate", "x", "-m", "gpt-image-2", "-v", "--progress", "json", "--into", tmp_path / "out")


def test_the_first_interrupt_lets_the_request_finish(serve, tmp_path):
    """One Ctrl-C waits for what is paid for, prints it, and succeeds."""
    server = serve(latency=0.8)

    with generate(tmp_path) as process:
        read_until(process.stderr, '"started"')
        process.send_signal(signal.SIGINT)
        said = read_until(process.stderr, "finishing")
        out, _ = process.communicate()

    assert "press Ctrl-C again to abandon it" in json.loads(said)["message"]
    assert process.returncode == 0
    assert Path(out.strip()).exists()
    assert server.ledger.billed_images == 1


def test_the_second_interrupt_abandons(serve, tmp_path):
    """Two Ctrl-C end the request at once, and say that it may have been billed, with its key."""
    server = serve(Fault(cut="stall", billed=True))

    with generate(tmp_path) as process:
        read_until(process.stderr, '"started"')
        wait_until(lambda: server.ledger.billed_images)
        process.send_signal(signal.SIGINT)
        read_until(process.stderr, "finishing")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()

    message = json.loads(err.splitlines()[-1])["message"]
    assert process.returncode == 130
    assert out == ""
    assert server.ledger.requests[0].idempotency_key in message
    assert "may have been billed" in message
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_an_interrupt_between_attempts(serve, tmp_path):
    """While nothing is on its way one Ctrl-C ends the waiting: code 7, and nothing was billed."""
    serve(Fault(status=429, retry_after=60, times=None))

    with generate(tmp_path) as process:
        read_until(process.stderr, '"attempt"')
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()

    assert process.returncode == 7
    assert "nothing was billed" in err


@pytest.mark.slow
def test_no_attempt_follows_an_interrupt(serve, tmp_path):
    """If the attempt that Ctrl-C let finish fails, no other is made."""
    server = serve(Fault(status=429, retry_after=60, delay=0.8, times=None))

    with generate(tmp_path) as process:
        read_until(process.stderr, '"started"')
        wait_until(lambda: server.ledger.requests)
        process.send_signal(signal.SIGINT)
        process.communicate()

    assert process.returncode == 7
    assert len(server.ledger.requests) == 1


@pytest.mark.slow
def test_a_request_to_terminate(serve, tmp_path):
    """SIGTERM is not sent twice: it abandons at once."""
    server = serve(Fault(cut="stall", billed=True))

    with generate(tmp_path) as process:
        read_until(process.stderr, '"started"')
        wait_until(lambda: server.ledger.billed_images)
        process.terminate()
        process.communicate()

    assert process.returncode == 130
