"""What the events of a stream say: early states and finished images, as the API or a gateway tells of them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from burncloud_images.emulator.orders import Order
from burncloud_images.emulator.replies import to_revised_prompt, to_usage

if TYPE_CHECKING:
    from burncloud_images.emulator.studio import Made

Event = Mapping[str, object]

SUBJECTS = {"generations": "image_generation", "edits": "image_edit"}


def to_events(order: Order, made: Made, created: int) -> tuple[Event, ...]:
    """
    Return the API's events, one image after the other, each after its early states.

    The API has no index to tell the images apart, and does not say in which order they come or what the usage of one
    of several counts. Here it counts that image, its early states and the whole input.

    Args:
        order: What was asked for.
        made: What was made.
        created: Seconds since 1970.
    """
    subject = SUBJECTS[order.operation]
    asked = {"created_at": created, "output_format": order.output_format, **order.asked}
    decided: Event = {
        **asked,
        "size": f"{order.width}x{order.height}",
        "quality": order.quality,
        "background": "transparent" if order.transparent else "opaque",
        "usage": to_event_usage(order, 1),
        **({} if order.safety_identifier is None else {"safety_identifier": order.safety_identifier}),
    }
    events: list[Event] = []
    for image, partials in zip(made.images, made.partials, strict=True):
        events += [
            {"type": f"{subject}.partial_image", "b64_json": encode(partial), "partial_image_index": index, **asked}
            for index, partial in enumerate(partials)
        ]
        events.append({"type": f"{subject}.completed", "b64_json": encode(image), **decided})
    return tuple(events)


def to_fabricated(order: Order, made: Made, urls: Sequence[str], created: int) -> tuple[Event, ...]:
    """
    Return what a gateway makes of a plain JSON answer: a completed generation for each image, be it an edit.

    Args:
        order: What was asked for.
        made: What was made.
        urls: Where it can be fetched, if the events carry URLs.
        created: Seconds since 1970.
    """
    shared = {
        "created_at": created,
        "revised_prompt": to_revised_prompt(order),
        "usage": to_event_usage(order, order.n),
    }
    images: list[Event] = [{"url": url} for url in urls] or [{"b64_json": encode(image)} for image in made.images]
    return tuple({"type": "image_generation.completed", **image, **shared} for image in images)


def to_event_usage(order: Order, images: int) -> dict[str, object]:
    # The schema of an event's usage has no details of the output.
    return {name: count for name, count in to_usage(order, images).items() if name != "output_tokens_details"}


def encode(image: bytes) -> str:
    return base64.b64encode(image).decode()
