"""
Many requests as one job: a directory that can be killed at any instant and gone on with.

An image that was paid for is found in the directory, none is bought twice, and no more is spent than was allowed.
"""

from burncloud_images.bulk.job import Job
from burncloud_images.bulk.options import Options
from burncloud_images.bulk.prices.table import PriceTable
from burncloud_images.bulk.records import (
    Added,
    BadRow,
    Event,
    Failure,
    Link,
    Outstanding,
    Progress,
    Record,
    Report,
    State,
    StoredImage,
    Totals,
)
from burncloud_images.bulk.recovery import Recovered
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
