"""The fault matrix: every case with its fault and without."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from faults.cases import TABLE
from faults.playing import play
from faults.report import Report, Row
from faults.stage import Stage
from faults.table import BAR, LONGER, SIZES, Case
from ways import Way, chosen_ways

pytestmark = pytest.mark.own_tunnels


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Play each case in each of its columns."""
    if "case" in metafunc.fixturenames:
        cases = [
            to_parameter(case, way) for case in TABLE.values() for way in chosen_ways(metafunc.config, case.columns)
        ]
        metafunc.parametrize(("case", "way"), cases, indirect=["way"])


def to_parameter(case: Case, way: str):
    marks = [pytest.mark.timeout(max(60, 2 * case.bound + 20))]
    if case.id not in BAR or (case.id in LONGER and way != "plain"):
        marks.append(pytest.mark.faults)
    if way in case.impossible:
        there = [name for name in ("plain", *case.columns) if name not in case.impossible]
        marks.append(pytest.mark.only(*there, reason=case.impossible[way]))
    if case.skipped:
        marks.append(pytest.mark.skip(reason=case.skipped))
    if case.pending:
        marks.append(pytest.mark.xfail(reason=case.pending, strict=True))
    return pytest.param(case, way, id=f"{case.id}-{way}", marks=marks)


async def test_case(case: Case, way: Way, found: Report, tmp_path: Path, monkeypatch):
    """The client survives the fault, and succeeds where nothing goes wrong."""
    started = time.monotonic()
    stages = [
        Stage(faulty=faulty, folder=tmp_path / name, monkeypatch=monkeypatch, scale=case.scale)
        for faulty, name in ((True, "faulty"), (False, "plain"))
    ]
    problems: list[str] = []
    verdict = "fails"
    try:
        for stage in stages:
            stage.folder.mkdir()
            with monkeypatch.context() as patches:
                stage.monkeypatch = patches
                problems += await play(case, stage)
            assert not problems, f"{stage.folder.name}: {'; '.join(problems)}"
        verdict = "survived"
    finally:
        faulty = stages[0]
        found.rows[case.id, way.name] = Row(
            case=case,
            way=way.name,
            verdict=verdict,
            seen=faulty.seen,
            posts=faulty.posts,
            billed=faulty.billed,
            double=sum(stage.double for stage in stages),
            lost=sum(stage.lost for stage in stages),
            leaks=len(problems),
            seconds=time.monotonic() - started,
        )


def test_the_matrix_is_whole():
    """The table has every id of the matrix, including those that cannot be played."""
    assert {f"{group}{number:02}" for group, size in SIZES.items() for number in range(1, size + 1)} == {*TABLE}
    assert 188 == len(TABLE)
    assert {*BAR} <= {*TABLE}
