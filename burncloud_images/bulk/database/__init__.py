"""What a job remembers, in one SQLite file: see `JobStore`."""

from burncloud_images.bulk.database.store import JobStore, View

__all__ = ["JobStore", "View"]
