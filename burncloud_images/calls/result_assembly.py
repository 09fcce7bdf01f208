"""The result of a call, or the error that says why images of a whole answer are missing: put together, without I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import attrs

from burncloud_images.calls.attempt import CallSpec, ReceivedAnswer
from burncloud_images.calls.result_urls import ResultURL
from burncloud_images.errors import (
    Billing,
    DownloadError,
    KeptAnswer,
    Phase,
    ProtocolError,
    StorageError,
    completed,
)
from burncloud_images.results import MOST_WORDS, Attempt, ImageDetails, ImagesResult, Unfetched
from burncloud_images.wire.answer import to_svg_usage, to_text
from burncloud_images.wire.costs import find_cost

T = TypeVar("T", bound=ImageDetails)

PRICED = ("model", "n", "quality", "size", "output_format")
"""Fields of a request on which the price of its images depends."""


def find_billed(received: ReceivedAnswer[T]) -> Billing:
    """Return whether a whole answer of success was billed: by its images, their URLs, or the tokens they cost."""
    answer = received.answer
    named = answer.usage is not None or any(item.url or item.decoded for item in answer.items)
    return Billing.YES if named else max(Billing.MAYBE, received.receiver.billed)


def to_result(
    received: ReceivedAnswer[T],
    images: Sequence[T],
    spec: CallSpec[T],
    history: Sequence[Attempt],
    kept: KeptAnswer | None,
) -> ImagesResult[T]:
    answer = received.answer
    return ImagesResult(
        images=tuple(images),
        created=answer.created,
        usage=answer.usage,
        background=answer.background,
        output_format=answer.output_format,
        quality=answer.quality,
        size=answer.size,
        request_id=received.request_id,
        idempotency_key=spec.idempotency_key,
        history=tuple(history),
        safety_identifier=to_text(answer.extra.get("safety_identifier")),
        svg_usage=to_svg_usage(answer.extra.get("svg_usage")),
        stated_cost=find_cost(answer.usage, answer.extra) or answer.cost,
        priced={name: spec.fields[name] for name in PRICED if name in spec.fields},
        extra=answer.extra,
        kept=kept,
        refused=answer.refused,
    )


def describe_images(received: ReceivedAnswer[T]) -> Iterator[T]:
    """Yield the images with what the answer says about each."""
    kept = received.receiver.kept
    for item in received.answer.items:
        if item.index not in kept:
            continue
        if item.url or item.revised_prompt or item.extra:
            expiry = received.expiries[item.index] if item.url else None
            yield attrs.evolve(
                kept[item.index],
                revised_prompt=item.revised_prompt,
                url=item.url,
                expires_at=expiry.at if expiry else None,
                extra=item.extra,
            )
        else:
            yield kept[item.index]


def find_warnings(received: ReceivedAnswer[T], kept: KeptAnswer | None, *, wanted: int, came: int) -> Iterator[str]:
    """Yield what is to be known about an answer whose images are there."""
    answer = received.answer
    place = kept.whereabouts if kept is not None else ""
    if came < wanted:
        yield f"{wanted} images were asked for and {came} came. {place}".rstrip()
    for refusal in answer.refused:
        yield str(refusal)
    if answer.has_surplus:
        where = place or "The answer is in .kept of the result."
        yield f"The answer names more images than are taken; {came} of them are here. {where}"
    if "error" in answer.extra:
        yield f"The answer holds an error beside its images: {find_message(answer.extra['error'])}."


def find_message(error: object) -> str:
    """Return what an error says, in short."""
    found = [error.get(name) for name in ("message", "code", "type")] if isinstance(error, Mapping) else [error]
    return next((str(word) for word in found if word), "it does not say which")[:MOST_WORDS].rstrip(". ")


def to_error(
    received: ReceivedAnswer[T], failures: Mapping[ResultURL, DownloadError]
) -> DownloadError | ProtocolError | StorageError:
    """Return the error that says why images are missing, with those that are whole."""
    lost = tuple(url.unfetched(failures[url]) for url in sorted(failures, key=lambda url: url.index))
    error = find_cause(received, failures)
    add_notes(error, lost, received.receiver.damaged)
    return completed(
        error,
        images=received.receiver.whole,
        damaged=received.receiver.fragments,
        unfetched=lost,
        request_id=received.request_id,
        phase=Phase.COMPLETE,
        billed=find_billed(received),
    )


def find_cause(
    received: ReceivedAnswer[T], failures: Mapping[ResultURL, DownloadError]
) -> DownloadError | ProtocolError | StorageError:
    receiver = received.receiver
    if receiver.unstored:
        message = " ".join(error.message for error in receiver.unstored)
        elsewhere = {index: path for error in receiver.unstored for index, path in error.elsewhere.items()}
        return StorageError(message, images=receiver.whole, elsewhere=elsewhere)
    if failures:
        # One that can still be fetched tells more than one that cannot.
        return failures[min(failures, key=lambda url: (url.unfetched(failures[url]).expired, url.index))]
    what = "; ".join(f"image {index + 1}: {why}" for index, why in sorted(receiver.damaged.items()))
    message = f"The answer is damaged: {what}." if what else "The answer holds no image."
    return ProtocolError(message, images=receiver.whole)


def add_notes(
    error: DownloadError | ProtocolError | StorageError, lost: Sequence[Unfetched], damaged: Mapping[int, str]
) -> None:
    """Add what the message of *error* does not say."""
    for image in lost:
        if image.url != getattr(error, "url", None):
            error.add_note(f"Image {image.index + 1} was not fetched: {image.reason}")
    for index, why in sorted(damaged.items()) if not isinstance(error, ProtocolError) else ():
        error.add_note(f"Image {index + 1} is damaged: {why}.")
