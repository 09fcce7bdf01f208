"""Tasks of the emulator: what they answer, what they cost, and every way in which they go wrong."""

from __future__ import annotations

import pytest
from fakes import FakeClock

from burncloud_images import AsyncImagesClient, GenerationRequest, RetryPolicy, errors
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.errors import Billing

REQUEST = GenerationRequest("otter", model="gpt-image-2", size="1024x1024", output_compression=None)
QUICK = {"tasks": True, "task_wait": 0.001}


def client_of(emulator, **retry):
    policy = RetryPolicy(attempts=1, **retry)
    return AsyncImagesClient(emulator.api_key, emulator.base_url, retry=policy, validation="off", clock=FakeClock())


async def test_a_task_is_queued_works_and_succeeds():
    """A request is accepted and billed at once; its task gives the image when it is asked for the second time."""
    async with Emulator(**QUICK) as emulator, client_of(emulator) as client:
        result = await client.send(REQUEST)
    (entry,) = emulator.ledger.requests

    assert (202, True, 1) == (entry.status, entry.billed, entry.images)
    assert result.image.media_type == "image/png"
    assert [(entry.task, 200, "in_progress"), (entry.task, 200, "succeeded")] == [
        (poll.task, poll.status, poll.state) for poll in emulator.ledger.polls
    ]


async def test_a_task_can_give_urls():
    """The result of a task has URLs if they were asked for."""
    request = GenerationRequest("otter", model="dall-e-3", size="1024x1024", response_format="url")
    async with Emulator(**QUICK) as emulator, client_of(emulator) as client:
        result = await client.send(request)

    assert result.image.url is not None
    assert 1 == len(emulator.ledger.downloads)


async def test_a_stream_is_no_task():
    """A request that streams is answered with its stream."""
    async with Emulator(**QUICK) as emulator, client_of(emulator) as client:
        await client.send(REQUEST, via_stream=True)

    assert (None, ()) == (emulator.ledger.requests[0].task, emulator.ledger.polls)


async def test_a_lost_acceptance_is_in_doubt():
    """An answer 202 that is lost was billed, and nobody knows the task."""
    async with Emulator(**QUICK, faults=[Fault(cut="close", billed=True)]) as emulator, client_of(emulator) as client:
        with pytest.raises(errors.OutcomeUnknownError) as caught:
            await client.send(REQUEST)

    assert (1, None, ()) == (emulator.ledger.billed_requests, caught.value.task, emulator.ledger.polls)


async def test_half_an_acceptance_names_its_task():
    """An answer 202 that is cut after its head still says where the task is."""
    async with (
        Emulator(**QUICK, faults=[Fault(cut="close", place="answer", byte=5)]) as emulator,
        client_of(emulator) as client,
    ):
        await client.send(REQUEST)

    assert (1, 2) == (emulator.ledger.billed_requests, len(emulator.ledger.polls))


@pytest.mark.parametrize(("fate", "state"), [("forgotten", None), ("endless", "in_progress")])
async def test_a_task_that_never_ends_is_given_up(fate, state):
    """A task that is forgotten, or never ends, is asked for until the deadline, and was billed."""
    async with (
        Emulator(**QUICK, faults=[Fault(task=fate)]) as emulator,
        client_of(emulator, deadline=0.1) as client,
    ):
        with pytest.raises(errors.OutcomeUnknownError) as caught:
            await client.send(REQUEST)

    assert (emulator.ledger.requests[0].task, 1) == (caught.value.task.id, emulator.ledger.billed_requests)
    assert {state} == {poll.state for poll in emulator.ledger.polls}


@pytest.mark.parametrize(("fate", "billed"), [("failed", Billing.MAYBE), ("refunded", Billing.NO)])
async def test_a_task_that_fails_is_refunded_or_not(fate, billed):
    """A failed task stays billed unless it is refunded, and both say so."""
    async with Emulator(**QUICK, faults=[Fault(task=fate)]) as emulator, client_of(emulator) as client:
        with pytest.raises(errors.ServerError, match="The images could not be made") as caught:
            await client.send(REQUEST)
    (entry,) = emulator.ledger.requests

    assert (billed, True) == (caught.value.billed, caught.value.task.is_ended)
    assert (fate == "refunded", fate == "failed") == (entry.refunded, entry.billed)
    assert int(fate == "failed") == emulator.ledger.billed_images


@pytest.mark.parametrize(
    "fault",
    [
        Fault(operation="tasks", status=404),
        Fault(operation="tasks", status=429, headers={"Retry-After-Ms": "1"}),
        Fault(operation="tasks", status=500, headers={"Retry-After-Ms": "1"}),
        Fault(operation="tasks", body="<html>", headers={"Retry-After-Ms": "1"}),
        Fault(operation="tasks", cut="reset"),
        Fault(operation="tasks", cut="close", place="answer", byte=10, headers={"Retry-After-Ms": "1"}),
    ],
)
async def test_faults_of_questions_cost_nothing(fault):
    """A question that fails is asked again, and the request is bought once."""
    fault = Fault(**{**fault.to_json(), "headers": {**fault.headers, "Retry-After-Ms": "1"}})
    async with Emulator(**QUICK, faults=[fault]) as emulator, client_of(emulator) as client:
        await client.send(REQUEST)

    polls = 3 if fault.answers or fault.silent else 2  # one that is cut has been answered
    assert (1, polls) == (emulator.ledger.billed_requests, len(emulator.ledger.polls))


async def test_a_question_needs_the_key():
    """A question with another key is refused, and tells nothing of the task."""
    async with Emulator(**QUICK) as emulator:
        async with client_of(emulator) as client:
            with pytest.raises(errors.ProtocolError) as caught:
                await client.send(REQUEST, tasks="off")
        async with AsyncImagesClient("sk-other", emulator.base_url, clock=FakeClock()) as other:
            with pytest.raises(errors.AuthenticationError):
                await other.resume(caught.value.task.id)

    assert {401} <= {poll.status for poll in emulator.ledger.polls}


async def test_a_fault_of_a_task_waits_for_one():
    """Without tasks, or with a stream, a fault of a task strikes nothing and waits."""
    fault = Fault(task="failed")
    emulator = Emulator(faults=[fault])
    await emulator.start()
    try:
        async with client_of(emulator) as client:
            await client.send(REQUEST)
    finally:
        await emulator.stop()

    assert (fault,) == emulator.unfired


def test_only_requests_become_tasks():
    """A fault of a task at another endpoint is refused."""
    with pytest.raises(ValueError, match="become a task"):
        Fault(task="failed", operation="downloads")
