"""
`show`: images out of responses that somebody has saved, read by the decoders that read the API's answers.

A file holds one response, as JSON or as a stream of events, or one on each line. A line of what OpenAI's Batch API puts
out has the answer in `response.body`, beside the row's `custom_id`; or what went wrong, in `error` or in the body.
Source: OpenAI's Batch guide, "Retrieve the results".
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import attrs

from burncloud_images.calls.receiving import Decoder, Receiver
from burncloud_images.cli.exits import FAILED, STORAGE, UsageError, combine
from burncloud_images.cli.inputs import Stdin
from burncloud_images.cli.options import Output
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
from burncloud_images.cli.rescue import save_addresses
from burncloud_images.disk import run
from burncloud_images.errors import ImagesError, OutcomeUnknownError
from burncloud_images.files.sinks import ImageContext, Memory, Sink, slug
from burncloud_images.results import Image, SavedImage
from burncloud_images.settings import Limits
from burncloud_images.wire.answer import Answer, to_text
from burncloud_images.wire.events import StreamDecoder
from burncloud_images.wire.image_json import AnswerDecoder, Container, locate_in_answer

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
        album = ShowResult(output=output, target=target, reporter=reporter, executor=executor)
        try:
            await album.sink.prepare(album.placement("response"), 1)
        except ImagesExist as present:
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


ShownImage = Image | SavedImage

BLANK = b"\xef\xbb\xbf \t\r\n"
NO_LIMITS = Limits(image=sys.maxsize, response=sys.maxsize, event=sys.maxsize)


@attrs.define(kw_only=True)
class SavedFile:
    """
    One file: a response, or one on each line.

    Attributes:
        word: As it was named.
        album: Takes what is in it.
        receiver: Takes the response at hand.
        codes: Exit codes of its responses.
        strange: Lines that are no response.
        line: The one at hand, from 1.
        began: The one at which the response at hand began.
        urls: Addresses of images that are elsewhere.
    """

    word: str
    album: ShowResult
    receiver: Receiver[ShownImage] | None = None
    codes: list[int] = attrs.field(factory=list)
    strange: list[int] = attrs.field(factory=list)
    line: int = 1
    began: int = 1
    urls: list[str] = attrs.field(factory=list)

    @property
    def stem(self) -> str:
        """What everything of the file is called."""
        return "stdin" if self.word == "-" else slug(Path(self.word).stem)

    @property
    def name(self) -> str:
        """What the images of the response at hand are called."""
        return f"{self.stem}-{len(self.codes) + 1}" if self.codes else self.stem

    async def add(self, piece: bytes) -> None:
        """Take the next bytes of the file."""
        for part in cut_at_line_ends(piece):
            await self.take(part)

    async def take(self, part: bytes) -> None:
        """Take a line, or a part of one."""
        if self.receiver is None and part.strip(BLANK):
            self.receiver, self.began = self.begin(part), self.line
        if self.receiver is not None:
            await self.feed(self.receiver, part)
        self.line += part.endswith(b"\n")

    def begin(self, beginning: bytes) -> Receiver[ShownImage]:
        """Return what takes a response, by how it begins."""
        is_stream = is_event_stream(beginning.lstrip(BLANK))
        return Receiver(
            decoder=StreamDecoder(NO_LIMITS.event) if is_stream else SavedAnswerDecoder(),
            sink=self.album.sink,
            placement=self.album.placement(self.name),
            limits=NO_LIMITS,
            keeps_fragments=False,
        )

    async def feed(self, receiver: Receiver[ShownImage], part: bytes) -> None:
        try:
            await receiver.take_chunk(part)
        except ImagesError as error:
            await receiver.salvage(error)
            self.conclude(receiver, Answer(), error.message)
            return
        if part.endswith(b"\n") and is_closed(receiver.decoder):
            await self.end(receiver)

    async def finish(self) -> int:
        """Take the end of the file, and return its exit code."""
        if self.receiver is not None:
            await self.end(self.receiver)
        if self.strange and len(self.codes) > len(self.strange):
            count, first = len(self.strange), self.strange[0]
            self.album.complain(self.word, f"{count} of its lines are no JSON; the first of them is line {first}.")
        elif self.strange:
            self.album.complain(self.word, "It is neither JSON nor a stream of events.")
        elif not self.codes:
            self.codes.append(self.album.complain(self.word, "It is empty."))
        if self.urls:
            self.album.add_addresses(self.urls, self.stem)
        return combine(self.codes)

    async def end(self, receiver: Receiver[ShownImage]) -> None:
        """Take the end of a response."""
        problem = ""
        try:
            if isinstance(
                receiver.decoder, StreamDecoder
            ):  # one that was cut off may have a whole image in its last event
                cut = OutcomeUnknownError("The stream ends in the middle.")
                await receiver.salvage(cut)
                problem = cut.message if receiver.decoder.is_open else ""
            answer = receiver.close()
        except OutcomeUnknownError as error:
            answer, problem = Answer(), problem or error.message
            await receiver.salvage(error)
        except ImagesError as error:
            if not receiver.whole:
                self.note_strange()
                return
            answer, problem = Answer(), error.message
        self.conclude(receiver, answer, problem)

    def note_strange(self) -> None:
        self.receiver = None
        self.strange.append(self.began)
        self.codes.append(FAILED)

    def conclude(self, receiver: Receiver[ShownImage], answer: Answer, problem: str) -> None:
        self.receiver = None
        where = self.where(receiver)
        kept = [image for _, image in sorted(receiver.kept.items())]
        self.album.add_images(kept, where)
        urls = [item.url for item in answer.items if item.url and not item.decoded and not item.failure]
        self.urls += urls
        problems = [problem] if problem else []
        problems += find_problems(receiver, answer)
        if not kept and not urls and not problems:
            problems = ["It holds no image."]
        for what in problems:
            self.album.complain(where, what)
        failed = FAILED if problems or urls else 0
        self.codes.append(STORAGE if receiver.unstored else failed)

    def where(self, receiver: Receiver[ShownImage]) -> str:
        if isinstance(receiver.decoder, SavedAnswerDecoder) and receiver.decoder.custom_id:
            return f"{self.word}, {receiver.decoder.custom_id}"
        return f"{self.word}, line {self.began}" if self.codes else self.word


def is_closed(decoder: Decoder) -> bool:
    """Return whether a response in JSON has ended."""
    return isinstance(decoder, SavedAnswerDecoder) and not decoder.is_open


def cut_at_line_ends(piece: bytes) -> Iterator[bytes]:
    begin = 0
    while (end := piece.find(b"\n", begin) + 1) > 0:
        yield piece[begin:end]
        begin = end
    if begin < len(piece):
        yield piece[begin:]


def find_problems(receiver: Receiver[ShownImage], answer: Answer) -> Iterator[str]:
    """Yield why images of a response are not there, as sentences."""
    for index, reason in sorted(receiver.damaged.items()):
        if index not in receiver.kept:
            yield f"Image {index + 1} is damaged: {reason}."
    for error in receiver.unstored:
        yield error.message
    if answer.error is not None:
        yield f"It holds an error and no images: {find_message(answer.error)}"


def find_message(document: Mapping[str, object]) -> str:
    error = document.get("error")
    message = error.get("message") if isinstance(error, Mapping) else error
    return message if isinstance(message, str) else "it does not say which."


@attrs.define(kw_only=True)
class ShowResult:
    """
    Takes responses, and says what is in them.

    Attributes:
        output: What was asked for.
        target: Takes the images; None for stdout.
        reporter: For all that is no result.
        executor: Reads and writes files.
        images: All that were taken, with the name of their response.
    """

    output: Output
    target: OutputDirectory | None
    reporter: Reporter
    executor: Executor
    images: list[tuple[ShownImage, str]] = attrs.field(factory=list)

    @property
    def sink(self) -> Sink[ShownImage]:
        """What takes the images."""
        return self.target if self.target is not None else Memory()

    def placement(self, name: str) -> ImageContext:
        return ImageContext(id=name, index=0, prompt="", model="", date=datetime.now(UTC), executor=self.executor)

    def add_images(self, images: Sequence[ShownImage], where: str) -> None:
        """Print images that are there, unless they are printed all together."""
        self.images += [(image, where) for image in images]
        paths = [image.path for image in images if isinstance(image, SavedImage)]
        for path in paths:
            self.reporter.emit("saved", path=str(path))
        for image in images:
            if self.target is not None and isinstance(image, SavedImage) and (remark := self.target.remark(image)):
                self.reporter.note(remark)
        if not self.output.json:
            print_paths(paths)

    def add_addresses(self, urls: Sequence[str], name: str) -> None:
        """Say where images are that are not in the response."""
        save_addresses(urls, name, self.target.directory.path if self.target else None, self.reporter)

    def complain(self, where: str, what: str) -> int:
        """Say what is wrong with a response, and return the exit code for it."""
        self.reporter.say("error", f"{where}: {what}", error="ProtocolError")
        return FAILED

    def finish(self) -> None:
        """
        Print what is printed in the end.

        Raises:
            UsageError: Stdout cannot carry several images.
        """
        saved = [(image, where) for image, where in self.images if isinstance(image, SavedImage)]
        in_memory = [image for image, _ in self.images if isinstance(image, Image)]
        if self.output.json:
            print_json({"images": [{**image_to_json(image), "response": where} for image, where in saved]})
        if len(in_memory) > 1:
            raise UsageError(f"-o - takes one image, not {len(in_memory)}; use --into for several.")
        for image in in_memory:
            print_bytes(image.data)


BATCH = ("response", "body")


class SavedAnswerDecoder(AnswerDecoder):
    """
    Cuts the images out of one saved answer.

    Attributes:
        custom_id: Of its row in a batch; known when the answer is.
    """

    custom_id: str | None = None

    def locate(self) -> int | None:
        """Find the images of an answer, or of one that is wrapped."""
        return locate_in_answer(self.levels[len(BATCH) :] if is_wrapped(self.levels) else self.levels)

    def close(self) -> Answer:
        """Return the rest of the answer, and of none of what is around it."""
        document = self.parse()
        if isinstance(document, Mapping) and "response" in document and "data" not in document:
            self.custom_id = to_text(document.get("custom_id"))
            response = document["response"]
            body = response.get("body") if isinstance(response, Mapping) else None
            document = body if isinstance(body, Mapping) else {"error": document.get("error")}
        return self.to_answer(document)


def is_wrapped(levels: list[Container]) -> bool:
    around = levels[: len(BATCH)]
    return all(level.is_object for level in around) and tuple(level.key for level in around) == BATCH


def is_event_stream(beginning: bytes) -> bool:
    """
    Say whether a body that begins so is a stream of events: lines with a name and a colon, where JSON has a bracket.

    Source: WHATWG HTML §9.2.6.
    """
    return beginning.startswith((b"event", b"data", b"id", b"retry", b":"))
