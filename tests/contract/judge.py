"""Says what is wrong with a request or an answer, by the API document and what is newer than it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import jsonschema
from contract.newer import FIELDS, VALUES, NewField, NewValue
from golden.raw_http import Part, form_parts
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

DOCUMENT = "urn:api-document"
UPLOAD = "<the bytes of a file>"
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)")


@attrs.frozen
class Judge:
    """The schemas of an API document, ready to be asked."""

    document: Mapping[str, Any] = attrs.field(repr=False)

    def problems(self, schema: str, value: object) -> list[str]:
        """Return what is wrong with *value*; empty if it keeps to the schema."""
        registry = Registry().with_resource(DOCUMENT, Resource(self.document, DRAFT202012))
        reference = {"$ref": f"{DOCUMENT}#/components/schemas/{schema}"}
        validator = jsonschema.Draft202012Validator(reference, registry=registry)
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]

    def properties(self, schema: str) -> Mapping[str, Any]:
        return self.document["components"]["schemas"][schema]["properties"]

    def request_problems(self, content_type: str, body: bytes, schema: str) -> list[str]:
        """Return what is wrong with a request."""
        return self.problems(schema, self.to_value(content_type, body, schema))

    def to_value(self, content_type: str, body: bytes, schema: str) -> object:
        """Return a body as the value that the schema is about."""
        if content_type == "application/json":
            return json.loads(body)
        return form_value(form_parts(content_type, body), self.properties(schema))


# --- the document ----------------------------------------------------------------------------------------------------


def amend(document: Mapping[str, Any], fields: Iterable[NewField] = FIELDS, values: Iterable[NewValue] = VALUES) -> Any:
    """Return *document* with what is newer, and with every object closed: a key that it does not name is wrong."""
    amended = copy.deepcopy(document)
    schemas = amended["components"]["schemas"]
    for field in fields:
        schemas[field.schema]["properties"][field.field] = copy.deepcopy(field.allowed)
    for value in values:
        properties = schemas[value.schema]["properties"]
        properties[value.field] = {"anyOf": [properties[value.field], value.allowed]}
    close(schemas)
    return amended


def close(node: object) -> None:
    """Forget no object: one that names its properties takes no others."""
    if isinstance(node, dict):
        if node.get("type") == "object" and isinstance(node.get("properties"), dict):
            node["additionalProperties"] = False
        for inner in node.values():
            close(inner)
    elif isinstance(node, list):
        for inner in node:
            close(inner)


# --- forms -----------------------------------------------------------------------------------------------------------
#
# The schemas of forms are about values, and a form holds text. Four things are made of it, and nothing else:
#   image[]       the wire's name for each item of the property `image`
#   a[b][c]       an object in an object
#   a file        the string that `format: binary` stands for; a file elsewhere and text there are wrong
#   digits        a whole number, where the schema has a number and no string


def form_value(parts: Sequence[Part], properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return a form as the value that its schema is about."""
    value: dict[str, Any] = {}
    for part in parts:
        names = re.findall(r"[^\[\]]+", part.name)
        assert part.name == names[0] + "".join(f"[{name}]" for name in names[1:]) or part.name == "image[]", part.name
        schema = properties.get(names[0], {})
        item = (
            file_value(schema)
            if part.filename is not None
            else text_value(part.content.decode(errors="replace"), schema)
        )
        if part.name.endswith("[]"):
            value.setdefault(names[0], []).append(item)
        else:
            put(value, names, item)
    return value


def put(value: dict[str, Any], names: Sequence[str], item: object) -> None:
    *outer, last = names
    for name in outer:
        value = value.setdefault(name, {})
    if last in value:
        item = {"sent more than once": [value[last], item]}
    value[last] = item


def file_value(schema: Mapping[str, Any]) -> object:
    return UPLOAD if is_binary(schema) else {"a file": "where the schema has none"}


def text_value(text: str, schema: Mapping[str, Any]) -> object:
    if is_binary(schema):
        return {"text": "where the schema has a file"}
    kinds = set(kinds_of(schema))
    if "integer" in kinds and "string" not in kinds and NUMBER.fullmatch(text):
        return int(text)
    return text


def is_binary(schema: Mapping[str, Any]) -> bool:
    return schema.get("format") == "binary" or any(map(is_binary, schema.get("anyOf", ())))


def kinds_of(schema: Mapping[str, Any]) -> Iterable[str]:
    """Yield the types that a property may have; the one that is only named by reference is a number."""
    if schema.get("$ref") == "#/components/schemas/PartialImages":
        yield "integer"
    kinds = schema.get("type", ())
    yield from [kinds] if isinstance(kinds, str) else kinds
    for choice in schema.get("anyOf", ()):
        yield from kinds_of(choice)
