"""Event streams as bytes, written in each way that the HTML standard allows, and faults that answer with one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping

from pictures import png

from burncloud_images.emulator import Fault

IMAGE = base64.b64encode(png()).decode()
KEEPALIVE = {"type": "keepalive", "sequence_number": 0}
"""An event of a type that the images API does not have."""

PREVIEWED = (
    {"type": "image_generation.partial_image", "b64_json": IMAGE, "partial_image_index": 0},
    {"type": "image_generation.partial_image", "b64_json": IMAGE, "partial_image_index": 1},
    {"type": "image_generation.completed", "b64_json": IMAGE},
)


def write_events(
    events: Iterable[Mapping[str, object]],
    *,
    unnamed: bool = False,
    spread: bool = False,
    line_end: str = "\n",
    bom: bool = False,
    done: bool = False,
) -> bytes:
    """
    Return *events* as a stream.

    Args:
        events: JSON of each.
        unnamed: Leave out the `event:` line, so that only the data tells the type.
        spread: Spread the data of each event over several lines.
        line_end: How lines end.
        bom: Begin with a byte order mark.
        done: End with `data: [DONE]`.
    """
    lines = []
    for event in events:
        # JSON allows line ends between its tokens alone, and the lines of an event's data are joined by line ends.
        data = json.dumps(event, indent=0 if spread else None)
        lines += [] if unnamed else [f"event: {event['type']}"]
        lines += [*(f"data: {line}" for line in data.split("\n")), ""]
    lines += ["data: [DONE]", ""] if done else []
    return (("\ufeff" if bom else "") + line_end.join([*lines, ""])).encode()


def odd_stream(events: Iterable[Mapping[str, object]] = PREVIEWED, **how: object) -> Fault:
    """Return a fault that answers with two previews and an image, written as *how* says for `write_events`."""
    headers = {"Content-Type": "text/event-stream"}
    return Fault(body=write_events(events, **how), headers=headers, billed=True)
