"""Group D: the image is paid for and has to be fetched."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import attrs
from faults import authorities, jobs
from faults.gateway import Gateway, Step
from faults.proxy import Proxy
from faults.stage import CANARY, MIB, SMALL, Expected, Outcome, Stage, World, fails, generate, scripted, succeeds
from faults.store import IMAGE, NEW, Serve, Store, links, md5, stored
from faults.table import Play, case, one_call, row, variants
from pictures import png
from ways import here
from workshop import prompts, write_rows

from burncloud_images import AsyncImagesClient, Directory, GenerationRequest, Limits, Network, errors
from burncloud_images.bulk import RequestState
from burncloud_images.files.sinks import DirectoryWriter

REQUEST = GenerationRequest("a sea otter", **SMALL)
LOST = fails(errors.DownloadError, billed=1, attempts=None)


def same(_world: World, outcome: Outcome) -> None:
    """The bytes are those of the store."""
    assert IMAGE == outcome.result.image.data


def gets(number: int) -> Callable[[World, Outcome], None]:
    """Return a check of how often the store was asked."""

    def check(world: World, outcome: Outcome) -> None:
        same(world, outcome)
        assert number == len(world.store.gets), f"{len(world.store.gets)} GETs"

    return check


def store(number: str, fault: str, script: Serve | tuple[Serve, ...], expected: Expected, **options: Any) -> None:
    """Enter a case in which the store goes wrong."""
    script = (script,) if isinstance(script, Serve) else script
    options = {"check": same if expected.kind is None else None, "rival": False, **options}
    row(number, fault, stored(*script), expected, **options)


# --- resuming --------------------------------------------------------------------------------------------------------


def resumed(world: World, outcome: Outcome) -> None:
    """Next to nothing was fetched twice."""
    same(world, outcome)
    assert b"range: bytes=" in world.store.gets[1].head.lower()
    assert world.store.sent <= 1.05 * len(IMAGE), f"{world.store.sent / len(IMAGE):.2f} of the image was sent"


HALF = Serve(cut=0.5)
store("D01", "cut at half", (HALF, Serve()), succeeds(), check=resumed)
store("D02", "cut at half, ranges ignored", (HALF, Serve(ranges=False)), succeeds(), check=gets(2))
OTHER = png(pad=1024 * 1024)


def other(_world: World, outcome: Outcome) -> None:
    assert OTHER == outcome.result.image.data, "two files were mixed"


store(
    "D03", "cut at half, then another file", (HALF, Serve(headers={"ETag": NEW}, data=OTHER)), succeeds(), check=other
)


def no_condition(world: World, outcome: Outcome) -> None:
    """A weak tag says nothing about bytes."""
    same(world, outcome)
    assert b"if-range" not in world.store.gets[1].head.lower()


WEAK = {"ETag": 'W/"weak"'}
store(
    "D04", "cut at half, weak ETag", (Serve(cut=0.5, headers=WEAK), Serve(headers=WEAK)), succeeds(), check=no_condition
)
store("D05", "cut at half, then a part that begins elsewhere", (HALF, Serve(start=7), Serve()), succeeds())


@case("D06", "416, the file being there or not", succeeds())
async def unsatisfiable(stage: Stage) -> None:
    """Of a file that is there whole nothing is left to fetch; of another all is."""
    size = len(IMAGE)
    # The length lies by a byte too many, so that all bytes are there when the connection ends.
    over = Serve(headers={"Content-Length": str(size + 1)})
    done = Serve(status=416, headers={"Content-Range": f"bytes */{size}"})
    wrong = Serve(status=416, headers={"Content-Range": f"bytes */{size + 9}"})
    await variants(
        stage,
        {
            "all there": one_call(stored(over, done, Serve()), succeeds(), check=same),
            "other": one_call(stored(HALF, wrong, Serve()), succeeds(), check=same),
        },
    )


store("D07", "fewer bytes than the length says", (Serve(data=IMAGE, cut=len(IMAGE) - 9), Serve()), succeeds())
EARLY = Serve(length=False, cut=0.5, headers={"Accept-Ranges": None, "ETag": None}, ranges=False)


@case("D08", "no length, and an early end", "succeeds after retry; DownloadError")
async def early_end(stage: Stage) -> None:
    """An image without its end is not whole, whatever HTTP says."""
    await variants(
        stage,
        {
            "once": one_call(stored(EARLY, Serve()), succeeds(), check=same),
            "for ever": one_call(stored(EARLY), LOST),
        },
    )


@case("D09", "wrong MD5", LOST)
async def wrong_checksum(stage: Stage) -> None:
    """No file is kept that is not the one that was sent."""
    world = await stage.world(stored(Serve(headers={"Content-MD5": md5(b"another")})))
    client = await stage.client(world.base_url, **world.options)
    outcome = await stage.call(client.send(REQUEST, into=Directory(stage.folder / "out")))
    stage.judge(outcome, LOST if stage.faulty else succeeds())
    assert (0 if stage.faulty else 1) == len(files(stage))


def files(stage: Stage) -> list[Path]:
    """Return what is in the folder of results, hidden files included."""
    return sorted((stage.folder / "out").iterdir())


# --- expiry ----------------------------------------------------------------------------------------------------------


@case("D10", "403, before and after the URL has expired", "succeeds after retry; ResultExpiredError")
async def forbidden(stage: Stage) -> None:
    """A new file may not be everywhere yet; an old one is gone."""
    ended = datetime.now(UTC) - timedelta(hours=3)
    await variants(
        stage,
        {
            "before": one_call(stored(Serve(status=403), Serve()), succeeds(), check=same),
            "after": one_call(
                stored(Serve(status=403), suffix=f"&se={ended:%Y-%m-%dT%H:%M:%SZ}"),
                fails(errors.ResultExpiredError, billed=1),
            ),
        },
    )


row(
    "D11",
    "404 twice, then the file",
    stored(Serve(status=404), Serve(status=404), Serve()),
    succeeds(),
    check=gets(3),
    rival=False,
)
row("D12", "410", stored(Serve(status=410)), fails(errors.ResultExpiredError, billed=1), rival=False)


@case("D13", "local clock two hours ahead, or behind", "the same verdicts as on time")
async def wrong_clock(stage: Stage) -> None:
    """The server's own date counts, not this machine's."""

    def play_of(hours: int) -> Play:
        async def play(stage: Stage) -> None:
            shift = timedelta(hours=hours if stage.faulty else 0)
            true_now = stage.clock.now
            stage.clock.now = lambda: true_now() + shift  # type: ignore[method-assign]
            date = datetime.now(UTC)
            async with Store(Serve(status=403), Serve()) as files_of:
                url = files_of.url
                body = json.dumps({"created": int(date.timestamp()), "data": [{"url": url}]}).encode()
                head = (
                    f"HTTP/1.1 200 OK\r\nDate: {date:%a, %d %b %Y %H:%M:%S} GMT\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                async with Gateway(Step(answer=head.encode() + body, closes=False)) as gateway:
                    network = Network(allowed_result_hosts=(f"127.0.0.1:{files_of.port}",))
                    async with AsyncImagesClient(
                        CANARY, gateway.base_url, clock=stage.clock, network=network
                    ) as client:
                        outcome = await stage.call(generate(client))
                    stage.posts, stage.billed = gateway.posts, gateway.billed
            stage.judge(outcome, succeeds())
            assert IMAGE == outcome.result.image.data

        return play

    await variants(stage, {"ahead": play_of(2), "behind": play_of(-2)})


@case("D14", "`created` in the future, 0, negative, text, missing", succeeds())
async def odd_times(stage: Stage) -> None:
    """An image is fetched whatever is said about when it was made."""
    values = {"future": 10**11, "zero": 0, "negative": -5, "text": "yesterday", "none": None, "huge": 10**30}
    await variants(
        stage,
        {
            name: one_call(stored(Serve(), fields=lambda value=value: {"created": value}), succeeds(), check=same)
            for name, value in values.items()
        },
    )


# --- the guard -------------------------------------------------------------------------------------------------------

REFUSED = fails(errors.DownloadRefusedError, billed=1)


def pointing(url: str, stage: Stage) -> Gateway:
    """Return a gateway whose answer points to *url*."""
    return Gateway(Step(answer=links(url), closes=False))


async def refused(stage: Stage, url: str, expected: Expected = REFUSED, **client: Any) -> None:
    """Be given *url* by the API and refuse it."""
    gateway = await stage.enter(pointing(url, stage))
    stage.worlds.append(
        World(base_url=gateway.base_url, count=lambda: (gateway.posts, gateway.billed), fired=lambda: True)
    )
    user = await stage.client(gateway.base_url, **client)
    outcome = await stage.call(generate(user))
    stage.judge(outcome, expected if stage.faulty else succeeds())


@case("D15", "redirect to this machine, to the metadata service, to file:, data:, ftp:", REFUSED)
async def bad_redirects(stage: Stage) -> None:
    """The other side does not even see a connection."""

    def play_of(target: str) -> Play:
        async def play(stage: Stage) -> None:
            async with Store() as private_server:
                location = target.replace("PORT", str(private_server.port))
                redirect = Serve(status=302, headers={"Location": location})
                world = await stage.world(stored(redirect))
                user = await stage.client(world.base_url, **world.options)
                outcome = await stage.call(generate(user))
                stage.judge(outcome, REFUSED if stage.faulty else succeeds())
                assert 0 == private_server.connections, "the private_server was called"
                assert 1 == len(world.store.gets)

        return play

    targets = (
        "http://127.0.0.1:PORT/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "ftp://127.0.0.1/",
        "//127.0.0.1:PORT/",
        "https://localhost:PORT/",
    )
    await variants(stage, {f"{number}": play_of(target) for number, target in enumerate(targets)})


@case("D16", "name that is public when looked at and private when used", REFUSED)
async def rebound(stage: Stage) -> None:
    """There is no earlier look that could be deceived: addresses are checked where they are used, at the socket."""
    private_server = await stage.enter(Store())
    looked = []

    def resolve(host: str, port: int, *_: object, **__: object) -> list[object]:
        looked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    stage.monkeypatch.setattr(socket, "getaddrinfo", resolve)
    if stage.faulty:
        await refused(
            stage, f"{here().scheme}://images.test:{private_server.port}/a.png", network=Network(allow_http=True)
        )
        await refused(stage, "http://images.test/a.png", network=Network(allow_http=True))
        assert looked
        assert 0 == private_server.connections
    else:
        url = f"{here().scheme}://images.test:{private_server.port}/a.png"
        await refused(stage, url, network=Network(allow_http=True, allowed_result_hosts=("images.test",)))
        assert 1 == private_server.connections


SPELLINGS = (
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.0.0.1", "0.0.0.0", "0"),
    *("[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]", "[::]"),
    *("①②⑦.⓪.⓪.①", "LOCALHOST.", "localhost", "127.0.0.1.", "[fe80::1%25eth0]", "[fd00::1]", "224.0.0.1"),
)


@case("D17", f"{len(SPELLINGS)} spellings of addresses that are not public", REFUSED)
async def spellings(stage: Stage) -> None:
    """None gets through, and nobody is called."""

    def play_of(host: str) -> Play:
        async def play(stage: Stage) -> None:
            private_server = await stage.enter(Store())
            if stage.faulty:
                url = f"{here().scheme}://{host}:{private_server.port}/a.png"
                # A resolver may not know this name at all.
                expected = LOST if host == "LOCALHOST." else REFUSED
                await refused(stage, url, expected, network=Network(allow_http=True))
                assert 0 == private_server.connections
            else:
                await refused(
                    stage,
                    private_server.url,
                    network=Network(allowed_result_hosts=(f"127.0.0.1:{private_server.port}",)),
                )

        return play

    await variants(stage, {str(number): play_of(host) for number, host in enumerate(SPELLINGS)})


@case("D18", "redirects in a circle, or six", REFUSED)
async def many_redirects(stage: Stage) -> None:
    """Five are followed."""
    hops = [Serve(status=302, headers={"Location": f"/hop/{number}"}) for number in range(6)]
    circle = Serve(status=302, headers={"Location": "/image.png?sig=secret"})  # the last answer is given again
    await variants(
        stage,
        {
            "five": one_call(stored(*hops[:5], Serve()), succeeds(), check=same),
            "six": one_call(stored(*hops), REFUSED),
            "circle": one_call(stored(circle), REFUSED),
        },
    )


@case("D19", "redirect from https to http", REFUSED)
async def downgraded(stage: Stage) -> None:
    """What began in secret does not go on in public."""
    authority = authorities.good()
    store_ = await stage.enter(
        Store(*([Serve(status=302, headers={"Location": "http://127.0.0.1:1/"})] if stage.faulty else []), plain=True)
    )
    front = await stage.enter(Proxy(store_.port, front=authority.server))
    network = Network(ca=authority.client, allowed_result_hosts=("127.0.0.1",))
    await refused(stage, f"https://127.0.0.1:{front.port}/image.png", network=network)
    assert 1 == len(store_.gets)


@case("D20", "key and cookies at the file host", "0 seen")
async def no_key(stage: Stage) -> None:
    """The host of the files learns nothing about who pays."""
    world = await stage.world(stored(Serve(headers={"Set-Cookie": "a=b"}, cut=0.5), Serve()))
    user = await stage.client(world.base_url, **world.options)
    outcome = await stage.call(generate(user))
    stage.judge(outcome, succeeds())
    for got in world.store.gets:
        text = got.head.lower()
        assert not any(word in text for word in (b"authorization", b"cookie", b"idempotency", CANARY.encode()))
    assert CANARY.encode() in world.gateway.heads[0]
    assert not stage.faulty or len(world.store.gets) == 2


store("D21", "labelled as compressed, which it is not", Serve(headers={"Content-Encoding": "gzip"}), succeeds())


@case("D22", "image above its cap", LOST)
async def too_large(stage: Stage) -> None:
    """Given up at the cap, told or not, and nothing is left."""

    def play_of(step: Serve) -> Play:
        async def play(stage: Stage) -> None:
            world = await stage.world(stored(step))
            limits = Limits(image=MIB // 2 if stage.faulty else 64 * MIB)
            user = await stage.client(world.base_url, limits=limits, **world.options)
            outcome = await stage.call(user.send(REQUEST, into=Directory(stage.folder / "out")))
            stage.judge(outcome, LOST if stage.faulty else succeeds())
            assert (0 if stage.faulty else 1) == len(files(stage))

        return play

    await variants(stage, {"told": play_of(Serve()), "not told": play_of(Serve(length=False))})


# --- the disk --------------------------------------------------------------------------------------------------------


@contextmanager
def filling(stage: Stage, writes: range) -> Iterator[list[int]]:
    """Let the disk be full for some writes of images, after half of each; give their numbers."""
    write, number, failed = DirectoryWriter.write_batch, count(), []

    def write_half(writer: DirectoryWriter, batch: Sequence[bytes | bytearray]) -> None:
        if (mine := next(number)) not in writes or not stage.faulty:
            write(writer, batch)
            return
        whole = b"".join(batch)
        write(writer, [whole[: len(whole) // 2]])
        failed.append(mine)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stage.monkeypatch.setattr(DirectoryWriter, "write_batch", write_half)
    try:
        yield failed
    finally:
        stage.monkeypatch.setattr(DirectoryWriter, "write_batch", write)


@case("D23", "disk full at half", "StorageError with the image, no final file; a job stops buying", bound=20)
async def disk_full(stage: Stage) -> None:
    """The image is on the error; of a job it is written once there is room."""
    await variants(stage, {"call": full_for_a_call, "job": full_for_a_job})


async def full_for_a_call(stage: Stage) -> None:
    world = await stage.world(stored(Serve()))
    user = await stage.client(world.base_url, **world.options)
    with filling(stage, range(1)) as failed:
        outcome = await stage.call(user.send(REQUEST, into=Directory(stage.folder / "out")))
    stage.judge(outcome, fails(errors.StorageError, billed=1) if stage.faulty else succeeds())
    assert [0][: stage.faulty] == failed
    assert (0 if stage.faulty else 1) == len(files(stage))
    if stage.faulty:
        assert IMAGE == outcome.error.images[0].data


async def full_for_a_job(stage: Stage) -> None:
    world = await stage.world(scripted())
    client = await stage.client(world.base_url)
    source = write_rows(stage.folder / "rows.jsonl", prompts(12))
    with filling(stage, range(2, 6)) as failed:
        report = await jobs.run_job(stage, client, source)
    assert ("disk" if stage.faulty else "finished") == report.stopped
    assert stage.faulty == bool(failed)
    counts = await jobs.judge(stage)
    assert (0, stage.posts) == (counts[RequestState.IN_DOUBT], counts[RequestState.DONE])
    assert (stage.posts < 12) == stage.faulty
    assert [] == list((stage.folder / "out" / "images").rglob(".*.part"))
    await jobs.run_job(stage, client)
    assert {RequestState.DONE: 12} == await jobs.judge(stage)
    assert 12 == stage.posts


@case("D24", "EIO when the file is synced", fails(errors.StorageError, billed=1))
async def sync_fails(stage: Stage) -> None:
    """The image is on the error, and no file pretends to be it."""
    world = await stage.world(stored(Serve()))
    user = await stage.client(world.base_url, **world.options)
    calls = []

    def fail(_descriptor: int) -> None:
        calls.append(1)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    if stage.faulty:
        stage.monkeypatch.setattr(os, "fsync", fail)
    outcome = await stage.call(user.send(REQUEST, into=Directory(stage.folder / "out", durable=True)))
    stage.judge(outcome, fails(errors.StorageError, billed=1) if stage.faulty else succeeds())
    if stage.faulty:
        assert calls
        assert IMAGE == outcome.error.images[0].data
    assert (0 if stage.faulty else 1) == len(files(stage))


@case("D25", "target exists", fails(errors.StorageError, billed=1))
async def target_exists(stage: Stage) -> None:
    """It is not touched; the paid image is on the error."""
    world = await stage.world(stored(Serve()))
    user = await stage.client(world.base_url, **world.options)
    sink = Directory(stage.folder / "out", name="otter.{ext}", exists="error")
    target = stage.folder / "out" / "otter.png"

    async def appear(*_: object) -> None:
        target.write_bytes(b"mine")

    if stage.faulty:
        # It appears after the check that precedes the POST.
        step = world.gateway.script[0]
        body = step.answer

        async def late(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await appear()
            writer.write(body)

        world.gateway.script = (attrs.evolve(step, answer=late),)
    outcome = await stage.call(user.send(REQUEST, into=sink))
    stage.judge(outcome, fails(errors.StorageError, billed=1) if stage.faulty else succeeds())
    if stage.faulty:
        assert b"mine" == target.read_bytes()
        assert IMAGE == outcome.error.images[0].data


@case("D26", "target is a symbolic link", "the link's target is not touched")
async def target_is_link(stage: Stage) -> None:
    """A link is a name that is taken, or is replaced itself."""

    def play_of(exists: str) -> Play:
        async def play(stage: Stage) -> None:
            world = await stage.world(stored(Serve()))
            user = await stage.client(world.base_url, **world.options)
            out, secret = stage.folder / "out", stage.folder / "secret"
            out.mkdir()
            secret.write_bytes(b"mine")
            if stage.faulty:
                (out / "otter.png").symlink_to(secret)
            outcome = await stage.call(user.send(REQUEST, into=Directory(out, name="otter.{ext}", exists=exists)))
            stage.count()
            assert b"mine" == secret.read_bytes()
            if outcome.error is None:
                assert not outcome.result.image.path.is_symlink()
                assert hashlib.sha256(IMAGE).digest() == hashlib.sha256(outcome.result.image.path.read_bytes()).digest()
            else:
                assert stage.faulty
                assert isinstance(outcome.error, errors.StorageError)
                assert exists == "error"
                assert 0 == stage.billed, "refused before it was bought"

        return play

    await variants(stage, {exists: play_of(exists) for exists in ("error", "rename", "overwrite")})


@case("D27", "symbolic link in place of the unfinished file", "the link's target is not touched")
async def planted(stage: Stage) -> None:
    """The hidden name cannot be guessed, and would not be followed."""
    world = await stage.world(stored(Serve()))
    user = await stage.client(world.base_url, **world.options)
    out, secret = stage.folder / "out", stage.folder / "secret"
    out.mkdir()
    secret.write_bytes(b"mine")
    if stage.faulty:
        stage.monkeypatch.setattr(os, "urandom", lambda count: b"\0" * count)
    sink = Directory(out)
    real = type(sink).open
    planted_at = []

    def open_after_planting(self: Directory, placement: Any) -> Any:
        writer = real(self, placement)
        if stage.faulty and not planted_at:
            writer.part.symlink_to(secret)
            planted_at.append(writer.part)
        return writer

    stage.monkeypatch.setattr(type(sink), "open", open_after_planting)
    outcome = await stage.call(user.send(REQUEST, into=sink))
    stage.count()
    assert 1 == stage.billed
    assert b"mine" == secret.read_bytes()
    if stage.faulty:
        assert planted_at
        assert isinstance(outcome.error, errors.StorageError), repr(outcome.error)
        assert IMAGE == outcome.error.images[0].data
    else:
        assert outcome.error is None


@case("D28", "two writers of one name", "one gets it, both images are whole")
async def two_writers(stage: Stage) -> None:
    """Nobody sees half a file, and nobody's image is lost."""
    world = await stage.world(stored(Serve()))
    body = world.gateway.script[0].answer
    world.gateway.script = (Step(answer=body, closes=False),) * 2
    out = stage.folder / "out"
    sinks = [Directory(out, name="otter.{ext}", exists="rename")] * (2 if stage.faulty else 1)
    users = [await stage.client(world.base_url, **world.options) for _ in sinks]
    outcomes = await asyncio.gather(
        *(stage.call(user.send(REQUEST, into=sink)) for user, sink in zip(users, sinks, strict=True))
    )
    stage.count(len(sinks))
    assert all(outcome.error is None for outcome in outcomes)
    paths = {outcome.result.image.path for outcome in outcomes}
    assert len(sinks) == len(paths) == len(files(stage))
    assert {IMAGE} == {path.read_bytes() for path in paths}


@case("D29", "stalls, or comes by a byte now and then", succeeds())
async def slow(stage: Stage) -> None:
    """It is given up and fetched again."""
    await variants(
        stage,
        {
            "stalls": one_call(stored(Serve(cut=0.5, stall=True), Serve()), succeeds(), check=same),
            "drips": one_call(stored(Serve(drip=0.01), Serve()), succeeds(), check=same),
        },
    )


@case("D30", "one of five images cannot be fetched", LOST)
async def one_of_five(stage: Stage) -> None:
    """The other four are on the error, which says which is missing."""
    good = await stage.enter(Store())
    bad = await stage.enter(Store(*([Serve(status=400)] if stage.faulty else [])))
    urls = [good.url, good.url, bad.url, good.url, good.url]
    gateway = await stage.enter(Gateway(Step(answer=links(*urls), closes=False)))
    stage.worlds.append(
        World(base_url=gateway.base_url, count=lambda: (gateway.posts, gateway.billed), fired=lambda: True)
    )
    user = await stage.client(gateway.base_url, network=Network(allowed_result_hosts=("127.0.0.1",)))
    outcome = await stage.call(user.generate("otters", n=5, **SMALL))
    stage.judge(outcome, LOST if stage.faulty else succeeds())
    images = outcome.error.images if stage.faulty else outcome.result.images
    assert (4 if stage.faulty else 5) == len(images)
    assert {IMAGE} == {image.data for image in images}
    if stage.faulty:
        assert [2] == [missing.index for missing in outcome.error.unfetched]


@case("D31", "200 result URLs of different ages", "oldest first, 0 expired")
async def oldest_first(stage: Stage) -> None:
    """The one that ends first is fetched first."""
    count = 200 if stage.faulty else 3
    files_of = await stage.enter(Store(Serve(data=png())))
    base = datetime.now(UTC)
    ends = [base + timedelta(minutes=5 + (number * 37) % 55, seconds=number % 60) for number in range(count)]
    urls = [f"{here().url(files_of.port)}/{number}?se={end:%Y-%m-%dT%H:%M:%SZ}" for number, end in enumerate(ends)]
    gateway = await stage.enter(Gateway(Step(answer=links(*urls), closes=False)))
    user = await stage.client(gateway.base_url, network=Network(allowed_result_hosts=("127.0.0.1",)), validation="off")
    outcome = await stage.call(user.generate("otters", n=count, **SMALL))
    stage.posts, stage.billed = gateway.posts, gateway.billed
    stage.judge(outcome, succeeds())
    assert count == len(outcome.result.images)
    order = [int(got.path[1:].partition("?")[0]) for got in files_of.gets]
    wanted = sorted(range(count), key=lambda number: ends[number].replace(microsecond=0))
    places = {number: place for place, number in enumerate(wanted)}
    # As many as go at once may overtake each other.
    assert all(abs(places[number] - place) <= 16 for place, number in enumerate(order)), order[:20]
