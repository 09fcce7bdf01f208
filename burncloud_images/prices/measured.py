"""
What images were measured to take, for models of which no document tells the most.

A few requests are bought, and the most that an image of them took, with a margin, is the ceiling for requests that
differ from them in nothing that makes an image dearer.

Rule 1: a ceiling holds for a request with the same model, size and other fields, of the same quality or a lower one,
with as many images to edit or fewer, and with a prompt that is at most a thousand bytes longer.
Rule 2: where quality or size is left to the server, it may choose otherwise next time, so the margin is twice as high.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from burncloud_images.prices.cost import Fields, count_inputs, whole

QUALITIES: Mapping[str, int] = {
    name: rank for rank, name in enumerate(("low", "standard", "medium", "hd", "high", "xhigh", "max"))
}
"""Names of qualities, each dearer than those before it that the same model has."""
IRRELEVANT = frozenset({
    *("operation", "prompt", "n", "user", "safety_identifier", "moderation", "seed", "response_format", "stream"),
    *("output_compression", "image", "mask", "markup", "model", "quality"),
})  # fmt: skip
"""Fields that do not change what an image costs, and those that are compared by themselves."""
LONGER_PROMPT = 1000
"""Bytes by which a prompt may be longer: some 250 tokens, or an eighth of a cent, which the margin covers."""
LEAST_MARGIN = 4
"""The margin is at least a quarter."""


@attrs.frozen(kw_only=True)
class CostFactors:
    """
    What the cost of an image depends on.

    Attributes:
        model: Its name; empty if the server decides.
        quality: Empty if the server decides.
        others: All other fields that may matter, as JSON.
        inputs: How many images are to be edited.
        prompt: Bytes of the prompt.
    """

    model: str
    quality: str
    others: str
    inputs: int
    prompt: int

    @classmethod
    def of(cls, fields: Fields) -> CostFactors:
        """Return those of a request."""
        others = {
            name: value for name, value in fields.items() if name not in IRRELEVANT and value not in (None, "auto")
        }
        quality = fields.get("quality")
        return cls(
            model=str(fields.get("model") or ""),
            quality="" if quality in (None, "auto") else str(quality),
            others=json.dumps(others, sort_keys=True, default=str),
            inputs=count_inputs(fields),
            prompt=len(str(fields.get("prompt") or "").encode(errors="replace")),
        )

    @property
    def is_open(self) -> bool:
        """Whether the server decides on quality or size."""
        return not self.quality or '"size":' not in self.others

    def covers(self, other: CostFactors) -> bool:
        """Return whether an image of *other* costs no more than one of these."""
        return (
            (self.model, self.others) == (other.model, other.others)
            and self.is_as_good(other.quality)
            and self.inputs >= other.inputs
            and self.prompt + LONGER_PROMPT >= other.prompt
        )

    def is_as_good(self, quality: str) -> bool:
        """Return whether the quality is *quality* or a higher one; what the server decides is like nothing else."""
        if self.quality in QUALITIES and quality in QUALITIES:
            return QUALITIES[self.quality] >= QUALITIES[quality]
        return self.quality == quality


@attrs.frozen(kw_only=True)
class CostMeasurement:
    """
    What the images of a few requests took.

    Attributes:
        factors: What they had in common, with the longest prompt of them.
        requests: How many they were.
        tokens: The most output tokens of one image; 0 if an answer did not tell.
        usual_tokens: What they took on average.
        cost: The most nano-dollars of one image, as the answers said; 0 if one did not say.
        usual_cost: What they cost on average.
    """

    factors: CostFactors
    requests: int
    tokens: int = 0
    usual_tokens: int = 0
    cost: int = 0
    usual_cost: int = 0

    def with_margin(self, most: int) -> int:
        """
        Return the ceiling for *most*, which is what was measured.

        The usual estimate of a maximum from k samples is the largest and a k-th part of it. The margin is this part,
        but at least a quarter; twice as much where the server decides on quality or size.
        """
        parts = min(self.requests, LEAST_MARGIN)
        return most + -(-most * (2 if self.factors.is_open else 1) // parts)


@attrs.frozen(kw_only=True)
class CostSample:
    """
    What one request took.

    Attributes:
        fields: The request.
        images: How many came.
        usage: The tokens of the answer.
        cost: Nano-dollars that the answer named; None if it named none.
    """

    fields: Fields = attrs.field(repr=False)
    images: int
    usage: Mapping[str, object]
    cost: int | None = None

    @property
    def tokens(self) -> int:
        """Output tokens of each image, rounded up; 0 if the answer did not tell."""
        made = whole(self.usage.get("output_tokens"))
        made = made or max(0, whole(self.usage.get("total_tokens")) - whole(self.usage.get("input_tokens")))
        return -(-made // max(1, self.images))

    @property
    def each(self) -> int:
        """Nano-dollars of each image, rounded up; 0 if the answer did not say."""
        return -(-(self.cost or 0) // max(1, self.images))


def measure(samples: Iterable[CostSample]) -> tuple[CostMeasurement, ...]:
    """Return a measurement for each kind of request among *samples*; none for those whose answers tell nothing."""
    kinds: dict[CostFactors, list[CostSample]] = {}
    for sample in samples:
        factors = CostFactors.of(sample.fields)
        kinds.setdefault(attrs.evolve(factors, prompt=0), []).append(sample)
    found = [measure_kind(samples) for samples in kinds.values()]
    return tuple(measurement for measurement in found if measurement.tokens or measurement.cost)


def measure_kind(samples: Sequence[CostSample]) -> CostMeasurement:
    tokens, costs = [sample.tokens for sample in samples], [sample.each for sample in samples]
    return CostMeasurement(
        factors=max((CostFactors.of(sample.fields) for sample in samples), key=lambda factors: factors.prompt),
        requests=len(samples),
        tokens=max(tokens) if all(tokens) else 0,
        usual_tokens=sum(tokens) // len(tokens) if all(tokens) else 0,
        cost=max(costs) if all(costs) else 0,
        usual_cost=sum(costs) // len(costs) if all(costs) else 0,
    )


def find_measurement(measured: Iterable[CostMeasurement], fields: Fields) -> CostMeasurement | None:
    """Return the measurement that holds for a request: that of its own kind, else the dearest; None without one."""
    factors = CostFactors.of(fields)
    covering = [measurement for measurement in measured if measurement.factors.covers(factors)]
    return max(
        covering,
        key=lambda found: (
            (found.factors.quality, found.factors.inputs) == (factors.quality, factors.inputs),
            found.cost,
            found.tokens,
        ),
        default=None,
    )


def to_json(measured: Iterable[CostMeasurement]) -> list[dict[str, object]]:
    """Return measurements as JSON."""
    return [attrs.asdict(measurement) for measurement in measured]


def from_json(value: object) -> tuple[CostMeasurement, ...]:
    """Return the measurements of `to_json`; what is not one is left out, so a budget refuses what it told of."""
    found = (read(item) for item in value) if isinstance(value, list) else ()
    return tuple(measurement for measurement in found if measurement is not None)


def read(item: object) -> CostMeasurement | None:
    if not isinstance(item, Mapping):
        return None
    values: dict[str, Any] = dict(item)
    try:
        measurement = CostMeasurement(factors=CostFactors(**values.pop("factors")), **values)
    except (TypeError, ValueError, KeyError):
        return None
    factors = measurement.factors
    numbers = (*attrs.astuple(measurement, recurse=False)[1:], factors.inputs, factors.prompt)
    texts = (factors.model, factors.quality, factors.others)
    is_sound = all(type(number) is int and number >= 0 for number in numbers) and measurement.requests > 0
    return measurement if is_sound and all(isinstance(text, str) for text in texts) else None
