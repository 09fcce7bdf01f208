"""The key shows itself to the connection only."""

from __future__ import annotations

import traceback

import pytest
from raw import answering, serve

from burncloud_images import AsyncImagesClient, errors
from burncloud_images.transport.secret import Secret, bearer, hide

pytestmark = pytest.mark.ways("tls")

KEY = "sk-canary-5d1c"


def shown(error: BaseException) -> str:
    """Return what a crash reporter writes: the package's frames, with their local variables."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in report.stack if "/burncloud_images/" in frame.filename]
    assert frames
    return "".join(traceback.StackSummary.from_list(frames).format())


def test_a_secret_is_masked_wherever_it_is_printed():
    """By repr and in formatted text; in a header it is what it is."""
    assert "'***'" == repr(Secret(KEY))
    assert "***" == f"{Secret(KEY)}"
    assert f"Bearer {KEY}" == str(bearer(Secret(KEY)))
    assert f"Bearer {KEY}".encode() == bearer(Secret(KEY)).encode()
    assert "'***'" == repr(bearer(KEY))


def test_only_text_is_hidden():
    """A callable that returns the key stays one."""
    assert len is hide(len)
    assert None is hide(None)


async def sync_key() -> str:
    return KEY


@pytest.mark.parametrize("key", [KEY, lambda: KEY, sync_key], ids=["text", "callable", "async callable"])
async def test_no_traceback_shows_the_key(key):
    """Not even with local variables, as crash reporters write them."""
    async with serve(answering(b"garbage\r\n\r\n")) as raw, AsyncImagesClient(key, raw.url) as client:
        with pytest.raises(errors.OutcomeUnknownError) as caught:
            await client.generate("otter")

    assert KEY.encode() in raw.requests[0]
    assert KEY not in shown(caught.value)


@pytest.mark.parametrize("key", [f"{KEY}\r\n", lambda: f"{KEY} "], ids=["text", "callable"])
async def test_no_traceback_shows_a_key_that_cannot_be_sent(key):
    """What is wrong with it is said without it."""
    with pytest.raises(errors.ConfigurationError) as caught:
        await AsyncImagesClient(key, "http://127.0.0.1:9").generate("otter")

    assert KEY not in shown(caught.value)
