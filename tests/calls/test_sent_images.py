"""Images of the request that an answer repeats: never taken for a result, as what they are or by where they stand."""

from __future__ import annotations

import base64
import io
import json
import warnings

import pytest
from fakes import FakeClock
from pictures import png
from raw import serve
from task_gateway import Answer, Gateway

from burncloud_images import (
    AsyncImagesClient,
    Directory,
    EditRequest,
    GenerationRequest,
    ImageURL,
    Memory,
    RetryPolicy,
    VariationRequest,
    errors,
)

pytestmark = pytest.mark.ways("tls")

SENT, OTHER, MADE = png(64, 64), png(65, 64), png(66, 64)
NAMES = {SENT: "sent", OTHER: "other", MADE: "made"}
LINK = "http://127.0.0.1:1/sent.png?sig=1"
RUNNING = {"id": "t-1", "status": "queued"}
DONE = {"id": "t-1", "status": "succeeded"}


def to_text(data):
    return base64.b64encode(data).decode()


def to_data_url(data):
    return f"data:image/png;base64,{to_text(data)}"


RESULT = {"data": [{"b64_json": to_text(MADE)}]}
PLACES = {
    "input": lambda value: {"input": {"image": value, "prompt": "an otter"}},
    "request": lambda value: {"request": {"image": value, "images": [value]}},
    "image": lambda value: {"image": value},
    "images": lambda value: {"images": [value]},
    "image objects": lambda value: {"images": [{"b64_json": value}, {"url": value}]},
    "image urls": lambda value: {"image_urls": [value]},
    "image url": lambda value: {"image_url": value},
    "image url object": lambda value: {"image_url": {"url": value}},
    "metadata": lambda value: {"metadata": {"input": [{"image": {"b64_json": value}}]}},
    "items of data": lambda value: {"data": [{"image": value}]},
    "wrapped": lambda value: {"data": {"id": "t-1", "image": value}},
    "wrapped list": lambda value: {"data": {"images": [value]}},
    "task": lambda value: {"task": {"images": [value, value]}},
}
REQUESTS = {
    "edit": EditRequest(SENT, "x", model="m"),
    "edit of a file": EditRequest(lambda: io.BytesIO(SENT), "x", model="m"),
    "edit by reference": EditRequest(ImageURL(LINK), "x", model="m", by_reference=True),
    "edit of a data URL": EditRequest(ImageURL(to_data_url(SENT)), "x", model="m", by_reference=True),
    "variation": VariationRequest(SENT, model="m"),
    "generation": GenerationRequest("x", model="m", extra={"image": LINK}),
    "generation of data": GenerationRequest("x", model="m", extra={"images": [to_data_url(SENT)]}),
    "generation of base64": GenerationRequest("x", model="m", extra={"image": to_text(SENT)}),
}


@pytest.fixture(params=["memory", "files"])
def into(request, tmp_path):
    return Memory() if request.param == "memory" else Directory(tmp_path)


async def run(request, accepted, *polls, into=None):
    """Send *request* once, and return the names of its images, and its error."""
    gateway = Gateway(*map(Answer, polls), accepted=Answer(accepted))
    retry = RetryPolicy(deadline=30)
    async with (
        serve(gateway) as raw,
        AsyncImagesClient("sk-canary", raw.url, clock=FakeClock(), retry=retry, validation="off") as client,
    ):
        error = None
        try:
            images = (await client.send(request, into=into or Memory())).images
        except errors.ImagesError as raised:
            error, images = raised, raised.images
    assert 1 == len(gateway.posts)
    return [NAMES[image.path.read_bytes() if hasattr(image, "path") else image.data] for image in images], error


@pytest.mark.parametrize("value", [to_text(SENT), to_data_url(SENT), LINK], ids=["base64", "data URL", "address"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["edit", "generation"])
async def test_a_queued_answer_that_repeats_the_input_holds_no_image(name, place, value):
    """Wherever a task at work repeats the input, in whatever form, its image is the one that is made."""
    found, error = await run(REQUESTS[name], {**PLACES[place](value), **RUNNING}, {**DONE, **RESULT})

    assert (["made"], None) == (found, error)


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("order", ["before", "after"])
async def test_the_input_of_any_request_is_known(name, order, into, tmp_path):
    """Inputs of each kind are told from results in the first answer, in polls and in the last answer."""
    value = LINK if name in {"edit by reference", "generation"} else to_text(SENT)
    echo = {"images": [value], "image": value, "input": {"image": value}}
    answers = [{**one, **echo} if order == "after" else {**echo, **one} for one in (RUNNING, RUNNING, DONE | RESULT)]
    found, error = await run(REQUESTS[name], *answers, into=into)

    assert (["made"], None) == (found, error)
    assert len([*tmp_path.iterdir()]) <= 1


@pytest.mark.parametrize("place", ["data", "images"])
async def test_an_input_in_the_place_of_results_is_known_by_its_bytes(place, into):
    """An input that stands where results do is told by its bytes while its task is at work."""
    early = {**RUNNING, place: [{"b64_json": to_text(SENT)}]}
    found, error = await run(REQUESTS["edit"], early, {**RUNNING, place: [{"b64_json": to_text(SENT)}]}, into=into)

    assert ([], "t-1") == (found, error.task.id)


@pytest.mark.parametrize("place", ["images", "image objects", "items of data", "wrapped", "wrapped list"])
async def test_an_input_that_was_changed_is_known_by_its_place(place, into):
    """What a server has made of the input counts for no image; its bytes are in the answer that the error keeps."""
    early = {**PLACES[place](to_text(OTHER)), **RUNNING}
    found, error = await run(REQUESTS["edit"], early, {**DONE, **RESULT}, into=into)
    lost, reason = await run(REQUESTS["edit"], early, RUNNING)

    assert (["made"], None, []) == (found, error, lost)
    assert to_text(OTHER) in json.dumps(json.loads(reason.raw))


@pytest.mark.parametrize("place", ["images", "image objects", "wrapped list", "items of data"])
async def test_an_early_image_of_a_request_without_inputs_is_a_result(place, into):
    """Where nothing was sent that could be repeated, an image is one wherever it stands."""
    early = {**PLACES[place](to_text(MADE)), **RUNNING}
    found, error = await run(GenerationRequest("x", n=2, model="m"), early, RUNNING, into=into)

    assert (["made"], "t-1") == (found, error.task.id)


@pytest.mark.parametrize("place", ["images", "wrapped", "items of data", "wrapped list"])
@pytest.mark.parametrize("image", [MADE, SENT], ids=["another", "the same"])
async def test_an_edit_may_have_its_result_where_inputs_stand(place, image, into):
    """An answer that has no image but where servers repeat inputs too has it there, even if nothing was changed."""
    document = PLACES[place](to_text(image))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, error = await run(REQUESTS["edit"], document, into=into)

    assert (NAMES[image], None) == (found[0], error)


@pytest.mark.parametrize("wrapper", [None, "data", "task"])
@pytest.mark.parametrize("order", ["before", "after"])
async def test_the_addresses_of_results_go_before_images_that_may_be_inputs(wrapper, order, into):
    """An answer with base64 of the input, and the address of the result, has one image, which is at that address."""
    async with serve(gateway := Gateway(Answer())) as raw:
        echo, own = {"images": [to_text(SENT)]}, {"data": [{"url": f"{raw.url}/image.png"}]}
        document = {**echo, **own} if order == "before" else {**own, **echo}
        gateway.accepted = Answer({wrapper: document} if wrapper else document)
        async with AsyncImagesClient("sk-canary", raw.url, clock=FakeClock(), validation="off") as client:
            result = await client.send(EditRequest(OTHER, "x", model="m"), into=into)

    assert 1 == len(result.images)
    assert result.images[0].url.endswith("/image.png")


async def test_a_poll_url_is_not_an_image():
    """The address in an item about a task at work is where it is asked for."""
    accepted = {"data": [{"task_id": "t-1", "status": "queued", "url": "http://127.0.0.1:1/tasks/t-1"}]}
    found, error = await run(GenerationRequest("x", model="m"), accepted, {**DONE, **RESULT})

    assert (["made"], None) == (found, error)


async def test_an_input_that_changed_meanwhile_costs_no_task(tmp_path):
    """A file that is gone when it is compared leaves the task to be followed."""
    path = tmp_path / "otter.png"
    path.write_bytes(SENT)

    async def vanish():
        path.unlink()
        return Answer({**RUNNING, "images": [to_text(SENT)]})

    gateway = Gateway(Answer({**DONE, **RESULT}))
    gateway.accepted = vanish
    async with serve(gateway) as raw, AsyncImagesClient("sk-canary", raw.url, clock=FakeClock()) as client:
        result = await client.send(EditRequest(path, "x", model="m"))

    assert MADE == result.image.data
