"""Tables as spreadsheets of all countries write them; and lists of prompts that only look like tables."""

# ruff: noqa: RUF001 (text as people write it)

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.bulk.inputs.columns import UnusableRow
from burncloud_images.bulk.inputs.sources import RawLine
from burncloud_images.bulk.inputs.tables import DELIMITERS, TableOptions, read_table, to_delimiter
from burncloud_images.bulk.records import BadRow
from burncloud_images.errors import InvalidRequestError


def asked(rows):
    """Return the fields that the rows ask for, by line; of bad ones the reason."""
    return {row.line: row.reason if isinstance(row, BadRow) else strip(row.document) for row in rows}


def strip(document):
    return {name: value for name, value in document.items() if name != "operation"}


# --- delimiters and names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("name", ["list.csv", "list.tsv"])
@pytest.mark.parametrize("first", ["", "sep={}\r\n", '"sep={}"\r\n', "SEP={}\n"])
async def test_the_first_row_tells_the_delimiter(read, delimiter, name, first):
    """A line `sep=;` is none of the rows; cells with the other delimiters stay whole."""
    head = first.format(delimiter)
    others = "".join(other for other in DELIMITERS if other != delimiter)
    rows = await read(f"{head}id{delimiter}prompt{delimiter}n\r\n1{delimiter}a fox{others} red{delimiter}2\r\n", name)

    assert {2 + bool(first): {"n": 2, "prompt": f"a fox{others} red"}} == asked(rows)
    assert ["1"] == [row.label for row in rows]


@pytest.mark.parametrize(
    "header",
    [
        "Prompt;Size",
        "PROMPT;SIZE",
        " prompt ; size ",
        "\ufeffprompt;size",
        '"Prompt";"size"',
        "size;Prompt;",
        "prompt;size;Output Format;Output-Compression",
    ],
)
async def test_names_are_known_in_any_spelling(read, header):
    """Case, space, quotes and marks make no difference, and empty columns beside the table are not counted."""
    count = header.count(";")
    cells = {"prompt": "a fox", "size": "256x256"}
    row = ";".join(cells.get(name.strip('\ufeff" ').lower(), "") for name in header.split(";"))
    rows = await read(f"{header}\n{row}\n{';' * count}\n{row};;\n", "list.csv")

    assert {2: {"size": "256x256", "prompt": "a fox"}, 4: {"size": "256x256", "prompt": "a fox"}} == asked(rows)


async def test_the_user_says_what_columns_are_called(read):
    """Columns that are called otherwise are read under the names that were given."""
    text = 'Nr;Prompt Text;Größe;Anzahl\n7;"ein Fuchs,\nrot";256x256;2,0\n'
    columns = {"prompt": "prompt text", "size": "Größe", "id": "Nr", "n": "Anzahl"}
    rows = await read(text, "list.csv", columns=columns)

    assert {2: {"n": 2, "size": "256x256", "prompt": "ein Fuchs,\nrot"}} == asked(rows)
    assert ["7"] == [row.label for row in rows]


async def test_a_name_that_is_given_comes_first(read):
    """A column that is called like a field and means another is the one that was said."""
    rows = await read("prompt,id\n1,a fox\n", "list.csv", columns={"prompt": "id", "id": "prompt"})

    assert {2: {"prompt": "a fox"}} == asked(rows)


@pytest.mark.parametrize(
    ("text", "options", "problem"),
    [
        (
            "Nr;Prompt Text;Größe\n1;x;y\n",
            {},
            (
                "line 1, separated by semicolons: neither prompt nor image is among the columns 'Nr', 'Prompt Text', "
                "'Größe'. Say which column holds the prompts, as in --column prompt=\"Prompt Text\""
            ),
        ),
        (
            "promt,sise\nx,y\n",
            {},
            (
                "line 1, separated by commas: neither prompt nor image is among the columns 'promt', 'sise'. Say which "
                "column holds the prompts, as in --column prompt=\"promt\"; 'sise' may be 'size'"
            ),
        ),
        (
            "\n\na fox\n",
            {},
            (
                "line 3, and no commas separate others: neither prompt nor image is among the columns 'a fox'. Say "
                'which column holds the prompts, as in --column prompt="NAME"'
            ),
        ),
        (
            "a;b\n",
            {"columns": {"prompt": "c"}},
            "line 1, separated by semicolons: no column is called 'c'; there are 'a', 'b'",
        ),
        (
            "text;b\n",
            {"columns": {"prompt": "Text s"}},
            (
                "line 1, separated by semicolons: no column is called 'Text s'; there are 'text', 'b'; "
                "did you mean 'text'?"
            ),
        ),
        ("a;b\n", {"columns": {"promt": "a"}}, "'promt' is not a column of requests; did you mean prompt?"),
        ("a;b\n", {"columns": {"prompt": "a", "id": "A "}}, "two columns are given the same name"),
        ("Prompt;prompt\n", {}, "line 1, separated by semicolons: prompt is named twice: 'Prompt', 'prompt'"),
        ("prompt,n\n", {"delimiter": "::"}, "'::' is not a delimiter"),
        (
            "prompt,n\n",
            {"delimiter": "semicolon"},
            "line 1, and no semicolons separate others: neither prompt nor image is among the columns 'prompt,n'",
        ),
    ],
)
async def test_a_table_that_names_no_prompt_is_refused(read, text, options, problem):
    """One sentence has the line, the delimiter, the columns that were found, and what to type."""
    with pytest.raises(InvalidRequestError) as caught:
        await read(text, "list.csv", **options)

    message = caught.value.violations[0].message
    assert message.startswith(problem)
    assert 1 == len(caught.value.violations)


@pytest.mark.parametrize(
    ("word", "delimiter"),
    [("comma", ","), ("Semicolon", ";"), ("tab", "\t"), ("\\t", "\t"), ("pipe", "|"), (":", ":"), ("^", "^")],
)
async def test_any_character_can_be_a_delimiter(read, word, delimiter):
    """It is given as it is, or by its name."""
    text = f'id{delimiter}prompt\n1{delimiter}"a{delimiter}b"\n'
    rows = await read(text, "list.csv", delimiter=word)

    assert {2: {"prompt": f"a{delimiter}b"}} == asked(rows)


@pytest.mark.parametrize("word", ["", ";;", '"', "\n", "é", "nothing"])
def test_what_cannot_separate_cells_is_not_a_delimiter(word):
    """A delimiter is one ASCII character, and not a quote."""
    with pytest.raises(UnusableRow, match="is not a delimiter"):
        to_delimiter(word)


@pytest.mark.parametrize("amount", ["2", "2.0", "2,0", "2.00", "2.", " 2 "])
async def test_decimal_points_and_commas_are_read(read, amount):
    """A spreadsheet writes whole numbers so where cells of the column are empty."""
    rows = await read(f"prompt;n\nx;{amount}\n", "list.csv")

    assert {2: {"n": 2, "prompt": "x"}} == asked(rows)


@pytest.mark.parametrize("amount", ["1.000", "1,000", "1.5", "1,5", "2,", "2;0"])
async def test_thousands_and_halves_are_no_whole_numbers(read, amount):
    """What a point or comma means there depends on the country, and 1,000 images are not bought for it."""
    (row,) = await read(f"prompt|n\nx|{amount}\n", "list.csv")

    assert isinstance(row, BadRow) is (amount != "2,")


@given(
    st.sampled_from([*DELIMITERS]),
    st.lists(st.text(st.sampled_from('ab,;\t|"\n x'), max_size=6), max_size=6),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_standard_library_writes_is_read(delimiter, prompts, end):
    """Quoted delimiters, quotes and line ends in any cell change no prompt."""
    text = io.StringIO(newline="")
    out = csv.writer(text, delimiter=delimiter, lineterminator=end)
    out.writerow(["Id", "Prompt", "Note"])
    out.writerows([number, prompt, "x"] for number, prompt in enumerate(prompts))
    lines = [RawLine(number, line.encode()) for number, line in enumerate(text.getvalue().split("\n"), start=1)]
    rows = [*read_table(lines, ",", TableOptions())]

    assert prompts == [row.values.get("prompt", "") for row in rows]
    assert not [row.problem for row in rows if row.problem]


# --- tables under another name ---------------------------------------------------------------------------------------

TABLES = [
    'id,prompt,size,n\n0,"a fox",256x256,1\n1,b,256x256,1\n',
    "id;prompt\n0;a fox\n1;b\n",
    "prompt\tid\na fox\t0\nb\t1\n",
    "Prompt,category\na fox,zoo\nb,zoo\n",
    "sep=;\nid;prompt\n0;a fox\n1;b\n",
    '"id","prompt"\n"0","a fox"\n"1","b"\n',
    "\ufeffid,prompt\r\n0,a fox\r\n1,b\r\n",
    "\n\nid|prompt\n0|a fox\n1|b\n",
]


@pytest.mark.parametrize("text", TABLES)
@pytest.mark.parametrize("name", ["-", "list.txt", "list.text"])
async def test_a_table_is_seen_to_be_one(warned, text, name):
    """On standard input, or in a file that is called text, its rows are rows and not prompts."""
    rows, _ = await warned(text, name)

    assert ["a fox", "b"] == [row.document["prompt"] for row in rows]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("Nr;Prompt Text;Größe\n1;a fox;256x256\n", "'Nr', 'Prompt Text', 'Größe'"),
        ("Nr;Beschreibung\n1;ein Fuchs\n2;ein Bär\n", "'Nr', 'Beschreibung'"),
        ("编号,描述\n1,一只水獭\n2,狐狸\n", "'编号', '描述'"),
        ("Text\tNote\na fox\tred\nb\tblue\n", "'Text', 'Note'"),
        ("Text,Format\na fox,256x256\nb,256x256\nc,1024x1024\n", "'Text', 'Format'"),
        ("image, fox\na bear, snow, 3\n", "'image', 'fox'"),
        ("1, a fox\n2, a bear\n3, an otter\n", "'1', 'a fox'"),
        ("prompts;note\na fox;x\n", "'prompts', 'note'"),
    ],
)
@pytest.mark.parametrize("name", ["-", "list.txt"])
async def test_what_looks_like_a_table_is_refused(read, text, columns, name):
    """None of its lines is bought; the columns are named, and both ways out."""
    with pytest.raises(InvalidRequestError) as caught:
        await read(text, name)

    message = caught.value.violations[0].message
    assert message.startswith(f"it looks like a table with the columns {columns}, separated by ")
    assert "--input-format csv" in message
    assert "--input-format txt" in message


@pytest.mark.parametrize("name", ["prompt", "Prompt", '"prompt"'])
async def test_a_head_of_one_column_is_refused(read, name):
    """Nobody wants an image of the word."""
    with pytest.raises(InvalidRequestError, match="as of a table with one column"):
        await read(f"{name}\na fox\n", "list.txt")

    assert 2 == len(await read(f"{name}\na fox\n", "list.txt", format="txt"))
    assert 1 == len(await read(f"{name}\na fox\n", "list.txt", format="csv"))


@pytest.mark.parametrize(
    "prompts",
    [
        ["a fox, red", "an otter, blue"],
        ["a fox; red", "an otter; blue", "a bear; white"],
        ["a fox | red", "an otter | blue"],
        ["portrait, 4k, 2049", "city, 2049, neon"],
        ["a prompt of a fox, red", "x, y"],
        ["prompt: a fox, red", "prompt: b, c"],
        ["sep is a month", "x"],
        ["fox"],
        ["prompt"],
        ["a, b"],
        ['a "big" fox, red', 'a "small" one, blue'],
        ["1. a fox", "2. a bear", "3. an otter"],
        ["[realistic] fox", "[anime] bear"],
        ["{a|b} fox", "{c} bear"],
        ["--ar 16:9, fox", "--ar 1:1, bear"],
        ["一只水獭，森林", "狐狸，雪"],
    ],
)
@pytest.mark.parametrize("name", ["-", "list.txt"])
async def test_prompts_with_commas_are_prompts(read, prompts, name):
    """A plain list stays one, whatever stands between its words."""
    rows = await read("\n".join(prompts), name)

    assert prompts == [row.document["prompt"] for row in rows]


@pytest.mark.parametrize("text", TABLES)
async def test_the_format_may_be_named(read, text):
    """Then nothing is guessed, and each line is a prompt."""
    rows = await read(text, "list.txt", format="txt")

    assert len([line for line in text.split("\n") if line.strip()]) == len(rows)
