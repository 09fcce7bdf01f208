"""Early states of a finished picture: the same scene, coarser the earlier."""

from __future__ import annotations

import io

from PIL import Image

from burncloud_images.emulator.files import to_file


def to_sketch(image: bytes, output_format: str, compression: int | None, steps: int) -> bytes:
    """
    Return *image* as it looked before it was finished: as large, and in the same format.

    Args:
        image: The finished file.
        output_format: `png`, `jpeg` or `webp`.
        compression: As for the finished file.
        steps: How many states before the last; each has a quarter of the next one's width and height in detail.
    """
    with Image.open(io.BytesIO(image)) as picture:
        picture.load()
        small = max(1, picture.width // 4**steps), max(1, picture.height // 4**steps)
        coarse = picture.resize(small, Image.Resampling.BOX)
        return to_file(coarse.resize(picture.size, Image.Resampling.BICUBIC), output_format, compression)
