"""
A request as JSON and back, and the key that identifies it.

Rule 1: a document holds what is needed to make the request again in another process, and nothing that is not JSON.
Rule 2: a key is made of what is sent: the fields as they are, with no defaults filled in, and of images their bytes.
Where a file lies, when it was changed, and in which order fields were given make no difference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import attrs

from burncloud_images.bulk.records import InputFile
from burncloud_images.errors import InvalidRequestError, Violation
from burncloud_images.model.inputs import (
    BytesSource,
    CallableSource,
    FileID,
    FileObjectSource,
    ImageSource,
    ImageURL,
    PathSource,
    PillowSource,
    StreamSource,
    to_source,
)
from burncloud_images.model.operations import (
    IMAGE_FIELDS,
    EditRequest,
    GenerationRequest,
    ImagesRequest,
    Operation,
    VariationRequest,
    is_unicode,
)

REQUESTS: Mapping[Operation, type[ImagesRequest]] = {
    kind.operation: kind for kind in (GenerationRequest, EditRequest, VariationRequest)
}

NAMES: Mapping[Operation, tuple[str, ...]] = {
    operation: tuple(field.name for field in attrs.fields(kind)) for operation, kind in REQUESTS.items()
}

MAX_IMAGES_PER_REQUEST = 10_000
"""What one request may ask for: a typing error beyond all documents, and the sums of a job stay numbers."""
MAX_DEPTH = 100
"""Nesting of a field; JSON parsers exhaust their stack at about ten times that."""
MAX_BITS = 256
"""Length of a whole number; Python refuses to read and write much longer ones."""
KEY_BYTES = 16

INSTEAD: Mapping[type, str] = {
    BytesSource: "bytes are gone with the process; write them to a file and give its path",
    FileObjectSource: "an open file is gone with the process; give its path",
    StreamSource: "a stream can be read once only; write it to a file and give its path",
    CallableSource: "an opener is gone with the process; give a path or an ImageURL",
    PillowSource: "a picture in memory is gone with the process; save it to a file and give its path",
}
"""Why a job cannot keep a source, and what it can."""


def to_document(request: ImagesRequest, files: Mapping[Path, InputFile]) -> dict[str, Any]:
    """
    Return *request* as JSON: its operation, the fields that are set, and where its images are.

    Args:
        request: Any of the three.
        files: What is known of the files that it names, by the path that it names them by.

    Raises:
        InvalidRequestError: An image cannot be opened again by another process, or a field is too large to be kept; all
            reasons.
        KeyError: A file is not among *files*.
    """
    document: dict[str, Any] = {"operation": request.operation}
    violations: list[Violation] = []
    for name in NAMES[request.operation]:
        value = getattr(request, name)
        if value is None or value is False:
            continue
        try:
            document[name] = describe(value, files) if name in IMAGE_FIELDS else plain(value)
        except UnserializableValue as problem:
            violations.append(Violation(name, str(problem)))
    if request.n is not None and request.n > MAX_IMAGES_PER_REQUEST:
        violations.append(Violation("n", f"a job takes at most {MAX_IMAGES_PER_REQUEST:,} images of one request"))
    if violations:
        raise InvalidRequestError(violations)
    return document


def to_request(document: Mapping[str, object]) -> ImagesRequest:
    """Return the request that a document of `to_document` describes; its paths are those of the files."""
    values = {name: value for name, value in document.items() if name != "operation"}
    for name in IMAGE_FIELDS:
        if name in values:
            values[name] = restore(values[name])
    make = cast("Callable[..., ImagesRequest]", REQUESTS[cast("Operation", document["operation"])])
    return make(**values)


def to_key(document: Mapping[str, object], repeat: int) -> str:
    """
    Return 32 hex digits that are equal for requests that send the same.

    Args:
        document: Of `to_document`.
        repeat: Which of several equal requests it is, from 0.
    """
    extra = document.get("extra")
    fields = {name: value for name, value in document.items() if name not in NOT_FIELDS}
    if isinstance(extra, Mapping):
        fields |= {name: value for name, value in extra.items() if value is not None}
    images = {name: content(document[name]) for name in IMAGE_FIELDS if name in document}
    asked = [document["operation"], fields, images, bool(document.get("by_reference")), repeat]
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode("ascii"), digest_size=KEY_BYTES).hexdigest()


NOT_FIELDS = frozenset({*IMAGE_FIELDS, "operation", "extra", "by_reference"})


class UnserializableValue(Exception):  # noqa: N818 (never leaves this module)
    """A value that cannot be stored as JSON; the message is one clause."""


def plain(value: object, depth: int = 0) -> object:
    """Return *value* with nothing but dicts and lists in it."""
    if value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise UnserializableValue("it holds a number of too many digits")
        return value
    if depth >= MAX_DEPTH:
        raise UnserializableValue(f"it is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return {name: plain(item, depth + 1) for name, item in value.items()}
    assert isinstance(value, Sequence)  # the request's constructor takes nothing else
    return [plain(item, depth + 1) for item in value]


def describe(value: ImageSource | tuple[ImageSource, ...], files: Mapping[Path, InputFile]) -> object:
    if isinstance(value, tuple):
        return [describe(source, files) for source in value]
    if isinstance(value, PathSource):
        file = files[value.path]
        if not is_unicode(str(file.path)):
            raise UnserializableValue("the file name is not UTF-8 text; rename the file")
        return {"path": str(file.path), "sha256": file.sha256, "size": file.size, "mtime_ns": file.mtime_ns}
    if isinstance(value, ImageURL):
        return {"url": value.url}
    if isinstance(value, FileID):
        return {"file_id": value.id}
    raise UnserializableValue(INSTEAD[type(value)])


def restore(value: object) -> object:
    if isinstance(value, list):
        return [restore(item) for item in value]
    match value:
        case {"path": str(path)}:
            return PathSource(Path(path))
        case {"url": str(url)}:
            return ImageURL(url)
        case {"file_id": str(identity)}:
            return FileID(identity)
    raise ValueError("the document names no image")


def content(value: object) -> object:
    """Return what counts of an image: its bytes, wherever they are, or else its address."""
    if isinstance(value, list):
        return [content(item) for item in value]
    match value:
        case {"sha256": str(sha256)}:
            return {"sha256": sha256}
        case {"url": str(url)} if url[:5].lower() == "data:":
            source = to_source(url)
            assert isinstance(source, BytesSource)
            return {"sha256": hashlib.sha256(source.data).hexdigest()}
    return value
