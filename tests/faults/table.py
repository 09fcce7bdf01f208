"""The table of the fault matrix: what a case is, and how one is written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
from faults.gateway import Step
from faults.proxy import Toxic
from faults.stage import (
    PLAINLY,
    Call,
    Expected,
    Outcome,
    Setting,
    Stage,
    World,
    edit,
    generate,
    proxied,
    scripted,
    written,
)

from burncloud_images.emulator import Fault

GROUPS: Mapping[str, str] = {
    "C": "Connect, TLS, DNS",
    "U": "Upload",
    "R": "Response transport",
    "S": "Status",
    "E": "Event streams",
    "P": "Tasks",
    "D": "Download",
    "X": "Inputs and secrets",
    "B": "Crash (bulk jobs)",
    "T": "Cancellation and resources",
}
SIZES: Mapping[str, int] = {"C": 16, "U": 19, "R": 32, "S": 28, "E": 12, "P": 14, "D": 31, "X": 13, "B": 13, "T": 10}

TUNNELLED = frozenset("UED")
"""Groups that are played through an HTTP CONNECT proxy as well: whatever is large, or lasts."""

Play = Callable[[Stage], Awaitable[None]]
Check = Callable[[World, Outcome], None]


@attrs.frozen(kw_only=True)
class Rival:
    """
    The same fault for another client.

    Attributes:
        setting: Makes the world.
        upload: Whether an image is edited; else one is made.
    """

    setting: Setting
    upload: bool = False


@attrs.frozen(kw_only=True)
class Case:
    """
    One fault.

    Attributes:
        id: In the matrix.
        fault: In words.
        expected: In words.
        play: Plays it; the stage says whether the fault strikes.
        bound: Real seconds that either play may last.
        scale: Real seconds of a stage's time per second.
        rival: For the column of the official client; None where the fault is none of its business.
        skipped: Why it cannot be played.
        pending: Why it is known not to survive yet.
        impossible: Why it cannot exist in a column, by the column.
    """

    id: str
    fault: str
    expected: str
    play: Play | None = None
    bound: float = 10.0
    scale: float = 0.01
    rival: Rival | None = None
    skipped: str | None = None
    pending: str | None = None
    impossible: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def group(self) -> str:
        """Its letter."""
        return self.id[0]

    @property
    def columns(self) -> tuple[str, ...]:
        """Those beside the plain one."""
        return ("tls", "connect") if self.group in TUNNELLED else ("tls",)


MANY = 9
"""More tries than any client makes."""

TABLE: dict[str, Case] = {}


def add(case: Case) -> None:
    """Enter a case; an id stands for one."""
    assert case.id not in TABLE, f"{case.id} is there already"
    assert case.group in GROUPS
    TABLE[case.id] = case


def skip(number: str, fault: str, reason: str) -> None:
    """Enter a case that cannot be played, with its reason."""
    add(Case(id=number, fault=fault, expected="", skipped=reason))


def case(number: str, fault: str, expected: object, **options: Any) -> Callable[[Play], Play]:
    """Enter a case that is played by a function of its own."""

    def enter(play: Play) -> Play:
        add(Case(id=number, fault=fault, expected=str(expected), play=play, **options))
        return play

    return enter


def row(
    number: str,
    fault: str,
    setting: Setting,
    expected: Expected,
    *,
    call: Call = generate,
    plainly: Expected = PLAINLY,
    check: Check | None = None,
    client: Mapping[str, Any] | None = None,
    rival: bool = True,
    lasting: Setting | None = None,
    **options: Any,
) -> None:
    """
    Enter a case that is one call in one setting.

    A fault after which this client makes no second request strikes once. Whoever makes one meets it again: *lasting*.
    """
    play = one_call(setting, expected, call=call, plainly=plainly, check=check, **(client or {}))
    met = lasting if lasting is not None and expected.kind is not None else setting
    other = Rival(setting=met, upload=call is edit) if rival else None
    add(Case(id=number, fault=fault, expected=str(expected), play=play, rival=other, **options))


def script(number: str, fault: str, faults: Fault | tuple[Fault, ...], expected: Expected, **options: Any) -> None:
    """Enter a case in which the emulator goes wrong."""
    faults = (faults,) if isinstance(faults, Fault) else faults
    lasting = scripted(*(attrs.evolve(one, times=None) for one in faults))
    row(number, fault, scripted(*faults), expected, lasting=lasting, **options)


def way(number: str, fault: str, toxic: Toxic, expected: Expected, **options: Any) -> None:
    """Enter a case in which the way to the emulator goes wrong."""
    lasting = proxied(attrs.evolve(toxic, connection=None))
    row(number, fault, proxied(toxic), expected, lasting=lasting, **options)


def answer(number: str, fault: str, step: bytes | Step, expected: Expected, **options: Any) -> None:
    """Enter a case in which a gateway answers its first request with *step*."""
    step = step if isinstance(step, Step) else Step(answer=step)
    row(number, fault, written(step), expected, lasting=written(*[step] * MANY), **options)


async def variants(stage: Stage, plays: Mapping[str, Play]) -> None:
    """Play several forms of one fault; the first that fails says which it was."""
    for name, play in plays.items():
        part = Stage(
            faulty=stage.faulty,
            folder=stage.folder / name,
            monkeypatch=stage.monkeypatch,
            output=stage.output,
            scale=stage.scale,
        )
        part.folder.mkdir(exist_ok=True)
        try:
            async with part.stack:
                await play(part)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
        finally:
            stage.seen.extend(part.seen)
            stage.posts += part.posts
            stage.billed += part.billed
            stage.double += part.double
            stage.lost += part.lost


def one_call(
    setting: Setting,
    expected: Expected,
    *,
    call: Call = generate,
    plainly: Expected = PLAINLY,
    check: Check | None = None,
    **client: Any,
) -> Play:
    """Return the play of one call, as one of several variants."""

    async def play(stage: Stage) -> None:
        world = await stage.world(setting)
        user = await stage.client(world.base_url, **{**world.options, **client})
        outcome = await stage.call(call(user))
        stage.judge(outcome, expected if stage.faulty else plainly)
        if stage.faulty:
            assert world.fired(), "the fault did not fire"
            if check is not None:
                check(world, outcome)

    return play


BAR = frozenset(
    [
        *("C02", "C15", "U01", "U04", "U07", "R01", "R05", "R12", "R20", "S01", "S04", "S06", "S15", "S20", "S26"),
        *("E01", "E04", "P01", "P03", "P05", "P09", "D01", "D09", "D15", "D20", "X01", "X05", "B01", "T01", "T07"),
    ]
)
"""The cases that every change has to pass; B01 at one point in eight, T07 in a short form."""
LONGER = frozenset(["B01", "T07"])
"""Those of them that every change has to pass on plain sockets alone."""
