"""`models`: the models that the API lists, one per line."""

from __future__ import annotations

import attrs

from burncloud_images.cli.connection import open_client
from burncloud_images.cli.inputs import StandardInput
from burncloud_images.cli.options import ConnectionOptions, JsonOptions
from burncloud_images.cli.outputs import print_json, print_lines
from burncloud_images.cli.reporting import Reporter
from burncloud_images.cli.retired_models import find_endings


async def print_models(connection: ConnectionOptions, output: JsonOptions, reporter: Reporter) -> int:
    """
    Print the models that the key may use, and return 0.

    Raises:
        UsageError: An option cannot be used.
        ImagesError: The request failed.
    """
    async with open_client(connection, reporter, StandardInput()) as client:
        models = await client.models()
    if output.json:
        print_json({"models": [attrs.asdict(model) for model in models]})
    else:
        print_lines(model.id for model in models)
    for ending in find_endings(models):
        reporter.note(ending)
    return 0
