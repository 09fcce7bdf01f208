"""
Fields and files become segments; a file is a placeholder with a length.

The plan of a body is a value. Only the transport reads the files, anew for every attempt, and it holds the last segment
back until all others have left: a body without its last boundary cannot be executed, so whatever fails before is
provably not billed.

Source: RFC 7578 (form data), RFC 2046 §5.1 (boundaries), WHATWG HTML §4.10.21.8 (names).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import attrs

HELD_BACK = 16 * 1024
"""How much of a large JSON body waits for the rest to leave."""


@attrs.frozen
class FilePlaceholder:
    """
    Where the bytes of a file go.

    Attributes:
        index: Which of the request's files, from 0.
        size: Its bytes.
    """

    index: int
    size: int


Segment: TypeAlias = bytes | FilePlaceholder


@attrs.frozen(kw_only=True)
class BodyPlan:
    """
    A body, ready to be written.

    Attributes:
        segments: What may leave at once, in order.
        final: What is held back until the segments have left.
        content_type: Header value.
    """

    segments: tuple[Segment, ...]
    final: bytes = attrs.field(repr=lambda final: f"<{len(final)} bytes>")
    content_type: str

    @property
    def length(self) -> int:
        """The exact Content-Length, in bytes."""
        return sum(len(part) if isinstance(part, bytes) else part.size for part in self.segments) + len(self.final)


@attrs.frozen(kw_only=True)
class FilePart:
    """
    A file in a form.

    Attributes:
        name: Field name.
        filename: ASCII, with the extension that is true of the bytes.
        content_type: Media type of the bytes.
        slot: Where the bytes are.
    """

    name: str
    filename: str
    content_type: str
    slot: FilePlaceholder


def plan_json(body: bytes) -> BodyPlan:
    """Return the plan of a JSON body."""
    cut = max(0, len(body) - HELD_BACK)
    segments = (body[:cut],) if cut else ()
    return BodyPlan(segments=segments, final=body[cut:], content_type="application/json")


def plan_multipart(fields: Sequence[tuple[str, str]], files: Sequence[FilePart], boundary: str) -> BodyPlan:
    """
    Return the plan of a form: text fields first, then files.

    Args:
        fields: Names and values.
        files: In the order in which they are sent.
        boundary: At most 70 ASCII letters, digits and dashes that occur nowhere in the form.
    """
    return BodyPlan(
        segments=tuple(joined([*text_segments(fields, boundary), *file_segments(files, boundary)])),
        final=f"--{boundary}--\r\n".encode(),
        content_type=f"multipart/form-data; boundary={boundary}",
    )


def text_segments(fields: Sequence[tuple[str, str]], boundary: str) -> Iterator[Segment]:
    for name, value in fields:
        yield f'--{boundary}\r\nContent-Disposition: form-data; name="{quoted(name)}"\r\n\r\n{value}\r\n'.encode()


def file_segments(files: Sequence[FilePart], boundary: str) -> Iterator[Segment]:
    for file in files:
        disposition = f'form-data; name="{quoted(file.name)}"; filename="{quoted(file.filename)}"'
        head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: {file.content_type}\r\n\r\n"
        yield head.encode()
        yield file.slot
        yield b"\r\n"


def quoted(name: str) -> str:
    # WHATWG: these three are percent-encoded, everything else stands as UTF-8.
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")


def joined(segments: Sequence[Segment]) -> Iterator[Segment]:
    """Yield *segments* with neighbouring bytes as one, so that each costs one write."""
    run = b""
    for segment in segments:
        if isinstance(segment, bytes):
            run += segment
            continue
        yield run
        yield segment
        run = b""
    if run:
        yield run
