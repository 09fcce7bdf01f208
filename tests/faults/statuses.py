"""Group S: the server answers, but with an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from fakes import until
from faults import jobs
from faults.gateway import Gateway, Step, http
from faults.proxy import pause
from faults.stage import (
    CANARY,
    Clock,
    Expected,
    Outcome,
    Stage,
    World,
    edit,
    fails,
    generate,
    held,
    retried,
    scripted,
    succeeds,
    written,
)
from faults.table import Check, case, one_call, script, variants
from intermediaries import AFTER_THE_WORK
from statuses import Row, by_id
from workshop import prompts, write_rows

from burncloud_images import RetryPolicy, errors
from burncloud_images.bulk import RequestState
from burncloud_images.emulator import Fault


def expect(row: Row) -> Expected:
    """Return what a call comes to that gets the answer of *row* once."""
    if row.means.verdict != "stop":
        return retried()
    return held() if row.means.error is errors.OutcomeUnknownError else fails(row.means.error, attempts=1)


def told(number: str, fault: str, name: str, *, check: Check | None = None, **options: object) -> None:
    """Enter a case in which the server gives an answer of the table of statuses."""
    row = by_id[name]
    script(number, fault, row.fault(**options), expect(row), check=check)


def waits(least: float, most: float) -> Callable[[World, Outcome], None]:
    """Return a check of the wait before the second try."""

    def check(_world: World, outcome: Outcome) -> None:
        wait = outcome.result.history[0].wait
        assert least <= wait <= most, f"waited {wait} s"

    return check


# --- throttling ------------------------------------------------------------------------------------------------------

told("S01", "429, Retry-After: 2", "429 of the API", retry_after=2, check=waits(2, 2.2))
told(
    "S02",
    "429, retry-after-ms: 1500",
    "429 of the API",
    headers={"retry-after-ms": "1500"},
    check=waits(1.5, 1.65),
)
SERVER_NOW = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
script(
    "S03",
    "429, Retry-After as a date of a server whose clock is an hour ahead",
    Fault(
        status=429,
        headers={
            "Date": format_datetime(SERVER_NOW, usegmt=True),
            "Retry-After": format_datetime(SERVER_NOW + timedelta(seconds=5), usegmt=True),
        },
    ),
    retried(),
    check=waits(5, 5.5),
    rival=False,
)


@case("S04", "Retry-After: nan, inf, -1, 1e9, 1_000, other digits, empty, twice", retried())
async def odd_waits(stage: Stage) -> None:
    """What is no number of seconds does not count."""
    forms = ["nan", "inf", "-1", "1e9", "1_000", "", "1;2", "+5", "0x10", " "]
    plays = {
        f"{number} {form!r}".replace("/", ""): one_call(
            scripted(Fault(status=429, headers={"Retry-After": form})), retried(), check=waits(0.1, 1)
        )
        for number, form in enumerate(forms)
    }
    twice = b"HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"
    plays["twice"] = one_call(written(Step(answer=twice, billed=False)), retried(), check=waits(3, 3.3))
    arabic = b"HTTP/1.1 429 Too Many\r\nRetry-After: \xd9\xa3\r\nContent-Length: 0\r\n\r\n"
    plays["other digits"] = one_call(written(Step(answer=arabic, billed=False)), retried(), check=waits(0.1, 1))
    await variants(stage, plays)


script(
    "S05",
    "429, Retry-After: 121",
    Fault(status=429, retry_after=121),
    fails(errors.RateLimitError, attempts=1),
    rival=False,
)

# --- money and permission --------------------------------------------------------------------------------------------

told("S06", "429 insufficient_quota", "429 quota by a code alone")
told("S07", "400 billing_hard_limit_reached", "400 hard limit by a code alone")
told("S08", "400 moderation_blocked", "moderation by a code alone")


@case("S09", "401; 401 when the key can be asked for again", "AuthenticationError; succeeds with the new key")
async def wrong_key(stage: Stage) -> None:
    """A key that is text is wrong for good; one that is asked for may have changed."""
    await variants(
        stage,
        {
            "fixed": one_call(scripted(Fault(status=401)), fails(errors.AuthenticationError, attempts=1)),
            "asked for": changing_key,
            "the same again": one_call(
                scripted(Fault(status=401)), fails(errors.AuthenticationError, attempts=1), api_key=lambda: CANARY
            ),
        },
    )


async def changing_key(stage: Stage) -> None:
    world = await stage.world(scripted())
    keys = iter([*(["sk-yesterday"] if stage.faulty else []), *[CANARY] * 9])
    client = await stage.client(world.base_url, api_key=lambda: next(keys))
    outcome = await stage.call(generate(client))
    stage.judge(outcome, retried() if stage.faulty else succeeds())


told("S10", "403", "403 of the API")

# --- servers that fail -----------------------------------------------------------------------------------------------

told("S11", "500 with an error in the API's form", "500 of the API", billed=True)
told("S12", "502 with a page", "502 page", billed=True)
told(
    "S13",
    "503 with the code of an overloaded API and Retry-After",
    "503 of the API",
    retry_after=1,
    check=waits(1, 1.1),
)
script("S14", "503 five times", Fault(status=503, times=4), fails(errors.ServerError, posts=4, attempts=4), rival=False)
told("S15", "504", "504 of the API", billed=True)


@case("S16", "521, 523, 525: the origin was not reached", retried())
async def not_reached(stage: Stage) -> None:
    """A proxy that says so is believed."""
    await variants(
        stage,
        {str(status): one_call(scripted(by_id[f"{status} page"].fault()), retried()) for status in (521, 523, 525)},
    )


told("S17", "524 with a page", "524 page", billed=True)


@case("S28", "answers of intermediaries after the work, each with a promise", held())
async def intermediaries(stage: Stage) -> None:
    """Whatever stands in between, its word is not the API's."""
    promise = {"x-should-retry": "true"}
    forms = {
        answer.vendor: Fault(
            status=answer.status, headers={**answer.headers, **promise}, body=answer.body, billed=True, times=None
        )
        for answer in AFTER_THE_WORK
    }
    await variants(stage, {name: one_call(scripted(fault), held()) for name, fault in forms.items()})


told("S18", "503, x-should-retry: false", "503 not to be retried")
told("S19", "500, x-should-retry: true", "500 to be retried", billed=True)


@case("S20", "302, 307, 308 to another server", fails(errors.ProtocolError, attempts=1))
async def redirected(stage: Stage) -> None:
    """Neither body nor key travels; the other server is not even called."""

    def play_of(status: int):
        async def play(stage: Stage) -> None:
            other = await stage.enter(Gateway())
            world = await stage.world(scripted(Fault(status=status, headers={"location": other.base_url})))
            client = await stage.client(world.base_url)
            outcome = await stage.call(generate(client))
            stage.judge(outcome, fails(errors.ProtocolError, attempts=1) if stage.faulty else succeeds())
            assert 0 == other.connections

        return play

    await variants(stage, {str(status): play_of(status) for status in (301, 302, 303, 307, 308)})


@case("S21", "408 before and after the body", "succeeds after retry; OutcomeUnknownError")
async def request_timeout(stage: Stage) -> None:
    """What the server has not read it has not done."""
    await variants(
        stage,
        {
            "before": one_call(scripted(by_id["408 before the body"].fault()), retried(), call=edit),
            "after": one_call(scripted(by_id["408"].fault(billed=True)), held()),
        },
    )


@case("S22", "409: the first try is still being worked on", retried())
async def in_flight(stage: Stage) -> None:
    """Waits as long as it is told and asks again with the same key."""
    world = await stage.world(scripted(by_id["409 key in use"].fault(retry_after=3)))
    client = await stage.client(world.base_url, retry=RetryPolicy(server_idempotency="replay"))
    outcome = await stage.call(generate(client))
    stage.judge(outcome, retried() if stage.faulty else succeeds())
    assert 1 == len({request.idempotency_key for request in world.emulator.ledger.requests})
    if stage.faulty:
        waits(3, 3.3)(world, outcome)


@case("S23", "422: the key was used with another body", fails(errors.ServerError, posts=2))
async def key_used(stage: Stage) -> None:
    """The first error is the one that says what happened."""
    world = await stage.world(scripted(by_id["503 of the API"].fault(), by_id["422 key reused"].fault()))
    client = await stage.client(world.base_url)
    outcome = await stage.call(generate(client))
    stage.judge(outcome, fails(errors.ServerError, posts=2) if stage.faulty else succeeds())
    if stage.faulty:
        assert 503 == outcome.error.status


@case("S24", "error body of 50 MB, of no JSON, of nulls", fails(errors.BadRequestError, attempts=1))
async def odd_errors(stage: Stage) -> None:
    """The status says enough; the body is read up to its cap."""
    forms = {
        "50 MB": b"x" * 50_000_000,
        "no JSON": b"teapot",
        "nulls": b'{"error": {"message": null, "code": null, "type": null, "param": null}}',
        "list": b"[]",
        "deep": b"[" * 100_000,
        "number": b'{"error": 7}',
    }

    def check(_world: World, outcome: Outcome) -> None:
        assert len(str(outcome.error)) < 10_000
        assert len(str(outcome.error.body)) <= 1024 * 1024 + 100

    refused = fails(errors.BadRequestError, attempts=1)
    await variants(
        stage,
        {name: one_call(scripted(Fault(status=400, body=body)), refused, check=check) for name, body in forms.items()},
    )


TASKS = 1000
MOST_RETRIES = 35
"""Of all calls of a client together."""


@case("S25", "dead gateway and 1,000 tasks", f"at most {MOST_RETRIES} retries in all; a job stops", bound=40)
async def dead_gateway(stage: Stage) -> None:
    """A thousand callers need not find out four times each; of a job only the first do."""
    await variants(stage, {"calls": dead_for_calls, "job": dead_for_a_job})


def dead(faulty: bool) -> AbstractAsyncContextManager[World]:
    refusal = http(b'{"error": {"message": "down", "code": "server_is_overloaded"}}', status="503 Down")
    return written(*[Step(answer=refusal, billed=False, closes=False)] * (4 * TASKS if faulty else 0))(True)


async def dead_for_calls(stage: Stage) -> None:
    world = await stage.world(dead)
    stage.clock.scale = 10.0  # a thousand at once take their time
    client = await stage.client(world.base_url)
    tasks = TASKS if stage.faulty else 20
    ends = await asyncio.gather(*(generate(client) for _ in range(tasks)), return_exceptions=True)
    stage.seen.append("ServerError" if stage.faulty else "succeeds")
    stage.count(tasks)
    assert stage.faulty == all(isinstance(end, errors.ServerError) for end in ends)
    assert stage.faulty == any(isinstance(end, BaseException) for end in ends)
    assert stage.posts - tasks <= (MOST_RETRIES if stage.faulty else 0)


async def dead_for_a_job(stage: Stage) -> None:
    world = await stage.world(dead)
    stage.clock.scale = 10.0  # a thousand at once take their time
    client = await stage.client(world.base_url)
    tasks = TASKS if stage.faulty else 20
    source = write_rows(stage.folder / "rows.jsonl", prompts(tasks))
    report = await jobs.run_job(stage, client, source, concurrency=16)
    stage.count(tasks)
    if stage.faulty:
        assert "finished" != report.stopped
        assert 0 == stage.billed == report.totals.counts[RequestState.DONE]
        assert report.totals.counts[RequestState.PENDING] >= TASKS - 100
        assert stage.posts <= 200
    else:
        assert (tasks, tasks) == (report.totals.counts[RequestState.DONE], stage.billed)


@case("S26", "reply dropped three times by a server that replays keys", succeeds(posts=4))
async def replayed(stage: Stage) -> None:
    """The same key on every try; billed once."""
    script = [Step()] * 3 if stage.faulty else []
    world = await stage.world(lambda _faulty: written(*script, replays=True)(True))
    client = await stage.client(world.base_url, retry=RetryPolicy(server_idempotency="replay"))
    outcome = await stage.call(generate(client))
    stage.judge(outcome, succeeds(posts=4) if stage.faulty else succeeds())
    assert 1 == len({*world.gateway.keys})
    assert b"" not in world.gateway.keys


class SlowClock(Clock):
    """A clock whose waits last, a hundredth of what they say."""

    def monotonic(self) -> float:
        return time.monotonic() / self.scale

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await pause(seconds * self.scale)


@case("S27", "20 callers and one 429 with Retry-After: 3", "all succeed; at most one probe within 3 s", scale=0.1)
async def gate(stage: Stage) -> None:
    """One throttled call makes the others wait as well."""
    callers = 20
    refusal = http(
        b'{"error": {"message": "slow", "code": "rate_limit_exceeded"}}', "Retry-After: 3", status="429 Slow"
    )
    world = await stage.world(written(Step(answer=refusal, billed=False, closes=False)))
    gateway = world.gateway
    clock = SlowClock(stage.scale)
    client = await stage.client(world.base_url, max_connections=100, clock=clock)
    first = asyncio.ensure_future(stage.call(generate(client)))
    await until(lambda: clock.slept or first.done())
    told = time.monotonic()
    others = [asyncio.ensure_future(stage.call(generate(client))) for _ in range(callers - 1)]
    outcomes = await asyncio.gather(first, *others)
    stage.count(callers)
    assert all(outcome.error is None for outcome in outcomes), [repr(outcome.error) for outcome in outcomes]
    assert callers == stage.billed
    early = [arrived for arrived in gateway.arrived if told < arrived < told + 3 * stage.scale * 0.95]
    if stage.faulty:
        assert clock.slept
        assert len(early) <= 1, f"{len(early)} requests came while the gate was closed"
