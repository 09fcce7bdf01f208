"""
Answers and streams as gateways write them, each with its source: what is in them is judged by `test_gateway_answers`.

`PNG` stands for the base64 of a picture, and `/a.png` is a picture at the server itself.
"""

from __future__ import annotations

import json
from decimal import Decimal

import attrs

PNG, URL = "PNG", "/a.png"
DATA_URL = f"data:image/png;base64,{PNG}"
REFUSED = {"error": {"code": "OutputImageSensitiveContentDetected", "message": "The output may be sensitive."}}


@attrs.frozen
class GatewayAnswer:
    """
    One answer of success.

    Attributes:
        source: Who answers so, and where that is written.
        body: Its bytes.
        images: Number of images that are in it.
        content_type: Its label.
        wanted: Number of images that are asked for.
        refused: Places of images that were refused.
        cost: US dollars that it names.
        error: The class of the error, if it holds no image.
        billed: What is known of money.
    """

    source: str
    body: bytes
    images: int = 1
    content_type: str = "application/json"
    wanted: int = 1
    refused: tuple[int, ...] = ()
    cost: Decimal | None = None
    error: str | None = None
    billed: str = "YES"


def answer(source: str, document: object, images: int = 1, **options: object) -> GatewayAnswer:
    options = {"wanted": max(images, 1), **options}
    return GatewayAnswer(source, json.dumps(document).encode(), images, **options)


def stream(source: str, *events: object, images: int = 1, done: bool = True, **options: object) -> GatewayAnswer:
    """Return a stream whose events are documents, or a name and a document."""
    lines = []
    for event in events:
        name, document = event if isinstance(event, tuple) else ("", event)
        lines.append(f"event: {name}\n" if name else "")
        lines.append(f"data: {json.dumps(document)}\n\n")
    body = "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()
    options = {"wanted": max(images, 1), **options}
    return GatewayAnswer(source, body, images, "text/event-stream", **options)


ARK = "image_generation"
ANSWERS = {
    "openai": answer(
        "OpenAI, openapi.yaml, ImagesResponse",
        {
            "created": 1,
            "data": [{"b64_json": PNG}],
            "usage": {"total_tokens": 3, "input_tokens": 1, "output_tokens": 2},
        },
    ),
    "openrouter": answer(
        "OpenRouter, /api/v1/images",
        {
            "created": 1,
            "data": [{"b64_json": PNG, "media_type": "image/png"}],
            "usage": {"prompt_tokens": 1, "cost": 0.04},
        },
        cost=Decimal("0.04"),
    ),
    "openrouter chat": answer(
        "OpenRouter, image output of chat completions",
        {
            "id": "gen-1",
            "object": "chat.completion",
            "choices": [
                {"message": {"content": "", "images": [{"type": "image_url", "image_url": {"url": DATA_URL}}]}}
            ],
        },
    ),
    "together": answer(
        "Together, /v1/images/generations",
        {"id": "x", "object": "list", "model": "m", "data": [{"index": 0, "b64_json": PNG, "type": "b64_json"}]},
    ),
    "xai": answer("xAI, image generation guide", {"data": [{"url": URL, "mime_type": "image/png"}], "usage": {}}),
    "azure": answer(
        "Azure OpenAI, images REST reference",
        {
            "created": 1,
            "data": [{"b64_json": PNG, "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}],
        },
    ),
    "ark": answer(
        "Volcengine Ark, Seedream; Comfy-Org/ComfyUI#9952",
        {"model": "seedream", "created": 1, "data": [{"url": URL, "size": "8x8"}, REFUSED], "error": {}},
        wanted=2,
        refused=(1,),
    ),
    "ark refused": answer(
        "Volcengine Ark, all images refused",
        {"created": 1, "data": [REFUSED, REFUSED]},
        0,
        error="ModerationError",
        billed="MAYBE",
    ),
    "siliconflow": answer(
        "SiliconFlow, images/generations",
        {"images": [{"url": URL}], "timings": {"inference": 1.0}, "seed": 1, "data": [{"url": URL}]},
    ),
    "siliconflow without data": answer("SiliconFlow, older", {"images": [{"url": URL}], "seed": 1}),
    "zhipu": answer(
        "Zhipu, CogView", {"created": 1, "data": [{"url": URL}], "content_filter": [{"role": "user", "level": 3}]}
    ),
    "dashscope": answer(
        "Alibaba DashScope, qwen-image",
        {
            "output": {"choices": [{"message": {"role": "assistant", "content": [{"image": URL}]}}]},
            "usage": {"image_count": 1},
            "request_id": "r",
        },
    ),
    "dashscope wan": answer(
        "Alibaba DashScope, wan",
        {
            "output": {"task_status": "SUCCEEDED", "results": [{"url": URL}, {"code": "X.Y", "message": "failed"}]},
            "usage": {"image_count": 1},
        },
        wanted=2,
        refused=(1,),
    ),
    "gemini": answer(
        "Google, generateContent",
        {
            "candidates": [
                {"content": {"parts": [{"text": "x"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]}}
            ]
        },
    ),
    "imagen": answer("Google, Imagen predict", {"predictions": [{"bytesBase64Encoded": PNG, "mimeType": "image/png"}]}),
    "stability": answer("Stability, v1", {"artifacts": [{"base64": PNG, "seed": 1, "finishReason": "SUCCESS"}]}),
    "fireworks": GatewayAnswer("Fireworks, text_to_image", b"PNG", content_type="image/png"),
    "minimax": answer(
        "MiniMax, image_generation",
        {"data": {"image_urls": [URL, URL]}, "base_resp": {"status_code": 0, "status_msg": "success"}},
        2,
    ),
    "minimax base64": answer(
        "MiniMax, image_generation", {"data": {"image_base64": [PNG]}, "base_resp": {"status_code": 0}}
    ),
    "hyperbolic": answer("Hyperbolic, image/generation", {"images": [{"image": PNG, "index": 0}], "inference_time": 1}),
    "replicate": answer("Replicate, predictions with Prefer: wait", {"status": "succeeded", "output": [URL]}),
    "fal": answer(
        "fal, synchronous", {"images": [{"url": URL, "width": 8, "height": 8}], "has_nsfw_concepts": [False], "seed": 1}
    ),
    "novita": answer("Novita, seedream", {"images": [URL]}),
    "modelscope": answer("ModelScope, synchronous", {"images": [{"url": URL}], "request_id": "r"}),
    "modelscope task": answer("ModelScope, tasks", {"task_status": "SUCCEED", "output_images": [URL]}),
    "localai": answer(
        "LocalAI, images/generations", {"created": 1, "data": [{"embedding": None, "index": 0, "url": URL}]}
    ),
    "sdwebui": answer("AUTOMATIC1111, txt2img", {"images": [PNG], "parameters": {}, "info": "{}"}),
    "cloudflare": answer(
        "Cloudflare Workers AI", {"result": {"image": PNG}, "success": True, "errors": [], "messages": []}
    ),
    "responses": answer(
        "OpenAI, Responses with image_generation",
        {"object": "response", "output": [{"type": "image_generation_call", "result": PNG}], "error": None},
    ),
    "new-api": answer(
        "new-api, an empty error beside data",
        {"created": 1, "data": [{"url": "", "b64_json": PNG}], "error": {"message": "", "type": "", "code": None}},
    ),
    "success as error": answer(
        "Go gateways that write a code of 0",
        {"code": 0, "msg": "success", "error": {"code": 0, "message": "success"}, "data": [{"b64_json": PNG}]},
    ),
    "data of texts": answer("Gateways that list addresses", {"data": [URL, URL]}, 2),
    "data as an object": answer("Gateways of one image", {"data": {"url": URL}}),
    "nested": answer("EvoLink, APIMart", {"code": 200, "result": {"data": [{"b64_json": PNG}]}}),
    "python": GatewayAnswer("Servers in Python", b'{"created": NaN, "data": [{"b64_json": "PNG"}]}'),
    "openai stream": stream(
        "OpenAI, image streaming events",
        (f"{ARK}.partial_image", {"type": f"{ARK}.partial_image", "b64_json": PNG, "partial_image_index": 0}),
        (f"{ARK}.completed", {"type": f"{ARK}.completed", "b64_json": PNG, "usage": {"total_tokens": 3}}),
        done=False,
    ),
    "openrouter stream": stream(
        "OpenRouter, image streaming",
        {"type": f"{ARK}.text_chunk", "text": "an otter"},
        {"type": f"{ARK}.completed", "b64_json": PNG, "created": 1, "media_type": "image/png", "usage": {"cost": 0.04}},
        cost=Decimal("0.04"),
    ),
    "ark stream": stream(
        "Volcengine Ark, Seedream streaming; docs.kapon.cloud/doubao/image",
        {"type": f"{ARK}.partial_succeeded", "image_index": 0, "url": URL, "size": "8x8"},
        {"type": f"{ARK}.partial_failed", "image_index": 1, **REFUSED},
        {"type": f"{ARK}.partial_succeeded", "image_index": 2, "b64_json": PNG, "size": "8x8"},
        {"type": f"{ARK}.completed", "usage": {"generated_images": 2, "output_tokens": 9, "total_tokens": 9}},
        images=2,
        wanted=3,
        refused=(1,),
    ),
    "ark stream refused": stream(
        "Volcengine Ark, all images refused",
        {"type": f"{ARK}.partial_failed", "image_index": 0, **REFUSED},
        {"type": f"{ARK}.completed", "usage": {"generated_images": 0}},
        images=0,
        error="ModerationError",
        billed="MAYBE",
    ),
    "responses stream": stream(
        "OpenAI, Responses streaming events",
        {"type": "response.created", "response": {"output": []}},
        {"type": "response.image_generation_call.partial_image", "partial_image_b64": PNG, "partial_image_index": 0},
        {"type": "response.output_item.done", "item": {"type": "image_generation_call", "result": PNG}},
        {"type": "response.completed", "response": {"output": [{"type": "image_generation_call", "result": PNG}]}},
        done=False,
    ),
    "result stream": stream("Gateways' own name", ("image.generation.result", {"data": [{"b64_json": PNG}]})),
    "completed with data": stream(
        "Gateways' own form", {"type": f"{ARK}.completed", "data": [{"b64_json": PNG}, {"url": URL}]}, images=2
    ),
    "chat stream": stream(
        "OpenRouter, image output of chat completions",
        {"choices": [{"delta": {"content": "here"}}]},
        {"choices": [{"delta": {"images": [{"type": "image_url", "image_url": {"url": DATA_URL}}]}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    ),
}
