"""All cases, group by group."""

from __future__ import annotations

from faults import (
    answering,
    connecting,
    crashing,
    downloading,
    inputs,
    resources,
    statuses,
    streaming,
    tasks,
    uploading,
)
from faults.table import TABLE

__all__ = [
    "TABLE",
    "answering",
    "connecting",
    "crashing",
    "downloading",
    "inputs",
    "resources",
    "statuses",
    "streaming",
    "tasks",
    "uploading",
]
