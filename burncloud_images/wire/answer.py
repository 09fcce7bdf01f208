"""
Converts the JSON of an answer, without its images, to a value: strict about what it must say, lenient about the rest.

Gateways write empty strings for absent fields, add fields of their own, and answer errors with status 200; none of
that may cost an image that is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

import attrs

from burncloud_images.errors import ProtocolError, hide_query
from burncloud_images.results import Cost, RefusedImage, SVGUsage, TokenDetails, Usage
from burncloud_images.wire.error_body import is_answered_with_success, is_failure
from burncloud_images.wire.places import BASE64, Path, find_early, find_items, has_cut, has_image, without_echoes
from burncloud_images.wire.tasks import TaskReport, TaskState, read_report

KNOWN = frozenset({"created", "data", "usage", "background", "output_format", "quality", "size", "error"})
KNOWN_OF_ITEM = frozenset({*BASE64, "url", "revised_prompt"})
FILTERS = ("raiFilteredReason", "rai_filtered_reason", "filtered_reason", "refusal")
"""Where servers say that a content filter took an image."""
COUNTS = ("total_tokens", "input_tokens", "output_tokens")
KNOWN_OF_USAGE = frozenset({*COUNTS, "input_tokens_details", "output_tokens_details"})
COUNTS_OF_DETAILS = ("text_tokens", "image_tokens")
MOST_TOKENS = 10**12


@attrs.frozen(kw_only=True)
class AnswerItem:
    """
    One image object.

    Attributes:
        index: Place in `data`.
        decoded: Whether all of its bytes came with the answer.
        failure: Why its bytes could not be decoded.
        url: Where its bytes are instead.
        revised_prompt: The prompt that was really used.
        extra: Unknown fields.
    """

    index: int
    decoded: bool
    failure: str | None = None
    url: str | None = attrs.field(default=None, repr=hide_query)
    revised_prompt: str | None = None
    extra: Mapping[str, object] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class ImagesAnswer:
    """
    An answer without its images.

    Attributes:
        items: In the server's order.
        created: Aware UTC.
        usage: Tokens.
        error: The document, if it is an error envelope.
        extra: Unknown fields; an error beside images, and a usage that cannot be one, as they were sent.
        cost: What its headers say that it cost.
        has_surplus: Whether some items were not taken, as they are more than anyone asks for.
        is_damaged: Whether it is not JSON to its end, so that not all that it says is here.
        task: What it says about a task, if it does.
        raw: The JSON text.
        refused: Images that the server refused, with its reasons; if it refused all, `error` says why.
    """

    items: tuple[AnswerItem, ...] = ()
    created: datetime | None = None
    usage: Usage | None = None
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None
    error: Mapping[str, object] | None = attrs.field(default=None, repr=False)
    extra: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    cost: Cost | None = None
    has_surplus: bool = False
    is_damaged: bool = False
    task: TaskReport | None = None
    raw: bytes = attrs.field(default=b"", repr=False)
    refused: tuple[RefusedImage, ...] = ()

    @property
    def has_images(self) -> bool:
        """Whether images came with it, whole or damaged, or their URLs."""
        return any(item.decoded or item.url or item.failure for item in self.items)

    @property
    def is_running(self) -> bool:
        """Whether it says that a task is still at work, so that other images may come."""
        return self.task is not None and self.task.state is TaskState.RUNNING


def parse_json(text: bytes | bytearray) -> object:
    """
    Return what *text* holds.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    return DECODER.decode(text.decode(json.detect_encoding(text), "surrogatepass"))


def parse_digits(digits: str) -> object:
    """Return a number; one of absurd length stays text, since converting it takes too long."""
    return int(digits) if len(digits) <= MAX_DIGITS else digits


def parse_beginning(text: bytes | bytearray) -> object:
    """
    Return the document that *text* begins with, whatever stands behind it; an empty one if it begins with none.

    Bytes that are not UTF-8 are replaced, and control characters may stand in strings.
    """
    try:
        document, _ = LENIENT.raw_decode(text.decode(json.detect_encoding(text), "replace").lstrip())
    except (ValueError, RecursionError):
        return {}
    return document


MAX_DIGITS = 300
# NaN and infinities, which Python writes, stay text.
DECODER = json.JSONDecoder(parse_constant=str, parse_int=parse_digits)
LENIENT = json.JSONDecoder(parse_constant=str, parse_int=parse_digits, strict=False)


def to_answer(
    document: object,
    decoded: AbstractSet[int],
    failures: Mapping[int, str],
    raw: bytes,
    home: Path | None = None,
    inputs: AbstractSet[str] | None = None,
    *,
    is_doubtful: bool = False,
    seconds: Sequence[int] = (),
) -> ImagesAnswer:
    """
    Return what *document* says.

    Args:
        document: Parsed JSON, with empty strings where images were.
        decoded: Indexes of the images that are whole.
        failures: Why others are not.
        raw: The JSON text, for errors.
        home: Where the images were cut out, if they were.
        inputs: Addresses of images that the request sent; None if it had no images.
        is_doubtful: Whether servers also repeat images of the request at *home*.
        seconds: Items of which one more image was cut out; once for each.

    Raises:
        ProtocolError: It is not an answer of the images API.
    """
    if not isinstance(document, dict):
        raise ProtocolError("The answer is JSON, but not an object.", raw=raw)
    task = read_report(document)
    objects, has_cut_out = find_images(document, task, home, inputs, decoded, is_doubtful=is_doubtful)
    if not has_cut_out:
        decoded, failures, seconds = frozenset(), {}, ()
    if seconds:
        objects = [*add_seconds(objects, seconds)]
    refused = tuple(find_refused(objects, decoded))
    found = tuple(to_items(objects, decoded, failures))
    error = find_error(document, task)
    if error is None and refused and not any(item.decoded or item.url or item.failure for item in found):
        error = to_error_document(objects[refused[0].index])
    if error is not None and not any(item.decoded or item.url for item in found):
        return ImagesAnswer(error=error, task=task, raw=raw, refused=refused, usage=to_usage(document.get("usage")))
    if task is None and not found and not isinstance(document.get("data") or [], list):
        raise ProtocolError("`data` in the answer is not a list.", raw=raw)
    error = document.get("error")
    beside = {"error": error} if says_something(error) else {}
    return ImagesAnswer(
        items=found,
        created=to_datetime(document.get("created")),
        usage=to_usage(document.get("usage")),
        background=to_text(document.get("background")),
        output_format=to_text(document.get("output_format")),
        quality=to_text(document.get("quality")),
        size=to_text(document.get("size")),
        extra={
            **{name: value for name, value in document.items() if name not in KNOWN},
            **to_odd_usage(document.get("usage")),
            **beside,
        },
        task=task,
        raw=raw,
        refused=refused,
    )


def find_refused(items: Sequence[object], decoded: AbstractSet[int]) -> Iterator[RefusedImage]:
    """Yield the items that say why there is no image in their place."""
    for index, item in enumerate(items):
        if not isinstance(item, dict) or index in decoded or to_text(item.get("url")):
            continue
        if (refusal := to_refused(item, index)) is not None:
            yield refusal


def to_refused(item: Mapping[str, object], index: int) -> RefusedImage | None:
    """Return the refusal that *item* is; None if it says nothing of one."""
    error = to_error_document(item).get("error")
    if not says_something(error):
        return None
    known = error if isinstance(error, Mapping) else {"message": error}
    words = {name: str(known[name]) for name in ("code", "type", "message") if is_word(known.get(name))}
    code = words.get("code") or words.get("type")
    return RefusedImage(index=index, code=code, message=words.get("message") or code or "")


def to_error_document(item: object) -> Mapping[str, object]:
    """Return an item without an image as an error document: its `error`, its own words, or the reason of a filter."""
    if not isinstance(item, dict):
        return {}
    if says_something(item.get("error")):
        return {"error": item["error"]}
    if reason := next((item[name] for name in FILTERS if is_word(item.get(name))), None):
        return {"error": {"code": "content_filter", "message": str(reason)}}
    is_told = is_word(item.get("code")) and is_word(item.get("message"))
    return {"error": {"code": item["code"], "message": item["message"]}} if is_told else {}


def find_images(
    document: Mapping[str, object],
    task: TaskReport | None,
    home: Path | None,
    inputs: AbstractSet[str] | None,
    decoded: AbstractSet[int],
    *,
    is_doubtful: bool,
) -> tuple[Sequence[object], bool]:
    """Return the image objects, and whether the images that were cut out are among them; see `to_answer`."""
    is_running = task is not None and task.state is TaskState.RUNNING
    find = find_finished if is_running else find_items
    if inputs is None or ((decoded or home is not None) and not is_doubtful):
        return find(document) if home is None else find_items(document, home), True
    own = find(to_document(without_echoes(document, inputs, doubtful=True)))
    if is_running or any(map(has_image, own)):
        return own, False
    return find_items(to_document(without_echoes(document, inputs, doubtful=False)), home), True


def find_finished(document: Mapping[str, object]) -> Sequence[object]:
    """Return the image objects of a task at work; the `url` of one that is itself at work is where it is asked for."""
    return [None if is_at_work(item) else item for item in find_early(document)]


def is_at_work(item: object) -> bool:
    if not isinstance(item, dict) or has_cut(item):
        return False
    report = read_report(item)
    return report is not None and report.state is not TaskState.SUCCEEDED and (report.is_certain or bool(report.word))


def to_document(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def find_error(document: Mapping[str, object], task: TaskReport | None) -> Mapping[str, object] | None:
    """Return the error envelope that *document* is; a running task has not failed, even with an error beside it."""
    if task is not None and task.error is not None:
        return task.error
    is_running = task is not None and task.state is TaskState.RUNNING
    if says_something(document.get("error")):
        return None if is_running else document
    is_error = is_failure(document) if task is None else not task.is_certain and is_answered_with_success(document)
    return document if is_error and not is_running else None


def add_seconds(items: Sequence[object], seconds: Sequence[int]) -> Iterator[object]:
    """Yield the image objects, and behind each one more for every further image in it."""
    for index, item in enumerate(items):
        yield item
        for _ in range(seconds.count(index)):
            yield {"revised_prompt": item.get("revised_prompt")} if isinstance(item, dict) else None


def to_items(items: Sequence[object], decoded: AbstractSet[int], failures: Mapping[int, str]) -> Iterator[AnswerItem]:
    # Of a key that stands twice the parser keeps the last; an image of the first one is paid for all the same.
    lost = max(decoded, default=-1) + 1 - len(items)
    for index, item in enumerate([*items, *[None] * lost]):
        known = item if isinstance(item, dict) else {}
        if isinstance(item, dict) or index in decoded or index in failures:
            yield AnswerItem(
                index=index,
                decoded=index in decoded,
                failure=failures.get(index),
                url=to_text(known.get("url")),
                revised_prompt=to_text(known.get("revised_prompt")),
                extra={name: value for name, value in known.items() if name not in KNOWN_OF_ITEM},
            )


def says_something(error: object) -> bool:
    """Whether an `error` is one: gateways write beside images an empty one, or one that says that all is well."""
    if isinstance(error, dict):
        return any(is_word(error.get(name)) for name in ("message", "msg", "detail", "code", "type"))
    return any(map(says_something, error)) if isinstance(error, list) else is_word(error)


WELL = frozenset(
    {"success", "succeeded", "successful", "ok", "none", "null", "no error", "noerror", "0", "200", "false"}
)
"""Words, and numbers, by which servers say that there is no error."""


def is_word(value: object) -> bool:
    """Whether *value* is a text or a number that tells of something wrong."""
    if isinstance(value, str):
        return value.strip(" \t\r\n.!").lower() not in {"", *WELL}
    return to_int(value) not in {None, 0, 200}


def to_text(value: object) -> str | None:
    """Return a text that is not empty; gateways write empty texts for absent ones."""
    return value if isinstance(value, str) and value else None


def to_int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def to_datetime(value: object) -> datetime | None:
    seconds = to_int(value)
    if seconds is None or seconds <= 0:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def count(value: object) -> int | None:
    """Return *value* if it is a plausible number of tokens, else None."""
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None  # a bool's type is another


def to_usage(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    return Usage(
        total_tokens=count(value.get("total_tokens")),
        input_tokens=count(value.get("input_tokens", value.get("prompt_tokens"))),
        output_tokens=count(value.get("output_tokens", value.get("completion_tokens"))),
        input_tokens_details=to_details(value.get("input_tokens_details", value.get("prompt_tokens_details"))),
        output_tokens_details=to_details(value.get("output_tokens_details", value.get("completion_tokens_details"))),
        extra={name: item for name, item in value.items() if name not in KNOWN_OF_USAGE},
    )


def to_svg_usage(value: object) -> SVGUsage | None:
    if not isinstance(value, dict):
        return None
    details = value.get("output_tokens_details")
    reasoning = value.get("reasoning_tokens", details.get("reasoning_tokens") if isinstance(details, dict) else None)
    return SVGUsage(
        model=to_text(value.get("model")),
        total_tokens=count(value.get("total_tokens")),
        input_tokens=count(value.get("input_tokens")),
        output_tokens=count(value.get("output_tokens")),
        reasoning_tokens=count(reasoning),
    )


def to_details(value: object) -> TokenDetails | None:
    if not isinstance(value, dict):
        return None
    return TokenDetails(text_tokens=count(value.get("text_tokens")), image_tokens=count(value.get("image_tokens")))


def to_odd_usage(value: object) -> Mapping[str, object]:
    """Return a usage with counts that are not valid, as text under its name; nothing if all are valid."""
    if not isinstance(value, dict):
        return {}
    details = [value.get(name) for name in ("input_tokens_details", "output_tokens_details")]
    counts = [value.get(name) for name in COUNTS]
    counts += [detail.get(name) for detail in details if isinstance(detail, dict) for name in COUNTS_OF_DETAILS]
    is_odd = any(item is not None and count(item) is None for item in counts)
    return {"usage": json.dumps(value)} if is_odd else {}
