"""The part of a list that one of several jobs makes, each with a folder of its own and its share of all limits."""

from __future__ import annotations

import re
from typing import Self

import attrs

from burncloud_images.bulk.options import JobOptions
from burncloud_images.errors import ConfigurationError

SHARD = "shard"
"""Under which name a job's store remembers which part of its lists it takes."""
MOST = 10_000
"""Shards of a list; each needs a folder."""
WRITTEN = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
DIGITS = 8
"""Hexadecimal digits of a key that decide; keys are digests, so the shards are about equally large."""


@attrs.frozen
class JobShard:
    """
    One of several parts of a list.

    A request belongs to exactly one of them, whatever the order of the rows and whichever list names it.

    Attributes:
        number: Which, from 1.
        count: How many there are.
    """

    number: int
    count: int

    def __attrs_post_init__(self) -> None:
        """
        Check the numbers.

        Raises:
            ConfigurationError: The numbers do not name a shard.
        """
        if not 1 <= self.number <= self.count <= MOST:
            raise ConfigurationError(
                f"{self} is not a shard: the first number is from 1 to the second, which is at most {MOST:,}."
            )

    @classmethod
    def of(cls, text: str) -> Self:
        """
        Return the shard that is written as `2/8`.

        Raises:
            ConfigurationError: The text is not two numbers as `2/8`, or they do not name a shard.
        """
        written = WRITTEN.fullmatch(text.strip())
        if written is None:
            raise ConfigurationError(f"{text!r} is not a shard; write the second of eight as 2/8.")
        return cls(int(written[1]), int(written[2]))

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{self.number}/{self.count}"

    def has(self, key: str) -> bool:
        """Return whether the request with this key belongs to it."""
        return int(key[:DIGITS], 16) % self.count == self.number - 1

    def has_line(self, line: int) -> bool:
        """Return whether a line that is not a request is told of here; each is told of once."""
        return line % self.count == self.number % self.count

    def divide(self, options: JobOptions) -> JobOptions:
        """Return *options* with the share of this job; the shares of all come to the whole."""
        return attrs.evolve(
            options,
            max_cost=self.share(options.max_cost),
            max_images=self.share(options.max_images),
            requests_per_minute=self.part(options.requests_per_minute),
            images_per_minute=self.part(options.images_per_minute),
            tokens_per_minute=self.part(options.tokens_per_minute),
        )

    def share(self, whole: int | None) -> int | None:
        return None if whole is None else whole * self.number // self.count - whole * (self.number - 1) // self.count

    def part(self, rate: float | None) -> float | None:
        return None if rate is None else rate / self.count
