"""
`gallery.html`: a page that shows the images of a job. It opens from disk and sends no network requests.

The page itself is in `page/`. The job's data are scripts of 500 cards in the folder `gallery/` beside it, since a page
may load scripts from disk, but no JSON. A card shows an image, or says why there is none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import attrs

from burncloud_images import errors
from burncloud_images.bulk.folder_descriptors import opened
from burncloud_images.bulk.outputs.metadata import dollars, share, text, to_row
from burncloud_images.bulk.outputs.output_files import AtomicFile, dump, plain, to_script, write_whole
from burncloud_images.bulk.outputs.report import ReportContents, sums_to_json
from burncloud_images.bulk.records import JobTotals, RequestFailure, RequestRecord, RequestState
from burncloud_images.disk import sync_folder

Card = dict[str, object]

UNSTARTED = frozenset({RequestState.PENDING, RequestState.LEASED})

RETRY_FAILED = "Run the job with --retry-failed to send it again."
ADVICE: Mapping[RequestState, str] = {
    RequestState.SENT: "It is in progress, or its run was killed; the next run finds out.",
    RequestState.ACCEPTED: "The API works on it. Run the job again to fetch its images, which costs nothing.",
    RequestState.RECEIVED: "It is paid for. Run the job again to fetch its images before their URLs expire.",
    RequestState.IN_DOUBT: (
        "It may have been billed. Ask the provider by the request id or the key. "
        "Running the job with --on-unknown retry sends it again, and you may pay twice."
    ),
}


def to_cards(records: Sequence[RequestRecord]) -> Iterator[Card]:
    """Yield the cards of *records*; requests that were not sent yet have none."""
    for record in records:
        if record.state not in UNSTARTED or record.images:
            yield from cards(record)


def cards(record: RequestRecord) -> Iterator[Card]:
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
    if record.state is not RequestState.DONE:
        yield compact({**request, **describe_failure(record), "reserved": dollars(record.reserved)})


def describe_request(record: RequestRecord) -> Card:
    """Return the fields that all cards of a request have."""
    asked = record.document
    return {
        "number": record.number,
        "key": record.key,
        "state": str(record.state),
        "id": record.label,
        "ids": list(record.notes.other_ids),
        "columns": [[name, to_shown(value)] for name, value in record.notes.columns.items()],
        **{name: text(asked.get(name)) for name in ("prompt", "model", "operation", "size", "quality")},
        "inputs": list(name_inputs(asked)),
        "request": record.request_id,
        "ended": record.ended_at or record.sent_at,
        "source": record.source,
        "line": record.line,
        "attempts": record.attempts if record.attempts > 1 else None,
        "refused": [str(image) for image in record.refused],
    }


def to_shown(value: object) -> str:
    return value if isinstance(value, str) else dump(value)


def describe_failure(record: RequestRecord) -> Card:
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


def advise(failure: RequestFailure | None) -> str:
    """Return advice for a failed request."""
    kind = getattr(errors, failure.error, None) if failure is not None else None
    own: str = getattr(kind, "usual_advice", "")
    said = failure is not None and own in failure.message
    return f"{own} {RETRY_FAILED}" if own and not said else RETRY_FAILED


def name_inputs(asked: Mapping[str, object]) -> Iterator[str]:
    """Yield the names of the images that were sent; of a URL only host and path, which contain no secrets."""
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
    return {name: value for name, value in card.items() if value not in (None, "", [], {})}


CARDS = 500
"""Cards per script, and per page."""

HTML = "gallery.html"
SCRIPT = re.compile(r"(\d{4,})\.js|\.\d{4,}\.js\.part")


@attrs.define
class GalleryWriter:
    """Writes the gallery of a job; everything blocks."""

    folder: Path
    waiting: list[dict[str, object]] = attrs.field(factory=list)
    scripts_written: list[AtomicFile] = attrs.field(factory=list)
    written: int = 0

    @property
    def path(self) -> Path:
        """The HTML file."""
        return self.folder / HTML

    @property
    def scripts(self) -> Path:
        """The folder of the files that the page loads."""
        return self.folder / "gallery"

    def add(self, records: Sequence[RequestRecord]) -> None:
        """Write full scripts."""
        self.waiting += to_cards(records)
        while len(self.waiting) >= CARDS:
            self.write(self.waiting[:CARDS])
            del self.waiting[:CARDS]

    def write(self, cards: Sequence[dict[str, object]]) -> None:
        self.make()
        number = len(self.scripts_written) + 1
        file = AtomicFile.open(self.scripts / f"{number:04}.js")
        try:
            lines = ",\n".join(to_script(card) for card in cards)
            file.handle.write(f"addCards({number}, [\n{lines}\n]);\n".encode())
            file.sync()
        except BaseException:
            file.discard()
            raise
        self.scripts_written.append(file)
        self.written += len(cards)

    def commit(self) -> None:
        """Publish all scripts at once, so that an earlier gallery stays whole until then."""
        if self.waiting:
            self.write(self.waiting)
            self.waiting = []
        self.make()
        for file in self.scripts_written:
            file.publish()
        with opened(self.scripts) as folder:
            for name in self.surplus(os.listdir(folder)):  # noqa: PTH208 (a descriptor)
                os.unlink(name, dir_fd=folder)
            sync_folder(folder)

    def make(self) -> None:
        with opened(self.folder, self.scripts.name, make=True):
            return

    def surplus(self, names: Sequence[str]) -> Iterator[str]:
        """Yield the scripts of an earlier, larger gallery, and unfinished ones of a killed run."""
        for name in names:
            found = SCRIPT.fullmatch(name)
            if found and not (found[1] and 1 <= int(found[1]) <= len(self.scripts_written)):
                yield name

    def discard(self) -> None:
        """Remove the unpublished scripts."""
        for file in self.scripts_written:
            file.discard()

    def write_page(self, summary: ReportContents, totals: JobTotals) -> None:
        """Write the page itself and its summary of the whole job."""
        page = files("burncloud_images.bulk.outputs") / "page"
        described = to_script(describe(self, summary, totals))
        write_whole(self.scripts / "summary.js", f"describeJob({described});\n".encode())
        for part in page.iterdir():
            if part.name != HTML:
                write_whole(self.scripts / part.name, part.read_bytes())
        write_whole(self.path, (page / HTML).read_bytes())


def describe(gallery: GalleryWriter, summary: ReportContents, totals: JobTotals) -> dict[str, object]:
    """Return the data for the head of the page."""
    return {
        "name": gallery.folder.resolve().name,
        "cards": gallery.written,
        "scripts": len(gallery.scripts_written),
        "requests": totals.requests,
        "counts": {str(state): totals.counts.get(state, 0) for state in RequestState},
        **sums_to_json(totals),
        "seconds": summary.seconds,
        "ended": plain(summary.facts.get("ended")),
        "stopped": plain(summary.facts.get("stopped")),
    }
