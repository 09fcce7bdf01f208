"""
What the body of an error says: its message, codes, type and field, in every form in which servers write them.

The API writes `{"error": {"message", "type", "param", "code"}}`. Others write the object without `error` around it, in
a list, as a text, as `detail` (FastAPI, RFC 9457), as `errors`, under `Response.Error` (Tencent), `base_resp` (MiniMax)
or with names of their own. To show what was said is one thing; to believe that nothing was billed is another: only an
error of the API's own form can say so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice

import attrs

from burncloud_images.wire.error_codes import BASE_RESP, ERROR_CODE
from burncloud_images.wire.error_text import MOST_TEXT, decode_text, find_words, to_line

MOST_MESSAGE = 1000
MOST_DEPTH = 6
LONGEST_STATUS = 3
"""Digits of a code that may be an HTTP status."""
MOST_ITEMS = 3
"""Errors of a list that are shown."""

# What writes errors in the API's form and is not the API: Cloudflare in front of OpenAI, by its types, and LiteLLM.
# LiteLLM writes Python's None as a text where an error has no type (ProxyException in litellm/proxy).
OF_A_PROXY = re.compile(r"cf_[a-z_]+|None")
WORDS_OF_A_PROXY = ("litellm.",)
PROBLEM = "application/problem+json"

# Where error objects have their words, in order of precedence; compared without case and underscores.
MESSAGES = (
    *("message", "msg", "errormessage", "errormsg", "errmsg", "statusmsg", "faultstring", "errordescription"),
    *("detail", "details", "description", "failurereason", "reason", "title", "error", "errors"),
)
OWN_MESSAGES = ("message", "detail", "title")
CODES = ("code", "errorcode", "errcode", "statuscode", "errorno", "name")
WITHIN = ("innererror", "inner_error", "error", "detail", "details", "errors", "metadata", "fault")
"""Names of objects within an error that say more of it."""
AROUND = ("error", "Error", "fault", "Fault", "err", "exception")
"""Names of the error object within a document."""
OUTSIDE = ("Response", "ResponseMetadata", "response", "data", "output", "result", "header", "base_resp")
"""Names of objects that may hold the error object, or be one."""
JSON_BEGINS = '{["'
SUCCESS = frozenset({"", "0", "200", "ok", "success", "succeeded", "successful", "none", "null", "true"})


DECODER = json.JSONDecoder(strict=False)
EVENT = re.compile(r"\A(?:(?:event|id|retry)?:[^\n]*\n|\s)*data:[ \t]*(\{.*)", re.DOTALL)
"""An error in the form of an event of a stream."""
CUT_MESSAGE = re.compile(r'"(?:message|msg|detail|error_msg)"\s*:\s*"((?:[^"\\]|\\.){1,2000})')
"""The message of an object whose end is missing."""


@attrs.frozen(kw_only=True)
class ErrorObject:
    """
    An error object, as far as it is there.

    Attributes:
        message: What it says.
        type: Its kind.
        code: What went wrong.
        param: The field that it objects to.
        codes: All codes that it names, the most special one first.
        found: Whether there is one.
        own: What is in it, if it is of the API's form and no proxy's.
        document: The whole answer.
    """

    message: str = ""
    type: str | None = None
    code: str | None = None
    param: str | None = None
    codes: tuple[str, ...] = ()
    found: bool = False
    own: Mapping[str, object] | None = None
    document: object = None


def parse_error(body: bytes, headers: Mapping[str, str], *, is_event: bool = False) -> ErrorObject:
    """
    Return what *body* says.

    Args:
        body: As far as it came.
        headers: With lower-case names.
        is_event: Whether it is an event of a stream, which no proxy writes, so that the object may stand alone.
    """
    text = decode_text(body, headers.get("content-type", "")).strip()
    if event := EVENT.search(text):
        text = event[1]
    try:
        document, end = DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return ErrorObject(
            message=find_cut_message(text) if text.startswith(("{", "[")) else find_words(text[:MOST_TEXT])
        )
    if text[:1] not in JSON_BEGINS:  # a text that begins with a number or a word of JSON
        return ErrorObject(message=find_words(text[:MOST_TEXT]) if end < len(text) else "")
    if isinstance(document, str):
        return ErrorObject(message=to_line(document, MOST_MESSAGE), found=bool(document.strip()), document=document)
    fields, is_wrapped = find_error_fields(document)
    if fields is None:
        return ErrorObject(document=document)
    envelope = to_error_object(fields, document)
    is_own = (is_wrapped or is_event) and is_of_api(fields) and not is_of_proxy(envelope, headers)
    return attrs.evolve(envelope, own=fields if is_own else None)


def find_cut_message(text: str) -> str:
    """Return the message in JSON whose end is missing."""
    found = CUT_MESSAGE.search(text[:MOST_TEXT])
    if found is None:
        return ""
    try:
        return to_line(str(json.loads(f'"{found[1]}"', strict=False)), MOST_MESSAGE)
    except ValueError:
        return to_line(found[1], MOST_MESSAGE)


def find_error_fields(document: object) -> tuple[Mapping[str, object] | None, bool]:
    """Return the error object of *document*, and whether it stands under `error`, as the API has it."""
    if isinstance(document, list):
        document = next((item for item in document if isinstance(item, Mapping)), {"errors": document})
    if not isinstance(document, Mapping):
        return None, False
    error = document.get("error")
    if isinstance(error, Mapping) and says_anything(error):
        return error, True
    for container in (document, *find_outside(document)):
        for fields in (*find_named(container), container):
            if says_anything(fields):
                return fields, False
    return find_texts_by_field(document), False


def find_texts_by_field(document: Mapping[str, object]) -> Mapping[str, object] | None:
    """Return an error object of *document* if all that it has is lists of texts, as of Django REST framework."""
    by_field = bool(document) and all(isinstance(value, list) for value in document.values())
    return {"errors": document} if by_field and describe_value(document) else None


def find_named(container: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """Yield the objects in *container* that are errors by their names."""
    for value in map(container.get, AROUND):
        if isinstance(value, Mapping):
            yield value


def find_outside(document: Mapping[str, object], depth: int = 0) -> Iterator[Mapping[str, object]]:
    for name in OUTSIDE if depth < MOST_DEPTH else ():
        value = document.get(name)
        if isinstance(value, Mapping):
            yield value
            yield from find_outside(value, depth + 1)


def says_anything(fields: Mapping[str, object]) -> bool:
    """Whether an object has words, a code or a type of an error."""
    return bool(find_message(fields)) or any(to_word(fields.get(name)) for name in ("code", "type", "error_code"))


def to_error_object(fields: Mapping[str, object], document: object) -> ErrorObject:
    codes = tuple(dict.fromkeys((*find_codes(fields, document),)))
    return ErrorObject(
        message=find_message(fields),
        type=to_word(fields.get("type")),
        code=find_own_code(fields, document),
        param=to_word(fields.get("param")),
        codes=codes,
        found=True,
        document=document,
    )


def find_own_code(fields: Mapping[str, object], document: object) -> str | None:
    """Return the code that an error object has, or else that which stands beside it."""
    around = document if isinstance(document, Mapping) else {}
    base = around.get("base_resp")
    for place in (fields, around, base if isinstance(base, Mapping) else {}):
        for name, value in place.items():
            if fold(name) in CODES and (word := to_word(value)):
                return word
    return None


def find_codes(fields: Mapping[str, object], document: object) -> Iterator[str]:
    """Yield all codes of an error, from the innermost; those of MiniMax and Baidu by the field that they stand in."""
    yield from find_inner_codes(fields)
    around = document if isinstance(document, Mapping) else {}
    base = around.get("base_resp")
    if isinstance(base, Mapping) and (word := to_word(base.get("status_code"))):
        yield f"{BASE_RESP}{word}"
    if word := to_word(around.get("error_code")):
        yield f"{ERROR_CODE}{word}"
    for place in (fields, around):
        for name in ("code", "Code", "status", "name", "error_code", "errorCode"):
            if (word := to_word(place.get(name))) and not (name == "error_code" and word.isdigit()):
                yield word
    if isinstance(error := around.get("error"), str):  # as OAuth has it: a code, described in a field beside it
        yield error[:100]


def find_inner_codes(fields: Mapping[str, object], depth: int = 0) -> Iterator[str]:
    if depth > MOST_DEPTH:
        return
    for name in WITHIN:
        value = fields.get(name)
        for item in islice(value, MOST_ITEMS) if isinstance(value, list) else (value,):
            if isinstance(item, Mapping):
                yield from find_inner_codes(item, depth + 1)
                yield from find_reasons(item)


def find_reasons(item: Mapping[str, object]) -> Iterator[str]:
    """Yield what an object within an error calls its cause; OpenRouter's reasons mean that the input was flagged."""
    for name in ("code", "reason", "type", "errorcode"):
        if (word := to_word(item.get(name))) and not (word.isdigit() and len(word) <= LONGEST_STATUS):
            yield word
    if item.get("reasons"):
        yield "flagged_input"
    violations = item.get("violations")
    for violation in islice(violations, MOST_ITEMS) if isinstance(violations, list) else ():
        # Google's QuotaFailure: the quota of a day, or one that is not given at all, does not pass with a wait.
        if isinstance(violation, Mapping) and "PerDay" in str(violation.get("quotaId", "")):
            yield "quota_exceeded"


def find_message(fields: Mapping[str, object]) -> str:
    """Return what an error object says, as one line."""
    named = {fold(name): value for name, value in fields.items()}
    text = next((words for name in MESSAGES if (words := describe_value(named.get(name)))), "")
    metadata = fields.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    if isinstance(raw, str) and raw.strip() and raw not in text:  # OpenRouter: what the provider said
        text = f"{text}: {raw}"
    return to_line(text, MOST_MESSAGE)


def describe_value(value: object, depth: int = 0) -> str:
    """Return the words of a text, of a list of errors, or of an object with words."""
    if isinstance(value, str):
        return value if value.strip() else ""
    if depth > MOST_DEPTH:
        return ""
    if isinstance(value, list):
        found = (describe_value(item, depth + 1) for item in value[: 10 * MOST_ITEMS])
        return "; ".join(islice(filter(None, found), MOST_ITEMS))
    if isinstance(value, Mapping):
        return describe_object(value, depth)
    return ""


def describe_object(fields: Mapping[str, object], depth: int) -> str:
    named = {fold(name): value for name, value in fields.items()}
    words = next((text for name in MESSAGES if (text := describe_value(named.get(name), depth + 1))), "")
    if not words:  # as Django REST framework has it: texts by field
        pairs = islice(fields.items(), MOST_ITEMS)
        lists = {name: describe_value(value, depth + 1) for name, value in pairs if isinstance(value, list)}
        return "; ".join(f"{name}: {text}" for name, text in lists.items() if text)
    place = fields.get("loc")
    if isinstance(place, list) and place:  # FastAPI
        return f"{'.'.join(str(part) for part in place[:MOST_DEPTH])}: {words}"
    return words


def is_of_result(envelope: ErrorObject) -> bool:
    """Whether a refusal for content concerns the images that were made, and not what they were to be made from."""
    if any(code.startswith(("Output", f"{BASE_RESP}1027")) for code in envelope.codes):
        return True
    error = find_error_fields(envelope.document)[0] or {}
    details = error.get("moderation_details")
    places = (error, details if isinstance(details, Mapping) else {})
    return any(place.get("moderation_stage") == "output" for place in places)


def is_failure(document: Mapping[str, object]) -> bool:
    """Whether a document without images, in an answer of success, says in a form of its own that it is an error."""
    if is_answered_with_success(document):
        return True
    if isinstance(document.get("base_resp"), Mapping):
        return False
    if document.get("success") is False or document.get("errors"):
        return bool(find_error_fields(document)[0])
    code = to_word(document.get("code"))
    return code is not None and code.casefold() not in SUCCESS and bool(find_message(document))


def is_answered_with_success(document: object) -> bool:
    """Whether it is an error of MiniMax, Tencent or Baidu, which answer each error with status 200."""
    if not isinstance(document, dict):
        return False
    base = document.get("base_resp")
    if isinstance(base, dict) and to_word(base.get("status_code")):
        return True
    for container in (document.get("Response"), document.get("ResponseMetadata")):
        if isinstance(container, dict) and isinstance(container.get("Error"), dict):
            return True
    return to_word(document.get("error_code")) is not None and to_word(document.get("error_msg")) is not None


def is_of_api(fields: Mapping[str, object]) -> bool:
    """Whether an error object has the fields of the API's own."""
    named = any(to_word(fields.get(name)) for name in ("type", "code"))
    return named and any(isinstance(fields.get(name), str) and str(fields[name]).strip() for name in OWN_MESSAGES)


def is_of_proxy(envelope: ErrorObject, headers: Mapping[str, str]) -> bool:
    """Whether an error object in the API's form is known to come from a proxy."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() == PROBLEM:
        return True
    if OF_A_PROXY.fullmatch(envelope.type or ""):
        return True
    return any(words in envelope.message for words in WORDS_OF_A_PROXY)


def fold(name: str) -> str:
    return name.replace("_", "").lower()


def to_word(value: object) -> str | None:
    """Return a text; gateways write numbers for codes, and an empty text or zero for what is absent."""
    is_word = isinstance(value, (str, int)) and not isinstance(value, bool) and value not in {"", 0}
    return str(value) if is_word else None
