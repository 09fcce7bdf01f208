"""`plan`, `status`, `verify` and `usage`: what lists ask for, and what is known of a job."""

import base64
import os
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pictures import png
from programs import start, wait_until
from workshop import SMALL, prompts, write_rows

from burncloud_images.bulk.database import JobStore
from burncloud_images.emulator import Fault
from burncloud_images.model.retirements import RECOMMENDED

PRICES = """
date = 2026-11-24

[models.gpt-image-2.images]
"*"."*" = 0.25
"""

TOKENS = """
date = 2026-11-24

[models.gpt-image-2]
text_input = 5.00
image_output = 30.00

[models.gpt-image-2.output_tokens]
"*"."*" = 1000
"""


def make(cli, rows, *words):
    """Make a job of rows in `out`."""
    return cli("batch", write_rows(Path("rows.jsonl"), rows), "--into", "out", "-j", "1", *words)


def plan(cli, rows, *words):
    return cli("plan", write_rows(Path("rows.jsonl"), rows), *words)


# --- plan ------------------------------------------------------------------------------------------------------------


def test_a_plan(cli, here):
    """It counts rows, requests and images by model, names bad rows by their line, and writes nothing."""
    (here / "prices.toml").write_text(PRICES)
    rows = [*prompts(3, n=2), *prompts(1, n=2), {"prompt": ""}, {"id": "row-0", "prompt": "another", **SMALL}]
    rows += [{"prompt": "x", "model": "dall-e-2", "size": "256x256"}]

    ran = plan(cli, rows, "--prices", "prices.toml", "--rpm", "2", "--budget", "1")

    assert 3 == ran.code
    assert [
        "7 rows, 1 duplicate, 2 bad: 4 requests for 7 images",
        "  dall-e-2     1 request, 1 image",
        "  gpt-image-2  3 requests, 6 images, at most $1.50 by price per image",
        "no price: dall-e-2 (1). --budget cannot limit these; name --price MODEL=DOLLARS, or buy a few with --measure.",
        "cost: at most $1.50 for what has a price, more than the budget of $1.00",
        "time: about 2 min 0 s at this pace, if the API keeps it",
        f"warning: dall-e-2 has been shut down by its provider since 2026-05-12; use {RECOMMENDED} (1 request)",
        "bad row: rows.jsonl:5: prompt: it is empty",
        "bad row: rows.jsonl:6 (row-0): another request has this id",
    ] == ran.out.decode().splitlines()
    assert {"rows.jsonl", "prices.toml"} == {path.name for path in here.iterdir()}


def test_a_plan_tells_which_rows_are_equal(cli, here):
    """Rows that have an id, as their images have the id of the first."""
    rows = [{"id": name, "prompt": "one", **SMALL} for name in ("a", "b", "a", "c")]
    ran = plan(cli, [*rows, {"prompt": "one", **SMALL}])

    share = "an earlier row asks for the same, and they share images"
    assert [f"duplicate: rows.jsonl:2 (b): {share}", f"duplicate: rows.jsonl:4 (c): {share}"] == [
        line for line in ran.out.decode().splitlines() if line.startswith("duplicate")
    ]


def test_a_plan_with_a_named_price(cli, here):
    """--price makes a budget possible for a model without a price; one without a model counts for all."""
    rows = [{"prompt": "x", "model": "gpt-image-2.6-flare"}, {"prompt": "y", "model": "gpt-image-2"}]

    named = plan(cli, rows, "--price", "gpt-image-2.6-flare=0.07").out.decode()
    every = plan(cli, rows, "--price", "0.5", "--price", "gpt-image-2.6-flare=$0.07").out.decode()

    assert "gpt-image-2.6-flare  1 request, 1 image, at most $0.07 by your price" in named
    assert "typically $0.0527, at most $0.712 by token ceiling" in named
    assert "at most $0.50 by your price" in every
    assert "cost: at most $0.57" in every


@pytest.mark.parametrize("price", ["x", "m=x", "=0.04", "m=-1", ""])
def test_a_price_that_is_none_is_refused(cli, here, price):
    """The message names the option."""
    ran = plan(cli, prompts(1), "--price", price)
    assert 2 == ran.code
    assert "--price: " in ran.err


def test_a_plan_for_programs(cli, here):
    """--json prints the whole plan, with numbers as numbers and all bad rows."""
    (here / "prices.toml").write_text(PRICES)

    ran = plan(cli, [*prompts(2), *[{"prompt": ""}] * 30], "--prices", "prices.toml", "--ipm", "4", "--json")

    found = ran.json
    assert 3 == ran.code
    assert (32, 0, 2, 2, 0.5, 30.0) == tuple(
        found[name] for name in ("rows", "duplicates", "requests", "images", "cost", "seconds")
    )
    share = {"requests": 2, "images": 2, "cost": 0.5, "typical": 0.5, "measured": 0, "basis": "price per image"}
    assert {"gpt-image-2": {**share, "sizes": {"1024x640": 2}}} == found["models"]
    assert list(range(3, 33)) == [problem["line"] for problem in found["bad_row_list"]]


def test_many_bad_rows_in_a_plan(cli):
    """Only the first bad rows are printed, and the exit code is 1 if there are no others."""
    ran = plan(cli, [{"prompt": ""}] * 30)

    lines = ran.out.decode().splitlines()
    assert 1 == ran.code
    assert 20 == sum(line.startswith("bad row: rows.jsonl:") for line in lines)
    assert "… and 10 bad rows more; --json lists all" == lines[-1]


def test_a_plan_counts_what_the_job_would_make(cli, serve, monkeypatch):
    """Fields from the command line, the environment's model and stdin count as in `batch`."""
    monkeypatch.setenv("BURNCLOUD_MODEL", "gpt-image-2")
    server = serve()
    words = ["-", "--size", "1024x640", "-n", "2", "--quality", "low"]
    planned = cli("plan", *words, "--json", stdin=b"a fox\nan owl\na fox\n").json
    made = cli("batch", *words, "--into", "out", "--json", stdin=b"a fox\nan owl\na fox\n")

    assert ({"gpt-image-2"}, 1, 2, 4) == (
        set(planned["models"]), planned["duplicates"], planned["requests"], planned["images"]
    )  # fmt: skip
    assert (0, 4) == (made.code, server.ledger.billed_images) or made.err
    assert planned["cost"] > 0


def test_a_plan_names_more_than_max_images(cli):
    """The plan says how many images exceed --max-images."""
    assert b"images: 2 more than --max-images\n" in plan(cli, prompts(5), "--max-images", "3").out


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--rpm", "-1"], "--rpm has to be more than 0."),
        (["--rpm", "0"], "--rpm has to be more than 0."),
        (["--rpm", "nan"], "--rpm has to be more than 0."),
        (["--ipm", "1e-320"], "--ipm has to be more than 0."),
        (["--rpm", "inf"], "--rpm cannot be infinite; leave it out for no limit."),
        (["--tpm", "inf"], "--tpm cannot be infinite; leave it out for no limit."),
        (["-j", "0"], "--concurrency has to be at least 1."),
        (["--max-images", "-5"], "--max-images has to be at least 0."),
    ],
)
def test_a_plan_and_its_job_refuse_the_same_numbers(cli, here, words, problem):
    """What no job can be run with is one sentence and exit code 2, before anything is read or made."""
    planned = plan(cli, prompts(1), *words)
    made = make(cli, prompts(1), "--emulator", *words) if "-j" not in words else None

    assert (2, f"error: {problem}\n") == (planned.code, planned.err)
    assert made is None or (2, f"error: {problem}\n") == (made.code, made.err)
    assert not (here / "out").exists()


def test_tokens_in_a_plan(cli, here):
    """--tpm counts in the time as far as the price table tells tokens, and is left out where it does not."""
    (here / "prices.toml").write_text(TOKENS)
    words = ["--prices", "prices.toml", "--tpm", "1000", "--json"]
    told = plan(cli, prompts(3, n=2), *words)
    untold = plan(cli, prompts(3, model="dall-e-2"), *words)

    assert told.json["seconds"] > 3 * 2 * 1000 * 60 / 1000
    assert told.json["seconds"] < 3 * 2 * 1000 * 60 / 1000 + 60
    assert (0, None) == (untold.code, untold.json["seconds"])


def test_a_plan_without_lists(cli):
    """`plan` requires a list."""
    assert 2 == cli("plan").code


# --- status ----------------------------------------------------------------------------------------------------------


def test_status(cli, serve):
    """What failed and what is in doubt is listed with request ids and keys, and bad rows with their lines."""
    server = serve(Fault(status=400), Fault(cut="close", billed=True))
    make(cli, [*prompts(4), {"prompt": ""}], "--limit", "3", "--retries", "1")

    ran = cli("status", "out")

    failed, doubtful, _ = server.ledger.requests
    lines = ran.out.decode().splitlines()
    assert (0, "out: no run is alive") == (ran.code, lines[0])
    assert "4 requests: 1 done, 1 failed, 1 in doubt, 1 waiting" == lines[1]
    assert "in the last minute 3 requests sent, for 3 images" == lines[3]
    assert lines[4].startswith("failed: row-0 (rows.jsonl:1): BadRequestError: ")
    assert lines[4].endswith(f"(request id {failed.request_id}, key {failed.idempotency_key})")
    assert lines[5].startswith("in doubt: row-1 (rows.jsonl:2): OutcomeUnknownError: ")
    assert lines[5].endswith(f"(key {doubtful.idempotency_key})")
    assert "bad row: rows.jsonl:5: prompt: it is empty" == lines[6]


def test_status_for_programs(cli, serve):
    """--json prints the whole status, without image URLs."""
    serve(Fault(status=400))
    make(cli, [*prompts(3), {"prompt": ""}])

    found = cli("status", "out", "--json").json

    assert (False, None, 3, 2, 1, 1) == tuple(
        found[name] for name in ("running", "pid", "requests", "done", "failed", "bad_rows")
    )
    (failure,) = found["failures"]
    assert ("row-0", 1, "BadRequestError") == (failure["id"], failure["line"], failure["failure"]["error"])
    assert [5 - 1] == [row["line"] for row in found["bad_row_list"]]


def refusing(image):
    """Return a fault in which the API refuses the second of two images."""
    refusal = {"error": {"code": "moderation_blocked", "message": "It was rejected."}}
    body = {"created": 1_700_000_000, "data": [{"b64_json": base64.b64encode(image).decode()}, refusal]}
    return Fault(status=200, body=body, billed=True, times=21)


def test_refused_images_in_a_status(cli, serve):
    """The rows of which the API refused single images are listed with the reasons, the first of them on a terminal."""
    server = serve(refusing(png(64, 64)))
    ran = make(cli, prompts(22, n=2))

    lines = [line for line in cli("status", "out").out.decode().splitlines() if line.startswith("refused: ")]
    found = cli("status", "out", "--json").json["refused"]

    request = server.ledger.requests[0]
    why = "Image 2 was refused: moderation_blocked: It was rejected."
    ids = f"request id {request.request_id}, key {request.idempotency_key}"
    assert f"refused: row-0 (rows.jsonl:1): {why} ({ids})" == lines[0]
    assert (21, "refused: more; --json lists all") == (len(lines), lines[-1])
    assert 21 == len(found) == sum(line.startswith("note: row-") and why in line for line in ran.err.splitlines())
    assert [{"index": 1, "code": "moderation_blocked", "message": "It was rejected."}] == found[0]["refused"]


def test_many_failures_in_a_status(cli, serve):
    """Only the first failures are printed, with the number of the others."""
    serve()
    make(cli, [*prompts(1), *prompts(25, model="no-such-model")[1:]], "-q")

    failed = [line for line in cli("status", "out").out.decode().splitlines() if line.startswith("failed: ")]

    assert (21, "failed: 4 more; --json lists all") == (len(failed), failed[-1])


@pytest.mark.parametrize("command", ["status", "verify", "usage"])
def test_a_folder_without_a_job(cli, here, command):
    """A folder without a job ends with exit code 2, and nothing is created in it."""
    ran = cli(command, "nowhere")

    assert 2 == ran.code
    assert "There is no job" in ran.errors[0]
    assert not (here / "nowhere").exists()


@pytest.mark.parametrize("command", ["status", "verify", "usage"])
def test_a_job_that_is_damaged(cli, here, command):
    """A damaged job is reported without a traceback."""
    (here / "out").mkdir()
    (here / "out/job.sqlite3").write_bytes(b"something else" * 100)

    ran = cli(command, "out")

    assert 2 == ran.code
    assert "Traceback" not in ran.err
    assert "job.sqlite3" in ran.errors[0]


@pytest.fixture
def held(serve, here):
    """Return a run that goes on until it is killed."""
    server = serve(Fault(cut="stall", billed=True, times=None))
    rows = write_rows(here / "rows.jsonl", prompts(4))
    with start("batch", rows, "--into", here / "out", "-j", "2") as run:
        wait_until(lambda: server.ledger.billed_requests >= 2)
        try:
            yield run
        finally:
            run.kill()
            run.communicate()


@pytest.mark.slow
def test_status_of_a_job_whose_run_was_killed(cli, held, here):
    """Requests of a killed run are listed as in doubt with their keys until the next `batch` settles them."""
    alive = cli("status", here / "out", "--json").json
    held.kill()
    held.communicate()

    lines = cli("status", here / "out").out.decode().splitlines()
    found = cli("status", here / "out", "--json").json

    doubts = [line for line in lines if line.startswith("in doubt: ")]
    assert "4 requests: 0 done, 0 failed, 2 in doubt, 2 waiting" == lines[1]
    assert "the last run was killed with unfinished requests; the next `batch` settles them" in lines
    assert 2 == len(doubts) == len(found["doubts"])
    assert [f"key {each['key']})" for each in found["doubts"]] == [f"key {line.split('key ')[-1]}" for line in doubts]
    assert "It was not finished when the last run was killed." in doubts[0]
    assert (True, 2, 0, {"sent"}) == (
        found["killed"], found["in_doubt"], found["sent"], {each["state"] for each in found["doubts"]}
    )  # fmt: skip
    assert (False, 0, 2, []) == (alive["killed"], alive["in_doubt"], alive["sent"], alive["doubts"])


@pytest.mark.slow
def test_watching_a_job(held, here):
    """`status --watch` repeats until the run ends or Ctrl-C."""
    with start("status", here / "out", "--watch") as watch:
        lines = [watch.stdout.readline(), watch.stdout.readline()]
        watch.send_signal(signal.SIGINT)
        watch.communicate()

    assert f"{here / 'out'}: run by process {held.pid}\n" == lines[0]
    assert "4 requests: 0 done, 0 failed, 0 in doubt, 2 under way, 2 waiting\n" == lines[1]
    assert 0 == watch.returncode


@pytest.mark.slow
def test_watching_on_a_terminal(held, here):
    """On a terminal, `status --watch` redraws until the run ends."""
    master, terminal = os.openpty()
    with subprocess.Popen([*held.args[:3], "status", here / "out", "--watch"], stdout=terminal) as watch:
        os.close(terminal)
        seen = b""
        while b"run by process" not in seen:
            seen += os.read(master, 65536)
        held.kill()
        while b"no run is alive" not in seen:
            seen += os.read(master, 65536)
    os.close(master)

    assert 0 == watch.returncode
    assert seen.count(b"\x1b[H\x1b[2J") > 1


# --- verify ----------------------------------------------------------------------------------------------------------


def test_verify(cli, serve, here):
    """Images that are missing or damaged are listed, and the code is 1; without any it is 0."""
    serve()
    make(cli, prompts(3))
    whole = cli("verify", "out")
    first, second, _ = sorted((here / "out/images").rglob("*.png"))
    first.unlink()
    second.write_bytes(bytes([second.read_bytes()[0] ^ 1]) + second.read_bytes()[1:])

    ran = cli("verify", "out")
    found = cli("verify", "out", "--json").json

    assert (0, b"3 images checked, all intact\n") == (whole.code, whole.out)
    assert 1 == ran.code
    assert {
        f"{first.relative_to(here)}: it is missing",
        f"{second.relative_to(here)}: its bytes are not those that came",
    } == {line.partition(" (row-")[0] for line in ran.out.decode().splitlines()[:-1]}
    assert {str(first.relative_to(here)), str(second.relative_to(here))} == {each["path"] for each in found["problems"]}
    assert "3 images checked, 2 missing or damaged" == ran.out.decode().splitlines()[-1]


def test_a_missing_image_is_not_bought_again_by_itself(cli, serve, here):
    """A run reports a missing image and leaves it to --retry-failed."""
    server = serve()
    make(cli, prompts(2))
    next((here / "out/images").rglob("*.png")).unlink()

    told = cli("batch", "--into", "out")
    made = cli("batch", "--into", "out", "--retry-failed")

    assert (3, 0) == (told.code, made.code)
    assert 3 == server.ledger.billed_images


# --- usage -----------------------------------------------------------------------------------------------------------


def test_usage(cli, serve, here):
    """`usage` sums tokens, images and cost by day and model."""
    (here / "prices.toml").write_text(PRICES)
    serve()
    make(cli, [*prompts(2, n=2), {"prompt": "x", "model": "dall-e-2", "size": "256x256"}], "--prices", "prices.toml")

    ran = cli("usage", "out")
    found = cli("usage", "out", "--json").json

    today = f"{datetime.now(UTC):%Y-%m-%d}"
    dalle, gpt = found["days"]
    assert 0 == ran.code
    assert [
        ["day", "model", "requests", "images", "tokens", "in", "tokens", "out", "cost"],
        [today, "dall-e-2", "1", "1", "0", "0", "$0.00"],
    ] == [line.split() for line in ran.out.decode().splitlines()[:2]]
    assert (today, "gpt-image-2", 2, 4, 1.0) == tuple(
        gpt[name] for name in ("day", "model", "requests", "images", "cost")
    )
    assert 1 == dalle["images"]
    assert gpt["input_tokens"] > 0
    assert gpt["output_tokens"] > 0
    assert 1.0 == found["total"]["cost"]


def test_looking_reads_only(cli, serve, here, monkeypatch):
    """`status`, `verify` and `usage` never open the store for writing."""
    serve()
    make(cli, prompts(1))

    async def refuse(*_, **__):
        raise AssertionError("opened to be written")

    monkeypatch.setattr(JobStore, "open", refuse)
    codes = [cli(command, "out").code for command in ("status", "verify", "usage")]

    assert [0, 0, 0] == codes
