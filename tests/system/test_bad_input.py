"""Bad input: one clear sentence, a typed error, and nothing is sent."""

from __future__ import annotations

import base64
import io
import os
import socket

import pytest
from pictures import png
from PIL import Image as Pillow

from burncloud_images import AsyncImagesClient, EditRequest, GenerationRequest, errors

pytestmark = pytest.mark.ways("tls")

SMALL = {"model": "gpt-image-2", "size": "1024x640"}


async def endless():
    """Give zeros without end."""
    while True:
        yield bytes(1024 * 1024)


async def text():
    """Give what is no bytes."""
    yield "text"


def fail():
    """Fail, as opening a file does."""
    raise FileNotFoundError(2, "No such file or directory")


def written(path, content):
    """Return a file that holds *content*."""
    path.write_bytes(content)
    return path


def piped(path):
    """Return a pipe."""
    os.mkfifo(path)
    return path


def stretched(path, size):
    """Return a picture in a file of *size* bytes."""
    os.truncate(written(path, png()), size)
    return path


BAD_IMAGES = {
    "missing": lambda folder: folder / "missing.png",
    "directory": lambda folder: folder,
    "empty": lambda folder: written(folder / "empty.png", b""),
    "empty bytes": lambda _: b"",
    "text": lambda folder: written(folder / "text.png", b"no image"),
    "pipe": lambda folder: piped(folder / "pipe.png"),
    "device": lambda _: "/dev/zero",
    "svg": lambda folder: written(folder / "unreadable.svg", b"<svg xmlns='http://www.w3.org/2000/svg'></svg>"),
    "60 MB": lambda folder: stretched(folder / "huge.png", 60_000_000),
    "60 MB bytes": lambda _: png() + bytes(60_000_000),
    "endless": lambda _: endless(),
    "iterator of text": lambda _: text(),
    "text handle": lambda _: io.StringIO("text"),
    "opener that fails": lambda _: fail,
    "opener of nothing": lambda _: lambda: 7,
}
"""What cannot be uploaded, by what is wrong with it; each makes it in a folder."""


@pytest.fixture
def bad_image(tmp_path):
    """Return what makes an image of a kind."""
    return lambda kind: BAD_IMAGES[kind](tmp_path)


SENTENCES = {
    "missing": "there is no such file",
    "directory": "is a directory",
    "empty": "it is empty",
    "empty bytes": "it is empty",
    "text": "not a PNG, JPEG, WebP or GIF",
    "pipe": "not a regular file",
    "device": "not a regular file",
    "svg": "not a PNG, JPEG, WebP or GIF",
    "60 MB": "more than 50 MiB",
    "60 MB bytes": "more than 50 MiB",
    "endless": "is larger than 50 MiB",
    "iterator of text": "gave str instead of bytes",
    "text handle": "not a binary file",
    "opener that fails": "no such file",
    "opener of nothing": "not int",
}


class TestImages:
    """What cannot be read or is no image raises under any rules; what is surely wasted raises but for `off`."""

    @pytest.mark.parametrize("kind", SENTENCES)
    async def test_is_refused_before_anything_is_sent(self, set_up, bad_image, kind):
        """The input is refused before anything is sent, with one sentence that says why."""
        bench = await set_up()
        with pytest.raises(errors.InvalidRequestError, match=SENTENCES[kind]) as caught:
            await bench.client.edit(bad_image(kind), "a beret", **SMALL)

        assert 0 == bench.posts
        assert 1 == len(caught.value.violations)
        assert "Nothing was sent" in str(caught.value)

    @pytest.mark.parametrize("kind", ["missing", "empty", "text"])
    async def test_is_refused_with_rules_off_too(self, set_up, bad_image, kind):
        """Bytes that are not an image are refused even with `validation="off"`."""
        bench = await set_up(validation="off")
        with pytest.raises(errors.InvalidRequestError):
            await bench.client.edit(bad_image(kind), "a beret", **SMALL)

        assert 0 == bench.posts

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    @pytest.mark.parametrize("form", ["bytes", "path", "file", "pieces", "opener", "data URL"])
    async def test_cut_off_picture_is_told_before_it_is_sent(self, set_up, tmp_path, kind, form):
        """Half a picture is warned of, and refused where rules are strict, wherever its bytes are."""
        buffer = io.BytesIO()
        Pillow.effect_noise((64, 64), 90).convert("RGB").save(buffer, kind)
        half = buffer.getvalue()[: len(buffer.getvalue()) // 2]
        path = tmp_path / "half.jpg"
        path.write_bytes(half)

        async def pieces():
            yield half

        forms = {
            "bytes": lambda: half,
            "path": lambda: path,
            "file": lambda: io.BytesIO(half),
            "pieces": pieces,
            "opener": lambda: lambda: io.BytesIO(half),
            "data URL": lambda: f"data:image/png;base64,{base64.b64encode(half).decode()}",
        }
        bench = await set_up(validation="strict")
        with pytest.raises(errors.InvalidRequestError, match="cut off"):
            await bench.client.edit(forms[form](), "a beret", **SMALL)
        with pytest.warns(errors.ImagesWarning, match="cut off"), pytest.raises(errors.BadRequestError):
            await bench.client.with_options(validation="warn").edit(forms[form](), "a beret", **SMALL)

        assert 1 == bench.posts

    @pytest.mark.parametrize("orientation", [5, 6, 7, 8])
    async def test_upright_mask_fits_a_photo_that_lies(self, set_up, orientation):
        """A mask that is drawn on what one sees is sent."""
        exif = Pillow.Exif()
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        Pillow.new("RGB", (64, 32)).save(buffer, "JPEG", exif=exif)
        bench = await set_up(validation="strict")

        await bench.client.edit(buffer.getvalue(), "a beret", mask=png(32, 64), **SMALL)

        assert 1 == bench.posts

    async def test_all_reasons_are_told_at_once(self, set_up, bad_image):
        """The error lists all reasons at once, with the number of the image."""
        bench = await set_up()
        images = [png(), bad_image("missing"), bad_image("empty")]
        with pytest.raises(errors.InvalidRequestError) as caught:
            await bench.client.edit(images, "a beret", mask=bad_image("text"), **SMALL)

        assert ["image", "image", "mask"] == [violation.field for violation in caught.value.violations]
        assert "number 2 of 3" in str(caught.value)

    @pytest.mark.parametrize("validation", ["warn", "strict"])
    async def test_a_mask_of_another_size_is_refused(self, set_up, validation):
        """A mask of another size is refused, as the upload would be wasted."""
        bench = await set_up(validation=validation)
        with pytest.raises(errors.InvalidRequestError, match="8x8 and the image is 16x16"):
            await bench.client.edit(png(), "a beret", mask=png(8, 8), **SMALL)

        assert 0 == bench.posts

    @pytest.mark.parametrize("text", ["http://example.com/a.png", "https://example.com/a.png", "ftp://x/a", "", "a\0b"])
    def test_an_address_is_no_path(self, text):
        """The constructor refuses a URL as a path and says what to write instead."""
        with pytest.raises(errors.InvalidRequestError):
            EditRequest(text, "a beret")


class TestRules:
    """`warn`, `strict` and `off`."""

    async def test_strict_raises_with_all_violations(self, set_up):
        """With `validation="strict"` the error has all violations."""
        bench = await set_up(validation="strict")
        with pytest.raises(errors.InvalidRequestError) as caught:
            await bench.client.generate("x" * 40_000, model="gpt-image-2", size="17x17", quality="hd", n=11)

        assert {"prompt", "size", "quality", "n"} == {violation.field for violation in caught.value.violations}
        assert all(violation.source for violation in caught.value.violations)
        assert 0 == bench.posts

    async def test_warn_warns_and_sends(self, set_up):
        """With `validation="warn"` there is a warning, and the request is sent."""
        bench = await set_up()
        with (
            pytest.warns(errors.ImagesWarning, match="40,000 characters"),
            pytest.raises(errors.BadRequestError),
        ):
            await bench.client.generate("x" * 40_000, **SMALL)

        assert 1 == bench.posts

    async def test_off_is_silent(self, set_up):
        """With `validation="off"` there is no warning, even for a wasted upload."""
        bench = await set_up(validation="off")
        # The test suite turns warnings into errors.
        with pytest.raises(errors.BadRequestError):
            await bench.client.edit(png(), "x" * 40_000, mask=png(8, 8), **SMALL)

        assert 1 == bench.posts

    async def test_unknown_models_pass(self, set_up):
        """An unknown model is sent without a warning, as a gateway may serve it."""
        bench = await set_up(validation="strict")
        with pytest.raises(errors.NotFoundError):
            await bench.client.generate("x" * 40_000, model="someone's-model", size="17x17")

        assert 1 == bench.posts


class TestRequests:
    """What no server could take never becomes a request."""

    @pytest.mark.parametrize(
        "fields",
        [
            {"prompt": ""},
            {"prompt": None},
            {"prompt": b"otter"},
            {"prompt": "otter", "n": 0},
            {"prompt": "otter", "n": True},
            {"prompt": "otter", "n": "2"},
            {"prompt": "otter", "extra": {"stream": True}},
            {"prompt": "otter", "extra": {"size": "1x1"}},
            {"prompt": "otter", "extra": {"x": object()}},
            {"prompt": "\ud800"},
        ],
    )
    def test_is_refused_by_the_constructor(self, fields):
        """The constructor raises a typed error that is also a ValueError."""
        with pytest.raises(errors.InvalidRequestError) as caught:
            GenerationRequest(**fields)

        assert isinstance(caught.value, ValueError)

    async def test_partial_images_need_a_stream(self, set_up):
        """A plain call refuses `partial_images`."""
        bench = await set_up()
        with pytest.raises(errors.InvalidRequestError, match="stream"):
            await bench.client.generate("otter", partial_images=2, **SMALL)

        assert 0 == bench.posts


class TestConfiguration:
    """What the client is told about where and who."""

    def test_no_key(self):
        """The error names the variables in which a key is looked for."""
        with pytest.raises(errors.ConfigurationError, match="BURNCLOUD_API_KEY"):
            AsyncImagesClient()

    @pytest.mark.parametrize(
        ("address", "sentence"),
        [
            ("https://example.com/v1#x", "fragment"),
            ("http://example.com", "unencrypted"),
            ("ftp://example.com", "neither http nor https"),
            ("https://user:sk-canary@example.com", "user name"),
            ("https://", "no host"),
            ("https://exa mple.com", "white space"),
            ("https://example.com:99999", "cannot be read"),
        ],
    )
    def test_bad_base_url(self, address, sentence):
        """The error says what is wrong with the URL and shows no password."""
        with pytest.raises(errors.ConfigurationError, match=sentence) as caught:
            AsyncImagesClient("sk-x", address)

        assert "canary" not in str(caught.value)

    async def test_nobody_listens(self):
        """Nothing was billed, and the address is tried four times."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            from fakes import FakeClock

            async with AsyncImagesClient("sk-x", f"http://127.0.0.1:{port}", clock=FakeClock()) as client:
                with pytest.raises(errors.ConnectionFailedError, match="while connecting") as caught:
                    await client.generate("otter", **SMALL)

        assert 4 == len(caught.value.history)
        assert errors.Phase.CONNECTING == caught.value.phase
