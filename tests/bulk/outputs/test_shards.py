"""One tar file of images."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from jobs import done, put, to_key

from burncloud_images.bulk.outputs.shards import Changed, Limits, Shard, digests, index_of
from burncloud_images.bulk.records import Record


def fill(folder: Path, *records: Record) -> Shard:
    shard = Shard(folder, 0, Limits())
    for record in records:
        shard.add(record)
    shard.keep()
    return shard


def test_a_sample_is_an_image_its_facts_and_its_prompt(tmp_path: Path) -> None:
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
    shard = fill(tmp_path, put(tmp_path, done(1, images=2)))
    key = to_key(1)
    with tarfile.open(shard.path) as archive:
        names = archive.getnames()

    assert [f"{key}-{number}.{part}" for number in (1, 2) for part in ("json", "png", "txt")] == names
    assert [f"00000.tar/{key}-1.png", f"00000.tar/{key}-2.png"] == [image.path for image in shard.moved[key]]


def test_nothing_in_it_tells_who_made_it_and_when(tmp_path: Path) -> None:
    shard = fill(tmp_path, put(tmp_path, done(1)))
    with tarfile.open(shard.path) as archive:
        members = archive.getmembers()

    assert {(0, 0, 0, "", "", 0o644)} == {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members}
    assert 0 == shard.path.stat().st_size % tarfile.RECORDSIZE


def test_the_index_says_where_each_member_begins(tmp_path: Path) -> None:
    shard = fill(tmp_path, *(put(tmp_path, done(number, images=2)) for number in range(1, 4)))
    head, *lines = index_of(shard.path).read_text().splitlines()
    with tarfile.open(shard.path) as archive:
        expected = [(member.name, member.offset_data, member.size) for member in archive]
    words = [word for line in lines for word in line.split()]
    found = [
        (name, int(offset), int(size))
        for _, offset, size, name in zip(words[::4], words[1::4], words[2::4], words[3::4], strict=True)
    ]

    assert "v1.2 6" == head
    assert expected == found
    assert ["json", "png", "txt"] == words[:12:4]


def test_an_image_that_changed_or_is_gone_is_left_out_with_all_of_its_request(tmp_path: Path) -> None:
    records = [put(tmp_path, done(number, images=2)) for number in range(1, 6)]
    second = [tmp_path / record.images[1].path for record in records]
    second[1].unlink()
    second[2].write_bytes(second[2].read_bytes()[:-1] + b"x")
    second[3].write_bytes(second[3].read_bytes() + b"x")
    shard = Shard(tmp_path, 0, Limits())
    shard.add(records[0])
    for record in records[1:4]:
        with pytest.raises(Changed):
            shard.add(record)
    shard.add(records[4])
    shard.keep()

    whole = fill(tmp_path / "tmp", *(put(tmp_path / "tmp", done(number, images=2)) for number in (1, 5)))
    assert whole.path.read_bytes() == shard.path.read_bytes()
    assert index_of(whole.path).read_bytes() == index_of(shard.path).read_bytes()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    record = put(tmp_path, done(1))
    path = tmp_path / record.images[0].path
    path.rename(tmp_path / "elsewhere.png")
    path.symlink_to(tmp_path / "elsewhere.png")
    shard = Shard(tmp_path, 0, Limits())

    with pytest.raises(Changed):
        shard.add(record)
    shard.discard()


def test_it_is_full_by_images_or_by_bytes_but_takes_one_request_at_least(tmp_path: Path) -> None:
    records = [put(tmp_path, done(number, images=2)) for number in range(1, 4)]
    by_images, by_bytes = Shard(tmp_path, 0, Limits(samples=3)), Shard(tmp_path, 1, Limits(size=1))
    for shard in (by_images, by_bytes):
        assert shard.has_room(records[0])
        shard.add(records[0])

        assert not shard.has_room(records[1])
        shard.discard()
    exact = Shard(tmp_path, 2, Limits(samples=4))
    exact.add(records[0])
    assert exact.has_room(records[1])
    exact.add(records[1])
    assert exact.is_full
    exact.discard()


def test_a_shard_is_never_larger_than_its_limit(tmp_path: Path) -> None:
    limit = 40 * 1024
    shard = Shard(tmp_path, 0, Limits(size=limit))
    for number in range(1, 200):
        record = put(tmp_path, done(number))
        if not shard.has_room(record):
            break
        shard.add(record)
    shard.keep()

    assert number < 199
    assert shard.size + 1024 <= limit
    assert shard.path.stat().st_size <= limit + tarfile.RECORDSIZE


def test_digests_are_those_of_the_bytes_within(tmp_path: Path) -> None:
    records = [put(tmp_path, done(number, images=2)) for number in range(1, 4)]
    shard = fill(tmp_path, *records)
    name = shard.moved[records[1].key][0].path.partition("/")[2]

    assert [image.sha256 for record in records for image in record.images] == [
        found for _, found in digests(shard.path)
    ]
    assert {name: records[1].images[0].sha256} == dict(digests(shard.path, [name]))


def test_an_odd_prompt_is_written_as_text(tmp_path: Path) -> None:
    shard = fill(tmp_path, put(tmp_path, done(1, document={"prompt": "half \ud83d 狐\n"})))
    with tarfile.open(shard.path) as archive:
        assert "half � 狐\n" == archive.extractfile(f"{to_key(1)}.txt").read().decode()
