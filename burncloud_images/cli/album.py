"""The images that `show` found: where they go, what is printed of them, and what is said of those that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime

import attrs

from burncloud_images.cli.arguments import Output
from burncloud_images.cli.exits import FAILED, UsageError
from burncloud_images.cli.listing import image_to_json, print_bytes, print_json, print_paths
from burncloud_images.cli.outputs import Target
from burncloud_images.cli.reporting import Reporter
from burncloud_images.cli.rescue import save_addresses
from burncloud_images.files.sinks import ImageContext, Memory, Sink
from burncloud_images.results import Image, SavedImage

Kept = Image | SavedImage


@attrs.define(kw_only=True)
class Album:
    """
    Takes responses, and says what is in them.

    Attributes:
        output: What was asked for.
        target: Takes the images; None for stdout.
        reporter: For all that is no result.
        executor: Reads and writes files.
        images: All that were taken, with the name of their response.
    """

    output: Output
    target: Target | None
    reporter: Reporter
    executor: Executor
    images: list[tuple[Kept, str]] = attrs.field(factory=list)

    @property
    def sink(self) -> Sink[Kept]:
        """What takes the images."""
        return self.target if self.target is not None else Memory()

    def placement(self, name: str) -> ImageContext:
        return ImageContext(id=name, index=0, prompt="", model="", date=datetime.now(UTC), executor=self.executor)

    def add_images(self, images: Sequence[Kept], where: str) -> None:
        """Print images that are there, unless they are printed all together."""
        self.images += [(image, where) for image in images]
        paths = [image.path for image in images if isinstance(image, SavedImage)]
        for path in paths:
            self.reporter.emit("saved", path=str(path))
        for image in images:
            if self.target is not None and isinstance(image, SavedImage) and (remark := self.target.remark(image)):
                self.reporter.note(remark)
        if not self.output.json:
            print_paths(paths)

    def add_addresses(self, urls: Sequence[str], name: str) -> None:
        """Say where images are that are not in the response."""
        save_addresses(urls, name, self.target.directory.path if self.target else None, self.reporter)

    def complain(self, where: str, what: str) -> int:
        """Say what is wrong with a response, and return the exit code for it."""
        self.reporter.say("error", f"{where}: {what}", error="ProtocolError")
        return FAILED

    def finish(self) -> None:
        """
        Print what is printed in the end.

        Raises:
            UsageError: Stdout cannot carry several images.
        """
        saved = [(image, where) for image, where in self.images if isinstance(image, SavedImage)]
        in_memory = [image for image, _ in self.images if isinstance(image, Image)]
        if self.output.json:
            print_json({"images": [{**image_to_json(image), "response": where} for image, where in saved]})
        if len(in_memory) > 1:
            raise UsageError(f"-o - takes one image, not {len(in_memory)}; use --into for several.")
        for image in in_memory:
            print_bytes(image.data)
