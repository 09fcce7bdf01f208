"""What goes wrong, behind a box or in it, and with which operations it is tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import attrs
from middleboxes.boxes import Kind
from middleboxes.kinds import TIMEOUT

from burncloud_images.emulator import Fault

__all__ = ["TROUBLES", "Case", "Trouble", "cases_of"]

Blow = Literal["kill", "stop"]


@attrs.frozen(kw_only=True)
class Trouble:
    """
    Something that goes wrong.

    Attributes:
        about: In words.
        faults: Of the emulator; those that last strike every request, however often it is sent.
        blow: What happens to the box once the image was made.
        absent: Whether there is no emulator.
        job_faults: The same for a job, some of whose rows they meet.
    """

    about: str
    faults: Sequence[Fault] = ()
    blow: Blow | None = None
    absent: bool = False
    job_faults: Sequence[Fault] | None = None


def lasting(**attributes: object) -> Trouble:
    """Return a fault that strikes each request, after the work; in a job the first five."""
    about = str(attributes.pop("about"))
    fault = Fault(**{"billed": True, "times": None, **attributes})
    return Trouble(about=about, faults=[fault], job_faults=[attrs.evolve(fault, times=5)])


BEYOND = 1.5 * TIMEOUT
"""Seconds after which no box that gives up still waits."""
SHORTLY = 0.5

TROUBLES: Mapping[str, Trouble] = {
    "none": Trouble(about="nothing goes wrong"),
    "close": lasting(about="the server closes after the work", cut="close"),
    "reset": lasting(about="the server resets after the work", cut="reset"),
    "stall": lasting(about="the server says nothing after the work", cut="stall"),
    "slow": lasting(about="the server answers after the box has given up", delay=BEYOND),
    "500": lasting(about="500 in the API's own form after the work", status=500),
    "502": lasting(about="502 in the API's own form after the work", status=502),
    "503": lasting(about="503 in the API's own form after the work", status=503),
    "cut": lasting(about="the answer is cut in the middle", cut="close", place="answer", byte=0.5),
    "torn": lasting(about="the answer is reset in the middle", cut="reset", place="answer", byte=0.5),
    "upload": lasting(about="the upload is reset in the middle", cut="reset", place="upload", byte=0.5, billed=False),
    "429": Trouble(about="429 with Retry-After, once", faults=[Fault(status=429, retry_after=1)]),
    "absent": Trouble(about="there is no server behind the box", absent=True),
    "killed": Trouble(about="the box is killed after the work", faults=[Fault(delay=SHORTLY, times=None)], blow="kill"),
    "stopped": Trouble(
        about="the box is stopped after the work", faults=[Fault(delay=SHORTLY, times=None)], blow="stop"
    ),
}

OPERATIONS_OF: Mapping[str, Sequence[str]] = {
    "none": ("generate", "address", "edit", "variation", "stream", "via_stream", "job"),
    "close": ("generate", "address", "edit", "stream", "job"),
    "reset": ("generate", "variation", "via_stream"),
    "stall": ("generate", "edit", "via_stream"),
    "slow": ("generate", "edit", "stream"),
    "500": ("generate", "edit", "stream", "job"),
    "502": ("generate", "via_stream"),
    "503": ("generate", "variation"),
    "cut": ("generate", "address", "edit", "stream", "job"),
    "torn": ("generate", "via_stream"),
    "upload": ("edit", "variation"),
    "429": ("generate", "edit", "stream", "job"),
    "killed": ("generate", "edit", "job"),
    "stopped": ("generate", "stream", "job"),
    "absent": ("generate", "edit"),  # last: some boxes do not even try for a while after a connection was refused
}

QUICK = frozenset(
    {
        *(("none", operation) for operation in OPERATIONS_OF["none"]),
        ("close", "generate"),
        ("close", "job"),
        ("slow", "generate"),
        ("500", "edit"),
        ("503", "generate"),
        ("cut", "stream"),
        ("upload", "edit"),
        ("429", "generate"),
        ("killed", "generate"),
    }
)


@attrs.frozen(kw_only=True)
class Case:
    """
    One operation, and what goes wrong.

    Attributes:
        trouble: Its name.
        operation: Its name; `job` is twenty generations.
    """

    trouble: str
    operation: str

    def __str__(self) -> str:
        """Return its id."""
        return f"{self.trouble}-{self.operation}"

    @property
    def is_quick(self) -> bool:
        """Whether it is tried with every change."""
        return (self.trouble, self.operation) in QUICK


def cases_of(kind: Kind) -> Iterator[Case]:
    """Return what is tried with a box: everything that makes sense."""
    for trouble, operations in OPERATIONS_OF.items():
        for operation in operations:
            if not is_left_out(kind, trouble, operation):
                yield Case(trouble=trouble, operation=operation)


def is_left_out(kind: Kind, trouble: str, operation: str) -> bool:
    """Whether a case says nothing new of a box, or takes too long."""
    if kind.id == "nginx-narrow":  # is there to refuse uploads
        return trouble != "none" or operation not in {"generate", "edit", "variation", "job"}
    is_slow = kind.starts_slowly and TROUBLES[trouble].blow is not None
    return is_slow and (trouble, operation) != ("killed", "generate")
