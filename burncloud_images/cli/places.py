"""Where rows stand, as people say it."""

from __future__ import annotations

from pathlib import Path

from burncloud_images.bulk.records import BadRow, Record, Row


def name_of(record: Record) -> str:
    """Return what a person calls a request: its id and where it stands."""
    place = place_of(record) if record.source else record.key[:12]
    return f"{record.label} ({place})" if record.label else place


def place_of(row: Record | Row | BadRow) -> str:
    """Return the list and the line; what lies in the current folder goes without it."""
    path = Path(row.source)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"{path}:{row.line}"
