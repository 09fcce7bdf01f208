"""Rows name images below one folder, and nothing else of this machine."""

from __future__ import annotations

import hashlib
import os
import socket

import pytest
from pictures import png

from burncloud_images.bulk.inputs import row_images as images
from burncloud_images.bulk.inputs.columns import UnusableRow
from burncloud_images.bulk.inputs.row_images import ImageFileInspector

OUTSIDE = "it lies outside the folder that rows may name images in"
ABSENT = "it cannot be read: there is no such file"


@pytest.fixture
def files(folder):
    return ImageFileInspector.below(folder)


def reason_of(files, name):
    with pytest.raises(UnusableRow) as caught:
        files.look(name)
    return str(caught.value)


def test_a_file_is_known_by_its_bytes(files, folder):
    """Where it is, how large, when it was changed, and what it is."""
    path = folder / "a.png"
    found = files.look("a.png")

    assert path.resolve() == found.file.path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == found.file.sha256
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (found.file.size, found.file.mtime_ns)
    assert ("image/png", (16, 16)) == (found.media.media_type, found.media.dimensions)


def test_a_file_has_many_names_below_the_folder(files, folder):
    """All that lead to it: absolute ones, links, detours."""
    (folder / "deep").mkdir()
    (folder / "link.png").symlink_to("a.png")
    (folder / "deep" / "link").symlink_to("..")
    names = ["a.png", "./a.png", "deep/../a.png", str(folder / "a.png"), "link.png", "deep/link/a.png"]

    assert 1 == len({files.look(name).file.path for name in names})


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "/etc/passwd",
        "/dev/zero",
        "/proc/self/environ",
        "deep/../../secret.png",
        "link.png",
        "up/secret.png",
    ],
)
def test_what_lies_outside_is_not_looked_at(files, folder, name):
    """However it is spelled, and wherever links lead; whether it is there is not told."""
    (folder / "link.png").symlink_to("../secret.png")
    (folder / "up").symlink_to("..")

    assert OUTSIDE == reason_of(files, name)
    assert OUTSIDE == reason_of(files, "../no-such.png")
    assert 0 == files.read


def test_another_folder_whose_name_begins_alike_is_outside(files, folder):
    """A prefix of letters is no folder."""
    beside = folder.with_name(folder.name + "-2")
    beside.mkdir()
    (beside / "a.png").write_bytes(png())

    assert OUTSIDE == reason_of(files, f"../{beside.name}/a.png")
    assert OUTSIDE == reason_of(files, str(beside / "a.png"))


def test_the_folder_may_be_all_there_is(tmp_path):
    """Then devices and the like are refused all the same."""
    files = ImageFileInspector.below(tmp_path.root)

    assert "it is not a regular file" == reason_of(files, "/dev/zero")
    assert "it is empty" == reason_of(files, "/proc/self/environ")
    assert "it is not a PNG, JPEG, WebP or GIF image" == reason_of(files, "/etc/passwd")


def test_the_folder_may_be_a_link(folder, tmp_path):
    """What counts is where it leads."""
    (tmp_path / "link").symlink_to(folder)

    assert folder / "a.png" == ImageFileInspector.below(tmp_path / "link").look("a.png").file.path


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"root:x:0:0", "it is not a PNG, JPEG, WebP or GIF image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "it is not a PNG, JPEG, WebP or GIF image"),
    ],
)
def test_what_is_no_image_is_refused(files, folder, content, reason):
    """By its bytes, whatever its name."""
    (folder / "c.png").write_bytes(content)

    assert reason == reason_of(files, "c.png")


def test_a_large_file_is_not_read(files, folder):
    """Its length is enough."""
    with (folder / "c.png").open("wb") as handle:
        handle.write(png())
        handle.truncate(50 * 1024 * 1024 + 1)

    assert "50.0 MiB is more than 50 MiB" == reason_of(files, "c.png")
    assert 0 == files.read


def test_what_is_no_file_is_neither_opened_nor_waited_for(files, folder):
    """Pipes, sockets, folders, links to themselves."""
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(folder / "socket"))
        reasons = [reason_of(files, name) for name in ("pipe", "socket", ".", "no-such.png", "a.png/x")]

    assert ["it is not a regular file"] * 2 + ["it is a folder", ABSENT] == reasons[:4]
    assert reason_of(files, "loop")
    assert reason_of(files, "x" * 300) == "it cannot be read: File name too long"


@pytest.mark.parametrize("name", ["", "a\0.png", "\udcff.png", "~/a.png"])
def test_what_is_no_name_is_refused(files, name):
    """A tilde is a letter."""
    assert ABSENT == reason_of(files, name) if "~" in name else "it is not a file name" == reason_of(files, name)


def test_a_name_that_is_no_text_cannot_be_kept(files, folder):
    """A file name that is not text is refused, also behind a link."""
    (folder / "\udcff.png").write_bytes(png())
    (folder / "link.png").symlink_to("\udcff.png")

    assert "the file name is not UTF-8 text; rename the file" == reason_of(files, "link.png")


def test_a_file_is_read_once(files, folder, monkeypatch):
    """However many rows name it; and again once it has changed, from the next rows on."""
    first = files.look("a.png")
    read = files.read
    assert first is files.look("./a.png")
    assert read == files.read == first.file.size

    os.utime(folder / "a.png", ns=(1, 1))
    assert first is files.look("a.png")
    files.look_anew()
    assert first.file.sha256 == files.look("a.png").file.sha256
    assert 2 * read == files.read


def test_only_so_many_files_are_remembered(files, monkeypatch):
    """A list may name millions."""
    monkeypatch.setattr(images, "MAX_REMEMBERED", 1)
    for _ in range(3):
        files.look_anew()
        files.look("a.png")
        files.look("b.png")

    assert 1 == len(files.known)


def test_what_takes_the_place_of_a_file_is_noticed(files, folder, monkeypatch):
    """Between the look and the open: a link to elsewhere, a pipe, another file."""
    check_kind = images.check_kind

    def swap(make):
        def swapped(status):
            check_kind(status)
            (folder / "a.png").unlink()
            make(folder / "a.png")

        monkeypatch.setattr(images, "check_kind", swapped)
        reason = reason_of(files, "a.png")
        (folder / "a.png").unlink()
        (folder / "a.png").write_bytes(png())
        return reason

    assert "it cannot be read: Too many levels of symbolic links" == swap(lambda path: path.symlink_to("../secret.png"))
    assert "it changed while it was read" == swap(os.mkfifo)
    assert "it changed while it was read" == swap(lambda path: path.write_bytes(png(2, 2)))
    assert {} == files.known


def test_what_changes_while_it_is_read_is_noticed(files, folder, monkeypatch):
    """Its digest would be of neither."""
    check = images.check

    def grow(handle, size):
        with (folder / "a.png").open("ab") as other:
            other.write(b"x")
        return check(handle, size)

    monkeypatch.setattr(images, "check", grow)

    assert "it changed while it was read" == reason_of(files, "a.png")
