"""Spreadsheets: cells as text, numbers, dates and formulas; and files that are none."""

from __future__ import annotations

import sys
import warnings
import zipfile
from datetime import UTC, date, datetime

import pytest

from burncloud_images.bulk.records import BadRow
from burncloud_images.errors import ConfigurationError, InvalidRequestError

openpyxl = pytest.importorskip("openpyxl")


@pytest.fixture
def save(tmp_path):
    """Return what saves sheets as a file, and gives its bytes."""

    def go(**sheets):
        book = openpyxl.Workbook()
        book.remove(book.active)
        for title, rows in sheets.items():
            sheet = book.create_sheet(title)
            for row in rows:
                sheet.append(row)
        path = tmp_path / "saved.xlsx"
        book.save(path)
        return path.read_bytes()

    return go


def asked(rows):
    return {
        row.line: row.reason
        if isinstance(row, BadRow)
        else {name: value for name, value in row.document.items() if name != "operation"}
        for row in rows
    }


async def test_the_first_sheet_is_a_list(read, save):
    """Its first row names the columns, in any spelling; empty rows and columns are passed over."""
    rows = await read(
        save(
            Prompts=[
                [],
                ["Id", "Prompt", "N", "Size", None],
                [7, "a fox, red", 2, "256x256"],
                [None, None],
                ["b", "水獭\nzwei", 1.0, None],
                ["c", 2024, "", ""],
            ],
            Other=[["prompt"], ["not bought"]],
        ),
        "list.xlsx",
    )

    assert {
        3: {"n": 2, "size": "256x256", "prompt": "a fox, red"},
        5: {"n": 1, "prompt": "水獭\nzwei"},
        6: {"prompt": "2024"},
    } == asked(rows)
    assert ["7", "b", "c"] == [row.label for row in rows]


async def test_a_sheet_can_be_named(read, save):
    """One that is not there is told, with those that are."""
    data = save(Eins=[["x"]], Zwei=[["Prompt Text"], ["a fox"]])
    rows = await read(data, "list.xlsx", sheet="Zwei", columns={"prompt": "Prompt Text"})
    assert {2: {"prompt": "a fox"}} == asked(rows)

    with pytest.raises(InvalidRequestError, match="it has no sheet 'Drei'; there are 'Eins', 'Zwei'"):
        await read(data, "list.xlsx", sheet="Drei")
    with pytest.raises(InvalidRequestError, match="row 1: neither prompt nor image is among the columns 'x'"):
        await read(data, "list.xlsx")


async def test_cells_that_are_not_text_are_read_as_they_show(read, save):
    """Truths, dates and JSON in cells are what a table as text has."""
    moment = datetime(2026, 11, 30, 12, 0, tzinfo=UTC).replace(tzinfo=None)
    rows = await read(
        save(
            List=[["prompt", "by_reference", "extra"], [date(2026, 11, 30), False, '{"seed": 1}'], [moment, None, None]]
        ),
        "list.xlsx",
    )

    assert {
        2: {"prompt": "2026-11-30T00:00:00", "extra": {"seed": 1}},
        3: {"prompt": "2026-11-30T12:00:00"},
    } == asked(rows)


async def test_a_formula_without_a_value_is_told(read, save):
    """As a program leaves it that calculates nothing: its row is not bought with the cell empty."""
    rows = await read(save(List=[["prompt", "n"], ['="a " & "fox"', 1], ["b", "=1+1"], ["c", 1]]), "list.xlsx")

    advice = "has no stored value; open the file in a spreadsheet program and save it"
    assert {
        2: f"prompt: the formula in A2 {advice}",
        3: f"n: the formula in B3 {advice}",
        4: {"n": 1, "prompt": "c"},
    } == asked(rows)


async def test_an_error_in_a_cell_is_told(read, tmp_path):
    """An image of `#REF!` is not bought."""
    book = openpyxl.Workbook()
    book.active.append(["prompt"])
    book.active.append(["#REF!"])
    book.active["A2"].data_type = "e"
    book.save(tmp_path / "errors.xlsx")
    rows = await read((tmp_path / "errors.xlsx").read_bytes(), "list.xlsx")

    assert {2: "prompt: the cell A2 holds the error #REF!"} == asked(rows)


async def test_values_beside_the_table_are_told(read, save):
    """A cell under no name belongs to no column."""
    rows = await read(save(List=[["prompt"], ["a", "b"], ["c"]]), "list.xlsx")

    assert {2: "it has 2 cells, and the first row has 1", 3: {"prompt": "c"}} == asked(rows)


async def test_an_empty_sheet_is_an_empty_list(read, save):
    """There is nothing in it."""
    assert [] == await read(save(List=[]), "list.xlsx")
    assert [] == await read(save(List=[["prompt"]]), "list.xlsx")


async def test_what_is_no_spreadsheet_is_refused(read, tmp_path):
    """Whatever its name says."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.txt", "x")
    for data in (b"", b"prompt\na fox\n", b"PK\3\4", (tmp_path / "a.zip").read_bytes()):
        with pytest.raises(InvalidRequestError, match="it cannot be read as a spreadsheet"):
            await read(data, "list.xlsx")


async def test_a_missing_extra_is_named(read, save, monkeypatch):
    """One sentence says what to install."""
    data = save(List=[["prompt"], ["x"]])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'burncloud-images\[data\]'"):
        await read(data, "list.xlsx")


async def test_lists_that_other_programs_write_are_read(read, tmp_path):
    """As by pandas, with an index, numbers that became fractions, and empty cells."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"prompt": ["a fox", "水獭"], "n": [2, None], "note": [None, "x"]})
    path = tmp_path / "frame.xlsx"
    frame.to_excel(path)
    frame.to_csv(tmp_path / "frame.csv", sep=";", encoding="utf-16", decimal=",")
    frame.to_json(tmp_path / "frame.json", orient="records", indent=2)
    for name in ("frame.xlsx", "frame.csv", "frame.json"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of columns that are not sent
            rows = await read((tmp_path / name).read_bytes(), name)

        assert [{"n": 2, "prompt": "a fox"}, {"prompt": "水獭"}] == list(asked(rows).values()), name
