"""The scripts that the gallery loads."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path

import pytest
from jobs import MemoryStore, done

from burncloud_images.bulk.outputs.gallery.pages import CARDS, Gallery
from burncloud_images.bulk.outputs.report import Tally


def read(path: Path) -> tuple[int, list[dict[str, object]]]:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("addCards(")
    number, _, cards = text.removeprefix("addCards(").removesuffix(");\n").partition(", ")
    return int(number), json.loads(cards)


def write(folder: Path, count: int) -> Gallery:
    gallery = Gallery(folder)
    for start in range(0, count, 300):
        gallery.take([done(number) for number in range(start, min(count, start + 300))])
    gallery.finish()
    return gallery


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_cards_come_in_scripts_of_500(tmp_path: Path) -> None:
    write(tmp_path, 1_234)
    scripts = [read(tmp_path / "gallery" / name) for name in names(tmp_path / "gallery")]

    assert [(1, CARDS), (2, CARDS), (3, 234)] == [(number, len(cards)) for number, cards in scripts]
    assert list(range(1_234)) == [card["number"] for _, cards in scripts for card in cards]


def test_a_prompt_cannot_end_its_script(tmp_path: Path) -> None:
    prompt = "</script><script>alert(1)</script><!-- \u2028 \ud83d"
    gallery = Gallery(tmp_path)
    gallery.take([done(1, document={"prompt": prompt})])
    gallery.finish()
    path = tmp_path / "gallery" / "0001.js"

    assert not {"<", ">", "\u2028"} & set(path.read_text(encoding="utf-8"))
    assert prompt.replace("\ud83d", "�") == read(path)[1][0]["prompt"]


def test_a_smaller_gallery_leaves_nothing_of_a_larger_one(tmp_path: Path) -> None:
    write(tmp_path, 1_600)
    (tmp_path / "gallery" / ".0009.js.part").write_bytes(b"of a killed run")
    (tmp_path / "gallery" / "notes.txt").write_bytes(b"mine")
    write(tmp_path, 600)

    assert ["0001.js", "0002.js", "notes.txt"] == names(tmp_path / "gallery")


def test_the_earlier_gallery_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    write(tmp_path, 600)
    gallery = Gallery(tmp_path)
    gallery.take([done(number) for number in range(5_000, 5_600)])

    assert 0 == read(tmp_path / "gallery" / "0001.js")[1][0]["number"]
    gallery.discard()
    assert ["0001.js", "0002.js"] == names(tmp_path / "gallery")


def test_a_full_disk_leaves_the_earlier_gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 600)
    gallery = Gallery(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            gallery.take([done(number) for number in range(5_000, 5_600)])
    gallery.discard()

    assert ["0001.js", "0002.js"] == names(tmp_path / "gallery")
    assert 0 == read(tmp_path / "gallery" / "0001.js")[1][0]["number"]


async def test_the_page_and_all_that_it_loads_are_written(tmp_path: Path) -> None:
    gallery = write(tmp_path, 3)
    store = MemoryStore([done(number) for number in range(3)])
    tally = Tally({"started": 1.0, "ended": 3.5, "stopped": "finished"})
    gallery.conclude(tally.summarise(await store.totals()))
    text = (tmp_path / "gallery" / "summary.js").read_text(encoding="utf-8")
    summary = json.loads(text.removeprefix("describeJob(").removesuffix(");\n"))
    parts = {part.name for part in files("burncloud_images.bulk.outputs.gallery").joinpath("page").iterdir()}

    assert {"0001.js", "summary.js", *parts - {"gallery.html"}} == set(names(tmp_path / "gallery"))
    assert (tmp_path / "gallery.html").is_file()
    assert (tmp_path.name, 3, 1, 0.12, 2.5, "finished") == tuple(
        summary[name] for name in ("name", "cards", "scripts", "cost", "seconds", "stopped")
    )
