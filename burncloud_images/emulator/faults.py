"""Scripted faults: what goes wrong, where and how often, and which fault strikes next."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from burncloud_images.emulator.tasks import TaskFault

Cut = Literal["close", "reset", "stall"]
Place = Literal["before-body", "upload", "after-body", "answer"]
Framing = Literal["length", "chunked", "eof"]
Fabricated = Literal["b64_json", "url"]
Store = Literal["ignores-range", "wrong-range", "no-range", "replaced", "truncated"]
Target = Literal["generations", "edits", "variations", "downloads", "models", "tasks"]

BILLABLE = frozenset({"generations", "edits", "variations"})
STREAMED = frozenset({"generations", "edits"})


def to_dict(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(values)


def one_of(*values: str) -> Any:  # noqa: ANN401 (the type of attrs validators is its own)
    return attrs.validators.optional(attrs.validators.in_(values))


def at_least(least: int) -> Any:  # noqa: ANN401 (as above)
    whole = attrs.validators.and_(attrs.validators.instance_of(int), attrs.validators.ge(least))
    return attrs.validators.optional(whole)


@attrs.frozen(kw_only=True)
class Fault:
    """
    What goes wrong with one request.

    A status or a body replaces the API's answer; a cut ends the connection; without either, the true answer is sent
    with the given delay, headers and framing.

    An event stream is billed before its head is sent, so a stream that breaks was paid for. The only exception is an
    `error` as its first event: then images are made only if `billed` is true. A fault with one of the attributes from
    `after` to `plain` waits for a stream; one whose place the stream does not reach waits for the next.

    Attributes:
        status: HTTP status to answer with; 200 if only a body is given.
        body: Text, bytes or JSON to answer with; the API's own error for the status if not given.
        headers: Added to the answer, in place of its own of the same name.
        retry_after: Seconds, for the `Retry-After` header.
        delay: Seconds before the answer or the cut.
        cut: How the connection ends: `close` sends FIN, `reset` sends RST, `stall` says nothing until the peer leaves.
        place: Where it strikes: `before-body` (only the head was read), `upload` (at `byte` of the request's body),
            `after-body` (all was read, nothing answered) or `answer` (at `byte` of the answer's body, or `after` so
            many events of a stream).
        byte: Position in the body: a number of bytes, or a share of the whole if less than 1; from the end if negative.
        framing: How the answer's end is marked: by `Content-Length`, by chunks or by the end of the connection. A
            stream is sent in chunks where it would be `length`.
        raw: Bytes to send in place of the whole answer, its head included.
        billed: Whether the images were made and billed before it struck. The true answer is always billed.
        rate: Bytes of the answer's body that are sent in a second; None for all at once.
        expired: Whether the result URLs in the answer have already expired.
        after: Number of events (early states and finished images) that are sent before `cut` or `error` takes effect;
            with neither, the stream ends there as if it were whole.
        error: JSON of an event that is sent in place of the rest: of the whole stream, if `after` is not given. It is
            called by its `type`, `error` if it has none.
        partials: Maximum number of early states of each image, if fewer than were asked for.
        pace: Seconds before each piece of a stream: an event, a comment or, with `drip`, so many bytes.
        drip: Bytes in each piece.
        pings: Number of `: PING` comments before each event and before the end.
        done: Whether `data: [DONE]` is sent last.
        fabricated: Answer with what a gateway makes of a plain JSON answer, the images in `b64_json` or in `url`: no
            early states, and completed events all called `image_generation.completed`, with the prompt that was used
            and without size, quality, background and format.
        plain: Whether a plain JSON answer is sent in place of a stream.
        store: How the store of the results errs, for downloads only. `ignores-range` sends the whole where the rest was
            asked for, `wrong-range` sends another part, `no-range` a part without saying which, `replaced` has another
            file under the same address from now on, and `truncated` has one without its end, with the length and
            checksum of what it sends.
        task: What becomes of the task that a request is made into, where the server makes tasks: `forgotten` is never
            found again, `failed` fails, `refunded` fails and is charged nothing, and `endless` never ends. The request
            itself is accepted; a cut that is `billed` loses the answer that names the task.
        times: How often it strikes; None for no limit.
        operation: The endpoint that it waits for; None for any that bills. `tasks` are questions about tasks.
        probability: Share of the matching requests that it strikes, drawn from a seeded generator.
    """

    status: int | None = None
    body: str | bytes | Mapping[str, object] | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict, converter=to_dict)
    retry_after: float | None = None
    delay: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    cut: Cut | None = attrs.field(default=None, validator=one_of("close", "reset", "stall"))
    place: Place = attrs.field(
        default="after-body", validator=attrs.validators.in_(("before-body", "upload", "after-body", "answer"))
    )
    byte: float = attrs.field(default=0, validator=attrs.validators.instance_of((int, float)))
    framing: Framing = attrs.field(default="length", validator=attrs.validators.in_(("length", "chunked", "eof")))
    raw: bytes | None = None
    billed: bool = False
    rate: float | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.gt(0)))
    expired: bool = False
    after: int | None = attrs.field(default=None, validator=at_least(0))
    error: Mapping[str, object] | None = attrs.field(default=None, converter=attrs.converters.optional(to_dict))
    partials: int | None = attrs.field(default=None, validator=at_least(0))
    pace: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    drip: int | None = attrs.field(default=None, validator=at_least(1))
    pings: int = attrs.field(default=0, validator=at_least(0))
    done: bool = False
    fabricated: Fabricated | None = attrs.field(default=None, validator=one_of("b64_json", "url"))
    plain: bool = False
    store: Store | None = attrs.field(
        default=None, validator=one_of("ignores-range", "wrong-range", "no-range", "replaced", "truncated")
    )
    task: TaskFault | None = attrs.field(default=None, validator=one_of("forgotten", "failed", "refunded", "endless"))
    times: int | None = 1
    operation: Target | None = attrs.field(
        default=None, validator=one_of(*sorted(BILLABLE), "downloads", "models", "tasks")
    )
    probability: float = attrs.field(default=1.0, validator=[attrs.validators.gt(0), attrs.validators.le(1)])

    def __attrs_post_init__(self) -> None:
        if self.status is not None and not 200 <= self.status <= 999:
            raise ValueError(f"{self.status} is not the status of a final answer")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times has to be at least 1, not {self.times}")
        if self.place in {"before-body", "upload"} and self.billed:
            raise ValueError(f"nothing can be billed {self.place}: the request has not arrived")
        if self.place in {"before-body", "upload"} and self.cut is None and not self.answers:
            raise ValueError(f"a fault at {self.place} needs a status, a body or a cut")
        if self.store is not None and self.operation != "downloads":
            raise ValueError("only downloads come from the store")
        if self.task is not None and self.operation not in {None, *BILLABLE}:
            raise ValueError("only a request that bills can become a task")
        if self.place == "answer" and self.cut is None:
            raise ValueError("a fault in the answer needs a cut")
        if self.in_stream:
            check_stream(self)

    @property
    def in_stream(self) -> bool:
        """Whether it strikes only streams."""
        return not IN_STREAM.isdisjoint(self.differing)

    @property
    def differing(self) -> frozenset[str]:
        """Names of the attributes that differ from their defaults."""
        fields = attrs.fields(type(self))
        return frozenset(field.name for field in fields if getattr(self, field.name) != default_of(field))

    def reaches(self, partials: int, events: int) -> bool:
        """Return whether it changes a stream of *events* events with *partials* early states of each image."""
        if self.partials is not None and self.partials >= partials:
            return False
        ends = self.cut is not None or self.error is not None
        return self.after is None or self.after < events or (self.after == events and ends)

    @property
    def answers(self) -> bool:
        """Whether it replaces the API's answer."""
        errs = self.error is not None and not self.after
        return errs or self.status is not None or self.body is not None or self.raw is not None

    @property
    def silent(self) -> bool:
        """Whether it cuts the connection before the first byte of an answer."""
        return self.cut is not None and self.place != "answer" and not self.answers

    @property
    def prevents_images(self) -> bool:
        """Whether no images are made."""
        return (self.answers or self.silent) and not self.billed

    @property
    def is_usual(self) -> bool:
        """Whether its answer is sent like any other."""
        own_length = any(name.lower() == "content-length" for name in self.headers)
        return (
            self.cut is None and self.raw is None and self.rate is None and self.framing == "length" and not own_length
        )

    def offset(self, length: int) -> int:
        """Return `byte` as an offset from 0 to *length*."""
        place = int(self.byte * length) if 0 < abs(self.byte) < 1 else int(self.byte)
        return max(0, min(length, place + length if place < 0 else place))

    def to_json(self) -> dict[str, object]:
        """Return the attributes that differ from their defaults."""
        return {
            name: value.decode("latin-1") if isinstance(value := getattr(self, name), bytes) else value
            for name in attrs.fields_dict(type(self))
            if name in self.differing
        }

    @classmethod
    def from_json(cls, text: str) -> Fault:
        """
        Return the fault that the `X-Emulator-Fault` header asks for: what `to_json` gives, `raw` as latin-1 text.

        Raises:
            ValueError: It is not a JSON object, or not a valid fault.
        """
        try:
            wanted = {**json.loads(text), "times": 1}
            if isinstance(raw := wanted.get("raw"), str):
                wanted["raw"] = raw.encode("latin-1")
            return cls(**wanted)
        except TypeError as error:
            raise ValueError(str(error)) from error

    @classmethod
    def parse(cls, text: str) -> Fault:
        """
        Return the fault that a command line names: `429`, `429:0.1`, `reset-after-billing:0.05`.

        With a probability it strikes without limit, otherwise once.

        Raises:
            ValueError: It is neither a status nor one of `MNEMONICS`, or the probability is not valid.
        """
        name, colon, share = text.strip().partition(":")
        often: dict[str, Any] = {"probability": float(share), "times": None} if colon else {}
        if name.isascii() and name.isdigit():
            return cls(status=int(name), **often)
        if name not in MNEMONICS:
            raise ValueError(f"{name!r} is neither a status nor one of {', '.join(sorted(MNEMONICS))}")
        return attrs.evolve(MNEMONICS[name], **often)


IN_STREAM = frozenset({"after", "error", "partials", "pace", "drip", "pings", "done", "fabricated", "plain"})
"""Attributes that need a stream."""


def check_stream(fault: Fault) -> None:
    replaced = any(value is not None for value in (fault.status, fault.body, fault.raw))
    early = fault.place in {"before-body", "upload"} or (fault.cut is not None and fault.place != "answer")
    problems = {
        f"{fault.operation} do not stream": fault.operation not in {None, *STREAMED},
        "a status, a body or raw bytes take the place of a stream, so nothing can happen in it": replaced,
        "a cut in a stream is one in the answer": early,
        "a stream is cut after so many events or at a byte, not both": fault.after is not None and fault.byte,
        "a stream goes on with an error or is cut, not both": fault.error is not None and fault.cut is not None,
        "a plain answer has no events": fault.plain and fault.differing & IN_STREAM != {"plain"},
        "a gateway that makes events up has no early states": fault.fabricated and fault.partials is not None,
    }
    for problem, found in problems.items():
        if found:
            raise ValueError(problem)


def default_of(field: attrs.Attribute[Any]) -> object:
    return {} if isinstance(field.default, attrs.Factory) else field.default  # type: ignore[arg-type]


FATES: tuple[TaskFault, ...] = ("forgotten", "failed", "refunded", "endless")
SERVER_ERROR = {"message": "Something went wrong here.", "type": "server_error", "param": None, "code": None}

MNEMONICS: Mapping[str, Fault] = {
    **{f"{cut}-before-body": Fault(cut=cut, place="before-body") for cut in ("close", "reset", "stall")},
    **{f"{cut}-at-half": Fault(cut=cut, place="upload", byte=0.5) for cut in ("close", "reset", "stall")},
    **{f"{cut}-before-billing": Fault(cut=cut) for cut in ("close", "reset", "stall")},
    **{f"{cut}-after-billing": Fault(cut=cut, billed=True) for cut in ("close", "reset", "stall")},
    **{f"{cut}-in-answer": Fault(cut=cut, place="answer", byte=0.5) for cut in ("close", "reset", "stall")},
    "truncated-without-length": Fault(cut="close", place="answer", byte=0.5, framing="eof"),
    "not-json": Fault(status=200, body="<html>", headers={"content-type": "text/html"}, billed=True),
    "garbage": Fault(raw=b"\x16\x03\x01\x02\x00", billed=True),
    **{f"{cut}-after-one-event": Fault(cut=cut, place="answer", after=1) for cut in ("close", "reset", "stall")},
    "not-streamed": Fault(plain=True),
    "fabricated-stream": Fault(fabricated="b64_json", pings=1, done=True),
    "unfinished-stream": Fault(after=0),
    "error-in-stream": Fault(error={"type": "error", "error": SERVER_ERROR}),
    "expired": Fault(expired=True),
    "late": Fault(delay=1.0),
    **{f"task-{fate}": Fault(task=fate) for fate in FATES},
    "task-lost": Fault(cut="close", billed=True),
}
"""The faults that a command line can name."""


class FaultPlan:
    """Decides which fault strikes which request: in the order given, one for each."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self.faults = tuple(faults)
        self.left = [fault.times for fault in self.faults]
        # A fixed seed: the same requests in the same order meet the same faults.
        self.random = random.Random(20250426)  # noqa: S311

    @property
    def unfired(self) -> tuple[Fault, ...]:
        """The faults that still wait for a request, except those without limit."""
        return tuple(fault for fault, left in zip(self.faults, self.left, strict=True) if left)

    def next(self, operation: str) -> Fault | None:
        """Return the fault that strikes the request that has just arrived."""
        for index, fault in enumerate(self.faults):
            wanted = operation in BILLABLE if fault.operation is None else operation == fault.operation
            left = self.left[index]
            if not wanted or left == 0 or (fault.probability < 1 and self.random.random() >= fault.probability):
                continue
            if left is not None:
                self.left[index] = left - 1
            return fault
        return None

    def put_back(self, fault: Fault) -> None:
        """Make a fault available again, as its request was refused before it could strike."""
        for index, other in enumerate(self.faults):
            left = self.left[index]
            if other is fault and left is not None:
                self.left[index] = left + 1
