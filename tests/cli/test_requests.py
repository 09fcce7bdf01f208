"""Requests that succeed: what is sent, where images go, what is printed."""

import base64
import json
import re
import stat
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from pictures import png

from burncloud_images.emulator import Fault
from burncloud_images.model.media import examine_bytes

GENERATE = ("generate", "a sea otter, watercolour", "-m", "gpt-image-2")


def fields(server, number=0):
    """Return the fields of a JSON request, as they were sent."""
    requests = server.ledger.requests
    assert requests[number].fields, f"a request without fields came: {requests}"
    return {name: json.loads(text) for name, text in requests[number].fields}


def test_the_main_job(cli):
    """With an emulator of its own, the program prints the paths of whole images, and says that it used one."""
    ran = cli(*GENERATE, "--emulator", "-n", 2, "--into", "out/")

    assert ran.code == 0
    assert len(ran.paths) == 2
    assert all(examine_bytes(path.read_bytes()).complete for path in ran.paths)
    assert all(str(path).startswith("out/") for path in ran.paths)
    assert "using an emulator at http://127.0.0.1:" in ran.err


def test_the_same_command_talks_to_the_api(cli, serve):
    """Without --emulator the request goes to the base URL of the environment, with the key of the environment."""
    server = serve()

    ran = cli(*GENERATE, "-n", 2, "--into", "out")

    assert ran.code == 0
    assert server.ledger.billed_images == 2
    assert fields(server) == {"prompt": "a sea otter, watercolour", "model": "gpt-image-2", "n": 2}
    assert "emulator" not in ran.err


def test_the_emulator_is_used_whatever_the_environment_says(cli, serve):
    """--emulator ignores the base URL and the key of the environment."""
    server = serve()

    ran = cli(*GENERATE, "--emulator")

    assert ran.code == 0
    assert server.ledger.requests == ()


def test_options_become_fields(cli, serve):
    """Every option of the API arrives under the field's own name."""
    server = serve()

    ran = cli(*GENERATE, "--size", "1536x1024", "--quality", "low", "--format", "jpeg", "--compression", 50,
              "--background", "opaque", "--user", "me", "--moderation", "low")  # fmt: skip

    assert ran.code == 0
    sent = fields(server)
    assert sent["output_format"] == "jpeg"
    assert sent["output_compression"] == 50
    assert sent["size"] == "1536x1024"
    assert sent["moderation"] == "low"
    assert ran.paths[0].suffix == ".jpg"


def test_values_that_are_not_known_are_sent(cli, serve):
    """The choices that the help offers forbid no others."""
    server = serve(Fault(status=400))

    ran = cli(*GENERATE, "--quality", "superb", "--validation", "off")

    assert ran.code == 1
    assert fields(server)["quality"] == "superb"


def test_free_fields(cli, serve):
    """-O sets known fields as their type says, and sends unknown ones as JSON or text."""
    server = serve()

    ran = cli(*GENERATE, "-O", "n=2", "-O", "user=123", "-O", 'size="1024x1024"', "-O", "dream=[1,2]", "-O", "mood=x=y")

    assert ran.code == 0
    assert fields(server) == {
        "prompt": "a sea otter, watercolour",
        "model": "gpt-image-2",
        "n": 2,
        "user": "123",
        "size": "1024x1024",
        "dream": [1, 2],
        "mood": "x=y",
    }


def test_an_object_is_given_as_json(cli):
    """An option for an object takes JSON."""
    ran = cli(*GENERATE, "--svg", '{"reasoning": {"effort": "low"}}', "--dry-run", "--json", "--validation", "off")

    assert ran.json["body"]["svg"] == {"reasoning": {"effort": "low"}}


@pytest.mark.parametrize("how", ["argument", "file", "stdin"])
def test_prompts(cli, serve, tmp_path, how):
    """A prompt, in Chinese too, is an argument, a file or standard input, without the file's last line break."""
    server = serve()
    prompt = "一只海獭 水彩画"
    file = tmp_path / "prompt.txt"
    file.write_text(f"{prompt}\n", encoding="utf-8")
    word = {"argument": prompt, "file": f"@{file}", "stdin": "-"}[how]

    ran = cli("generate", word, "-m", "gpt-image-2", "--name", "{slug}.{ext}", stdin=f"{prompt}\n".encode())

    assert ran.code == 0
    assert fields(server)["prompt"] == prompt
    assert [path.name for path in ran.paths] == ["一只海獭-水彩画.png"]
    assert ran.paths[0].exists()


def test_an_edit(cli, serve, photo):
    """Several images, a mask and standard input are uploaded; the prompt is an option."""
    server = serve()

    ran = cli("edit", photo, "-", "-p", "add snow", "--mask", photo, "-m", "gpt-image-2", "-o", "out.png",
              stdin=png(20, 20))  # fmt: skip

    assert ran.code == 0
    assert ran.out == b"out.png\n"
    assert [(part.name, part.content_type) for part in server.ledger.requests[0].parts] == [
        ("image[]", "image/png"),
        ("image[]", "image/png"),
        ("mask", "image/png"),
    ]


def test_an_image_from_the_web(cli, serve):
    """A URL is fetched first, without the key, and uploaded."""
    server = serve()
    body = json.dumps({"model": "dall-e-3", "prompt": "an otter", "response_format": "url"}).encode()
    headers = {"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"}
    with urlopen(Request(f"{server.base_url}/images/generations", body, headers)) as answer:
        address = json.load(answer)["data"][0]["url"]

    ran = cli("edit", address, "-p", "x", "-m", "gpt-image-2", "--sidecar", "json", "-o", "a.png")

    assert ran.code == 0
    assert [part.name for part in server.ledger.requests[1].parts] == ["image"]
    assert [download.authorization for download in server.ledger.downloads] == [False]
    assert (
        json.loads(Path("a.png.json").read_text(encoding="utf-8"))["inputs"][0]["source"] == address.partition("?")[0]
    )


def test_images_by_reference(cli, serve):
    """With --by-reference addresses travel as they are."""
    serve()

    ran = cli("edit", "https://example.com/a.png?sig=1", "-p", "x", "--by-reference", "--dry-run", "--json")

    assert ran.code == 0
    assert ran.json["body"]["images"] == [{"image_url": "https://example.com/a.png?sig=1"}]


def test_a_variation(cli, serve, photo):
    """A variation takes one image; several results are numbered by the template."""
    server = serve()

    ran = cli("variation", photo, "-n", 2, "-o", "v-{index}.png", "--validation", "off", "-m", "dall-e-2")

    assert ran.out == b"v-1.png\nv-2.png\n"
    assert server.ledger.requests[0].operation == "variations"


# --- where images go -------------------------------------------------------------------------------------------------


def test_the_current_folder_is_the_default(cli):
    """Without -o and --into images go here, named by the request."""
    ran = cli(*GENERATE, "--emulator")

    assert ran.paths[0].parent.name == ""
    assert ran.paths[0].name.endswith("-1.png")


@pytest.mark.parametrize("word", ["made/", "there", "made/deeper/"])
def test_a_folder_by_o(cli, tmp_path, word):
    """-o takes a folder: one that is there, or any with a final slash."""
    (tmp_path / "here" / "there").mkdir()

    ran = cli(*GENERATE, "--emulator", "-o", word, "--name", "{model}-{index}.{ext}")

    assert ran.out.decode() == f"{word.rstrip('/')}/gpt-image-2-1.png\n"


def test_the_extension_follows_the_bytes(cli):
    """A name that says WebP for a PNG is put right, and a note says how to get WebP."""
    ran = cli(*GENERATE, "--emulator", "-o", "fox.webp")

    assert ran.out == b"fox.png\n"
    assert "--format webp asks for that" in ran.err


def test_an_extension_that_is_right_is_not_spoken_of(cli):
    """`.jpeg` is as good as `.jpg`, and a name without an extension gets one without a word."""
    jpeg = cli(*GENERATE, "--emulator", "-o", "fox.jpeg", "--format", "jpeg")
    bare = cli(*GENERATE, "--emulator", "-o", "otter")

    assert (jpeg.out, bare.out) == (b"fox.jpg\n", b"otter.png\n")
    assert "its name ends" not in jpeg.err + bare.err


def test_bytes_on_stdout(cli):
    """-o - writes the bytes of the image and nothing else to stdout."""
    ran = cli(*GENERATE, "--emulator", "-o", "-")

    assert ran.code == 0
    assert examine_bytes(ran.out).complete


def test_an_existing_name_stops_the_request(cli, serve):
    """By default nothing is sent if the name is taken, and the code says that it is the output."""
    server = serve()
    cli(*GENERATE, "-o", "fox.png")

    ran = cli(*GENERATE, "-o", "fox.png")

    assert ran.code == 11
    assert ran.out == b""
    assert "fox.png exists already, so nothing was sent" in ran.err
    assert len(server.ledger.requests) == 1


def test_a_name_with_another_extension_is_free(cli, serve, photo):
    """photo.png may be made where photo.jpg is."""
    serve()
    cli(*GENERATE, "-o", "photo.jpg", "--format", "jpeg")

    ran = cli(*GENERATE, "-o", "photo.png")

    assert (ran.code, ran.out) == (0, b"photo.png\n")


def test_skip(cli, serve):
    """--exists skip sends nothing if all images are there, prints their paths, and succeeds."""
    server = serve()
    first = cli(*GENERATE, "-n", 2, "-o", "fox.png")

    ran = cli(*GENERATE, "-n", 2, "-o", "fox.png", "--exists", "skip")
    as_json = cli(*GENERATE, "-n", 2, "-o", "fox.png", "--exists", "skip", "--json")
    more = cli(*GENERATE, "-n", 3, "-o", "fox.png", "--exists", "skip")

    assert (ran.code, ran.out) == (0, first.out)
    assert as_json.json == {"images": [{"path": "fox.png"}, {"path": "fox-2.png"}]}
    assert (more.code, more.out) == (11, b"")
    assert "(2 of 3 files exist)" in more.err
    assert len(server.ledger.requests) == 1


def test_rename_and_overwrite(cli, serve):
    """--exists rename numbers the new image; overwrite replaces the old one."""
    serve()
    cli(*GENERATE, "-o", "fox.png")
    before = Path("fox.png").stat().st_ino

    renamed = cli(*GENERATE, "-o", "fox.png", "--exists", "rename")
    kept = Path("fox.png").stat().st_ino
    replaced = cli(*GENERATE, "-o", "fox.png", "--exists", "overwrite")

    assert renamed.out == b"fox-2.png\n"
    assert before == kept
    assert replaced.out == b"fox.png\n"
    assert before != Path("fox.png").stat().st_ino


# --- what is printed -------------------------------------------------------------------------------------------------


def test_json(cli, serve):
    """--json prints one object with all that is known, and no bytes, addresses or keys."""
    server = serve()

    ran = cli(*GENERATE, "-n", 2, "--json", "--into", "out")

    document = ran.json
    first = document["images"][0]
    assert ran.out.count(b"\n") == 1
    assert first["size"] == Path(first["path"]).stat().st_size
    assert (first["media_type"], first["width"], first["height"]) == ("image/png", 1024, 1024)
    assert document["usage"]["total_tokens"] > 0
    assert document["created"].endswith("+00:00")
    assert document["request_id"] == server.ledger.requests[0].request_id
    assert document["idempotency_key"] == server.ledger.requests[0].idempotency_key
    assert [attempt["phase"] for attempt in document["history"]] == ["complete"]
    assert base64.b64encode(Path(first["path"]).read_bytes()[:60]) not in ran.out


def test_json_of_an_image_that_came_by_url(cli, serve):
    """The revised prompt is told; the signed address is not."""
    serve()

    ran = cli("generate", "an otter", "-m", "dall-e-3", "--response-format", "url", "--json")

    assert ran.json["images"][0]["revised_prompt"]
    assert b"http" not in ran.out
    assert "?" not in ran.err


def test_sidecar(cli, serve, photo):
    """--sidecar json writes the request and the result beside each image."""
    serve()

    ran = cli("edit", photo, "-", "https://x.example/a?sig=1", "-p", "add snow", "--by-reference", "--sidecar", "json")
    assert ran.code == 2

    ran = cli(
        "edit", photo, "-", "-p", "add snow", "-m", "gpt-image-2", "-o", "a.png", "--sidecar", "json", stdin=png()
    )

    document = json.loads(Path("a.png.json").read_text(encoding="utf-8"))
    assert ran.out == b"a.png\n"
    assert document["request"] == {"model": "gpt-image-2", "prompt": "add snow"}
    assert document["inputs"] == [{"field": "image", "source": str(photo)}, {"field": "image", "source": "-"}]
    assert document["image"]["path"] == "a.png"
    assert document["idempotency_key"]


def test_a_sidecar_that_cannot_be_written(cli, serve):
    """The image is there and printed; the code says that something beside it is not."""
    serve()
    Path("a.png.json").mkdir()

    ran = cli(*GENERATE, "-o", "a.png", "--sidecar", "json")

    assert (ran.code, ran.out) == (11, b"a.png\n")
    assert "a.png was saved, but its sidecar was not" in ran.err


def test_dry_run(cli, serve):
    """--dry-run prints the request with the key masked; nothing is sent and no folder is made."""
    server = serve()

    ran = cli(*GENERATE, "--dry-run", "--into", "out")

    lines = ran.out.decode().splitlines()
    assert lines[0] == f"POST {server.base_url}/images/generations"
    assert "Authorization: Bearer ***" in lines
    assert json.loads(lines[-1]) == {"model": "gpt-image-2", "prompt": "a sea otter, watercolour"}
    assert server.ledger.requests == ()
    assert not Path("out").exists()


def test_dry_run_of_an_upload(cli, photo):
    """Files are named with their type and size instead of being printed; no key is needed."""
    text = cli("edit", photo, "-p", "x", "-n", 2, "--dry-run", "-m", "gpt-image-2")
    as_json = cli("edit", photo, photo, "-p", "x", "--dry-run", "--json", "-m", "gpt-image-2")

    size = photo.stat().st_size
    assert f"<{size} bytes>\n".encode() in text.out
    assert b'name="image"; filename="image.png"\nContent-Type: image/png\n' in text.out
    assert as_json.json["parts"][-2:] == [
        {"name": "image[]", "filename": "image-1.png", "type": "image/png", "size": size},
        {"name": "image[]", "filename": "image-2.png", "type": "image/png", "size": size},
    ]
    assert as_json.json["headers"]["Authorization"] == "Bearer ***"


def test_warnings_are_one_line_each(cli, serve):
    """What the API's document does not allow is said in a line, without Python's source lines."""
    serve()

    ran = cli(*GENERATE, "--style", "vivid")
    quiet = cli(*GENERATE, "--style", "vivid", "-q")

    (line,) = [line for line in ran.err.splitlines() if line.startswith("warning: ")]
    assert "style" in line
    assert "warnings.warn" not in ran.err
    assert "warning" not in quiet.err


def test_progress_as_json(cli, serve, no_wait):
    """--progress json writes one event a line, notes included, and leaves stdout as it is."""
    serve(Fault(status=429, retry_after=0.01))

    ran = cli(*GENERATE, "-v", "--progress", "json")

    assert len(ran.paths) == 1
    assert [event["event"] for event in ran.events] == [
        "note",
        "started",
        "attempt",
        "attempt",
        "saved",
        "note",
        "note",
    ]
    assert ran.events[2]["failure"] == "RateLimitError"
    assert ran.events[4]["path"] == str(ran.paths[0])


def test_retries_are_told(cli, serve, no_wait):
    """Each attempt that another follows is one line."""
    serve(Fault(status=429, retry_after=0.01))

    ran = cli(*GENERATE, "-v")

    assert ran.code == 0
    assert re.search(r"note: attempt 1 failed \(RateLimitError, status 429\); the next one starts in \d\.\d s", ran.err)
    assert "note: attempt 2 succeeded after" in ran.err


def test_a_bar(cli, serve, no_wait, monkeypatch):
    """A bar leaves stdout alone and lets notes pass above it; NO_COLOR keeps colours out."""
    serve(Fault(status=429, retry_after=0.01))
    monkeypatch.setenv("NO_COLOR", "1")

    ran = cli(*GENERATE, "--progress", "bar")

    assert len(ran.paths) == 1
    assert "note: attempt 1 failed" in ran.err
    assert "\x1b[3" not in ran.err


def test_quiet(cli, serve):
    """-q says nothing but errors."""
    serve()

    assert cli(*GENERATE, "-q").err == ""
    assert cli(*GENERATE, "-q", "-n", 0).errors != []


def test_files_are_for_everybody_the_umask_allows(cli):
    """Images get the mode that any new file gets."""
    ran = cli(*GENERATE, "--emulator")

    assert stat.S_IMODE(ran.paths[0].stat().st_mode) & 0o400


def test_a_request_that_goes_on_says_so(cli, serve, monkeypatch):
    """Without a terminal a line from time to time says that the request is on its way."""
    from burncloud_images.cli import reporting

    monkeypatch.setattr(reporting, "INTERVAL", 0.01)
    serve(latency=0.05)

    lines = cli(*GENERATE)
    events = cli(*GENERATE, "--progress", "json")

    assert "waiting: generating with gpt-image-2, 0 s" in lines.err
    assert "waiting" in {event["event"] for event in events.events}
