"""Answers are decoded as their chunks pass, however they are cut and whatever their texts look like."""

from __future__ import annotations

import base64
import itertools
import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Pairs, answers, chunkings, cut, examples

from burncloud_images.errors import ImagesError, OutcomeUnknownError, ProtocolError, TooLargeError
from burncloud_images.results import TokenDetails, Usage
from burncloud_images.wire import image_json
from burncloud_images.wire.image_json import (
    AnswerDecoder,
    ImageChunk,
    ImageEnded,
    ImageFailed,
    ImageStarted,
    OpaqueDecoder,
    PausePoint,
    SurplusText,
    UndecodedText,
)

PIXELS = bytes(range(256)) * 3
BASE64 = base64.b64encode(PIXELS).decode()


class Decoded:
    """What came out of a decoder: the images that were whole, why others were not, and the rest."""

    def __init__(self, chunks) -> None:
        self.decoder = AnswerDecoder()
        self.images: dict[int, bytes] = {}
        self.failed: set[int] = set()
        self.answer = None
        self.error: ImagesError | None = None
        buffer, second_of = b"", None
        try:
            for chunk in chunks:
                for event in self.decoder.feed(chunk):
                    match event:
                        case ImageStarted(index, second_of):
                            assert index not in self.images
                            self.failed.discard(index)
                            buffer = b""
                        case ImageChunk(_, data):
                            buffer += data
                        case ImageEnded(index) if second_of is not None and buffer == self.images[second_of]:
                            self.decoder.drop_second(index)
                        case ImageEnded(index):
                            self.images[index] = buffer
                        case ImageFailed(index) if second_of is None:
                            self.failed.add(index)
            self.answer = self.decoder.close()
        except ImagesError as error:
            self.error = error

    @property
    def outcome(self) -> tuple[object, ...]:
        """Everything that must not depend on the chunks; the wording of a damage may."""
        items = extra = error = None
        if self.answer is not None:
            items = [
                (item.index, item.decoded, item.failure is not None, item.url, item.revised_prompt, dict(item.extra))
                for item in self.answer.items
            ]
            extra, error = dict(self.answer.extra), self.answer.error
        failure = self.error and (type(self.error), str(self.error))
        return self.images, self.failed, repr((items, extra, error)), failure


def decoded(*chunks: bytes) -> Decoded:
    return Decoded(chunks)


def by_byte(body: bytes) -> Decoded:
    return Decoded(body[index : index + 1] for index in range(len(body)))


def answer(*items: object, **rest: object) -> bytes:
    return json.dumps({"created": 1713833628, "data": list(items), **rest}).encode()


# --- the independent implementation: the whole, by the standard library ----------------------------------------------


def payload_of(key: str, value: object) -> str | None:
    """Return the base64 of a member of an image object, if it holds any."""
    if not isinstance(value, str) or key not in {"b64_json", "url"} or not value:
        return None
    if value[:5].lower() != "data:":
        return value if key == "b64_json" else None
    head, comma, payload = value.partition(",")
    return payload if comma and '"' not in head and head.lower().endswith(";base64") else None


def lenient(text: str) -> bytes | None:
    """Return what *text* encodes, in either alphabet, with white space and without padding; None if it is damaged."""
    text = re.sub("[ \t\r\n]", "", text).translate(str.maketrans("-_", "+/"))
    whole = re.fullmatch("([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}={0,2}|[A-Za-z0-9+/]{3}=?)?", text)
    return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)) if whole else None


def plain(value: object) -> object:
    """Return *value* as the standard parser has it: of two members of one name, the last."""
    if isinstance(value, Pairs):
        return {name: plain(item) for name, item in value}
    return [plain(item) for item in value] if isinstance(value, list) else value


def expected_of(body: bytes) -> tuple[dict[int, bytes], set[int], dict[str, object]]:
    document = json.loads(body, object_pairs_hook=Pairs)
    images: dict[int, bytes] = {}
    failed: set[int] = set()
    for name, items in document:
        for index, item in enumerate(items if name == "data" and isinstance(items, list) else ()):
            for place, (key, value) in enumerate(item if isinstance(item, Pairs) else ()):
                payload = payload_of(key, value)
                if payload is None:
                    continue
                item[place] = (key, "")
                if index in images:
                    continue
                failed.discard(index)
                data = lenient(payload)
                if data is None:
                    failed.add(index)
                else:
                    images[index] = data
    return images, failed, plain(document)


WELL = ("", "success", "succeeded", "successful", "ok", "none", "null", "no error", "noerror", "0", "200", "false")


def is_error(value: object) -> bool:
    """Whether an `error` says that something is wrong, by a text or a number in one of its usual places."""
    if isinstance(value, list):
        return any(map(is_error, value))
    names = ("message", "msg", "detail", "code", "type")
    words = [value.get(name) for name in names] if isinstance(value, dict) else [value]
    return any(
        word.strip(" \t\r\n.!").lower() not in WELL
        if isinstance(word, str)
        else type(word) is int and word not in {0, 200}
        for word in words
    )


def says_something(value: object) -> object:
    return value if isinstance(value, str) and value else None


def address_of(item: dict[str, object]) -> object:
    """Return where an image lies; a `data:` URL without base64 is an address, also where base64 is expected."""
    payload = item.get("b64_json")
    inline = payload if isinstance(payload, str) and payload[:5].lower() == "data:" else None
    url = says_something(item.get("url"))
    return inline if inline and not str(url).lower().startswith(("http", "data:", "/")) else url


@given(answers, st.data())
@settings(max_examples=examples(250))
def test_any_chunking_decodes_to_what_the_whole_says(body, data):
    """Images, damages and the rest of the JSON are those that a parser of the whole finds."""
    images, failed, document = expected_of(body)

    found = Decoded(cut(body, data.draw(chunkings(len(body)))))

    assert images == found.images
    assert failed == found.failed
    if found.error is not None:
        assert not isinstance(document.get("data") or [], list)
        assert isinstance(found.error, ProtocolError)
    elif is_error(document.get("error")) and not images and found.answer.error:
        # Strings where images stand are cut out of an error as well.
        assert document["error"] == found.answer.error["error"]
    else:
        items = [item for item in document.get("data") or [] if isinstance(item, dict)]
        own = [item for item in found.answer.items if item.index < len(document.get("data") or [])]
        own = [item for item in own if isinstance(document["data"][item.index], dict)]
        assert items == [document["data"][item.index] for item in own]
        assert [address_of(item) for item in items] == [item.url for item in own]
        assert [says_something(item.get("revised_prompt")) for item in items] == [item.revised_prompt for item in own]
        unknown = [{k: v for k, v in i.items() if k not in {"b64_json", "url", "revised_prompt"}} for i in items]
        assert unknown == [item.extra for item in own]
        assert set(images) == {item.index for item in found.answer.items if item.decoded}
        assert not is_error(document.get("error")) or images or any(item.url for item in found.answer.items)
        assert failed == {item.index for item in own if item.failure} | (failed - {item.index for item in own})
        for name in ("size", "quality", "background", "output_format"):
            assert says_something(document.get(name)) == getattr(found.answer, name)


@given(answers, st.data())
@settings(max_examples=examples(100))
def test_two_chunkings_come_to_the_same(body, data):
    """Byte by byte, whole or in between: the outcome is one, damage and errors included."""
    whole = decoded(body)

    assert whole.outcome == by_byte(body).outcome
    assert whole.outcome == Decoded(cut(body, data.draw(chunkings(len(body))))).outcome


@pytest.mark.parametrize("key", ["b64_json", "url"])
def test_a_quote_within_base64_is_part_of_the_damage(key):
    """What follows it is neither base64 nor an address."""
    body = answer({key: 'data:image/png;base64,iVBO"https://x.example/a.png'})

    for found in (decoded(body), by_byte(body)):
        assert {0} == found.failed
        assert [(True, None)] == [(item.failure is not None, item.url) for item in found.answer.items]


@given(
    st.binary(max_size=80) | st.text('{}[]:,"\\du08b64_jsonrlat \n\u00e9/+=A', max_size=60).map(str.encode), st.data()
)
@settings(max_examples=examples(250))
def test_any_bytes_come_to_an_answer_or_an_error_of_ours(body, data):
    """Nothing that a server can send raises anything from outside the hierarchy; how it is cut makes no difference."""
    whole = decoded(body)

    assert (whole.answer is None) == (whole.error is not None)
    if not isinstance(whole.error, (ProtocolError, type(None))):
        assert isinstance(whole.error, OutcomeUnknownError)
    found = Decoded(cut(body, data.draw(chunkings(len(body)))))
    assert whole.outcome == found.outcome


# --- truncation ------------------------------------------------------------------------------------------------------

LONG = answer(
    {"b64_json": BASE64, "revised_prompt": 'say "b64_json": "\\"'},
    None,
    {"url": "https://images.example/a.png"},
    {"b64_json": f"data:image/png;base64,{BASE64}"},
    usage={"total_tokens": 3},
).replace(b"/png", b"\\/png")


def test_an_answer_cut_at_any_byte_leaves_the_outcome_unknown():
    """An answer that ends in the middle was paid for: whole images are kept, and no parser's error leaks out."""
    whole = decoded(LONG)
    assert {0: PIXELS, 3: PIXELS} == whole.images

    for size in range(1, len(LONG)):
        found = decoded(LONG[:size])
        assert isinstance(found.error, OutcomeUnknownError), size
        assert found.images.items() <= whole.images.items()
        assert "may have been billed" in str(found.error)


def test_white_space_after_the_answer_is_part_of_nothing():
    """An answer that is whole but for its last line break is whole."""
    body = LONG + b"\r\n"

    assert decoded(LONG).outcome == decoded(body).outcome


# --- texts that look like images -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt",
    ['{"data":[{"b64_json":"AAAA"}]}', '"b64_json": "AAAA"', "\\", '\\"', '"', "\\\\\\", '\\u0022b64_json":"', "]}]}"],
)
def test_a_prompt_may_hold_any_json(prompt):
    """Where a string stands decides what it is, never what it looks like."""
    body = answer({"revised_prompt": prompt, "b64_json": BASE64}, {"b64_json": BASE64, "revised_prompt": prompt})

    for found in (decoded(body), by_byte(body)):
        assert {0: PIXELS, 1: PIXELS} == found.images
        assert [prompt, prompt] == [item.revised_prompt for item in found.answer.items]


@pytest.mark.parametrize(
    "body",
    [
        b'{"url":"data:image/png;base64,AAAA"}',
        b'{"more":{"b64_json":"AAAA"},"data":[]}',
        b'{"data":[["AAAA"]],"x":[{"b64_json":"AAAA"}]}',
        b'{"data":[{"input":{"b64_json":"AAAA"}}]}',
        b'{"data":[{"x":["b64_json","AAAA"]}]}',
        b'{"more":{"data":[{"b64_json":"AAAA"}]}}',
        b'{"data":[{"revised_prompt":"b64_json","user":"AAAA"}]}',
    ],
)
def test_only_an_item_of_data_holds_an_image(body):
    """A key of that name anywhere else is an unknown field."""
    found = by_byte(body)

    assert {} == found.images
    assert found.answer is not None


def test_a_key_may_be_spelled_with_escapes():
    r"""`\u0062` is b, in a key as anywhere."""
    body = b'{"\\u0064ata":[{"b64\\u005Fjson":"%b","\\u0075rl":""}]}' % BASE64.encode()

    assert {0: PIXELS} == decoded(body).images
    assert {0: PIXELS} == by_byte(body).images


def test_base64_may_be_written_with_escapes():
    r"""PHP writes `\/` for every slash, and any character may be written as `\u`."""
    body = answer({"b64_json": BASE64}).replace(b"/", b"\\/").replace(b"A", b"\\u0041")

    assert {0: PIXELS} == decoded(body).images
    assert {0: PIXELS} == by_byte(body).images


@pytest.mark.parametrize("text", [r"AAAA\\", r"AAA\\/", r"AA\\\\", r"AAAA\\u0041", r"\\AAAA", r"AAAA\\\""])
def test_an_escaped_backslash_is_never_base64(text):
    r"""`\\` is one backslash wherever a chunk ends, so `\\"` ends the string and `\\/` is no slash."""
    body = b'{"data":[{"b64_json":"%b","x":"y"},{"b64_json":"AAAA"}]}' % text.encode()

    for size in range(1, len(body)):
        found = decoded(body[:size], body[size:])
        assert {0} == found.failed, size
        assert {1: b"\0\0\0"} == found.images, size
        assert {"x": "y"} == found.answer.items[0].extra, size


# --- absent, null, unknown -------------------------------------------------------------------------------------------


def test_empty_strings_and_nulls_count_as_absent():
    """Adaptors of gateways write empty strings where there is nothing."""
    body = answer(
        {"url": "", "b64_json": BASE64, "revised_prompt": ""},
        {"url": "https://a.example/1", "b64_json": ""},
        {"url": None, "b64_json": None, "revised_prompt": None},
        usage=None,
        size="",
    )

    found = decoded(body)

    assert {0: PIXELS} == found.images
    assert [None, "https://a.example/1", None] == [item.url for item in found.answer.items]
    assert [None, None, None] == [item.revised_prompt for item in found.answer.items]
    assert found.answer.usage is None
    assert found.answer.size is None


def test_unknown_fields_are_handed_on():
    """What this version does not know is kept where it stood."""
    body = answer({"b64_json": "", "content_filter_results": {"hate": 1}}, metadata=[1], svg_usage={"model": "m"})

    found = decoded(body)

    assert {"content_filter_results": {"hate": 1}} == found.answer.items[0].extra
    assert {"metadata": [1], "svg_usage": {"model": "m"}} == found.answer.extra


def test_items_that_are_null_keep_the_place_of_the_others():
    """An image's index is its place in the server's list."""
    found = by_byte(answer(None, 7, [], {"b64_json": BASE64}))

    assert {3: PIXELS} == found.images
    assert [3] == [item.index for item in found.answer.items]


@pytest.mark.parametrize("data", [b"null", b"[]", b"{}", b"false"])
def test_data_may_be_null_or_empty(data):
    """It means that there are no images."""
    assert () == decoded(b'{"data":%b}' % data).answer.items
    assert () == decoded(b"{}").answer.items


def test_both_url_and_base64_are_taken():
    """The bytes that came are the image; the address is kept beside them."""
    found = decoded(answer({"url": "https://a.example/1", "b64_json": BASE64}))

    assert {0: PIXELS} == found.images
    assert "https://a.example/1" == found.answer.items[0].url
    assert found.answer.items[0].decoded


def test_the_first_whole_image_of_an_item_counts():
    """A damaged one does not stand in the way of a good one, and a second one that is the same changes nothing."""
    good = BASE64
    body = answer(
        {"url": f"data:image/png;base64,{good}", "b64_json": good},
        {"url": "data:image/png;base64,A===", "b64_json": good},
        {"b64_json": good, "url": "data:image/png;base64,A==="},
    )

    for found in (decoded(body), by_byte(body)):
        assert {0: PIXELS, 1: PIXELS, 2: PIXELS} == found.images
        assert set() == found.failed
        assert [None, None, None] == [item.failure for item in found.answer.items]
        assert [None, None, None] == [item.url for item in found.answer.items]


def test_another_image_of_an_item_is_one_more():
    """Another image in the object of one has the next index, and so have those behind it."""
    other = b"another image, in the same object"
    first = {"url": f"data:image/png;base64,{BASE64}", "b64_json": base64.b64encode(other).decode()}
    body = answer(first, {"b64_json": BASE64})

    for found in (decoded(body), by_byte(body)):
        assert {0: PIXELS, 1: other, 2: PIXELS} == found.images
        assert [0, 1, 2] == [item.index for item in found.answer.items if item.decoded]


@pytest.mark.parametrize("last", [b"[]", b"null", b"[null]", b"[7]"])
def test_an_image_under_a_key_that_stands_twice_is_not_lost(last):
    """The parser keeps the last of two keys of one name, and an image of the first is paid for all the same."""
    body = b'{"data":[null,{"b64_json":"%b"}],"data":%b}' % (BASE64.encode(), last)

    found = decoded(body)

    assert {1: PIXELS} == found.images
    assert [(1, True)] == [(item.index, item.decoded) for item in found.answer.items]


def test_usage_and_details():
    """Tokens are whole numbers; what is none counts as not said."""
    usage = {"total_tokens": 100, "input_tokens": "50", "output_tokens": True, "input_tokens_details": 7}
    usage["output_tokens_details"] = {"text_tokens": 10, "image_tokens": None}

    found = decoded(answer(usage=usage)).answer

    assert Usage(total_tokens=100, output_tokens_details=TokenDetails(text_tokens=10)) == found.usage
    assert datetime(2024, 4, 23, 0, 53, 48, tzinfo=UTC) == found.created


@pytest.mark.parametrize("created", [0, -1, 10**20, 10**400, True, "1713833628", None, 1.5, []])
def test_a_time_that_is_none_counts_as_not_said(created):
    """Neither a wrong type nor a number beyond every calendar stops an image."""
    found = decoded(json.dumps({"created": created, "data": [{"b64_json": BASE64}]}).encode())

    assert found.answer.created is None
    assert {0: PIXELS} == found.images


# --- data: URLs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["b64_json", "url"])
@pytest.mark.parametrize("head", ["data:image/png;base64,", "data:;base64,", "DATA:image/png;charset=utf-8;Base64,"])
def test_a_data_url_is_an_image(key, head):
    """Some providers put one where an address or plain base64 belongs."""
    body = answer({key: f"{head}{BASE64}"})

    for found in (decoded(body), by_byte(body), decoded(body.replace(b"image/", b"image\\/"))):
        assert {0: PIXELS} == found.images
        assert found.answer.items[0].url is None


@pytest.mark.parametrize("head", ["data:image/svg+xml,", "data:", "data:image/png;base64", f"data:{'x' * 300};base64,"])
def test_a_data_url_that_is_not_base64_stays_an_address(head):
    """It is not decoded, and its text is not lost."""
    body = answer({"url": head + "AAAA"})

    for found in (decoded(body), by_byte(body)):
        assert {} == found.images
        assert head + "AAAA" == found.answer.items[0].url


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *("A", "AAAAA", "AAAA=", "A===", "====", "AAAA===="),
        *("AA==AAAA", "AA==A", "AA=A", "=AAA", "AAA=AAA="),
        *("AAA\u00e9", "AAA\u4e2d", 'AAAA"AAA', "AAAA\\", "!!!!", "AA.A"),
        *("data:image/png;base64,A", "https://a.example/1.png"),
    ],
)
def test_damaged_base64_costs_that_image_alone(text):
    """A lenient decoder would drop what it does not know, and the damaged image would look whole."""
    body = answer({"b64_json": text, "revised_prompt": "x"}, {"b64_json": BASE64})

    for found in (decoded(body), by_byte(body), decoded(json.dumps(json.loads(body), ensure_ascii=False).encode())):
        assert {1: PIXELS} == found.images
        assert {0} == found.failed
        assert found.answer.items[0].failure
        assert not found.answer.items[0].decoded
        assert "x" == found.answer.items[0].revised_prompt


@pytest.mark.parametrize(
    "write",
    [
        base64.urlsafe_b64encode,
        base64.encodebytes,
        lambda data: base64.b64encode(data).rstrip(b"="),
        lambda data: b"data:image/png;base64,\n" + base64.encodebytes(data),
        lambda data: b" " + base64.urlsafe_b64encode(data).rstrip(b"=") + b"\r\n",
    ],
    ids=range(5),
)
@pytest.mark.parametrize("size", range(3))
def test_base64_may_be_written_in_other_ways(write, size):
    """In the alphabet for URLs, in lines, and without its padding: nothing is lost by that."""
    pixels = b"\xff\xfe\xfb" * 100 + bytes(size)
    body = answer({"b64_json": write(pixels).decode()})

    for found in (decoded(body), by_byte(body)):
        assert {0: pixels} == found.images
        assert found.answer.items[0].decoded


PIXELS_TEXT = base64.b64encode(bytes(range(256)) * 2).decode()
JPEG_TEXT = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(200)).decode()
URL = "https://images.example/a.png"
PLACES = {
    "texts": ({"data": [PIXELS_TEXT, JPEG_TEXT]}, 2),
    "data URLs": ({"data": [f"data:image/png;base64,{PIXELS_TEXT}", f"data:;base64,{JPEG_TEXT}"]}, 2),
    "an object": ({"data": {"b64_json": PIXELS_TEXT}}, 1),
    "an object of texts": ({"data": {"images": [PIXELS_TEXT]}}, 1),
    "image_base64": ({"data": [{"image_base64": PIXELS_TEXT}, {"image_base64": JPEG_TEXT}]}, 2),
    "b64": ({"data": [{"b64": PIXELS_TEXT}]}, 1),
    "images": ({"images": [{"b64_json": PIXELS_TEXT}]}, 1),
    "images of texts": ({"images": [JPEG_TEXT, PIXELS_TEXT]}, 2),
    "image": ({"images": [{"image": PIXELS_TEXT}]}, 1),
    "holder": (
        {
            "images": [
                {"image": {"b64_json": PIXELS_TEXT}},
                {"image_url": {"url": f"data:image/png;base64,{JPEG_TEXT}"}},
            ]
        },
        2,
    ),
    "output_images": ({"output_images": [PIXELS_TEXT]}, 1),
    "artifacts": ({"artifacts": [{"base64": PIXELS_TEXT, "seed": 1, "finishReason": "SUCCESS"}]}, 1),
    "predictions": ({"predictions": [{"bytesBase64Encoded": PIXELS_TEXT, "mimeType": "image/png"}]}, 1),
    "top": ({"b64_json": PIXELS_TEXT}, 1),
    "image_base64 at the top": ({"image_base64": PIXELS_TEXT}, 1),
    "result": ({"result": PIXELS_TEXT}, 1),
    "nested": ({"result": {"data": [{"b64_json": PIXELS_TEXT}]}}, 1),
    "deeper": ({"result": {"output": {"data": [{"b64_json": PIXELS_TEXT}]}}}, 1),
    "chat": (
        {"choices": [{"message": {"images": [{"image_url": {"url": f"data:image/png;base64,{PIXELS_TEXT}"}}] * 2}}]},
        2,
    ),
    "choices": ({"output": {"choices": [{"message": {"content": [{"image": PIXELS_TEXT}]}}] * 2}}, 2),
    "responses": ({"output": [{"type": "image_generation_call", "result": PIXELS_TEXT}]}, 1),
    "candidates": ({"candidates": [{"content": {"parts": [{"text": "x"}, {"inlineData": {"data": PIXELS_TEXT}}]}}]}, 1),
}


@pytest.mark.parametrize(("document", "count"), PLACES.values(), ids=PLACES)
def test_an_image_is_found_by_its_place(document, count):
    """Wherever gateways have images, and however the answer is cut."""
    body = json.dumps({"created": 1713833628, **document}).encode()
    expected = [
        base64.b64decode(text) for text in re.findall(f"{re.escape(PIXELS_TEXT)}|{re.escape(JPEG_TEXT)}", body.decode())
    ]

    for found in (decoded(body), by_byte(body), decoded(body.replace(b"/", b"\\/"))):
        assert count == len(expected) == len(found.images)
        assert expected == [found.images[index] for index in range(count)]
        assert [True] * count == [item.decoded for item in found.answer.items]
        assert list(range(count)) == [item.index for item in found.answer.items]


@pytest.mark.parametrize(
    "document",
    [
        {"input": {"images": [PIXELS_TEXT]}},
        {"prompt": PIXELS_TEXT},
        {"data": PIXELS_TEXT},
        {"request": {"data": [{"b64_json": PIXELS_TEXT}]}},
        {"data": [{"thumbnail": PIXELS_TEXT}]},
        {"image": PIXELS_TEXT},
        {"choices": [{"message": {"content": PIXELS_TEXT}}]},
    ],
    ids=range(7),
)
def test_base64_in_another_place_is_text(document):
    """It may be an input that is echoed, so it is neither an image nor lost."""
    body = json.dumps(document).encode()

    for found in (decoded(body), by_byte(body)):
        assert {} == found.images
    decoder = AnswerDecoder()
    assert [] == [event for event in decoder.feed(body) if isinstance(event, ImageStarted)]
    assert body == decoder.raw


def test_all_images_stand_in_one_list():
    """The list in which the first one stands is the result; another may hold the same images, or inputs."""
    body = json.dumps({"data": [{"b64_json": PIXELS_TEXT}], "images": [{"b64_json": JPEG_TEXT}]}).encode()

    for found in (decoded(body), by_byte(body)):
        assert {0: base64.b64decode(PIXELS_TEXT)} == found.images
        assert 1 == len(found.answer.items)


@pytest.mark.parametrize("text", [URL, "/img/a.png", "//images.example/a.png", "images/a.png", "an otter", ""])
def test_an_address_in_a_list_is_not_base64(text):
    """What is no base64 stays text, and an address is one."""
    body = json.dumps({"images": [text] * 2 + [URL]}).encode()

    for found in (decoded(body), by_byte(body)):
        assert {} == found.images
        assert URL == found.answer.items[-1].url


@pytest.mark.parametrize("tail", [b"\n// made in 3 s", b" null", b'{"note":1}', b"\n<!-- cached -->", b"\0", b"}"])
def test_notes_behind_an_answer_cost_nothing(tail):
    """The images are whole, or have addresses, so they are results."""
    for item in ({"b64_json": PIXELS_TEXT}, {"url": URL}):
        body = answer(item) + tail
        for found in (decoded(body), by_byte(body)):
            assert 1 == len(found.answer.items)
            assert found.error is None


@pytest.mark.parametrize(
    "field",
    [
        '"x":NaN',
        '"x":[Infinity,-Infinity]',
        '"x":None',
        "'x':1",
        '"x":01',
        '"x":"\\q"',
        '"x":1,',
        '"x":' + "[" * 500 + "]" * 500,
    ],
)
def test_images_that_came_whole_are_results(field):
    """Whatever the JSON around them is worth."""
    body = answer({"b64_json": PIXELS_TEXT}).decode()
    for text in (f"{body[:-1]},{field}}}", f"{{{field},{body[1:]}"):
        found = decoded(text.encode())
        assert {0: base64.b64decode(PIXELS_TEXT)} == found.images
        assert [0] == [item.index for item in found.answer.items]


def test_an_error_envelope_with_status_200_is_handed_on():
    """Gateways answer errors with 200."""
    body = b'{"error":{"message":"no","code":"x"},"data":null}'

    assert {"error": {"message": "no", "code": "x"}, "data": None} == decoded(body).answer.error
    assert {"error": "no"} == decoded(b'{"error":"no"}').answer.error


def test_an_error_beside_images_costs_no_image():
    """What arrived whole is worth more than what is said about it."""
    found = decoded(answer({"b64_json": BASE64}, error={"message": "no"}))

    assert found.answer.error is None
    assert {0: PIXELS} == found.images


# --- what is no answer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The answer is empty."),
        (b" \r\n", "The answer is empty."),
        (b"<html>bad gateway</html>", "The answer is not JSON."),
        (b"not json", "The answer is not JSON."),
        (b"{}}", "The answer is not JSON."),
        (b"]", "The answer is not JSON."),
        (b'{"data":[],}', "The answer is not JSON."),
        (b'{"data" "x":[]}', "The answer is not JSON."),
        (b'{"\\q":1}', "The answer is not JSON."),
        (b'{"created":nan}', "The answer is not JSON."),
        (b'{"created":-inf}', "The answer is not JSON."),
        (b'{"x":"\xff"}', "The answer is not JSON."),
        ('{"x":"é"}'.encode("latin-1"), "The answer is not JSON."),
        (b"[]", "The answer is JSON, but not an object."),
        (b"7", "The answer is JSON, but not an object."),
        (b'"{}"', "The answer is JSON, but not an object."),
        (b'{"data":{"prompt":"x"}}', "`data` in the answer is not a list."),
        (b'{"data":"AAAA"}', "`data` in the answer is not a list."),
    ],
)
def test_what_is_no_answer_is_an_error_of_its_own(body, message):
    """A proxy's page is not a traceback of a parser; the beginning is kept."""
    for found in (decoded(body), by_byte(body)):
        assert isinstance(found.error, ProtocolError)
        assert message == found.error.message
        assert body.replace(b"AAAA", b"") == found.error.raw.replace(b"AAAA", b"")


def test_a_byte_order_mark_is_passed_over():
    """It is not JSON by RFC 8259, and writers exist that put it there."""
    assert {0: PIXELS} == decoded(b"\xef\xbb\xbf" + answer({"b64_json": BASE64})).images


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be"])
def test_another_encoding_is_never_taken_for_an_image(encoding):
    """Its images are not found, and nothing breaks."""
    found = decoded(answer({"b64_json": BASE64}).decode().encode(encoding))

    assert {} == found.images
    assert found.answer is None or not any(item.decoded for item in found.answer.items)


def test_half_of_a_surrogate_pair_is_kept():
    """A prompt that was cut in the middle of a character is no reason to lose the image."""
    found = decoded(b'{"data":[{"revised_prompt":"\\ud83d","b64_json":"AAAA"}]}')

    assert "\ud83d" == found.answer.items[0].revised_prompt


# --- caps ------------------------------------------------------------------------------------------------------------


def test_nesting_is_followed_up_to_a_depth():
    """Many levels are taken and one more is refused, before a stack is exhausted."""
    found = decoded(b"[" * 500 + b"]" * 500)
    assert "The answer is JSON, but not an object." == found.error.message

    for body in (b"[" * 901, b'{"data":' + b"[" * 100_000, b'{"x":' * 100_000):
        found = decoded(body)
        assert isinstance(found.error, ProtocolError)
        assert "The answer is nested more than 900 levels deep." == found.error.message


def test_text_beside_the_images_is_capped(monkeypatch):
    """Images may be large; all else is a few KiB in real answers."""
    monkeypatch.setattr(image_json, "MOST_TEXT", 1000)

    assert {0: PIXELS} == decoded(answer({"b64_json": BASE64})).images
    found = decoded(b'{"x":"' + b"y" * 1000)
    assert isinstance(found.error, TooLargeError)
    assert "more than 1,000 bytes" in found.error.message
    assert 1006 == len(found.error.raw)


def test_images_never_stand_in_the_raw_text():
    """What an error keeps of an answer is small, whatever the images are."""
    found = decoded(answer({"b64_json": BASE64}))

    assert BASE64.encode() not in found.decoder.raw
    assert b'"b64_json": ""' in found.decoder.raw
    assert found.decoder.raw == found.answer.raw


def test_reprs_show_no_image_bytes():
    """An event that is logged is short."""
    assert "ImageChunk(index=0, data=<5 bytes>)" == repr(ImageChunk(0, b"otter"))


@given(
    before=st.binary(max_size=60),
    bad=st.sampled_from(["!", "=A", ".", "=A", "ÿ"]),
    after=st.text(alphabet="ABCabc123+/=", max_size=60),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=8),
)
def test_what_cannot_be_decoded_is_handed_on_as_text(before, bad, after, cuts):
    """Bytes and then text, whatever the chunks: together they are the string that was sent."""
    sent = base64.b64encode(before).decode().rstrip("=") + bad + after
    body = json.dumps({"data": [{"b64_json": sent}]}, ensure_ascii=False).encode()
    decoder, data, rest, position = AnswerDecoder(), b"", b"", 0
    for size in itertools.cycle(cuts):
        for event in decoder.feed(body[position : position + size]):
            match event:
                case ImageChunk(0, piece):
                    assert b"" == rest
                    data += piece
                case UndecodedText(0, piece):
                    rest += piece
        position += size
        if position >= len(body):
            break

    (item,) = decoder.close().items
    assert item.failure
    assert sent.encode() == base64.b64encode(data) + rest


def test_what_stands_behind_a_whole_image_is_nobodys():
    """A second value of the same item is no rest of anything."""
    decoder = AnswerDecoder()
    body = b'{"data": [{"b64_json": "%b", "url": "data:image/png;base64,!!"}]}' % BASE64.encode()
    assert not [event for event in decoder.feed(body) if isinstance(event, UndecodedText)]


def test_a_rest_shows_its_length_only():
    """Texts of errors and logs stay short."""
    assert "UndecodedText(index=0, text=<3 bytes>)" == repr(UndecodedText(0, b"!!!"))


def test_a_number_of_many_digits_costs_no_image():
    """It stays text, as no counter has so many."""
    body = answer({"b64_json": BASE64}, seed=7).replace(b'"seed": 7', b'"seed": ' + b"9" * 10_000)
    found = decoded(body)

    assert {0: PIXELS} == found.images
    assert "9" * 10_000 == found.answer.extra["seed"]


def test_too_many_values_are_refused(monkeypatch):
    """The parser would hold up everything else; images are not affected."""
    monkeypatch.setattr(image_json, "MOST_VALUES", 1000)

    for values in (b"[" + b"{}," * 600 + b"{}]", b"{" + b'"a":1,' * 3000 + b'"b":1}', b"[" + b'"\\n",' * 600 + b"1]"):
        found = decoded(b'{"x":', values, b"}")
        assert isinstance(found.error, TooLargeError)
        assert "more than 1,000 values" in found.error.message
    assert {0: PIXELS} == decoded(answer({"b64_json": BASE64})).images


class Taken:
    """What comes of an answer of which only so many items are taken."""

    def __init__(self, chunks, most: int) -> None:
        self.decoder = AnswerDecoder(most)
        self.surplus, self.images, self.pauses = b"", {}, 0
        for chunk in chunks:
            for event in self.decoder.feed(chunk):
                match event:
                    case ImageStarted(index):
                        self.images[index] = b""
                    case ImageChunk(index, data):
                        self.images[index] += data
                    case SurplusText(text):
                        self.surplus += text
                    case PausePoint():
                        self.pauses += 1
        self.answer = self.decoder.close()


ITEMS = st.one_of(
    st.just({"b64_json": BASE64}),
    st.just({"url": "https://x.example/a.png"}),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
)


@given(items=st.lists(ITEMS, max_size=9), most=st.integers(1, 6), data=st.data())
def test_items_past_the_cap_are_handed_on_as_text(items, most, data):
    """Whatever they hold and however they are cut; what stands behind them is read."""
    body = json.dumps({"data": items, "size": "16x16"}, ensure_ascii=data.draw(st.booleans())).encode()
    found = Taken(cut(body, data.draw(chunkings(len(body)))), most)

    first = items[:most]
    surplus = json.loads(b"[" + found.surplus.lstrip(b", ") + b"]")
    assert items[most:] == surplus
    assert bool(items[most:]) == found.answer.has_surplus
    assert "16x16" == found.answer.size
    whole = [index for index, item in enumerate(first) if item == {"b64_json": BASE64}]
    assert dict.fromkeys(whole, PIXELS) == found.images
    assert [index for index, item in enumerate(first) if isinstance(item, dict)] == [
        i.index for i in found.answer.items
    ]


def test_only_the_items_of_an_answer_are_counted():
    """Other arrays may be of any length, and so may one that is named alike."""
    body = json.dumps({"x": {"data": [1, 2, 3]}, "y": [1, 2, 3], "data": [{"data": [1, 2, 3]}]}).encode()
    found = Taken([body], 1)

    assert b"" == found.surplus
    assert {"x": {"data": [1, 2, 3]}, "y": [1, 2, 3]} == found.answer.extra


def test_many_things_are_passed_over_with_pauses():
    """The decoder pauses among many items, as often however long a chunk is."""
    body = json.dumps({"x": [[]] * 20_000}).encode()

    assert 25 < Taken([body], 1).pauses < 40
    assert 0 == Taken([answer({"b64_json": BASE64 * 1000})], 1).pauses


@pytest.mark.parametrize(
    ("body", "encoding", "message"),
    [
        (b"", "", "The answer is empty."),
        (b"<html>", "", "The answer is not JSON."),
        (b"\x1b", "br", "The answer is not JSON; its header says that it is encoded as br."),
    ],
)
def test_what_is_no_text_is_not_read(body, encoding, message):
    """An image, or a page."""
    decoder = OpaqueDecoder(encoding)
    assert [] == list(decoder.feed(body))
    with pytest.raises(ProtocolError) as caught:
        decoder.close()

    assert message == caught.value.message
