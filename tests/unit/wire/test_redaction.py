"""A key is found in every usual spelling, and nothing else is touched."""

from __future__ import annotations

import json
import time

import pytest
from echoes import KEY, SPELLINGS, as_json, holds_key
from hypothesis import given
from hypothesis import strategies as st
from pictures import png

from burncloud_images.errors import APIError, OutcomeUnknownError
from burncloud_images.results import CompletedImage, Image, Unfetched
from burncloud_images.wire.answer import AnswerItem, ImagesAnswer
from burncloud_images.wire.redaction import KeyRedactor

every_spelling = pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)


class TestTexts:
    """What is masked."""

    @every_spelling
    def test_no_spelling_of_the_key_is_left(self, spelling):
        """What stands around it stays."""
        assert holds_key(f"Bad key {spelling}, sorry.")

        clean = KeyRedactor(KEY).text(f"Bad key {spelling}, sorry.")

        assert not holds_key(clean)
        assert clean.startswith("Bad key ")
        assert clean.endswith(", sorry.")

    @every_spelling
    def test_json_stays_json(self, spelling):
        """Before it is parsed as well as after."""
        quoted = as_json(spelling)
        document = f'{{"a\\\\": {quoted}, "b": [1, "\\\\{quoted[1:]}]}}'
        before, clean = json.loads(document), json.loads(KeyRedactor(KEY).body(document.encode()))

        assert before.keys() == clean.keys()
        assert not holds_key(json.dumps(clean, ensure_ascii=False))
        assert not holds_key(json.dumps(KeyRedactor(KEY).value(before), ensure_ascii=False))

    @given(st.text(max_size=20), st.sampled_from(["", *sorted(SPELLINGS.values())]), st.booleans())
    def test_a_clean_document_has_only_clean_values(self, text, spelling, ensure_ascii):
        """A document that is said to be clean holds no value that would be masked, however the key is spelled."""
        document = json.dumps({"a": [f"{text} {spelling}"], "b": text}, ensure_ascii=ensure_ascii)
        value = json.loads(document)

        clean = KeyRedactor(KEY).is_clean(document.encode())

        assert not clean or KeyRedactor(KEY).value(value) is value
        assert clean or spelling or "\\" in document

    @given(st.text(max_size=80), st.sampled_from(sorted(SPELLINGS.values())), st.text(max_size=80))
    def test_the_key_is_found_in_any_text(self, before, spelling, after):
        """A text of two parts around it is not read together with it."""
        clean = KeyRedactor(KEY).text(f"{before} {spelling} {after}")

        assert KEY not in clean
        assert "***" in clean

    @given(st.text(max_size=200))
    def test_another_text_is_left_as_it_is(self, text):
        """The same object even, and bytes as well."""
        data = text.encode()

        assert KeyRedactor(KEY).text(text) is text
        assert KeyRedactor(KEY).body(data) is data

    @pytest.mark.parametrize("text", ["%2525 &amp; \\\\ &#x41; \\u0041", "sk-", KEY[:-1], KEY[1:], "***"])
    def test_what_only_looks_like_it_is_left(self, text):
        """Escapes of other letters, and pieces of the key."""
        assert KeyRedactor(KEY).text(text) == text

    def test_a_short_key_is_masked_where_it_stands_alone(self):
        """Gateways of one's own take any word for a key, and that word stands in others."""
        redaction = KeyRedactor("EMPTY")

        assert redaction.text("the key EMPTY is bad: EMPTYING, NON-EMPTY") == "the key *** is bad: EMPTYING, NON-EMPTY"
        assert redaction.text("RU1QVFk= IkVNUFRZIg==") == "RU1QVFk= IkVNUFRZIg=="

    def test_no_key_masks_nothing(self):
        """As of gateways that need none."""
        assert KeyRedactor("").text("a % b") == "a % b"

    @pytest.mark.parametrize("text", ["\\" * 200_000, "%25" * 70_000, "&amp;" * 40_000, KEY[:9] * 20_000 + "%"])
    def test_no_text_takes_long(self, text):
        """Its time grows with its length, whatever stands in it."""
        redaction = KeyRedactor(KEY)
        redaction.text("%")
        began = time.process_time()
        redaction.text(text)

        assert time.process_time() - began < 1

    def test_it_does_not_show_its_own_key(self):
        """The repr does not show the key, because tracebacks print it."""
        redaction = KeyRedactor(KEY)
        redaction.text(f"{KEY} %")

        assert not holds_key(repr(redaction))


class TestValues:
    """What the package makes of answers."""

    def test_every_text_of_a_value_is_masked(self):
        """In whatever it lies; what has no key in it is the same object."""
        answer = ImagesAnswer(
            items=(AnswerItem(index=0, decoded=True, revised_prompt=f"{KEY} otter", extra={KEY: [{"a": KEY}]}),),
            size=KEY,
            extra={"note": (KEY,)},
            raw=KEY.encode(),
        )
        clean = KeyRedactor(KEY).value(answer)

        assert clean.items[0].revised_prompt == "*** otter"
        assert clean.items[0].extra == {"***": [{"a": "***"}]}
        assert (clean.size, clean.extra, clean.raw) == ("***", {"note": ("***",)}, b"***")
        assert KeyRedactor(KEY).value(clean) is clean

    def test_images_and_their_addresses_are_left_as_they_are(self):
        """They are what was paid for."""
        data = png() + KEY.encode()
        event = CompletedImage(image=Image(data=data, url=f"https://host/{KEY}", revised_prompt=KEY))
        clean = KeyRedactor(KEY).value(event)

        assert clean.image.data is data
        assert clean.image.url == f"https://host/{KEY}"
        assert clean.image.revised_prompt == "***"

    def test_an_error_is_masked_in_all_that_it_holds(self):
        """Its message, its notes, its fields, its answer; not the addresses of what was paid for."""
        error = APIError(f"No: {KEY}.", status=401, code=KEY, type=KEY, param=KEY, body={"a": [KEY]}, request_id=KEY)
        error.add_note(KEY)
        error.unfetched = (Unfetched(index=0, url=f"https://host/{KEY}?sig=1"),)
        unknown = OutcomeUnknownError(KEY, raw=KEY.encode(), images=[Image(data=b"1", revised_prompt=KEY)])
        for one in (error, unknown):
            KeyRedactor(KEY).error(one)

        assert (error.args, error.__notes__, error.body) == (("No: ***.",), ["***"], {"a": ["***"]})
        assert (error.code, error.type, error.param, error.request_id) == ("***", "***", "***", "***")
        assert KEY in error.unfetched[0].url
        assert (unknown.message, unknown.raw, unknown.images[0].revised_prompt) == ("***", b"***", "***")

    def test_a_document_that_is_nested_without_end_is_cut(self):
        """Nobody reads what lies so deep, and following it would exhaust the stack."""
        document = json.loads("[" * 500 + f'"{KEY}"' + "]" * 500)

        assert not holds_key(str(KeyRedactor(KEY).value(document)))
