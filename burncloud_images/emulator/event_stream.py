"""Events to the bytes of a `text/event-stream`, as they should be or as a fault wants them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from burncloud_images.emulator.events import Event
from burncloud_images.emulator.faults import Fault

EVENT_STREAM = "text/event-stream; charset=utf-8"

LINE_ENDS = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}
PING = ": PING\n\n"
DONE = "data: [DONE]\n\n"
KEEPALIVE: Event = {"type": "keepalive", "sequence_number": 0}
"""Of a type that the images API does not have."""


def write_stream(events: Sequence[Event], fault: Fault | None) -> tuple[bytes, ...]:
    """Return what is sent, one piece after the other: each event and each comment is one."""
    fault = fault or Fault()
    end = LINE_ENDS[fault.line_end]
    return tuple(text.replace("\n", end).encode() for text in to_texts(events, fault))


def to_texts(events: Sequence[Event], fault: Fault) -> Iterator[str]:
    if fault.bom:
        yield "\ufeff"
    for event in select(events, fault):
        yield from [PING] * fault.pings
        yield write_event(event, fault)
    yield from [PING] * fault.pings
    if fault.done:
        yield DONE


def select(events: Sequence[Event], fault: Fault) -> Iterator[Event]:
    """Return the events up to where the fault strikes, and what it sends between and after them."""
    for event in events[: fault.after]:
        if fault.unknown:
            yield KEEPALIVE
        yield event
    if fault.error is not None:
        yield fault.error


def write_event(event: Event, fault: Fault) -> str:
    # JSON allows line ends between its tokens alone, and the lines of one event's data are joined by line ends.
    data = json.dumps(event, ensure_ascii=False, indent=0 if fault.spread else None)
    lines = [] if fault.unnamed else [f"event: {event.get('type', 'error')}"]
    lines += [f"data: {line}" for line in data.split("\n")]
    return "\n".join([*lines, "", ""])
