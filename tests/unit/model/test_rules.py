"""The documented limits: which models a row binds, what surely wastes an upload, and what is merely advised."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.errors import Violation
from burncloud_images.model.media import Media
from burncloud_images.model.rule_kinds import MB, MeasuredImage
from burncloud_images.model.rules import (
    FILE,
    KNOWN,
    RULES,
    UPLOAD_RULES,
    covers,
    field_violations,
    upload_violations,
)


def image(field="image", width=16, *, size=100, alpha=True, media_type="image/png") -> MeasuredImage:
    media = Media(media_type=media_type, width=width, height=16, alpha=alpha, complete=True)
    return MeasuredImage(field=field, size=size, media=media)


def advised(operation, model, *images):
    return [str(violation) for violation in upload_violations(operation, {"model": model}, images)[1]]


# --- fields ----------------------------------------------------------------------------------------------------------


def test_all_reasons_are_given_with_their_source():
    """Each violation names its field, and where and when the rule was documented."""
    found = field_violations("generations", {"model": "dall-e-3", "n": 2, "size": "1x1", "prompt": "x"})

    assert ["n", "size"] == [violation.field for violation in found]
    assert {"burncloud, 2025-04-26"} == {violation.source for violation in found}


def test_unset_fields_are_not_looked_at():
    """Absent and None are the same."""
    assert () == field_violations("generations", {"model": "dall-e-3", "style": None, "prompt": "x"})


def test_a_row_binds_its_operations_alone():
    """dall-e-3 makes images and edits none; an upload takes no moderation, a reference does."""
    assert () == field_violations("generations", {"model": "dall-e-3"})
    assert "model" == field_violations("edits", {"model": "dall-e-3"})[0].field
    assert () == field_violations("generations", {"model": "gpt-image-2", "moderation": "low"})
    assert ["it needs by_reference to be True"] == [
        violation.message for violation in field_violations("edits", {"model": "gpt-image-2", "moderation": "low"})
    ]
    assert () == field_violations("edits", {"model": "gpt-image-2", "moderation": "low", "by_reference": True})


def test_not_asking_for_references_is_no_use_of_them():
    """`by_reference=False` is the default, which each model takes."""
    assert () == field_violations("edits", {"model": "dall-e-2", "by_reference": False})
    assert 1 == len(field_violations("edits", {"model": "dall-e-2", "by_reference": True}))


@given(st.dictionaries(st.sampled_from([row.field for row in RULES if row.models]), st.text(max_size=5)))
def test_models_that_are_not_known_are_not_bound(fields):
    """A gateway may serve any model; rows for every model remain, and those are for edits."""
    assert () == field_violations("generations", {**fields, "model": "flux-9"})
    assert () == field_violations("generations", {name: fields[name] for name in fields if name != "model"})


@pytest.mark.parametrize(
    ("model", "bound"),
    [
        ("gpt-image-2", True),
        ("gpt-image-2-2026-04-21", True),
        ("gpt-image-2-2026-04-21-x", False),
        ("gpt-image-2-1999-04-21", False),
        ("gpt-image-20", False),
        ("GPT-IMAGE-2", False),
        (None, False),
        (7, False),
    ],
)
def test_snapshots_are_their_model(model, bound):
    """A date behind the name is left out, anything else makes another model."""
    assert bound == covers(("gpt-image-2",), model)
    assert covers((), model)


def test_rows_of_every_kind_have_sources_and_known_models():
    """Nothing is bound by hearsay."""
    for row in (*RULES, *(row for row in UPLOAD_RULES if row.source != FILE)):
        assert row.source in {"burncloud", "openapi", "reference"}, row
        assert row.date[:2] == "20", row
        assert set(row.models) <= set(KNOWN), row


# --- uploads ---------------------------------------------------------------------------------------------------------


def test_a_file_that_no_server_takes_is_certain():
    """The largest size itself is taken; the field is that of the file."""
    files = [image(size=50 * MB), image("mask", size=50 * MB + 1), image("markup", size=90 * MB)]
    certain, _ = upload_violations("edits", {"model": "flux-9"}, files)

    assert [("mask", "50.0 MiB is more than 50 MiB"), ("markup", "90.0 MiB is more than 50 MiB")] == [
        (violation.field, violation.message) for violation in certain
    ]
    assert () == upload_violations("edits", {}, files, most_bytes=90 * MB)[0]


def test_a_mask_of_another_size_is_certain_for_every_model():
    """A markup of another size is advised against."""
    certain, advisory = upload_violations("edits", {"model": "flux-9"}, [image(), image("mask", 8), image("markup", 8)])

    assert ["mask"] == [violation.field for violation in certain]
    assert ["markup"] == [violation.field for violation in advisory]
    assert "burncloud, 2025-04-26" == certain[0].source


@pytest.mark.parametrize("field", ["mask", "markup"])
@pytest.mark.parametrize(
    ("size", "certain", "said"),
    [
        ((32, 64), False, ""),
        ((64, 32), False, "one sees the image as 32x64"),
        ((64, 64), True, "the image is 32x64"),
    ],
)
def test_masks_fit_a_photo_as_one_sees_it(field, size, certain, said):
    """One that lies as the pixels do is advised against, as a server may turn the photo; any other size is wrong."""
    photo = evolve(image(), media=Media(media_type="image/jpeg", width=32, height=64, complete=True, orientation=6))
    drawn = image(field, size[0])
    drawn = evolve(drawn, media=evolve(drawn.media, width=size[0], height=size[1]))
    found = upload_violations("edits", {"model": "flux-9"}, [photo, drawn])

    told = " ".join(violation.message for violations in found for violation in violations)

    assert bool(said) == bool(told)
    assert said in told
    assert bool(found[0]) == (certain and field == "mask")


@pytest.mark.parametrize("field", ["image", "mask", "markup"])
def test_cut_off_files_are_advised_against(field):
    """Half a picture is billed as a whole one."""
    half = image(field)
    half = evolve(half, media=evolve(half.media, complete=False))
    images = [half] if field == "image" else [image(), half]

    ((violation,),) = upload_violations("edits", {"model": "flux-9"}, images)[1:]

    assert (field, FILE) == (violation.field, violation.source)
    assert "cut off" in violation.message


def test_masks_are_compared_with_the_first_image():
    """Later images may have any size."""
    assert ((), ()) == upload_violations("edits", {"model": "gpt-image-2"}, [image(), image(width=8), image("mask")])


@pytest.mark.parametrize(
    ("model", "most"), [("dall-e-2", 1), ("gpt-image-2", 16), ("gpt-image-1-2025-04-23", 16), ("flux-9", None)]
)
def test_images_are_counted_per_model(model, most):
    """One more than documented is advised against, and only where edits are asked for; masks do not count."""
    count = (most or 30) + 1
    files = [image() for _ in range(count)]

    said = [sentence for sentence in advised("edits", model, *files, image("mask")) if "more than" in sentence]

    assert ([f"image: {count} images are more than {most}"] if most else []) == said
    assert [] == advised("edits", model, *files[1:], image("mask"))
    assert [] == advised("variations", model, *files)


def test_without_a_mask_the_image_has_to_say_where():
    """dall-e-2 edits where the first image is transparent; other models and other endpoints need no such place."""
    sentence = "image: without a mask it has to have transparent places, which say where to edit"

    assert [sentence] == advised("edits", "dall-e-2", image(alpha=False))
    assert [] == advised("edits", "dall-e-2", image(alpha=True))
    assert [] == advised("edits", "dall-e-2", image(alpha=False), image("mask"))
    assert [] == advised("edits", "gpt-image-2", image(alpha=False))
    assert [] == advised("variations", "dall-e-2", image(alpha=False))
    assert [] == advised("edits", "dall-e-2")


def test_formats_and_sizes_are_advised():
    """All reasons at once, each for its file."""
    jpeg = image(width=8, size=30 * MB, media_type="image/jpeg")

    assert [
        "image: image/jpeg is not image/png",
        "image: 30.0 MiB is not less than 4 MiB",
        "image: 8x16 is not square",
    ] == advised("variations", "dall-e-2", jpeg)
    assert ["image: 30.0 MiB is not less than 25 MiB"] == advised("edits", "gpt-image-1", jpeg)
    assert [] == advised("edits", "gpt-image-2", jpeg)
    assert ["image: image/gif is not image/png or image/webp or image/jpeg"] == advised(
        "edits", "gpt-image-2", image(media_type="image/gif")
    )


def test_a_violation_is_a_sentence():
    """Led by its field, without the source."""
    assert "n: too many" == str(Violation("n", "too many", "burncloud"))
