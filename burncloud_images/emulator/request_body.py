"""Reads request bodies: JSON and forms. Files are hashed as they arrive and kept out of memory."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import tempfile
from typing import IO, Any

import attrs
from aiohttp import BodyPartReader, MultipartReader, web

from burncloud_images.emulator.errors import RefusedRequest
from burncloud_images.emulator.ledger import ReceivedFile
from burncloud_images.model.media import Media, examine

MB = 1024 * 1024
PIECE = 64 * 1024
# The reader looks one piece ahead, so small ones let a field be known before all that follows it has arrived.
TEXT_PIECE = 8 * 1024
MAX_TEXT = MB
MAX_SHOWN = 64 * 1024
MAX_IMAGE_BYTES = 50 * MB

WHOLE_NUMBERS = frozenset({"n", "output_compression", "partial_images", "frame_count", "frame_duration_ms"})
SWITCHES = frozenset({"stream"})
NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)
DATA_URL = re.compile(r"data:(?P<type>[\w.+/-]+);base64,(?P<text>.*)", re.DOTALL)


@attrs.frozen(kw_only=True)
class ReceivedUpload:
    """
    One file.

    Attributes:
        part: The file as the ledger lists it.
        file: Its bytes; only the beginning if it is larger than any model accepts.
    """

    part: ReceivedFile
    file: IO[bytes]
    media: Media


@attrs.define
class RequestBody:
    """
    What has been read of a request's body so far.

    Attributes:
        form: Whether it came as multipart/form-data.
        fields: Values by name.
        texts: Name and text of each field, in the order sent.
        uploads: The files, in the order sent.
    """

    form: bool = False
    fields: dict[str, Any] = attrs.field(factory=dict)
    texts: list[tuple[str, str]] = attrs.field(factory=list)
    uploads: list[ReceivedUpload] = attrs.field(factory=list)

    @property
    def parts(self) -> tuple[ReceivedFile, ...]:
        """The files as the ledger lists them."""
        return tuple(upload.part for upload in self.uploads)

    def close(self) -> None:
        """Close the files."""
        for upload in self.uploads:
            upload.file.close()


async def read_body(request: web.BaseRequest, body: RequestBody) -> None:
    """
    Read the whole body into *body*, which holds what had arrived if this fails.

    Raises:
        RefusedRequest: The body cannot be read as its type says. All of it has been read nevertheless.
    """
    try:
        if request.content_type == "multipart/form-data":
            body.form = True
            await read_form(request, body)
        elif request.content_type == "application/json":
            read_json(await request.content.read(), body)
        else:
            raise RefusedRequest(
                f"The content type {request.content_type!r} is not supported: send JSON, or a form for uploads.",
                code="unsupported_content_type",
            )
    finally:
        await drain(request)


async def drain(request: web.BaseRequest) -> None:
    """Read and discard the rest of the body."""
    async for _ in request.content.iter_any():
        pass


# --- multipart/form-data: read by aiohttp's own reader ---------------------------------------------------------------


async def read_form(request: web.BaseRequest, body: RequestBody) -> None:
    try:
        reader = MultipartReader(request.headers, request.content)
        async for part in reader:
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise RefusedRequest("Each part of the form needs a name.", code="invalid_form")
            if part.filename is None:
                await read_text(part, part.name, body)
            else:
                await read_file(part, part.name, body)
    except (ValueError, AssertionError) as error:
        raise RefusedRequest(f"The form cannot be read: {error}.", code="invalid_form") from error


async def read_text(part: BodyPartReader, name: str, body: RequestBody) -> None:
    text = bytearray()
    while piece := await part.read_chunk(TEXT_PIECE):
        if len(text) < MAX_TEXT:
            text += piece
    value = text.decode(errors="replace")
    body.texts.append((name, value))
    set_nested(body.fields, name, to_typed(name, value))


def set_nested(fields: dict[str, Any], name: str, value: object) -> None:
    """Store the value of a name such as `svg[reasoning][effort]` where a JSON body has it."""
    *outer, last = re.findall(r"[^\[\]]+", name) or [name]
    for key in outer:
        inner = fields.setdefault(key, {})
        fields = inner if isinstance(inner, dict) else {}
    fields[last] = value


def to_typed(name: str, text: str) -> object:
    """Return the value that a JSON body would have for *text*."""
    if name in SWITCHES and text in {"true", "false"}:
        return text == "true"
    return int(text) if name in WHOLE_NUMBERS and NUMBER.fullmatch(text) else text


async def read_file(part: BodyPartReader, name: str, body: RequestBody) -> None:
    digest = hashlib.sha256()
    size = 0
    file = new_spool()
    try:
        while piece := await part.read_chunk(PIECE):
            digest.update(piece)
            size += len(piece)
            if size <= MAX_IMAGE_BYTES + PIECE:
                file.write(piece)
    except BaseException:
        file.close()
        raise
    record = ReceivedFile(
        name=name,
        filename=part.filename,
        content_type=part.headers.get("Content-Type"),
        size=size,
        sha256=digest.hexdigest(),
    )
    body.uploads.append(ReceivedUpload(part=record, file=file, media=examine_file(file)))


def new_spool() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(max_size=MB)


def examine_file(file: IO[bytes]) -> Media:
    size = file.seek(0, 2)
    probe = examine(size)
    try:
        offset, length = next(probe)
        while True:
            file.seek(offset)
            offset, length = probe.send(file.read(length))
    except StopIteration as stop:
        file.seek(0)
        media: Media = stop.value
        return media


# --- application/json ------------------------------------------------------------------------------------------------


def read_json(content: bytes, body: RequestBody) -> None:
    try:
        fields = json.loads(content)
    except ValueError as error:
        raise RefusedRequest(f"The body is not JSON: {error}.", code="invalid_json") from error
    except RecursionError as error:
        raise RefusedRequest("The JSON is nested too deeply.", code="invalid_json") from error
    if not isinstance(fields, dict):
        raise RefusedRequest("The body has to be a JSON object.", code="invalid_json")
    body.texts.extend((name, to_text(value)) for name, value in fields.items())
    # A null is the same as no field.
    body.fields.update((name, value) for name, value in fields.items() if value is not None)


def to_text(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def decode_data_url(place: str, url: str) -> ReceivedUpload | None:
    """
    Return the image in a `data:` URL; None if it is another kind of URL.

    Raises:
        RefusedRequest: The base64 is damaged.
    """
    match = DATA_URL.fullmatch(url)
    if match is None:
        return None
    try:
        content = base64.b64decode(match["text"], validate=True)
    except binascii.Error as error:
        raise RefusedRequest("The data: URL is not base64.", param=place, code="invalid_base64") from error
    return to_upload(place, match["type"], content)


def to_upload(place: str, content_type: str, content: bytes) -> ReceivedUpload:
    """Return *content* as an upload, as if it had come in a form."""
    file = new_spool()
    file.write(content)
    digest = hashlib.sha256(content).hexdigest()
    record = ReceivedFile(name=place, filename=None, content_type=content_type, size=len(content), sha256=digest)
    return ReceivedUpload(part=record, file=file, media=examine_file(file))
