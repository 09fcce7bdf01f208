"""
Many requests as one job, in a directory: stop or kill it at any time and resume later.

Every paid image is in the directory, none is bought twice, and a budget is never exceeded.
"""

from burncloud_images.bulk.inputs import InputOptions
from burncloud_images.bulk.job import Job
from burncloud_images.bulk.options import JobOptions
from burncloud_images.bulk.records import (
    AddedRows,
    BadRow,
    JobEvent,
    JobProgress,
    JobTotals,
    RequestFailure,
    RequestRecord,
    RequestState,
    RunReport,
    StoredImage,
    UnfetchedLink,
    UnfetchedSummary,
)
from burncloud_images.bulk.recovery import RecoveredRequests
from burncloud_images.bulk.verification import Discrepancy
from burncloud_images.prices.table import PriceTable

__all__ = [
    "AddedRows",
    "BadRow",
    "Discrepancy",
    "InputOptions",
    "Job",
    "JobEvent",
    "JobOptions",
    "JobProgress",
    "JobTotals",
    "PriceTable",
    "RecoveredRequests",
    "RequestFailure",
    "RequestRecord",
    "RequestState",
    "RunReport",
    "StoredImage",
    "UnfetchedLink",
    "UnfetchedSummary",
]
