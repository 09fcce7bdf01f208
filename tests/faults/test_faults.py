"""The fault matrix: every case with its fault and without."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from faults.cases import TABLE
from faults.playing import play
from faults.report import Report, Row
from faults.stage import Stage
from faults.table import BAR, SIZES, Case


def to_parameter(case: Case):
    marks = [pytest.mark.timeout(max(60, 2 * case.bound + 20))]
    if case.id not in BAR:
        marks.append(pytest.mark.faults)
    if case.skipped:
        marks.append(pytest.mark.skip(reason=case.skipped))
    if case.pending:
        marks.append(pytest.mark.xfail(reason=case.pending, strict=True))
    return pytest.param(case, id=case.id, marks=marks)


@pytest.fixture(autouse=True)
def written_down(found: Report, request):
    """Enter skipped cases, which are never played."""
    for case in TABLE.values():
        if case.skipped:
            found.rows[case.id] = Row(case=case, verdict="skipped")


@pytest.mark.parametrize("case", [to_parameter(case) for case in TABLE.values()])
async def test_case(case: Case, found: Report, tmp_path: Path, monkeypatch):
    """Survives, and succeeds plainly where nothing goes wrong."""
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
        found.rows[case.id] = Row(
            case=case,
            verdict=verdict,
            seen=faulty.seen,
            posts=faulty.posts,
            billed=faulty.billed,
            double=sum(stage.double for stage in stages),
            lost=sum(stage.lost for stage in stages),
            leaks=len(problems),
            seconds=time.monotonic() - started,
        )


DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"


def test_the_document_shows_every_case():
    """Each id once, with its fault in words; `nox -s faults` writes it anew."""
    if os.environ.get("FAULTS_REPORT"):
        pytest.skip("it is written once these tests have ended")
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    shown = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in lines if line.startswith("| ")]

    assert [(case.id, case.fault) for case in TABLE.values() if (case.id, case.fault) not in shown] == []
    ids = [number for number, _ in shown if number in TABLE]
    assert sorted(TABLE) == sorted(ids)


def test_the_matrix_is_whole():
    """Every id stands in the table, whether it can be played or not."""
    assert {f"{group}{number:02}" for group, size in SIZES.items() for number in range(1, size + 1)} == {*TABLE}
    assert 173 == len(TABLE)
    assert {*BAR} <= {*TABLE}
