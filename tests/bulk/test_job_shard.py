"""The parts of a list that several jobs make: each row once, and the shares of each limit come to the whole."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images import GenerationRequest, errors
from burncloud_images.bulk import InputOptions, Job, JobOptions
from burncloud_images.bulk.job_shard import JobShard

counts = st.integers(1, 40)
KEYS = [hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest() for number in range(4000)]


@given(counts, st.sampled_from(KEYS), st.integers(1, 10**9))
def test_each_row_belongs_to_one_shard(count, key, line):
    """A request has exactly one shard, and so has a line that is not a request."""
    shards = [JobShard(number, count) for number in range(1, count + 1)]

    assert 1 == sum(shard.has(key) for shard in shards)
    assert 1 == sum(shard.has_line(line) for shard in shards)


def test_shards_are_about_equally_large():
    """Of 4,000 rows each of eight shards has 500, give or take a fifth."""
    sizes = [sum(JobShard(number, 8).has(key) for key in KEYS) for number in range(1, 9)]

    assert 4000 == sum(sizes)
    assert all(400 < size < 600 for size in sizes)


@given(counts, st.integers(0, 10**15), st.integers(0, 10**6))
def test_shares_come_to_the_whole(count, cost, images):
    """Neither a cent nor an image is lost or added by rounding."""
    whole = JobOptions(max_cost=cost, max_images=images, requests_per_minute=600)
    parts = [JobShard(number, count).divide(whole) for number in range(1, count + 1)]

    assert (cost, images) == (sum(part.max_cost for part in parts), sum(part.max_images for part in parts))
    assert all(part.requests_per_minute == 600 / count for part in parts)


def test_what_has_no_limit_has_none_in_a_shard():
    """Limits that are not given stay so."""
    assert JobOptions() == JobShard(2, 8).divide(JobOptions())


@pytest.mark.parametrize("text", ["1/1", " 8/8 ", "10000/10000"])
def test_a_shard_can_be_read(text):
    """What is read is written again."""
    assert text.strip() == str(JobShard.of(text))


@pytest.mark.parametrize("text", ["9/8", "0/8", "-1/8", "2", "2/", "/8", "a/b", "2/0", "1/10001", "1.5/8", "", "٢/8"])
def test_what_is_not_a_shard_is_refused(text):
    """One sentence says what to write."""
    with pytest.raises(errors.ConfigurationError, match="is not a shard"):
        JobShard.of(text)


async def test_requests_of_a_program_are_shared_as_rows_are(tmp_path):
    """Jobs of all shards have each request once, and a job refuses another shard."""
    requests = [GenerationRequest(f"an otter {number}") for number in range(30)]
    keys = []
    for number in (1, 2, 3):
        async with Job.open(tmp_path / str(number)) as job:
            await job.add(requests, InputOptions(shard=JobShard(number, 3)))
            keys.append({record.key async for record in job.store.records()})
            with pytest.raises(errors.JobError, match=f"takes the shard {number}/3 of its lists, not all"):
                await job.add(requests)

    assert [30, 30] == [len(set.union(*keys)), sum(map(len, keys))]


async def test_a_whole_job_does_not_become_a_shard(tmp_path):
    """Rows that are there belong to no shard, so the folder is refused."""
    async with Job.open(tmp_path) as job:
        await job.add([GenerationRequest("an otter")])
        with pytest.raises(errors.JobError, match="takes all rows of its lists, not the shard 1/2"):
            await job.add([GenerationRequest("a boat")], InputOptions(shard=JobShard(1, 2)))
