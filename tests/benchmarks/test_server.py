"""The server of the benchmarks, where nginx is installed, and what is said where it is not."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp
import pytest

from benchmarks import server
from benchmarks.process import fingerprint
from benchmarks.rounds import Bench, CheatedError
from benchmarks.server import NoServerError, find_nginx, serve
from benchmarks.site import Site, noise
from benchmarks.work import TINY, Work
from burncloud_images.model.media import examine_bytes


@pytest.fixture
def bench(tmp_path):
    """Return a bench in a folder of the test, if there is an nginx."""
    try:
        find_nginx()
    except NoServerError as reason:
        pytest.skip(str(reason))
    folder = tmp_path / "site"
    folder.mkdir()
    with serve(folder) as nginx:
        yield Bench(nginx=nginx, site=Site(folder=folder, address=nginx.address, tls_address=nginx.tls_address))


def test_noise_is_a_picture():
    """Clients that look at images find a whole one, of exactly the size that was asked for."""
    media = examine_bytes(noise(5000))

    assert 5000 == len(noise(5000))
    assert ("image/png", 2048, True) == (media.media_type, media.width, media.complete)


def test_noise_has_a_least_size():
    """An image cannot have fewer bytes than its frame."""
    assert TINY == len(noise(TINY))
    with pytest.raises(ValueError, match="at least 57"):
        noise(20)


def test_missing_nginx_is_explained(monkeypatch):
    """Without nginx, the error gives the command that installs it."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(server, "PLACES", ())

    with pytest.raises(NoServerError, match="apt-get install nginx-light"):
        find_nginx()


def test_fingerprint_sees_length_and_content():
    """A fingerprint accepts neither a truncated image nor another one."""
    image = noise(100_000)

    assert len({fingerprint(image), fingerprint(image[:-1]), fingerprint(noise(100_000))}) == 3


async def test_answers_come_as_they_lie(bench):
    """A request gets the stored bytes of its answer with their content type."""
    work = Work(verb="stream", images=2, size=1000)
    bench.site.prepare(work)
    wanted = (bench.site.folder / "answers" / work.answer).read_bytes()
    url = f"{bench.nginx.address}/{work.answer}/v1/images/generations"
    async with aiohttp.ClientSession() as session, session.post(url, json={}) as response:
        found = await response.read()

    assert (200, "text/event-stream", wanted) == (response.status, response.content_type, found)


async def test_upload_is_answered_when_it_is_whole(bench):
    """The server answers and logs an upload only when its last byte has arrived."""
    work = Work(verb="upload", size=1000)
    bench.site.prepare(work)
    host, port = bench.nginx.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /{work.answer}/v1/images/edits HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
    writer.write(head.encode() + bytes(2_999_999))
    await writer.drain()
    early = asyncio.create_task(reader.readline())
    done, _ = await asyncio.wait([early], timeout=0.3)
    writer.write(b"x")
    line = await early
    writer.close()
    await writer.wait_closed()

    assert set() == done
    assert line.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("contender", ["ours", "openai", "openai-aiohttp", "handwritten"])
@pytest.mark.parametrize("verb", ["to_files", "to_memory", "stream", "upload", "download", "small"])
def test_contenders_do_the_work(bench, contender, verb):
    """Every contender does every job, or says why it cannot; what was done is judged."""
    if contender != "ours":
        pytest.importorskip("openai")
    images = 1 if verb == "small" else 2
    found = bench.run(contender, Work(verb=verb, images=images, size=TINY if verb == "small" else 5000, requests=2))

    assert "not there yet" == found or {"wall", "cpu", "memory", "stall"} == found.keys()


def test_half_the_work_is_no_work(bench, tmp_path):
    """Files that are missing or differ from the server's are noticed."""
    work = Work(verb="to_files", images=2, size=5000)
    bench.site.prepare(work)
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "0.png").write_bytes(noise(5000))

    with pytest.raises(CheatedError, match="made 1 images, 0 of the 2 wanted"):
        bench.judge("somebody", work, Counter(), folder)


def test_upload_that_did_not_come_is_noticed(bench):
    """An upload that is not in the server's log is noticed."""
    with pytest.raises(CheatedError, match="uploaded 0 bytes"):
        bench.judge_uploads("somebody", Work(verb="upload", size=5000), before=0)
