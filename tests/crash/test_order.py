"""The order of system calls, which kills do not test: a killed process leaves what it wrote to the system."""

from __future__ import annotations

from pathlib import Path

import pytest
from crash import bad_disk, order, syscalls
from crash.conftest import SEED
from crash.disk import Disk
from crash.judge import add_up
from crash.powercuts import PowerCuts
from crash.report import Line, Report
from crash.sandbox import Sandbox
from crash.sweeps import Sweep

UNAVAILABLE = syscalls.unavailable()
pytestmark = [
    pytest.mark.skipif(UNAVAILABLE is not None, reason=str(UNAVAILABLE)),
    pytest.mark.timeout(600),
]

FEW = 8
MANY = 200


def cut(sandbox: Sandbox, count: int, control: str = "") -> tuple[PowerCuts, list[str], list[object]]:
    """Trace a run and cut its power so many times."""
    reference = Sweep(sandboxes=[sandbox], name="reference").reference
    plan = sandbox.plan(f"traced{control}", control=control)
    trace = order.trace(sandbox, plan)
    bought = sandbox.ledger("none")["requests"]
    cuts = PowerCuts(sandbox=sandbox, found=trace, bought=bought, reference=reference.outputs, seed=SEED)
    return cuts, order.problems(trace), [cuts.cut(number) for number in range(count)]


def check(sandbox: Sandbox, found: Report, count: int) -> None:
    cuts, problems, verdicts = cut(sandbox, count)
    sums = add_up(verdicts)
    found.lines.append(Line(what="power cut, unsynced writes lost", jobs=count, sums=sums))
    images = sum(entry["images"] for entry in cuts.bought)
    found.notes["order"] = (
        f"By a log of its system calls ({len(cuts.found.calls):,} of one run), each of {len(cuts.found.sends)} "
        f"requests was sent only after the disk had it as sent, and each of {images} images was written, synced, "
        f"named, and its folder synced before the store called it done: {len(problems)} exceptions."
    )

    assert [] == problems
    assert [] == cuts.same_at_the_end()
    assert sums.clean, "\n".join(sums.notes)


def test_what_is_paid_is_durable_before_anything_depends_on_it(sandboxes: list[Sandbox], found: Report):
    """The intent is synced before the connection, the image before `done`, and a run can resume after a power cut."""
    check(sandboxes[0], found, FEW)


@pytest.mark.crash
@pytest.mark.timeout(1800)
def test_the_power_can_go_at_any_moment(sandboxes: list[Sandbox], found: Report):
    """The same holds if the power goes at any of many moments."""
    found.lines = [line for line in found.lines if not line.what.startswith("power cut")]
    check(sandboxes[0], found, MANY)


MOST = {"fdatasync": 40, "fsync": 12, "pwrite64": 120, "rename": 4, "mkdir": 6, "ftruncate": 3}
"""How many of each thread's calls there are, or a little more."""


@pytest.mark.crash
@pytest.mark.timeout(1800)
def test_a_call_to_the_disk_may_fail(sandboxes: list[Sandbox], found: Report):
    """A run reports a full or bad disk, and another run can resume."""
    sweep = Sweep(sandboxes=sandboxes, name="bad disk")
    verdicts = sweep.each(
        lambda sandbox, one=one: bad_disk.fail(sandbox, sandbox.plan(f"bad {one}"), one, sweep.reference.outputs)
        for one in bad_disk.failures(MOST, step=2)
    )
    sums = add_up(verdicts)
    found.lines.append(Line(what="a call to the disk fails (EIO, ENOSPC)", jobs=len(verdicts), sums=sums))

    assert sums.clean, "\n".join(sums.notes)
    assert sums.kills > len(verdicts) // 4


REUSED = r"""
1 openat(AT_FDCWD, "\x2f\x6a\x2f\x61", O_RDONLY|O_DIRECTORY) = 5
1 close(5 <unfinished ...>
2 openat(AT_FDCWD, "\x2f\x6a\x2f\x62", O_RDONLY|O_DIRECTORY) = 5
1 <... close resumed>) = 0
2 fsync(5) = 0
"""


def test_a_descriptor_may_be_reused_before_it_is_seen_to_be_closed(tmp_path: Path):
    """A sync belongs to the file that has the descriptor now, even if its close is logged later."""
    log = tmp_path / "calls.log"
    log.write_text(REUSED.lstrip())

    disk = Disk.read(Path("/j"), syscalls.read_log(log))

    assert [Path("/j/b")] == [path for _, path in disk.syncs]


@pytest.mark.parametrize(
    ("control", "words"),
    [("not durable", "before its bytes are synced"), ("unsynced intent", "is sent while the disk has it as")],
)
def test_a_broken_order_is_found_out(sandboxes: list[Sandbox], found: Report, control: str, words: str):
    """The check fails without the syncs, and without waiting for the intent."""
    _, problems, verdicts = cut(sandboxes[0], FEW if control == "not durable" else 0, control)
    if verdicts:
        found.controls.append(Line(what=f"power cut, {control}", jobs=len(verdicts), sums=add_up(verdicts)))

    assert any(words in problem for problem in problems)
