"""Where images go: whole files or none, under names that stay in their folder."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import stat
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
from pictures import png

from burncloud_images import Directory, Image, Memory, SavedImage, disk, errors
from burncloud_images.disk import place
from burncloud_images.files import sinks
from burncloud_images.files.sinks import ImageContext, to_id
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


@pytest.fixture(autouse=True)
def last_resort(tmp_path, monkeypatch):
    """Return the folder for images that cannot be stored where they should be."""
    path = tmp_path / "last resort"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


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

    @pytest.mark.sampled(5)
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
        """The unfinished file is hidden and has the mode that it will keep, and discarding removes it."""
        writer = Directory(folder).open(placement)
        await writer.write(DATA)
        await writer.finish()
        (part,) = folder.iterdir()

        umask = os.umask(0)
        os.umask(umask)
        assert part.name.startswith(".")
        assert 0o666 & ~umask == stat.S_IMODE(part.stat().st_mode)
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

    async def test_an_image_that_only_closing_refuses_stays_in_memory(self, placement, folder, monkeypatch):
        """File systems over a network may say when a file is closed that there was no room for it."""

        def full(_descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "dup", full)
        with pytest.raises(errors.StorageError, match="No space left") as caught:
            await store(Directory(folder, name="otter.png"), placement)

        assert [DATA] == [image.data for image in caught.value.unsaved]
        assert [] == list(folder.iterdir())

    async def test_a_disk_that_can_neither_be_written_nor_read_is_told(self, placement, folder, monkeypatch):
        """A disk that goes away while an image is written is a storage error, as any other failure of it."""

        def gone(*_):
            raise OSError(116, "Stale file handle")

        writer = Directory(folder, name="otter.png").open(placement)
        await writer.write(DATA)
        await writer.flush(writer.write_batch)
        monkeypatch.setattr(os, "writev", gone)
        monkeypatch.setattr(type(writer), "read_file", gone)
        with pytest.raises(errors.StorageError, match="Stale file handle"):
            await writer.write(DATA)
        await writer.discard()

    async def test_an_image_is_kept_where_modes_cannot_be_changed(self, placement, folder, monkeypatch):
        """A file system that refuses to change modes keeps the image."""

        def refuse(*_):
            raise PermissionError(1, "Operation not permitted")

        for change in ("chmod", "fchmod"):
            monkeypatch.setattr(os, change, refuse)
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

    @pytest.mark.parametrize("kind", ["file", "pipe", "loop", "dangling", "device"])
    async def test_refuses_what_is_not_a_folder(self, placement, folder, kind):
        """One clear sentence, before anything is sent."""
        path = folder / kind
        match kind:
            case "file":
                path.touch()
            case "pipe":
                os.mkfifo(path)
            case "loop":
                path.symlink_to(path)
            case "dangling":
                path.symlink_to(folder / "nowhere")
            case _:
                path = Path("/dev/null")
        with pytest.raises(errors.StorageError, match="cannot be written: it is not a folder"):
            await Directory(path).prepare(placement, 1)

    @pytest.mark.parametrize(
        "code",
        [
            *(errno.EROFS, errno.EDQUOT, errno.ENOSPC, errno.EACCES, errno.EPERM, errno.ESTALE, errno.EIO),
            *(errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ENOTCONN, errno.EMFILE),
        ],
    )
    async def test_refuses_a_folder_that_takes_no_files(self, placement, folder, monkeypatch, code):
        """A file is made there on trial, as rights alone do not tell."""

        def refuse(*_args, **_options):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(errors.StorageError, match=f"cannot be written: {re.escape(os.strerror(code))}"):
            await Directory(folder).prepare(placement, 1)

    async def test_refuses_a_name_that_the_encoding_does_not_have(self, placement, folder, monkeypatch):
        """In a locale of ASCII, file names hold no Chinese; the sentence says what to set."""

        def refuse(path, *args, opening=os.open, **options):
            os.fspath(path).encode("ascii")
            return opening(path, *args, **options)

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(errors.StorageError, match="PYTHONUTF8=1"):
            await Directory(folder, name="{slug}.{ext}").prepare(attrs.evolve(placement, prompt="水獭"), 1)

    @pytest.mark.parametrize(("free", "count", "fits"), [(0, 1, False), (2, 1, True), (2, 3, False), (None, 9, True)])
    async def test_refuses_a_folder_without_room(self, placement, folder, monkeypatch, free, count, fits):
        """Less than a mebibyte for each image is too little; some file systems do not say how much there is."""
        blocks = (0, 0) if free is None else (1000, free)
        status = os.statvfs_result((4096, 1024 * 1024, blocks[0], blocks[1], blocks[1], 0, 0, 0, 0, 255))
        monkeypatch.setattr(os, "statvfs", lambda _: status)
        if fits:
            await Directory(folder).prepare(placement, count)
        else:
            with pytest.raises(errors.StorageError, match="bytes are free"):
                await Directory(folder).prepare(placement, count)

    async def test_a_look_leaves_nothing(self, placement, folder):
        """The file on trial is removed."""
        await Directory(folder, name="{slug}-{sha8}-{model}.{ext}").prepare(placement, 3)

        assert [] == list(folder.iterdir())

    @pytest.mark.parametrize("name", ["otter.png", "{id}.{ext}", "{id}-{index}.{ext}"])
    async def test_a_taken_name_is_found_before_anything_is_sent(self, placement, folder, name):
        """The id is known, too: a caller may use a key of its own twice."""
        sink = Directory(folder, name=name)
        await store(sink, placement)
        with pytest.raises(errors.StorageError, match="exists already, so nothing was sent"):
            await sink.prepare(placement, 1)

    @pytest.mark.sampled(5)
    @pytest.mark.parametrize(
        "code",
        [
            *(errno.EROFS, errno.EDQUOT, errno.ENOSPC, errno.EACCES, errno.ESTALE, errno.EIO, errno.EILSEQ),
            *(errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.ELOOP),
        ],
    )
    @pytest.mark.parametrize("call", ["place", "write_pieces", "examine_handle", "sync_file"])
    async def test_an_image_that_cannot_be_stored_is_saved_elsewhere(
        self, placement, folder, last_resort, monkeypatch, call, code
    ):
        """Whatever fails, and however: the error holds the image and names the file that it is in."""

        def refuse(*_args, **_options):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(sinks, call, refuse)
        with pytest.raises(errors.StorageError, match="saved as") as caught:
            await store(Directory(folder, durable=True), placement)

        assert [DATA] == [image.data for image in caught.value.unsaved]
        (kept,) = last_resort.iterdir()
        assert DATA == kept.read_bytes()
        assert {0: kept} == caught.value.elsewhere
        assert str(kept) in str(caught.value)
        assert code == caught.value.errno

    async def test_a_name_that_turns_out_not_to_fit_the_encoding(self, placement, folder, last_resort, monkeypatch):
        """An error that is not of the system is one of storage all the same."""

        def refuse(*_args, **_options):
            "水獭".encode("ascii")

        monkeypatch.setattr(sinks, "place", refuse)
        with pytest.raises(errors.StorageError, match="PYTHONUTF8=1; it was saved as"):
            await store(Directory(folder), placement)

        assert [DATA] == [kept.read_bytes() for kept in last_resort.iterdir()]

    @pytest.mark.parametrize("code", sorted(disk.UNSUPPORTED))
    async def test_a_file_system_that_syncs_nothing_keeps_images(self, placement, folder, monkeypatch, code):
        """Neither files nor folders need to be synced for an image to be kept."""

        def refuse(_descriptor):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "fsync", refuse)
        image = await store(Directory(folder, durable=True), placement)

        assert DATA == image.path.read_bytes()

    @pytest.mark.parametrize("key", ["order/42", "../../etc/passwd", "..", "/", "a:b*c?", ".hidden", "-rf", "~!@#$%^&"])
    async def test_any_key_makes_a_harmless_name(self, placement, folder, key):
        """A key of the caller's may hold what no file name can."""
        image = await store(Directory(folder), attrs.evolve(placement, id=to_id(key)))

        assert folder == image.path.parent
        assert not image.path.name.startswith((".", "-"))

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

    @pytest.mark.parametrize("name", ["otter.png", "otter", "a" * 251 + ".png", "水" * 83 + ".png", "🦦" * 62 + ".png"])
    async def test_a_taken_name_gets_a_number(self, folder, name):
        """Nothing is overwritten or lost, also where the name is as long as a name can be; a warning says it."""
        path = folder / name
        path.write_text("mine")
        with pytest.warns(errors.ImagesWarning, match="exists already, so the image was saved as"):
            second = await self.image.save(path)
        with pytest.warns(errors.ImagesWarning):
            third = await self.image.save(path)

        assert {second, third} == {*folder.iterdir()} - {path}
        assert [self.image.data] * 2 == [second.read_bytes(), third.read_bytes()]
        assert "mine" == path.read_text()

    async def test_overwrites_if_asked(self, folder):
        """The file that is there is replaced."""
        path = folder / "otter.png"
        path.write_text("mine")

        assert path == await self.image.save(path, overwrite=True)
        assert self.image.data == path.read_bytes()

    async def test_a_taken_name_costs_nothing_where_warnings_are_errors(self, folder):
        """The warning is shown and not raised."""
        path = folder / "otter.png"
        path.write_text("mine")
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("error")
            saved = await self.image.save(path)

        assert folder / "otter-2.png" == saved
        assert 1 == len(shown)

    async def test_refuses_the_extension_of_another_format(self, folder, last_resort):
        """The image is in a file that the error names; any other extension is the caller's business."""
        with pytest.raises(errors.InvalidRequestError, match=r"image/png.*saved as") as caught:
            await self.image.save(folder / "otter.jpeg")
        await self.image.save(folder / "otter.data")

        assert (self.image,) == caught.value.images
        assert errors.Billing.YES is caught.value.billed
        (kept,) = last_resort.iterdir()
        assert str(kept) in str(caught.value)
        assert self.image.data == kept.read_bytes()

    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("none/otter.png", "No such file"),
            ("file/otter.png", "Not a directory"),
            ("loop/otter.png", "symbolic links"),
            ("folder", "not a regular file"),
            ("pipe", "not a regular file"),
            ("/dev/null", "not a regular file"),
            ("a" * 300 + ".png", "name too long"),
            ("nul\0.png", "null"),
        ],
    )
    async def test_an_image_that_cannot_be_saved_there_is_saved_elsewhere(
        self, folder, last_resort, name, reason, overwrite
    ):
        """The error says why, holds the image, and names the file, which only its owner can read."""
        (folder / "file").touch()
        (folder / "loop").symlink_to(folder / "loop")
        (folder / "folder").mkdir()
        os.mkfifo(folder / "pipe")
        with pytest.raises(errors.StorageError, match=f"(?i){reason}.*saved as") as caught:
            await self.image.save(folder / name, overwrite=overwrite)

        assert (self.image,) == caught.value.images
        (kept,) = last_resort.iterdir()
        assert {0: kept} == caught.value.elsewhere
        assert self.image.data == kept.read_bytes()
        assert 0o600 == stat.S_IMODE(kept.stat().st_mode)
        assert {"file", "loop", "folder", "pipe"} == {entry.name for entry in folder.iterdir()}

    async def test_an_image_that_no_folder_takes_is_on_the_error(self, folder, monkeypatch):
        """The error holds the image."""
        monkeypatch.setattr(disk, "find_folders", lambda: iter([folder / "none"]))
        with pytest.raises(errors.StorageError, match="No such file or directory\\. ") as caught:
            await self.image.save(folder / "none" / "otter.png")

        assert (self.image,) == caught.value.images
        assert {} == caught.value.elsewhere


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
