"""`plan --measure`: a few requests are bought, and a budget then holds for models without a price."""

import base64
import json
import signal
from pathlib import Path

import pytest
from pictures import png
from programs import start, wait_until
from workshop import write_rows

from burncloud_images.emulator import Fault
from burncloud_images.model.rules import KNOWN

FLARE = "gpt-image-2.6-flare"
BY_TOKEN = [model for model in KNOWN if not model.startswith("dall-e")]


def rows(count, model=FLARE, **fields):
    sized = {} if model.startswith("dall-e") else {"quality": "low"}
    return [
        {"id": f"row-{n}", "prompt": f"otter {n}", "model": model, "size": "1024x1024", **sized, **fields}
        for n in range(count)
    ]


def measure(cli, number, found, *words):
    return cli("plan", write_rows(Path("rows.jsonl"), found), "--measure", number, "--into", "out", *words)


def batch(cli, *words):
    return cli("batch", "rows.jsonl", "--into", "out", "-j", "2", *words)


def priced_answer(cost, times=1, **more):
    """Return an answer that says what it cost."""
    body = {"created": 1, "data": [{"b64_json": base64.b64encode(png()).decode()}], "usage": {"cost": cost}, **more}
    return Fault(body=body, billed=True, times=times)


def dollars(text):
    return float(text.partition("$")[2].split()[0].rstrip(",;"))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("model", BY_TOKEN)
def test_a_measured_budget_holds_for_every_model_that_is_paid_by_token(cli, serve, here, model):
    """The measured images are bought once, and the ledger of the server never passes the budget."""
    server = serve()
    (here / "prices.toml").write_text(f'date = 2026-11-30\n[models."{model}"]\ntext_input = 5\nimage_output = 30\n')
    bought = measure(cli, 2, rows(8, model), "--prices", "prices.toml", "--json")
    each = bought.json["measurement"]["spent"] / 2
    budget = f"{each * 5:.6f}"
    made = batch(cli, "--prices", "prices.toml", "--budget", budget)

    assert (0, 8) == (bought.code, made.code), made.err
    assert "3 known" not in made.err
    assert 2 < server.ledger.billed_images <= 5
    assert server.ledger.billed_images == len({entry.idempotency_key for entry in server.ledger.requests})


@pytest.mark.sampled(4)
@pytest.mark.parametrize("model", KNOWN)
def test_a_measured_budget_holds_for_every_model_whose_answers_name_their_cost(cli, serve, model):
    """No price of the model is known at all."""
    server = serve(priced_answer(0.05, times=20))
    bought = measure(cli, 2, rows(8, model), "--prices", no_prices())
    made = batch(cli, "--prices", "none.toml", "--budget", "0.30")

    assert (0, 8) == (bought.code, made.code), made.err
    assert "measured: " in bought.out.decode()
    assert 2 < server.ledger.billed_requests <= 6


def no_prices():
    Path("none.toml").write_text("date = 2026-11-30\n[models]\n")
    return "none.toml"


def test_it_says_what_it_buys_before_it_buys(cli, serve):
    """How many requests and images, into which folder, and what that can cost as far as it is known."""
    server = serve()
    known = measure(cli, 2, rows(3, "gpt-image-2", n=2), "--price", "gpt-image-2=0.10")
    unknown = cli("plan", write_rows(Path("more.jsonl"), rows(3)), "--measure", "1")

    assert "note: --measure buys 2 requests for 4 images into out, for at most $0.40\n" in known.err
    assert f"buys 1 request for 1 image into more-measured, at a price that is not known for {FLARE}\n" in unknown.err
    assert 5 == server.ledger.billed_images
    assert 1 == len(list(Path("more-measured/images").rglob("*.png")))


def test_the_plan_shows_what_is_typical_measured_and_the_worst_case(cli, serve):
    """A measured ceiling is shown beside a documented one, and stands in its place where there is none."""
    serve()
    shown = measure(cli, 4, [*rows(3, "gpt-image-2", quality="high"), *rows(2, id=None)]).out.decode()
    again = cli("plan", "rows.jsonl", "--into", "out").out.decode()

    for text in (shown, again):
        (documented,) = (line for line in text.splitlines() if line.startswith("  gpt-image-2 "))
        (measured,) = (line for line in text.splitlines() if line.startswith(f"  {FLARE}"))
        assert "typically $" in documented
        assert ", measured at most $" in documented
        assert "by token ceiling" in documented
        assert "typically $" in measured
        assert "by measured ceiling" in measured
    assert "measured: gpt-image-2 with quality high: 2 requests" in shown
    assert f"measured: in another folder, --price {FLARE}=0." in shown


def test_the_dearest_kind_is_bought_first(cli, serve):
    """A ceiling measured on it holds for the cheaper ones; models without a price come before others."""
    server = serve()
    found = [
        *rows(2, "gpt-image-2"),
        *rows(2, id=None),
        *rows(1, id=None, quality="high", prompt="dear"),
        *rows(1, id=None, quality="medium"),
    ]
    bought = measure(cli, 1, found)

    (entry,) = server.ledger.requests
    assert ("high", FLARE) == tuple(json.loads(dict(entry.fields)[name]) for name in ("quality", "model"))
    assert "by measured ceiling" in bought.out.decode()
    assert "no price" not in bought.out.decode()


def test_kinds_that_were_not_measured_are_named(cli, serve):
    """Another size may cost more, so a budget still refuses it, and the plan says so."""
    serve()
    found = [*rows(2, size="1536x1024"), *rows(2, id=None)]
    bought = measure(cli, 1, found)
    refused = batch(cli, "--budget", "5")

    assert 0 == bought.code
    assert f"no price: {FLARE} with quality low, size 1024x1024 (2)" in bought.out.decode()
    assert (2, True) == (refused.code, "1024x1024" in refused.errors[-1])


def test_what_is_bought_already_is_not_bought_again(cli, serve):
    """The same command costs nothing the second time, and a larger number buys the difference."""
    server = serve()
    first, second = measure(cli, 2, rows(4)), measure(cli, 2, rows(4))
    billed = server.ledger.billed_images
    third = measure(cli, 3, rows(4))

    assert (0, 0, 0, 2, 3) == (first.code, second.code, third.code, billed, server.ledger.billed_images)
    assert "--measure buys 0 requests" in second.err
    assert "2 requests of 2 bought earlier" in second.err
    assert "buys 1 request for 1 image" in third.err


@pytest.mark.parametrize(
    ("number", "words", "problem"),
    [
        ("0", [], "--measure has to be at least 1."),
        ("-1", [], "--measure has to be at least 1."),
        ("4", [], "--measure 4 is more than the 3 requests of the lists."),
        ("2", ["--max-images", "1"], "--measure asks for 2 images, more than --max-images."),
        ("2", ["--price", "1", "--budget", "1.50"], "may cost $2.00, more than --budget"),
        ("2", ["--no-key", "--api-key-file", "key.txt"], "--no-key sends no key"),
        ("x", [], ""),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_sent(cli, serve, number, words, problem):
    """One sentence and exit code 2; no folder is made."""
    server = serve()
    ran = measure(cli, number, rows(3), *words)

    assert 2 == ran.code
    assert problem in ran.err
    assert (1, 0, False) == (len(ran.errors), len(server.ledger.requests), Path("out").exists())


def test_bad_lists_are_refused_before_anything_is_sent(cli, serve, monkeypatch):
    """Without a list, with stdin, with a list of bad rows only, and without a key."""
    server = serve()
    stdin = cli("plan", "-", "--measure", "1", stdin=b"a fox\n")
    bad = measure(cli, 1, [{"prompt": ""}])
    monkeypatch.delenv("BURNCLOUD_API_KEY")
    keyless = measure(cli, 1, rows(1), "--base-url", "https://gateway.example")

    assert [2, 2, 2, 2] == [ran.code for ran in (cli("plan", "--measure", "1"), stdin, bad, keyless)]
    assert "so they have to be files" in stdin.errors[0]
    assert "more than the 0 requests" in bad.errors[0]
    assert "There is no API key" in keyless.errors[0]
    assert (0, False) == (len(server.ledger.requests), Path("out").exists())


def test_a_folder_whose_job_waits_is_refused(cli, serve):
    """Its other requests would be bought as well."""
    server = serve()
    write_rows(Path("rows.jsonl"), rows(4))
    batch(cli, "--limit", "1")
    ran = measure(cli, 1, rows(4))

    assert (2, 1) == (ran.code, server.ledger.billed_images)
    assert "Other requests wait in the job in out" in ran.errors[0]


@pytest.mark.parametrize(
    ("folder", "code", "problem"),
    [
        ("s3://bucket/out", 2, "not the address s3://"),
        ("rows.jsonl", 11, "rows.jsonl cannot be created: it is not a folder"),
        ("damaged", 2, "damaged"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(cli, serve, folder, code, problem):
    """One sentence, and nothing is sent."""
    server = serve()
    Path("damaged").mkdir()
    Path("damaged/job.sqlite3").write_bytes(b"no database" * 100)
    ran = cli("plan", write_rows(Path("rows.jsonl"), rows(2)), "--measure", "1", "--into", folder)

    assert (code, 1, 0) == (ran.code, len(ran.errors), len(server.ledger.requests))
    assert problem in ran.errors[0]


def test_only_models_without_another_ceiling_get_a_price_to_type(cli, serve):
    """For the others, the prices know better."""
    serve()
    ran = measure(cli, 2, [*rows(1, "gpt-image-2", quality="high"), *rows(1, id=None)])
    assert "--price gpt-image-2=" not in ran.out.decode()
    assert f"--price {FLARE}=" in ran.out.decode()


def test_a_price_that_was_measured_holds_in_another_folder(cli, serve):
    """The `--price` that the plan prints makes a budget possible there."""
    server = serve()
    bought = measure(cli, 2, rows(6), "--json").json["measurement"]
    price = f"{FLARE}={bought['ceilings'][FLARE]:.4f}"
    budget = f"{3 * bought['ceilings'][FLARE]:.4f}"
    made = cli("batch", "rows.jsonl", "--into", "other", "-j", "1", "--price", price, "--budget", budget)

    assert (8, 2 + 3) == (made.code, server.ledger.billed_images)


def test_a_server_that_tells_nothing(cli, serve):
    """The images are kept and the job does not buy them again; only nothing is known of their price."""
    server = serve()
    ran = measure(cli, 2, rows(3, "dall-e-2", size="256x256"))
    made = batch(cli)

    assert (1, 1, 0, 3) == (ran.code, len(ran.errors), made.code, server.ledger.billed_images)
    assert "Not measured: dall-e-2: no answer says what it cost or how many tokens it took." in ran.errors[0]
    assert "--price MODEL=DOLLARS" in ran.errors[0]


def test_tokens_without_a_price_are_told(cli, serve):
    """They are counted, but nobody knows what one costs."""
    serve()
    ran = measure(cli, 1, rows(2), "--prices", no_prices())

    assert 1 == ran.code
    assert "the answers name tokens, whose price is not known" in ran.errors[0]


@pytest.mark.parametrize(
    ("fault", "code", "state"),
    [
        (Fault(status=400), 3, "1 failed"),
        (Fault(status=401), 4, "failed"),
        (Fault(cut="close", billed=True), 10, "1 in doubt"),
        (Fault(body={"created": 1, "data": []}, billed=True), 3, "1 failed"),
    ],
    ids=["refused", "key", "unknown", "no image"],
)
def test_a_purchase_that_fails_is_not_made_up_for(cli, serve, fault, code, state):
    """No other request is bought in its place, what may be paid counts as perhaps spent, and the rest is measured."""
    server = serve(fault)
    ran = measure(cli, 2, rows(4), "-j", "1", "--retries", "1")
    again = measure(cli, 2, rows(4), "-j", "1", "--retries", "1")

    assert code == ran.code
    assert 1 == len(ran.errors)
    assert state in ran.err
    assert server.ledger.billed_images <= 2
    assert len(server.ledger.requests) == 2 + (code == 4)
    assert code in {again.code, 4}


def test_what_is_in_doubt_counts_in_a_later_budget(cli, serve):
    """Its price was not known when it was sent; what was measured beside it tells it."""
    server = serve(Fault(cut="close", billed=True))
    ran = measure(cli, 2, rows(6), "-j", "1", "--json")
    told = ran.json["measurement"]
    made = batch(cli, "--budget", f"{told['spent'] + told['perhaps_spent']:.9f}")

    assert (10, True, True) == (ran.code, told["spent"] > 0, told["perhaps_spent"] > told["spent"])
    assert "more in flight, in doubt or at an unknown price" in ran.err
    assert (2, True) == (server.ledger.billed_images, made.code in {8, 10})


def test_an_interrupt_keeps_what_is_paid(serve, here):
    """The request that was sent finishes; the same command buys what is left."""
    server = serve(latency=0.5)
    write_rows(Path("rows.jsonl"), rows(4))
    words = ["plan", "rows.jsonl", "--measure", "3", "--into", "out", "-j", "1"]
    process = start(*words, cwd=here)
    wait_until(lambda: server.ledger.requests)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    billed = server.ledger.billed_images

    assert (7, 1) == (process.returncode, billed), err
    assert "measured: " in out
    again = start(*words, cwd=here)
    out, err = again.communicate()
    assert (0, 3) == (again.returncode, server.ledger.billed_images), err


def test_a_list_of_retired_models_is_measured_with_a_warning(cli, serve):
    """A gateway may go on serving them; the warning stands once, before anything is bought."""
    server = serve()
    ran = measure(cli, 1, rows(2, "gpt-image-1"))

    assert (0, 1) == (ran.code, server.ledger.billed_images)
    assert 1 == (ran.err + ran.out.decode()).count("gpt-image-1 has been shut down by its provider since 2026-10-23")
