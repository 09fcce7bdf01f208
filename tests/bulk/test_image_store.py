"""What images and unfinished files of a job are called."""

from __future__ import annotations

from pathlib import Path

from burncloud_images.bulk.directory import JobDirectory
from burncloud_images.bulk.image_store import PART, ImageStore

KEY = "ab" * 16


def test_unfinished_files_never_share_a_name(tmp_path: Path):
    """Neither within a run nor with what another one left, and their names tell whose they are."""
    runs = [ImageStore(JobDirectory(tmp_path)) for _ in range(2)]
    names = [run.name_part(KEY, 1) for run in runs for _ in range(20)]

    assert 40 == len(set(names))
    assert {(KEY, "2")} == {PART.fullmatch(name).groups() for name in names}


def test_a_folder_is_the_same_sink_for_all_its_images(tmp_path: Path):
    """Requests for one image and for several are named in two ways."""
    image_store = ImageStore(JobDirectory(tmp_path))
    one, several = image_store.find(KEY, several=False), image_store.find(KEY, several=True)

    assert one is image_store.find("ab" + "0" * 30, several=False)
    assert tmp_path / "images/ab" == one.path == several.path
    assert ("{id}.{ext}", "{id}-{index}.{ext}") == (one.name, several.name)
    assert all((sink.hash, sink.durable) == (True, True) for sink in (one, several))
