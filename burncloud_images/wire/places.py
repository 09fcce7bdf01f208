"""
Where images stand in the document of an answer: by place, never by what a text looks like.

The API has one place, `data[i]`. Gateways have others: the list has another name, it stands within `result` or
`output`, its items are URLs, or there is one image and no list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

LISTS = ("data", "images", "image_result", "output_images", "image_urls", "urls", "results", "output", "result")
"""Names of lists of images, in order of precedence."""
WRAPPERS = ("data", "result", "results", "output", "response", "task_result", "taskResult", "task")
"""Names of objects in which a list of images, or one image, may stand."""
SINGLE = ("b64_json", "image_url", "result_url", "output_url", "output", "result", "imageUrl", "resultUrl")
"""Names of one image that stands alone at the top, where `url` and `image` may be something else: an echoed input."""
URLS = ("url", "image_url", "result_url", "output_url", "image", "imageUrl", "resultUrl", "download_url", "uri")
"""Names of the address of an image within its object, in order of precedence."""
MOST_DEPTH = 4
SCHEMES = ("http://", "https://", "data:", "//")


def find_items(document: Mapping[str, object]) -> Sequence[object]:
    """
    Return the image objects of an answer, whose addresses are in `url` wherever they stood.

    If no image is found, return `data` if it is a list: errors of single images may stand there.
    """
    containers = list(find_containers(document))
    for container in containers:
        for name in LISTS:
            items = container.get(name)
            if isinstance(items, list) and any(has_image(item) for item in items):
                return [to_item(item) for item in items]
    for container in containers:
        for name in SINGLE if container is document else ("b64_json", *URLS, *SINGLE):
            if name == "b64_json" and isinstance(container.get(name), str):
                return [to_item(container)]
            if url := find_url(container.get(name)):
                return [{"url": url}]
    data = document.get("data")
    return data if isinstance(data, list) else ()


def find_containers(document: Mapping[str, object], depth: int = 0) -> Iterator[Mapping[str, object]]:
    """Yield *document* and the objects in it that may hold what it is about."""
    yield document
    for name in WRAPPERS if depth < MOST_DEPTH else ():
        value = document.get(name)
        if isinstance(value, list) and len(value) == 1:
            (value,) = value
        if isinstance(value, Mapping):
            yield from find_containers(value, depth + 1)


def has_image(item: object) -> bool:
    """Whether *item* of a list is an image or its address; bytes that were cut out have left an empty text."""
    if isinstance(item, Mapping):
        return isinstance(item.get("b64_json"), str) or any(find_url(item.get(name)) for name in URLS)
    return find_url(item) is not None


def to_item(item: object) -> object:
    """Return an image object as the API has it."""
    if isinstance(item, str):
        return {"url": item} if find_url(item) else item
    if isinstance(item, Mapping):
        for name in URLS:
            if url := find_url(item.get(name)):
                return {**{key: value for key, value in item.items() if key != name}, "url": url}
    return item


def find_url(value: object) -> str | None:
    """Return the address that *value* is, or has as `url`, or is a list of one of."""
    if isinstance(value, Mapping):
        value = value.get("url")
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    return value if isinstance(value, str) and is_address(value) else None


def is_address(text: str) -> bool:
    """Whether *text* may be the address of an image; result URLs may lack their scheme, or their host as well."""
    begin = text.lstrip()[:8].lower()
    return begin.startswith(SCHEMES) or (begin.startswith("/") and not text.startswith("//"))
