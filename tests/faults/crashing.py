"""Group B: what only a job of many requests can meet."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import date, datetime, timedelta
from pathlib import Path

from crash.judge import add_up
from crash.sandbox import Sandbox, open_sandbox
from crash.sweeps import Sweep, Tried
from fakes import until
from faults import jobs
from faults.stage import Clock, Stage, scripted
from faults.table import Play, case, variants
from workshop import BY_URL, prompts, write_rows

from burncloud_images import errors
from burncloud_images.bulk import JobEvent, PriceTable, RequestState
from burncloud_images.emulator import Fault

NONE_LOST = "0 double-billed, 0 lost, 0 torn"
STEP = 8
"""One point in so many; `nox -s crash` takes all."""
KILLS = 200
SEED = 20_250_426
TWELVE = prompts(12)
CENT = 10_000_000
"""Nano-dollars."""

# --- killed ----------------------------------------------------------------------------------------------------------


def killed(sweep: Callable[[Sweep], Sequence[Tried]], policy: str = "hold") -> Play:
    """Return a play in which jobs are killed as *sweep* does it, in processes of their own."""

    async def play(stage: Stage) -> None:
        tries = await asyncio.to_thread(kill, stage, sweep, policy)
        sums = add_up([tried.verdict for tried in tries])
        stage.posts = stage.billed = sums.billed
        stage.double, stage.lost = sums.double, sums.lost
        stage.seen.append(f"{sums.kills} kills, {sums.in_doubt} in doubt")
        assert sums.clean, "\n".join(sums.notes)
        assert (sums.kills > 0) == stage.faulty
        assert policy == "hold" or not sums.in_doubt

    return play


def kill(stage: Stage, sweep: Callable[[Sweep], Sequence[Tried]], policy: str) -> Sequence[Tried]:
    with ExitStack() as stack:
        sandboxes: list[Sandbox] = [
            stack.enter_context(open_sandbox(stage.folder / f"sandbox{number}")) for number in range(2)
        ]
        jobs_of = Sweep(sandboxes=sandboxes, policy=policy)
        return sweep(jobs_of) if stage.faulty else [jobs_of.at_points(sandboxes[0])]


case("B01", "killed at each failpoint, unknown outcomes held", NONE_LOST, bound=400)(
    killed(lambda sweep: sweep.every_point(STEP))
)
case("B02", "killed at each failpoint, server replays keys", f"{NONE_LOST}, 0 in doubt", bound=400)(
    killed(lambda sweep: sweep.every_point(STEP), policy="replay")
)
case("B03", "killed while it recovers", NONE_LOST, bound=400)(
    killed(lambda sweep: sweep.every_point_of_a_recovery(len(sweep.reference.points) // 2, STEP))
)
case("B04", "killed at 200 random moments", NONE_LOST, bound=600)(killed(lambda sweep: sweep.random_times(KILLS, SEED)))

# --- the journal -----------------------------------------------------------------------------------------------------


def spoilt(spoil: Callable[[Path], object], expected: type[errors.ImagesError] | None) -> Play:
    """Return a play in which the store of a job that is half done is spoilt, and the job gone on with."""

    async def play(stage: Stage) -> None:
        world = await stage.world(scripted())
        client = await stage.client(world.base_url)
        await jobs.run_job(stage, client, write_rows(stage.folder / "rows.jsonl", prompts(8)), limit=4)
        whole = stage.folder / "whole"
        shutil.copytree(stage.folder / "out", whole)
        if stage.faulty:
            spoil(stage.folder / "out" / "job.sqlite3")
        outcome = await stage.call(jobs.run_job(stage, client))
        refused = stage.faulty and expected is not None
        if refused:
            assert isinstance(outcome.error, expected), repr(outcome.error)
            assert 4 == world.count()[0]
        else:
            assert outcome.error is None, repr(outcome.error)
        counts = await jobs.judge(stage, whole if refused else None)
        assert (4 if refused else 8) == counts[RequestState.DONE]

    return play


def tear(store: Path) -> None:
    """Leave what a power cut leaves of a write to the log: its beginning."""
    log = store.with_name(f"{store.name}-wal")
    connection = sqlite3.connect(store, isolation_level=None)
    try:
        connection.execute("INSERT INTO memories VALUES ('torn', '1')")
        data = log.read_bytes()
        held = store.read_bytes()
    finally:
        connection.close()
    store.write_bytes(held)
    log.write_bytes(data + data[-2000:])


def flip(store: Path) -> None:
    """Change a bit of what a request asks for that waits."""
    data = bytearray(store.read_bytes())
    at = data.index(b"a small picture 7")
    data[at] ^= 1
    store.write_bytes(data)


def replace(content: bytes) -> Callable[[Path], object]:
    return lambda store: store.write_bytes(content)


def pragma(statement: str) -> Callable[[Path], object]:
    def change(store: Path) -> None:
        connection = sqlite3.connect(store, isolation_level=None)
        connection.execute(statement)
        connection.close()

    return change


@case("B05", "journal torn, bit-flipped, empty, of another version", "goes on, or JobError and 0 POSTs", bound=30)
async def spoilt_store(stage: Stage) -> None:
    """A log without its end is gone on with; what is damaged is refused, and nothing is bought."""
    await variants(
        stage,
        {
            "torn": spoilt(tear, None),
            "flipped": spoilt(flip, errors.JobError),
            "half": spoilt(lambda store: os.truncate(store, store.stat().st_size // 2), errors.JobError),
            "empty": spoilt(replace(b""), errors.JobError),
            "text": spoilt(replace(b"these are no requests\n" * 500), errors.JobError),
            "version": spoilt(pragma("PRAGMA user_version = 99"), errors.JobError),
            "program": spoilt(pragma("PRAGMA application_id = 7"), errors.JobError),
        },
    )


# --- other processes and signals -------------------------------------------------------------------------------------


def batch(stage: Stage, *arguments: str, at_once: int = 4) -> tuple[str, ...]:
    """Return the words of a command that runs the job of a stage."""
    return ("batch", *arguments, "--into", str(stage.folder / "out"), "-j", str(at_once))


@case("B06", "second runner on one job", errors.JobLockedError.__name__, bound=30)
async def second_runner(stage: Stage) -> None:
    """It is told who the first is; once that is dead, it goes on."""
    world = await stage.world(scripted(Fault(cut="stall", billed=True, times=None)))
    listed = write_rows(stage.folder / "rows.jsonl", prompts(3))
    async with jobs.program(stage, world, *batch(stage, str(listed))) as program:
        if stage.faulty:
            await until(lambda: world.count() == (3, 3))
            outcome = await stage.call(jobs.records(stage))
            assert isinstance(outcome.error, errors.JobLockedError), repr(outcome.error)
            assert program.process.pid == outcome.error.pid
            program.process.kill()
    counts = await jobs.judge(stage)
    assert {RequestState.IN_DOUBT if stage.faulty else RequestState.DONE: 3} == counts


@case("B07", "SIGTERM", "paid calls finish, exit code 7, 0 in doubt", bound=30)
async def terminated(stage: Stage) -> None:
    """What is paid comes to its end, what is not waits for another run."""
    world = await stage.world(scripted(latency=0.3))
    listed = write_rows(stage.folder / "rows.jsonl", TWELVE)
    async with jobs.program(stage, world, *batch(stage, str(listed))) as program:
        await until(lambda: world.count()[1] >= 4)
        if stage.faulty:
            program.process.send_signal(signal.SIGTERM)
    assert (7 if stage.faulty else 0) == program.process.returncode
    counts = await jobs.judge(stage)
    assert (0, stage.posts) == (counts[RequestState.IN_DOUBT], counts[RequestState.DONE])
    assert stage.faulty == (counts[RequestState.PENDING] > 0)
    client = await stage.client(world.base_url)
    await jobs.run_job(stage, client)
    assert {RequestState.DONE: 12} == await jobs.judge(stage)
    assert 12 == stage.posts


@case("B08", "Ctrl-C twice", "exit code 130, in doubt listed", bound=30)
async def abandoned(stage: Stage) -> None:
    """What was on its way is in doubt, by its key; what was only leased is not."""
    world = await stage.world(scripted(Fault(cut="stall", billed=True, times=None)))
    listed = write_rows(stage.folder / "rows.jsonl", TWELVE)
    async with jobs.program(stage, world, *batch(stage, str(listed))) as program:
        if stage.faulty:
            await until(lambda: world.count() == (4, 4))
            program.process.send_signal(signal.SIGINT)
            await until(lambda: b"press Ctrl-C again" in program.said)
            program.process.send_signal(signal.SIGINT)
    assert (130 if stage.faulty else 0) == program.process.returncode
    counts = await jobs.judge(stage)
    if stage.faulty:
        assert {RequestState.IN_DOUBT: 4, RequestState.PENDING: 8} == counts
        doubtful = {record.key for record in await jobs.records(stage) if record.state is RequestState.IN_DOUBT}
        assert {entry.idempotency_key for entry in world.emulator.ledger.requests} == doubtful
    else:
        assert {RequestState.DONE: 12} == counts


LIFETIME = 2
"""Seconds for which addresses are good, in place of ten minutes."""


@case("B09", "stopped until result URLs have expired", errors.ResultExpiredError.__name__, bound=40)
async def stopped(stage: Stage) -> None:
    """It says what happened, and what was paid for nothing is not bought again."""
    refused = Fault(status=503, retry_after=1.0, operation="downloads", times=3)
    world = await stage.world(scripted(refused, url_lifetime=LIFETIME))
    listed = write_rows(stage.folder / "rows.jsonl", prompts(3, **BY_URL))
    async with jobs.program(stage, world, *batch(stage, str(listed))) as program:
        if stage.faulty:
            await until(lambda: len(world.emulator.ledger.downloads) >= 3)
            program.process.send_signal(signal.SIGSTOP)
            good_until = world.emulator.clock() + LIFETIME
            await until(lambda: world.emulator.clock() > good_until)
            program.process.send_signal(signal.SIGCONT)
    counts = await jobs.judge(stage)
    assert {RequestState.FAILED if stage.faulty else RequestState.DONE: 3} == counts
    if stage.faulty:
        told = {record.failure.error for record in await jobs.records(stage) if record.failure}
        assert {errors.ResultExpiredError.__name__} == told
    client = await stage.client(world.base_url)
    await jobs.run_job(stage, client)
    assert 3 == world.count()[0]


# --- the disk --------------------------------------------------------------------------------------------------------

MIB = 1024 * 1024


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Put a small disk where *folder* is, and say whether that is allowed."""
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False, capture_output=True
        ).returncode
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


class Filler:
    """Takes all the room that there is, and gives it back."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        with self.path.open("wb") as file:
            state = os.statvfs(self.path)
            for blocks in range(state.f_bavail, 0, -1):  # the job may take some meanwhile
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), 0, blocks * state.f_frsize)
                    return

    def free(self) -> None:
        self.path.unlink(missing_ok=True)


@case("B10", "disk full, then freed", "stops buying, resumes, 0 bought again", bound=40)
async def full_disk(stage: Stage) -> None:
    """What is paid is kept, in the room that was set aside for it or in memory."""
    with small_disk(stage.folder / "disk", 16 * MIB) as mounted:
        if not mounted:
            raise AssertionError("B10 needs a disk of its own: mount(8) is not allowed here")
        await fill_and_free(stage, stage.folder / "disk")


async def fill_and_free(stage: Stage, disk: Path) -> None:
    # Three images come at once, and fill the disk while the others are on their way.
    world = await stage.world(scripted(Fault(delay=0.02, times=3), Fault(delay=0.4, times=None)))
    client = await stage.client(world.base_url)
    filler = Filler(disk / "filler")
    held = []

    def watch(event: JobEvent) -> None:
        if event.kind == "done" and event.progress.done == 3 and stage.faulty:
            filler.fill()
        if event.kind == "note" and "held in memory" in event.message:
            held.append(event.message)
            filler.free()

    large = prompts(12, size="1024x1024")
    source = write_rows(stage.folder / "rows.jsonl", large)
    report = await jobs.run_job(stage, client, source, folder=disk / "out", watch=watch, room=64 * 1024)
    assert ("disk" if stage.faulty else "finished") == report.stopped
    bought = world.count()[0]
    assert (bought < 12) == stage.faulty
    counts = await jobs.judge(stage, disk / "out")
    assert (0, bought) == (counts[RequestState.IN_DOUBT], counts[RequestState.DONE])
    assert stage.faulty == bool(held)
    filler.free()
    await jobs.run_job(stage, client, folder=disk / "out")
    assert {RequestState.DONE: 12} == await jobs.judge(stage, disk / "out")
    assert 12 == stage.posts


# --- time, inputs, money ---------------------------------------------------------------------------------------------

DAY = 86_400.0


class JumpingClock(Clock):
    """A clock whose date is set a day ahead, and a day back."""

    jumps = 0

    def jump(self) -> float:
        self.jumps += 1
        return (DAY, 0.0, -DAY)[self.jumps % 3]

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.jump())


@case("B11", "system clock jumps by a day", "no effect", bound=20)
async def jumping_clock(stage: Stage) -> None:
    """Neither addresses nor the pace go by the date, and nothing is bought twice."""
    world = await stage.world(scripted())
    clock = JumpingClock(stage.scale) if stage.faulty else stage.clock
    client = await stage.client(world.base_url, clock=clock)
    opening = {"clock": clock, "now": lambda: clock.now().timestamp()}
    wanted = [*prompts(6), *({**row, "id": f"linked-{number}"} for number, row in enumerate(prompts(6, **BY_URL)))]
    source = write_rows(stage.folder / "rows.jsonl", wanted)
    for limit in (5, None):
        await jobs.run_job(stage, client, source, opening=opening, limit=limit, requests_per_minute=60.0)
    assert {RequestState.DONE: 12} == await jobs.judge(stage)
    assert 12 == stage.posts
    assert max(clock.slept, default=0.0) <= 120
    assert not stage.faulty or clock.jumps > 12


@case("B12", "input edited between runs", errors.InputChangedError.__name__)
async def edited(stage: Stage) -> None:
    """Asked about first; then only what is new is bought."""
    world = await stage.world(scripted())
    client = await stage.client(world.base_url)
    wanted = prompts(4)
    source = write_rows(stage.folder / "rows.jsonl", wanted)
    await jobs.run_job(stage, client, source)
    if stage.faulty:
        wanted[1] = {**wanted[1], "id": "row-new", "prompt": "another picture"}
        write_rows(source, wanted)
    outcome = await stage.call(jobs.run_job(stage, client, source))
    assert isinstance(outcome.error, errors.InputChangedError) == stage.faulty, repr(outcome.error)
    assert 4 == world.count()[0]
    await jobs.run_job(stage, client, source, add={"allow_change": True})
    assert {RequestState.DONE: 5 if stage.faulty else 4} == await jobs.judge(stage)


@case("B13", "cost limit reached", "stops, in doubt counted as spent", bound=20)
async def cost_limit(stage: Stage) -> None:
    """Never more than was allowed, with several at once and over several runs."""
    lost = Fault(cut="close", billed=True, times=2)
    world = await stage.world(scripted(lost))
    client = await stage.client(world.base_url)
    models = {"gpt-image-2": {"images": {"*": {"*": 4 * CENT / 1e9}}}}
    money = {"prices": PriceTable.read({"date": date(2026, 11, 24), "models": models})}
    source = write_rows(stage.folder / "rows.jsonl", TWELVE)
    for _ in range(2):
        report = await jobs.run_job(stage, client, source, max_cost=(20 if stage.faulty else 48) * CENT, **money)
        assert ("budget" if stage.faulty else "finished") == report.stopped
    counts = await jobs.judge(stage)
    if stage.faulty:
        assert {RequestState.DONE: 3, RequestState.IN_DOUBT: 2, RequestState.PENDING: 7} == counts
        assert (5, 12 * CENT, 8 * CENT) == (stage.billed, report.totals.cost, report.totals.reserved)
    else:
        assert {RequestState.DONE: 12} == counts
