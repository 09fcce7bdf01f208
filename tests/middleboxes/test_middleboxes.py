"""Every box with every case: nothing is bought twice by the client, and nobody is told less than what was billed."""

from __future__ import annotations

import pytest
from middleboxes.boxes import Box, Kind
from middleboxes.kinds import KINDS
from middleboxes.playing import play
from middleboxes.report import Report
from middleboxes.troubles import Case, cases_of


def to_parameter(kind: Kind, case: Case):
    marks = [] if kind.quick and case.is_quick else [pytest.mark.middleboxes]
    return pytest.param(kind, case, id=f"{kind.id}-{case}", marks=marks)


@pytest.mark.timeout(900)  # the first may have to fetch the program
@pytest.mark.parametrize(
    ("box", "case"), [to_parameter(kind, case) for kind in KINDS for case in cases_of(kind)], indirect=["box"]
)
async def test_box(box: Box, case: Case, found: Report, tmp_path):
    """The bill is what the caller was told, and the client has not bought anything again."""
    row = await play(box, case, tmp_path)
    found.rows[box.kind.id, case] = row

    assert [] == row.problems
