"""
`show`: extracts images from saved responses, with the decoders of the client.

A file holds one response, as JSON or as an event stream, or one JSON response per line. An output line of OpenAI's
Batch API holds the response in `response.body` beside the row's `custom_id`; an error is in `error` or in the body.
Source: OpenAI's Batch guide, "Retrieve the results".
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import aclosing, nullcontext
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import attrs

from burncloud_images.calls.receiving import Decoder, Receiver
from burncloud_images.cli.exit_codes import FAILED, STORAGE, UsageError, combine
from burncloud_images.cli.inputs import StandardInput
from burncloud_images.cli.options import OutputOptions
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
from burncloud_images.wire.answer import ImagesAnswer, to_text
from burncloud_images.wire.body_text import LONGEST_HEAD, is_image
from burncloud_images.wire.events import StreamDecoder
from burncloud_images.wire.image_json import AnswerDecoder, ImageBodyDecoder, OpenContainer, to_path
from burncloud_images.wire.places import ImagePlace, find_place

PIECE = 256 * 1024
"""Bytes that are read and decoded at most at once."""


async def show(response: Sequence[str], output: OutputOptions, reporter: Reporter) -> int:
    """
    Save the images of the responses in files, print where they are, and return the exit code.

    Raises:
        UsageError: A file cannot be read, or an option cannot be used.
        StorageError: The images cannot be stored.
    """
    check_stdout(output, 1)
    if response.count("-") > 1:
        raise UsageError("Standard input can only be read once.")
    target = None if output.output == "-" else to_target(output)
    stdin, codes = StandardInput(), []
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="burncloud-images") as executor:
        album = ShowResult(output=output, target=target, reporter=reporter, executor=executor)
        try:
            await album.sink.prepare(album.placement("response"), 1)
        except ImagesExist as present:
            reporter.note("nothing was read: the image already exists")
            print_paths(present.paths)
            return 0
        for word in response:
            saved = SavedFile(word=word, album=album)
            async with aclosing(read_parts(word, stdin, executor)) as parts:
                async for part in parts:
                    await saved.take(part)
            codes.append(await saved.finish())
    album.finish()
    return combine(codes)


async def read_parts(word: str, stdin: StandardInput, executor: Executor) -> AsyncGenerator[bytes, None]:
    """
    Yield the lines of a file, long ones in parts; or the parts of an image.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        source: BinaryIO = stdin.open("a response") if word == "-" else await run(executor, open, word, "rb")
        with nullcontext() if word == "-" else source:
            read = source.read if await run(executor, begins_image, source) else source.readline
            while part := await run(executor, read, PIECE):
                yield part
    except OSError as error:
        raise UsageError(f"The response {word} cannot be read: {error.strerror or error}.") from None


def begins_image(source: BinaryIO) -> bool:
    """Whether a file is an image itself; blocks."""
    return isinstance(source, BufferedReader) and is_image(source.peek(LONGEST_HEAD)[:LONGEST_HEAD])


ShownImage = Image | SavedImage

BLANK = b"\xef\xbb\xbf \t\r\n"
NO_LIMITS = Limits(image=sys.maxsize, response=sys.maxsize, event=sys.maxsize)


@attrs.define(kw_only=True)
class SavedFile:
    """
    One file: a response, or one on each line.

    Attributes:
        strange: Lines that are not responses.
        line: The current line, from 1.
        began: The first line of the current response.
        urls: URLs of images that are not in the response.
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
        """The id of the file in names."""
        return "stdin" if self.word == "-" else slug(Path(self.word).stem)

    @property
    def name(self) -> str:
        """The id of the current response in names."""
        return f"{self.stem}-{len(self.codes) + 1}" if self.codes else self.stem

    async def take(self, part: bytes) -> None:
        """Process a line, or a part of one."""
        if self.receiver is None and part.strip(BLANK):
            self.receiver, self.began = self.begin(part), self.line
        if self.receiver is not None:
            await self.feed(self.receiver, part)
        self.line += part.endswith(b"\n")

    def begin(self, beginning: bytes) -> Receiver[ShownImage]:
        """Return the receiver for a response, by its beginning."""
        decoder: Decoder = SavedAnswerDecoder()
        if is_image(beginning):
            decoder = ImageBodyDecoder()
        elif is_event_stream(beginning.lstrip(BLANK)):
            decoder = StreamDecoder(NO_LIMITS.event)
        return Receiver(
            decoder=decoder,
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
            self.conclude(receiver, ImagesAnswer(), error.message)
            return
        decoder = receiver.decoder
        if part.endswith(b"\n") and isinstance(decoder, SavedAnswerDecoder) and not decoder.is_open:
            await self.end(receiver)

    async def finish(self) -> int:
        """Process the end of the file, and return its exit code."""
        if self.receiver is not None:
            await self.end(self.receiver)
        if self.strange and len(self.codes) > len(self.strange):
            count, first = len(self.strange), self.strange[0]
            self.album.complain(self.word, f"{count} of its lines are not valid JSON; the first is line {first}.")
        elif self.strange:
            self.album.complain(self.word, "It is neither JSON nor an event stream.")
        elif not self.codes:
            self.codes.append(self.album.complain(self.word, "It is empty."))
        if self.urls:
            target = self.album.target
            save_addresses(self.urls, self.stem, target.directory.path if target else None, self.album.reporter)
        return combine(self.codes)

    async def end(self, receiver: Receiver[ShownImage]) -> None:
        """Process the end of a response."""
        problem = ""
        try:
            if isinstance(
                receiver.decoder, StreamDecoder
            ):  # if it was cut off, its last event may still hold a whole image
                cut = OutcomeUnknownError("The stream ends in the middle.")
                await receiver.salvage(cut)
                problem = cut.message if receiver.decoder.is_open else ""
            await receiver.finish()
            answer = receiver.close()
        except OutcomeUnknownError as error:
            answer, problem = ImagesAnswer(), problem or error.message
            await receiver.salvage(error)
        except ImagesError as error:
            if not receiver.whole:
                self.note_strange()
                return
            answer, problem = ImagesAnswer(), error.message
        self.conclude(receiver, answer, problem)

    def note_strange(self) -> None:
        self.receiver = None
        self.strange.append(self.began)
        self.codes.append(FAILED)

    def conclude(self, receiver: Receiver[ShownImage], answer: ImagesAnswer, problem: str) -> None:
        self.receiver = None
        where = self.where(receiver)
        kept = [image for _, image in sorted(receiver.kept.items())]
        self.album.add_images(kept, where)
        urls = [item.url for item in answer.items if item.url and not item.decoded and not item.failure]
        self.urls += urls
        problems = [problem] if problem else []
        problems += find_problems(receiver, answer)
        if not kept and not urls and not problems:
            problems = ["It contains no image."]
        for what in problems:
            self.album.complain(where, what)
        failed = FAILED if problems or urls else 0
        self.codes.append(STORAGE if receiver.unstored else failed)

    def where(self, receiver: Receiver[ShownImage]) -> str:
        if isinstance(receiver.decoder, SavedAnswerDecoder) and receiver.decoder.custom_id:
            return f"{self.word}, {receiver.decoder.custom_id}"
        return f"{self.word}, line {self.began}" if self.codes else self.word


def find_problems(receiver: Receiver[ShownImage], answer: ImagesAnswer) -> Iterator[str]:
    """Yield the reasons why images of a response are missing, as sentences."""
    for index, reason in sorted(receiver.damaged.items()):
        if index not in receiver.kept:
            yield f"Image {index + 1} is damaged: {reason}."
    for error in receiver.unstored:
        yield error.message
    if answer.error is not None:
        yield f"It contains an error and no images: {find_message(answer.error)}"


def find_message(document: Mapping[str, object]) -> str:
    error = document.get("error")
    message = error.get("message") if isinstance(error, Mapping) else error
    return message if isinstance(message, str) else "no message."


@attrs.define(kw_only=True)
class ShowResult:
    """
    Stores the images of responses and prints them.

    Attributes:
        target: Stores the images; None for stdout.
        images: All images, with the name of their response.
    """

    output: OutputOptions
    target: OutputDirectory | None
    reporter: Reporter
    executor: Executor
    images: list[tuple[ShownImage, str]] = attrs.field(factory=list)

    @property
    def sink(self) -> Sink[ShownImage]:
        """The sink for the images."""
        return self.target if self.target is not None else Memory()

    def placement(self, name: str) -> ImageContext:
        return ImageContext(id=name, index=0, prompt="", model="", date=datetime.now(UTC), executor=self.executor)

    def add_images(self, images: Sequence[ShownImage], where: str) -> None:
        """Add the images of a response and print their paths, unless they are printed as JSON at the end."""
        self.images += [(image, where) for image in images]
        saved = [image for image in images if isinstance(image, SavedImage)]
        for image in saved:
            if self.target is not None:
                self.target.report(image, self.reporter)
        if not self.output.json:
            print_paths(image.path for image in saved)

    def complain(self, where: str, what: str) -> int:
        """Report a problem of a response, and return the exit code for it."""
        self.reporter.say("error", f"{where}: {what}", error="ProtocolError")
        return FAILED

    def finish(self) -> None:
        """
        Print the JSON, or the image for stdout.

        Raises:
            UsageError: There are several images for stdout.
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
    Extracts the images of one saved answer.

    Attributes:
        custom_id: The id of its row in a batch; set by `close`.
    """

    custom_id: str | None = None

    def locate(self) -> ImagePlace | None:
        """Find the images of an answer, wrapped or not."""
        if not is_wrapped(self.levels):
            return super().locate()
        place = find_place(to_path(self.levels[len(BATCH) :]))
        return place and attrs.evolve(place, home=(*BATCH, *place.home), levels=len(BATCH) + place.levels)

    def close(self) -> ImagesAnswer:
        """Return the rest of the answer, without what it is wrapped in."""
        document = self.parse()
        if isinstance(document, Mapping) and "response" in document and "data" not in document:
            self.custom_id = to_text(document.get("custom_id"))
            response = document["response"]
            body = response.get("body") if isinstance(response, Mapping) else None
            document = body if isinstance(body, Mapping) else {"error": document.get("error")}
            self.home = self.home and self.home[len(BATCH) :]
        return self.to_answer(document)


def is_wrapped(levels: list[OpenContainer]) -> bool:
    around = levels[: len(BATCH)]
    return all(level.is_object for level in around) and tuple(level.key for level in around) == BATCH


def is_event_stream(beginning: bytes) -> bool:
    """
    Return whether a body is an event stream, by its beginning: a field name and a colon, where JSON has a bracket.

    Source: WHATWG HTML §9.2.6.
    """
    return beginning.startswith((b"event", b"data", b"id", b"retry", b":"))
