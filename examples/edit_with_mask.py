"""
Repaint an oval in the middle of an image.

The mask is drawn with Pillow, as large as the image: opaque where it stays, transparent where it may change.

It reads BURNCLOUD_API_KEY, BURNCLOUD_API_BASE_URL and BURNCLOUD_MODEL. To spend nothing, run

    burncloud-images emulator --port 8000

in another terminal and set

    BURNCLOUD_API_BASE_URL=http://127.0.0.1:8000/v1 BURNCLOUD_API_KEY=sk-emulator

Usage: python examples/edit_with_mask.py PHOTO PROMPT RESULT.png
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import PIL.Image
import PIL.ImageDraw

from burncloud_images import AsyncImagesClient, errors


def draw_mask(photo: Path) -> PIL.Image.Image:
    """Return a mask for *photo* with an oval hole."""
    with PIL.Image.open(photo) as image:
        width, height = image.size
    mask = PIL.Image.new("RGBA", (width, height), "black")
    PIL.ImageDraw.Draw(mask).ellipse((width // 4, height // 4, width * 3 // 4, height * 3 // 4), fill=(0, 0, 0, 0))
    return mask


async def main(photo: Path, prompt: str, target: Path) -> None:
    """Edit *photo* and save the result."""
    mask = await asyncio.to_thread(draw_mask, photo)
    async with AsyncImagesClient() as client:
        result = await client.edit(photo, prompt, mask=mask, size="1024x1024")
    print(await result.image.save(target))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        asyncio.run(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
    except errors.ImagesError as error:
        sys.exit(str(error))
