"""One request per endpoint in our own form, byte for byte: what changes it is a decision."""

from __future__ import annotations

import pytest
from golden.raw_http import FILES, golden_bytes

from burncloud_images import EditRequest, FileID, GenerationRequest, ImageURL, VariationRequest
from burncloud_images.model.inputs import BytesSource
from burncloud_images.model.media import examine_bytes
from burncloud_images.model.rule_kinds import MeasuredImage
from burncloud_images.wire.encoded_request import encode
from burncloud_images.wire.multipart import FilePlaceholder

pytestmark = pytest.mark.golden

OTTER, MASK, SOAP = FILES["otter.png"], FILES["mask.png"], FILES["soap.png"]

REQUESTS = {
    "generations": GenerationRequest(
        '海獭 "otter"\n🦦',
        model="gpt-image-2",
        n=2,
        size="1536x864",
        quality="high",
        output_format="jpeg",
        output_compression=80,
        user="user-7",
        extra={"seed": [1, None]},
    ),
    "edits": EditRequest(
        [OTTER, SOAP],
        "一只戴着贝雷帽的可爱小海獭",
        mask=MASK,
        model="gpt-image-2.6-sunburst",
        n=1,
        output_format="svg",
        svg={"model": "gpt-7", "reasoning": {"effort": "low"}},
        extra={"watermark": False},
    ),
    "edits-by-reference": EditRequest(
        [ImageURL("https://example.com/otter.png?a=1&b=2"), FileID("file-abc123")],
        "a hat",
        mask=FileID("file-mask123"),
        model="gpt-image-2",
        moderation="low",
        by_reference=True,
    ),
    "variations": VariationRequest(OTTER, model="dall-e-2", n=2, size="256x256"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_encoder_writes_these_bytes(name):
    """Path, content type, length and body are those of the golden file, with the files' bytes in place."""
    request = REQUESTS[name]
    pairs = [(field, source.data) for field, source in request.images() if isinstance(source, BytesSource)]
    measured = [MeasuredImage(field=field, size=len(data), media=examine_bytes(data)) for field, data in pairs]
    encoded = encode(request, measured, boundary="0123456789abcdef")
    plan = encoded.plan
    content = b"".join(pairs[part.index][1] if isinstance(part, FilePlaceholder) else part for part in plan.segments)
    head = f"POST /v1{encoded.path} HTTP/1.1\r\nContent-Type: {plan.content_type}\r\nContent-Length: {plan.length}"
    assert golden_bytes(f"own/{name}.http") == f"{head}\r\n\r\n".encode() + content + plan.final


@pytest.mark.parametrize("name", REQUESTS)
def test_the_golden_length_is_that_of_the_golden_body(name):
    """The length in the golden file is that of its body."""
    head, content = golden_bytes(f"own/{name}.http").split(b"\r\n\r\n", 1)
    assert f"Content-Length: {len(content)}".encode() in head.split(b"\r\n")
