"""A list that several machines share: `batch --shard`, and the views over the folders of all shards."""

from __future__ import annotations

import json

import pytest
from workshop import prompts, write_rows


@pytest.fixture
def shared(cli, serve, here):
    """Return a server, and what runs one of two shards of a list of twenty rows."""
    server = serve()
    rows = write_rows(here / "rows.jsonl", prompts(20))

    def run(number, *words):
        return cli("batch", rows, "--into", here / f"part{number}", "--shard", f"{number}/2", *words)

    return server, run


def test_each_row_is_bought_by_one_shard(shared):
    """Two folders have all rows between them, and nothing is bought twice."""
    server, run = shared
    codes = [run(number).code for number in (1, 2)]

    assert [0, 0] == codes
    assert 20 == server.ledger.billed_images
    assert 20 == len({json.dumps(request.fields) for request in server.ledger.requests})


def test_limits_are_shared(shared):
    """Of at most five images one shard buys two and the other three."""
    server, run = shared
    bought = []
    for number in (1, 2):
        assert 8 == run(number, "--max-images", "5").code
        bought.append(server.ledger.billed_images - sum(bought))

    assert [2, 3] == bought


def test_the_folder_remembers_its_shard(shared, cli, here):
    """Typed again without `--shard`, the command takes the same rows; another shard is refused."""
    server, run = shared
    run(1, "--max-images", "4")
    again = cli("batch", here / "rows.jsonl", "--into", here / "part1", "--max-images", "6")
    other = cli("batch", here / "rows.jsonl", "--into", here / "part1", "--shard", "2/2")

    assert 8 == again.code
    assert 3 == server.ledger.billed_images
    assert 2 == other.code
    assert "takes the shard 1/2 of its lists" in other.errors[-1]


@pytest.mark.parametrize("text", ["9/8", "0/2", "half"])
def test_what_is_not_a_shard_is_refused(cli, serve, here, text):
    """It is found before anything is sent."""
    server = serve()
    ran = cli("batch", write_rows(here / "rows.jsonl", prompts(2)), "--into", here / "out", "--shard", text)

    assert 2 == ran.code
    assert "is not a shard" in ran.errors[-1]
    assert () == tuple(server.ledger.requests)


def test_views_take_several_folders(shared, cli, here):
    """`status`, `usage` and `verify` tell of each shard and of all together."""
    _, run = shared
    for number in (1, 2):
        run(number)
    folders = here / "part1", here / "part2"
    status, usage, verified = (cli(command, *folders, "--json") for command in ("status", "usage", "verify"))

    parts = [job["done"] for job in status.json["jobs"]]
    assert ["1/2", "2/2"] == [job["shard"] for job in status.json["jobs"]]
    assert 20 == sum(parts) == status.json["total"]["done"]
    assert 20 == usage.json["total"]["images"] == verified.json["checked"]
    said = cli("status", *folders).out.decode()
    assert f"{folders[0]}, shard 1/2" in said
    assert "all together:\n20 requests: 20 done, 0 failed, 0 in doubt\n20 images" in said


def test_a_damaged_image_is_found_in_any_folder(shared, cli, here):
    """`verify` names the folder, and ends with 1."""
    _, run = shared
    for number in (1, 2):
        run(number)
    image = next((here / "part2/images").glob("*/*.png"))
    image.unlink()
    ran = cli("verify", here / "part1", here / "part2")

    assert 1 == ran.code
    assert str(image) in ran.out.decode()


def test_bad_rows_are_told_by_one_shard(cli, serve, here):
    """A line that is not a request is listed once over all folders."""
    serve()
    rows = here / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"prompt": text}) for text in ("a", "b", "c", "", "d")), encoding="utf-8")
    for number in (1, 2):
        cli("batch", rows, "--into", here / f"part{number}", "--shard", f"{number}/2")

    assert 1 == cli("status", here / "part1", here / "part2", "--json").json["total"]["bad_rows"]
