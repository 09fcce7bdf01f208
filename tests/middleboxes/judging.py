"""What a case came to: the emulator's ledger against what the caller was told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import attrs
from middleboxes.operations import is_of

from burncloud_images.bulk import RequestRecord, RequestState
from burncloud_images.emulator.ledger import LedgerEntry
from burncloud_images.errors import Billing, Phase, find_billing
from burncloud_images.results import Attempt

__all__ = ["Row", "Witness", "judge_call", "judge_job", "what_is_told"]

IMAGES, YES, MAYBE, NO = "images", "billed", "maybe billed", "not billed"


@attrs.frozen(kw_only=True)
class Row:
    """
    What a case came to.

    Attributes:
        calls: Images that were asked for.
        sent: Requests that the client sent.
        arrived: Requests that reached the server.
        billed: Those for which images were made.
        told: What the caller was told, and how often.
        double: Images that the client bought again.
        untrue: Calls that were billed while the caller was told that they were not, or the other way round.
        lost: Images that were billed, and the caller has neither them nor a word of them.
    """

    calls: int = 1
    sent: int
    arrived: int
    billed: int
    told: Mapping[str, int]
    double: int = 0
    untrue: int = 0
    lost: int = 0

    @property
    def resent(self) -> int:
        """Requests that the box sent by itself."""
        return max(0, self.arrived - self.sent)

    @property
    def problems(self) -> list[str]:
        """What must never be."""
        found = {
            "bought again by the client": self.double,
            "billed and told that it was not, or the other way round": self.untrue,
            "billed, and neither delivered nor told": self.lost,
        }
        return [f"{count} {words}: {self}" for words, count in found.items() if count]


@attrs.define
class Witness:
    """
    Sees each attempt of a client as it ends, and how much the server had billed by then.

    Attributes:
        count_billed: Reads the ledger.
        attempts: As they ended.
        billed: The ledger after each of them.
    """

    count_billed: Callable[[], int]
    attempts: list[Attempt] = attrs.field(factory=list)
    billed: list[int] = attrs.field(factory=list)

    def __call__(self, attempt: Attempt) -> None:
        """Take note."""
        self.attempts.append(attempt)
        self.billed.append(self.count_billed())

    @property
    def sent(self) -> Counter[str | None]:
        """How many requests left for the network, by call."""
        return Counter(attempt.idempotency_key for attempt in self.attempts if attempt.phase >= Phase.HEADERS)

    def bought(self, total: int) -> int:
        """
        Return how many attempts were billed; what is billed after the last one ended is put down to it.

        A box may send one attempt several times, which is no business of the client's.
        """
        counts = [0, *self.billed[:-1], total] if self.billed else [0, total]
        return sum(after > before for before, after in pairwise(counts))


WORDS = {Billing.NO: NO, Billing.MAYBE: MAYBE, Billing.YES: YES}


def what_is_told(error: BaseException) -> str:
    """Return what an error says about money."""
    return WORDS[find_billing(error)]


def judge_call(
    witness: Witness, entries: Sequence[LedgerEntry], tag: str, outcome: int | BaseException, wanted: int = 1
) -> Row:
    """Judge one call by what arrived with its *tag*."""
    own = [entry for entry in entries if is_of(entry.fields, tag)]
    billed = sum(entry.billed for entry in own)
    told = IMAGES if isinstance(outcome, int) else what_is_told(outcome)
    return Row(
        sent=witness.sent.total(),
        arrived=len(own),
        billed=billed,
        told={told: 1},
        double=max(0, witness.bought(billed) - 1),
        untrue=int(is_untrue(told, billed)),
        lost=int(isinstance(outcome, int) and outcome < wanted),
    )


def is_untrue(told: str, billed: int) -> bool:
    """Whether the caller was told other than it is; that it may have been billed is always true."""
    return billed > 0 if told == NO else billed == 0 and told != MAYBE


STATES = {
    RequestState.DONE: IMAGES,
    RequestState.RECEIVED: YES,
    RequestState.IN_DOUBT: MAYBE,
    RequestState.FAILED: NO,
    RequestState.PENDING: NO,
}


def judge_job(witness: Witness, entries: Sequence[LedgerEntry], records: Sequence[RequestRecord]) -> Row:
    """
    Judge a job, row by row, by prompts, which no box changes.

    A row was bought again by the client if more was billed for it than the box can have sent by itself.
    """
    told: Counter[str] = Counter()
    double = untrue = lost = 0
    for record in records:
        own = [entry for entry in entries if prompt_of(entry) == record.document["prompt"]]
        billed = sum(entry.billed for entry in own)
        resent = max(0, len(own) - witness.sent[record.key])
        words = STATES[record.state]
        told[words] += 1
        double += max(0, billed - resent - 1)
        untrue += is_untrue(words, billed)
        lost += words == IMAGES and len(record.images) < record.wanted
    return Row(
        calls=len(records),
        sent=witness.sent.total(),
        arrived=len(entries),
        billed=sum(entry.billed for entry in entries),
        told=told,
        double=double,
        untrue=untrue,
        lost=lost,
    )


def prompt_of(entry: LedgerEntry) -> str:
    """Return the prompt as it was meant; JSON values are kept as their JSON."""
    return dict(entry.fields).get("prompt", "").strip('"')
