"""A size is found for a shape and a number of pixels, and each model takes the one that is found for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images import errors, sizes
from burncloud_images.model.rules import KNOWN, field_violations


@pytest.mark.parametrize(
    ("ratio", "options", "size"),
    [
        ("16:9", {}, "1328x752"),
        ("9:16", {}, "752x1328"),
        ("3:2", {}, "1232x816"),
        (1.5, {}, "1232x816"),
        ("3.0:2", {}, "1232x816"),
        (1, {}, "1008x1008"),
        ("1:1", {"pixels": 8_294_400}, "2880x2880"),
        ("16:9", {"pixels": 8_294_400}, "3840x2160"),
        ("3:1", {}, "1728x576"),
        ("16:9", {"model": "dall-e-3"}, "1792x1024"),
        ("2:3", {"model": "gpt-image-1"}, "1024x1536"),
        ("1:1", {"model": "dall-e-2", "pixels": 300_000}, "512x512"),
        ("1:1", {"model": "gpt-image-1.5-2026-01-01"}, "1024x1024"),
        ("16:9", {"model": "flux-9", "pixels": 10_000}, "128x80"),
        ("16:9", {"model": None}, "1328x752"),
    ],
)
def test_size_of_a_shape_is_found(ratio, options, size):
    """It is the nearest one that the model takes."""
    assert size == sizes.fit(ratio, **options)


@given(
    st.integers(100, 300).map(lambda hundredths: hundredths / 100),
    st.integers(655_360, 4_900_000),
    st.booleans(),
    st.sampled_from([model for model in KNOWN if "-2" in model and "dall" not in model]),
)
def test_free_sizes_are_near_and_within_limits(ratio, pixels, upright, model):
    """Each ratio that the documents allow has a size, with about as many pixels as are wanted."""
    size = sizes.fit(1 / ratio if upright else ratio, pixels=pixels, model=model)
    width, height = map(int, size.split("x"))

    assert () == field_violations("generations", {"model": model, "size": size})
    assert 655_360 <= width * height <= 8_294_400
    assert 0.9 < width * height / pixels < 1.1
    assert 0.93 < max(width, height) / min(width, height) / ratio < 1.07


@pytest.mark.parametrize(
    ("ratio", "options", "said"),
    [
        *((ratio, {}, "is not a ratio") for ratio in ("", "x", "0:1", "1:0", "-1", "nan", "inf", "1:2:3", True, None)),
        ("4:1", {}, "takes no size of 4:1"),
        ("16:9", {"pixels": 100_000}, "takes no size"),
        ("16:9", {"pixels": 100_000_000}, "takes no size"),
        ("16:9", {"pixels": 0}, "is not a number of pixels"),
        ("16:9", {"pixels": True}, "is not a number of pixels"),
        ("16:9", {"model": "gpt-image-1"}, "has no size of 16:9; it takes 1024x1024"),
    ],
)
def test_nonsense_is_refused(ratio, options, said):
    """One sentence says why; no square takes the place of what was wanted."""
    with pytest.raises(errors.InvalidRequestError, match=said):
        sizes.fit(ratio, **options)
