"""The state of a job's requests, in one SQLite file."""

from burncloud_images.bulk.database.store import JobStore

__all__ = ["JobStore"]
