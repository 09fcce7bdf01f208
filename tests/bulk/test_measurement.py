"""Which requests of a list are measured, and what the store remembers of them."""

import pytest

from burncloud_images.bulk.measurement import MeasurementCandidates, count_pixels
from burncloud_images.bulk.records import NewRequest
from burncloud_images.prices.table import PriceTable

LISTED = PriceTable.listed()
FLARE = "gpt-image-2.6-flare"


def choose(most, *documents, model=None):
    candidates = MeasurementCandidates(most=most, model=model)
    for number, document in enumerate(documents):
        fields = {"model": FLARE, "prompt": "a fox", "quality": "low", "size": "1024x1024", **document}
        candidates.add(NewRequest(key=f"{number:032x}", document=fields, source="x", line=number + 1))
    return [row.line - 1 for row in candidates.choose(LISTED)]


@pytest.mark.parametrize(
    ("most", "documents", "chosen"),
    [
        (1, [{}, {"quality": "high"}, {"quality": "medium"}], [1]),
        (2, [{}, {"quality": "high"}, {"quality": "medium"}], [1, 2]),
        (1, [{}, {"quality": "high"}, {"quality": "auto"}], [2]),
        (2, [{}, {"size": "2048x2048"}, {"size": "auto"}], [2, 1]),
        (1, [{"quality": "high", "model": "gpt-image-2"}, {}], [1]),
        (2, [{}, {"prompt": "a long prompt"}, {"prompt": "a longer prompt than this"}], [2, 1]),
        (2, [{}, {}, {"quality": "high", "prompt": "x"}], [2, 0]),
        (2, [{"prompt": "x" * 3000}, {"quality": "high"}], [1, 0]),
        (3, [{"resolution": "4K"}, {"resolution": "1K"}, {}], [0, 1, 2]),
        (3, [{"seed": number} for number in range(9)], [0, 1, 2]),
        (1, [{}, {"image": [{"path": "a"}, {"path": "b"}]}, {"image": {"path": "a"}}], [1]),
        (9, [{}, {"quality": "high"}], [1, 0]),
    ],
    ids=str,
)
def test_the_dearest_kinds_come_first(most, documents, chosen):
    """One of each kind that no other covers, the longest prompt of it; then a second one, then the other kinds."""
    assert chosen == choose(most, *documents)


def test_the_default_model_counts_where_a_row_names_none():
    """It is what is paid for."""
    assert [1] == choose(1, {"model": "gpt-image-2"}, {}, model=FLARE)


def test_a_list_of_countless_kinds_is_looked_at_in_bounds():
    """A field of its own in each row makes each a kind of its own."""
    assert 3 == len(choose(3, *({"note": number} for number in range(12_000))))


@pytest.mark.parametrize(
    ("size", "pixels"), [("10x20", 200), (None, 8_294_400), ("4K", 8_294_400), ("ax1", 8_294_400), (7, 8_294_400)]
)
def test_pixels_of_a_size(size, pixels):
    """A size that is not given in pixels counts as the largest."""
    assert pixels == count_pixels(size)
