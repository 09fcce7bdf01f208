"""What has to fail does: a client that buys again, and each way in which a caller can be told less than was billed."""

from __future__ import annotations

import attrs
import pytest
from middleboxes.boxes import Box, Kind
from middleboxes.judging import Row, Witness, judge_call
from middleboxes.kinds import KINDS
from middleboxes.playing import play
from middleboxes.report import Report
from middleboxes.troubles import Case

from burncloud_images import RetryPolicy, errors
from burncloud_images.emulator.ledger import LedgerEntry
from burncloud_images.errors import Phase
from burncloud_images.results import Attempt

BY_ID = {kind.id: kind for kind in KINDS}
ARRIVED = LedgerEntry(number=1, operation="generations", request_id="req_1", billed=True, images=1)


def to_parameter(kind: Kind):
    return pytest.param(kind, id=kind.id, marks=[] if kind.id == "nginx" else [pytest.mark.middleboxes])


@pytest.mark.timeout(900)  # the first may have to fetch the program
@pytest.mark.parametrize("box", [to_parameter(BY_ID[name]) for name in ("nginx", "haproxy", "varnish")], indirect=True)
async def test_a_client_that_accepts_to_pay_twice_is_seen(box: Box, found: Report, tmp_path):
    """The box gives up after the work, and each of four attempts is billed."""
    row = await play(box, Case(trouble="slow", operation="generate"), tmp_path, retry=RetryPolicy(on_unknown="retry"))
    found.notes["Negative control"] = (
        'A client with `on_unknown="retry"` buys an image four times through a box that gives up after the work; the '
        "tests fail if it is not seen."
    )

    assert (4, 4, 3) == (row.sent, row.billed, row.double)
    assert row.problems


def witness_of(*billed: int) -> Witness:
    """Return what has seen an attempt for each number of bills."""
    witness = Witness(lambda: 0)
    for number in range(1, len(billed) + 1):
        witness(Attempt(number=number, phase=Phase.COMPLETE, elapsed=0.1))
    witness.billed[:] = billed
    return witness


def test_a_paid_image_of_which_nobody_tells_is_found():
    """The judge finds an error that says that nothing was billed when something was."""
    row = judge_call(witness_of(1), [ARRIVED], "tag", errors.ConnectionFailedError("It was cut."))

    assert (1, 0) == (row.untrue, row.double)
    assert row.problems


def test_a_bill_that_nobody_has_is_found():
    """The judge finds an error that says that an image was billed when none was."""
    error = errors.DownloadError("It is not there.")
    row = judge_call(witness_of(0), [attrs.evolve(ARRIVED, billed=False, images=0)], "tag", error)

    assert 1 == row.untrue
    assert row.problems


def test_a_success_without_an_image_is_found():
    """The judge finds a call that returns nothing and raises nothing."""
    row = judge_call(witness_of(1), [ARRIVED], "tag", 0)

    assert 1 == row.lost
    assert row.problems


def test_two_attempts_that_are_billed_are_found():
    """The judge finds two billed attempts, even if the second one succeeds."""
    row = judge_call(witness_of(1, 2), [ARRIVED, ARRIVED], "tag", 1)

    assert 1 == row.double
    assert row.problems


def test_what_a_box_sends_again_is_not_put_down_to_the_client():
    """Three bills for one attempt of the client are put down to the box."""
    row = judge_call(witness_of(3), [ARRIVED] * 3, "tag", errors.OutcomeUnknownError("No answer came."))

    assert Row(sent=1, arrived=3, billed=3, told={"maybe billed": 1}) == row
    assert 2 == row.resent
    assert [] == row.problems
