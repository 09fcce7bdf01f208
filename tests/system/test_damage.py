"""What arrived is never thrown away: images that broke off or are damaged are on the error, as far as they came."""

from __future__ import annotations

import base64
import json
import pickle

import pytest
from pictures import png

from burncloud_images import Directory, GenerationRequest, Limits, Memory, RetryPolicy, errors
from burncloud_images.emulator import Fault
from burncloud_images.files.sinks import MemoryWriter

pytestmark = pytest.mark.ways("tls")

SMALL = {"model": "gpt-image-2", "size": "1024x640"}
WHOLE = png(pad=5_000)
TEXT = base64.b64encode(WHOLE).decode()


def answer(*texts, **options):
    return Fault(body={"created": 1, "data": [{"b64_json": text} for text in texts]}, billed=True, **options)


@pytest.fixture(params=["memory", "files"])
def sink(request, tmp_path):
    """Return each sink of the package."""
    return Memory() if request.param == "memory" else Directory(tmp_path / "out")


async def fail(bench, sink, n=1, kind=errors.ProtocolError):
    with pytest.raises(kind) as caught:
        await bench.client.send(GenerationRequest("otter", n=n, **SMALL), into=sink)
    return caught.value


class TestDamage:
    """A complete answer with images that are not."""

    @pytest.mark.parametrize(
        ("text", "data", "rest", "reason"),
        [
            (TEXT[:4000] + "!" + TEXT[4000:], None, None, "it holds something that is not base64"),
            (TEXT[:4000] + "A", 3000, 1, "base64 ends 3 characters short"),
            (base64.b64encode(WHOLE[:-12]).decode(), len(WHOLE) - 12, 0, "its image/png has no end"),
            (base64.b64encode(b"no image at all").decode(), 15, 0, "its bytes are not an image"),
        ],
        ids=["letter", "length", "end", "kind"],
    )
    async def test_all_that_came_is_held(self, set_up, sink, text, data, rest, reason):
        """Decoded bytes and the undecoded text together are what was sent."""
        bench = await set_up(answer(TEXT, text, TEXT))
        error = await fail(bench, sink, n=3)

        assert [0, 2] == [image.index for image in error.images]
        (damaged,) = error.damaged
        assert (1, reason) == (damaged.index, damaged.reason)
        assert text == base64.b64encode(damaged.data).decode() + damaged.rest.decode()
        assert data in {None, len(damaged.data)}
        assert rest in {None, len(damaged.rest)}
        assert f"image 2: {reason}" in error.message
        assert b"created" in error.raw
        assert [] == parts(sink)

    async def test_only_so_much_is_held_as_one_image_may_have(self, set_up, sink):
        """All damaged images together are held up to the cap of one image."""
        broken = base64.b64encode(WHOLE[:-12]).decode()
        limits = Limits(image=len(WHOLE) + 100)
        bench = await set_up(answer(broken, broken, "!" * 200), limits=limits)
        error = await fail(bench, sink, n=3)
        first, second, third = error.damaged
        assert len(WHOLE) - 12 == len(first.data)
        assert 112 == len(second.data) + len(third.rest)

    async def test_a_second_whole_value_leaves_no_damage(self, set_up, sink):
        """A second whole value for the same item leaves no damage."""
        item = {"b64_json": "!!", "url": "data:image/png;base64," + TEXT}
        bench = await set_up(Fault(body={"created": 1, "data": [item, {"b64_json": "!!"}]}, billed=True))
        error = await fail(bench, sink, n=2)
        assert [0] == [image.index for image in error.images]
        assert [1] == [fragment.index for fragment in error.damaged]


def parts(sink):
    return list(sink.path.glob(".*.part")) if isinstance(sink, Directory) else []


class TestCuts:
    """An answer that breaks off in the middle of an image."""

    async def test_the_beginning_of_an_image_is_held(self, set_up, sink):
        """The first bytes of an image that was cut off are on the error."""
        body = json.dumps({"created": 1, "data": [{"b64_json": TEXT}, {"b64_json": TEXT}]}, separators=(",", ":"))
        end = body.rindex(TEXT) + 4001
        bench = await set_up(answer(TEXT, TEXT, cut="close", place="answer", byte=end, framing="eof"))
        error = await fail(bench, sink, n=2, kind=errors.OutcomeUnknownError)

        assert [0] == [image.index for image in error.images]
        (damaged,) = error.damaged
        assert (1, "it was cut off", b"") == (damaged.index, damaged.reason, damaged.rest)
        assert WHOLE.startswith(damaged.data)
        assert 2900 < len(damaged.data) < 3100
        assert [] == parts(sink)

    async def test_what_is_over_the_cap_is_not_held(self, set_up, sink):
        """Bytes above the cap are not held."""
        bench = await set_up(answer(TEXT), limits=Limits(image=1000))
        error = await fail(bench, sink, kind=errors.TooLargeError)
        assert () == error.damaged
        assert [] == parts(sink)

    @pytest.mark.usefixtures("landscapes")  # which are large
    async def test_an_accepted_retry_that_fails_does_not_lose_it(self, set_up):
        """When a retry fails, the error with the images is raised from the last one."""
        policy = RetryPolicy(on_unknown="retry")
        bench = await set_up(Fault(cut="close", place="answer", byte=-2000), Fault(status=402), retry=policy)
        error = await fail(bench, Memory(), n=2, kind=errors.OutcomeUnknownError)
        assert 1 == len(error.images)
        assert isinstance(error.__cause__, errors.QuotaExceededError)
        assert 2 == len(error.history)


class TestOtherSinks:
    """A sink of the caller's own."""

    async def test_need_not_tell_what_they_were_given(self, set_up):
        """Without `read_back` the writer's bytes are lost, and the undecoded text is held."""

        class Mute:
            def __init__(self, writer):
                self.write, self.finish = writer.write, writer.finish
                self.keep, self.discard = writer.keep, writer.discard

        class Plain(Memory):
            def open(self, placement):
                return Mute(MemoryWriter(index=placement.index))

        bench = await set_up(answer(TEXT[:-8] + "!" + TEXT[-8:]))
        error = await fail(bench, Plain())
        (damaged,) = error.damaged
        assert b"" == damaged.data
        assert damaged.rest.endswith(TEXT[-8:].encode())

    async def test_may_fail_to_tell(self, set_up):
        """An error while reading back does not hide the first error."""

        class Failing(MemoryWriter):
            async def read_back(self, most):
                raise OSError(5, "Input/output error")

        class Broken(Memory):
            def open(self, placement):
                return Failing(index=placement.index)

        bench = await set_up(answer(base64.b64encode(b"nothing").decode()))
        error = await fail(bench, Broken())
        assert [b""] == [fragment.data for fragment in error.damaged]


async def test_fragments_are_in_no_text_and_no_pickle(set_up):
    """Fragments of images are in no message and no pickle."""
    bench = await set_up(answer("!" + TEXT))
    error = await fail(bench, Memory())
    assert TEXT[:40] not in repr(error.damaged) + str(error) + repr(error)
    assert f"<{len(TEXT) + 1} bytes>" in repr(error.damaged)
    assert () == pickle.loads(pickle.dumps(error)).damaged


async def test_a_disk_that_fails_does_not_hide_damage(set_up, tmp_path):
    """A storage error holds the damaged images as well."""
    (tmp_path / "otter.png").touch()

    class Late(Directory):
        async def prepare(self, placement, count):
            """See no name that is taken."""

    bench = await set_up(answer(TEXT, "!!"))
    error = await fail(bench, Late(tmp_path, name="otter.png"), n=2, kind=errors.StorageError)
    assert [0] == [image.index for image in error.unsaved]
    assert [1] == [fragment.index for fragment in error.damaged]
