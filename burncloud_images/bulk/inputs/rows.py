"""From a parsed row to a request: operation, defaults, images, id and repeat; and warnings, each given once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from burncloud_images.bulk.inputs.columns import (
    COLUMNS,
    FIELDS,
    OPERATIONS,
    ParsedRow,
    UnusableRow,
    clip,
    nearest,
    simplify,
)
from burncloud_images.bulk.inputs.row_images import ImageFileInspector, InspectedImage
from burncloud_images.bulk.inputs.templates import Template
from burncloud_images.bulk.records import BadRow, NewRequest
from burncloud_images.bulk.request_json import REQUESTS, to_document, to_key
from burncloud_images.errors import InvalidRequestError, Violation
from burncloud_images.files.uploads import UPLOADABLE
from burncloud_images.model.inputs import SCHEME, BytesSource, FileID, ImageSource, ImageURL, PathSource, to_source
from burncloud_images.model.media import examine_bytes
from burncloud_images.model.operations import IMAGE_FIELDS, ImagesRequest, Operation
from burncloud_images.model.rule_kinds import MeasuredImage
from burncloud_images.model.rules import FILE, field_violations, upload_violations
from burncloud_images.model.sizes import PIXELS, fit
from burncloud_images.wire.base_url import is_loopback

MAX_WARNINGS = 100
"""Causes that are told apart; an input can name a new column in each of a million rows."""
MAX_NAME = 40


@attrs.define
class RowWarnings:
    """Collects warnings, each cause with the line where it first stands."""

    source: str
    seen: set[tuple[str, ...]] = attrs.field(factory=set, repr=False)
    waiting: list[str] = attrs.field(factory=list, repr=False)

    def warn_of_column(self, name: str, line: int) -> None:
        """Warn of a column that is not sent."""
        if self.is_new("column", name[:MAX_NAME]):
            slip = nearest(name)
            advice = f"Did you mean {slip}?" if slip else "Put further API fields into extra."
            shown = f"Column {clip(name, MAX_NAME)!r}" if name.strip() else "A column without a name"
            said = "is not a known field and is not sent; the metadata keep it"
            self.waiting.append(f"{self.source}, line {line}: {shown} {said}. {advice}")

    def warn_of_violation(self, violation: Violation, model: object, line: int) -> None:
        """Warn of a value beyond a documented limit."""
        place = [str(line)] if violation.source == FILE else []  # each file is wrong in a way of its own
        if self.is_new("limit", violation.field, str(model)[:MAX_NAME], *place):
            self.waiting.append(f"{self.source}, line {line}: {clip(str(violation))} ({violation.source}).")

    def is_new(self, *cause: str) -> bool:
        if cause in self.seen:
            return False
        if len(self.seen) == MAX_WARNINGS:
            self.waiting.append(f"{self.source}: Further warnings of this kind are not shown.")
        if len(self.seen) <= MAX_WARNINGS:
            self.seen.add(cause)
        return len(self.seen) <= MAX_WARNINGS

    def take(self) -> list[str]:
        """Return what has not been said yet."""
        taken, self.waiting = self.waiting, []
        return taken


MAX_URL = 8192
MAX_INPUT_IMAGES = 100
"""Of one request; the documents say 16."""
STAND_IN = ImageURL("https://stand-in.invalid/")
"""For an image that cannot be used, so that what else is wrong is found as well."""


@attrs.frozen
class RowDefaults:
    """
    Values for rows that do not have their own.

    Attributes:
        own: Fields of the API, each for the operations that have it, and `operation`.
        extra: Fields that this version does not know.
    """

    own: Mapping[str, object]
    extra: Mapping[str, object]

    @classmethod
    def of(cls, values: Mapping[str, object]) -> RowDefaults:
        """
        Return what *values* give; those that no operation has are sent as `extra`.

        Raises:
            InvalidRequestError: Their own `extra` is not a mapping.
        """
        given = {name: value for name, value in values.items() if value is not None}
        fields = frozenset({"operation"}).union(*FIELDS.values())
        own = {name: value for name, value in given.items() if name in fields and name != "extra"}
        extra = {name: value for name, value in given.items() if name not in fields}
        further = given.get("extra", {})
        if not isinstance(further, Mapping):
            raise InvalidRequestError([Violation("extra", "it has to be a mapping")])
        return cls(own, {**extra, **further})

    @property
    def make_requests(self) -> bool:
        """Whether a row that gives nothing else is a request."""
        return bool({"prompt", "image"} & set(self.own))


def find_operation(values: Mapping[str, object]) -> Operation:
    """Return which operation is asked for: as it is said, or as prompt and image say."""
    word = values.get("operation")
    if word is not None:
        known = OPERATIONS.get(word) if isinstance(word, str) else None
        if known is None:
            raise InvalidRequestError([Violation("operation", f"it has to be one of {', '.join(REQUESTS)}")])
        return known
    if "image" in values:
        return "edits" if "prompt" in values else "variations"
    return "generations"


def with_extra(default: Mapping[str, object], own: object) -> Mapping[str, object]:
    if not default or not (own is None or isinstance(own, Mapping)):
        return {}
    return {"extra": {**default, **(own or {})}}


def make(operation: Operation, values: dict[str, Any], violations: Sequence[Violation]) -> ImagesRequest:
    """Return the request, or raise for all that is wrong."""
    values = {**missing(operation, values), **values}
    if operation == "edits" and any(isinstance(source, FileID) for source in each_source(values)):
        values.setdefault("by_reference", True)  # a file ID can only be sent by reference
    try:
        request = REQUESTS[operation](**values)
    except InvalidRequestError as error:
        raise InvalidRequestError([*violations, *error.violations]) from None
    if violations:
        raise InvalidRequestError(violations)
    return request


def missing(operation: Operation, values: Mapping[str, object]) -> Mapping[str, object]:
    """Return what is to be refused as missing."""
    if operation == "variations" and "image" not in values:
        raise InvalidRequestError([Violation("image", "it has to be given")])
    empty: dict[str, object] = {"prompt": None, "image": ()}
    return {name: value for name, value in empty.items() if name in FIELDS[operation]}


def each_source(values: Mapping[str, Any]) -> Iterator[object]:
    for name in IMAGE_FIELDS:
        value = values.get(name)
        yield from value if isinstance(value, list) else [value]


def check_url(url: str, *, allow_http: bool) -> ImageURL:
    """
    Return an address that an image may be fetched from.

    Raises:
        UnusableRow: It is not one; the reason does not show it, since it may be signed.
    """
    if url[:5].lower() == "data:":
        return check_data(url)
    try:
        parts = urlsplit(url)
        scheme, host, _ = parts.scheme.lower(), parts.hostname or "", parts.port
    except ValueError:
        raise UnusableRow("its URL cannot be read") from None
    if scheme not in {"http", "https"}:
        raise UnusableRow("its URL is neither https nor http")
    if len(url) > MAX_URL or not url.isprintable() or " " in url or not host or "@" in parts.netloc:
        raise UnusableRow("its URL is too long, has no host, or has characters that a URL cannot have")
    if scheme == "http" and not allow_http and not is_loopback(host):
        raise UnusableRow("it would be fetched unencrypted; use https://")
    return ImageURL(url)


def check_data(url: str) -> ImageURL:
    try:
        source = to_source(url)
    except InvalidRequestError as error:
        raise UnusableRow(error.violations[0].message) from None
    if not isinstance(source, BytesSource) or examine_bytes(source.data).media_type not in UPLOADABLE:
        raise UnusableRow("the data: URL does not hold a PNG, JPEG, WebP or GIF image")
    return ImageURL(f"data:{url[5:]}")


OWN = frozenset({"id", "custom_id", "repeat"})
FIELDS_IN_TEMPLATES = OWN | {"prompt", "model", "size", "quality", "n", "image", "mask", "markup", "operation", "extra"}
"""Fields that are sent although a template names them; what it names otherwise, as {style}, is its own."""
MAX_ID = 200
MAX_REPEAT = 1_000_000_000


@attrs.define(kw_only=True)
class RowParser:
    """
    Makes requests of the parsed rows of one input; blocks where files are named.

    Attributes:
        source: Name of the input.
        defaults: For what a row does not give.
        files: Those that rows may name.
        allow_http: Whether images may be at unencrypted addresses.
        template: Makes the prompts, of the columns of rows.
        models: Each row that names no model becomes a request for each of these.
        aspect: The shape of images whose size no row gives; their model decides the size.
        pixels: About how many they have; None for a million.
        row_warnings: What is to be said about the rows.
    """

    source: str
    defaults: RowDefaults
    files: ImageFileInspector
    allow_http: bool = False
    template: Template | None = None
    models: Sequence[str] = ()
    aspect: str | None = None
    pixels: int | None = None
    row_warnings: RowWarnings = attrs.field(
        default=attrs.Factory(lambda parser: RowWarnings(parser.source), takes_self=True)
    )

    def to_rows(self, parsed: ParsedRow) -> Iterator[NewRequest | BadRow]:
        """
        Yield what *parsed* comes to: one request, or one for each model.

        Raises:
            UnusableRow: It names no model, and its size depends on one; so it is with most rows of the input.
        """
        if not self.models or parsed.problem is not None or parsed.values.get("model") is not None:
            self.require_model(parsed)
            yield self.to_row(parsed)
            return
        for model in self.models:
            row = self.to_row(attrs.evolve(parsed, values={**parsed.values, "model": model}))
            yield attrs.evolve(row, label=f"{row.label}-{model}") if row.label else row
            if isinstance(row, BadRow):
                return

    def require_model(self, parsed: ParsedRow) -> None:
        given = {name for name, value in parsed.values.items() if value is not None} | self.defaults.own.keys()
        if self.aspect is not None and parsed.problem is None and not given & {"model", "size"}:
            lacking = f"line {parsed.line} names no model, and the size for {self.aspect} depends on it"
            raise UnusableRow(f"{lacking}; add --model, or a size")

    def to_row(self, parsed: ParsedRow) -> NewRequest | BadRow:
        """Return what *parsed* comes to."""
        given = {name: value for name, value in parsed.values.items() if value is not None}
        label = ""
        try:
            label = find_label(given)
            if parsed.problem is not None:
                return self.refuse(parsed, label, parsed.problem)
            repeat = find_repeat(given)
            if self.template is not None:
                given["prompt"] = self.template.fill(given)
            own = self.own_columns(given, parsed.line)
            fields = {name: value for name, value in given.items() if name in COLUMNS - OWN and name not in own}
            request, files = self.build(fields)
            document = self.judge(request, files, parsed.line)
        except UnusableRow as problem:
            return self.refuse(parsed, label, parsed.problem or str(problem))
        except InvalidRequestError as error:
            return self.refuse(parsed, label, "; ".join(map(str, error.violations)))
        return NewRequest(
            key=to_key(document, repeat),
            document=document,
            source=self.source,
            line=parsed.line,
            label=label,
            repeat=repeat,
            columns=own,
        )

    def own_columns(self, given: Mapping[str, object], line: int) -> Mapping[str, object]:
        """
        Return the user's own columns, and warn of those that may have been meant for the API.

        Raises:
            UnusableRow: It asks for a stream.
        """
        if given.get("stream"):
            raise UnusableRow("stream: rows cannot ask for streams")
        used = set(map(simplify, self.template.names)) - FIELDS_IN_TEMPLATES if self.template is not None else set()
        own = {name: value for name, value in given.items() if name not in COLUMNS or name in used}
        for name in own:
            if simplify(name) not in used:
                self.row_warnings.warn_of_column(name, line)
        return {name: to_plain(value) for name, value in own.items() if name.strip()}

    def judge(self, request: ImagesRequest, files: Mapping[Path, InspectedImage], line: int) -> dict[str, object]:
        """
        Return the document of a request, and warn of values beyond documented limits.

        Raises:
            InvalidRequestError: A job cannot keep it.
        """
        document = to_document(request, {path: found.file for path, found in files.items()})
        violations = field_violations(request.operation, document)
        if files:
            # None refuses the row: whether a client minds is for its own `rules` to say.
            certain, advisory = upload_violations(request.operation, document, measure(request, files))
            violations += certain + advisory
        for violation in violations:
            self.row_warnings.warn_of_violation(violation, request.model, line)
        return document

    def build(self, given: Mapping[str, object]) -> tuple[ImagesRequest, Mapping[Path, InspectedImage]]:
        """
        Return the request that columns ask for, and what is known of its files.

        Args:
            given: The fields of the API that are given, and `operation`.

        Raises:
            InvalidRequestError: No server could take it; all reasons.
        """
        own = self.defaults.own
        operation = find_operation({**own, **given})
        taken = FIELDS[operation]
        violations = [
            Violation(name, f"{operation} do not take it")
            for name, value in given.items()
            if name not in taken and name != "operation" and value is not False
        ]
        values: dict[str, Any] = {name: value for name, value in own.items() if name in taken}
        values |= {name: value for name, value in given.items() if name in taken}
        values |= with_extra(self.defaults.extra, values.get("extra"))
        violations.extend(self.add_size(values) if "size" in taken else ())
        found: dict[Path, InspectedImage] = {}
        for name in IMAGE_FIELDS:
            if name in values:
                values[name] = self.find(name, values[name], operation, found, violations)
        return make(operation, values, violations), found

    def add_size(self, values: dict[str, Any]) -> Sequence[Violation]:
        """Add the size of the wanted shape that the model takes; return why it takes none."""
        if self.aspect is not None and values.get("size") is None:
            try:
                values["size"] = fit(self.aspect, pixels=self.pixels or PIXELS, model=values.get("model"))
            except InvalidRequestError as error:
                return error.violations
        return ()

    def find(
        self,
        name: str,
        value: object,
        operation: Operation,
        found: dict[Path, InspectedImage],
        violations: list[Violation],
    ) -> object:
        """Return the sources that the column *name* names; note files and what is wrong."""
        several = name == "image" and operation == "edits"
        words = value if isinstance(value, list) and several else [value]
        sources: list[ImageSource] = []
        if len(words) > MAX_INPUT_IMAGES:
            words = words[:1]
            violations.append(Violation(name, f"no model takes more than {MAX_INPUT_IMAGES} images"))
        for number, word in enumerate(words, start=1):
            try:
                sources.append(self.find_one(word, found))
            except UnusableRow as problem:
                which = f"number {number} of {len(words)}: " if len(words) > 1 else ""
                violations.append(Violation(name, f"{which}{problem}"))
                sources.append(STAND_IN)
        return sources if several else sources[0]

    def find_one(self, word: object, found: dict[Path, InspectedImage]) -> ImageSource:
        match word:
            case str():
                return self.find_text(word, found)
            case {"image_url": str(url), **rest} if not rest:
                return check_url(url, allow_http=self.allow_http)
            case {"file_id": str(identity), **rest} if not rest and identity:
                return FileID(identity)
        raise UnusableRow("it has to be a path, a URL, or an object with image_url or file_id")

    def find_text(self, text: str, found: dict[Path, InspectedImage]) -> ImageSource:
        if SCHEME.match(text) or text[:5].lower() == "data:":
            return check_url(text, allow_http=self.allow_http)
        looked_at = self.files.look(text)
        found[looked_at.file.path] = looked_at
        return PathSource(looked_at.file.path)

    def refuse(self, parsed: ParsedRow, label: str, reason: str) -> BadRow:
        return BadRow(source=self.source, line=parsed.line, label=label, reason=clip(reason))


def to_plain(value: object) -> object:
    """Return a value of a user's own column as JSON has it; dates and the like as text."""
    is_plain = isinstance(value, (str, bool, int, list, dict)) or (isinstance(value, float) and math.isfinite(value))
    return value if is_plain else str(value)


def measure(request: ImagesRequest, files: Mapping[Path, InspectedImage]) -> list[MeasuredImage]:
    """Return the measures of the images of a request; none if some of them are elsewhere."""
    measured: list[MeasuredImage] = []
    for field, source in request.images():
        if not isinstance(source, PathSource):
            return []
        found = files[source.path]
        measured.append(MeasuredImage(field=field, size=found.file.size, media=found.media))
    return measured


def find_label(given: Mapping[str, object]) -> str:
    """Return the row's own name; empty if it has none."""
    if "id" in given and "custom_id" in given:
        raise UnusableRow("id: a row has either id or custom_id")
    value = given.get("id", given.get("custom_id", ""))
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise UnusableRow("id: it has to be text or a whole number")
    label = str(value).strip()
    if len(label) > MAX_ID or not label.isprintable():
        raise UnusableRow(f"id: it is longer than {MAX_ID} characters, or has some that cannot be printed")
    return label


def find_repeat(given: Mapping[str, object]) -> int:
    """Return the `repeat` number, which tells equal requests apart."""
    value = given.get("repeat", 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_REPEAT:
        raise UnusableRow("repeat: it has to be a whole number from 0 that tells equal requests apart")
    return value
