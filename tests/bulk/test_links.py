"""Links in the place of what a job writes: nothing is written through them, before a run or while it goes on."""

from __future__ import annotations

import shutil

import pytest
from workshop import prompts

from burncloud_images import GenerationRequest, bulk, errors
from burncloud_images.bulk import RequestState
from burncloud_images.emulator import Fault

FOLDERS = ("images", "images/ab", "gallery", "rescue", "inputs")
FILES = (
    *("gallery.html", "report.json", "bad_rows.jsonl", "metadata.jsonl", "job.sqlite3", "job.lock", ".ballast"),
    *("gallery/page.js", "gallery/0001.js", "00000.tar", ".report.json.part"),
)


@pytest.fixture
def elsewhere(tmp_path):
    """Return a folder that is nobody's business."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "0009.js").write_text("mine")
    return folder


def replace(path, target):
    """Put a link where a file or folder is, or is to be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
async def test_a_link_is_refused_before_anything_is_bought(workshop, tmp_path, elsewhere, name):
    """With its name, and whether or not there is something at its other end."""
    shop = await workshop()
    await shop.run(prompts(1))
    for target in (elsewhere if name in FOLDERS else elsewhere / "0009.js", elsewhere / "nothing"):
        replace(tmp_path / "out" / name, target)
        with pytest.raises(errors.JobError, match=f"{name} is a link"):
            await shop.run(prompts(4))

    assert 1 == shop.posts
    assert ["mine"] == [path.read_text() for path in elsewhere.iterdir()]


async def test_the_folder_itself_may_be_a_link(workshop, tmp_path):
    """Its owner named it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    shop = await workshop()
    report = await shop.run(prompts(2))

    assert "finished" == report.stopped
    assert (tmp_path / "real/gallery.html").is_file()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("output", ["files", "webdataset"])
@pytest.mark.parametrize("name", ["images", "gallery", "rescue"])
async def test_a_link_that_is_planted_is_not_followed(workshop, tmp_path, elsewhere, name, output):
    """The run ends, and what it bought is in the folder or among the temporary files, not behind the link."""
    cut = [Fault(cut="close", place="answer", byte=-40)] * (name == "rescue")
    shop = await workshop(Fault(), *cut, Fault(delay=0.1, times=None))
    planted = []

    def plant(event):
        if event.kind == "done" and not planted:
            planted.append(name)
            replace(tmp_path / "out" / name, elsewhere)

    try:
        report = await shop.run(prompts(6), concurrency=1, watch=plant, output=output)
    except errors.StorageError as error:
        assert name == "gallery", error  # noqa: PT017 (one of two endings)
    else:
        assert ("disk" == report.stopped) or name == "rescue"

    assert ["0009.js"] == [path.name for path in elsewhere.iterdir()]
    assert "mine" == (elsewhere / "0009.js").read_text()


async def test_pictures_to_upload_are_kept_past_no_link(workshop, tmp_path, elsewhere, png_file):
    """Neither in place of their folder nor of their own unfinished file."""
    shop = await workshop()
    async with bulk.Job.open(tmp_path / "out") as job:
        (tmp_path / "out/inputs").symlink_to(elsewhere)
        from burncloud_images import EditRequest

        with pytest.raises((OSError, errors.ImagesError)):
            await job.add([EditRequest(image=png_file.read_bytes(), prompt="snow", model="gpt-image-2")])
        await job.add([GenerationRequest("a fox", model="gpt-image-2", size="1024x640")])

    assert ["0009.js"] == [path.name for path in elsewhere.iterdir()]
    assert 0 == shop.posts


async def test_an_image_that_is_a_link_is_no_image_of_the_job(workshop, tmp_path, elsewhere):
    """It is not taken over as one after the store was lost."""
    shop = await workshop()
    await shop.run(prompts(1))
    (image,) = shop.images
    image.rename(elsewhere / "fox.png")
    image.symlink_to(elsewhere / "fox.png")
    for path in (tmp_path / "out").glob("job.sqlite3*"):
        path.unlink()
    await shop.run(prompts(1))

    assert {RequestState.DONE: 0, RequestState.IN_DOUBT: 1} == {
        state: (await shop.states())[state] for state in (RequestState.DONE, RequestState.IN_DOUBT)
    }
    assert image.is_symlink()
