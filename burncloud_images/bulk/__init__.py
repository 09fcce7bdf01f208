"""
Many requests as one job: a directory that can be killed at any instant and gone on with.

An image that was paid for is found in the directory, none is bought twice, and no more is spent than was allowed.
"""

from burncloud_images.bulk.job import Job
from burncloud_images.bulk.options import Options
from burncloud_images.bulk.prices import PriceTable
from burncloud_images.bulk.progress import Event, Outstanding, Progress, Report
from burncloud_images.bulk.records import Added, Failure, Link, Record, State, StoredImage, Totals
from burncloud_images.bulk.recovery import Recovered
from burncloud_images.bulk.rows import BadRow
from burncloud_images.bulk.verification import Discrepancy

__all__ = [
    "Added",
    "BadRow",
    "Discrepancy",
    "Event",
    "Failure",
    "Job",
    "Link",
    "Options",
    "Outstanding",
    "PriceTable",
    "Progress",
    "Record",
    "Recovered",
    "Report",
    "State",
    "StoredImage",
    "Totals",
]
