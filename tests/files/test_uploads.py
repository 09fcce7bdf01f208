"""Sources that change, end early or cannot be read again."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fakes import FakeClock, until
from leaks import open_descriptors
from pictures import png
from PIL import Image as Pillow

from burncloud_images import AsyncImagesClient, GenerationRequest, Limits, errors
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.files.image_files import read_pieces

pytestmark = pytest.mark.ways("tls", "connect")

SMALL = {"model": "gpt-image-2", "size": "1024x640"}
BIG = png(pad=3_000_000)


async def edit(emulator, source, **options):
    async with AsyncImagesClient(emulator.api_key, emulator.base_url, clock=FakeClock(), **options) as client:
        return await client.edit(source, "a beret", **SMALL)


class TestChanges:
    """A source has to stay as it was looked at."""

    @pytest.mark.parametrize("change", ["touched", "replaced", "gone", "shrunk"])
    async def test_a_file_that_changes_between_attempts_is_an_error(self, tmp_path, change):
        """What arrives would not be what was checked; nothing was billed."""
        path = tmp_path / "photo.png"
        path.write_bytes(BIG)

        def spoil(attempt):
            if attempt.number > 1:
                return
            if change == "touched":
                os.utime(path, ns=(1, 1))
            elif change == "replaced":
                other = tmp_path / "other.png"
                other.write_bytes(BIG)
                other.replace(path)
            elif change == "gone":
                path.unlink()
            else:
                os.truncate(path, 100)

        async with Emulator(faults=[Fault(status=503)]) as emulator:
            with pytest.raises(errors.InputChangedError) as caught:
                await edit(emulator, path, on_attempt=spoil)

        assert 0 == emulator.ledger.billed_requests
        assert "Nothing was billed" in str(caught.value)

    async def test_a_handle_that_shrinks_is_an_error(self):
        """The connection is cut, so that the server cannot take half a file for a whole one."""

        class Shrinking(io.BytesIO):
            reads = 0

            def read(self, size=-1):
                self.reads += size > 100_000
                return super().read(size) if self.reads < 2 else b""

        async with Emulator() as emulator:
            with pytest.raises(errors.InputChangedError, match=r"^an open file ended "):
                await edit(emulator, Shrinking(BIG))

        (request,) = emulator.ledger.requests
        assert not request.complete
        assert not request.billed

    async def test_the_error_names_an_open_file(self, tmp_path):
        """A file object knows its path, and the message has it."""
        path = tmp_path / "otter.png"
        path.write_bytes(BIG)

        async with Emulator(faults=[Fault(status=503)]) as emulator:
            with path.open("r+b") as handle, pytest.raises(errors.InputChangedError, match=f"^{path} ended "):
                await edit(emulator, handle, on_attempt=lambda _: handle.truncate(1000))

    async def test_a_handle_that_fails_while_it_is_read_is_an_error(self):
        """An error of a file object while it is read becomes one of ours, whatever its class."""

        class Failing(io.BytesIO):
            reads = 0

            def read(self, size=-1):
                self.reads += size > 100_000
                if self.reads > 1:
                    raise RuntimeError("the tape broke")
                return super().read(size)

        async with Emulator() as emulator:
            with pytest.raises(errors.InputChangedError, match="the tape broke"):
                await edit(emulator, Failing(BIG))

        assert 0 == emulator.ledger.billed_requests

    async def test_an_opener_that_opens_something_else_is_an_error(self):
        """An opener that gives another size at the next attempt is an error."""
        opened = []

        def open_it():
            opened.append(io.BytesIO(BIG if len(opened) < 2 else BIG[:-9]))
            return opened[-1]

        async with Emulator(faults=[Fault(status=503)]) as emulator:
            with pytest.raises(errors.InputChangedError, match="changed its size"):
                await edit(emulator, open_it)

        assert all(handle.closed for handle in opened)

    async def test_an_opener_that_fails_later_is_an_error(self):
        """An opener that fails at a later attempt is an error, and nothing is billed."""
        opened = []

        def open_it():
            if opened:
                raise FileNotFoundError(2, "No such file or directory")
            opened.append(io.BytesIO(BIG))
            return opened[-1]

        async with Emulator() as emulator:
            with pytest.raises(errors.InputChangedError):
                await edit(emulator, open_it)

        assert 0 == emulator.ledger.billed_requests


class TestKinds:
    """Sources that need a word of their own."""

    async def test_a_pillow_image_is_sent_as_png(self):
        """A Pillow image of any mode is sent as PNG."""
        async with Emulator() as emulator:
            await edit(emulator, Pillow.new("CMYK", (16, 16)).convert("RGBA"))

        (part,) = emulator.ledger.requests[0].parts
        assert ("image.png", "image/png") == (part.filename, part.content_type)

    async def test_a_pillow_image_that_nobody_can_show_is_refused(self):
        """Numbers that are not colours are refused, with what to do."""
        async with Emulator() as emulator:
            with pytest.raises(errors.InvalidRequestError, match="convert it to L"):
                await edit(emulator, Pillow.new("F", (16, 16)))

        assert () == emulator.ledger.requests

    @pytest.mark.parametrize(
        ("kind", "name", "content_type"),
        [("JPEG", "image.jpg", "image/jpeg"), ("WEBP", "image.webp", "image/webp"), ("PNG", "image.png", "image/png")],
    )
    async def test_name_and_type_follow_the_bytes(self, tmp_path, kind, name, content_type):
        """Not the name of the file."""
        path = tmp_path / 'my "pho\u200bto".gif'
        Pillow.new("RGB", (16, 16)).save(path, kind)
        async with Emulator() as emulator:
            await edit(emulator, path)

        (part,) = emulator.ledger.requests[0].parts
        assert (name, content_type) == (part.filename, part.content_type)

    async def test_a_data_url_is_bytes(self):
        """A data URL in base64 is read as bytes."""
        import base64

        async with Emulator() as emulator:
            await edit(emulator, "data:image/png;base64," + base64.b64encode(png()).decode())

        assert len(png()) == emulator.ledger.requests[0].parts[0].size

    async def test_an_unseekable_file_is_kept_while_it_is_read(self, tmp_path):
        """A pipe, opened by the caller."""
        reader, writer = os.pipe()
        os.write(writer, png())
        os.close(writer)
        async with Emulator(faults=[Fault(status=503)]) as emulator:
            with os.fdopen(reader, "rb") as pipe:
                await edit(emulator, pipe)

        first, second = emulator.ledger.requests
        assert first.parts == second.parts

    async def test_a_closed_file_is_refused(self):
        """Before anything is sent."""
        handle = io.BytesIO(png())
        handle.close()
        async with Emulator() as emulator:
            with pytest.raises(errors.InvalidRequestError):
                await edit(emulator, handle)

        assert () == emulator.ledger.requests

    async def test_a_stream_reader_can_be_sent(self):
        """It has `read` and no `seek`."""
        import asyncio

        reader = asyncio.StreamReader()
        reader.feed_data(png())
        reader.feed_eof()
        async with Emulator() as emulator:
            await edit(emulator, reader)

        assert len(png()) == emulator.ledger.requests[0].parts[0].size


class TestSpooling:
    """What can be read once is kept while it is first read, or refused."""

    async def test_can_be_refused(self):
        """Before anything is sent, and without reading it."""
        read = []

        async def once():
            read.append(1)
            yield png()

        async with Emulator() as emulator:
            with pytest.raises(errors.InvalidRequestError, match=r"read only once, and Limits\(spool=0\)"):
                await edit(emulator, once(), limits=Limits(spool=0))
            await edit(emulator, png(), limits=Limits(spool=0))

        assert [] == read
        assert 1 == len(emulator.ledger.requests)

    @pytest.mark.parametrize("validation", ["warn", "off"])
    async def test_can_be_limited(self, validation):
        """A source that can be read once is refused past `Limits.spool`, whatever `validation` says."""

        async def once():
            while True:
                yield BIG

        async with Emulator() as emulator:
            with pytest.raises(errors.InvalidRequestError, match="it is larger than 5 MiB"):
                await edit(emulator, once(), limits=Limits(spool=5 * 1024 * 1024), validation=validation)

        assert () == emulator.ledger.requests

    async def test_needs_no_name_on_the_disk(self, tmp_path, monkeypatch):
        """A large source goes to a file that nobody else can find, and that is gone with its descriptor."""
        seen = []
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        large = png(pad=9 * 1024 * 1024)

        async def once():
            for start in range(0, len(large), 1024 * 1024):
                yield large[start : start + 1024 * 1024]
            seen.append(list(tmp_path.iterdir()))
            links = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
            seen.append([link for link in links if str(tmp_path) in link])

        before = list(tmp_path.iterdir())
        async with Emulator(faults=[Fault(status=503)]) as emulator:
            await edit(emulator, once())

        first, second = emulator.ledger.requests
        assert first.parts == second.parts
        assert len(large) == second.parts[0].size
        assert before == seen[0]
        assert 1 == len(seen[1])
        assert seen[1][0].endswith("(deleted)")
        assert before == list(tmp_path.iterdir())


async def test_an_opener_may_open_at_a_place_of_its_own():
    """Every attempt begins there."""

    def open_it():
        handle = io.BytesIO(b"a header" + png())
        handle.seek(8)
        return handle

    async with Emulator(faults=[Fault(status=503)]) as emulator:
        await edit(emulator, open_it)

    assert [len(png())] * 2 == [request.parts[0].size for request in emulator.ledger.requests]


async def test_nothing_of_a_generation_is_uploaded():
    """It has no images."""
    assert () == GenerationRequest("otter").images()


@pytest.mark.only("plain", reason="nothing is sent")
async def test_a_file_that_is_being_opened_when_nobody_wants_it_is_closed(tmp_path):
    """A thread that opens a file cannot be stopped, so what it opens is waited for."""
    path, opened = tmp_path / "fifo", []
    os.mkfifo(path)  # opening it lasts until somebody writes to it
    with ThreadPoolExecutor(1) as executor:
        reading = asyncio.create_task(anext(read_pieces(path, (0, 0, 0, 0), executor)))
        await until(lambda: executor._work_queue.empty() and executor._threads)
        await asyncio.sleep(0.01)
        reading.cancel()
        await asyncio.sleep(0)
        opened.append(path.open("wb"))
        with pytest.raises(asyncio.CancelledError):
            await reading
    opened[0].close()
    gc.collect()

    assert [] == [target for target in open_descriptors().values() if target == str(path)]


@pytest.mark.only("plain", reason="nothing is sent")
async def test_an_upload_that_finds_no_folder_for_temporary_files(monkeypatch):
    """A source that can be read once and is not small needs one; the error says so, and nothing is sent."""

    def none():
        raise FileNotFoundError(2, "No usable temporary directory found")

    async def pieces():
        yield png()
        for _ in range(20):
            yield bytes(1024 * 1024)

    monkeypatch.setattr(tempfile, "gettempdir", none)
    async with Emulator() as emulator:
        with pytest.raises(errors.InvalidRequestError, match="No usable temporary directory found"):
            await edit(emulator, pieces())

        assert () == tuple(emulator.ledger.requests)
