"""Each command that asks for a model warns of its end: once, on stderr, and the exit code stays."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from programs import PROGRAM
from workshop import write_rows

from burncloud_images.emulator import Fault

ENDED = (
    "gpt-image-1 has been shut down by its provider since 2026-10-23; use gpt-image-2.6-sunburst or gpt-image-2.6-flare"
)
ROWS = [
    {"prompt": "a", "model": "gpt-image-1", "size": "1024x1024"},
    {"prompt": "b", "model": "gpt-image-1", "size": "1024x1024"},
    {"prompt": "c", "model": "dall-e-2", "size": "256x256"},
    {"prompt": "d", "model": "gpt-image-2", "size": "1024x1024"},
]


def count(ran, text=ENDED):
    return (ran.err + ran.out.decode()).count(text)


@pytest.mark.parametrize("named", ["option", "environment"])
@pytest.mark.parametrize("command", ["generate", "edit"])
def test_a_request_warns_of_its_model(cli, serve, photo, monkeypatch, command, named):
    """By --model and by BURNCLOUD_MODEL."""
    serve()
    words = ["generate", "a fox"] if command == "generate" else ["edit", photo, "-p", "a fox"]
    if named == "environment":
        monkeypatch.setenv("BURNCLOUD_MODEL", "gpt-image-1")
    ran = cli(*words, "-o", "fox.png", *(["-m", "gpt-image-1"] if named == "option" else []))

    assert (0, 1) == (ran.code, count(ran))
    assert f"warning: {ENDED}.\n" in ran.err


def test_a_job_warns_of_the_models_of_its_rows(cli, serve):
    """Of each once, before anything is sent, also when it resumes; those that are done say nothing."""
    server = serve()
    write_rows(Path("rows.jsonl"), ROWS)
    first = cli("batch", "rows.jsonl", "--into", "out", "--limit", "1")
    second = cli("batch", "--into", "out")
    third = cli("batch", "--into", "out")

    assert 4 == server.ledger.billed_images
    assert [(1, 1), (1, 1), (0, 0)] == [(count(ran), count(ran, "dall-e-2 has been")) for ran in (first, second, third)]
    assert first.err.index(ENDED) < first.err.index("summary")


@pytest.mark.parametrize("command", ["batch", "plan"])
def test_models_between_commas_are_warned_of(cli, serve, here, command):
    """As each row is made for each of them."""
    serve()
    (here / "list.txt").write_text("a fox\n")
    words = ["--into", "out"] if command == "batch" else []
    ran = cli(command, "list.txt", "-m", "gpt-image-1,gpt-image-2", "--size", "1024x1024", *words)

    assert (0, 1) == (ran.code, count(ran))


def test_quiet_keeps_warnings_back(cli, serve):
    """--quiet prints errors only."""
    serve()
    ran = cli("generate", "a fox", "-m", "gpt-image-1", "-o", "fox.png", "-q")
    assert (0, 0) == (ran.code, count(ran))


@pytest.mark.parametrize("command", ["models", "doctor"])
def test_a_list_of_models_tells_the_servers_own_dates(cli, serve, command):
    """They come before the table; dates far off and models that go on say nothing."""
    soon = f"{datetime.now(UTC).date() + timedelta(days=3)}"
    found = [
        {"id": "their-own", "shutdown_date": soon},
        {"id": "gpt-image-1"},
        {"id": "dall-e-2", "shutdown_date": "2099-01-01"},
        {"id": "gpt-image-2"},
    ]
    serve(Fault(body={"data": found}, operation="models"))
    ran = cli(command)

    assert (0, 1) == (ran.code, count(ran))
    assert 1 == count(ran, f"their-own is shut down by its provider in 3 days, on {soon}; use ")
    assert 0 == count(ran, "dall-e-2 has") + count(ran, "gpt-image-2 has") + count(ran, "gpt-image-2 is")


def test_doctor_warns_of_the_default_model(cli, serve, monkeypatch):
    """Whether the server lists it or not."""
    serve(Fault(body={"data": [{"id": "gpt-image-2"}]}, operation="models"))
    monkeypatch.setenv("BURNCLOUD_MODEL", "gpt-image-1")
    ran = cli("doctor")
    assert (0, 1) == (ran.code, count(ran))


@pytest.mark.parametrize("words", [["generate", "a fox", "-o", "fox.png"], ["batch", "list.txt", "--into", "out"]])
def test_a_warning_is_no_error_where_warnings_are(serve, here, words):
    """With `python -W error` it is shown like any other, and the images come."""
    server = serve()
    (here / "list.txt").write_text("a fox\n")
    python, *module = PROGRAM
    command = [python, "-W", "error", *module, *words, "-m", "gpt-image-1", "--size", "1024x1024"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=here)

    assert (0, 1, 1) == (done.returncode, server.ledger.billed_images, done.stderr.count(ENDED)), done.stderr
