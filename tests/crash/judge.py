"""What became of a job that was killed, by the ledger, by its store and by the bytes on disk."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from crash.worker import CONCURRENCY, PRICE
from PIL import Image

FINAL = re.compile(r"[0-9a-f]{32}(-\d+)?\.\w+")
UNFINISHED = frozenset({"pending", "leased", "sent", "accepted", "received"})


@attrs.frozen(kw_only=True)
class Verdict:
    """
    What one job came to.

    Attributes:
        kills: Of its runs.
        billed: Requests that were billed.
        distinct: Different ones among them.
        outputs: Whole images under final names that the store knows.
        double: Requests that were billed again.
        in_doubt: Requests that the store lists as in doubt.
        most_in_doubt: Of one kill.
        lost: Billed requests that the store neither has, nor lists as in doubt or paid for nothing.
        torn: Files under final names that are not whole, or not what the store has.
        leftovers: Files that ought to be gone.
        unfinished: Requests that did not come to their end.
        underspent: Whether less is set down as spent or in doubt than was billed.
        fetched: Bytes of result files, whole and again.
        notes: What is wrong, in words.
    """

    kills: int = 0
    billed: int = 0
    distinct: int = 0
    outputs: int = 0
    double: int = 0
    in_doubt: int = 0
    most_in_doubt: int = 0
    lost: int = 0
    torn: int = 0
    leftovers: int = 0
    unfinished: int = 0
    underspent: int = 0
    fetched: int = 0
    notes: Sequence[str] = ()

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        wrong = (self.double, self.lost, self.torn, self.leftovers, self.unfinished, self.underspent)
        return not any(wrong) and self.most_in_doubt <= CONCURRENCY


def add_up(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the sums of many jobs."""
    names = [field.name for field in attrs.fields(Verdict) if field.name not in {"notes", "most_in_doubt"}]
    sums = {name: sum(getattr(one, name) for one in verdicts) for name in names}
    return Verdict(
        **sums,
        most_in_doubt=max((one.most_in_doubt for one in verdicts), default=0),
        notes=[note for one in verdicts for note in one.notes],
    )


@attrs.define(kw_only=True)
class Case:
    """
    A job at its end.

    Attributes:
        directory: Of the job.
        store: What its store knows.
        requests: What arrived at the server.
        downloads: Bytes of each download.
        reference: The bytes of every output of a run that nothing disturbed, by the request's number and the index.
        doubts: How many requests became in doubt with each kill.
        kills: How often it was killed.
    """

    directory: Path
    store: Mapping[str, Any]
    requests: Sequence[Mapping[str, Any]]
    downloads: Sequence[int] = ()
    reference: Mapping[tuple[int, int], str] = attrs.field(factory=dict)
    doubts: Sequence[int] = ()
    kills: int = 0
    notes: list[str] = attrs.field(factory=list)

    @property
    def records(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.store["records"]
        return found

    def judge(self) -> Verdict:
        """Return what it came to."""
        bills: dict[str, int] = {}
        for entry in self.requests:
            if entry["billed"]:
                bills[entry["key"]] = bills.get(entry["key"], 0) + 1
        known = {record["key"]: record for record in self.records}
        states = [record["state"] for record in self.records]
        lost = [key for key in bills if not self.accounts_for(known.get(key))]
        torn = list(self.torn())
        leftovers = [path for path in self.directory.rglob("*") if self.is_left_over(path)]
        self.notes += [f"{key} is billed and {self.say(known.get(key))}" for key in lost]
        self.notes += [f"{key} is billed {times} times" for key, times in bills.items() if times > 1]
        self.notes += [f"{path} is left" for path in leftovers]
        outputs = sum(len(record["images"]) for record in self.records if record["state"] == "done") - len(torn)
        return Verdict(
            kills=self.kills,
            billed=sum(bills.values()),
            distinct=len(bills),
            outputs=outputs,
            double=sum(times - 1 for times in bills.values()),
            in_doubt=states.count("in_doubt"),
            most_in_doubt=max(self.doubts, default=0),
            lost=len(lost),
            torn=len(torn),
            leftovers=len(leftovers),
            unfinished=sum(state in UNFINISHED for state in states),
            underspent=self.underspent(),
            fetched=sum(self.downloads),
            notes=self.notes,
        )

    def is_left_over(self, path: Path) -> bool:
        """Whether a file ought to be gone; what is put aside in `rescue` is there to stay."""
        aside = path.is_relative_to(self.directory / "rescue")
        return not aside and (".part" in path.name or path.name == ".ballast")

    def accounts_for(self, record: Mapping[str, Any] | None) -> bool:
        """Whether a billed request is where it belongs."""
        if record is None:
            return False
        if record["state"] == "done":
            return len(record["images"]) >= record["wanted"]
        if (
            record["state"] == "failed"
        ):  # honest only if it says what it may have cost, and nothing that was there is gone
            return record["failure"] != "MissingImageError" and bool(record["reserved"] or record["cost"])
        return record["state"] in {"in_doubt", "accepted", "received"}

    def say(self, record: Mapping[str, Any] | None) -> str:
        return (
            "unknown" if record is None else f"{record['state']} ({record['failure']}, {len(record['images'])} images)"
        )

    def torn(self) -> Iterator[str]:
        """Yield what is wrong with every file that is not as it has to be."""
        listed = {image[1]: (record, image) for record in self.records for image in record["images"]}
        for path in sorted((self.directory / "images").rglob("*")):
            if not path.is_file() or not FINAL.fullmatch(path.name):
                continue
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            record, image = listed.pop(path.relative_to(self.directory).as_posix(), (None, None))
            if not is_whole(data):
                yield self.note(f"{path} is no whole image")
            elif record is None or image is None:
                yield self.note(f"{path} is not in the store")
            elif (len(data), digest) != (image[2], image[3]):
                yield self.note(f"{path} is not what the store has")
            elif digest != self.reference.get((record["number"], image[0]), digest):
                yield self.note(f"{path} is not what an undisturbed run brings")
        for path in listed:
            yield self.note(f"{path} is in the store and not there")

    def note(self, text: str) -> str:
        self.notes.append(text)
        return text

    def underspent(self) -> int:
        """Return 1 if the store's sums are less than what the ledger says was spent."""
        spent = sum(entry["images"] for entry in self.requests if entry["billed"]) * PRICE
        totals = self.store["totals"]
        if totals["cost"] + totals["reserved"] >= spent:
            return 0
        self.notes.append(f"{spent} was spent; the store has {totals['cost']} and {totals['reserved']} in doubt")
        return 1


def is_whole(data: bytes) -> bool:
    """Whether an image can be read to its end."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return not data.startswith(b"\x89PNG") or data[-8:-4] == b"IEND"


def outputs_of(store: Mapping[str, Any]) -> dict[tuple[int, int], str]:
    """Return the digest of every image that a store has, by the request's number and the index."""
    return {(record["number"], image[0]): image[3] for record in store["records"] for image in record["images"]}
