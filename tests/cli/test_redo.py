"""`redo` and `batch --replace`: images that are made again, and rows that were corrected."""

import json
from pathlib import Path

import pytest
from workshop import SMALL, prompts, write_rows


def batch(cli, rows, *words):
    """Run a job of rows in `out`."""
    lists = [write_rows(Path("rows.jsonl"), rows)] if rows else []
    return cli("batch", *lists, "--into", "out", "-j", "1", *words)


def metadata(here):
    return [json.loads(line) for line in (here / "out" / "metadata.jsonl").read_text().splitlines()]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("way", ["id", "key", "part of the key", "file"])
def test_an_image_is_made_again(cli, here, serve, way):
    """The new one takes the place of the old, whose file stays; nothing is bought before the next run."""
    server = serve()
    assert 0 == batch(cli, prompts(2)).code
    (old, other) = metadata(here)
    names = {"id": old["id"], "key": old["key"], "part of the key": old["key"][:10], "file": "out/" + old["file_name"]}
    ran = cli("redo", "out", names[way])

    assert (0, b"row-0: a new image will be bought\n") == (ran.code, ran.out)
    assert 2 == server.ledger.billed_images
    assert 0 == batch(cli, []).code
    new = {row["id"]: row for row in metadata(here)}
    assert (3, {"row-0", "row-1"}) == (server.ledger.billed_images, set(new))
    assert other == new["row-1"]
    assert old["key"] != new["row-0"]["key"]
    assert (here / "out" / old["file_name"]).exists()
    (here / "out" / old["file_name"]).unlink()  # nobody needs it
    assert 0 == batch(cli, prompts(2), "--retry-failed").code
    assert 0 == cli("verify", "out").code
    assert 3 == server.ledger.billed_images


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", ["row-9", "0" * 32, "nothing.png", ""])
def test_a_name_that_is_not_there_makes_nothing_again(cli, here, serve, name):
    """All names are looked up before the first is queued."""
    server = serve()
    batch(cli, prompts(1))
    ran = cli("redo", "out", "row-0", name)

    assert 2 == ran.code
    assert "no request has this id or key" in ran.err
    assert 0 == batch(cli, []).code
    assert 1 == server.ledger.billed_images


def test_what_waits_is_not_made_again(cli, here, serve):
    """It is about to be made."""
    serve()
    batch(cli, prompts(2), "--limit", "1")
    ran = cli("redo", "out", "row-1")

    assert 2 == ran.code
    assert "its request is pending, so it cannot be made again" in ran.err


def test_a_corrected_row_takes_the_place_of_the_old_one(cli, here, serve):
    """Without `--replace` it is refused, and the way out is told."""
    server = serve()
    batch(cli, [{"id": "fox", "prompt": "a fxo", "label": "wild", **SMALL}])
    rows = [{"id": "fox", "prompt": "a fox", "label": "wild", **SMALL}]
    refused = batch(cli, rows, "--allow-input-change")
    assert 3 == refused.code
    assert "--replace puts them in its place" in refused.err

    assert 0 == batch(cli, rows, "--replace").code
    (row,) = metadata(here)
    assert ("fox", "a fox", {"label": "wild"}) == (row["id"], row["prompt"], row["columns"])
    assert 2 == server.ledger.billed_images
    assert 0 == batch(cli, rows, "--replace").code
    assert 2 == server.ledger.billed_images


def test_equal_rows_share_an_image_and_keep_their_ids(cli, here, serve):
    """The ids of equal rows are told, and stand in metadata and gallery."""
    serve()
    ran = batch(cli, [{"id": name, "prompt": "one", **SMALL} for name in "abc"])

    assert "b is the same request as a; they share their images" in ran.err
    (row,) = metadata(here)
    assert ("a", ["b", "c"]) == (row["id"], row["other_ids"])
    cards = (here / "out" / "gallery" / "0001.js").read_text()
    assert '"ids":["b","c"]' in cards.replace(": ", ":").replace(", ", ",")


def test_images_get_names_that_people_can_read(cli, here, serve):
    """In a folder of their own, of the id and of any column; a run that buys nothing makes them, too."""
    serve()
    rows = [{"id": "fox", "prompt": "a red fox", "label": "wild", "n": 2, **SMALL}]
    assert 0 == batch(cli, rows).code
    assert 0 == batch(cli, rows, "--name", "{row.label}-{id}-{slug}.{ext}").code

    assert {"wild-fox-a-red-fox.png", "wild-fox-a-red-fox-2.png"} == {
        path.name for path in (here / "out" / "named").iterdir()
    }


@pytest.mark.parametrize("words", [("--name", "{size}"), ("--name", "{id}", "--format", "webdataset")])
def test_names_that_cannot_be_given_are_refused_first(cli, here, serve, words):
    """A template that cannot be used is refused before anything is bought."""
    server = serve()
    ran = batch(cli, prompts(1), *words)

    assert 2 == ran.code
    assert "name" in ran.err
    assert 0 == server.ledger.billed_images
