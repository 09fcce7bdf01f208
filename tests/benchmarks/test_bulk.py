"""What jobs cost: the tables, what the documentation shows, and that undone work has no figures."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from benchmarks.bulk.__main__ import KEPT, main
from benchmarks.bulk.figures import BulkResults, beside_rows, growth_rows, sections
from benchmarks.bulk.runs import open_lists
from benchmarks.bulk.task import Task, write_list
from benchmarks.page import PAGE, fill, newest
from benchmarks.rounds import CheatedError
from benchmarks.work import MB


def make_results(sending=1.0, memory=30 * MB, resume=1.0):
    return BulkResults(
        date="2026-01-02",
        quick=False,
        rounds=3,
        versions={"python": "3.11"},
        machine={"system": "Linux", "cpu": "some", "cores": 2, "load": 0.1},
        rows=100,
        at_once=4,
        beside={
            "map": {"wall": [10.0, 10.0, 99.0], "cpu": [8.0] * 3},
            "job": {
                "wall": [12.0] * 3,
                "cpu": [9.6] * 3,
                "sending wall": [10.0 * sending] * 3,
                "sending cpu": [8.0 * sending] * 3,
            },
        },
        growth={
            "1000": {"wall": 2.0, "memory": 20 * MB, "resume": 0.5},
            "100000": {"wall": 200.0, "memory": memory, "resume": resume},
        },
    )


def test_a_job_is_held_against_map_by_medians():
    """One slow round does not change the comparison of medians, and only the sending has a goal."""
    _, one, sending, whole = beside_rows(make_results())

    assert ("1", "1") == (one[2], one[4])
    assert "1.00 (≤ 1.10)" == sending[2] == sending[4]
    assert "1.20" == whole[2] == whole[4]


@pytest.mark.parametrize(
    ("results", "rows"),
    [
        (make_results(sending=1.11), beside_rows),
        (make_results(memory=40 * MB + 1), growth_rows),
        (make_results(resume=3.01), growth_rows),
    ],
)
def test_what_is_missed_is_said(results, rows):
    """Each goal can be missed, and is met just before."""
    assert any("missed" in cell for row in rows(results) for cell in row)
    assert not any("missed" in cell for row in rows(make_results(1.10, 40 * MB, 3.0)) for cell in row)


def test_rates_are_of_the_length():
    """Rows a second are computed from the time that each length took."""
    assert ["500", "500"] == [row[1] for row in growth_rows(make_results())[1:]]


def test_page_shows_the_newest_results():
    """The page's tables are exactly those that the newest results give."""
    results = BulkResults(**json.loads(newest(KEPT).read_text(encoding="utf-8")))
    page = PAGE.read_text(encoding="utf-8")

    assert not results.quick
    assert fill(page, sections(results)) == page
    assert page != fill(page, sections(attrs.evolve(results, date="1999-01-01")))


def test_a_list_is_of_different_requests(tmp_path):
    """No row equals another, so each of them is bought."""
    write_list(tmp_path / "list.jsonl", 1200)
    lines = (tmp_path / "list.jsonl").read_text(encoding="utf-8").splitlines()

    assert 1200 == len(set(lines))


def test_both_ways_are_run_and_judged(tmp_path):
    """Each way buys every row and writes it to a file, and a finished job costs nothing more."""
    disk = tmp_path / "disk"
    with open_lists(disk) as lists:
        assert {"wall", "cpu", "memory"} == lists.run("map", 5, 2).keys()
        assert {"wall", "cpu", "memory", "sending wall", "sending cpu", "resume"} == lists.run_twice(5, 2).keys()
    assert [] == list(disk.iterdir())


def test_undone_work_has_no_figures(tmp_path, monkeypatch):
    """A process that leaves rows out is refused."""
    from benchmarks.bulk import runs

    run = runs.run_worker

    def leave_one_out(task: Task):
        Path(task.list).write_text("".join(task.list.read_text().splitlines(keepends=True)[1:]))
        return run(task)

    monkeypatch.setattr(runs, "run_worker", leave_one_out)
    with open_lists(tmp_path) as lists, pytest.raises(CheatedError, match="of 5 rows 4 were bought and 4 are files"):
        lists.run("job", 5, 2)


def test_a_bad_option(capsys):
    """A bad option is refused before anything is measured."""
    with pytest.raises(SystemExit):
        main(["--fast"])
    assert "--fast" in capsys.readouterr().err
