"""docs/reliability.md is what its sessions write: nothing is typed by hand, and its sums are those of its rows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from crash import report as kills
from crash.test_tasks import CONTROLS, EVERYWHERE, LOST, LOST_AND_KILLED, SOMEWHERE, STATES
from faults import report as matrix
from faults.cases import TABLE
from faults.table import GROUPS, SIZES
from reliability import PAGE, PARTS, grid, is_signed, read_parts, sign, tables, write_part

CELLS = [["a", "b|c"], ["", "d"]]


def part(name: str) -> str:
    return read_parts(PAGE.read_text(encoding="utf-8"))[name]


def table(name: str, heads: Sequence[str]) -> list[list[str]]:
    """Return the rows of all tables of a part that have these heads."""
    found = [rows[1:] for rows in tables(part(name)) if rows[0] == list(heads)]
    assert found, f"{name} has no table of {heads}"
    return [row for rows in found for row in rows]


def test_a_part_is_written_where_it_belongs_and_the_others_stay(tmp_path):
    """Writing a part replaces it, signs it, and leaves the others as they are, in the order of the page."""
    page = tmp_path / "page.md"
    for name in reversed(PARTS):
        write_part(page, name, f"about {name}\n")
    before = read_parts(page.read_text(encoding="utf-8"))
    write_part(page, "crash", "new")

    after = read_parts(page.read_text(encoding="utf-8"))
    assert list(PARTS) == list(after)
    assert {**before, "crash": sign("new")} == after
    assert all(is_signed(text) for text in after.values())


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("12 of 12", "13 of 13"),
        lambda text: text.replace("12 of 12", "12  of 12"),
        lambda text: f"{text}\n\nmore",
        lambda text: text.rpartition("\n\n")[0],
        lambda _: "",
    ],
    ids=["a count", "a space", "a line", "without its digest", "empty"],
)
def test_a_change_by_hand_is_seen(change):
    """A part that differs from what its session wrote, by as little as a space, is seen."""
    written = sign("| all | 12 | 12 of 12 |")

    assert is_signed(written)
    assert not is_signed(change(written))


def test_a_table_is_read_as_it_was_written():
    """Cells come back from a table, those with a bar in them, too."""
    text = f"Words.\n\n{grid(['x', 'y'], CELLS)}\n\nMore.\n\n{grid(['z'], [['1']])}"

    assert [[["x", "y"], *CELLS], [["z"], ["1"]]] == tables(text)


def test_nothing_stands_beside_the_parts(tmp_path):
    """The page has its parts, each written by its session, and nothing else."""
    copy = tmp_path / "page.md"
    copy.write_bytes(PAGE.read_bytes())
    text = read_parts(copy.read_text(encoding="utf-8"))["crash"].rpartition("\n\n<!-- sha256")[0]
    write_part(copy, "crash", text)

    assert [*PARTS] == list(read_parts(copy.read_text(encoding="utf-8")))
    assert PAGE.read_text(encoding="utf-8") == copy.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PARTS)
def test_nobody_has_changed_what_a_session_wrote(name):
    """A part with a digest is as its session wrote it, and the kills have one; run the session to change a part."""
    text = part(name)
    has_digest = "<!-- sha256 of this part: " in text

    assert is_signed(text) or not has_digest, f"nox -s {PARTS[name]} writes it"
    assert has_digest or name not in {"crash", "tasks"}


class TestFaults:
    """What the page says of the fault matrix."""

    HEADS = ("id", "fault", "expected", "seen", "POSTs", "billed", "TLS", "CONNECT", "openai: POSTs / billed")

    @property
    def rows(self) -> list[list[str]]:
        return table("faults", self.HEADS)

    def test_every_case_is_a_row(self):
        """The cases are those of the matrix, in its order, with the fault and what is expected in its words."""
        cases = [TABLE[key] for key in matrix.ordered(TABLE)]

        assert [[case.id, case.fault, case.expected] for case in cases] == [row[:3] for row in self.rows]
        assert matrix.INTRODUCTION in part("faults")

    def test_the_sums_are_those_of_the_rows(self):
        """Each group counts its cases and those of its rows that survived, and so does the sum of all."""
        sums = {row[0]: row[1:] for row in next(rows for rows in tables(part("faults")) if rows[0][0] == "group")[1:]}
        groups = {**{GROUPS[group]: {group} for group in SIZES}, "all": {*SIZES}}

        assert list(groups) == list(sums)
        for title, letters in groups.items():
            rows = [row for row in self.rows if row[0][0] in letters]
            survived = sum("(fails)" not in row[3] for row in rows)
            cases, plain, *_, double, lost, leaked = sums[title]
            assert (str(len(rows)), f"{survived} of {len(rows)}") == (cases, plain), title
            assert ("0", "0", "0") == (double, lost, leaked), title

    def test_the_other_client_is_counted_by_its_rows(self):
        """The sentence on the official client has the sums of its column."""
        bills = [[int(number) for number in row[-1].split(" / ")] for row in self.rows if row[-1] != "-"]
        more = sum(max(0, billed - 1) for _, billed in bills)

        assert f"Of these faults, {len(bills)} were put to the official openai client" in part("faults")
        assert f"it was billed for {more} more than that, this client for 0." in part("faults")


class TestKills:
    """What the page says of kills."""

    def test_every_kind_of_kill_kept_its_promises(self):
        """Nothing is double-billed, lost, torn, left over or not done, but in the negative controls."""
        first, controls = (rows for rows in tables(part("crash")) if rows[0] == list(kills.HEADS))

        for row in first[1:]:
            found = dict(zip(kills.HEADS, row, strict=True))
            wrong = ("double-billed", "lost", "torn", "left over", "not done")
            assert ["0"] * 5 == [found[name] for name in wrong], row[0]
            assert int(found["most per kill"]) <= 3, row[0]
        assert len(controls) > 1

    def test_every_state_of_a_task_is_a_row(self):
        """A job was killed in each state of a task, and each control is there."""
        names = [*STATES, LOST, LOST_AND_KILLED, SOMEWHERE, *CONTROLS]

        assert names == [row[0] for row in table("tasks", kills.TASK_HEADS) if row[0] != EVERYWHERE]
        assert kills.TASKS in part("tasks")

    def test_polling_brought_home_all_that_was_accepted(self):
        """All that the store had as accepted was brought home, and all that it had as sent is in doubt, and no more."""
        for row in table("tasks", kills.TASK_HEADS)[: -len(CONTROLS)]:
            found = dict(zip(kills.TASK_HEADS, row, strict=True))
            assert found["accepted then"] == found["brought home"], row[0]
            assert found["in doubt"] == ("1" if row[0] == LOST else found["sent then"]), row[0]
            assert ["0"] * 5 == [found[name] for name in ("forgotten", "double-billed", "lost", "torn", "not done")]
            assert int(found["kills"]) > 0 or row[0] == LOST

    def test_each_broken_promise_about_tasks_was_found_out(self):
        """A job that forgets ids has forgotten some, and one that sends again was billed twice."""
        rows = {row[0]: dict(zip(kills.TASK_HEADS, row, strict=True)) for row in table("tasks", kills.TASK_HEADS)}
        heads = {"forgotten": "forgotten", "double": "double-billed"}

        for control, figure in CONTROLS.items():
            assert int(rows[control][heads[figure]]) > 0
