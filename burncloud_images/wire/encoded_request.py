"""
A request and the measures of its files become a path and the plan of a body.

Rules that gateways hold clients to, each learnt from one that broke: unset fields are absent, never null; one image is
`image` and several are repeated `image[]`, never `image[0]`; file names are plain ASCII with the true extension,
because gateways put them into headers unescaped and derive the type from them; the length is exact, never chunked.
"""

from __future__ import annotations

import json
import re
from binascii import b2a_base64
from collections.abc import Iterator, Mapping, Sequence

import attrs

from burncloud_images.model.inputs import FileID, ImageSource, ImageURL
from burncloud_images.model.operations import EditRequest, ImagesRequest
from burncloud_images.model.rule_kinds import MeasuredImage
from burncloud_images.wire.dialects import Dialect, References, TaskDialect
from burncloud_images.wire.multipart import BodyPlan, FilePart, FilePlaceholder, plan_json, plan_multipart


@attrs.frozen(kw_only=True)
class EncodedRequest:
    """
    What is sent.

    Attributes:
        path: Below the base URL, with a leading slash.
        plan: The body.
    """

    path: str
    plan: BodyPlan


def encode(
    request: ImagesRequest,
    images: Sequence[MeasuredImage] = (),
    *,
    fields: Mapping[str, object] | None = None,
    boundary: str,
    stream: bool = False,
    task: TaskDialect | None = None,
    dialect: Dialect | None = None,
    urls: Sequence[str] = (),
) -> EncodedRequest:
    """
    Return what is sent for *request*.

    Args:
        request: Any of the three.
        images: The measures of its images, in the order of `request.images()`; none if it has none to upload.
        fields: What is sent beside its images; by default `request.fields()`.
        boundary: For a form.
        stream: Whether to ask for server-sent events.
        task: How to ask for a task; None not to ask.
        dialect: The server's; None if it is not known.
        urls: The uploads as `data:` URLs, for a server that takes no files.
    """
    server = dialect or UNKNOWN
    own_path = server.generations if is_generation(request, server) else f"/images/{request.operation}"
    path = ((task and task.path) or own_path).format(operation=request.operation)
    values = to_dialect(request.fields() if fields is None else fields, server)
    if stream or task:
        values = {**values, **({"stream": True} if stream else {}), **(task.fields if task else {})}
    if isinstance(request, EditRequest) and server.references is not None:
        urls = urls or [source.url for source in request.image if isinstance(source, ImageURL)]
        return EncodedRequest(path=path, plan=plan_json(to_json({**values, **to_inputs(urls, server.references)})))
    if isinstance(request, EditRequest) and request.by_reference:
        return EncodedRequest(path=path, plan=plan_json(to_json({**values, **to_references(request)})))
    if not request.images():
        return EncodedRequest(path=path, plan=plan_json(to_json(values)))
    pairs = [pair for name, value in values.items() for pair in to_form_fields(name, value)]
    return EncodedRequest(path=path, plan=plan_multipart(pairs, list(to_file_parts(images)), boundary))


UNKNOWN = Dialect(name="unknown")


def is_generation(request: ImagesRequest, dialect: Dialect) -> bool:
    """Say whether *request* goes where generations go."""
    return request.operation == "generations" or (request.operation == "edits" and dialect.references is not None)


def to_dialect(fields: Mapping[str, object], dialect: Dialect) -> Mapping[str, object]:
    """Return *fields* with the names and words of the server."""
    values = {name: dialect.values.get(name, {}).get(str(value), value) for name, value in fields.items()}
    size = values.get("size")
    if dialect.edges is not None and isinstance(size, str) and (match := SIZE.fullmatch(size)):
        del values["size"]
        values |= zip(dialect.edges, map(int, match.groups()), strict=True)
    return {dialect.renames.get(name, name): value for name, value in values.items()}


SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)


def find_dialect_problem(request: ImagesRequest, dialect: Dialect | None) -> tuple[str, str] | None:
    """Return a field whose images the server cannot be sent, and why; None if there is none."""
    if dialect is None or dialect.references is None or request.operation == "generations":
        return None
    if not isinstance(request, EditRequest):
        return "image", f"{dialect.name} makes no variations"
    others = [name for name, _ in request.images() if name != "image"]
    if others:
        return others[0], f"{dialect.name} takes no {others[0]}"
    if any(isinstance(source, FileID) for source in request.image):
        return "image", f"{dialect.name} takes no FileID"
    if len(request.image) > 1 and dialect.references.several is None:
        return "image", f"{dialect.name} takes one image; name more of them in extra"
    return None


def to_inputs(urls: Sequence[str], references: References) -> dict[str, object]:
    """Return the field that names the images of an edit."""
    images: list[object] = list(urls)
    if references.is_object:
        images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    if len(images) > 1 and references.several is not None:
        return {references.several: images}
    return {references.one: images if references.is_list else images[0]}


def to_data_url(data: bytes, media_type: str | None) -> str:
    return f"data:{media_type};base64,{b2a_base64(data, newline=False).decode()}"


def to_json(fields: Mapping[str, object]) -> bytes:
    return ENCODER.encode(fields).encode()


def plain(value: object) -> object:
    """Return the dict or list that JSON can hold of any other mapping or sequence."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")  # the request's constructor refuses it


ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=plain)


def to_form_fields(name: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield *value* as form fields: `n=2`, `flag=true`, `svg[reasoning][effort]=low`, `list[]=a`."""
    if isinstance(value, bool):
        yield name, "true" if value else "false"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from to_form_fields(f"{name}[{key}]", item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from to_form_fields(f"{name}[]", item)
    elif isinstance(value, str):
        yield name, str.__str__(value)  # an Enum's member says its name instead
    elif value is not None:
        yield name, json.dumps(value)


def to_file_parts(images: Sequence[MeasuredImage]) -> Iterator[FilePart]:
    several = sum(image.field == "image" for image in images) > 1
    for index, image in enumerate(images):
        repeated = several and image.field == "image"
        yield FilePart(
            name="image[]" if repeated else image.field,
            filename=f"{image.field}{f'-{index + 1}' if repeated else ''}.{image.media.extension}",
            content_type=image.media.media_type or "application/octet-stream",
            slot=FilePlaceholder(index, image.size),
        )


def to_references(request: EditRequest) -> dict[str, object]:
    single = {name: to_reference(source) for name, source in request.images() if name != "image"}
    return {"images": [to_reference(source) for source in request.image], **single}


def to_reference(source: ImageSource) -> dict[str, str]:
    if isinstance(source, FileID):
        return {"file_id": source.id}
    if isinstance(source, ImageURL):
        return {"image_url": source.url}
    raise TypeError(f"{type(source).__name__} cannot be sent by reference")  # the request's constructor refuses it
