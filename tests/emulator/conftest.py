"""An emulator for each test, someone to talk to it, and pictures to send."""

import io
import json

import aiohttp
import attrs
import pytest
from PIL import Image, ImageDraw


def to_png(picture, file_format="png", **options):
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def photograph(size=(64, 64), mode="RGB"):
    picture = Image.new(mode, size, (40, 120, 200, 255)[: len(mode)])
    ImageDraw.Draw(picture).ellipse((4, 4, size[0] // 2, size[1] // 2), fill=(250, 220, 40, 255)[: len(mode)])
    return picture


def with_hole(size=(64, 64)):
    """A picture whose right half is transparent."""
    picture = photograph(size, "RGBA")
    picture.paste((0, 0, 0, 0), (size[0] // 2, 0, size[0], size[1]))
    return picture


@attrs.frozen
class Darkroom:
    """Makes image files."""

    develop = staticmethod(to_png)
    photograph = staticmethod(photograph)
    with_hole = staticmethod(with_hole)


@pytest.fixture
def darkroom():
    return Darkroom()


@pytest.fixture
def photo():
    return to_png(photograph())


@pytest.fixture
def hole():
    return to_png(with_hole())


@attrs.frozen
class Reply:
    status: int
    headers: object
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]


@attrs.frozen
class Caller:
    """Speaks HTTP to an emulator."""

    session: aiohttp.ClientSession

    async def call(self, emulator, method, path, **options):
        headers = {"Authorization": f"Bearer {emulator.api_key}", **options.pop("headers", {})}
        url = path if path.startswith("http") else emulator.base_url.removesuffix("/v1") + path
        async with self.session.request(method, url, headers=headers, **options) as response:
            return Reply(response.status, response.headers, await response.read())

    async def generate(self, emulator, headers=(), timeout=None, **fields):
        fields = {"prompt": "a sea otter", "model": "dall-e-2", "size": "256x256", **fields}
        fields = {name: value for name, value in fields.items() if value is not ...}
        options = {} if timeout is None else {"timeout": timeout}
        return await self.call(
            emulator, "POST", "/v1/images/generations", json=fields, headers=dict(headers), **options
        )

    async def upload(self, emulator, operation, files, headers=(), **fields):
        """Send a form; *files* are (name, file name, content type, bytes)."""
        form = aiohttp.FormData(default_to_multipart=True)
        for name, value in fields.items():
            form.add_field(name, str(value))
        for name, filename, content_type, content in files:
            # Wrapped, because aiohttp warns of large bytes.
            form.add_field(name, io.BytesIO(content), filename=filename, content_type=content_type)
        return await self.call(emulator, "POST", f"/v1/images/{operation}", data=form, headers=dict(headers))

    async def edit(self, emulator, *files, **fields):
        fields = {"prompt": "a sea otter", "model": "gpt-image-1", **fields}
        return await self.upload(emulator, "edits", files, **fields)


@pytest.fixture
async def caller():
    async with aiohttp.ClientSession() as session:
        yield Caller(session)
