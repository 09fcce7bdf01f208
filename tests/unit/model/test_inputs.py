"""Whatever callers hand over becomes a value that says where the bytes are, or is refused with a reason."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from burncloud_images.errors import InvalidRequestError
from burncloud_images.model.inputs import (
    BytesSource,
    CallableSource,
    FileID,
    FileObjectSource,
    ImageURL,
    PathSource,
    PillowSource,
    StreamSource,
    to_source,
    to_sources,
)

SECRET = "c2VjcmV0IGJ5dGVz"


class Pipe(io.RawIOBase):
    """A file that cannot be rewound."""

    def readable(self) -> bool:
        return True


class Socket:
    """Something with `read` alone."""

    def read(self, size: int = -1) -> bytes:
        return b""


class AsyncFile:
    """What aiofiles opens: its methods are awaited."""

    async def read(self, size: int = -1) -> bytes:
        return b""

    async def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    async def tell(self) -> int:
        return 0

    async def seekable(self) -> bool:
        return True


class Handle:
    """A file that does not say whether it can be rewound, and can."""

    def read(self, size: int = -1) -> bytes:
        return b""

    def seek(self, offset: int) -> int:
        return 0

    def tell(self) -> int:
        return 0


class Folder:
    """A path of somebody else's."""

    def __init__(self, path: str | bytes) -> None:
        self.path = path

    def __fspath__(self) -> str | bytes:
        return self.path


async def chunks():
    yield b""


@pytest.mark.parametrize("value", ["otter.png", Path("otter.png"), Folder("otter.png"), Folder(b"otter.png")])
def test_a_path_is_a_path(value):
    """As text or as an object, whatever its kind."""
    assert PathSource(Path("otter.png")) == to_source(value)


@pytest.mark.parametrize("value", [b"otter", bytearray(b"otter"), memoryview(b"otter"), memoryview(b"-otter-")[1:6]])
def test_bytes_are_copied(value):
    """A buffer that changes later does not change the request."""
    source = to_source(value)

    assert BytesSource(b"otter") == source
    assert bytes is type(source.data)


@given(st.binary(max_size=60), st.sampled_from(["data:image/png;base64,", "data:;base64,", "DATA:x/y;q=1;BASE64,"]))
def test_a_data_url_is_its_bytes(data, head):
    """RFC 2397: the type is not looked at, the bytes say it."""
    assert BytesSource(data) == to_source(head + base64.b64encode(data).decode())


@pytest.mark.parametrize(
    "value", [io.BytesIO(b"x"), Handle(), AsyncFile()], ids=["sync", "without seekable", "awaited"]
)
def test_what_can_be_rewound_is_a_file(value):
    """It is read again for another attempt."""
    assert FileObjectSource(value) == to_source(value)


def test_what_cannot_be_rewound_is_a_stream():
    """A pipe, a socket, an async iterator: they are read once."""
    for value in (Pipe(), Socket(), chunks()):
        assert StreamSource(value) == to_source(value)


def test_a_callable_opens():
    """It is not called yet."""

    def opener():
        raise AssertionError

    assert CallableSource(opener) == to_source(opener)


def test_a_pillow_image_is_a_picture(tmp_path):
    """A Pillow image, also one of a file format's own class, is a picture and not a callable."""
    picture = Image.new("RGB", (2, 2))
    picture.save(tmp_path / "otter.png")
    with Image.open(tmp_path / "otter.png") as opened:
        assert [PillowSource(picture), PillowSource(opened)] == [to_source(picture), to_source(opened)]


@pytest.mark.parametrize("source", [PathSource(Path("x")), BytesSource(b""), ImageURL("https://a/b"), FileID("file-1")])
def test_a_source_is_itself(source):
    """It is not wrapped again."""
    assert source is to_source(source)


REFUSED = {
    "data:text/plain,hello": "has to hold base64",
    "DATA:text/plain,hello": "has to hold base64",
    "data:image/png;base64,AA": "not base64",
    "data:image/png;base64,AA=A": "not base64",
    "data:image/png;base64,AA AA": "not base64",
    "https://images.example/otter.png": "ImageURL",
    "FTP+x://images.example/otter.png": "ImageURL",
    "": "names no file",
    "otter\0.png": "names no file",
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.items())
def test_text_that_is_no_path_is_refused(text, reason):
    """The reason says what to write instead."""
    with pytest.raises(InvalidRequestError, match=reason):
        to_source(text)


@pytest.mark.parametrize("value", [Path("a\0b"), Folder("a\0b"), Folder("")])
def test_a_path_object_that_names_no_file_is_refused(value):
    """As its text would be."""
    with pytest.raises(InvalidRequestError, match="names no file"):
        to_source(value)


@pytest.mark.parametrize("value", [7, 1.5, object(), {"image": b""}, [b"x"]])
def test_anything_else_is_refused(value):
    """The reason names its type."""
    with pytest.raises(InvalidRequestError, match=f"{type(value).__name__} cannot be read as an image"):
        to_source(value)


def test_a_closed_file_is_refused():
    """It is noticed before anything is sent."""
    handle = io.BytesIO(b"x")
    handle.close()
    with pytest.raises(InvalidRequestError, match="the file is closed"):
        to_source(handle)


def test_one_image_or_several():
    """A list and a tuple are several, anything else is one."""
    one, two = BytesSource(b"1"), PathSource(Path("2"))

    assert (one,) == to_sources(b"1") == to_sources([b"1"])
    assert (one, two) == to_sources([b"1", "2"]) == to_sources((one, two))
    assert () == to_sources([])


def test_no_source_shows_what_is_secret():
    """Neither bytes, nor the query of a signed URL, nor the image within a `data:` URL."""
    sources = [
        BytesSource(SECRET.encode()),
        ImageURL(f"https://images.example/otter.png?signature={SECRET}"),
        ImageURL(f"data:image/png;base64,{SECRET}"),
        ImageURL(f"DATA:image/png;base64,{SECRET}?{SECRET}"),
    ]

    assert [] == [repr(source) for source in sources if SECRET in repr(source)]
    assert "ImageURL(url='data:image/png;base64,…')" == repr(sources[2])


def test_a_refusal_does_not_show_the_data():
    """A `data:` URL that is damaged is not quoted."""
    with pytest.raises(InvalidRequestError) as caught:
        to_source(f"data:image/png;base64,{SECRET}!")

    assert SECRET not in f"{caught.value!r} {caught.value}"
    assert None is caught.value.__cause__


def test_file_names_are_those_of_the_system():
    """A name that is no UTF-8 is carried as the system's own functions carry it."""
    name = os.fsencode("otter") + b"\xff.png"

    assert PathSource(Path(os.fsdecode(name))) == to_source(Folder(name))
