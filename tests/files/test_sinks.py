"""Where images go: whole files or none, under names that stay in their folder."""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import attrs
import pytest
from pictures import png

from burncloud_images import Directory, Image, Memory, SavedImage, errors
from burncloud_images.disk import place
from burncloud_images.files.sinks import ImageContext
from burncloud_images.model.media import Media

DATA = png(pad=3_000_000)


@pytest.fixture
def placement():
    """Return the place of a first image, with threads of its own."""
    with ThreadPoolExecutor(2) as executor:
        yield ImageContext(
            id="0123456789ab",
            index=0,
            prompt="A sea otter",
            model="m",
            date=datetime(2026, 11, 23, tzinfo=UTC),
            executor=executor,
        )


@pytest.fixture
def folder(tmp_path):
    """Return an empty folder."""
    path = tmp_path / "folder"
    path.mkdir()
    return path


async def store(sink, placement, data=DATA):
    await sink.prepare(placement, 1)
    writer = sink.open(placement)
    for start in range(0, len(data), 70_000):
        await writer.write(data[start : start + 70_000])
    return await writer.keep(await writer.finish())


class TestMemory:
    """Bytes."""

    async def test_keeps_the_bytes(self, placement):
        """A memory writer keeps the bytes and says what they are."""
        image = await store(Memory(), placement)

        assert Image(index=0, media_type="image/png", width=16, height=16, data=DATA) == image
        assert len(DATA) == image.size


class TestRecovery:
    """A writer can tell what it was given, whole or not."""

    @pytest.mark.parametrize("written", [0, 10, 1_500_000, 3_000_000])
    @pytest.mark.parametrize("most", [1, 1_200_000, 9_000_000])
    @pytest.mark.parametrize("kind", ["memory", "file", "finished file", "full disk"])
    async def test_of_what_was_written(self, placement, folder, written, most, kind):
        """From the start, as much as is asked for, wherever it is by now."""
        writer = (Memory() if kind == "memory" else Directory(folder)).open(placement)
        for start in range(0, written, 70_000):
            if kind == "full disk" and start > written / 2 and writer.handle and writer.rescued is None:
                writer.handle = FullDisk(writer.handle)
            await writer.write(DATA[start : min(written, start + 70_000)])
        if kind == "finished file" and written:
            await writer.finish()

        assert DATA[: min(written, most)] == await writer.read_back(most)
        await writer.discard()
        assert [] == list(folder.iterdir())


class TestDirectory:
    """Files."""

    async def test_keeps_the_bytes(self, placement, folder):
        """Under a name made from the request's id, with the mode that the umask gives."""
        image = await store(Directory(folder / "a" / "b", hash=True), placement)

        assert folder / "a" / "b" / "0123456789ab-1.png" == image.path
        assert DATA == image.path.read_bytes()
        assert hashlib.sha256(DATA).hexdigest() == image.sha256
        umask = os.umask(0)
        os.umask(umask)
        assert 0o666 & ~umask == stat.S_IMODE(image.path.stat().st_mode)

    async def test_shows_nothing_before_the_image_is_whole(self, placement, folder):
        """The unfinished file is hidden and private, and discarding removes it."""
        writer = Directory(folder).open(placement)
        await writer.write(DATA)
        await writer.finish()
        (part,) = folder.iterdir()

        assert part.name.startswith(".")
        assert 0o600 == stat.S_IMODE(part.stat().st_mode)
        await writer.discard()
        assert [] == list(folder.iterdir())

    async def test_discarding_what_was_never_written_is_fine(self, placement, folder):
        """Discarding a writer that was never written to makes nothing."""
        await Directory(folder).open(placement).discard()

        assert [] == list(folder.iterdir())

    @pytest.mark.parametrize(
        ("there", "name"),
        [
            ("otter.png", "otter.png"),
            ("otter.jpg", "otter.jpeg"),
            ("otter.webp", "otter.{ext}"),
            ("otter.webp", "otter"),
            ("otter-2.gif", "otter.gif"),
        ],
    )
    async def test_refuses_a_name_that_is_taken_before_anything_is_sent(self, placement, folder, there, name):
        """Whatever the format will be, if the name does not say."""
        (folder / there).touch()
        with pytest.raises(errors.StorageError, match=rf"{there} exists already"):
            await Directory(folder, name=name).prepare(placement, 2)

    async def test_refuses_a_name_that_a_broken_link_has(self, placement, folder):
        """It leads nowhere, and is in the way all the same."""
        (folder / "otter.png").symlink_to(folder / "nowhere")
        with pytest.raises(errors.StorageError, match="exists already"):
            await Directory(folder, name="otter.png").prepare(placement, 1)

    @pytest.mark.parametrize(("there", "name"), [("otter.webp", "otter.png"), ("otter.png", "otter.jpg")])
    async def test_a_name_with_an_extension_is_not_taken_by_another_format(self, placement, folder, there, name):
        """The file would be another one."""
        (folder / there).touch()

        await Directory(folder, name=name).prepare(placement, 1)

    async def test_keeps_an_image_in_memory_if_its_name_was_taken_meanwhile(self, placement, folder):
        """Nothing is overwritten and nothing is lost."""
        sink = Directory(folder, name="otter.png")
        await sink.prepare(placement, 1)
        (folder / "otter.png").write_text("mine")
        writer = sink.open(placement)
        await writer.write(DATA)
        with pytest.raises(errors.StorageError) as caught:
            await writer.keep(await writer.finish())

        assert [DATA] == [image.data for image in caught.value.unsaved]
        assert "mine" == (folder / "otter.png").read_text()
        assert ["otter.png"] == [path.name for path in folder.iterdir()]

    async def test_renames_or_overwrites_if_asked(self, placement, folder):
        """`rename` takes the next free number."""
        (folder / "otter.png").write_text("mine")
        renamed = await store(Directory(folder, name="otter.png", exists="rename"), placement)
        over = await store(Directory(folder, name="otter.png", exists="overwrite", durable=True), placement)

        assert "otter-2.png" == renamed.path.name
        assert "otter.png" == over.path.name
        assert DATA == over.path.read_bytes()

    @pytest.fixture
    def break_sync(self, monkeypatch):
        """Let the disk fail at the syncs of files, or of folders."""
        sync = os.fsync

        def start(is_wrong):
            def fail(descriptor):
                if is_wrong(os.fstat(descriptor).st_mode):
                    raise OSError(5, "Input/output error")
                sync(descriptor)

            monkeypatch.setattr(os, "fsync", fail)

        return start

    async def test_an_image_stays_in_memory_if_it_cannot_be_synced(self, placement, folder, break_sync):
        """What may not be on the disk gets no name and does not count as stored."""
        break_sync(stat.S_ISREG)
        with pytest.raises(errors.StorageError, match="Input/output error") as caught:
            await store(Directory(folder, name="otter.png", durable=True), placement)

        assert [DATA] == [image.data for image in caught.value.unsaved]
        assert [] == list(folder.iterdir())

    async def test_an_image_is_kept_if_its_folder_cannot_be_synced(self, placement, folder, break_sync):
        """An image that is whole and has its name is stored, though a power cut may take the name."""
        break_sync(stat.S_ISDIR)
        saved = await store(Directory(folder, name="otter.png", durable=True), placement)

        assert folder / "otter.png" == saved.path
        assert DATA == saved.path.read_bytes()

    async def test_an_image_is_kept_where_there_are_no_modes(self, placement, folder, monkeypatch):
        """A file system that refuses modes keeps the image, which only its owner may read."""

        def refuse(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "fchmod", refuse)
        saved = await store(Directory(folder, name="otter.png"), placement)

        assert DATA == saved.path.read_bytes()

    async def test_a_durable_image_is_synced_before_it_has_its_name_and_its_folder_after(
        self, placement, folder, monkeypatch
    ):
        """In no other order does a power cut leave a whole file or none."""
        steps = []
        sync, link = os.fsync, os.link

        def synced(descriptor):
            steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
            sync(descriptor)

        def named(*paths, **options):
            steps.append("name")
            link(*paths, **options)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "link", named)
        await store(Directory(folder, durable=True), placement)
        await store(Directory(folder, name="quick"), placement)

        assert ["file", "name", "folder", "name"] == steps

    async def test_a_planted_hidden_file_is_not_written_to(self, placement, folder, monkeypatch):
        """A planted hidden file or link is not written to, and the image stays in memory."""
        monkeypatch.setattr(os, "urandom", bytes)
        target = folder / "precious"
        target.write_text("precious")
        (folder / ".0123456789ab-1-000000.part").symlink_to(target)
        out = Directory(folder, name="otter.png")
        with pytest.raises(errors.StorageError, match="File exists") as caught:
            await store(out, placement)

        assert [DATA] == [image.data for image in caught.value.unsaved]
        assert "precious" == target.read_text()
        assert (folder / ".0123456789ab-1-000000.part").is_symlink()

    async def test_a_folder_that_was_swapped_for_a_link_gets_nothing(self, placement, folder):
        """The image is not given a name where the link leads."""
        other, out = folder / "other", folder / "out"
        other.mkdir()
        sink = Directory(out, name="otter.png")
        await sink.prepare(placement, 1)
        writer = sink.open(placement)
        await writer.write(DATA)
        out.rename(folder / "moved")
        out.symlink_to(other)
        with pytest.raises(errors.StorageError) as caught:
            await writer.keep(await writer.finish())

        assert [DATA] == [image.data for image in caught.value.unsaved]
        assert [] == list(other.iterdir())

    async def test_a_symbolic_link_is_not_followed(self, placement, folder):
        """The link is a name that is taken; overwriting replaces it, not what it points at."""
        target = folder / "elsewhere"
        target.write_text("precious")
        out = folder / "out"
        out.mkdir()
        (out / "otter.png").symlink_to(target)
        with pytest.raises(errors.StorageError):
            await store(Directory(out, name="otter.png"), placement)
        await store(Directory(out, name="otter.png", exists="overwrite"), placement)

        assert "precious" == target.read_text()
        assert not (out / "otter.png").is_symlink()

    async def test_keeps_the_bytes_of_pieces_of_any_size(self, placement, folder):
        """Small pieces are gathered, and large ones are written as they are."""
        writer = Directory(folder).open(placement)
        start = 0
        for size in itertools.cycle((1, 100, 10_000, 3, 300_000)):
            await writer.write(DATA[start : start + size])
            start += size
            if start >= len(DATA):
                break
        image = await writer.keep(await writer.finish())

        assert DATA == image.path.read_bytes()

    async def test_refuses_a_folder_that_cannot_be(self, placement, folder):
        """Before anything is sent."""
        (folder / "file").touch()
        for path in (folder / "file", folder / "file" / "below"):
            with pytest.raises(errors.StorageError, match="cannot be written"):
                await Directory(path).prepare(placement, 1)

    async def test_an_image_goes_on_in_memory_if_the_disk_fails_half_way(self, placement, folder):
        """It is paid for: what had been written is read back, and the rest is added."""
        writer = Directory(folder).open(placement)
        await writer.write(DATA[:1_500_000])
        writer.handle = FullDisk(writer.handle)
        for start in range(1_500_000, len(DATA), 400_000):
            await writer.write(DATA[start : start + 400_000])
        with pytest.raises(errors.StorageError, match="No space left") as caught:
            await writer.keep(await writer.finish())

        assert [DATA] == [image.data for image in caught.value.unsaved]
        assert [] == list(folder.iterdir())

    async def test_an_image_stays_in_memory_if_the_folder_is_gone(self, placement, folder):
        """From the first byte on."""
        sink = Directory(folder / "out")
        await sink.prepare(placement, 1)
        writer = sink.open(placement)
        (folder / "out").rmdir()
        await writer.write(DATA)
        await writer.write(b"")
        with pytest.raises(errors.StorageError, match="No such file") as caught:
            await writer.keep(await writer.finish())

        assert [DATA] == [image.data for image in caught.value.unsaved]


class FullDisk:
    """A file whose disk is full."""

    def __init__(self, handle):
        self.handle = handle
        self.full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115, PTH123

    def fileno(self):
        return self.full.fileno()

    def close(self):
        self.full.close()
        self.handle.close()

    def __getattr__(self, name):
        return getattr(self.handle, name)


class TestNames:
    """A closed list of fields, and nothing leaves the folder."""

    @pytest.mark.parametrize(
        "name", ["", "a/b.png", "../x", "/abs", ".hidden", "{prompt}", "{index.__class__}", "{", "a}b", "nul\0", "a\\b"]
    )
    def test_other_templates_are_refused(self, name):
        """No `str.format`, no paths."""
        with pytest.raises(errors.ConfigurationError):
            Directory("out", name=name)

    @pytest.mark.parametrize(
        ("name", "media_type", "index", "expected"),
        [
            ("fox.png", "image/png", 0, "fox.png"),
            ("fox.png", "image/webp", 0, "fox.webp"),
            ("fox.jpeg", "image/jpeg", 0, "fox.jpg"),
            ("fox", "image/png", 0, "fox.png"),
            ("fox.png", "image/png", 2, "fox-3.png"),
            ("v1.5", "image/png", 0, "v1.5.png"),
            ("{index}.{ext}", "image/gif", 2, "3.gif"),
            ("{id}-{model}-{date}.{ext}", "image/png", 0, "0123456789ab-m-2026-11-23.png"),
            ("{slug}.{ext}", "image/png", 0, "a-sea-otter.png"),
        ],
    )
    def test_the_extension_follows_the_bytes(self, placement, name, media_type, index, expected):
        """The extension follows the bytes, and several images are numbered."""
        at = attrs.evolve(placement, index=index)

        assert expected == Directory("out", name=name).file_name(at, Media(media_type=media_type), "")

    @pytest.mark.parametrize(
        "prompt", ["../../etc/passwd", "/abs", "C:\\x", "\0", "\u202eabc", "图" * 300, "-rf", "...", "", "a" * 999]
    )
    def test_any_prompt_makes_a_harmless_name(self, placement, prompt):
        """One component of at most 255 bytes, that is no option and not hidden."""
        at = attrs.evolve(placement, prompt=prompt)
        name = Directory("out", name="{slug}.{ext}").file_name(at, Media(media_type="image/png"), "")

        assert name.isprintable()
        assert not set(name) & set("/\\\0")
        assert not name.startswith((".", "-"))
        assert len(name.encode()) <= 255


class TestSave:
    """`Image.save`."""

    image = Image(data=png(), media_type="image/png")

    async def test_writes_the_image_whole(self, folder):
        """Saving writes the whole image and returns its path."""
        path = await self.image.save(folder / "otter.png")

        assert self.image.data == path.read_bytes()
        assert ["otter.png"] == [entry.name for entry in folder.iterdir()]

    async def test_refuses_to_overwrite_unless_asked(self, folder):
        """The error holds the image."""
        path = folder / "otter.png"
        path.write_text("mine")
        with pytest.raises(errors.StorageError) as caught:
            await self.image.save(path)

        assert (self.image,) == caught.value.images
        assert "mine" == path.read_text()
        await self.image.save(path, overwrite=True)
        assert self.image.data == path.read_bytes()

    async def test_refuses_the_extension_of_another_format(self, folder):
        """Any other extension is the caller's business."""
        with pytest.raises(errors.InvalidRequestError, match="image/png"):
            await self.image.save(folder / "otter.jpeg")
        await self.image.save(folder / "otter.data")

    async def test_says_why_it_cannot(self, folder):
        """The error says why saving failed, and no file is left."""
        with pytest.raises(errors.StorageError, match="No such file"):
            await self.image.save(folder / "none" / "otter.png")


def test_a_file_system_without_links_still_clobbers_nothing(folder, monkeypatch):
    """The check before the rename is the best there is."""

    def no_links(*_args, **_options):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    part, final = folder / "part", folder / "final"
    part.write_text("new")
    final.write_text("old")
    with pytest.raises(FileExistsError):
        place(part, final, overwrite=False)
    final.unlink()
    place(part, final, overwrite=False)

    assert "new" == final.read_text()
    assert isinstance(SavedImage(path=final, size=3), SavedImage)
