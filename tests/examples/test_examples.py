"""The scripts in examples/ do what they say, in a process of their own, against the emulator."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
import yaml

from burncloud_images import AsyncImagesClient
from burncloud_images.bulk.inputs import InputOptions, open_input
from burncloud_images.bulk.records import NewRequest
from burncloud_images.bulk.request_json import to_request
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
    """One refused prompt is reported, and the others get their files."""
    (tmp_path / "prompts.txt").write_text("a sea otter\na lighthouse\n")
    fault = Fault(status=400, body={"error": {"message": "no", "code": "moderation_blocked"}})
    async with Emulator(faults=[fault]) as emulator:
        code, lines, complaints = await run(emulator, tmp_path, "many_images.py", "prompts.txt", "out")

    assert 1 == code
    assert 1 == len(lines)
    assert "400 Bad Request: no" in complaints


async def test_many_images_stop_when_the_key_is_wrong(emulator, tmp_path):
    """After the key is refused, no further requests are started."""
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
    """The mask is uploaded and is as large as the photo."""
    code, lines, complaints = await run(emulator, tmp_path, "edit_with_mask.py", photo, "a boat", "boat.png")

    assert (0, "", ["boat.png"]) == (code, complaints, lines)
    assert (tmp_path / "boat.png").is_file()
    assert ["image", "mask"] == [part.name for part in emulator.ledger.requests[0].parts]


async def test_web_application(emulator, tmp_path, unused_tcp_port):
    """The application shows a form, generates images, explains errors, and stops on Ctrl-C."""
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


# --- what pages say to type ------------------------------------------------------------------------------------------

OWN = f"burncloud-images() {{ '{sys.executable}' -m burncloud_images \"$@\"; }}"
MARK = "\x1e"


def read_page(name):
    """Return the files that a page shows, and what it says to type with what is printed then."""
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    files = dict(re.findall(r"^`([\w.-]+)`:\n\n```\w*\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    entries = [entry for block in blocks for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return files, [entry.partition("\n")[::2] for entry in entries]


def type_in(folder, commands):
    """Type commands into a shell, until one fails; return what each printed."""
    script = "\n".join(["set -e", OWN, *(f"printf '\\036'\n{command}" for command in commands)])
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=of_a_user(), capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.split(MARK)[1:]


def of_a_user():
    """Return the environment without what tests have there, which makes each of many programs slow to start."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "PYTHONDEVMODE"))}


def is_as_shown(printed, shown):
    """Say whether the page shows what was printed; a line with an ellipsis alone stands for any lines."""
    pattern = "".join("(.*\n)*" if line == "…" else f"{re.escape(line)}\n" for line in shown.splitlines())
    return re.fullmatch(pattern, printed) is not None


@pytest.mark.timeout(300)  # a score of programs, each of which loads all it needs
@pytest.mark.parametrize(("name", "made"), [("command-line.md", "fox-in-a-pipe.png"), ("bulk-jobs.md", "zoo.png")])
def test_page_of_commands_works(tmp_path, name, made):
    """The commands of a page can be typed in order and print what the page shows; servers are left out."""
    files, entries = read_page(name)
    entries = [(command, shown) for command, shown in entries if not command.startswith("burncloud-images emulator")]
    for file, content in files.items():
        (tmp_path / file).write_text(content, encoding="utf-8")

    printed = type_in(tmp_path, [command for command, _ in entries])

    assert len(entries) > 10
    shown = [(command, lines, out) for (command, lines), out in zip(entries, printed, strict=True) if lines.strip()]
    assert shown
    assert [] == [(command, out) for command, lines, out in shown if not is_as_shown(out, lines)]
    assert (tmp_path / made).read_bytes().startswith(b"\x89PNG")


# --- the first command of the README ---------------------------------------------------------------------------------

INSTALL = "python -m pip install '.[cli,emulator]'"
FIRST = "burncloud-images batch examples/prompts.jsonl --emulator --into out/"


def test_first_command_of_the_readme(tmp_path):
    """The command makes all images of a list of 60 rows or more in a minute and prints the gallery's path last."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    rows = [json.loads(line) for line in (EXAMPLES / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]

    (printed,) = type_in(tmp_path, [FIRST])

    assert f"    {INSTALL} && {FIRST}\n" == next(
        line for line in readme.splitlines(keepends=True) if line.startswith("    ")
    )
    assert "out/gallery.html\n" == printed
    assert (tmp_path / "out/gallery.html").is_file()
    wanted = sum(row.get("n", 1) for row in rows)
    made = [path for path in (tmp_path / "out/images").rglob("*") if path.is_file()]
    assert len(rows) >= 60
    assert wanted == len(made)
    assert f"The first command makes {wanted} images " in readme


def test_rows_of_the_first_list():
    """Each row names its model and has an id, and no model, size or operation occurs only once."""
    rows = [json.loads(line) for line in (EXAMPLES / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]

    assert all(row["model"] for row in rows)
    assert len(rows) == len({row["id"] for row in rows})
    assert {"gpt-image-2", "gpt-image-1", "dall-e-2", "dall-e-3"} <= {row["model"] for row in rows}
    assert {"png", "jpeg", "webp", "gif", "svg"} <= {row.get("output_format", "png") for row in rows}
    assert {"256x256", "512x512", "1024x1024", "1536x1024", "1024x1536"} <= {row["size"] for row in rows}
    assert any("image" in row and "prompt" not in row for row in rows)
    assert any("mask" in row for row in rows)
    assert any(isinstance(row.get("image"), list) for row in rows)
    assert any(not row.get("prompt", "").isascii() for row in rows)


async def test_first_list_keeps_to_the_documents(emulator):
    """No row exceeds a documented limit."""
    async with AsyncImagesClient(emulator.api_key, emulator.base_url, validation="strict") as client:
        async for row in open_input(EXAMPLES / "prompts.jsonl", InputOptions(), None):
            assert isinstance(row, NewRequest), row
            result = await client.send(to_request(row.document))
            assert row.document.get("n", 1) == len(result.images)


# --- a list on several machines --------------------------------------------------------------------------------------


def manifest():
    """Return the manifest of the Kubernetes job, and the shell commands of its container."""
    found = yaml.safe_load((EXAMPLES / "kubernetes_job.yaml").read_text(encoding="utf-8"))
    (container,) = found["spec"]["template"]["spec"]["containers"]
    return found, container["command"][-1]


async def run_shell(emulator, folder, *words, **variables):
    """Run a command that finds the program on its PATH."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "BURNCLOUD_API_BASE_URL": emulator.base_url,
        "BURNCLOUD_API_KEY": emulator.api_key,
        **variables,
    }
    process = await asyncio.create_subprocess_exec(*words, cwd=folder, env=environment)
    return await process.wait()


async def test_tasks_of_slurm_share_a_list(tmp_path):
    """Each row is bought once, by one of the tasks."""
    (tmp_path / "prompts.csv").write_text("prompt\n" + "\n".join(map(str, range(9))), encoding="utf-8")
    script = EXAMPLES / "slurm_array.sh"
    async with Emulator() as emulator:
        for number in ("1", "2", "3"):
            task = {"SLURM_ARRAY_TASK_ID": number, "SLURM_ARRAY_TASK_COUNT": "3"}
            assert 0 == await run_shell(emulator, tmp_path, "bash", script, "prompts.csv", **task)
        billed = emulator.ledger.billed_images

    assert 9 == billed == len(list(tmp_path.glob("otters-*/images/*/*.png")))


async def test_a_pod_of_kubernetes_takes_its_part(tmp_path):
    """The first of the eight pods buys some rows of the list, and typed again none."""
    (tmp_path / "prompts.csv").write_text("prompt\n" + "\n".join(map(str, range(24))), encoding="utf-8")
    command = manifest()[1].replace("pip install --quiet 'burncloud-images[cli]'\n", "")
    async with Emulator() as emulator:
        for _ in range(2):
            assert 0 == await run_shell(emulator, tmp_path, "sh", "-ec", command, JOB_COMPLETION_INDEX="0")
        billed = emulator.ledger.billed_images

    assert 0 < billed < 12
    assert billed == len(list((tmp_path / "otters-0/images").glob("*/*.png")))


def test_the_kubernetes_job_is_valid():
    """The manifest is what the API of Kubernetes takes, and lets paid requests come to their end."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    found, _ = manifest()
    kubernetes_validate.validate(found, "1.31", strict=True)

    assert "Failed" == found["spec"]["podReplacementPolicy"]
    assert 900 == found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
