"""What cannot be sent, what fails, and what is left of it: sentences, exit codes, rescued images."""

import base64
import json
import os
import stat
from pathlib import Path

import pytest
from pictures import png
from statuses import ROWS, by_id

from burncloud_images import disk
from burncloud_images.cli.exit_codes import TABLE, to_exit
from burncloud_images.emulator import Fault
from burncloud_images.errors import ImagesError, StorageError
from burncloud_images.model.media import examine_bytes
from burncloud_images.wire.failures import to_error

GENERATE = ("generate", "a sea otter", "-m", "gpt-image-2", "--retries", "1")
EDIT = ("edit", "-p", "add snow", "-m", "gpt-image-2")


def refused(ran, server, *, code=2):
    """Check that nothing was sent and that one sentence says why; return it."""
    assert ran.code == code
    assert ran.out == b""
    assert len(ran.errors) == 1
    assert server.ledger.requests == ()
    return ran.errors[0]


# --- bad input -------------------------------------------------------------------------------------------------------


def make_bad(name, folder):
    path = folder / "bad.png"
    if name == "folder":
        path.mkdir()
    elif name == "empty":
        path.write_bytes(b"")
    elif name == "text":
        path.write_text("hello")
    elif name == "large":
        path.write_bytes(png(8, 8)[:-12])
        os.truncate(path, 60 * 1024 * 1024)
        with path.open("ab") as file:
            file.write(png(8, 8)[-12:])
    return path


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing", "there is no such file"),
        ("folder", "is a directory"),
        ("empty", "it is empty"),
        ("text", "it is not a PNG, JPEG, WebP or GIF image"),
        ("large", "is more than 50"),
    ],
)
def test_a_bad_image(cli, serve, tmp_path, name, sentence):
    """A file that is not a usable image is refused before anything is sent."""
    server = serve()

    error = refused(cli(*EDIT, make_bad(name, tmp_path)), server)

    assert sentence in error
    assert "Nothing was sent." in error


def test_a_mask_of_another_size(cli, serve, photo, other_photo):
    """A mask whose size differs from the image is refused before the upload."""
    server = serve()

    assert "32x32" in refused(cli(*EDIT, photo, "--mask", other_photo), server)


def test_an_address_that_may_not_be_fetched(cli, serve):
    """An image URL with a private address is a usage error."""
    server = serve()

    error = refused(cli(*EDIT, "https://127.0.0.1:1/a.png"), server)

    assert "Nothing was sent." in error


def test_an_address_where_no_image_is(cli, serve):
    """An input that cannot be fetched is a failed download: nothing was sent, and no address is kept as paid."""
    server = serve()

    error = refused(cli(*EDIT, f"{server.base_url}/nothing.png", "--retries", "1"), server, code=1)

    assert "Nothing was sent." in error
    assert list(Path().glob("*.url")) == []


def test_a_long_prompt(cli, serve):
    """In strict mode, a documented limit stops the request; the sentence says how to pass it."""
    server = serve()

    error = refused(cli("generate", "a" * 40_000, "-m", "gpt-image-2", "--validation", "strict"), server)

    assert "40,000 characters" in error
    assert "--validation off" in error


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["generate", "x", "-n", "0"], "at least 1 image"),
        (["generate", " "], "prompt: it is empty"),
        (["generate", "x", "-n", "many"], 'unable to convert "many" into int'),
        (["generate", "x", "--retries", "0"], "--retries has to be at least 1"),
        (["generate", "x", "--timeout", "0"], "--timeout greater than 0"),
        (["generate", "x", "--base-url", "https://h.example/#q"], "holds a fragment"),
        (["generate", "x", "--base-url", "http://h.example"], "--allow-http"),
        (["generate", "x", "--proxy", "localhost"], "http://host:port"),
        (["generate", "x", "--proxy", "socks5://localhost:1080"], "SOCKS proxies are not supported"),
        (["generate", "x", "--cacert", "nowhere.pem"], "No such file"),
        (["generate", "x", "--cacert", "."], "cannot be read"),
        (["generate", "x", "-O", "nothing"], "-O takes key=value"),
        (["generate", "x", "-O", "n=two"], "The value of -O n is not valid JSON"),
        (["generate", "x", "-O", "prompt=y"], "-O cannot set prompt"),
        (["generate", "x", "-O", "stream=true"], "streams are asked for by another method"),
        (["generate", "x", "-O", "partial_images=2"], "partial"),
        (["generate", "x", "-n", "2", "-O", "n=3"], "n is given twice"),
        (["generate", "x", "--svg", "{"], "The value of --svg is not valid JSON"),
        (["generate", "@nowhere.txt"], "The prompt file nowhere.txt cannot be read"),
        (["generate", "-"], "prompt: it is empty"),
        (["generate", "x", "-o", "a", "--into", "b"], "give one of them"),
        (["generate", "x", "-o", "https://h.example/a.png"], "not to https:// addresses"),
        (["generate", "x", "-o", ""], "is empty"),
        (["generate", "x", "-o", "a.png", "--name", "b"], "--name does not apply"),
        (["generate", "x", "-o", "{id}/a.png"], "can only be used in file names"),
        (["generate", "x", "--name", "{row.a}"], "may hold"),
        (["generate", "x", "-o", "-", "-n", "2"], "-o - takes one image, not 2"),
        (["generate", "x", "-o", "-", "--json"], "do not apply"),
        (["generate", "x", "--exists", "ask"], "Choose from"),
        (["generate", "x", "--emulator", "--base-url", "h.example"], "leave out --base-url and --api-key-file"),
        (["generate", "x", "--emulator", "--dry-run"], "cannot be combined"),
        (["generate", "x", "--api-key-file", "-"], "The API key is empty"),
        (["generate"], "PROMPT requires an argument"),
        (["generate", "x", "--sise", "1"], "Did you mean --size?"),
        (["edit", "-p", "x"], "IMAGE requires an argument"),
        (["edit", "-", "-", "-p", "x"], "both an image and an image"),
        (["edit", "http://h.example/a.png", "-p", "x"], "use https:// or --allow-http"),
        (["edit", "ftp://h.example/a.png", "-p", "x"], "use https://"),
        (["edit", "https://h.example/a.png", "-p", "x", "--dry-run"], "fetches no image"),
        (["variation", "http://h.example/a.png"], "use https:// or --allow-http"),
        (["generte", "x"], 'Did you mean "generate"?'),
        (["models", "--profile", "nobody"], "There is no [profile.nobody]"),
        (["emulator", "--fault", "earthquake"], "is neither a status nor one of"),
        (["emulator", "--host", "192.0.2.1"], "cannot listen on 192.0.2.1"),
    ],
)
def test_wrong_words(cli, serve, words, sentence):
    """What cannot be understood or used is one sentence on stderr, code 2, and nothing is sent."""
    server = serve()

    assert sentence in refused(cli(*words), server)


def test_a_prompt_in_a_locale_of_ascii(cli):
    """Python hands over escaped bytes there, which are read as the UTF-8 that was typed; other bytes are refused."""
    word = "一只水獭".encode().decode("ascii", errors="surrogateescape")

    assert cli("generate", word, "--dry-run", "--json").json["body"]["prompt"] == "一只水獭"
    ran = cli("generate", "\udcff\udcfe", "--dry-run")
    assert (ran.code, "not valid UTF-8" in ran.err) == (2, True)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("exists", ["error", "rename", "overwrite", "skip"])
@pytest.mark.parametrize("kind", ["pipe", "device", "long", "long in bytes"])
def test_a_file_that_cannot_be_is_refused_before_anything_is_sent(cli, serve, here, kind, exists):
    """A pipe, a device and a name of more than 255 bytes are one sentence, code 2; a device stays one."""
    server = serve()
    os.mkfifo(here / "pipe")
    name = {"pipe": "pipe", "device": "/dev/null", "long": "a" * 252 + ".png", "long in bytes": "水" * 84 + ".png"}[
        kind
    ]

    ran = cli(*GENERATE, "-o", name, "--exists", exists)

    assert ("use -o -" if kind in {"pipe", "device"} else "has 256 bytes") in refused(ran, server)


@pytest.mark.parametrize("kind", ["file", "pipe", "loop"])
@pytest.mark.parametrize("words", [(*GENERATE, "--into"), ("batch", "list.txt", "-m", "gpt-image-2", "--into")])
def test_what_is_not_a_folder(cli, serve, here, words, kind):
    """It is called that, for single requests and for jobs, and nothing is sent."""
    server = serve()
    (here / "list.txt").write_text("an otter\n")
    (here / "file").touch()
    os.mkfifo(here / "pipe")
    (here / "loop").symlink_to(here / "loop")

    ran = cli(*words, kind)

    assert ran.code == 11
    assert "it is not a folder." in ran.err
    assert not server.ledger.requests


def test_a_prompt_that_is_no_text(cli, serve):
    """A prompt that is not valid UTF-8 is refused."""
    server = serve()

    assert "not valid UTF-8" in refused(cli("generate", "-", stdin=b"\xff\xfe\xff"), server)


def test_stdin_is_read_once(cli, serve):
    """The prompt and the key cannot both be read from stdin."""
    server = serve()

    ran = cli(*GENERATE[:1], "-", "--api-key-file", "-", stdin=b"an otter")

    assert "both the prompt and the key" in refused(ran, server)


def test_a_terminal_gets_no_bytes(cli, serve, monkeypatch):
    """-o - is refused if stdout is a terminal."""
    server = serve()
    import sys

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)

    assert "not written to a terminal" in refused(cli(*GENERATE, "-o", "-"), server)


@pytest.mark.parametrize(
    ("key", "sentence"), [(None, "There is no API key"), ("sk-a\nsk-b", "line break"), ("sk-é€", "header cannot carry")]
)
def test_a_bad_key(cli, serve, monkeypatch, key, sentence):
    """Without a usable key nothing is sent, and the message does not show the key."""
    server = serve()
    monkeypatch.delenv("BURNCLOUD_API_KEY")
    if key is None:
        monkeypatch.setenv("BURNCLOUD_API_BASE_URL", "https://h.example")  # a server on this machine needs none
    else:
        monkeypatch.setenv("BURNCLOUD_API_KEY", key)

    error = refused(cli(*GENERATE), server)

    assert sentence in error
    assert "sk-" not in error


def test_a_key_from_a_file(cli, serve, monkeypatch, tmp_path):
    """A key may stand in a file or come by stdin; the line break at its end does not count."""
    server = serve()
    monkeypatch.delenv("BURNCLOUD_API_KEY")
    file = tmp_path / "key"
    file.write_text(f"{server.api_key}\r\n")

    by_file = cli(*GENERATE, "--api-key-file", file)
    by_stdin = cli(*GENERATE, "--api-key-file", "-", stdin=f"{server.api_key}\n".encode())
    missing = cli(*GENERATE, "--api-key-file", tmp_path / "nowhere")

    assert (by_file.code, by_stdin.code, missing.code) == (0, 0, 2)


def test_certificates_that_are_none(cli, serve, tmp_path):
    """A file without certificates is reported; one with certificates is used."""
    server = serve()
    file = tmp_path / "ca.pem"
    file.write_text("nothing")

    assert "it is not a PEM file" in refused(cli(*GENERATE, "--cacert", file), server)

    import ssl

    system = ssl.get_default_verify_paths().cafile
    if system and Path(system).exists():
        assert cli(*GENERATE, "--cacert", system).code == 0


# --- exit codes ------------------------------------------------------------------------------------------------------


@pytest.mark.sampled(4)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_an_answer_has_its_exit_code(row):
    """What an answer means decides the exit code."""
    assert row.means.exit == to_exit(to_error(row.reply))


SENTENCES = {
    "401 of the API": "burncloud-images doctor",
    "403 of the API": "burncloud-images models",
    "429 quota by a code alone": "Top up",
    "429 of the API": "type the same command again",
    "moderation by a code alone": "Change the prompt",
    "500 of the API": "may have been billed",
    "503 of the API": "Try again later",
    "404 of the API": "",
    "400 of the API": "",
    "410 of the API": "Use another model",
    "409 key in use": "may have been billed",
    "422 key reused": "look at the account's log",
    "521 page": "type the same command again",
    "526 page": "burncloud-images doctor",
    "302 redirect": "Check the base URL",
}
"""What the user is told after an answer; one for each meaning."""


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("fault", "code", "sentence"),
    [
        *[(by_id[name].fault(), by_id[name].means.exit, sentence) for name, sentence in SENTENCES.items()],
        (Fault(cut="reset", billed=True), 10, "may have been billed"),
        (Fault(status=200, body="<html>", billed=True), 1, "may have been billed"),
    ],
    ids=[*SENTENCES, "reset after the work", "page with 200"],
)
def test_exit_codes(cli, serve, fault, code, sentence):
    """Each failure has its exit code and says what to do; stdout stays empty."""
    serve(fault)

    ran = cli(*GENERATE)

    assert ran.code == code
    assert ran.out == b""
    assert sentence in ran.errors[0]


def test_every_error_has_a_code():
    """No class of error is without an exit code, and the table has no row that another hides."""

    def classes(kind):
        return [kind, *(found for child in kind.__subclasses__() for found in classes(child))]

    assert {to_exit(kind.__new__(kind)) for kind in classes(ImagesError)} == {1, 2, 4, 5, 6, 9, 10, 11}
    kinds = [kind for kind, _, _ in TABLE]
    assert [] == [kind for i, kind in enumerate(kinds) if any(issubclass(kind, earlier) for earlier in kinds[:i])]


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "insufficient_quota", "server_is_overloaded"])
def test_a_refusal_that_may_be_billed_is_not_to_be_typed_again(cli, serve, code):
    """The answer was one of success, so its class alone does not say that the command is free."""
    server = serve(Fault(status=200, body={"error": {"message": "slow", "code": code}}, billed=True))

    ran = cli(*GENERATE)

    assert (10, 1) == (ran.code, server.ledger.billed_images)
    assert "look at the account's log before you repeat the command" in ran.errors[0]
    assert f"idempotency key: {server.ledger.requests[0].idempotency_key}" in ran.errors[0]


def test_an_unknown_outcome_names_the_key(cli, serve):
    """What may have been billed is told with the idempotency key, by which the provider can find it."""
    server = serve(Fault(cut="reset", billed=True))

    ran = cli(*GENERATE)

    assert f"idempotency key: {server.ledger.requests[0].idempotency_key}" in ran.errors[0]
    assert server.ledger.billed_images == 1


UPSTREAM = {"error": {"message": "m", "type": "upstream_error", "param": "", "code": "bad_response_status_code"}}


@pytest.mark.parametrize("how", ["flag", "environment", "file"])
def test_a_server_that_is_named_is_believed(cli, serve, monkeypatch, here, no_wait, how):
    """By --dialect, BURNCLOUD_DIALECT or the configuration; its error is tried again."""
    server = serve(Fault(status=500, body=UPSTREAM))
    words = {"flag": ["--dialect", "newapi"], "file": ["--config", "named.toml"]}.get(how, [])
    (here / "named.toml").write_text("dialect = 'newapi'")
    if how == "environment":
        monkeypatch.setenv("BURNCLOUD_DIALECT", "newapi")

    ran = cli("generate", "a sea otter", "-m", "gpt-image-2", *words)

    assert 0 == ran.code
    assert (2, 1) == (len(server.ledger.requests), server.ledger.billed_requests)


def test_a_dialect_that_does_not_exist(cli, serve):
    """An unknown dialect is refused before anything is sent."""
    server = serve()

    assert "There is no dialect 'new-api'" in refused(cli(*GENERATE, "--dialect", "new-api"), server, code=2)


@pytest.mark.parametrize("how", ["flag", "file"])
def test_a_code_means_what_the_user_says(cli, serve, here, how):
    """By --error-code or the configuration; an empty purse ends with 5."""
    serve(Fault(status=400, body={"error": {"message": "m", "code": "E402"}}))
    (here / "named.toml").write_text("error-code = ['E402=quota']")

    ran = cli(*GENERATE, *(["--error-code", "E402=quota"] if how == "flag" else ["--config", "named.toml"]))

    assert 5 == ran.code


@pytest.mark.parametrize("word", ["E402", "=quota", "E402=money", "E402="])
def test_a_meaning_that_does_not_exist(cli, serve, word):
    """It is refused with those that do, before anything is sent."""
    server = serve()
    assert "--error-code takes a code and one of authentication" in refused(
        cli(*GENERATE, "--error-code", word), server, code=2
    )


def test_the_request_id_is_quoted(cli, serve):
    """An error prints its request id once."""
    server = serve(Fault(status=500))

    ran = cli(*GENERATE)

    assert ran.errors[0].count(server.ledger.requests[0].request_id) == 1


def test_a_closed_port(cli, monkeypatch):
    """A refused connection ends with 6, and nothing was billed."""
    monkeypatch.setenv("BURNCLOUD_API_KEY", "sk-test")

    ran = cli(*GENERATE, "--base-url", "127.0.0.1:9")

    assert ran.code == 6
    assert "Nothing was billed." in ran.errors[0]


def test_a_folder_that_cannot_be_made(cli, serve):
    """A file in place of the folder is found before anything is sent."""
    server = serve()
    Path("file").write_text("")

    assert "file" in refused(cli(*GENERATE, "--into", "file"), server, code=11)


def test_control_characters_of_a_server_do_not_reach_the_terminal(cli, serve):
    """The text of an answer is printed without escape sequences."""
    serve(Fault(status=400, body={"error": {"message": "\x1b]0;owned\x07 no\nerror: forged"}}))

    ran = cli(*GENERATE)

    assert "\x1b" not in ran.err
    assert len(ran.errors) == 1


def test_tracebacks(cli, serve):
    """-v given twice prints tracebacks; given once it does not."""
    serve(Fault(status=500, times=None))

    assert "Traceback" not in cli(*GENERATE, "-v").err
    assert "Traceback" in cli(*GENERATE, "-vv").err


def test_an_error_as_json(cli, serve):
    """--progress json prints the error as an event."""
    serve(Fault(status=503))

    ran = cli(*GENERATE, "--progress", "json")

    assert (ran.events[-1]["event"], ran.events[-1]["error"]) == ("error", "ServerError")


# --- what is left ----------------------------------------------------------------------------------------------------


def test_images_that_arrived_before_a_cut_are_printed(cli, serve):
    """An image that was whole before the connection broke stays on the disk, and its path is printed."""
    serve(Fault(cut="close", place="answer", byte=0.8))

    ran = cli(*GENERATE, "-n", 2, "--into", "out")

    assert ran.code == 10
    assert len(ran.paths) == 1
    assert examine_bytes(ran.paths[0].read_bytes()).complete
    assert "the answer, without its saved images, is in out" in ran.err


def test_images_in_memory_go_to_a_file(cli, serve):
    """With -o - a whole image of a broken answer goes to the temporary folder, and stdout stays empty."""
    serve(Fault(cut="close", place="answer", byte=-20))

    ran = cli(*GENERATE, "-o", "-")

    assert (ran.code, ran.out) == (10, b"")
    (line,) = [line for line in ran.err.splitlines() if "is paid for" in line]
    path = Path(line.rpartition("saved as ")[2])
    assert examine_bytes(path.read_bytes()).complete
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.fixture
def spoil(monkeypatch):
    """Return a function that lets the disk fail when an image gets its name."""
    from burncloud_images.files import sinks

    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    def call():
        monkeypatch.setattr(sinks, "place", fail)

    return call


def test_a_full_disk_loses_nothing(cli, serve, spoil):
    """Images that cannot be stored are saved elsewhere; their paths are printed, as text or JSON."""
    serve()
    spoil()

    text = cli(*GENERATE, "--into", "out")
    as_json = cli(*GENERATE, "--into", "out", "--json")

    assert (text.code, as_json.code) == (11, 11)
    assert examine_bytes(text.paths[0].read_bytes()).complete
    assert Path(as_json.json["images"][0]["path"]).exists()
    assert as_json.json["error"] == "StorageError"
    assert "This request was billed." in text.errors[0]
    assert list(Path("out").iterdir()) == []


def test_an_image_that_fits_nowhere_is_told(cli, serve, spoil, monkeypatch):
    """An image that no folder takes is reported as an error."""
    serve()
    spoil()
    monkeypatch.setattr(disk, "find_folders", lambda: iter([Path("/proc/nowhere")]))

    ran = cli(*GENERATE)

    assert (ran.code, ran.out) == (11, b"")
    assert "Image 1 is paid for but could not be saved anywhere." in ran.err


def test_what_is_left_of_a_damaged_image_is_saved(cli, serve):
    """Bytes and the text behind them, for the user's eyes only; the whole image is saved as ever."""
    whole = base64.b64encode(png(16, 16)).decode()
    items = [{"b64_json": whole}, {"b64_json": whole[:40] + "A"}]
    serve(Fault(body={"created": 1, "data": items}, billed=True))
    ran = cli(*GENERATE, "-n", 2, "--into", "out")

    assert ran.code == 1
    (data,) = Path("out").glob("*-2.damaged")
    (rest,) = Path("out").glob("*-2.damaged.b64")
    assert data.read_bytes() == png(16, 16)[:30]
    assert rest.read_bytes() == b"A"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (data, rest)} == {0o600}
    assert f"image 2 is damaged (base64 ends 3 characters short); what arrived is in {data}" in ran.err


def test_a_rescued_image_replaces_nothing(tmp_path):
    """An existing file is kept, and the image gets another name."""
    from burncloud_images.cli import rescue

    (tmp_path / "a").write_bytes(b"mine")

    assert rescue.keep("a", b"new", tmp_path) == tmp_path / "a-2"
    assert (tmp_path / "a").read_bytes() == b"mine"


def test_the_address_of_an_image_that_could_not_be_fetched(cli, serve):
    """A paid image's address goes to a file that only the user reads; it is not printed."""
    server = serve(Fault(status=418, operation="downloads"))

    ran = cli("generate", "x", "-m", "dall-e-3", "--response-format", "url", "--into", "out", "--retries", "1")

    (file,) = Path("out").glob("*.url")
    assert ran.code == 1
    assert ran.out == b""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().startswith(server.base_url.removesuffix("/v1"))
    assert f"burncloud-images fetch @{file}" in ran.err
    assert "?" not in ran.err
    assert "This request was billed." in ran.errors[0]


def test_the_addresses_of_all_images_that_could_not_be_fetched(cli, serve):
    """Each missing image gets a file with its URL, and downloaded images are printed as usual."""
    serve(Fault(status=418, operation="downloads"), Fault(status=404, operation="downloads"))

    ran = cli("generate", "x", "-m", "dall-e-2", "-n", "3", "--size", "256x256", "--into", "out", "--retries", "1")

    files = sorted(Path("out").glob("*.url"))
    assert ran.code == 1
    assert len(ran.paths) == 1
    assert len(files) == 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    numbers = {int(file.stem.rpartition("-")[2]) for file in [*files, *ran.paths]}
    assert numbers == {1, 2, 3}
    for file in files:
        assert f"burncloud-images fetch @{file}" in ran.err
        assert "sig=" in file.read_text()
    assert "answered 418" in ran.err
    assert "answered 404" in ran.err
    assert "sig=" not in ran.err


def test_an_address_that_fits_nowhere_is_told(cli, serve, monkeypatch):
    """A URL that could not be saved is reported but not printed."""
    from burncloud_images.cli import rescue

    serve(Fault(status=418, operation="downloads"))
    monkeypatch.setattr(rescue, "keep", lambda *_: None)

    ran = cli("generate", "x", "-m", "dall-e-3", "--response-format", "url", "--into", "out", "--retries", "1")

    assert "Image 1 is paid for but was not downloaded" in ran.err
    assert "Its URL could not be saved anywhere." in ran.err
    assert "sig=" not in ran.err


def test_an_expired_address_is_not_kept(cli, serve):
    """An expired URL is not saved."""
    serve(Fault(expired=True))

    ran = cli("generate", "x", "-m", "dall-e-3", "--response-format", "url", "--into", "out", "--retries", "1")

    assert ran.code == 1
    assert list(Path("out").glob("*.url")) == []
    assert "request id" in ran.errors[0]


def test_more_images_than_stdout_takes(cli, serve):
    """If a server makes more images than were asked for, all but the first are saved."""
    import base64
    import json

    item = {"b64_json": base64.b64encode(png()).decode()}
    serve(
        Fault(
            status=200,
            body=json.dumps({"created": 1, "data": [item, item]}),
            headers={"content-type": "application/json"},
        )
    )

    ran = cli(*GENERATE, "-o", "-")

    assert (ran.code, ran.out) == (0, png())
    assert "image 2 is paid for and was saved as" in ran.err


def test_a_storage_error_without_images_was_not_billed(cli, serve):
    """A storage error mentions billing only if it holds images."""
    from burncloud_images.cli.exit_codes import describe

    assert describe(StorageError("out cannot be written.")) == "out cannot be written."


def test_the_key_is_nowhere(cli, serve, photo):
    """No output of any mode contains the key."""
    server = serve(Fault(status=401, body={"error": {"message": "bad key sk-canary-5e1f"}}))
    words = [
        (*GENERATE, "-vv"),
        (*GENERATE, "-vv", "--json", "--sidecar", "json"),
        (*GENERATE, "--dry-run"),
        ("doctor",),
        ("doctor", "--json"),
        ("models", "-vv"),
        (*EDIT, photo, "--dry-run", "--json"),
    ]

    for command in words:
        ran = cli(*command)

        assert server.api_key not in ran.err + ran.out.decode()
    assert not [path for path in Path().iterdir() if server.api_key.encode() in path.read_bytes()]


@pytest.mark.parametrize("size", [500_000, 10])
def test_an_answer_in_another_form_is_kept_and_named(cli, serve, size):
    """It is paid for; the file lies beside where the image would be, for its owner only."""
    body = {"created": 1, "pictures": ["iVBO" * size]}
    serve(Fault(status=200, body=body, billed=True))

    ran = cli(*GENERATE, "-o", "out/otter.png")

    (kept,) = Path("out").iterdir()
    assert 0o600 == stat.S_IMODE(kept.stat().st_mode)
    assert body == json.loads(kept.read_bytes())
    assert f"the answer is kept in {kept}" in ran.err


@pytest.mark.parametrize("size", [500_000, 10])
def test_an_answer_in_another_form_without_a_folder_is_kept_and_named(cli, serve, size):
    """With -o -, an answer in an unknown form is kept in the temporary folder."""
    body = {"created": 1, "pictures": ["iVBO" * size]}
    serve(Fault(status=200, body=body, billed=True))

    ran = cli(*GENERATE, "-o", "-")

    (line,) = [line for line in ran.err.splitlines() if "is in /" in line]
    kept = Path(line.rpartition("is in ")[2])
    assert body == json.loads(kept.read_bytes())
    assert 0o600 == stat.S_IMODE(kept.stat().st_mode)
