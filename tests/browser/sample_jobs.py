"""Jobs to look at: one whose pictures the emulator draws, and one of any size with a single picture."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import attrs
from jobs import MemoryStore, done, failed, in_doubt, to_image, to_key, to_record

from burncloud_images import AsyncImagesClient, Directory, GenerationRequest
from burncloud_images.bulk.outputs.export import write_outputs
from burncloud_images.bulk.records import RequestFailure, RequestRecord, RequestState, StoredImage
from burncloud_images.emulator import Emulator

T = TypeVar("T")

STARTED = 1_795_500_000.0  # 24 November 2026

SCENES = (
    "a lighthouse on a basalt cliff, first light",
    "paper boats on a still mountain lake",
    "rolling dunes under a copper sky",
    "an island ferry at blue hour, long exposure",
    "a pine forest in morning mist, gouache",
    "harbour town at dusk, lanterns in the water",
    "northern lights above a frozen fjord",
    "a red kite over terraced hills",
    "the old observatory on its ridge, starry night",
    "salt flats after rain, mirror of clouds",
    "sailing home before the storm",
    "a valley of poplars in late October",
    "moonrise over the tea fields",
    "a quiet bay with three wooden piers",
    "desert caravan at noon, flat colours",
    "snow peaks glowing at sunset",
    "a canal city in spring fog",
    "fireflies along the river bend",
    "summer meadow with distant mountains",
    "a tiny chapel between two lakes",
)
SIZES = ("1024x1024", "1536x1024", "1024x1536")
MODELS = (("gpt-image-2", "high", 190_000_000), ("gpt-image-1.5", "medium", 42_000_000), ("dall-e-3", "hd", 80_000_000))
SQUARE_SIZES = {"1536x1024": "1792x1024", "1024x1536": "1024x1792"}  # dall-e-3's names of wide and tall


def to_documents() -> Iterator[dict[str, object]]:
    """Yield 60 requests; every tenth asks for two images."""
    for number in range(60):
        model, quality, _ = MODELS[number % 3 if number % 7 else 0]
        size = SIZES[(number // 2) % 3]
        size = SQUARE_SIZES.get(size, size) if model == "dall-e-3" else size
        prompt = SCENES[number % len(SCENES)] + ("", ", wide angle", ", in the style of a woodcut")[number // 20]
        fields = {"operation": "generations", "prompt": prompt, "model": model, "size": size, "quality": quality}
        yield {**fields, **({"n": 2} if number % 10 == 4 and model != "dall-e-3" else {})}


def to_request(document: Mapping[str, object]) -> GenerationRequest:
    fields = {name: value for name, value in document.items() if name != "operation"}
    return GenerationRequest(fields.pop("prompt"), **fields)


async def draw(folder: Path) -> list[RequestRecord]:
    """Let the emulator draw the pictures of a job into *folder*, and return its requests."""
    async with Emulator() as emulator, AsyncImagesClient(emulator.api_key, base_url=emulator.base_url) as client:
        return await asyncio.gather(
            *(buy(client, folder, number, document) for number, document in enumerate(to_documents(), start=1))
        )


async def buy(client: AsyncImagesClient, folder: Path, number: int, document: dict[str, object]) -> RequestRecord:
    key = to_key(number)
    image_folder = folder / "images" / key[:2]
    name = f"{key}-{{index}}.{{ext}}" if document.get("n") else f"{key}.{{ext}}"
    result = await client.send(
        to_request(document),
        into=Directory(image_folder, name=name, exists="overwrite", hash=True),
        idempotency_key=key,
    )
    prices = {model: price for model, _, price in MODELS}
    return attrs.evolve(
        to_record(number),
        document=document,
        label=f"scene-{number:02}",
        state=RequestState.DONE,
        images=tuple(
            StoredImage(
                index=image.index,
                path=image.path.relative_to(folder).as_posix(),
                size=image.size,
                sha256=image.sha256 or "",
                media_type=image.media_type,
                width=image.width,
                height=image.height,
                revised_prompt=image.revised_prompt,
            )
            for image in result.images
        ),
        cost=prices[document["model"]] * len(result.images),
        request_id=result.request_id,
        attempts=1,
    )


def to_troubles() -> Iterator[RequestRecord]:
    """Yield requests that brought nothing."""
    refusal = "Your request was rejected by the safety system."
    document = {"operation": "generations", "prompt": "a portrait of a living head of state", "model": "gpt-image-2"}
    yield attrs.evolve(failed(61, message=refusal), document={**document, "size": "1024x1024"}, label="scene-61")
    cut = RequestFailure(error="OutcomeUnknownError", message="The connection was cut while the answer was awaited.")
    document = {"operation": "generations", "prompt": "a steam train crossing a viaduct", "model": "gpt-image-2"}
    yield attrs.evolve(in_doubt(62), document={**document, "size": "1536x1024"}, failure=cut, label="scene-62")


async def exhibit(folder: Path, executor: Executor) -> None:
    """Write a job with 60 drawn requests, one that failed and one that is in doubt."""
    records = await draw(folder)
    failure, doubt = to_troubles()
    shown = [*records[:5], failure, *records[5:8], doubt, *records[8:]]
    renumbered = [
        attrs.evolve(record, number=number, line=number, ended_at=STARTED + 3 * number)
        for number, record in enumerate(shown, start=1)
    ]
    facts = {"started": STARTED, "ended": STARTED + 204.0, "stopped": "finished"}
    await write_outputs(MemoryStore(renumbered), folder, format="jsonl", facts=facts, executor=executor)


def write(folder: Path, records: list[RequestRecord]) -> None:
    """Write the outputs of a job."""

    async def work(executor: Executor) -> None:
        await write_outputs(MemoryStore(records), folder, format="jsonl", facts={}, executor=executor)

    return run_beside(work)


def run_beside(work: Callable[[Executor], Coroutine[object, object, T]]) -> T:
    """Return what *work* comes to, in a thread of its own: in this one the browser's event loop runs."""
    with ThreadPoolExecutor() as executor:
        return executor.submit(lambda: asyncio.run(work(executor))).result()


def crowd(count: int, path: str = "images/one.png") -> Iterator[RequestRecord]:
    """Yield *count* requests that share one picture; every hundredth failed."""
    for number in range(1, count + 1):
        prompt = f"{SCENES[number % len(SCENES)]}, take {number}"
        document = {"operation": "generations", "prompt": prompt, "model": MODELS[number % 3][0], "size": "1024x1024"}
        if number % 100 == 0:
            yield attrs.evolve(failed(number), document=document)
            continue
        width, height = (1024, 1024) if number % 2 else (1536, 1024)
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        image = attrs.evolve(to_image(to_key(number)), path=path, width=width, height=height, sha256=digest)
        yield done(number, document=document, images=(image,), cost=number * 1000, label=f"row-{number}")
