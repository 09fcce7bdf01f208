"""Rows of which the API refuses single images: which ones are missing, and why, is kept with the others."""

from __future__ import annotations

import base64
import json

import pytest
from pictures import png
from workshop import prompts

from burncloud_images.bulk.passage import describe
from burncloud_images.bulk.records import RequestState
from burncloud_images.emulator import Fault
from burncloud_images.results import RefusedImage
from burncloud_images.wire.answer import ImagesAnswer

pytestmark = pytest.mark.filterwarnings("ignore::burncloud_images.errors.ImagesWarning")

PICTURE = {"b64_json": base64.b64encode(png(64, 64)).decode()}
NO = RefusedImage(index=1, code="moderation_blocked", message="It was rejected by the safety system.")
REFUSAL = {"error": {"code": NO.code, "message": NO.message}}


def answered(*items):
    """Return a fault in which the API answers with these items, and bills."""
    return Fault(status=200, body={"created": 1_700_000_000, "data": list(items)}, billed=True)


async def test_a_row_says_which_of_its_images_were_refused(workshop):
    """The store has the refusals of a done request, with code and message, and a note tells them."""
    shop = await workshop(answered(PICTURE, REFUSAL, PICTURE))
    report = await shop.run(prompts(2, n=3), concurrency=1)
    first, second = await shop.records()

    assert ("finished", 2) == (report.stopped, report.totals.counts[RequestState.DONE])
    assert ((NO,), ()) == (first.refused, second.refused)
    assert [0, 2] == [image.index for image in first.images]
    notes = [event.message for event in shop.events if event.kind == "note"]
    assert [f"row-0 ({first.source}:1): {NO}"] == notes
    assert "Image 2 was refused: moderation_blocked: It was rejected by the safety system." == str(NO)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
async def test_the_outputs_say_which_images_were_refused(workshop, kind):
    """Metadata, report and gallery of a job have the refusals of a row."""
    shop = await workshop(answered(PICTURE, REFUSAL))
    await shop.run(prompts(2, n=2), concurrency=1, metadata=kind)
    out = shop.path / "out"
    refusal = {"index": 1, "code": NO.code, "message": NO.message}
    if kind == "parquet":
        rows = pytest.importorskip("pyarrow.parquet").read_table(out / "metadata.parquet").to_pylist()
        found = [json.loads(row["refused"]) if row["refused"] else None for row in rows]
    else:
        found = [json.loads(line).get("refused") for line in (out / "metadata.jsonl").read_text().splitlines()]
    report = json.loads((out / "report.json").read_text())

    assert [[refusal], None, None] == found
    assert 1 == report["refused_images"]
    assert [("row-0", 1, [refusal])] == [(row["id"], row["line"], row["images"]) for row in report["refused"]]
    assert 1 == (out / "gallery" / "0001.js").read_text().count(str(NO))


async def test_a_row_that_is_refused_whole_failed(workshop):
    """A row all of whose images were refused failed for the reason that the API gives; it has no images to list."""
    shop = await workshop(answered(REFUSAL, REFUSAL))
    await shop.run(prompts(1, n=2))
    (record,) = await shop.records()

    assert (RequestState.FAILED, "ModerationError") == (record.state, record.failure.error)
    assert () == record.refused


async def test_refusals_are_written_down_before_the_other_images_are_fetched():
    """What a job keeps of an answer before it fetches its images has the refusals, their messages in short."""
    long = RefusedImage(index=0, message="no " * 1_000)
    about = describe(ImagesAnswer(refused=(long, NO)))

    assert [(0, None, 500), (1, NO.code, len(NO.message))] == [
        (one["index"], one["code"], len(one["message"])) for one in about["refused"]
    ]
    assert "refused" not in describe(ImagesAnswer())
