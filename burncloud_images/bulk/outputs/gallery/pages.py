"""Writes the gallery: the page, and the job's cards as scripts of 500, which a page may load from disk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import attrs

from burncloud_images.bulk.folders import opened
from burncloud_images.bulk.outputs.gallery.cards import to_cards
from burncloud_images.bulk.outputs.jsontext import plain, to_script
from burncloud_images.bulk.outputs.metadata import dollars
from burncloud_images.bulk.outputs.report import Summary
from burncloud_images.bulk.outputs.wholefile import WholeFile, write_whole
from burncloud_images.bulk.records import Record, State

CARDS = 500
"""Cards of a script, and of a page."""

HTML = "gallery.html"
SCRIPT = re.compile(r"(\d{4,})\.js|\.\d{4,}\.js\.part")


@attrs.define
class Gallery:
    """
    Writes the gallery of a job; everything blocks.

    Attributes:
        folder: The job's directory.
    """

    folder: Path
    waiting: list[dict[str, object]] = attrs.field(factory=list)
    sealed: list[WholeFile] = attrs.field(factory=list)
    written: int = 0

    @property
    def path(self) -> Path:
        """The page."""
        return self.folder / HTML

    @property
    def scripts(self) -> Path:
        """The folder of all that the page loads."""
        return self.folder / "gallery"

    def take(self, records: Sequence[Record]) -> None:
        """Write full scripts."""
        self.waiting += to_cards(records)
        while len(self.waiting) >= CARDS:
            self.write(self.waiting[:CARDS])
            del self.waiting[:CARDS]

    def write(self, cards: Sequence[dict[str, object]]) -> None:
        self.make()
        number = len(self.sealed) + 1
        file = WholeFile.open(self.scripts / f"{number:04}.js")
        try:
            lines = ",\n".join(to_script(card) for card in cards)
            file.handle.write(f"addCards({number}, [\n{lines}\n]);\n".encode())
            file.seal()
        except BaseException:
            file.discard()
            raise
        self.sealed.append(file)
        self.written += len(cards)

    def finish(self) -> None:
        """Show all scripts at once, so that an earlier gallery stays whole until then."""
        if self.waiting:
            self.write(self.waiting)
            self.waiting = []
        self.make()
        for file in self.sealed:
            file.show()
        with opened(self.scripts) as folder:
            for name in self.surplus(os.listdir(folder)):  # noqa: PTH208 (a descriptor)
                os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def make(self) -> None:
        with opened(self.folder, self.scripts.name, make=True):
            return

    def surplus(self, names: Sequence[str]) -> Iterator[str]:
        """Yield the scripts of an earlier, larger gallery, and what a killed run left."""
        for name in names:
            found = SCRIPT.fullmatch(name)
            if found and not (found[1] and 1 <= int(found[1]) <= len(self.sealed)):
                yield name

    def discard(self) -> None:
        """Leave no trace."""
        for file in self.sealed:
            file.discard()

    def conclude(self, summary: Summary) -> None:
        """Write the page itself, and what it says about the whole job."""
        page = files("burncloud_images.bulk.outputs.gallery") / "page"
        described = to_script(describe(self.folder, summary, cards=self.written, scripts=len(self.sealed)))
        write_whole(self.scripts / "summary.js", f"describeJob({described});\n".encode())
        for part in page.iterdir():
            if part.name != HTML:
                write_whole(self.scripts / part.name, part.read_bytes())
        write_whole(self.path, (page / HTML).read_bytes())


def describe(folder: Path, summary: Summary, *, cards: int, scripts: int) -> dict[str, object]:
    """Return what the head of the page says."""
    totals = summary.totals
    return {
        "name": folder.resolve().name,
        "cards": cards,
        "scripts": scripts,
        "requests": totals.requests,
        "counts": {str(state): totals.counts.get(state, 0) for state in State},
        "problems": totals.problems,
        "images": totals.images,
        "bytes": totals.bytes,
        "cost": dollars(totals.cost),
        "reserved": dollars(totals.reserved),
        "seconds": summary.seconds,
        "ended": plain(summary.facts.get("ended")),
        "stopped": plain(summary.facts.get("stopped")),
    }
