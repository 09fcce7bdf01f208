"""
`--dry-run`: the request exactly as it would be sent, and nothing is.

The client does everything that it does before sending. The session that it is given takes the request down instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, cast

from burncloud_images.cli.arguments import Connection
from burncloud_images.cli.connection import to_network
from burncloud_images.cli.exits import UsageError
from burncloud_images.cli.listing import print_bytes, print_json
from burncloud_images.client import BASE_URL_VARIABLES, AsyncImagesClient, from_environment
from burncloud_images.model.inputs import ImageURL
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.wire.encode import to_file_parts, to_form_fields
from burncloud_images.wire.multipart import FileSlot

if TYPE_CHECKING:
    from burncloud_images.transport.http import Session
    from burncloud_images.transport.upload_body import UploadBody

KEY = "dry-run"
MASK = "Bearer ***"


class Captured(Exception):  # noqa: N818 (how the client is stopped)
    """A request that would have been sent."""

    def __init__(self, method: str, url: str, headers: dict[str, str], payload: UploadBody) -> None:
        super().__init__("captured")
        self.method = method
        self.url = url
        self.payload = payload
        length = {"Content-Type": payload.plan.content_type, "Content-Length": str(payload.plan.length)}
        self.headers = {**headers, **length, "Authorization": MASK}


class Recorder:
    """What the client takes for its session."""

    closed = False
    auto_decompress = False
    trust_env = False

    async def request(
        self, method: str, url: object, *, data: UploadBody, headers: Mapping[str, str], **_: object
    ) -> NoReturn:
        """Take down a request."""
        raise Captured(method, str(url), dict(headers), data)


async def preview(
    request: ImagesRequest, connection: Connection, *, as_json: bool, streams: bool, key: str | None = None
) -> None:
    """
    Print what would be sent.

    Args:
        request: It.
        connection: How the API is reached.
        as_json: Whether as one object.
        streams: Whether a stream is asked for.
        key: The idempotency key, if there is one already.

    Raises:
        UsageError: It cannot be known without sending something.
        ImagesError: As before sending.
    """
    if connection.emulator:
        raise UsageError("--dry-run sends nothing, so it cannot go together with --emulator.")
    fetched = () if getattr(request, "by_reference", False) else request.images()
    if any(isinstance(source, ImageURL) for _, source in fetched):
        raise UsageError("--dry-run fetches no image; download it first, or add --by-reference.")
    client = AsyncImagesClient(
        api_key=KEY,
        base_url=connection.base_url or from_environment(BASE_URL_VARIABLES),
        validation=connection.validation,
        network=to_network(connection, ""),
        session=cast("Session", Recorder()),
    )
    async with client:
        try:
            await client.send(request, via_stream=streams, idempotency_key=key)
        except Captured as captured:
            if as_json:
                print_json(to_json(captured, request, streams=streams))
            else:
                print_bytes(b"".join(to_text(captured)))


def to_text(captured: Captured) -> Iterator[bytes]:
    yield f"{captured.method} {captured.url}\n".encode()
    for name, value in captured.headers.items():
        yield f"{name}: {value}\n".encode()
    yield b"\n"
    plan = captured.payload.plan
    for segment in (*plan.segments, plan.final):
        if isinstance(segment, FileSlot):
            yield f"<{segment.size} bytes>".encode()
        else:
            yield segment.replace(b"\r\n", b"\n")
    yield b"" if plan.final.endswith(b"\n") else b"\n"


def to_json(captured: Captured, request: ImagesRequest, *, streams: bool) -> dict[str, Any]:
    document: dict[str, Any] = {"method": captured.method, "url": captured.url, "headers": captured.headers}
    plan = captured.payload.plan
    if plan.content_type == "application/json":
        import json

        whole = b"".join(segment for segment in (*plan.segments, plan.final) if isinstance(segment, bytes))
        return {**document, "body": json.loads(whole)}
    values = {**request.fields(), "stream": True} if streams else request.fields()
    fields = [pair for name, value in values.items() for pair in to_form_fields(name, value)]
    parts: list[dict[str, object]] = [{"name": name, "value": value} for name, value in fields]
    return {**document, "parts": parts + list(files(captured, request))}


def files(captured: Captured, request: ImagesRequest) -> Iterator[dict[str, object]]:
    from burncloud_images.model.rule_kinds import MeasuredImage

    uploads = zip(request.images(), captured.payload.uploads, strict=True)
    measured = [MeasuredImage(field=field, size=upload.size, media=upload.media) for (field, _), upload in uploads]
    for part in to_file_parts(measured):
        yield {"name": part.name, "filename": part.filename, "type": part.content_type, "size": part.slot.size}
