"""
One file of saved responses, read as a response would be received: by the same decoders, into the same sinks.

It holds one response, as JSON or as a stream of events, or one on each line. A response in JSON ends with the line at
whose end nothing of it is open, so nobody has to say which of them it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from burncloud_images.calls.receiving import AnswerReceiver, Receiver
from burncloud_images.calls.streaming import StreamReceiver
from burncloud_images.cli.album import Album, Kept
from burncloud_images.cli.exits import FAILED, STORAGE, combine
from burncloud_images.errors import ImagesError, OutcomeUnknownError
from burncloud_images.files.sinks import slug
from burncloud_images.settings import Limits
from burncloud_images.transport.clock import SystemClock
from burncloud_images.transport.port import AttemptState
from burncloud_images.wire.answer import Answer
from burncloud_images.wire.saved import SavedAnswerDecoder, is_event_stream

BLANK = b"\xef\xbb\xbf \t\r\n"
NO_LIMITS = Limits(image=sys.maxsize, response=sys.maxsize, event=sys.maxsize)


class SavedAnswer(AnswerReceiver[Kept]):
    """The images of a response in JSON; what is damaged of them stays where it is."""

    @property
    def room(self) -> int:
        return 0


class SavedStream(StreamReceiver[Kept]):
    """The images of a stream, likewise."""

    @property
    def room(self) -> int:
        return 0


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
    album: Album
    receiver: Receiver[Kept] | None = None
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

    def begin(self, beginning: bytes) -> Receiver[Kept]:
        """Return what takes a response, by how it begins."""
        about: dict[str, Any] = {
            "sink": self.album.sink,
            "placement": self.album.placement(self.name),
            "limits": NO_LIMITS,
        }
        if is_event_stream(beginning.lstrip(BLANK)):
            return SavedStream(
                **about, wanted=sys.maxsize, state=AttemptState(clock=SystemClock()), patience=float("inf")
            )
        return SavedAnswer(**about, decoder=SavedAnswerDecoder())

    async def feed(self, receiver: Receiver[Kept], part: bytes) -> None:
        try:
            await receiver.take_chunk(part)
        except ImagesError as error:
            await receiver.salvage(error)
            self.conclude(receiver, Answer(), error.message)
            return
        if part.endswith(b"\n") and isinstance(receiver, SavedAnswer) and not receiver.decoder.is_open:
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

    async def end(self, receiver: Receiver[Kept]) -> None:
        """Take the end of a response."""
        problem = ""
        try:
            if isinstance(receiver, SavedStream):  # one that was cut off may have a whole image in its last event
                cut = OutcomeUnknownError("The stream ends in the middle.")
                await receiver.salvage(cut)
                problem = cut.message if receiver.decoder.is_open else ""
            answer = receiver.finish(receiver.conclude())
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

    def conclude(self, receiver: Receiver[Kept], answer: Answer, problem: str) -> None:
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

    def where(self, receiver: Receiver[Kept]) -> str:
        decoder = receiver.decoder if isinstance(receiver, SavedAnswer) else None
        if isinstance(decoder, SavedAnswerDecoder) and decoder.custom_id:
            return f"{self.word}, {decoder.custom_id}"
        return f"{self.word}, line {self.began}" if self.codes else self.word


def cut_at_line_ends(piece: bytes) -> Iterator[bytes]:
    begin = 0
    while (end := piece.find(b"\n", begin) + 1) > 0:
        yield piece[begin:end]
        begin = end
    if begin < len(piece):
        yield piece[begin:]


def find_problems(receiver: Receiver[Kept], answer: Answer) -> Iterator[str]:
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
