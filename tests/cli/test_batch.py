"""Whole lists on the command line: what is bought, what is said, which exit code, and how it resumes."""

import asyncio
import json
import re
import shlex
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import attrs
import pytest
from programs import PROGRAM, read_until, start, wait_until
from workshop import SMALL, prompts, write_rows

from burncloud_images import bulk
from burncloud_images.cli.commands import NO_OPTIONS
from burncloud_images.cli.options import option_name
from burncloud_images.emulator import Fault
from burncloud_images.model.operations import EditRequest, GenerationRequest, VariationRequest


def make(cli, rows, *words, into="out"):
    """Make a job of rows."""
    return cli("batch", write_rows(Path("rows.jsonl"), rows), "--into", f"{into}/", *words)


def sent(server):
    """Return the fields of each request, by prompt."""
    found = [{name: json.loads(text) for name, text in entry.fields} for entry in server.ledger.requests]
    return {fields["prompt"]: fields for fields in found}


def images_of(folder):
    return sorted(path for path in (folder / "out/images").rglob("*") if path.is_file())


# --- what comes of a list --------------------------------------------------------------------------------------------


def test_every_row_becomes_a_file(cli, serve, here):
    """Images lie in the folder, the last line is the gallery's path, and typing it again buys nothing."""
    server = serve()

    ran = make(cli, prompts(5))
    again = make(cli, prompts(5))

    assert (0, "out/gallery.html\n") == (ran.code, ran.out.decode())
    assert (here / "out/gallery.html").is_file()
    assert 5 == len(images_of(here)) == server.ledger.billed_images
    assert "summary: 5 of 5 requests done, 0 failed, 0 in doubt; 5 images" in ran.err
    assert (0, ran.out) == (again.code, again.out)
    assert 5 == len(server.ledger.requests)


def test_lists_of_several_kinds(cli, serve, here):
    """Several lists and stdin form one job; equal rows are one request."""
    server = serve()
    (here / "animals.txt").write_text("an otter\na fox\n")
    (here / "animals.csv").write_text("prompt,n\na fox,\nan owl,2\n")

    ran = cli("batch", "animals.txt", "animals.csv", "-", "--into", "out", "-m", "gpt-image-2", "--size", "1024x640",
              stdin=b"an owl\nan otter\n")  # fmt: skip

    assert 0 == ran.code
    assert {"an otter", "a fox", "an owl"} == set(sent(server))
    assert 5 == server.ledger.billed_images
    assert "animals.csv: 1 new request, 1 known already" in ran.err


def test_edits_and_variations(cli, serve, here, photo):
    """Rows name images beside the list; an image on the command line makes edits of a list of prompts."""
    server = serve()
    (here / "photo.png").write_bytes(photo.read_bytes())
    (here / "prompts.txt").write_text("add snow\n")

    rows = [
        {"image": "photo.png", "prompt": "add rain", "mask": "photo.png", **SMALL},
        {"image": "photo.png", "model": "dall-e-2", "size": "256x256"},
    ]
    ran = make(cli, rows)
    more = cli(
        "batch", "prompts.txt", "--image", "photo.png", "-m", "gpt-image-2", "--size", "1024x640", "--into", "out"
    )

    assert (0, 0) == (ran.code, more.code)
    assert ["edits", "edits", "variations"] == sorted(entry.operation for entry in server.ledger.requests)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", [GenerationRequest, EditRequest, VariationRequest])
@pytest.mark.parametrize("command", ["batch", "plan"])
def test_every_field_is_a_default(cli, command, kind):
    """The help names every field of every request: they come from the classes, and from nowhere else."""
    shown = cli(command, "--help").out.decode()

    names = [option_name(field.name) for field in attrs.fields(kind) if field.name not in NO_OPTIONS]
    assert [] == [name for name in names if name not in shown]


def test_defaults_are_for_rows_that_lack_them(cli, serve):
    """A row's own value wins; fields that this version does not know are sent as they are."""
    server = serve()

    ran = make(cli, [{"prompt": "one"}, {"prompt": "two", "quality": "high"}], "-m", "gpt-image-2",
               "--size", "1024x640", "--quality", "low", "-O", "depth=3", "-O", "user=me")  # fmt: skip

    fields = sent(server)
    assert 0 == ran.code
    assert ("low", "high") == (fields["one"]["quality"], fields["two"]["quality"])
    assert {(3, "me", "1024x640")} == {(each["depth"], each["user"], each["size"]) for each in fields.values()}


def test_a_field_that_is_given_twice(cli):
    """A field can be given by its option or by -O, but not by both."""
    ran = make(cli, prompts(1), "--size", "1024x640", "-O", "size=32x32")

    assert (2, "error: size is given twice, by --size and by -O.\n") == (ran.code, ran.err)


def test_warnings_are_said_once(cli, serve):
    """However many rows give cause: columns that are not sent, and limits that are passed over."""
    serve()

    ran = make(cli, [{"prompt": f"fox {number}", "modle": "x", **SMALL, "quality": "hd"} for number in range(5)])

    said = ran.err.replace(f"{Path.cwd()}/", "").splitlines()
    warnings = [line.removeprefix("warning: ") for line in said if line.startswith("warning: ")]
    assert warnings[0].startswith("rows.jsonl, line 1: Column 'modle' is not a known field and is not sent; ")
    assert len(warnings) == len(set(warnings)) < 5


def test_images_in_tar_files(cli, serve, here):
    """--format webdataset sets the layout and sends no image format to the API."""
    server = serve()

    ran = make(cli, prompts(3), "--format", "webdataset")

    assert 0 == ran.code
    assert (here / "out/00000.tar").is_file()
    assert not any(name == "output_format" for entry in server.ledger.requests for name, _ in entry.fields)


def test_json_for_programs(cli, serve, here):
    """--json prints an object for each row as it ends and one for the job, and nothing else."""
    serve(Fault(status=400))

    ran = make(cli, prompts(4), "--json", "-j", "1")

    *rows, job = [json.loads(line) for line in ran.out.splitlines()]
    assert 3 == ran.code
    assert ["failed", "done", "done", "done"] == [row["state"] for row in rows]
    assert {"row-0", "row-1", "row-2", "row-3"} == {row["id"] for row in rows}
    assert rows[0]["failure"]["error"] == "BadRequestError"
    assert all((here / row["images"][0]["path"]).is_file() for row in rows[1:])
    assert ("finished", 3, 3, 1, "out/gallery.html") == (
        job["stopped"], job["code"], job["done"], job["failed"], job["gallery"]
    )  # fmt: skip


def test_nothing_is_said_when_quiet(cli, serve):
    """-q prints only the path on stdout and errors on stderr."""
    serve()

    ran = make(cli, prompts(2), "-q")

    assert (0, "", "out/gallery.html\n") == (ran.code, ran.err, ran.out.decode())


def test_errors_are_said_when_quiet(cli, serve):
    """With -q, one line says why the exit code is not 0."""
    serve(Fault(status=400))

    ran = make(cli, [*prompts(2), {"prompt": ""}], "-q", "-j", "1")

    assert 3 == ran.code
    assert re.fullmatch(r"error: 1 of 2 requests done, 1 failed, 0 in doubt, 1 bad row; .*\n", ran.err)


# --- exit codes ------------------------------------------------------------------------------------------------------


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("fault", "words", "code", "next_step"),
    [
        (Fault(status=400), (), 3, "--retry-failed sends failed requests again"),
        (Fault(status=400, times=None), (), 1, "shows what failed and why"),
        (Fault(status=400), ("--fail-fast",), 1, "--retry-failed"),
        (Fault(status=401, times=None), (), 4, "burncloud-images doctor"),
        (Fault(status=429, body={"error": {"code": "insufficient_quota"}}, times=None), (), 5, "Top up"),
        (None, ("--max-images", "2"), 8, "Raise --budget or --max-images"),
        (None, ("--limit", "2"), 0, "The same command resumes"),
        (Fault(cut="close", billed=True), (), 10, "--on-unknown retry resends them and may pay twice"),
        (Fault(cut="close", billed=True, times=2), ("--max-images", "2"), 8, "--on-unknown retry"),
    ],
)
def test_exit_codes(cli, serve, fault, words, code, next_step):
    """The code says what is to be looked at first, and the last lines what to type next."""
    serve(*([fault] if fault else []))

    ran = make(cli, prompts(4), "-j", "1", "--retries", "1", *words)

    assert code == ran.code
    assert next_step in "".join(line for line in ran.err.splitlines(keepends=True) if line.startswith("next: "))


def test_a_row_that_failed_is_tried_again_when_asked(cli, serve):
    """A failed row is only sent again with --retry-failed."""
    server = serve(Fault(status=400))
    first = make(cli, prompts(3), "-j", "1")
    second = cli("batch", "--into", "out/")
    third = cli("batch", "--into", "out/", "--retry-failed")

    assert (3, 3, 0) == (first.code, second.code, third.code)
    assert (4, 3) == (len(server.ledger.requests), server.ledger.billed_requests)


def test_trying_failed_rows_again_may_cost(cli, serve):
    """Who is told of --retry-failed, by the advice or the help, is told that it can buy what was billed already."""
    serve(Fault(status=400))

    ran = make(cli, prompts(2), "-j", "1")
    shown = " ".join(cli("batch", "--help").out.decode().replace("│", " ").split())

    (advice,) = [line for line in ran.err.splitlines() if line.startswith("next: ")]
    assert advice.endswith("and buys those again that may have been billed.")
    assert "Those that may have been billed are bought again." in shown


def test_what_is_in_doubt_is_bought_again_with_consent(cli, serve):
    """--on-unknown retry sends a request in doubt again under the same key."""
    server = serve(Fault(cut="close", billed=True))
    first = make(cli, prompts(2), "-j", "1")
    second = cli("batch", "--into", "out/")
    third = cli("batch", "--into", "out/", "--on-unknown", "retry")

    keys = [entry.idempotency_key for entry in server.ledger.requests]
    assert (10, 10, 0) == (first.code, second.code, third.code)
    assert 3 == server.ledger.billed_requests
    assert (3, 2) == (len(keys), len(set(keys)))


def test_bad_rows_are_told_and_counted(cli, serve):
    """They are cited by line; of many only the first are told; what is good is made, and the code is 3."""
    serve()
    rows = [*prompts(1), *({"prompt": " ", "id": f"bad-{number}"} for number in range(7))]

    ran = make(cli, rows)

    assert 3 == ran.code
    assert "bad row: rows.jsonl:2: prompt: it is empty" in ran.err
    assert "bad row: … and 2 bad rows more; `burncloud-images status out` lists all" in ran.err
    assert "1 of 1 request done, 0 failed, 0 in doubt, 7 bad rows" in ran.err


def test_a_list_of_bad_rows(cli, serve):
    """A list with bad rows only ends with exit code 1."""
    serve()

    assert 1 == make(cli, [{"prompt": ""}]).code


def test_a_budget(cli, serve, here):
    """The job buys exactly what the budget allows; the rest waits."""
    server = serve()
    (here / "prices.toml").write_text('date = 2026-11-24\n[models.gpt-image-2.images]\n"*"."*" = 0.25\n')

    ran = make(cli, prompts(6), "--budget", "1.00", "--prices", "prices.toml")
    more = make(cli, prompts(6), "--budget", "$1.25", "--prices", "prices.toml")

    assert (8, 8) == (ran.code, more.code)
    assert 5 == server.ledger.billed_images
    assert "$1.00 spent" in ran.err
    assert "$1.25 spent" in more.err


def test_a_budget_without_a_price(cli, serve):
    """Nothing is sent that could pass the budget unseen, and --max-images is recommended."""
    server = serve()

    ran = make(cli, [{"prompt": "x", "model": "a-model-without-price", "size": "1024x640"}], "--budget", "1")

    assert 2 == ran.code
    assert "--max-images" in ran.errors[-1]
    assert 0 == len(server.ledger.requests)


def test_a_list_without_a_price_leaves_no_job(cli, serve, here):
    """A misspelt model is refused before anything is stored, and the corrected command is as good as a first one."""
    server = serve()
    (here / "a.txt").write_text("a fox\n")
    words = ["batch", "a.txt", "--budget", "5", "--size", "1024x1024", "--into", "out"]
    refused = cli(*words, "-m", "gpt-imag-2")
    left = (here / "out").exists()
    corrected = cli(*words, "-m", "gpt-image-2")

    assert (2, False) == (refused.code, left)
    assert "gpt-imag-2 (1)" in refused.errors[-1]
    assert "--max-images in place of --budget" in refused.errors[-1]
    assert 0 == corrected.code
    assert 1 == server.ledger.billed_requests


def test_a_budget_for_a_list_that_is_made_already(cli, serve, here):
    """Requests bought without a price do not prevent a budget; new requests without a price do."""
    server = serve()
    (here / "old.txt").write_text("a fox\n")
    (here / "worse.txt").write_text("a fox\nan otter\n")
    words = ["-m", "dall-e-2", "--size", "256x256", "--into", "out"]
    first = cli("batch", "old.txt", *words)
    again = cli("batch", "old.txt", *words, "--budget", "5")
    worse = cli("batch", "worse.txt", *words, "--budget", "5")

    assert (0, 0, 2) == (first.code, again.code, worse.code)
    assert "(1)" in worse.errors[-1]
    assert 1 == server.ledger.billed_requests


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "A job needs a folder: add --into DIR."),
        (["--into", "s3://pictures/run"], "A job needs a folder of this machine, not the address s3://…."),
        (["--into", "out"], "There is no job in out; give at least one list of prompts."),
        (["nothing.txt", "--into", "out"], "There is no list nothing.txt."),
        (["-", "-", "--into", "out"], "Standard input cannot be both a list and a list."),
        (["-", "-p", "-", "--into", "out"], "Standard input cannot be both"),
        (["-", "--into", "out", "-j", "0"], "--concurrency has to be at least 1."),
        (["-", "--into", "out", "--rpm", "0"], "--rpm has to be more than 0."),
        (["-", "--into", "out", "--limit", "0"], "--limit has to be at least 1."),
        (["-", "--into", "out", "--max-images", "-1"], "--max-images has to be at least 0."),
        (["-", "--into", "out", "--deadline", "nan"], "--deadline has to be at least 0."),
        (["-", "--into", "out", "--budget", "much"], "--budget: 'much' is not an amount of dollars"),
        (["-", "--into", "out", "--prices", "none.toml"], "none.toml cannot be read"),
        (["-", "--into", "out", "--svg", "{"], "The value of --svg is not valid JSON."),
        (["-", "--into", "out", "--layout", "files", "--format", "webdataset"], "contradict each other"),
        (["-", "--into", "out", "--emulator", "--dry-run"], "cannot be combined with --emulator"),
    ],
)
def test_what_cannot_be_used(cli, serve, here, words, problem):
    """Nothing is made and nothing sent before all words are understood; the code is 2."""
    server = serve()

    ran = cli("batch", *words, stdin=b"a fox\n")

    assert 2 == ran.code
    assert problem in ran.errors[-1]
    assert not (here / "out").exists()
    assert 0 == len(server.ledger.requests)


def test_without_a_key(cli, here):
    """A job that cannot run creates no folder."""
    ran = make(cli, prompts(1))

    assert 2 == ran.code
    assert "There is no API key" in ran.err
    assert not (here / "out").exists()


def test_a_folder_that_cannot_be_made(cli, serve, here):
    """A file in place of the folder ends with exit code 11, and nothing is sent."""
    server = serve()
    (here / "out").write_text("")

    ran = make(cli, prompts(1))

    assert 11 == ran.code
    assert 0 == len(server.ledger.requests)


def test_a_list_that_changed(cli, serve):
    """It is refused, since what is new in it would be bought besides, until that is said to be wanted."""
    server = serve()
    make(cli, prompts(2))
    refused = make(cli, prompts(3))
    other = make(cli, prompts(2), "--quality", "low")
    taken = make(cli, prompts(3), "--allow-input-change")

    assert (2, 2, 0) == (refused.code, other.code, taken.code)
    assert "has changed since this job read it" in refused.errors[0]
    assert "Add --allow-input-change if that is intended, or use another folder." in other.errors[0]
    assert 3 == len(server.ledger.requests)


def test_a_list_that_was_refused_is_read_in_the_way_that_the_refusal_names(cli, serve, here):
    """Nothing of it was taken, so other options change nothing that was bought."""
    server = serve()
    (here / "prompts.txt").write_text("an otter\n")
    words = ("batch", "prompts.txt", "--into", "out", "--aspect", "16:9")
    refused = cli(*words)
    made = cli(*words, "--model", "gpt-image-2")
    other = cli(*words, "--model", "gpt-image-2", "--megapixels", "2")

    assert (2, 0, 2) == (refused.code, made.code, other.code)
    assert "add --model" in refused.errors[0]
    assert "other defaults" in other.errors[0]
    assert "1328x752" == sent(server)["an otter"]["size"]


def test_the_model_of_the_environment_counts_as_a_default(cli, serve, monkeypatch):
    """It is part of a row's key, so that another one is asked about and not bought under a key that was used."""
    server = serve()
    rows = [{"prompt": "one"}, {"prompt": "two", "model": "dall-e-2", "size": "256x256"}]
    monkeypatch.setenv("BURNCLOUD_MODEL", "gpt-image-2")
    made = make(cli, rows)
    monkeypatch.setenv("BURNCLOUD_MODEL", "gpt-image-1.5")
    refused = make(cli, rows)

    assert (0, 2) == (made.code, refused.code)
    assert "was read by this job with other defaults" in refused.errors[0]
    assert {"one": "gpt-image-2", "two": "dall-e-2"} == {
        prompt: fields["model"] for prompt, fields in sent(server).items()
    }
    lines = Path("out/metadata.jsonl").read_text().splitlines()
    assert ["gpt-image-2", "dall-e-2"] == [json.loads(line)["model"] for line in lines]


def test_a_dry_run(cli, here, monkeypatch):
    """The plan and the first request are printed, with its own key and without the API's; nothing is written."""
    monkeypatch.setenv("BURNCLOUD_API_KEY", "sk-canary")
    rows = prompts(3, n=2)

    ran = make(cli, [*rows, rows[0]], "--dry-run")
    document, request = [json.loads(line) for line in make(cli, rows, "--dry-run", "--json").out.splitlines()]

    shown = ran.out.decode()
    assert 0 == ran.code
    assert shown.startswith("4 rows, 1 duplicate: 3 requests for 6 images\n")
    assert "POST https://ai.burncloud.com/v1/images/generations\n" in shown
    assert "Authorization: Bearer ***\n" in shown
    assert re.search(r"^Idempotency-Key: [0-9a-f]{32}$", shown, re.MULTILINE)
    assert "sk-canary" not in shown + ran.err
    assert 6 == document["images"]
    assert rows[0]["prompt"] == request["body"]["prompt"]
    assert not (here / "out").exists()


def test_a_dry_run_fetches_no_image(cli):
    """A dry run plans a request with a remote image but does not show it."""
    ran = make(cli, [{"prompt": "x", "image": "https://images.example/fox.png", **SMALL}], "--dry-run")

    assert 0 == ran.code
    assert ran.out.startswith(b"1 row: 1 request for 1 image\n")
    assert "the first request is not shown: --dry-run fetches no image" in ran.err


def test_a_dry_run_of_a_job(cli, serve, here):
    """Without a list, the dry run plans the waiting requests of the job."""
    serve()
    make(cli, prompts(4), "--limit", "1", "-j", "1")

    ran = cli("batch", "--into", "out", "--dry-run")

    assert ran.out.decode().startswith("3 rows: 3 requests for 3 images\n")
    assert '"prompt":"a small picture 1"' in ran.out.decode()


# --- progress --------------------------------------------------------------------------------------------------------


def test_events_for_programs(cli, serve):
    """--progress json writes one object a line to stderr: rows as they end, notes, and the sum."""
    serve(Fault(status=400))

    ran = make(cli, prompts(3), "--progress", "json", "-j", "1")

    events = ran.events
    assert [("failed", "row-0"), ("done", "row-1"), ("done", "row-2")] == [
        (event["event"], event["id"]) for event in events if event["event"] in {"done", "failed"}
    ]
    (summary,) = [event for event in events if event["event"] == "summary"]
    assert ("finished", 3, 2, 1) == (summary["stopped"], summary["code"], summary["done"], summary["failed"])


@pytest.mark.parametrize("mode", ["lines", "json"])
def test_a_line_now_and_then(cli, serve, monkeypatch, mode):
    """Without a terminal, progress is printed at intervals."""
    from burncloud_images.cli import reporting

    monkeypatch.setattr(reporting, "INTERVAL", 0.01)
    serve(latency=0.04)

    ran = make(cli, prompts(3), "--progress", mode, "-j", "1")

    assert 0 == ran.code
    if mode == "lines":
        assert re.search(r"^progress: \d of 3 done, 0 failed, 0 in doubt, [\d.]+ images/s", ran.err, re.MULTILINE)
    else:
        told = [event for event in ran.events if event["event"] == "progress"]
        assert {3} == {event["requests"] for event in told}


def test_failures_alike_are_told_a_few_times(cli, serve):
    """Thousands of equal failures do not fill the terminal."""
    serve(Fault(status=400, times=7), latency=0)

    ran = make(cli, [*prompts(9)], "-j", "1")

    told = [line for line in ran.err.splitlines() if line.startswith("failed: ")]
    assert 5 == len(told)
    assert told[0].startswith("failed: row-0 (rows.jsonl:1): ")
    assert told[-1].endswith("further failures of this kind are only counted")


# --- interrupts and other runs ---------------------------------------------------------------------------------------


def begin(here, *words, count=6):
    """Start a job in a process of its own."""
    rows = write_rows(here / "rows.jsonl", prompts(count))
    return start("batch", rows, "--into", here / "out", "-j", "2", "--progress", "json", *words)


def wait_for(server, count):
    wait_until(lambda: len(server.ledger.requests) >= count)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_the_first_interrupt_lets_paid_requests_finish(cli, serve, here, number):
    """Nothing more is started, what is on its way comes to its end, and the same command completes the job."""
    server = serve(latency=1.5)
    with begin(here) as process:
        wait_for(server, 2)
        process.send_signal(number)
        read_until(process.stderr, "press Ctrl-C again to abandon them")
        out, err = process.communicate()

    assert 7 == process.returncode
    assert f"{here / 'out/gallery.html'}\n" == out
    assert "the same command resumes" in err.lower()
    assert 2 == len(server.ledger.requests) == len(images_of(here))
    assert 0 == cli("batch", "--into", here / "out").code
    assert 6 == server.ledger.billed_images


@pytest.mark.slow
def test_a_job_outlives_its_terminal(serve, here):
    """With `nohup`, the job finishes after its terminal has closed."""
    server = serve(latency=0.2)
    rows = write_rows(here / "rows.jsonl", prompts(6))
    words = ["nohup", *PROGRAM, "batch", rows, "--into", "out", "-j", "2"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(server, 2)
        process.send_signal(signal.SIGHUP)

    assert 0 == process.returncode
    assert 6 == len(images_of(here))


def test_the_second_interrupt_abandons(cli, serve, here):
    """What was on its way is listed as in doubt, with its key, and is not bought again."""
    server = serve(Fault(cut="stall", billed=True, times=2))
    with begin(here) as process:
        wait_until(lambda: server.ledger.billed_requests >= 2)
        process.send_signal(signal.SIGINT)
        read_until(process.stderr, "press Ctrl-C again")
        process.send_signal(signal.SIGINT)
        process.communicate()
    status = cli("status", here / "out", "--json").json

    assert 130 == process.returncode
    assert {entry.idempotency_key for entry in server.ledger.requests} == {each["key"] for each in status["doubts"]}
    assert 10 == cli("batch", "--into", here / "out").code
    assert 6 == server.ledger.billed_requests


@pytest.mark.slow
def test_a_request_to_terminate_is_made_as_often_as_one_likes(serve, here):
    """Two SIGTERM count as one Ctrl-C."""
    server = serve(latency=0.5)
    with begin(here) as process:
        wait_for(server, 2)
        process.terminate()
        read_until(process.stderr, "press Ctrl-C again")
        process.terminate()
        process.communicate()

    assert 7 == process.returncode
    assert 2 == len(images_of(here))


def test_a_second_run_is_refused(cli, serve, here):
    """A second run is refused and names the running process; `status` names it too."""
    server = serve(latency=0.5)
    with begin(here) as process:
        wait_for(server, 2)
        refused = cli("batch", "--into", here / "out")
        status = cli("status", here / "out")
        process.terminate()
        process.communicate()

    assert 11 == refused.code
    assert f"process {process.pid}" in refused.errors[0]
    assert f"run by process {process.pid}" in status.out.decode()
    assert "2 under way" in status.out.decode()


def test_a_killed_run_is_settled_by_the_next(cli, serve, here):
    """After kill -9 what was on its way is in doubt, and everything else is made."""
    server = serve(Fault(cut="stall", billed=True, times=2))
    with begin(here) as process:
        wait_until(lambda: server.ledger.billed_requests >= 2)
        process.kill()
        process.communicate()

    ran = cli("batch", "--into", here / "out")

    assert 10 == ran.code
    assert "the last run was killed: 0 of its requests are done, 2 are in doubt" in ran.err
    assert (6, 4) == (server.ledger.billed_requests, len(images_of(here)))


@pytest.mark.slow
def test_a_reader_that_leaves(serve, here):
    """A closed pipe behind stdout is a first Ctrl-C: what is paid for comes to its end, and the rest waits."""
    server = serve(latency=0.2)
    with begin(here, "--json") as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()

    assert 7 == process.returncode
    assert "the reader of stdout has closed it" in err
    assert server.ledger.billed_requests == len(images_of(here)) < 6


@pytest.mark.slow
def test_results_that_cannot_be_printed(serve, here):
    """A full disk behind stdout starts nothing more: what is paid for comes to its end, and the code is 11."""
    server = serve(latency=0.2)
    rows = write_rows(here / "rows.jsonl", prompts(6))
    words = shlex.join([*PROGRAM, "batch", str(rows), "--into", "out", "-j", "2", "--json"])

    ran = subprocess.run(["sh", "-c", f"{words} >/dev/full"], stderr=subprocess.PIPE, text=True, check=False)

    assert 11 == ran.returncode
    assert ran.stderr.endswith("error: standard output cannot be written: No space left on device.\n")
    assert "Traceback" not in ran.stderr
    assert server.ledger.billed_requests == len(images_of(here)) < 6


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["json", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("bar", "lines"))])
def test_nobody_reads_what_is_said(serve, here, mode):
    """A closed pipe behind stderr ends nothing: the job is made to its end, and the exit code is the job's."""
    server = serve(Fault(status=400), latency=0.1)
    rows = write_rows(here / "rows.jsonl", prompts(6))
    with start("batch", rows, "--into", here / "out", "-j", "2", "--progress", mode, "-v") as process:
        process.stderr.readline()
        process.stderr.close()
        out = process.stdout.read()

    assert 3 == process.returncode
    assert f"{here / 'out/gallery.html'}\n" == out
    assert 5 == server.ledger.billed_requests == len(images_of(here))


@pytest.mark.slow
def test_stderr_that_is_closed_or_full(serve, here):
    """The job finishes although stderr is closed or full."""
    serve()
    rows = write_rows(here / "rows.jsonl", prompts(2))
    words = shlex.join([*PROGRAM, "batch", str(rows), "--into", "out"])
    codes = [subprocess.run(["sh", "-c", f"{words} {end}"], check=False).returncode for end in ("2>&-", "2>/dev/full")]

    assert [0, 0] == codes
    assert 2 == len(images_of(here))


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [100, *(pytest.param(long, marks=pytest.mark.slow) for long in (3599, 999999999))])
def test_a_pause_beyond_the_deadline_is_not_slept_through(serve, here, seconds):
    """The job gives up with 6 as soon as it is told, and another run finds all that waits."""
    server = serve(Fault(status=429, headers={"retry-after": str(seconds)}, times=None))
    rows = write_rows(here / "rows.jsonl", prompts(3))
    with start("batch", rows, "--into", here / "out", "--deadline", "30") as process:
        _, err = process.communicate(timeout=20)

    assert 6 == process.returncode
    assert len(server.ledger.requests) <= 3
    assert "3 not started" in err


@pytest.mark.parametrize("seconds", [100, 3599])
def test_a_single_request_does_not_sleep_past_its_deadline(cli, serve, seconds):
    """A single request ends with 6 and the API's message instead of waiting past its deadline."""
    server = serve(Fault(status=429, retry_after=seconds, times=None))

    ran = cli("generate", "an otter", "-m", "gpt-image-2", "--deadline", "5")

    assert 6 == ran.code
    assert 1 == len(server.ledger.requests)


def test_an_api_that_is_not_there(serve, here, unused_tcp_port):
    """The job gives up after --deadline, and all its requests still wait."""
    serve()
    rows = write_rows(here / "rows.jsonl", prompts(3))
    with start("batch", rows, "--into", here / "out", "--base-url", f"http://127.0.0.1:{unused_tcp_port}",
               "--deadline", "0", "--retries", "1") as process:  # fmt: skip
        _, err = process.communicate()

    assert 6 == process.returncode
    assert "3 not started" in err


async def forget_the_end(folder):
    """Leave a job as if it had been killed while it read its list."""
    async with bulk.Job.open(folder) as job:
        known = await job.store.get_metadata("inputs")
        await job.store.set_metadata("inputs", {path: {**facts, "rows": None} for path, facts in known.items()})


def test_a_list_that_was_read_in_part(cli, serve, here):
    """A job does not run with a list that was only partly read."""
    server = serve()
    make(cli, prompts(2), "--limit", "1")
    asyncio.run(forget_the_end(here / "out"))

    refused = cli("batch", "--into", "out")
    taken = make(cli, prompts(2))

    assert (2, 0) == (refused.code, taken.code)
    assert "rows.jsonl was not read completely before the job was interrupted; give it again." in refused.errors[0]
    assert 2 == server.ledger.billed_images


@pytest.mark.slow
def test_an_interrupt_while_lists_are_read(serve, here):
    """Nothing was sent, so the first Ctrl-C ends it at once, and the same command begins again."""
    server = serve()
    with start("batch", "-", "--into", here / "out", "--progress", "json", stdin=subprocess.PIPE) as process:
        process.stdin.write("a fox\n")
        process.stdin.flush()
        read_until(process.stderr, '"reading"')
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()

    assert 7 == process.returncode
    assert "before anything was sent" in err
    assert 0 == len(server.ledger.requests)


# --- what is paid and not fetched ------------------------------------------------------------------------------------


def make_image(server):
    """Return the address of an image on another server, which has a private address."""
    body = json.dumps({"model": "dall-e-2", "prompt": "an otter", "size": "256x256"}).encode()
    headers = {"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.base_url}/images/generations", body, headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["data"][0]["url"]


def test_paid_images_that_are_not_fetched_are_no_success(cli, serve, here):
    """The command ends with 12 until the host is let in, says why and what to type, and buys nothing twice."""
    url = make_image(serve())
    host = urllib.parse.urlsplit(url).netloc
    answer = Fault(body={"created": 1, "data": [{"url": url}]}, billed=True)
    server = serve(answer, answer)

    ran = make(cli, prompts(3), "-j", "1")
    again = make(cli, prompts(3), "-j", "1", "--quiet")
    status = cli("status", "out")
    facts = cli("status", "out", "--json").json
    fetched = make(cli, prompts(3), "--result-host", host)

    assert (12, 12, 0) == (ran.code, again.code, fetched.code)
    assert "summary: 1 of 3 requests done, 0 failed, 0 in doubt, 2 paid and not fetched; 1 image" in ran.err
    assert "not started" not in ran.err
    assert f"add --result-host {host.partition(':')[0]}" in ran.err
    assert "error: 1 of 3 requests done" in again.err
    assert "3 requests: 1 done, 0 failed, 0 in doubt, 2 paid and not fetched\n" in status.out.decode()
    assert 2 == status.out.decode().count("paid and not fetched: row-")
    assert ["DownloadRefusedError"] * 2 == [row["failure"]["error"] for row in facts["unfetched"]]
    assert url not in ran.err + again.err + status.out.decode() + json.dumps(facts)
    assert (3, 3) == (len(server.ledger.requests), len(images_of(here)))


def test_a_missing_extra_is_told_before_anything_is_made(cli, serve, here, monkeypatch):
    """Neither is a folder made nor a list read for a table that cannot be written."""
    server = serve()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    ran = cli("batch", write_rows(Path("rows.jsonl"), prompts(1)), "--into", "out", "--metadata", "parquet")

    assert 2 == ran.code
    assert "burncloud-images[data]" in ran.err
    assert not (here / "out").exists()
    assert 0 == server.ledger.billed_images
