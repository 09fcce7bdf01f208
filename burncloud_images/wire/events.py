"""
A stream of server-sent events, chunk by chunk, becomes partial and completed images.

The `data` of an event is one JSON object, whose base64 is cut out as it passes, like an answer's. An event counts
by what it carries: one with an image is that image, under any type and name, unless it says that it is a preview. An
error that is about one of several images ends that image and not the stream.

What is whole is kept, whatever is wrong around it: a completed event whose blank line was cut off counts, and so does
the image of one whose JSON broke behind it.

Source: OpenAI's image streaming events (openapi.yaml of 2026-08-21), and the gateways that add pings, `[DONE]` and
errors after a status of 200.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias, TypeVar

import attrs

from burncloud_images.errors import Billing, ImagesError, OutcomeUnknownError, TooLargeError
from burncloud_images.results import RefusedImage, TokenDetails, Usage
from burncloud_images.wire.answer import (
    AnswerItem,
    ImagesAnswer,
    says_something,
    to_answer,
    to_datetime,
    to_int,
    to_odd_usage,
    to_refused,
    to_text,
    to_usage,
)
from burncloud_images.wire.image_json import (
    PAUSE_POINT,
    DecoderEvent,
    ImageEnded,
    ImageExtractor,
    ImageStarted,
    to_path,
)
from burncloud_images.wire.places import (
    BASE64,
    URLS,
    ImagePlace,
    find_form,
    find_items,
    find_place,
    find_url,
)
from burncloud_images.wire.sse import EventData, EventEnded, ManyLines, SSEDecoder, SSEToken

T = TypeVar("T")

MOST_RAW = 1024 * 1024
"""Bytes of events without their images that are held; the last event is, however large."""
PARTIAL = ".partial_image"
COMPLETED = ".completed"
PREVIEWS = (PARTIAL, ".preview", ".thumbnail", ".progress")
SUCCEEDED = ".partial_succeeded"
FAILED = ".partial_failed"
RESPONSE_COMPLETED = "response.completed"
ITEM = ImagePlace(home=("item",), levels=1, form="either")
"""Where an event of the Responses API has an image that is done."""
EVENT_URLS = tuple(name for name in URLS if name not in {"image", "uri"})
"""Names of an image's address in an event, where `image` may be an input that is told of."""
INDEXES = ("output_index", "image_index", "index")
"""Where events say which of several images they are about."""
DONE = b"[DONE]"
EVENTS_AT_ONCE = 20
"""How many events end between two pauses."""
MOST_INDEX = 1000
"""Places that an `output_index` may name; anything else is a mistake."""

KNOWN = frozenset(
    {
        "type",
        "url",
        "revised_prompt",
        "partial_image_index",
        "output_index",
        "created_at",
        *BASE64,
        "size",
        "quality",
        "background",
        "output_format",
        "usage",
    }
)

KNOWN_OR_EMPTY = KNOWN | {"error"}


@attrs.frozen(kw_only=True)
class EventFields:
    """
    The fields of an event, without its image; see `PartialImage` and `CompletedImage`.

    Attributes:
        type: As sent; empty if it is not.
        created_at: Aware UTC.
        size: As made or asked for.
        quality: As made or asked for.
        background: As made or asked for.
        output_format: As made or asked for.
        output_index: Which of several images it is, where the server says.
        partial_image_index: Which preview it is.
        usage: Tokens.
        extra: Unknown fields.
    """

    type: str = ""
    created_at: datetime | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    output_index: int | None = None
    partial_image_index: int | None = None
    usage: Usage | None = None
    extra: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen
class PartialStarted:
    """The bytes of a preview of image *index* begin, the one numbered *number*."""

    index: int
    number: int


@attrs.frozen
class PartialEnded:
    """The event of a preview has ended; its bytes are those that came last."""

    index: int
    facts: EventFields


@attrs.frozen
class CompletedEnded:
    """The event of an image has ended; its bytes, if it has any, are those that came last."""

    item: AnswerItem
    facts: EventFields


@attrs.frozen
class IgnoredEvent:
    """An unrelated event ended; discard its bytes."""


StreamEvent: TypeAlias = DecoderEvent | PartialStarted | PartialEnded | CompletedEnded | IgnoredEvent


class EventImageExtractor(ImageExtractor):
    """
    Cuts the image out of one event; or the images out of one that is a plain answer.

    Attributes:
        head: The fields before the image, once it has begun.
        index: Place of the image.
        first_index: Place of the first image of a plain answer.
        is_answer: Whether images were found where a plain answer has them.
    """

    what = "event"

    def __init__(self, taken: Sequence[int], most_items: int = sys.maxsize) -> None:
        super().__init__()
        self.taken = taken
        self.most_items = most_items
        self.head: Mapping[str, object] = {}
        self.index = first_free(taken)
        self.first_index = max(taken, default=-1) + 1
        self.is_answer = False

    def locate(self) -> ImagePlace | None:
        """Find the image in the event itself, or the images of a plain answer."""
        path = to_path(self.levels)
        if len(path) == 1 and (form := find_form(path)):
            return ImagePlace(home=(), levels=0, form=form)
        return ITEM if path == (*ITEM.home, "result") else find_place(path)

    def number(self, place: ImagePlace) -> int | None:
        """Return the index of the image that begins at *place*; None if it is not taken."""
        index = super().number(place)
        if index is None:
            return None
        if place.home:
            self.is_answer = True
            return self.first_index + index
        if not self.has_begun:
            self.head = parse_head(self.text)
            self.index = choose_index(self.head, self.taken)
        return self.index

    @property
    def has_begun(self) -> bool:
        """Whether some of an image came."""
        return self.base64 is not None or bool(self.ended) or bool(self.failures)

    def document(self) -> object:
        """Return the event's fields: all, or those before its image if the rest is damaged; None if it is not JSON."""
        try:
            return self.parse()
        except ImagesError:
            return self.head or None


class StreamDecoder:
    """
    Cuts the images out of one stream.

    Feed it chunks and hand on its events, until it is done; `flush` yields what is left at the end, and `close` returns
    what the stream said beside its images, in the form of a plain answer. An `ImageEnded` comes once it is certain that
    the image is not a preview.

    Attributes:
        ended_image: Index of an image whose bytes are all there, and of which no event has said what it is.
        is_paid: Whether the URL of an image has come, or the tokens that one cost.

    Args:
        most: Maximum bytes of one event.
        most_items: Maximum number of images taken from one event.
        wanted: Number of images that are waited for.
    """

    def __init__(self, most: int, most_items: int = sys.maxsize, wanted: int = sys.maxsize) -> None:
        self.most = most
        self.most_items = most_items
        self.wanted = wanted
        self.ended_image: int | None = None
        self.has_begun = False
        self.sse = SSEDecoder()
        self.cutter: EventImageExtractor | None = None
        self.size = 0
        self.items: dict[int, AnswerItem] = {}
        self.facts: list[EventFields] = []
        self.has_surplus = False
        self.ended_events = 0
        self.previews: dict[int, int] = {}
        self.error: tuple[Mapping[str, object], bytes] | None = None
        self.done = False
        self.is_telling = False
        self.is_paid = False
        self.has_summary = False
        self.refused: dict[int, RefusedImage] = {}
        self.passed = bytearray()

    @property
    def raw(self) -> bytes:
        """The events so far without their images; of many large ones the first, and the last."""
        return bytes(self.passed) + (self.cutter.raw if self.cutter else b"")

    @property
    def is_done(self) -> bool:
        """Whether to stop reading, although more may come: not before an event that sums up, where there is one."""
        return self.done or (self.has_all and not self.has_summary)

    @property
    def has_all(self) -> bool:
        """Whether each image that was asked for has come or was refused."""
        return len(self.items) + len(self.refused) >= self.wanted

    @property
    def billed(self) -> Billing:
        """What the stream says about money. It begins before the work does, so its status says nothing."""
        if self.is_paid:
            return Billing.YES
        return Billing.MAYBE if self.has_begun else Billing.NO

    def drop_second(self, _index: int) -> None:
        """Do nothing: an event has one image."""

    @property
    def is_doubtful(self) -> bool:
        """Whether the current image may be one of the request; no server repeats those in a stream."""
        return False

    @property
    def is_certain(self) -> bool:
        """Whether the current image is final and not a preview."""
        if self.cutter is None:
            return False
        kind = to_text(self.cutter.head.get("type")) or self.sse.name.decode(errors="replace")
        return self.cutter.is_answer or kind_of(kind) == COMPLETED

    @property
    def is_open(self) -> bool:
        """Whether an event has begun and not ended: asked after `flush`, whether the stream was cut off in one."""
        if self.cutter is not None:
            return not self.cutter.text.lstrip().startswith(DONE)
        return self.sse.field == b"event" or bool(self.sse.name or self.sse.line)

    def feed(self, chunk: bytes) -> Iterator[StreamEvent]:
        """
        Yield what *chunk* brings.

        Raises:
            ProtocolError: An event is nested too deeply.
            TooLargeError: An event is too large.
        """
        for token in self.sse.feed(chunk):
            for event in self.take_token(token):
                yield event
                if self.is_done and not self.is_telling:
                    return
            if self.done:
                return

    def take_token(self, token: SSEToken) -> Iterator[StreamEvent]:
        match token:
            case EventData(data):
                yield from self.take(data)
            case EventEnded(name):
                yield from self.end_event(name)
                self.ended_events += 1
                if self.ended_events % EVENTS_AT_ONCE == 0:
                    yield PAUSE_POINT
            case ManyLines():
                yield PAUSE_POINT

    def flush(self) -> Iterator[StreamEvent]:
        """Yield the rest when the stream has ended: an event that lacks only its blank line."""
        self.has_summary = False
        for token in () if self.done else self.sse.close():
            if isinstance(token, EventEnded) and self.cutter is not None and is_whole(self.cutter):
                yield from self.end_event(token.name)

    def finish(self) -> Iterator[StreamEvent]:
        """Yield what the end of a whole body brings: nothing, as events end by themselves."""
        return iter(())

    def close(self) -> ImagesAnswer:
        """
        Return what the stream said.

        Raises:
            OutcomeUnknownError: It said nothing of an image, and of no error either.
        """
        if self.error is not None:
            return ImagesAnswer(error=self.error[0], raw=self.error[1])
        if not self.items and not self.refused:
            raise OutcomeUnknownError("The stream ended without a completed image.", raw=self.raw)
        refused = tuple(refusal for _, refusal in sorted(self.refused.items()))
        return ImagesAnswer(
            error=to_error_document(refused[0]) if not self.items else None,
            items=tuple(item for _, item in sorted(self.items.items())),
            created=first(facts.created_at for facts in self.facts),
            usage=add_up([facts.usage for facts in self.facts if facts.usage]),
            background=first(facts.background for facts in self.facts),
            output_format=first(facts.output_format for facts in self.facts),
            quality=first(facts.quality for facts in self.facts),
            size=first(facts.size for facts in self.facts),
            extra={name: value for facts in self.facts for name, value in facts.extra.items()},
            has_surplus=self.has_surplus,
            raw=self.raw,
            refused=refused,
        )

    def take(self, data: bytes) -> Iterator[StreamEvent]:
        self.size += len(data)
        if self.size > self.most:
            raise TooLargeError(f"The event is larger than Limits.event, {self.most:,} bytes.", raw=self.raw)
        if self.cutter is None:
            self.cutter = EventImageExtractor([*self.items, *self.refused], self.most_items)
        for event in self.cutter.feed(data):
            is_preview = kind_of(to_text(self.cutter.head.get("type")) or "") == PARTIAL
            match event:
                case ImageStarted(index):
                    self.has_begun, self.ended_image = True, None
                    number = self.number_of_preview(index, self.cutter.head) if is_preview else 0
                    yield PartialStarted(index, number) if is_preview else event
                case ImageEnded(index) if not self.cutter.is_answer:
                    self.ended_image = None if is_preview else index
                case _:
                    yield event

    def number_of_preview(self, index: int, head: Mapping[str, object]) -> int:
        """Return the number of a preview: the server's, or the next one, as most servers send it after the bytes."""
        counted = self.previews.get(index, 0)
        self.previews[index] = counted + 1
        said = to_int(head.get("partial_image_index"))
        return said if said is not None and 0 <= said < MOST_INDEX else counted

    def end_event(self, name: str) -> Iterator[StreamEvent]:
        cutter, self.cutter, self.size = self.cutter, None, 0
        if cutter is None:
            return
        if len(self.passed) < MOST_RAW:
            self.passed += cutter.raw + b"\n"
        if cutter.text.lstrip().startswith(DONE):
            self.done = True
            return
        document = cutter.document()
        fields = document if isinstance(document, Mapping) else {}
        usage = to_usage(fields.get("usage"))
        if usage is not None and (usage.total_tokens or usage.output_tokens):
            self.is_paid = True
        yield from self.end_fields(fields, name, cutter)

    def end_fields(self, fields: Mapping[str, object], name: str, cutter: EventImageExtractor) -> Iterator[StreamEvent]:
        """Take an event as what its fields, or its name, say that it is."""
        kind = kind_of(to_text(fields.get("type")) or name)
        self.has_summary = self.has_summary or kind in {SUCCEEDED, FAILED} or cutter.home == ITEM.home
        if kind == PARTIAL and cutter.ended:
            yield PartialEnded(cutter.index, to_facts(fields))
        elif self.is_summary(fields, kind):
            self.facts.append(to_facts(fields))  # it sums up, and may repeat the images
            self.done = True
            yield IgnoredEvent()
        elif kind != PARTIAL and (cutter.is_answer or (not cutter.has_begun and is_answer(fields))):
            yield from self.end_answer(fields, cutter)
        elif kind != PARTIAL and (cutter.ended or cutter.failures or event_url(fields)):
            yield from self.end_image(fields, cutter)
        elif is_refusal(fields, kind):
            self.refuse(fields)
            yield IgnoredEvent()
        elif is_error(fields, name):
            self.error = (fields, error_body(cutter))
            self.done = True
        elif kind == COMPLETED and not self.items and not self.refused:
            yield from self.end_image(fields, cutter)
        elif kind == COMPLETED:
            self.facts.append(to_facts(fields))
            self.done = True
        else:
            yield IgnoredEvent()

    def is_summary(self, fields: Mapping[str, object], kind: str) -> bool:
        """Whether an event sums up a stream whose images have come, and can only repeat them."""
        sums_up = kind == COMPLETED or fields.get("type") == RESPONSE_COMPLETED
        return sums_up and self.has_summary and self.has_all

    def refuse(self, fields: Mapping[str, object]) -> None:
        """Note that an image was refused; the others may still come."""
        index = choose_index(fields, [*self.items, *self.refused])
        refusal = to_refused(fields, index) or RefusedImage(index=index, message="The server does not say why.")
        self.refused[index] = refusal

    def end_image(self, fields: Mapping[str, object], cutter: EventImageExtractor) -> Iterator[StreamEvent]:
        item, facts = to_item(fields, cutter), to_facts(fields)
        if item.decoded:
            yield ImageEnded(item.index)
        self.items[item.index] = item
        self.is_paid = self.is_paid or item.url is not None
        self.has_begun = True
        self.facts.append(facts)
        yield CompletedEnded(item, facts)

    def end_answer(self, fields: Mapping[str, object], cutter: EventImageExtractor) -> Iterator[StreamEvent]:
        """Take an event that is a plain answer; some gateways answer so when a stream is asked for."""
        first = cutter.first_index
        ended = {index - first for index in cutter.ended}
        failures = {index - first: why for index, why in cutter.failures.items()}
        answer = to_answer(fields, ended, failures, b"", cutter.home)
        if answer.error is not None:
            self.error = (answer.error, error_body(cutter))
            self.done = True
            return
        self.has_surplus = self.has_surplus or len(answer.items) > self.most_items
        facts = attrs.evolve(to_facts(fields), created_at=answer.created, extra=answer.extra)
        self.facts.append(facts)
        for refusal in answer.refused:
            self.refused[first + refusal.index] = attrs.evolve(refusal, index=first + refusal.index)
        refused = {refusal.index for refusal in answer.refused}
        named = [item for item in answer.items[: self.most_items] if item.index not in refused]
        items = [attrs.evolve(item, index=first + item.index) for item in named]
        for item in items:
            if item.decoded and item.index == self.ended_image:  # it stood where a completed event has it
                yield ImageEnded(item.index)
            self.items[item.index] = item
            self.is_paid = self.is_paid or item.url is not None
            self.has_begun = True
            self.is_telling = item is not items[-1]
            yield CompletedEnded(item, facts)


def is_answer(fields: Mapping[str, object]) -> bool:
    """Whether an event has the contents of a plain answer."""
    items = fields.get("data")
    if isinstance(items, list) and any(isinstance(item, Mapping) for item in items):
        return True
    return event_url(fields) is None and any(
        isinstance(item, Mapping) and item.get("url") for item in find_items(fields)
    )


def event_url(fields: Mapping[str, object]) -> str | None:
    """Return the address of the image that an event carries."""
    return to_text(fields.get("url")) or next((url for name in EVENT_URLS if (url := find_url(fields.get(name)))), None)


def kind_of(name: str) -> str:
    """Return what an event is, whatever it is of: gateways name an edit's events a generation's."""
    if name.endswith(PREVIEWS):
        return PARTIAL
    kinds = (COMPLETED, SUCCEEDED, FAILED)
    return next((kind for kind in kinds if name.startswith("image_") and name.endswith(kind)), "")


def is_refusal(fields: Mapping[str, object], kind: str) -> bool:
    """Whether an event says that one of several images was refused."""
    is_numbered = any(type(fields.get(name)) is int for name in INDEXES)
    return kind == FAILED or (kind != COMPLETED and is_numbered and says_something(fields.get("error")))


def to_error_document(refusal: RefusedImage) -> Mapping[str, object]:
    return {"error": {"code": refusal.code, "message": refusal.message}}


def is_error(fields: Mapping[str, object], name: str) -> bool:
    kind = to_text(fields.get("type")) or name
    is_named = kind in {"error", "upstream_error"} or (name == "error" and not kind_of(kind))
    return is_named or says_something(fields.get("error"))


def error_body(cutter: EventImageExtractor) -> bytes:
    """Return an error event as the body of an error answer; some are text."""
    body = cutter.raw
    try:
        is_object = isinstance(cutter.parse(), Mapping)
    except ImagesError:
        is_object = False
    return body if is_object else json.dumps({"error": body.decode(errors="backslashreplace")}).encode()


def is_whole(cutter: EventImageExtractor) -> bool:
    """Whether an event that was cut off had come to the end of its JSON."""
    try:
        cutter.parse()
    except ImagesError:
        return False
    return True


def parse_head(begun: bytes | bytearray) -> Mapping[str, object]:
    """Return the fields of a JSON object that stops at the opening quote of a value."""
    try:
        head = json.loads(bytes(begun) + b'"}')
    except (ValueError, RecursionError):
        return {}
    return head if isinstance(head, Mapping) else {}


def first_free(taken: Sequence[int]) -> int:
    return next(index for index in range(len(taken) + 1) if index not in taken)


def choose_index(fields: Mapping[str, object], taken: Sequence[int]) -> int:
    """Return which image it is: as the server says, or the next."""
    index = next((index for name in INDEXES if (index := to_int(fields.get(name))) is not None), None)
    return index if index is not None and 0 <= index < MOST_INDEX and index not in taken else first_free(taken)


def to_item(fields: Mapping[str, object], cutter: EventImageExtractor) -> AnswerItem:
    index = cutter.index if cutter.has_begun else choose_index(fields, cutter.taken)
    return AnswerItem(
        index=index,
        decoded=index in cutter.ended,
        failure=cutter.failures.get(index),
        url=event_url(fields) if index not in cutter.ended else to_text(fields.get("url")),
        revised_prompt=to_text(fields.get("revised_prompt")),
    )


def to_facts(fields: Mapping[str, object]) -> EventFields:
    error = says_something(fields.get("error"))
    return EventFields(
        type=to_text(fields.get("type")) or "",
        created_at=to_datetime(fields.get("created_at")),
        size=to_text(fields.get("size")),
        quality=to_text(fields.get("quality")),
        background=to_text(fields.get("background")),
        output_format=to_text(fields.get("output_format")),
        output_index=to_int(fields.get("output_index")),
        partial_image_index=to_int(fields.get("partial_image_index")),
        usage=to_usage(fields.get("usage")),
        extra={
            **{name: value for name, value in fields.items() if name not in (KNOWN if error else KNOWN_OR_EMPTY)},
            **to_odd_usage(fields.get("usage")),
        },
    )


def first(values: Iterator[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)


def add_up(usages: Sequence[Usage]) -> Usage | None:
    """
    Return the tokens of a request from those of its events.

    Each is taken to tell of its own image and of the whole input, which was read once. No document says so.
    """
    if len(usages) < 2:
        return usages[0] if usages else None
    most = max(usages, key=lambda usage: usage.input_tokens or 0)
    output = total([usage.output_tokens for usage in usages])
    return Usage(
        total_tokens=total([most.input_tokens, output]),
        input_tokens=most.input_tokens,
        output_tokens=output,
        input_tokens_details=most.input_tokens_details,
        output_tokens_details=add_up_details([usage.output_tokens_details for usage in usages]),
        extra=add_up_extra([usage.extra for usage in usages]),
    )


def add_up_extra(extras: Sequence[Mapping[str, object]]) -> Mapping[str, object]:
    """Return all that events say about their usage; what counts up, such as a cost, is summed."""
    sums: dict[str, object] = {}
    for extra in extras:
        for name, value in extra.items():
            before = sums.get(name)
            counts = is_number(value) and is_number(before)
            sums[name] = before + value if counts else value  # type: ignore[operator] # both are numbers
    return sums


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def add_up_details(details: Sequence[TokenDetails | None]) -> TokenDetails | None:
    known = [item for item in details if item is not None]
    if not known:
        return None
    return TokenDetails(
        text_tokens=total([item.text_tokens for item in known]),
        image_tokens=total([item.image_tokens for item in known]),
    )


def total(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
