"""
`fetch`: downloads images from result URLs before they expire.

They are downloaded like any result, with the same address checks and resumption. That needs no API key and sends none;
only `--task` does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import attrs

from burncloud_images.cli.connection import make_fetcher
from burncloud_images.cli.exit_codes import UsageError, combine, to_exit
from burncloud_images.cli.inputs import StandardInput, read_file
from burncloud_images.cli.options import ConnectionOptions, OutputOptions, TaskOptions
from burncloud_images.cli.outputs import (
    ImagesExist,
    OutputDirectory,
    check_stdout,
    image_to_json,
    print_bytes,
    print_json,
    print_paths,
    to_target,
)
from burncloud_images.cli.reporting import Reporter
from burncloud_images.cli.rescue import found_elsewhere, save_images
from burncloud_images.cli.tasks import fetch_task
from burncloud_images.client import AsyncImagesClient
from burncloud_images.errors import ImagesError
from burncloud_images.files.sinks import DirectoryWriter, ImageContext, Memory
from burncloud_images.results import SavedImage

AT_ONCE = 8


async def fetch(
    url: Sequence[str] | None,
    tasks: TaskOptions,
    connection: ConnectionOptions,
    output: OutputOptions,
    reporter: Reporter,
) -> int:
    """
    Download images, print their paths, and return the exit code.

    Raises:
        UsageError: An argument cannot be used.
        StorageError: The images cannot be stored.
        ImagesError: The image for stdout cannot be downloaded.
    """
    url = url or ()
    urls = list(read_addresses(url, StandardInput()))
    if tasks.task is not None:
        if urls:
            raise UsageError("Give URLs, or a task with --task, not both.")
        return await fetch_task(tasks.task, connection, output, reporter)
    if not urls:
        raise UsageError("There is no URL to download from, and no --task.")
    if any("?" in word for word in url if not word.startswith("@")):
        reporter.note("other users of this machine can see the URL while this runs; use @FILE or - to hide it")
    check_stdout(output, len(urls))
    what = "fetching an image" if len(urls) == 1 else f"fetching {len(urls)} images"
    async with make_fetcher(connection) as client:
        with reporter.working(what):
            if output.output == "-":
                return await fetch_to_stdout(client, urls[0])
            return await fetch_all(client, urls, output, reporter)


def read_addresses(words: Sequence[str], stdin: StandardInput) -> Iterator[str]:
    """Yield the URLs given as arguments, and those in files and on stdin, one per line."""
    for word in words:
        if word == "-":
            content = stdin.open("the addresses").read()
        elif word.startswith("@"):
            content = read_file(word[1:], "file of addresses")
        else:
            yield word
            continue
        yield from filter(None, map(str.strip, content.decode("latin-1").splitlines()))


async def fetch_to_stdout(client: AsyncImagesClient, url: str) -> int:
    image = await client.fetch(url, into=Memory())
    print_bytes(image.data)
    return 0


async def fetch_all(client: AsyncImagesClient, urls: Sequence[str], output: OutputOptions, reporter: Reporter) -> int:
    target = to_target(output)
    try:
        await prepare(target, len(urls))
    except ImagesExist as present:
        reporter.note("nothing was downloaded: all images already exist")
        print_paths(present.paths)
        return 0
    result = FetchResult(target=target, as_json=output.json, reporter=reporter)
    places = asyncio.Semaphore(AT_ONCE)

    async def fetch_one(index: int, url: str) -> SavedImage | ImagesError:
        async with places:
            try:
                return await client.fetch(url, into=CheckedSink(target), index=index)
            except ImagesError as error:
                return error

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(fetch_one(index, url)) for index, url in enumerate(urls)]
            codes = [result.add(index, await task) for index, task in enumerate(tasks)]
    except ExceptionGroup as several:  # stdout cannot be written
        raise several.exceptions[0] from None
    result.finish()
    return combine(codes)


async def prepare(target: OutputDirectory, count: int) -> None:
    """
    Check the names of all images before the first file is created.

    Raises:
        ImagesExist: They exist already and are to be skipped.
        StorageError: They cannot be stored.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="burncloud-images") as executor:
        now = datetime.now(UTC)
        await target.prepare(ImageContext(id="", index=0, prompt="", model="", date=now, executor=executor), count)


@attrs.frozen
class CheckedSink:
    """A sink whose names were checked for all images at once."""

    target: OutputDirectory

    async def prepare(self, placement: ImageContext, count: int) -> None:
        """Do nothing."""

    def open(self, placement: ImageContext) -> DirectoryWriter:
        """Return a writer into a hidden file."""
        return self.target.open(placement)


@attrs.define(kw_only=True)
class FetchResult:
    """
    The results of the downloads, in the order of the URLs.

    Attributes:
        as_json: Whether to print one JSON object at the end instead of paths.
    """

    target: OutputDirectory
    as_json: bool
    reporter: Reporter
    images: list[dict[str, Any]] = attrs.field(factory=list)
    failed: list[dict[str, Any]] = attrs.field(factory=list)

    def add(self, index: int, outcome: SavedImage | ImagesError) -> int:
        """Report the result of one URL, and return its exit code."""
        if isinstance(outcome, ImagesError):
            return self.add_failure(index, outcome)
        self.target.report(outcome, self.reporter)
        self.images.append({"number": index + 1, **image_to_json(outcome)})
        if not self.as_json:
            print_paths([outcome.path])
        return 0

    def add_failure(self, index: int, error: ImagesError) -> int:
        self.failed.append({"number": index + 1, "error": type(error).__name__})
        self.reporter.fail(error, f"URL {index + 1}: ")
        paths = save_images(error.images, f"fetched-{os.getpid()}", self.reporter, found_elsewhere(error))
        if not self.as_json:
            print_paths(paths)
        return to_exit(error)

    def finish(self) -> None:
        """Print the JSON, if asked for."""
        if self.as_json:
            print_json({"images": self.images, "failed": self.failed})
