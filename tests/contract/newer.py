"""
What is newer than the API document, typed in by hand with its sources.

The document is OpenAI's openapi.yaml of 2026-08-21, which precedes gpt-image-2.5 and 2.6. A request or an answer may
hold what the document knows and what stands here, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

GENERATE = "openai 3.54.0 of 2026-11-17, types/image_generate_params.py"
EDIT = "openai 3.54.0 of 2026-11-17, types/image_edit_params.py"
RESPONSE = "openai 3.54.0 of 2026-11-17, types/images_response.py"
REFERENCE = "OpenAI's API reference of November 2026, images/methods/edit: the JSON body"
OWN_TEXT = "the document itself, the text of `size` for multipart edits: arbitrary resolutions from gpt-image-2 on"

Schema = Mapping[str, object]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
EFFORT: Schema = {"enum": ["low", "medium", "high"]}
FRAMES: Schema = {"type": "integer", "minimum": 2, "maximum": 16}
MILLISECONDS: Schema = {"type": "integer", "minimum": 20, "maximum": 655_350}
FILE: Schema = {"type": "string", "format": "binary"}
IDENTIFIER: Schema = {"type": "string", "maxLength": 128}
PIXELS: Schema = {"type": "string", "pattern": r"^[1-9][0-9]*x[1-9][0-9]*$"}
SVG: Schema = {
    "type": "object",
    "required": ["model"],
    "properties": {
        "model": TEXT,
        "reasoning": {
            "type": "object",
            "properties": {"effort": {"enum": ["none", "minimal", "low", "medium", "high", "xhigh", "max"]}},
        },
    },
}
SVG_USAGE: Schema = {
    "type": "object",
    "required": ["model", "input_tokens", "output_tokens", "reasoning_tokens", "total_tokens"],
    "properties": {
        "model": TEXT,
        "input_tokens": WHOLE,
        "output_tokens": WHOLE,
        "reasoning_tokens": WHOLE,
        "total_tokens": WHOLE,
    },
}


@attrs.frozen
class NewField:
    """A field that one of the document's schemas does not have."""

    schema: str
    field: str
    allowed: Schema
    source: str


@attrs.frozen
class NewValue:
    """Values that a field of the document does not have, and one of them."""

    schema: str
    field: str
    allowed: Schema
    example: str
    source: str


def constant(schema: str, field: str, value: str, source: str) -> NewValue:
    return NewValue(schema, field, {"const": value}, value, source)


FIELDS = (
    NewField("CreateImageRequest", "complexity", EFFORT, GENERATE),
    NewField("CreateImageRequest", "frame_count", FRAMES, GENERATE),
    NewField("CreateImageRequest", "frame_duration_ms", MILLISECONDS, GENERATE),
    NewField("CreateImageRequest", "svg", SVG, GENERATE),
    NewField("CreateImageRequest", "safety_identifier", IDENTIFIER, GENERATE),
    NewField("CreateImageEditRequest", "complexity", EFFORT, EDIT),
    NewField("CreateImageEditRequest", "frame_count", FRAMES, EDIT),
    NewField("CreateImageEditRequest", "frame_duration_ms", MILLISECONDS, EDIT),
    NewField("CreateImageEditRequest", "svg", SVG, EDIT),
    NewField("CreateImageEditRequest", "safety_identifier", IDENTIFIER, EDIT),
    NewField("CreateImageEditRequest", "markup", FILE, EDIT),
    NewField("EditImageBodyJsonParam", "complexity", EFFORT, REFERENCE),
    NewField("EditImageBodyJsonParam", "frame_count", FRAMES, REFERENCE),
    NewField("EditImageBodyJsonParam", "frame_duration_ms", MILLISECONDS, REFERENCE),
    NewField("ImagesResponse", "safety_identifier", IDENTIFIER, RESPONSE),
    NewField("ImagesResponse", "svg_usage", SVG_USAGE, RESPONSE),
)

VALUES = (
    constant("CreateImageRequest", "quality", "xhigh", GENERATE),
    constant("CreateImageRequest", "quality", "max", GENERATE),
    constant("CreateImageRequest", "output_format", "gif", GENERATE),
    constant("CreateImageRequest", "output_format", "svg", GENERATE),
    constant("CreateImageEditRequest", "quality", "xhigh", EDIT),
    constant("CreateImageEditRequest", "quality", "max", EDIT),
    constant("CreateImageEditRequest", "output_format", "gif", EDIT),
    constant("CreateImageEditRequest", "output_format", "svg", EDIT),
    constant("EditImageBodyJsonParam", "quality", "xhigh", REFERENCE),
    constant("EditImageBodyJsonParam", "quality", "max", REFERENCE),
    constant("EditImageBodyJsonParam", "output_format", "gif", f"{REFERENCE} has frame_count, which is for GIF alone"),
    NewValue("EditImageBodyJsonParam", "size", PIXELS, "1536x864", OWN_TEXT),
    constant("ImagesResponse", "quality", "xhigh", RESPONSE),
    constant("ImagesResponse", "quality", "max", RESPONSE),
    constant("ImagesResponse", "output_format", "gif", RESPONSE),
    constant("ImagesResponse", "output_format", "svg", RESPONSE),
    NewValue("ImagesResponse", "size", PIXELS, "1536x864", RESPONSE),
)
