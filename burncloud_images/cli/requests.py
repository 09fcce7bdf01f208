"""`generate`, `edit` and `variation`, from the arguments to the exit code; the module to read first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import attrs

from burncloud_images.cli.connection import open_client, to_network
from burncloud_images.cli.exit_codes import UsageError, to_exit
from burncloud_images.cli.inputs import StandardInput, to_request, with_size
from burncloud_images.cli.interrupts import RequestInterrupts
from burncloud_images.cli.options import ConnectionOptions, OutputOptions, StreamOptions
from burncloud_images.cli.outputs import (
    ImagesExist,
    OutputDirectory,
    PartialSavingSink,
    ask_for_partials,
    check_stdout,
    describe_cost,
    failure_to_json,
    print_bytes,
    print_json,
    print_paths,
    to_json,
    to_target,
    write_sidecar,
)
from burncloud_images.cli.reporting import Reporter
from burncloud_images.cli.rescue import rescue, save_images
from burncloud_images.client import BASE_URL_VARIABLES, AsyncImagesClient, from_environment
from burncloud_images.errors import ImagesError, StorageError, hide_query
from burncloud_images.files.sinks import Directory, Memory, Sink
from burncloud_images.model.inputs import ImageURL
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.results import Image, ImageDetails, ImagesResult, SavedImage
from burncloud_images.transport.secret import Secret
from burncloud_images.wire.encoded_request import to_file_parts, to_form_fields
from burncloud_images.wire.multipart import FilePlaceholder

if TYPE_CHECKING:
    from burncloud_images.transport.http import Session
    from burncloud_images.transport.upload_body import UploadBody

T = TypeVar("T", bound=ImageDetails)

VERBS: Mapping[str, str] = {"generations": "generating", "edits": "editing", "variations": "varying"}


async def send(
    kind: type[ImagesRequest],
    values: Mapping[str, Any],
    connection: ConnectionOptions,
    output: OutputOptions,
    streaming: StreamOptions,
    reporter: Reporter,
) -> int:
    """
    Send one request, print its result and return the exit code.

    Raises:
        UsageError: A value cannot be used.
        ImagesError: The request cannot be made.
    """
    stdin = StandardInput()
    target = None if output.output == "-" else to_target(output)
    command = RequestCommand(output=output, streaming=streaming, reporter=reporter, target=target)
    request = to_request(kind, with_size(values, reporter.note), stdin, allow_http=connection.allow_http)
    command.request = ask_for_partials(request, command.streaming)
    check_stdout(output, command.request.n or 1)
    if output.dry_run:
        await preview(command.request, connection, as_json=output.json, streams=command.streams)
        return 0
    interrupts = RequestInterrupts(reporter=reporter)
    try:
        return await interrupts.run(command.run(connection, stdin, interrupts))
    except ImagesExist as present:
        reporter.note("nothing was sent: all images exist already")
        command.show(present.paths, {"images": [{"path": str(path)} for path in present.paths]})
        return 0
    except ImagesError as error:
        reporter.fail(error)
        paths = rescue(error, command.target.directory.path if command.target else None, reporter)
        if paths:
            command.show(paths, failure_to_json(error, paths))
        return to_exit(error)


@attrs.define(kw_only=True)
class RequestCommand:
    """
    One request and where its images go.

    Attributes:
        target: Stores the images; None for stdout.
    """

    output: OutputOptions
    streaming: StreamOptions
    reporter: Reporter
    target: OutputDirectory | None
    request: ImagesRequest = attrs.field(init=False)

    @property
    def streams(self) -> bool:
        """Whether to ask for a stream."""
        return self.streaming.partials is not None or self.streaming.via_stream

    async def run(self, connection: ConnectionOptions, stdin: StandardInput, interrupts: RequestInterrupts) -> int:
        async with open_client(connection, self.reporter, stdin, interrupts.attempted) as client:
            model = self.request.model or "the default model"
            with self.reporter.working(f"{VERBS[self.request.operation]} with {model}"):
                if self.target is None:
                    self.write_to_stdout((await self.send(client, Memory())).images)
                    return 0
                result = await self.send(client, self.target)
        return self.print_result(result, self.target)

    def write_to_stdout(self, images: Sequence[Image]) -> None:
        """Write an image to stdout; if that fails, or there are more, save them to files, as they are paid for."""
        first, *others = images
        try:
            print_bytes(first.data)
        except OSError:
            save_images(images, "stdout", self.reporter)
            raise
        save_images(others, "stdout", self.reporter)

    async def send(self, client: AsyncImagesClient, sink: Sink[T]) -> ImagesResult[T]:
        """Send the request; previews go to their folder, if there is one."""
        if self.streaming.partials is not None:
            folder = Directory(self.streaming.partials, exists="rename")
            sink = PartialSavingSink(images=sink, folder=folder, show=self.reporter.show_partial)
        return await client.send(self.request, into=sink, via_stream=self.streams)

    def print_result(self, result: ImagesResult[SavedImage], target: OutputDirectory) -> int:
        """Print a result and write the sidecars."""
        for image in result.images:
            target.report(image, self.reporter)
        self.reporter.detail(f"request id {result.request_id}, idempotency key {result.idempotency_key}")
        if cost := describe_cost(result):
            (self.reporter.note if result.stated_cost is not None else self.reporter.detail)(cost)
        self.show([image.path for image in result.images], to_json(result))
        return max([self.describe(image, result) for image in result.images]) if self.output.sidecar else 0

    def describe(self, image: SavedImage, result: ImagesResult[SavedImage]) -> int:
        try:
            write_sidecar(image, self.request, result)
        except OSError as error:
            self.reporter.say("error", f"{image.path} was saved, but its sidecar was not: {error.strerror or error}.")
            return 11
        return 0

    def show(self, paths: list[Path], document: Mapping[str, object]) -> None:
        """Print paths or JSON; if stdout cannot be written, report the paths on stderr."""
        if self.target is None:
            return  # stdout is for bytes, and files were reported already
        try:
            if self.output.json:
                print_json(document)
            else:
                print_paths(paths)
        except StorageError:
            for path in paths:
                self.reporter.note(f"an image is in {path}")
            raise


KEY = "dry-run"
MASK = "Bearer ***"


class CapturedRequest(BaseException):  # passes what is caught of sessions that are given
    """A request that would have been sent."""

    def __init__(self, method: str, url: str, headers: dict[str, str], payload: UploadBody) -> None:
        super().__init__("captured")
        self.method = method
        self.url = url
        self.payload = payload
        length = {"Content-Type": payload.plan.content_type, "Content-Length": str(payload.plan.length)}
        self.headers = {name: str(mask(value)) for name, value in {**headers, **length}.items()}


def mask(value: str) -> str:
    """Return what is shown of a header's value."""
    return (MASK if value.startswith("Bearer ") else "***") if isinstance(value, Secret) else value


class RecordingSession:
    """What the client takes for its session."""

    sends_nothing = True
    closed = False
    auto_decompress = False
    trust_env = False

    async def request(
        self, method: str, url: object, *, data: UploadBody, headers: Mapping[str, str], **_: object
    ) -> NoReturn:
        """Take down a request."""
        raise CapturedRequest(method, hide_query(str(url))[1:-1], dict(headers), data)


async def preview(
    request: ImagesRequest, connection: ConnectionOptions, *, as_json: bool, streams: bool, key: str | None = None
) -> None:
    """
    Print what would be sent.

    Raises:
        UsageError: It cannot be known without sending something.
        ImagesError: As before sending.
    """
    if connection.emulator:
        raise UsageError("--dry-run sends nothing, so it cannot be combined with --emulator.")
    fetched = () if getattr(request, "by_reference", False) else request.images()
    if any(isinstance(source, ImageURL) for _, source in fetched):
        raise UsageError("--dry-run fetches no image; download it first, or add --by-reference.")
    client = AsyncImagesClient(
        api_key=False if connection.no_key else KEY,
        base_url=connection.base_url or from_environment(BASE_URL_VARIABLES),
        validation=connection.validation,
        network=to_network(connection, ""),
        dialect=connection.dialect,
        session=cast("Session", RecordingSession()),
    )
    async with client:
        try:
            await client.send(request, via_stream=streams, idempotency_key=key)
        except CapturedRequest as captured:
            if as_json:
                print_json(preview_to_json(captured, request, streams=streams))
            else:
                print_bytes(b"".join(preview_to_text(captured)))


def preview_to_text(captured: CapturedRequest) -> Iterator[bytes]:
    yield f"{captured.method} {captured.url}\n".encode()
    for name, value in captured.headers.items():
        yield f"{name}: {value}\n".encode()
    yield b"\n"
    plan = captured.payload.plan
    for segment in (*plan.segments, plan.final):
        if isinstance(segment, FilePlaceholder):
            yield f"<{segment.size} bytes>".encode()
        else:
            yield segment.replace(b"\r\n", b"\n")
    yield b"" if plan.final.endswith(b"\n") else b"\n"


def preview_to_json(captured: CapturedRequest, request: ImagesRequest, *, streams: bool) -> dict[str, Any]:
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


def files(captured: CapturedRequest, request: ImagesRequest) -> Iterator[dict[str, object]]:
    from burncloud_images.model.rule_kinds import MeasuredImage

    uploads = zip(request.images(), captured.payload.uploads, strict=True)
    measured = [MeasuredImage(field=field, size=upload.size, media=upload.media) for (field, _), upload in uploads]
    for part in to_file_parts(measured):
        yield {"name": part.name, "filename": part.filename, "type": part.content_type, "size": part.slot.size}
