"""
Which few requests of a list are bought to measure what its images cost, and what they told.

The measured requests are requests of the job like all others, so the job does not buy them again.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import TypeAlias

import attrs

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.records import BOUGHT, NewRequest, RequestRecord, RequestState
from burncloud_images.prices.cost import count_inputs
from burncloud_images.prices.measured import (
    QUALITIES,
    CostFactors,
    CostMeasurement,
    CostSample,
    from_json,
    measure,
    to_json,
)
from burncloud_images.prices.table import PriceTable

METADATA = "measured"
MAX_KINDS = 10_000
"""Kinds of requests from which some are chosen; a list of more has fields of its own in each row."""
MOST_PIXELS = 3840 * 2160
MAX_SAMPLES = 1000
"""Done requests that count; where a job has more, the first of them."""
SPENT = BOUGHT | {RequestState.DONE, RequestState.FAILED, RequestState.IN_DOUBT}
"""States in which money may have been spent."""

Rank: TypeAlias = tuple[bool, int, int, int, int]


@attrs.define(kw_only=True)
class MeasurementCandidates:
    """
    The requests of a list among which the measured ones are chosen: of each kind those with the longest prompts.

    Attributes:
        most: How many are to be chosen.
        kinds: The requests with the bytes of their prompts, the longest first, by what their cost depends on besides.
    """

    most: int
    model: str | None = None
    kinds: dict[CostFactors, list[tuple[int, NewRequest]]] = attrs.field(factory=dict, repr=False)

    def add(self, row: NewRequest) -> None:
        """Consider a request of the list."""
        factors = CostFactors.of(self.fields(row.document))
        kind = attrs.evolve(factors, prompt=0)
        if kind not in self.kinds and len(self.kinds) == MAX_KINDS:
            return
        rows = self.kinds.setdefault(kind, [])
        if len(rows) < self.most or factors.prompt > rows[-1][0]:
            insort(rows, (factors.prompt, row), key=lambda candidate: -candidate[0])
            del rows[self.most :]

    def choose(self, prices: PriceTable | None) -> Sequence[NewRequest]:
        """
        Return the requests to buy, the dearest kind first.

        First comes one of each kind whose images no other kind's are sure to cost as much as, and of these first those
        whose cost no price tells; then a second one of each, and so on; then of the other kinds.
        """
        kinds = sorted(self.kinds, key=lambda kind: self.rank(self.kinds[kind][0][1], prices), reverse=True)
        covered = set(self.find_covered())
        groups = ([kind for kind in kinds if (kind in covered) is is_covered] for is_covered in (False, True))
        rounds = (zip_longest(*(self.kinds[kind] for kind in group)) for group in groups)
        rows = [found[1] for one in chain(*rounds) for found in one if found is not None]
        return rows[: self.most]

    def find_covered(self) -> Iterator[CostFactors]:
        """Yield the kinds whose requests are all sure to cost no more than those of another kind."""
        alike: dict[tuple[str, str], list[CostFactors]] = {}
        for kind, rows in self.kinds.items():
            alike.setdefault((kind.model, kind.others), []).append(attrs.evolve(kind, prompt=rows[0][0]))
        for kinds in alike.values():
            for kind in kinds:
                if any(other is not kind and other.covers(kind) for other in kinds):
                    yield attrs.evolve(kind, prompt=0)

    def fields(self, document: Mapping[str, object]) -> Mapping[str, object]:
        return {"model": self.model, **document}

    def rank(self, row: NewRequest, prices: PriceTable | None) -> Rank:
        """Return what a dearer request has more of; what the server decides may be the dearest."""
        fields = self.fields(row.document)
        worst = prices.worst_case(fields) if prices is not None else None
        return (
            worst is None,
            worst or 0,
            QUALITIES.get(str(fields.get("quality")), len(QUALITIES)),
            count_pixels(fields.get("size")),
            count_inputs(fields),
        )


def count_pixels(size: object) -> int:
    """Return the pixels of a size such as `1024x1024`; those of the largest for any other, as the server decides."""
    width, _, height = str(size).partition("x")
    return int(width) * int(height) if width.isdecimal() and height.isdecimal() else MOST_PIXELS


async def measure_requests(store: JobStore, model: str | None) -> tuple[CostMeasurement, ...]:
    """Return what the answers to the done requests of a job tell, and remember it there."""
    samples: list[CostSample] = []
    async for record in store.records({RequestState.DONE}):
        if (sample := to_sample(record, model)) is not None:
            samples.append(sample)
        if len(samples) == MAX_SAMPLES:
            break
    measured = measure(samples)
    await store.set_metadata(METADATA, to_json(measured))
    return measured


def to_sample(record: RequestRecord, model: str | None) -> CostSample | None:
    """Return what a request took; None if it has no images."""
    if not record.images:
        return None
    usage, cost = record.about.get("usage"), record.about.get("cost")
    return CostSample(
        fields={"model": model, **record.document},
        images=len(record.images),
        usage=usage if isinstance(usage, Mapping) else {},
        cost=cost if isinstance(cost, int) else None,
    )


async def open_measurements(path: Path) -> tuple[CostMeasurement, ...]:
    """
    Return what was measured in the job whose store is at *path*.

    Raises:
        JobError: The store cannot be read.
    """
    async with await JobStore.open_for_reading(path) as store:
        return from_json(await store.get_metadata(METADATA))


async def reserve_unpriced(
    store: JobStore, prices: PriceTable, model: str | None, states: Collection[RequestState] = SPENT
) -> None:
    """Reserve the worst case of requests in *states* that were or may have been bought before it was known."""
    async for record in store.records(states):
        worst = prices.worst_case({"model": model, **record.document})
        if worst and record.cost is None and not record.reserved:
            await store.reserve(record.key, worst)
