"""A list is read in one encoding, or refused as a whole; nothing is bought that nobody wrote."""

# ruff: noqa: RUF001 (text as people write it)

from __future__ import annotations

import codecs
import io
import os
import re
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from burncloud_images.bulk.inputs.encodings import CHUNK, MARKS, open_text
from burncloud_images.bulk.records import NewRequest
from burncloud_images.errors import InputChangedError, InvalidRequestError

CHINESE = ("一只水獭", "森林里的狐狸", "月光下的灯塔")
TAIWANESE = ("一隻水獺", "森林裡的狐狸", "月光下的燈塔")
KOREAN = ("수달 한 마리", "숲속의 여우", "달빛 아래의 등대")
JAPANESE = ("一匹のカワウソ", "森の中の狐", "月明かりの灯台、とても静か")
GERMAN = ("Größe eines Bären", "für später", "ein Fuchs – „rot“")
FRENCH = ("crème brûlée à l'orange", "une forêt d’été, œuvre")
POLISH = ("żółta łódź", "lis w śnieżnym lesie")
RUSSIAN = ("Лиса в лесу", "рыжая лиса")


def table(prompts, end="\r\n"):
    return "id,prompt" + end + "".join(f'{number},"{prompt}"{end}' for number, prompt in enumerate(prompts))


def text_of(data, wanted=None):
    with open_text("list.csv", io.BytesIO(data), wanted) as text:
        return text.open().read().decode()


def refused(data, wanted=None):
    with pytest.raises(InvalidRequestError) as caught:
        text_of(data, wanted)
    assert "list.csv" == caught.value.violations[0].field
    return caught.value.violations[0].message


# --- what is read right ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompts", "encoding"),
    [
        *((prompts, "utf-8") for prompts in (CHINESE, TAIWANESE, KOREAN, JAPANESE, GERMAN, FRENCH, POLISH, RUSSIAN)),
        *((CHINESE, encoding) for encoding in ("gbk", "gb18030", "utf-16-le", "utf-16-be")),
        *((TAIWANESE, encoding) for encoding in ("big5", "big5hkscs", "utf-16-le")),
        *((RUSSIAN, encoding) for encoding in ("utf-16-le", "utf-16-be")),
        *((KOREAN, encoding) for encoding in ("euc_kr", "cp949", "utf-16-le")),
        *((JAPANESE, encoding) for encoding in ("cp932", "shift_jis", "utf-16-be")),
        *((GERMAN, encoding) for encoding in ("cp1252", "utf-16-le")),
        (FRENCH, "cp1252"),
    ],
)
@pytest.mark.parametrize("end", ["\r\n", "\n"])
async def test_a_table_is_read_in_the_encoding_that_it_has(read, prompts, encoding, end):
    """Every row asks for what was written, with no option given."""
    rows = await read(table(prompts, end).encode(encoding), "list.csv")

    assert list(prompts) == [row.document["prompt"] for row in rows]


@pytest.mark.parametrize(("mark", "encoding"), MARKS)
async def test_a_mark_tells_the_encoding(read, mark, encoding):
    """It belongs to no column, and a short list is as certain as a long one."""
    (row,) = await read(mark + "prompt\r\n水獭".encode(encoding), "list.csv")

    assert {"operation": "generations", "prompt": "水獭"} == row.document


@pytest.mark.parametrize("name", ["list.txt", "list.jsonl", "list.tsv"])
@pytest.mark.parametrize("encoding", ["gbk", "utf-16", "utf-16-le"])
async def test_all_formats_of_text_are_decoded(read, name, encoding):
    """Lists of prompts and lines of JSON come in other encodings, too."""
    lines = {
        "list.txt": "\n".join(CHINESE),
        "list.tsv": "id\tprompt\n" + "\n".join(f"{number}\t{prompt}" for number, prompt in enumerate(CHINESE)),
        "list.jsonl": "\n".join(f'{{"prompt": "{prompt}"}}' for prompt in CHINESE),
    }
    rows = await read(lines[name].encode(encoding), name)

    assert list(CHINESE) == [row.document["prompt"] for row in rows]


@pytest.mark.parametrize(
    ("wanted", "encoding"),
    [
        ("gbk", "gbk"),
        ("GB2312", "gb2312"),
        ("GB18030", "gb18030"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("UTF-16LE", "utf-16"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf8", "utf-8"),
    ],
)
async def test_the_encoding_may_be_named(read, wanted, encoding):
    """Then nothing is found out, however short the list is."""
    (row,) = await read("prompt\n水\n".encode(encoding), "list.csv", encoding=wanted)

    assert "水" == row.document["prompt"]


@pytest.mark.parametrize(
    "prompt",
    [
        "Größe",
        "5 µm² – ½",
        "naïve café",
        "żółć",
        "Hawaiʻi",
        "שלום",
        "مرحبا",
        "Αθήνα",
        "Việt Nam",
        "ʻOkina",
        "😀",
        "e\u0301te\u0301",
        "ß",
        "à la carte",
        "Привіт Їжак",
        "Қазақстан",
        "Հայաստան",
        "“quoted”",
        "हिन्दी",
        "ไทย",
    ],
)
def test_one_short_prompt_in_utf_8_is_read(prompt):
    """Text of any language is UTF-8 where it is, without being asked about."""
    assert f"prompt\n{prompt}\n" == text_of(f"prompt\n{prompt}\n".encode())


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
@example("\ufeff")
def test_text_that_is_taken_for_utf_8_is_unchanged(text):
    """Text in UTF-8 is read as it is, or the list is refused; it is never read as something else."""
    data = text.encode()
    try:
        found = text_of(data)
    except InvalidRequestError:
        return
    assert found in {text, text.removeprefix("\ufeff")}


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompts", "encoding", "names"),
    [
        (["一只水獭"], "gbk", ["UTF-8", "GB18030", "一只水獭"]),  # valid UTF-8 by chance
        (["小雪"], "gbk", ["UTF-8", "GB18030", "小雪"]),
        (["夜鹰"], "gbk", ["UTF-8", "GB18030", "夜鹰"]),
        (["치타"], "euc_kr", ["UTF-8", "EUC-KR", "치타"]),
        (GERMAN[:2], "mac_roman", ["macintosh", "Größe"]),
        (POLISH, "cp1250", ["windows-1250", "żółta"]),
        (RUSSIAN, "cp1251", ["windows-1251", "Лиса"]),
        (JAPANESE, "euc_jp", ["EUC-JP", "カワウソ"]),
        (["人物"], "gbk", ["GB18030", "人物"]),
        (["水獺"], "big5", ["Big5"]),
        (["un pingüino pequeño"], "cp1252", ["windows-1252", "windows-1250", "pequeño", "pequeńo"]),
        (["žlutá loď", "řeka v lese"], "cp1250", ["windows-1252", "windows-1250"]),
    ],
)
def test_a_list_whose_encoding_is_not_certain_is_refused(prompts, encoding, names):
    """Those that read it well are named, with what they make of it, and what to type."""
    message = refused("\n".join(["prompt", *prompts, ""]).encode(encoding))

    assert [] == [name for name in names if name not in message]
    assert "--encoding" in message
    assert [*prompts] == text_of("\n".join(prompts).encode(encoding), encoding).split("\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [(CHINESE, "gbk"), (TAIWANESE, "big5"), (KOREAN, "euc_kr"), (JAPANESE, "cp932"), (GERMAN, "cp1252")],
)
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("times", [1, 40])
def test_a_list_of_two_encodings_is_refused(one, other, before, times):
    """Lines that were added in UTF-8 are not bought as what another encoding makes of them, nor the other way round."""
    old, new = table(one * times).encode(other), "\r\n".join(f"9,{prompt}" for prompt in one).encode()
    for extra in (new, f"9,{one[0]}".encode(), f"9,{one[-1][:2]}é\r\n".encode()):
        message = refused(extra + b"\r\n" + old if before else old + extra)

        assert re.search(r"line \d+ is (not )?UTF-8", message), message


def test_the_line_is_told_that_is_not_in_the_encoding():
    """It counts lines of text, whatever lies behind the first pieces that are read."""
    long = "x" * 100 + "\n"
    lines = 2 * CHUNK // len(long)

    assert f"line {lines + 1} is not UTF-8" == refused(long.encode() * lines + b"\xe4\n", "utf-8")
    assert "line 2 is not UTF-16LE" == refused(codecs.BOM_UTF16_LE + "a\n".encode("utf-16-le") + b"\0\xd8a\0")
    assert "line 1 is not UTF-16LE" == refused("ab".encode("utf-16") + b"a")


@pytest.mark.parametrize(
    ("data", "wanted", "message"),
    [
        (b"\xef\xbb\xbfprompt", "gbk", "it begins with the mark of UTF-8, so it is not gbk"),
        ("x".encode("utf-16"), "utf-8", "it begins with the mark of UTF-16LE, so it is not utf-8"),
        (b"x", "klingon", "'klingon' is not a known encoding; known are utf-8, utf-16le"),
        (b"x", "base64", "'base64' is not a known encoding"),
        (b"x", "", "'' is not a known encoding"),
        (b"\x81\xff\xfe\x00\x80", None, "line 1 is not UTF-8, and no other encoding reads it well"),
        (bytes(range(256)), None, "line 2 is not UTF-8"),
    ],
)
def test_what_is_not_text_is_refused(data, wanted, message):
    """With one clause that says why."""
    assert refused(data, wanted).startswith(message)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"PAR1\0\0", "Parquet is read from a file"),
        (b"PK\3\4", "it is an archive or a spreadsheet; a spreadsheet is read from a file whose name ends in .xlsx"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "it is an old spreadsheet"),
        (b"\x1f\x8b\x08\0", "it is compressed; unpack it"),
        (b"\x89PNG\r\n", "it is an image"),
        (b"%PDF-1.7", "it is a PDF"),
    ],
)
def test_files_of_other_kinds_are_refused_by_name(data, problem):
    """Each line of them would be bad."""
    assert refused(data).startswith(problem)


@given(
    st.sampled_from([CHINESE, TAIWANESE, KOREAN, JAPANESE, GERMAN, FRENCH, POLISH, RUSSIAN]),
    st.sampled_from(["gbk", "big5", "euc_kr", "cp932", "euc_jp", "cp1252", "cp1250", "cp1251", "utf-16-le"]),
    st.data(),
)
def test_short_lists_are_read_right_or_refused(language, encoding, data):
    """However few letters there are, no other text comes of them."""
    letters = sorted(set("".join(language)) - {" ", "'", ","})
    prompts = data.draw(st.lists(st.text(st.sampled_from(letters), min_size=1, max_size=4), min_size=1, max_size=3))
    text = "\n".join(["prompt", *prompts])
    try:
        encoded = text.encode(encoding)
    except UnicodeEncodeError:
        return
    try:
        found = text_of(encoded)
    except InvalidRequestError:
        return
    assert text == found


# --- pipes, memory, changes ------------------------------------------------------------------------------------------


def test_a_pipe_is_read_whole_before_its_first_row(pipe):
    """What its last line is in counts for the first."""
    stdin, out = pipe
    out.write(b"prompt\na fox\n\xe4\n")
    out.close()
    with pytest.raises(InvalidRequestError, match="line 3 is not UTF-8"), open_text("-", stdin, "utf-8"):
        pass


@pytest.mark.slow
@pytest.mark.sampled(3)
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16-le", "cp1252"])
def test_a_long_list_is_decoded_in_little_memory(tmp_path, encoding):
    """Pieces may end within a character, and none is lost."""
    line = "ein Bär für später\n" if encoding == "cp1252" else "月光下的灯塔, 一只水獭\n"
    path = tmp_path / "list.txt"
    with path.open("wb") as file:
        for _ in range(60):
            file.write((line * 1000).encode(encoding))
    tracemalloc.start()
    try:
        with path.open("rb") as handle, open_text("list.txt", handle) as text:
            lines = sum(found.decode() == line for found in text.open())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 60_000 == lines
    assert peak < 20_000_000  # decoders for each candidate, and pieces of 256 KiB


def test_a_list_that_changes_meanwhile_is_told_of(tmp_path):
    """What is not in the encoding any more is not read."""
    path = tmp_path / "list.csv"
    path.write_bytes(table(CHINESE * 20).encode("gbk"))
    with path.open("rb") as handle, open_text("list.csv", handle) as text:
        os.truncate(path, 0)
        path.write_bytes(b"prompt\n\xff\xff\n")
        with pytest.raises(InputChangedError, match=r"list\.csv has changed while it was read"):
            text.open().read()


async def test_nothing_of_a_refused_list_is_added(read):
    """A row before the first that is wrong is not read either."""
    with pytest.raises(InvalidRequestError, match="Nothing was sent"):
        await read(b"prompt\na fox\n\x81\x00\xff\n", "list.csv")


async def test_nul_bytes_are_told_by_row(read):
    """Single ones make no UTF-16 of a list."""
    rows = await read(b"a long line of text\nanother\n" * 20 + b"a\0b\n", "list.txt")

    assert [41] == [row.line for row in rows if not isinstance(row, NewRequest)]
