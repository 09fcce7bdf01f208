"""What a job remembers, in one SQLite file: see `Database`."""

from burncloud_images.bulk.database.store import Database, View

__all__ = ["Database", "View"]
