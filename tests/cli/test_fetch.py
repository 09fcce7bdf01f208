"""`fetch`: images from result URLs, without a key."""

from __future__ import annotations

import json
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from programs import PROGRAM, wait_until

from burncloud_images.cli.exit_codes import combine
from burncloud_images.emulator import Fault
from burncloud_images.model.media import examine_bytes


@pytest.fixture
def make_urls(serve, monkeypatch):
    """Return a function that serves the API, with faults, and returns it and addresses of results; there is no key."""

    def make(*faults, count=1, **options):
        server = serve(*faults, **options)
        fields = {"prompt": "otter", "model": "dall-e-2", "size": "256x256", "n": count}
        headers = {"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"}
        asked = Request(f"{server.base_url}/images/generations", json.dumps(fields).encode(), headers)
        with urlopen(asked) as answer:
            urls = [item["url"] for item in json.load(answer)["data"]]
        monkeypatch.delenv("BURNCLOUD_API_KEY")
        return server, urls

    return make


def test_one_address(cli, make_urls):
    """The image is whole, no key was sent, and a note warns that the URL is visible without showing it."""
    server, (url,) = make_urls()

    ran = cli("fetch", url, "-o", "otter.png")

    assert (0, [Path("otter.png")]) == (ran.code, ran.paths)
    assert examine_bytes(Path("otter.png").read_bytes()).complete
    (download,) = server.ledger.downloads
    assert not download.authorization
    assert "other users of this machine can see the URL" in ran.err
    assert "sig=" not in ran.err


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_a_list_of_addresses(cli, make_urls, how):
    """URLs can be read from a file or stdin, one per line, and paths are printed in their order."""
    server, urls = make_urls(count=4)
    text = "\r\n".join(["", *urls, ""])
    Path("list.urls").write_text(text, newline="")

    ran = cli("fetch", "@list.urls" if how == "file" else "-", "-o", "otter.png", stdin=text.encode())

    assert 0 == ran.code
    assert ["otter.png", "otter-2.png", "otter-3.png", "otter-4.png"] == [str(path) for path in ran.paths]
    assert all(examine_bytes(path.read_bytes()).complete for path in ran.paths)
    assert 4 == len(server.ledger.downloads)
    assert "can see the URL" not in ran.err


def test_json(cli, make_urls):
    """--json prints each image with its number in the list and without its URL."""
    _, urls = make_urls(Fault(status=404, operation="downloads"), count=1)

    ran = cli("fetch", *urls, *urls, "--into", "out", "--json", "--retries", "1")

    assert 3 == ran.code
    (image,) = ran.json["images"]
    (failure,) = ran.json["failed"]
    assert (256, 256) == (image["width"], image["height"])
    assert {1, 2} == {image["number"], failure["number"]}
    assert "sig=" not in ran.out.decode()


def test_the_bytes_of_one_image_on_stdout(cli, make_urls):
    """With `-o -` the bytes of exactly one image go to stdout."""
    _, urls = make_urls(count=2)

    one, two = cli("fetch", urls[0], "-o", "-"), cli("fetch", *urls, "-o", "-")

    assert examine_bytes(one.out).complete
    assert (2, b"") == (two.code, two.out)
    assert "-o - takes one image, not 2" in two.errors[0]


def test_the_file_that_an_error_left(cli, make_urls, serve):
    """The command that `generate` prints after a failed download works."""
    server = serve(Fault(status=418, operation="downloads"))

    failed = cli("generate", "x", "-m", "dall-e-3", "--into", "out", "--retries", "1")
    (command,) = [line.partition("fetch it with: ")[2] for line in failed.err.splitlines() if "fetch it with" in line]
    ran = cli(*command.split()[1:])

    assert (1, 0) == (failed.code, ran.code)
    assert examine_bytes(ran.paths[0].read_bytes()).complete
    assert 1 == server.ledger.billed_images


def test_some_fail(cli, make_urls):
    """If some downloads fail the exit code is 3, and the message names which."""
    _, urls = make_urls(Fault(status=404, operation="downloads", times=1), count=3)

    ran = cli("fetch", *urls, "--into", "out", "--retries", "1")

    assert 3 == ran.code
    assert 2 == len(ran.paths) == len(list(Path("out").iterdir()))
    (error,) = ran.errors
    assert error.startswith("error: URL ")
    assert "404" in error


def test_an_address_that_has_expired(cli, make_urls):
    """An expired URL ends with exit code 1 and says who may still have the image."""
    _, (url,) = make_urls(url_lifetime=0)

    ran = cli("fetch", url)

    assert (1, b"") == (ran.code, ran.out)
    assert "expired" in ran.errors[0]
    assert [] == list(Path().iterdir())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://127.0.0.1/x.png?sig=s3cr3t", "not a public address"),
        ("http://images.example/x.png?sig=s3cr3t", "unencrypted"),
        ("file:///etc/passwd", "neither https nor http"),
        ("otter.png", "neither https nor http"),
        ("https://u:s3cr3t@images.example/", "user name"),
    ],
)
@pytest.mark.parametrize("output", ["out/", "-"])
def test_an_address_that_may_not_be_fetched(cli, url, said, output):
    """A URL that the address checks refuse ends with exit code 2 and shows no secret."""
    ran = cli("fetch", url, "-o", output)

    assert (2, b"") == (ran.code, ran.out)
    assert said in ran.errors[0]
    assert "billed" not in ran.errors[0]
    assert "s3cr3t" not in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["@nowhere"], "The file of addresses nowhere cannot be read"),
        (["@empty"], "no URL"),
        (["-", "-"], "Standard input cannot be both"),
        (["https://x.example/", "-o", "a", "--into", "b"], "give one of them"),
        (["https://x.example/", "--retries", "0"], "--retries has to be at least 1"),
        (["https://x.example/", "--base-url", "ftp://h"], "neither http nor https"),
        ([], "no URL to download from, and no --task"),
        (["https://x.example/", "--emulator"], "--emulator"),
    ],
)
def test_what_cannot_be_used(cli, words, said):
    """Unusable arguments end with exit code 2 and one sentence."""
    Path("empty").write_text("\n \n")

    ran = cli("fetch", *words)

    assert 2 == ran.code
    assert said in ran.errors[0]


def test_a_name_that_is_taken(cli, make_urls):
    """Nothing is fetched for it, and what to do is said; skip, rename and overwrite are as ever."""
    server, urls = make_urls(count=2)
    Path("otter-2.png").write_bytes(b"mine")

    refused = cli("fetch", *urls, "-o", "otter.png")
    assert (11, 0) == (refused.code, len(server.ledger.downloads))
    assert "otter-2.png exists already" in refused.errors[0]

    renamed = cli("fetch", *urls, "-o", "otter.png", "--exists", "rename")
    assert ["otter.png", "otter-2-2.png"] == [str(path) for path in renamed.paths]
    assert b"mine" == Path("otter-2.png").read_bytes()

    skipped = cli("fetch", *urls, "-o", "otter.png", "--exists", "skip")
    assert (0, 2) == (skipped.code, len(server.ledger.downloads))
    assert ["otter.png", "otter-2.png"] == [str(path) for path in skipped.paths]


def test_a_folder_that_fails_midway(cli, make_urls, monkeypatch):
    """An image that the folder cannot take is saved elsewhere, with exit code 11."""
    from burncloud_images.files import sinks

    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    _, (url,) = make_urls()
    monkeypatch.setattr(sinks, "place", fail)

    ran = cli("fetch", url, "--into", "out")

    assert 11 == ran.code
    (path,) = ran.paths
    assert examine_bytes(path.read_bytes()).complete
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "No space left" in ran.errors[0]


def test_an_extension_that_the_image_does_not_have(cli, make_urls):
    """The extension follows the bytes, and a note says so."""
    _, (url,) = make_urls()

    ran = cli("fetch", url, "-o", "otter.webp")

    assert ["otter.png"] == [str(path) for path in ran.paths]
    assert "the image is image/png" in ran.err


def test_events_for_programs(cli, make_urls):
    """--progress json writes one event per file."""
    _, (url,) = make_urls()

    ran = cli("fetch", url, "-o", "otter.png", "--progress", "json")

    assert "otter.png" in [event.get("path") for event in ran.events if event["event"] == "saved"]


def test_ctrl_c_leaves_no_partial_file(make_urls, tmp_path):
    """The first Ctrl-C ends the download with 130, as nothing is billed."""
    server, (url,) = make_urls(Fault(operation="downloads", cut="stall", place="answer", byte=0.5, times=None))
    words = [sys.executable, "-m", "burncloud_images", "fetch", url, "--into", str(tmp_path / "out")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_until(lambda: server.ledger.downloads)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()

    assert (130, b"") == (process.returncode, out)
    assert b"Traceback" not in err
    assert [] == list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([], 0),
        ([0, 0], 0),
        ([1], 1),
        ([6, 6], 6),
        ([6, 1], 1),
        ([0, 1], 3),
        ([0, 6], 3),
        ([0, 11, 4], 11),
        ([10, 0, 4], 4),
        ([130, 7], 130),
    ],
)
def test_the_code_of_several(codes, code):
    """The code of several downloads is the most important one, else 3 if some failed."""
    assert code == combine(codes)


def test_paths_that_cannot_be_printed(make_urls, here):
    """A full disk behind stdout ends with one sentence and exit code 11."""
    _, urls = make_urls(count=2)
    words = shlex.join([*PROGRAM, "fetch", *urls])

    ran = subprocess.run(["sh", "-c", f"{words} >/dev/full"], stderr=subprocess.PIPE, text=True, check=False)

    assert 11 == ran.returncode
    assert ran.stderr.endswith("error: standard output cannot be written: No space left on device.\n")
    assert "Traceback" not in ran.stderr
