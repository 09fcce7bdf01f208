"""What the emulator answers keeps to the API document and to the list of what is newer."""

from __future__ import annotations

import base64
import json

import aiohttp
import pytest
from contract.kinds import MASK, OTTER, written
from golden.raw_http import png

from burncloud_images import EditRequest, GenerationRequest, ImageURL, VariationRequest
from burncloud_images.model.operations import ImagesRequest

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("contract")]

DATA_URL = ImageURL(f"data:image/png;base64,{base64.b64encode(OTTER).decode()}")
DATA_URL_OF_MASK = ImageURL(f"data:image/png;base64,{base64.b64encode(MASK).decode()}")


def generation(model: str, size: str | None = None, **fields: object) -> GenerationRequest:
    return GenerationRequest("a sea otter", model=model, size=size, **fields)


def edit(model: str | None, size: str | None = None, **fields: object) -> EditRequest:
    return EditRequest(**{"image": OTTER, "prompt": "a hat", "model": model, "size": size, **fields})


REQUESTS: dict[str, ImagesRequest] = {
    "generation, no model": GenerationRequest("a sea otter", size="256x256"),
    "generation, url": generation("dall-e-2", "256x256", response_format="url", n=3),
    "generation, base64": generation("dall-e-2", "512x512", response_format="b64_json", n=2),
    "generation, revised prompt": generation("dall-e-3", "1792x1024", quality="hd", style="natural"),
    "generation, revised prompt, base64": generation("dall-e-3", response_format="b64_json"),
    "generation, png": generation("gpt-image-1", "1024x1024", output_format="png", quality="low"),
    "generation, jpeg": generation("gpt-image-1", "1536x1024", output_format="jpeg", output_compression=50),
    "generation, webp": generation("gpt-image-1-mini", "1024x1536", output_format="webp", quality="high"),
    "generation, transparent": generation("gpt-image-1.5", "auto", background="transparent", output_format="webp"),
    "generation, opaque": generation("chatgpt-image-latest", background="opaque", moderation="low"),
    "generation, any size": generation("gpt-image-2", "1280x640", quality="auto", user="user-7"),
    "generation, snapshot": generation("gpt-image-2-2026-04-21", "1280x640"),
    "generation, xhigh": generation("gpt-image-2.5-sunburst", "1024x640", quality="xhigh", n=10),
    "generation, max": generation("gpt-image-2.5-flare", "1024x640", quality="max"),
    "generation, gif": generation(
        "gpt-image-2.6-sunburst", "1024x640", output_format="gif", frame_count=3, frame_duration_ms=50
    ),
    "generation, svg": generation("gpt-image-2.6-flare", "1024x640", output_format="svg", svg={"model": "gpt-7"}),
    "generation, identifier": generation("gpt-image-2.6-flare", "1024x640", complexity="low", safety_identifier="5994"),
    "generation, identifier of dall-e": generation("dall-e-2", "256x256", safety_identifier="5994"),
    "edit, url": edit("dall-e-2", "256x256", mask=MASK, n=2),
    "edit, base64": edit("dall-e-2", "256x256", mask=MASK, response_format="b64_json"),
    "edit, no model": edit(None, "256x256", mask=MASK),
    "edit, png": edit("gpt-image-1", mask=MASK, input_fidelity="high"),
    "edit, jpeg": edit("gpt-image-2", "1024x640", image=[OTTER, png(60)], output_format="jpeg"),
    "edit, webp": edit("gpt-image-2.5-flare", "1024x640", markup=MASK, output_format="webp", quality="max"),
    "edit, gif": edit("gpt-image-2.6-flare", "1024x640", output_format="gif", frame_count=2),
    "edit, svg": edit("gpt-image-2.6-flare", "1024x640", output_format="svg"),
    "edit, identifier": edit("gpt-image-2", "1024x640", safety_identifier="5994"),
    "edit by reference": edit("gpt-image-2", "1024x640", image=DATA_URL, by_reference=True, moderation="low"),
    "edit by reference, no model": edit(None, "1024x640", image=[DATA_URL, DATA_URL], by_reference=True),
    "edit by reference, mask": edit(
        "gpt-image-2", "1024x640", image=DATA_URL, mask=DATA_URL_OF_MASK, by_reference=True, output_format="jpeg"
    ),
    "variation, url": VariationRequest(OTTER, n=2, size="256x256"),
    "variation, base64": VariationRequest(OTTER, model="dall-e-2", size="512x512", response_format="b64_json"),
}

GOOD = {
    "created": 1713833628,
    "data": [{"b64_json": "iVBORw0KGgo="}],
    "background": "opaque",
    "output_format": "png",
    "quality": "high",
    "size": "1024x1024",
    "usage": {
        "total_tokens": 100,
        "input_tokens": 50,
        "output_tokens": 50,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    },
}


async def ask(emulator, request: ImagesRequest) -> dict:
    """Return the emulator's answer to what the client writes."""
    path, content_type, body = written(request)
    headers = {"Authorization": f"Bearer {emulator.api_key}", "Content-Type": content_type}
    async with (
        aiohttp.ClientSession() as session,
        session.post(emulator.base_url + path, data=body, headers=headers) as response,
    ):
        text = await response.text()
        assert response.status == 200, text
        assert response.content_type == "application/json"
        return json.loads(text)


@pytest.mark.parametrize("name", REQUESTS)
async def test_answers_keep_to_the_document(emulator, judge, name):
    """Each kind of answer is valid, holds no unknown key and as many images as were asked for."""
    request = REQUESTS[name]
    answer = await ask(emulator, request)
    assert judge.problems("ImagesResponse", answer) == []
    assert len(answer["data"]) == (request.n or 1)
    wants_url = "usage" not in answer and request.response_format != "b64_json"
    assert all(("url" in image) == wants_url != ("b64_json" in image) for image in answer["data"])


def test_all_models_of_the_emulator_answer_here():
    """The answers of every model are checked; snapshots are answered as their models are."""
    from burncloud_images.emulator.model_limits import MODELS, family

    assert {family(name) for name in MODELS} == {
        family(request.model) for request in REQUESTS.values() if request.model
    }


def test_all_operations_and_formats_are_answered_here():
    """Every endpoint, output format and response format has its answers above."""
    assert {request.operation for request in REQUESTS.values()} == {"generations", "edits", "variations"}
    for operation in ("generations", "edits"):
        formats = {request.output_format for request in REQUESTS.values() if request.operation == operation}
        assert formats >= {None, "jpeg", "webp", "gif", "svg"}


# --- what has to be refused, or none of the above says anything ------------------------------------------------------


def test_the_example_for_the_controls_is_valid(judge):
    """The example is valid, so the tests below fail only for what they change in it."""
    assert judge.problems("ImagesResponse", GOOD) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"created": ...}, "'created' is a required property"),
        ({"created": "1713833628"}, "$.created"),
        ({"created": 1713833628.5}, "$.created"),
        ({"data": {}}, "$.data"),
        ({"data": [{"b64": "iVBORw0KGgo="}]}, "'b64' was unexpected"),
        ({"data": [{"url": None}]}, "$.data[0].url"),
        ({"usage": {"input_tokens": 50, "output_tokens": 50}}, "'total_tokens' is a required property"),
        ({"usage": {**GOOD["usage"], "input_tokens_details": {"text_tokens": 10}}}, "'image_tokens' is a required"),
        ({"usage": {**GOOD["usage"], "prompt_tokens": 50}}, "'prompt_tokens' was unexpected"),
        ({"output_format": "bmp"}, "$.output_format"),
        ({"quality": "auto"}, "$.quality"),
        ({"background": "auto"}, "$.background"),
        ({"size": "auto"}, "$.size"),
        ({"size": "1024 x 1024"}, "$.size"),
        ({"model": "gpt-image-2"}, "'model' was unexpected"),
        ({"svg_usage": {"model": "gpt-7"}}, "'input_tokens' is a required property"),
    ],
)
def test_a_wrong_answer_is_noticed(judge, changed, said):
    """Missing and unknown keys, wrong types and undocumented values fail the check."""
    answer = {key: value for key, value in {**GOOD, **changed}.items() if value is not ...}
    assert any(said in problem for problem in judge.problems("ImagesResponse", answer))
