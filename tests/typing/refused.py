"""
Calls that type checkers refuse: not executed; mypy and pyright read it.

Each refusal is ignored on its line by its code, and an ignore that nothing needs is itself an error, of mypy by
`warn_unused_ignores` and of pyright by the next line. So a call that is no longer refused is noticed.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=error
from __future__ import annotations

from pathlib import Path

from burncloud_images import (
    AsyncImagesClient,
    Directory,
    Done,
    EditRequest,
    GenerationRequest,
    Image,
    ImagesResult,
    RetryPolicy,
    VariationRequest,
)


async def unknown_fields(client: AsyncImagesClient) -> None:
    await client.generate("an otter", sise="1024x1024")  # type: ignore[call-arg]
    await client.generate("an otter", stream=True)  # type: ignore[call-arg]
    await client.generate("an otter", image=b"")  # type: ignore[call-arg]
    await client.generate("an otter", into=Directory("out"))  # type: ignore[call-arg]
    await client.edit(b"", "a hat", style="vivid")  # type: ignore[call-arg]
    await client.create_variation(b"", prompt="a hat")  # type: ignore[call-arg]
    await client.create_variation(b"", quality="high")  # type: ignore[call-arg]


async def not_streamed(client: AsyncImagesClient) -> None:
    client.stream(VariationRequest(b""))  # type: ignore[arg-type]


async def missing_fields(client: AsyncImagesClient) -> None:
    await client.generate()  # type: ignore[call-arg]
    await client.generate(model="gpt-image-2")  # type: ignore[call-arg]
    await client.edit(b"")  # type: ignore[call-arg]
    await client.edit(prompt="a hat")  # type: ignore[call-arg]
    await client.create_variation()  # type: ignore[call-arg]


async def too_many_by_position(client: AsyncImagesClient) -> None:
    await client.generate("an otter", "gpt-image-2")  # type: ignore[call-arg]
    await client.edit(b"", "a hat", "gpt-image-2")  # type: ignore[call-arg]
    await client.create_variation(b"", "dall-e-2")  # type: ignore[call-arg]


async def wrong_types(client: AsyncImagesClient) -> None:
    await client.generate("an otter", n="2")  # type: ignore[arg-type]
    await client.generate("an otter", n=2.0)  # type: ignore[arg-type]
    await client.generate(b"an otter")  # type: ignore[arg-type]
    await client.generate(["an otter"])  # type: ignore[arg-type]
    await client.generate("an otter", size=(1024, 1024))  # type: ignore[arg-type]
    await client.generate("an otter", quality=1)  # type: ignore[arg-type]
    await client.generate("an otter", output_compression="80")  # type: ignore[arg-type]
    await client.generate("an otter", extra=[("seed", 1)])  # type: ignore[arg-type]
    await client.edit(7, "a hat")  # type: ignore[arg-type]
    await client.edit(None, "a hat")  # type: ignore[arg-type]
    await client.edit([b"", 7], "a hat")  # type: ignore[list-item]
    await client.edit(b"", "a hat", mask=[b""])  # type: ignore[arg-type]
    await client.edit(b"", "a hat", by_reference="yes")  # type: ignore[arg-type]
    await client.create_variation([b"", b""])  # type: ignore[arg-type]


def wrong_requests() -> None:
    GenerationRequest()  # type: ignore[call-arg]
    GenerationRequest("an otter", "gpt-image-2")  # type: ignore[call-arg]
    GenerationRequest("an otter", n="2")  # type: ignore[arg-type]
    EditRequest(b"", "a hat", sise="auto")  # type: ignore[call-arg]
    VariationRequest(b"", style="vivid")  # type: ignore[call-arg]


def frozen(request: GenerationRequest, result: ImagesResult[Image]) -> None:
    request.n = 2  # type: ignore[misc]
    result.image.data = b""  # type: ignore[misc]


async def wrong_sinks(client: AsyncImagesClient, request: GenerationRequest) -> None:
    await client.send("an otter")  # type: ignore[call-overload]
    await client.send(request, Directory("out"))  # type: ignore[call-overload]
    await client.send(request, into="out")  # type: ignore[call-overload]
    await client.send(request, sink=Directory("out"))  # type: ignore[call-overload]
    result = await client.send(request, into=Directory("out"))
    len(result.image.data)  # type: ignore[attr-defined]
    kept: ImagesResult[Image] = result  # type: ignore[assignment]
    str(kept.image.path)  # type: ignore[attr-defined]
    Directory("out", exists="replace")  # type: ignore[arg-type]
    Directory("out", sha256=True)  # type: ignore[call-arg]


async def wrong_maps(client: AsyncImagesClient, requests: list[GenerationRequest]) -> None:
    client.map("an otter")  # type: ignore[type-var]
    client.map(requests, Directory("out"))  # type: ignore[call-arg]
    client.map(requests, into="out")  # type: ignore[arg-type]
    client.map(requests, at_once=3)  # type: ignore[call-arg]
    client.map(requests, on_exit="wait")  # type: ignore[arg-type]
    async for outcome in client.map(requests, into=Directory("out")):
        str(outcome.result)  # type: ignore[union-attr]
        if isinstance(outcome, Done):
            len(outcome.result.image.data)  # type: ignore[attr-defined]
    for forgotten in client.map(requests):  # type: ignore[attr-defined]
        str(forgotten)


async def forgotten_await(client: AsyncImagesClient) -> None:
    str(client.generate("an otter").image)  # type: ignore[attr-defined]


def wrong_options(client: AsyncImagesClient) -> None:
    client.with_options(retries=3)  # type: ignore[call-arg]
    client.with_options(api_key="sk-…")  # type: ignore[call-arg]
    client.with_options(base_url="https://ai.burncloud.com/v1")  # type: ignore[call-arg]
    client.with_options(retry=3)  # type: ignore[arg-type]
    client.with_options(validation="loose")  # type: ignore[arg-type]
    client.with_options(RetryPolicy())  # type: ignore[call-arg, arg-type]
    AsyncImagesClient(validation="loose")  # type: ignore[arg-type]
    AsyncImagesClient(api_key=7)  # type: ignore[arg-type]
    AsyncImagesClient(base_url=Path("v1"))  # type: ignore[arg-type]
    AsyncImagesClient(timeout=30)  # type: ignore[call-arg]
    AsyncImagesClient("sk-…", None, "gpt-image-2")  # type: ignore[call-arg]
    RetryPolicy(4)  # type: ignore[call-arg]
    RetryPolicy(max_retries=3)  # type: ignore[call-arg]
    RetryPolicy(retry_codes=[429])  # type: ignore[list-item]
