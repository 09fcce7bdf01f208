"""
What type checkers see of the public names: not executed; mypy and pyright read it.

`assert_type` says what comes out. What must not go in stands in `refused.py`.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, assert_type

import PIL.Image

from burncloud_images import (
    AsyncImagesClient,
    Attempt,
    CompletedImage,
    Directory,
    Done,
    EditRequest,
    Failed,
    FileID,
    GenerationRequest,
    Image,
    ImagesResult,
    ImageURL,
    Limits,
    Memory,
    ModelInfo,
    Network,
    PartialImage,
    RetryPolicy,
    SavedImage,
    Sink,
    Timeouts,
    Usage,
    VariationRequest,
    errors,
)
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.emulator.ledger import Ledger
from burncloud_images.model.inputs import ImageSource


class OwnClient(AsyncImagesClient):
    """A client of the user's."""


async def bytes_in_pieces() -> AsyncIterator[bytes]:
    yield b""


async def ask_for_key() -> str:
    return "sk-…"


def see(attempt: Attempt) -> None:
    assert_type(attempt.number, int)
    assert_type(attempt.wait, float | None)


# --- making a client -------------------------------------------------------------------------------------------------


async def make_clients() -> None:
    AsyncImagesClient()
    AsyncImagesClient("sk-…", "ai.burncloud.com")
    AsyncImagesClient(lambda: "sk-…")
    AsyncImagesClient(
        api_key=ask_for_key,
        base_url="https://ai.burncloud.com/v1",
        model="gpt-image-2",
        retry=RetryPolicy(attempts=1),
        timeouts=Timeouts(connect=5),
        limits=Limits(image=10_000_000),
        network=Network(ca=Path("ca.pem"), allowed_result_hosts=["images.example.com"]),
        validation="strict",
        max_connections=8,
        on_attempt=see,
    )
    async with OwnClient() as client:
        assert_type(client, OwnClient)
        assert_type(client.base_url, str)
        assert_type(client.with_options(model=None), OwnClient)
        assert_type(await client.aclose(), None)
        assert_type(await client.aclose(on_exit="cancel"), None)


def name_codes_and_hosts(hosts: list[str], codes: set[str]) -> None:
    assert_type(
        RetryPolicy(retry_codes=["slow_down"], fail_codes=codes, unknown_codes=("a",)).fail_codes, tuple[str, ...]
    )
    assert_type(Network(allowed_result_hosts=hosts).allowed_result_hosts, tuple[str, ...])


def change_options(client: AsyncImagesClient) -> None:
    assert_type(client.with_options(), AsyncImagesClient)
    assert_type(
        client.with_options(
            model="gpt-image-2",
            retry=RetryPolicy(attempts=1, on_unknown="retry"),
            timeouts=Timeouts(first_byte=60),
            limits=Limits(),
            validation="off",
            on_attempt=None,
        ),
        AsyncImagesClient,
    )


# --- the three verbs -------------------------------------------------------------------------------------------------


async def generate(client: AsyncImagesClient) -> None:
    assert_type(await client.generate("a sea otter"), ImagesResult[Image])
    assert_type(await client.generate(prompt="a sea otter", model="a-model-to-come"), ImagesResult[Image])
    await client.generate(
        "a sea otter",
        model="gpt-image-2.6-sunburst",
        n=2,
        size="1536x864",
        quality="max",
        style=None,
        background="transparent",
        moderation="low",
        output_format="webp",
        output_compression=80,
        partial_images=0,
        complexity="high",
        frame_count=4,
        frame_duration_ms=120,
        svg={"model": "gpt-7", "reasoning": {"effort": "low"}},
        response_format="b64_json",
        safety_identifier="5994",
        user="user-7",
        extra={"watermark": False},
    )


async def edit(client: AsyncImagesClient, path: Path, picture: PIL.Image.Image) -> None:
    assert_type(await client.edit(path, "a hat"), ImagesResult[Image])
    assert_type(await client.edit(image=path, prompt="a hat", mask=b"", markup=None), ImagesResult[Image])
    await client.edit("otter.png", "a hat", mask="mask.png", input_fidelity="high")
    await client.edit(b"", "a hat", mask=path)
    await client.edit(bytearray(), "a hat")
    await client.edit(memoryview(b""), "a hat")
    await client.edit(io.BytesIO(), "a hat")
    await client.edit(path.open("rb"), "a hat")
    await client.edit(bytes_in_pieces(), "a hat")
    await client.edit(bytes_in_pieces, "a hat")
    await client.edit(lambda: path.open("rb"), "a hat")
    await client.edit(picture, "a hat")
    await client.edit([path, "otter.png", b"", io.BytesIO(), picture], "a gift basket of these")
    await client.edit((path, b""), "a gift basket of these")
    await client.edit([path], "a hat")
    await client.edit([ImageURL("https://example.com/otter.png"), FileID("file-1")], "a hat", by_reference=True)


async def edit_listed(client: AsyncImagesClient, paths: list[Path], texts: list[str], parts: tuple[bytes, ...]) -> None:
    await client.edit(paths, "a hat")
    await client.edit(texts, "a hat")
    await client.edit(parts, "a hat")


async def create_variation(client: AsyncImagesClient, path: Path) -> None:
    assert_type(await client.create_variation(path), ImagesResult[Image])
    assert_type(await client.create_variation(image=b"", model="dall-e-2", n=2), ImagesResult[Image])
    await client.create_variation("otter.png", size="256x256", response_format="url", user="user-7", extra={})


# --- the engine ------------------------------------------------------------------------------------------------------


class Discarded(Image):
    """An image that a sink of the user's makes."""


async def send(client: AsyncImagesClient, own: Sink[Discarded]) -> None:
    request = GenerationRequest("a sea otter", model="gpt-image-2")
    assert_type(await client.send(request), ImagesResult[Image])
    assert_type(await client.send(EditRequest(b"", "a hat")), ImagesResult[Image])
    assert_type(await client.send(VariationRequest(b"")), ImagesResult[Image])
    assert_type(await client.send(request, into=Memory()), ImagesResult[Image])
    assert_type(await client.send(request, into=Directory("out")), ImagesResult[SavedImage])
    assert_type(await client.send(request, into=Directory(Path("out"), hash=True)), ImagesResult[SavedImage])
    assert_type(await client.send(request, into=own), ImagesResult[Discarded])
    assert_type(await client.models(), tuple[ModelInfo, ...])


async def stream(client: AsyncImagesClient, request: GenerationRequest) -> None:
    assert_type(await client.send(request, via_stream=True), ImagesResult[Image])
    assert_type(await client.send(request, into=Directory("out"), via_stream=True), ImagesResult[SavedImage])
    async with client.stream(request) as events:
        async for event in events:
            assert_type(event, PartialImage | CompletedImage)
            assert_type(event.data, bytes)
            assert_type(event.image, Image)
            assert_type(event.created_at, datetime | None)
            if isinstance(event, PartialImage):
                assert_type(event.partial_image_index, int)
            else:
                assert_type(event.usage, Usage | None)
    async with client.stream(EditRequest(b"", "a hat")) as events:
        assert_type(await anext(events), PartialImage | CompletedImage)


def requests() -> Iterator[GenerationRequest]:
    yield GenerationRequest("a sea otter")


async def requests_from_elsewhere() -> AsyncIterator[EditRequest]:
    yield EditRequest(b"", "a hat")


def count(outcome: Done[GenerationRequest, Image] | Failed[GenerationRequest, errors.ImagesError]) -> None:
    assert_type(outcome.index, int)
    assert_type(outcome.request.prompt, str)


async def map_in_memory(client: AsyncImagesClient) -> None:
    async for outcome in client.map(requests()):
        assert_type(outcome, Done[GenerationRequest, Image] | Failed[GenerationRequest, errors.ImagesError])
        match outcome:
            case Done(request=request, result=result):
                assert_type(request, GenerationRequest)
                assert_type(result.image.data, bytes)
            case Failed(index=index, request=request, error=error):
                assert_type(index, int)
                assert_type(request.prompt, str)
                assert_type(error, errors.ImagesError)


async def map_into(
    client: AsyncImagesClient, own: Sink[Discarded], mixed: Iterable[GenerationRequest | EditRequest]
) -> None:
    async for outcome in client.map(requests(), into=Directory("out"), concurrency=8, ordered=True, max_bytes=2**20):
        assert_type(outcome, Done[GenerationRequest, SavedImage] | Failed[GenerationRequest, errors.ImagesError])
        if isinstance(outcome, Done):
            assert_type(outcome.result.image.path, Path)
    async for discarded in client.map(requests_from_elsewhere(), into=own, via_stream=True):
        assert_type(discarded, Done[EditRequest, Discarded] | Failed[EditRequest, errors.ImagesError])
    async for either in client.map(mixed, into=Memory()):
        assert_type(either.request, GenerationRequest | EditRequest)


async def map_in_a_block(client: AsyncImagesClient, listed: list[VariationRequest]) -> None:
    async with client.map(listed, on_exit="cancel") as outcomes:
        async for outcome in outcomes:
            assert_type(outcome, Done[VariationRequest, Image] | Failed[VariationRequest, errors.ImagesError])
    async with client.map(requests(), on_unclaimed=count) as counted:
        assert_type(await counted.aclose(), None)
    lost: list[Done[VariationRequest, SavedImage] | Failed[VariationRequest, errors.ImagesError]] = []
    client.map(listed, into=Directory("out"), on_unclaimed=lost.append)


async def choose_sink(client: AsyncImagesClient, request: GenerationRequest | EditRequest | VariationRequest) -> None:
    sink: Sink[SavedImage] = Directory("out", name="{slug}-{index}.{ext}", exists="rename")
    assert_type(await client.send(request, into=sink), ImagesResult[SavedImage])


def read_requests(edit: EditRequest, generation: GenerationRequest, variation: VariationRequest) -> None:
    assert_type(generation.prompt, str)
    assert_type(generation.n, int | None)
    assert_type(edit.image, tuple[ImageSource, ...])
    assert_type(edit.mask, ImageSource | None)
    assert_type(edit.by_reference, bool)
    assert_type(variation.image, ImageSource)


# --- what comes back -------------------------------------------------------------------------------------------------


async def read_images(result: ImagesResult[Image]) -> None:
    assert_type(result.image, Image)
    assert_type(result.image.data, bytes)
    assert_type(result.image.size, int)
    assert_type(result.images, tuple[Image, ...])
    assert_type(result.images[0].width, int | None)
    assert_type(result.images[0].media_type, str | None)
    assert_type(result.images[0].revised_prompt, str | None)
    assert_type(result.images[0].url, str | None)
    assert_type(result.images[0].expires_at, datetime | None)
    assert_type(await result.images[0].save("otter.png"), Path)
    assert_type(await result.images[0].save(Path("otter.png"), overwrite=True), Path)


def read_details(result: ImagesResult[SavedImage]) -> None:
    assert_type(result.image.path, Path)
    assert_type(result.image.size, int)
    assert_type(result.image.sha256, str | None)
    assert_type(result.created, datetime | None)
    assert_type(result.usage, Usage | None)
    assert_type(result.request_id, str | None)
    assert_type(result.idempotency_key, str | None)
    assert_type(result.history, tuple[Attempt, ...])


async def read_errors(client: AsyncImagesClient) -> None:
    try:
        await client.generate("a sea otter")
    except errors.RateLimitError as error:
        assert_type(error.billed, errors.Billing)
        assert_type(error.status, int)
        assert_type(error.code, str | None)
        assert_type(error.retry_after, float | None)
    except errors.OutcomeUnknownError as error:
        assert_type(error.idempotency_key, str | None)
        assert_type(error.partials, tuple[PartialImage, ...])
        assert_type(error.history, tuple[Attempt, ...])


async def emulate(anything: Any) -> None:
    async with Emulator(faults=[Fault(status=429, retry_after=0.2), anything]) as emulator:
        assert_type(emulator, Emulator)
        assert_type(emulator.base_url, str)
        assert_type(emulator.api_key, str)
        assert_type(emulator.ledger, Ledger)
        assert_type(emulator.ledger.billed_images, int)
        AsyncImagesClient(emulator.api_key, emulator.base_url)
