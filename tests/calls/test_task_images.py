"""Images that come while a task is at work: each is kept once, counted once, and never lost."""

from __future__ import annotations

import base64
import hashlib
import io

import attrs
import pytest
from fakes import FakeClock
from pictures import png
from raw import serve
from task_gateway import Answer, Gateway

from burncloud_images import AsyncImagesClient, Directory, GenerationRequest, Memory, RetryPolicy, errors
from burncloud_images.errors import Billing
from burncloud_images.model.media import examine_bytes
from burncloud_images.results import ImageDetails

pytestmark = pytest.mark.ways("tls")

RED, BLUE, GREEN = png(64, 64), png(65, 64), png(66, 64)
NAMES = {RED: "red", BLUE: "blue", GREEN: "green"}
RUNNING = {"id": "t-1", "status": "running"}
DONE = {"id": "t-1", "status": "succeeded"}
FAILED = {"id": "t-1", "status": "failed", "error": {"code": "upstream_failed", "message": "No more came."}}
LOST = Answer({"message": "no such task"}, 404)
WORDS = [
    *("queued", "QUEUED", "pending", "PENDING", "processing", "in_progress", "IN_PROGRESS", "running", "RUNNING"),
    *("submitted", "NOT_START", "generating", "starting", "TASK_STATUS_PROCESSING", "TASK_STATE_RUNNING", "in-queue"),
]


def with_images(document, *images):
    return {**document, "data": [{"b64_json": base64.b64encode(image).decode()} for image in images]}


def read(image):
    data = image.path.read_bytes() if hasattr(image, "path") else image.data
    return NAMES.get(data, "other")


@attrs.define
class Ran:
    """The end of a call: its images and addresses, in a result or on an error, and how it came."""

    gateway: Gateway
    images: list[str] = attrs.field(factory=list)
    places: list[int] = attrs.field(factory=list)
    error: errors.ImagesError | None = None


async def run(accepted, *polls, count=1, into=None, **options):
    """Send one request; an accepted answer or a poll may be a document, in which `BASE` is the gateway's URL."""
    answers = [poll if isinstance(poll, Answer) else Answer(poll) for poll in polls]
    gateway = Gateway(*answers, accepted=accepted if isinstance(accepted, Answer) else Answer(accepted, 202))
    async with serve(gateway) as raw:
        for answer in [gateway.accepted, *gateway.polls]:
            answer.body = answer.body.replace(b"BASE", raw.url.encode())
        options.setdefault("retry", RetryPolicy(deadline=30))
        async with AsyncImagesClient("sk-canary", raw.url, clock=FakeClock(), **options) as client:
            ran = Ran(gateway)
            try:
                request = GenerationRequest("an otter", model="m", n=count)
                images = (await client.send(request, into=into or Memory())).images
            except errors.ImagesError as error:
                ran.error, images = error, error.images
    assert 1 == len(gateway.posts)
    ran.images, ran.places = [read(image) for image in images], [image.index for image in images]
    return ran


@pytest.fixture(params=["memory", "files"])
def into(request, tmp_path):
    return Memory() if request.param == "memory" else Directory(tmp_path)


@pytest.fixture
def files(tmp_path):
    return lambda: sorted(NAMES[path.read_bytes()] for path in tmp_path.iterdir())


@pytest.mark.parametrize("word", WORDS)
async def test_a_task_at_work_is_followed_although_it_has_an_image(word):
    """An answer that says in any word that its task is at work is not the result, whatever it brings."""
    ran = await run(with_images({"task_id": "t-1", "status": word}, RED), with_images(DONE, RED, BLUE), count=2)

    assert (["red", "blue"], [0, 1], 1) == (ran.images, ran.places, len(ran.gateway.gets))


@pytest.mark.parametrize(
    ("early", "last", "count", "expected"),
    [
        ([RED], [RED], 1, ["red"]),
        ([RED], [RED, BLUE], 2, ["red", "blue"]),
        ([RED], [BLUE, RED], 2, ["blue", "red"]),
        ([RED, BLUE], [RED, BLUE], 2, ["red", "blue"]),
        ([RED, BLUE], [RED], 2, ["red", "blue"]),
        ([RED], [BLUE], 2, ["blue", "red"]),
        ([RED, BLUE], [GREEN], 3, ["green", "blue", "red"]),
        ([RED], [BLUE], 1, ["blue"]),
    ],
)
@pytest.mark.parametrize("polled", [False, True])
async def test_an_image_that_comes_twice_counts_once(early, last, count, expected, polled, into):
    """Images of the last answer count, and those of earlier ones that it leaves out; none counts twice."""
    answers = [with_images(RUNNING, *early), with_images(DONE, *last)]
    ran = await run(*([RUNNING] if polled else []), *answers, count=count, into=into)

    assert (expected, [*range(len(expected))]) == (ran.images, ran.places)


async def test_an_image_that_each_answer_brings_is_one_file(tmp_path, files):
    """A folder gets one file for an image, however often it comes and at whatever place."""
    early = [with_images(RUNNING, RED), with_images(RUNNING, RED), with_images(RUNNING, BLUE, RED)]
    ran = await run(*early, with_images(DONE, GREEN, BLUE, RED), count=3, into=Directory(tmp_path))

    assert (["green", "blue", "red"], ["blue", "green", "red"]) == (ran.images, files())


@pytest.mark.parametrize("name", ["{id}-{index}.{ext}", "fox.png", "{sha8}.png"])
@pytest.mark.parametrize("exists", ["error", "rename", "overwrite"])
async def test_images_of_one_place_have_names_of_their_own(tmp_path, files, name, exists):
    """A later image in the place of an earlier one does not take its file."""
    answers = [with_images(RUNNING, RED), with_images(RUNNING, BLUE), with_images(DONE, GREEN)]
    ran = await run(*answers, count=3, into=Directory(tmp_path, name=name, exists=exists))

    assert (["green", "red", "blue"], ["blue", "green", "red"]) == (ran.images, files())


@pytest.mark.parametrize(
    ("ends", "billed"),
    [
        ([RUNNING], Billing.YES),
        ([FAILED], Billing.YES),
        ([{**FAILED, "refund_status": "refunded"}], Billing.NO),
        ([LOST], Billing.YES),
        ([Answer(b"", 401)], Billing.YES),
        ([Answer(b"<html>", 502)], Billing.YES),
        ([Answer(b"")], Billing.YES),
        ([RUNNING, LOST], Billing.YES),
    ],
)
@pytest.mark.parametrize("polled", [False, True])
async def test_images_are_on_the_error_if_the_task_ends_otherwise(ends, billed, polled, into):
    """Whatever becomes of a task, the images that it brought are kept, and known as paid unless it was refunded."""
    ran = await run(*([RUNNING] if polled else []), with_images(RUNNING, RED), *ends, count=2, into=into)

    assert (["red"], billed, "t-1") == (ran.images, ran.error.billed, ran.error.task.id)


@pytest.mark.parametrize("early", [[RED], [RED, BLUE]])
@pytest.mark.parametrize("polled", [False, True])
async def test_a_task_that_succeeded_with_nothing_new_has_what_came(early, polled, into):
    """A last answer without images leaves those that came while the task was at work."""
    ran = await run(*([RUNNING] if polled else []), with_images(RUNNING, *early), DONE, count=2, into=into)

    assert ([NAMES[image] for image in early], None) == (ran.images, ran.error)


@pytest.mark.parametrize(("state", "found"), [("succeeded", 1), ("queued", 0), ("failed", 0)])
async def test_items_with_a_state_of_their_own(state, found):
    """The address of an item that is done is that of its image; of another it is where it is asked for."""
    items = [{"id": "i-1", "status": state, "url": "BASE/image.png"}, {"id": "i-2", "status": "queued"}]
    ran = await run({**RUNNING, "data": items}, RUNNING, count=2)

    assert found == len(ran.error.unfetched)


async def test_images_are_on_the_error_if_no_task_is_followed(into):
    """With `off` the images that came already are on the error."""
    gateway = Gateway(LOST, accepted=Answer(with_images(RUNNING, RED), 202))
    async with serve(gateway) as raw, AsyncImagesClient("sk-canary", raw.url, clock=FakeClock()) as client:
        with pytest.raises(errors.ProtocolError) as caught:
            await client.send(GenerationRequest("x", model="m", n=2), into=into, tasks="off")

    assert ["red"] == [read(image) for image in caught.value.images]


async def test_images_of_a_broken_answer_are_kept(into):
    """An image of an answer about the task that was cut off is in the result, or on the error."""
    cut = Answer({**with_images(RUNNING, RED), "pad": "x" * 2000}, cut=True)
    short = await run(RUNNING, cut, with_images(DONE, BLUE), count=2)
    failed = await run(RUNNING, cut, RUNNING, count=2, into=into)

    assert (["blue", "red"], ["red"]) == (short.images, failed.images)


async def test_an_answer_with_all_images_is_enough_if_nobody_knows_its_task(into):
    """A gateway may say that a task is at work where there is none: its answer is the result, and says so."""
    with pytest.warns(errors.ImagesWarning, match="does not know it"):
        ran = await run(with_images(RUNNING, RED), LOST, into=into)

    assert (["red"], None, 3) == (ran.images, ran.error, len(ran.gateway.gets))


@pytest.mark.parametrize("place", ["data", "images", "output"])
async def test_addresses_of_a_task_at_work_are_followed_too(place, into):
    """An address that came early is fetched with the last answer's, or is on the error."""
    early = {**RUNNING, place: [{"url": "BASE/image.png?sig=1"}]}
    done = {**DONE, place: [{"url": "BASE/image.png?sig=2"}]}
    ran = await run(early, done, into=into)
    failed = await run(early, RUNNING, count=2)

    assert (1, None) == (len(ran.images), ran.error)
    assert ["/image.png"] == [one.url.partition("?")[0][-10:] for one in failed.error.unfetched]
    assert (Billing.YES, "t-1") == (failed.error.billed, failed.error.task.id)


async def test_an_image_that_cannot_be_stored_is_not_lost(tmp_path):
    """An image that the sink could not keep is on the error in memory, once."""

    class Full(Directory):
        def open(self, placement):
            writer = super().open(placement)
            writer.part = tmp_path / "absent" / "part"
            return writer

    ran = await run(with_images(RUNNING, RED), with_images(RUNNING, RED), with_images(DONE, RED), into=Full(tmp_path))

    assert (["red"], True) == (ran.images, isinstance(ran.error, errors.StorageError))


@attrs.frozen(kw_only=True)
class Counted(ImageDetails):
    """An image in a sink of a user's own, which nobody else can read."""

    digest: str


class CountingSink:
    """Takes images, and tells only what they hash to."""

    async def prepare(self, placement, count):
        pass

    def open(self, placement):
        return CountingWriter(placement.index, io.BytesIO())


@attrs.define
class CountingWriter:
    """One image of it."""

    index: int
    buffer: io.BytesIO

    async def write(self, data):
        self.buffer.write(data)

    async def finish(self):
        return examine_bytes(self.buffer.getvalue())

    async def keep(self, _):
        return Counted(index=self.index, digest=hashlib.sha256(self.buffer.getvalue()).hexdigest())

    async def discard(self):
        self.buffer.close()


@pytest.mark.parametrize("polled", [False, True])
async def test_a_sink_of_another_kind_gets_each_image_once_too(polled):
    """Images that can only be told apart as they come are counted once in the result."""
    gateway = Gateway(
        *([Answer(with_images(RUNNING, RED))] if polled else []),
        Answer(with_images(DONE, RED, BLUE)),
        accepted=Answer(RUNNING if polled else with_images(RUNNING, RED), 202),
    )
    async with serve(gateway) as raw, AsyncImagesClient("sk-canary", raw.url, clock=FakeClock()) as client:
        result = await client.send(GenerationRequest("x", model="m", n=2), into=CountingSink())

    assert [hashlib.sha256(image).hexdigest() for image in (RED, BLUE)] == [image.digest for image in result.images]
