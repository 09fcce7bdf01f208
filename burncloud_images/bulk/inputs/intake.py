"""An entry becomes a row to send, or a bad row with its reason: none is lost on the way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from burncloud_images.bulk.documents import to_document, to_key
from burncloud_images.bulk.inputs.columns import COLUMNS
from burncloud_images.bulk.inputs.entries import Entry, Unusable, clip
from burncloud_images.bulk.inputs.images import ImageFiles, LookedAt
from burncloud_images.bulk.inputs.remarks import Remarks
from burncloud_images.bulk.inputs.requests import Defaults, RequestBuilder
from burncloud_images.bulk.rows import BadRow, Row
from burncloud_images.errors import InvalidRequestError
from burncloud_images.model.inputs import PathSource
from burncloud_images.model.operations import ImagesRequest
from burncloud_images.model.rule_kinds import MeasuredImage
from burncloud_images.model.rules import field_violations, upload_violations

OWN = frozenset({"id", "custom_id", "repeat"})
LONGEST_LABEL = 200
MOST_REPEATS = 1_000_000_000


@attrs.define(kw_only=True)
class Intake:
    """
    Makes rows of the entries of one input; blocks where files are named.

    Attributes:
        source: Name of the input.
        builder: Makes the requests.
        remarks: What is to be said about them.
    """

    source: str
    builder: RequestBuilder
    remarks: Remarks

    @classmethod
    def of(cls, source: str, defaults: Defaults, folder: Path, *, allow_http: bool) -> Intake:
        """Return an intake for *source*, whose rows may name images below *folder*."""
        builder = RequestBuilder(defaults=defaults, files=ImageFiles.below(folder), allow_http=allow_http)
        return cls(source=source, builder=builder, remarks=Remarks(source))

    def to_row(self, entry: Entry) -> Row | BadRow:
        """Return what *entry* comes to."""
        given = {name: value for name, value in entry.values.items() if value is not None}
        label = ""
        try:
            label = find_label(given)
            if entry.problem is not None:
                return self.refuse(entry, label, entry.problem)
            repeat = find_repeat(given)
            request, files = self.builder.build(self.known(given, entry.line))
            document = self.judge(request, files, entry.line)
        except Unusable as problem:
            return self.refuse(entry, label, entry.problem or str(problem))
        except InvalidRequestError as error:
            return self.refuse(entry, label, "; ".join(map(str, error.violations)))
        return Row(
            key=to_key(document, repeat),
            document=document,
            source=self.source,
            line=entry.line,
            label=label,
            repeat=repeat,
        )

    def known(self, given: Mapping[str, object], line: int) -> Mapping[str, object]:
        """Return the columns that make the request, and note those that are not sent."""
        if given.get("stream"):
            raise Unusable("stream: streams are asked for by another method")
        made = {}
        for name, value in given.items():
            if name not in COLUMNS:
                self.remarks.note_column(name, line)
            elif name not in OWN:
                made[name] = value
        return made

    def judge(self, request: ImagesRequest, files: Mapping[Path, LookedAt], line: int) -> dict[str, object]:
        """
        Return the document of a request, and note documented limits that it passes over.

        Raises:
            InvalidRequestError: A job cannot keep it.
        """
        document = to_document(request, {path: found.file for path, found in files.items()})
        violations = field_violations(request.operation, document)
        if files:
            # None refuses the row: whether a client minds is for its own `rules` to say.
            certain, advisory = upload_violations(request.operation, document, measure(request, files))
            violations += certain + advisory
        for violation in violations:
            self.remarks.note_violation(violation, request.model, line)
        return document

    def refuse(self, entry: Entry, label: str, reason: str) -> BadRow:
        return BadRow(source=self.source, line=entry.line, label=label, reason=clip(reason))


def measure(request: ImagesRequest, files: Mapping[Path, LookedAt]) -> list[MeasuredImage]:
    """Return the measures of the images of a request; none if some of them are elsewhere."""
    measured: list[MeasuredImage] = []
    for field, source in request.images():
        if not isinstance(source, PathSource):
            return []
        found = files[source.path]
        measured.append(MeasuredImage(field=field, size=found.file.size, media=found.media))
    return measured


def find_label(given: Mapping[str, object]) -> str:
    """Return the row's own name; empty if it has none."""
    if "id" in given and "custom_id" in given:
        raise Unusable("id: custom_id says it already")
    value = given.get("id", given.get("custom_id", ""))
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Unusable("id: it has to be text or a whole number")
    label = str(value).strip()
    if len(label) > LONGEST_LABEL or not label.isprintable():
        raise Unusable(f"id: it is longer than {LONGEST_LABEL} characters, or holds some that cannot be shown")
    return label


def find_repeat(given: Mapping[str, object]) -> int:
    """Return which of several equal requests it is."""
    value = given.get("repeat", 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_REPEATS:
        raise Unusable("repeat: it has to be a whole number from 0, which of several equal requests this is")
    return value
