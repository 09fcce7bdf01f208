"""The server's table of limits against the client's: typed in apart, and they say the same."""

from itertools import product

import pytest

from burncloud_images.emulator.errors import RefusedRequest
from burncloud_images.emulator.model_limits import MODELS, ROWS, check_fields, check_model
from burncloud_images.model.rules import field_violations

VALUES = {
    "prompt": ["x", *("x" * length for length in (1_000, 1_001, 4_000, 4_001, 32_000, 32_001))],
    "n": [1, 2, 10, 11],
    "size": [
        "auto",
        *("256x256", "512x512", "1024x1024", "1536x1024", "1024x1536", "1792x1024", "1024x1792"),
        *("768x512", "1040x624", "1024x640", "480x1408", "1792x936", "2048x1024", "2304x2304", "3840x2160"),
        *("2160x3840", "3856x2160", "2880x2880", "2896x2880", "1600x512", "1000x1000", "0x0"),
    ],
    "quality": ["auto", "standard", "hd", "low", "medium", "high", "xhigh", "max", "best"],
    "response_format": ["url", "b64_json", "png"],
    "style": ["vivid", "natural", "loud"],
    "background": ["auto", "opaque", "transparent", "red"],
    "moderation": ["auto", "low", "high"],
    "output_format": ["png", "jpeg", "webp", "gif", "svg", "bmp"],
    "output_compression": [0, 50, 100, 101],
    "partial_images": [0, 3, 4],
    "complexity": ["low", "medium", "high", "max"],
    "frame_count": [1, 2, 9, 16, 17],
    "frame_duration_ms": [19, 20, 200, 655_350, 655_351],
    "svg": [{"model": "gpt-5"}],
    "safety_identifier": ["x" * 128, "x" * 129],
    "input_fidelity": ["low", "high", "middle"],
    "markup": ["markup"],
}
BESIDE = [{}, *({"output_format": name} for name in ("jpeg", "webp", "gif", "svg")), {"n": 2, "output_format": "svg"}]


def server_refuses(operation, fields):
    try:
        check_model(operation, fields["model"])
        check_fields(operation, fields)
    except RefusedRequest:
        return True
    return False


def taken(field, operation):
    """Whether the endpoint has the field at all; what it does not have, the server ignores as any unknown one."""
    return any(row.field == field and operation in row.operations for row in ROWS)


CASES = [
    (operation, field)
    for operation in ("generations", "edits", "variations")
    for field in VALUES
    if taken(field, operation)
]


@pytest.mark.parametrize(("operation", "field"), CASES)
def test_client_and_server_agree(operation, field):
    """Client and server agree on every value of every field, for every model and endpoint."""
    start = {} if operation == "variations" else {"prompt": "x"}
    beside = [{}] if operation == "variations" else BESIDE
    for model, value, other in product(MODELS, VALUES[field], beside):
        fields = {**start, **other, "model": model, field: value}
        assert server_refuses(operation, fields) == bool(field_violations(operation, fields)), fields
