"""Hypothesis strategies: answers of the API as servers may write them, the ways to cut them, requests, error bodies."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator, Sequence

from hypothesis import settings
from hypothesis import strategies as st

from burncloud_images.model.operations import EditRequest, GenerationRequest, VariationRequest

__all__ = [
    "Pairs",
    "answers",
    "chunkings",
    "cut",
    "edit_requests",
    "error_bodies",
    "examples",
    "generation_requests",
    "json_values",
    "texts",
    "variation_requests",
    "write_json",
]


def examples(count: int) -> int:
    """Return how many of *count* examples the profile allows: all in `full`."""
    return max(1, count * settings.default.max_examples // settings.get_profile("full").max_examples)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


# --- chunkings -------------------------------------------------------------------------------------------------------


def cut(data: bytes, places: Sequence[int]) -> Iterator[bytes]:
    """Yield *data* in pieces; a place that stands twice makes an empty one."""
    ends = [*sorted(min(place, len(data)) for place in places), len(data)]
    start = 0
    for end in ends:
        yield data[start:end]
        start = end


def chunkings(size: int) -> st.SearchStrategy[list[int]]:
    """Return places to cut *size* bytes at: none, a few, or each one."""
    some = st.lists(st.integers(0, size), max_size=12)
    return st.just(list(range(1, size))) | some


# --- JSON as servers write it ----------------------------------------------------------------------------------------


class Pairs(list):
    """A JSON object whose keys may stand twice."""


def write_json(value: object, chance: random.Random) -> str:
    """Return *value* as JSON, with white space and escapes as *chance* has it."""
    gap = "".join(chance.choices(" \t\r\n", k=chance.choice((0, 0, 0, 1, 3))))
    if isinstance(value, dict):
        value = Pairs(value.items())
    if isinstance(value, Pairs):
        members = (f"{write_text(name, chance)}{gap}:{write_json(item, chance)}" for name, item in value)
        return f"{{{gap}{','.join(members)}}}{gap}"
    if isinstance(value, list):
        return f"[{gap}{','.join(write_json(item, chance) for item in value)}]{gap}"
    written = write_text(value, chance) if isinstance(value, str) else json.dumps(value)
    return f"{gap}{written}{gap}"


def write_text(text: str, chance: random.Random) -> str:
    """Return *text* as a JSON string; a `data:` URL's head is left as it is."""
    head, comma, rest = text.partition(",") if text[:5].lower() == "data:" else ("", "", text)
    often = chance.choice((0.0, 0.0, 0.05, 0.5))
    head = json.dumps(head, ensure_ascii=False)[1:-1]
    return f'"{head}{comma}{"".join(write_character(character, chance, often) for character in rest)}"'


def write_character(character: str, chance: random.Random, often: float) -> str:
    if character == "/" and chance.random() < 0.5:
        return "\\/"
    if chance.random() < often and ord(character) < 0x10000:
        return f"\\u{ord(character):04{chance.choice('xX')}}"
    return json.dumps(character, ensure_ascii=chance.random() < 0.5)[1:-1]


# --- answers ---------------------------------------------------------------------------------------------------------

PREFIXES = ("data:image/png;base64,", "data:;base64,", "DATA:image/webp;x=y;BASE64,")
TRICKS = (
    '{"data":[{"b64_json":"AAAA"}]}',
    '"b64_json": "iVBORw0KGgo="',
    "\\",
    '\\"',
    "\\\\",
    'a\\"b',
    "]}",
    "data:",
    "d",
)
whole_base64 = st.binary(max_size=24).map(lambda data: base64.b64encode(data).decode())
base64_alphabet = st.sampled_from('ABCDwxyz0189+/=-_ \n\t"\\é中')
damaged_base64 = st.text(base64_alphabet, max_size=12)
prefixed = st.builds(str.__add__, st.sampled_from(PREFIXES), whole_base64 | damaged_base64)
addresses = st.sampled_from(
    ["https://images.example/a.png?sig=a%2Fb", "data:text/plain,hello", "data:image/png;base64", "", "data:"]
)
strings = texts | st.sampled_from(TRICKS)
image_strings = whole_base64 | whole_base64 | damaged_base64 | prefixed | addresses | strings
image_members = st.tuples(st.sampled_from(["b64_json", "url"]), image_strings | st.none() | json_values)
item_members = st.tuples(st.just("revised_prompt"), strings | st.none()) | st.tuples(names, json_values)
items = st.lists(image_members | image_members | item_members, max_size=4).map(Pairs)
lists = st.lists(items | items | items | st.none() | json_values, max_size=4)
top_members = (
    st.tuples(st.just("created"), st.integers(-1, 2**40) | json_values)
    | st.tuples(st.just("usage"), st.dictionaries(st.sampled_from(["total_tokens", "input_tokens"]), json_values))
    | st.tuples(st.sampled_from(["size", "quality", "prompt", "url"]), strings)
    | st.tuples(names, json_values)
    | st.tuples(names, lists)
)
errors = st.tuples(st.just("error"), st.none() | strings | json_values)
documents = st.lists(top_members, max_size=4).flatmap(
    lambda members: st.lists(st.tuples(st.just("data"), lists | st.none()), max_size=2).flatmap(
        lambda data: st.permutations([*members, *data]).map(Pairs)
    )
)
failed = st.builds(lambda members, error: Pairs([*members, error]), documents, errors)
answers = st.builds(
    lambda document, seed, mark: mark + write_json(document, random.Random(seed)).encode(),
    documents | documents | documents | failed,
    st.integers(0, 2**32),
    st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf", b" \n"]),
)


# --- requests --------------------------------------------------------------------------------------------------------

optional = {
    "model": st.none() | st.sampled_from(["gpt-image-2", "gpt-image-2.6-flare", "dall-e-2", "某模型"]),
    "n": st.none() | st.integers(1, 12),
    "size": st.none() | st.sampled_from(["auto", "1024x1024", 'a"b\r\nc']),
    "response_format": st.none() | st.sampled_from(["url", "b64_json"]),
    "user": st.none() | texts,
    "extra": st.none() | st.dictionaries(names.map("x-{}".format), json_values, max_size=3),
}
prompted = {
    **optional,
    "prompt": texts.filter(str.strip),
    "quality": st.none() | texts,
    "background": st.none() | st.sampled_from(["auto", "transparent"]),
    "moderation": st.none() | st.just("low"),
    "output_format": st.none() | st.sampled_from(["png", "webp"]),
    "output_compression": st.none() | st.integers(0, 100),
    "partial_images": st.none() | st.integers(0, 3),
    "complexity": st.none() | st.just("low"),
    "frame_count": st.none() | st.integers(2, 16),
    "frame_duration_ms": st.none() | st.integers(20, 1000),
    "svg": st.none() | st.just({"model": "gpt-5", "reasoning": {"effort": "low"}}),
    "safety_identifier": st.none() | texts,
}
image_data = st.binary(min_size=1, max_size=8)
generation_requests = st.builds(GenerationRequest, **prompted, style=st.none() | st.just("vivid"))
edit_requests = st.builds(
    EditRequest,
    **prompted,
    image=st.lists(image_data, min_size=1, max_size=4),
    mask=st.none() | image_data,
    markup=st.none() | image_data,
    input_fidelity=st.none() | st.just("high"),
)
variation_requests = st.builds(VariationRequest, **optional, image=image_data)


# --- error answers ---------------------------------------------------------------------------------------------------

error_members = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("message", "type", "code", "param", "metadata"), json_values)
)
error_bodies = (
    st.binary(max_size=60)
    | st.builds(lambda value: json.dumps(value).encode(), json_values | error_members)
    | st.builds(lambda value: json.dumps({"error": value}).encode(), json_values | error_members | error_members)
)
