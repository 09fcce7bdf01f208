"""The window of a map: never too many, never too much, never stuck, and in order where order is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.calls.map_limits import FIRST_GUESS, InFlightLimit


def window(concurrency=2, most_bytes=10**9, *, ordered=False):
    return InFlightLimit(concurrency=concurrency, most_bytes=most_bytes, ordered=ordered)


def test_as_many_run_as_were_asked_for():
    """And no more."""
    room = window(concurrency=3)
    while room.has_room:
        room.start()

    assert 3 == room.running


def test_twice_as_many_are_outstanding():
    """Those that wait to be taken count like those that run."""
    room = window(concurrency=3)
    while room.has_room:
        room.end(room.start(), "outcome", 1)

    assert (0, 6) == (room.running, room.waiting)


def test_the_first_ones_are_taken_to_be_large():
    """Nothing is known of them."""
    room = window(concurrency=100, most_bytes=5 * FIRST_GUESS)
    while room.has_room:
        room.start()

    assert 5 == room.running


def test_what_came_tells_what_will_come():
    """A larger outcome counts at once, a smaller one by and by."""
    room = window()
    room.expect(800)
    assert 800 == room.expected
    room.expect(1600)
    assert 1600 == room.expected
    room.expect(800)
    assert 1500 == room.expected
    for _ in range(100):
        room.expect(0)
    assert room.expected < 1


def test_nothing_expected_is_no_guess():
    """After an outcome that holds no bytes, as files do."""
    room = window(concurrency=100, most_bytes=1)
    room.expect(0)
    while room.has_room:
        room.start()

    assert 100 == room.running


@pytest.mark.parametrize("kind", ["running", "waiting"])
def test_one_is_always_let_through(kind):
    """Only one, if it is larger than the bound; and the next when it has been taken."""
    room = window(concurrency=5, most_bytes=10)
    room.expect(1000)
    assert room.has_room
    index = room.start()
    assert not room.has_room
    if kind == "waiting":
        room.end(index, "outcome", 1000)
        assert not room.has_room
        room.take(1000)
        assert room.has_room


def test_order_is_that_of_the_starts():
    """Outcomes that come early wait; one that failed to come holds up nobody."""
    room = window(concurrency=4, ordered=True)
    first, second, third, fourth = (room.start() for _ in range(4))

    assert [] == room.end(fourth, "d", 1)
    assert [] == room.end(second, None, 0)
    assert ["a"] == room.end(first, "a", 1)
    assert ["c", "d"] == room.end(third, "c", 1)
    assert (0, 3, 3) == (room.running, room.waiting, room.held)


def test_early_outcomes_can_be_withdrawn():
    """In their order; what comes later keeps none."""
    room = window(concurrency=4, ordered=True)
    first, second, third, fourth = (room.start() for _ in range(4))
    room.end(fourth, "d", 1)
    room.end(third, "c", 1)
    room.end(second, None, 0)

    fifth = room.start()

    assert ["c", "d"] == room.withdraw()
    assert ["e"] == room.end(fifth, "e", 1)
    assert ["a"] == room.end(first, "a", 1)
    assert [] == room.withdraw()


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"concurrency": 1.5}, {"most_bytes": 0}])
def test_bounds_without_sense_are_refused(options):
    """At once."""
    with pytest.raises((ValueError, TypeError), match=next(iter(options))):
        window(**options)


@given(st.data(), st.integers(1, 4), st.booleans(), st.integers(1, 50))
def test_whatever_happens_the_bounds_hold_and_nothing_is_stuck(data, concurrency, ordered, most_bytes):
    """Any mixture of ends and takes: bounded, in order, each outcome once, and always something to go on with."""
    room = window(concurrency, most_bytes, ordered=ordered)
    running, ready, taken = [], [], []
    for _ in range(data.draw(st.integers(0, 40))):
        while room.has_room:
            running.append(room.start())
        assert len(running) == room.running <= concurrency
        assert room.running + room.waiting <= 2 * concurrency
        steps = ["end"] * bool(running) + ["take"] * bool(ready)
        assert steps
        if data.draw(st.sampled_from(steps)) == "end":
            index = running.pop(data.draw(st.integers(0, len(running) - 1)))
            size = data.draw(st.integers(0, 20))
            outcome = data.draw(st.sampled_from([(index, size), None]))
            if outcome:
                room.expect(size)
            ready += room.end(index, outcome, size if outcome else 0)
        else:
            taken.append(ready.pop(0))
            room.take(taken[-1][1])
        assert room.held == sum(size for _, size in [*ready, *(item for item in room.early.values() if item)])

    indexes = [index for index, _ in taken]
    assert len(set(indexes)) == len(indexes)
    assert not ordered or sorted(indexes) == indexes
