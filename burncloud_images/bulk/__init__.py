"""
Many requests as one job: a directory that can be killed at any instant and gone on with.

An image that was paid for is found in the directory, none is bought twice, and no more is spent than was allowed.
"""

from burncloud_images.bulk.job import Job
from burncloud_images.bulk.options import Options
from burncloud_images.bulk.prices import PriceTable
from burncloud_images.bulk.progress import Event, Progress, Report
from burncloud_images.bulk.records import Added, Failure, Record, State, StoredImage, Totals
from burncloud_images.bulk.rows import BadRow

__all__ = [
    "Added",
    "BadRow",
    "Event",
    "Failure",
    "Job",
    "Options",
    "PriceTable",
    "Progress",
    "Record",
    "Report",
    "State",
    "StoredImage",
    "Totals",
]
