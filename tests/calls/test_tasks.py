"""Tasks: followed to their images for nothing, whatever goes wrong with the questions, and never bought again."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle

import pytest
from fakes import FakeClock, until
from raw import serve
from task_gateway import IMAGE, QUEUED, Answer, Gateway

from burncloud_images import AsyncImagesClient, Directory, GenerationRequest, RetryPolicy, errors
from burncloud_images.calls.hooks import CallHooks
from burncloud_images.errors import Billing, Phase
from burncloud_images.results import Task

pytestmark = pytest.mark.ways("tls")

B64 = base64.b64encode(IMAGE).decode()
REQUEST = GenerationRequest("an otter", model="m")
RUNNING = {"id": "t-1", "status": "in_progress"}
DONE = {"id": "t-1", "status": "succeeded", "data": [{"b64_json": B64}]}
FAILED = {"id": "t-1", "status": "failed", "error": {"code": "upstream_failed", "message": "No image came."}}


async def send(gateway, *, clock=None, into=None, **options):
    settings = {name: options.pop(name) for name in ("retry", "dialect") if name in options}
    async with (
        serve(gateway) as raw,
        AsyncImagesClient("sk-canary", raw.url, clock=clock or FakeClock(), **settings) as client,
    ):
        if into is not None:
            return await client.send(REQUEST, into=into, **options)
        return await client.send(REQUEST, **options)


async def fail(gateway, expected=errors.ImagesError, **options):
    with pytest.raises(expected) as caught:
        await send(gateway, **options)
    return caught.value


async def test_a_task_is_followed_to_its_image():
    """A request that becomes a task is sent once, asked for until it has ended, and returns its image."""
    gateway = Gateway(Answer(QUEUED), Answer(RUNNING), Answer(DONE))
    result = await send(gateway)

    assert (IMAGE, 1, 3) == (result.image.data, len(gateway.posts), len(gateway.gets))
    assert ["/v1/images/tasks/t-1"] * 3 == gateway.paths
    assert all(b"Bearer sk-canary" in request for request in gateway.gets)
    assert [Phase.ACCEPTED] == [attempt.phase for attempt in result.history]


@pytest.mark.parametrize(
    "accepted",
    [
        Answer(QUEUED),
        Answer({"code": 0, "data": {"task_id": "t-1"}}),
        Answer(b"", 202, Location="/v1/images/tasks/t-1"),
        Answer(b"", 202, X_Task_ID="t-1"),
        Answer(b"accepted", 202, X_Task_ID="t-1"),
        Answer(QUEUED, 202, cut=True, X_Task_ID="t-1"),
        Answer(QUEUED, 201),
        Answer({**QUEUED, "data": []}, 202),
    ],
)
async def test_a_task_is_known_wherever_it_comes(accepted):
    """The document, or the headers alone, tell that a task was made, also with 200 and with half a body."""
    gateway = Gateway(Answer(DONE), accepted=accepted)

    assert IMAGE == (await send(gateway)).image.data
    assert (1, 1) == (len(gateway.posts), len(gateway.gets))


@pytest.mark.parametrize(
    "document",
    [
        {"status": "completed", "result": {"b64_json": B64}},
        {"status": "completed", "data": [{"b64_json": B64}]},
        {"status": "SUCCESS", "result": {"data": [{"b64_json": B64}]}},
        {"status": "SUCCEED", "output": {"images": [{"b64_json": B64}]}},
        {"code": 0, "data": {"status": "finished", "result": {"images": [{"b64_json": B64}]}}},
        {"data": [{"b64_json": B64}]},
        {"status": "succeeded", "data": [{"b64_json": f"data:image/png;base64,{B64}"}]},
    ],
)
async def test_base64_is_cut_out_of_the_result(document):
    """Images in base64 are found in the lists of a result, within the objects around it, and go to files."""
    result = await send(Gateway(Answer(document)))

    assert IMAGE == result.image.data


@pytest.mark.parametrize("place", ["data", "result.data", "image_url", "result_url", "output", "result.images"])
async def test_urls_of_a_result_are_downloaded(place, tmp_path):
    """Addresses in a result are fetched as those of any answer, without the key."""
    gateway = Gateway(Answer())
    async with serve(gateway) as raw:
        url = f"{raw.url}/image.png"
        value = url if place.endswith("_url") else [{"url": url}]
        for name in reversed(place.split(".")):
            value = {name: value}
        gateway.polls = [Answer({"status": "succeeded", **value})]
        async with AsyncImagesClient("sk-canary", raw.url, clock=FakeClock()) as client:
            result = await client.send(REQUEST, into=Directory(tmp_path))

    assert IMAGE == result.image.path.read_bytes()


async def test_the_wait_is_the_servers():
    """A Retry-After of the acceptance and of each answer is honoured, as is one in the document; else waits grow."""
    clock = FakeClock()
    polls = [Answer(RUNNING, Retry_After="7"), Answer({**RUNNING, "retry_after": 3}), Answer(RUNNING), Answer(DONE)]
    gateway = Gateway(*polls, accepted=Answer(QUEUED, 202, Retry_After="4"))
    await send(gateway, clock=clock)

    assert [4.0, 7.0, 3.0] == clock.slept[:3]
    assert 1.0 < clock.slept[3] <= 10.0


async def test_an_absurd_wait_is_cut():
    """A server that asks to be left alone for a year is asked after two minutes."""
    clock = FakeClock()
    await send(Gateway(Answer(RUNNING, Retry_After="31536000"), Answer(DONE)), clock=clock)

    assert 120.0 == max(clock.slept)


FAULTS = [
    Answer({"error": {"message": "no such task"}}, 404),
    Answer(b"", 404),
    Answer({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, 429, Retry_After="2"),
    Answer({"error": {"message": "oops"}}, 500),
    Answer(b"<html>bad gateway</html>", 502),
    Answer(b"", 503),
    Answer(b"error code: 524", 524),
    Answer(b"<html>welcome</html>"),
    Answer(b'{"status": '),
    Answer(b""),
    Answer(b"[]"),
    Answer({}),
    Answer({"message": "not yet"}),
    Answer({"error": {"message": "task not found"}}),
    Answer({"id": "t-1", "status": "dreaming"}),
    Answer(b"", 302, Location="/login"),
    Answer(DONE, cut=True),
    Answer({"status": "succeeded", "data": []}),
    None,
]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_question_that_fails_is_asked_again(fault):
    """Whatever goes wrong with a question says nothing about the task: it is asked for again, not bought again."""
    gateway = Gateway(fault, fault, Answer(DONE))

    assert IMAGE == (await send(gateway, retry=RetryPolicy(attempts=1))).image.data
    assert (1, 3) == (len(gateway.posts), len(gateway.gets))


@pytest.mark.parametrize("fault", [*FAULTS[:-3], None, Answer(RUNNING)])
async def test_the_deadline_ends_the_questions(fault):
    """A task that is never found, or never ends, is given up at the deadline: it may be billed, and can be resumed."""
    clock = FakeClock()
    gateway = Gateway(fault)
    error = await fail(gateway, errors.OutcomeUnknownError, clock=clock, retry=RetryPolicy(deadline=60))

    assert (Billing.MAYBE, "t-1", Phase.ACCEPTED) == (error.billed, error.task.id, error.phase)
    assert (1, True) == (len(gateway.posts), 59 < sum(clock.slept) < 61)
    assert "may have been billed" in str(error)
    assert "asking for it again is free" in str(error)
    assert "burncloud-images fetch --task t-1" in str(error)
    assert "t-1" == pickle.loads(pickle.dumps(error)).task.id


async def test_a_failed_task_says_why():
    """A task that failed raises the server's words; it may have been billed, and is not asked for again."""
    gateway = Gateway(Answer(RUNNING), Answer(FAILED))
    error = await fail(gateway, errors.ServerError, retry=RetryPolicy(on_unknown="raise"))

    assert str(error).startswith("Task t-1 failed: No image came. This request may have been billed.")
    assert (Billing.MAYBE, True, "upstream_failed") == (error.billed, error.task.is_ended, error.code)
    assert (1, 2) == (len(gateway.posts), len(gateway.gets))


@pytest.mark.parametrize("status", [200, 400, 422, 500])
@pytest.mark.parametrize(
    ("more", "billed"),
    [
        ({}, Billing.MAYBE),
        ({"refund_status": "pending"}, Billing.MAYBE),
        ({"refund_status": "refunded"}, Billing.NO),
        ({"billing_status": "not_charged"}, Billing.NO),
    ],
)
async def test_a_refund_is_believed_if_it_is_said(more, billed, status):
    """A failed task was billed nothing if the server says so, with whatever status it tells the failure."""
    gateway = Gateway(Answer({**FAILED, **more}, status))
    error = await fail(gateway, errors.APIError)

    assert (billed, 1) == (error.billed, len(gateway.posts))
    assert ("Nothing was billed." in str(error)) is (billed is Billing.NO)


@pytest.mark.parametrize("status", [200, 404, 429, 500])
@pytest.mark.parametrize(
    "document",
    [
        {"status": "error", "message": "try again"},
        {"status": "fail", "data": {"title": "unavailable"}},
        {"status": "error", "message": "no", "billed": False, "charged": False},
    ],
)
async def test_an_envelope_of_a_question_says_nothing_of_the_task(document, status):
    """Where an API writes `error` or `fail` around any answer, the task goes on, and nothing is said of its bill."""
    gateway = Gateway(Answer(document, status), Answer(document, status), Answer(DONE))
    result = await send(gateway)

    assert (IMAGE, 1, 3) == (result.image.data, len(gateway.posts), len(gateway.gets))


async def test_an_answer_that_may_hold_the_image_is_kept_until_the_task_has_ended():
    """A first answer whose images are at an unknown place is on the error if nobody knows the task that it names."""
    document = {"id": "img-1", "status": "completed", "artifact": {"blob": B64}}
    error = await fail(
        Gateway(Answer({"message": "unknown"}, 404), accepted=Answer(document)),
        errors.OutcomeUnknownError,
        retry=RetryPolicy(deadline=30),
    )

    assert document == json.loads(error.raw)
    assert (Billing.MAYBE, "img-1") == (error.billed, error.task.id)


async def test_a_key_that_cannot_be_had_any_more_does_not_lose_the_task():
    """What the key's callable raises while a task is followed names the task, which goes on."""
    asked = []

    def ask():
        asked.append(1)
        if len(asked) > 1:
            raise RuntimeError("The vault is closed.")
        return "sk-canary"

    async with (
        serve(Gateway(Answer(RUNNING))) as raw,
        AsyncImagesClient(ask, raw.url, clock=FakeClock()) as client,
    ):
        with pytest.raises(RuntimeError, match="vault") as caught:
            await client.send(REQUEST)

    assert ("t-1", Billing.MAYBE) == (caught.value.task.id, caught.value.billed)
    assert any("t-1" in note for note in caught.value.__notes__)


async def test_a_refused_picture_is_a_refusal():
    """A task that a content filter ended raises the class for that."""
    await fail(
        Gateway(Answer({"status": "failed", "error": {"code": "content_policy_violation"}})), errors.ModerationError
    )


async def test_a_failure_at_once_is_no_task_to_follow():
    """A first answer that says that the task has failed is raised, without a question."""
    gateway = Gateway(Answer(RUNNING), accepted=Answer({**FAILED, "refund_status": "refunded"}))
    error = await fail(gateway, errors.ServerError, retry=RetryPolicy(attempts=1))

    assert ([], Billing.NO) == (gateway.gets, error.billed)
    assert ("t-1", True) == (error.task.id, error.task.is_ended)


async def test_a_key_that_is_refused_ends_the_questions():
    """If every place refuses the key, the error says so; the task may be billed all the same."""
    gateway = Gateway(Answer({"error": {"message": "bad key", "code": "invalid_api_key"}}, 401))
    error = await fail(gateway, errors.AuthenticationError)

    assert (Billing.MAYBE, "t-1", 1) == (error.billed, error.task.id, len(gateway.posts))
    assert len(gateway.gets) < 8


async def test_an_answer_that_is_not_understood_is_kept(tmp_path):
    """A task that has succeeded without a known image raises that, and its answer is kept whole."""
    document = {"id": "t-1", "status": "succeeded", "artwork": {"bytes": "A" * 100_000}}
    error = await fail(Gateway(Answer(document)), errors.ProtocolError, into=Directory(tmp_path))

    assert (document, Billing.MAYBE, "t-1") == (json.loads(error.raw), error.billed, error.task.id)
    assert [error.kept.path] == list(tmp_path.iterdir())


async def test_answers_without_a_state_leave_one_file(tmp_path):
    """Of many answers that are not understood the last one is kept, and no other leaves a file."""
    document = {"artwork": "A" * 100_000}
    error = await fail(
        Gateway(Answer(document)),
        errors.OutcomeUnknownError,
        into=Directory(tmp_path),
        retry=RetryPolicy(deadline=60),
    )

    assert document == json.loads(error.raw)
    assert [error.kept.path] == list(tmp_path.iterdir())


async def test_the_places_where_tasks_are_known_are_tried():
    """A task that is not found where it mostly is, is asked for at the other usual places."""
    missing = Answer({"error": {"message": "Invalid URL"}}, 404)
    gateway = Gateway(missing, missing, Answer(RUNNING), Answer(DONE))
    await send(gateway)

    assert ["/v1/images/tasks/t-1", "/v1/tasks/t-1"] == gateway.paths[:2]
    assert ["/v1/images/generations/t-1"] * 2 == gateway.paths[2:]


@pytest.mark.parametrize("where", [{"poll_url": "/v1/jobs/7?a=b"}, {"urls": {"get": "/v1/jobs/7?a=b"}}])
async def test_the_servers_own_address_is_asked(where):
    """A task is asked for where the server says."""
    gateway = Gateway(Answer(DONE), accepted=Answer({**QUEUED, **where}))
    await send(gateway)

    assert ["/v1/jobs/7?a=b"] == gateway.paths


async def test_the_key_is_not_sent_to_another_host():
    """An address of another host is not asked; the task is asked for at the API by its id."""
    seen = []

    async def listen(_reader, _writer, request):
        seen.append(request)

    async with serve(listen) as other:
        url = f"http://elsewhere.example:{other.port}/v1/images/tasks/t-1"
        gateway = Gateway(Answer(DONE), accepted=Answer({**QUEUED, "poll_url": url}, 202, Location=url))
        await send(gateway)

    assert (["/v1/images/tasks/t-1"], []) == (gateway.paths, seen)


@pytest.mark.parametrize("delay", ["question", "wait"])
async def test_a_cancelled_call_names_its_task(delay):
    """Whoever cancels a call that was accepted is told the task, and that it may have been billed."""
    asked = asyncio.Event()

    async def hang():
        asked.set()
        await asyncio.Event().wait()

    class Clock(FakeClock):
        async def sleep(self, seconds):
            if delay == "wait":
                asked.set()
                await asyncio.Event().wait()
            await super().sleep(seconds)

    call = asyncio.create_task(send(Gateway(hang), clock=Clock()))
    await asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await call

    assert ("t-1", Billing.MAYBE, Phase.ACCEPTED) == (caught.value.task.id, caught.value.billed, caught.value.phase)
    assert "task t-1" in " ".join(caught.value.__notes__)


class Hooks(CallHooks):
    """Writes down what it is told."""

    def __init__(self, gateway, error=None):
        self.gateway, self.error, self.told = gateway, error, []

    async def on_accepted(self, task):
        self.told.append((task.id, len(self.gateway.gets)))
        if self.error is not None:
            raise self.error


async def test_a_hook_hears_of_the_task_before_the_first_question():
    """The task is told before anything is asked, so that it can be written down."""
    gateway = Gateway(Answer(DONE))
    hooks = Hooks(gateway)
    await send(gateway, hooks=hooks)

    assert [("t-1", 0)] == hooks.told


async def test_a_hook_that_raises_costs_no_image():
    """What the hook raises comes after the images, which it holds."""
    gateway = Gateway(Answer(DONE))
    with pytest.raises(RuntimeError, match="hook") as caught:
        await send(gateway, hooks=Hooks(gateway, RuntimeError("hook")))

    assert IMAGE == caught.value.result.image.data


async def test_a_task_is_not_followed_if_that_is_said():
    """With `off` the task is on the error, to be resumed later, and nothing is asked."""
    gateway = Gateway(Answer(DONE))
    error = await fail(gateway, errors.ProtocolError, tasks="off")

    assert ("t-1", Billing.MAYBE, []) == (error.task.id, error.billed, gateway.gets)


@pytest.mark.parametrize(
    ("dialect", "path", "sent"),
    [
        (None, "/v1/images/generations", b"Prefer: respond-async"),
        ("newapi", "/v1/images/generations", b'"async":true'),
        ("burncloud", "/v1/images/generations", b'"async":true'),
        ("modelscope", "/v1/images/generations", b"X-ModelScope-Async-Mode: true"),
        ("zhipu", "/api/paas/v4/async/images/generations", b""),
    ],
)
async def test_a_task_is_asked_for_as_the_server_knows_it(dialect, path, sent):
    """With `ask` the request says what the server's dialect says, and without it nothing of the kind."""
    gateway = Gateway(Answer(DONE))
    await send(gateway, tasks="ask", dialect=dialect)
    asked = gateway.posts[0]
    await send(gateway, dialect=dialect)
    plain = gateway.posts[1]

    assert (path, True) == (asked.split(b" ")[1].decode(), sent in asked)
    assert b"respond-async" not in plain
    assert b"async" not in plain.lower()


async def test_a_plain_answer_is_taken_where_a_task_was_asked_for():
    """A server that makes no tasks answers with the image."""
    gateway = Gateway(Answer(), accepted=Answer({"created": 1, "data": [{"b64_json": B64}]}))

    assert IMAGE == (await send(gateway, tasks="ask")).image.data
    assert [] == gateway.gets


@pytest.mark.parametrize("task", ["t-1", Task(id="t-1"), Task(id="t-1", url="/v1/images/tasks/t-1")])
async def test_a_task_is_resumed_elsewhere(task, tmp_path):
    """Another client asks for the task, at once, and buys nothing."""
    gateway = Gateway(Answer(RUNNING), Answer(DONE))
    clock = FakeClock()
    async with serve(gateway) as raw, AsyncImagesClient("sk-canary", raw.url, clock=clock) as client:
        result = await client.resume(task, into=Directory(tmp_path))

    assert IMAGE == result.image.path.read_bytes()
    assert ([], 2, 0.0) == (gateway.posts, len(gateway.gets), clock.slept[0])


async def test_a_task_of_several_images_is_resumed_whole():
    """While a task runs, a part of its images is no result, however many were asked for."""
    half = {**RUNNING, "data": [{"b64_json": B64}]}
    gateway = Gateway(Answer(half), Answer({**DONE, "data": [{"b64_json": B64}] * 2}))
    async with serve(gateway) as raw, AsyncImagesClient("sk-canary", raw.url, clock=FakeClock()) as client:
        result = await client.resume("t-1")

    assert 2 == len(result.images)


@pytest.mark.parametrize("task", ["", " ", "..", "a\nb"])
async def test_what_is_no_id_is_refused(task):
    """An id that cannot be one is refused before anything is asked."""
    async with AsyncImagesClient("sk-canary", "http://127.0.0.1:9") as client:
        with pytest.raises(errors.InvalidRequestError, match="task"):
            await client.resume(task)


async def test_a_foreign_address_of_a_resumed_task_is_not_asked():
    """A task that comes from elsewhere cannot lead the key to another host."""
    gateway = Gateway(Answer(DONE))
    async with serve(gateway) as raw, AsyncImagesClient("sk-canary", raw.url, clock=FakeClock()) as client:
        await client.resume(Task(id="t-1", url="http://elsewhere.example/t-1"))

    assert ["/v1/images/tasks/t-1"] == gateway.paths


async def test_a_resumed_task_that_is_unknown_was_not_bought_again():
    """A task that nobody knows is asked for until the deadline; the error names it."""
    gateway = Gateway(Answer(b"", 404))
    async with (
        serve(gateway) as raw,
        AsyncImagesClient("sk-canary", raw.url, clock=FakeClock(), retry=RetryPolicy(deadline=30)) as client,
    ):
        with pytest.raises(errors.OutcomeUnknownError, match="Task t-9 had not been found") as caught:
            await client.resume("t-9")

    assert ("t-9", []) == (caught.value.task.id, gateway.posts)


async def test_a_stream_follows_a_task_too():
    """A gateway that makes a task of a streamed request gives the completed image in the end."""
    gateway = Gateway(Answer(RUNNING), Answer(DONE))
    async with (
        serve(gateway) as raw,
        AsyncImagesClient("sk-canary", raw.url, clock=FakeClock()) as client,
        client.stream(REQUEST) as events,
    ):
        images = [event.image.data async for event in events]

    assert [IMAGE] == images


async def test_a_cancelled_call_of_a_map_names_its_task():
    """The outcome of a call that a map cancelled has the task, so that it can be resumed."""
    asked = asyncio.Event()

    async def hang():
        asked.set()
        await asyncio.Event().wait()

    left = []
    async with (
        serve(Gateway(hang)) as raw,
        AsyncImagesClient("sk-canary", raw.url, clock=FakeClock()) as client,
        client.map([REQUEST], on_exit="cancel", on_unclaimed=left.append) as outcomes,
    ):
        waiting = asyncio.create_task(anext(outcomes))
        await asked.wait()
        waiting.cancel()
    (outcome,) = left

    assert ("t-1", Billing.MAYBE) == (outcome.error.task.id, outcome.error.billed)


async def test_no_key_is_shown():
    """A gateway that echoes the key in its answers about a task does not get it into errors."""
    error = await fail(Gateway(Answer({"status": "failed", "error": {"message": "key sk-canary is bad"}})))

    assert "sk-canary" not in str(error)


async def test_polls_hold_no_connection_while_they_wait():
    """Two tasks are followed at once over one connection."""
    gateway = Gateway(Answer(RUNNING), Answer(RUNNING), Answer(DONE))
    async with (
        serve(gateway) as raw,
        AsyncImagesClient("sk-canary", raw.url, clock=FakeClock(), max_connections=1) as client,
    ):
        results = await asyncio.gather(client.send(REQUEST), client.send(REQUEST))
        await until(lambda: True)

    assert [IMAGE, IMAGE] == [result.image.data for result in results]
