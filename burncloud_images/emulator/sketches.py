"""Early states of a finished picture: the same scene, coarser the earlier."""

from __future__ import annotations

import io

from PIL import Image

from burncloud_images.emulator.files import to_file

__all__ = ["to_sketch"]


def to_sketch(image: bytes, output_format: str, compression: int | None, steps: int) -> bytes:
    """
    Return *image* as it looked before it was finished: as large, and in the same format.

    Args:
        image: The finished file.
        output_format: `png`, `jpeg` or `webp`.
        compression: As for the finished file.
        steps: How many states before the last; each has half the detail of the next.
    """
    with Image.open(io.BytesIO(image)) as picture:
        picture.load()
        coarse = picture.resize(
            (max(1, picture.width >> steps + 1), max(1, picture.height >> steps + 1)), Image.Resampling.BOX
        )
        return to_file(coarse.resize(picture.size, Image.Resampling.BICUBIC), output_format, compression)
