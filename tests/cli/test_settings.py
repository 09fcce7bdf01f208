"""The configuration file: what it may hold and what wins over it."""

import json
import os
import pwd
from pathlib import Path

import pytest

GENERATE = ("generate", "an otter", "--dry-run", "--json")


@pytest.fixture
def configure(monkeypatch, tmp_path):
    """Return a function that writes the user's configuration file."""
    folder = tmp_path / "config"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))

    def write(text):
        path = folder / "burncloud-images" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_precedence(cli, configure, monkeypatch):
    """A flag wins over the environment, that over the profile, that over the file, that over the default."""
    configure('model = "file"\nsize = "1024x1024"\nquality = "low"\nbase-url = "file.example"\n'
              '[profile.mine]\nquality = "high"\nuser = "me"\n')  # fmt: skip

    plain = cli(*GENERATE).json
    profile = cli(*GENERATE, "--profile", "mine").json
    flag = cli(*GENERATE, "--profile", "mine", "--quality", "auto", "--base-url", "flag.example").json
    monkeypatch.setenv("BURNCLOUD_MODEL", "environment")
    monkeypatch.setenv("BURNCLOUD_API_BASE_URL", "environment.example")
    environment = cli(*GENERATE).json

    assert plain["url"] == "https://file.example/v1/images/generations"
    assert plain["body"] == {"model": "file", "size": "1024x1024", "quality": "low", "prompt": "an otter"}
    assert (profile["body"]["quality"], profile["body"]["user"]) == ("high", "me")
    assert flag["body"]["quality"] == "auto"
    assert flag["url"].startswith("https://flag.example/")
    assert environment["url"].startswith("https://environment.example/")
    assert environment["body"]["model"] == "environment"


def test_a_named_file(cli, configure, tmp_path):
    """--config names the file; the user's own does not count then."""
    configure('model = "user"')
    other = tmp_path / "other.toml"
    other.write_text('quality = "low"\nretries = 2\ntimeout = 30\nallow_http = true\nfield = ["dream=1"]\n'
                     'svg = {model = "x"}\nvalidation = "off"\nstyle = "vivid"')  # fmt: skip

    body = cli(*GENERATE, "--config", other).json["body"]

    assert body == {"quality": "low", "prompt": "an otter", "style": "vivid", "dream": 1, "svg": {"model": "x"}}


def test_settings_of_other_commands_do_not_matter(cli, configure):
    """A file may hold options that the command at hand does not have."""
    configure('into = "pictures"\nstyle = "vivid"\nport = 9\nprogress = "none"')

    ran = cli("models", "--emulator")

    assert ran.code == 0
    assert b"gpt-image-2" in ran.out


def test_a_flag_drops_its_rival(cli, configure):
    """-o wins over the file's `into`."""
    configure('into = "pictures"\nmodel = "gpt-image-2"')

    there = cli("generate", "x", "--emulator")
    here = cli("generate", "x", "--emulator", "-o", "fox.png")

    assert there.paths[0].parent == Path("pictures")
    assert here.out == b"fox.png\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model = ", "is not valid TOML"),
        ("modle = 'x'", "unknown option 'modle' (did you mean model?)"),
        ("api-key = 'sk-secret'", "keep the key out of a file"),
        ("emulator = true", "on the command line"),
        ("n = '2'", "n has a value that -n does not accept"),
        ("n = true", "does not accept"),
        ("exists = 'ask'", "--exists does not accept"),
        ("field = 'a=1'", "--field does not accept"),
        ("profile = 1", "each profile has to be a table"),
        ("profile.a = 1", "each profile has to be a table"),
    ],
)
def test_a_file_that_cannot_be_used(cli, configure, text, sentence):
    """What no option takes is refused, as a misspelt setting would silently not hold."""
    path = configure(text)

    ran = (
        cli("generate", "x", "--emulator", "--profile", "a")
        if text == "profile.a = 1"
        else cli("generate", "x", "--emulator")
    )

    assert ran.code == 2
    assert ran.out == b""
    assert sentence in ran.errors[0]
    assert str(path) in ran.errors[0]
    assert "sk-secret" not in ran.err


def test_a_file_that_is_not_there(cli, tmp_path):
    """A file that was named has to be there, and has to be one."""
    missing = cli("generate", "x", "--config", tmp_path / "nowhere")
    folder = cli("generate", "x", "--config", tmp_path)

    assert (missing.code, folder.code) == (2, 2)
    assert "There is no configuration file" in missing.errors[0]
    assert "cannot be read" in folder.errors[0]


COMMANDS = [
    (*GENERATE, "--model", "m"),
    ("generate", "an otter", "--emulator", "-o", "otter.png"),
    ("batch", "list.txt", "--emulator", "--into", "job"),
    ("plan", "list.txt"),
    ("status", "job"),
    ("verify", "job"),
    ("usage", "job"),
    ("show", "saved.json"),
    ("fetch", "https://192.0.2.1:1/x"),
    ("models", "--emulator"),
    ("doctor", "--emulator"),
]


def refuse(*_args):
    raise KeyError("no such user")


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("words", "home"),
    [
        *((words, None) for words in COMMANDS),
        *((COMMANDS[0], home) for home in ("", "/nonexistent", "/dev/null", "loop", "relative")),
    ],
)
def test_nobody_has_a_home(cli, here, monkeypatch, words, home):
    """No command needs a home, or ends in a traceback without one."""
    monkeypatch.setattr(pwd, "getpwuid", refuse)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    if home is None:
        monkeypatch.delenv("HOME", raising=False)
    else:
        monkeypatch.setenv("HOME", home)
    (here / "loop").symlink_to(here / "loop")
    (here / "list.txt").write_text("an otter\n")
    (here / "saved.json").write_text("{}")

    ran = cli(*words)

    assert "Traceback" not in ran.err
    assert (ran.code == 0) is (words[0] not in {"status", "verify", "usage", "show", "fetch"}), ran.err


def test_an_own_file_that_cannot_be_read_is_told(cli, configure, monkeypatch):
    """A file that is there and cannot be read ends the command: it may say where requests go."""
    path = configure('model = "m"')
    monkeypatch.setattr(Path, "read_text", deny)

    ran = cli(*GENERATE)

    assert ran.code == 2
    assert f"{path} cannot be read: Permission denied." in ran.err


def test_the_home_of_another_user_is_left_alone(cli, configure, monkeypatch):
    """A container may run as a user who cannot enter the home it names."""
    configure('model = "m"')
    monkeypatch.setattr(Path, "read_text", deny)
    monkeypatch.setattr(Path, "is_file", deny)

    assert cli(*GENERATE, "--model", "m").code == 0


def deny(*_args, **_options):
    raise PermissionError(13, os.strerror(13))


def test_a_profile_without_a_home(cli, monkeypatch):
    """A profile is in no file then, which is said."""
    monkeypatch.setattr(pwd, "getpwuid", refuse)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)

    assert "There is no [profile.x]" in cli(*GENERATE, "--profile", "x").err


@pytest.mark.parametrize(
    ("words", "size"),
    [
        (["-m", "gpt-image-2", "--aspect", "16:9"], "1328x752"),
        (["-m", "gpt-image-2", "--aspect", "9:16", "--megapixels", "2"], "1056x1888"),
        (["-m", "dall-e-3", "--aspect", "16:9"], "1792x1024"),
        (["-m", "gpt-image-2", "--aspect", "1:1"], "1008x1008"),
        (["-O", "model=dall-e-2", "--aspect", "1:1"], "1024x1024"),
    ],
)
def test_aspect_becomes_a_size(cli, words, size):
    """It is found before anything is sent, and told."""
    ran = cli(*GENERATE, *words)

    assert size == ran.json["body"]["size"]
    assert f"is the size {size}" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--aspect", "16:9", "--size", "auto"], "cannot be combined with --size"),
        (["--aspect", "1:1", "-O", "size=1024x1024"], "cannot be combined with --size"),
        (["--aspect", "1:1"], "add --model, or give --size 1008x1008"),
        (["--megapixels", "1"], "--megapixels needs --aspect"),
        (["--aspect", "wide"], "'wide' is not a ratio"),
        (["--aspect", "1:1", "--megapixels", "0"], "--megapixels has to be"),
        (["--aspect", "16:9", "-m", "gpt-image-1"], "has no size of 16:9"),
    ],
)
def test_wrong_aspects_are_refused(cli, words, said):
    """One sentence says why."""
    ran = cli(*GENERATE, *words)

    assert 2 == ran.code
    assert said in ran.err


def test_plan_shows_the_size_of_an_aspect(cli, here):
    """Lists are planned with the size that will be sent; a flag leaves out the file's size."""
    (here / "prompts.txt").write_text("an otter\na fox\n")
    (here / "mine.toml").write_text('size = "1024x1024"\n')

    ran = cli("plan", "prompts.txt", "-m", "gpt-image-2", "--aspect", "3:2", "--config", "mine.toml")

    assert 0 == ran.code
    assert "--aspect 3:2 is the size 1232x816 for gpt-image-2" in ran.err
    assert "gpt-image-2  2 requests, 2 images of 1232x816, " in ran.out.decode()


def test_aspect_takes_the_model_of_the_environment(cli, monkeypatch):
    """It is the model of the request, as without a shape."""
    monkeypatch.setenv("BURNCLOUD_MODEL", "dall-e-3")

    assert "1792x1024" == cli(*GENERATE, "--aspect", "16:9").json["body"]["size"]


def test_each_row_has_the_size_that_its_model_takes(cli, here):
    """A row's own model decides, its own size stays, and a model without such a size makes a bad row."""
    rows = [
        {"prompt": "a"},
        {"prompt": "b", "model": "dall-e-3"},
        {"prompt": "c", "model": "gpt-image-1", "size": "1024x1024"},
        {"prompt": "d", "model": "gpt-image-1"},
    ]
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    ran = cli("plan", "rows.jsonl", "-m", "gpt-image-2", "--aspect", "16:9", "--json")
    lacking = cli("plan", "rows.jsonl", "--aspect", "16:9")

    sizes = {name: share["sizes"] for name, share in ran.json["models"].items()}
    assert {"gpt-image-2": {"1328x752": 1}, "dall-e-3": {"1792x1024": 1}, "gpt-image-1": {"1024x1024": 1}} == sizes
    assert ["size: gpt-image-1 has no size of 16:9; it takes 1024x1024, 1536x1024, 1024x1536"] == [
        row["reason"] for row in ran.json["bad_row_list"]
    ]
    assert (3, 2) == (ran.code, lacking.code)
    assert "line 1 names no model, and the size for 16:9 depends on it; add --model, or a size" in lacking.err


def test_several_models_have_sizes_of_their_own(cli, here):
    """The size for each is told before the plan."""
    (here / "prompts.txt").write_text("an otter\n")

    ran = cli("plan", "prompts.txt", "-m", "gpt-image-2,dall-e-3", "--aspect", "16:9")

    assert 0 == ran.code
    assert "--aspect 16:9 is the size 1328x752 for gpt-image-2" in ran.err
    assert "--aspect 16:9 is the size 1792x1024 for dall-e-3" in ran.err
    assert "image of 1792x1024, " in ran.out.decode()
