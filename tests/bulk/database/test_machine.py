"""
The store against a plain model, over any order of calls, kills and clocks.

The model knows nothing of costs and reservations: it counts what the API may have billed for each attempt. What the
store says was spent or may have been has to be just that, never less.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from stored import FAILURE, copy_files, image, key, link, listed, row
from strategies import examples

from burncloud_images.bulk.database import JobStore
from burncloud_images.bulk.records import AddedRows, BadRow, RequestRecord, RequestState
from burncloud_images.results import Task

S = RequestState
TASK = Task(id="t-1")
ROWS = 4
numbers = st.integers(1, ROWS)
labels = st.sampled_from(["", "", "a", "b"])
moments = st.floats(0, 4e9)  # clocks jump
prices = st.sampled_from([0, 1, 10**3, 10**6, 10**12])
indexes = st.sets(st.integers(0, 3))


PAID = {S.SENT, S.ACCEPTED, S.RECEIVED, S.IN_DOUBT}
MISTAKES = {
    "mark_sent": ({S.LEASED}, lambda store, one: store.mark_sent(one, reserved=1, at=1.0)),
    "release": ({S.SENT, S.ACCEPTED}, lambda store, one: store.release(one)),
    "requeue": ({S.LEASED, S.SENT, S.ACCEPTED, S.RECEIVED}, lambda store, one: store.requeue(one)),
    "mark_accepted": ({S.SENT}, lambda store, one: store.mark_accepted(one, TASK, request_id=None)),
    "mark_received": (
        {S.SENT, S.ACCEPTED},
        lambda store, one: store.mark_received(one, [link(0)], about={}, request_id=None),
    ),
    "add_image": (PAID, lambda store, one: store.add_image(one, image(0))),
    "finish": (PAID, lambda store, one: store.finish(one, [], cost=1, about={}, request_id=None, at=1.0)),
    "mark_in_doubt": (
        {S.SENT, S.ACCEPTED},
        lambda store, one: store.mark_in_doubt(one, FAILURE, request_id=None, at=1.0),
    ),
}
"""What may be said of a request in which states."""
WAYS = {
    S.LEASED: ["mark_sent", "mark_sent", "requeue", "fail"],
    S.SENT: ["release", "requeue", "mark_accepted", "mark_received", "add_image", "finish", "fail", "mark_in_doubt"],
    S.ACCEPTED: ["release", "requeue", "mark_received", "add_image", "finish", "fail", "mark_in_doubt"],
    S.RECEIVED: ["requeue", "add_image", "add_image", "finish", "fail"],
    S.IN_DOUBT: ["add_image", "finish", "fail"],
    S.DONE: ["fail", "set_paths"],
}
"""What may happen to a request in which state."""
ACTIONS = [*["go_on"] * 12, *["lease"] * 3, *["retry"] * 3, "add", "release_leases", "mistake", "kill", "close"]
Draw = Callable[[st.SearchStrategy[Any]], Any]


@attrs.define
class Request:
    """
    What the model knows of a request.

    Attributes:
        line: Its number in the inputs, which says how many images it asks for.
        label: Its `id`.
        state: How far it is.
        attempts: How often it was handed out.
        settled: Nano-dollars that earlier attempts may have cost, and the last if it is at its end.
        open: Those that the last may cost and that are not known.
        bought: Images of earlier attempts.
        expected: Images that the last may have bought.
        images: Those that are there.
        links: Where others are.
        sent: When it was sent, each time.
        doubtful: Whether it waits again, though it is in doubt.
        counted: The images of the attempt that it is in doubt for, while another one is made.
    """

    line: int
    label: str
    state: RequestState = S.PENDING
    attempts: int = 0
    settled: int = 0
    open: int = 0
    bought: int = 0
    expected: int = 0
    images: set[int] = attrs.field(factory=set)
    links: set[int] = attrs.field(factory=set)
    sent: list[float] = attrs.field(factory=list)
    doubtful: bool = False
    counted: int | None = None

    @property
    def wanted(self) -> int:
        """How many images it asks for."""
        return self.line % 3 + 1

    def let_go(self) -> None:
        """Note that the last attempt was not billed; what is there nevertheless was."""
        self.open = 0
        self.expected = min(len(self.images), self.expected)

    def close(self) -> None:
        """Note that the last attempt counts for good."""
        if self.doubtful and self.counted is None:
            self.counted = self.expected
        self.settled += self.open
        self.bought += self.expected
        self.open = self.expected = 0
        self.images, self.links = set(), set()

    def end(self, state: RequestState) -> None:
        """Note that it came to an end, so that no attempt before is in doubt."""
        self.state, self.doubtful, self.counted = state, False, None

    def restore(self) -> None:
        """Note that no attempt took the place of the one that is in doubt."""
        if self.counted is not None:
            self.bought += self.expected - self.counted
            self.expected = self.counted
        self.end(S.IN_DOUBT)


class StoreMachine(RuleBasedStateMachine):
    """Says anything to a store at any time."""

    @initialize()
    def begin(self) -> None:
        """Open a store in which requests are sent, one of them not for the first time: what follows is what counts."""
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.kills = 0
        self.requests: dict[str, Request] = {}
        self.path = Path(self.folder.name) / "job.sqlite3"
        self.open()
        self.add(lambda _: [(number, "") for number in range(ROWS, 1, -1)])
        self.lease(lambda _: ROWS)
        for one in list(self.requests):
            self.send(one)
        first = next(iter(self.requests))
        self.mark_in_doubt(first, self.requests[first], lambda _: 1e9)
        self.retry(lambda _: {S.IN_DOUBT})
        self.lease(lambda _: 1)
        self.send(first)

    def send(self, one: str) -> None:
        """Send a request that is leased, at a price and a time of its own."""
        values = iter((self.requests[one].line * 10**7, self.requests[one].line * 1e9))
        self.mark_sent(one, self.requests[one], lambda _: next(values))

    def open(self) -> None:
        """Open the store; copies of files do not tell what was synced, so that nothing needs to be."""
        self.store = self.run(JobStore.open(self.path))
        self.run(self.store.writer.read(lambda connection: connection.execute("PRAGMA synchronous = OFF")))

    def run(self, work: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await work

        return self.runner.run(wait())

    def those(self, *states: RequestState) -> list[str]:
        """Return the keys of the requests in these states."""
        return [one for one, request in self.requests.items() if request.state in states]

    # --- rules -------------------------------------------------------------------------------------------------------

    # One rule that draws what to do: of many, Hypothesis switches most off in each example, and few requests get far.
    @rule(data=st.data())
    def do(self, data: st.DataObject) -> None:
        """Do something."""
        getattr(self, data.draw(st.sampled_from(ACTIONS)))(data.draw)

    def add(self, draw: Draw) -> None:
        """Add rows, some of which may be there, and some of which have a label that is taken."""
        found = draw(st.lists(st.tuples(numbers, labels), max_size=4))
        rows = [row(number, number % 3 + 1, label) for number, label in found]
        bad = BadRow(source="s", line=1, reason="it is empty")
        new = known = refused = 0
        for one in rows:
            taken = {request.label for request in self.requests.values()} - {""}
            if one.key in self.requests:
                known += 1
            elif one.label in taken:
                refused += 1
            else:
                new += 1
                self.requests[one.key] = Request(one.line, one.label)
        added = self.run(self.store.add([*rows, bad]))
        assert AddedRows(new=new, known=known, refused=refused) == attrs.evolve(added, same=())

    def lease(self, draw: Draw) -> None:
        """Hand requests out: only such as wait, in their order."""
        most = draw(st.integers(0, ROWS))
        expected = self.those(S.PENDING)[:most]
        assert expected == [record.key for record in self.run(self.store.lease(most))]
        for one in expected:
            self.requests[one].state = S.LEASED
            self.requests[one].attempts += 1

    def go_on(self, draw: Draw) -> None:
        """Let what may happen to a request happen."""
        keys = self.those(*WAYS)
        if keys:
            one = draw(st.sampled_from(keys))
            request = self.requests[one]
            getattr(self, draw(st.sampled_from(WAYS[request.state])))(one, request, draw)

    def mark_sent(self, one: str, request: Request, draw: Draw) -> None:
        reserved, at = draw(prices), draw(moments)
        self.run(self.store.mark_sent(one, reserved=reserved, at=at))
        request.close()
        request.state = S.SENT
        request.sent.append(at)
        request.open, request.expected = reserved, request.wanted

    def release(self, one: str, request: Request, draw: Draw) -> None:
        self.run(self.store.release(one))
        request.let_go()
        request.state = S.LEASED

    def requeue(self, one: str, request: Request, draw: Draw) -> None:
        self.run(self.store.requeue(one, draw(st.none() | st.just(FAILURE))))
        if request.state is S.SENT:
            request.let_go()
        if request.state not in {S.ACCEPTED, S.RECEIVED}:  # which may be paid
            request.state = S.PENDING

    def mark_accepted(self, one: str, request: Request, _: Draw) -> None:
        self.run(self.store.mark_accepted(one, TASK, request_id=None))
        request.state = S.ACCEPTED

    def mark_received(self, one: str, request: Request, draw: Draw) -> None:
        links = draw(indexes)
        self.run(self.store.mark_received(one, [link(index) for index in links], about={}, request_id=None))
        request.state, request.links = S.RECEIVED, links

    def add_image(self, one: str, request: Request, draw: Draw) -> None:
        index = draw(st.integers(0, 3))
        self.run(self.store.add_image(one, image(index)))
        request.images = request.images | {index}
        request.links = request.links - {index}

    def finish(self, one: str, request: Request, draw: Draw) -> None:
        images, cost = draw(indexes), draw(st.none() | prices)
        found = [image(index) for index in sorted(images)]
        self.run(self.store.finish(one, found, cost=cost, about={}, request_id=None, at=draw(moments)))
        request.images, request.links = images, set()
        request.end(S.DONE)
        request.expected = len(images)
        if cost is not None:
            request.settled += cost
            request.open = 0

    def fail(self, one: str, request: Request, draw: Draw) -> None:
        billed = draw(st.booleans())
        self.run(self.store.fail(one, FAILURE, may_be_billed=billed, request_id=None, at=draw(moments)))
        if not billed and request.state in PAID:
            request.let_go()
        elif not billed and request.state is not S.LEASED:
            request.open = 0
        request.end(S.FAILED)

    def set_paths(self, one: str, request: Request, _: Draw) -> None:
        self.run(self.store.set_paths(one, [image(index) for index in sorted(request.images)]))

    def mark_in_doubt(self, one: str, request: Request, draw: Draw) -> None:
        self.run(self.store.mark_in_doubt(one, FAILURE, request_id=None, at=draw(moments)))
        request.end(S.IN_DOUBT)

    def retry(self, draw: Draw) -> None:
        """Accept to pay again."""
        states = draw(st.sets(st.sampled_from([S.FAILED, S.IN_DOUBT])))
        found = self.those(*states)
        assert len(found) == self.run(self.store.retry(states))
        for request in map(self.requests.__getitem__, found):
            request.doubtful = request.state is S.IN_DOUBT
            request.state = S.PENDING

    def release_leases(self, _: Draw) -> None:
        """Begin a run after one that was killed."""
        waiting = [self.requests[one] for one in self.those(S.LEASED, S.PENDING)]
        found = [request for request in waiting if request.state is S.LEASED and not request.doubtful]
        assert len(found) == self.run(self.store.release_leases())
        for request in waiting:
            request.state = S.PENDING
            if request.doubtful:
                request.restore()

    def mistake(self, draw: Draw) -> None:
        """Say what may not be said of a request: nothing happens."""
        name, number = draw(st.sampled_from(sorted(MISTAKES))), draw(numbers)
        request = self.requests.get(key(number))
        states, say = MISTAKES[name]
        if request is None or request.state not in states:
            with pytest.raises(RuntimeError):
                self.run(say(self.store, key(number)))

    def kill(self, _: Draw) -> None:
        """Go on with the files as they are, without closing them."""
        self.kills += 1
        self.path = copy_files(self.path, Path(self.folder.name) / str(self.kills))
        self.run(self.store.aclose())
        self.open()

    def close(self, _: Draw) -> None:
        """Go on another day."""
        self.kills += 1
        self.run(self.store.aclose())
        self.open()

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def every_request_is_as_the_model_says(self) -> None:
        """Each is there once, in its order, as far as it is, with its images and links."""
        records: list[RequestRecord] = self.run(listed(self.store.records()))
        assert [
            (one, request.line, request.label, request.state, request.attempts, (request.sent or [None])[-1])
            for one, request in self.requests.items()
        ] == [(one.key, one.line, one.label, one.state, one.attempts, one.sent_at) for one in records]
        assert [(sorted(request.images), sorted(request.links)) for request in self.requests.values()] == [
            ([one.index for one in record.images], sorted(one.index for one in record.links)) for record in records
        ]
        assert list(range(1, len(records) + 1)) == [record.number for record in records]

    @invariant()
    def no_money_is_forgotten(self) -> None:
        """Neither of an attempt that may have been billed, nor of one before it."""
        totals = self.run(self.store.totals())
        requests = self.requests.values()
        assert sum(one.settled + one.open for one in requests) == totals.cost + totals.reserved
        assert sum(one.open for one in requests) == totals.reserved
        assert sum(one.bought + one.expected for one in requests) == totals.committed
        assert sum(len(one.images) for one in requests) == totals.images
        assert totals.images * 1000 == totals.bytes
        assert {state: sum(one.state is state for one in requests) for state in S} == totals.counts

    @invariant()
    def what_was_sent_lately_is_known(self) -> None:
        """Whatever clock said so."""
        times = sorted(at for one in self.requests.values() for at in one.sent if at >= 1e9)
        assert times == [at for at, _ in self.run(self.store.recent(1e9))]

    def teardown(self) -> None:
        self.run(self.store.aclose())
        self.runner.close()
        self.folder.cleanup()


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = hypothesis.settings(
    max_examples=examples(60), stateful_step_count=40, deadline=None, derandomize=True, database=None
)
TestStoreMachine.pytestmark = [pytest.mark.timeout(300)]  # all examples take long on a busy machine
