"""What bodies of errors say, in the forms in which servers write them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.wire.error_body import MOST_MESSAGE, is_failure, parse_error


def parse(body, **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_error(data, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"detail": "too long"}, "too long"),
        ({"detail": {"message": "too long", "code": "x"}}, "too long"),
        ({"detail": {"error": "too long"}}, "too long"),
        ({"detail": ["too long", "too wide"]}, "too long; too wide"),
        ({"detail": [{"loc": ["body", "size"], "msg": "too long", "type": "value_error"}]}, "body.size: too long"),
        ({"detail": [{"msg": "one"}, {"msg": "two"}, {"msg": "three"}, {"msg": "four"}]}, "one; two; three"),
        ([{"error": {"code": 400, "message": "too long", "status": "INVALID_ARGUMENT"}}], "too long"),
        (["too long"], "too long"),
        ({"error": "too long"}, "too long"),
        ({"error": ["too long"]}, "too long"),
        ({"error": {"errors": [{"message": "too long"}]}}, "too long"),
        ({"error": {"message": {"detail": [{"loc": ["size"], "msg": "too long"}]}}}, "size: too long"),
        ({"error": "bad", "error_description": "too long"}, "too long"),
        ({"errors": ["too long"]}, "too long"),
        ({"errors": [{"code": 7003, "message": "too long"}], "success": False}, "too long"),
        ({"errors": {"size": ["is too long"]}}, "size: is too long"),
        ({"size": ["too long"]}, "size: too long"),
        ({"msg": "too long"}, "too long"),
        ({"message": "too long"}, "too long"),
        ({"Message": "too long", "__type": "ValidationException"}, "too long"),
        ({"errorMessage": "too long"}, "too long"),
        ({"error_msg": "too long", "error_code": 336003}, "too long"),
        ({"base_resp": {"status_code": 2013, "status_msg": "too long"}}, "too long"),
        ({"Response": {"Error": {"Code": "InvalidParameter", "Message": "too long"}}}, "too long"),
        ({"ResponseMetadata": {"Error": {"Code": "x", "Message": "too long"}}}, "too long"),
        ({"fault": {"faultstring": "too long", "detail": {"errorcode": "x"}}}, "too long"),
        ({"output": {"code": "x", "message": "too long"}}, "too long"),
        ({"data": {"error": {"message": "too long"}}}, "too long"),
        ({"title": "Bad", "detail": "too long"}, "too long"),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": "too long"}}},
            "Provider returned error: too long",
        ),
        (b'event: error\ndata: {"error": {"message": "too long"}}\n\n', "too long"),
        (b'{"error": {"message": "too long"}} trailing', "too long"),
        (b'{"error": {"message": "too \\u006cong", "type": "cut', "too long"),
        (b'{"detail": "too\nlong"}', "too long"),
        (b"\xef\xbb\xbf" + b'{"message": "too long"}', "too long"),
        ('{"message": "太长了"}'.encode("gbk"), "太长了"),
        ('{"message": "too long"}'.encode("utf-16"), "too long"),
        (b"the prompt is too long", "the prompt is too long"),
        (b"429 Too Many Requests", "429 Too Many Requests"),
        (b"<h1>too long</h1>", "too long"),
        ({"error": {"message": "\x1b[2Jtoo long\r\n"}}, "too long"),
        ({"ok": False}, ""),
        (b"5", ""),
        (b"null", ""),
        (b"", ""),
        (b"{", ""),
    ],
)
def test_the_words_of_an_error_are_found(body, message):
    """Wherever a server writes what is wrong, it is shown as one line."""
    assert message == parse(body).message


def test_a_message_is_cut_to_a_readable_length():
    """Servers echo whole prompts."""
    assert MOST_MESSAGE == len(parse({"detail": "word " * 10_000}).message)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": {"code": "a"}, "code": "b"}, "a"),
        ({"error": "x", "code": "b"}, "b"),
        ({"error": {"message": "x", "code": None}, "code": 30001}, "30001"),
        ({"base_resp": {"status_code": 1008, "status_msg": "x"}}, "1008"),
        ({"error_code": 17, "error_msg": "x"}, "17"),
        ({"Response": {"Error": {"Code": "AuthFailure", "Message": "x"}}}, "AuthFailure"),
        ({"name": "content_moderation", "errors": ["x"]}, "content_moderation"),
        ({"message": "x"}, None),
    ],
)
def test_the_code_of_an_error_is_found(body, code):
    """The error's own code counts before one beside it."""
    assert code == parse(body).code


@pytest.mark.parametrize(
    ("body", "is_own"),
    [
        ({"error": {"message": "x", "type": "t"}}, True),
        ({"error": {"message": "x"}, "code": "c", "type": "t"}, False),
        ({"message": "x", "type": "t", "code": "c"}, False),
        ({"error": "x", "code": "c"}, False),
        ({"data": {"error": {"message": "x", "code": "c"}}}, False),
        ({"error": {"errors": ["x"], "code": "c"}}, False),
        ([{"error": {"message": "x", "code": "c"}}], True),
    ],
)
def test_only_the_form_of_the_api_can_vouch_for_the_bill(body, is_own):
    """To show what was said is one thing, to believe it another."""
    assert is_own == (parse(body).own is not None)


@pytest.mark.parametrize(
    ("document", "failed"),
    [
        ({"base_resp": {"status_code": 1008}}, True),
        ({"error_code": 17, "error_msg": "x", "id": "r"}, True),
        ({"base_resp": {"status_code": 0, "status_msg": "success"}}, False),
        ({"Response": {"Error": {"Code": "x", "Message": "m"}}}, True),
        ({"Response": {"RequestId": "r"}}, False),
        ({"error_code": 17, "error_msg": "x"}, True),
        ({"success": False, "message": "no"}, True),
        ({"success": True, "message": "ok"}, False),
        ({"errors": [{"message": "no"}]}, True),
        ({"errors": []}, False),
        ({"code": 402, "msg": "no money"}, True),
        ({"code": 200, "msg": "success"}, False),
        ({"code": 0, "message": "ok"}, False),
        ({"code": "success", "message": "done"}, False),
        ({"code": "Success", "message": "done", "data": {}}, False),
        ({"code": 500}, False),
        ({"data": []}, False),
    ],
)
def test_an_error_in_an_answer_of_success_is_told_from_an_answer(document, failed):
    """Some servers answer 200 with an error in a form of their own."""
    assert failed == is_failure(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["error", "detail", "code", "msg"]) | st.text(), inner)
    ),
)


@given(JSON)
def test_any_json_is_read_without_an_error(document):
    """A message is always one printable line."""
    envelope = parse(document)
    assert envelope.message.isprintable()
    assert len(envelope.message) <= MOST_MESSAGE


@given(st.binary())
def test_any_bytes_are_read_without_an_error(body):
    """Whatever an intermediary writes."""
    assert parse(body).message.isprintable()
