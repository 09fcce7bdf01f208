"""What the gallery shows of a request: a card per image, or one that says why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from burncloud_images import errors
from burncloud_images.bulk.outputs.metadata import dollars, share, to_row
from burncloud_images.bulk.records import Failure, Record, State

Card = dict[str, object]

UNSTARTED = frozenset({State.PENDING, State.LEASED})

RETRY_FAILED = "Running the job with --retry-failed tries it again."
ADVICE: Mapping[State, str] = {
    State.SENT: "It is under way, or its run was killed; the next run settles which.",
    State.RECEIVED: "It is paid for. Run the job again to fetch its images before their addresses expire.",
    State.IN_DOUBT: (
        "It may have been billed. Ask the provider by the request id or the key. "
        "Running the job with --on-unknown retry sends it again and accepts to pay twice."
    ),
}


def to_cards(records: Sequence[Record]) -> Iterator[Card]:
    """Yield the cards of *records*; what was not sent yet has none."""
    for record in records:
        if record.state not in UNSTARTED or record.images:
            yield from cards(record)


def cards(record: Record) -> Iterator[Card]:
    request = describe_request(record)
    for place, image in enumerate(record.images):
        row = to_row(record, image, place)
        yield compact(
            {
                **request,
                "file": image.path,
                "image": image.index + 1,
                "of": max(record.wanted, len(record.images)),
                "revised": row["revised_prompt"],
                "size": f"{image.width}x{image.height}" if image.width and image.height else row["size"],
                "quality": row["quality"],
                "type": row["media_type"],
                "bytes": image.size,
                "cost": dollars(share(record.cost, place, len(record.images))),
                "sha256": image.sha256,
            }
        )
    if record.state is not State.DONE:
        yield compact({**request, **describe_failure(record), "reserved": dollars(record.reserved)})


def describe_request(record: Record) -> Card:
    """Return what all cards of a request say."""
    asked = record.document
    return {
        "number": record.number,
        "key": record.key,
        "state": str(record.state),
        "id": record.label,
        "prompt": asked.get("prompt"),
        "model": asked.get("model"),
        "operation": asked.get("operation"),
        "size": asked.get("size"),
        "quality": asked.get("quality"),
        "inputs": list(name_inputs(asked)),
        "request": record.request_id,
        "ended": record.ended_at or record.sent_at,
        "source": record.source,
        "line": record.line,
        "attempts": record.attempts if record.attempts > 1 else None,
    }


def describe_failure(record: Record) -> Card:
    failure = record.failure
    advice = ADVICE.get(record.state) or advise(failure)
    if failure is None:
        return {"advice": advice}
    return {
        "error": failure.error,
        "code": failure.code,
        "status": failure.status,
        "message": failure.message,
        "advice": advice,
    }


def advise(failure: Failure | None) -> str:
    """Return what to do about a failed request."""
    kind = getattr(errors, failure.error, None) if failure is not None else None
    own = getattr(kind, "advice", None)
    said = isinstance(own, str) and failure is not None and own in failure.message
    return f"{own} {RETRY_FAILED}" if isinstance(own, str) and own and not said else RETRY_FAILED


def name_inputs(asked: Mapping[str, object]) -> Iterator[str]:
    """Yield the names of the images that were sent; of an address neither its query nor what identifies a user."""
    for field in ("image", "mask", "markup"):
        value = asked.get(field)
        for source in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(source, Mapping):
                if isinstance(path := source.get("path"), str):
                    yield PurePosixPath(path).name
                elif isinstance(url := source.get("url"), str):
                    yield name_address(url)


def name_address(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address"
    return f"{parts.hostname or ''}{parts.path}" if parts.scheme in {"http", "https"} else "an address"


def compact(card: Card) -> Card:
    return {name: value for name, value in card.items() if value not in (None, "", [])}
