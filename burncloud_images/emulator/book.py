"""Where the server writes down what arrives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from burncloud_images.emulator.ledger import Download, Entry, Ledger

CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie"})


class Book:
    """Where the server writes; readers get a `Ledger`."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.downloads: list[Download] = []

    def open(self, operation: str, headers: Mapping[str, str], request_id: str) -> int:
        """Enter a request whose head has arrived, and return its number."""
        number = len(self.entries) + 1
        kept = {name.lower(): value for name, value in headers.items() if name.lower() not in CREDENTIALS}
        key = headers.get("Idempotency-Key")
        self.entries.append(
            Entry(number=number, operation=operation, idempotency_key=key, request_id=request_id, headers=kept)
        )
        return number

    def note(self, number: int, **changes: Any) -> None:  # noqa: ANN401 (attributes of Entry)
        """Write down what else is known of a request."""
        self.entries[number - 1] = attrs.evolve(self.entries[number - 1], **changes)

    def open_download(self, download: Download) -> int:
        """Enter a request for a result, and return its place."""
        self.downloads.append(download)
        return len(self.downloads) - 1

    def note_download(self, index: int, status: int, sent: int) -> None:
        """Write down what a request for a result is answered."""
        self.downloads[index] = attrs.evolve(self.downloads[index], status=status, sent=sent)

    def to_ledger(self) -> Ledger:
        """Return all that is known now."""
        return Ledger(requests=tuple(self.entries), downloads=tuple(self.downloads))
