"""`models`: what the API lists, one a line."""

from __future__ import annotations

import attrs

from burncloud_images.cli.connection import open_client
from burncloud_images.cli.inputs import Stdin
from burncloud_images.cli.options import Connection, JsonOutput
from burncloud_images.cli.outputs import print_bytes, print_json
from burncloud_images.cli.reporting import Reporter, to_one_line


async def print_models(connection: Connection, output: JsonOutput, reporter: Reporter) -> int:
    """
    Print the models that the key may use, and return 0.

    Raises:
        UsageError: An option cannot be used.
        ImagesError: They cannot be had.
    """
    async with open_client(connection, reporter, Stdin()) as client:
        models = await client.models()
    if output.json:
        print_json({"models": [attrs.asdict(model) for model in models]})
    else:
        print_bytes("".join(f"{to_one_line(model.id)}\n" for model in models).encode())
    return 0
