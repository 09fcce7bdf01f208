"""`fetch --task`: asks for the images of a task, which is free; it needs the key, as the API answers."""

from __future__ import annotations

from burncloud_images.cli.connection import open_client
from burncloud_images.cli.exit_codes import to_exit
from burncloud_images.cli.inputs import StandardInput
from burncloud_images.cli.interrupts import RequestInterrupts
from burncloud_images.cli.options import ConnectionOptions, OutputOptions
from burncloud_images.cli.outputs import (
    ImagesExist,
    OutputDirectory,
    check_stdout,
    print_bytes,
    print_json,
    print_paths,
    to_json,
    to_target,
)
from burncloud_images.cli.reporting import Reporter
from burncloud_images.cli.rescue import rescue, save_images
from burncloud_images.errors import ImagesError
from burncloud_images.files.sinks import Memory


async def fetch_task(task: str, connection: ConnectionOptions, output: OutputOptions, reporter: Reporter) -> int:
    """
    Ask for a task until its images come, print their paths, and return the exit code.

    Raises:
        UsageError: An option cannot be used.
    """
    check_stdout(output, 1)
    target = None if output.output == "-" else to_target(output)
    interrupts = RequestInterrupts(reporter=reporter)
    try:
        return await interrupts.run(ask(task, target, connection, output, reporter, interrupts))
    except ImagesExist as present:
        reporter.note("nothing was asked for: all images exist already")
        print_paths(present.paths)
        return 0
    except ImagesError as error:
        reporter.fail(error)
        print_paths(rescue(error, target.directory.path if target is not None else None, reporter))
        return to_exit(error)


async def ask(
    task: str,
    target: OutputDirectory | None,
    connection: ConnectionOptions,
    output: OutputOptions,
    reporter: Reporter,
    interrupts: RequestInterrupts,
) -> int:
    async with open_client(connection, reporter, StandardInput(), interrupts.attempted) as client:
        with reporter.working(f"asking for task {task}"):
            if target is None:
                first, *others = (await client.resume(task, into=Memory())).images
                print_bytes(first.data)
                save_images(others, "stdout", reporter)
                return 0
            result = await client.resume(task, into=target)
    for image in result.images:
        target.report(image, reporter)
    if output.json:
        print_json(to_json(result))
    else:
        print_paths([image.path for image in result.images])
    return 0
