"""Images under names that people can read."""

from __future__ import annotations

import errno

import attrs
import pytest

from burncloud_images.bulk.outputs import named
from burncloud_images.bulk.outputs.named import NamedImages, check_name, fill
from burncloud_images.bulk.records import RequestRecord, RequestState, RowNotes, StoredImage
from burncloud_images.errors import ConfigurationError


def record(number, label="", prompt="a red fox", count=1, **columns):
    """Return a done request with images."""
    key = f"{number:032x}"
    images = tuple(
        StoredImage(index=index, path=f"images/00/{key}-{index + 1}.png", size=3, sha256=f"{index:064x}")
        for index in range(count)
    )
    return RequestRecord(
        key=key,
        number=number,
        document={"operation": "generations", "prompt": prompt, "model": "gpt-image-2"},
        source="list.csv",
        line=number,
        label=label,
        state=RequestState.DONE,
        images=images,
        ended_at=1_796_000_000.0,
        notes=RowNotes(columns=columns),
    )


@pytest.fixture
def save(tmp_path):
    """Return what writes the images of records, gives them names, and returns what each name holds."""

    def go(records, template):
        (tmp_path / "images" / "00").mkdir(parents=True, exist_ok=True)
        for each in records:
            for image in each.images:
                path = tmp_path / image.path
                if ".tar/" not in image.path and not path.exists():
                    path.write_text(f"{each.number}-{image.index}")
        names = NamedImages(tmp_path, template)
        names.add(records)
        names.commit()
        return {path.name: path.read_text() for path in (tmp_path / "named").iterdir()}

    return go


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{id}", "fox.png"),
        ("{id}-{index}.{ext}", "fox-1.png"),
        ("{slug}.{ext}", "a-red-fox.png"),
        ("{model}_{date}.jpg", "gpt-image-2_2026-11-30.png"),
        ("{key}", f"{1:032x}.png"),
        ("{sha8}", "00000000.png"),
        ("{row.category}-{id}", "zoo-fox.png"),
        ("{row.Art Style}", "ink-wash.png"),
        ("{row.missing}-{id}", "none-fox.png"),
    ],
)
def test_a_name_is_made_of_the_row(template, name):
    """The extension is that of the image."""
    found = record(1, "fox", category="zoo", **{"Art Style": "ink wash"})
    check_name(template)

    assert name == fill(template, found, found.images[0])


@pytest.mark.parametrize("label", ["../../etc/x", "/abs", "a\0b", ".", "..", "a\nb", "x" * 500, "水獭", "", "con{id}"])
def test_a_name_is_a_plain_file_name(label):
    """Whatever the id of a row is."""
    found = record(1, label)
    name = fill("{id}", found, found.images[0])

    assert not set(name) & set("/\0\n")
    assert not name.startswith(".")
    assert len(name.encode()) <= 255
    assert name.endswith(".png")


@pytest.mark.parametrize("template", ["", "{", "{id", "{size}", "{row.}", "{id.__class__}", "a/b", ".x", "{id!r}"])
def test_what_is_no_name_is_refused(template):
    """With the fields that there are."""
    with pytest.raises(ConfigurationError, match="The name"):
        check_name(template)


def test_all_images_get_a_name(save):
    """Equal names are numbered, also where they differ in case alone."""
    rows = [record(1, "Fox"), record(2, "fox", count=2), record(3, "fox-2"), record(4, "owl")]

    assert {
        "Fox.png": "1-0",
        "fox-2.png": "2-0",
        "fox-2-2.png": "2-1",
        "fox-2-3.png": "3-0",
        "owl.png": "4-0",
    } == save(rows, "{id}")


def test_names_are_made_anew(save, tmp_path):
    """Those of before are gone, and the images are not."""
    save([record(1, "old")], "{id}")

    assert {"new.png": "1-0"} == save([record(1, "new")], "{id}")
    assert "1-0" == (tmp_path / record(1).images[0].path).read_text()
    assert not (tmp_path / ".named.part").exists()


def test_a_run_that_was_killed_leaves_no_names(save, tmp_path):
    """Unfinished ones are removed by the next run; those of before stay until then."""
    save([record(1, "a")], "{id}")
    NamedImages(tmp_path, "{id}").add([record(1, "b")])
    assert ["a.png"] == [path.name for path in (tmp_path / "named").iterdir()]

    assert {"c.png": "1-0"} == save([record(1, "c")], "{id}")


def test_images_that_have_no_file_have_no_name(save, tmp_path):
    """One that was removed, and one in a shard."""
    shard = attrs.evolve(record(2, "b"), images=(attrs.evolve(record(2).images[0], path="00000.tar/b.png"),))
    save([record(1, "a")], "{id}")
    (tmp_path / record(1).images[0].path).unlink()
    names = NamedImages(tmp_path, "{id}")
    names.add([record(1, "a"), shard])
    names.commit()

    assert [] == list((tmp_path / "named").iterdir())


def test_a_file_system_without_links_gets_copies(save, monkeypatch):
    """As on some network drives."""

    def refuse(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(named.os, "link", refuse)

    assert {"a.png": "1-0", "a-2.png": "2-0"} == save([record(1, "a"), record(2, "a")], "{id}")


def test_a_link_in_the_place_of_the_folder_is_not_followed(save, tmp_path):
    """What it leads to stays as it is."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").touch()
    (tmp_path / ".named.part").symlink_to(other)
    with pytest.raises(OSError, match=r"symbolic link|Not a directory"):
        save([record(1, "a")], "{id}")

    assert ["mine.txt"] == [path.name for path in other.iterdir()]
