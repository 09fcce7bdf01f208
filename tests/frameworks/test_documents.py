"""The examples of docs/web-application.md that need a framework, run as they are printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fakes import until
from frameworks.conftest import serve, visit

from burncloud_images import bulk

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "web-application.md"
BLOCK = re.compile(r"<!-- not run: it needs (\w+);[^\n]*-->\n\n```python\n(.*?)```", re.DOTALL)
EXAMPLES = dict(BLOCK.findall(DOCUMENT.read_text(encoding="utf-8")))
PROMPTS = "/paint?prompt=an+otter&prompt=a+lighthouse&prompt=a+lemon+tree"


@pytest.fixture
async def play(open_studio, monkeypatch, tmp_path):
    """Return what runs an example in a folder of its own; its names are the example's."""
    studio = await open_studio()
    monkeypatch.setenv("BURNCLOUD_API_KEY", studio.emulator.api_key)
    monkeypatch.setenv("BURNCLOUD_API_BASE_URL", studio.emulator.base_url)
    monkeypatch.chdir(tmp_path)

    def run(name, **changes):
        names = {"__name__": name}
        exec(compile(EXAMPLES[name], str(DOCUMENT), "exec", dont_inherit=True), names)
        names.update(changes)
        return studio, names

    return run


async def test_the_fastapi_example_paints(play, tmp_path):
    """The example writes a line and a file for each prompt."""
    studio, names = play("FastAPI")
    async with serve(names["app"], lifespan="on") as port, visit(port, PROMPTS) as visitor:
        lines = [json.loads(line) for line in await visitor.lines(3)]

    assert {line["file"] for line in lines} == {path.name for path in (tmp_path / "images").iterdir()}
    assert 3 == studio.billed


async def test_the_fastapi_example_keeps_what_a_visitor_left(play, tmp_path):
    """The files of a visitor who left are there when the server has stopped."""
    late = []
    studio, names = play("FastAPI", keep_for_later=late.append)
    async with serve(names["app"], lifespan="on") as port, visit(port, PROMPTS) as visitor:
        await until(lambda: studio.posts == 3)
        await visitor.leave()

    assert 3 == studio.billed == len(late) == len(list((tmp_path / "images").iterdir()))


async def test_the_django_example_paints_and_keeps(play, make_app):
    """The example keeps the images of a visitor who left, because closing the client waits for them."""
    late = []
    make_app(id)  # sets Django up, which the example needs
    studio, names = play("Django", keep_for_later=late.append)
    make_app(names["paint"], "paint")
    async with serve(names["application"], lifespan="on") as port:
        async with visit(port, PROMPTS) as visitor:
            lines = [json.loads(line) for line in await visitor.lines(3)]
        async with visit(port, PROMPTS) as visitor:
            await until(lambda: studio.posts == 6)
            await visitor.leave()

    assert [(0, True), (1, True), (2, True)] == sorted((line["index"], line["is_done"]) for line in lines)
    assert (6, 3) == (studio.billed, len(late))


async def test_the_example_of_a_job_is_drained(play, tmp_path):
    """A job is drained when its application stops, and nothing is in doubt."""
    (tmp_path / "birds.txt").write_text("".join(f"bird {number}\n" for number in range(40)))
    studio, names = play("Starlette")
    async with serve(names["app"], lifespan="on"):
        await until(lambda: studio.billed >= 2)
    async with bulk.Job.open("birds") as job:
        counts = (await job.totals()).counts

    assert studio.posts == studio.billed == counts[bulk.RequestState.DONE] <= 40
    assert 0 == counts[bulk.RequestState.IN_DOUBT]
