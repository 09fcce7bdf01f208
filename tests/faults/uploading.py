"""Group U: the request does not get through whole, or what it is read from does not last."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

from faults.gateway import Step, http
from faults.proxy import Toxic, pause
from faults.stage import BIG, MIB, SMALL, Outcome, Stage, World, edit, fails, held, proxied, retried, scripted, succeeds
from faults.table import answer, case, script, variants, way
from pictures import png

from burncloud_images import Limits, errors
from burncloud_images.emulator import Fault
from burncloud_images.errors import Phase

# --- cuts ------------------------------------------------------------------------------------------------------------


def not_whole(_world: World, outcome: Outcome) -> None:
    """The first try says that it was not sent whole."""
    first = outcome.result.history[0]
    assert first.phase < Phase.FINAL_RELEASED
    assert first.sent < len(BIG)


def whole(_world: World, outcome: Outcome) -> None:
    """The only try says that it was."""
    assert outcome.error.phase >= Phase.FINAL_RELEASED


UPLOAD = {"call": edit, "check": not_whole}
# Cut on acceptance, the first try never becomes a POST.
way("U01", "closed on acceptance, 8 MiB", Toxic(action="close"), succeeds(attempts=2), **UPLOAD)
way("U02", "reset on acceptance", Toxic(action="reset"), succeeds(attempts=2), **UPLOAD)
script("U03", "closed after the headers", Fault(cut="close", place="before-body"), retried(), **UPLOAD)
script("U04", "reset at half of 8 MiB", Fault(cut="reset", place="upload", byte=0.5), retried(), **UPLOAD)


def stall_was_short(world: World, outcome: Outcome) -> None:
    """The stall ended at its own limit."""
    not_whole(world, outcome)
    kernel = 0.5  # its timers are not scaled: it tries the closed window after 0.2 s, and takes what it then can
    assert outcome.result.history[0].elapsed <= 31 * 0.01 + kernel


script(
    "U05",
    "stalls at half of 8 MiB",
    Fault(cut="stall", place="upload", byte=0.5),
    retried(),
    call=edit,
    check=stall_was_short,
    rival=False,
)
way(
    "U06",
    "reset one byte before the end",
    Toxic(action="reset", at=-1, body=len(BIG)),
    held(billed=0),
    call=edit,
    check=whole,
)
script("U07", "reset after the last byte", Fault(cut="reset", billed=True), held(billed=None), call=edit, check=whole)


def stopped(_world: World, outcome: Outcome) -> None:
    """The rest of the body was not sent."""
    assert outcome.error.history[0].sent < len(BIG)
    assert 413 == outcome.error.status


script(
    "U08",
    "413 before the body, then closed",
    Fault(status=413, place="before-body"),
    fails(errors.BadRequestError, attempts=1),
    call=edit,
    check=stopped,
)


async def refuse_early(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer 401 and give the client a moment to read it."""
    writer.write(http(b'{"error": {"message": "no such key", "code": "invalid_api_key"}}', status="401 Unauthorized"))
    await writer.drain()
    await pause(0.05)


answer(
    "U09",
    "401 before the body, then reset",
    Step(answer=refuse_early, whole=False, reset=True),
    fails(errors.AuthenticationError, attempts=1),
    call=edit,
)

# --- files -----------------------------------------------------------------------------------------------------------


def file_of(stage: Stage, data: bytes = BIG) -> Path:
    """Return a file with an image."""
    path = stage.folder / "photo.png"
    path.write_bytes(data)
    return path


@case("U10", "file is cut off while it is sent", fails(errors.InputChangedError))
async def truncated_file(stage: Stage) -> None:
    """The request is given up, and the server never has it whole."""
    path = file_of(stage)
    toxic = Toxic(action="call", at=0.25, body=len(BIG), then=lambda: os.truncate(path, 3 * MIB))
    world = await stage.world(proxied(toxic))
    client = await stage.client(world.base_url)
    outcome = await stage.call(client.edit(path, "a beret", **SMALL))
    stage.judge(outcome, fails(errors.InputChangedError, attempts=1) if stage.faulty else succeeds())
    if stage.faulty:
        assert world.fired()
        assert not world.emulator.ledger.requests[0].complete


@case("U11", "file is replaced between two tries", fails(errors.InputChangedError, posts=None))
async def replaced_file(stage: Stage) -> None:
    """Another image than the one that was asked for is never bought."""
    path = file_of(stage)
    world = await stage.world(scripted(Fault(status=503)))
    client = await stage.client(world.base_url)

    async def replace(_waits: int) -> None:
        other = stage.folder / "other.png"
        other.write_bytes(png(pad=8 * MIB))
        other.replace(path)

    stage.clock.on_sleep = replace
    outcome = await stage.call(client.edit(path, "a beret", **SMALL))
    stage.judge(outcome, fails(errors.InputChangedError, posts=None) if stage.faulty else succeeds())
    if stage.faulty:
        assert world.fired()
        assert not any(request.complete for request in world.emulator.ledger.requests[1:])


async def one_shot(data: bytes) -> AsyncIterator[bytes]:
    """Yield what can be read once."""
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


def identical(world: World, *images: bytes) -> None:
    """Every POST brought the same files."""
    digests = [hashlib.sha256(image).hexdigest() for image in images]
    for request in world.emulator.ledger.requests:
        assert digests == [part.sha256 for part in request.parts]
    assert 1 == len({request.idempotency_key for request in world.emulator.ledger.requests})


@case("U12", "one-shot source and a 503", retried())
async def one_shot_again(stage: Stage) -> None:
    """What was read once is kept for the next try."""
    world = await stage.world(scripted(Fault(status=503)))
    client = await stage.client(world.base_url)
    outcome = await stage.call(client.edit(one_shot(BIG), "a beret", **SMALL))
    stage.judge(outcome, retried() if stage.faulty else succeeds())
    identical(world, BIG)


@case("U13", "one-shot source that may not be spooled", fails(errors.InvalidRequestError, posts=0))
async def one_shot_unspooled(stage: Stage) -> None:
    """It could not be sent again, so it is refused before anything is sent."""
    world = await stage.world(scripted())
    client = await stage.client(world.base_url, limits=Limits(spool=0) if stage.faulty else Limits())
    outcome = await stage.call(client.edit(one_shot(BIG), "a beret", **SMALL))
    stage.judge(outcome, fails(errors.InvalidRequestError, posts=0) if stage.faulty else succeeds())


@case("U14", "FIFO or socket in place of a file", fails(errors.InvalidRequestError, posts=0))
async def no_file(stage: Stage) -> None:
    """What has no bytes of its own is refused, and not waited for."""
    await variants(stage, {"FIFO": fifo, "device": device, "folder": folder})


async def refused_input(stage: Stage, path: Path) -> None:
    world = await stage.world(scripted())
    client = await stage.client(world.base_url)
    outcome = await stage.call(client.edit(path if stage.faulty else file_of(stage), "a beret", **SMALL))
    stage.judge(outcome, fails(errors.InvalidRequestError, posts=0) if stage.faulty else succeeds())


async def fifo(stage: Stage) -> None:
    path = stage.folder / "fifo.png"
    os.mkfifo(path)
    await refused_input(stage, path)


async def device(stage: Stage) -> None:
    await refused_input(stage, Path("/dev/zero"))


async def folder(stage: Stage) -> None:
    await refused_input(stage, stage.folder)


@case("U15", "caller's open file and a 503", retried())
async def open_file(stage: Stage) -> None:
    """It is read from where it stood, every time, and left open."""
    world = await stage.world(scripted(Fault(status=503)))
    client = await stage.client(world.base_url)
    handle = io.BytesIO(b"a header" + BIG)
    handle.seek(8)
    outcome = await stage.call(client.edit(handle, "a beret", **SMALL))
    stage.judge(outcome, retried() if stage.faulty else succeeds())
    identical(world, BIG)
    assert not handle.closed
    assert len(b"a header" + BIG) == handle.tell()


@case("U16", "503 three times", retried(posts=4))
async def four_bodies(stage: Stage) -> None:
    """All four bodies are the same."""
    world = await stage.world(scripted(Fault(status=503, times=3)))
    client = await stage.client(world.base_url)
    outcome = await stage.call(client.edit(file_of(stage), "a beret", **SMALL))
    stage.judge(outcome, retried(posts=4) if stage.faulty else succeeds())
    identical(world, BIG)


@case("U17", "three images, a mask and a 503", retried())
async def several_files(stage: Stage) -> None:
    """Order and names are the same in both tries."""
    images = [png(pad=size) for size in (10, 70_000, 2_000_000)]
    mask = png()
    world = await stage.world(scripted(Fault(status=503)))
    client = await stage.client(world.base_url)
    outcome = await stage.call(client.edit(images, "a basket", mask=mask, **SMALL))
    stage.judge(outcome, retried() if stage.faulty else succeeds())
    identical(world, *images, mask)
    for request in world.emulator.ledger.requests:
        assert ["image[]", "image[]", "image[]", "mask"] == [part.name for part in request.parts]


@case("U18", "one byte more than 50 MiB", fails(errors.InvalidRequestError, posts=0))
async def too_large(stage: Stage) -> None:
    """Refused before anything is sent."""
    path = file_of(stage, png())
    if stage.faulty:
        os.truncate(path, 50 * MIB + 1)
    world = await stage.world(scripted())
    client = await stage.client(world.base_url)
    outcome = await stage.call(client.edit(path, "a beret", **SMALL))
    stage.judge(outcome, fails(errors.InvalidRequestError, posts=0) if stage.faulty else succeeds())


@case("U19", "file name with CR LF, quotes, other scripts, 240 bytes", succeeds())
async def file_names(stage: Stage) -> None:
    """No name becomes a header."""
    names = ['a"\r\nX-Injected: yes\r\n\r\n.png', "图" * 78 + ".png", 'q".png', "\u202egnp.png"]
    plain = ["photo.png"]
    for name in names if stage.faulty else plain:
        path = stage.folder / name
        path.write_bytes(png())
        world = await stage.world(scripted())
        client = await stage.client(world.base_url)
        outcome = await stage.call(client.edit(path, "a beret", **SMALL))
        assert outcome.error is None, f"{name!r}: {outcome.error!r}"
        (request,) = world.emulator.ledger.requests
        (part,) = request.parts
        assert hashlib.sha256(png()).hexdigest() == part.sha256
        assert {"prompt", "model", "size"} == {name for name, _ in request.fields}
        assert not set('\r\n"') & set(part.filename)
        assert not any("inject" in header for header in request.headers)
    stage.count(len(names) if stage.faulty else 1)
    assert stage.billed == stage.posts == len(names if stage.faulty else plain)
