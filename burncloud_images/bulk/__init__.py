"""
Many requests as one job, in a directory: stop or kill it at any time and resume later.

Every paid image is in the directory, none is bought twice, and a budget is never exceeded.
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
