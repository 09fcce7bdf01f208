"""What one process is asked to do, as a value that fits on its command line."""

from __future__ import annotations

import json
from typing import Literal, TypeAlias

import attrs

__all__ = ["MB", "TINY", "Task", "Verb", "Work"]

MB = 1_000_000
TINY = 70
"""Bytes of the smallest picture."""

Verb: TypeAlias = Literal["to_files", "to_memory", "stream", "upload", "download", "small"]

ANSWERS: dict[Verb, str] = {
    "to_files": "base64",
    "to_memory": "base64",
    "stream": "events",
    "upload": "taken",
    "download": "links",
    "small": "base64",
}
"""What the server answers; each of these names a maker in `site`."""


@attrs.frozen(kw_only=True)
class Work:
    """
    Requests of one kind.

    Attributes:
        verb: The contender's method; it makes one request.
        requests: How many.
        at_once: How many are under way together.
        images: In each request or answer; of a stream, the events.
        size: Of each image, in bytes.
        ticks: Whether the event loop is watched for stalls.
        thorough: Whether files are hashed and synced.
        overwrite: Whether later files take the place of earlier ones.
        tls: Whether the server is asked over TLS.
    """

    verb: Verb
    requests: int = 1
    at_once: int = 1
    images: int = 1
    size: int = TINY
    ticks: bool = True
    thorough: bool = False
    overwrite: bool = False
    tls: bool = False

    @property
    def answer(self) -> str:
        """What the server answers, as the first part of the path."""
        return f"{ANSWERS[self.verb]}-{self.images}x{self.size}{'-tls' if self.tls else ''}"

    @property
    def smallest(self) -> Work:
        """One request of the same kind; it loads what is loaded late."""
        return attrs.evolve(self, requests=1, at_once=1, images=1, size=TINY)


@attrs.frozen(kw_only=True)
class Task:
    """
    Work and where it is done.

    Attributes:
        work: What.
        server: The server's address, without a path.
        folder: For files that are made.
        inputs: Folder of the files that are uploaded.
    """

    work: Work
    server: str
    folder: str
    inputs: str

    @property
    def base_url(self) -> str:
        """Of the API that gives the answer that is wanted."""
        return f"{self.server}/{self.work.answer}/v1"

    def to_json(self) -> str:
        """Return this as one line."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Task:
        """Return what `to_json` wrote."""
        fields = json.loads(line)
        return cls(**{**fields, "work": Work(**fields["work"])})
