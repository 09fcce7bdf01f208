"""Pictures made from uploads: what was sent stays recognisable, so that one sees it arrive."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from burncloud_images.emulator.canvas import seeded

Size = tuple[int, int]
PAPER = (250, 248, 242, 255)


def fill(image: Image.Image, size: Size) -> Image.Image:
    """Return the middle of *image* at *size*."""
    return ImageOps.fit(image, size, Image.Resampling.BICUBIC)


def repaint(photo: Image.Image, mask: Image.Image, scene: Image.Image) -> Image.Image:
    """Return *photo* with *scene* where the *mask* is transparent."""
    alpha = fill(mask.getchannel("A"), scene.size)
    edge = max(1.0, min(scene.size) / 250)
    keep = alpha.filter(ImageFilter.GaussianBlur(edge))
    result = Image.composite(fill(photo.convert("RGB"), scene.size), scene, keep)
    # A thin light line shows where the one ends and the other begins.
    line = keep.point(lambda value: 150 if 90 < value < 165 else 0)
    result.paste((255, 255, 255), (0, 0), line)
    return result


def hang(photos: Sequence[Image.Image], scene: Image.Image, prompt: str) -> Image.Image:
    """Return *scene* with *photos* before it, like prints on a line."""
    numbers = seeded("hang", prompt)
    columns = next(count for count in (1, 2, 3, 4) if count * count >= len(photos))
    rows = -(-len(photos) // columns)
    width, height = scene.width / columns, scene.height * (0.86 if len(photos) > 1 else 0.88) / rows
    for index, photo in enumerate(photos):
        row, column = divmod(index, columns)
        in_row = min(columns, len(photos) - row * columns)
        centre = scene.width / 2 + (column - (in_row - 1) / 2) * width, (row + 0.5) * height + scene.height * 0.01
        angle = numbers.uniform(-4, 4)
        stick(scene, to_print(photo, (width * 0.78, height * 0.8)), centre, angle)
    return scene


def line_up(photos: Sequence[Image.Image], picture: Image.Image, prompt: str) -> Image.Image:
    """Return *picture* with small prints of *photos* along its upper edge."""
    numbers = seeded("line", prompt)
    room = min(min(picture.size) * 0.2, picture.width / (len(photos) + 1))
    for index, photo in enumerate(photos):
        paper = to_print(photo, (room * 0.9, room * 0.9))
        stick(picture, paper, (room * (index + 0.65), room * 0.6), numbers.uniform(-5, 5))
    return picture


def to_print(photo: Image.Image, room: tuple[float, float]) -> Image.Image:
    """Return *photo* on paper with a white edge."""
    edge = max(2, round(min(room) * 0.035))
    inner = max(8, round(room[0]) - 2 * edge), max(8, round(room[1]) - 2 * edge)
    photo = ImageOps.contain(photo.convert("RGBA"), inner, Image.Resampling.BICUBIC)
    paper = Image.new("RGBA", (photo.width + 2 * edge, photo.height + 2 * edge), PAPER)
    paper.alpha_composite(photo, (edge, edge))
    return paper


def stick(scene: Image.Image, paper: Image.Image, centre: tuple[float, float], angle: float) -> None:
    turned = paper.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    left, top = round(centre[0] - turned.width / 2), round(centre[1] - turned.height / 2)
    drop = max(2, turned.width // 60)
    shade = turned.getchannel("A").point(lambda value: value * 0.45).filter(ImageFilter.BoxBlur(drop))
    scene.paste((8, 8, 20), (left + drop, top + drop), shade)
    scene.paste(turned.convert("RGB"), (left, top), turned.getchannel("A"))


def recolour(photo: Image.Image, index: int, size: Size) -> Image.Image:
    """Return *photo* at *size* in other colours, with a small print of the original."""
    picture = fill(photo.convert("RGB"), size)
    hue, saturation, value = picture.convert("HSV").split()
    turn = (40 + 67 * index) % 256
    turned = hue.point(lambda shade: (shade + turn) % 256)
    lively = saturation.point(lambda shade: min(255, shade * 0.85 + 36))
    result = Image.merge("HSV", (turned, lively, value)).convert("RGB")
    if index % 2:
        result = ImageOps.mirror(result)
    result = ImageChops.screen(result, Image.new("RGB", size, (14, 10, 22)))
    room = min(size) * 0.26
    stick(result, to_print(photo, (room, room)), (size[0] * 0.17, size[1] * 0.83), 4)
    return result


def to_sticker(picture: Image.Image) -> Image.Image:
    """Return *picture* as a round sticker on a transparent ground."""
    width, height = picture.size
    edge = min(width, height)
    inset = edge * 0.04
    mask = Image.new("L", (width * 2, height * 2))
    box = [((width - edge) / 2 + inset) * 2, ((height - edge) / 2 + inset) * 2]
    draw = ImageDraw.Draw(mask)
    draw.ellipse((*box, mask.width - box[0], mask.height - box[1]), fill=255)
    mask = mask.reduce(2)
    ring = ImageDraw.Draw(picture)
    left, top = box[0] / 2, box[1] / 2
    ring.ellipse((left, top, width - left, height - top), outline=(255, 255, 255), width=max(1, round(edge * 0.02)))
    sticker = picture.convert("RGBA")
    sticker.putalpha(mask)
    return sticker
