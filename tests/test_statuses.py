"""The table of statuses that the tests of all levels read."""

from __future__ import annotations

from statuses import ROWS, by_id


def test_every_row_has_a_name_and_a_source():
    """No two rows share a name, and each rule says where it comes from."""
    assert len(ROWS) == len(by_id)
    assert all(row.source for row in ROWS)
