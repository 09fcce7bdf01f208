"""Group P: tasks, whose questions go wrong in every way."""

from __future__ import annotations

from faults.stage import Expected, Outcome, World, fails, held, scripted, succeeds
from faults.table import row

from burncloud_images import errors
from burncloud_images.emulator import Fault

WAIT = 30.0
"""Seconds between two questions; the clock of these cases takes no time for them."""
UNKNOWN = errors.OutcomeUnknownError


def names_its_task(world: World, outcome: Outcome) -> None:
    """The error has the task that the ledger has, so that it can be asked for again."""
    assert world.emulator is not None
    assert world.emulator.ledger.requests[0].task == outcome.error.task.id


def names_none(_world: World, outcome: Outcome) -> None:
    assert outcome.error.task is None


def enter(number: str, fault: str, faults: Fault | tuple[Fault, ...], expected: Expected, **options: object) -> None:
    """Enter a case in which a server that makes tasks goes wrong."""
    faults = (faults,) if isinstance(faults, Fault) else faults
    setting = scripted(*faults, tasks=True, task_wait=WAIT)
    if expected.kind is not None:
        options = {"check": names_its_task, **options}
    row(number, fault, setting, expected, rival=False, **options)


def asked(times: int | None = 3, **fault: object) -> Fault:
    """Return a fault that strikes so many questions."""
    return Fault(operation="tasks", times=times, **fault)


enter("P01", "the answer that accepts a task is lost", Fault(cut="close", billed=True), held(), check=names_none)
enter("P02", "it is cut after its head", Fault(cut="close", place="answer", byte=5), succeeds())
enter("P03", "the task is forgotten", Fault(task="forgotten"), fails(UNKNOWN, billed=1))
enter("P04", "the task fails", Fault(task="failed"), fails(errors.ServerError, billed=1))
enter("P05", "the task fails and is refunded", Fault(task="refunded"), fails(errors.ServerError, billed=0))
enter("P06", "the task never ends", Fault(task="endless"), fails(UNKNOWN, billed=1))
enter("P07", "three questions are answered 404", asked(status=404), succeeds())
enter("P08", "three questions are answered 429, Retry-After: 2", asked(status=429, retry_after=2), succeeds())
enter("P09", "three questions are answered 500", asked(status=500), succeeds())
enter("P10", "the connection is reset after each of three questions", asked(cut="reset"), succeeds())
enter(
    "P11",
    "three answers are cut in the middle, one of them of the image",
    asked(cut="close", place="answer", byte=0.5),
    succeeds(),
)
enter("P12", "a question is never answered", asked(times=1, cut="stall"), succeeds())
enter("P13", "a page in place of three answers", asked(body="<html>welcome</html>"), succeeds())
enter(
    "P14", "every question is answered 401", asked(times=None, status=401), fails(errors.AuthenticationError, billed=1)
)
