"""
Where images stand in the document of an answer: by place, never by what a text looks like.

The API has one place, `data[i]`. Gateways have others: the list has another name, it stands within `result` or
`output`, its items are URLs, or there is one image and no list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal, TypeAlias

import attrs

LISTS = (
    *("data", "images", "image_result", "output_images", "image_urls", "urls", "results", "output", "result"),
    *(
        "image_base64",
        "b64_json",
        "base64",
        "artifacts",
        "predictions",
        "generated_images",
        "generatedImages",
        "image_list",
        "imageUrls",
    ),
)
"""Names of lists of images, in order of precedence."""
WRAPPERS = ("data", "result", "results", "output", "response", "task_result", "taskResult", "task")
"""Names of objects in which a list of images, or one image, may stand."""
BASE64 = (
    *("b64_json", "image_base64", "b64", "base64", "image_b64", "b64_image", "base64_image", "imageBase64", "b64Json"),
    *("partial_image_b64", "bytesBase64Encoded", "imageBytes"),
)
"""Names of the base64 of an image within its object."""
CERTAIN = ("b64_json", "partial_image_b64")
"""Those that documents name: what stands there is base64, or damaged."""
EITHER = ("image", "result")
"""Names of what may be base64 or an address, and is told apart by how it begins."""
SINGLE = ("image_url", "result_url", "output_url", "output", "result", "imageUrl", "resultUrl")
"""Names of one image that stands alone at the top, where `url` and `image` may be something else: an echoed input."""
EARLY = ("result_url", "output_url", "resultUrl", "image_url", "imageUrl")
"""Names of the address of one image of a task that is still at work."""
URLS = ("url", "image_url", "result_url", "output_url", "image", "imageUrl", "resultUrl", "download_url", "uri")
"""Names of the address of an image within its object, in order of precedence."""
ITSELF = (*URLS, *BASE64)
"""Names of an image, or of its address, within its object."""
HOLDERS = ("image_url", "image", "inlineData", "inline_data", "imageUrl")
"""Names of an object within an image object that has its base64 or its address."""
ANY = "*"
"""Any index of a list."""
NESTED = (
    ("choices", ANY, "message", "images", ANY),
    ("choices", ANY, "delta", "images", ANY),
    ("choices", ANY, "message", "content", ANY),
    ("candidates", ANY, "content", "parts", ANY),
    ("choices", ANY, "images", ANY),
)
"""Where images stand in answers of chats."""
ECHOES = frozenset({"image", "images", "image_url", "image_urls", "imageUrl", "imageUrls"})
"""Names that servers also write the images of a request under."""
OUTPUTS = frozenset(
    {
        *("output", "result", "results", "response", "task_result", "taskResult", "choices", "candidates"),
        *("artifacts", "predictions", "generated_images", "generatedImages", "output_images", "image_result"),
    }
)
"""Names of what only a result stands in."""
MOST_DEPTH = 4
DEEPEST = 12
"""Levels of a place; no image stands deeper."""
SCHEMES = ("http://", "https://", "data:", "//")

Path: TypeAlias = tuple[str | None, ...]
Form: TypeAlias = Literal["base64", "url", "either"]


@attrs.frozen
class ImagePlace:
    """
    A place where the base64 of an image may stand.

    Attributes:
        home: What all images of an answer stand in: the names of a list, or of the object of a single image.
        levels: Number of levels down to the image object, of which each has one image.
        form: What stands there: base64, an address that may be a `data:` URL, or either.
    """

    home: Path
    levels: int
    form: Form


def find_place(path: Path) -> ImagePlace | None:
    """Return the place of an image that is at *path*, the names and `ANY` down to a string; None if it is none."""
    if len(path) > DEEPEST:
        return None
    for start in range(len(path)):
        if start and path[start - 1] not in WRAPPERS:
            return None
        if place := find_below(path, start):
            return place
    return None


def find_below(path: Path, start: int) -> ImagePlace | None:
    """The same, below *start* wrappers."""
    rest = path[start:]
    if len(rest) == 1:
        form = find_form(rest) if start or rest[0] not in URLS else "url"
        is_known = start or rest[0] in BASE64 or rest[0] in SINGLE
        return ImagePlace(home=path[:start], levels=start, form=form) if form and is_known else None
    for pattern in NESTED:
        if rest[: len(pattern)] == pattern and (form := find_form(rest[len(pattern) :])):
            return ImagePlace(home=(*path[:start], pattern[0]), levels=start + len(pattern), form=form)
    if rest[0] in LISTS and rest[1] == ANY and (form := find_form(rest[2:])):
        return ImagePlace(home=path[: start + 1], levels=start + 2, form=form)
    return None


def find_form(tail: Path) -> Form | None:
    """Return what stands at *tail* within an image object; None if it is not its image, or one of a list of them."""
    while len(tail) > 1 and tail[0] in LISTS and tail[1] == ANY:
        tail = tail[2:]
    match tail:
        case (name,) if name in CERTAIN:
            return "base64"
        case () | ("image" | "result",):
            return "either"
        case (name,) if name in BASE64:
            return "either"
        case (name,) if name in URLS:
            return "url"
        case (holder, name) if holder in HOLDERS and (name in BASE64 or name in {"url", "data"}):
            return "url" if name == "url" else "either"
    return None


def rank_doubt(path: Path) -> int:
    """Return how likely an image at *path* is one of the request: 0 not at all, 1 in a list of images, 2 elsewhere."""
    name = next((name for name in path if name in OUTPUTS or name in ECHOES), None)
    return 0 if name is None or name in OUTPUTS else 1 if name == "images" else 2


def without_echoes(value: object, inputs: AbstractSet[str], *, doubtful: bool, depth: int = 0) -> object:
    """
    Return a document without the images of the request.

    Args:
        value: The document.
        inputs: Addresses that were sent.
        doubtful: Whether also without all that may be one, as it stands where servers repeat them.
        depth: How deep in the document *value* stands.
    """
    if isinstance(value, str):
        return None if value.strip() in inputs else value
    if depth > DEEPEST:
        return value
    if isinstance(value, list):
        return [without_echoes(item, inputs, doubtful=doubtful, depth=depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: without_echoes(item, inputs, doubtful=doubtful and name not in OUTPUTS, depth=depth + 1)
        for name, item in value.items()
        if not (doubtful and name in ECHOES)
    }


def find_items(document: Mapping[str, object], home: Path | None = None) -> Sequence[object]:
    """
    Return the image objects of an answer, whose addresses are in `url` wherever they stood.

    If no image is found, return `data` if it is a list: errors of single images may stand there.

    Args:
        document: Its JSON, with empty texts where base64 was.
        home: Where base64 was cut out, if it was.
    """
    if home is not None and (items := items_of(document, home)) is not None:
        return items
    containers = list(find_containers(document))
    found = find_list(containers) or find_chat(containers) or find_single(containers, document)
    data = document.get("data")
    return found or (data if isinstance(data, list) else ())


def find_list(containers: Sequence[Mapping[str, object]]) -> Sequence[object]:
    for container in containers:
        for name in LISTS:
            items = container.get(name)
            if isinstance(items, list) and any(has_image(item) for item in items):
                return [to_item(item) for item in items]
    return ()


def find_chat(containers: Sequence[Mapping[str, object]]) -> Sequence[object]:
    return [to_item(item) for container in containers for item in find_nested(container) if has_image(item)]


def find_single(containers: Sequence[Mapping[str, object]], document: Mapping[str, object]) -> Sequence[object]:
    for container in containers:
        if any(container.get(name) == "" for name in BASE64 if name != "b64_json"):
            return [to_item(alone(container))]
        for name in ("b64_json", *SINGLE) if container is document else ("b64_json", *URLS, *SINGLE):
            if name == "b64_json" and isinstance(container.get(name), str):
                return [to_item(alone(container))]
            if url := find_url(container.get(name)):
                return [{"url": url}]
    return ()


def find_early(document: Mapping[str, object]) -> Sequence[object]:
    """Return the image objects of a task at work, in which a plain `url` may be where it is asked for."""
    containers = list(find_containers(document))
    found = find_list(containers) or find_chat(containers)
    if found:
        return found
    for container in containers:
        for name in EARLY:
            if url := find_url(container.get(name)):
                return [{"url": url}]
    data = document.get("data")
    return data if isinstance(data, list) else ()


def items_of(document: object, home: Path) -> Sequence[object] | None:
    """Return the image objects at *home*; None if they are not there."""
    container = document
    for name in home[:-1]:
        container = container.get(name) if isinstance(container, dict) else None
    last = container.get(home[-1]) if isinstance(container, dict) and home else container
    if isinstance(container, dict) and home and home[-1] in {"choices", "candidates"}:
        found = [to_item(item) for item in find_nested(container) if has_image(item)]
        return sorted(found, key=lambda item: isinstance(item, dict) and "url" in item)
    if isinstance(last, list):
        return [to_item(item) for item in last]
    return [to_item(alone(last))] if isinstance(last, dict) else None


def alone(container: Mapping[str, object]) -> Mapping[str, object]:
    """Return what an object says about the one image that is in it, among other things."""
    return {name: value for name, value in container.items() if name in {*BASE64, *URLS, *EITHER, "revised_prompt"}}


def find_nested(container: Mapping[str, object]) -> Iterator[object]:
    """Yield what stands where answers of chats have images."""
    for pattern in NESTED:
        yield from follow(container, pattern)


def follow(value: object, pattern: Path) -> Iterator[object]:
    if not pattern:
        yield value
    elif pattern[0] == ANY:
        for item in value if isinstance(value, list) else ():
            yield from follow(item, pattern[1:])
    elif isinstance(value, dict):
        yield from follow(value.get(pattern[0]), pattern[1:])


def find_containers(document: Mapping[str, object], depth: int = 0) -> Iterator[Mapping[str, object]]:
    """Yield *document* and the objects in it that may hold what it is about."""
    yield document
    for name in WRAPPERS if depth < MOST_DEPTH else ():
        if name not in document:
            continue
        value = document[name]
        if isinstance(value, list) and len(value) == 1:
            (value,) = value
        if isinstance(value, dict):
            yield from find_containers(value, depth + 1)


def has_image(item: object) -> bool:
    """Whether *item* of a list is an image or its address; bytes that were cut out have left an empty text."""
    if isinstance(item, dict):
        return has_cut(item) or any(find_url(item[name]) for name in ITSELF if name in item)
    return item == "" or find_url(item) is not None


def has_cut(item: Mapping[str, object]) -> bool:
    """Whether base64 was cut out of an image object; texts that are not empty were left for some reason."""
    if isinstance(item.get("b64_json"), str) or any(item.get(name) == "" for name in BASE64):
        return True
    held = [item.get(name) for name in HOLDERS]
    return any(value.get(name) == "" for value in held if isinstance(value, dict) for name in ("data", "url", *BASE64))


def to_item(item: object) -> object:
    """Return an image object as the API has it."""
    if isinstance(item, str):
        return {"url": item} if find_url(item) else item
    if isinstance(item, dict):
        for name in ITSELF:
            if name in item and (url := find_url(item[name])):
                return {**{key: value for key, value in item.items() if key != name}, "url": url}
    return item


def find_url(value: object) -> str | None:
    """Return the address that *value* is, or has as `url`, or is a list of one of."""
    if isinstance(value, dict):
        value = value.get("url")
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    return value if isinstance(value, str) and is_address(value) else None


def is_address(text: str) -> bool:
    """Whether *text* may be the address of an image; result URLs may lack their scheme, or their host as well."""
    begin = text.lstrip()[:8].lower()
    return begin.startswith(SCHEMES) or (begin.startswith("/") and not begin.startswith(JPEG))


JPEG = "/9j/"
"""How the base64 of a JPEG begins, which looks like a path."""
