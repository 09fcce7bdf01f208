"""`verify`: every image of a job is read again and compared with what came."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from burncloud_images.bulk.directory import JobDirectory
from burncloud_images.bulk.verification import Discrepancy, verify
from burncloud_images.cli.arguments import Listing
from burncloud_images.cli.figures import count
from burncloud_images.cli.listing import print_bytes, print_json
from burncloud_images.cli.places import name_of
from burncloud_images.cli.reporting import Reporter, plain
from burncloud_images.cli.status import view


async def verify_images(directory: str, listing: Listing, reporter: Reporter) -> int:
    """
    Print the images that are missing or damaged; return 0 if there are none, else 1.

    Raises:
        JobError: There is no job, or it cannot be read.
    """
    checked, found = 0, []
    with reporter.working("reading images"), ThreadPoolExecutor(1, "burncloud-verify") as executor:
        async with view(directory) as store:
            async for item in verify(store, JobDirectory(Path(directory)), executor):
                if isinstance(item, Discrepancy):
                    found.append(item)
                else:
                    checked = item
    if listing.json:
        print_json({"checked": checked, "problems": [to_json(item, directory) for item in found]})
    else:
        lines = [f"{Path(directory) / item.image.path}: {item.problem} ({name_of(item.record)})" for item in found]
        lines.append(f"{count(checked, 'image')} read, {len(found):,} not as they came")
        print_bytes("".join(f"{plain(line)}\n" for line in lines).encode(errors="backslashreplace"))
    return 1 if found else 0


def to_json(item: Discrepancy, directory: str) -> dict[str, object]:
    record = item.record
    return {
        "path": str(Path(directory) / item.image.path),
        "problem": item.problem,
        "sha256": item.image.sha256,
        "id": record.label,
        "key": record.key,
        "source": record.source,
        "line": record.line,
    }
