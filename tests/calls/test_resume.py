"""A download that broke off goes on where it was, if the host can tell that it is still the same file."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from contextlib import asynccontextmanager
from email.utils import formatdate
from types import SimpleNamespace

import attrs
import pytest
from fakes import FakeClock
from pictures import png
from raw import hang_up, serve

from burncloud_images import (
    AsyncImagesClient,
    Directory,
    GenerationRequest,
    Limits,
    Memory,
    RetryPolicy,
    Timeouts,
    errors,
)
from burncloud_images.calls.download import Download
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.files.sinks import MemoryWriter
from burncloud_images.transport.address_guard import AddressPolicy

pytestmark = pytest.mark.ways("tls", "connect")

IMAGE = png(pad=1_000_000)
OTHER = png(pad=1_000_000)
LARGE = png(pad=2_000_000)
HUGE = png(pad=4_000_000)
SIZE = len(IMAGE)
HALF = SIZE // 2
REQUEST = GenerationRequest("otter", model="m")


@attrs.define(kw_only=True)
class Step:
    """
    How one request for the image is answered.

    Attributes:
        cut: Bytes of the body after which the connection ends.
        content: The file.
        tag: Its tag, as a header has it.
        headers: Further ones.
        ranges: Whether parts are served.
        part: In place of the right Content-Range; empty for none.
        status: In place of the right one.
        length: Whether the length is told.
        drip: Bytes that are sent at a time, with a pause after each.
        abrupt: Whether the connection ends without TLS's own end.
    """

    cut: int | None = None
    content: bytes = IMAGE
    tag: str | None = '"one"'
    headers: tuple[str, ...] = ()
    ranges: bool = True
    part: str | None = None
    status: int | None = None
    length: bool = True
    drip: int | None = None
    abrupt: bool = False


class Store:
    """A gateway that answers with the address of one image, and the store that has it."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.asked = []
        self.sent = 0
        self.url = ""

    async def __call__(self, _reader, writer, request):
        if request.startswith(b"POST"):
            body = json.dumps({"created": 1, "data": [{"url": f"{self.url}/a.png?sig=canary"}]}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
            return
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        head = dict(line.split(": ", 1) for line in request.decode().split("\r\n")[1:] if line)
        self.asked.append((head.get("Range"), head.get("If-Range")))
        await self.answer(writer, step, head)

    async def answer(self, writer, step, head):
        start = 0
        if step.ranges and "Range" in head and head["If-Range"] in {step.tag, *self.dates(step)}:
            start = int(head["Range"].removeprefix("bytes=").removesuffix("-"))
        body = step.content[start:]
        status = step.status or (206 if start else 200)
        lines = [f"HTTP/1.1 {status} X", f"Date: {formatdate(usegmt=True)}", "Connection: close", *step.headers]
        given = {line.partition(":")[0] for line in step.headers}
        lines += [f"ETag: {step.tag}"] * (step.tag is not None and "ETag" not in given)
        lines += [f"Content-Length: {len(body)}"] * step.length
        span = f"bytes {start}-{len(step.content) - 1}/{len(step.content)}" if step.part is None else step.part
        lines += [f"Content-Range: {span}"] * (bool(span) and bool(start) and "Content-Range" not in given)
        writer.write("\r\n".join([*lines, "", ""]).encode())
        body = body[: step.cut]
        for place in range(0, len(body), step.drip or SIZE * 4):
            writer.write(body[place : place + (step.drip or SIZE * 4)])
            await writer.drain()
            if step.drip:
                await asyncio.sleep(0.005)
        self.sent += len(body)
        if step.abrupt:
            hang_up(writer)

    def dates(self, step):
        return {line.partition(": ")[2] for line in step.headers if line.startswith("Last-Modified")}


async def fetch(store, into=None, clock=None, **options):
    options = {"clock": clock or FakeClock(), **options}
    async with serve(store) as raw:
        store.url = raw.url
        async with AsyncImagesClient("sk-canary", raw.url, **options) as client:
            return (await (client.send(REQUEST, into=into) if into else client.send(REQUEST))).image


class TestGoesOn:
    """Bytes that have arrived are not downloaded again."""

    async def test_from_where_it_was_cut(self):
        """A download resumes where it was cut, with the validator."""
        store = Store(Step(cut=HALF), Step())
        image = await fetch(store)

        assert IMAGE == image.data
        (first, second) = store.asked
        assert (None, None) == first
        begun = int(second[0].removeprefix("bytes=").removesuffix("-"))
        assert 0 < begun <= HALF
        assert '"one"' == second[1]
        assert SIZE + HALF - begun == store.sent

    async def test_in_a_file(self, tmp_path):
        """A download resumes in the same hidden file, and the hash covers its whole length."""
        store = Store(Step(content=HUGE, cut=2_500_000), Step(content=HUGE, cut=200_000), Step(content=HUGE))
        image = await fetch(store, Directory(tmp_path / "out", hash=True))

        assert HUGE == image.path.read_bytes()
        assert hashlib.sha256(HUGE).hexdigest() == image.sha256
        assert [image.path] == list((tmp_path / "out").iterdir())
        assert store.sent < len(HUGE) * 1.5

    @pytest.mark.parametrize("then", [Step(status=400), Step(content=HUGE, tag='"two"', cut=2_500_000)])
    async def test_and_leaves_no_file_if_that_fails(self, tmp_path, then):
        """A download that fails leaves neither the first file nor the second."""
        store = Store(Step(content=HUGE, cut=2_500_000), then, Step(status=400))
        with pytest.raises(errors.DownloadError, match="answered 400"):
            await fetch(store, Directory(tmp_path / "out"))

        assert [] == list((tmp_path / "out").iterdir())

    async def test_by_date_if_the_file_has_no_tag(self):
        """A file without a tag is identified by a date that is at least a minute old."""
        date = "Last-Modified: Tue, 24 Nov 2020 11:00:00 GMT"
        store = Store(Step(cut=HALF, tag=None, headers=(date,)), Step(tag=None, headers=(date,)))
        image = await fetch(store)

        assert IMAGE == image.data
        assert date.partition(": ")[2] == store.asked[1][1]
        assert store.sent < SIZE * 1.5

    async def test_as_often_as_it_gets_further(self):
        """A connection that is cut every 100 kB still brings the image, since progress is not a failure."""
        store = Store(Step(cut=100_000))
        image = await fetch(store)

        assert IMAGE == image.data
        assert len(store.asked) > 8

    async def test_not_for_ever_without_progress(self):
        """Without progress the download ends after eight attempts, with the URL on the error."""
        store = Store(Step(cut=HALF), Step(cut=0))
        with pytest.raises(errors.DownloadError) as caught:
            await fetch(store)

        assert 1 + 7 == len(store.asked)
        assert caught.value.url.startswith(store.url)

    async def test_not_for_ever_with_little_progress(self):
        """Less than 64 KiB per attempt does not count as progress."""
        store = Store(Step(cut=60_000))
        with pytest.raises(errors.DownloadError):
            await fetch(store)

        assert 8 == len(store.asked)

    async def test_as_long_as_the_caller_wants(self):
        """The caller's deadline limits the retries, and without one the expiry of the URL."""
        store = Store(Step(cut=0))
        with pytest.raises(errors.DownloadError):
            await fetch(store, retry=RetryPolicy(deadline=0))
        assert 1 == len(store.asked)

        store = Store(Step(cut=0))
        with pytest.raises(errors.DownloadError):
            await fetch(store, retry=RetryPolicy(deadline=None, attempts=10))
        assert 10 == len(store.asked)

    async def test_not_at_all_if_nothing_is_to_be_repeated(self):
        """With a policy of one attempt a download is tried once."""
        store = Store(Step(cut=HALF), Step())
        with pytest.raises(errors.DownloadError):
            await fetch(store, retry=RetryPolicy(attempts=1))

        assert 1 == len(store.asked)

    async def test_if_only_the_end_of_the_answer_was_missing(self):
        """If all bytes had arrived, an answer 416 with their number ends the download."""
        ending = Step(status=416, content=b"", headers=(f"Content-Range: bytes */{SIZE}",), length=True)
        store = Store(Step(headers=("Transfer-Encoding: chunked",), length=False), ending)
        store.steps[0].content = b"%x\r\n%b\r\n" % (SIZE, IMAGE)
        image = await fetch(store)

        assert IMAGE == image.data
        assert f"bytes={SIZE}-" == store.asked[1][0]
        assert 2 == len(store.asked)

    async def test_while_its_checksum_is_counted(self):
        """The checksum covers all parts of a resumed download."""
        checksum = f"Content-MD5: {base64.b64encode(hashlib.md5(IMAGE).digest()).decode()}"
        store = Store(Step(cut=HALF, headers=(checksum,)), Step())

        assert IMAGE == (await fetch(store)).data
        assert store.sent < SIZE * 1.5


class TestBeginsAnew:
    """Parts of two files are never put together."""

    @pytest.mark.parametrize(
        "second",
        [
            Step(ranges=False),
            Step(ranges=False, content=OTHER, tag='"two"'),
            Step(content=OTHER, tag='"two"'),
            Step(content=OTHER, tag=None),
        ],
        ids=["no ranges", "no ranges and another file", "another file", "no tag any more"],
    )
    async def test_if_the_whole_comes(self, second, tmp_path):
        """If the whole file comes instead of the rest, the bytes before are discarded."""
        store = Store(Step(cut=HALF), second)
        image = await fetch(store, Directory(tmp_path / "out", hash=True))

        assert second.content == image.path.read_bytes()
        assert hashlib.sha256(second.content).hexdigest() == image.sha256
        assert 2 == len(store.asked)
        assert 1 == len(list((tmp_path / "out").iterdir()))

    @pytest.mark.parametrize(
        ("tag", "date"),
        [('W/"one"', "2020"), (None, formatdate(usegmt=True)[12:16] + "x"), (None, None), ('"one', "2020")],
    )
    async def test_if_nothing_tells_the_file_from_another(self, tag, date):
        """Without a validator for the file the rest is not asked for."""
        headers = (f"Last-Modified: Tue, 24 Nov {date} 11:00:00 GMT",) if date else ()
        store = Store(Step(cut=HALF, tag=tag, headers=headers), Step(tag=tag))
        image = await fetch(store)

        assert IMAGE == image.data
        assert [(None, None), (None, None)] == store.asked

    @pytest.mark.parametrize(
        "second",
        [
            Step(part=""),
            Step(part=f"bytes 0-{SIZE - 1}/{SIZE}"),
            Step(part=f"bytes 1-{SIZE - 1}/{SIZE}"),
            Step(part="nonsense"),
            Step(content=IMAGE + b"x"),
            Step(headers=('ETag: "two"',)),
            Step(status=416, content=b"", headers=("Content-Range: bytes */7",)),
            Step(status=416, content=b""),
            Step(status=416),
        ],
        ids=[
            "no range",
            "from 0",
            "from 1",
            "nonsense",
            "longer",
            "other tag",
            "416 shorter",
            "416 without length",
            "416 with a part",
        ],
    )
    async def test_if_the_part_is_not_the_one_that_was_asked_for(self, second):
        """A host that sends another part is not asked for parts again."""
        if second.headers and second.headers[0].startswith("ETag"):
            second = attrs.evolve(second, tag='"one"')
        store = Store(Step(cut=HALF), second, Step(cut=HALF), Step())
        image = await fetch(store)

        assert IMAGE == image.data
        assert store.asked[1][0] is not None
        assert [(None, None), (None, None)] == store.asked[2:]

    async def test_a_part_that_nobody_asked_for_is_no_image(self):
        """An answer 206 to a request without a range is refused and not retried."""
        store = Store(Step(status=206))
        with pytest.raises(errors.DownloadError, match="answered 206"):
            await fetch(store)

        assert 1 == len(store.asked)


class TestChecks:
    """An image is whole if its length, its checksums and its end marker are right."""

    async def test_a_wrong_checksum_is_tried_again_and_then_an_error(self, tmp_path):
        """A wrong checksum is retried, and then raised without leaving a file."""
        wrong = f"Content-MD5: {base64.b64encode(bytes(16)).decode()}"
        store = Store(Step(headers=(wrong,)))
        with pytest.raises(errors.DownloadError, match="its checksum is not the one in content-md5") as caught:
            await fetch(store, Directory(tmp_path / "out"))

        assert 8 == len(store.asked)
        assert {(None, None)} == set(store.asked)
        assert [] == list((tmp_path / "out").iterdir())
        assert "canary" not in str(caught.value)

    async def test_a_checksum_that_came_wrong_once_is_no_loss(self):
        """After one wrong checksum the file of the second attempt is kept."""
        wrong = f"Repr-Digest: sha-256=:{base64.b64encode(bytes(32)).decode()}:"
        right = f"Repr-Digest: sha-256=:{base64.b64encode(hashlib.sha256(IMAGE).digest()).decode()}:"
        store = Store(Step(headers=(wrong,)), Step(headers=(right,)))

        assert IMAGE == (await fetch(store)).data
        assert 2 == len(store.asked)

    async def test_checksums_may_come_in_several_headers(self):
        """Each of several checksums counts, also the second in one header."""
        md5 = base64.b64encode(bytes(16)).decode()
        store = Store(Step(headers=("x-goog-hash: crc32c=AAAAAA==", f"x-goog-hash: md5={md5}")))
        with pytest.raises(errors.DownloadError, match="x-goog-hash"):
            await fetch(store, retry=RetryPolicy(attempts=1))

    async def test_an_end_without_a_length_is_seen(self):
        """An image without a length that was cut is noticed by its end marker."""
        store = Store(Step(cut=HALF, length=False), Step(length=False))

        assert IMAGE == (await fetch(store)).data
        assert [(None, None), (None, None)] == store.asked

    async def test_a_page_with_status_200_is_no_image(self):
        """A page with status 200 is refused as not an image."""
        store = Store(Step(content=b"<html>please log in</html>"))
        with pytest.raises(errors.DownloadError, match="its bytes are not an image"):
            await fetch(store)

    async def test_nothing_is_no_image(self):
        """An empty answer is refused as not an image."""
        store = Store(Step(content=b""))
        with pytest.raises(errors.DownloadError, match="its bytes are not an image"):
            await fetch(store)

    async def test_the_cap_counts_all_parts(self):
        """The limit counts all parts, and a length above it is refused before anything is read."""
        store = Store(Step(cut=HALF), Step())
        with pytest.raises(errors.DownloadError, match=r"Limits\.image"):
            await fetch(store, limits=Limits(image=SIZE - 1))
        assert 1 == len(store.asked)

        store = Store(Step(cut=HALF, length=False, headers=("Transfer-Encoding: chunked",)), Step(length=False))
        store.steps[0].content = b"%x\r\n%b" % (SIZE, IMAGE)
        store.steps[1].part = f"bytes {HALF}-{SIZE - 1}/*"
        with pytest.raises(errors.DownloadError, match=r"Limits\.image"):
            await fetch(store, limits=Limits(image=SIZE - 1))

    async def test_an_image_as_large_as_the_cap_is_taken(self):
        """An image of exactly the limit is taken."""
        assert IMAGE == (await fetch(Store(Step()), limits=Limits(image=SIZE))).data


class SlowMemory:
    """Memory that takes its time, and says when it took something."""

    def __init__(self, taken):
        self.taken = taken

    async def prepare(self, placement, count):
        """Need nothing."""

    def open(self, placement):
        writer = Memory().open(placement)
        write, taken = writer.write, self.taken

        class Writer:
            finish, keep, discard = writer.finish, writer.keep, writer.discard

            async def write(self, data):
                await asyncio.sleep(0.04)
                await write(data)
                taken.release()

        return Writer()


class Timed:
    """A transport whose first answer comes at given times, as seconds waited and bytes; the second comes at once."""

    def __init__(self, times):
        self.times = times
        self.asked = 0

    @asynccontextmanager
    async def get(self, _url, _headers, state, _timeouts, *, kind):
        self.asked += 1
        times = self.times if self.asked == 1 else [(0.0, SIZE)]

        async def chunks():
            taken = 0
            for state.waited, size in times:
                yield IMAGE[taken : taken + size]
                taken += size

        yield SimpleNamespace(status=200, headers={"etag": '"one"'}, chunks=chunks)


# What is not tried has its time on a busy machine too, however fast the clock.
STAGES = ("connect", "send_stall", "first_byte", "idle", "download_first_byte", "download_idle")
PATIENT = dict.fromkeys(STAGES, 9_000.0)


class TestTime:
    """A host that is too slow is given up and asked again."""

    @pytest.mark.parametrize("tag", ['"one"', None])
    async def test_a_drip_is_ended(self, tag):
        """A connection below 1 KiB a second is given up, whether or not it can be resumed."""
        store = Store(Step(drip=10, tag=tag), Step(tag=tag))
        image = await fetch(store, clock=FakeClock(scale=0.001), timeouts=Timeouts(**PATIENT))

        assert IMAGE == image.data
        assert 2 == len(store.asked)
        assert tag == store.asked[1][1]

    async def test_a_long_connection_is_ended_if_it_can_go_on(self):
        """After five minutes a connection that can be resumed is replaced."""
        store = Store(Step(content=HUGE, drip=40_000), Step(content=HUGE))
        image = await fetch(store, clock=FakeClock(scale=0.001), timeouts=Timeouts(**PATIENT))

        assert HUGE == image.data
        assert 2 == len(store.asked)
        assert store.asked[1][0] is not None

    @pytest.mark.sampled(2)
    async def test_a_long_connection_is_left_alone_if_it_cannot(self):
        """A connection that cannot be resumed may take as long as it moves."""
        store = Store(Step(content=HUGE, drip=40_000, tag=None))
        image = await fetch(store, clock=FakeClock(scale=0.001), timeouts=Timeouts(**PATIENT))

        assert HUGE == image.data
        assert 1 == len(store.asked)

    @pytest.mark.parametrize(
        ("times", "gone_on"),
        [
            ([(29.9, 1), (29.9, SIZE)], True),
            ([(30.0, 30_719), (30.0, SIZE)], False),
            ([(30.0, 30_720), (30.0, SIZE)], True),
            ([(30.0, 30_720), (59.9, 1), (59.9, SIZE)], True),
            ([(30.0, 30_720), (60.0, 30_719), (60.0, SIZE)], False),
            ([(299.9, HALF), (299.9, SIZE)], True),
            ([(300.0, HALF), (300.0, SIZE)], False),
        ],
        ids=str,
    )
    @pytest.mark.ways
    async def test_a_slow_connection_is_ended_at_the_second(self, times, gone_on):
        """Each 30 s have to bring 1 KiB a second, and a connection that can be resumed lasts less than 300 s."""
        host = Timed(times)
        download = Download(
            transport=host,
            guard=AddressPolicy(),
            clock=FakeClock(),
            jitter=lambda: 0.0,
            retry=RetryPolicy(),
            timeouts=Timeouts(),
            limits=Limits(),
            url="https://store.example/a.png",
            open_writer=lambda: MemoryWriter(index=0),
        )

        assert IMAGE == (await download.run()).data
        assert (1 if gone_on else 2) == host.asked

    @pytest.mark.sampled(2)
    async def test_the_time_of_the_sink_does_not_count(self):
        """The time that a slow disk takes does not count as the host's."""
        small = png(pad=12_000)
        taken = asyncio.Semaphore(1)

        class Patient(Store):
            async def answer(self, writer, step, head):
                writer.write(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n" % len(small))
                for start in range(0, len(small), 1000):
                    await taken.acquire()
                    writer.write(small[start : start + 1000])
                    await writer.drain()

        store = Patient(Step())
        image = await fetch(store, SlowMemory(taken), clock=FakeClock(scale=0.01), timeouts=Timeouts(**PATIENT))

        assert small == image.data

    async def test_a_stall_is_ended(self):
        """A connection is given up after twenty seconds without a byte."""

        class Silent(Store):
            async def answer(self, writer, step, head):
                await super().answer(writer, step, head)
                if step.cut:
                    await writer.drain()
                    await asyncio.Event().wait()

        store = Silent(Step(cut=HALF), Step())
        image = await fetch(store, timeouts=Timeouts(download_idle=0.3))

        assert IMAGE == image.data
        assert 2 == len(store.asked)


class TestEmulator:
    """The same faults, played by the emulator's store."""

    @pytest.mark.sampled(4)
    @pytest.mark.parametrize(
        ("fault", "statuses"),
        [
            (Fault(operation="downloads", cut="close", place="answer", byte=0.5), [200, 206]),
            (Fault(operation="downloads", cut="reset", place="answer", byte=1000), [200, 206]),
            (Fault(operation="downloads", cut="stall", place="answer", byte=0.9), [200, 206]),
            (Fault(operation="downloads", headers={"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}), [200, 200]),
            (Fault(operation="downloads", store="truncated"), [200, 200]),
            (Fault(operation="downloads", body="<html>later</html>"), [200, 200]),
            (Fault(operation="downloads", rate=200), [200, 206]),
            (Fault(operation="downloads", status=404), [404, 200]),
        ],
        ids=["cut", "reset", "stall", "checksum", "truncated", "page", "drip", "not yet"],
    )
    async def test_one_failure_costs_nothing(self, fault, statuses, tmp_path):
        """After one failure the image is still whole, and was bought once."""
        faults, clock = [fault], FakeClock(scale=0.002)
        image, ledger = await self.make(faults, tmp_path, clock)

        assert statuses == [download.status for download in ledger.downloads]
        assert not any(download.authorization for download in ledger.downloads)
        assert 1 == ledger.billed_images
        assert image.path.stat().st_size == image.size

    async def test_a_length_that_was_never_true_is_forgotten(self, tmp_path):
        """A length that the store's parts contradict is forgotten, and the image starts again."""
        fault = Fault(operation="downloads", headers={"Content-Length": "999999"})
        _, ledger = await self.make([fault], tmp_path, FakeClock())

        first, second, third = (download.status for download in ledger.downloads)
        assert (200, 200) == (first, third)
        assert second in {206, 416}

    @pytest.mark.parametrize("store", ["ignores-range", "wrong-range", "no-range", "replaced"])
    async def test_a_failure_after_a_cut_costs_nothing_either(self, store, tmp_path):
        """After a cut, no failure of the store makes the client mix two files."""
        faults = [
            Fault(operation="downloads", cut="close", place="answer", byte=0.5),
            Fault(operation="downloads", store=store),
        ]
        image, ledger = await self.make(faults, tmp_path, FakeClock())

        assert hashlib.sha256(image.path.read_bytes()).hexdigest() == image.sha256
        expected = {"ignores-range": [200, 200], "replaced": [200, 200]}.get(store, [200, 206, 200])
        assert expected == [download.status for download in ledger.downloads]
        assert ledger.downloads[1].if_range is not None

    async def make(self, faults, tmp_path, clock):
        timeouts = Timeouts(**{**PATIENT, "download_idle": 0.3 / clock.scale})
        async with (
            Emulator(faults=faults) as emulator,
            AsyncImagesClient(emulator.api_key, emulator.base_url, clock=clock, timeouts=timeouts) as client,
        ):
            request = GenerationRequest("otter", model="dall-e-2", size="256x256")
            image = (await client.send(request, into=Directory(tmp_path / "out", hash=True))).image
            url = image.url.partition(emulator.base_url.removesuffix("/v1"))[2]
            kept = emulator.result_cache.find(url)
        assert kept is not None
        assert kept[1] == image.path.read_bytes()
        return image, emulator.ledger


class TestAbruptEnds:
    """A connection that ends without TLS's own end does not say how much was to come."""

    @pytest.mark.parametrize("ranges", [True, False])
    async def test_a_cut_is_gone_on_from(self, ranges):
        """A cut download resumes, or starts again if the store serves no ranges."""
        store = Store(Step(cut=HALF, abrupt=True), Step(ranges=ranges, abrupt=True))
        image = await fetch(store)

        assert IMAGE == image.data
        assert f"bytes={HALF}-" == store.asked[1][0]

    async def test_a_wrong_length_is_not_believed(self):
        """If the announced length is too large, the image is downloaded again."""
        lying = Step(headers=(f"Content-Length: {len(IMAGE) + 9}",), length=False, abrupt=True)
        store = Store(lying, Step(abrupt=True))
        image = await fetch(store)

        assert IMAGE == image.data
        assert f"bytes={len(IMAGE)}-" == store.asked[1][0]
        assert (None, None) == store.asked[2]

    async def test_half_an_image_without_a_length_is_not_taken(self):
        """Half an image without a length is refused, since its end marker is missing."""
        store = Store(Step(cut=HALF, length=False, abrupt=True), Step(abrupt=True))
        image = await fetch(store)

        assert IMAGE == image.data
        assert 2 == len(store.asked)

    async def test_a_whole_image_without_a_length_is(self):
        """A whole image without a length is taken, however its connection ended."""
        store = Store(Step(length=False, abrupt=True))
        image = await fetch(store)

        assert IMAGE == image.data
        assert 1 == len(store.asked)
