"""The images of a stream are cut out as they pass, whatever the events are called and however they are cut."""

from __future__ import annotations

import base64
import json
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import chunkings, cut, json_values

from burncloud_images.errors import ImagesError, OutcomeUnknownError, TooLargeError
from burncloud_images.results import TokenDetails, Usage
from burncloud_images.wire.events import CompletedEnded, IgnoredEvent, PartialEnded, PartialStarted, StreamDecoder
from burncloud_images.wire.image_json import ImageChunk, ImageEnded, ImageFailed, ImageStarted, PausePoint

PIXELS = bytes(range(256)) * 3
BASE64 = base64.b64encode(PIXELS).decode()
CAP = 10**6


class Streamed:
    """What came out of a decoder: previews and images with their bytes, what was damaged, and the rest."""

    def __init__(self, chunks, most: int = CAP) -> None:
        self.decoder = StreamDecoder(most)
        self.partials: list[tuple[int, int | None, bytes | None]] = []
        self.images: list[tuple[int, bytes | None, str | None]] = []
        self.passed_over = 0
        self.started: list[type] = []
        self.buffer: bytes | None = None
        self.error: ImagesError | None = None
        self.answer = None
        try:
            for chunk in chunks:
                for event in self.decoder.feed(chunk):
                    self.note(event)
                if self.decoder.done:
                    break
            for event in self.decoder.flush():
                self.note(event)
            self.answer = self.decoder.close()
        except ImagesError as error:
            self.error = error

    def note(self, event) -> None:
        match event:
            case ImageStarted() | PartialStarted():
                self.started.append(type(event))
                self.buffer = b""
            case ImageChunk(_, data):
                self.buffer += data
            case ImageFailed():
                self.buffer = None
            case ImageEnded():
                pass
            case PartialEnded(index, facts):
                self.partials.append((index, facts.partial_image_index, self.buffer))
                self.buffer = None
            case CompletedEnded(item, _):
                assert item.decoded == (self.buffer is not None)
                self.images.append((item.index, self.buffer, item.url))
                self.buffer = None
            case IgnoredEvent():
                self.passed_over += 1
                self.buffer = None

    @property
    def outcome(self) -> tuple[object, ...]:
        failure = self.error and (type(self.error), str(self.error))
        return self.partials, self.images, self.passed_over, self.decoder.done, failure


def streamed(*chunks: bytes, **options) -> Streamed:
    return Streamed(chunks, **options)


def event(kind: str, *, named: bool = True, of: str = "image_generation", **fields: object) -> bytes:
    name = f"{of}.{kind}"
    head = f"event: {name}\n" if named else ""
    return f"{head}data: {json.dumps({'type': name, **fields})}\n\n".encode()


PARTIAL = event("partial_image", b64_json=BASE64, partial_image_index=0)
COMPLETED = event("completed", b64_json=BASE64, created_at=1713833628, size="1024x1024", usage={"total_tokens": 7})


# --- the independent implementation: the whole text, by the standard library ------------------------------------


def expected_of(body: bytes) -> tuple[list[object], list[object]]:
    """Return the bytes of the previews and of the images of a well-formed stream, in order."""
    partials, images = [], []
    body = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for block in body.split(b"\n\n"):
        data = b"\n".join(line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:"))
        if data == b"[DONE]":
            break
        document = json.loads(data) if data else {}
        if not isinstance(document, dict) or "b64_json" not in document:
            continue
        whole = base64.b64decode(document["b64_json"])
        if str(document.get("type")).endswith(".partial_image"):
            partials.append(whole)
        elif str(document.get("type")).endswith(".completed"):
            images.append(whole)
    return partials, images


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Return a stream as servers may write it: pings, unknown events, fields in any order, on one line or several."""
    body = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    end = draw(st.sampled_from([b"\n", b"\r", b"\r\n"]))
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["partial_image", "completed", "queued"]))
        of = draw(st.sampled_from(["image_generation", "image_edit"]))
        extra = {name: value for name, value in draw(extras).items() if name not in TAKEN}
        fields = {"type": f"{of}.{kind}", **extra}
        if kind != "queued":
            fields["b64_json"] = base64.b64encode(draw(st.binary(min_size=1, max_size=40))).decode()
        fields = dict(draw(st.permutations(list(fields.items()))))
        text = json.dumps(fields, indent=draw(st.sampled_from([None, 1])), ensure_ascii=draw(st.booleans()))
        name = [b"event: " + fields["type"].encode()] * draw(st.booleans())
        lines = [*name, *(b"data: " + line.encode() for line in text.split("\n"))]
        body += end.join(lines) + end * 2 + (b": PING" + end * 2) * draw(st.integers(0, 2))
    return body + (b"data: [DONE]" + end * 2) * draw(st.booleans())


TAKEN = {"type", "b64_json", "url", "error", "output_index"}
extras = st.dictionaries(st.text("abcdeß水", min_size=1, max_size=5), json_values, max_size=3)


class TestCutting:
    @given(streams(), st.data())
    def test_any_cut_gives_what_the_whole_text_gives(self, body, data):
        """An implementation that parses whole events agrees, and so do single bytes."""
        partials, images = expected_of(body)

        whole = streamed(body)
        assert partials == [piece for *_, piece in whole.partials]
        assert images == [piece for _, piece, _ in whole.images]
        assert whole.outcome == Streamed(cut(body, data.draw(chunkings(len(body))))).outcome

    @given(streams(), st.integers(0, 10_000))
    def test_what_came_before_a_cut_is_kept(self, body, place):
        """A stream that stops anywhere gives what it had given by then."""
        _, images = expected_of(body)

        found = [piece for _, piece, _ in streamed(body[:place]).images]
        assert images[: len(found)] == found

    def test_base64_is_never_collected(self):
        """A line of 40 MB leaves nothing behind but its fields."""
        decoder = StreamDecoder(10**8)
        size = 0
        tracemalloc.start()
        list(
            decoder.feed(b'event: image_generation.completed\ndata: {"type":"image_generation.completed","b64_json":"')
        )
        for _ in range(640):
            size += sum(len(event.data) for event in decoder.feed(b"AAAA" * 16384) if isinstance(event, ImageChunk))
        events = list(decoder.feed(b'","usage":{}}\n\n'))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert peak < 2 * 1024 * 1024
        assert 640 * 3 * 16384 == size
        assert isinstance(events[-1], CompletedEnded)
        assert len(decoder.raw) < 200


class TestKinds:
    """What an event is."""

    def test_partials_and_the_image(self):
        """In order, with what they say beside their bytes."""
        stream = streamed(PARTIAL, COMPLETED)

        assert [(0, 0, PIXELS)] == stream.partials
        assert [(0, PIXELS, None)] == stream.images
        assert [PartialStarted, ImageStarted] == stream.started
        assert datetime.fromtimestamp(1713833628, UTC) == stream.answer.created
        assert ("1024x1024", Usage(total_tokens=7)) == (stream.answer.size, stream.answer.usage)

    def test_previews_are_numbered_before_they_say_so(self):
        """The number mostly stands behind the bytes, and whoever writes them to a file needs a name first."""
        late = event("partial_image", b64_json=BASE64, partial_image_index=7)
        early = event("partial_image", partial_image_index=7, b64_json=BASE64)
        decoder = StreamDecoder(CAP)
        started = [item for chunk in (late, late, early) for item in decoder.feed(chunk)]

        numbers = [item.number for item in started if isinstance(item, PartialStarted)]
        assert [0, 1, 7] == numbers

    def test_an_edit_s_events(self):
        """By their own names, and by a generation's, as some gateways send them."""
        own = event("completed", of="image_edit", b64_json=BASE64)

        assert streamed(own).images == streamed(COMPLETED).images

    def test_the_type_may_come_last_or_be_missing(self):
        """Then the bytes are taken first and judged at the end; the name stands in for a type."""
        late = f'data: {{"b64_json": "{BASE64}", "type": "image_generation.partial_image"}}\n\n'.encode()
        missing = f'event: image_generation.completed\ndata: {{"b64_json": "{BASE64}"}}\n\n'.encode()

        assert [(0, None, PIXELS)] == streamed(late).partials
        assert [ImageStarted] == streamed(late).started
        assert [(0, PIXELS, None)] == streamed(missing).images

    def test_the_type_has_the_last_word(self):
        """A name that contradicts it is passed over: the bytes of an image must not be taken for a preview's."""
        lying = COMPLETED.replace(b"event: image_generation.completed", b"event: image_generation.partial_image")

        assert [(0, PIXELS, None)] == streamed(lying).images

    @pytest.mark.parametrize(
        "unknown",
        [
            b": PING\n\n",
            b"event: image_generation.in_progress\ndata: {}\n\n",
            b"data: no JSON at all\n\n",
            b'data: ["a", {"b": 1}]\n\n',
            b"data: null\n\n",
            b"data: }{\n\n",
            b'data: {"type": "response.completed"}\n\n',
            b"event: image_generation.completed\n\n",
            event("started", image="https://images.example/input.png"),
        ],
    )
    def test_others_are_passed_over(self, unknown):
        """With their bytes, if they have any."""
        stream = streamed(unknown, COMPLETED, unknown)

        assert [(0, PIXELS, None)] == stream.images
        assert [] == stream.partials
        assert stream.error is None

    def test_unknown_fields_are_kept(self):
        """As an answer's are."""
        answer = streamed(event("completed", b64_json=BASE64, safety_identifier="a", revised_prompt="b")).answer

        assert {"safety_identifier": "a"} == answer.extra
        assert "b" == answer.items[0].revised_prompt

    def test_several_images(self):
        """They are counted, unless the server numbers them; tokens made are added up, the input was read once."""
        details = {"text_tokens": 1}
        usage = {"total_tokens": 3, "input_tokens": 1, "output_tokens": 2, "output_tokens_details": details}
        plain = streamed(*[event("completed", b64_json=BASE64, usage=usage)] * 3)
        numbered = streamed(*(event("completed", output_index=index, b64_json=BASE64) for index in (2, 0, 0, -1, 9**9)))

        assert [0, 1, 2] == [item.index for item in plain.answer.items]
        made = TokenDetails(text_tokens=3)
        expected = Usage(total_tokens=7, input_tokens=1, output_tokens=6, output_tokens_details=made)
        assert expected == plain.answer.usage
        assert [2, 0, 1, 3, 4] == [index for index, *_ in numbered.images]

    def test_an_address_instead_of_bytes(self):
        """Gateways that make events of a plain answer pass on its URL, and empty texts for what is absent."""
        stream = streamed(event("completed", b64_json="", url="https://images.example/a.png"))

        assert "https://images.example/a.png" == stream.answer.items[0].url

    def test_an_empty_text_is_an_image_without_bytes(self):
        """Nothing else is there, so the end will say that the image is damaged."""
        stream = streamed(event("completed", b64_json=BASE64[:-3]))

        assert stream.answer.items[0].failure


class TestEnds:
    """How a stream ends."""

    @pytest.mark.parametrize("chunks", [(), (PARTIAL,), (b": PING\n\n",), (b"data: [DONE]\n\n",)])
    def test_without_an_image(self, chunks):
        """It is not known what became of it."""
        assert isinstance(streamed(*chunks).error, OutcomeUnknownError)

    def test_done_is_the_end(self):
        """Nothing behind it counts."""
        stream = streamed(COMPLETED + b"data: [DONE]\n\n" + COMPLETED)

        assert 1 == len(stream.images)
        assert stream.decoder.done

    @pytest.mark.parametrize("missing", [1, 2])
    def test_an_image_whose_blank_line_was_cut_counts(self, missing):
        """The standard would drop it, but it is whole and paid for."""
        assert [(0, PIXELS, None)] == streamed(COMPLETED[:-missing]).images

    def test_an_image_whose_fields_were_cut_does_not(self):
        """Whoever received it decides what to do about its bytes."""
        stream = streamed(COMPLETED[:-4])

        assert [] == stream.images
        assert PIXELS == stream.buffer
        assert isinstance(stream.error, OutcomeUnknownError)

    def test_an_image_whose_json_breaks_behind_it_counts(self):
        """What came before it says that it is one."""
        broken = event("completed", named=False, b64_json=BASE64, usage={"total_tokens": 7})
        broken = broken.replace(b'"usage": {"total_tokens": 7}', b'"usage": nothing')

        assert [(0, PIXELS, None)] == streamed(broken).images

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b'event: error\ndata: {"error": {"message": "slow down", "code": "x"}}\n\n', "slow down"),
            (b'data: {"error": {"message": "slow down"}}\n\n', "slow down"),
            (b'data: {"type": "error", "message": "slow down"}\n\n', "slow down"),
            (b'data: {"type": "upstream_error", "message": "slow down"}\n\n', "slow down"),
            (b'data: {"error": "slow down"}\n\n', "slow down"),
            (b"event: error\ndata: slow down\n\n", "slow down"),
        ],
    )
    def test_an_error_is_the_end(self, body, expected):
        """In each form that gateways are known to send, also after a preview."""
        for chunks in ((body, COMPLETED), (PARTIAL, body)):
            stream = streamed(*chunks)
            assert stream.decoder.done
            assert [] == stream.images
            assert stream.answer.error is not None
            assert expected in stream.answer.raw.decode()

    def test_a_missing_error_is_none(self):
        """Some write the field empty."""
        assert [(0, PIXELS, None)] == streamed(event("completed", b64_json=BASE64, error=None)).images


class TestLimits:
    def test_an_event_over_the_cap(self):
        """The error names it, long before the event ends."""
        stream = streamed(b'data: {"b64_json": "', b"AAAA" * 300, most=1000)

        assert isinstance(stream.error, TooLargeError)
        assert "Limits.event" in str(stream.error)

    def test_the_cap_is_for_each_event(self):
        """Many that are smaller are no large one."""
        assert 5 == len(streamed(*[COMPLETED] * 5, most=len(COMPLETED)).images)

    def test_pings_count_for_no_event(self):
        """Pings do not count as events, and neither do comments between two events."""
        assert 1 == len(streamed(*[b": PING\n\n"] * 1000, COMPLETED, most=len(COMPLETED)).images)

    def test_what_is_kept_for_errors_is_small(self):
        """Of many events only the first megabyte, and the event that passes it."""
        stream = streamed(*[b'data: {"type": "x", "y": "%b"}\n\n' % (b"z" * 10_000)] * 300)

        assert len(stream.error.raw) <= 1024 * 1024 + 10_100


def plain_answer(*items, **fields):
    return b"data: " + json.dumps({"created": 1713833628, "data": list(items), **fields}).encode() + b"\n\n"


def said(*chunks):
    """Return what a stream says in the end."""
    decoder = StreamDecoder(CAP)
    for chunk in chunks:
        for _ in decoder.feed(chunk):
            pass
    return decoder.close()


class TestPlainAnswers:
    """An event that is a plain answer, as some gateways make of one."""

    def test_its_images_are_those_of_the_stream(self):
        """In its order, and behind those of an answer before it."""
        image, address = {"b64_json": BASE64, "revised_prompt": "x"}, {"url": "https://x.example/a.png"}
        found = said(plain_answer(image, address, usage={"total_tokens": 7}), plain_answer(image, size="16x16"))

        assert [0, 1, 2] == [item.index for item in found.items]
        assert [True, False, True] == [item.decoded for item in found.items]
        assert [None, "https://x.example/a.png", None] == [item.url for item in found.items]
        assert (7, "16x16") == (found.usage.total_tokens, found.size)
        assert 2024 == found.created.year

    def test_its_type_does_not_matter(self):
        """Unless it is that of a preview."""
        for kind in ("x", "image_generation.completed", ""):
            found = said(plain_answer({"b64_json": BASE64}, type=kind))
            assert [True] == [item.decoded for item in found.items]
        with pytest.raises(OutcomeUnknownError):
            said(plain_answer({"b64_json": BASE64}, type="image_generation.partial_image"))

    def test_an_error_without_images_is_one(self):
        """Beside images it is told with them."""
        error = {"code": "x"}

        assert error == said(plain_answer({}, error=error)).error["error"]
        assert error == said(plain_answer({"b64_json": BASE64}, error=error)).extra["error"]

    def test_what_broke_behind_its_image_costs_nothing(self):
        """The image is there."""
        body = plain_answer({"b64_json": BASE64}).replace(b"}]}", b"}],,}")

        assert [True] == [item.decoded for item in said(body).items]

    def test_data_without_objects_is_no_answer(self):
        """Other events may have such a field."""
        with pytest.raises(OutcomeUnknownError):
            said(plain_answer(1, 2, type="x"))

    def test_only_so_many_are_taken(self):
        """Images past the cap are kept as text."""
        decoder = StreamDecoder(10**8, 2)
        events = list(decoder.feed(plain_answer(*[{"b64_json": BASE64}] * 5)))

        assert 2 == sum(isinstance(event, ImageStarted) for event in events)
        assert 2 == len(decoder.close().items)
        assert decoder.close().has_surplus


class TestErrorsBesideImages:
    """An event with an image, or its address, and an error."""

    @pytest.mark.parametrize("error", [{"message": "", "code": None}, {"message": "odd"}, {}, "odd"], ids=str)
    @pytest.mark.parametrize("image", ["b64_json", "url"])
    def test_the_image_counts(self, error, image):
        """The error is told beside it, if it says something."""
        fields = {"type": "image_generation.completed", "error": error}
        fields[image] = BASE64 if image == "b64_json" else "https://x.example/a.png"
        found = said(b"data: " + json.dumps(fields).encode() + b"\n\n")

        (item,) = found.items
        assert (image == "b64_json") == item.decoded
        assert ("odd" in json.dumps(error)) == ("error" in found.extra)

    def test_an_error_without_words_is_none(self):
        """Unless the event says by its type that it is one."""
        empty = {"error": {"message": "", "code": 0}}
        passed = said(b"data: " + json.dumps({"type": "x", **empty}).encode() + b"\n\n", COMPLETED)
        failed = said(b"data: " + json.dumps({"type": "error", **empty}).encode() + b"\n\n", COMPLETED)

        assert 1 == len(passed.items)
        assert empty["error"] == failed.error["error"]


def test_many_events_are_taken_with_pauses():
    """The decoder pauses among many events, so that other tasks can run."""
    decoder = StreamDecoder(10**8)
    events = list(decoder.feed(b'data: {"type":"x"}\n\n' * 1000))

    assert 50 <= sum(isinstance(event, PausePoint) for event in events)


class TestRefusals:
    """Of several images some may be refused."""

    def refused(self, index, **fields):
        """Return the event of a refused image."""
        return event("partial_failed", image_index=index, **fields)

    def test_a_refused_image_ends_itself_alone(self):
        """The images after it come, and the event that sums up has the tokens."""
        stream = streamed(
            event("partial_succeeded", image_index=0, b64_json=BASE64),
            self.refused(1, error={"code": "x", "message": "no"}),
            event("partial_succeeded", image_index=2, b64_json=BASE64),
            event("completed", usage={"total_tokens": 7}),
        )

        assert [0, 2] == [index for index, *_ in stream.images]
        assert [(1, "x", "no")] == [(one.index, one.code, one.message) for one in stream.answer.refused]
        assert Usage(total_tokens=7) == stream.answer.usage
        assert None is stream.answer.error

    @pytest.mark.parametrize("error", [{}, {"error": None}, {"error": "no"}, {"error": {"message": "no"}}], ids=str)
    def test_a_stream_of_refusals_is_an_error(self, error):
        """Where no image came, the answer is the error of the first."""
        stream = streamed(self.refused(0, **error), self.refused(1, **error), event("completed", usage={}))

        assert [] == stream.images
        assert [0, 1] == [one.index for one in stream.answer.refused]
        assert stream.answer.error["error"]["message"]

    def test_a_numbered_error_is_of_one_image(self):
        """An error that says which image it is about is not of the stream, under any name."""
        stream = streamed(
            event("failed", output_index=0, error={"code": "x"}), event("completed", output_index=1, b64_json=BASE64)
        )

        assert [1] == [index for index, *_ in stream.images]
        assert [0] == [one.index for one in stream.answer.refused]

    def test_an_event_that_sums_up_repeats_no_image(self):
        """Images that came one by one are not counted again where the last event has them all."""
        decoder = StreamDecoder(CAP, wanted=1)
        body = event("partial_succeeded", image_index=0, b64_json=BASE64)
        body += event("completed", data=[{"b64_json": BASE64}], usage={"total_tokens": 7})
        for _ in decoder.feed(body):
            pass

        assert [0] == [item.index for item in decoder.close().items]
        assert decoder.is_done
        assert Usage(total_tokens=7) == decoder.close().usage

    def test_a_stream_that_ends_without_summing_up_is_whole(self):
        """Nothing is missing where each image that was asked for has come."""
        decoder = StreamDecoder(CAP, wanted=1)
        for _ in decoder.feed(event("partial_succeeded", image_index=0, b64_json=BASE64)):
            pass

        assert not decoder.is_done
        assert [] == list(decoder.flush())
        assert decoder.is_done
