"""The table of cases is whole, and the documentation shows every box."""

from __future__ import annotations

import pytest
from middleboxes.kinds import KINDS
from middleboxes.troubles import OPERATIONS_OF, QUICK, TROUBLES, cases_of
from reliability import PAGE, read_parts


def test_every_trouble_is_tried_and_the_quick_cases_are_cases():
    """Every trouble is tried, and the quick cases are names of cases."""
    cases = {(case.trouble, case.operation) for case in cases_of(KINDS[0])}

    assert {*TROUBLES} == {*OPERATIONS_OF}
    assert {*QUICK} <= cases


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.id) for kind in KINDS])
def test_the_document_shows_every_box(kind):
    """The document shows every box with its version and no double purchase; `nox -s middleboxes` writes it anew."""
    part = read_parts(PAGE.read_text(encoding="utf-8"))["middleboxes"]
    (line, *_) = [line for line in part.splitlines() if line.startswith(f"| {kind.title} |")]
    _, _, version, cases, *_, true, bought, _, _ = [cell.strip() for cell in line.split("|")]

    assert version[0].isdigit()
    assert f"{cases} of {cases}" == true
    assert "0" == bought
