"""What one process is asked to do with a list, as a value that fits on its command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, TypeAlias

import attrs

__all__ = ["Task", "Way", "write_list"]

Way: TypeAlias = Literal["map", "job"]

PICTURES = 500
"""Different prompts; the emulator remembers what it drew, so that it is no slower than a gateway's cache."""
ROW = {"model": "gpt-image-2", "size": "1024x640", "quality": "low"}


@attrs.frozen(kw_only=True)
class Task:
    """
    A list and what is done with it.

    Attributes:
        way: `map` sends the calls and writes synced files; `job` keeps a store as well.
        rows: How many.
        at_once: How many requests are under way together.
        base_url: Of the server.
        folder: For everything that is written; `list.jsonl` is there.
    """

    way: Way
    rows: int
    at_once: int
    base_url: str
    folder: str

    @property
    def list(self) -> Path:
        """The rows."""
        return Path(self.folder, "list.jsonl")

    def to_json(self) -> str:
        """Return this as one line."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Task:
        """Return what `to_json` wrote."""
        return cls(**json.loads(line))


def write_list(path: Path, rows: int) -> None:
    """Write a list of requests of which each is another, for pictures that come again and again."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            row = {"prompt": f"a lake, {number % PICTURES}", "repeat": number // PICTURES, **ROW}
            file.write(json.dumps(row) + "\n")
