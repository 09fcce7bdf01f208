"""The limit of a map: bounded in calls and bytes, never stuck, and in order if that was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.calls.map_limits import FIRST_GUESS, InFlightLimit


def make_limit(concurrency=2, max_bytes=10**9, *, ordered=False):
    return InFlightLimit(concurrency=concurrency, max_bytes=max_bytes, ordered=ordered)


def test_as_many_run_as_were_asked_for():
    """As many calls run at once as `concurrency` says."""
    limit = make_limit(concurrency=3)
    while limit.has_room:
        limit.start()

    assert 3 == limit.running


def test_twice_as_many_are_in_flight():
    """Outcomes that wait to be taken count like calls that run."""
    limit = make_limit(concurrency=3)
    while limit.has_room:
        limit.end(limit.start(), "outcome", 1)

    assert (0, 6) == (limit.running, limit.waiting)


def test_the_first_ones_are_taken_to_be_large():
    """Until the first outcome arrives, each call counts with the first guess."""
    limit = make_limit(concurrency=100, max_bytes=5 * FIRST_GUESS)
    while limit.has_room:
        limit.start()

    assert 5 == limit.running


def test_the_estimate_follows_the_outcomes():
    """The estimate rises to a larger outcome at once and falls slowly."""
    limit = make_limit()
    limit.expect(800)
    assert 800 == limit.expected
    limit.expect(1600)
    assert 1600 == limit.expected
    limit.expect(800)
    assert 1500 == limit.expected
    for _ in range(100):
        limit.expect(0)
    assert limit.expected < 1


def test_an_estimate_of_zero_counts():
    """After an outcome without bytes in memory, such as files, only the number of calls counts."""
    limit = make_limit(concurrency=100, max_bytes=1)
    limit.expect(0)
    while limit.has_room:
        limit.start()

    assert 100 == limit.running


@pytest.mark.parametrize("kind", ["running", "waiting"])
def test_one_is_always_let_through(kind):
    """An outcome larger than the limit is let through alone, and the next one after it was taken."""
    limit = make_limit(concurrency=5, max_bytes=10)
    limit.expect(1000)
    assert limit.has_room
    index = limit.start()
    assert not limit.has_room
    if kind == "waiting":
        limit.end(index, "outcome", 1000)
        assert not limit.has_room
        limit.take(1000)
        assert limit.has_room


def test_order_is_that_of_the_starts():
    """Early outcomes wait for earlier ones; a call without an outcome is skipped."""
    limit = make_limit(concurrency=4, ordered=True)
    first, second, third, fourth = (limit.start() for _ in range(4))

    assert [] == limit.end(fourth, "d", 1)
    assert [] == limit.end(second, None, 0)
    assert ["a"] == limit.end(first, "a", 1)
    assert ["c", "d"] == limit.end(third, "c", 1)
    assert (0, 3, 3) == (limit.running, limit.waiting, limit.held)


def test_early_outcomes_can_be_withdrawn():
    """Waiting outcomes are returned in order, and later ones are not ordered any more."""
    limit = make_limit(concurrency=4, ordered=True)
    first, second, third, fourth = (limit.start() for _ in range(4))
    limit.end(fourth, "d", 1)
    limit.end(third, "c", 1)
    limit.end(second, None, 0)

    fifth = limit.start()

    assert ["c", "d"] == limit.withdraw()
    assert ["e"] == limit.end(fifth, "e", 1)
    assert ["a"] == limit.end(first, "a", 1)
    assert [] == limit.withdraw()


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"concurrency": 1.5}, {"max_bytes": 0}])
def test_invalid_limits_are_refused(options):
    """The constructor raises an error that names the limit."""
    with pytest.raises((ValueError, TypeError), match=next(iter(options))):
        make_limit(**options)


@given(st.data(), st.integers(1, 4), st.booleans(), st.integers(1, 50))
def test_whatever_happens_the_bounds_hold_and_nothing_is_stuck(data, concurrency, ordered, max_bytes):
    """For any mixture of ends and takes, limits and order hold, and each outcome comes once."""
    limit = make_limit(concurrency, max_bytes, ordered=ordered)
    running, ready, taken = [], [], []
    for _ in range(data.draw(st.integers(0, 40))):
        while limit.has_room:
            running.append(limit.start())
        assert len(running) == limit.running <= concurrency
        assert limit.running + limit.waiting <= 2 * concurrency
        steps = ["end"] * bool(running) + ["take"] * bool(ready)
        assert steps
        if data.draw(st.sampled_from(steps)) == "end":
            index = running.pop(data.draw(st.integers(0, len(running) - 1)))
            size = data.draw(st.integers(0, 20))
            outcome = data.draw(st.sampled_from([(index, size), None]))
            if outcome:
                limit.expect(size)
            ready += limit.end(index, outcome, size if outcome else 0)
        else:
            taken.append(ready.pop(0))
            limit.take(taken[-1][1])
        assert limit.held == sum(size for _, size in [*ready, *(item for item in limit.early.values() if item)])

    indexes = [index for index, _ in taken]
    assert len(set(indexes)) == len(indexes)
    assert not ordered or sorted(indexes) == indexes
