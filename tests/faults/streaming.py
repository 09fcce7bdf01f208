"""Group E: event streams, in any shape, and cut at any place."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping

from faults.gateway import Step
from faults.proxy import pause
from faults.stage import SMALL, Outcome, Stage, World, fails, held, scripted, succeeds, written
from faults.table import case, one_call, row, script, variants
from pictures import png
from streams import KEEPALIVE, PREVIEWED, odd_stream

from burncloud_images import AsyncImagesClient, CompletedImage, GenerationRequest, Limits, PartialImage, errors
from burncloud_images.emulator import Fault

REQUEST = GenerationRequest("a sea otter", partial_images=2, **SMALL)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


async def listen(client: AsyncImagesClient) -> object:
    """Return all events of a stream."""
    async with client.stream(REQUEST) as events:
        return [event async for event in events]


def event(kind: str, data: bytes = b"", **fields: object) -> bytes:
    """Return one event with an image."""
    name = f"image_generation.{kind}"
    text = json.dumps({"type": name, "b64_json": base64.b64encode(data or png()).decode(), **fields})
    return f"event: {name}\ndata: {text}\n\n".encode()


def kinds(outcome: Outcome) -> list[type]:
    return [type(one) for one in outcome.result]


def completed(_world: World, outcome: Outcome) -> None:
    """The image is there, whole."""
    last = outcome.result[-1]
    assert isinstance(last, CompletedImage)
    assert last.data.endswith(b"IEND\xaeB`\x82")


def with_previews(world: World, outcome: Outcome) -> None:
    completed(world, outcome)
    assert [PartialImage, PartialImage, CompletedImage] == kinds(outcome)


STREAM: Mapping[str, object] = {"call": listen, "rival": False}
LARGE = png(pad=3_000_000)


def large_came(world: World, outcome: Outcome) -> None:
    assert LARGE == outcome.result[-1].data


row(
    "E01",
    "event of 4 MB on one line",
    written(Step(answer=HEAD + event("completed", LARGE))),
    succeeds(),
    check=large_came,
    **STREAM,
)
script("E02", "one byte at a time", Fault(drip=1), succeeds(), check=with_previews, bound=40, **STREAM)


@case("E03", "CR LF, CR, BOM, split characters, data over several lines", succeeds())
async def line_ends(stage: Stage) -> None:
    """All of them say the same."""
    faults = {
        "CR LF": odd_stream(line_end="\r\n"),
        "CR": odd_stream(line_end="\r"),
        "BOM": odd_stream(bom=True),
        "several lines": odd_stream(spread=True),
        "all": odd_stream(line_end="\r", bom=True, spread=True, unnamed=True),
    }
    plays = {
        name: one_call(scripted(fault), succeeds(), call=listen, check=with_previews) for name, fault in faults.items()
    }
    prompt = "图 Pel\xe9"
    raw = HEAD + event("completed", revised_prompt=prompt).replace(json.dumps(prompt).encode(), f'"{prompt}"'.encode())

    async def split(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(raw), 1):
            writer.write(raw[start : start + 1])
            await pause(0)

    plays["split characters"] = one_call(written(Step(answer=split)), succeeds(), call=listen, check=completed)
    await variants(stage, plays)


def partials_are_kept(_world: World, outcome: Outcome) -> None:
    """The last preview is on the error."""
    assert outcome.error.partials
    assert outcome.error.partials[-1].data.startswith(b"\x89PNG")


script(
    "E04",
    "cut after two previews",
    Fault(after=2, cut="close", place="answer"),
    held(),
    check=partials_are_kept,
    **STREAM,
)


def told_of_the_bill(world: World, outcome: Outcome) -> None:
    partials_are_kept(world, outcome)
    assert "may have been billed" in str(outcome.error)


@case("E05", "error event", "as its code says; after previews it was billed")
async def error_event(stage: Stage) -> None:
    """Before any preview it counts as an answer; after one, money was spent."""
    refused = {"type": "error", "error": {"code": "moderation_blocked", "message": "no", "type": "image_error"}}
    failed = {"type": "error", "error": {"code": "server_error", "message": "no", "type": "server_error"}}
    await variants(
        stage,
        {
            "refused": one_call(scripted(Fault(error=refused)), fails(errors.ModerationError, attempts=1), call=listen),
            "failed after a preview": one_call(
                scripted(Fault(error=failed, after=1)),
                fails(errors.ServerError, billed=1, attempts=1),
                call=listen,
                check=told_of_the_bill,
            ),
        },
    )


async def endless_comments(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Show signs of life and nothing else."""
    writer.write(HEAD)
    while True:
        writer.write(b": PING\n\n")
        await writer.drain()
        await pause(0.005)


row(
    "E06",
    "comments without end",
    written(Step(answer=endless_comments)),
    held(),
    scale=0.001,
    **STREAM,
)
row(
    "E07",
    "event larger than its cap",
    written(Step(answer=HEAD + event("completed", LARGE))),
    fails(errors.TooLargeError, billed=1, attempts=1),
    client={"limits": Limits(event=1024 * 1024)},
    **STREAM,
)
script(
    "E08",
    "no end after the last image",
    Fault(after=3, cut="stall", place="answer"),
    succeeds(),
    check=with_previews,
    **STREAM,
)


@case("E09", "reader leaves after the first preview", "connection closed, nothing left, billed once")
async def reader_leaves(stage: Stage) -> None:
    """The server sees it; the image that was being made is billed all the same."""
    world = await stage.world(scripted())
    client = await stage.client(world.base_url)
    seen = []

    async def peek() -> object:
        async with client.stream(REQUEST) as events:
            async for one in events:
                seen.append(one)
                if stage.faulty:
                    break
        return seen

    outcome = await stage.call(peek())
    stage.judge(outcome, succeeds())
    assert (1 if stage.faulty else 3) == len(seen)


UNKNOWN = odd_stream([event for image in PREVIEWED for event in (KEEPALIVE, image)])
script("E10", "events of unknown types", UNKNOWN, succeeds(), check=with_previews, **STREAM)
script("E11", "plain JSON in place of a stream", Fault(plain=True), succeeds(), check=completed, **STREAM)


def both_previews(_world: World, outcome: Outcome) -> None:
    completed(_world, outcome)
    assert [1, 0, 0] == [one.partial_image_index for one in outcome.result[:-1]]


row(
    "E12",
    "previews out of order and twice",
    written(
        Step(
            answer=HEAD
            + b"".join(event("partial_image", partial_image_index=index) for index in (1, 0, 0))
            + event("completed")
        )
    ),
    succeeds(),
    check=both_previews,
    **STREAM,
)
