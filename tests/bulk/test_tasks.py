"""Jobs whose API makes tasks: the task is written down before the wait, and asked for again for nothing."""

from __future__ import annotations

import asyncio
import shutil

import pytest
from fakes import until
from stored import copy_files
from workshop import BY_URL, ONCE, prompts

from burncloud_images import RetryPolicy
from burncloud_images.bulk import RequestState
from burncloud_images.emulator import Fault

TASKS = {"tasks": True, "task_wait": 1.0}
BRIEF = RetryPolicy(attempts=1, deadline=30)


def by_url(count):
    """Return rows whose images come as URLs."""
    return [{**row, **BY_URL, "response_format": "url"} for row in prompts(count)]


@pytest.mark.parametrize("rows", [prompts(6), by_url(6)], ids=["base64", "url"])
async def test_a_job_brings_all_tasks_home(workshop, rows):
    """Every request is accepted once, and all images come."""
    shop = await workshop(emulator=TASKS)
    report = await shop.run(rows)

    assert ("finished", 6, 6) == (report.stopped, report.totals.counts[RequestState.DONE], shop.billed)
    assert [1] * 6 == list(shop.billed_keys.values())
    assert [None] * 6 == [record.task for record in await shop.records()]


async def test_a_task_is_written_down_before_it_is_asked_for(workshop, tmp_path):
    """While the API works the store knows the task, so that a run that is killed loses none."""
    shop = await workshop(Fault(task="endless", times=None), emulator=TASKS, retry=RetryPolicy(deadline=None))
    copies = []

    async def stop_later(job):
        await until(lambda: len({poll.task for poll in shop.emulator.ledger.polls}) >= 3)
        copies.append(copy_files(tmp_path / "out/job.sqlite3", tmp_path / "copy"))
        job.abandon()

    ended = []
    await shop.run(prompts(3), begin=lambda job: ended.append(asyncio.create_task(stop_later(job))))
    await ended[0]
    records = await shop.records()

    assert [RequestState.ACCEPTED] * 3 == [record.state for record in records]
    known = {entry.task for entry in shop.emulator.ledger.requests}
    assert known == {record.task.id for record in records}


async def test_a_killed_run_goes_on_asking(workshop, tmp_path):
    """After a kill while the API worked, the next run asks for the tasks: nothing is in doubt or bought again."""
    shop = await workshop(*[Fault(task="endless")] * 3, emulator=TASKS, retry=RetryPolicy(deadline=None))

    async def kill(job):
        await until(lambda: len({poll.task for poll in shop.emulator.ledger.polls}) >= 3)
        shutil.copytree(tmp_path / "out", tmp_path / "killed")
        job.abandon()

    ended = []
    await shop.run(prompts(3), begin=lambda job: ended.append(asyncio.create_task(kill(job))))
    await ended[0]
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "killed").rename(tmp_path / "out")
    for task in shop.emulator.tasks.tasks.values():
        task.fault = None
    polls = len(shop.emulator.ledger.polls)
    report = await shop.run()

    assert ("finished", {RequestState.DONE: 3}) == (report.stopped, dict(await shop.states()))
    assert (3, 3, True) == (shop.posts, shop.billed, len(shop.emulator.ledger.polls) > polls)
    assert 3 == len(shop.images)


async def test_a_lost_acceptance_is_in_doubt(workshop):
    """Only a request whose answer 202 was lost is in doubt; it is not sent again."""
    shop = await workshop(Fault(cut="close", billed=True), emulator=TASKS, retry=ONCE)
    await shop.run(prompts(3))
    await shop.run()

    assert {RequestState.DONE: 2, RequestState.IN_DOUBT: 1} == dict(await shop.states())
    assert (3, 3) == (shop.posts, shop.billed)


async def test_a_task_that_does_not_end_is_left_for_another_run(workshop):
    """A task that still runs at the deadline stays accepted; the next run asks for it first."""
    shop = await workshop(Fault(task="endless"), emulator=TASKS, retry=BRIEF)
    report = await shop.run(prompts(2))

    assert {RequestState.DONE: 1, RequestState.ACCEPTED: 1} == dict(report.totals.counts.items() & COUNTED(report))
    assert 1 == report.outstanding.requests
    (task,) = (task for task in shop.emulator.tasks.tasks.values() if task.fault)
    task.fault = None
    again = await shop.run()

    assert ("finished", 2, 2) == (again.stopped, again.totals.counts[RequestState.DONE], shop.posts)
    assert again.outstanding is None


def COUNTED(report):  # noqa: N802 (a table)
    return {(state, number) for state, number in report.totals.counts.items() if number}


async def test_a_forgotten_task_is_in_doubt(workshop):
    """A task that is never found again may have been billed, and is sent again only with consent."""
    shop = await workshop(Fault(task="forgotten"), emulator=TASKS, retry=BRIEF)
    await shop.run(prompts(1))
    assert {RequestState.IN_DOUBT: 1} == dict(await shop.states())

    await shop.run(on_unknown="retry")
    assert ({RequestState.DONE: 1}, 2) == (dict(await shop.states()), shop.posts)


@pytest.mark.parametrize(("fate", "state", "posts"), [("failed", "failed", 1), ("refunded", "done", 2)])
async def test_a_failed_task_is_bought_again_only_if_it_was_refunded(workshop, fate, state, posts):
    """What was refunded is tried again; what may have been billed has failed, and its cost stays reserved."""
    shop = await workshop(Fault(task=fate), emulator=TASKS, retry=ONCE)
    report = await shop.run(prompts(1))

    assert ({RequestState(state): 1}, posts, 1) == (dict(await shop.states()), shop.posts, shop.billed)
    assert posts == 2 or report.totals.committed == 1


@pytest.mark.parametrize("resumed", [False, True])
async def test_a_refunded_task_of_another_run_is_bought_anew(workshop, resumed):
    """A task that another run left, and that is refunded now, is sent once more."""
    shop = await workshop(Fault(task="endless"), emulator=TASKS, retry=BRIEF)
    await shop.run(prompts(1))
    (task,) = shop.emulator.tasks.tasks.values()
    task.fault = "refunded"
    report = await shop.run()

    assert ("finished", {RequestState.DONE: 1}, 1) == (report.stopped, dict(await shop.states()), shop.billed)


@pytest.mark.parametrize("status", [404, 429, 500, 503])
async def test_faults_of_questions_leave_no_doubt(workshop, status):
    """Questions that fail are asked again within the call, and the job ends as it would without them."""
    faults = [Fault(operation="tasks", status=status, retry_after=1)] * 4
    shop = await workshop(*faults, emulator=TASKS, retry=ONCE)
    await shop.run(prompts(3))

    assert ({RequestState.DONE: 3}, 3) == (dict(await shop.states()), shop.posts)


async def test_a_refused_key_leaves_the_tasks(workshop):
    """A key that is refused while tasks run stops the job; with a good one they are brought home."""
    fault = Fault(operation="tasks", status=401, times=None)
    shop = await workshop(fault, emulator=TASKS, retry=ONCE)
    report = await shop.run(prompts(2), concurrency=1)
    assert "authentication" == report.stopped
    assert report.totals.counts[RequestState.ACCEPTED] >= 1

    shop.emulator.fault_plan.left[0] = 0
    again = await shop.run()
    assert ("finished", 2, 2) == (again.stopped, again.totals.counts[RequestState.DONE], shop.posts)
