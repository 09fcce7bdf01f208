"""Images move from files into tar files, and none is lost or stored twice, wherever it stops."""

from __future__ import annotations

import asyncio
import json
import os
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import attrs
import pytest
from jobs import MemoryStore, done, failed, in_doubt, put, to_image, to_key, to_record

from burncloud_images.bulk.outputs.shards import (
    ImageChanged,
    ShardLimits,
    ShardPacker,
    ShardWriter,
    digests,
    find_last,
    pack,
)
from burncloud_images.bulk.records import RequestRecord, StoredImage
from burncloud_images.disk import run
from burncloud_images.errors import StorageError


def fill(folder: Path, *records: RequestRecord) -> ShardWriter:
    shard = ShardWriter(folder, 0, ShardLimits())
    for record in records:
        shard.add(record)
    shard.commit()
    return shard


def test_a_sample_is_an_image_its_facts_and_its_prompt(tmp_path: Path) -> None:
    """A sample is an image, its metadata as JSON and its prompt as text."""
    record = put(tmp_path, done(1, label="otter-1"))
    shard = fill(tmp_path, record)
    key = record.key
    with tarfile.open(shard.path) as archive:
        content = {member.name: archive.extractfile(member).read() for member in archive}

    assert [f"{key}.json", f"{key}.png", f"{key}.txt"] == list(content)
    assert (tmp_path / record.images[0].path).read_bytes() == content[f"{key}.png"]
    assert b"otter 1" == content[f"{key}.txt"]
    facts = json.loads(content[f"{key}.json"])
    assert (f"00000.tar/{key}.png", "otter-1", 0.04) == (facts["file_name"], facts["id"], facts["cost"])


def test_several_images_of_a_request_are_several_samples(tmp_path: Path) -> None:
    """Each image of a request is a sample of its own."""
    shard = fill(tmp_path, put(tmp_path, done(1, images=2)))
    key = to_key(1)
    with tarfile.open(shard.path) as archive:
        names = archive.getnames()

    assert [f"{key}-{number}.{part}" for number in (1, 2) for part in ("json", "png", "txt")] == names
    assert [f"00000.tar/{key}-1.png", f"00000.tar/{key}-2.png"] == [image.path for image in shard.moved[key]]


def test_nothing_in_it_tells_who_made_it_and_when(tmp_path: Path) -> None:
    """A shard contains no times, owners or modes of files."""
    shard = fill(tmp_path, put(tmp_path, done(1)))
    with tarfile.open(shard.path) as archive:
        members = archive.getmembers()

    assert {(0, 0, 0, "", "", 0o644)} == {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members}
    assert 0 == shard.path.stat().st_size % tarfile.RECORDSIZE


def test_an_image_that_changed_or_is_gone_is_left_out_with_all_of_its_request(tmp_path: Path) -> None:
    """If one image of a request changed or is missing, none of its images is added."""
    records = [put(tmp_path, done(number, images=2)) for number in range(1, 6)]
    second = [tmp_path / record.images[1].path for record in records]
    second[1].unlink()
    second[2].write_bytes(second[2].read_bytes()[:-1] + b"x")
    second[3].write_bytes(second[3].read_bytes() + b"x")
    shard = ShardWriter(tmp_path, 0, ShardLimits())
    shard.add(records[0])
    for record in records[1:4]:
        with pytest.raises(ImageChanged):
            shard.add(record)
    shard.add(records[4])
    shard.commit()

    whole = fill(tmp_path / "tmp", *(put(tmp_path / "tmp", done(number, images=2)) for number in (1, 5)))
    assert whole.path.read_bytes() == shard.path.read_bytes()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """An image file that is a symbolic link is not added."""
    record = put(tmp_path, done(1))
    path = tmp_path / record.images[0].path
    path.rename(tmp_path / "elsewhere.png")
    path.symlink_to(tmp_path / "elsewhere.png")
    shard = ShardWriter(tmp_path, 0, ShardLimits())

    with pytest.raises(ImageChanged):
        shard.add(record)
    shard.discard()


def test_it_is_full_by_images_or_by_bytes_but_takes_one_request_at_least(tmp_path: Path) -> None:
    """A shard is full by images or by bytes, and takes at least one request."""
    records = [put(tmp_path, done(number, images=2)) for number in range(1, 4)]
    by_images, by_bytes = (
        ShardWriter(tmp_path, 0, ShardLimits(samples=3)),
        ShardWriter(tmp_path, 1, ShardLimits(size=1)),
    )
    for shard in (by_images, by_bytes):
        assert shard.has_room(records[0])
        shard.add(records[0])

        assert not shard.has_room(records[1])
        shard.discard()
    exact = ShardWriter(tmp_path, 2, ShardLimits(samples=4))
    exact.add(records[0])
    assert exact.has_room(records[1])
    exact.add(records[1])
    assert exact.is_full
    exact.discard()


def test_a_shard_is_never_larger_than_its_limit(tmp_path: Path) -> None:
    """A shard of several requests is never larger than its limit."""
    limit = 40 * 1024
    shard = ShardWriter(tmp_path, 0, ShardLimits(size=limit))
    for number in range(1, 200):
        record = put(tmp_path, done(number))
        if not shard.has_room(record):
            break
        shard.add(record)
    shard.commit()

    assert number < 199
    assert shard.size <= limit
    assert shard.path.stat().st_size <= limit + tarfile.RECORDSIZE


def test_digests_are_those_of_the_bytes_within(tmp_path: Path) -> None:
    """The digests are computed from the bytes in the shard."""
    records = [put(tmp_path, done(number, images=2)) for number in range(1, 4)]
    shard = fill(tmp_path, *records)
    name = shard.moved[records[1].key][0].path.partition("/")[2]

    assert [image.sha256 for record in records for image in record.images] == [
        found for _, found in digests(shard.path)
    ]
    assert {name: records[1].images[0].sha256} == dict(digests(shard.path, [name]))


def test_an_odd_prompt_is_written_as_text(tmp_path: Path) -> None:
    """A prompt with a lone surrogate is written as valid UTF-8."""
    shard = fill(tmp_path, put(tmp_path, done(1, document={"prompt": "half \ud83d 狐\n"})))
    with tarfile.open(shard.path) as archive:
        assert "half � 狐\n" == archive.extractfile(f"{to_key(1)}.txt").read().decode()


FIVE = ShardLimits(samples=5)


def make(folder: Path, count: int) -> MemoryStore:
    return MemoryStore([put(folder, done(number, images=1 + number % 2)) for number in range(1, count + 1)])


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("images/*/*") if path.is_file())


def check(folder: Path, store: MemoryStore, expected: Sequence[RequestRecord]) -> None:
    """Check that every image is in the shard that the store says, byte for byte, and nowhere else."""
    held = {f"{path.name}/{name}": digest for path in sorted(folder.glob("*.tar")) for name, digest in digests(path)}
    said = {image.path: image.sha256 for record in store.rows for image in record.images}

    assert said == held
    assert [image.sha256 for record in expected for image in record.images] == list(said.values())
    assert [] == files(folder)
    assert [] == list(folder.glob(".*"))


async def test_images_of_done_requests_go_into_shards_in_their_order(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    """The images of done requests are packed in the order of the requests."""
    store = make(tmp_path, 9)  # 14 images
    before = list(store.rows)
    assert [] == await pack(store, tmp_path, executor=executor, limits=FIVE)

    assert ["00000.tar", "00001.tar", "00002.tar"] == list(shards(tmp_path))
    check(tmp_path, store, before)
    with tarfile.open(tmp_path / "00000.tar") as archive:
        keys = list(dict.fromkeys(name[:32] for name in archive.getnames()))
    assert [to_key(number) for number in (1, 2, 3)] == keys


async def test_packing_again_changes_nothing(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """Packing a second time changes nothing."""
    store = make(tmp_path, 9)
    await pack(store, tmp_path, executor=executor, limits=FIVE)
    before = shards(tmp_path)

    assert [] == await pack(store, tmp_path, executor=executor, limits=FIVE)
    assert before == shards(tmp_path)


async def test_a_job_that_goes_on_gives_the_shards_it_would_have_given_at_once(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    """Packing a job step by step gives the same shards as packing it at once."""
    at_once, step_by_step = tmp_path / "at_once", tmp_path / "step_by_step"
    store = make(at_once, 20)
    await pack(store, at_once, executor=executor, limits=FIVE)
    growing = make(step_by_step, 20)
    finished = list(growing.rows)
    for ended in (0, 1, 5, 12, 13, 20):
        growing.rows[ended:] = [to_record(record.number) for record in finished[ended:]]
        await pack(growing, step_by_step, executor=executor, limits=FIVE)
        growing.rows[ended:] = finished[ended:]

    assert shards(at_once) == shards(step_by_step)
    check(step_by_step, growing, finished)


async def test_a_request_that_failed_or_is_in_doubt_holds_nothing_up(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    """Failed and in-doubt requests do not hold up those behind them."""
    image = to_image(to_key(2), of=2)
    doubtful = put(tmp_path, in_doubt(2, images=(image,)))
    store = MemoryStore([failed(1), doubtful, put(tmp_path, done(3))])
    assert [] == await pack(store, tmp_path, executor=executor)

    assert ["00000.tar"] == list(shards(tmp_path))
    assert [tmp_path / image.path] == files(tmp_path)  # what is in doubt can still change


async def test_images_of_later_requests_come_into_later_shards(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """Images of later requests go into later shards."""
    store = make(tmp_path, 2)
    await pack(store, tmp_path, executor=executor)
    first = shards(tmp_path)
    store.rows = [*store.rows, put(tmp_path, done(7))]

    await pack(store, tmp_path, executor=executor)

    assert ["00000.tar", "00001.tar"] == list(shards(tmp_path))
    assert first.items() <= shards(tmp_path).items()


async def test_a_file_that_is_not_as_it_was_stays_and_is_named(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """The key of a request whose file changed is returned, and the file stays."""
    store = make(tmp_path, 3)
    changed = tmp_path / store.rows[1].images[0].path
    changed.write_bytes(b"changed")
    left = await pack(store, tmp_path, executor=executor)

    assert [to_key(2)] == left
    assert b"changed" == changed.read_bytes()
    assert store.rows[1].images[0].path.startswith("images/")


async def test_a_tar_file_that_is_not_of_the_job_stays(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """A tar file that does not belong to the job stays as it is."""
    store = make(tmp_path, 3)
    before = list(store.rows)
    (tmp_path / "00003.tar").write_bytes(b"no tar file")

    await pack(store, tmp_path, executor=executor)

    assert ["00003.tar", "00004.tar"] == list(shards(tmp_path))
    assert b"no tar file" == (tmp_path / "00003.tar").read_bytes()
    (tmp_path / "00003.tar").unlink()
    check(tmp_path, store, before)


async def test_an_image_of_another_content_in_the_last_shard_is_packed_anew(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    """An image with other content than in the last shard is packed again."""
    older = make(tmp_path, 2)
    await pack(older, tmp_path, executor=executor)
    newer = MemoryStore([put(tmp_path, done(number), lambda _: b"another") for number in (1, 2)])
    before = list(newer.rows)
    first = shards(tmp_path)

    await pack(newer, tmp_path, executor=executor)

    assert ["00000.tar", "00001.tar"] == list(shards(tmp_path))
    assert first.items() <= shards(tmp_path).items()
    (tmp_path / "00000.tar").unlink()
    check(tmp_path, newer, before)


async def test_a_full_disk_leaves_all_images_where_they_were(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves all images where they were."""
    store = make(tmp_path, 4)
    before = files(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left on device"):
            await pack(store, tmp_path, executor=executor)

    assert before == files(tmp_path)
    assert [] == list(tmp_path.glob("*.tar")) + list(tmp_path.glob(".*"))
    await pack(store, tmp_path, executor=executor)
    assert ["00000.tar"] == list(shards(tmp_path))


async def test_cancelled_it_leaves_no_unfinished_shard(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """Cancellation leaves no unfinished shard."""

    class Slow(MemoryStore):
        async def records(self, states: object = None) -> object:
            async for record in super().records(states):
                yield record
            reached.set()
            await asyncio.Event().wait()

    reached = asyncio.Event()
    store = Slow(make(tmp_path, 250).rows)
    before = files(tmp_path)
    work = asyncio.create_task(pack(store, tmp_path, executor=executor))
    await reached.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    assert before == files(tmp_path)
    assert [] == list(tmp_path.glob(".*")) + list(tmp_path.glob("*.tar"))


# --- killed ---


class Killed(BaseException):
    """The process is no more."""


@attrs.define
class Death:
    """
    Kills at a certain step, after which nothing more is done: neither in the store nor on the disk.

    Attributes:
        at: The step, from 1; 0 for never.
        steps: What was done.
    """

    at: int
    steps: list[str] = attrs.field(factory=list)

    def step(self, name: str) -> None:
        if self.at and len(self.steps) + 1 >= self.at:
            raise Killed
        self.steps.append(name)

    def arm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for owner, name in ((os, "fsync"), (os, "replace"), (os, "unlink")):
            monkeypatch.setattr(owner, name, self.guard(getattr(owner, name)))
        monkeypatch.setattr(MemoryStore, "set_paths", self.guard_move(MemoryStore.set_paths))

    def guard(self, function):
        def guarded(*args: object, **options: object) -> object:
            self.step(function.__name__)
            return function(*args, **options)

        return guarded

    def guard_move(self, move):
        async def guarded(store: MemoryStore, key: str, images: Sequence[StoredImage]) -> None:
            self.step("set_paths")
            await move(store, key, images)

        return guarded


async def run_until_killed(folder: Path, store: MemoryStore, death: Death, executor: ThreadPoolExecutor) -> None:
    with pytest.MonkeyPatch.context() as patch:
        death.arm(patch)
        with suppress(Killed):
            await pack(store, folder, executor=executor, limits=FIVE)


async def sweep(folder: Path, executor: ThreadPoolExecutor) -> tuple[int, list[int]]:
    """Kill at every step, go on, and return how many steps there are and at which something went wrong."""
    store = make(folder / "whole", 7)
    whole = Death(0)
    await run_until_killed(folder / "whole", store, whole, executor)
    expected = shards(folder / "whole")
    wrong = []
    for at in range(1, len(whole.steps) + 1):
        killed = folder / f"killed-{at}"
        store = make(killed, 7)
        before = list(store.rows)
        await run_until_killed(killed, store, Death(at), executor)
        await run_until_killed(killed, store, Death(1 + at % 5), executor)  # killed again soon after
        await pack(store, killed, executor=executor, limits=FIVE)
        try:
            check(killed, store, before)
            assert expected == shards(killed)
        except AssertionError:
            wrong.append(at)
    return len(whole.steps), wrong


@pytest.mark.slow
async def test_killed_at_any_step_and_run_again_it_gives_the_same_shards(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    """Packing that is killed at any step and run again gives the same shards."""
    steps, wrong = await sweep(tmp_path, executor)

    assert [] == wrong
    assert steps > 25


async def tell_first(packer: ShardPacker, shard: ShardWriter) -> None:
    await packer.set_paths(shard.moved)
    await run(packer.executor, shard.commit)


async def forget_the_last(packer: ShardPacker) -> None:
    await run(packer.executor, find_last, packer.folder)


@pytest.mark.slow
@pytest.mark.parametrize(("step", "wrong"), [("close", tell_first), ("settle", forget_the_last)])
async def test_the_sweep_finds_a_wrong_order(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, step: str, wrong: object
) -> None:
    """The sweep over kills notices a wrong order of steps."""
    monkeypatch.setattr(ShardPacker, step, wrong)
    _, found = await sweep(tmp_path, executor)

    assert found


async def test_the_store_is_told_after_the_shard_is_durable_and_before_files_go(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    """The store is updated after the shard is durable and before the files are removed."""
    death = Death(0)
    await run_until_killed(tmp_path, make(tmp_path, 2), death, executor)
    kinds = [name for name, after in zip(death.steps, [*death.steps[1:], ""], strict=True) if name != after]

    # an unfinished file that was left; the shard's content, name and folder; the store; the image files
    assert ["unlink", "fsync", "replace", "fsync", "set_paths", "unlink"] == kinds[-6:]
