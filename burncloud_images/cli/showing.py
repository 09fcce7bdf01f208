"""`show`: images out of responses that somebody has saved, without a request and without a response in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from burncloud_images.cli.album import Album
from burncloud_images.cli.arguments import Output
from burncloud_images.cli.exits import UsageError, combine
from burncloud_images.cli.inputs import Stdin
from burncloud_images.cli.listing import print_paths
from burncloud_images.cli.outputs import Present, check_stdout, to_target
from burncloud_images.cli.reporting import Reporter
from burncloud_images.cli.saved_file import SavedFile
from burncloud_images.disk import run

PIECE = 256 * 1024
"""Bytes that are read and decoded in one go."""


async def show(words: Sequence[str], output: Output, reporter: Reporter) -> int:
    """
    Save the images of the responses in files, print where they are, and return the exit code.

    Args:
        words: Files, or `-` for stdin.
        output: Where images go.
        reporter: For all that is no result.

    Raises:
        UsageError: A file cannot be read, or an option cannot be used.
        StorageError: The images cannot be taken.
    """
    check_stdout(output, 1)
    if words.count("-") > 1:
        raise UsageError("Standard input can be read once only.")
    target = None if output.output == "-" else to_target(output)
    stdin, codes = Stdin(), []
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="burncloud-images") as executor:
        album = Album(output=output, target=target, reporter=reporter, executor=executor)
        try:
            await album.sink.prepare(album.placement("response"), 1)
        except Present as present:
            reporter.note("nothing was read: the image exists already")
            print_paths(present.paths)
            return 0
        for word in words:
            async with open_file(word, stdin, executor) as pieces:
                saved = SavedFile(word=word, album=album)
                async for piece in pieces:
                    await saved.add(piece)
                codes.append(await saved.finish())
    album.finish()
    return combine(codes)


@asynccontextmanager
async def open_file(word: str, stdin: Stdin, executor: Executor) -> AsyncIterator[AsyncIterator[bytes]]:
    """
    Give the pieces of a file.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        source: BinaryIO = stdin.open("a response") if word == "-" else await run(executor, open_binary, word)
    except OSError as error:
        raise unreadable(word, error) from None
    try:
        yield read_pieces(source, word, executor)
    finally:
        if word != "-":
            source.close()


def open_binary(path: str) -> BinaryIO:
    return Path(path).open("rb")


async def read_pieces(source: BinaryIO, word: str, executor: Executor) -> AsyncIterator[bytes]:
    try:
        while piece := await run(executor, source.read, PIECE):
            yield piece
    except OSError as error:
        raise unreadable(word, error) from None


def unreadable(word: str, error: OSError) -> UsageError:
    return UsageError(f"The response {word} cannot be read: {error.strerror or error}.")
