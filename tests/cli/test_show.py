"""`show`: images out of saved responses."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from gateway_answers import ANSWERS
from pictures import png

from burncloud_images.model.media import examine_bytes

PNG = png(40, 30)
URL = "https://images.example/otter.png?sig=s3cr3t"


def encoded(image=PNG):
    return {"b64_json": base64.b64encode(image).decode()}


def save(name, *items, wrap=None):
    """Write an answer with *items* to a file."""
    answer = {"created": 1764547200, "data": list(items)}
    Path(name).write_text(json.dumps(wrap(answer) if wrap else answer))
    return name


def line(custom_id, *items, error=None):
    body = {"error": {"message": error}} if error else {"created": 1764547200, "data": list(items)}
    return json.dumps({"id": "batch_req_1", "custom_id": custom_id, "response": {"status_code": 200, "body": body}})


def ask(server, **fields):
    """Return an answer of the API as it is sent."""
    headers = {"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"}
    body = json.dumps({"prompt": "otter", "model": "gpt-image-2", "size": "1024x640", **fields}).encode()
    with urlopen(Request(f"{server.base_url}/images/generations", body, headers)) as answer:
        return answer.read()


def test_an_answer(cli, serve):
    """Its images are whole and named after its file; neither key nor network is needed."""
    Path("My Response.json").write_bytes(ask(serve(), n=2))

    ran = cli("show", "My Response.json", "-o", "out/")

    assert (0, "") == (ran.code, ran.err)
    assert ["out/my-response-1.png", "out/my-response-2.png"] == [str(path) for path in ran.paths]
    assert all(examine_bytes(path.read_bytes()).complete for path in ran.paths)


@pytest.mark.parametrize("how", ["indented", "bom", "blank lines", "data URL"])
def test_an_answer_as_editors_and_gateways_write_it(cli, how):
    """White space and a byte order mark around an answer are accepted."""
    answer = {"data": [encoded(), encoded(png(8, 8))]}
    if how == "data URL":
        answer = {"data": [{"url": f"data:image/png;base64,{encoded(image)['b64_json']}"} for image in (PNG, PNG)]}
    text = json.dumps(answer, indent=2 if how == "indented" else None)
    mark = {"bom": "\ufeff", "blank lines": "\r\n\n  "}.get(how, "")
    Path("r.json").write_text(f"{mark}{text}\r\n\n", encoding="utf-8")

    ran = cli("show", "r.json")

    assert (0, 2) == (ran.code, len(ran.paths))
    assert PNG == ran.paths[0].read_bytes()


@pytest.mark.parametrize("fields", [{"n": 1}, {"n": 2, "partial_images": 2}])
def test_a_stream(cli, serve, fields):
    """`show` extracts the finished images of a stream and no previews."""
    Path("stream.txt").write_bytes(ask(serve(), stream=True, **fields))

    ran = cli("show", "stream.txt", "--into", "out")

    assert (0, fields["n"]) == (ran.code, len(ran.paths))
    assert fields["n"] == len(list(Path("out").iterdir()))


def test_a_batch(cli):
    """One response a line; failed rows are told by their id, and the other images are there: code 3."""
    lines = [line("row-1", encoded()), line("row-2", error="refused"), "", line("row-3", encoded(), encoded())]
    Path("batch.jsonl").write_text("\n".join(lines))

    ran = cli("show", "batch.jsonl", "--into", "out")

    assert 3 == ran.code
    names = ["batch-1.png", "batch-3-1.png", "batch-3-2.png"]
    assert names == [path.name for path in ran.paths]
    assert ["error: batch.jsonl, row-2: It contains an error and no images: refused"] == ran.errors


def test_json(cli):
    """--json prints each image with the name of its response."""
    Path("batch.jsonl").write_text(f"{line('row-1', encoded())}\n{line('row-2', encoded())}\n")

    ran = cli("show", "batch.jsonl", "--into", "out", "--json")

    assert 0 == ran.code
    assert ["batch.jsonl, row-1", "batch.jsonl, row-2"] == [image["response"] for image in ran.json["images"]]
    assert {(40, 30)} == {(image["width"], image["height"]) for image in ran.json["images"]}


def test_several_files_and_stdin(cli):
    """Images are named after their file, and a bad file does not stop the others."""
    save("a.json", encoded())
    Path("b.json").write_text("nothing")
    answer = json.dumps({"data": [encoded()]}).encode()

    ran = cli("show", "a.json", "b.json", "-", stdin=answer)

    assert 3 == ran.code
    assert ["a-1.png", "stdin-1.png"] == [str(path) for path in ran.paths]
    assert ["error: b.json: It is neither JSON nor an event stream."] == ran.errors


def test_bytes_through_pipes(cli):
    """`show - -o -` reads from stdin and writes to stdout."""
    answer = json.dumps({"data": [encoded()]}).encode()

    one = cli("show", "-", "-o", "-", stdin=answer)
    two = cli("show", "-", "-o", "-", stdin=json.dumps({"data": [encoded(), encoded()]}).encode())

    assert (0, PNG) == (one.code, one.out)
    assert (2, b"") == (two.code, two.out)
    assert "-o - takes one image, not 2" in two.errors[0]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["answer", "stream"])
def test_what_is_whole_before_the_damage_is_kept(cli, serve, kind, share):
    """A file that was cut off: code 1, one sentence, and the images that are whole."""
    whole = ask(serve(), n=3, **({"stream": True} if kind == "stream" else {}))
    rest = whole[: int(len(whole) * share)]
    Path("cut.json").write_bytes(rest)
    expected = len(re.findall(rb'"b64_json": ?"[^"]+"', rest))

    ran = cli("show", "cut.json", "--into", "out")

    assert 1 == ran.code
    assert expected == len(ran.paths) == len(list(Path("out").iterdir()))
    assert all(examine_bytes(path.read_bytes()).complete for path in ran.paths)
    assert 1 == len(ran.errors)
    assert "ends in the middle" in ran.errors[0]


def test_a_stream_without_its_last_blank_line_is_whole(cli, serve):
    """A stream without its last blank line is complete if its last event is valid JSON."""
    Path("stream.txt").write_bytes(ask(serve(), n=2, stream=True).rstrip())

    ran = cli("show", "stream.txt")

    assert (0, 2) == (ran.code, len(ran.paths))


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (b"", 0),
        (b": PING", 0),
        (b"data: [DONE]", 0),
        (b"event: image_", 1),
        (b"event: x\n", 1),
        (b"eve", 1),
        (b"data: {", 1),
    ],
)
def test_the_end_of_a_stream(cli, serve, end, code):
    """What stands behind the last image may be cut off, unless it was the beginning of another event."""
    Path("stream.txt").write_bytes(ask(serve(), n=1, stream=True) + end)

    ran = cli("show", "stream.txt")

    assert (code, 1) == (ran.code, len(ran.paths))


def test_a_damaged_image(cli):
    """A damaged image is reported by its number, and the others are kept."""
    save("r.json", encoded(), {"b64_json": "AAAA*AAA"}, encoded(PNG[:-20]), encoded())

    ran = cli("show", "r.json")

    assert 1 == ran.code
    assert ["r-1.png", "r-4.png"] == [str(path) for path in ran.paths]
    assert 2 == len(ran.errors)
    assert ran.errors[0].startswith("error: r.json: Image 2 is damaged: ")
    assert ran.errors[1].startswith("error: r.json: Image 3 is damaged: its image/png has no end")


def test_an_answer_that_is_no_json_behind_its_images(cli):
    """Images before invalid JSON are whole, so they are kept and printed."""
    Path("r.json").write_text(json.dumps({"data": [encoded(), encoded()], "created": "X"}).replace('"X"', "07"))

    ran = cli("show", "r.json")

    assert (0, 2) == (ran.code, len(ran.paths))
    assert [] == ran.errors


def test_addresses_go_to_a_file_for_fetch(cli):
    """They are secrets, so only the user reads the file, and no terminal shows them."""
    save("r.json", encoded(), {"url": URL}, {"url": f"{URL}2"})

    ran = cli("show", "r.json", "--into", "out")

    assert (1, 1) == (ran.code, len(ran.paths))
    file = Path("out/r.urls")
    assert [URL, f"{URL}2"] == file.read_text().splitlines()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "2 images must be downloaded; the URLs are in" in ran.err
    assert "burncloud-images fetch @out/r.urls" in ran.err
    assert "s3cr3t" not in ran.err


def test_what_show_says_to_type_works(cli, serve):
    """The command that `show` prints for URLs downloads the images."""
    server = serve()
    Path("r.json").write_bytes(ask(server, model="dall-e-2", size="256x256", n=2))

    shown = cli("show", "r.json", "--into", "out")
    (command,) = [
        said.partition("Before they expire, run: ")[2] for said in shown.err.splitlines() if "Before they" in said
    ]
    ran = cli(*command.split()[1:])

    assert (1, 0) == (shown.code, ran.code)
    assert 2 == len(ran.paths)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "It is empty."),
        (b" \n\n", "It is empty."),
        (b"<html>\n<body>\n", "It is neither JSON nor an event stream."),
        (b"[1, 2]", "It is neither JSON nor an event stream."),
        (b'{"data": []}', "It contains no image."),
        (b'{"model": "gpt-image-2"}', "It contains no image."),
        (b'{"error": {"message": "no money"}}', "It contains an error and no images: no money"),
        (b'{"error": "no"}', "It contains an error and no images: no"),
        (b'{"error": {"code": 7}}', "It contains an error and no images: no message."),
        (b'{"data": [{"b64_json": "AAAA', "The answer ends in the middle."),
        (b"event: x\ndata: {}\n\n", "The stream ended without a completed image."),
        (b"[" * 1000, "nested more than"),
        (b"\xff\xfeh\x00", "It is neither JSON nor an event stream."),
    ],
)
def test_a_file_without_images(cli, content, said):
    """A file without images ends with exit code 1 and one sentence, and creates no file."""
    Path("r.json").write_bytes(content)

    ran = cli("show", "r.json", "--into", "out")

    assert (1, b"") == (ran.code, ran.out)
    assert said in ran.errors[0]
    assert "r.json" in ran.errors[0]
    assert [] == list(Path("out").iterdir())


def test_lines_that_are_no_json(cli):
    """Lines that are not JSON are counted in one sentence."""
    lines = ["oops", line("row-1", encoded()), *["oops"] * 40, line("row-2", encoded())]
    Path("batch.jsonl").write_text("\n".join(lines))

    ran = cli("show", "batch.jsonl")

    assert (3, 2) == (ran.code, len(ran.paths))
    assert ["error: batch.jsonl: 41 of its lines are not valid JSON; the first is line 1."] == ran.errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.json"], "The response nowhere.json cannot be read: No such file"),
        (["."], "The response . cannot be read: Is a directory"),
        (["-", "-"], "Standard input can only be read once"),
        (["r.json", "-o", "a", "--into", "b"], "give one of them"),
        (["r.json", "-o", "-", "--json"], "--json, --sidecar, --into and --name do not apply"),
        ([], "requires"),
    ],
)
def test_what_cannot_be_used(cli, words, said):
    """A file that cannot be used gives exit code 2."""
    save("r.json", encoded())

    ran = cli("show", *words)

    assert 2 == ran.code
    assert said in ran.errors[0]


def test_names_that_are_taken(cli):
    """Existing files are handled by --exists, as in every command that writes images."""
    save("r.json", encoded(), encoded())
    Path("otter.png").write_bytes(b"mine")

    refused, skipped = (
        cli("show", "r.json", "-o", "otter.png"),
        cli("show", "r.json", "-o", "otter.png", "--exists", "skip"),
    )
    renamed = cli("show", "r.json", "-o", "otter.png", "--exists", "rename")

    assert (11, 0, 0) == (refused.code, skipped.code, renamed.code)
    assert ["otter-2.png", "otter-2-2.png"] == [str(path) for path in renamed.paths]
    assert b"mine" == Path("otter.png").read_bytes()


def test_a_disk_that_is_full(cli, monkeypatch):
    """A full disk ends with exit code 11."""
    from burncloud_images.files import sinks

    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sinks, "place", fail)
    save("r.json", encoded())

    ran = cli("show", "r.json")

    assert (11, b"") == (ran.code, ran.out)
    assert "No space left" in ran.errors[0]


def test_a_disk_that_fails_while_it_is_read(cli, monkeypatch):
    """A read error ends with exit code 2 and names the file."""
    save("r.json", encoded())

    class Broken(io.BytesIO):
        def readline(self, _size):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("burncloud_images.cli.show.open", lambda *_: Broken(), raising=False)

    assert "r.json cannot be read: Input/output error" in cli("show", "r.json").errors[0]


def test_an_extension_that_the_image_does_not_have(cli):
    """The extension follows the bytes, with a note and an event."""
    save("r.json", encoded())

    ran = cli("show", "r.json", "-o", "otter.webp", "--progress", "json")

    assert ["otter.png"] == [str(path) for path in ran.paths]
    assert {"note", "saved"} == {event["event"] for event in ran.events}


LARGE = """
import resource, sys
from burncloud_images.__main__ import main
small = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
code = main(["show", "small.json", "--into", "out"])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
code = code or main(["show", "large.json", "--into", "out"])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
def test_a_large_response_takes_little_memory(tmp_path):
    """A response with 100 MB of base64 in four images is read in little memory."""
    picture = png(8, 8, pad=19_000_000)
    (tmp_path / "small.json").write_text(json.dumps({"data": [encoded()]}))
    (tmp_path / "large.json").write_text(json.dumps({"data": [encoded(picture)] * 4}))
    ran = subprocess.run([sys.executable, "-c", LARGE], cwd=tmp_path, capture_output=True, text=True, check=True,
                         env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])})  # fmt: skip

    assert 5 == len(ran.stdout.splitlines())
    assert int(ran.stderr.splitlines()[-1]) < 20_000  # KiB
    assert picture == (tmp_path / "out" / "large-4.png").read_bytes()


SHOWN = {
    name: said
    for name, said in ANSWERS.items()
    if said.images and not said.refused and b"/a.png" not in said.body and name != "responses stream"
}
"""Answers of gateways whose images are all in them, each once."""


@pytest.mark.parametrize("name", SHOWN)
def test_answers_of_all_gateways_are_read(cli, name):
    """Whatever form the client understands is understood from a file too."""
    said = SHOWN[name]
    body = said.body.replace(b"PNG", PNG if said.body == b"PNG" else base64.b64encode(PNG))
    Path("r.json").write_bytes(body)

    ran = cli("show", "r.json", "--into", "out")

    assert (0, said.images) == (ran.code, len(ran.paths))
    assert {PNG} == {path.read_bytes() for path in ran.paths}
