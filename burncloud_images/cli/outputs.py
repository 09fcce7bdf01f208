"""Where results go: files by `-o`, `--into`, `--name` and `--exists`; stdout; sidecars; previews."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import attrs

from burncloud_images.calls.answer_buffer import find_place
from burncloud_images.cli.exit_codes import UsageError
from burncloud_images.cli.options import OutputOptions, StreamOptions
from burncloud_images.cli.reporting import Reporter, to_one_line
from burncloud_images.cli.standard_streams import escaped, silence
from burncloud_images.disk import LONGEST_NAME, write_whole
from burncloud_images.errors import ImagesError, StorageError
from burncloud_images.files.sinks import Directory, DirectoryWriter, ImageContext, ImageWriter, Sink
from burncloud_images.model.inputs import SCHEME, ImageURL, PathSource
from burncloud_images.model.media import Media
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.results import Attempt, ImageDetails, ImagesResult, SavedImage

DEFAULT_NAME = "{id}-{index}.{ext}"


class ImagesExist(Exception):  # noqa: N818 (not an error)
    """All images of a request exist already."""

    def __init__(self, paths: list[Path]) -> None:
        super().__init__("all images exist already")
        self.paths = paths


@attrs.frozen(kw_only=True)
class OutputDirectory:
    """
    A sink that checks for existing files before anything is paid for.

    The format is not known before the image arrives. So `-o photo.png` ignores a photo.jpg, from which it may be made,
    and if the image turns out to be a JPEG it gets a number.

    Attributes:
        exists: As `OutputOptions.exists`.
        named: Whether the user gave the name of the file, with -o.
    """

    directory: Directory
    exists: Literal["error", "skip", "rename", "overwrite"]
    named: bool

    async def prepare(self, placement: ImageContext, count: int) -> None:
        """
        Make sure that the images can be stored.

        Raises:
            ImagesExist: They exist already and are to be skipped.
            StorageError: They cannot be stored.
        """
        await self.directory.prepare(placement, count)
        if self.exists in {"rename", "overwrite"} or "{id}" in self.directory.name or "{sha8}" in self.directory.name:
            return
        found = [self.find(attrs.evolve(placement, index=index)) for index in range(count)]
        taken = [path for path in found if path is not None]
        if self.exists == "skip" and len(taken) == count:
            raise ImagesExist(taken)
        if taken:
            others = "" if len(taken) == count else f" ({len(taken)} of {count} files exist)"
            choices = "rename or overwrite" if self.exists == "skip" else "skip, rename or overwrite"
            message = (
                f"{taken[0]} exists already{others}, so nothing was sent; choose another name, or --exists {choices}."
            )
            raise StorageError(message)

    def find(self, placement: ImageContext) -> Path | None:
        """Return the existing file with the name of an image."""
        paths = (self.directory.path / name for name in self.directory.candidates(placement))
        return next((path for path in paths if path.exists() or path.is_symlink()), None)

    def open(self, placement: ImageContext) -> DirectoryWriter:
        """Return a writer into a hidden file."""
        return self.directory.open(placement)

    def answer_path(self, placement: ImageContext) -> Path:
        """Return the file for an answer that cannot be read."""
        return self.directory.answer_path(placement)

    def report(self, image: SavedImage, reporter: Reporter) -> None:
        """Report where an image is, and if its extension is not the one that was asked for."""
        reporter.emit("saved", path=str(image.path))
        if remark := self.remark(image):
            reporter.note(remark)

    def remark(self, image: SavedImage) -> str | None:
        wanted = Path(self.directory.name)
        if not self.named or "{" in wanted.name or not wanted.suffix:
            return None
        suffixes = {".jpeg": ".jpg"}
        if suffixes.get(wanted.suffix.lower(), wanted.suffix.lower()) != image.path.suffix:
            extension = image.path.suffix.lstrip(".")
            asked = wanted.suffix.lstrip(".").replace("jpg", "jpeg")
            return f"the image is {image.media_type}, so its name ends in .{extension}; --format {asked} asks for that"
        return None


def to_target(output: OutputOptions) -> OutputDirectory:
    """
    Return the sink for files; not for `-o -`.

    Raises:
        UsageError: The options contradict each other.
        ConfigurationError: The template of the name is not valid.
    """
    path = find_path(output)
    named = output.output is not None and not output.output.endswith("/") and not os.path.isdir(path)  # noqa: PTH112
    if named and output.name is not None:
        raise UsageError("-o names a file, so --name does not apply; give a folder with -o or --into.")
    if named:
        check_file(path)
    folder, name = (path.parent, path.name) if named else (path, output.name or DEFAULT_NAME)
    if "{" in str(folder) and not os.path.isdir(folder):  # noqa: PTH112
        raise UsageError(f"Fields such as {{id}} can only be used in file names, not in the folder {folder}.")
    directory = Directory(folder, name=name, exists="overwrite" if output.exists == "overwrite" else "rename")
    return OutputDirectory(directory=directory, exists=output.exists, named=named)


def check_file(path: Path) -> None:
    """
    Refuse a path that cannot be that of an image.

    Raises:
        UsageError: It is that of a device or pipe, or its name is too long.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 (pathlib raises what cannot be looked up)
        raise UsageError(f"{path} is not a regular file; use -o - to write the image to a device or pipe.")
    if (size := len(path.name.encode(errors="replace"))) > LONGEST_NAME:
        raise UsageError(
            f"The file name of -o has {size} bytes, and file systems take {LONGEST_NAME}; choose a shorter one."
        )


def find_path(output: OutputOptions) -> Path:
    """
    Return the file or the folder to write to; the working directory if none is given.

    Raises:
        UsageError: It is given twice, or cannot be a path.
    """
    if output.output is not None and output.into is not None:
        raise UsageError("-o and --into both set where images go; give one of them.")
    place = output.output if output.output is not None else output.into
    if place is None:
        return Path()
    if not place:
        raise UsageError("The path to write to is empty.")
    if scheme := SCHEME.match(place):
        raise UsageError(f"Images are written to files, not to {scheme[0]} addresses.")
    return Path(place)


def check_stdout(output: OutputOptions, count: int) -> None:
    """
    Refuse `-o -` if stdout cannot take the result.

    Raises:
        UsageError: There is more than one image, a terminal, or an option that contradicts it.
    """
    if output.output != "-":
        return
    if output.json or output.sidecar or output.into or output.name:
        raise UsageError("-o - writes the image to stdout, so --json, --sidecar, --into and --name do not apply.")
    if count != 1:
        raise UsageError(f"-o - takes one image, not {count}; use --into for several.")
    if sys.stdout.isatty() and not output.dry_run:
        raise UsageError("Image bytes are not written to a terminal; use -o FILE, or pipe the output.")


def print_paths(paths: Iterable[Path]) -> None:
    """Print paths in the file system's encoding."""
    print_bytes(b"".join(os.fsencode(path) + b"\n" for path in paths))


def print_lines(lines: Iterable[str]) -> None:
    """Print text; control characters within a line are replaced."""
    print_bytes("".join(f"{to_one_line(line)}\n" for line in lines).encode(errors="backslashreplace"))


def print_json(document: object) -> None:
    """Print one line of JSON in UTF-8; bytes of paths that are not UTF-8 are escaped."""
    print_bytes(encode(document) + b"\n")


def print_bytes(data: bytes) -> None:
    """
    Write to stdout.

    Raises:
        BrokenPipeError: Its reader has closed it.
        StorageError: It cannot be written; later output is discarded.
    """
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        silence(sys.stdout)
        raise
    except OSError as error:
        silence(sys.stdout)
        raise StorageError(f"standard output cannot be written: {error.strerror or error}.") from None


def encode(document: object, indent: int | None = None) -> bytes:
    text = json.dumps(document, ensure_ascii=False, indent=indent, default=to_plain)
    return escaped(text).encode()


def to_plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def to_json(result: ImagesResult[SavedImage]) -> dict[str, Any]:
    """Return a result as JSON, without image bytes and without signed URLs."""
    return {
        "images": [image_to_json(image) for image in result.images],
        "created": result.created,
        "usage": attrs.asdict(result.usage) if result.usage else None,
        "cost": attrs.asdict(cost) if (cost := result.cost) is not None else None,
        "background": result.background,
        "output_format": result.output_format,
        "quality": result.quality,
        "size": result.size,
        "request_id": result.request_id,
        "idempotency_key": result.idempotency_key,
        "history": history_to_json(result.history),
    }


def describe_cost(result: ImagesResult[SavedImage]) -> str:
    """Return what a result cost, and who says so; empty if nothing tells."""
    cost = result.cost
    if cost is None:
        return ""
    said = {"answer": "as the answer says", "tokens": "by its tokens at list prices", "list": "by the list of prices"}
    return f"cost: {cost.amount.normalize():f} {cost.currency}, {said[cost.source]}"


def image_to_json(image: SavedImage) -> dict[str, Any]:
    return {
        "path": str(image.path),
        "size": image.size,
        "media_type": image.media_type,
        "width": image.width,
        "height": image.height,
        "revised_prompt": image.revised_prompt,
    }


def history_to_json(history: Iterable[Attempt]) -> list[dict[str, Any]]:
    return [{**attrs.asdict(attempt), "phase": attempt.phase.name.lower()} for attempt in history]


def failure_to_json(error: ImagesError, paths: Sequence[Path]) -> dict[str, Any]:
    """Return a failed request as JSON, with the images that arrived anyway."""
    return {
        "images": [{"path": str(path)} for path in paths],
        "error": type(error).__name__,
        "request_id": error.request_id,
        "idempotency_key": error.idempotency_key,
        "task": error.task.id if error.task is not None else None,
        "history": history_to_json(error.history),
    }


def write_sidecar(image: SavedImage, request: ImagesRequest, result: ImagesResult[SavedImage]) -> Path:
    """
    Write the request and the result of *image* to a file beside it, atomically.

    Raises:
        OSError: It cannot be written.
    """
    path = image.path.with_name(f"{image.path.name}.json")
    document = {
        "operation": request.operation,
        **{name: value for name, value in to_json(result).items() if name != "images"},
        "image": image_to_json(image),
        "request": request.fields(),
        "inputs": [{"field": name, "source": source_to_text(source)} for name, source in request.images()],
    }
    write_whole(path, encode(document, indent=2) + b"\n", overwrite=True)
    return path


def source_to_text(source: object) -> str:
    """Return where an input came from, without the query of a URL, which may hold a signature."""
    if isinstance(source, PathSource):
        return str(source.path)
    if isinstance(source, ImageURL):
        return source.url.partition("?")[0] if not source.url.startswith("data:") else "data:"
    return "-"


T = TypeVar("T", bound=ImageDetails)

BY_DEFAULT = 3


def ask_for_partials(request: ImagesRequest, streaming: StreamOptions) -> ImagesRequest:
    """
    Return *request*, with partial images if there is a folder for them.

    Raises:
        UsageError: It asks for partial images without a folder.
    """
    number = getattr(request, "partial_images", None)
    if number is not None and streaming.partials is None and not streaming.via_stream:
        raise UsageError("--partial-images needs a folder for the previews: add --partials DIR.")
    if streaming.partials is None or number is not None:
        return request
    return attrs.evolve(request, partial_images=BY_DEFAULT)  # type: ignore[call-arg]


@attrs.frozen(kw_only=True)
class PartialSavingSink(Generic[T]):
    """
    A sink that also stores previews.

    Attributes:
        folder: Stores the previews; existing files are kept.
        show: Called with the description and the file of each preview.
    """

    images: Sink[T]
    folder: Directory
    show: Callable[[str, SavedImage], None]

    async def prepare(self, placement: ImageContext, count: int) -> None:
        """
        Make sure that both can be stored.

        Raises:
            StorageError: They cannot be stored.
        """
        await self.images.prepare(placement, count)
        await self.folder.prepare(placement, count)

    def open(self, placement: ImageContext) -> ImageWriter[T]:
        """Return a writer for an image."""
        return self.images.open(placement)

    def answer_path(self, placement: ImageContext) -> Path | None:
        """Return the file for an answer that cannot be read, if images go to files."""
        return find_place(self.images, placement)

    def open_partial(self, placement: ImageContext, number: int) -> PartialWriter:
        """Return a writer for a preview."""
        name = f"{{id}}-{{index}}-partial{number}.{{ext}}"
        what = f"preview {number + 1} of image {placement.index + 1}"
        folder = Directory(self.folder.path, name=name, exists="rename")
        return PartialWriter(file=folder.open(placement), what=what, show=self.show)


@attrs.frozen(kw_only=True)
class PartialWriter:
    """A writer that reports its file."""

    file: DirectoryWriter
    what: str
    show: Callable[[str, SavedImage], None]

    async def write(self, data: bytes) -> None:
        await self.file.write(data)

    async def finish(self) -> Media:
        return await self.file.finish()

    async def keep(self, media: Media) -> ImageDetails:
        try:
            saved = await self.file.keep(media)
        except StorageError as error:
            return error.images[0]  # only a preview, so no reason to fail
        self.show(self.what, saved)
        return saved

    async def discard(self) -> None:
        await self.file.discard()
