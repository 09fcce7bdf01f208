"""Tasks on the command line: errors name the command that gets their images, and it works."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from burncloud_images.emulator import Fault
from burncloud_images.model.media import examine_bytes

TASKS = {"tasks": True, "task_wait": 5.0}
GENERATE = ("generate", "a fox", "-m", "gpt-image-2", "--size", "1024x1024", "-o", "fox.png")


def find_command(text):
    """Return the words of the command that an error names."""
    return shlex.split(re.search(r"`burncloud-images (fetch --task [^`]+)`", text)[1])


def test_a_task_is_followed(cli, serve, no_wait):
    """A gateway that makes tasks needs no other command than one that does not."""
    server = serve(**TASKS)
    ran = cli(*GENERATE)

    assert (0, [Path("fox.png")], 1) == (ran.code, ran.paths, server.ledger.billed_requests)


@pytest.mark.parametrize("how", ["paths", "json", "stdout"])
def test_the_command_that_an_error_names_works(cli, serve, no_wait, how):
    """After the deadline the error says what to type, and that brings the image and buys nothing."""
    server = serve(Fault(task="endless"), **TASKS)
    ran = cli(*GENERATE, "--deadline", "0.01")
    assert 10 == ran.code
    assert "buys nothing" in ran.err
    assert "may have been billed" in ran.err
    (task,) = server.tasks.tasks.values()
    task.fault = None

    words = find_command(ran.err)
    again = cli(*words, "-o", "-" if how == "stdout" else "fox.png", *["--json"] * (how == "json"))

    assert (0, 1) == (again.code, len(server.ledger.requests))
    if how == "json":
        assert ["fox.png"] == [image["path"] for image in json.loads(again.out)["images"]]
    data = again.out if how == "stdout" else Path("fox.png").read_bytes()
    assert examine_bytes(data).complete


@pytest.mark.parametrize(("fate", "said"), [("failed", "may have been billed"), ("refunded", "Nothing was billed")])
def test_a_failed_task_names_no_command(cli, serve, no_wait, fate, said):
    """Where asking again brings nothing, none is advised."""
    serve(*[Fault(task=fate)] * 4, **TASKS)
    ran = cli(*GENERATE, "--retries", "1")

    assert ran.code
    assert said in ran.err
    assert "--task" not in ran.err


def test_an_unknown_task_is_told(cli, serve, no_wait):
    """A task that the gateway does not know is an error with its name."""
    serve(**TASKS)
    ran = cli("fetch", "--task", "task_unknown", "-o", "fox.png", "--deadline", "0.01")

    assert 10 == ran.code
    assert "Task task_unknown had not been found" in ran.err


def test_urls_and_a_task_are_refused(cli, serve):
    """Both at once are a mistake."""
    ran = cli("fetch", "https://images.example/1.png", "--task", "task_1", "-o", "fox.png")

    assert 2 == ran.code
    assert "not both" in ran.err


def test_the_emulator_makes_tasks(cli):
    """The emulator of the command line has the option."""
    assert "--tasks" in cli("emulator", "--help").out.decode()
