"""`redo`: lets single images of a job be made again, by the next run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burncloud_images.bulk.job import Job
from burncloud_images.cli.options import JsonOptions, build_options
from burncloud_images.cli.outputs import print_json, print_lines
from burncloud_images.cli.reporting import Reporter


async def redo(values: Mapping[str, Any], reporter: Reporter) -> int:
    """
    Queue requests again, and return 0; nothing is bought.

    Raises:
        JobError: The job does not exist, or a run of it is active.
        InvalidRequestError: One of the names is not that of a request that ended.
    """
    directory, names = values["directory"], values["name"]
    async with Job.open(directory, create=False) as job:
        records = await job.redo(names)
    if build_options(JsonOptions, values).json:
        print_json({"requests": [record.identity for record in records]})
    else:
        print_lines([f"{record.label or record.key}: a new image will be bought" for record in records])
    reporter.say("next", f"type the command of the job again, or: burncloud-images batch --into {directory}")
    return 0
