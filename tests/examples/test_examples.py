"""The scripts in examples/ do what they say, in a process of their own, against the emulator."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from burncloud_images.emulator import Emulator, Fault

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))


def start(emulator, folder, script, *args, key=None, **pipes):
    """Start a script in *folder*, with the emulator in its environment."""
    environment = {
        **os.environ,
        "BURNCLOUD_API_BASE_URL": emulator.base_url,
        "BURNCLOUD_API_KEY": key or emulator.api_key,
        "BURNCLOUD_MODEL": "gpt-image-2",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDEVMODE": "",  # its remarks about slow callbacks are no complaints of a script
    }
    return asyncio.create_subprocess_exec(
        sys.executable,
        EXAMPLES / script,
        *map(str, args),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(emulator, folder, script, *args, key=None):
    """Run a script to its end; return its exit code, its lines and its complaints."""
    process = await start(emulator, folder, script, *args, key=key)
    out, complaints = await process.communicate()
    return process.returncode, out.decode().splitlines(), complaints.decode()


@pytest.fixture
def photo(tmp_path):
    """Return a square picture."""
    from PIL import Image

    path = tmp_path / "photo.png"
    Image.new("RGB", (1024, 1024), "teal").save(path)
    return path


async def test_many_images(emulator, tmp_path):
    """Each line gets a file whose name comes from the prompt; the same line twice gets two."""
    (tmp_path / "prompts.txt").write_text("a sea otter\n\na lighthouse\na lighthouse\n")
    code, lines, complaints = await run(emulator, tmp_path, "many_images.py", "prompts.txt", "out")

    assert (0, "") == (code, complaints)
    assert ["a-lighthouse", "a-lighthouse", "a-sea-otter"] == sorted(Path(line).name[:-17] for line in lines)
    assert all((tmp_path / line).is_file() for line in lines)
    assert 3 == emulator.ledger.billed_images


async def test_many_images_go_on_after_a_failure(tmp_path):
    """One refused prompt is complained of, and the others get their files."""
    (tmp_path / "prompts.txt").write_text("a sea otter\na lighthouse\n")
    fault = Fault(status=400, body={"error": {"message": "no", "code": "moderation_blocked"}})
    async with Emulator(faults=[fault]) as emulator:
        code, lines, complaints = await run(emulator, tmp_path, "many_images.py", "prompts.txt", "out")

    assert 1 == code
    assert 1 == len(lines)
    assert "400 Bad Request: no" in complaints


async def test_many_images_stop_when_the_key_is_wrong(emulator, tmp_path):
    """What has not been started is not started any more."""
    (tmp_path / "prompts.txt").write_text("an otter\n" * 50)
    code, lines, complaints = await run(emulator, tmp_path, "many_images.py", "prompts.txt", "out", key="sk-wrong")

    assert (1, []) == (code, lines)
    assert "The others were not started." in complaints
    assert len(emulator.ledger.requests) < 20


async def test_pipeline(emulator, tmp_path):
    """Every prompt is painted and framed, and the results are numbered in order."""
    code, lines, complaints = await run(emulator, tmp_path, "pipeline.py", "out", "an otter", "a lighthouse")

    assert (0, "") == (code, complaints)
    assert ["out/001.png", "out/002.png"] == lines
    assert ["edits", "edits", "generations", "generations"] == sorted(
        request.operation for request in emulator.ledger.requests
    )


async def test_edit_with_mask(emulator, tmp_path, photo):
    """The mask goes along, as large as the photo."""
    code, lines, complaints = await run(emulator, tmp_path, "edit_with_mask.py", photo, "a boat", "boat.png")

    assert (0, "", ["boat.png"]) == (code, complaints, lines)
    assert (tmp_path / "boat.png").is_file()
    assert ["image", "mask"] == [part.name for part in emulator.ledger.requests[0].parts]


async def test_web_application(emulator, tmp_path, unused_tcp_port):
    """It shows a form, paints, explains, and ends on Ctrl-C."""
    process = await start(emulator, tmp_path, "web_application.py", unused_tcp_port)
    try:
        await process.stdout.readline()  # says where it listens
        async with aiohttp.ClientSession(f"http://127.0.0.1:{unused_tcp_port}") as session:
            async with session.get("/") as form:
                shown = await form.text()
            async with session.get("/", params={"prompt": "a sea otter"}) as picture:
                painted = await picture.read()
            async with session.get("/", params={"prompt": " "}) as refusal:
                said = await refusal.text()
    finally:
        process.terminate()
        await process.communicate()

    assert "<form>" in shown
    assert ("image/png", b"\x89PNG") == (picture.content_type, painted[:4])
    assert (400, True) == (refusal.status, "it is empty" in said)


@pytest.mark.parametrize("script", SCRIPTS)
def test_example_says_how_to_spend_nothing(script):
    """Every script names the variables it reads and how to start the emulator; none starts one by itself."""
    text = (EXAMPLES / script).read_text()

    assert "BURNCLOUD_API_KEY" in text
    assert "burncloud-images emulator" in text
    assert "import Emulator" not in text


def test_command_line_page_works(tmp_path):
    """What the page says to type can be typed, in its order; what serves for ever or needs a network is left out."""
    page = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    typed = [line for line in lines if not line.startswith("burncloud-images emulator")]
    own = f"burncloud-images() {{ '{sys.executable}' -m burncloud_images \"$@\"; }}"
    script = "\n".join(["set -e", own, *typed])
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50)

    assert 0 == done.returncode, done.stderr
    assert len(typed) > 10
    assert (tmp_path / "fox-in-a-pipe.png").read_bytes().startswith(b"\x89PNG")
